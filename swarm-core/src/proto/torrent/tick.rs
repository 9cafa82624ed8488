//! What time alone brings: timeouts, keep-alives, pipeline depths, choke rounds.
//!
//! Ticks come four times a second while blocks move, and as rarely as timeouts allow when
//! nothing does.

use super::super::PeerKey;
use super::super::input::CloseReason;
use super::super::peer::{IDLE_TIMEOUT, KEEP_ALIVE, Peer, USELESS_TIMEOUT};
use super::{Phase, Torrent};
use crate::types::{Limit, Moment};
use crate::wire::Message;
use std::time::Duration;

/// Between two ticks while blocks move.
pub(super) const BUSY: Duration = Duration::from_millis(250);
/// Between two ticks while peers are connected and nothing moves.
const QUIET: Duration = Duration::from_secs(10);

enum Due {
    Close(CloseReason, Limit),
    KeepAlive,
    Snub,
}

impl Torrent {
    pub(super) fn tick(&mut self, now: Moment) {
        self.next_tick = Moment::NEVER;
        if !self.is_active() {
            return;
        }
        let keys: Vec<PeerKey> = self.peers.keys().copied().collect();
        for key in keys {
            self.tick_peer(now, key);
        }
        if now >= self.choker.deadline() && !self.peers.is_empty() {
            self.rechoke(now);
        }
        self.tick_fleet(now);
        if self.phase == Phase::Metadata {
            self.seek_metadata(now);
        }
        self.count_neighbours(now);
        self.review_appetite(now);
        self.exchange_peers(now);
        self.dial(now);
        self.next_tick = self.pace(now);
    }

    fn tick_peer(&mut self, now: Moment, key: PeerKey) {
        let Some(peer) = self.peers.get_mut(&key) else { return };
        if peer.upload.interested || peer.download.interested || self.phase == Phase::Metadata {
            peer.times.useful = now;
        }
        peer.download.pipeline.tune(now);
        match due(now, peer) {
            Some(Due::Close(why, limit)) => {
                self.hit(limit);
                self.disconnect(now, key, why);
            }
            Some(Due::KeepAlive) => self.send(now, key, Message::KeepAlive),
            Some(Due::Snub) => self.snub(now, key),
            None if self.holds_up_the_end(now, key) => self.snub(now, key),
            None => {}
        }
        self.review_trickle(now, key);
        self.review_interest(now, key);
    }

    /// Whether everything that is missing is asked for, this peer is late with its part, and
    /// another could give it: the last blocks wait for nobody's full patience.
    fn holds_up_the_end(&self, now: Moment, key: PeerKey) -> bool {
        let (Some(content), Some(peer)) = (&self.content, self.peers.get(&key)) else {
            return false;
        };
        // What one that is snubbing us already owes is copied by anybody who is idle.
        let pipeline = &peer.download.pipeline;
        if !content.picker.in_endgame() || pipeline.is_snubbed() || !pipeline.is_late(now) {
            return false;
        }
        let could = |other: &&Peer| {
            other.key != key
                && !other.download.choked
                && !other.download.pipeline.is_snubbed()
                && !other.download.pipeline.is_late(now)
        };
        let mut others = self.peers.values().filter(could).filter_map(Peer::known);
        others.any(|have| pipeline.owed_blocks().any(|block| have.contains(block.piece)))
    }

    fn pace(&self, now: Moment) -> Moment {
        if self.peers.is_empty() {
            return Moment::NEVER;
        }
        let busy = self.peers.values().any(|peer| {
            peer.is_busy()
                || peer.upload.passed.is_some()
                || (self.phase == Phase::Downloading
                    && peer.download.interested
                    && !peer.download.choked)
        });
        if busy || self.phase == Phase::Metadata {
            return now + BUSY;
        }
        let timeouts = self.peers.values().map(Peer::deadline).min().unwrap_or(Moment::NEVER);
        let waiting = self.peers.values().any(|peer| peer.upload.interested);
        let choker = if waiting { self.choker.deadline() } else { Moment::NEVER };
        let hunger = self.appetite.deadline().unwrap_or(Moment::NEVER);
        timeouts.min(choker).min(hunger).min(now + QUIET).max(now + BUSY)
    }
}

fn due(now: Moment, peer: &Peer) -> Option<Due> {
    let times = &peer.times;
    if now - times.heard >= IDLE_TIMEOUT {
        Some(Due::Close(CloseReason::Idle, Limit::IdleTime))
    } else if now - times.useful >= USELESS_TIMEOUT {
        Some(Due::Close(CloseReason::Redundant, Limit::UselessTime))
    } else if peer.download.pipeline.snub_at().is_some_and(|at| now >= at) {
        Some(Due::Snub)
    } else if now - times.spoke >= KEEP_ALIVE {
        Some(Due::KeepAlive)
    } else {
        None
    }
}
