//! The v2 half of `info`: `file tree`, and the piece layers outside of it (BEP 52).

use std::collections::BTreeMap;

use bytes::Bytes;

use super::error::MetainfoError;
use super::merkle::{self, HASH_SIZE};
use super::raw::{Kind, RawFile, RawList, attributes, length_of};
use crate::bencode::{Dict, Entries};

/// Piece layers by the root of their file.
pub(super) type Layers = BTreeMap<[u8; HASH_SIZE], Bytes>;

/// What the v2 half says.
#[derive(Debug)]
pub(super) struct V2<'a> {
    pub(super) list: RawList<'a>,
    pub(super) empty_folders: usize,
}

impl<'a> V2<'a> {
    /// The name of the only file, when there is one and it lies in no folder: a
    /// single-file torrent, whatever the torrent itself is called (BEP 52).
    pub(super) fn single(&self) -> Option<&'a [u8]> {
        match self.list.files.as_slice() {
            [file] => match file.path.as_slice() {
                [name] => Some(name),
                _ => None,
            },
            _ => None,
        }
    }
}

/// A folder that is being read.
struct Open<'a> {
    entries: Entries<'a>,
    last_key: Option<&'a [u8]>,
}

impl<'a> Open<'a> {
    fn new(folder: Dict<'a>) -> Self {
        Self { entries: folder.iter(), last_key: None }
    }
}

pub(super) fn parse(info: Dict<'_>) -> Result<V2<'_>, MetainfoError> {
    let field = MetainfoError::Field { key: "file tree", expected: "dictionary" };
    let tree = info.dict(b"file tree").ok_or(field)?;
    let mut v2 = V2 { list: RawList::default(), empty_folders: 0 };
    let mut path = Vec::new();
    // Depth is bounded by the decoder.
    let mut open = vec![Open::new(tree)];
    while let Some(folder) = open.last_mut() {
        let Some((key, value)) = folder.entries.next() else {
            open.pop();
            path.pop();
            continue;
        };
        if key.is_empty() {
            return Err(MetainfoError::FileTree("empty name, or a file with children"));
        }
        if folder.last_key.is_some_and(|last| last >= key) {
            return Err(MetainfoError::FileTree("names out of order"));
        }
        folder.last_key = Some(key);
        let entry = value.as_dict().ok_or(MetainfoError::FileTree("entry is no dictionary"))?;
        path.push(key);
        match entry.iter().next() {
            None => {
                v2.empty_folders += 1;
                path.pop();
            }
            Some((b"", _)) => {
                v2.list.push(leaf(entry, path.clone())?)?;
                path.pop();
            }
            Some(_) => open.push(Open::new(entry)),
        }
    }
    Ok(v2)
}

/// A file: its properties lie under the empty key, and nothing beside them.
fn leaf<'a>(entry: Dict<'a>, path: Vec<&'a [u8]>) -> Result<RawFile<'a>, MetainfoError> {
    if entry.iter().nth(1).is_some() {
        return Err(MetainfoError::FileTree("a file with children"));
    }
    let file = entry.dict(b"").ok_or(MetainfoError::FileTree("entry is no dictionary"))?;
    let length = length_of(file).ok_or(MetainfoError::FileTree("file without a valid length"))?;
    let (kind, executable) = attributes(file, length);
    if kind == Kind::Pad {
        return Err(MetainfoError::FileTree("pad file"));
    }
    let root = if length == 0 {
        None
    } else {
        let root = file.bytes(b"pieces root").and_then(|root| root.try_into().ok());
        let root = root.filter(|root| *root != [0; HASH_SIZE]);
        Some(root.ok_or(MetainfoError::FileTree("file without a valid root"))?)
    };
    Ok(RawFile { path, length, kind, executable, root })
}

/// Reads the piece layers and checks each against the root it belongs to. `files` gives
/// root and length of each non-empty file.
pub(super) fn layers(
    layers: Dict<'_>,
    files: impl Iterator<Item = ([u8; HASH_SIZE], u64)>,
    piece_length: u32,
) -> Result<Layers, MetainfoError> {
    let mut due: BTreeMap<[u8; HASH_SIZE], u64> = BTreeMap::new();
    for (root, length) in files.filter(|(_, length)| *length > u64::from(piece_length)) {
        let pieces = length.div_ceil(u64::from(piece_length));
        if due.insert(root, pieces).is_some_and(|before| before != pieces) {
            return Err(MetainfoError::PieceLayers("one root for files of different lengths"));
        }
    }
    let mut found = Layers::new();
    for (root, layer) in layers {
        let root = root.try_into().map_err(|_| MetainfoError::PieceLayers("key is no root"))?;
        let pieces = due.get(&root).ok_or(MetainfoError::PieceLayers("no file has this root"))?;
        let layer = layer.as_bytes().ok_or(MetainfoError::PieceLayers("layer is no string"))?;
        check_layer(layer, &root, *pieces, piece_length)?;
        if found.insert(root, Bytes::copy_from_slice(layer)).is_some() {
            return Err(MetainfoError::PieceLayers("a root occurs twice"));
        }
    }
    if found.len() < due.len() {
        return Err(MetainfoError::PieceLayers("a layer is missing"));
    }
    Ok(found)
}

fn check_layer(
    layer: &[u8],
    root: &[u8; HASH_SIZE],
    pieces: u64,
    piece_length: u32,
) -> Result<(), MetainfoError> {
    let (hashes, rest) = layer.as_chunks::<HASH_SIZE>();
    if !rest.is_empty() || hashes.len() as u64 != pieces {
        return Err(MetainfoError::PieceLayers("layer of the wrong length"));
    }
    // A zero node would pass for the padding after the end of a file.
    if hashes.contains(&[0; HASH_SIZE]) {
        return Err(MetainfoError::PieceLayers("layer with a zero hash"));
    }
    if merkle::layer_root(hashes, piece_length) != *root {
        return Err(MetainfoError::PieceLayers("layer does not match its root"));
    }
    Ok(())
}
