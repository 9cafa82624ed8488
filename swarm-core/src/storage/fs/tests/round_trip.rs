//! What is written by pieces is read back, published whole, and lies nowhere else.

use super::{NAME, Sample, tree};
use crate::storage::{Presence, Run, Storage as _};
use crate::types::PieceIndex;
use proptest::prelude::*;
use std::io::{ErrorKind, IoSlice, IoSliceMut};
use std::path::Path;

#[test]
fn a_single_file_is_hidden_until_it_is_done() {
    let folder = tempfile::tempdir().unwrap();
    let sample = Sample::single(1000, 64);
    let storage = sample.open_all(folder.path());
    assert_eq!(storage.path(), folder.path().join(NAME));
    sample.write(&storage, PieceIndex::new(3)).unwrap();
    let found = tree(folder.path());
    assert_eq!(found[Path::new("name.part")].len(), 1000, "sparse, at its full length");
    assert_eq!(found.len(), 2, "the part and the lock");
    for piece in sample.geometry.pieces() {
        sample.write(&storage, piece).unwrap();
    }
    storage.finish().unwrap();
    storage.finish().unwrap();
    sample.expect_published(folder.path(), &[0]);
    assert!(sample.check(&storage).is_all(), "reads go on working");
}

#[test]
fn a_file_of_one_byte_and_empty_files_are_stored() {
    let folder = tempfile::tempdir().unwrap();
    let sample = Sample::folder(&[("empty", 0), ("a/one", 1), ("a/b/empty", 0)], 16);
    assert_eq!(sample.run(folder.path(), &sample.all(), false).unwrap(), 1);
    sample.expect_published(folder.path(), &sample.all());
    assert_eq!(sample.run(folder.path(), &sample.all(), false).unwrap(), 0);
}

#[test]
fn only_empty_files_wanted_needs_no_piece() {
    let folder = tempfile::tempdir().unwrap();
    let sample = Sample::folder(&[("empty", 0), ("one", 1)], 16);
    assert_eq!(sample.run(folder.path(), &[0], false).unwrap(), 0);
    sample.expect_published(folder.path(), &[0]);
}

#[test]
fn holes_and_missing_files_are_told_without_reading() {
    let folder = tempfile::tempdir().unwrap();
    let sample = Sample::folder(&[("a", 1 << 20), (".pad/1", 64), ("b", 100)], 64 << 10);
    let storage = sample.open_all(folder.path());
    assert_eq!(storage.presence(0..1), Presence::Missing);
    sample.write(&storage, PieceIndex::new(2)).unwrap();
    assert_eq!(storage.presence(0..64 << 10), Presence::Zeros);
    assert_eq!(storage.presence(sample.geometry.piece_range(PieceIndex::new(2))), Presence::Data);
    assert_eq!(storage.presence(1 << 20..(1 << 20) + 64), Presence::Zeros, "pad files");
    assert_eq!(storage.presence(1 << 20..(1 << 20) + 65), Presence::Missing);
    assert_eq!(storage.presence(0..u64::MAX), Presence::Missing);
}

#[test]
fn of_several_runs_each_is_written_or_refused_by_itself() {
    let folder = tempfile::tempdir().unwrap();
    let sample = Sample::folder(&[("a", 100), ("b", 100)], 64);
    let storage = sample.open_all(folder.path());
    let run = |offset, bytes| Run { offset, bufs: vec![IoSlice::new(bytes), IoSlice::new(b"!")] };
    let written = storage.write_runs(&[run(10, b"one"), run(199, b"out"), run(98, b"two")]);
    assert_eq!(written[1].as_ref().unwrap_err().kind(), ErrorKind::InvalidInput);
    assert!(written[0].is_ok() && written[2].is_ok() && written.len() == 3);
    let (mut one, mut two) = ([0; 4], [0; 4]);
    storage.read_at(10, &mut [IoSliceMut::new(&mut one)]).unwrap();
    storage.read_at(98, &mut [IoSliceMut::new(&mut two)]).unwrap();
    assert_eq!((&one, &two), (b"one!", b"two!"));
    assert!(storage.write_runs(&[]).is_empty());
}

#[test]
fn only_where_nothing_is_there_is_nothing_to_check() {
    let folder = tempfile::tempdir().unwrap();
    let sample = Sample::folder(&[("a", 100), ("b", 100)], 64);
    let storage = sample.open_all(folder.path());
    assert!(storage.is_blank());
    sample.write(&storage, PieceIndex::new(0)).unwrap();
    assert!(!storage.is_blank());
    drop(storage);
    sample.run(folder.path(), &sample.all(), false).unwrap();
    assert!(!sample.open_all(folder.path()).is_blank(), "under its final name");
    let padded = Sample::folder(&[("a", 1), (".pad/1", 63), ("b", 1)], 64);
    let folder = tempfile::tempdir().unwrap();
    assert!(!padded.open_all(folder.path()).is_blank(), "pad files are always there");
}

#[test]
fn bytes_outside_of_the_torrent_are_neither_read_nor_written() {
    let folder = tempfile::tempdir().unwrap();
    let sample = Sample::single(100, 64);
    let storage = sample.open_all(folder.path());
    for offset in [99, 100, u64::MAX] {
        let error = storage.write_at(offset, &[IoSlice::new(b"xy")]).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::InvalidInput);
        let error = storage.read_at(offset, &mut [IoSliceMut::new(&mut [0; 2])]).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::UnexpectedEof);
    }
    assert!(!tree(folder.path()).contains_key(Path::new("name.part")));
}

#[test]
fn a_seed_reads_what_is_there_and_writes_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let sample = Sample::folder(&[("a", 100), ("b/c", 50)], 64);
    sample.run(folder.path(), &sample.all(), false).unwrap();
    let renamed = folder.path().join("any name");
    std::fs::rename(folder.path().join(NAME), &renamed).unwrap();
    let seed = sample.seed(&renamed).unwrap();
    assert!(sample.check(&seed).is_all());
    let error = sample.write(&seed, PieceIndex::new(0)).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::PermissionDenied);
    std::fs::File::options().write(true).open(renamed.join("a")).unwrap().set_len(70).unwrap();
    let mut byte = [0; 1];
    seed.read_at(69, &mut [IoSliceMut::new(&mut byte)]).unwrap();
    let error = seed.read_at(70, &mut [IoSliceMut::new(&mut byte)]).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::UnexpectedEof, "it shrank while it was seeded");
    let fresh = sample.seed(&renamed).unwrap();
    assert_eq!(fresh.length_on_disk(crate::types::FileIndex::new(0)), Some(70));
    assert!(sample.seed(&renamed.join("a")).is_err(), "a file where a folder is due");
    assert!(Sample::single(1, 1).seed(&renamed).is_err(), "a folder where a file is due");
    assert!(sample.seed(&folder.path().join("nothing")).is_err());
}

#[test]
fn more_files_than_are_kept_open_are_written_read_and_published() {
    let folder = tempfile::tempdir().unwrap();
    let names: Vec<_> = (0..300).map(|n| format!("folder {}/file {n}", n % 7)).collect();
    let files: Vec<_> = names.iter().map(|name| (name.as_str(), 37)).collect();
    let sample = Sample::folder(&files, 1000);
    sample.run(folder.path(), &sample.all(), false).unwrap();
    sample.expect_published(folder.path(), &sample.all());
}

#[test]
fn the_same_content_is_fetched_by_one_storage_at_a_time() {
    let folder = tempfile::tempdir().unwrap();
    let sample = Sample::single(100, 64);
    let first = sample.open_all(folder.path());
    let second = sample.open(folder.path(), &[0], false);
    assert!(matches!(second, Err(super::OpenError::Locked { .. })));
    drop(first);
    let third = sample.open_all(folder.path());
    for piece in sample.geometry.pieces() {
        sample.write(&third, piece).unwrap();
    }
    third.finish().unwrap();
    sample.open_all(folder.path());
    drop(third);
    sample.expect_published(folder.path(), &[0]);
}

#[test]
fn after_a_failed_sync_nothing_is_given_its_final_name() {
    let folder = tempfile::tempdir().unwrap();
    let sample = Sample::single(100, 64);
    let storage = sample.open_all(folder.path());
    for piece in sample.geometry.pieces() {
        sample.write(&storage, piece).unwrap();
    }
    storage.unsynced().failed = true;
    assert!(storage.sync().is_err() && storage.finish().is_err());
    drop(storage);
    assert!(!folder.path().join(NAME).exists());
    assert_eq!(sample.run(folder.path(), &[0], false).unwrap(), 0, "checked anew, it is good");
}

#[test]
fn a_part_that_was_cut_under_us_is_not_published() {
    let folder = tempfile::tempdir().unwrap();
    let sample = Sample::single(100, 64);
    let storage = sample.open_all(folder.path());
    for piece in sample.geometry.pieces() {
        sample.write(&storage, piece).unwrap();
    }
    std::fs::write(folder.path().join("name.part"), b"short").unwrap();
    assert_eq!(storage.finish().unwrap_err().kind(), ErrorKind::UnexpectedEof);
    assert!(!folder.path().join(NAME).exists());
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(96))]

    #[test]
    fn any_layout_and_selection_is_read_back_and_published(
        lengths in prop::collection::vec((0u64..40, prop::bool::weighted(0.2), any::<bool>()), 1..12),
        piece_length in 1u64..50,
        order in any::<u64>(),
    ) {
        prop_assume!(lengths.iter().any(|(length, pad, _)| *length > 0 && !pad));
        let names: Vec<_> = lengths.iter().enumerate().map(|(n, (_, pad, _))| match pad {
            true => format!(".pad/{n}"),
            false => format!("d{}/f{n}", n % 3),
        }).collect();
        let files: Vec<_> = names.iter().zip(&lengths).map(|(n, (l, ..))| (n.as_str(), *l)).collect();
        let sample = Sample::folder(&files, piece_length);
        let wanted: Vec<_> = (0..files.len()).filter(|n| lengths[*n].2).collect();
        let outer = tempfile::tempdir().unwrap();
        let folder = outer.path().join("output");

        let storage = sample.open(&folder, &wanted, false).unwrap();
        storage.settle(&sample.check(&storage)).unwrap();
        let mut pieces = sample.pieces_of(&wanted);
        let turn = usize::try_from(order).unwrap() % pieces.len().max(1);
        pieces.rotate_left(turn);
        for (at, piece) in pieces.iter().enumerate() {
            sample.write(&storage, *piece).unwrap();
            let good = sample.check(&storage);
            prop_assert!(pieces[..=at].iter().all(|piece| good.contains(*piece)));
        }
        drop(storage);
        prop_assert_eq!(sample.run(&folder, &wanted, false).unwrap(), 0, "all of it is resumed");
        sample.expect_published(&folder, &wanted);
        prop_assert_eq!(sample.run(&folder, &wanted, false).unwrap(), 0, "and complete");
        sample.run(&folder, &sample.all(), false).unwrap();
        sample.expect_published(&folder, &sample.all());
        prop_assert_eq!(std::fs::read_dir(outer.path()).unwrap().count(), 1);
    }
}
