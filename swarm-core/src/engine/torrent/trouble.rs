//! When this machine fails: stop, say why, and go on by itself once it can.
//!
//! Two kinds of failure, and what follows:
//!
//! - *Writing fails* (full, read-only, broken). The torrent lets its peers go and is
//!   [`Phase::Failed`] with a time to try again: the content is opened anew, exactly as after
//!   a kill, so that nothing rests on what a failed `fsync` has promised (LIMITS J03). What no
//!   record claims is hashed, and the fetch goes on.
//! - *Reading fails* of what peers ask for (gone, changed, unreadable). The state machine
//!   withdraws those pieces and serves the others. They are read and hashed again from time
//!   to time, and are served again once they are good.
//!
//! Tries come after 1, 2, 4 ... 30 seconds: work goes on within half a minute of the fault's
//! end. Waiting is never given up here; whoever has less patience removes the torrent.
//!
//! Not here: which errors end a command (`swarm-cli`).

use super::TorrentTask;
use super::content::{Check, Done, Opened, flatten};
use crate::data::check::{self, PieceState};
use crate::geometry::Geometry;
use crate::metainfo::Metainfo;
use crate::proto::event::Phase;
use crate::proto::input::Input;
use crate::session::{Error, Event, Mode, Trouble as Told};
use crate::storage::{FsStorage, StorageError, available_bytes};
use crate::types::{Moment, PieceIndex};
use std::collections::BTreeSet;
use std::io;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

/// Before the first try.
const RETRY_MIN: Duration = Duration::from_secs(1);
/// Between two tries at most.
pub(super) const RETRY_MAX: Duration = Duration::from_secs(30);
/// Between two looks whether what was under way is done.
const LINGER: Duration = Duration::from_millis(100);
/// Room that must be there before a full disk is tried again, bytes, unless less is missing.
const ROOM_MIN: u64 = 16 << 20;
/// Bytes hashed in one try to read pieces again, at least one piece.
const REREAD_BYTES: u64 = 64 << 20;

/// What is wrong with this machine, as far as this torrent knows.
#[derive(Debug, Default)]
pub(super) struct Trouble {
    failed: Option<Error>,
    retry_at: Option<Moment>,
    tries: u32,
    /// Pieces that could not be read.
    unread: BTreeSet<PieceIndex>,
    reread_at: Option<Moment>,
    rereads: u32,
}

/// What came of reading pieces again.
#[derive(Debug, Default)]
pub(super) struct Reread {
    good: Vec<PieceIndex>,
    /// What is there is wrong.
    bad: usize,
    error: Option<StorageError>,
}

impl Trouble {
    /// Whether the torrent waits for this machine to recover.
    pub(super) const fn is_on(&self) -> bool {
        self.failed.is_some()
    }

    /// Something was forced to the disk: the next failure is a new one.
    pub(super) const fn calm(&mut self) {
        self.tries = 0;
    }

    /// When to try again.
    pub(super) fn deadline(&self) -> Moment {
        let due = if self.is_on() { self.retry_at } else { self.reread_at };
        due.unwrap_or(Moment::NEVER)
    }
}

/// How long to wait before try number `tries`, the first being 0.
fn pause(tries: u32) -> Duration {
    RETRY_MIN.saturating_mul(2u32.saturating_pow(tries)).min(RETRY_MAX)
}

impl TorrentTask {
    /// Stops the torrent on an error: until it can go on, or for good.
    pub(super) fn fail(&mut self, now: Moment, error: Error) {
        if self.trouble.retry_at.is_some() {
            // What was under way when it began.
            tracing::debug!(%error, "failed as well");
            return;
        }
        self.core.fail(now);
        self.drain(now);
        self.give_up_through(now);
        if self.opening.is_fetch() && self.content.is_some() && error.is_passing() {
            return self.suspend(now, error);
        }
        tracing::warn!(%error, "torrent failed");
        self.trouble = Trouble::default();
        self.face.advance(|status| status.trouble = None);
        self.face.advance(|status| status.outcome = Some(Err(error.clone())));
        self.face.tell(Event::Failed(error));
    }

    fn suspend(&mut self, now: Moment, error: Error) {
        let wait = pause(self.trouble.tries);
        tracing::warn!(%error, ?wait, "torrent waits");
        self.trouble.tries = self.trouble.tries.saturating_add(1);
        self.trouble.failed = Some(error.clone());
        self.trouble.retry_at = Some(now + wait);
        self.keep.clear();
        let told = Told { error: error.clone(), retry_in: wait };
        self.face.advance(|status| status.trouble = Some(told));
        self.face.tell(Event::Suspended { error, retry_in: wait });
    }

    /// Tries again what is due.
    pub(super) fn retry(&mut self, now: Moment) {
        // What was under way when it failed is still holding the old files open.
        if self.trouble.retry_at.is_some_and(|at| at <= now) {
            if self.jobs.is_idle() {
                self.trouble.retry_at = None;
                self.reopen();
            } else {
                self.trouble.retry_at = Some(now + LINGER);
            }
        }
        if self.trouble.reread_at.is_some_and(|at| at <= now) && !self.trouble.is_on() {
            self.trouble.reread_at = None;
            self.reread();
        }
    }

    fn reopen(&mut self) {
        let Some(content) = &self.content else { return };
        let (storage, metainfo) = (content.storage.clone(), content.metainfo.clone());
        let missing = content.progress.total_bytes() - content.progress.have_bytes();
        let full = self.trouble.failed.as_ref().and_then(Error::storage_kind)
            == Some(io::ErrorKind::StorageFull);
        let room = if full { missing.min(ROOM_MIN) } else { 0 };
        let opening = self.opening.clone();
        self.background(
            move || {
                if let Mode::Fetch { folder } = &opening.mode {
                    has_room(folder, room)?;
                }
                storage.abandon();
                drop(storage);
                opening.open(metainfo)
            },
            |opened| Done::Reopened(flatten(opened)),
        );
    }

    pub(super) fn on_reopened(&mut self, now: Moment, result: Result<Opened, Error>) {
        match result {
            Ok(opened) => {
                if let Some(content) = &mut self.content {
                    content.storage = opened.storage;
                    content.check = Check::new(opened.known);
                }
                self.check(now);
            }
            Err(error) => self.fail(now, error),
        }
    }

    /// The content has been checked: whatever was wrong is not wrong any more.
    pub(super) fn recovered(&mut self) {
        if self.trouble.failed.take().is_some() {
            self.face.advance(|status| status.trouble = None);
            self.face.tell(Event::Recovered);
        }
    }

    /// A piece that peers asked for could not be read.
    pub(super) fn on_unread(&mut self, now: Moment, piece: PieceIndex) {
        if self.trouble.unread.insert(piece) && self.trouble.reread_at.is_none() {
            self.trouble.reread_at = Some(now);
        }
    }

    fn reread(&mut self) {
        let Some(content) = &self.content else { return };
        let most = (REREAD_BYTES / u64::from(content.geometry.piece_length())).max(1);
        let most = usize::try_from(most).unwrap_or(usize::MAX);
        let pieces: Vec<_> = self.trouble.unread.iter().copied().take(most).collect();
        let (storage, metainfo) = (content.storage.clone(), content.metainfo.clone());
        let geometry = content.geometry;
        self.background(
            move || read_again(&storage, &metainfo, &geometry, &pieces),
            |reread| Done::Reread(reread.unwrap_or_default()),
        );
    }

    pub(super) fn on_reread(&mut self, now: Moment, reread: Reread) {
        let Reread { good, bad, error } = reread;
        let is_first = self.trouble.rereads == 0;
        if good.is_empty() {
            self.trouble.rereads = self.trouble.rereads.saturating_add(1);
        } else {
            self.trouble.rereads = 0;
        }
        for piece in good {
            self.trouble.unread.remove(&piece);
            self.feed(now, Input::Restored { piece });
        }
        if bad > 0 && self.core.phase() == Phase::Downloading {
            // A fetch can mend what is wrong, once it knows all that is.
            self.trouble.unread.clear();
            let path = self.content.as_ref().map(|content| content.storage.path());
            let why = io::Error::other("the content was changed while it was fetched");
            let error = StorageError::new("read", path.unwrap_or_default(), why);
            return self.fail(now, error.into());
        }
        if self.trouble.unread.is_empty() {
            return;
        }
        self.trouble.reread_at = Some(now + pause(self.trouble.rereads));
        if let Some(error) = error.filter(|_| is_first) {
            self.face.tell(Event::Unreadable(error.into()));
        }
    }
}

/// Whether a folder has room for this many bytes more.
fn has_room(folder: &Path, bytes: u64) -> Result<(), Error> {
    match available_bytes(folder)? < bytes {
        true => Err(StorageError::new("write", folder, io::ErrorKind::StorageFull).into()),
        false => Ok(()),
    }
}

/// Reads and hashes pieces again, each in files opened anew. Blocks.
fn read_again(
    storage: &FsStorage,
    metainfo: &Arc<Metainfo>,
    geometry: &Geometry,
    pieces: &[PieceIndex],
) -> Reread {
    let mut reread = Reread::default();
    for piece in pieces {
        let range = piece.get()..piece.get().saturating_add(1);
        let hash = |piece| metainfo.piece_hash(piece);
        let look = || -> Result<_, StorageError> {
            let sight = storage.sight(*piece)?;
            match check::pieces(storage, geometry, range, &hash) {
                Ok(states) => Ok((sight, states)),
                Err(check::ScanError::Storage(error)) => Err(error),
                Err(check::ScanError::Stopped) => Ok((sight, Vec::new())),
            }
        };
        match look() {
            Ok((sight, states)) if states == [PieceState::Good] => {
                storage.vouch(*piece, &sight);
                reread.good.push(*piece);
            }
            Ok(_) => {
                reread.bad += 1;
                let wrong = || StorageError::new("read", storage.path(), io::Error::other(WRONG));
                reread.error.get_or_insert_with(wrong);
            }
            Err(error) => {
                reread.error.get_or_insert(error);
            }
        }
    }
    reread
}

/// Why a piece that can be read is not served.
const WRONG: &str = "it is not what the torrent says any more";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tries_come_further_and_further_apart_and_never_further_than_half_a_minute() {
        let pauses: Vec<u64> = (0..8).map(|tries| pause(tries).as_secs()).collect();
        assert_eq!(pauses, [1, 2, 4, 8, 16, 30, 30, 30]);
        assert_eq!(pause(u32::MAX), RETRY_MAX);
    }
}
