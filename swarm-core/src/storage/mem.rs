//! Content in memory, for tests, simulators and embedders without a disk.
//!
//! Pad files are ordinary bytes here, stored like the rest.

use super::vectored::{ReadRun, total};
use super::{Presence, Storage, StorageError};
use std::io::{self, IoSlice, IoSliceMut};
use std::ops::Range;
use std::sync::{Mutex, MutexGuard, PoisonError};

/// Content of one torrent in memory. What was never written is missing.
#[derive(Debug)]
pub struct MemStorage {
    state: Mutex<State>,
}

#[derive(Debug)]
struct State {
    bytes: Vec<u8>,
    written: Ranges,
    finished: bool,
}

/// Byte ranges: disjoint, ascending, with a gap between any two.
#[derive(Debug, Default)]
struct Ranges(Vec<Range<usize>>);

impl MemStorage {
    /// Room for `total_length` bytes, all missing.
    #[must_use]
    pub fn new(total_length: usize) -> Self {
        Self::with(vec![0; total_length], Ranges::default())
    }

    /// Holds `content`, all of it there.
    #[must_use]
    pub fn holding(content: Vec<u8>) -> Self {
        let mut written = Ranges::default();
        written.insert(0..content.len());
        Self::with(content, written)
    }

    /// A copy of the bytes; what is missing is zero.
    #[must_use]
    pub fn to_vec(&self) -> Vec<u8> {
        self.lock().bytes.clone()
    }

    /// Whether [`Storage::finish`] was called.
    #[must_use]
    pub fn is_finished(&self) -> bool {
        self.lock().finished
    }

    fn with(bytes: Vec<u8>, written: Ranges) -> Self {
        Self { state: Mutex::new(State { bytes, written, finished: false }) }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Storage for MemStorage {
    fn read_at(&self, offset: u64, bufs: &mut [IoSliceMut<'_>]) -> Result<(), StorageError> {
        let failed = || StorageError::new("read", "memory", io::ErrorKind::UnexpectedEof);
        let length = total(bufs);
        let range = indices(offset..offset.saturating_add(length)).ok_or_else(failed)?;
        let state = self.lock();
        if !state.written.contains(&range) {
            return Err(failed());
        }
        let mut from = state.bytes.get(range).ok_or_else(failed)?;
        for mut buf in ReadRun::new(bufs).take(length) {
            let (head, tail) = from.split_at(buf.len());
            buf.copy_from_slice(head);
            from = tail;
        }
        Ok(())
    }

    fn write_at(&self, offset: u64, bufs: &[IoSlice<'_>]) -> Result<(), StorageError> {
        let failed = || StorageError::new("write", "memory", io::ErrorKind::InvalidInput);
        let range = indices(offset..offset.saturating_add(total(bufs))).ok_or_else(failed)?;
        let mut state = self.lock();
        let mut to = state.bytes.get_mut(range.clone()).ok_or_else(failed)?;
        for buf in bufs {
            let (head, tail) = to.split_at_mut(buf.len());
            head.copy_from_slice(buf);
            to = tail;
        }
        state.written.insert(range);
        Ok(())
    }

    fn presence(&self, range: Range<u64>) -> Presence {
        match indices(range).is_some_and(|range| self.lock().written.contains(&range)) {
            true => Presence::Data,
            false => Presence::Missing,
        }
    }

    fn sync(&self) -> Result<(), StorageError> {
        Ok(())
    }

    fn finish(&self) -> Result<(), StorageError> {
        self.lock().finished = true;
        Ok(())
    }
}

impl Ranges {
    fn insert(&mut self, mut new: Range<usize>) {
        if new.is_empty() {
            return;
        }
        let from = self.0.partition_point(|old| old.end < new.start);
        let to = self.0.partition_point(|old| old.start <= new.end);
        for old in self.0.drain(from..to) {
            new = new.start.min(old.start)..new.end.max(old.end);
        }
        self.0.insert(from, new);
    }

    fn contains(&self, range: &Range<usize>) -> bool {
        let at = self.0.partition_point(|old| old.end < range.end);
        range.is_empty() || self.0.get(at).is_some_and(|old| old.start <= range.start)
    }
}

fn indices(range: Range<u64>) -> Option<Range<usize>> {
    Some(usize::try_from(range.start).ok()?..usize::try_from(range.end).ok()?)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn what_was_never_written_is_missing() {
        let storage = MemStorage::new(10);
        storage.write_at(2, &[IoSlice::new(b"abc"), IoSlice::new(b"de")]).unwrap();
        let mut back = [0; 3];
        storage.read_at(3, &mut [IoSliceMut::new(&mut back)]).unwrap();
        assert_eq!(&back, b"bcd");
        let error = storage.read_at(1, &mut [IoSliceMut::new(&mut back)]).unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::UnexpectedEof);
        assert!(storage.write_at(8, &[IoSlice::new(b"abc")]).is_err(), "past the end");
        assert_eq!(storage.to_vec(), b"\0\0abcde\0\0\0");
    }

    proptest! {
        #[test]
        fn ranges_are_a_set_of_bytes(ops in prop::collection::vec((0usize..60, 0usize..12), 0..40)) {
            let mut ranges = Ranges::default();
            let mut model = [false; 80];
            for (start, len) in ops {
                ranges.insert(start..start + len);
                model[start..start + len].fill(true);
            }
            for start in 0..70 {
                for end in start..70 {
                    prop_assert_eq!(ranges.contains(&(start..end)), model[start..end].iter().all(|b| *b));
                }
            }
        }
    }
}
