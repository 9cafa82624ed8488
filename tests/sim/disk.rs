//! A disk that forgets and fails.
//!
//! Pieces that were written lie in memory until a checkpoint syncs them and then claims them,
//! in this order. A crash takes what was not synced, whole or in part, and may take the claims
//! too: then everything is hashed again, and what lies there whole is found. Either way nobody
//! starts with a piece that is not there.
//!
//! Not here: the journal that keeps this promise on a real disk (`storage::fs` in the core).

use super::world::Rng;
use std::time::Duration;
use swarm_core::types::{Bitfield, Moment, PieceIndex};

/// How often the disk refuses, of a thousand.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Faults {
    pub(super) reads: u64,
    pub(super) writes: u64,
}

/// What a host's disk holds of the content.
#[derive(Debug)]
pub(super) struct Disk {
    /// Synced, and then said to be there.
    claimed: Bitfield,
    unsynced: Vec<PieceIndex>,
    synced_at: Moment,
}

/// Between two checkpoints.
const CHECKPOINT: Duration = Duration::from_secs(1);
/// A piece that could not be read is hashed again, and good, after this.
pub(super) const RESTORED_AFTER: Duration = Duration::from_secs(2);
/// A torrent that could not write is tried again after this.
pub(super) const RETRIED_AFTER: Duration = Duration::from_secs(3);

impl Disk {
    pub(super) fn new(have: Bitfield, now: Moment) -> Self {
        Self { claimed: have, unsynced: Vec::new(), synced_at: now }
    }

    /// A verified piece is written; when it is time, all that were are synced and claimed.
    pub(super) fn write(&mut self, now: Moment, piece: PieceIndex) {
        self.unsynced.push(piece);
        if now - self.synced_at >= CHECKPOINT {
            self.synced_at = now;
            for piece in self.unsynced.drain(..) {
                self.claimed.insert(piece);
            }
        }
    }

    /// What a process that starts after a crash takes for verified, and it is there.
    pub(super) fn after_crash(&self, rng: &mut Rng) -> Bitfield {
        let mut found = self.claimed.clone();
        let state_is_whole = rng.below(4) > 0;
        if !state_is_whole {
            // Of what was not synced some reached the disk: hashing finds it, and nothing torn.
            for piece in &self.unsynced {
                if rng.below(2) == 0 {
                    found.insert(*piece);
                }
            }
        }
        found
    }
}
