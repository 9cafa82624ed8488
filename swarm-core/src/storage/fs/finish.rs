//! Giving verified content its final name.
//!
//! In order: every file is there at its exact length and forced to the disk; it is renamed;
//! the folders that changed are forced to the disk; what is no longer needed is removed. Dying
//! between any two steps leaves files that are whole, under one name or the other.

use super::beneath::Replace;
use super::handles::{Access, Key};
use super::table::{Place, Slot};
use super::{FsStorage, OpenError, Purpose, SYNC_EACH_MAX, SYNC_FAILED, StorageError};
use crate::storage::crash::{self, Point};
use rustix::fs::FileType;
use std::collections::BTreeSet;
use std::io;
use std::path::{Path, PathBuf};

impl FsStorage {
    /// Gives everything wanted its final name. The lock is still held afterwards.
    pub(super) fn publish_all(&self) -> Result<(), StorageError> {
        let Purpose::Fetch { overwrite } = self.purpose else { return Ok(()) };
        let files = self.to_publish(&self.slots());
        if !files.is_empty() {
            self.hold_lock().map_err(|error| match error {
                OpenError::Storage(error) => error,
                OpenError::Locked { path } | OpenError::Conflict { path } => {
                    StorageError::new("rename", path, io::ErrorKind::ResourceBusy)
                }
            })?;
            self.complete(&files)?;
            let replace = if overwrite { Replace::Yes } else { Replace::No };
            crash::at(Point::BeforeFinish);
            self.change(|| self.publish(&files, replace))?;
            crash::at(Point::AfterFinish);
            // A new name is a change of the file, made by us.
            self.note_stamps(&self.slots(), files.into_iter().map(Key::File));
        }
        self.clean_up()
    }

    fn to_publish(&self, slots: &[Slot]) -> Vec<usize> {
        let due = |(file, slot): (usize, &Slot)| {
            let publish = slot.wanted && slot.place == Place::Part;
            (publish && self.table.stored(file).is_some()).then_some(file)
        };
        slots.iter().enumerate().filter_map(due).collect()
    }

    /// Every file is there, at its exact length, on the disk.
    fn complete(&self, files: &[usize]) -> Result<(), StorageError> {
        if self.unsynced().failed {
            return Err(StorageError::new("sync", self.path(), io::Error::other(SYNC_FAILED)));
        }
        let slots = self.slots();
        for &file in files {
            let path = self.table.path(file, Place::Part);
            self.complete_one(file, &path).map_err(|error| self.error("write", &path, error))?;
        }
        // Not only what this run wrote: an earlier one may have died before its sync.
        let files: BTreeSet<usize> = files.iter().copied().collect();
        let shared = std::mem::take(&mut self.unsynced().shared);
        let synced = self.sync_files(&slots, &files, shared).and_then(|()| {
            self.sync_parents(files.iter().map(|&file| self.table.path(file, Place::Part)))
        });
        let mut unsynced = self.unsynced();
        unsynced.failed |= synced.is_err();
        unsynced.files.retain(|file| !files.contains(file));
        synced
    }

    fn complete_one(&self, file: usize, path: &Path) -> io::Result<()> {
        let due = self.table.stored(file).map_or(0, |extent| extent.length);
        if due == 0 {
            return self.create_sized(path, file).map(drop);
        }
        let found = self.root.stat(path)?;
        match found {
            Some((FileType::RegularFile, length)) if length == due => Ok(()),
            Some((FileType::RegularFile, length)) if length > due => {
                self.root.write(path)?.set_len(due)
            }
            // It was verified, and then taken away or cut under us.
            _ => Err(io::ErrorKind::UnexpectedEof.into()),
        }
    }

    /// Forces these files to the disk, each where it is.
    pub(super) fn sync_files(
        &self,
        slots: &[Slot],
        files: &BTreeSet<usize>,
        shared: bool,
    ) -> Result<(), StorageError> {
        if files.len() > SYNC_EACH_MAX {
            return self
                .root
                .sync_filesystem()
                .map_err(|error| StorageError::new("sync", self.path(), error));
        }
        let place = |file: &usize| slots.get(*file).map_or(Place::Part, |slot| slot.place);
        let own = files.iter().map(|file| (Key::File(*file), place(file)));
        for (key, place) in own.chain(shared.then_some((Key::Shared, Place::Shared))) {
            let path = match key {
                Key::File(file) => self.table.path(file, place),
                Key::Shared => self.table.shared().to_owned(),
            };
            self.open(key, place, Access::Read)
                .and_then(|file| file.sync_data())
                .map_err(|error| self.error("sync", &path, error))?;
            self.root.forced(&path);
        }
        Ok(())
    }

    /// Forces to the disk the names of these paths.
    fn sync_parents(&self, paths: impl Iterator<Item = PathBuf>) -> Result<(), StorageError> {
        let folders: BTreeSet<PathBuf> = paths
            .flat_map(|path| path.ancestors().skip(1).map(Path::to_owned).collect::<Vec<_>>())
            .collect();
        let synced = match folders.len() > SYNC_EACH_MAX {
            true => self.root.sync_filesystem(),
            false => folders.iter().try_for_each(|folder| self.root.sync_folder(folder)),
        };
        synced.map_err(|error| StorageError::new("sync", self.path(), error))
    }

    fn publish(&self, files: &[usize], replace: Replace) -> Result<(), StorageError> {
        let mut slots = self.slots_mut();
        self.handles.clear();
        if self.is_whole_folder(files)? {
            let (part, content) = (self.table.part(), self.table.content());
            self.root
                .rename(part, content, Replace::No)
                .map_err(|error| self.error("rename", content, error))?;
            mark_finished(&mut slots, files);
        }
        for &file in files {
            if slots.get(file).is_some_and(|slot| slot.place == Place::Content) {
                continue;
            }
            let [from, to] =
                [Place::Part, Place::Content].map(|place| self.table.path(file, place));
            self.root
                .rename(&from, &to, replace)
                .map_err(|error| self.error("rename", &to, error))?;
            mark_finished(&mut slots, &[file]);
        }
        drop(slots);
        self.sync_parents(files.iter().map(|&file| self.table.path(file, Place::Content)))
    }

    /// Whether `NAME.part` is a folder that holds these files and no others, and `NAME` is free.
    fn is_whole_folder(&self, files: &[usize]) -> Result<bool, StorageError> {
        let content = self.table.content();
        let taken = self.root.stat(content).map_err(|error| self.error("open", content, error))?;
        if !self.table.is_folder() || taken.is_some() {
            return Ok(false);
        }
        // All of `files` are there, `complete` saw to it: counting is enough.
        Ok(self.walk_part()?.files == files.len())
    }

    fn clean_up(&self) -> Result<(), StorageError> {
        if self.table.is_folder() {
            for folder in self.walk_part()?.folders.iter().rev() {
                self.root
                    .remove_empty(folder)
                    .map_err(|error| self.error("remove", folder, error))?;
            }
        }
        let is_needed = |(file, slot): (usize, &Slot)| {
            slot.place == Place::Shared && self.table.stored(file).is_some()
        };
        let shared = self.table.shared();
        // Looked for first: a filesystem that cannot be written refuses even to remove nothing.
        let remove = || match self.root.stat(shared)? {
            Some(_) => self.root.remove(shared).map(drop),
            None => Ok(()),
        };
        if self.slots().iter().enumerate().any(is_needed) {
            return Ok(());
        }
        remove().map_err(|error: io::Error| self.error("remove", shared, error))
    }

    /// What is in `NAME.part`: how many files, and the folders, each after its parent.
    fn walk_part(&self) -> Result<Walk, StorageError> {
        let mut walk = Walk::default();
        match self.root.stat(self.table.part()) {
            Ok(Some((FileType::Directory, _))) => walk.folders.push(self.table.part().to_owned()),
            Ok(_) => return Ok(walk),
            Err(error) => return Err(self.error("open", self.table.part(), error)),
        }
        let mut next = 0;
        while let Some(folder) = walk.folders.get(next).cloned() {
            let found =
                self.root.list(&folder).map_err(|error| self.error("read", &folder, error))?;
            for (path, kind) in found {
                match kind {
                    FileType::Directory => walk.folders.push(path),
                    _ => walk.files += 1,
                }
            }
            next += 1;
        }
        Ok(walk)
    }
}

#[derive(Debug, Default)]
struct Walk {
    files: usize,
    folders: Vec<PathBuf>,
}

fn mark_finished(slots: &mut [Slot], files: &[usize]) {
    for &file in files {
        if let Some(slot) = slots.get_mut(file) {
            slot.place = Place::Content;
        }
    }
}
