//! What a restart believes, and what makes it look again.

use super::{NAME, Sample};
use crate::storage::fs::{FsStorage, Kept};
use crate::storage::{Storage as _, StorageError};
use crate::types::{Bitfield, PieceIndex};
use std::fs::{self, File, FileTimes};
use std::os::unix::fs::FileExt as _;
use std::path::{Path, PathBuf};
use tempfile::TempDir;

const RECORD: &str = ".name.swarm-state";

/// How a run ends.
#[derive(Clone, Copy, Debug, PartialEq)]
enum End {
    Well,
    Killed,
}

/// A folder in which `pieces` were fetched, the first `claimed` of them before a checkpoint.
fn fetched(sample: &Sample, pieces: u32, claimed: u32, end: End) -> TempDir {
    let folder = tempfile::tempdir().unwrap();
    let (storage, ..) = sample.restart(folder.path());
    let mut have = Bitfield::none(sample.geometry.piece_count());
    for piece in (0..pieces).map(PieceIndex::new) {
        if piece.get() == claimed {
            keep(&storage, &have);
        }
        sample.write(&storage, piece).unwrap();
        have.insert(piece);
    }
    match end {
        End::Well => keep(&storage, &have),
        End::Killed => storage.abandon(),
    }
    folder
}

fn keep(storage: &FsStorage, have: &Bitfield) {
    let kept = storage.checkpoint(have).unwrap();
    assert!(matches!(kept, Kept::Yes), "{kept:?}");
}

fn known(sample: &Sample, folder: &Path) -> u32 {
    sample.open_all(folder).recall().count()
}

fn flip(path: &Path, at: u64) {
    let file = File::options().read(true).write(true).open(path).unwrap();
    let mut byte = [0];
    file.read_exact_at(&mut byte, at).unwrap();
    file.write_all_at(&[byte[0] ^ 1], at).unwrap();
}

fn single() -> Sample {
    Sample::single(640, 64)
}

fn part(folder: &TempDir) -> PathBuf {
    folder.path().join("name.part")
}

/// Lets the clock that stamps files go on: a change in the same tick cannot be seen.
fn next_tick(folder: &Path) {
    let path = folder.join("tick");
    let stamp = |file: &File| file.metadata().unwrap().modified().unwrap();
    let first = stamp(&File::create(&path).unwrap());
    while stamp(&File::create(&path).unwrap()).duration_since(first).unwrap().as_millis() < 12 {}
    fs::remove_file(path).unwrap();
}

#[test]
fn after_a_clean_end_nothing_is_hashed() {
    let sample = single();
    let folder = fetched(&sample, 7, 3, End::Well);
    assert!(!folder.path().join(".name.swarm-lock").exists());
    assert_eq!(known(&sample, folder.path()), 7);
}

#[test]
fn after_a_kill_all_but_what_was_written_since_the_checkpoint_is_known() {
    let sample = single();
    let folder = fetched(&sample, 7, 3, End::Killed);
    assert_eq!(known(&sample, folder.path()), 3);
    let (_, _, good) = sample.restart(folder.path());
    assert_eq!(good.count(), 7, "and the rest is found by hashing");
}

#[test]
fn a_kill_in_the_midst_of_a_write_costs_no_more() {
    let sample = single();
    let folder = tempfile::tempdir().unwrap();
    let (storage, ..) = sample.restart(folder.path());
    sample.write(&storage, PieceIndex::new(0)).unwrap();
    let mut have = Bitfield::none(10);
    have.insert(PieceIndex::new(0));
    keep(&storage, &have);
    storage.held_lock().as_mut().unwrap().begin();
    fs::write(folder.path().join("other"), "").unwrap();
    flip(&part(&folder), 300);
    storage.abandon();
    assert_eq!(known(&sample, folder.path()), 1);
}

#[test]
fn who_touches_a_file_after_a_kill_has_all_of_it_hashed() {
    let sample = Sample::folder(&[("a", 128), ("b", 128), ("c", 128)], 64);
    for end in [End::Well, End::Killed] {
        let folder = fetched(&sample, 6, 6, End::Well);
        if end == End::Killed {
            let (storage, ..) = sample.restart(folder.path());
            sample.write(&storage, PieceIndex::new(5)).unwrap();
            storage.abandon();
        }
        next_tick(folder.path());
        flip(&part(&folder).join("b"), 5);
        let storage = sample.open_all(folder.path());
        let believed: Vec<_> = storage.recall().iter().map(PieceIndex::get).collect();
        assert_eq!(believed, [0, 1, 4, 5], "{end:?}");
    }
}

#[test]
fn setting_the_time_back_does_not_hide_a_change() {
    let sample = single();
    for end in [End::Well, End::Killed] {
        let folder = fetched(&sample, 7, 6, end);
        let path = part(&folder);
        let then = fs::metadata(&path).unwrap().modified().unwrap();
        next_tick(folder.path());
        flip(&path, 5);
        let file = File::options().write(true).open(&path).unwrap();
        file.set_times(FileTimes::new().set_modified(then)).unwrap();
        assert_eq!(known(&sample, folder.path()), 0, "{end:?}");
    }
}

#[test]
fn another_file_of_the_same_name_and_length_is_hashed() {
    let sample = single();
    let folder = fetched(&sample, 7, 6, End::Killed);
    let copy = folder.path().join("copy");
    fs::copy(part(&folder), &copy).unwrap();
    fs::rename(&copy, part(&folder)).unwrap();
    assert_eq!(known(&sample, folder.path()), 0);
}

#[test]
fn a_change_seen_once_is_not_believed_by_a_later_run() {
    let sample = single();
    let folder = fetched(&sample, 7, 6, End::Killed);
    next_tick(folder.path());
    flip(&part(&folder), 5);
    // This run hashes, writes something, so that its mark is younger than the change, dies.
    let (storage, known_then, good) = sample.restart(folder.path());
    assert_eq!((known_then.count(), good.count()), (0, 6));
    sample.write(&storage, PieceIndex::new(8)).unwrap();
    storage.abandon();
    let storage = sample.open_all(folder.path());
    let believed = storage.recall();
    assert!(!believed.contains(PieceIndex::new(0)) && believed.count() == 6, "{believed:?}");
}

#[test]
fn a_record_that_could_not_be_renewed_is_not_believed_after_a_kill() {
    let sample = single();
    let folder = fetched(&sample, 7, 6, End::Killed);
    next_tick(folder.path());
    flip(&part(&folder), 5);
    let storage = sample.open_all(folder.path());
    assert_eq!(storage.recall().count(), 0);
    let good = sample.check(&storage);
    // Nothing more can be recorded, but the content can still be written.
    fs::create_dir(folder.path().join(".name.swarm-state.new")).unwrap();
    assert!(matches!(storage.checkpoint(&good).unwrap(), Kept::No(_)));
    sample.write(&storage, PieceIndex::new(8)).unwrap();
    storage.abandon();
    assert_eq!(known(&sample, folder.path()), 0);
}

#[test]
fn a_new_lock_says_nothing_of_an_old_record() {
    let sample = single();
    let folder = fetched(&sample, 7, 6, End::Killed);
    fs::remove_file(folder.path().join(".name.swarm-lock")).unwrap();
    assert_eq!(known(&sample, folder.path()), 0, "the file was written after the claim");
    let folder = fetched(&sample, 7, 7, End::Well);
    next_tick(folder.path());
    flip(&part(&folder), 5);
    for _ in 0..3 {
        assert_eq!(known(&sample, folder.path()), 0);
    }
}

#[test]
fn a_damaged_a_cut_a_foreign_and_a_strangers_record_cost_a_check() {
    let sample = single();
    let damage: [&dyn Fn(&Path); 5] = [
        &|path| flip(path, 70),
        &|path| File::options().write(true).open(path).unwrap().set_len(90).unwrap(),
        &|path| fs::write(path, "").unwrap(),
        &|path| {
            let other = fetched(&Sample::single(640, 32), 7, 6, End::Well);
            fs::copy(other.path().join(RECORD), path).unwrap();
        },
        &|path| {
            use std::os::unix::fs::PermissionsExt as _;
            fs::set_permissions(path, fs::Permissions::from_mode(0o666)).unwrap();
        },
    ];
    for (number, damage) in damage.iter().enumerate() {
        let folder = fetched(&sample, 7, 7, End::Well);
        damage(&folder.path().join(RECORD));
        let (_, known, good) = sample.restart(folder.path());
        assert_eq!((known.count(), good.count()), (0, 7), "number {number}");
    }
}

#[test]
fn a_link_in_place_of_the_record_is_not_followed() {
    let sample = single();
    let folder = fetched(&sample, 7, 7, End::Well);
    let other = folder.path().join("other");
    fs::rename(folder.path().join(RECORD), &other).unwrap();
    std::os::unix::fs::symlink(&other, folder.path().join(RECORD)).unwrap();
    let before = fs::read(&other).unwrap();
    let (_, known, _) = sample.restart(folder.path());
    assert_eq!(known.count(), 0);
    assert_eq!(fs::read(&other).unwrap(), before);
}

#[test]
fn a_kill_between_the_rename_and_the_end_costs_nothing() {
    let sample = single();
    let folder = fetched(&sample, 10, 10, End::Well);
    let storage = sample.open_all(folder.path());
    let all = storage.recall();
    keep(&storage, &all);
    storage.publish_all().unwrap();
    storage.abandon();
    assert!(folder.path().join(NAME).exists());
    assert_eq!(known(&sample, folder.path()), 10);
    sample.run(folder.path(), &[0], false).unwrap();
    sample.expect_published(folder.path(), &[0]);
}

#[test]
fn some_files_and_their_shared_pieces_are_known_again() {
    let sample = Sample::folder(&[("a", 100), ("b", 100), ("c", 100)], 64);
    let folder = tempfile::tempdir().unwrap();
    let storage = sample.open(folder.path(), &[1], false).unwrap();
    let mut have = storage.recall();
    for piece in sample.pieces_of(&[1]) {
        sample.write(&storage, piece).unwrap();
        have.insert(piece);
    }
    keep(&storage, &have);
    drop(storage);
    let storage = sample.open(folder.path(), &[1], false).unwrap();
    assert_eq!(storage.recall(), have);
    assert!(have.count() > 1);
}

#[test]
fn finished_and_served_content_is_known_from_the_shelf_until_it_is_touched() {
    let sample = Sample::folder(&[("a", 128), ("b", 128)], 64);
    let (folder, state) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let (storage, _, mut have) = sample.restart(folder.path());
    let storage = storage.remember_in(state.path());
    for piece in sample.geometry.pieces() {
        sample.write(&storage, piece).unwrap();
        have.insert(piece);
    }
    storage.sync().unwrap();
    storage.conclude(&have).unwrap();
    sample.expect_published(folder.path(), &[0, 1]);
    let content = folder.path().join(NAME);
    let seed = || sample.seed(&content).unwrap().remember_in(state.path()).recall().count();
    let fetch = || sample.open_all(folder.path()).remember_in(state.path()).recall().count();
    assert_eq!((seed(), fetch()), (4, 4));
    assert_eq!(sample.seed(&content).unwrap().recall().count(), 0, "without a shelf");
    next_tick(folder.path());
    flip(&content.join("a"), 5);
    assert_eq!((seed(), fetch()), (2, 2));
    fs::remove_file(content.join("b")).unwrap();
    assert_eq!(seed(), 0);
}

#[test]
fn a_seed_writes_nothing_beside_what_it_serves() {
    let sample = single();
    let (folder, state) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    sample.place(folder.path(), 0, &sample.content);
    let seed = sample.seed(&folder.path().join(NAME)).unwrap().remember_in(state.path());
    let _ = seed.recall();
    seed.conclude(&sample.check(&seed)).unwrap();
    assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 1);
    assert_eq!(fs::read_dir(state.path().join("verified")).unwrap().count(), 1);
}

#[test]
fn a_state_folder_that_cannot_be_used_is_as_good_as_none() {
    let sample = single();
    let folder = tempfile::tempdir().unwrap();
    sample.place(folder.path(), 0, &sample.content);
    let content = folder.path().join(NAME);
    let seed = sample.seed(&content).unwrap().remember_in(&content.join("below"));
    assert_eq!(seed.recall().count(), 0);
    seed.conclude(&sample.check(&seed)).unwrap();
}

fn serve(storage: &FsStorage, piece: u32) -> Result<Vec<u8>, StorageError> {
    let start = u64::from(piece) * 64;
    let mut bytes = vec![0; 64];
    storage.read_at(start, &mut [std::io::IoSliceMut::new(&mut bytes)])?;
    storage.unchanged(start..start + 64)?;
    Ok(bytes)
}

#[test]
fn what_changes_while_it_is_served_is_served_again_once_it_was_hashed() {
    let sample = Sample::folder(&[("a", 128), ("b", 128)], 64);
    let folder = tempfile::tempdir().unwrap();
    for file in 0..2 {
        sample.place(folder.path(), file, sample.file_bytes(file));
    }
    let content = folder.path().join(NAME);
    let seed = sample.seed(&content).unwrap();
    let _ = seed.recall();
    assert_eq!(serve(&seed, 0).unwrap(), sample.bytes(0..64));
    next_tick(folder.path());
    flip(&content.join("a"), 5);
    assert!(serve(&seed, 0).is_err(), "changed under us");
    assert!(serve(&seed, 1).is_err(), "the same file");
    serve(&seed, 2).expect("another file");
    let piece = PieceIndex::new(1);
    let sight = seed.sight(piece).unwrap();
    assert!(sample.check(&seed).contains(piece));
    seed.vouch(piece, &sight);
    assert_eq!(serve(&seed, 1).unwrap(), sample.bytes(64..128));
    assert!(serve(&seed, 0).is_err(), "only what was hashed");
    next_tick(folder.path());
    flip(&content.join("a"), 5);
    assert!(serve(&seed, 1).is_err(), "changed once more");
}

#[test]
fn a_file_replaced_deleted_cut_linked_or_made_a_folder_is_not_served() {
    let sample = single();
    let replace: [&dyn Fn(&Path); 5] = [
        &|path| {
            fs::write(path.with_extension("new"), [7; 640]).unwrap();
            fs::rename(path.with_extension("new"), path).unwrap();
        },
        &|path| fs::remove_file(path).unwrap(),
        &|path| File::options().write(true).open(path).unwrap().set_len(10).unwrap(),
        &|path| {
            fs::rename(path, path.with_extension("old")).unwrap();
            std::os::unix::fs::symlink(path.with_extension("old"), path).unwrap();
        },
        &|path| {
            fs::remove_file(path).unwrap();
            fs::create_dir(path).unwrap();
        },
    ];
    for (number, replace) in replace.iter().enumerate() {
        let folder = tempfile::tempdir().unwrap();
        sample.place(folder.path(), 0, &sample.content);
        let content = folder.path().join(NAME);
        let seed = sample.seed(&content).unwrap();
        let _ = seed.recall();
        serve(&seed, 3).unwrap();
        next_tick(folder.path());
        replace(&content);
        assert!(serve(&seed, 3).is_err(), "number {number}");
        assert!(serve(&seed, 3).is_err(), "number {number}, opened anew");
        let _ = fs::remove_dir(&content);
        let _ = fs::remove_file(&content);
        sample.place(folder.path(), 0, &sample.content);
        let sight = seed.sight(PieceIndex::new(3)).unwrap();
        seed.vouch(PieceIndex::new(3), &sight);
        assert_eq!(serve(&seed, 3).unwrap(), sample.bytes(192..256), "number {number}, restored");
    }
}
