//! How long `stats()` takes while a torrent is fetched: `stats FILE.torrent FOLDER SECONDS PEER...`.
//!
//! Asks once a millisecond and prints how often it asked, and the median, the 99th percentile and
//! the longest time in microseconds, then how many milliseconds the end of the session took.
//! `tests/bench/disk.py` runs it before a disk that has too much to do.
#![expect(clippy::print_stdout, reason = "an example talks to its user")]
#![expect(clippy::disallowed_methods, reason = "it measures time")]

use std::time::{Duration, Instant};
use swarm_core::{AddTorrent, Metainfo, Session};

const USAGE: &str = "usage: stats FILE.torrent FOLDER SECONDS PEER...";
const PAUSE: Duration = Duration::from_millis(1);

#[tokio::main]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let mut args = std::env::args().skip(1);
    let torrent = args.next().ok_or(USAGE)?;
    let folder = args.next().ok_or(USAGE)?;
    let seconds = args.next().ok_or(USAGE)?.parse()?;
    let peers = args.map(|peer| peer.parse()).collect::<Result<Vec<_>, _>>()?;
    let metainfo = Metainfo::from_torrent(&std::fs::read(torrent)?)?;
    let session = Session::builder().build().await?;
    let handle = session.add(AddTorrent::fetch(metainfo, folder).peers(peers)).await?;
    let asked = std::thread::spawn(move || {
        let (begin, mut times) = (Instant::now(), Vec::new());
        while begin.elapsed() < Duration::from_secs(seconds) {
            let asked = Instant::now();
            let stats = handle.stats();
            times.push((asked.elapsed().as_micros(), stats.have_bytes));
            std::thread::park_timeout(PAUSE);
        }
        times
    });
    let times = asked.join().map_err(|_| "the thread that asks has ended early")?;
    let ending = Instant::now();
    session.shutdown().await;
    let have = times.last().map_or(0, |(_, have)| *have);
    let mut micros: Vec<_> = times.into_iter().map(|(micros, _)| micros).collect();
    micros.sort_unstable();
    let at =
        |share: usize| micros.get(micros.len() * share / 100).or_else(|| micros.last()).copied();
    let [median, most] = [50, 99].map(|share| at(share).unwrap_or_default());
    let longest = micros.last().copied().unwrap_or_default();
    let end = ending.elapsed().as_millis();
    println!("{} {median} {most} {longest} {end} {have}", micros.len());
    Ok(())
}
