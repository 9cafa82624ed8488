//! Reads a torrent's pieces from a storage, on one thread or on several.
//!
//! Each thread takes a run of neighbouring pieces at a time and reads and hashes them itself:
//! the bytes are still in its cache when it hashes them, and no buffer changes hands. Runs are
//! handed out in order, so the disk sees a few nearly sequential streams; the storage is told
//! of the next run ahead of time.
//!
//! Not here: what the bytes are compared with (`check`) or kept for (`create`).

use crate::geometry::Geometry;
use crate::storage::{Storage, StorageError};
use crate::types::PieceIndex;
use std::io::{self, IoSliceMut};
use std::ops::{ControlFlow, Range};
use std::sync::Mutex;
use std::sync::PoisonError;
use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};
use std::thread;

/// Bytes read at a time: large enough to make system calls cheap, small enough that they are
/// still in the core's own cache when they are hashed.
pub(super) const READ_BYTES: usize = 256 << 10;
/// Bytes one thread takes on at a time, unless a piece is longer.
const RUN_BYTES: u32 = 8 << 20;

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

/// What to call about every [`READ_BYTES`] from any of the threads.
pub(super) type OnProgress<'a> = &'a (dyn Fn(Progress) -> ControlFlow<()> + Sync);

/// One scan over a whole torrent.
pub(super) struct Scan<'a> {
    pub(super) storage: &'a dyn Storage,
    pub(super) geometry: &'a Geometry,
    pub(super) progress: OnProgress<'a>,
}

/// One thread's place in a scan.
pub(super) struct Reader<'a> {
    storage: &'a dyn Storage,
    /// Reads ahead up to here.
    end: u64,
    buffer: Vec<u8>,
    /// What of the torrent the start of `buffer` holds.
    held: Range<u64>,
    tick: &'a (dyn Fn(u64) -> ControlFlow<()> + Sync),
}

/// The number of threads meant by `threads`: 0 is one per core.
pub(super) fn thread_count(threads: usize) -> usize {
    match threads {
        0 => thread::available_parallelism().map_or(1, Into::into),
        threads => threads,
    }
}

impl Scan<'_> {
    /// Calls `visit` for every piece and returns what it said, in the order of the pieces.
    pub(super) fn run<T: Send>(
        &self,
        threads: usize,
        visit: &(dyn Fn(&mut Reader<'_>, PieceIndex) -> Result<T, ScanError> + Sync),
    ) -> Result<Vec<T>, ScanError> {
        let pieces_per_run = (RUN_BYTES / self.geometry.piece_length()).max(1);
        let runs = self.geometry.piece_count().div_ceil(pieces_per_run);
        let (next, done) = (AtomicU32::new(0), AtomicU64::new(0));
        let total = self.geometry.total_length();
        let tick = |bytes: u64| {
            let done = done.fetch_add(bytes, Ordering::Relaxed) + bytes;
            (self.progress)(Progress { done, total })
        };
        let results = Mutex::new(Vec::new());
        let work = || {
            let mut reader = Reader::new(self.storage, &tick);
            loop {
                let run = next.fetch_add(1, Ordering::Relaxed);
                if run >= runs {
                    return Ok(());
                }
                let first = run * pieces_per_run;
                let pieces = first..(first + pieces_per_run).min(self.geometry.piece_count());
                let found = reader.run(self.geometry, pieces, visit);
                if found.is_err() {
                    // The others stop at their next run.
                    next.store(runs, Ordering::Relaxed);
                }
                let found = found?;
                results.lock().unwrap_or_else(PoisonError::into_inner).push((first, found));
            }
        };
        let threads = thread_count(threads).min(runs as usize);
        in_parallel(threads, &work)?;
        let mut results = results.into_inner().unwrap_or_else(PoisonError::into_inner);
        results.sort_unstable_by_key(|(first, _)| *first);
        Ok(results.into_iter().flat_map(|(_, found)| found).collect())
    }
}

/// Runs `work` on so many threads, this one among them, and returns the first error.
fn in_parallel(
    threads: usize,
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

impl<'a> Reader<'a> {
    pub(super) fn new(
        storage: &'a dyn Storage,
        tick: &'a (dyn Fn(u64) -> ControlFlow<()> + Sync),
    ) -> Self {
        Self { storage, end: 0, buffer: Vec::new(), held: 0..0, tick }
    }

    /// Visits neighbouring pieces.
    pub(super) fn run<T>(
        &mut self,
        geometry: &Geometry,
        pieces: Range<u32>,
        visit: &dyn Fn(&mut Self, PieceIndex) -> Result<T, ScanError>,
    ) -> Result<Vec<T>, ScanError> {
        let last = PieceIndex::new(pieces.end.saturating_sub(1));
        self.end = geometry.piece_range(last).end;
        let length = self.end - geometry.piece_offset(PieceIndex::new(pieces.start)).min(self.end);
        self.storage.will_read(self.end..self.end.saturating_add(length));
        pieces.map(|piece| visit(self, PieceIndex::new(piece))).collect()
    }

    /// Feeds the bytes of `range` to `sink`; false when some of them are missing.
    pub(super) fn read(
        &mut self,
        range: Range<u64>,
        sink: &mut dyn FnMut(&[u8]),
    ) -> Result<bool, ScanError> {
        let mut at = range.start;
        while at < range.end {
            if !self.held.contains(&at) && !self.fill(at, range.end)? {
                return Ok(false);
            }
            let end = self.held.end.min(range.end);
            let [from, to] = [at, end].map(|at| as_index(at - self.held.start));
            sink(self.buffer.get(from..to).unwrap_or_default());
            self.step(end - at)?;
            at = end;
        }
        Ok(true)
    }

    /// Counts bytes as done.
    pub(super) fn step(&self, bytes: u64) -> Result<(), ScanError> {
        match (self.tick)(bytes) {
            ControlFlow::Continue(()) => Ok(()),
            ControlFlow::Break(()) => Err(ScanError::Stopped),
        }
    }

    /// Reads from `at` on, up to `due` at least in the end; false when bytes before `due` are
    /// missing.
    fn fill(&mut self, at: u64, due: u64) -> Result<bool, ScanError> {
        let ahead = self.end.max(due).min(at.saturating_add(READ_BYTES as u64));
        // What lies after this piece may be missing without harm to it.
        let ends = [ahead, ahead.min(due)];
        for end in ends.iter().take(if ahead > due { 2 } else { 1 }) {
            let length = as_index(end - at);
            self.buffer.resize(length.max(self.buffer.len()), 0);
            self.held = 0..0;
            let into = self.buffer.split_at_mut(length).0;
            match self.storage.read_at(at, &mut [IoSliceMut::new(into)]) {
                Ok(()) => {
                    self.held = at..*end;
                    return Ok(true);
                }
                Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => {}
                Err(error) => return Err(error.into()),
            }
        }
        Ok(false)
    }
}

/// At most [`READ_BYTES`].
fn as_index(length: u64) -> usize {
    usize::try_from(length).unwrap_or(READ_BYTES)
}
