//! Slots while fetching: tit for tat.
//!
//! Regular slots go to those who send us most; one slot in [`OPTIMISTIC_SLOTS_PER`], and
//! every slot that nobody earns, goes round among the others. A peer that takes without
//! giving therefore gets its turn and no more, however many friends it has (LIMITS B36).
//!
//! Holders have an edge over challengers, a large one in their first round, so that two
//! equals do not swap a slot every ten seconds and lose their requests each time.

use super::{Candidate, Chosen, Contest, Kind, ROUND};
use std::cmp::Reverse;

/// Bytes per second below which nobody earns a slot: a trickle is no service.
pub const EARN_MIN: u64 = 1024;
/// One slot in so many is optimistic, at least one.
pub const OPTIMISTIC_SLOTS_PER: usize = 8;

impl Contest<'_> {
    /// The decision of a round.
    pub(super) fn rank(mut self) -> Chosen {
        let mut chosen = Chosen::new();
        let mut earners = self.others(&chosen);
        earners.retain(|peer| earns(peer));
        earners.sort_by_key(|peer| Reverse(self.merit(peer)));
        earners.truncate(self.regular());
        self.seat(&mut chosen, &earners, Kind::Regular);
        self.keep_turns(&mut chosen);
        self.draw(&mut chosen);
        self.keep_any(&mut chosen);
        chosen
    }

    /// Between rounds: holders stay, free slots go to whom they belong.
    pub(super) fn fill_by_merit(mut self) -> Chosen {
        let mut chosen = self.incumbents();
        let held = chosen.iter().filter(|(_, kind)| *kind == Kind::Regular).count();
        let mut earners = self.others(&chosen);
        earners.retain(|peer| earns(peer));
        earners.sort_by_key(|peer| Reverse(peer.down_rate));
        earners.truncate(self.regular().saturating_sub(held));
        self.seat(&mut chosen, &earners, Kind::Regular);
        self.draw(&mut chosen);
        chosen
    }

    /// When the slots cannot be filled otherwise, those whose turn is over go on: the
    /// latest to come first.
    fn keep_any(&self, chosen: &mut Chosen) {
        let mut over = self.others(chosen);
        over.retain(|peer| self.held(peer.peer).is_some());
        over.sort_by_key(|peer| self.held(peer.peer));
        self.seat(chosen, &over, Kind::Optimistic);
    }

    fn regular(&self) -> usize {
        let slots = self.choker.slots;
        slots - (slots / OPTIMISTIC_SLOTS_PER).max(1)
    }

    /// A peer's rate in quarters, with the edge of a holder.
    fn merit(&self, peer: &Candidate) -> u64 {
        let factor = match self.choker.turns.get(&peer.peer) {
            Some(turn) if self.now.since(turn.since) < ROUND => 8,
            Some(turn) if turn.kind == Kind::Regular => 5,
            Some(_) | None => 4,
        };
        peer.down_rate.saturating_mul(factor)
    }
}

const fn earns(peer: &Candidate) -> bool {
    !peer.snubbed && peer.down_rate >= EARN_MIN
}
