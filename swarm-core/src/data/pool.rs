//! Recycled buffers of one block each.
//!
//! Fresh memory costs a page fault for every 4 KiB of it, more than copying a block does; so a
//! buffer that was dropped is handed out again, the latest first because it is still in the
//! cache. The pool never refuses: how many blocks may be under way is decided before they are
//! requested (`Input::Capacity`), and what bounds the idle memory is `keep`.

use crate::types::BLOCK_SIZE;
use std::fmt;
use std::ops::Deref;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

/// Hands out and takes back block buffers. Cheap to clone; every clone is the same pool.
#[derive(Clone)]
pub struct BlockPool {
    shared: Arc<Shared>,
}

struct Shared {
    free: Mutex<Vec<Box<[u8]>>>,
    keep: usize,
    in_use: AtomicUsize,
    peak: AtomicUsize,
}

/// Room for one block; reads as the bytes that [`Self::set_len`] declared filled.
///
/// Dropping it gives the memory back to the pool it came from.
pub struct BlockBuf {
    bytes: Box<[u8]>,
    len: usize,
    pool: BlockPool,
}

impl BlockPool {
    /// A pool that keeps at most `keep` idle buffers (16 KiB each); more are freed.
    #[must_use]
    pub fn new(keep: usize) -> Self {
        let shared = Shared {
            free: Mutex::new(Vec::new()),
            keep,
            in_use: AtomicUsize::new(0),
            peak: AtomicUsize::new(0),
        };
        Self { shared: Arc::new(shared) }
    }

    /// A buffer of length 0. What [`AsMut`] shows of it is left over from its last use.
    #[must_use]
    pub fn take(&self) -> BlockBuf {
        let recycled = self.free().pop();
        let bytes = recycled.unwrap_or_else(|| vec![0; BlockBuf::CAPACITY].into_boxed_slice());
        let in_use = self.shared.in_use.fetch_add(1, Ordering::Relaxed) + 1;
        self.shared.peak.fetch_max(in_use, Ordering::Relaxed);
        BlockBuf { bytes, len: 0, pool: self.clone() }
    }

    /// Buffers that are out now.
    #[must_use]
    pub fn in_use(&self) -> usize {
        self.shared.in_use.load(Ordering::Relaxed)
    }

    /// Most buffers that were ever out at once.
    #[must_use]
    pub fn peak(&self) -> usize {
        self.shared.peak.load(Ordering::Relaxed)
    }

    /// Buffers kept for the next [`Self::take`].
    #[must_use]
    pub fn idle(&self) -> usize {
        self.free().len()
    }

    fn give_back(&self, bytes: Box<[u8]>) {
        self.shared.in_use.fetch_sub(1, Ordering::Relaxed);
        let mut free = self.free();
        if free.len() < self.shared.keep {
            free.push(bytes);
        }
    }

    fn free(&self) -> std::sync::MutexGuard<'_, Vec<Box<[u8]>>> {
        // A list of buffers is valid at every step: a panic elsewhere cannot break it.
        self.shared.free.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl fmt::Debug for BlockPool {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Shared { keep, .. } = *self.shared;
        f.debug_struct("BlockPool")
            .field("in_use", &self.in_use())
            .field("peak", &self.peak())
            .field("keep", &keep)
            .finish_non_exhaustive()
    }
}

impl BlockBuf {
    /// Bytes a buffer has room for: one block.
    pub const CAPACITY: usize = BLOCK_SIZE as usize;

    /// Declares the first `len` bytes filled; at most [`Self::CAPACITY`] count.
    pub fn set_len(&mut self, len: usize) {
        self.len = len.min(Self::CAPACITY);
    }
}

impl Deref for BlockBuf {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        self.bytes.get(..self.len).unwrap_or_default()
    }
}

/// The filled bytes, so that `bytes::Bytes::from_owner` can send a block without a copy.
impl AsRef<[u8]> for BlockBuf {
    fn as_ref(&self) -> &[u8] {
        self
    }
}

/// All of the buffer, filled or not: where to read into before [`BlockBuf::set_len`].
impl AsMut<[u8]> for BlockBuf {
    fn as_mut(&mut self) -> &mut [u8] {
        &mut self.bytes
    }
}

impl Drop for BlockBuf {
    fn drop(&mut self) {
        self.pool.give_back(std::mem::take(&mut self.bytes));
    }
}

impl fmt::Debug for BlockBuf {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "BlockBuf({} bytes)", self.len)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_buffer_comes_home_and_no_more_than_the_bound_is_kept() {
        let pool = BlockPool::new(2);
        let out: Vec<_> = (0..5).map(|_| pool.take()).collect();
        assert_eq!((pool.in_use(), pool.idle()), (5, 0));
        drop(out);
        assert_eq!((pool.in_use(), pool.idle(), pool.peak()), (0, 2, 5));
    }

    #[test]
    fn the_latest_buffer_is_handed_out_first() {
        let pool = BlockPool::new(8);
        let (first, second) = (pool.take(), pool.take());
        let latest = first.bytes.as_ptr();
        drop(second);
        drop(first);
        assert_eq!(pool.take().bytes.as_ptr(), latest);
    }

    #[test]
    fn a_buffer_reads_as_what_was_declared_filled() {
        let pool = BlockPool::new(1);
        let mut block = pool.take();
        assert!(block.is_empty());
        block.as_mut()[..3].copy_from_slice(b"abc");
        block.set_len(3);
        assert_eq!(&*block, b"abc");
        block.set_len(usize::MAX);
        assert_eq!(block.len(), BlockBuf::CAPACITY);
        drop(block);
        assert!(pool.take().is_empty(), "a recycled buffer starts empty");
    }

    #[test]
    fn buffers_may_outlive_the_handle_and_cross_threads() {
        let block = BlockPool::new(1).take();
        let pool = block.pool.clone();
        std::thread::spawn(move || drop(block)).join().unwrap();
        assert_eq!(pool.in_use(), 0);
    }
}
