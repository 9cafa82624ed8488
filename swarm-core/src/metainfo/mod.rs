//! What a torrent is: one validated type from one parser, for `.torrent` files and for
//! metadata that came from peers.
//!
//! A [`Metainfo`] is valid for ever once it exists: its paths are safe, its piece hashes
//! match its lengths, its info hash was taken over the raw bytes of `info`. Both versions
//! share one model: a v2 torrent (BEP 52) is a run of bytes in which pad files align every
//! file to a piece, exactly as the v1 half of a hybrid spells it out.
//!
//! Not here: hashing files for `create` (the hashes are passed in), reading or writing content.

pub mod create;
mod error;
pub mod files;
mod info;
mod magnet;
pub mod merkle;
mod outer;
mod raw;
mod urls;
mod v1;
mod v2;

#[cfg(test)]
mod tests;

use bytes::Bytes;

use crate::bencode::{self, Limits};
use crate::geometry::{Geometry, Layout};
use crate::types::{BLOCK_SIZE, FileIndex, InfoHashes, PieceIndex};
use info::{Info, PIECE_HASH_SIZE};
use merkle::HASH_SIZE;
use outer::Outer;
use v2::Layers;

pub use error::{MetainfoError, Warning};
pub use magnet::{MAGNET_MAX_BYTES, Magnet, MagnetError, PEERS_MAX, PeerAddr, PeerAddrError};
pub use outer::NODES_MAX;
pub use raw::{FILES_MAX, PATHS_TOTAL_MAX_BYTES};
pub use urls::{
    TRACKERS_MAX, URL_MAX_BYTES, UrlRefusal, UrlUse, WEB_SEEDS_MAX, check_url, shown_url,
};

/// Largest `.torrent` that is read, bytes.
pub const TORRENT_SIZE_MAX: usize = 32 << 20;
/// Largest `info` that is taken from peers, bytes.
pub const INFO_SIZE_MAX: usize = 16 << 20;

/// For `info` by itself: one level less, so that it can be put into a `.torrent`.
const INFO_LIMITS: Limits =
    Limits { depth: Limits::METAINFO.depth - 1, tokens: Limits::METAINFO.tokens };

/// A parsed and validated torrent.
#[derive(Clone, Debug)]
pub struct Metainfo {
    info: Info,
    outer: Outer,
    /// v2: the piece layers; only a `.torrent` has them.
    layers: Option<Layers>,
    warnings: Vec<Warning>,
}

/// One file of a torrent.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct File {
    /// Safe path below the torrent's name, one element each; for a single-file torrent the
    /// one element is the name itself.
    pub path: Vec<String>,
    /// Length in bytes; may be 0.
    pub length: u64,
    /// A pad file (BEP 47): zeros that are neither stored nor shown. Also a symbolic link,
    /// of length 0: we do not create any.
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
    /// to `leaves`, a power of two. The pad file after the piece's content is no part of it.
    V2 {
        /// Expected root.
        root: [u8; 32],
        /// Leaves in the full tree under this root.
        leaves: u32,
    },
}

/// Which versions of the protocol a torrent can be transferred by.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Version {
    /// BEP 3.
    V1,
    /// BEP 52.
    V2,
    /// Both: one torrent in two swarms.
    Hybrid,
}

impl Version {
    /// The version of a torrent that has these hashes.
    #[must_use]
    pub const fn of(hashes: &InfoHashes) -> Self {
        match (hashes.get_v1(), hashes.get_v2()) {
            (Some(_), Some(_)) => Self::Hybrid,
            (None, Some(_)) => Self::V2,
            _ => Self::V1,
        }
    }
}

impl Metainfo {
    /// Reads a `.torrent` file.
    ///
    /// # Errors
    /// When it is larger than [`TORRENT_SIZE_MAX`], malformed, ambiguous, or inconsistent.
    pub fn from_torrent(bytes: &[u8]) -> Result<Self, MetainfoError> {
        check_size(bytes, TORRENT_SIZE_MAX)?;
        let (document, rest) = bencode::parse_prefix(bytes, &Limits::METAINFO)?;
        let missing = || MetainfoError::Field { key: "info", expected: "dictionary" };
        let torrent = document.root().as_dict().ok_or_else(missing)?;
        if torrent.iter().filter(|(key, _)| *key == b"info").count() > 1 {
            return Err(MetainfoError::RepeatedInfo);
        }
        let mut warnings = Vec::new();
        if !rest.is_empty() {
            warnings.push(Warning::TrailingBytes(rest.len()));
        }
        let value = torrent.get(b"info").ok_or_else(missing)?;
        let info = info::parse(value, Bytes::copy_from_slice(value.raw()), &mut warnings)?;
        let layers = piece_layers(torrent, &info, &mut warnings)?;
        let outer = Outer::parse(torrent, &mut warnings);
        Ok(Self { info, outer, layers, warnings })
    }

    /// Reads an `info` dictionary that came from peers (BEP 9), after checking that it
    /// hashes to what was asked for.
    ///
    /// Of a v2 torrent, the piece layers are not known then.
    ///
    /// # Errors
    /// When it is larger than [`INFO_SIZE_MAX`], hashes to something else, is malformed,
    /// ambiguous, or inconsistent.
    pub fn from_info(info: Bytes, expected: &InfoHashes) -> Result<Self, MetainfoError> {
        check_size(&info, INFO_SIZE_MAX)?;
        info::check_hashes(&info, expected)?;
        let document = bencode::parse(&info, &INFO_LIMITS)?;
        let mut warnings = Vec::new();
        let parsed = info::parse(document.root(), info.clone(), &mut warnings)?;
        // The bytes hash right, but what is asked for must also be a hash of this version.
        let asked = Version::of(expected);
        let found = Version::of(&parsed.hashes);
        if asked != found && found != Version::Hybrid {
            return Err(MetainfoError::HashMismatch);
        }
        Ok(Self { info: parsed, outer: Outer::default(), layers: None, warnings })
    }

    /// Name of the file or folder: one safe path element.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.info.name
    }

    /// The v1 hash, the v2 hash or both.
    #[must_use]
    pub const fn hashes(&self) -> InfoHashes {
        self.info.hashes
    }

    /// Whether it is a v1 torrent, a v2 torrent, or both.
    #[must_use]
    pub const fn version(&self) -> Version {
        Version::of(&self.info.hashes)
    }

    /// How the content is cut into pieces.
    #[must_use]
    pub const fn geometry(&self) -> &Geometry {
        &self.info.geometry
    }

    /// Where each file lies, pad files included; same order as [`Self::files`].
    #[must_use]
    pub const fn layout(&self) -> &Layout {
        &self.info.layout
    }

    /// The files in torrent order, pad files included.
    #[must_use]
    pub fn files(&self) -> &[File] {
        &self.info.files
    }

    /// The path of a file as the torrent spells it, when the safe one differs: where
    /// content may lie that another program put there. Only ever for reading: it stays
    /// below the folder it is joined to, but two files may have the same.
    #[must_use]
    pub fn spelling(&self, file: FileIndex) -> Option<&[String]> {
        self.info.spellings.get(&file.get()).map(Vec::as_slice)
    }

    /// Bytes of content: all files without the pad files.
    #[must_use]
    pub fn content_length(&self) -> u64 {
        self.info.files.iter().filter(|file| !file.pad).map(|file| file.length).sum()
    }

    /// Whether the torrent is one file and not a folder.
    #[must_use]
    pub const fn is_single_file(&self) -> bool {
        self.info.single
    }

    /// What the piece must hash to. `None` when it does not exist, or, in a v2 torrent that
    /// came from peers, when it belongs to a file of several pieces.
    #[must_use]
    pub fn piece_hash(&self, piece: PieceIndex) -> Option<PieceHash> {
        let Some(pieces) = &self.info.pieces else { return self.piece_hash_v2(piece) };
        let (hashes, _) = pieces.as_chunks::<PIECE_HASH_SIZE>();
        hashes.get(piece.as_usize()).copied().map(PieceHash::V1)
    }

    fn piece_hash_v2(&self, piece: PieceIndex) -> Option<PieceHash> {
        // Each file with content begins a piece, so the piece's first byte tells the file.
        let slice = self.info.layout.slices(self.info.geometry.piece_range(piece)).next()?;
        let root = (*self.info.roots.get(slice.file.as_usize())?)?;
        let length = self.info.files.get(slice.file.as_usize())?.length;
        let piece_length = self.info.geometry.piece_length();
        if length <= u64::from(piece_length) {
            let leaves = u32::try_from(merkle::leaves_of(length)).ok()?;
            return Some(PieceHash::V2 { root, leaves });
        }
        let (layer, _) = self.layers.as_ref()?.get(&root)?.as_chunks::<HASH_SIZE>();
        let at = usize::try_from(slice.offset / u64::from(piece_length)).ok()?;
        Some(PieceHash::V2 { root: *layer.get(at)?, leaves: piece_length / BLOCK_SIZE })
    }

    /// The raw `info` dictionary, served to peers by BEP 9.
    #[must_use]
    pub const fn info_bytes(&self) -> &Bytes {
        &self.info.raw
    }

    /// Whether peers may come from the torrent's own trackers only (BEP 27).
    #[must_use]
    pub const fn is_private(&self) -> bool {
        self.info.private
    }

    /// Trackers in tiers, the first to be tried first (BEP 12). At most [`TRACKERS_MAX`],
    /// each passed by [`check_url`].
    #[must_use]
    pub fn trackers(&self) -> &[Vec<String>] {
        &self.outer.trackers
    }

    /// URLs of web seeds (BEP 19). At most [`WEB_SEEDS_MAX`], each passed by [`check_url`].
    #[must_use]
    pub fn web_seeds(&self) -> &[String] {
        &self.outer.web_seeds
    }

    /// DHT nodes to begin with (BEP 5). At most [`NODES_MAX`].
    #[must_use]
    pub fn nodes(&self) -> &[PeerAddr] {
        &self.outer.nodes
    }

    /// The author's remark. Untrusted and perhaps long: show it through `types::Untrusted`.
    #[must_use]
    pub fn comment(&self) -> Option<&str> {
        self.outer.comment.as_deref()
    }

    /// The program that made the torrent. Untrusted.
    #[must_use]
    pub fn created_by(&self) -> Option<&str> {
        self.outer.created_by.as_deref()
    }

    /// When the torrent was made, in seconds since 1970.
    #[must_use]
    pub const fn creation_date(&self) -> Option<u64> {
        self.outer.creation_date
    }

    /// `source` inside `info`: a tag that gives the same content another hash. Untrusted.
    #[must_use]
    pub fn source(&self) -> Option<&str> {
        self.info.source.as_deref()
    }

    /// What is odd about the torrent.
    #[must_use]
    pub fn warnings(&self) -> &[Warning] {
        &self.warnings
    }

    /// A `.torrent` of what is known: after a magnet link, without trackers and layers.
    /// [`Self::from_torrent`] reads it again, except a v2-only torrent without its layers.
    #[must_use]
    pub fn to_torrent(&self) -> Vec<u8> {
        create::torrent(&self.info.raw, &self.outer, self.layers.as_ref())
    }

    /// A link to this torrent, with its trackers and web seeds.
    #[must_use]
    pub fn magnet(&self) -> Magnet {
        Magnet::from_hashes(self.info.hashes)
            .with_name(&self.info.name)
            .with_trackers(self.outer.trackers.iter().flatten().cloned())
            .with_web_seeds(self.outer.web_seeds.iter().cloned())
    }
}

const fn check_size(bytes: &[u8], limit: usize) -> Result<(), MetainfoError> {
    if bytes.len() > limit {
        return Err(MetainfoError::TooLarge { length: bytes.len(), limit });
    }
    Ok(())
}

/// The piece layers of a v2 torrent. A hybrid may lack them all: its v1 half is enough.
fn piece_layers(
    torrent: bencode::Dict<'_>,
    info: &Info,
    warnings: &mut Vec<Warning>,
) -> Result<Option<Layers>, MetainfoError> {
    if info.roots.is_empty() {
        return Ok(None);
    }
    let piece_length = info.geometry.piece_length();
    let files = info.roots.iter().zip(&info.files);
    let files = || files.clone().filter_map(|(root, file)| Some(((*root)?, file.length)));
    match torrent.get(b"piece layers") {
        Some(value) => {
            let field = MetainfoError::Field { key: "piece layers", expected: "dictionary" };
            v2::layers(value.as_dict().ok_or(field)?, files(), piece_length).map(Some)
        }
        None if files().all(|(_, length)| length <= u64::from(piece_length)) => Ok(None),
        None if info.pieces.is_some() => {
            warnings.push(Warning::PieceLayersMissing);
            Ok(None)
        }
        None => Err(MetainfoError::Field { key: "piece layers", expected: "dictionary" }),
    }
}
