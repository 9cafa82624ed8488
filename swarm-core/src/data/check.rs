//! Which pieces on the disk are what they must be.
//!
//! Nothing is believed that was not hashed; but holes in sparse files are not read: they are
//! zeros, and whether zeros are right is known after hashing one piece of them.

use super::hasher::{PieceHasher, sha1, verify};
use super::scan::{OnProgress, Reader, Scan};
use crate::geometry::{Geometry, Layout};
use crate::metainfo::PieceHash;
use crate::storage::{Presence, Storage};
use crate::types::{Bitfield, FileIndex, PieceIndex};
use std::ops::{ControlFlow, Range};
use std::sync::OnceLock;

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

/// What a file on the disk is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FileState {
    /// All its pieces are good and its length is right.
    Whole,
    /// Its length is right, but a piece of it is not good. When that piece also lies in
    /// another file, the other may be the damaged one.
    Damaged,
    /// It is not there.
    Missing,
    /// Bytes are missing at its end.
    Short,
    /// There are bytes after its end.
    Long,
    /// Its length is right and nothing of it is known to be bad, but a piece of it also lies in
    /// a file that is not all there, so that it cannot be hashed.
    Unknown,
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
    let go_on = |_| ControlFlow::Continue(());
    let checker = Checker { storage, geometry, hashes, zeros: OnceLock::new() };
    let end = range.end.min(geometry.piece_count());
    let range = range.start.min(end)..end;
    Reader::new(storage, &go_on).run(geometry, range, &|reader, piece| checker.check(reader, piece))
}

/// Checks a whole torrent with `threads` threads (0: one per core). Blocks.
///
/// `progress` is called from those threads, several times for each megabyte, and can stop it.
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
    let checker = Checker { storage, geometry, hashes, zeros: OnceLock::new() };
    let scan = Scan { storage, geometry, progress };
    let pieces = scan.run(threads, &|reader, piece| checker.check(reader, piece))?;
    Ok(Report { pieces })
}

/// What every file of a checked torrent is. `length` tells a file's length on the disk; pad
/// files, which are not stored, are whole.
#[must_use]
pub fn files(
    layout: &Layout,
    geometry: &Geometry,
    report: &Report,
    length: &dyn Fn(FileIndex) -> Option<u64>,
) -> Vec<FileState> {
    let state = |(file, extent): (u32, &crate::geometry::Extent)| {
        if extent.pad {
            return FileState::Whole;
        }
        match length(FileIndex::new(file)) {
            None => return FileState::Missing,
            Some(found) if found < extent.length => return FileState::Short,
            Some(found) if found > extent.length => return FileState::Long,
            Some(_) => {}
        }
        let pieces = geometry.pieces_of(extent.offset..extent.offset + extent.length);
        let mut worst = FileState::Whole;
        for piece in pieces {
            match report.pieces.get(PieceIndex::new(piece).as_usize()) {
                Some(PieceState::Good) => {}
                Some(PieceState::Bad) => return FileState::Damaged,
                Some(PieceState::Missing) | None => worst = FileState::Unknown,
            }
        }
        worst
    };
    (0u32..).zip(layout.extents()).map(state).collect()
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
    /// SHA-1 of a whole piece of zeros, once one was met.
    zeros: OnceLock<[u8; 20]>,
}

impl Checker<'_> {
    fn check(&self, reader: &mut Reader<'_>, piece: PieceIndex) -> Result<PieceState, ScanError> {
        let range = self.geometry.piece_range(piece);
        let size = range.end - range.start;
        let Some(expected) = (self.hashes)(piece) else {
            reader.step(size)?;
            return Ok(PieceState::Bad);
        };
        match self.storage.presence(range.clone()) {
            Presence::Data => {}
            Presence::Missing => {
                reader.step(size)?;
                return Ok(PieceState::Missing);
            }
            Presence::Zeros => {
                reader.step(size)?;
                return Ok(state(self.is_zeros(piece, &expected)));
            }
        }
        let mut hasher = PieceHasher::new(&expected);
        let mut seen = 0;
        let whole = reader.read(range, &mut |bytes| {
            hasher.update(bytes);
            seen += bytes.len() as u64;
        })?;
        if whole {
            return Ok(state(hasher.matches()));
        }
        reader.step(size - seen)?;
        Ok(PieceState::Missing)
    }

    fn is_zeros(&self, piece: PieceIndex, expected: &PieceHash) -> bool {
        let size = self.geometry.piece_size(piece);
        match expected {
            PieceHash::V1(hash) if size == self.geometry.piece_length() => {
                self.zeros.get_or_init(|| sha1(zero_segments(size))) == hash
            }
            _ => verify(zero_segments(size), expected),
        }
    }
}

const fn state(good: bool) -> PieceState {
    if good { PieceState::Good } else { PieceState::Bad }
}

fn zero_segments(size: u32) -> impl Iterator<Item = &'static [u8]> {
    const ZEROS: [u8; 4096] = [0; 4096];
    let whole = std::iter::repeat_n(ZEROS.as_slice(), size as usize / ZEROS.len());
    whole.chain(ZEROS.get(..size as usize % ZEROS.len()))
}
