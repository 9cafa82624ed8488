//! Which pieces on the disk are what they must be.

use super::scan;
use crate::geometry::Geometry;
use crate::metainfo::PieceHash;
use crate::storage::{Storage, StorageError};
use crate::types::{Bitfield, PieceIndex};
use std::ops::{ControlFlow, Range};

pub use super::scan::{Progress, ScanError};

/// What a piece on the disk is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PieceState {
    /// It has the right hash.
    Good,
    /// All of it is there, with a wrong hash.
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

impl Report {
    /// The good pieces.
    #[must_use]
    pub fn good(&self) -> Bitfield {
        unimplemented!()
    }
}

/// Checks a range of pieces on this thread. One state per piece, in order.
///
/// # Errors
/// When the storage fails other than by missing bytes.
pub fn pieces(
    _storage: &dyn Storage,
    _geometry: &Geometry,
    _range: Range<u32>,
    _hashes: &(dyn Fn(PieceIndex) -> Option<PieceHash> + Sync),
) -> Result<Vec<PieceState>, StorageError> {
    unimplemented!()
}

/// Checks a whole torrent with `threads` threads (0: one per core). Blocks.
///
/// `progress` is called from those threads, about once a megabyte, and can stop it all.
///
/// # Errors
/// When the storage fails other than by missing bytes, or `progress` said to stop.
pub fn all(
    _storage: &dyn Storage,
    _geometry: &Geometry,
    _hashes: &(dyn Fn(PieceIndex) -> Option<PieceHash> + Sync),
    _threads: usize,
    _progress: &(dyn Fn(Progress) -> ControlFlow<()> + Sync),
) -> Result<Report, ScanError> {
    let _ = scan::placeholder();
    unimplemented!()
}
