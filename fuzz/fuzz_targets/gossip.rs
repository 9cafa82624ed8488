#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| swarm_fuzz::gossip::run(bytes));
