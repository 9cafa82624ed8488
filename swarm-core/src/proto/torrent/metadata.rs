//! Fetching the `info` dictionary from peers (BEP 9).
//!
//! Each attempt takes the whole dictionary from one peer, so that a wrong one has one giver
//! and no liar can spoil what an honest peer sent. A few attempts run side by side; the
//! first right one wins. Buffers grow with what has arrived, never with what is promised.
//!
//! Not here: checking the hash and parsing (the driver's, see `Output::Metadata`).

use super::super::PeerKey;
use crate::types::Moment;
use crate::wire::ut_metadata::{METADATA_MAX, METADATA_PIECE_LEN};
use bytes::{Bytes, BytesMut};
use std::collections::BTreeMap;
use std::time::Duration;

/// Peers asked at the same time.
const ATTEMPTS_MAX: usize = 3;
/// Pieces asked of one peer at the same time.
const IN_FLIGHT: u32 = 8;
/// After a reject, the wait before the peer is asked again.
const ASK_AGAIN: Duration = Duration::from_secs(1);
/// Refusals after which a peer is not asked any more.
const REJECTS_MAX: u32 = 3;
/// A peer that has not answered for this long makes room for another; and one that has not given
/// everything, if others wait: twice as long for each attempt before.
const PATIENCE: Duration = Duration::from_secs(10);
/// A peer that has not answered for this long makes room if others wait.
const PATIENCE_IN_A_CROWD: Duration = Duration::from_secs(5);
/// So many times the patience with one peer doubles.
const DOUBLINGS_MAX: u32 = 6;

/// What is being fetched from whom.
#[derive(Debug, Default)]
pub(crate) struct MetadataFetch {
    attempts: BTreeMap<PeerKey, Attempt>,
    /// Attempts that came to nothing, by connected peer.
    failed: BTreeMap<PeerKey, u32>,
    /// The peer whose dictionary the driver is checking.
    offered: Option<PeerKey>,
}

#[derive(Debug)]
struct Attempt {
    size: u32,
    received: BytesMut,
    asked: u32,
    began: Moment,
    heard: Moment,
    /// After a reject: when to ask again, and how often that has been.
    again_at: Moment,
    rejects: u32,
}

impl MetadataFetch {
    /// Begins with a peer that offers `size` bytes; true when it is to be asked with `ask`.
    pub(crate) fn begin(&mut self, now: Moment, peer: PeerKey, size: u32) -> bool {
        if self.attempts.len() >= ATTEMPTS_MAX
            || self.offered.is_some()
            || self.attempts.contains_key(&peer)
            || !(1..=METADATA_MAX).contains(&size)
        {
            return false;
        }
        let attempt = Attempt {
            size,
            received: BytesMut::new(),
            asked: 0,
            began: now,
            heard: now,
            again_at: now,
            rejects: 0,
        };
        self.attempts.insert(peer, attempt);
        true
    }

    /// The metadata pieces to ask the peer for now.
    pub(crate) fn ask(&mut self, now: Moment, peer: PeerKey) -> std::ops::Range<u32> {
        let Some(attempt) = self.attempts.get_mut(&peer) else { return 0..0 };
        if now < attempt.again_at {
            return 0..0;
        }
        let from = attempt.asked;
        let arrived = attempt.received_pieces();
        attempt.asked = attempt.pieces().min(arrived + IN_FLIGHT).max(from);
        from..attempt.asked
    }

    /// A piece came. Pieces are taken in order, others passed over; one of a wrong length
    /// ends the attempt.
    pub(crate) fn received(&mut self, now: Moment, peer: PeerKey, piece: u32, data: &[u8]) -> Step {
        let Some(attempt) = self.attempts.get_mut(&peer) else { return Step::Ignored };
        let due = (attempt.size - attempt.received_len()).min(METADATA_PIECE_LEN);
        if piece != attempt.received_pieces() {
            return Step::Ignored;
        }
        if u32::try_from(data.len()) != Ok(due) {
            self.fail(peer);
            return Step::Refused;
        }
        attempt.heard = now;
        attempt.received.extend_from_slice(data);
        if attempt.received_len() < attempt.size {
            return Step::More;
        }
        let info = attempt.received.split().freeze();
        self.attempts.remove(&peer);
        if self.offered.is_some() {
            return Step::Ignored;
        }
        self.offered = Some(peer);
        Step::Whole(info)
    }

    /// The peer will not give a piece now: it may be busy, so it is asked again a few times,
    /// from where it stopped.
    pub(crate) fn rejected(&mut self, now: Moment, peer: PeerKey) {
        let Some(attempt) = self.attempts.get_mut(&peer) else { return };
        // One refusal comes for every piece asked for: together they count once.
        if now < attempt.again_at {
            return;
        }
        attempt.rejects += 1;
        attempt.again_at = now + ASK_AGAIN;
        attempt.asked = attempt.received_pieces();
        if attempt.rejects > REJECTS_MAX {
            self.fail(peer);
        }
    }

    /// The peer is gone.
    pub(crate) fn give_up(&mut self, peer: PeerKey) {
        self.attempts.remove(&peer);
        self.failed.remove(&peer);
    }

    /// Attempts with this peer that came to nothing: those with the fewest are asked first.
    pub(crate) fn failures(&self, peer: PeerKey) -> u32 {
        self.failed.get(&peer).copied().unwrap_or(0)
    }

    /// Whether the peer is being asked.
    pub(crate) fn is_asking(&self, peer: PeerKey) -> bool {
        self.attempts.contains_key(&peer)
    }

    fn fail(&mut self, peer: PeerKey) {
        if self.attempts.remove(&peer).is_some() {
            let failures = self.failed.entry(peer).or_default();
            *failures = failures.saturating_add(1);
        }
    }

    /// The dictionary offered last was wrong: who gave it.
    pub(crate) fn refused(&mut self) -> Option<PeerKey> {
        self.offered.take()
    }

    /// Drops attempts that have gone silent, and those that take too long while others wait.
    pub(crate) fn expire(&mut self, now: Moment, others_wait: bool) {
        let is_over = |(peer, attempt): (&PeerKey, &Attempt)| {
            let patience = PATIENCE * (1 << self.failures(*peer).min(DOUBLINGS_MAX));
            let late = others_wait && now - attempt.began >= patience;
            let silence = if others_wait { PATIENCE_IN_A_CROWD } else { PATIENCE };
            (late || now - attempt.heard >= silence).then_some(*peer)
        };
        let over: Vec<PeerKey> = self.attempts.iter().filter_map(is_over).collect();
        over.into_iter().for_each(|peer| self.fail(peer));
    }
}

/// What a metadata piece led to.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Step {
    /// Not from a running attempt.
    Ignored,
    /// Not the piece that was due: the attempt is over.
    Refused,
    /// Taken; ask for more.
    More,
    /// The dictionary is whole.
    Whole(Bytes),
}

impl Attempt {
    fn received_len(&self) -> u32 {
        u32::try_from(self.received.len()).unwrap_or(u32::MAX)
    }

    fn received_pieces(&self) -> u32 {
        self.received_len() / METADATA_PIECE_LEN
    }

    fn pieces(&self) -> u32 {
        self.size.div_ceil(METADATA_PIECE_LEN)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const A: PeerKey = PeerKey(1);
    const NOW: Moment = Moment::ZERO;

    #[test]
    fn a_dictionary_is_put_together_in_order() {
        let mut fetch = MetadataFetch::default();
        assert!(fetch.begin(NOW, A, METADATA_PIECE_LEN + 5));
        assert_eq!(fetch.ask(NOW, A), 0..2);
        assert_eq!(fetch.received(NOW, A, 0, &[7; 16384]), Step::More);
        let Step::Whole(info) = fetch.received(NOW, A, 1, &[8; 5]) else { panic!("not whole") };
        assert_eq!(info.len(), 16389);
        assert_eq!(fetch.refused(), Some(A));
    }

    #[test]
    fn absurd_sizes_and_wrong_pieces_are_refused() {
        let mut fetch = MetadataFetch::default();
        assert!(!fetch.begin(NOW, A, 0));
        assert!(!fetch.begin(NOW, A, METADATA_MAX + 1));
        assert!(fetch.begin(NOW, A, 100));
        assert_eq!(fetch.received(NOW, A, 0, &[1; 99]), Step::Refused);
        assert!(fetch.begin(NOW, A, METADATA_MAX));
        assert_eq!(fetch.ask(NOW, A), 0..IN_FLIGHT);
        assert_eq!(fetch.received(NOW, A, 1, &[1; 16384]), Step::Ignored);
        assert_eq!(fetch.received(NOW, A, 0, &[1; 16383]), Step::Refused);
        assert_eq!(fetch.received(NOW, A, 0, &[1; 16384]), Step::Ignored);
    }

    #[test]
    fn a_peer_that_refuses_is_asked_again_from_where_it_stopped_and_not_for_ever() {
        let mut fetch = MetadataFetch::default();
        assert!(fetch.begin(NOW, A, 3 * METADATA_PIECE_LEN));
        assert_eq!(fetch.ask(NOW, A), 0..3);
        fetch.received(NOW, A, 0, &[7; 16384]);
        fetch.rejected(NOW, A);
        fetch.rejected(NOW, A);
        assert_eq!(fetch.ask(NOW, A), 0..0);
        let mut now = NOW;
        for _ in 0..3 {
            now += ASK_AGAIN;
            assert_eq!(fetch.ask(now, A), 1..3);
            fetch.rejected(now, A);
        }
        assert_eq!(fetch.received(now, A, 1, &[7; 16384]), Step::Ignored, "given up");
    }

    #[test]
    fn few_peers_are_asked_at_once_and_silent_ones_make_room() {
        let mut fetch = MetadataFetch::default();
        for key in 0..3 {
            assert!(fetch.begin(NOW, PeerKey(key), 100));
        }
        assert!(!fetch.begin(NOW, PeerKey(9), 100));
        let later = NOW + PATIENCE;
        fetch.expire(later, false);
        assert!(fetch.begin(later, PeerKey(9), 100));
    }

    #[test]
    fn one_that_trickles_makes_room_while_others_wait_and_has_twice_the_time_the_next_time() {
        let mut fetch = MetadataFetch::default();
        let mut now = NOW;
        for tenths in [100, 200, 400] {
            assert!(fetch.begin(now, A, METADATA_MAX));
            for tenth in 0..tenths {
                assert!(fetch.is_asking(A), "after {tenth} of {tenths} tenths of a second");
                now += Duration::from_millis(100);
                if tenth % 40 == 0 {
                    let next = fetch.attempts[&A].received_pieces();
                    assert_eq!(fetch.received(now, A, next, &[1; 16384]), Step::More);
                }
                fetch.expire(now, true);
            }
            assert!(!fetch.is_asking(A));
        }
        assert_eq!(fetch.failures(A), 3);
        fetch.give_up(A);
        assert!(fetch.failed.is_empty(), "who is gone is not remembered");
    }
}
