//! Opening content: to fetch it, or to serve it from where it lies.

use super::beneath::Root;
use super::handles::Handles;
use super::table::{Blueprint, Place, Slot, Table, file_index};
use super::{FsStorage, Purpose, StorageError, Unsynced};
use crate::metainfo::Metainfo;
use crate::types::FileIndex;
use rustix::fs::FileType;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, RwLock};

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
    /// Fetches into `folder`, which is made when it is missing. Writes nothing but the lock.
    ///
    /// `wanted` tells which files are to come. Check what is there (`data::check`), hand the
    /// result to [`Self::settle`], and only then write.
    ///
    /// # Errors
    /// [`OpenError::Conflict`] when something is in the way that cannot be this torrent's
    /// (with `overwrite`: only what cannot be replaced, as a folder where a file is due),
    /// [`OpenError::Locked`], or when the system fails.
    pub fn fetch(
        folder: &Path,
        metainfo: &Metainfo,
        wanted: &dyn Fn(FileIndex) -> bool,
        overwrite: bool,
    ) -> Result<Self, OpenError> {
        Self::fetch_blueprint(folder, &Blueprint::from(metainfo), wanted, overwrite)
    }

    /// Serves existing content from where it lies: a file, or a folder, whatever its name.
    /// Read only. Files that are missing or too short fail when they are read.
    ///
    /// # Errors
    /// When `content` does not exist, or is a folder where a file is due or the reverse.
    pub fn seed(content: &Path, metainfo: &Metainfo) -> Result<Self, StorageError> {
        let mut storage = Self::seed_blueprint(content, &Blueprint::from(metainfo))?;
        if !metainfo.is_single_file() {
            for file in 0..storage.table.len() {
                if let Some(path) = metainfo.spelling(file_index(file)) {
                    storage.respell_missing(file, path);
                }
            }
        }
        Ok(storage)
    }

    /// Content that was not fetched by us has the names of the torrent, safe or not: where the
    /// safe one is not there, look for the other.
    fn respell_missing(&mut self, file: usize, path: &[String]) {
        let safe = self.table.path(file, Place::Content);
        if let Ok(None) = self.root.stat(&safe) {
            self.table.respell(file, path);
        }
    }

    pub(crate) fn fetch_blueprint(
        folder: &Path,
        torrent: &Blueprint<'_>,
        wanted: &dyn Fn(FileIndex) -> bool,
        overwrite: bool,
    ) -> Result<Self, OpenError> {
        let failed = |op| move |error| StorageError::new(op, folder, error);
        std::fs::create_dir_all(folder).map_err(failed("create"))?;
        let root = Root::open(folder).map_err(failed("open"))?;
        let table = Table::named(torrent).map_err(failed("open"))?;
        let slot = |file| match wanted(file_index(file)) {
            true => Slot { place: Place::Part, wanted: true },
            false => Slot { place: Place::Shared, wanted: false },
        };
        let slots = (0..table.len()).map(slot).collect();
        let storage = Self::new(root, table, Purpose::Fetch { overwrite }, slots);
        let writable = match storage.hold_lock() {
            // Complete content may well lie where nothing can be written.
            Err(OpenError::Storage(error)) if is_read_only(&error) => false,
            result => result.map(|()| true)?,
        };
        storage.find_finished()?;
        if writable {
            storage.take_from_shared()?;
        }
        Ok(storage)
    }

    pub(crate) fn seed_blueprint(
        content: &Path,
        torrent: &Blueprint<'_>,
    ) -> Result<Self, StorageError> {
        let failed = |error: io::Error| StorageError::new("open", content, error);
        // The user names the content: links up to it are his. Those inside are not followed.
        let content = content.canonicalize().map_err(failed)?;
        let is_folder = content.metadata().map_err(failed)?.is_dir();
        let (folder, name) = match (torrent.is_single_file, is_folder) {
            (false, true) => (content.as_path(), PathBuf::new()),
            (true, false) => (
                content.parent().unwrap_or_else(|| Path::new("/")),
                content.file_name().map(PathBuf::from).unwrap_or_default(),
            ),
            (true, true) => return Err(failed(io::ErrorKind::IsADirectory.into())),
            (false, false) => return Err(failed(io::ErrorKind::NotADirectory.into())),
        };
        let root = Root::open(folder).map_err(failed)?;
        let table = Table::at(torrent, name).map_err(failed)?;
        let slots = vec![Slot { place: Place::Content, wanted: true }; table.len()];
        Ok(Self::new(root, table, Purpose::Seed, slots))
    }

    /// Whether nothing of this content is on the disk, under whatever name, so that there is
    /// nothing to check: looking for each of many pieces takes longer than fetching some. With
    /// pad files there is, for they are never on the disk.
    #[must_use]
    pub fn is_blank(&self) -> bool {
        let names = [self.table.part(), self.table.content(), self.table.shared()];
        self.table.layout().extents().iter().all(|extent| !extent.pad)
            && names.iter().all(|name| matches!(self.root.stat(name), Ok(None)))
    }

    fn new(root: Root, table: Table, purpose: Purpose, slots: Vec<Slot>) -> Self {
        Self {
            root: Arc::new(root),
            table,
            purpose,
            slots: RwLock::new(slots),
            handles: Handles::default(),
            lock: Mutex::new(None),
            unsynced: Mutex::new(Unsynced::default()),
            journal: Mutex::default(),
            upkeep: Mutex::default(),
        }
    }

    /// Finds wanted files that have their final name already.
    fn find_finished(&self) -> Result<(), OpenError> {
        let due = if self.table.is_folder() { FileType::Directory } else { FileType::RegularFile };
        self.is_there(self.table.part(), due)?;
        if !self.is_there(self.table.content(), due)? {
            return Ok(());
        }
        for (file, slot) in self.slots_mut().iter_mut().enumerate() {
            if slot.wanted && self.is_finished(file)? {
                slot.place = Place::Content;
            }
        }
        Ok(())
    }

    /// Whether the file has its final name, with a length that may be right or may be
    /// overwritten.
    pub(super) fn is_finished(&self, file: usize) -> Result<bool, OpenError> {
        let Some(extent) = self.table.stored(file) else { return Ok(false) };
        let path = self.table.path(file, Place::Content);
        match self.stat(&path)? {
            None => Ok(false),
            Some((FileType::RegularFile, length))
                if length == extent.length
                    || self.purpose == (Purpose::Fetch { overwrite: true }) =>
            {
                Ok(true)
            }
            Some(_) => Err(OpenError::Conflict { path: self.full(&path) }),
        }
    }

    fn is_there(&self, path: &Path, due: FileType) -> Result<bool, OpenError> {
        match self.stat(path)? {
            None => Ok(false),
            Some((found, _)) if found == due => Ok(true),
            Some(_) => Err(OpenError::Conflict { path: self.full(path) }),
        }
    }

    fn stat(&self, path: &Path) -> Result<Option<(FileType, u64)>, OpenError> {
        self.root.stat(path).map_err(|error| {
            // A file or a link is where a folder is due.
            let in_the_way = [rustix::io::Errno::NOTDIR, rustix::io::Errno::LOOP]
                .iter()
                .any(|errno| error.raw_os_error() == Some(errno.raw_os_error()));
            match in_the_way {
                true => OpenError::Conflict { path: self.full(path) },
                false => self.error("open", path, error).into(),
            }
        })
    }
}

fn is_read_only(error: &StorageError) -> bool {
    matches!(error.kind(), io::ErrorKind::PermissionDenied | io::ErrorKind::ReadOnlyFilesystem)
}
