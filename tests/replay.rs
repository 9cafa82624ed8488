//! What fuzzing found worth keeping goes through the fuzz targets again.
//!
//! Each line of `fuzz/seeds/TARGET.hex` is an input; a target fails by a panic. How the inputs come
//! there is said in `fuzz/keep`.

use crate::fuzz::TARGETS;
use std::path::{Path, PathBuf};

/// Bytes of one target's file of seeds.
const SEEDS_BYTES_MAX: usize = 100_000;

fn file_of(target: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../fuzz/seeds").join(target).with_extension("hex")
}

fn bytes_of(line: &str) -> Vec<u8> {
    let digit = |byte: u8| char::from(byte).to_digit(16).expect("two hexadecimal digits a byte");
    let byte = |pair: &[u8]| u8::try_from(digit(pair[0]) * 16 + digit(pair[1]));
    line.as_bytes().chunks(2).map(|pair| byte(pair).expect("two digits")).collect()
}

#[test]
fn every_input_that_is_kept_passes_its_target() {
    for (target, run) in TARGETS {
        let seeds = std::fs::read_to_string(file_of(target)).expect("a file of seeds");
        assert!(seeds.len() <= SEEDS_BYTES_MAX, "{target}: {} bytes", seeds.len());
        assert!(seeds.lines().count() > 1, "{target}: no seeds");
        for line in seeds.lines() {
            let input = bytes_of(line);
            let outcome = std::panic::catch_unwind(|| run(&input));
            assert!(outcome.is_ok(), "{target} fails on {line}");
        }
    }
}

/// A target that is listed nowhere is never run.
#[test]
fn every_target_is_listed_and_can_be_fuzzed() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../fuzz/fuzz_targets");
    let mut binaries: Vec<String> = std::fs::read_dir(folder)
        .expect("the targets")
        .map(|entry| entry.expect("an entry").path())
        .map(|path| path.file_stem().expect("a name").to_string_lossy().into_owned())
        .collect();
    binaries.sort();
    let listed: Vec<&str> = TARGETS.iter().map(|(name, _)| *name).collect();
    assert_eq!(binaries, listed);
}
