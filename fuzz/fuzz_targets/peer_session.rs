#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| swarm_fuzz::peer_session::run(bytes));
