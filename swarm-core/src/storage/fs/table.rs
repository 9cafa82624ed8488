//! The files of a torrent and the names they have on the disk.
//!
//! Every path here is relative to the storage's root folder. Names are checked once, when the
//! table is made: whatever made them, no element leads anywhere but one folder down.

use super::record::Subject;
use crate::geometry::{Extent, Geometry, Layout};
use crate::metainfo::{File, Metainfo};
use crate::types::{FileIndex, InfoHash};
use std::io;
use std::path::{Path, PathBuf};

/// What a torrent's content is made of. Does not change.
#[derive(Debug)]
pub(super) struct Table {
    names: Names,
    /// Path of each file below the content folder; empty when the content is one file.
    below: Vec<PathBuf>,
    layout: Layout,
    geometry: Geometry,
    torrent: InfoHash,
}

/// Names beside each other in the root folder.
#[derive(Debug)]
struct Names {
    /// The finished file or folder.
    content: PathBuf,
    /// The same while it is fetched.
    part: PathBuf,
    /// Bytes of unwanted files that share a piece with a wanted one.
    shared: PathBuf,
    /// What the lock is on.
    lock: PathBuf,
    /// What is verified so far.
    record: PathBuf,
    /// The next record while it is written.
    spare: PathBuf,
}

/// Where a file's bytes are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Place {
    /// Under its final name. Never written.
    Content,
    /// Below `NAME.part`. Ours to write.
    Part,
    /// In the shared file, by offset in the torrent. Ours to write.
    Shared,
}

/// One file as the torrent's owner sees it now.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Slot {
    pub(super) place: Place,
    pub(super) wanted: bool,
}

/// The parts of a [`Metainfo`] that lead to a table.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Blueprint<'a> {
    pub(crate) id: InfoHash,
    pub(crate) name: &'a str,
    pub(crate) is_single_file: bool,
    pub(crate) files: &'a [File],
    pub(crate) layout: &'a Layout,
    pub(crate) geometry: &'a Geometry,
}

/// Longest name the common filesystems take, bytes.
const NAME_MAX: usize = 255;

impl<'a> From<&'a Metainfo> for Blueprint<'a> {
    fn from(metainfo: &'a Metainfo) -> Self {
        Self {
            id: metainfo.hashes().wire(),
            name: metainfo.name(),
            is_single_file: metainfo.is_single_file(),
            files: metainfo.files(),
            layout: metainfo.layout(),
            geometry: metainfo.geometry(),
        }
    }
}

impl Table {
    /// Content that is called what the torrent calls it.
    pub(super) fn named(torrent: &Blueprint<'_>) -> io::Result<Self> {
        let name = torrent.name;
        check_element(name)?;
        let names = Names {
            content: name.into(),
            part: beside("", name, ".part"),
            shared: beside(".", name, ".swarm-parts"),
            lock: beside(".", name, ".swarm-lock"),
            record: beside(".", name, ".swarm-state"),
            spare: beside(".", name, ".swarm-state.new"),
        };
        Self::new(torrent, names)
    }

    /// Content that lies at `content`, which is empty when it is the root folder itself.
    pub(super) fn at(torrent: &Blueprint<'_>, content: PathBuf) -> io::Result<Self> {
        let unused = PathBuf::new;
        let [part, shared, lock, record, spare] = std::array::from_fn(|_| unused());
        let names = Names { content, part, shared, lock, record, spare };
        Self::new(torrent, names)
    }

    fn new(torrent: &Blueprint<'_>, names: Names) -> io::Result<Self> {
        let below = match torrent.is_single_file {
            true => vec![PathBuf::new(); torrent.files.len()],
            false => torrent.files.iter().map(below).collect::<io::Result<_>>()?,
        };
        let (layout, geometry) = (torrent.layout.clone(), *torrent.geometry);
        Ok(Self { names, below, layout, geometry, torrent: torrent.id })
    }

    /// Gives a file another path below the content folder, if that is one at all.
    pub(super) fn respell(&mut self, file: usize, path: &[String]) {
        let path: Result<PathBuf, _> =
            path.iter().map(|element| check_element(element).map(|()| element)).collect();
        if let (Some(below), Ok(path)) = (self.below.get_mut(file), path) {
            *below = path;
        }
    }

    pub(super) const fn layout(&self) -> &Layout {
        &self.layout
    }

    pub(super) const fn geometry(&self) -> &Geometry {
        &self.geometry
    }

    /// Files, pad files included.
    pub(super) fn len(&self) -> usize {
        self.below.len()
    }

    /// Whether the content is a folder.
    pub(super) fn is_folder(&self) -> bool {
        self.below.iter().any(|below| !below.as_os_str().is_empty())
    }

    /// The extent of a real file; `None` for pad files.
    pub(super) fn stored(&self, file: usize) -> Option<Extent> {
        self.layout.extents().get(file).copied().filter(|extent| !extent.pad)
    }

    /// The finished file or folder.
    pub(super) fn content(&self) -> &Path {
        &self.names.content
    }

    /// The same while it is fetched.
    pub(super) fn part(&self) -> &Path {
        &self.names.part
    }

    pub(super) fn shared(&self) -> &Path {
        &self.names.shared
    }

    pub(super) fn lock(&self) -> &Path {
        &self.names.lock
    }

    /// What is verified so far.
    pub(super) fn record(&self) -> &Path {
        &self.names.record
    }

    /// The next record while it is written.
    pub(super) fn spare(&self) -> &Path {
        &self.names.spare
    }

    /// What a record of this content is about.
    pub(super) const fn subject(&self) -> Subject {
        Subject { torrent: self.torrent, geometry: self.geometry }
    }

    /// Where a file is in this place.
    pub(super) fn path(&self, file: usize, place: Place) -> PathBuf {
        let start = match place {
            Place::Content => &self.names.content,
            Place::Part => &self.names.part,
            Place::Shared => return self.names.shared.clone(),
        };
        match self.below.get(file) {
            Some(below) if !below.as_os_str().is_empty() => start.join(below),
            _ => start.clone(),
        }
    }
}

/// The index type for a place in a list of files.
pub(super) fn file_index(file: usize) -> FileIndex {
    // `Metainfo` holds at most a million files.
    FileIndex::new(u32::try_from(file).unwrap_or(u32::MAX))
}

fn below(file: &File) -> io::Result<PathBuf> {
    if file.pad {
        return Ok(PathBuf::new());
    }
    if file.path.is_empty() {
        return Err(unsafe_name(""));
    }
    file.path.iter().map(|element| check_element(element).map(|()| element)).collect()
}

/// The last word on names: `Metainfo` has made them safe before.
fn check_element(element: &str) -> io::Result<()> {
    let dots = matches!(element, "" | "." | "..");
    if dots || element.contains(['/', '\0']) { Err(unsafe_name(element)) } else { Ok(()) }
}

fn unsafe_name(element: &str) -> io::Error {
    let text = format!("{element:?} is no file name");
    io::Error::new(io::ErrorKind::InvalidInput, text)
}

/// A name next to `name`. When that is too long for a filesystem the middle is cut, and a
/// digest of the whole name keeps it distinct.
fn beside(prefix: &str, name: &str, suffix: &str) -> PathBuf {
    if prefix.len() + name.len() + suffix.len() <= NAME_MAX {
        return format!("{prefix}{name}{suffix}").into();
    }
    let digest = name.bytes().fold(0xcbf2_9ce4_8422_2325u64, |hash, byte| {
        (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3)
    });
    let room = NAME_MAX - prefix.len() - suffix.len() - 17;
    // A character is at most four bytes long.
    let start = (0..4).find_map(|less| name.get(..room - less)).unwrap_or_default();
    format!("{prefix}{start}~{digest:016x}{suffix}").into()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_that_lead_elsewhere_are_refused_whoever_made_them() {
        for bad in ["", ".", "..", "a/b", "/", "a\0b"] {
            assert!(check_element(bad).is_err(), "{bad:?}");
        }
        check_element("...").unwrap();
    }

    #[test]
    fn names_beside_the_content_fit_the_filesystem_and_stay_distinct() {
        let long = "é".repeat(127);
        let [one, two] = ["a", "b"].map(|end| beside(".", &format!("{long}{end}"), ".swarm-parts"));
        assert!(one.as_os_str().len() <= NAME_MAX && two.as_os_str().len() <= NAME_MAX);
        assert_ne!(one, two);
        assert_eq!(beside("", "x", ".part"), Path::new("x.part"));
    }
}
