//! The neighbouring pieces that one thread reads and hashes side by side.
//!
//! Each step reads the next part of every piece into one buffer that stays in the core's own
//! cache, and feeds the parts to the lanes. Neighbours whose parts lie end to end are read with one
//! call. A piece that starts with zeros is not hashed before something else comes.
//!
//! Reading is told ahead of time: small batches one after another, in the order of the disk; of long pieces a window
//! of each, because all of them would not fit the page cache.
//!
//! Not here: which pieces, on how many threads (`scan`).

use super::hasher::{Hashed, PieceHasher, feed, finish};
use super::lanes::Width;
use super::scan::ScanError;
use super::zeros::are_zeros;
use crate::storage::Storage;
use crate::types::BLOCK_SIZE;
use std::io::{self, IoSliceMut};
use std::ops::{ControlFlow, Range};
use std::slice;

/// Bytes of each piece read in one step when every lane is busy. Measured: 8 to 32 KiB cost the same, 64
/// KiB a twentieth more, 128 KiB a tenth.
const LANE_BYTES: usize = 32 << 10;
/// Least bytes read in one step, to make system calls cheap.
const STEP_BYTES_MIN: usize = 256 << 10;
/// Bytes told to be read ahead for one batch. From 4 MiB for each of 16 pieces on, a disk
/// that has to seek between them still reads most of the time.
const AHEAD_BYTES: u64 = 64 << 20;

/// A line of the cache, bytes.
const LINE_BYTES: usize = 64;

/// One thread's place in a scan.
pub(super) struct Reader<'a> {
    storage: &'a dyn Storage,
    width: Width,
    ahead_bytes: u64,
    buffer: Vec<u8>,
    /// Counts bytes as done; says whether to go on.
    tick: &'a (dyn Fn(u64) -> ControlFlow<()> + Sync),
}

/// A piece to be read and hashed.
pub(super) struct Slot {
    /// What is read, of the torrent.
    range: Range<u64>,
    /// Where to go on.
    next: u64,
    hasher: PieceHasher,
    state: SlotState,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum SlotState {
    /// Nothing but zeros so far; the hasher knows nothing of them.
    Zeros,
    Data,
    Missing,
}

/// What of a piece is read in one step.
struct Part<'a> {
    slot: &'a mut Slot,
    bytes: &'a mut [u8],
}

/// Bytes that one thread reads in one step, and holds.
pub(super) const fn step_bytes(width: Width) -> usize {
    let bytes = LANE_BYTES * width.lanes();
    if bytes > STEP_BYTES_MIN { bytes } else { STEP_BYTES_MIN }
}

impl<'a> Reader<'a> {
    pub(super) fn new(
        storage: &'a dyn Storage,
        width: Width,
        tick: &'a (dyn Fn(u64) -> ControlFlow<()> + Sync),
    ) -> Self {
        Self { storage, width, ahead_bytes: AHEAD_BYTES, buffer: Vec::new(), tick }
    }

    /// Counts bytes as done.
    pub(super) fn step(&self, bytes: u64) -> Result<(), ScanError> {
        match (self.tick)(bytes) {
            ControlFlow::Continue(()) => Ok(()),
            ControlFlow::Break(()) => Err(ScanError::Stopped),
        }
    }

    /// Says that a range will be read soon, unless it is too long for the page cache.
    pub(super) fn announce(&self, range: Range<u64>) {
        if range.end - range.start <= self.ahead_bytes {
            self.storage.will_read(range);
        }
    }

    /// Reads and hashes all of them; `None` where bytes are missing.
    pub(super) fn hash(&mut self, mut slots: Vec<Slot>) -> Result<Vec<Option<Hashed>>, ScanError> {
        let share = share(step_bytes(self.width), slots.len());
        let window = self.window(&slots);
        while slots.iter().any(Slot::is_open) {
            if let Some(window) = window {
                self.announce_windows(&slots, window, share as u64);
            }
            self.take_step(&mut slots, share)?;
        }
        let is_whole: Vec<_> = slots.iter().map(|slot| slot.state != SlotState::Missing).collect();
        let hashers = slots.into_iter().filter_map(Slot::into_hasher).collect();
        let mut hashed = finish(self.width, hashers).into_iter();
        Ok(is_whole.into_iter().map(|whole| if whole { hashed.next() } else { None }).collect())
    }

    /// How much of each piece is announced at a time; `None` when the whole batch was.
    fn window(&self, slots: &[Slot]) -> Option<u64> {
        let start = slots.first()?.range.start;
        let length = slots.last()?.range.end - start;
        (length > self.ahead_bytes).then_some(self.ahead_bytes / slots.len() as u64)
    }

    /// Before a piece gets to the next window, the one after it is announced.
    fn announce_windows(&self, slots: &[Slot], window: u64, share: u64) {
        for slot in slots.iter().filter(|slot| slot.is_open()) {
            let done = slot.next - slot.range.start;
            let start = slot.next - done % window + if done == 0 { 0 } else { window };
            let end = start + if done == 0 { 2 * window } else { window };
            if done % window < share && start < slot.range.end {
                self.storage.will_read(start..end.min(slot.range.end));
            }
        }
    }

    /// One step of every piece that is not at its end.
    fn take_step(&mut self, slots: &mut [Slot], share: usize) -> Result<(), ScanError> {
        let mut room = lines_of(&mut self.buffer, step_bytes(self.width));
        let mut parts = Vec::with_capacity(slots.len());
        for slot in slots.iter_mut().filter(|slot| slot.is_open()) {
            let length = as_index(slot.range.end - slot.next).min(share).min(room.len());
            let (bytes, rest) = room.split_at_mut(length);
            room = rest;
            parts.push(Part { slot, bytes });
        }
        for run in parts.chunk_by_mut(|left, right| left.end() == right.slot.next) {
            read(self.storage, run)?;
        }
        let mut done = 0;
        let mut feeds: Vec<(&mut PieceHasher, &[u8])> = Vec::with_capacity(parts.len());
        for Part { slot, bytes } in parts {
            done += slot.advance(bytes);
            if slot.state == SlotState::Data {
                feeds.push((&mut slot.hasher, bytes));
            }
        }
        feed(self.width, feeds.iter_mut().map(|(h, bytes)| (&mut **h, slice::from_ref(bytes))));
        self.step(done)
    }
}

impl Slot {
    /// A piece of which this range of the torrent is read.
    pub(super) const fn new(range: Range<u64>, hasher: PieceHasher) -> Self {
        Self { next: range.start, range, hasher, state: SlotState::Zeros }
    }

    fn is_open(&self) -> bool {
        self.state != SlotState::Missing && self.next < self.range.end
    }

    /// Takes note of bytes read, or of their absence; how many more bytes are done.
    fn advance(&mut self, bytes: &[u8]) -> u64 {
        if self.state == SlotState::Missing {
            return self.range.end - self.next;
        }
        if self.state == SlotState::Zeros && !are_zeros(bytes) {
            self.hasher.skip_zeros(self.next - self.range.start);
            self.state = SlotState::Data;
        }
        self.next += bytes.len() as u64;
        bytes.len() as u64
    }

    fn into_hasher(mut self) -> Option<PieceHasher> {
        match self.state {
            SlotState::Missing => return None,
            SlotState::Data => {}
            SlotState::Zeros => self.hasher.skip_zeros(self.range.end - self.range.start),
        }
        Some(self.hasher)
    }
}

impl Part<'_> {
    fn end(&self) -> u64 {
        self.slot.next + self.bytes.len() as u64
    }
}

/// Fills parts that lie end to end; where bytes are missing, says so of each part that lacks some.
fn read(storage: &dyn Storage, run: &mut [Part<'_>]) -> Result<(), ScanError> {
    let Some(start) = run.first().map(|part| part.slot.next) else { return Ok(()) };
    let mut bufs: Vec<_> = run.iter_mut().map(|part| IoSliceMut::new(part.bytes)).collect();
    match (storage.read_at(start, &mut bufs), run) {
        (Ok(()), _) => Ok(()),
        (Err(error), _) if error.kind() != io::ErrorKind::UnexpectedEof => Err(error.into()),
        (Err(_), [part]) => {
            part.slot.state = SlotState::Missing;
            Ok(())
        }
        (Err(_), run) => run.chunks_mut(1).try_for_each(|part| read(storage, part)),
    }
}

/// So many bytes of a buffer, from the start of a cache line on: lines that lie across two make the
/// lanes a fourteenth slower.
fn lines_of(buffer: &mut Vec<u8>, length: usize) -> &mut [u8] {
    buffer.resize(length + LINE_BYTES, 0);
    let skip = buffer.as_ptr().align_offset(LINE_BYTES).min(LINE_BYTES);
    buffer.split_at_mut(skip).1.split_at_mut(length).0
}

/// Bytes of each of so many pieces in one step: whole blocks, as far as that goes.
fn share(step_bytes: usize, pieces: usize) -> usize {
    let share = step_bytes / pieces.max(1);
    let blocks = share - share % BLOCK_SIZE as usize;
    if blocks > 0 { blocks } else { share.max(1) }
}

/// At most what a step holds is asked for.
fn as_index(length: u64) -> usize {
    usize::try_from(length).unwrap_or(usize::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::storage::{MemStorage, Presence, StorageError};
    use std::io::IoSlice;
    use std::sync::Mutex;

    /// Remembers what was announced and read, in order.
    #[derive(Debug)]
    struct Witness {
        content: MemStorage,
        seen: Mutex<Vec<Seen>>,
    }

    #[derive(Clone, Debug)]
    enum Seen {
        Announced(Range<u64>),
        Read(Range<u64>),
    }

    impl Witness {
        fn new(length: usize) -> Self {
            Self { content: MemStorage::holding(vec![7; length]), seen: Mutex::default() }
        }

        fn note(&self, seen: Seen) {
            self.seen.lock().unwrap().push(seen);
        }
    }

    impl Storage for Witness {
        fn read_at(&self, offset: u64, bufs: &mut [IoSliceMut<'_>]) -> Result<(), StorageError> {
            let length: usize = bufs.iter().map(|buf| buf.len()).sum();
            self.note(Seen::Read(offset..offset + length as u64));
            self.content.read_at(offset, bufs)
        }
        fn write_at(&self, _: u64, _: &[IoSlice<'_>]) -> Result<(), StorageError> {
            Ok(())
        }
        fn presence(&self, _: Range<u64>) -> Presence {
            Presence::Data
        }
        fn will_read(&self, range: Range<u64>) {
            self.note(Seen::Announced(range));
        }
        fn sync(&self) -> Result<(), StorageError> {
            Ok(())
        }
        fn finish(&self) -> Result<(), StorageError> {
            Ok(())
        }
    }

    fn slots(count: u64, length: u64) -> Vec<Slot> {
        let ranges = (0..count).map(|piece| piece * length..(piece + 1) * length);
        ranges.map(|range| Slot::new(range, PieceHasher::v1())).collect()
    }

    fn go_on(_: u64) -> ControlFlow<()> {
        ControlFlow::Continue(())
    }

    #[test]
    fn a_thread_holds_one_step_however_long_its_pieces_are() {
        let storage = Witness::new(8 << 20);
        for (count, length) in [(1, 8 << 20), (5, 1 << 20), (16, 1 << 19), (256, 1 << 10)] {
            storage.seen.lock().unwrap().clear();
            let mut reader = Reader::new(&storage, Width::widest(), &go_on);
            assert!(reader.hash(slots(count, length)).unwrap().iter().all(Option::is_some));
            assert!(reader.buffer.len() <= step_bytes(Width::widest()) + LINE_BYTES);
            let seen = storage.seen.lock().unwrap();
            let reads = seen.iter().filter(|seen| matches!(seen, Seen::Read(_)));
            let step = step_bytes(Width::widest()) as u64;
            assert!(reads.count() as u64 <= count * length.div_ceil(step / count / 2));
        }
        assert!(step_bytes(Width::widest()) <= 1 << 19);
    }

    #[test]
    fn neighbours_that_fit_one_step_are_read_at_once() {
        let storage = Witness::new(1 << 20);
        let mut reader = Reader::new(&storage, Width::widest(), &go_on);
        reader.hash(slots(64, 1 << 12)).unwrap();
        assert!(
            matches!(storage.seen.lock().unwrap().as_slice(), [Seen::Read(all)] if *all == (0..1 << 18))
        );
    }

    #[test]
    fn of_long_pieces_a_window_each_is_announced_before_it_is_read_and_not_much_more() {
        let storage = Witness::new(4 << 20);
        let mut reader = Reader::new(&storage, Width::widest(), &go_on);
        reader.ahead_bytes = 1 << 20;
        reader.hash(slots(8, 1 << 19)).unwrap();
        let (mut announced, mut read) = (vec![false; 4 << 10], 0);
        for seen in storage.seen.lock().unwrap().iter().cloned() {
            let kibibytes = |range: Range<u64>| {
                usize::try_from(range.start >> 10).unwrap()
                    ..usize::try_from(range.end >> 10).unwrap()
            };
            match seen {
                Seen::Announced(range) => announced[kibibytes(range)].fill(true),
                Seen::Read(range) => {
                    read += kibibytes(range.clone()).len();
                    assert!(announced[kibibytes(range)].iter().all(|told| *told));
                }
            }
            let ahead = announced.iter().filter(|told| **told).count() - read;
            assert!(ahead <= 3 << 10, "{ahead} KiB");
        }
        assert_eq!(read, 4 << 10);
    }

    #[test]
    fn bytes_that_are_missing_cost_only_their_own_piece() {
        let storage = Witness::new(10_000);
        let mut reader = Reader::new(&storage, Width::widest(), &go_on);
        let hashed = reader.hash(slots(12, 1000)).unwrap();
        let whole: Vec<_> = hashed.iter().map(Option::is_some).collect();
        assert_eq!(whole, [&[true; 10][..], &[false; 2]].concat());
    }
}
