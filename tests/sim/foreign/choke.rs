//! Whom a stranger serves, and how.

use super::{Foreign, Remote};
use std::time::Duration;
use swarm_core::proto::event::Phase;
use swarm_core::proto::{Output, PeerKey};
use swarm_core::types::{Moment, Span};
use swarm_core::wire::Message;

/// Peers served at once, the optimistic one included.
const SLOTS: usize = 8;
/// Between two rankings.
const ROUND: Duration = Duration::from_secs(15);
/// The optimistic slot changes hands every so many rounds.
const OPTIMISTIC_ROUNDS: u32 = 2;
/// Blocks handed to the driver at once for each peer.
const SENDING_MAX: usize = 8;
/// Requests that may wait.
const ASKED_MAX: usize = 500;

/// How long a seed serves one peer while others wait.
const TURN: Duration = Duration::from_secs(60);

/// Smaller is better.
type Rank = (u8, u64);

impl Foreign {
    /// Ranks everybody who wants something anew.
    pub(super) fn round(&mut self, now: Moment) {
        self.next_round = now + ROUND;
        self.rounds += 1;
        for peer in self.peers.values_mut() {
            peer.rate = std::mem::take(&mut peer.came);
        }
        let mut ranked: Vec<(Rank, PeerKey)> = self
            .peers
            .iter()
            .filter(|(_, peer)| peer.wanted)
            .map(|(key, peer)| (self.rank(now, peer), *key))
            .collect();
        ranked.sort_unstable();
        let mut served: Vec<PeerKey> = ranked.iter().take(SLOTS - 1).map(|(_, key)| *key).collect();
        served.extend(self.optimist(&ranked));
        let all: Vec<PeerKey> = self.peers.keys().copied().collect();
        for key in all {
            if !served.contains(&key) {
                self.choke(key);
            }
        }
        for key in served {
            self.unchoke(now, key);
        }
    }

    /// Best first: who gave most; at a seed whose turn lasts, who had none for longest, the rest.
    fn rank(&self, now: Moment, peer: &Remote) -> Rank {
        if self.phase != Phase::Seeding {
            return (0, u64::MAX - peer.rate);
        }
        let class = match peer.choking {
            true => 1,
            false if now - peer.unchoked_at < TURN => 0,
            false => 2,
        };
        (class, peer.unchoked_at.as_micros())
    }

    fn optimist(&mut self, ranked: &[(Rank, PeerKey)]) -> Option<PeerKey> {
        let rest: Vec<PeerKey> = ranked.iter().skip(SLOTS - 1).map(|(_, key)| *key).collect();
        let stays = rest.iter().copied().find(|key| self.peers[key].optimistic);
        if !self.rounds.is_multiple_of(OPTIMISTIC_ROUNDS) && stays.is_some() {
            return stays;
        }
        for peer in self.peers.values_mut() {
            peer.optimistic = false;
        }
        let chosen = (!rest.is_empty()).then(|| rest[self.rng.index(rest.len())])?;
        self.peers.get_mut(&chosen)?.optimistic = true;
        Some(chosen)
    }

    pub(super) fn on_interest(&mut self, now: Moment, key: PeerKey) {
        if !self.peers[&key].wanted {
            self.choke(key);
        }
        self.refill_slots(now);
    }

    /// Free slots go to those who wait, at once.
    pub(super) fn refill_slots(&mut self, now: Moment) {
        if !self.is_ready() {
            return;
        }
        let served = self.peers.values().filter(|peer| !peer.choking).count();
        let mut waiting: Vec<(u64, PeerKey)> = self
            .peers
            .iter()
            .filter(|(_, peer)| peer.wanted && peer.choking)
            .map(|(key, peer)| (u64::MAX - peer.rate, *key))
            .collect();
        waiting.sort_unstable();
        for (_, key) in waiting.into_iter().take(SLOTS.saturating_sub(served)) {
            self.unchoke(now, key);
        }
    }

    fn unchoke(&mut self, now: Moment, key: PeerKey) {
        let Some(peer) = self.peers.get_mut(&key) else { return };
        if std::mem::replace(&mut peer.choking, false) {
            peer.unchoked_at = now;
            self.send(key, Message::Unchoke);
        }
    }

    fn choke(&mut self, key: PeerKey) {
        let Some(peer) = self.peers.get_mut(&key) else { return };
        if std::mem::replace(&mut peer.choking, true) {
            return;
        }
        let dropped = std::mem::take(&mut peer.asked);
        self.send(key, Message::Choke);
        for span in dropped {
            self.reject(key, span);
        }
    }

    pub(super) fn reject(&mut self, key: PeerKey, span: Span) {
        if self.peers.get(&key).is_some_and(|peer| peer.fast) {
            self.send(key, Message::Reject(span));
        }
    }

    pub(super) fn on_request(&mut self, key: PeerKey, span: Span) {
        let Some(peer) = self.peers.get_mut(&key) else { return };
        if peer.choking || !self.have.contains(span.piece) || peer.asked.len() >= ASKED_MAX {
            return self.reject(key, span);
        }
        peer.asked.push_back(span);
        self.serve(key);
    }

    fn serve(&mut self, key: PeerKey) {
        let Some(peer) = self.peers.get_mut(&key) else { return };
        while peer.sending < SENDING_MAX
            && let Some(span) = peer.asked.pop_front()
        {
            peer.sending += 1;
            self.outbox.push_back(Output::Serve { peer: key, span });
        }
    }

    pub(super) fn on_sent(&mut self, key: PeerKey, span: Span) {
        let Some(peer) = self.peers.get_mut(&key) else { return };
        peer.sending = peer.sending.saturating_sub(1);
        self.uploaded += u64::from(span.length);
        self.serve(key);
    }
}
