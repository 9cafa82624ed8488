//! Files kept open, the least recently used closed first.
//!
//! A transfer holds its own reference, so that closing a file here never disturbs it.

use super::residency::Residency;
use rustix::io::Errno;
use std::fs::File;
use std::io;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// Most files that a storage keeps open which shares with nobody.
const OPEN_FILES_MAX: usize = 64;

/// How many files several storages keep open together. One each they always may.
#[derive(Debug)]
pub struct OpenFiles {
    most: usize,
    open: AtomicUsize,
}

impl OpenFiles {
    /// So many in all.
    #[must_use]
    pub const fn new(most: usize) -> Self {
        Self { most, open: AtomicUsize::new(0) }
    }

    /// Files that are open now.
    #[must_use]
    pub fn count(&self) -> usize {
        self.open.load(Ordering::Relaxed)
    }
}

impl Default for OpenFiles {
    fn default() -> Self {
        Self::new(OPEN_FILES_MAX)
    }
}

/// What is opened.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Key {
    /// A file of the torrent, by its place in it.
    File(usize),
    /// The bytes that unwanted files share with wanted ones.
    Shared,
}

/// What it is opened for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Access {
    Read,
    Write,
}

#[derive(Debug, Default)]
pub(super) struct Handles {
    /// The most recently used last.
    open: Mutex<Vec<Handle>>,
    shared: Arc<OpenFiles>,
}

#[derive(Debug)]
struct Handle {
    key: Key,
    access: Access,
    file: Arc<File>,
    residency: Residency,
}

impl Handles {
    /// The file, opened by `open` unless it is open already with at least this access.
    pub(super) fn take(
        &self,
        key: Key,
        access: Access,
        mut open: impl FnMut() -> io::Result<File>,
    ) -> io::Result<Arc<File>> {
        if let Some((file, _)) = self.find(key, access) {
            return Ok(file);
        }
        // Opened outside of the lock. Two threads may open one file: the later handle stays.
        let file = Arc::new(self.open_with_room(&mut open)?);
        let residency = Residency::of(&file);
        let mut handles = self.lock();
        let before = handles.len();
        handles.retain(|handle| handle.key != key);
        self.closed(before - handles.len());
        // Others may keep so many open that none is left for us: one of ours is enough.
        while !handles.is_empty() && self.shared.count() >= self.shared.most {
            handles.remove(0);
            self.closed(1);
        }
        handles.push(Handle { key, access, file: Arc::clone(&file), residency });
        self.shared.open.fetch_add(1, Ordering::Relaxed);
        Ok(file)
    }

    /// Shares the bound on open files with other storages. Nothing may be open yet.
    pub(super) fn share(&mut self, files: Arc<OpenFiles>) {
        debug_assert!(self.lock().is_empty(), "before the first file");
        self.shared = files;
    }

    fn closed(&self, count: usize) {
        self.shared.open.fetch_sub(count, Ordering::Relaxed);
    }

    /// Opens a file; when the process may have no more open, those kept here are closed for it.
    fn open_with_room(&self, open: &mut impl FnMut() -> io::Result<File>) -> io::Result<File> {
        match open() {
            Err(error) if is_exhausted(&error) => {
                self.clear();
                open()
            }
            result => result,
        }
    }

    /// Closes one file: whoever needs it next opens it anew.
    pub(super) fn forget(&self, key: Key) {
        let mut handles = self.lock();
        let before = handles.len();
        handles.retain(|handle| handle.key != key);
        self.closed(before - handles.len());
    }

    /// The file when it is open already, and how to tell what of it is in memory.
    pub(super) fn opened(&self, key: Key) -> Option<(Arc<File>, Residency)> {
        self.find(key, Access::Read)
    }

    /// Closes everything.
    pub(super) fn clear(&self) {
        let mut handles = self.lock();
        self.closed(handles.len());
        handles.clear();
    }

    fn find(&self, key: Key, access: Access) -> Option<(Arc<File>, Residency)> {
        let mut handles = self.lock();
        let at = handles.iter().rposition(|open| open.key == key && open.access >= access)?;
        if at + 1 < handles.len() {
            let handle = handles.remove(at);
            handles.push(handle);
        }
        handles.last().map(|handle| (Arc::clone(&handle.file), handle.residency))
    }

    fn lock(&self) -> MutexGuard<'_, Vec<Handle>> {
        // A list of open files is valid at every step.
        self.open.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Handles {
    fn drop(&mut self) {
        self.clear();
    }
}

/// Whether the process or the system may have no more files open.
fn is_exhausted(error: &io::Error) -> bool {
    let full = [Errno::MFILE, Errno::NFILE].map(|errno| errno.raw_os_error());
    error.raw_os_error().is_some_and(|code| full.contains(&code))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn opened(handles: &Handles, key: usize, access: Access) -> bool {
        let mut opened = false;
        let open = || {
            opened = true;
            tempfile::tempfile()
        };
        handles.take(Key::File(key), access, open).unwrap();
        opened
    }

    #[test]
    fn no_more_than_the_bound_stay_open_and_the_oldest_goes_first() {
        let handles = Handles::default();
        for key in 0..OPEN_FILES_MAX {
            assert!(opened(&handles, key, Access::Read));
        }
        assert!(!opened(&handles, 0, Access::Read), "used again: now the youngest");
        assert!(opened(&handles, OPEN_FILES_MAX, Access::Read));
        assert_eq!(handles.lock().len(), OPEN_FILES_MAX);
        assert!(!opened(&handles, 0, Access::Read));
        assert!(opened(&handles, 1, Access::Read), "the oldest was closed");
    }

    #[test]
    fn storages_that_share_a_bound_keep_to_it_and_each_has_one_at_least() {
        let files = Arc::new(OpenFiles::new(4));
        let mut storages = [Handles::default(), Handles::default(), Handles::default()];
        for handles in &mut storages {
            handles.share(Arc::clone(&files));
        }
        for (at, due) in [(0, 4), (1, 5), (2, 6)] {
            for key in 0..9 {
                opened(&storages[at], key, Access::Read);
            }
            assert_eq!(files.count(), due);
        }
        assert_eq!(storages.each_ref().map(|handles| handles.lock().len()), [4, 1, 1]);
        storages[0].forget(Key::File(8));
        storages[1].clear();
        drop(storages);
        assert_eq!(files.count(), 0);
    }

    #[test]
    fn files_kept_open_make_room_when_the_process_may_have_no_more() {
        let handles = Handles::default();
        for key in 0..9 {
            opened(&handles, key, Access::Read);
        }
        let open = || match handles.lock().len() {
            0 => tempfile::tempfile(),
            _ => Err(Errno::MFILE.into()),
        };
        handles.take(Key::File(9), Access::Read, open).unwrap();
        assert_eq!(handles.lock().len(), 1);
        handles.clear();
        let refused = handles.take(Key::File(0), Access::Read, || Err(Errno::MFILE.into()));
        assert!(refused.is_err_and(|error| is_exhausted(&error)), "there is nothing to close");
    }

    #[test]
    fn a_file_open_for_writing_serves_reads_but_not_the_reverse() {
        let handles = Handles::default();
        assert!(opened(&handles, 0, Access::Read));
        assert!(opened(&handles, 0, Access::Write));
        assert!(!opened(&handles, 0, Access::Read));
        assert_eq!(handles.lock().len(), 1);
    }
}
