//! What is verified survives the process: claims, and when they are believed.
//!
//! # Writing
//!
//! A claim is made in this order, and each step is done before the next begins: pieces are
//! written; their files are forced to the disk; the record that claims them is written under a
//! spare name and forced to the disk; it takes its name; the folder is forced to the disk. So
//! a record never claims what a power cut could still take, and is always one whole record.
//!
//! It lies beside the content while that is fetched, hidden, and goes when the fetch is
//! complete. What is complete, and what is served without having been fetched by us, is
//! recorded on the [`shelf`](super::shelf) instead, if there is one: nothing is ever written
//! beside content that is not ours.
//!
//! # Believing
//!
//! A piece is taken from the record, and not hashed again, when every file it lies in
//!
//! - is the same file at the same length (device, inode), and
//! - was not touched since the claim; or, if the last run died, was last touched while that
//!   run was still writing, as the tide mark in its lock says (see [`lock`](super::lock)).
//!
//! So after a clean end nothing is hashed, and after a kill what was written since the last
//! claim, and everything in files that somebody else touched since. Before anything is written
//! the record is renewed, with what this run found to be good: a claim that was once not
//! believed is not there to be believed later, and what was is still believed after a kill.
//!
//! What is not seen: a change by somebody else in the same tick of the clock that stamps files
//! (10 ms at most) as our last write before a kill; one under our hands while we fetch into
//! the same file; one on a disk that changes behind its filesystem's back.
//!
//! # While serving
//!
//! A file under its final name is never written by us. What is read from it is handed out
//! only if the file still looks as it did when it was verified ([`FsStorage::unchanged_at`]).

use super::handles::{Access, OpenFiles};
use super::record::{RECORD_BYTES_MAX, Record, SHARED, Stamp};
use super::shelf::Shelf;
use super::table::{Place, Slot};
use super::{FsStorage, Key, Purpose};
use crate::geometry::FileSlice;
use crate::storage::StorageError;
use crate::storage::crash::{self, Point};
use crate::types::{Bitfield, PieceIndex};
use std::collections::{BTreeMap, BTreeSet};
use std::fs::File;
use std::io;
use std::ops::Range;
use std::os::unix::ffi::OsStrExt as _;
use std::path::Path;
use std::sync::{Arc, MutexGuard, PoisonError};

/// What is known of the files that claims rest on.
#[derive(Debug, Default)]
pub(super) struct Journal {
    /// How each file looked when what is in it was verified, or last written by us.
    stamps: BTreeMap<u32, Stamp>,
    /// Files that look otherwise now, and the pieces hashed again since.
    again: BTreeMap<u32, (Stamp, BTreeSet<u32>)>,
    generation: u64,
    shelf: Option<Shelf>,
}

/// What became of a checkpoint's record. The content is on the disk either way.
#[derive(Debug)]
#[must_use]
pub enum Kept {
    /// The claims are on the disk.
    Yes,
    /// They are not, for this reason; the record before stays as it was.
    No(StorageError),
}

/// How the files of a piece looked before it was hashed; see [`FsStorage::sight`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Sight(Vec<(u32, Stamp)>);

impl FsStorage {
    /// Keeps no more files open than `files` allows to all that share it. To be called before
    /// anything is read or written.
    #[must_use]
    pub fn share_files(mut self, files: Arc<OpenFiles>) -> Self {
        self.handles.share(files);
        self
    }

    /// Records finished and served content in `folder`, which is made when it is missing.
    /// Without this such content is hashed at every start. To be called before
    /// [`Self::recall`]. A folder that cannot be used is as good as none.
    #[must_use]
    pub fn remember_in(self, folder: &Path) -> Self {
        let shelf = std::path::absolute(self.path()).and_then(|path| {
            let torrent = self.table.subject().torrent;
            let keys = [torrent.as_bytes().as_slice(), path.as_os_str().as_bytes()];
            Shelf::open(&folder.join("verified"), &keys)
        });
        match shelf {
            Ok(shelf) => self.journal().shelf = Some(shelf),
            Err(error) => {
                tracing::debug!(folder = %folder.display(), %error, "state folder not used");
            }
        }
        self
    }

    /// The pieces an earlier run verified whose files nobody else has touched since: they need
    /// no hashing. To be called once, before the rest is checked. Blocks.
    #[must_use]
    pub fn recall(&self) -> Bitfield {
        let slots = self.slots();
        let found = self.look(&slots);
        let record = self.load_record();
        let known = match &record {
            Some(record) => self.believe(&slots, record, &found),
            None => Bitfield::none(self.table.geometry().piece_count()),
        };
        let mut journal = self.journal();
        journal.stamps = found;
        journal.generation = record.map_or(0, |record| record.generation);
        known
    }

    /// Whether a record was found beside the content, believed or not. [`Self::checkpoint`]
    /// has to renew it before anything is written: it was made under another run's lock, which
    /// says nothing about what this run will write.
    #[must_use]
    pub fn has_record(&self) -> bool {
        matches!(self.purpose, Purpose::Fetch { .. })
            && self.root.stamp(self.table.record()).is_ok_and(|found| found.is_some())
    }

    /// Forces to the disk what was written, then records that `have` is verified: pieces
    /// whose `write_at` had returned, or that were found good, before this was called.
    ///
    /// # Errors
    /// When the content could not be forced to the disk: nothing may then be assumed of what
    /// was written since the last checkpoint.
    pub fn checkpoint(&self, have: &Bitfield) -> Result<Kept, StorageError> {
        let _alone = self.alone();
        crash::at(Point::BeforeSync);
        self.sync_written()?;
        crash::at(Point::AfterSync);
        if !matches!(self.purpose, Purpose::Fetch { .. }) {
            return Ok(Kept::Yes);
        }
        let mark = self.held_lock().as_ref().map(super::Lock::mark);
        let Some(mark) = mark else {
            // Nothing was written, so nothing is to be claimed.
            return Ok(Kept::Yes);
        };
        let bytes = self.record(have, mark).encode();
        let (path, spare) = (self.table.record(), self.table.spare());
        let written = self.root.replace_private(path, spare, &bytes);
        Ok(match written {
            Ok(()) => Kept::Yes,
            Err(error) => Kept::No(self.error("write", path, error)),
        })
    }

    /// Everything wanted is verified: as `finish`, and records for the next start what is.
    /// For content that is only served this records alone.
    ///
    /// # Errors
    /// As `finish`.
    pub fn conclude(&self, have: &Bitfield) -> Result<(), StorageError> {
        let _alone = self.alone();
        self.publish_all()?;
        self.shelve(have);
        self.forget()
    }

    /// Whether every file of this range looks as it did when it was verified.
    ///
    /// Files that are still fetched are ours to write and always do.
    pub(super) fn unchanged_at(&self, range: Range<u64>) -> Result<(), StorageError> {
        let slots = self.slots();
        for slice in self.table.layout().slices(range.clone()).filter(|slice| !slice.pad) {
            let (key, place, _) = self.locate(&slots, slice);
            if place != Place::Content {
                continue;
            }
            let path = || self.table.path(slice.file.as_usize(), place);
            let now = self
                .open(key, place, Access::Read)
                .and_then(|file| file.metadata())
                .map(|meta| Stamp::of(&meta))
                .map_err(|error| self.error("read", &path(), error))?;
            let pieces = self.table.geometry().pieces_of(range.clone());
            if !self.journal().vouches(number(key), &now, pieces) {
                self.handles.forget(key);
                return Err(self.error("read", &path(), io::Error::other(CHANGED)));
            }
        }
        Ok(())
    }

    /// Whether the open file still looks as it did when these pieces were verified. Waits for
    /// nobody: `false` when it cannot be told at once.
    pub(super) fn still_vouched(&self, key: Key, file: &File, range: Range<u64>) -> bool {
        let Ok(now) = file.metadata().map(|meta| Stamp::of(&meta)) else { return false };
        let pieces = self.table.geometry().pieces_of(range);
        self.journal.try_lock().is_ok_and(|journal| journal.vouches(number(key), &now, pieces))
    }

    /// How the files of this piece look now: before it is hashed again. They are opened anew.
    ///
    /// # Errors
    /// When one cannot be opened.
    pub fn sight(&self, piece: PieceIndex) -> Result<Sight, StorageError> {
        let slots = self.slots();
        let range = self.table.geometry().piece_range(piece);
        let mut seen = Vec::new();
        for slice in self.table.layout().slices(range).filter(|slice| !slice.pad) {
            let (key, place, _) = self.locate(&slots, slice);
            self.handles.forget(key);
            let stamp =
                self.open(key, place, Access::Read).and_then(|file| file.metadata()).map_err(
                    |e| self.error("open", &self.table.path(slice.file.as_usize(), place), e),
                )?;
            seen.push((number(key), Stamp::of(&stamp)));
        }
        Ok(Sight(seen))
    }

    /// The piece was hashed and is good, in files that looked like this before.
    pub fn vouch(&self, piece: PieceIndex, sight: &Sight) {
        let mut journal = self.journal();
        for (key, stamp) in &sight.0 {
            if journal.stamps.get(key) == Some(stamp) {
                continue;
            }
            let again = journal.again.entry(*key).or_insert_with(|| (*stamp, BTreeSet::new()));
            if again.0 != *stamp {
                *again = (*stamp, BTreeSet::new());
            }
            again.1.insert(piece.get());
        }
    }

    /// Lets go of the content as a kill would. Whoever opens it next finds what a killed
    /// process leaves; this storage is of no use any more.
    pub fn abandon(&self) {
        self.handles.clear();
        if let Some(lock) = self.held_lock().take() {
            lock.abandon();
        }
    }

    /// Takes how these files look now for how they look when what we wrote is in them.
    pub(super) fn note_stamps(&self, slots: &[Slot], keys: impl IntoIterator<Item = Key>) {
        for key in keys {
            let found = self.root.stamp(&self.path_of(slots, key)).ok().flatten();
            let mut journal = self.journal();
            match found {
                Some(stamp) => journal.stamps.insert(number(key), stamp),
                None => journal.stamps.remove(&number(key)),
            };
        }
    }

    /// Removes the record beside the content, and lets go of the lock.
    pub(super) fn forget(&self) -> Result<(), StorageError> {
        crash::at(Point::BeforeForget);
        for path in [self.table.record(), self.table.spare()] {
            // Looked for first: a filesystem that cannot be written refuses even to remove
            // nothing. What is only served has no record beside it.
            if matches!(self.purpose, Purpose::Fetch { .. })
                && self.root.stamp(path).is_ok_and(|found| found.is_some())
            {
                self.root.remove(path).map_err(|error| self.error("remove", path, error))?;
            }
        }
        self.release_lock();
        Ok(())
    }

    fn shelve(&self, have: &Bitfield) {
        let record = self.record(have, 0);
        let Some(shelf) = &self.journal().shelf else { return };
        let shelved = match have.is_none() {
            true => shelf.clear(),
            false => shelf.store(&record.encode()),
        };
        if let Err(error) = shelved {
            // The old record stays, and will not fit the files: they are hashed once more.
            tracing::warn!(%error, "what is verified cannot be recorded in the state folder");
        }
    }

    /// The claims, with how the files they rest on look.
    fn record(&self, have: &Bitfield, mark: u64) -> Record {
        let mut journal = self.journal();
        journal.generation = journal.generation.saturating_add(1);
        Record {
            subject: self.table.subject(),
            generation: journal.generation,
            mark,
            have: have.clone(),
            files: journal.stamps.clone(),
        }
    }

    fn load_record(&self) -> Option<Record> {
        let beside = match self.purpose {
            Purpose::Fetch { .. } => {
                self.root.read_private(self.table.record(), RECORD_BYTES_MAX).transpose()
            }
            Purpose::Seed => None,
        };
        let shelved = || {
            self.journal().shelf.as_ref().and_then(|shelf| shelf.load(RECORD_BYTES_MAX).transpose())
        };
        let bytes = match beside.or_else(shelved)? {
            Ok(bytes) => bytes,
            Err(error) => {
                tracing::debug!(%error, "no record can be read");
                return None;
            }
        };
        let record = Record::decode(&bytes, &self.table.subject());
        record.inspect_err(|error| tracing::warn!(%error, "the record is not used")).ok()
    }

    /// How every file with content looks, by its place in the torrent.
    fn look(&self, slots: &[Slot]) -> BTreeMap<u32, Stamp> {
        let has = |path: &Path| matches!(self.root.stat(path), Ok(Some(_)));
        let is_part = matches!(self.purpose, Purpose::Fetch { .. }) && has(self.table.part());
        let mut found = BTreeMap::new();
        let mut note = |key: Key| {
            if let Ok(Some(stamp)) = self.root.stamp(&self.path_of(slots, key)) {
                found.insert(number(key), stamp);
            }
        };
        for (file, slot) in slots.iter().enumerate() {
            let is_there = match slot.place {
                Place::Content => true,
                Place::Part => is_part,
                Place::Shared => false,
            };
            if is_there && self.table.stored(file).is_some_and(|extent| extent.length > 0) {
                note(Key::File(file));
            }
        }
        if matches!(self.purpose, Purpose::Fetch { .. }) {
            note(Key::Shared);
        }
        found
    }

    /// The pieces of a record that can be believed.
    fn believe(&self, slots: &[Slot], record: &Record, found: &BTreeMap<u32, Stamp>) -> Bitfield {
        let tide = self.held_lock().as_ref().and_then(super::Lock::found);
        let reached = tide.filter(|tide| tide.mark == record.mark).map(|tide| tide.reached);
        let stands = |slice: FileSlice| {
            let (key, place, _) = self.locate(slots, slice);
            let (Some(then), Some(now)) = (record.files.get(&number(key)), found.get(&number(key)))
            else {
                return false;
            };
            let by_us = |time: i64| reached.is_some_and(|reached| time <= reached);
            // What has its final name was renamed by us at most.
            let is_content = match place {
                Place::Content => now.modified == then.modified,
                Place::Part | Place::Shared => true,
            };
            now.is_same_file(then) && is_content && (now == then || by_us(now.touched()))
        };
        let geometry = self.table.geometry();
        let mut known = Bitfield::none(geometry.piece_count());
        for piece in record.have.iter() {
            let mut slices = self.table.layout().slices(geometry.piece_range(piece));
            if slices.all(|slice| slice.pad || stands(slice)) {
                known.insert(piece);
            }
        }
        known
    }

    fn path_of(&self, slots: &[Slot], key: Key) -> std::path::PathBuf {
        match key {
            Key::File(file) => {
                let place = slots.get(file).map_or(Place::Part, |slot| slot.place);
                self.table.path(file, place)
            }
            Key::Shared => self.table.shared().to_owned(),
        }
    }

    fn journal(&self) -> MutexGuard<'_, Journal> {
        // Each stamp is valid by itself: a panic elsewhere cannot tear them.
        self.journal.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Journal {
    /// Whether pieces in a file that looks like this were verified.
    fn vouches(&self, key: u32, now: &Stamp, mut pieces: Range<u32>) -> bool {
        match self.stamps.get(&key) {
            // Nobody asked what is known of it: what is verified is the caller's to say.
            None => self.stamps.is_empty(),
            Some(then) if then == now => true,
            Some(_) => self.again.get(&key).is_some_and(|(then, good)| {
                then == now && pieces.all(|piece| good.contains(&piece))
            }),
        }
    }
}

/// A file's name in records.
fn number(key: Key) -> u32 {
    match key {
        // A torrent has at most a million files.
        Key::File(file) => u32::try_from(file).unwrap_or(SHARED - 1),
        Key::Shared => SHARED,
    }
}

/// Why a file that was verified once is not handed out.
pub(super) const CHANGED: &str = "the file was changed since it was verified";
