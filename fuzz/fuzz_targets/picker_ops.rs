//! Any calls a torrent could make on a picker, compared with the naive model after each.
#![no_main]

use libfuzzer_sys::fuzz_target;
use swarm_core::proto::picker::model;

fuzz_target!(|input: (u64, &[u8])| {
    let (seed, bytes) = input;
    model::run(seed, bytes);
});
