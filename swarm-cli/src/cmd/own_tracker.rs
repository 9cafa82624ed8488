//! The tracker inside `seed`: on the session's own ports, for its own torrents.
//!
//! The session accepts TCP connections and hands over what is HTTP; a UDP socket of ours
//! stands on each of the same ports. Fetchers that finish tell it: it counts them.

use std::collections::{BTreeMap, BTreeSet};
use std::net::SocketAddr;

use swarm_core::types::InfoHash;
use swarm_tracker::{Error, Tracker, TrackerConfig, TrackerEvent, TrackerEvents};
use tokio::net::TcpStream;
use tokio::sync::mpsc::Receiver;

use crate::exit::{Code, Failure, plain};

/// Connections that wait to be taken over. More are closed: clients come back.
pub(super) const HANDED_OVER_MAX: usize = 128;

/// Complete peers remembered for one torrent.
const COMPLETED_MAX: usize = 100_000;

/// A running tracker and its feed of connections.
#[derive(Debug)]
pub(super) struct OwnTracker {
    tracker: Tracker,
    events: TrackerEvents,
    connections: Receiver<(TcpStream, SocketAddr)>,
    /// Who became complete: an address tells it again when its answer was lost.
    completed: BTreeMap<InfoHash, BTreeSet<SocketAddr>>,
}

impl OwnTracker {
    /// Serves `torrents` and no others. UDP that cannot be bound is left out with a warning:
    /// HTTP is enough to be found.
    pub(super) async fn start(
        listen: &[SocketAddr],
        torrents: impl IntoIterator<Item = InfoHash>,
        connections: Receiver<(TcpStream, SocketAddr)>,
    ) -> Result<(Self, Option<String>), Failure> {
        let allowed: Vec<InfoHash> = torrents.into_iter().collect();
        let config = |udp: &[SocketAddr]| {
            let mut config = TrackerConfig::default();
            config.http = Vec::new();
            config.udp = udp.to_vec();
            config.allowed = Some(allowed.iter().copied().collect());
            config
        };
        let (tracker, warning) = match Tracker::start(config(listen)).await {
            Ok(tracker) => (tracker, None),
            Err(Error::Bind { addr, source, .. }) => {
                let tracker = Tracker::start(config(&[])).await.map_err(failed)?;
                let why = plain(&source);
                (tracker, Some(format!("no UDP tracker on {addr}: {why}; HTTP serves alone")))
            }
            Err(error) => return Err(failed(error)),
        };
        let events = tracker.events();
        Ok((Self { tracker, events, connections, completed: BTreeMap::new() }, warning))
    }

    /// Announce URLs for one reachable address, HTTP first.
    pub(super) fn urls(&self, addr: SocketAddr) -> impl Iterator<Item = String> + use<> {
        let udp = !self.tracker.udp_addrs().is_empty();
        let http = std::iter::once(format!("http://{addr}/announce"));
        http.chain(udp.then(|| format!("udp://{addr}/announce")))
    }

    /// Hands connections over and counts events, for ever. Safe to cancel.
    pub(super) async fn serve(&mut self) {
        loop {
            tokio::select! {
                Some((stream, remote)) = self.connections.recv() => {
                    self.tracker.serve_http_connection(stream, remote);
                }
                Some(event) = self.events.next() => {
                    if let TrackerEvent::Completed { info_hash, peer } = event {
                        let completed = self.completed.entry(info_hash).or_default();
                        if completed.len() < COMPLETED_MAX {
                            completed.insert(peer);
                        }
                    }
                }
                else => std::future::pending().await,
            }
        }
    }

    /// Seeds it knows of, ourselves included: once in each family that we announce over.
    pub(super) fn seeds(&self, torrent: InfoHash) -> usize {
        usize::try_from(self.tracker.scrape(torrent).complete).unwrap_or(usize::MAX)
    }

    /// Peers that told the tracker they have become complete. A peer with both families
    /// tells it twice, so the larger family is what is certain.
    pub(super) fn completed(&self, torrent: InfoHash) -> u64 {
        let Some(completed) = self.completed.get(&torrent) else { return 0 };
        let v4 = completed.iter().filter(|peer| peer.is_ipv4()).count();
        u64::try_from(v4.max(completed.len() - v4)).unwrap_or(u64::MAX)
    }
}

fn failed(error: Error) -> Failure {
    let code = if matches!(error, Error::Bind { .. }) { Code::Network } else { Code::Internal };
    Failure::new(code, format!("cannot start the tracker: {error}"))
}
