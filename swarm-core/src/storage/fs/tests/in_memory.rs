//! What may be sent from its file is what a read would give, and only where nothing waits.

use super::{NAME, Sample};
use crate::storage::{Extent, Storage as _};
use proptest::prelude::*;
use std::io::IoSliceMut;
use std::os::unix::fs::FileExt as _;

/// A folder in memory, where the answer does not depend on what the system has dropped.
fn folder() -> Option<tempfile::TempDir> {
    tempfile::tempdir_in("/dev/shm").ok()
}

fn bytes(extent: &Extent) -> Vec<u8> {
    let mut bytes = vec![0; usize::try_from(extent.length).unwrap()];
    extent.file.read_exact_at(&mut bytes, extent.offset).unwrap();
    bytes
}

fn sample() -> Sample {
    Sample::folder(&[("a", 50_000), (".pad/1", 536), ("b", 40_000), ("c", 3)], 16_384)
}

#[test]
fn only_files_that_are_open_already_are_told_of() {
    let Some(folder) = folder() else { return };
    let sample = sample();
    for file in [0, 2, 3] {
        sample.place(folder.path(), file, sample.file_bytes(file));
    }
    let storage = sample.seed(&folder.path().join(NAME)).unwrap();
    assert!(storage.in_memory(0..10).is_none());
    storage.read_at(20, &mut [IoSliceMut::new(&mut [0; 1])]).unwrap();
    assert_eq!(bytes(&storage.in_memory(0..10).unwrap()), sample.bytes(0..10));
    assert!(storage.in_memory(50_600..50_700).is_none(), "another file");
    assert!(storage.in_memory(50_100..50_200).is_none(), "a pad file");
    assert!(storage.in_memory(0..0).is_none());
    assert!(storage.in_memory(u64::MAX - 1..u64::MAX).is_none());
}

#[test]
fn files_that_move_and_files_that_are_too_short_are_not_told_of() {
    let Some(folder) = folder() else { return };
    let sample = Sample::single(50_000, 16_384);
    sample.place(folder.path(), 0, sample.file_bytes(0));
    let storage = sample.seed(&folder.path().join(NAME)).unwrap();
    storage.read_at(0, &mut [IoSliceMut::new(&mut [0; 1])]).unwrap();
    let held = storage.slots_mut();
    assert!(storage.in_memory(0..10).is_none(), "and nobody waits");
    drop(held);
    assert!(storage.in_memory(0..50_000).is_some());
    let file = std::fs::File::options().write(true).open(folder.path().join(NAME)).unwrap();
    file.set_len(30_000).unwrap();
    assert!(storage.in_memory(20_000..30_001).is_none());
    assert!(storage.in_memory(20_000..30_000).is_some());
}

#[test]
fn bytes_of_files_that_are_not_wanted_are_not_sent_from_where_they_are_kept() {
    let Some(folder) = folder() else { return };
    let sample = sample();
    let storage = sample.open(folder.path(), &[2], false).unwrap();
    for piece in sample.pieces_of(&[2]) {
        sample.write(&storage, piece).unwrap();
    }
    let start = sample.layout.extents()[2].offset;
    assert!(storage.in_memory(start - 600..start - 590).is_none());
    assert!(storage.in_memory(start..start + 10).is_some());
}

proptest! {
    #[test]
    fn what_is_told_of_is_the_beginning_of_what_a_read_gives(
        ranges in prop::collection::vec((0u64..91_000, 1u64..40_000), 1..20),
    ) {
        let Some(folder) = folder() else { return Ok(()) };
        let sample = sample();
        sample.run(folder.path(), &sample.all(), false).unwrap();
        let storage = sample.open_all(folder.path());
        for (start, length) in ranges {
            let start = start.min(sample.layout.total_length() - 1);
            let end = (start + length).min(sample.layout.total_length());
            storage.read_at(start, &mut [IoSliceMut::new(&mut [0; 1])]).unwrap();
            if let Some(extent) = storage.in_memory(start..end) {
                prop_assert!(extent.length >= 1 && extent.length <= end - start);
                prop_assert_eq!(bytes(&extent), sample.bytes(start..start + extent.length));
            }
        }
    }
}
