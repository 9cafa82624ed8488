//! A storage that fails on purpose, to test what stands above it.
//!
//! Every fault is planned before: the same plan fails the same operations.

use super::vectored::{ReadRun, WriteRun, total};
use super::{Presence, Storage, StorageError};
use std::io::{self, IoSlice, IoSliceMut};
use std::ops::Range;
use std::sync::atomic::{AtomicU64, Ordering};

/// Passes everything on to another storage, but for what its [`Plan`] says.
#[derive(Debug)]
pub struct FaultStorage<S> {
    inner: S,
    plan: Plan,
    operations: AtomicU64,
    written: AtomicU64,
}

/// What goes wrong, and when. The default: nothing.
#[derive(Clone, Debug, Default)]
pub struct Plan {
    /// The operation (read, write, sync or finish; the first is 0) from which on all fail.
    pub fail_from: Option<u64>,
    /// Of every thousand operations, this many fail, chosen by [`Self::seed`].
    pub fail_per_mille: u16,
    /// How those two fail; [`io::ErrorKind::Other`] when not set.
    pub kind: Option<io::ErrorKind>,
    /// Bytes that can be written before the disk is full. The write that passes it is torn.
    pub capacity: Option<u64>,
    /// Chooses the operations that fail.
    pub seed: u64,
}

impl<S: Storage> FaultStorage<S> {
    /// Wraps a storage.
    pub const fn new(inner: S, plan: Plan) -> Self {
        Self { inner, plan, operations: AtomicU64::new(0), written: AtomicU64::new(0) }
    }

    /// The storage under it.
    pub const fn inner(&self) -> &S {
        &self.inner
    }

    /// Operations so far, those that failed among them.
    pub fn operations(&self) -> u64 {
        self.operations.load(Ordering::Relaxed)
    }

    /// Half of what a failing operation was to move is moved before it fails.
    fn step(&self, op: &'static str) -> Result<(), StorageError> {
        let number = self.operations.fetch_add(1, Ordering::Relaxed);
        let late = self.plan.fail_from.is_some_and(|from| number >= from);
        let draw = mix(self.plan.seed ^ mix(number)) % 1000;
        if late || draw < u64::from(self.plan.fail_per_mille) {
            let kind = self.plan.kind.unwrap_or(io::ErrorKind::Other);
            return Err(StorageError::new(op, "fault", kind));
        }
        Ok(())
    }

    fn write_some(
        &self,
        offset: u64,
        bufs: &[IoSlice<'_>],
        length: u64,
    ) -> Result<(), StorageError> {
        self.inner.write_at(offset, &WriteRun::new(bufs).take(length))
    }
}

impl<S: Storage> Storage for FaultStorage<S> {
    fn read_at(&self, offset: u64, bufs: &mut [IoSliceMut<'_>]) -> Result<(), StorageError> {
        if let Err(fault) = self.step("read") {
            let half = total(bufs) / 2;
            self.inner.read_at(offset, &mut ReadRun::new(bufs).take(half))?;
            return Err(fault);
        }
        self.inner.read_at(offset, bufs)
    }

    fn write_at(&self, offset: u64, bufs: &[IoSlice<'_>]) -> Result<(), StorageError> {
        let length = total(bufs);
        if let Err(fault) = self.step("write") {
            self.write_some(offset, bufs, length / 2)?;
            return Err(fault);
        }
        let before = self.written.fetch_add(length, Ordering::Relaxed);
        let room = self.plan.capacity.map_or(length, |capacity| capacity.saturating_sub(before));
        if room < length {
            self.write_some(offset, bufs, room)?;
            return Err(StorageError::new("write", "fault", io::ErrorKind::StorageFull));
        }
        self.inner.write_at(offset, bufs)
    }

    fn presence(&self, range: Range<u64>) -> Presence {
        self.inner.presence(range)
    }

    fn content_end(&self, range: Range<u64>) -> u64 {
        self.inner.content_end(range)
    }

    fn will_read(&self, range: Range<u64>) {
        self.inner.will_read(range);
    }

    fn sync(&self) -> Result<(), StorageError> {
        self.step("sync")?;
        self.inner.sync()
    }

    fn finish(&self) -> Result<(), StorageError> {
        self.step("rename")?;
        self.inner.finish()
    }
}

/// Spreads a number over all 64 bits (the finisher of splitmix64).
const fn mix(number: u64) -> u64 {
    let a = number.wrapping_add(0x9e37_79b9_7f4a_7c15);
    let b = (a ^ (a >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    let c = (b ^ (b >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    c ^ (c >> 31)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::storage::MemStorage;

    fn write(storage: &impl Storage, offset: u64, bytes: &[u8]) -> Result<(), io::ErrorKind> {
        storage.write_at(offset, &[IoSlice::new(bytes)]).map_err(|error| error.kind())
    }

    #[test]
    fn from_the_nth_operation_on_all_fail() {
        let plan = Plan { fail_from: Some(1), ..Plan::default() };
        let storage = FaultStorage::new(MemStorage::new(8), plan);
        write(&storage, 0, b"abcd").unwrap();
        assert_eq!(write(&storage, 4, b"efgh"), Err(io::ErrorKind::Other));
        assert!(storage.sync().is_err());
        assert_eq!(storage.inner().to_vec(), b"abcdef\0\0", "the write was torn");
        assert_eq!(storage.operations(), 3);
    }

    #[test]
    fn a_full_disk_takes_what_fits_and_says_so() {
        let plan = Plan { capacity: Some(5), ..Plan::default() };
        let storage = FaultStorage::new(MemStorage::new(8), plan);
        write(&storage, 0, b"abcd").unwrap();
        assert_eq!(write(&storage, 4, b"efgh"), Err(io::ErrorKind::StorageFull));
        assert_eq!(storage.inner().to_vec(), b"abcde\0\0\0");
    }

    #[test]
    fn the_same_seed_fails_the_same_operations() {
        let run = |seed| {
            let plan = Plan { fail_per_mille: 300, seed, ..Plan::default() };
            let storage = FaultStorage::new(MemStorage::new(1), plan);
            (0..200).map(|_| storage.sync().is_err()).collect::<Vec<_>>()
        };
        assert_eq!(run(1), run(1));
        assert_ne!(run(1), run(2));
        let failed = run(1).into_iter().filter(|failed| *failed).count();
        assert!((30..90).contains(&failed), "{failed} of 200");
    }
}
