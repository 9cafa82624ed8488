//! Serves existing content until Ctrl-C: `seed FILE.torrent CONTENT`.
#![expect(clippy::print_stdout, reason = "an example talks to its user")]

use swarm_core::{AddTorrent, Metainfo, Session};

#[tokio::main]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let mut args = std::env::args().skip(1);
    let (Some(torrent), Some(content)) = (args.next(), args.next()) else {
        return Err("usage: seed FILE.torrent CONTENT".into());
    };
    let metainfo = Metainfo::from_torrent(&std::fs::read(torrent)?)?;

    let session = Session::builder().build().await?;
    let handle = session.add(AddTorrent::seed(metainfo, content)).await?;
    println!("{} good pieces on {:?}", handle.checked().await?, session.listen_addrs());
    tokio::signal::ctrl_c().await?;
    session.shutdown().await;
    Ok(())
}
