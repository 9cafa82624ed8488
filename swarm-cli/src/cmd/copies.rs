//! Counts peers that have become complete with our help, for `--until-copies`.
//!
//! A peer counts when it took something from us and is seen complete, or took as much as
//! the whole torrent holds. Peers come and go between two looks, so bytes that no look
//! explains are first credited to the peers that have just left, then counted by whole
//! copies. What the tracker hears (`completed`) comes on top: see [`Copies::total`].

use std::collections::BTreeMap;
use std::net::SocketAddr;

/// Peers remembered after they left. Beyond it the oldest address is forgotten.
const REMEMBERED_MAX: usize = 10_000;

/// The count for one torrent.
#[derive(Debug, Default)]
pub(super) struct Copies {
    peers: BTreeMap<SocketAddr, Taken>,
    /// Bytes of peers that were forgotten or never seen, already explained.
    explained: u64,
    complete: u64,
    /// Peers that took anything, also those not remembered any more.
    served: u64,
}

#[derive(Clone, Copy, Debug, Default)]
struct Taken {
    bytes: u64,
    is_here: bool,
    counted: bool,
}

/// A connected peer as it is now.
#[derive(Clone, Copy, Debug)]
pub(super) struct Seen {
    pub(super) addr: SocketAddr,
    /// Bytes sent to it over this connection.
    pub(super) bytes: u64,
    pub(super) is_complete: bool,
}

impl Copies {
    /// Takes one look: the peers now, the bytes sent in all, the bytes of one copy.
    pub(super) fn look(&mut self, peers: impl IntoIterator<Item = Seen>, sent: u64, copy: u64) {
        for taken in self.peers.values_mut() {
            taken.is_here = false;
        }
        for seen in peers.into_iter().filter(|seen| seen.bytes > 0) {
            let taken = self.peers.entry(seen.addr).or_default();
            self.served += u64::from(taken.bytes == 0);
            taken.bytes = taken.bytes.max(seen.bytes);
            taken.is_here = true;
            if !taken.counted && (seen.is_complete || seen.bytes >= copy) {
                taken.counted = true;
                self.complete += 1;
            }
        }
        self.explain(sent, copy);
        while self.peers.len() > REMEMBERED_MAX {
            if let Some((_, gone)) = self.peers.pop_first() {
                self.explained += gone.bytes;
            }
        }
    }

    /// Finds owners for bytes that were sent between two looks.
    fn explain(&mut self, sent: u64, copy: u64) {
        let known: u64 = self.peers.values().map(|taken| taken.bytes).sum();
        let mut spare = sent.saturating_sub(known.saturating_add(self.explained));
        for taken in self.peers.values_mut().filter(|taken| !taken.is_here && !taken.counted) {
            let missing = copy.saturating_sub(taken.bytes);
            if missing <= spare {
                spare -= missing;
                taken.bytes += missing;
                taken.counted = true;
                self.complete += 1;
            }
        }
        let unseen = spare.checked_div(copy).unwrap_or(0);
        self.complete += unseen;
        self.served += unseen;
        self.explained += unseen * copy;
    }

    /// Copies that are known of: ours, or those the tracker was told, whichever are more.
    pub(super) fn total(&self, told_to_tracker: u64) -> u64 {
        self.complete.max(told_to_tracker)
    }

    /// Peers that took anything.
    pub(super) const fn served(&self) -> u64 {
        self.served
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn seen(port: u16, bytes: u64, is_complete: bool) -> Seen {
        Seen { addr: SocketAddr::from(([127, 0, 0, 1], port)), bytes, is_complete }
    }

    #[test]
    fn a_peer_counts_once_when_it_becomes_complete() {
        let mut copies = Copies::default();
        copies.look([seen(1, 10, false)], 10, 100);
        assert_eq!(copies.total(0), 0);
        copies.look([seen(1, 60, true)], 60, 100);
        copies.look([seen(1, 60, true)], 60, 100);
        copies.look([], 60, 100);
        assert_eq!((copies.total(0), copies.served()), (1, 1));
    }

    #[test]
    fn another_seed_is_no_copy_of_ours() {
        let mut copies = Copies::default();
        copies.look([seen(1, 0, true)], 0, 100);
        assert_eq!((copies.total(0), copies.served()), (0, 0));
    }

    #[test]
    fn a_peer_that_finished_between_two_looks_counts() {
        let mut copies = Copies::default();
        copies.look([seen(1, 30, false)], 30, 100);
        copies.look([], 100, 100);
        assert_eq!(copies.total(0), 1);
    }

    #[test]
    fn a_peer_that_came_and_went_between_two_looks_counts() {
        let mut copies = Copies::default();
        copies.look([], 200, 100);
        assert_eq!((copies.total(0), copies.served()), (2, 2));
        copies.look([], 250, 100);
        assert_eq!(copies.total(0), 2);
    }

    #[test]
    fn two_halves_are_no_copy() {
        let mut copies = Copies::default();
        copies.look([seen(1, 50, false), seen(2, 50, false)], 100, 100);
        copies.look([], 100, 100);
        assert_eq!((copies.total(0), copies.served()), (0, 2));
    }

    #[test]
    fn the_tracker_knows_of_copies_that_came_from_others() {
        let mut copies = Copies::default();
        copies.look([seen(1, 20, false)], 20, 100);
        assert_eq!(copies.total(3), 3);
    }

    #[test]
    fn memory_is_bounded_whoever_comes() {
        let mut copies = Copies::default();
        for port in 1..=u16::try_from(REMEMBERED_MAX + 50).unwrap() {
            copies.look([seen(port, 1, false)], u64::from(port), 100);
        }
        assert_eq!(copies.peers.len(), REMEMBERED_MAX);
        assert_eq!(copies.total(0), 0);
    }
}
