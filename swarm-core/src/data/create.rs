//! Walks and hashes a file or folder for a new torrent.

use super::scan::Progress;
use std::ops::ControlFlow;
use std::path::{Path, PathBuf};

/// What was found: the files a new torrent will hold, in torrent order.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Content {
    /// Where it lies: the file, or the folder.
    pub root: PathBuf,
    /// Its own name, as a torrent would call it.
    pub name: String,
    /// Whether it is one file and not a folder.
    pub is_file: bool,
    /// The files, sorted by the bytes of their path. One with an empty path for a single file.
    pub files: Vec<ContentFile>,
    /// Paths that were left out, and why.
    pub skipped: Vec<(PathBuf, Skip)>,
}

/// One file found.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ContentFile {
    /// Path below the root, one element each; empty for a single file.
    pub path: Vec<String>,
    /// Length in bytes.
    pub length: u64,
}

/// Why a path was left out.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Skip {
    /// A symbolic link: where it leads may be outside of the folder.
    Symlink,
    /// A socket, pipe or device.
    Special,
}

/// Why nothing was created.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum CreateError {
    /// A path cannot be read.
    #[error(transparent)]
    Storage(#[from] crate::storage::StorageError),
    /// A file name is not valid UTF-8.
    #[error("{} is not valid UTF-8", _0.display())]
    Name(PathBuf),
    /// A file changed while it was hashed.
    #[error("{} changed while it was hashed", _0.display())]
    Changed(PathBuf),
    /// There is nothing but empty files, or nothing at all.
    #[error("{} holds no data", _0.display())]
    Empty(PathBuf),
    /// The progress callback said stop.
    #[error("stopped")]
    Stopped,
}

impl Content {
    /// Looks at a file, or walks a folder.
    ///
    /// # Errors
    /// When a path cannot be read, or has a name that no torrent can hold.
    pub fn find(_root: &Path) -> Result<Self, CreateError> {
        unimplemented!()
    }

    /// Bytes in all.
    #[must_use]
    pub fn total_length(&self) -> u64 {
        self.files.iter().fold(0, |sum, file| sum.saturating_add(file.length))
    }

    /// SHA-1 of every piece, with `threads` threads (0: one per core). Blocks.
    ///
    /// # Errors
    /// When a file cannot be read or has changed, or `progress` said to stop.
    pub fn hash(
        &self,
        _piece_length: u32,
        _threads: usize,
        _progress: &(dyn Fn(Progress) -> ControlFlow<()> + Sync),
    ) -> Result<Vec<[u8; 20]>, CreateError> {
        unimplemented!()
    }
}
