//! Content in files.
//!
//! # Where bytes are
//!
//! A torrent called `NAME` is fetched into `NAME.part` (a file, or a folder of files) and gets
//! its name when it is complete. Beside it lie, hidden, a lock file, a record of what is verified
//! and, when some files are not wanted, one sparse file for the bytes of theirs that share a
//! piece with a wanted file.
//! Every file of the torrent is in one of three places ([`Place`]):
//!
//! | place     | path                 | read | written                              |
//! |-----------|----------------------|------|--------------------------------------|
//! | `Part`    | `NAME.part[/path]`   | yes  | yes; made sparse, at its full length |
//! | `Content` | `NAME[/path]`        | yes  | never: a write compares              |
//! | `Shared`  | `.NAME.swarm-parts`  | yes  | yes; by offset in the torrent        |
//!
//! # How a file moves
//!
//! ```text
//!            fetch()                    settle()             finish()
//!  not wanted ──────────────► Shared ── select() ─► Part ──────────────► Content
//!  wanted, nothing there ───► Part ───────────────────────────────────►  Content
//!  wanted, final name there ► Content ─ good, or cannot be told ───────► Content
//!                                     ─ different, overwrite ──► Part ─► Content
//!                                     ─ different ─► Conflict, nothing touched
//! ```
//!
//! A wanted file that has its final name already is believed to be of an earlier run until its
//! pieces say otherwise; so the check after `fetch` reads it there, and `settle` decides. When
//! a piece spans such a file and one that is missing, nothing can be told before the piece has
//! come: writing it then compares the bytes and reports a conflict if they differ.
//!
//! # Dying at any point
//!
//! A file gets its final name only after it was verified, and forced to the disk. Whatever a
//! run leaves behind is therefore some files in `Part` and some in `Content`, each whole, and
//! the next run starts from exactly that: it checks what is there, fetches what is not good,
//! and `finish` moves the rest. A folder is renamed in one step when nothing else is in the
//! way; else its files one by one. `finish` is idempotent, and each of its steps is.
//!
//! What was verified is recorded meanwhile, so that the next run does not hash all of it again:
//! see [`journal`].
//!
//! `.NAME.swarm-parts` outlives `finish` while some files are not wanted: without it, the
//! same command line could not verify again the pieces at the edges of the wanted files.
//!
//! Not here: what is good (`data::check`), which files are wanted.

mod beneath;
mod finish;
mod handles;
mod holes;
mod journal;
mod lock;
mod open;
mod record;
mod residency;
mod settle;
mod shelf;
mod space;
mod sums;
mod table;
#[cfg(test)]
mod tests;
mod unverified;

pub use handles::OpenFiles;
pub use journal::{Kept, Sight};
pub use open::OpenError;
pub(crate) use record::Stamp;
#[cfg(feature = "__fuzz")]
pub use record::replay as replay_record;
pub use space::available_bytes;
pub(crate) use sums::Sums;
pub(crate) use table::Blueprint;

use super::crash::{self, Point};
use super::vectored::{ReadRun, WriteRun, read_all, total, write_all};
use super::{Extent, Presence, Run, Storage, StorageError};
use crate::geometry::FileSlice;
use crate::types::FileIndex;
use beneath::Root;
use handles::{Access, Handles, Key};
use holes::{data_within, has_data};
use journal::Journal;
use lock::Lock;
use rustix::fs::Advice;
use std::collections::BTreeSet;
use std::fs::File;
use std::io::{self, IoSlice, IoSliceMut};
use std::num::NonZeroU64;
use std::ops::Range;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard};
use table::{Place, Slot, Table};

/// Content of one torrent in files. See the module's text for where they are.
#[derive(Debug)]
pub struct FsStorage {
    root: Arc<Root>,
    table: Table,
    purpose: Purpose,
    /// Read while bytes move, written while files do: nothing is renamed under a transfer.
    slots: RwLock<Vec<Slot>>,
    handles: Handles,
    lock: Mutex<Option<Lock>>,
    unsynced: Mutex<Unsynced>,
    journal: Mutex<Journal>,
    /// Records are written, and content is finished, one after the other.
    upkeep: Mutex<()>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Purpose {
    Seed,
    Fetch { overwrite: bool },
}

/// What was written since the last sync.
#[derive(Debug, Default)]
struct Unsynced {
    files: BTreeSet<usize>,
    shared: bool,
    /// A sync failed. The system reports that once and forgets the bytes, so a later sync
    /// proves nothing: the content must be opened and checked anew.
    failed: bool,
}

/// From this many files on, one sync of the whole filesystem is faster than one for each.
const SYNC_EACH_MAX: usize = 64;

impl FsStorage {
    /// Where the content lies, or will lie once finished: the file or the folder.
    #[must_use]
    pub fn path(&self) -> PathBuf {
        self.full(self.table.content())
    }

    /// Bytes on the disk of one file where it is now; `None` when it is not there. For a
    /// file that is not wanted: `None`.
    #[must_use]
    pub fn length_on_disk(&self, file: FileIndex) -> Option<u64> {
        let slot = *self.slots().get(file.as_usize())?;
        self.table.stored(file.as_usize())?;
        if slot.place == Place::Shared {
            return None;
        }
        let path = self.table.path(file.as_usize(), slot.place);
        match self.root.stat(&path) {
            Ok(Some((rustix::fs::FileType::RegularFile, length))) => Some(length),
            _ => None,
        }
    }

    fn read_slice(
        &self,
        slots: &[Slot],
        slice: FileSlice,
        bufs: &mut [IoSliceMut<'_>],
    ) -> Result<(), StorageError> {
        if slice.pad {
            bufs.iter_mut().for_each(|buf| buf.fill(0));
            return Ok(());
        }
        let (key, place, at) = self.locate(slots, slice);
        self.open(key, place, Access::Read)
            .and_then(|file| read_all(&file, at, bufs))
            .map_err(|error| match error.kind() {
                io::ErrorKind::NotFound => io::ErrorKind::UnexpectedEof.into(),
                _ => error,
            })
            .map_err(|error| {
                self.error("read", &self.table.path(slice.file.as_usize(), place), error)
            })
    }

    fn write_slice(
        &self,
        slots: &[Slot],
        slice: FileSlice,
        bufs: &mut [IoSlice<'_>],
    ) -> Result<(), StorageError> {
        if slice.pad {
            return Ok(());
        }
        let (key, place, at) = self.locate(slots, slice);
        let path = || self.table.path(slice.file.as_usize(), place);
        if place == Place::Content {
            return self
                .compare(slots, slice, bufs)
                .map_err(|error| self.error("write", &path(), error));
        }
        // Noted first: what fails may have been written in part.
        self.unsynced().note(key);
        self.open(key, place, Access::Write)
            .and_then(|file| write_all(&file, at, bufs))
            .map_err(|error| self.error("write", &path(), error))
    }

    /// Writes what [may be written](Self::may_write).
    fn write_run(&self, offset: u64, bufs: &[IoSlice<'_>]) -> Result<(), StorageError> {
        crash::at(Point::BeforeWrite);
        let slots = self.slots();
        let mut run = WriteRun::new(bufs);
        for slice in self.table.layout().slices(bytes_of(offset, bufs)) {
            self.write_slice(&slots, slice, &mut run.take(slice.length))?;
        }
        crash::at(Point::AfterWrite);
        Ok(())
    }

    /// Finished files are not written: a piece that reaches into one must agree with it.
    fn compare(&self, slots: &[Slot], slice: FileSlice, bufs: &[IoSlice<'_>]) -> io::Result<()> {
        let mut at = slice.offset;
        let mut found = vec![0; COMPARE_BYTES];
        let (key, place, _) = self.locate(slots, slice);
        let file = self.open(key, place, Access::Read)?;
        for expected in bufs.iter().flat_map(|buf| buf.chunks(COMPARE_BYTES)) {
            let found = found.split_at_mut(expected.len()).0;
            read_all(&file, at, &mut [IoSliceMut::new(found)])?;
            if found != expected {
                return Err(io::ErrorKind::AlreadyExists.into());
            }
            at += expected.len() as u64;
        }
        Ok(())
    }

    fn presence_of(&self, slots: &[Slot], slice: FileSlice) -> Presence {
        if slice.pad {
            return Presence::Zeros;
        }
        let (key, place, at) = self.locate(slots, slice);
        let file = match self.open(key, place, Access::Read) {
            Ok(file) => file,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Presence::Missing,
            // The read that follows will say what is wrong.
            Err(_) => return Presence::Data,
        };
        let end = at + slice.length;
        match file.metadata() {
            Ok(meta) if meta.len() < end => return Presence::Missing,
            Ok(_) => {}
            Err(_) => return Presence::Data,
        }
        if has_data(&file, at..end) { Presence::Data } else { Presence::Zeros }
    }

    /// What to open for a slice, and where in it the slice begins.
    fn locate(&self, slots: &[Slot], slice: FileSlice) -> (Key, Place, u64) {
        let index = slice.file.as_usize();
        let place = slots.get(index).map_or(Place::Shared, |slot| slot.place);
        let start = self.table.stored(index).map_or(0, |extent| extent.offset);
        match place {
            Place::Shared => (Key::Shared, place, start + slice.offset),
            Place::Part | Place::Content => (Key::File(index), place, slice.offset),
        }
    }

    fn open(&self, key: Key, place: Place, access: Access) -> io::Result<Arc<File>> {
        self.handles.take(key, access, || {
            let path = match key {
                Key::File(file) => self.table.path(file, place),
                Key::Shared => self.table.shared().to_owned(),
            };
            match (access, key) {
                (Access::Read, _) => self.root.read(&path),
                (Access::Write, Key::Shared) => self.root.create(&path),
                (Access::Write, Key::File(file)) => self.create_sized(&path, file),
            }
        })
    }

    /// Opens a file of the torrent for writing, at its full length, sparse.
    fn create_sized(&self, path: &Path, index: usize) -> io::Result<File> {
        let file = self.root.create(path)?;
        let length = self.table.stored(index).map_or(0, |extent| extent.length);
        if file.metadata()?.len() != length {
            file.set_len(length)?;
        }
        Ok(file)
    }

    /// Whether these bytes may be written at all.
    fn may_write(&self, bytes: &Range<u64>) -> Result<(), StorageError> {
        let refuse = |kind: io::ErrorKind| StorageError::new("write", self.path(), kind);
        if self.purpose == Purpose::Seed {
            return Err(refuse(io::ErrorKind::PermissionDenied));
        }
        if bytes.end > self.table.layout().total_length() {
            return Err(refuse(io::ErrorKind::InvalidInput));
        }
        self.hold_lock().map_err(|error| match error {
            OpenError::Storage(error) => error,
            OpenError::Locked { .. } | OpenError::Conflict { .. } => {
                refuse(io::ErrorKind::ResourceBusy)
            }
        })
    }

    /// Makes sure that no other process writes the same content.
    fn hold_lock(&self) -> Result<(), OpenError> {
        let mut lock = self.held_lock();
        if lock.is_some() {
            return Ok(());
        }
        let path = self.table.lock();
        *lock = Lock::take(&self.root, path).map_err(|error| self.error("create", path, error))?;
        if lock.is_none() {
            return Err(OpenError::Locked { path: self.path() });
        }
        Ok(())
    }

    fn release_lock(&self) {
        *self.held_lock() = None;
    }

    fn held_lock(&self) -> MutexGuard<'_, Option<Lock>> {
        // A lock is held or not, whatever panicked.
        self.lock.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Changes the content, and notes in the lock when that was.
    fn change<T>(&self, change: impl FnOnce() -> T) -> T {
        if let Some(lock) = &mut *self.held_lock() {
            lock.begin();
        }
        let changed = change();
        if let Some(lock) = &mut *self.held_lock() {
            lock.end();
        }
        changed
    }

    /// Forces to the disk what was written since the last time.
    fn sync_written(&self) -> Result<(), StorageError> {
        let slots = self.slots();
        let mut unsynced = self.unsynced();
        if unsynced.failed {
            return Err(StorageError::new("sync", self.path(), io::Error::other(SYNC_FAILED)));
        }
        let files = std::mem::take(&mut unsynced.files);
        let shared = std::mem::take(&mut unsynced.shared);
        drop(unsynced);
        let result = self.sync_files(&slots, &files, shared);
        self.unsynced().failed |= result.is_err();
        let keys = files.into_iter().map(Key::File).chain(shared.then_some(Key::Shared));
        self.note_stamps(&slots, keys);
        result
    }

    fn full(&self, path: &Path) -> PathBuf {
        if path.as_os_str().is_empty() {
            return self.root.path().to_owned();
        }
        self.root.path().join(path)
    }

    fn error(&self, op: &'static str, path: &Path, source: impl Into<io::Error>) -> StorageError {
        StorageError::new(op, self.full(path), source)
    }

    fn slots(&self) -> RwLockReadGuard<'_, Vec<Slot>> {
        // Each slot is valid by itself, and always true to the disk.
        self.slots.read().unwrap_or_else(PoisonError::into_inner)
    }

    fn slots_mut(&self) -> RwLockWriteGuard<'_, Vec<Slot>> {
        self.slots.write().unwrap_or_else(PoisonError::into_inner)
    }

    fn alone(&self) -> MutexGuard<'_, ()> {
        self.upkeep.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn unsynced(&self) -> MutexGuard<'_, Unsynced> {
        self.unsynced.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Where in the torrent buffers lie that begin at `offset`.
fn bytes_of(offset: u64, bufs: &[IoSlice<'_>]) -> Range<u64> {
    offset..offset.saturating_add(total(bufs))
}

/// Bytes compared at a time.
const COMPARE_BYTES: usize = 64 << 10;

impl Storage for FsStorage {
    fn read_at(&self, offset: u64, bufs: &mut [IoSliceMut<'_>]) -> Result<(), StorageError> {
        let length = total(bufs);
        let slots = self.slots();
        let mut run = ReadRun::new(bufs);
        let mut done = 0;
        for slice in self.table.layout().slices(offset..offset.saturating_add(length)) {
            self.read_slice(&slots, slice, &mut run.take(slice.length))?;
            done += slice.length;
        }
        match done == length {
            true => Ok(()),
            false => Err(StorageError::new("read", self.path(), io::ErrorKind::UnexpectedEof)),
        }
    }

    fn write_at(&self, offset: u64, bufs: &[IoSlice<'_>]) -> Result<(), StorageError> {
        self.may_write(&bytes_of(offset, bufs))?;
        self.change(|| self.write_run(offset, bufs))
    }

    fn write_runs(&self, runs: &[Run<'_>]) -> Vec<Result<(), StorageError>> {
        // Before the change: this may take the lock in which it is noted.
        let may = runs.iter().map(|run| self.may_write(&bytes_of(run.offset, &run.bufs)));
        let may: Vec<_> = may.collect();
        self.change(|| {
            let write = |(may, run): (Result<_, _>, &Run<'_>)| {
                may.and_then(|()| self.write_run(run.offset, &run.bufs))
            };
            may.into_iter().zip(runs).map(write).collect()
        })
    }

    fn write_unverified(&self, offset: u64, bufs: &[IoSlice<'_>]) -> Result<(), StorageError> {
        self.write_apart(offset, bufs)
    }

    fn read_unverified(
        &self,
        offset: u64,
        bufs: &mut [IoSliceMut<'_>],
    ) -> Result<(), StorageError> {
        self.read_apart(offset, bufs)
    }

    fn accept(&self, range: Range<u64>) -> Result<(), StorageError> {
        self.compare_apart(range)
    }

    fn presence(&self, range: Range<u64>) -> Presence {
        if range.end > self.table.layout().total_length() {
            return Presence::Missing;
        }
        let slots = self.slots();
        let mut all = Presence::Zeros;
        for slice in self.table.layout().slices(range) {
            match self.presence_of(&slots, slice) {
                Presence::Missing => return Presence::Missing,
                Presence::Data => all = Presence::Data,
                Presence::Zeros => {}
            }
        }
        all
    }

    fn content_end(&self, range: Range<u64>) -> u64 {
        let slices = self.table.layout().slices(range.clone());
        let mut at = range.start;
        let ends = slices.filter_map(|slice| {
            at += slice.length;
            (!slice.pad).then_some(at)
        });
        ends.last().unwrap_or(range.start)
    }

    fn will_read(&self, range: Range<u64>) {
        let slots = self.slots();
        for slice in self.table.layout().slices(range) {
            let (key, place, at) = self.locate(&slots, slice);
            // Opening a small file costs more than reading it ahead gains.
            if slice.pad || slice.length < READ_AHEAD_MIN {
                continue;
            }
            let Ok(file) = self.open(key, place, Access::Read) else { continue };
            // Nobody reads holes, and the system would fill memory with their zeros.
            let mut rest = at..at + slice.length;
            for _ in 0..STRETCHES_MAX {
                let Some(data) = data_within(&file, rest.clone()) else { break };
                let length = NonZeroU64::new(data.end - data.start);
                // Only advice: the read that follows reports what is wrong.
                let _ = rustix::fs::fadvise(&*file, data.start, length, Advice::WillNeed);
                rest.start = data.end;
            }
        }
    }

    fn unchanged(&self, range: Range<u64>) -> Result<(), StorageError> {
        self.unchanged_at(range)
    }

    fn in_memory(&self, range: Range<u64>) -> Option<Extent> {
        // Files are moved under this lock, and that takes as long as the disk likes.
        let slots = self.slots.try_read().ok()?;
        let slice = self.table.layout().slices(range.clone()).next().filter(|slice| !slice.pad)?;
        let (key, place, offset) = self.locate(&slots, slice);
        if place == Place::Shared {
            // Its bytes move away when their file becomes wanted.
            return None;
        }
        // Opening may wait for the disk: the first read by a worker does it.
        let (file, residency) = self.handles.opened(key)?;
        if place == Place::Content && !self.still_vouched(key, &file, range) {
            return None;
        }
        let length = residency.prefix(&file, offset, slice.length)?;
        Some(Extent { file, offset, length })
    }

    fn sync(&self) -> Result<(), StorageError> {
        self.sync_written()
    }

    fn finish(&self) -> Result<(), StorageError> {
        let _alone = self.alone();
        self.publish_all()?;
        self.forget()
    }
}

/// Slices shorter than this are not read ahead, bytes.
const READ_AHEAD_MIN: u64 = 128 << 10;
/// Stretches between holes that one call has read ahead.
const STRETCHES_MAX: usize = 32;
const SYNC_FAILED: &str = "an earlier sync failed: what is on the disk must be checked anew";

impl Unsynced {
    fn note(&mut self, key: Key) {
        match key {
            Key::File(file) => {
                self.files.insert(file);
            }
            Key::Shared => self.shared = true,
        }
    }
}
