//! Content in files.

use super::{Presence, Storage, StorageError};
use crate::metainfo::Metainfo;
use crate::types::{Bitfield, FileIndex};
use std::io::{IoSlice, IoSliceMut};
use std::ops::Range;
use std::path::{Path, PathBuf};

/// Content of one torrent in files.
#[derive(Debug)]
pub struct FsStorage {
    _private: (),
}

/// Why the files of a torrent cannot be used.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum OpenError {
    /// Something else is where the content has to go, and may not be overwritten.
    #[error("{} exists and is different", path.display())]
    Conflict {
        /// What is in the way.
        path: PathBuf,
    },
    /// Another process is fetching the same content into the same folder.
    #[error("{} is being fetched by another process", path.display())]
    Locked {
        /// The content's final path.
        path: PathBuf,
    },
    /// The system fails.
    #[error(transparent)]
    Storage(#[from] StorageError),
}

impl FsStorage {
    /// Fetches into `folder`, which is created when it is missing. Writes nothing yet.
    ///
    /// `wanted` tells which files are. After a check of what is there, call [`Self::settle`]
    /// before the first write.
    ///
    /// # Errors
    /// [`OpenError::Conflict`] when something is in the way that cannot be this torrent's
    /// (with `overwrite`: only what cannot be replaced, as a folder where a file is due),
    /// [`OpenError::Locked`], or when the system fails.
    pub fn fetch(
        _folder: &Path,
        _metainfo: &Metainfo,
        _wanted: &dyn Fn(FileIndex) -> bool,
        _overwrite: bool,
    ) -> Result<Self, OpenError> {
        unimplemented!()
    }

    /// Serves existing content from where it lies: a file, or a folder, whatever its name.
    /// Read only. Files that are missing or too short fail when they are read.
    ///
    /// # Errors
    /// When `content` does not exist, or is a folder where a file is due or the reverse.
    pub fn seed(_content: &Path, _metainfo: &Metainfo) -> Result<Self, StorageError> {
        unimplemented!()
    }

    /// Decides what happens to files that are under their final name already, once the
    /// pieces on the disk are known to be good or not.
    ///
    /// # Errors
    /// [`OpenError::Conflict`] when a wanted one is different and may not be overwritten.
    pub fn settle(&self, _good: &Bitfield) -> Result<(), OpenError> {
        unimplemented!()
    }

    /// Changes which files are wanted.
    ///
    /// # Errors
    /// When the system fails.
    pub fn select(&self, _wanted: &dyn Fn(FileIndex) -> bool) -> Result<(), OpenError> {
        unimplemented!()
    }

    /// Where the content lies, or will lie once finished: the file or the folder.
    #[must_use]
    pub fn path(&self) -> PathBuf {
        unimplemented!()
    }

    /// Length on the disk of one file; `None` when it is not there.
    #[must_use]
    pub fn length_on_disk(&self, _file: FileIndex) -> Option<u64> {
        unimplemented!()
    }
}

impl Storage for FsStorage {
    fn read_at(&self, _offset: u64, _bufs: &mut [IoSliceMut<'_>]) -> Result<(), StorageError> {
        unimplemented!()
    }
    fn write_at(&self, _offset: u64, _bufs: &[IoSlice<'_>]) -> Result<(), StorageError> {
        unimplemented!()
    }
    fn presence(&self, _range: Range<u64>) -> Presence {
        unimplemented!()
    }
    fn sync(&self) -> Result<(), StorageError> {
        unimplemented!()
    }
    fn finish(&self) -> Result<(), StorageError> {
        unimplemented!()
    }
}

/// Bytes that may still be written below `folder`, which need not exist yet.
///
/// # Errors
/// When the system fails.
pub fn available_bytes(_folder: &Path) -> Result<u64, StorageError> {
    unimplemented!()
}
