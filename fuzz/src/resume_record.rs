//! What a disk says an earlier run verified: refused, or within the torrent and the same again
//! when written.

use swarm_core::storage::replay_record;

/// A kind, then a record or part of one.
pub fn run(bytes: &[u8]) {
    let Some((kind, bytes)) = bytes.split_first() else { return };
    replay_record(*kind, bytes);
}
