//! The tracker without clock, entropy and sockets: time and chance are arguments.
//!
//! For fuzzing, and for simulations of whole swarms, which must name the peers that the real tracker would name
//! and send clients back when it would.
//!
//! Not here: the decisions themselves (`swarms`), which are those of the real tracker.

use crate::config::Limits;
use crate::swarms::{Channel, Ledger, Swarms, Visit};
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::time::Duration;
use swarm_core::types::{InfoHash, Moment};
use swarm_core::wire::tracker::{Announce, ScrapeEntry};

/// A tracker's store and its rules.
#[derive(Debug)]
pub struct Model {
    swarms: Swarms,
    ledger: Ledger,
}

/// What an announce is answered with.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Advice {
    /// Peers to dial.
    pub peers: Vec<SocketAddr>,
    /// Come back after this.
    pub interval: Duration,
    /// Do not come back before this.
    pub min_interval: Duration,
}

/// Where the tracker is, for those it would have to tell of a peer on its own machine.
const HOST: IpAddr = IpAddr::V4(Ipv4Addr::new(192, 0, 2, 1));

impl Model {
    /// An empty tracker with the default limits.
    #[must_use]
    pub fn new(seed: u64) -> Self {
        Self::with(Limits::default(), seed)
    }

    /// An empty tracker with limits of its own.
    #[must_use]
    pub fn with(limits: Limits, seed: u64) -> Self {
        let limits = limits.clamped();
        let ledger = Ledger::new(limits.swarms_max as u64, limits.peers_max as u64);
        Self { swarms: Swarms::new(limits, [seed, !seed], seed), ledger }
    }

    /// Answers an announce that came over HTTP from `source`.
    pub fn announce(&mut self, now: Moment, source: IpAddr, announce: &Announce) -> Advice {
        let visit = Visit { announce, source, channel: Channel::Http { host: HOST } };
        let mut peers = Vec::new();
        let reply = self.swarms.announce(now, &visit, &self.ledger, &mut peers);
        let (interval, min_interval) = (reply.intervals.interval, reply.intervals.min_interval);
        Advice { peers, interval, min_interval }
    }

    /// Forgets peers that have not come back for too long.
    pub fn expire(&mut self, now: Moment) {
        self.swarms.expire(now, &self.ledger);
    }

    /// The counts of a swarm; zeros when it is not known.
    #[must_use]
    pub fn scrape(&self, hash: InfoHash) -> ScrapeEntry {
        self.swarms.scrape(hash)
    }

    /// Swarms and peers that it holds.
    #[must_use]
    pub fn held(&self) -> (u64, u64) {
        (self.ledger.swarms(), self.ledger.peers())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use swarm_core::types::PeerId;

    #[test]
    fn one_seed_names_the_same_peers_at_the_same_time_again() {
        let run = |seed| {
            let mut model = Model::new(seed);
            (0..100u8)
                .map(|number| {
                    let id = PeerId::new([number; 20]);
                    let announce = Announce::new(InfoHash::new([7; 20]), id, 6881);
                    model.announce(Moment::ZERO, IpAddr::from([10, 0, 0, number]), &announce)
                })
                .collect::<Vec<_>>()
        };
        assert_eq!(run(1), run(1));
        assert_ne!(run(1), run(2));
        assert!(run(1).first().is_some_and(|first| first.peers.is_empty()));
        assert!(run(1).last().is_some_and(|last| last.peers.len() >= 50));
    }
}
