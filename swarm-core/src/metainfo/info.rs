//! `info` decoded, checked and made safe: the one parser behind every [`super::Metainfo`].
//!
//! Anything that two readers could understand differently is an error here, because the
//! hash would be the same for both (LIMITS A13 to A20).

use std::collections::BTreeMap;

use bytes::Bytes;
use sha1::Sha1;
use sha2::{Digest as _, Sha256};

use super::error::{MetainfoError, Warning};
use super::files::{check_length, disambiguate, safe_element, safe_path, spelling};
use super::raw::{Kind, RawFile, RawList};
use super::v1::{self, V1};
use super::v2::{self, V2};
use super::{File, Version};
use crate::bencode::{Dict, KeyOrder, Value};
use crate::geometry::{Geometry, Layout};
use crate::types::{BLOCK_SIZE, InfoHash, InfoHashV2, InfoHashes};

/// Bytes of a v1 piece hash.
pub(super) const PIECE_HASH_SIZE: usize = 20;

/// Everything that the info hash vouches for.
#[derive(Clone, Debug)]
pub(super) struct Info {
    pub(super) raw: Bytes,
    pub(super) hashes: InfoHashes,
    pub(super) name: String,
    pub(super) files: Vec<File>,
    pub(super) layout: Layout,
    pub(super) geometry: Geometry,
    pub(super) single: bool,
    pub(super) private: bool,
    pub(super) source: Option<String>,
    /// v1: a hash for each piece, a slice of `raw`.
    pub(super) pieces: Option<Bytes>,
    /// v2: the root of each file, in file order; empty when there is no v2 half.
    pub(super) roots: Vec<Option<[u8; 32]>>,
    /// How the torrent spells paths that had to be changed, by file.
    pub(super) spellings: BTreeMap<u32, Vec<String>>,
}

/// The file list with what goes beside it, whichever half it came from.
struct Listing<'a> {
    list: RawList<'a>,
    name: &'a [u8],
    single: bool,
    pieces: Option<Bytes>,
    version: Version,
}

/// Reads `info`. `raw` is exactly its bytes.
pub(super) fn parse(
    info: Value<'_>,
    raw: Bytes,
    warnings: &mut Vec<Warning>,
) -> Result<Info, MetainfoError> {
    let field = MetainfoError::Field { key: "info", expected: "dictionary" };
    let dict = info.as_dict().ok_or(field)?;
    let has_v2 = has_v2(dict)?;
    if info.check_form()? == KeyOrder::Unsorted {
        warnings.push(Warning::UnsortedKeys);
    }
    let piece_length = piece_length(dict, has_v2)?;
    let v2 = if has_v2 { Some(v2::parse(dict)?) } else { None };
    let empty_folders = v2.as_ref().map_or(0, |v2| v2.empty_folders);
    if empty_folders > 0 {
        warnings.push(Warning::EmptyFolders(empty_folders));
    }
    let listing = listing(dict, &raw, v2, piece_length)?;
    if listing.list.content() == 0 {
        return Err(MetainfoError::Empty);
    }
    let geometry = Geometry::new(piece_length, listing.list.total)?;
    check_piece_hashes(listing.pieces.as_deref(), geometry)?;
    let hashes = hashes(&raw, listing.version);
    let name = safe_element(listing.name).unwrap_or_else(|| {
        warnings.push(Warning::NameMissing);
        hashes.wire().to_string()
    });
    let Listing { list, name: raw_name, single, pieces, .. } = listing;
    let roots = if has_v2 { list.files.iter().map(|file| file.root).collect() } else { Vec::new() };
    let paths = Paths::new(list, &name, raw_name, single, warnings)?;
    Ok(Info {
        raw,
        hashes,
        name,
        layout: Layout::new(paths.files.iter().map(|file| (file.length, file.pad))),
        files: paths.files,
        geometry,
        single,
        private: dict.int(b"private").is_some_and(|private| private != 0),
        source: dict.bytes(b"source").map(|text| String::from_utf8_lossy(text).into_owned()),
        pieces,
        roots,
        spellings: paths.spellings,
    })
}

/// Whether there is a v2 half; looked at before anything else, so that a newer version is
/// called just that (BEP 52).
fn has_v2(info: Dict<'_>) -> Result<bool, MetainfoError> {
    let Some(version) = info.get(b"meta version") else { return Ok(false) };
    let field = MetainfoError::Field { key: "meta version", expected: "integer" };
    match version.as_int().ok_or(field)? {
        2 => Ok(true),
        other => Err(MetainfoError::MetaVersion(other)),
    }
}

fn piece_length(info: Dict<'_>, has_v2: bool) -> Result<u64, MetainfoError> {
    let length = info.int(b"piece length").and_then(|length| u64::try_from(length).ok());
    let field = MetainfoError::Field { key: "piece length", expected: "positive integer" };
    let length = length.ok_or(field)?;
    // Checked with the total again; here so that no arithmetic below meets a zero.
    Geometry::new(length, 1)?;
    if has_v2 && !(length.is_power_of_two() && length >= u64::from(BLOCK_SIZE)) {
        return Err(MetainfoError::PieceLengthV2(length));
    }
    Ok(length)
}

fn listing<'a>(
    info: Dict<'a>,
    raw: &Bytes,
    v2: Option<V2<'a>>,
    piece_length: u64,
) -> Result<Listing<'a>, MetainfoError> {
    let name = info.bytes(b"name.utf-8").or_else(|| info.bytes(b"name")).unwrap_or_default();
    let (v2, version) = match v2 {
        Some(v2) if info.get(b"pieces").is_none() => {
            let list = padded(&v2.list, piece_length)?;
            let (name, single) = v2.single().map_or((name, false), |name| (name, true));
            return Ok(Listing { list, name, single, pieces: None, version: Version::V2 });
        }
        Some(v2) => (Some(v2), Version::Hybrid),
        None => (None, Version::V1),
    };
    let V1 { mut list, single, pieces } = v1::parse(info, name)?;
    if let Some(v2) = &v2 {
        join_halves(&mut list, &v2.list, piece_length)?;
    }
    let base = info.value().span().start;
    let pieces = Some(raw.slice(pieces.start - base..pieces.end - base));
    Ok(Listing { list, name, single, pieces, version })
}

/// The gap after a file, so that the next one with content begins a piece.
pub(super) const fn gap(offset: u64, piece_length: u64) -> u64 {
    match offset % piece_length {
        0 => 0,
        over => piece_length - over,
    }
}

/// v2 files laid into one run of bytes: each with content begins a piece (BEP 52).
fn padded<'a>(list: &RawList<'a>, piece_length: u64) -> Result<RawList<'a>, MetainfoError> {
    let mut run = RawList::default();
    for file in &list.files {
        let gap = gap(run.total, piece_length);
        if file.length > 0 && gap > 0 {
            let path = Vec::new();
            let kind = Kind::Pad;
            run.push(RawFile { path, length: gap, kind, executable: false, root: None })?;
        }
        run.push(file.clone())?;
    }
    Ok(run)
}

/// Checks that both halves of a hybrid name the same files at the same places, and takes
/// the roots over into the v1 list. A v1 list may pad its last file to a whole piece.
fn join_halves(
    v1: &mut RawList<'_>,
    v2: &RawList<'_>,
    piece_length: u64,
) -> Result<(), MetainfoError> {
    let mut from = v2.files.iter();
    let mut v1_offset = 0u64;
    let mut v2_end = 0u64;
    for file in &mut v1.files {
        let offset = v1_offset;
        v1_offset += file.length;
        if file.kind == Kind::Pad {
            continue;
        }
        let twin = from.next().ok_or(MetainfoError::HybridMismatch)?;
        let same = twin.path == file.path && twin.length == file.length && twin.kind == file.kind;
        if file.length > 0 {
            let aligned = v2_end + gap(v2_end, piece_length);
            if aligned != offset {
                return Err(MetainfoError::HybridMismatch);
            }
            v2_end = offset + file.length;
        }
        if !same {
            return Err(MetainfoError::HybridMismatch);
        }
        file.root = twin.root;
    }
    let tail = v1_offset - v2_end;
    let whole = tail == 0 || tail == gap(v2_end, piece_length);
    if from.next().is_none() && whole { Ok(()) } else { Err(MetainfoError::HybridMismatch) }
}

fn check_piece_hashes(pieces: Option<&[u8]>, geometry: Geometry) -> Result<(), MetainfoError> {
    let expected = u64::from(geometry.piece_count()) * PIECE_HASH_SIZE as u64;
    match pieces {
        Some(pieces) if pieces.len() as u64 != expected => {
            Err(MetainfoError::PieceHashes { expected, found: pieces.len() })
        }
        _ => Ok(()),
    }
}

/// The hashes that a torrent of this version has.
pub(super) fn hashes(raw: &[u8], version: Version) -> InfoHashes {
    let v1 = || InfoHash::new(Sha1::digest(raw).into());
    let v2 = || InfoHashV2::new(Sha256::digest(raw).into());
    match version {
        Version::V1 => InfoHashes::v1(v1()),
        Version::V2 => InfoHashes::v2(v2()),
        Version::Hybrid => InfoHashes::hybrid(v1(), v2()),
    }
}

/// Whether the bytes of `info` are those that the hashes promise.
pub(super) fn check_hashes(raw: &[u8], expected: &InfoHashes) -> Result<(), MetainfoError> {
    if hashes(raw, Version::of(expected)) == *expected {
        Ok(())
    } else {
        Err(MetainfoError::HashMismatch)
    }
}

/// The files with safe paths, and what they were called before.
struct Paths {
    files: Vec<File>,
    spellings: BTreeMap<u32, Vec<String>>,
}

impl Paths {
    fn new(
        list: RawList<'_>,
        name: &str,
        raw_name: &[u8],
        single: bool,
        warnings: &mut Vec<Warning>,
    ) -> Result<Self, MetainfoError> {
        let mut paths =
            Self { files: Vec::with_capacity(list.files.len()), spellings: BTreeMap::new() };
        let mut changed = usize::from(!single && raw_name != name.as_bytes());
        let mut links = 0;
        for raw in list.files {
            let path = match raw.kind {
                Kind::Pad => vec![".pad".to_owned(), raw.length.to_string()],
                _ if single => vec![name.to_owned()],
                _ => safe_path(&raw.path)?,
            };
            if raw.kind != Kind::Pad
                && !raw.path.iter().copied().eq(path.iter().map(String::as_bytes))
            {
                changed += 1;
                paths.remember(paths.files.len(), spelling(&raw.path, &path));
            }
            links += usize::from(raw.kind == Kind::Link);
            let pad = raw.kind != Kind::Content;
            paths.files.push(File { path, length: raw.length, pad, executable: raw.executable });
        }
        paths.tell_apart(warnings)?;
        if changed > 0 {
            warnings.push(Warning::PathsChanged(changed));
        }
        if links > 0 {
            warnings.push(Warning::LinksSkipped(links));
        }
        paths
            .files
            .iter()
            .filter(|file| !file.pad)
            .try_for_each(|f| check_length(name, &f.path))?;
        Ok(paths)
    }

    fn tell_apart(&mut self, warnings: &mut Vec<Warning>) -> Result<(), MetainfoError> {
        let renamed = disambiguate(&mut self.files)?;
        if !renamed.is_empty() {
            warnings.push(Warning::PathsRenamed(renamed.len()));
        }
        for (at, before) in renamed {
            let path = self.files.get(at).map(|file| file.path.clone());
            let path = path.map(|mut path| {
                path.pop();
                path.push(before);
                path
            });
            self.remember(at, path);
        }
        Ok(())
    }

    /// Keeps the first spelling: the one closest to the torrent.
    fn remember(&mut self, file: usize, spelling: Option<Vec<String>>) {
        if let (Ok(file), Some(spelling)) = (u32::try_from(file), spelling) {
            self.spellings.entry(file).or_insert(spelling);
        }
    }
}
