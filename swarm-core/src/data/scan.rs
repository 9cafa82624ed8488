//! Reads a torrent's pieces from a storage, on one thread or on several.
//!
//! Each thread takes a batch of neighbouring pieces at a time and reads and hashes it itself
//! (`batch`): the bytes are still in its cache when it hashes them, and no buffer changes hands. Batches are
//! handed out in order, so the disk sees a few nearly sequential streams; the storage is told
//! of the batch that this thread will probably come to next. A batch fills the lanes of the CPU, unless there are
//! so few pieces that some threads would have none.
//!
//! Not here: what the bytes are compared with (`check`) or kept for (`create`).

use super::batch::{Reader, Slot, step_bytes};
use super::hasher::{Hashed, PieceHasher};
use super::lanes::Width;
use crate::geometry::Geometry;
use crate::storage::{Storage, StorageError};
use crate::types::PieceIndex;
use std::ops::{ControlFlow, Range};
use std::sync::Mutex;
use std::sync::PoisonError;
use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};
use std::thread;

/// Most pieces in one batch, however short they are.
const BATCH_PIECES_MAX: u32 = 256;

/// How far a scan is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Progress {
    /// Bytes hashed, or found to be missing.
    pub done: u64,
    /// Bytes in all.
    pub total: u64,
}

/// Why a scan ended early.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ScanError {
    /// The progress callback said so.
    #[error("stopped")]
    Stopped,
    /// The storage failed.
    #[error(transparent)]
    Storage(#[from] StorageError),
}

/// What to call after each step of any of the threads.
pub(super) type OnProgress<'a> = &'a (dyn Fn(Progress) -> ControlFlow<()> + Sync);

/// What is done about the pieces of a scan.
pub(super) trait Visit: Sync {
    /// What becomes of a piece.
    type Found: Send;

    /// How many pieces fill the lanes.
    fn side_by_side(&self, width: Width) -> usize;

    /// Looks at a piece before it is read.
    fn begin(&self, piece: PieceIndex) -> Begin<Self::Found>;

    /// The bytes of a piece were hashed; `None` when some are missing.
    fn end(&self, piece: PieceIndex, hashed: Option<Hashed>) -> Self::Found;
}

/// What is to be done about one piece.
pub(super) enum Begin<F> {
    /// Nothing: this is known of it.
    Known(F),
    /// Hash what lies in this range of the torrent, inside the piece.
    Hash(Range<u64>, PieceHasher),
}

/// One scan over some of a torrent's pieces.
pub(super) struct Scan<'a> {
    pub(super) storage: &'a dyn Storage,
    pub(super) geometry: &'a Geometry,
    pub(super) pieces: Range<u32>,
    pub(super) width: Width,
    pub(super) progress: OnProgress<'a>,
}

/// The number of threads meant by `threads`: 0 is one per core.
pub(super) fn thread_count(threads: usize) -> usize {
    match threads {
        0 => thread::available_parallelism().map_or(1, Into::into),
        threads => threads,
    }
}

impl Scan<'_> {
    /// Shows every piece to `visit` and returns what it found, in the order of the pieces. With
    /// one thread everything happens on the caller's.
    pub(super) fn run<V: Visit>(
        &self,
        threads: usize,
        visit: &V,
    ) -> Result<Vec<V::Found>, ScanError> {
        let batches = Batches::new(self, thread_count(threads), visit);
        let (next, done) = (AtomicU32::new(0), AtomicU64::new(0));
        let total = batches.total_bytes();
        let tick = |bytes: u64| {
            let done = done.fetch_add(bytes, Ordering::Relaxed) + bytes;
            (self.progress)(Progress { done, total })
        };
        let results = Mutex::new(Vec::new());
        let work = || {
            let mut reader = Reader::new(self.storage, batches.width, &tick);
            loop {
                let number = next.fetch_add(1, Ordering::Relaxed);
                if number >= batches.count() {
                    return Ok(());
                }
                let found = batches.run(number, &mut reader, visit);
                if found.is_err() {
                    // The others stop at their next batch.
                    next.store(batches.count(), Ordering::Relaxed);
                }
                let found = found?;
                results.lock().unwrap_or_else(PoisonError::into_inner).push((number, found));
            }
        };
        in_parallel(batches.threads.min(batches.count()), &work)?;
        let mut results = results.into_inner().unwrap_or_else(PoisonError::into_inner);
        results.sort_unstable_by_key(|(number, _)| *number);
        Ok(results.into_iter().flat_map(|(_, found)| found).collect())
    }
}

/// Pieces cut into batches.
struct Batches<'a> {
    geometry: &'a Geometry,
    pieces: Range<u32>,
    /// Pieces in each batch but the last, at least 1.
    size: u32,
    threads: u32,
    width: Width,
}

impl<'a> Batches<'a> {
    fn new<V: Visit>(scan: &Scan<'a>, threads: usize, visit: &V) -> Self {
        let Scan { geometry, ref pieces, width, .. } = *scan;
        let threads = u32::try_from(threads).unwrap_or(u32::MAX).max(1);
        let lanes = u32::try_from(visit.side_by_side(width)).unwrap_or(BATCH_PIECES_MAX);
        let step = u32::try_from(step_bytes(width)).unwrap_or(u32::MAX);
        let most = (step / geometry.piece_length()).max(lanes).clamp(1, BATCH_PIECES_MAX);
        let size = batch_size(pieces.len(), threads, most);
        Self { geometry, pieces: pieces.clone(), size, threads, width }
    }

    fn total_bytes(&self) -> u64 {
        let bytes = self.bytes(&self.pieces);
        bytes.end.saturating_sub(bytes.start)
    }

    fn count(&self) -> u32 {
        (self.pieces.end - self.pieces.start).div_ceil(self.size)
    }

    /// Pieces of a batch; none beyond the last.
    fn pieces(&self, number: u32) -> Range<u32> {
        let at = |number: u32| {
            let pieces = number.saturating_mul(self.size);
            self.pieces.start.saturating_add(pieces).min(self.pieces.end)
        };
        at(number)..at(number.saturating_add(1))
    }

    fn bytes(&self, pieces: &Range<u32>) -> Range<u64> {
        let at = |piece| self.geometry.piece_range(PieceIndex::new(piece));
        at(pieces.start).start..at(pieces.end.saturating_sub(1)).end
    }

    fn run<V: Visit>(
        &self,
        number: u32,
        reader: &mut Reader<'_>,
        visit: &V,
    ) -> Result<Vec<V::Found>, ScanError> {
        let pieces = self.pieces(number);
        self.announce(number, reader);
        let (mut known, mut slots) = (Vec::new(), Vec::new());
        let mut skipped = 0;
        for piece in pieces.clone().map(PieceIndex::new) {
            let size = u64::from(self.geometry.piece_size(piece));
            match visit.begin(piece) {
                Begin::Known(found) => {
                    known.push(Some(found));
                    skipped += size;
                }
                Begin::Hash(range, hasher) => {
                    known.push(None);
                    skipped += size - (range.end - range.start);
                    slots.push(Slot::new(range, hasher));
                }
            }
        }
        reader.step(skipped)?;
        let mut hashed = reader.hash(slots)?.into_iter();
        let ends = pieces.map(PieceIndex::new).zip(known).map(|(piece, known)| {
            known.unwrap_or_else(|| visit.end(piece, hashed.next().flatten()))
        });
        Ok(ends.collect())
    }

    /// Tells of the batch that this thread comes to after this one; at the start of this one too.
    fn announce(&self, number: u32, reader: &Reader<'_>) {
        let first = if number < self.threads { Some(number) } else { None };
        for number in first.into_iter().chain([number.saturating_add(self.threads)]) {
            let pieces = self.pieces(number);
            if !pieces.is_empty() {
                reader.announce(self.bytes(&pieces));
            }
        }
    }
}

/// Pieces in a batch: `most`, unless that leaves threads without work or with half the work of others.
fn batch_size(pieces: usize, threads: u32, most: u32) -> u32 {
    let pieces = u32::try_from(pieces).unwrap_or(u32::MAX);
    let rounds = pieces.div_ceil(threads.saturating_mul(most)).max(1);
    pieces.div_ceil(threads.saturating_mul(rounds)).max(1)
}

/// Runs `work` on so many threads, this one among them, and returns the first error.
fn in_parallel(
    threads: u32,
    work: &(dyn Fn() -> Result<(), ScanError> + Sync),
) -> Result<(), ScanError> {
    thread::scope(|scope| {
        let others: Vec<_> = (1..threads).map(|_| scope.spawn(work)).collect();
        let own = work();
        let others = others.into_iter().map(|thread| match thread.join() {
            Ok(result) => result,
            Err(panic) => std::panic::resume_unwind(panic),
        });
        std::iter::once(own).chain(others.collect::<Vec<_>>()).collect()
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn batches_fill_the_lanes_unless_threads_would_have_nothing_to_do() {
        for (pieces, threads, size) in [
            (0, 2, 1),
            (1, 2, 1),
            (32, 2, 16),
            (33, 2, 9),
            (4096, 2, 16),
            (32, 32, 1),
            (64, 32, 2),
            (160, 32, 5),
        ] {
            assert_eq!(batch_size(pieces, threads, 16), size, "{pieces} pieces, {threads} threads");
        }
    }
}
