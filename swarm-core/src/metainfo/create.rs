//! Writes a `.torrent`: v1, v2 or hybrid, the same bytes for the same input.
//!
//! Pure: the caller lists the files with [`sort_files`], hashes them as
//! [`MetainfoBuilder::layout`] lays them out, and passes the hashes in. What is built is
//! read by our own parser before it is handed out.
//!
//! Not here: reading files, the clock.

use std::collections::BTreeMap;

use super::error::MetainfoError;
use super::merkle::FileRoots;
use super::outer::Outer;
use super::urls::{UrlRefusal, UrlUse, check_url};
use super::v2::Layers;
use super::{Metainfo, PeerAddr, Version, files, info};
use crate::bencode::{DictEncoder, Encoder, encode_dict};
use crate::geometry::Layout;

/// Shortest piece that is chosen, bytes.
const PIECE_LENGTH_CHOSEN_MIN: u32 = 16 << 10;
/// Longest piece that is chosen, bytes.
const PIECE_LENGTH_CHOSEN_MAX: u32 = 16 << 20;
/// From this length on a piece is worth so much more than the news of it that more pieces
/// are affordable, bytes.
const PIECE_LENGTH_LARGE: u32 = 1 << 20;
/// Pieces that a torrent of small pieces should not have more of.
const SMALL_PIECES_AIMED_MAX: u64 = 960;
/// Pieces that a torrent of large pieces should not have more of.
const LARGE_PIECES_AIMED_MAX: u64 = 2000;

/// A file to put into a torrent. Ordered by path.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct FileEntry {
    /// Path below the torrent's name, one element each.
    pub path: Vec<String>,
    /// Length in bytes; may be 0.
    pub length: u64,
}

/// What the content hashes to.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum ContentHashes {
    /// The SHA-1 of each piece, end to end (BEP 3).
    V1(Vec<u8>),
    /// The Merkle roots of each file, in file order (BEP 52).
    V2(Vec<FileRoots>),
    /// Both. The v1 pieces are those of the run of bytes with its padding.
    Hybrid {
        /// The SHA-1 of each piece, end to end.
        pieces: Vec<u8>,
        /// The Merkle roots of each file.
        files: Vec<FileRoots>,
    },
}

/// Why a torrent cannot be built.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum CreateError {
    /// The files are not sorted, or two have the same path, or one is another's folder.
    #[error("files are not in order, or collide, at file {0}")]
    Order(usize),
    /// An element of a path, or the name, cannot be part of a path.
    #[error("{0:?} cannot be a name in a torrent")]
    Path(String),
    /// A URL that no client should use.
    #[error("URL {url:?}: {reason}")]
    Url {
        /// The URL.
        url: String,
        /// What is wrong with it.
        reason: UrlRefusal,
    },
    /// The number of roots is not the number of files.
    #[error("{found} file roots where {expected} are due")]
    Roots {
        /// Files given.
        expected: usize,
        /// Roots given.
        found: usize,
    },
    /// The result would be no valid torrent.
    #[error(transparent)]
    Invalid(#[from] MetainfoError),
}

/// Collects what goes into a `.torrent`.
#[derive(Clone, Debug)]
pub struct MetainfoBuilder {
    name: String,
    piece_length: u32,
    content: Content,
    outer: Outer,
    source: Option<String>,
    private: bool,
}

#[derive(Clone, Debug)]
enum Content {
    File(u64),
    Folder(Vec<FileEntry>),
}

/// Puts files in the order in which a torrent lists them: by the bytes of their paths,
/// element by element, as a v2 file tree must (BEP 52).
pub fn sort_files(files: &mut [FileEntry]) {
    files.sort();
}

/// A piece length for so many bytes: a power of two from 16 KiB to 16 MiB, chosen with a
/// crowd in mind.
///
/// A peer can pass a piece on once it has all of it, so a crowd of `N` that uploads to a few
/// at a time loses about `log2(N) / pieces` of its time to waiting: about 500 pieces keep
/// that small for a thousand peers. Every piece is also announced to every neighbour, which
/// for pieces of 16 KiB can cost a tenth of the line. So content up to 500 MB gets 480 to
/// 960 pieces, more content up to 2,000 of at least 1 MiB; from 32 GiB on pieces stay at
/// 16 MiB. A torrent up to there has at most 40 KB of piece hashes, which a magnet link has
/// to fetch before anything else.
#[must_use]
pub fn choose_piece_length(total_bytes: u64) -> u32 {
    let mut length = PIECE_LENGTH_CHOSEN_MIN;
    while length < PIECE_LENGTH_CHOSEN_MAX {
        let aimed_max = if length < PIECE_LENGTH_LARGE {
            SMALL_PIECES_AIMED_MAX
        } else {
            LARGE_PIECES_AIMED_MAX
        };
        if total_bytes.div_ceil(u64::from(length)) <= aimed_max {
            break;
        }
        length *= 2;
    }
    length
}

impl MetainfoBuilder {
    /// A torrent of one file.
    #[must_use]
    pub fn file(name: impl Into<String>, length: u64, piece_length: u32) -> Self {
        Self::new(name.into(), Content::File(length), piece_length)
    }

    /// A torrent of a folder. The files have to be sorted, see [`sort_files`].
    #[must_use]
    pub fn folder(name: impl Into<String>, files: Vec<FileEntry>, piece_length: u32) -> Self {
        Self::new(name.into(), Content::Folder(files), piece_length)
    }

    fn new(name: String, content: Content, piece_length: u32) -> Self {
        let outer = Outer::default();
        Self { name, piece_length, content, outer, source: None, private: false }
    }

    /// Adds a tier of trackers after those before (BEP 12).
    #[must_use]
    pub fn tracker_tier(mut self, urls: impl IntoIterator<Item = String>) -> Self {
        let tier: Vec<String> = urls.into_iter().collect();
        self.outer.trackers.extend(Some(tier).filter(|tier| !tier.is_empty()));
        self
    }

    /// Adds a web seed (BEP 19).
    #[must_use]
    pub fn web_seed(mut self, url: impl Into<String>) -> Self {
        self.outer.web_seeds.push(url.into());
        self
    }

    /// Restricts peers to those from the torrent's trackers (BEP 27).
    #[must_use]
    pub const fn private(mut self, private: bool) -> Self {
        self.private = private;
        self
    }

    /// Adds a remark.
    #[must_use]
    pub fn comment(mut self, comment: impl Into<String>) -> Self {
        self.outer.comment = Some(comment.into());
        self
    }

    /// Names the program that makes the torrent, as `swarm 0.1.0`.
    #[must_use]
    pub fn created_by(mut self, program: impl Into<String>) -> Self {
        self.outer.created_by = Some(program.into());
        self
    }

    /// Says when the torrent is made, in seconds since 1970.
    #[must_use]
    pub const fn creation_date(mut self, seconds: u64) -> Self {
        self.outer.creation_date = Some(seconds);
        self
    }

    /// Adds a tag to `info`, which gives the same content another hash.
    #[must_use]
    pub fn source(mut self, source: impl Into<String>) -> Self {
        self.source = Some(source.into());
        self
    }

    /// Where each file lies in the run of bytes that is hashed in pieces: end to end for
    /// v1, with pad files of zeros in between for v2 and hybrid.
    #[must_use]
    pub fn layout(&self, version: Version) -> Layout {
        let parts = self.parts(version);
        Layout::new(parts.iter().map(|part| match part {
            Part::File(length, _) => (*length, false),
            Part::Pad(length) => (*length, true),
        }))
    }

    /// The `.torrent`.
    ///
    /// # Errors
    /// When a path or URL is unusable, files are not sorted, or lengths and hashes do not
    /// fit together.
    pub fn build(&self, hashes: &ContentHashes) -> Result<Vec<u8>, CreateError> {
        self.check_paths()?;
        self.check_urls()?;
        let info = encode_dict(|info| self.info(info, hashes));
        let layers = match hashes {
            ContentHashes::V1(_) => None,
            ContentHashes::V2(files) | ContentHashes::Hybrid { files, .. } => {
                let expected = self.entries().count();
                if files.len() != expected {
                    return Err(CreateError::Roots { expected, found: files.len() });
                }
                Some(layers(files))
            }
        };
        let bytes = torrent(&info, &self.outer, layers.as_ref());
        Metainfo::from_torrent(&bytes)?;
        Ok(bytes)
    }

    fn info(&self, info: &mut DictEncoder<'_>, hashes: &ContentHashes) {
        if let ContentHashes::V2(roots) | ContentHashes::Hybrid { files: roots, .. } = hashes {
            let files: Vec<Leaf<'_>> = self
                .entries()
                .zip(roots)
                .map(|((path, length), roots)| (path, length, roots))
                .collect();
            info.dict("file tree", |tree| file_tree(tree, &files, 0));
            info.int("meta version", 2);
        }
        if let ContentHashes::V1(pieces) | ContentHashes::Hybrid { pieces, .. } = hashes {
            let padded = matches!(hashes, ContentHashes::Hybrid { .. });
            match self.content {
                Content::File(length) => info.int("length", signed(length)),
                Content::Folder(_) => info.list("files", |list| {
                    let version = if padded { Version::Hybrid } else { Version::V1 };
                    self.parts(version).iter().for_each(|part| part.encode(list));
                }),
            }
            info.bytes("pieces", pieces);
        }
        info.bytes("name", &self.name);
        info.int("piece length", i64::from(self.piece_length));
        if self.private {
            info.int("private", 1);
        }
        if let Some(source) = &self.source {
            info.bytes("source", source);
        }
    }

    /// Path and length of each file.
    fn entries(&self) -> impl Iterator<Item = (&[String], u64)> {
        let (one, many) = match &self.content {
            Content::File(length) => (Some((std::slice::from_ref(&self.name), *length)), &[][..]),
            Content::Folder(files) => (None, files.as_slice()),
        };
        one.into_iter().chain(many.iter().map(|file| (file.path.as_slice(), file.length)))
    }

    /// The run of bytes; nothing pads its end.
    fn parts(&self, version: Version) -> Vec<Part<'_>> {
        let mut parts = Vec::new();
        let mut offset = 0u64;
        for (path, length) in self.entries() {
            let gap = info::gap(offset, u64::from(self.piece_length.max(1)));
            if version != Version::V1 && length > 0 && gap > 0 {
                parts.push(Part::Pad(gap));
                offset = offset.saturating_add(gap);
            }
            parts.push(Part::File(length, path));
            offset = offset.saturating_add(length);
        }
        parts
    }

    fn check_paths(&self) -> Result<(), CreateError> {
        check_element(&self.name)?;
        let Content::Folder(files) = &self.content else { return Ok(()) };
        for (at, file) in files.iter().enumerate() {
            file.path.iter().try_for_each(|element| check_element(element))?;
            // Sorted, a folder's files come right after a file of the folder's name.
            let before = at.checked_sub(1).and_then(|before| files.get(before));
            let in_order = before.is_none_or(|before| {
                before.path < file.path && !file.path.starts_with(&before.path)
            });
            if !in_order || file.path.is_empty() {
                return Err(CreateError::Order(at));
            }
            if file.path.len() > files::DEPTH_MAX {
                return Err(MetainfoError::TooDeep(file.path.len()).into());
            }
        }
        Ok(())
    }

    fn check_urls(&self) -> Result<(), CreateError> {
        let trackers = self.outer.trackers.iter().flatten().map(|url| (url, UrlUse::Tracker));
        let web_seeds = self.outer.web_seeds.iter().map(|url| (url, UrlUse::WebSeed));
        for (url, purpose) in trackers.chain(web_seeds) {
            check_url(url, purpose)
                .map_err(|reason| CreateError::Url { url: url.clone(), reason })?;
        }
        Ok(())
    }
}

/// A stretch of the run of bytes that v1 pieces are cut from.
enum Part<'a> {
    File(u64, &'a [String]),
    Pad(u64),
}

impl Part<'_> {
    fn encode(&self, list: &mut Encoder) {
        list.dict(|file| match self {
            Part::File(length, path) => {
                file.int("length", signed(*length));
                file.list("path", |out| path.iter().for_each(|element| out.bytes(element)));
            }
            Part::Pad(length) => {
                file.bytes("attr", "p");
                file.int("length", signed(*length));
                file.list("path", |out| {
                    out.bytes(".pad");
                    out.bytes(length.to_string());
                });
            }
        });
    }
}

type Leaf<'a> = (&'a [String], u64, &'a FileRoots);

/// Writes the files, which share their first `depth` elements, as a tree. Recursion ends
/// at [`files::DEPTH_MAX`].
fn file_tree(tree: &mut DictEncoder<'_>, files: &[Leaf<'_>], depth: usize) {
    for group in files.chunk_by(|(a, ..), (b, ..)| a.get(depth) == b.get(depth)) {
        let Some((path, length, roots)) = group.first() else { continue };
        let Some(name) = path.get(depth) else { continue };
        tree.dict(name, |entry| {
            if path.len() > depth + 1 {
                return file_tree(entry, group, depth + 1);
            }
            entry.dict("", |file| {
                file.int("length", signed(*length));
                if *length > 0 {
                    file.bytes("pieces root", roots.root);
                }
            });
        });
    }
}

fn layers(files: &[FileRoots]) -> Layers {
    let layered = files.iter().filter(|file| !file.layer.is_empty());
    layered.map(|file| (file.root, file.layer.concat().into())).collect::<BTreeMap<_, _>>()
}

fn check_element(element: &str) -> Result<(), CreateError> {
    let bad = matches!(element, "" | "." | "..") || element.contains(['/', '\0']);
    if bad { Err(CreateError::Path(element.to_owned())) } else { Ok(()) }
}

/// Lengths beyond `i64` are refused by the parser that reads the result.
fn signed(length: u64) -> i64 {
    i64::try_from(length).unwrap_or(i64::MAX)
}

/// A `.torrent` around the raw bytes of `info`.
pub(super) fn torrent(info: &[u8], outer: &Outer, layers: Option<&Layers>) -> Vec<u8> {
    encode_dict(|torrent| {
        trackers(torrent, &outer.trackers);
        if let Some(comment) = &outer.comment {
            torrent.bytes("comment", comment);
        }
        if let Some(program) = &outer.created_by {
            torrent.bytes("created by", program);
        }
        if let Some(seconds) = outer.creation_date {
            torrent.int("creation date", signed(seconds));
        }
        torrent.raw("info", info);
        if !outer.nodes.is_empty() {
            torrent.list("nodes", |nodes| outer.nodes.iter().for_each(|addr| node(nodes, addr)));
        }
        if let Some(layers) = layers {
            torrent.dict("piece layers", |out| {
                layers.iter().for_each(|(root, layer)| out.bytes(root, layer));
            });
        }
        match outer.web_seeds.as_slice() {
            [] => {}
            [url] => torrent.bytes("url-list", url),
            urls => torrent.list("url-list", |list| urls.iter().for_each(|url| list.bytes(url))),
        }
    })
}

/// `announce` for clients that know nothing else, `announce-list` when there is more to say.
fn trackers(torrent: &mut DictEncoder<'_>, tiers: &[Vec<String>]) {
    let mut urls = tiers.iter().flatten();
    if let Some(first) = urls.next() {
        torrent.bytes("announce", first);
    }
    if urls.next().is_some() {
        let tier = |out: &mut Encoder, urls: &[String]| {
            out.list(|out| urls.iter().for_each(|url| out.bytes(url)));
        };
        torrent.list("announce-list", |out| tiers.iter().for_each(|urls| tier(out, urls)));
    }
}

fn node(nodes: &mut Encoder, addr: &PeerAddr) {
    nodes.list(|pair| {
        pair.bytes(&addr.host);
        pair.int(i64::from(addr.port));
    });
}
