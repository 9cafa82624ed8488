//! The file list as the torrent spells it, before paths are made safe.
//!
//! Both descriptions of files, v1's list and v2's tree, come out as a [`RawList`], so that
//! the halves of a hybrid can be compared and everything after is written once.

use super::error::MetainfoError;
use super::files;
use crate::bencode::Dict;
use crate::geometry::TOTAL_LENGTH_MAX;

/// Most files of a torrent, pad files included.
pub const FILES_MAX: usize = 1_000_000;
/// What the paths of all files may take together, bytes: each element with its length
/// and 24 bytes more. In a v2 tree, a few bytes can repeat a long path.
pub const PATHS_TOTAL_MAX_BYTES: usize = 128 << 20;

/// What a file is for (BEP 47).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    Content,
    Pad,
    Link,
}

/// One file.
#[derive(Clone, Debug)]
pub(super) struct RawFile<'a> {
    pub(super) path: Vec<&'a [u8]>,
    pub(super) length: u64,
    pub(super) kind: Kind,
    pub(super) executable: bool,
    /// v2: root of the file's Merkle tree; none for an empty file.
    pub(super) root: Option<[u8; 32]>,
}

/// All files in torrent order, within the limits on their number and lengths.
#[derive(Clone, Debug, Default)]
pub(super) struct RawList<'a> {
    pub(super) files: Vec<RawFile<'a>>,
    /// Sum of all lengths, bytes.
    pub(super) total: u64,
    paths_bytes: usize,
}

impl<'a> RawList<'a> {
    pub(super) fn push(&mut self, file: RawFile<'a>) -> Result<(), MetainfoError> {
        if self.files.len() >= FILES_MAX {
            return Err(MetainfoError::TooManyFiles);
        }
        if file.path.len() > files::DEPTH_MAX {
            return Err(MetainfoError::TooDeep(file.path.len()));
        }
        let path_bytes: usize =
            file.path.iter().map(|element| element.len() + size_of::<String>()).sum();
        self.paths_bytes = self.paths_bytes.saturating_add(path_bytes);
        if self.paths_bytes > PATHS_TOTAL_MAX_BYTES {
            return Err(MetainfoError::PathsTooLong);
        }
        // Both are at most 2^50, so that the sum cannot wrap.
        self.total += file.length;
        if self.total > TOTAL_LENGTH_MAX {
            return Err(crate::geometry::GeometryError::TotalLength(self.total).into());
        }
        self.files.push(file);
        Ok(())
    }

    /// Bytes that are no padding.
    pub(super) fn content(&self) -> u64 {
        let content = self.files.iter().filter(|file| file.kind == Kind::Content);
        content.map(|file| file.length).sum()
    }
}

/// BEP 47 attributes: what the file is, and whether it is executable. A link has no
/// length; what claims both is content.
pub(super) fn attributes(file: Dict<'_>, length: u64) -> (Kind, bool) {
    let attributes = file.bytes(b"attr").unwrap_or_default();
    let kind = if attributes.contains(&b'l') && length == 0 {
        Kind::Link
    } else if attributes.contains(&b'p') {
        Kind::Pad
    } else {
        Kind::Content
    };
    (kind, attributes.contains(&b'x'))
}

/// A file's length, within the limits.
pub(super) fn length_of(file: Dict<'_>) -> Option<u64> {
    let length = u64::try_from(file.int(b"length")?).ok()?;
    (length <= TOTAL_LENGTH_MAX).then_some(length)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn file(path: &[&'static [u8]], length: u64) -> RawFile<'static> {
        let kind = Kind::Content;
        RawFile { path: path.to_vec(), length, kind, executable: false, root: None }
    }

    #[test]
    fn the_number_of_files_is_bounded() {
        let mut list = RawList::default();
        for _ in 0..FILES_MAX {
            list.push(file(&[], 0)).unwrap();
        }
        assert_eq!(list.push(file(&[], 0)), Err(MetainfoError::TooManyFiles));
    }

    #[test]
    fn the_memory_of_all_paths_is_bounded() {
        let mut list = RawList::default();
        let long = [&[b'a'; 1000][..]; 100];
        let each = 100 * (1000 + size_of::<String>());
        for _ in 0..PATHS_TOTAL_MAX_BYTES / each {
            list.push(file(&long, 0)).unwrap();
        }
        assert_eq!(list.push(file(&long, 0)), Err(MetainfoError::PathsTooLong));
    }

    #[test]
    fn the_sum_of_lengths_is_bounded() {
        let mut list = RawList::default();
        list.push(file(&[], TOTAL_LENGTH_MAX)).unwrap();
        assert!(matches!(list.push(file(&[], 1)), Err(MetainfoError::Geometry(_))));
    }
}
