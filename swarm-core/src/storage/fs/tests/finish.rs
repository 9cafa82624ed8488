//! Dying at every step that changes the folder: the next run recovers, and until then nothing
//! but whole files has a final name.

use super::{Sample, tree};
use crate::storage::Storage as _;
use std::path::Path;

/// Runs `before` in a fresh folder, then the command with the power cut at every step in turn,
/// then the command again.
fn kill_everywhere(sample: &Sample, wanted: &[usize], overwrite: bool, before: &dyn Fn(&Path)) {
    let mut survived = false;
    for step in 0..200 {
        let folder = tempfile::tempdir().unwrap();
        before(folder.path());
        survived = run_until(sample, folder.path(), wanted, overwrite, step);
        for file in wanted {
            let path = folder.path().join(sample.final_path(*file));
            if let (false, Ok(found)) = (overwrite, std::fs::read(&path)) {
                assert_eq!(found, sample.file_bytes(*file), "step {step}: {path:?} is whole");
            }
        }
        sample.run(folder.path(), wanted, overwrite).unwrap();
        sample.expect_published(folder.path(), wanted);
        if survived {
            assert!(step > 3, "only {step} steps: what was cut?");
            break;
        }
    }
    assert!(survived, "the run never got to its end");
}

/// True when it got to the end before the power was cut.
fn run_until(
    sample: &Sample,
    folder: &Path,
    wanted: &[usize],
    overwrite: bool,
    step: usize,
) -> bool {
    let storage = sample.open(folder, wanted, overwrite).unwrap();
    let good = sample.check(&storage);
    storage.root.fuse.set(step);
    let run = || {
        storage.settle(&good).ok()?;
        let missing = sample.pieces_of(wanted).into_iter().filter(|piece| !good.contains(*piece));
        missing.into_iter().try_for_each(|piece| sample.write(&storage, piece).ok())?;
        storage.finish().ok()
    };
    run().is_some()
}

fn folder() -> Sample {
    Sample::folder(
        &[("a", 150), ("empty", 0), ("sub/b", 100), ("sub/deep/c", 3), ("z/empty", 0)],
        64,
    )
}

#[test]
fn dying_while_fetching_a_single_file() {
    kill_everywhere(&Sample::single(100, 64), &[0], false, &|_| {});
}

#[test]
fn dying_while_fetching_a_folder() {
    let sample = folder();
    kill_everywhere(&sample, &sample.all(), false, &|_| {});
}

#[test]
fn dying_while_fetching_some_files() {
    kill_everywhere(&folder(), &[1, 2], false, &|_| {});
}

#[test]
fn dying_while_adding_files_to_a_finished_folder() {
    let sample = folder();
    kill_everywhere(&sample, &sample.all(), false, &|folder| {
        sample.run(folder, &[0, 3], false).unwrap();
    });
}

#[test]
fn dying_while_repairing_what_may_be_overwritten() {
    let sample = folder();
    kill_everywhere(&sample, &sample.all(), true, &|folder| {
        sample.place(folder, 0, &[7; 150]);
        sample.place(folder, 2, &[7; 5]);
        sample.place(folder, 3, sample.file_bytes(3));
    });
    let sample = Sample::single(100, 64);
    kill_everywhere(&sample, &[0], true, &|folder| sample.place(folder, 0, &[7; 100]));
}

#[test]
fn strangers_files_in_the_part_folder_stay_there() {
    let sample = folder();
    let folder = tempfile::tempdir().unwrap();
    std::fs::create_dir_all(folder.path().join("name.part/sub")).unwrap();
    std::fs::write(folder.path().join("name.part/sub/mine"), "mine").unwrap();
    sample.run(folder.path(), &sample.all(), false).unwrap();
    let mut found = tree(folder.path());
    assert_eq!(found.remove(Path::new("name.part/sub/mine")).unwrap(), b"mine");
    assert_eq!(found.len(), 5);
}
