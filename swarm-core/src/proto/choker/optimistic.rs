//! Slots that go round while fetching: who is next, and for how long.
//!
//! Drawn by lot, newcomers with three lots (BEP 3), and each peer once per lap: nobody is
//! drawn again before everybody was who was there when the lap began. Newcomers join the
//! lap but do not prolong it, so that no stream of them keeps the others out.

use super::{Candidate, Chosen, Contest, Kind};
use crate::proto::PeerKey;
use rand::seq::IndexedRandom;
use std::iter;
use std::time::Duration;

/// How long an optimistic slot is held (BEP 3: thirty seconds).
pub const OPTIMISTIC_TURN: Duration = Duration::from_secs(30);
/// How long a connection counts as new.
pub const NEWCOMER_FOR: Duration = Duration::from_secs(60);
/// Lots of a newcomer, where others have one.
pub const NEWCOMER_LOTS: usize = 3;

impl Contest<'_> {
    /// Keeps the optimistic turns that are not over, the latest first.
    pub(super) fn keep_turns(&self, chosen: &mut Chosen) {
        let mut turns = self.others(chosen);
        let optimistic = |peer: &Candidate| {
            let turn = self.choker.turns.get(&peer.peer);
            turn.is_some_and(|turn| turn.kind == Kind::Optimistic)
        };
        let lasts =
            |peer: &Candidate| self.held(peer.peer).is_some_and(|held| held < OPTIMISTIC_TURN);
        turns.retain(|peer| optimistic(peer) && lasts(peer) && !self.is_idle(peer));
        turns.sort_by_key(|peer| self.held(peer.peer));
        self.seat(chosen, &turns, Kind::Optimistic);
    }

    /// Draws peers that hold no slot until every slot is taken or nobody waits.
    pub(super) fn draw(&mut self, chosen: &mut Chosen) {
        while chosen.len() < self.choker.slots {
            let mut waiting = self.others(chosen);
            waiting.retain(|peer| self.held(peer.peer).is_none());
            let mut hat = self.of_this_lap(&waiting);
            if hat.iter().all(|peer| peer.connected_at > self.choker.lap) {
                self.choker.lap = self.now;
                hat = self.of_this_lap(&waiting);
            }
            if hat.is_empty() {
                hat = waiting;
            }
            let lots = hat.iter().flat_map(|peer| iter::repeat_n(peer.peer, self.lots(peer)));
            let lots: Vec<PeerKey> = lots.collect();
            let Some(drawn) = lots.choose(&mut self.choker.rng) else { return };
            chosen.push((*drawn, Kind::Optimistic));
        }
    }

    /// Those who were not served since the lap began.
    fn of_this_lap<'a>(&self, waiting: &[&'a Candidate]) -> Vec<&'a Candidate> {
        let served = |peer: &Candidate| self.choker.served.get(&peer.peer).copied();
        let left = |peer: &Candidate| served(peer).is_none_or(|served| served < self.choker.lap);
        waiting.iter().copied().filter(|peer| left(peer)).collect()
    }

    fn lots(&self, peer: &Candidate) -> usize {
        if self.now.since(peer.connected_at) < NEWCOMER_FOR { NEWCOMER_LOTS } else { 1 }
    }
}
