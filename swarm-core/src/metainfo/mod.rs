//! What a torrent is: one validated type from one parser, for `.torrent` files and for
//! metadata that came from peers.
//!
//! A [`Metainfo`] is valid for ever once it exists: its paths are safe, its piece hashes
//! match its lengths, its info hash was taken over the raw bytes of `info`.
//!
//! Not here: hashing files for `create` (the hashes are passed in), reading or writing content.

use crate::geometry::{Geometry, Layout};
use crate::types::{InfoHashes, PieceIndex};
use bytes::Bytes;

/// A parsed and validated torrent.
#[derive(Clone, Debug)]
pub struct Metainfo {
    _private: (),
}

/// A magnet link (BEP 9, BEP 53).
#[derive(Clone, Debug)]
pub struct Magnet {
    _private: (),
}

/// One file of a torrent.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct File {
    /// Safe path below the torrent's name, one element each; for a single-file torrent the
    /// one element is the name itself.
    pub path: Vec<String>,
    /// Length in bytes; may be 0.
    pub length: u64,
    /// A pad file (BEP 47): zeros that are neither stored nor shown.
    pub pad: bool,
    /// BEP 47 `x`: the file asks to be executable. We only show it.
    pub executable: bool,
}

/// What a piece must hash to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum PieceHash {
    /// SHA-1 of the whole piece (BEP 3).
    V1([u8; 20]),
    /// Root of a SHA-256 Merkle tree over 16 KiB leaves (BEP 52), padded with zero leaves
    /// to `leaves`, a power of two.
    V2 {
        /// Expected root.
        root: [u8; 32],
        /// Leaves in the full tree under this root.
        leaves: u32,
    },
}

impl Metainfo {
    /// Name of the file or folder: one safe path element.
    #[must_use]
    pub fn name(&self) -> &str {
        unimplemented!()
    }
    /// The v1 hash, the v2 hash or both.
    #[must_use]
    pub fn hashes(&self) -> InfoHashes {
        unimplemented!()
    }
    /// How the content is cut into pieces.
    #[must_use]
    pub fn geometry(&self) -> &Geometry {
        unimplemented!()
    }
    /// Where each file lies, pad files included; same order as [`Self::files`].
    #[must_use]
    pub fn layout(&self) -> &Layout {
        unimplemented!()
    }
    /// The files in torrent order, pad files included.
    #[must_use]
    pub fn files(&self) -> &[File] {
        unimplemented!()
    }
    /// Whether the torrent is one file and not a folder.
    #[must_use]
    pub fn is_single_file(&self) -> bool {
        unimplemented!()
    }
    /// What the piece must hash to; `None` when it does not exist.
    #[must_use]
    pub fn piece_hash(&self, _piece: PieceIndex) -> Option<PieceHash> {
        unimplemented!()
    }
    /// The raw `info` dictionary, served to peers by BEP 9.
    #[must_use]
    pub fn info_bytes(&self) -> &Bytes {
        unimplemented!()
    }
    /// Whether peers may come from the torrent's own trackers only (BEP 27).
    #[must_use]
    pub fn is_private(&self) -> bool {
        unimplemented!()
    }
}
