//! Slots while seeding: everybody in turn.
//!
//! A turn ends when a minute has passed, or when the peer has taken its quota and a round
//! has passed; a peer that takes nothing ends its own. Who has waited longest, since its
//! last turn or since it connected, is next: to connect anew gains nothing. So the fast are
//! not kept from their bytes, the slow not from their time, and nobody gets a second turn
//! before everybody who waits has had one (LIMITS B36).
//!
//! Not here: first-copy order, deficits between fleet members.

use super::{Candidate, Chosen, Contest, Kind, ROUND};
use crate::proto::PeerKey;
use std::time::Duration;

/// Longest turn while others wait.
pub const SEED_TURN: Duration = Duration::from_secs(60);
/// Bytes of a turn while others wait: some pieces of any usual torrent, so that the peer
/// has something whole to pass on.
pub const SEED_QUOTA_BYTES: u64 = 32 << 20;

impl Contest<'_> {
    /// The decision of a round.
    pub(super) fn rotate(self) -> Chosen {
        let mut chosen = self.incumbents();
        chosen.retain(|(peer, _)| !self.is_over(*peer));
        self.call(&mut chosen);
        // Turns that are over go on where nobody takes the slot: least served first.
        let mut over = self.others(&chosen);
        over.retain(|peer| self.held(peer.peer).is_some());
        over.sort_by_key(|peer| (self.is_idle(peer), peer.uploaded_since_unchoke));
        self.seat(&mut chosen, &over, Kind::Optimistic);
        chosen
    }

    /// Between rounds: holders stay, free slots go to who has waited longest.
    pub(super) fn fill_in_turn(self) -> Chosen {
        let mut chosen = self.incumbents();
        self.call(&mut chosen);
        chosen
    }

    /// Gives the free slots to those who wait, who has waited longest first.
    fn call(&self, chosen: &mut Chosen) {
        let mut waiting = self.others(chosen);
        waiting.retain(|peer| self.held(peer.peer).is_none());
        waiting.sort_by_key(|peer| {
            let served = self.choker.served.get(&peer.peer).copied();
            served.unwrap_or(peer.connected_at)
        });
        self.seat(chosen, &waiting, Kind::Optimistic);
    }

    fn is_over(&self, peer: PeerKey) -> bool {
        let held = self.held(peer).unwrap_or_default();
        let peer = self.interested.iter().find(|other| other.peer == peer);
        peer.is_none_or(|peer: &&Candidate| {
            let quota = peer.uploaded_since_unchoke >= SEED_QUOTA_BYTES && held >= ROUND;
            held >= SEED_TURN || quota || self.is_idle(peer)
        })
    }
}
