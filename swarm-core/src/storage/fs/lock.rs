//! One process at a time writes a download, and the last moment it did so is known.
//!
//! The lock is an advisory `flock` on a hidden file beside the content, which the kernel lets
//! go of when the process ends in whatever way. The file is removed with the lock; so whoever
//! gets a lock makes sure that the file still has its name, and tries again when it has not.
//!
//! # The tide mark
//!
//! A process that is killed leaves the file behind, and in it how far its own writing went: a
//! byte is written before and after every change to the content, so the file's time is that of
//! our last change. A file of the content that is older was last changed by us; one that is
//! newer was changed by somebody else after we died (see `journal`). These bytes are never
//! forced to the disk: after a power cut they are old, and everything then looks newer than it
//! is, which costs a check and no more.
//!
//! A new lock file has no mark. Each run writes one of its own, so that a record made under
//! one lock is never judged by another.

use super::beneath::Root;
use super::record::Stamp;
use rustix::fs::FlockOperation;
use rustix::io::Errno;
use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// The lock, held until dropped.
#[derive(Debug)]
pub(super) struct Lock {
    root: Arc<Root>,
    path: PathBuf,
    /// Closing it lets go of the lock.
    file: File,
    found: Option<Tide>,
    mark: u64,
    writing: usize,
    /// Whether the file goes with the lock.
    leave: Leave,
}

/// What becomes of the file when the lock is let go.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Leave {
    Nothing,
    Traces,
}

/// How far a run that did not end well had come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Tide {
    pub(super) mark: u64,
    /// Every change of ours to the content is at least as old, nanoseconds since 1970.
    pub(super) reached: i64,
}

/// Each try means that another process let go of the lock just then.
const TRIES_MAX: usize = 100;
/// A change under way when we died began at most this long after it was noted: one tick of
/// the coarsest clock that stamps files, nanoseconds.
const TICK: i64 = 10_000_000;
/// State 1, mark 8.
const TIDE_LEN: usize = 9;
const AT_REST: u8 = 0;
const WRITING: u8 = 1;

impl Lock {
    /// Takes the lock; `None` when another process has it.
    pub(super) fn take(root: &Arc<Root>, path: &Path) -> io::Result<Option<Self>> {
        for _ in 0..TRIES_MAX {
            let file = root.create(path)?;
            match rustix::fs::flock(&file, FlockOperation::NonBlockingLockExclusive) {
                Ok(()) => {}
                Err(Errno::WOULDBLOCK) => return Ok(None),
                Err(error) => return Err(error.into()),
            }
            let ours = Stamp::of(&file.metadata()?);
            if !is_still_at(root, path, &ours)? {
                continue;
            }
            let found = read_tide(&file, &ours)?;
            // Later than any mark made under this name before, whatever became of its file.
            let after = found.map_or(0, |tide| tide.mark.saturating_add(1));
            let mark = u64::try_from(ours.changed).unwrap_or(1).max(after).max(1);
            let (root, path) = (Arc::clone(root), path.to_owned());
            let leave = Leave::Nothing;
            return Ok(Some(Self { root, path, file, found, mark, writing: 0, leave }));
        }
        Ok(None)
    }

    /// What the run before left, if it did not end well.
    pub(super) const fn found(&self) -> Option<Tide> {
        self.found
    }

    /// The mark of this run.
    pub(super) const fn mark(&self) -> u64 {
        self.mark
    }

    /// A change to the content is about to be made.
    pub(super) fn begin(&mut self) {
        self.writing += 1;
        self.write_tide(WRITING);
    }

    /// A change to the content was made, or failed.
    pub(super) fn end(&mut self) {
        self.writing = self.writing.saturating_sub(1);
        if self.writing == 0 {
            self.write_tide(AT_REST);
        }
    }

    /// Lets go of the lock as a kill would: the next to take it finds how far we came.
    pub(super) fn abandon(mut self) {
        self.leave = Leave::Traces;
    }

    fn write_tide(&self, state: u8) {
        let [a, b, c, d, e, f, g, h] = self.mark.to_le_bytes();
        // What cannot be noted will look like somebody else's change, and cost a check.
        if let Err(error) = self.file.write_all_at(&[state, a, b, c, d, e, f, g, h], 0) {
            tracing::debug!(path = %self.path.display(), %error, "tide mark not written");
        }
    }
}

fn read_tide(file: &File, stamp: &Stamp) -> io::Result<Option<Tide>> {
    let mut bytes = [0; TIDE_LEN];
    match file.read_exact_at(&mut bytes, 0) {
        Ok(()) => {}
        Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => return Ok(None),
        Err(error) => return Err(error),
    }
    let [state, mark @ ..] = bytes;
    let slack = if state == AT_REST { 0 } else { TICK };
    let reached = stamp.modified.saturating_add(slack);
    Ok(Some(Tide { mark: u64::from_le_bytes(mark), reached }))
}

fn is_still_at(root: &Root, path: &Path, ours: &Stamp) -> io::Result<bool> {
    Ok(root
        .stamp(path)?
        .is_some_and(|named| (named.device, named.inode) == (ours.device, ours.inode)))
}

impl Drop for Lock {
    fn drop(&mut self) {
        if self.leave == Leave::Traces {
            return;
        }
        // Removed while still held. A file left behind only costs its name: the next taker
        // finds it unlocked.
        if let Err(error) = self.root.remove(&self.path) {
            tracing::debug!(path = %self.path.display(), %error, "lock file stays");
        }
    }
}
