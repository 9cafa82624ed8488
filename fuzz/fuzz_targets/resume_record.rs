#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| swarm_fuzz::resume_record::run(bytes));
