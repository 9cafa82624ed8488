//! Counts peers that have become complete while we served them, for `--until-copies`.
//!
//! A copy is a peer, known by its id and so counted once however often it connects, that
//! lacked pieces and has told us that it has them all; or that took as much from us as there
//! is. Where it got the pieces does not matter, and that it leaves afterwards does not take the
//! copy back: it was asked how many have been made. A peer that comes complete is no copy.
//!
//! What our own tracker hears (`completed`) is an account of its own, by address, of peers that
//! we may never have met: see [`Copies::total`].

use std::collections::BTreeSet;

use swarm_core::types::PeerId;

/// Peers remembered. Beyond it more are not told apart from those before, and not counted.
const REMEMBERED_MAX: usize = 100_000;

/// The count for one torrent.
#[derive(Debug, Default)]
pub(super) struct Copies {
    complete: BTreeSet<PeerId>,
    /// Peers that took anything.
    served: BTreeSet<PeerId>,
}

/// A connected peer as it is now.
#[derive(Clone, Copy, Debug)]
pub(super) struct Seen {
    pub(super) id: PeerId,
    /// Bytes sent to it over this connection.
    pub(super) bytes: u64,
    pub(super) is_complete: bool,
    /// It wants something we have.
    pub(super) is_fetching: bool,
}

impl Copies {
    /// A peer has told us that it has become complete.
    pub(super) fn completed(&mut self, id: PeerId) {
        remember(&mut self.complete, id);
    }

    /// Takes one look at the peers now; `copy` is the bytes of one copy.
    pub(super) fn look(&mut self, peers: &[Seen], copy: u64) {
        for seen in peers.iter().filter(|seen| seen.bytes > 0) {
            remember(&mut self.served, seen.id);
            if seen.is_complete || seen.bytes >= copy {
                self.completed(seen.id);
            }
        }
    }

    /// Copies that are known of: ours, or those the tracker was told, whichever are more.
    pub(super) fn total(&self, told_to_tracker: u64) -> u64 {
        count(&self.complete).max(told_to_tracker)
    }

    /// Peers that took anything.
    pub(super) fn served(&self) -> u64 {
        count(&self.served)
    }
}

fn remember(peers: &mut BTreeSet<PeerId>, id: PeerId) {
    if peers.len() < REMEMBERED_MAX {
        peers.insert(id);
    }
}

fn count(peers: &BTreeSet<PeerId>) -> u64 {
    u64::try_from(peers.len()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn id(n: u32) -> PeerId {
        let mut id = [b'x'; 20];
        id[..4].copy_from_slice(&n.to_be_bytes());
        PeerId::new(id)
    }

    fn seen(n: u32, bytes: u64, is_complete: bool) -> Seen {
        Seen { id: id(n), bytes, is_complete, is_fetching: !is_complete }
    }

    #[test]
    fn a_peer_counts_once_when_it_becomes_complete_however_often_it_comes() {
        let mut copies = Copies::default();
        copies.look(&[seen(1, 10, false)], 100);
        assert_eq!(copies.total(0), 0);
        copies.completed(id(1));
        copies.look(&[seen(1, 60, true)], 100);
        copies.look(&[], 100);
        copies.look(&[seen(1, 100, true)], 100);
        copies.completed(id(1));
        assert_eq!((copies.total(0), copies.served()), (1, 1));
    }

    #[test]
    fn a_copy_counts_whoever_made_it_and_stays_one_when_its_peer_leaves() {
        let mut copies = Copies::default();
        copies.look(&[seen(1, 0, false)], 100);
        copies.completed(id(1));
        copies.look(&[], 100);
        assert_eq!((copies.total(0), copies.served()), (1, 0));
    }

    #[test]
    fn another_seed_is_no_copy_of_ours() {
        let mut copies = Copies::default();
        copies.look(&[seen(1, 0, true)], 100);
        assert_eq!((copies.total(0), copies.served()), (0, 0));
    }

    #[test]
    fn who_took_all_there_is_has_a_copy_even_if_it_never_says_so() {
        let mut copies = Copies::default();
        copies.look(&[seen(1, 100, false)], 100);
        assert_eq!(copies.total(0), 1);
    }

    #[test]
    fn two_halves_are_no_copy() {
        let mut copies = Copies::default();
        copies.look(&[seen(1, 50, false), seen(2, 50, false)], 100);
        copies.look(&[], 100);
        assert_eq!((copies.total(0), copies.served()), (0, 2));
    }

    #[test]
    fn the_tracker_knows_of_copies_that_came_from_others() {
        let mut copies = Copies::default();
        copies.completed(id(1));
        assert_eq!((copies.total(3), copies.total(0)), (3, 1));
    }

    #[test]
    fn memory_is_bounded_whoever_comes() {
        let mut copies = Copies::default();
        for n in 0..u32::try_from(REMEMBERED_MAX + 50).unwrap() {
            copies.look(&[seen(n, 1, true)], 100);
        }
        assert_eq!((copies.complete.len(), copies.served.len()), (REMEMBERED_MAX, REMEMBERED_MAX));
    }
}
