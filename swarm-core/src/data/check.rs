//! Which pieces on the disk are what they must be.
//!
//! Nothing is believed that was not hashed; but holes in sparse files are not read: they are
//! zeros, and what zeros hash to is remembered (`zeros`).
//!
//! Not here: what is done about it (`FsStorage::settle`), what that means for whole files.

use super::hasher::{Hashed, PieceHasher, finish};
use super::lanes::Width;
use super::scan::{Begin, OnProgress, Scan, Visit};
use crate::geometry::Geometry;
use crate::metainfo::PieceHash;
use crate::storage::{Presence, Storage};
use crate::types::{Bitfield, PieceIndex};
use std::ops::{ControlFlow, Range};

pub use super::scan::{Progress, ScanError};

/// What a piece on the disk is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PieceState {
    /// It has the right hash.
    Good,
    /// All of it is there, with a wrong hash. Holes are there: they read as zeros.
    Bad,
    /// Some of it is not there.
    Missing,
}

/// What every piece of a torrent on the disk is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Report {
    /// One state per piece.
    pub pieces: Vec<PieceState>,
}

/// What each piece must hash to.
pub type Hashes<'a> = &'a (dyn Fn(PieceIndex) -> Option<PieceHash> + Sync);

/// Checks a range of pieces on this thread. One state per piece, in order.
///
/// # Errors
/// When the storage fails other than by missing bytes.
pub fn pieces(
    storage: &dyn Storage,
    geometry: &Geometry,
    range: Range<u32>,
    hashes: Hashes<'_>,
) -> Result<Vec<PieceState>, ScanError> {
    let end = range.end.min(geometry.piece_count());
    let range = range.start.min(end)..end;
    let go_on = |_| ControlFlow::Continue(());
    let width = Width::fastest();
    let scan = Scan { storage, geometry, pieces: range, width, progress: &go_on };
    scan.run(1, &Checker { storage, geometry, hashes })
}

/// How many pieces to give to one call of [`pieces`]: enough to fill the lanes of the CPU, if
/// they are not longer than 128 MiB together; short ones up to 8 MiB.
#[must_use]
pub fn pieces_per_call(piece_length: u32) -> u32 {
    let piece_length = piece_length.max(1);
    let lanes = u32::try_from(Width::fastest().lanes()).unwrap_or(1);
    let most = CALL_BYTES_MAX / piece_length;
    lanes.min(most).max(CALL_BYTES_MIN / piece_length).max(1)
}

/// Least bytes for one call, as far as a piece allows.
const CALL_BYTES_MIN: u32 = 8 << 20;
/// Most bytes for one call: other jobs wait as long as they take.
const CALL_BYTES_MAX: u32 = 128 << 20;

/// Checks a whole torrent with `threads` threads (0: one per core). Blocks.
///
/// `progress` is called from those threads, about once for each megabyte, and can stop it.
///
/// # Errors
/// When the storage fails other than by missing bytes, or `progress` said to stop.
pub fn all(
    storage: &dyn Storage,
    geometry: &Geometry,
    hashes: Hashes<'_>,
    threads: usize,
    progress: OnProgress<'_>,
) -> Result<Report, ScanError> {
    all_in(Width::fastest(), storage, geometry, hashes, threads, progress)
}

/// [`all`] in lanes of this width.
pub(super) fn all_in(
    width: Width,
    storage: &dyn Storage,
    geometry: &Geometry,
    hashes: Hashes<'_>,
    threads: usize,
    progress: OnProgress<'_>,
) -> Result<Report, ScanError> {
    let checker = Checker { storage, geometry, hashes };
    let scan = Scan { storage, geometry, pieces: 0..geometry.piece_count(), width, progress };
    let pieces = scan.run(threads, &checker)?;
    Ok(Report { pieces })
}

impl Report {
    /// The good pieces.
    #[must_use]
    pub fn good(&self) -> Bitfield {
        let count = u32::try_from(self.pieces.len()).unwrap_or(u32::MAX);
        let mut good = Bitfield::none(count);
        for (piece, state) in (0..count).zip(&self.pieces) {
            if *state == PieceState::Good {
                good.insert(PieceIndex::new(piece));
            }
        }
        good
    }

    /// Pieces in this state.
    #[must_use]
    pub fn count(&self, state: PieceState) -> usize {
        self.pieces.iter().filter(|piece| **piece == state).count()
    }
}

struct Checker<'a> {
    storage: &'a dyn Storage,
    geometry: &'a Geometry,
    hashes: Hashes<'a>,
}

impl Visit for Checker<'_> {
    type Found = PieceState;

    fn side_by_side(&self, width: Width) -> usize {
        match (self.hashes)(PieceIndex::new(0)) {
            // The leaves of one piece are enough.
            Some(PieceHash::V2 { .. }) => 1,
            _ => width.lanes(),
        }
    }

    fn begin(&self, piece: PieceIndex) -> Begin<PieceState> {
        let mut range = self.geometry.piece_range(piece);
        let Some(expected) = (self.hashes)(piece) else { return Begin::Known(PieceState::Bad) };
        let presence = self.storage.presence(range.clone());
        if let PieceHash::V2 { .. } = expected {
            range.end = self.storage.content_end(range.clone());
        }
        let mut hasher = PieceHasher::like(&expected);
        match presence {
            Presence::Missing => Begin::Known(PieceState::Missing),
            Presence::Data => Begin::Hash(range, hasher),
            Presence::Zeros => {
                hasher.skip_zeros(range.end - range.start);
                let hashed = finish(Width::One, vec![hasher]).pop();
                Begin::Known(self.end(piece, hashed))
            }
        }
    }

    fn end(&self, piece: PieceIndex, hashed: Option<Hashed>) -> PieceState {
        let Some(hashed) = hashed else { return PieceState::Missing };
        let is_good = (self.hashes)(piece).is_some_and(|expected| hashed.is(&expected));
        if is_good { PieceState::Good } else { PieceState::Bad }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::data::hasher::sha1;
    use crate::storage::MemStorage;
    use crate::storage::fault::{FaultStorage, Plan};
    use std::io::IoSlice;
    use std::sync::Mutex;

    fn content(length: usize) -> Vec<u8> {
        (0..length).map(|at| u8::try_from(at % 241).unwrap()).collect()
    }

    fn hashes(content: &[u8], piece_length: usize) -> Vec<PieceHash> {
        content.chunks(piece_length).map(|piece| PieceHash::V1(sha1([piece]))).collect()
    }

    fn check(storage: &dyn Storage, hashes: &[PieceHash], geometry: &Geometry) -> Vec<PieceState> {
        let hash = |piece: PieceIndex| hashes.get(piece.as_usize()).copied();
        let seen = Mutex::new(Vec::new());
        let progress = |at| {
            seen.lock().unwrap().push(at);
            ControlFlow::Continue(())
        };
        let report = all(storage, geometry, &hash, 3, &progress).unwrap();
        let total = geometry.total_length();
        let mut seen = seen.into_inner().unwrap();
        seen.sort_unstable_by_key(|at: &Progress| at.done);
        assert_eq!(seen.last(), Some(&Progress { done: total, total }), "progress ends at the end");
        let range = 0..geometry.piece_count() + 3;
        assert_eq!(pieces(storage, geometry, range, &hash).unwrap(), report.pieces);
        for width in [Width::One, Width::widest()] {
            let go_on = |_| ControlFlow::Continue(());
            let again = all_in(width, storage, geometry, &hash, 2, &go_on).unwrap();
            assert_eq!(again, report, "{width:?}");
        }
        report.pieces
    }

    #[test]
    fn good_bad_and_missing_pieces_are_told_apart_at_any_piece_length() {
        // Shorter than a read, longer than a read, longer than a run, and the odd ones.
        for (piece_length, length) in [
            (1, 9),
            (1000, 5_500_500),
            (300_000, 2_000_000),
            (9 << 20, 20 << 20),
            (1 << 18, 3 << 18),
        ] {
            let geometry = Geometry::new(piece_length, length).unwrap();
            let size = usize::try_from(length).unwrap();
            let content = content(size);
            let hashes = hashes(&content, usize::try_from(piece_length).unwrap());
            let storage = MemStorage::new(size);
            let mut expected = vec![PieceState::Missing; hashes.len()];
            for piece in geometry.pieces() {
                let range = geometry.piece_range(piece);
                let bytes = &content
                    [usize::try_from(range.start).unwrap()..usize::try_from(range.end).unwrap()];
                match piece.get() % 4 {
                    0 => continue,
                    1 => {
                        storage
                            .write_at(range.start, &[IoSlice::new(&vec![99; bytes.len()])])
                            .unwrap();
                        expected[piece.as_usize()] = PieceState::Bad;
                    }
                    _ => {
                        storage.write_at(range.start, &[IoSlice::new(bytes)]).unwrap();
                        expected[piece.as_usize()] = PieceState::Good;
                    }
                }
            }
            assert_eq!(check(&storage, &hashes, &geometry), expected, "{piece_length}");
        }
    }

    /// All holes, as a sparse file is; reading it is a failure.
    #[derive(Debug)]
    struct Hollow;

    impl Storage for Hollow {
        fn read_at(
            &self,
            _: u64,
            _: &mut [std::io::IoSliceMut<'_>],
        ) -> Result<(), crate::storage::StorageError> {
            panic!("a hole was read")
        }
        fn write_at(&self, _: u64, _: &[IoSlice<'_>]) -> Result<(), crate::storage::StorageError> {
            Ok(())
        }
        fn presence(&self, _: Range<u64>) -> Presence {
            Presence::Zeros
        }
        fn sync(&self) -> Result<(), crate::storage::StorageError> {
            Ok(())
        }
        fn finish(&self) -> Result<(), crate::storage::StorageError> {
            Ok(())
        }
    }

    #[test]
    fn holes_are_zeros_and_are_not_read() {
        for piece_length in [1 << 14, 10_000] {
            let geometry = Geometry::new(piece_length, 100_000).unwrap();
            let mut content = vec![0; 100_000];
            content[50_000] = 1;
            let hashes = hashes(&content, usize::try_from(piece_length).unwrap());
            let states = check(&Hollow, &hashes, &geometry);
            let other = usize::try_from(50_000 / piece_length).unwrap();
            for (piece, state) in states.iter().enumerate() {
                let expected = if piece == other { PieceState::Bad } else { PieceState::Good };
                assert_eq!(*state, expected);
            }
        }
    }

    #[test]
    fn a_call_is_as_long_as_lanes_want_it_and_no_longer_than_others_can_wait() {
        for piece_length in [1, 1 << 14, 1 << 20, 1 << 24, 1 << 27, 1 << 29] {
            let pieces = pieces_per_call(piece_length);
            assert!(pieces >= 1);
            assert!(pieces == 1 || pieces * piece_length <= CALL_BYTES_MAX);
            assert!(u64::from(pieces) * u64::from(piece_length) >= u64::from(CALL_BYTES_MIN));
        }
    }

    #[test]
    fn it_stops_when_told_and_on_a_failing_disk() {
        let geometry = Geometry::new(1 << 16, 64 << 20).unwrap();
        let storage = MemStorage::holding(vec![0; 64 << 20]);
        let hash = |_| Some(PieceHash::V1([0; 20]));
        let stop = |at: Progress| match at.done > 1 << 20 {
            true => ControlFlow::Break(()),
            false => ControlFlow::Continue(()),
        };
        assert!(matches!(all(&storage, &geometry, &hash, 2, &stop), Err(ScanError::Stopped)));
        let plan = Plan { fail_from: Some(3), ..Plan::default() };
        let storage = FaultStorage::new(storage, plan);
        let go_on = |_| ControlFlow::Continue(());
        assert!(matches!(all(&storage, &geometry, &hash, 2, &go_on), Err(ScanError::Storage(_))));
        assert!(storage.operations() < 9, "no read follows a failure");
    }

    #[test]
    fn a_piece_nobody_knows_the_hash_of_is_not_good() {
        let geometry = Geometry::new(10, 20).unwrap();
        let storage = MemStorage::holding(vec![0; 20]);
        let states = pieces(&storage, &geometry, 0..2, &|_| None).unwrap();
        let report = Report { pieces: states };
        assert!(report.good().is_none());
        assert_eq!(report.count(PieceState::Bad), 2);
    }
}
