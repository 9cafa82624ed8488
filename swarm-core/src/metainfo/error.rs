//! What is wrong with a torrent: errors make it unusable, warnings do not.

use std::fmt;

use super::urls::UrlRefusal;
use crate::bencode;
use crate::geometry::GeometryError;
use crate::types::Untrusted;

/// Why bytes make no torrent.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum MetainfoError {
    /// Larger than we read.
    #[error("{length} bytes, more than {limit}")]
    TooLarge {
        /// Bytes given.
        length: usize,
        /// [`super::TORRENT_SIZE_MAX`] or [`super::INFO_SIZE_MAX`].
        limit: usize,
    },
    /// Not bencode, or not in the form `info` must have.
    #[error("not valid bencode: {0}")]
    Bencode(#[from] bencode::Error),
    /// A key is absent or its value is of the wrong kind.
    #[error("`{key}` is missing or is no {expected}")]
    Field {
        /// The key.
        key: &'static str,
        /// What its value has to be.
        expected: &'static str,
    },
    /// The outer dictionary holds `info` twice.
    #[error("`info` is there twice")]
    RepeatedInfo,
    /// The metadata is not what the info hash promises.
    #[error("metadata does not match the info hash")]
    HashMismatch,
    /// `meta version` is not one we know.
    #[error("meta version {0} is not supported")]
    MetaVersion(i64),
    /// The lengths make no torrent.
    #[error(transparent)]
    Geometry(#[from] GeometryError),
    /// A v2 piece length that is not a power of two of at least 16 KiB (BEP 52).
    #[error("piece length {0} is not a power of two of at least 16 KiB")]
    PieceLengthV2(u64),
    /// `pieces` does not hold exactly one hash for each piece.
    #[error("{found} bytes of piece hashes where {expected} are due")]
    PieceHashes {
        /// Bytes due.
        expected: u64,
        /// Bytes found.
        found: usize,
    },
    /// `length` and `files` are both there, or neither is (BEP 3).
    #[error("exactly one of `length` and `files` has to be there")]
    LengthOrFiles,
    /// A file's length is missing, negative or beyond any torrent.
    #[error("file {0} has no valid length")]
    FileLength(usize),
    /// A file has no path.
    #[error("file {0} has no valid path")]
    FilePath(usize),
    /// More than [`super::FILES_MAX`] files.
    #[error("more than {limit} files", limit = super::FILES_MAX)]
    TooManyFiles,
    /// No file, or only empty ones.
    #[error("there is no content in it")]
    Empty,
    /// A path of more than [`super::files::DEPTH_MAX`] elements.
    #[error("a path is {0} folders deep, more than {limit}", limit = super::files::DEPTH_MAX)]
    TooDeep(usize),
    /// A path of more than [`super::files::PATH_MAX_BYTES`].
    #[error("a path is {0} bytes long, more than {limit}", limit = super::files::PATH_MAX_BYTES)]
    PathTooLong(usize),
    /// All paths together pass [`super::PATHS_TOTAL_MAX_BYTES`].
    #[error("the paths are too long")]
    PathsTooLong,
    /// More than [`super::files::RENAMES_MAX`] paths collide.
    #[error("more than {limit} paths collide", limit = super::files::RENAMES_MAX)]
    TooManyCollisions,
    /// The v2 file tree is malformed.
    #[error("bad file tree: {0}")]
    FileTree(&'static str),
    /// The two halves of a hybrid describe different files.
    #[error("v1 and v2 descriptions of the files disagree")]
    HybridMismatch,
    /// The piece layers do not fit the file tree.
    #[error("bad piece layers: {0}")]
    PieceLayers(&'static str),
}

/// What is odd about a torrent or a magnet link, but does not make it unusable.
///
/// `Display` is safe for a terminal.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Warning {
    /// Bytes follow the outer dictionary; they are ignored.
    TrailingBytes(usize),
    /// A dictionary inside `info` has keys out of order.
    UnsortedKeys,
    /// There is no usable name; the info hash takes its place.
    NameMissing,
    /// So many paths were changed to be safe and portable.
    PathsChanged(usize),
    /// So many paths were renamed because they collide with others.
    PathsRenamed(usize),
    /// So many symbolic links are in it; none is created.
    LinksSkipped(usize),
    /// So many empty folders are in the v2 file tree; none is created.
    EmptyFolders(usize),
    /// The piece layers of a hybrid are missing: only its v1 half can be verified.
    PieceLayersMissing,
    /// A tracker's URL is not used.
    TrackerRefused {
        /// The URL, perhaps cut.
        url: String,
        /// Why.
        reason: UrlRefusal,
    },
    /// A web seed's URL is not used.
    WebSeedRefused {
        /// The URL, perhaps cut.
        url: String,
        /// Why.
        reason: UrlRefusal,
    },
    /// So many further trackers are not used: too many, or malformed.
    TrackersIgnored(usize),
    /// So many further web seeds are not used: too many, or malformed.
    WebSeedsIgnored(usize),
    /// So many DHT nodes are not used: too many, or malformed.
    NodesIgnored(usize),
    /// So many peer addresses of a magnet link are not used: too many, or malformed.
    PeersIgnored(usize),
    /// HTTP seeds in the style of BEP 17 are not supported.
    HttpSeedsIgnored,
    /// The file selection (`so=`) of a magnet link is malformed and not used.
    SelectionIgnored,
    /// So many topics (`xt=`) of a magnet link are malformed or of another network.
    TopicsIgnored(usize),
}

impl fmt::Display for Warning {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::TrailingBytes(count) => write!(f, "{count} bytes follow the torrent; ignored"),
            Self::UnsortedKeys => f.write_str("keys in `info` are out of order"),
            Self::NameMissing => f.write_str("no usable name; the info hash is used instead"),
            Self::PathsChanged(count) => write!(f, "{count} paths were changed to be safe"),
            Self::PathsRenamed(count) => write!(f, "{count} colliding paths were renamed"),
            Self::LinksSkipped(count) => write!(f, "{count} symbolic links are not created"),
            Self::EmptyFolders(count) => write!(f, "{count} empty folders are not created"),
            Self::PieceLayersMissing => {
                f.write_str("piece layers are missing; only the v1 half can be verified")
            }
            Self::TrackerRefused { url, reason } => {
                write!(f, "tracker {} not used: {reason}", Untrusted::new(url))
            }
            Self::WebSeedRefused { url, reason } => {
                write!(f, "web seed {} not used: {reason}", Untrusted::new(url))
            }
            Self::TrackersIgnored(count) => write!(f, "{count} more trackers not used"),
            Self::WebSeedsIgnored(count) => write!(f, "{count} more web seeds not used"),
            Self::NodesIgnored(count) => write!(f, "{count} DHT nodes not used"),
            Self::PeersIgnored(count) => write!(f, "{count} peer addresses not used"),
            Self::HttpSeedsIgnored => f.write_str("`httpseeds` (BEP 17) are not supported"),
            Self::SelectionIgnored => f.write_str("the file selection is malformed; ignored"),
            Self::TopicsIgnored(count) => write!(f, "{count} unknown topics in the link ignored"),
        }
    }
}
