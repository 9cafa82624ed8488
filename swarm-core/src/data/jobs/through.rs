//! Pieces too long to wait in memory: their blocks are written as they come.
//!
//! A piece is hashed while its blocks pass through memory, as long as they come in order;
//! blocks that came early are read back once the gap before them is closed. So nearly every
//! byte is hashed without being read again, and the last block has its verdict at once. What is
//! written before the verdict is known to nobody else: [`Storage::write_unverified`] keeps it
//! away from files that have their final name, and only a piece that was right is accepted.
//!
//! One job of a piece at a time: [`LongPiece`] travels with it. So two attempts at a piece
//! cannot write over each other.
//!
//! Not here: when a block is asked for and how much may wait (`proto`).

use super::store::{StoreOutcome, Stored};
use super::{Job, JobPanicked, Kind};
use crate::data::BlockBuf;
use crate::data::hasher::{PieceHasher, block_digests, feed};
use crate::data::lanes::Width;
use crate::geometry::Geometry;
use crate::metainfo::PieceHash;
use crate::storage::{Storage, StorageError};
use crate::types::{BLOCK_SIZE, BlockIndex, BlockRef, PieceIndex};
use std::collections::{BTreeMap, BTreeSet};
use std::io::{IoSlice, IoSliceMut};
use std::ops::Range;
use std::sync::Arc;

/// Bytes read back at a time.
const READ_BACK_BYTES: u32 = 1 << 20;
/// Bytes read back by one job, so that other jobs have their turn.
const CATCH_UP_BYTES: u32 = 32 << 20;

/// What is known of a piece that is written as it comes.
#[derive(Debug)]
pub struct LongPiece {
    disk: OnDisk,
    hasher: PieceHasher,
    expected: PieceHash,
    /// Bytes from the front that are hashed; no block is hashed in part.
    hashed: u32,
    /// Bytes that the hash covers: less than the piece has, when it ends in a pad file.
    covered: u64,
    /// Blocks that are written and not hashed.
    ahead: BTreeSet<BlockIndex>,
}

/// Where a piece lies.
#[derive(Debug)]
struct OnDisk {
    storage: Arc<dyn Storage>,
    geometry: Geometry,
    piece: PieceIndex,
}

/// Write blocks of a long piece and hash as far as there is no gap.
#[derive(Debug)]
pub struct WriteThrough {
    /// The piece so far.
    pub piece: LongPiece,
    /// Blocks that came, none of them written before.
    pub blocks: BTreeMap<BlockIndex, BlockBuf>,
    /// Every block has come: say whether the piece is good.
    pub judge: Option<Judge>,
}

/// How to judge a piece.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Judge {
    /// Digests of the blocks only when it is wrong.
    Plain,
    /// Digests of the blocks in any case.
    Digests,
}

/// What became of the blocks.
#[derive(Debug)]
pub struct WrittenThrough {
    /// Blocks that are on the disk now and were not before.
    pub blocks: usize,
    /// What became of the piece.
    pub stage: Stage,
}

/// How far a long piece is.
#[derive(Debug)]
pub enum Stage {
    /// Go on with it: it was not to be judged, or there is more to hash than one job does.
    Open(Box<LongPiece>),
    /// It was judged.
    Stored(Stored),
}

impl LongPiece {
    /// A piece of which nothing has come.
    #[must_use]
    pub fn new(
        storage: Arc<dyn Storage>,
        geometry: Geometry,
        piece: PieceIndex,
        hash: &PieceHash,
    ) -> Self {
        let range = geometry.piece_range(piece);
        let end = match hash {
            PieceHash::V1(_) => range.end,
            PieceHash::V2 { .. } => storage.content_end(range.clone()),
        };
        Self {
            disk: OnDisk { storage, geometry, piece },
            hasher: PieceHasher::like(hash),
            expected: *hash,
            hashed: 0,
            covered: end - range.start,
            ahead: BTreeSet::new(),
        }
    }

    /// Writes blocks with one call for each run of neighbours.
    fn write(&mut self, blocks: &BTreeMap<BlockIndex, BlockBuf>) -> Result<(), StorageError> {
        let mut blocks = blocks.iter().peekable();
        while let Some((first, block)) = blocks.next() {
            let (mut last, mut run) = (*first, vec![IoSlice::new(block)]);
            while let Some((next, block)) =
                blocks.next_if(|(next, _)| last.get().checked_add(1) == Some(next.get()))
            {
                last = *next;
                run.push(IoSlice::new(block));
            }
            let begin = first.get().saturating_mul(BLOCK_SIZE);
            self.disk.storage.write_unverified(self.disk.offset(begin), &run)?;
            self.ahead.extend((first.get()..=last.get()).map(BlockIndex::new));
        }
        Ok(())
    }

    /// Hashes the blocks behind those that are hashed; gives up after so many bytes read back.
    fn catch_up(
        &mut self,
        blocks: &BTreeMap<BlockIndex, BlockBuf>,
        mut read_back: u32,
    ) -> Result<(), StorageError> {
        while self.ahead.contains(&self.next()) {
            let here = self.run_here(blocks);
            if !here.is_empty() {
                self.hash(&here);
                continue;
            }
            if read_back == 0 {
                break;
            }
            let run = self.run_on_disk(blocks);
            let end = run.end.min(run.start.saturating_add(read_back));
            let bytes = self.disk.read(run.start..end)?;
            read_back = read_back.saturating_sub(end - run.start);
            self.hash(&bytes.chunks(BLOCK_SIZE as usize).collect::<Vec<_>>());
        }
        Ok(())
    }

    /// The block to hash next.
    const fn next(&self) -> BlockIndex {
        BlockIndex::new(self.hashed.div_ceil(BLOCK_SIZE))
    }

    /// The blocks to hash next, as far as they are in memory.
    fn run_here<'a>(&self, blocks: &'a BTreeMap<BlockIndex, BlockBuf>) -> Vec<&'a [u8]> {
        let run = (self.next().get()..).zip(blocks.range(self.next()..));
        let run = run.take_while(|(index, (block, _))| *index == block.get());
        run.map(|(_, (_, bytes))| &**bytes).collect()
    }

    /// The bytes to hash next, as far as they are on the disk only.
    fn run_on_disk(&self, blocks: &BTreeMap<BlockIndex, BlockBuf>) -> Range<u32> {
        let next = self.next().get();
        let on_disk = |block: &u32| {
            let block = BlockIndex::new(*block);
            self.ahead.contains(&block) && !blocks.contains_key(&block)
        };
        let most = READ_BACK_BYTES / BLOCK_SIZE;
        let count = (next..next.saturating_add(most)).take_while(on_disk).count();
        let bytes = u32::try_from(count).unwrap_or(most) * BLOCK_SIZE;
        self.hashed..self.hashed.saturating_add(bytes).min(self.disk.size())
    }

    /// Hashes whole blocks, all side by side where the hash is a tree.
    fn hash(&mut self, blocks: &[&[u8]]) {
        let mut segments = Vec::with_capacity(blocks.len());
        for block in blocks {
            let left = self.covered.saturating_sub(u64::from(self.hashed));
            let length = usize::try_from(left).unwrap_or(usize::MAX).min(block.len());
            segments.push(block.get(..length).unwrap_or_default());
            self.ahead.remove(&self.next());
            let next = BlockRef { piece: self.disk.piece, block: self.next() };
            self.hashed += self.disk.geometry.block_size(next);
        }
        feed(Width::fastest(), [(&mut self.hasher, &*segments)].into_iter());
    }

    /// The verdict, every block being hashed.
    fn judge(self, judge: Judge) -> Result<Stored, StorageError> {
        let Self { disk, hasher, expected, .. } = self;
        let good = hasher.matches(&expected);
        let digests = match good && judge == Judge::Plain {
            true => Vec::new(),
            false => disk.digests()?,
        };
        if !good {
            return Ok(Stored { outcome: StoreOutcome::Bad, digests });
        }
        let accepted = disk.storage.accept(disk.geometry.piece_range(disk.piece));
        let outcome = accepted.map_or_else(StoreOutcome::NotWritten, |()| StoreOutcome::Good);
        Ok(Stored { outcome, digests })
    }
}

impl OnDisk {
    fn size(&self) -> u32 {
        self.geometry.piece_size(self.piece)
    }

    fn offset(&self, begin: u32) -> u64 {
        self.geometry.piece_offset(self.piece) + u64::from(begin)
    }

    fn read(&self, bytes: Range<u32>) -> Result<Vec<u8>, StorageError> {
        let mut back = vec![0; (bytes.end - bytes.start) as usize];
        let mut into = [IoSliceMut::new(&mut back)];
        self.storage.read_unverified(self.offset(bytes.start), &mut into)?;
        Ok(back)
    }

    /// The digest of each block, as it lies on the disk.
    fn digests(&self) -> Result<Vec<u64>, StorageError> {
        let mut digests = Vec::new();
        let mut begin = 0;
        while begin < self.size() {
            let end = begin.saturating_add(READ_BACK_BYTES).min(self.size());
            let bytes = self.read(begin..end)?;
            digests.extend(block_digests(bytes.chunks(BLOCK_SIZE as usize)));
            begin = end;
        }
        Ok(digests)
    }
}

impl WriteThrough {
    /// Writes and hashes. Blocks.
    ///
    /// # Errors
    /// When the storage fails: the piece is lost.
    pub fn run(self) -> Result<WrittenThrough, StorageError> {
        let Self { mut piece, blocks, judge } = self;
        piece.write(&blocks)?;
        piece.catch_up(&blocks, CATCH_UP_BYTES)?;
        let stage = match judge.filter(|_| piece.hashed == piece.disk.size()) {
            Some(judge) => Stage::Stored(piece.judge(judge)?),
            None => Stage::Open(Box::new(piece)),
        };
        Ok(WrittenThrough { blocks: blocks.len(), stage })
    }

    /// As a job of its own.
    pub fn job(
        self,
        done: impl FnOnce(Result<Result<WrittenThrough, StorageError>, JobPanicked>) + Send + 'static,
    ) -> Job {
        Job::new(Kind::Store, move || self.run(), done)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::data::BlockPool;
    use crate::data::hasher::sha1;
    use crate::storage::MemStorage;
    use proptest::prelude::*;
    use sha2::{Digest as _, Sha256};

    const BLOCK: usize = BLOCK_SIZE as usize;
    /// The second piece is five blocks and a bit.
    const PIECE: usize = 6 * BLOCK;
    const TOTAL: usize = 2 * PIECE - 100;

    fn content() -> Vec<u8> {
        (0..TOTAL).map(|at| u8::try_from(at % 251).unwrap()).collect()
    }

    fn long(storage: &Arc<MemStorage>, hash: &PieceHash) -> LongPiece {
        let geometry = Geometry::new(PIECE as u64, TOTAL as u64).unwrap();
        LongPiece::new(storage.clone(), geometry, PieceIndex::new(1), hash)
    }

    fn v1() -> PieceHash {
        PieceHash::V1(sha1([&content()[PIECE..]]))
    }

    /// Blocks of the second piece of `content`.
    fn blocks(pool: &BlockPool, content: &[u8], which: &[usize]) -> BTreeMap<BlockIndex, BlockBuf> {
        let cut: Vec<_> = content[PIECE..].chunks(BLOCK).collect();
        let block = |index: &usize| {
            let mut block = pool.take();
            block.as_mut()[..cut[*index].len()].copy_from_slice(cut[*index]);
            block.set_len(cut[*index].len());
            (BlockIndex::new(u32::try_from(*index).unwrap()), block)
        };
        which.iter().map(block).collect()
    }

    fn step(
        piece: LongPiece,
        blocks: BTreeMap<BlockIndex, BlockBuf>,
        judge: Option<Judge>,
    ) -> WrittenThrough {
        WriteThrough { piece, blocks, judge }.run().unwrap()
    }

    fn stored(done: WrittenThrough) -> Stored {
        let Stage::Stored(stored) = done.stage else { panic!("not judged: {done:?}") };
        stored
    }

    #[test]
    fn a_wrong_piece_is_told_by_digests_of_what_was_written() {
        let pool = BlockPool::new(8);
        let mut wrong = content();
        wrong[PIECE + 2 * BLOCK] ^= 1;
        let verdict = |content: &[u8]| {
            let storage = Arc::new(MemStorage::new(TOTAL));
            let all = blocks(&pool, content, &[0, 1, 2, 3, 4, 5]);
            let done = step(long(&storage, &v1()), all, Some(Judge::Digests));
            assert_eq!((done.blocks, pool.in_use()), (6, 0));
            stored(done)
        };
        let (good, bad) = (verdict(&content()), verdict(&wrong));
        assert!(matches!(good.outcome, StoreOutcome::Good));
        assert!(matches!(bad.outcome, StoreOutcome::Bad));
        let differ: Vec<_> = good.digests.iter().zip(&bad.digests).map(|(a, b)| a != b).collect();
        assert_eq!(differ, [false, false, true, false, false, false]);
    }

    #[test]
    fn a_long_way_to_catch_up_is_gone_in_steps() {
        let (pool, storage) = (BlockPool::new(8), Arc::new(MemStorage::new(TOTAL)));
        let late = step(long(&storage, &v1()), blocks(&pool, &content(), &[1, 2, 3, 4, 5]), None);
        let Stage::Open(mut piece) = late.stage else { panic!("there is a gap") };
        assert_eq!(piece.hashed, 0);
        piece.write(&blocks(&pool, &content(), &[0])).unwrap();
        piece.catch_up(&BTreeMap::new(), 2 * BLOCK_SIZE).unwrap();
        assert_eq!(piece.hashed, 2 * BLOCK_SIZE);
        let done = step(*piece, BTreeMap::new(), Some(Judge::Plain));
        assert!(matches!(stored(done).outcome, StoreOutcome::Good));
    }

    #[test]
    fn a_piece_with_a_gap_is_not_judged() {
        let (pool, storage) = (BlockPool::new(8), Arc::new(MemStorage::new(TOTAL)));
        let some = blocks(&pool, &content(), &[0, 2, 3, 4, 5]);
        let done = step(long(&storage, &v1()), some, Some(Judge::Plain));
        assert!(matches!(done.stage, Stage::Open(_)));
    }

    #[test]
    fn a_failing_storage_is_told() {
        use crate::storage::fault::{FaultStorage, Plan};
        let plan = Plan { capacity: Some(100), ..Plan::default() };
        let storage = Arc::new(FaultStorage::new(MemStorage::new(TOTAL), plan));
        let geometry = Geometry::new(PIECE as u64, TOTAL as u64).unwrap();
        let piece = LongPiece::new(storage, geometry, PieceIndex::new(1), &v1());
        let blocks = blocks(&BlockPool::new(1), &content(), &[0]);
        let error = WriteThrough { piece, blocks, judge: None }.run().unwrap_err();
        assert_eq!(error.kind(), std::io::ErrorKind::StorageFull);
    }

    proptest! {
        #[test]
        fn the_verdict_is_that_of_the_bytes_in_whatever_order_they_come(
            order in Just(vec![0usize, 1, 2, 3, 4, 5]).prop_shuffle(),
            cuts in prop::collection::btree_set(0usize..7, 0..6),
            flip in prop::option::of(0..TOTAL - PIECE),
            v2 in any::<bool>(),
        ) {
            let right = content();
            let leaves: Vec<[u8; 32]> =
                right[PIECE..].chunks(BLOCK).map(|leaf| Sha256::digest(leaf).into()).collect();
            let hash = if v2 { PieceHash::V2 { root: root(leaves), leaves: 8 } } else { v1() };
            let mut bytes = right;
            if let Some(at) = flip {
                bytes[PIECE + at] ^= 0x80;
            }
            let (pool, storage) = (BlockPool::new(8), Arc::new(MemStorage::new(TOTAL)));
            let mut piece = long(&storage, &hash);
            let mut from = 0;
            for cut in cuts.into_iter().chain([6]).filter(|cut| *cut > 0) {
                let last = cut == 6;
                let judge = last.then_some(Judge::Plain);
                let done = step(piece, blocks(&pool, &bytes, &order[from..cut]), judge);
                prop_assert_eq!(done.blocks, cut - from);
                let Stage::Open(open) = done.stage else {
                    let good = matches!(stored(done).outcome, StoreOutcome::Good);
                    prop_assert_eq!((last, good), (true, flip.is_none()));
                    break;
                };
                prop_assert!(!last);
                (piece, from) = (*open, cut);
            }
            prop_assert_eq!(&storage.to_vec()[PIECE..], &bytes[PIECE..]);
            prop_assert_eq!(pool.in_use(), 0);
        }
    }

    fn root(mut level: Vec<[u8; 32]>) -> [u8; 32] {
        level.resize(8, [0; 32]);
        while level.len() > 1 {
            let pair = |pair: &[[u8; 32]]| Sha256::digest(pair.concat()).into();
            level = level.chunks(2).map(pair).collect();
        }
        level[0]
    }
}
