//! The jobs that worker threads do for a torrent.
//!
//! Each is plain data with a `run` that blocks; wrapped into a [`Job`] it reports through its
//! completion. One job per piece or per run of blocks, never one per block.

use super::check::{self, PieceState};
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
        let good = buf.is_complete() && verify(buf.blocks(), &hash);
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
    pub fn run(self) -> Result<Vec<PieceState>, StorageError> {
        check::pieces(&*self.storage, &self.geometry, self.pieces, &*self.hashes)
    }

    /// As a job of its own.
    pub fn job(
        self,
        done: impl FnOnce(Result<Result<Vec<PieceState>, StorageError>, JobPanicked>) + Send + 'static,
    ) -> Job {
        Job::new(Kind::Background, move || self.run(), done)
    }
}

impl std::fmt::Debug for CheckPieces {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("CheckPieces").field("pieces", &self.pieces).finish_non_exhaustive()
    }
}
