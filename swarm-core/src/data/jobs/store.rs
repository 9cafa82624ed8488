//! Complete pieces: hashed, and written when they are right.
//!
//! Pieces that are hashed side by side cost less each than one after another (see
//! [`verify_many`]), so the job takes a batch of them; how long a piece waits for company is
//! decided by the caller. They are written one by one, so the buffers of each are free again,
//! and warm, as soon as it is written.
//!
//! Not here: pieces that do not fit into memory (see `through`).

use super::{Job, JobPanicked, Kind};
use crate::data::hasher::{Candidate, block_digests, verify_many};
use crate::data::piece::PieceBuf;
use crate::geometry::Geometry;
use crate::metainfo::PieceHash;
use crate::storage::{Storage, StorageError};
use std::io::IoSlice;
use std::sync::Arc;

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

/// Pieces to hash side by side and to write one by one.
#[derive(Debug, Default)]
pub struct StoreBatch {
    /// The pieces, of any torrent.
    pub pieces: Vec<StorePiece>,
}

impl StoreBatch {
    /// Hashes and writes. Blocks. Says of each piece, in order, what became of it.
    #[must_use]
    pub fn run(self) -> Vec<Stored> {
        let candidates: Vec<_> = self.pieces.iter().map(StorePiece::candidate).collect();
        let good = verify_many(&candidates);
        drop(candidates);
        self.pieces.into_iter().zip(good).map(|(piece, good)| piece.settle(good)).collect()
    }

    /// As a job of its own.
    pub fn job(self, done: impl FnOnce(Result<Vec<Stored>, JobPanicked>) + Send + 'static) -> Job {
        Job::new(Kind::Store, move || self.run(), done)
    }
}

impl StorePiece {
    /// Hashes and writes. Blocks.
    #[must_use]
    pub fn run(self) -> Stored {
        let good = verify_many(&[self.candidate()]) == [true];
        self.settle(good)
    }

    /// As a job of its own.
    pub fn job(self, done: impl FnOnce(Result<Stored, JobPanicked>) + Send + 'static) -> Job {
        Job::new(Kind::Store, move || self.run(), done)
    }

    /// What there is to hash.
    fn candidate(&self) -> Candidate<'_> {
        let range = self.geometry.piece_range(self.buf.piece());
        let mut left = match self.hash {
            PieceHash::V2 { .. } => self.storage.content_end(range.clone()) - range.start,
            PieceHash::V1(_) => range.end - range.start,
        };
        let content = self.buf.blocks().map(|block| {
            let length = usize::try_from(left).unwrap_or(usize::MAX).min(block.len());
            left -= length as u64;
            block.get(..length).unwrap_or_default()
        });
        Candidate { segments: content.collect(), expected: self.hash }
    }

    /// Writes the piece if it is good.
    fn settle(self, good: bool) -> Stored {
        let Self { storage, geometry, buf, digests, .. } = self;
        let good = good && buf.is_complete();
        let digests = match digests || !good {
            true => block_digests(buf.blocks()),
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
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;
    use crate::data::hasher::{block_digest, sha1};
    use crate::data::{BlockBuf, BlockPool};
    use crate::storage::MemStorage;
    use crate::storage::fault::{FaultStorage, Plan};
    use crate::types::{BlockIndex, PieceIndex};
    use std::io;

    pub(in super::super) const LENGTH: u32 = 40_000;

    pub(in super::super) fn content() -> Vec<u8> {
        (0..LENGTH).map(|at| u8::try_from(at % 251).unwrap()).collect()
    }

    pub(in super::super) fn store(
        storage: Arc<dyn Storage>,
        pool: &BlockPool,
        bytes: &[u8],
    ) -> StorePiece {
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
    fn one_bad_piece_of_a_batch_is_told_from_the_good_ones() {
        let pool = BlockPool::new(8);
        let storages: Vec<_> = (0..20).map(|_| Arc::new(MemStorage::new(40_000))).collect();
        let pieces = storages.iter().enumerate().map(|(at, storage)| {
            let mut bytes = content();
            if at == 7 {
                bytes[39_999] ^= 1;
            }
            store(storage.clone(), &pool, &bytes)
        });
        let stored = StoreBatch { pieces: pieces.collect() }.run();
        for (at, (stored, storage)) in stored.iter().zip(&storages).enumerate() {
            assert_eq!(matches!(stored.outcome, StoreOutcome::Good), at != 7);
            assert_eq!(stored.digests.is_empty(), at != 7);
            assert_eq!(storage.to_vec() == content(), at != 7);
        }
        assert_eq!((stored.len(), pool.in_use()), (20, 0));
        assert!(StoreBatch::default().run().is_empty());
    }
}
