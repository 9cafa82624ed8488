//! Pieces that are too long to wait in memory, on their way to the disk.
//!
//! Blocks gather here while a job has their piece; when it returns, all of them go with the
//! next. A piece given up while a job still writes it is kept on the books until that job is
//! done: its next attempt must not be written before.
//!
//! After a failure of the storage nothing rests on what was written: long pieces begin anew.
//!
//! Not here: writing and hashing (`data`), which pieces these are (`proto`).

use super::TorrentTask;
use super::content::Done;
use crate::data::BlockBuf;
use crate::data::jobs::{Judge, LongPiece, Stage, WriteThrough, WrittenThrough};
use crate::data::workers::JobPanicked;
use crate::proto::input::{Input, Verification};
use crate::session::Error;
use crate::storage::StorageError;
use crate::types::{BlockIndex, Moment, PieceIndex, Span};
use std::collections::BTreeMap;
use std::sync::Arc;

/// The long pieces under way.
#[derive(Debug, Default)]
pub(super) struct Through {
    pieces: BTreeMap<PieceIndex, Entry>,
}

#[derive(Debug)]
struct Entry {
    state: State,
    /// Blocks that wait for the next job.
    waiting: BTreeMap<BlockIndex, BlockBuf>,
    /// Every block has come.
    judge: Option<Judge>,
}

#[derive(Debug)]
enum State {
    /// Nothing has been written.
    New,
    /// No job has it.
    Idle(Box<LongPiece>),
    /// A job has it.
    Busy,
    /// A job has what was given up.
    Stale,
}

/// What a job of [`WriteThrough`] reports.
pub(super) type Report = Result<Result<WrittenThrough, StorageError>, JobPanicked>;

impl Through {
    fn keep(&mut self, piece: PieceIndex, index: BlockIndex, block: BlockBuf) {
        let entry = self.pieces.entry(piece).or_insert_with(|| Entry {
            state: State::New,
            waiting: BTreeMap::new(),
            judge: None,
        });
        entry.waiting.insert(index, block);
    }

    /// Every block of the piece has come. False when it is not one of these.
    pub(super) fn judge(&mut self, piece: PieceIndex, judge: Judge) -> bool {
        let entry = self.pieces.get_mut(&piece);
        entry.map(|entry| entry.judge = Some(judge)).is_some()
    }

    /// Forgets a piece that was given up.
    pub(super) fn discard(&mut self, piece: PieceIndex) {
        let Some(entry) = self.pieces.get_mut(&piece) else { return };
        match entry.state {
            State::New | State::Idle(_) => _ = self.pieces.remove(&piece),
            State::Busy | State::Stale => {
                entry.state = State::Stale;
                entry.waiting.clear();
                entry.judge = None;
            }
        }
    }

    /// Forgets every piece; gives those that nobody knows to be given up yet.
    fn clear(&mut self) -> Vec<PieceIndex> {
        let is_current = |entry: &Entry| !matches!(entry.state, State::Stale);
        let known = self.pieces.iter().filter(|(_, entry)| is_current(entry));
        let known: Vec<_> = known.map(|(piece, _)| *piece).collect();
        known.iter().for_each(|piece| self.discard(*piece));
        known
    }

    /// Makes a job of each piece that has something to do and no job; `open` begins one.
    fn next_jobs(
        &mut self,
        mut open: impl FnMut(PieceIndex) -> Option<LongPiece>,
    ) -> Vec<(PieceIndex, WriteThrough)> {
        let mut jobs = Vec::new();
        for (index, entry) in &mut self.pieces {
            if entry.waiting.is_empty() && entry.judge.is_none() {
                continue;
            }
            let piece = match std::mem::replace(&mut entry.state, State::Busy) {
                State::New => open(*index),
                State::Idle(piece) => Some(*piece),
                busy @ (State::Busy | State::Stale) => {
                    entry.state = busy;
                    continue;
                }
            };
            let Some(piece) = piece else { continue };
            let blocks = std::mem::take(&mut entry.waiting);
            jobs.push((*index, WriteThrough { piece, blocks, judge: entry.judge }));
        }
        jobs
    }

    /// A job has given the piece back; false when the piece was given up meanwhile.
    fn give_back(&mut self, index: PieceIndex, piece: Option<Box<LongPiece>>) -> bool {
        let Some(entry) = self.pieces.get_mut(&index) else { return false };
        let stale = matches!(entry.state, State::Stale);
        match piece {
            Some(piece) if !stale => entry.state = State::Idle(piece),
            None if !stale => _ = self.pieces.remove(&index),
            _ if entry.waiting.is_empty() => _ = self.pieces.remove(&index),
            _ => entry.state = State::New,
        }
        !stale
    }
}

impl TorrentTask {
    /// Puts a block on its way to the disk.
    pub(super) fn keep_through(&mut self, span: Span, block: BlockBuf) {
        let Some(content) = &self.content else { return };
        let Some(place) = content.geometry.block_of(span) else { return };
        self.through.keep(place.piece, place.block, block);
    }

    /// Puts what came of long pieces in line to be written.
    pub(super) fn line_up_through(&mut self) {
        let Some(content) = &self.content else { return };
        let open = |piece| {
            let hash = content.metainfo.piece_hash(piece)?;
            Some(LongPiece::new(content.storage.clone(), content.geometry, piece, &hash))
        };
        for (piece, write) in self.through.next_jobs(open) {
            let report = self.jobs.reporter();
            self.jobs.push(write.job(move |result| {
                report(Done::Through { piece, result: Box::new(result) });
            }));
        }
    }

    /// The storage failed: what was written through counts for nothing.
    pub(super) fn give_up_through(&mut self, now: Moment) {
        for piece in self.through.clear() {
            self.not_written(now, piece);
        }
    }

    fn not_written(&mut self, now: Moment, piece: PieceIndex) {
        let (outcome, digests) = (Verification::NotWritten, Vec::new());
        self.feed(now, Input::Verified { piece, outcome, digests });
    }

    pub(super) fn on_through(&mut self, now: Moment, index: PieceIndex, report: Report) {
        let failed = match report {
            Ok(Ok(WrittenThrough { blocks, stage })) => {
                let (piece, stored) = match stage {
                    Stage::Open(piece) => (Some(piece), None),
                    Stage::Stored(stored) => (None, Some(stored)),
                };
                if self.through.give_back(index, piece) {
                    self.feed(now, Input::Wrote { piece: index, blocks });
                    if let Some(stored) = stored {
                        self.on_piece_stored(now, index, Ok(stored));
                    }
                }
                return;
            }
            Ok(Err(error)) => Error::Storage(Arc::new(error)),
            Err(JobPanicked) => Error::Internal,
        };
        let current = self.through.give_back(index, None);
        self.fail(now, failed);
        if current {
            self.not_written(now, index);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::data::BlockPool;
    use crate::geometry::Geometry;
    use crate::metainfo::PieceHash;
    use crate::storage::MemStorage;

    const PIECE: PieceIndex = PieceIndex::new(0);

    fn long(piece: PieceIndex) -> Option<LongPiece> {
        let geometry = Geometry::new(1 << 20, 1 << 20).unwrap();
        let storage = Arc::new(MemStorage::new(1 << 20));
        Some(LongPiece::new(storage, geometry, piece, &PieceHash::V1([0; 20])))
    }

    fn keep(through: &mut Through, pool: &BlockPool, block: u32) {
        let mut buf = pool.take();
        buf.set_len(16 << 10);
        through.keep(PIECE, BlockIndex::new(block), buf);
    }

    /// The blocks of the only job there is, and the piece it works on.
    fn job(through: &mut Through) -> Option<(Vec<u32>, Box<LongPiece>)> {
        let (_, job) = through.next_jobs(long).pop()?;
        Some((job.blocks.keys().map(|block| block.get()).collect(), Box::new(job.piece)))
    }

    #[test]
    fn a_piece_has_one_job_at_a_time_and_the_next_takes_all_that_came() {
        let (pool, mut through) = (BlockPool::new(4), Through::default());
        keep(&mut through, &pool, 0);
        let (blocks, piece) = job(&mut through).unwrap();
        assert_eq!(blocks, [0]);
        keep(&mut through, &pool, 2);
        keep(&mut through, &pool, 1);
        assert!(job(&mut through).is_none());
        assert!(through.give_back(PIECE, Some(piece)));
        let (blocks, piece) = job(&mut through).unwrap();
        assert_eq!(blocks, [1, 2]);
        assert!(through.give_back(PIECE, Some(piece)));
        assert!(job(&mut through).is_none(), "nothing waits");
        assert!(through.judge(PIECE, Judge::Plain));
        assert!(job(&mut through).is_some(), "the verdict is a job by itself");
        assert!(through.give_back(PIECE, None));
        assert!(through.pieces.is_empty() && !through.judge(PIECE, Judge::Plain));
    }

    #[test]
    fn the_next_attempt_at_a_piece_waits_for_the_job_of_the_one_given_up() {
        let (pool, mut through) = (BlockPool::new(4), Through::default());
        keep(&mut through, &pool, 0);
        let (_, old) = job(&mut through).unwrap();
        keep(&mut through, &pool, 1);
        through.discard(PIECE);
        assert_eq!(pool.in_use(), 0);
        keep(&mut through, &pool, 3);
        assert!(job(&mut through).is_none(), "the old job is still writing");
        assert!(!through.give_back(PIECE, Some(old)), "nobody waits for what it wrote");
        assert_eq!(job(&mut through).unwrap().0, [3]);
        through.discard(PIECE);
        assert!(!through.give_back(PIECE, None));
        assert!(through.pieces.is_empty());
        keep(&mut through, &pool, 3);
        through.discard(PIECE);
        assert!(through.pieces.is_empty());
    }

    #[test]
    fn after_a_failure_every_piece_begins_anew_and_is_told_once() {
        let (pool, mut through) = (BlockPool::new(4), Through::default());
        keep(&mut through, &pool, 0);
        let (_, old) = job(&mut through).unwrap();
        assert_eq!(through.clear(), [PIECE]);
        assert_eq!(through.clear(), []);
        assert!(!through.give_back(PIECE, Some(old)) && through.pieces.is_empty());
        keep(&mut through, &pool, 0);
        assert_eq!(through.clear(), [PIECE]);
        assert!(through.pieces.is_empty());
    }
}
