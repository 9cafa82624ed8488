//! One process at a time writes a download.
//!
//! The lock is an advisory `flock` on a hidden file beside the content, which the kernel lets
//! go of when the process ends in whatever way. The file is removed with the lock; so whoever
//! gets a lock makes sure that the file still has its name, and tries again when it has not.

use super::beneath::Root;
use rustix::fs::{FlockOperation, fstat};
use rustix::io::Errno;
use std::fs::File;
use std::io;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// The lock, held until dropped.
#[derive(Debug)]
pub(super) struct Lock {
    root: Arc<Root>,
    path: PathBuf,
    /// Closing it lets go of the lock.
    _file: File,
}

/// Each try means that another process let go of the lock just then.
const TRIES_MAX: usize = 100;

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
            if is_still_at(root, path, &file)? {
                return Ok(Some(Self {
                    root: Arc::clone(root),
                    path: path.to_owned(),
                    _file: file,
                }));
            }
        }
        Ok(None)
    }
}

fn is_still_at(root: &Root, path: &Path, file: &File) -> io::Result<bool> {
    let ours = fstat(file)?;
    match root.read(path) {
        Ok(named) => {
            let named = named.metadata()?;
            Ok((named.dev(), named.ino()) == (ours.st_dev, ours.st_ino))
        }
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(false),
        Err(error) => Err(error),
    }
}

impl Drop for Lock {
    fn drop(&mut self) {
        // Removed while still held. A file left behind only costs its name: the next taker
        // finds it unlocked.
        if let Err(error) = self.root.remove(&self.path) {
            tracing::debug!(path = %self.path.display(), %error, "lock file stays");
        }
    }
}
