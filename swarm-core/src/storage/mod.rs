//! Where content lies. Blocking by design: it is called from worker threads only.
//!
//! A storage sees one torrent as one run of bytes (see `geometry::Layout`) and hides files,
//! folders, partial names and sparse holes behind it. It never decides what is valid.

use std::fmt;
use std::io::{IoSlice, IoSliceMut};
use std::path::PathBuf;

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

    /// Whether any byte of the range may be present: false lets a check skip holes and
    /// missing files without reading.
    fn may_hold(&self, range: std::ops::Range<u64>) -> bool;

    /// Forces what was written to the disk.
    ///
    /// # Errors
    /// When the system fails: nothing may then be assumed of what was written.
    fn sync(&self) -> Result<(), StorageError>;

    /// All wanted content is verified: gives it its final name. Idempotent; reads go on working.
    ///
    /// # Errors
    /// When a different file is in the way, or the system fails.
    fn finish(&self) -> Result<(), StorageError>;
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
    pub source: std::io::Error,
}
