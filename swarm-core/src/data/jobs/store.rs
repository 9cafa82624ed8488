//! Complete pieces: hashed, and written when they are right.
//!
//! Pieces that are hashed side by side cost less each than one after another (see
//! [`verify_many`]), so the job takes a batch of them; how long a piece waits for company is
//! decided by the caller. They are written in the order of their places, short ones together,
//! neighbours with one call, long ones one by one: so the buffers of each are free again, and
//! warm, as soon as it is written.
//!
//! Not here: pieces that do not fit into memory (see `through`).

use super::{Job, JobPanicked, Kind};
use crate::data::hasher::{Candidate, block_digests, verify_many};
use crate::data::piece::PieceBuf;
use crate::geometry::Geometry;
use crate::metainfo::PieceHash;
use crate::storage::{Run, Storage, StorageError};
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

/// Bytes of short pieces that are written together.
const GROUP_BYTES: u64 = 1 << 20;

/// Pieces to hash side by side.
#[derive(Debug, Default)]
pub struct StoreBatch {
    /// The pieces, of any torrent.
    pub pieces: Vec<StorePiece>,
}

/// A piece whose hash is known.
struct Judged {
    /// Its place in the batch.
    at: usize,
    piece: StorePiece,
    is_good: bool,
}

impl StoreBatch {
    /// Hashes and writes. Blocks. Says of each piece, in order, what became of it.
    #[must_use]
    pub fn run(self) -> Vec<Stored> {
        let candidates: Vec<_> = self.pieces.iter().map(StorePiece::candidate).collect();
        let good = verify_many(&candidates);
        drop(candidates);
        let judged = self.pieces.into_iter().zip(good).enumerate();
        let judged = judged.map(|(at, (piece, good))| Judged::new(at, piece, good));
        let mut judged: Vec<_> = judged.collect();
        judged.sort_by_key(|judged| judged.piece.offset());
        let mut stored = Vec::with_capacity(judged.len());
        let mut rest = judged.into_iter().peekable();
        while let Some(first) = rest.next() {
            let mut bytes = first.bytes();
            let storage = first.piece.storage.clone();
            let mut group = vec![first];
            while let Some(next) = rest.next_if(|next| {
                bytes += next.bytes();
                bytes <= GROUP_BYTES && Arc::ptr_eq(&storage, &next.piece.storage)
            }) {
                group.push(next);
            }
            stored.extend(store(&*storage, group));
        }
        stored.sort_by_key(|(at, _)| *at);
        stored.into_iter().map(|(_, stored)| stored).collect()
    }

    /// As a job of its own.
    pub fn job(self, done: impl FnOnce(Result<Vec<Stored>, JobPanicked>) + Send + 'static) -> Job {
        Job::new(Kind::Store, move || self.run(), done)
    }
}

/// Writes those that are good, in the order of their places.
fn store(storage: &dyn Storage, group: Vec<Judged>) -> Vec<(usize, Stored)> {
    let (good, bad): (Vec<_>, Vec<_>) = group.into_iter().partition(|judged| judged.is_good);
    let ends_at = |left: &Judged, right: &Judged| left.end() == right.piece.offset();
    let neighbours: Vec<_> = good.chunk_by(ends_at).collect();
    let runs: Vec<_> = neighbours.iter().map(|pieces| run_of(pieces)).collect();
    let mut stored: Vec<_> = bad.iter().map(Judged::store).collect();
    for (pieces, written) in neighbours.iter().zip(storage.write_runs(&runs)) {
        match (written, *pieces) {
            (Ok(()), pieces) => {
                stored.extend(pieces.iter().map(|piece| piece.stored(StoreOutcome::Good)));
            }
            (Err(error), [piece]) => stored.push(piece.stored(StoreOutcome::NotWritten(error))),
            // Which of them it was shows when each is written by itself.
            (Err(_), pieces) => stored.extend(pieces.iter().map(Judged::store)),
        }
    }
    stored
}

fn run_of(pieces: &[Judged]) -> Run<'_> {
    let offset = pieces.first().map_or(0, |first| first.piece.offset());
    let bufs = pieces.iter().flat_map(|judged| judged.piece.buf.blocks().map(IoSlice::new));
    Run { offset, bufs: bufs.collect() }
}

impl Judged {
    fn new(at: usize, piece: StorePiece, good: bool) -> Self {
        let is_good = good && piece.buf.is_complete();
        Self { at, piece, is_good }
    }

    fn bytes(&self) -> u64 {
        u64::from(self.piece.buf.received())
    }

    fn end(&self) -> u64 {
        self.piece.offset() + self.bytes()
    }

    /// Writes it, by itself, if it is good.
    fn store(&self) -> (usize, Stored) {
        if !self.is_good {
            return self.stored(StoreOutcome::Bad);
        }
        let bufs: Vec<_> = self.piece.buf.blocks().map(IoSlice::new).collect();
        let written = self.piece.storage.write_at(self.piece.offset(), &bufs);
        self.stored(written.map_or_else(StoreOutcome::NotWritten, |()| StoreOutcome::Good))
    }

    fn stored(&self, outcome: StoreOutcome) -> (usize, Stored) {
        let digests = match self.piece.digests || !self.is_good {
            true => block_digests(self.piece.buf.blocks()),
            false => Vec::new(),
        };
        (self.at, Stored { outcome, digests })
    }
}

impl StorePiece {
    /// Hashes and writes. Blocks.
    #[must_use]
    pub fn run(self) -> Stored {
        let good = verify_many(&[self.candidate()]) == [true];
        Judged::new(0, self, good).store().1
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

    /// Where in the torrent it begins.
    fn offset(&self) -> u64 {
        self.geometry.piece_offset(self.buf.piece())
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

    /// Four pieces of one block each in one storage; one of them is bad.
    fn four(storage: &Arc<dyn Storage>, pool: &BlockPool, bad: u32) -> StoreBatch {
        let geometry = Geometry::new(1 << 14, 4 << 14).unwrap();
        let pieces = [2, 0, 3, 1].map(|index| {
            let piece = PieceIndex::new(index);
            let bytes = vec![u8::try_from(index).unwrap(); 1 << 14];
            let hash = PieceHash::V1(sha1([bytes.as_slice()]));
            let mut block = pool.take();
            block.as_mut().copy_from_slice(&bytes);
            block.as_mut()[0] ^= u8::from(index == bad);
            block.set_len(1 << 14);
            let mut buf = PieceBuf::new(&geometry, piece);
            buf.insert(BlockIndex::new(0), block).unwrap();
            StorePiece { storage: storage.clone(), geometry, buf, hash, digests: false }
        });
        StoreBatch { pieces: pieces.into() }
    }

    #[test]
    fn short_pieces_are_written_in_the_order_of_their_places_whatever_the_batch_says() {
        let pool = BlockPool::new(8);
        let memory = Arc::new(MemStorage::new(4 << 14));
        let storage: Arc<dyn Storage> = memory.clone();
        let stored = four(&storage, &pool, 3).run();
        let good: Vec<_> =
            stored.iter().map(|stored| matches!(stored.outcome, StoreOutcome::Good)).collect();
        assert_eq!(good, [true, true, false, true]);
        let expected: Vec<u8> = [0, 1, 2, 0].into_iter().flat_map(|byte| [byte; 1 << 14]).collect();
        assert_eq!(memory.to_vec(), expected);
    }

    #[test]
    fn of_neighbours_written_together_the_one_that_failed_is_named() {
        let pool = BlockPool::new(8);
        let mut mixed = 0;
        for seed in 0..40 {
            let plan = Plan { fail_per_mille: 500, seed, ..Plan::default() };
            let fault = Arc::new(FaultStorage::new(MemStorage::new(4 << 14), plan));
            let storage: Arc<dyn Storage> = fault.clone();
            let stored = four(&storage, &pool, 9).run();
            let is_good = |stored: &Stored| matches!(stored.outcome, StoreOutcome::Good);
            let there = fault.inner().to_vec();
            for (index, stored) in [2u8, 0, 3, 1].into_iter().zip(&stored) {
                let piece = &there[usize::from(index) << 14..][..1 << 14];
                assert!(!is_good(stored) || piece.iter().all(|byte| *byte == index));
            }
            let good = stored.iter().filter(|stored| is_good(stored)).count();
            mixed += usize::from((1..4).contains(&good));
        }
        assert!(mixed > 3, "{mixed}");
        assert_eq!(pool.in_use(), 0);
    }
}
