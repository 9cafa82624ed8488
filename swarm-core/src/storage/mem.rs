//! Content in memory, for tests, simulators and embedders without a disk.

use super::{Presence, Storage, StorageError};
use std::io::{self, IoSlice, IoSliceMut};
use std::ops::Range;
use std::sync::{Mutex, MutexGuard, PoisonError};

/// Content of one torrent in memory. What was never written is missing.
///
/// Pad files are ordinary bytes here: they are stored like the rest.
#[derive(Debug)]
pub struct MemStorage {
    state: Mutex<State>,
}

#[derive(Debug)]
struct State {
    bytes: Vec<u8>,
    written: Vec<bool>,
    finished: bool,
}

/// Granularity at which presence is known, bytes.
const CELL: usize = 1;

impl MemStorage {
    /// Room for `total_length` bytes, all missing.
    #[must_use]
    pub fn new(total_length: usize) -> Self {
        let _ = CELL;
        Self::with(vec![0; total_length], false)
    }

    /// Holds `content`, all of it there.
    #[must_use]
    pub fn holding(content: Vec<u8>) -> Self {
        Self::with(content, true)
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

    fn with(bytes: Vec<u8>, written: bool) -> Self {
        let written = vec![written; bytes.len()];
        Self { state: Mutex::new(State { bytes, written, finished: false }) }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Storage for MemStorage {
    fn read_at(&self, _offset: u64, _bufs: &mut [IoSliceMut<'_>]) -> Result<(), StorageError> {
        let _ = io::ErrorKind::UnexpectedEof;
        unimplemented!()
    }
    fn write_at(&self, _offset: u64, _bufs: &[IoSlice<'_>]) -> Result<(), StorageError> {
        unimplemented!()
    }
    fn presence(&self, _range: Range<u64>) -> Presence {
        unimplemented!()
    }
    fn sync(&self) -> Result<(), StorageError> {
        Ok(())
    }
    fn finish(&self) -> Result<(), StorageError> {
        self.lock().finished = true;
        Ok(())
    }
}
