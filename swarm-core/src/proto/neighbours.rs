//! How many neighbours a torrent looks for, and which newcomer it sends on to others.
//!
//! A crowd is fastest when it is a random graph in which everybody has about as many neighbours
//! as everybody else, whatever the order in which they came. If each dialled all it heard of,
//! the first would be full of one another and carry every link to the rest. So:
//!
//! - A peer dials until it has [`MATES_SOUGHT`] neighbours that run our client, and then waits
//!   to be dialled: one that has been dialled often enough does not dial at all. Ten dials each
//!   make a mean of about twenty neighbours. What is left of the candidates is kept, and dialled
//!   the moment a neighbour goes.
//! - Strangers serve few at a time and by what they get, so more of them are needed:
//!   [`STRANGERS_SOUGHT`] are worth as much as ten of our own. A neighbour that neither side has
//!   wanted anything of for [`USELESS_AFTER`] counts like a stranger, whoever it is.
//! - Who only serves, as a seed or with a part, is no link between others: it counts like a
//!   stranger, for a fetch is as fast as all who serve it together. When it has nothing more that
//!   we lack it does not count at all.
//! - Who has [`MATES_KEPT`] mates sends the next one on: it has fifty candidates, and others
//!   have fewer neighbours. It is sent on once; if it comes back, it has nobody else (perhaps
//!   we are the only one that can be dialled), and is taken in.
//! - Who has all the connections it may have makes room for a newcomer: a neighbour that
//!   nobody wants anything of goes first, then of the mates beyond [`MATES_KEPT`] the one that
//!   has been here longest, for old neighbours know each other best. Rarely enough that those
//!   sent away do not chase each other: see [`DISPLACE_GAP`].
//!
//! - Whose neighbours have nothing more for it ([`Appetite`]) looks for ten more, and again, up to all
//!   the connections that it may have: what it lacks may be with those that it has not met. In a
//!   crowd that starts at once nobody has anything for a moment, so it takes its time.
//!
//! Nothing here needs to be true of a mate: who claims to be one is dialled less often.
//!
//! Not here: whom to dial and when (`candidates`).

use crate::types::{Moment, PeerId};
use std::collections::BTreeMap;
use std::time::Duration;

/// Neighbours of our own kind after which nobody is dialled any more.
pub const MATES_SOUGHT: usize = 10;
/// Who is owed nothing for so long, and lacks something still, looks for as many again.
pub const STARVED_AFTER: Duration = Duration::from_secs(2);
/// Strangers that are worth as much.
pub const STRANGERS_SOUGHT: usize = 50;
/// Mates that are taken in without asking them to look elsewhere first.
pub const MATES_KEPT: usize = 30;
/// Without interest on either side for this long, a neighbour is of little use.
pub const USELESS_AFTER: Duration = Duration::from_secs(60);
/// Between two neighbours that make room for newcomers.
pub const DISPLACE_GAP: Duration = Duration::from_secs(2);

/// What one mate is worth, in strangers.
const MATE_WORTH: usize = STRANGERS_SOUGHT / MATES_SOUGHT;
/// Newcomers remembered that were sent on.
const SENT_ON_MAX: usize = 256;
/// How long they are remembered.
const SENT_ON_TIME: Duration = Duration::from_secs(300);
/// What two ids of one kind of client begin with alike: `-`, then two letters (BEP 20).
const KIND_LEN: usize = 3;

/// The neighbours of a torrent, counted.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Neighbours {
    /// Neighbours that run our client, fetch, and are of use.
    pub mates: usize,
    /// Those who only serve, and have something for us.
    pub serving: usize,
    /// Those who only serve, and have nothing more for us.
    pub spent: usize,
    /// All others.
    pub strangers: usize,
    /// Dials under way.
    pub dialling: usize,
}

/// Whether two peers run the same kind of client, as far as their ids say.
#[must_use]
pub fn are_mates(one: &PeerId, other: &PeerId) -> bool {
    let kind = |id: &PeerId| id.as_bytes().first_chunk::<KIND_LEN>().copied();
    kind(one) == kind(other) && matches!(kind(one), Some([b'-', ..]))
}

/// How many neighbours beyond the usual a fetch looks for.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Appetite {
    /// Since when nobody has owed us anything.
    starved: Option<Moment>,
    more: usize,
}

impl Appetite {
    /// Looks whether the neighbours are of use: `is_fed` when one owes us blocks, or we lack nothing.
    pub fn look(&mut self, now: Moment, is_fed: bool) {
        if is_fed {
            self.starved = None;
            return;
        }
        if now - *self.starved.get_or_insert(now) >= STARVED_AFTER {
            self.starved = Some(now);
            self.more = self.more.saturating_add(MATES_SOUGHT);
        }
    }

    /// Connections to look for beyond the usual.
    #[must_use]
    pub const fn more(&self) -> usize {
        self.more
    }

    /// When to look again, while we starve.
    #[must_use]
    pub fn deadline(&self) -> Option<Moment> {
        self.starved.map(|since| since + STARVED_AFTER)
    }
}

impl Neighbours {
    /// How many connections to look for, `more` than usual, dials under way included in what
    /// there is; `most` is how many the torrent may have.
    #[must_use]
    pub fn room(&self, most: usize, more: usize) -> usize {
        let taken = self.mates + self.serving + self.spent + self.strangers;
        let worth = self.mates * MATE_WORTH + self.serving + self.strangers;
        // Who is at the other end of a dial shows when it connects. Until more strangers than
        // mates have been met, everybody may be a mate.
        let each = if self.strangers > self.mates { 1 } else { MATE_WORTH };
        let extra = more.saturating_mul(MATE_WORTH);
        let sought = STRANGERS_SOUGHT.saturating_add(extra).saturating_sub(worth).div_ceil(each);
        sought.min(most.saturating_sub(taken)).saturating_sub(self.dialling)
    }
}

/// Decides on newcomers.
#[derive(Debug, Default)]
pub struct Doorman {
    sent_on: BTreeMap<PeerId, Moment>,
    displaced_at: Option<Moment>,
}

impl Doorman {
    /// Whether a mate that dialled us is taken in while we have so many already. Who is not
    /// should look elsewhere, and is taken in when it comes again.
    pub fn admits(&mut self, now: Moment, newcomer: PeerId, mates: usize) -> bool {
        if mates < MATES_KEPT || self.sent_on.remove(&newcomer).is_some() {
            return true;
        }
        self.sent_on.retain(|_, at| now.since(*at) < SENT_ON_TIME);
        if self.sent_on.len() >= SENT_ON_MAX {
            self.sent_on.pop_first();
        }
        self.sent_on.insert(newcomer, now);
        false
    }

    /// Whether a neighbour may be let go for a newcomer now; counts as done if so.
    pub fn may_displace(&mut self, now: Moment) -> bool {
        let is_free = self.displaced_at.is_none_or(|at| now.since(at) >= DISPLACE_GAP);
        if is_free {
            self.displaced_at = Some(now);
        }
        is_free
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn room(mates: usize, strangers: usize, dialling: usize) -> usize {
        Neighbours { mates, strangers, dialling, ..Neighbours::default() }.room(100, 0)
    }

    fn id(n: u8) -> PeerId {
        let mut id = *b"-SW0100-xxxxxxxxxxx\0";
        id[19] = n;
        PeerId::new(id)
    }

    #[test]
    fn ten_mates_are_enough() {
        assert_eq!(room(0, 0, 0), MATES_SOUGHT);
        assert_eq!(room(4, 0, 0), 6);
        assert_eq!(room(4, 0, 6), 0, "dials under way count");
        assert_eq!((room(10, 0, 0), room(30, 0, 0)), (0, 0));
    }

    #[test]
    fn of_strangers_more_are_sought_once_they_turn_out_to_be_strangers() {
        assert_eq!(room(0, 1, 9), 40, "the first to connect shows what kind of swarm it is");
        assert_eq!(room(0, 49, 0), 1);
        assert_eq!(room(0, 50, 0), 0);
        assert_eq!(room(5, 5, 0), 4);
        assert_eq!(room(5, 10, 0), 15);
    }

    #[test]
    fn there_is_never_room_for_more_than_the_torrent_may_have() {
        let few = Neighbours { strangers: 2, spent: 1, dialling: 1, ..Neighbours::default() };
        assert_eq!((few.room(5, 0), few.room(4, 0), few.room(2, 0)), (1, 0, 0));
        assert_eq!(few.room(50, usize::MAX / 8), 46);
    }

    #[test]
    fn of_those_who_only_serve_as_many_are_sought_as_of_strangers_but_not_all_at_once() {
        let room = |serving| Neighbours { serving, ..Neighbours::default() }.room(100, 0);
        assert_eq!([0, 1, 10, 25, 49, 50].map(room), [10, 10, 8, 5, 1, 0]);
    }

    #[test]
    fn who_has_nothing_more_for_us_keeps_nobody_from_being_sought() {
        let spent = Neighbours { spent: 10, ..Neighbours::default() };
        assert_eq!(spent.room(100, 0), MATES_SOUGHT);
        assert_eq!(spent.room(15, 0), 5, "but a connection is a connection");
    }

    #[test]
    fn who_starves_looks_for_ten_more_now_and_then_and_keeps_them() {
        let (mut appetite, mut now) = (Appetite::default(), Moment::ZERO);
        let ten = Neighbours { mates: 10, ..Neighbours::default() };
        for (is_fed, more) in [(false, 0), (false, 10), (false, 20), (true, 20), (false, 20)] {
            now += STARVED_AFTER;
            appetite.look(now, is_fed);
            assert_eq!((appetite.more(), ten.room(100, appetite.more())), (more, more));
        }
        assert_eq!(appetite.deadline(), Some(now + STARVED_AFTER));
        appetite.look(now + STARVED_AFTER / 2, false);
        assert_eq!(appetite.more(), 20, "not yet");
    }

    #[test]
    fn a_mate_beyond_the_limit_is_sent_on_once() {
        let (mut doorman, now) = (Doorman::default(), Moment::ZERO);
        assert!(doorman.admits(now, id(1), MATES_KEPT - 1));
        assert!(!doorman.admits(now, id(1), MATES_KEPT));
        assert!(!doorman.admits(now, id(2), MATES_KEPT));
        assert!(doorman.admits(now, id(1), MATES_KEPT), "it has nobody else");
        assert!(!doorman.admits(now, id(1), MATES_KEPT), "another day it may have");
    }

    #[test]
    fn who_was_sent_on_is_forgotten_after_a_while_and_there_are_never_many() {
        let mut doorman = Doorman::default();
        for n in 0..u8::MAX {
            doorman.admits(Moment::ZERO, id(n), MATES_KEPT);
            doorman.admits(Moment::ZERO, PeerId::new([n; 20]), MATES_KEPT);
        }
        assert_eq!(doorman.sent_on.len(), SENT_ON_MAX);
        doorman.admits(Moment::ZERO + SENT_ON_TIME, id(1), MATES_KEPT);
        assert_eq!(doorman.sent_on.len(), 1);
    }

    #[test]
    fn neighbours_make_room_one_at_a_time() {
        let (mut doorman, now) = (Doorman::default(), Moment::ZERO);
        assert!(doorman.may_displace(now));
        assert!(!doorman.may_displace(now + DISPLACE_GAP / 2));
        assert!(doorman.may_displace(now + DISPLACE_GAP));
    }

    #[test]
    fn mates_are_told_by_the_front_of_their_ids() {
        let other = PeerId::new(*b"-SW9999-zzzzzzzzzzzz");
        assert!(are_mates(&id(1), &other));
        assert!(!are_mates(&id(1), &PeerId::new(*b"-LT2010-zzzzzzzzzzzz")));
        assert!(!are_mates(&PeerId::new([7; 20]), &PeerId::new([7; 20])), "that is no client");
    }
}
