//! Any calls a torrent could make on a picker, compared with the naive model after each.

use super::script::Script;
use swarm_core::proto::picker::model;

/// A seed, then the calls.
pub fn run(bytes: &[u8]) {
    let mut script = Script::new(bytes);
    model::run(script.long(), script.rest());
}
