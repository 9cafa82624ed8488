//! What becomes of files that are there already, and of files that become wanted.

use super::beneath::Replace;
use super::table::{Place, Slot, file_index};
use super::{FsStorage, OpenError, Purpose, StorageError};
use crate::types::{Bitfield, FileIndex, PieceIndex};
use rustix::fs::SeekFrom;
use rustix::io::Errno;
use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt as _;

/// What the check says about a file under its final name.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Verdict {
    /// Every piece of it is good.
    Same,
    /// A piece that reaches into it is not good because another file of it is missing.
    Unknown,
    /// A piece of it is bad though all of it is there.
    Different,
}

impl FsStorage {
    /// Decides about wanted files that have their final name already, once a check has told
    /// which pieces on the disk are good. Pieces that are good stay good.
    ///
    /// Different ones go back to `NAME.part` to be repaired when `overwrite` was given.
    ///
    /// # Errors
    /// [`OpenError::Conflict`] when one is different and may not be overwritten; nothing was
    /// touched then. Or when the system fails.
    pub fn settle(&self, good: &Bitfield) -> Result<(), OpenError> {
        let Purpose::Fetch { overwrite } = self.purpose else { return Ok(()) };
        let mut slots = self.slots_mut();
        let mut adopted = Vec::new();
        let mut last = None;
        for (file, slot) in slots.iter().enumerate() {
            if slot.place != Place::Content {
                continue;
            }
            match self.judge(&slots, file, good, &mut last) {
                Verdict::Same => {}
                Verdict::Unknown | Verdict::Different if overwrite => adopted.push(file),
                Verdict::Unknown => {}
                Verdict::Different => return Err(self.conflict(file, good)),
            }
        }
        for file in adopted {
            self.hold_lock()?;
            let [from, to] =
                [Place::Content, Place::Part].map(|place| self.table.path(file, place));
            self.root
                .rename(&from, &to, Replace::Yes)
                .map_err(|error| self.error("rename", &from, error))?;
            self.handles.clear();
            if let Some(slot) = slots.get_mut(file) {
                slot.place = Place::Part;
            }
        }
        Ok(())
    }

    /// Changes which files are wanted. What is verified stays readable.
    ///
    /// # Errors
    /// [`OpenError::Conflict`] when a file that becomes wanted has its final name already and
    /// may not be overwritten: add the torrent anew to have it checked. [`OpenError::Locked`],
    /// or when the system fails.
    pub fn select(&self, wanted: &dyn Fn(FileIndex) -> bool) -> Result<(), OpenError> {
        let Purpose::Fetch { overwrite } = self.purpose else { return Ok(()) };
        self.hold_lock()?;
        let mut slots = self.slots_mut();
        for (file, slot) in slots.iter_mut().enumerate() {
            slot.wanted = wanted(file_index(file));
            if !slot.wanted || slot.place != Place::Shared {
                continue;
            }
            if !overwrite && self.is_finished(file)? {
                let path = self.full(&self.table.path(file, Place::Content));
                return Err(OpenError::Conflict { path });
            }
            self.copy_from_shared(file)?;
            slot.place = Place::Part;
        }
        Ok(())
    }

    /// After a run that wanted fewer files: takes over what it kept of those wanted now.
    pub(super) fn take_from_shared(&self) -> Result<(), OpenError> {
        let is_there = |path: &std::path::Path| {
            self.root.stat(path).map(|stat| stat.is_some()).map_err(|e| self.error("open", path, e))
        };
        if !is_there(self.table.shared())? {
            return Ok(());
        }
        for (file, slot) in self.slots().iter().enumerate() {
            let part = self.table.path(file, Place::Part);
            if slot.place == Place::Part && !is_there(&part)? {
                self.copy_from_shared(file)?;
            }
        }
        Ok(())
    }

    fn judge(
        &self,
        slots: &[Slot],
        file: usize,
        good: &Bitfield,
        last: &mut Option<(u32, Verdict)>,
    ) -> Verdict {
        let Some(extent) = self.table.stored(file) else { return Verdict::Same };
        if self.length_at(file, Place::Content) != Some(extent.length) {
            return Verdict::Different;
        }
        let mut verdict = Verdict::Same;
        for piece in self.table.geometry().pieces_of(extent.offset..extent.offset + extent.length) {
            // Many small files lie in one piece: look at it once.
            let of_piece = match *last {
                Some((judged, verdict)) if judged == piece => verdict,
                _ => self.judge_piece(slots, PieceIndex::new(piece), good),
            };
            *last = Some((piece, of_piece));
            match of_piece {
                Verdict::Same => {}
                Verdict::Unknown => verdict = Verdict::Unknown,
                Verdict::Different => return Verdict::Different,
            }
        }
        verdict
    }

    fn judge_piece(&self, slots: &[Slot], piece: PieceIndex, good: &Bitfield) -> Verdict {
        if good.contains(piece) {
            return Verdict::Same;
        }
        let range = self.table.geometry().piece_range(piece);
        let finished = |file: FileIndex| {
            slots.get(file.as_usize()).is_some_and(|slot| slot.place == Place::Content)
        };
        match self.table.layout().slices(range).all(|slice| slice.pad || finished(slice.file)) {
            true => Verdict::Different,
            false => Verdict::Unknown,
        }
    }

    /// What is in the way: the file, or the whole content when the bad piece is also another
    /// file's and may be its fault.
    fn conflict(&self, file: usize, good: &Bitfield) -> OpenError {
        let geometry = self.table.geometry();
        let is_own = |piece| {
            let mut slices = self.table.layout().slices(geometry.piece_range(piece));
            slices.all(|slice| slice.pad || slice.file.as_usize() == file)
        };
        let is_to_blame = self.table.stored(file).is_none_or(|extent| {
            let pieces = geometry.pieces_of(extent.offset..extent.offset + extent.length);
            self.length_at(file, Place::Content) != Some(extent.length)
                || pieces.map(PieceIndex::new).any(|piece| !good.contains(piece) && is_own(piece))
        });
        let path = match is_to_blame {
            true => self.table.path(file, Place::Content),
            false => self.table.content().to_owned(),
        };
        OpenError::Conflict { path: self.full(&path) }
    }

    fn length_at(&self, file: usize, place: Place) -> Option<u64> {
        let found = self.root.stat(&self.table.path(file, place)).ok().flatten();
        found.map(|(_, length)| length)
    }

    /// Copies what the shared file holds of one file to the file's own place.
    fn copy_from_shared(&self, file: usize) -> Result<(), StorageError> {
        let Some(extent) = self.table.stored(file) else { return Ok(()) };
        let shared = match self.root.read(self.table.shared()) {
            Ok(shared) => shared,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
            Err(error) => return Err(self.error("open", self.table.shared(), error)),
        };
        let path = self.table.path(file, Place::Part);
        let copy = || -> io::Result<()> {
            let end = extent.offset + extent.length;
            let mut at = extent.offset;
            let mut target = None;
            while let Some((start, stop)) = next_data(&shared, at, end)? {
                let to = match &target {
                    Some(to) => to,
                    None => target.insert(self.create_sized(&path, file)?),
                };
                copy_range(&shared, start..stop, to, extent.offset)?;
                at = stop;
            }
            Ok(())
        };
        copy().map_err(|error| self.error("write", &path, error))?;
        self.unsynced().note(super::Key::File(file));
        Ok(())
    }
}

/// The next run of data in `from..end` of a sparse file.
fn next_data(file: &File, from: u64, end: u64) -> io::Result<Option<(u64, u64)>> {
    let length = file.metadata()?.len();
    let end = end.min(length);
    if from >= end {
        return Ok(None);
    }
    let start = match rustix::fs::seek(file, SeekFrom::Data(from)) {
        Ok(start) => start,
        Err(Errno::NXIO) => return Ok(None),
        // This filesystem does not tell: all of it may be data.
        Err(Errno::INVAL | Errno::OPNOTSUPP) => return Ok(Some((from, end))),
        Err(error) => return Err(error.into()),
    };
    if start >= end {
        return Ok(None);
    }
    let stop = rustix::fs::seek(file, SeekFrom::Hole(start)).unwrap_or(end);
    Ok(Some((start, stop.min(end))))
}

/// Copies `range` of `from` to `to`, whose first byte is byte `origin` of `from`.
fn copy_range(from: &File, range: std::ops::Range<u64>, to: &File, origin: u64) -> io::Result<()> {
    let mut buffer = vec![0; super::COMPARE_BYTES];
    let mut at = range.start;
    while at < range.end {
        let length = usize::try_from(range.end - at).unwrap_or(usize::MAX).min(buffer.len());
        let bytes = buffer.split_at_mut(length).0;
        from.read_exact_at(bytes, at)?;
        to.write_all_at(bytes, at - origin)?;
        at += length as u64;
    }
    Ok(())
}
