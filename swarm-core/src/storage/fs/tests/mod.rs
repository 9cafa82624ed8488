//! The state machine of files: a torrent to store, and a power supply to cut.

mod attack;
mod existing;
mod finish;
#[cfg(target_os = "linux")]
mod in_memory;
mod journal;
mod power;
mod round_trip;

use super::table::Blueprint;
use super::{FsStorage, OpenError};
use crate::geometry::{Geometry, Layout};
use crate::metainfo::File;
use crate::storage::{Presence, Storage as _, StorageError};
use crate::types::{Bitfield, InfoHash, PieceIndex};
use std::collections::BTreeMap;
use std::io::{self, IoSlice, IoSliceMut};
use std::path::{Path, PathBuf};
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};

/// Cuts the power: after so many changes to the folder nothing happens any more.
#[derive(Debug)]
pub(in crate::storage::fs) struct Fuse {
    left: AtomicUsize,
    forced: Mutex<Vec<PathBuf>>,
}

impl Default for Fuse {
    fn default() -> Self {
        Self { left: AtomicUsize::new(usize::MAX), forced: Mutex::default() }
    }
}

impl Fuse {
    pub(in crate::storage::fs) fn set(&self, left: usize) {
        self.left.store(left, Ordering::Relaxed);
    }

    /// Notes that a file's bytes are on the disk now.
    pub(in crate::storage::fs) fn note_forced(&self, path: &Path) {
        self.forced.lock().unwrap().push(path.to_owned());
    }

    /// The files whose bytes were forced to the disk since the last call.
    fn take_forced(&self) -> Vec<PathBuf> {
        std::mem::take(&mut *self.forced.lock().unwrap())
    }

    pub(in crate::storage::fs) fn burn(&self) -> io::Result<()> {
        let burn = |left: usize| if left == usize::MAX { Some(left) } else { left.checked_sub(1) };
        match self.left.fetch_update(Ordering::Relaxed, Ordering::Relaxed, burn) {
            Ok(_) => Ok(()),
            Err(_) => Err(io::Error::other("the power is cut")),
        }
    }
}

/// A torrent with its content. Files whose name begins with `.pad` are pad files.
pub(super) struct Sample {
    single: bool,
    files: Vec<File>,
    layout: Layout,
    geometry: Geometry,
    content: Vec<u8>,
}

const NAME: &str = "name";

impl Sample {
    pub(super) fn folder(files: &[(&str, u64)], piece_length: u64) -> Self {
        Self::new(false, files, piece_length)
    }

    pub(super) fn single(length: u64, piece_length: u64) -> Self {
        Self::new(true, &[(NAME, length)], piece_length)
    }

    fn new(single: bool, files: &[(&str, u64)], piece_length: u64) -> Self {
        let files: Vec<_> = files
            .iter()
            .map(|(path, length)| File {
                path: path.split('/').map(str::to_owned).collect(),
                length: *length,
                pad: path.starts_with(".pad"),
                executable: false,
            })
            .collect();
        let layout = Layout::new(files.iter().map(|file| (file.length, file.pad)));
        let geometry = Geometry::new(piece_length, layout.total_length()).unwrap();
        let mut content: Vec<u8> =
            (0..layout.total_length()).map(|at| u8::try_from(at * 7 % 250).unwrap() + 1).collect();
        for extent in layout.extents().iter().filter(|extent| extent.pad) {
            let start = usize::try_from(extent.offset).unwrap();
            content[start..][..usize::try_from(extent.length).unwrap()].fill(0);
        }
        Self { single, files, layout, geometry, content }
    }

    fn blueprint(&self) -> Blueprint<'_> {
        Blueprint {
            id: InfoHash::new([1; 20]),
            name: NAME,
            is_single_file: self.single,
            files: &self.files,
            layout: &self.layout,
            geometry: &self.geometry,
        }
    }

    fn open(&self, folder: &Path, wanted: &[usize], over: bool) -> Result<FsStorage, OpenError> {
        let wanted = |file: crate::types::FileIndex| wanted.contains(&file.as_usize());
        FsStorage::fetch_blueprint(folder, &self.blueprint(), &wanted, over)
    }

    fn open_all(&self, folder: &Path) -> FsStorage {
        self.open(folder, &self.all(), false).unwrap()
    }

    fn seed(&self, content: &Path) -> Result<FsStorage, StorageError> {
        FsStorage::seed_blueprint(content, &self.blueprint())
    }

    fn all(&self) -> Vec<usize> {
        (0..self.files.len()).collect()
    }

    fn bytes(&self, range: std::ops::Range<u64>) -> &[u8] {
        &self.content[usize::try_from(range.start).unwrap()..usize::try_from(range.end).unwrap()]
    }

    fn file_bytes(&self, file: usize) -> &[u8] {
        let extent = self.layout.extents()[file];
        self.bytes(extent.offset..extent.offset + extent.length)
    }

    /// What a check finds good.
    fn check(&self, storage: &FsStorage) -> Bitfield {
        let mut good = Bitfield::none(self.geometry.piece_count());
        for piece in self.geometry.pieces() {
            let range = self.geometry.piece_range(piece);
            let mut found = vec![1; usize::try_from(range.end - range.start).unwrap()];
            match storage.presence(range.clone()) {
                Presence::Missing => continue,
                Presence::Zeros => found.fill(0),
                Presence::Data => {
                    storage.read_at(range.start, &mut [IoSliceMut::new(&mut found)]).unwrap();
                }
            }
            if found == self.bytes(range) {
                good.insert(piece);
            }
        }
        good
    }

    /// Pieces that hold a byte of these files.
    fn pieces_of(&self, files: &[usize]) -> Vec<PieceIndex> {
        let touches = |piece: &PieceIndex| {
            let mut slices = self.layout.slices(self.geometry.piece_range(*piece));
            slices.any(|slice| files.contains(&slice.file.as_usize()) && !slice.pad)
        };
        self.geometry.pieces().filter(touches).collect()
    }

    fn write(&self, storage: &FsStorage, piece: PieceIndex) -> Result<(), StorageError> {
        let range = self.geometry.piece_range(piece);
        let (head, tail) = self.bytes(range.clone()).split_at(self.bytes(range.clone()).len() / 3);
        storage.write_at(range.start, &[IoSlice::new(head), IoSlice::new(tail)])
    }

    /// One whole run of `swarm fetch`; tells how many pieces it fetched.
    fn run(&self, folder: &Path, wanted: &[usize], overwrite: bool) -> Result<usize, OpenError> {
        let storage = self.open(folder, wanted, overwrite)?;
        let good = self.check(&storage);
        storage.settle(&good)?;
        let missing: Vec<_> =
            self.pieces_of(wanted).into_iter().filter(|piece| !good.contains(*piece)).collect();
        for piece in &missing {
            self.write(&storage, *piece)?;
        }
        storage.finish()?;
        for piece in self.pieces_of(wanted) {
            assert!(self.check(&storage).contains(piece), "readable after finish");
        }
        Ok(missing.len())
    }

    /// These files have their final name and their content, and nothing else is there but,
    /// when some are not wanted, the shared file.
    fn expect_published(&self, folder: &Path, files: &[usize]) {
        let stored = |file: &usize| !self.files[*file].pad;
        let mut expected = BTreeMap::new();
        for file in files.iter().copied().filter(stored) {
            expected.insert(self.final_path(file), self.file_bytes(file).to_vec());
        }
        let mut found = tree(folder);
        let shared = found.remove(Path::new(".name.swarm-parts"));
        if self.all().iter().filter(|file| stored(file)).all(|file| files.contains(file)) {
            assert_eq!(shared, None);
        }
        assert_eq!(found, expected);
    }

    fn final_path(&self, file: usize) -> PathBuf {
        match self.single {
            true => PathBuf::from(NAME),
            false => Path::new(NAME).join(self.files[file].path.iter().collect::<PathBuf>()),
        }
    }

    /// What a restart does: believes what it may, hashes the rest, and renews the record.
    /// Gives the storage, what was believed, and what is good.
    fn restart(&self, folder: &Path) -> (FsStorage, Bitfield, Bitfield) {
        let storage = self.open_all(folder);
        let known = storage.recall();
        let good = self.check(&storage);
        storage.settle(&good).unwrap();
        if storage.has_record() || !good.is_none() {
            let _kept = storage.checkpoint(&good).unwrap();
        }
        (storage, known, good)
    }

    /// Puts a file under its final name.
    fn place(&self, folder: &Path, file: usize, bytes: &[u8]) {
        let path = folder.join(self.final_path(file));
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(path, bytes).unwrap();
    }
}

/// Every file below a folder, by its path in it.
fn tree(folder: &Path) -> BTreeMap<PathBuf, Vec<u8>> {
    let mut found = BTreeMap::new();
    let mut folders = vec![folder.to_owned()];
    while let Some(next) = folders.pop() {
        for entry in std::fs::read_dir(next).unwrap() {
            let path = entry.unwrap().path();
            if path.symlink_metadata().unwrap().is_dir() {
                folders.push(path);
            } else {
                let bytes = std::fs::read(&path).unwrap();
                found.insert(path.strip_prefix(folder).unwrap().to_owned(), bytes);
            }
        }
    }
    found
}

fn is_conflict(result: Result<impl Sized, OpenError>, at: &Path) -> bool {
    matches!(result.err(), Some(OpenError::Conflict { path }) if path == at)
}
