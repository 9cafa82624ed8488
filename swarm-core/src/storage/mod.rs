//! Where content lies. Blocking by design: all but [`Storage::in_memory`] is called from worker
//! threads only.
//!
//! A storage sees one torrent as one run of bytes (see `geometry::Layout`) and hides files,
//! folders, partial names and sparse holes behind it. It never decides what is valid.
//!
//! What is verified is recorded by [`FsStorage`] only: see `fs::journal`.

mod crash;
mod fs;
mod mem;
mod vectored;

pub mod fault;

#[cfg(feature = "__fuzz")]
pub use fs::replay_record;
pub(crate) use fs::{Blueprint, Stamp, Sums};
pub use fs::{FsStorage, Kept, OpenError, OpenFiles, Sight, available_bytes};
pub use mem::MemStorage;

use std::fmt;
use std::fs::File;
use std::io::{self, IoSlice, IoSliceMut};
use std::ops::Range;
use std::path::PathBuf;
use std::sync::Arc;

/// Content of one torrent, addressed by offset in the torrent.
pub trait Storage: Send + Sync + fmt::Debug {
    /// Fills `bufs` from `offset` on. Pad files read as zeros.
    ///
    /// # Errors
    /// When bytes are missing (`ErrorKind::UnexpectedEof`) or the system fails.
    fn read_at(&self, offset: u64, bufs: &mut [IoSliceMut<'_>]) -> Result<(), StorageError>;

    /// Writes `bufs` from `offset` on, creating files as needed. Pad files are skipped.
    ///
    /// # Errors
    /// When the system fails; a full disk is `ErrorKind::StorageFull`.
    fn write_at(&self, offset: u64, bufs: &[IoSlice<'_>]) -> Result<(), StorageError>;

    /// Writes several runs, each as by [`Self::write_at`], for less than as many calls would
    /// cost. What became of each, in order: one that fails keeps none of the others back.
    fn write_runs(&self, runs: &[Run<'_>]) -> Vec<Result<(), StorageError>> {
        runs.iter().map(|run| self.write_at(run.offset, &run.bufs)).collect()
    }

    /// As [`Self::write_at`], of bytes that are not verified: part of a piece too long to wait
    /// in memory for its hash. A file that has its final name is neither changed nor compared.
    ///
    /// # Errors
    /// As [`Self::write_at`].
    fn write_unverified(&self, offset: u64, bufs: &[IoSlice<'_>]) -> Result<(), StorageError> {
        self.write_at(offset, bufs)
    }

    /// Reads what [`Self::write_unverified`] wrote.
    ///
    /// # Errors
    /// As [`Self::read_at`].
    fn read_unverified(
        &self,
        offset: u64,
        bufs: &mut [IoSliceMut<'_>],
    ) -> Result<(), StorageError> {
        self.read_at(offset, bufs)
    }

    /// What was written unverified of this range has proved right: from now on it counts as if
    /// [`Self::write_at`] had written it.
    ///
    /// # Errors
    /// As [`Self::write_at`].
    fn accept(&self, _range: Range<u64>) -> Result<(), StorageError> {
        Ok(())
    }

    /// What a byte range may hold, so that a check can skip holes and missing files.
    fn presence(&self, range: Range<u64>) -> Presence;

    /// Where the content of a byte range ends: before the pad file at its end, if there is one.
    /// A v2 piece is hashed without its padding (BEP 52).
    fn content_end(&self, range: Range<u64>) -> u64 {
        range.end
    }

    /// Tells that this range will be read soon, so that the disk can start on it. Never blocks
    /// for long; may do nothing.
    fn will_read(&self, _range: Range<u64>) {}

    /// Whether this range, just read, is still what was verified: a file of it may have been
    /// changed by somebody else. Blocks must not be handed out unless it is.
    ///
    /// # Errors
    /// When it is not, or cannot be told.
    fn unchanged(&self, _range: Range<u64>) -> Result<(), StorageError> {
        Ok(())
    }

    /// The beginning of `range` as far as it lies in memory and in one file, so that the system
    /// can send it from there. `None`: read it with [`Self::read_at`].
    ///
    /// The one method that may be called where nothing may block: it waits for no disk and for
    /// no other thread. What it says may be outdated at once, so ask just before sending.
    fn in_memory(&self, _range: Range<u64>) -> Option<Extent> {
        None
    }

    /// Forces what was written to the disk.
    ///
    /// # Errors
    /// When the system fails: nothing may then be assumed of what was written.
    fn sync(&self) -> Result<(), StorageError>;

    /// All wanted content is verified: gives it its final name. Idempotent; reads go on working.
    ///
    /// # Errors
    /// When a different file is in the way (`ErrorKind::AlreadyExists`), or the system fails.
    fn finish(&self) -> Result<(), StorageError>;
}

/// Bytes that lie end to end.
#[derive(Debug, Default)]
pub struct Run<'a> {
    /// Where in the torrent they begin.
    pub offset: u64,
    /// The bytes.
    pub bufs: Vec<IoSlice<'a>>,
}

/// Bytes of an open file.
#[derive(Clone, Debug)]
pub struct Extent {
    /// The file. Whoever holds it may read it whatever becomes of its name.
    pub file: Arc<File>,
    /// Where in the file, in bytes.
    pub offset: u64,
    /// How many bytes, at least 1.
    pub length: u64,
}

/// What a byte range of the torrent may hold.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Presence {
    /// Part of it is not there: a read would fail.
    Missing,
    /// It is there and reads as zeros: nothing but holes and pad files.
    Zeros,
    /// It is there; what it holds only a read can tell.
    Data,
}

/// The local machine failed us, or is in the way.
#[derive(Debug, thiserror::Error)]
#[error("{op} {}: {source}", path.display())]
pub struct StorageError {
    /// What was tried: `read`, `write`, `create`, `rename`, `sync`, `open`.
    pub op: &'static str,
    /// On what.
    pub path: PathBuf,
    /// Why it failed.
    #[source]
    pub source: io::Error,
}

impl StorageError {
    /// What was tried on what, and why it failed.
    pub fn new(op: &'static str, path: impl Into<PathBuf>, source: impl Into<io::Error>) -> Self {
        Self { op, path: path.into(), source: source.into() }
    }

    /// Why it failed, as the system classes it.
    #[must_use]
    pub fn kind(&self) -> io::ErrorKind {
        self.source.kind()
    }
}
