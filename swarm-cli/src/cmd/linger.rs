//! How long a complete torrent is served: `--until-copies` and `--until-idle`.
//!
//! Enough copies do not end it while that would strand somebody: as long as a connected peer
//! still fetches from us and no other seed is known, some piece may exist only here, and those
//! who have it may leave with it as soon as they are complete. So the last seed stays until
//! nobody is left who fetches; a peer that takes nothing for [`PATIENCE`] holds nobody up.
//!
//! Not here: what counts as a copy (see `copies`).

use std::time::Duration;

use swarm_core::types::Moment;
use swarm_core::{PeerStats, TorrentStats};

use super::copies::{Copies, Seen};

/// How long the last seed waits for peers that fetch and take nothing.
const PATIENCE: Duration = Duration::from_secs(60);

/// Nothing was sent for this long before enough copies are the end: whoever came while the last
/// one was taken has begun to fetch by then.
const SETTLE: Duration = Duration::from_secs(1);

/// What the command line says about the end.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Linger {
    /// So many peers have become complete.
    pub(crate) until_copies: Option<u32>,
    /// Nothing was sent for this long.
    pub(crate) until_idle: Option<Duration>,
}

/// One torrent that is being served.
#[derive(Debug)]
pub(super) struct Stay {
    pub(super) copies: Copies,
    /// Bytes sent at the last look, and since when no more were.
    sent: u64,
    idle_since: Moment,
    someone_fetches: bool,
    seed_is_connected: bool,
}

/// What our own tracker knows of a torrent; nothing without one.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Hearsay {
    /// Peers that told it they have become complete.
    pub(super) completed: u64,
    /// Whether it knows a seed beside us.
    pub(super) knows_a_seed: bool,
}

impl Stay {
    /// Serving begins now.
    pub(super) fn new(now: Moment) -> Self {
        Self {
            copies: Copies::default(),
            sent: 0,
            idle_since: now,
            someone_fetches: false,
            seed_is_connected: false,
        }
    }

    /// Takes one look at the torrent; `copy` is the bytes of one copy.
    pub(super) fn look(&mut self, now: Moment, stats: &TorrentStats, copy: u64) {
        let seen: Vec<Seen> = stats.peers.iter().map(seen).collect();
        self.take_in(now, &seen, stats.uploaded, copy);
    }

    fn take_in(&mut self, now: Moment, seen: &[Seen], sent: u64, copy: u64) {
        if sent != self.sent {
            self.sent = sent;
            self.idle_since = now;
        }
        self.someone_fetches = seen.iter().any(|peer| peer.is_fetching && !peer.is_complete);
        self.seed_is_connected = seen.iter().any(|peer| peer.is_complete);
        self.copies.look(seen, copy);
    }

    /// Bytes sent so far.
    pub(super) const fn sent(&self) -> u64 {
        self.sent
    }

    /// Whether nothing was sent for as long as `--until-idle` says.
    pub(super) fn is_idle(&self, now: Moment, linger: &Linger) -> bool {
        linger.until_idle.is_some_and(|limit| now.since(self.idle_since) >= limit)
    }

    /// Whether there are as many copies as `--until-copies` says, and nobody needs us.
    pub(super) fn has_copies(&self, now: Moment, linger: &Linger, told: Hearsay) -> bool {
        let wanted = linger.until_copies.map(u64::from);
        let is_needed = self.someone_fetches
            && !self.seed_is_connected
            && !told.knows_a_seed
            && now.since(self.idle_since) < PATIENCE;
        let is_settled = now.since(self.idle_since) >= SETTLE;
        let has_enough = wanted.is_some_and(|wanted| self.copies.total(told.completed) >= wanted);
        has_enough && is_settled && !is_needed
    }
}

fn seen(peer: &PeerStats) -> Seen {
    Seen {
        id: peer.id,
        bytes: peer.uploaded,
        is_complete: peer.progress >= 1.0,
        is_fetching: peer.interested,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use swarm_core::types::PeerId;

    const TWO: Linger = Linger { until_copies: Some(2), until_idle: None };

    fn at(secs: u64) -> Moment {
        Moment::ZERO + Duration::from_secs(secs)
    }

    fn peer(n: u8, bytes: u64, is_complete: bool) -> Seen {
        Seen { id: PeerId::new([n; 20]), bytes, is_complete, is_fetching: !is_complete }
    }

    fn told(completed: u64, knows_a_seed: bool) -> Hearsay {
        Hearsay { completed, knows_a_seed }
    }

    #[test]
    fn the_last_seed_does_not_leave_somebody_behind() {
        let mut stay = Stay::new(at(0));
        stay.take_in(
            at(1),
            &[peer(1, 100, false), peer(2, 100, false), peer(3, 40, false)],
            240,
            100,
        );
        assert_eq!(stay.copies.total(0), 2);
        assert!(!stay.has_copies(at(1), &TWO, told(0, false)), "the third lacks what only we have");
        stay.take_in(at(2), &[peer(3, 100, false)], 300, 100);
        assert!(!stay.has_copies(at(2), &TWO, told(0, false)));
        stay.take_in(at(3), &[], 300, 100);
        assert!(stay.has_copies(at(3), &TWO, told(0, false)));
    }

    #[test]
    fn with_another_seed_about_enough_copies_are_enough() {
        let mut stay = Stay::new(at(0));
        stay.take_in(at(1), &[peer(3, 40, false)], 240, 100);
        assert!(!stay.has_copies(at(1), &TWO, told(2, false)));
        assert!(!stay.has_copies(at(1), &TWO, told(2, true)), "somebody may just have come");
        assert!(stay.has_copies(at(2), &TWO, told(2, true)), "the tracker knows of one");
        stay.take_in(at(1), &[peer(3, 40, false), peer(4, 0, true)], 240, 100);
        assert!(stay.has_copies(at(2), &TWO, told(2, false)), "one is connected");
    }

    #[test]
    fn a_peer_that_takes_nothing_holds_nobody_up_for_long() {
        let mut stay = Stay::new(at(0));
        stay.take_in(at(10), &[peer(3, 40, false)], 240, 100);
        let patience = PATIENCE.as_secs();
        assert!(!stay.has_copies(at(9 + patience), &TWO, told(2, false)));
        assert!(stay.has_copies(at(10 + patience), &TWO, told(2, false)));
    }

    #[test]
    fn idle_is_when_nothing_is_sent() {
        let linger = Linger { until_idle: Some(Duration::from_secs(5)), ..Linger::default() };
        let mut stay = Stay::new(at(0));
        assert!(!stay.is_idle(at(4), &linger));
        stay.take_in(at(4), &[], 1, 100);
        assert!(!stay.is_idle(at(8), &linger));
        assert!(stay.is_idle(at(9), &linger));
        assert!(!stay.is_idle(at(1000), &Linger::default()), "nobody asked");
        assert!(!stay.has_copies(at(1000), &linger, told(9, true)), "nor for copies");
    }
}
