//! What was there before: each arrow of the diagram at the head of the module.

use super::{NAME, OpenError, Sample, is_conflict, tree};
use crate::storage::Storage as _;
use crate::types::{FileIndex, PieceIndex};
use std::io::{ErrorKind, IoSlice, IoSliceMut};
use std::path::Path;

fn two_files() -> Sample {
    // Pieces of 64: `a` is 0 and 1 and part of 2, `b` the rest of 2, and 3.
    Sample::folder(&[("a", 150), ("sub/b", 100)], 64)
}

#[test]
fn a_complete_file_is_recognised_and_not_touched() {
    for sample in [Sample::single(100, 64), two_files()] {
        let folder = tempfile::tempdir().unwrap();
        for file in sample.all() {
            sample.place(folder.path(), file, sample.file_bytes(file));
        }
        assert_eq!(sample.run(folder.path(), &sample.all(), false).unwrap(), 0);
        sample.expect_published(folder.path(), &sample.all());
    }
}

#[test]
fn bytes_that_are_not_verified_touch_no_finished_file_and_make_no_conflict() {
    let (folder, sample) = (tempfile::tempdir().unwrap(), two_files());
    sample.place(folder.path(), 0, sample.file_bytes(0));
    let storage = sample.open_all(folder.path());
    storage.settle(&sample.check(&storage)).unwrap();
    // The end of `a` and the start of `b`.
    let range = sample.geometry.piece_range(PieceIndex::new(2));
    let right = sample.bytes(range.clone()).to_vec();
    let mut wrong = right.clone();
    wrong[0] ^= 1;
    let read = || {
        let mut back = vec![0; right.len()];
        storage.read_unverified(range.start, &mut [IoSliceMut::new(&mut back)]).unwrap();
        back
    };
    let (head, tail) = wrong.split_at(7);
    let bufs = [IoSlice::new(head), IoSlice::new(tail)];
    storage.write_unverified(range.start, &bufs).unwrap();
    assert_eq!(read(), wrong);
    assert_eq!(
        std::fs::read(folder.path().join(sample.final_path(0))).unwrap(),
        sample.file_bytes(0)
    );
    assert_eq!(storage.accept(range.clone()).unwrap_err().kind(), ErrorKind::AlreadyExists);
    storage.write_unverified(range.start, &[IoSlice::new(&right)]).unwrap();
    assert_eq!(read(), right);
    storage.accept(range).unwrap();
    assert!(sample.check(&storage).contains(PieceIndex::new(2)), "it counts as written");
    sample.write(&storage, PieceIndex::new(3)).unwrap();
    storage.finish().unwrap();
    sample.expect_published(folder.path(), &[0, 1]);
}

#[test]
fn a_file_of_another_length_is_a_conflict_at_once() {
    let folder = tempfile::tempdir().unwrap();
    let sample = Sample::single(100, 64);
    sample.place(folder.path(), 0, b"mine");
    assert!(is_conflict(sample.open(folder.path(), &[0], false), &folder.path().join(NAME)));
    assert_eq!(tree(folder.path()).len(), 1, "no lock is left behind");
}

#[test]
fn a_file_with_other_bytes_is_a_conflict_after_the_check_and_stays() {
    for sample in [Sample::single(150, 64), two_files()] {
        let folder = tempfile::tempdir().unwrap();
        let mut other = sample.file_bytes(0).to_vec();
        other[3] ^= 1;
        sample.place(folder.path(), 0, &other);
        let path = folder.path().join(sample.final_path(0));
        assert!(is_conflict(sample.run(folder.path(), &sample.all(), false), &path));
        assert_eq!(tree(folder.path()), [(sample.final_path(0), other)].into());
    }
}

#[test]
fn overwrite_repairs_in_the_part_and_keeps_good_pieces() {
    for sample in [Sample::single(150, 64), two_files()] {
        let folder = tempfile::tempdir().unwrap();
        for file in sample.all() {
            let mut bytes = sample.file_bytes(file).to_vec();
            if file == 0 {
                bytes[3] ^= 1;
            }
            sample.place(folder.path(), file, &bytes);
        }
        assert_eq!(sample.run(folder.path(), &sample.all(), true).unwrap(), 1);
        sample.expect_published(folder.path(), &sample.all());
    }
}

#[test]
fn overwrite_replaces_files_that_are_too_long_or_too_short() {
    for length in [0, 3, 1000] {
        let folder = tempfile::tempdir().unwrap();
        let sample = Sample::single(100, 64);
        sample.place(folder.path(), 0, &vec![9; length]);
        assert_eq!(sample.run(folder.path(), &[0], true).unwrap(), 2);
        sample.expect_published(folder.path(), &[0]);
    }
}

#[test]
fn the_bad_file_is_named_when_a_piece_can_tell_and_the_folder_when_none_can() {
    let sample = Sample::folder(&[("a", 10), ("b", 10)], 64);
    let folder = tempfile::tempdir().unwrap();
    sample.place(folder.path(), 0, sample.file_bytes(0));
    sample.place(folder.path(), 1, &[0; 10]);
    assert!(is_conflict(sample.run(folder.path(), &[0, 1], false), &folder.path().join(NAME)));
}

#[test]
fn a_folder_in_place_of_a_file_is_a_conflict_even_to_overwrite() {
    let folder = tempfile::tempdir().unwrap();
    let sample = Sample::single(100, 64);
    std::fs::create_dir(folder.path().join(NAME)).unwrap();
    assert!(is_conflict(sample.open(folder.path(), &[0], true), &folder.path().join(NAME)));
    let sample = two_files();
    std::fs::create_dir(folder.path().join(NAME).join("a")).unwrap();
    let at = folder.path().join(NAME).join("a");
    assert!(is_conflict(sample.open(folder.path(), &[0], true), &at));
    std::fs::write(folder.path().join(NAME).join("sub"), "a file where a folder is due").unwrap();
    let at = folder.path().join(NAME).join("sub/b");
    assert!(is_conflict(sample.open(folder.path(), &[1], true), &at));
}

#[test]
fn a_file_that_appears_while_fetching_is_not_overwritten() {
    for sample in [Sample::single(150, 64), two_files()] {
        let folder = tempfile::tempdir().unwrap();
        let storage = sample.open_all(folder.path());
        for piece in sample.geometry.pieces() {
            sample.write(&storage, piece).unwrap();
        }
        sample.place(folder.path(), 0, b"mine");
        assert_eq!(storage.finish().unwrap_err().kind(), ErrorKind::AlreadyExists);
        assert_eq!(std::fs::read(folder.path().join(sample.final_path(0))).unwrap(), b"mine");
        std::fs::remove_file(folder.path().join(sample.final_path(0))).unwrap();
        storage.finish().unwrap();
        drop(storage);
        sample.expect_published(folder.path(), &sample.all());
    }
}

#[test]
fn fetching_the_rest_later_keeps_what_was_fetched_alone() {
    for first in 0..2 {
        let folder = tempfile::tempdir().unwrap();
        let sample = two_files();
        sample.run(folder.path(), &[first], false).unwrap();
        sample.expect_published(folder.path(), &[first]);
        assert_eq!(sample.run(folder.path(), &[first], false).unwrap(), 0, "nothing to do");
        let rest = sample.run(folder.path(), &[0, 1], false).unwrap();
        assert!(rest < 4, "{rest} pieces fetched again");
        sample.expect_published(folder.path(), &[0, 1]);
    }
}

#[test]
fn a_run_that_wanted_less_hands_its_shared_bytes_on() {
    let folder = tempfile::tempdir().unwrap();
    let sample = two_files();
    let storage = sample.open(folder.path(), &[0], false).unwrap();
    for piece in sample.pieces_of(&[0]) {
        sample.write(&storage, piece).unwrap();
    }
    drop(storage);
    let storage = sample.open_all(folder.path());
    let good = sample.check(&storage);
    assert!(good.contains(PieceIndex::new(2)), "the piece at the edge needs not come again");
    assert_eq!(good.count(), 3);
}

#[test]
fn a_partial_file_that_is_not_wanted_any_more_is_not_published() {
    let folder = tempfile::tempdir().unwrap();
    let sample = two_files();
    let storage = sample.open_all(folder.path());
    sample.write(&storage, PieceIndex::new(0)).unwrap();
    drop(storage);
    sample.run(folder.path(), &[1], false).unwrap();
    assert!(!folder.path().join(NAME).join("a").exists());
    assert!(folder.path().join("name.part/a").exists(), "it waits for the day it is wanted");
    let left = sample.run(folder.path(), &[0, 1], false).unwrap();
    assert!(left < 3, "its first piece was kept, {left} came");
    sample.expect_published(folder.path(), &[0, 1]);
}

#[test]
fn a_finished_file_that_disagrees_with_a_piece_at_its_edge_is_a_conflict() {
    let folder = tempfile::tempdir().unwrap();
    let sample = two_files();
    let mut other = sample.file_bytes(0).to_vec();
    *other.last_mut().unwrap() ^= 1;
    sample.place(folder.path(), 0, &other);
    let storage = sample.open_all(folder.path());
    storage.settle(&sample.check(&storage)).unwrap();
    let error = sample.write(&storage, PieceIndex::new(2)).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::AlreadyExists);
    assert_eq!(error.path, folder.path().join(NAME).join("a"));
    drop(storage);
    assert_eq!(sample.run(folder.path(), &[0, 1], true).unwrap(), 2, "overwrite repairs it");
    sample.expect_published(folder.path(), &[0, 1]);
}

#[test]
fn choosing_more_files_while_running_keeps_verified_pieces_readable() {
    let folder = tempfile::tempdir().unwrap();
    let sample = two_files();
    let storage = sample.open(folder.path(), &[0], false).unwrap();
    for piece in sample.pieces_of(&[0]) {
        sample.write(&storage, piece).unwrap();
    }
    storage.finish().unwrap();
    storage.select(&|_| true).unwrap();
    assert_eq!(sample.check(&storage).count(), 3);
    sample.write(&storage, PieceIndex::new(3)).unwrap();
    storage.finish().unwrap();
    drop(storage);
    sample.expect_published(folder.path(), &[0, 1]);
}

#[test]
fn choosing_a_file_that_is_there_but_unchecked_is_a_conflict() {
    let folder = tempfile::tempdir().unwrap();
    let sample = two_files();
    sample.place(folder.path(), 1, sample.file_bytes(1));
    let storage = sample.open(folder.path(), &[0], false).unwrap();
    let only = |file: FileIndex| file.get() == 1;
    assert!(matches!(storage.select(&only), Err(OpenError::Conflict { .. })));
}

#[test]
fn a_lock_file_of_a_dead_process_is_no_obstacle() {
    let folder = tempfile::tempdir().unwrap();
    let sample = Sample::single(100, 64);
    std::fs::write(folder.path().join(".name.swarm-lock"), "").unwrap();
    sample.run(folder.path(), &[0], false).unwrap();
    assert!(!folder.path().join(".name.swarm-lock").exists());
    assert!(folder.path().join(Path::new(NAME)).exists());
}
