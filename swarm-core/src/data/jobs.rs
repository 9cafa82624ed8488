//! The jobs that worker threads do for a torrent.
//!
//! Each is plain data with a `run` that blocks; wrapped into a [`Job`] it reports through its
//! completion. One job per piece or per run of blocks, never one per block.

use super::check::{self, PieceState, ScanError};
use super::hasher::{block_digest, verify};
use super::piece::PieceBuf;
use super::pool::{BlockBuf, BlockPool};
use super::workers::{Job, JobPanicked, Kind};
use crate::geometry::Geometry;
use crate::metainfo::PieceHash;
use crate::storage::{Storage, StorageError};
use crate::types::PieceIndex;
use std::io::{IoSlice, IoSliceMut};
use std::ops::Range;
use std::sync::Arc;

/// Most blocks one [`ReadBlocks`] reads: 1 MiB.
pub const READ_RUN_BLOCKS_MAX: usize = 64;

/// Hash a complete piece and, when it is right, write it.
#[derive(Debug)]
pub struct StorePiece {
    /// Where to.
    pub storage: Arc<dyn Storage>,
    /// How the torrent is cut.
    pub geometry: Geometry,
    /// The piece, every block of it here.
    pub buf: PieceBuf,
    /// What it must hash to.
    pub hash: PieceHash,
    /// Also give the blocks' digests when the hash is right. They always come when it is wrong.
    pub digests: bool,
}

/// What became of a piece.
#[derive(Debug)]
pub struct Stored {
    /// Good, bad or not written.
    pub outcome: StoreOutcome,
    /// One digest per block in order, or none; see [`StorePiece::digests`].
    pub digests: Vec<u64>,
}

/// How storing a piece ended.
#[derive(Debug)]
pub enum StoreOutcome {
    /// The hash is right and the piece is written (not yet forced to the disk).
    Good,
    /// The hash is wrong, or a block is missing. Nothing was written.
    Bad,
    /// The hash is right but the storage failed.
    NotWritten(StorageError),
}

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

impl StorePiece {
    /// Hashes and writes. Blocks.
    #[must_use]
    pub fn run(self) -> Stored {
        let Self { storage, geometry, buf, hash, digests } = self;
        let good = buf.is_complete() && is_good(&*storage, &geometry, &buf, &hash);
        let digests = match digests || !good {
            true => buf.blocks().map(block_digest).collect(),
            false => Vec::new(),
        };
        if !good {
            return Stored { outcome: StoreOutcome::Bad, digests };
        }
        let bytes: Vec<_> = buf.blocks().map(IoSlice::new).collect();
        let written = storage.write_at(geometry.piece_offset(buf.piece()), &bytes);
        let outcome = written.map_or_else(StoreOutcome::NotWritten, |()| StoreOutcome::Good);
        Stored { outcome, digests }
    }

    /// As a job of its own.
    pub fn job(self, done: impl FnOnce(Result<Stored, JobPanicked>) + Send + 'static) -> Job {
        Job::new(Kind::Store, move || self.run(), done)
    }
}

fn is_good(storage: &dyn Storage, geometry: &Geometry, buf: &PieceBuf, hash: &PieceHash) -> bool {
    let range = geometry.piece_range(buf.piece());
    let mut left = match hash {
        PieceHash::V2 { .. } => storage.content_end(range.clone()) - range.start,
        PieceHash::V1(_) => range.end - range.start,
    };
    let content = buf.blocks().map(|block| {
        let length = usize::try_from(left).unwrap_or(usize::MAX).min(block.len());
        left -= length as u64;
        block.get(..length).unwrap_or_default()
    });
    verify(content, hash)
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
    use super::*;
    use crate::data::Workers;
    use crate::data::hasher::sha1;
    use crate::storage::MemStorage;
    use crate::storage::fault::{FaultStorage, Plan};
    use crate::types::BlockIndex;
    use std::io;
    use std::sync::mpsc::sync_channel;

    const LENGTH: u32 = 40_000;

    fn content() -> Vec<u8> {
        (0..LENGTH).map(|at| u8::try_from(at % 251).unwrap()).collect()
    }

    fn store(storage: Arc<dyn Storage>, pool: &BlockPool, bytes: &[u8]) -> StorePiece {
        let geometry = Geometry::new(u64::from(LENGTH), u64::from(LENGTH)).unwrap();
        let mut buf = PieceBuf::new(&geometry, PieceIndex::new(0));
        for (index, bytes) in (0..).zip(bytes.chunks(BlockBuf::CAPACITY)) {
            let mut block = pool.take();
            block.as_mut()[..bytes.len()].copy_from_slice(bytes);
            block.set_len(bytes.len());
            buf.insert(BlockIndex::new(index), block).unwrap();
        }
        let hash = PieceHash::V1(sha1([content().as_slice()]));
        StorePiece { storage, geometry, buf, hash, digests: false }
    }

    #[test]
    fn a_good_piece_is_written_and_its_buffers_come_home() {
        let (storage, pool) = (Arc::new(MemStorage::new(LENGTH as usize)), BlockPool::new(8));
        let stored = store(storage.clone(), &pool, &content()).run();
        assert!(matches!(stored.outcome, StoreOutcome::Good) && stored.digests.is_empty());
        assert_eq!(storage.to_vec(), content());
        let stored = StorePiece { digests: true, ..store(storage, &pool, &content()) }.run();
        let expected: Vec<_> = content().chunks(BlockBuf::CAPACITY).map(block_digest).collect();
        assert_eq!(stored.digests, expected);
        assert_eq!(pool.in_use(), 0);
    }

    #[test]
    fn a_bad_piece_is_not_written_and_its_digests_name_the_bad_block() {
        let (storage, pool) = (Arc::new(MemStorage::new(LENGTH as usize)), BlockPool::new(8));
        let mut wrong = content();
        wrong[20_000] ^= 1;
        let stored = store(storage.clone(), &pool, &wrong).run();
        assert!(matches!(stored.outcome, StoreOutcome::Bad));
        assert_eq!(storage.to_vec(), vec![0; LENGTH as usize]);
        let right = StorePiece { digests: true, ..store(storage, &pool, &content()) }.run();
        let differ: Vec<_> =
            stored.digests.iter().zip(&right.digests).map(|(a, b)| a != b).collect();
        assert_eq!(differ, [false, true, false]);
    }

    #[test]
    fn an_incomplete_piece_is_bad() {
        let (storage, pool) = (Arc::new(MemStorage::new(LENGTH as usize)), BlockPool::new(8));
        let stored = store(storage, &pool, &content()[..BlockBuf::CAPACITY]).run();
        assert!(matches!(stored.outcome, StoreOutcome::Bad));
    }

    #[test]
    fn a_full_disk_is_told_from_a_bad_piece() {
        let plan = Plan { capacity: Some(100), ..Plan::default() };
        let storage = FaultStorage::new(MemStorage::new(LENGTH as usize), plan);
        let stored = store(Arc::new(storage), &BlockPool::new(8), &content()).run();
        let StoreOutcome::NotWritten(error) = stored.outcome else { panic!("{stored:?}") };
        assert_eq!(error.kind(), io::ErrorKind::StorageFull);
    }

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
