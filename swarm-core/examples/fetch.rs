//! Fetches a torrent into the current folder: `fetch FILE.torrent [PEER...]`.
#![expect(clippy::print_stdout, reason = "an example talks to its user")]

use swarm_core::{AddTorrent, Metainfo, Session};

#[tokio::main]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let mut args = std::env::args().skip(1);
    let torrent = args.next().ok_or("usage: fetch FILE.torrent [PEER...]")?;
    let peers = args.map(|peer| peer.parse()).collect::<Result<Vec<_>, _>>()?;
    let metainfo = Metainfo::from_torrent(&std::fs::read(torrent)?)?;

    let session = Session::builder().build().await?;
    let handle = session.add(AddTorrent::fetch(metainfo, ".").peers(peers)).await?;
    let completed = handle.completed().await?;
    println!("{} bytes in {}", completed.bytes, completed.path.display());
    session.shutdown().await;
    Ok(())
}
