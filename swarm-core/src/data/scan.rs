//! Reads a whole torrent with several threads, each a run of pieces at a time.

use crate::storage::StorageError;

/// How far a scan is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Progress {
    /// Bytes hashed or found missing.
    pub done: u64,
    /// Bytes in all.
    pub total: u64,
}

/// Why a scan ended early.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ScanError {
    /// The progress callback said so.
    #[error("stopped")]
    Stopped,
    /// The storage failed.
    #[error(transparent)]
    Storage(#[from] StorageError),
}

pub(super) fn placeholder() {}
