//! The jobs that worker threads do for a torrent.
//!
//! Each is plain data with a `run` that blocks; wrapped into a [`Job`] it reports through its
//! completion. One job per piece, per batch of pieces or per run of blocks, never one per block.

mod store;
mod through;

pub use store::{StoreBatch, StoreOutcome, StorePiece, Stored};
pub use through::{Judge, LongPiece, Stage, WriteThrough, WrittenThrough};

use super::check::{self, PieceState, ScanError};
use super::pool::{BlockBuf, BlockPool};
use super::workers::{Job, JobPanicked, Kind};
use crate::geometry::Geometry;
use crate::metainfo::PieceHash;
use crate::storage::{Storage, StorageError};
use crate::types::PieceIndex;
use std::io::IoSliceMut;
use std::ops::Range;
use std::sync::Arc;

/// Most blocks one [`ReadBlocks`] reads: 1 MiB.
pub const READ_RUN_BLOCKS_MAX: usize = 64;

/// Read blocks that lie end to end, for upload.
#[derive(Debug)]
pub struct ReadBlocks {
    /// Where from.
    pub storage: Arc<dyn Storage>,
    /// Offset of the first block in the torrent.
    pub offset: u64,
    /// Length of each block in bytes, at most 16 KiB; at most [`READ_RUN_BLOCKS_MAX`] count.
    pub lengths: Vec<u32>,
    /// Where the buffers come from.
    pub pool: BlockPool,
}

/// Check a range of pieces on one thread.
pub struct CheckPieces {
    /// Where from.
    pub storage: Arc<dyn Storage>,
    /// How the torrent is cut.
    pub geometry: Geometry,
    /// Which pieces.
    pub pieces: Range<u32>,
    /// What each must hash to.
    pub hashes: Arc<dyn Fn(PieceIndex) -> Option<PieceHash> + Send + Sync>,
}

impl ReadBlocks {
    /// Reads all of them with one call to the storage. Blocks.
    ///
    /// # Errors
    /// When any byte is missing or the storage fails.
    pub fn run(self) -> Result<Vec<BlockBuf>, StorageError> {
        let lengths = self.lengths.iter().take(READ_RUN_BLOCKS_MAX);
        let mut blocks: Vec<_> = lengths
            .map(|length| {
                let mut block = self.pool.take();
                block.set_len(usize::try_from(*length).unwrap_or(usize::MAX));
                block
            })
            .collect();
        let mut bytes: Vec<_> = blocks
            .iter_mut()
            .map(|block| {
                let len = block.len();
                IoSliceMut::new(block.as_mut().split_at_mut(len).0)
            })
            .collect();
        self.storage.read_at(self.offset, &mut bytes)?;
        let length: u64 = blocks.iter().map(|block| block.len() as u64).sum();
        // Asked after the read: what was changed before it is not handed out.
        self.storage.unchanged(self.offset..self.offset.saturating_add(length))?;
        Ok(blocks)
    }

    /// As a job of its own.
    pub fn job(
        self,
        done: impl FnOnce(Result<Result<Vec<BlockBuf>, StorageError>, JobPanicked>) + Send + 'static,
    ) -> Job {
        Job::new(Kind::Read, move || self.run(), done)
    }
}

impl CheckPieces {
    /// Reads and hashes what may be there. Blocks. One state per piece of the range, in order.
    ///
    /// # Errors
    /// When the storage fails other than by missing bytes.
    pub fn run(self) -> Result<Vec<PieceState>, ScanError> {
        check::pieces(&*self.storage, &self.geometry, self.pieces, &*self.hashes)
    }

    /// As a job of its own.
    pub fn job(
        self,
        done: impl FnOnce(Result<Result<Vec<PieceState>, ScanError>, JobPanicked>) + Send + 'static,
    ) -> Job {
        Job::new(Kind::Background, move || self.run(), done)
    }
}

impl std::fmt::Debug for CheckPieces {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("CheckPieces").field("pieces", &self.pieces).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::store::tests::{LENGTH, content, store};
    use super::*;
    use crate::data::Workers;
    use crate::data::hasher::sha1;
    use crate::storage::MemStorage;
    use std::io::IoSlice;
    use std::sync::mpsc::sync_channel;

    #[test]
    fn a_run_of_blocks_is_read_at_once_and_a_failure_gives_all_buffers_back() {
        let pool = BlockPool::new(8);
        let storage = Arc::new(MemStorage::holding(content()));
        let read = |offset, lengths: &[u32]| ReadBlocks {
            storage: storage.clone(),
            offset,
            lengths: lengths.to_vec(),
            pool: pool.clone(),
        };
        let blocks = read(1000, &[16_384, 16_384, 5]).run().unwrap();
        let bytes: Vec<u8> = blocks.iter().flat_map(|block| block.to_vec()).collect();
        assert_eq!(bytes, content()[1000..][..32_773]);
        assert_eq!(pool.in_use(), 3);
        drop(blocks);
        assert!(read(30_000, &[16_384]).run().is_err());
        assert_eq!(pool.in_use(), 0);
        let many = vec![1; READ_RUN_BLOCKS_MAX + 9];
        assert_eq!(read(0, &many).run().unwrap().len(), READ_RUN_BLOCKS_MAX);
    }

    #[test]
    fn jobs_report_through_their_completion() {
        let workers = Workers::new(2, 8).unwrap();
        let pool = BlockPool::new(8);
        let storage: Arc<dyn Storage> = Arc::new(MemStorage::new(LENGTH as usize));
        let (done, results) = sync_channel(4);
        let told = done.clone();
        let job = store(storage.clone(), &pool, &content())
            .job(move |stored| told.send(format!("{:?}", stored.unwrap().outcome)).unwrap());
        workers.submit(job).unwrap();
        assert_eq!(results.recv().unwrap(), "Good");
        let hash = PieceHash::V1(sha1([content().as_slice()]));
        let check = CheckPieces {
            storage,
            geometry: Geometry::new(u64::from(LENGTH), u64::from(LENGTH)).unwrap(),
            pieces: 0..9,
            hashes: Arc::new(move |_| Some(hash)),
        };
        let job =
            check.job(move |states| done.send(format!("{:?}", states.unwrap().unwrap())).unwrap());
        workers.submit(job).unwrap();
        assert_eq!(results.recv().unwrap(), "[Good]");
        workers.shutdown();
        assert_eq!(pool.in_use(), 0);
    }

    #[test]
    fn a_panicking_storage_leaves_no_buffer_behind() {
        #[derive(Debug)]
        struct Bomb;
        impl Storage for Bomb {
            fn read_at(&self, _: u64, _: &mut [IoSliceMut<'_>]) -> Result<(), StorageError> {
                panic!("on purpose")
            }
            fn write_at(&self, _: u64, _: &[IoSlice<'_>]) -> Result<(), StorageError> {
                panic!("on purpose")
            }
            fn presence(&self, _: Range<u64>) -> crate::storage::Presence {
                crate::storage::Presence::Missing
            }
            fn sync(&self) -> Result<(), StorageError> {
                Ok(())
            }
            fn finish(&self) -> Result<(), StorageError> {
                Ok(())
            }
        }
        let (workers, pool) = (Workers::new(1, 8).unwrap(), BlockPool::new(8));
        let (done, results) = sync_channel(4);
        let told = done.clone();
        let job = store(Arc::new(Bomb), &pool, &content())
            .job(move |stored| told.send(stored.is_err()).unwrap());
        workers.submit(job).unwrap();
        let lengths = vec![9; 9];
        let read = ReadBlocks { storage: Arc::new(Bomb), offset: 0, lengths, pool: pool.clone() };
        workers.submit(read.job(move |blocks| done.send(blocks.is_err()).unwrap())).unwrap();
        workers.shutdown();
        assert_eq!(results.try_iter().collect::<Vec<_>>(), [true, true]);
        assert_eq!(pool.in_use(), 0);
    }
}
