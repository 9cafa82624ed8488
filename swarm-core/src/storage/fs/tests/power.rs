//! A disk that loses what was not forced to it: after any crash nothing wrong is believed.
//!
//! The real code on real files; what a power cut takes is taken by hand afterwards. Bytes of
//! files not forced to the disk since they were written are kept, lost or torn, as the case
//! may be; so is a record whose folder was not. Then the lock is made to say that every file
//! was last touched by us, so that whatever the record claims is believed: all rests on the
//! order in which things were done.

use super::{FsStorage, Sample};
use crate::storage::fs::Kept;
use crate::types::{Bitfield, PieceIndex};
use proptest::prelude::*;
use std::collections::BTreeSet;
use std::fs::{self, File};
use std::os::unix::fs::FileExt as _;
use std::path::{Path, PathBuf};

/// One step of a run.
#[derive(Clone, Debug)]
enum Step {
    /// Writes a piece that is missing, the n-th of them.
    Write(usize),
    /// Records what is verified; writes pieces between the decision and the deed.
    Checkpoint { meanwhile: usize },
    /// The same, and the power goes after so many changes to the folder.
    Interrupted { after: usize },
    /// Ends without warning; nothing is lost.
    Kill,
    /// Ends without warning; what is not on the disk is lost as these bits say.
    Cut { fate: u64 },
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        5 => (0usize..20).prop_map(Step::Write),
        2 => (0usize..3).prop_map(|meanwhile| Step::Checkpoint { meanwhile }),
        1 => (0usize..6).prop_map(|after| Step::Interrupted { after }),
        1 => Just(Step::Kill),
        2 => any::<u64>().prop_map(|fate| Step::Cut { fate }),
    ]
}

struct World {
    sample: Sample,
    folder: tempfile::TempDir,
    storage: FsStorage,
    have: Bitfield,
    /// Pieces written since the file they lie in was forced to the disk.
    loose: BTreeSet<(PathBuf, u32)>,
    /// The last record that is certainly on the disk.
    record: Option<Vec<u8>>,
    /// What it claims.
    claimed: Bitfield,
}

const RECORD: &str = ".name.swarm-state";

impl World {
    fn new() -> Self {
        let files = [("a", 150), ("b", 100), ("pad/c", 300), ("d", 20)];
        let sample = Sample::folder(&files, 64);
        let folder = tempfile::tempdir_in(memory()).unwrap();
        let (storage, _, have) = sample.restart(folder.path());
        let claimed = have.clone();
        Self { sample, folder, storage, have, loose: BTreeSet::new(), record: None, claimed }
    }

    fn missing(&self) -> Vec<PieceIndex> {
        self.sample.geometry.pieces().filter(|piece| !self.have.contains(*piece)).collect()
    }

    fn write(&mut self, nth: usize) {
        let missing = self.missing();
        let Some(piece) = missing.get(nth % missing.len().max(1)).copied() else { return };
        self.sample.write(&self.storage, piece).unwrap();
        self.have.insert(piece);
        for path in self.paths(piece) {
            self.loose.insert((path, piece.get()));
        }
    }

    fn paths(&self, piece: PieceIndex) -> Vec<PathBuf> {
        let slices = self.sample.layout.slices(self.sample.geometry.piece_range(piece));
        slices.map(|slice| self.path(slice.file.as_usize())).collect()
    }

    fn path(&self, file: usize) -> PathBuf {
        let below: PathBuf = self.sample.files[file].path.iter().collect();
        Path::new("name.part").join(below)
    }

    /// Takes note of what was forced to the disk.
    fn settle(&mut self) -> Vec<PathBuf> {
        let forced = self.storage.root.fuse.take_forced();
        self.loose.retain(|(path, _)| !forced.contains(path));
        forced
    }

    fn checkpoint(&mut self, meanwhile: usize) {
        let have = self.have.clone();
        for nth in 0..meanwhile {
            self.write(nth);
        }
        let kept = self.storage.checkpoint(&have).unwrap();
        assert!(matches!(kept, Kept::Yes), "{kept:?}");
        self.settle();
        self.note_record(have);
    }

    fn note_record(&mut self, claimed: Bitfield) {
        self.record = fs::read(self.folder.path().join(RECORD)).ok();
        self.claimed = claimed;
    }

    /// A checkpoint in whose midst the power goes.
    fn interrupted(&mut self, after: usize) {
        let have = self.have.clone();
        self.storage.root.fuse.set(after);
        let outcome = self.storage.checkpoint(&have);
        self.storage.root.fuse.set(usize::MAX);
        let forced = self.settle();
        match outcome {
            Ok(Kept::Yes) => self.note_record(have),
            Ok(Kept::No(_)) => {
                let now = fs::read(self.folder.path().join(RECORD)).ok();
                if now != self.record {
                    // Renamed, the folder not forced: either may be there, both are whole.
                    assert!(forced.contains(&PathBuf::from(".name.swarm-state.new")));
                    if after.is_multiple_of(2) {
                        self.note_record(have);
                    }
                }
            }
            Err(error) => panic!("{error}"),
        }
        self.cut(after as u64 * 0x9e37);
    }

    fn kill(&mut self) {
        self.storage.abandon();
        self.restart();
        assert!(
            self.claimed.iter().all(|piece| self.have.contains(piece)),
            "what was recorded is known or found"
        );
    }

    fn cut(&mut self, mut fate: u64) {
        self.storage.abandon();
        let folder = self.folder.path().to_owned();
        match &self.record {
            Some(record) => fs::write(folder.join(RECORD), record).unwrap(),
            None => drop(fs::remove_file(folder.join(RECORD))),
        }
        for (path, piece) in std::mem::take(&mut self.loose) {
            let Ok(file) = File::options().write(true).open(folder.join(&path)) else { continue };
            let range = self.sample.geometry.piece_range(PieceIndex::new(piece));
            for slice in self.sample.layout.slices(range).filter(|slice| !slice.pad) {
                if self.path(slice.file.as_usize()) != path {
                    continue;
                }
                fate = fate.rotate_left(7).wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1;
                let lost = match fate >> 62 {
                    0 => 0,
                    1 => slice.length,
                    _ => 1 + (fate >> 20) % slice.length,
                };
                let bytes = vec![0; usize::try_from(lost).unwrap()];
                file.write_all_at(&bytes, slice.offset).unwrap();
            }
        }
        // As if every change had been ours.
        let lock = folder.join(".name.swarm-lock");
        if let Ok(bytes) = fs::read(&lock) {
            fs::write(&lock, bytes).unwrap();
        }
        self.restart();
    }

    fn restart(&mut self) {
        let storage = self.sample.open_all(self.folder.path());
        let known = storage.recall();
        let good = self.sample.check(&storage);
        for piece in known.iter() {
            assert!(good.contains(piece), "piece {piece:?} is believed and wrong");
        }
        drop(storage);
        let (storage, _, have) = self.sample.restart(self.folder.path());
        (self.storage, self.have) = (storage, have.clone());
        self.settle();
        self.loose.clear();
        self.note_record(have);
    }
}

fn memory() -> PathBuf {
    let memory = Path::new("/dev/shm");
    if memory.is_dir() { memory.to_owned() } else { std::env::temp_dir() }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(60))]
    #[test]
    fn after_any_crash_nothing_wrong_is_believed(steps in prop::collection::vec(step(), 1..40)) {
        let mut world = World::new();
        for step in steps {
            match step {
                Step::Write(nth) => world.write(nth),
                Step::Checkpoint { meanwhile } => world.checkpoint(meanwhile),
                Step::Interrupted { after } => world.interrupted(after),
                Step::Kill => world.kill(),
                Step::Cut { fate } => world.cut(fate),
            }
        }
        world.cut(7);
    }
}

#[test]
fn the_model_believes_what_was_recorded_and_loses_what_was_not() {
    let mut world = World::new();
    for nth in 0..4 {
        world.write(nth);
    }
    world.checkpoint(0);
    world.write(0);
    assert!(!world.loose.is_empty(), "one piece can be lost");
    let (claimed, folder) = (world.claimed.clone(), world.folder.path().to_owned());
    world.storage.abandon();
    let storage = world.sample.open_all(&folder);
    assert_eq!(storage.recall(), claimed);
    assert_eq!(claimed.count(), 4);
}
