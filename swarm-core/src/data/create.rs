//! Walks and hashes a file or folder for a new torrent.
//!
//! The walk is deterministic: the same content gives the same list on every machine, sorted by
//! the bytes of the paths, element by element. Links are left out, because where they lead may be outside of what
//! the user meant to share.
//!
//! Not here: the torrent made of it (`metainfo`), the choice of a piece length.

use super::hasher::{Hashed, PieceHasher, finish};
use super::lanes::Width;
use super::scan::{Begin, OnProgress, Scan, ScanError, Visit};
use crate::geometry::{Geometry, GeometryError, Layout};
use crate::metainfo::{FILES_MAX, File, files::DEPTH_MAX};
use crate::storage::{Blueprint, FsStorage, Presence, Stamp, Storage, StorageError, Sums};
use crate::types::{InfoHash, PieceIndex};
use sha2::{Digest as _, Sha256};
use std::fs::{self, Metadata};
use std::io;
use std::path::{Path, PathBuf};
use std::time::SystemTime;

/// What was found: the files a new torrent will hold, in torrent order.
#[derive(Clone, Debug)]
pub struct Content {
    /// Where it lies: the file, or the folder.
    pub root: PathBuf,
    /// Its own name, as a torrent would call it.
    pub name: String,
    /// Whether it is one file and not a folder.
    pub is_file: bool,
    /// The files, sorted by the bytes of their paths, element by element.
    pub files: Vec<ContentFile>,
    /// Paths that were left out, and why.
    pub skipped: Vec<(PathBuf, Skip)>,
}

/// One file found.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ContentFile {
    /// Path below the root, one element each; for a single file its own name.
    pub path: Vec<String>,
    /// Length in bytes.
    pub length: u64,
    modified: Option<SystemTime>,
    stamp: Stamp,
}

/// Why a path was left out.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Skip {
    /// A symbolic link: where it leads may be outside of the folder.
    Symlink,
    /// A socket, pipe or device.
    Special,
}

/// Why nothing was created.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum CreateError {
    /// A path cannot be read.
    #[error(transparent)]
    Storage(#[from] StorageError),
    /// A file name is not valid UTF-8.
    #[error("{} is not valid UTF-8", _0.display())]
    Name(PathBuf),
    /// A file changed while it was hashed.
    #[error("{} changed while it was hashed", _0.display())]
    Changed(PathBuf),
    /// The content is empty, or too large for the piece length.
    #[error("{}: {why}", path.display())]
    Size {
        /// The content.
        path: PathBuf,
        /// What is wrong.
        why: GeometryError,
    },
    /// There are more than [`FILES_MAX`] files.
    #[error("more than {FILES_MAX} files in {}", _0.display())]
    TooMany(PathBuf),
    /// Folders lie more than [`DEPTH_MAX`] deep.
    #[error("{} lies more than {DEPTH_MAX} folders deep", _0.display())]
    TooDeep(PathBuf),
    /// The progress callback said so.
    #[error("stopped")]
    Stopped,
}

impl Content {
    /// Looks at a file, or walks a folder. A link given as `root` itself is followed.
    ///
    /// # Errors
    /// When a path cannot be read, has a name that no torrent can hold, or there are more or
    /// deeper files than a torrent may have.
    pub fn find(root: &Path) -> Result<Self, CreateError> {
        let failed = |error| StorageError::new("open", root, error);
        // `.` and `..` have a name too.
        let root = root.canonicalize().map_err(failed)?;
        let name = match root.file_name() {
            Some(name) => name.to_str().ok_or_else(|| CreateError::Name(root.clone()))?.to_owned(),
            None => "root".to_owned(),
        };
        let meta = root.metadata().map_err(failed)?;
        let is_file = !meta.is_dir();
        let mut content = Self { root, name, is_file, files: Vec::new(), skipped: Vec::new() };
        if meta.is_file() {
            let path = vec![content.name.clone()];
            content.files.push(ContentFile::new(path, &meta));
        } else if meta.is_dir() {
            content.walk()?;
        } else {
            let kind = io::Error::new(io::ErrorKind::InvalidInput, "not a file or folder");
            return Err(StorageError::new("open", &content.root, kind).into());
        }
        Ok(content)
    }

    /// Bytes in all.
    #[must_use]
    pub fn total_length(&self) -> u64 {
        self.files.iter().fold(0, |sum, file| sum.saturating_add(file.length))
    }

    /// SHA-1 of every piece, with `threads` threads (0: one per core). Blocks.
    ///
    /// `progress` is called from those threads, about once for each megabyte, and can stop
    /// it.
    ///
    /// # Errors
    /// When a file cannot be read or has changed, when there is not one byte, or more than a
    /// torrent can hold in pieces of this length, or when `progress` said to stop.
    pub fn hash(
        &self,
        piece_length: u32,
        threads: usize,
        progress: OnProgress<'_>,
    ) -> Result<Vec<[u8; 20]>, CreateError> {
        let geometry = Geometry::new(u64::from(piece_length), self.total_length())
            .map_err(|why| CreateError::Size { path: self.root.clone(), why })?;
        let layout = Layout::new(self.files.iter().map(|file| (file.length, false)));
        let files: Vec<_> = self.files.iter().map(ContentFile::for_torrent).collect();
        let torrent = Blueprint {
            // Not known yet, and not needed: nothing is recorded under it.
            id: InfoHash::new([0; InfoHash::LEN]),
            name: &self.name,
            is_single_file: self.is_file,
            files: &files,
            layout: &layout,
            geometry: &geometry,
        };
        let storage = FsStorage::seed_blueprint(&self.root, &torrent)?;
        let pieces = 0..geometry.piece_count();
        let width = Width::fastest();
        let scan = Scan { storage: &storage, geometry: &geometry, pieces, width, progress };
        let hashes =
            scan.run(threads, &Summer { storage: &storage, geometry: &geometry, layout: &layout });
        let hashes: Option<Vec<_>> = match hashes {
            Ok(hashes) => hashes.into_iter().collect(),
            Err(ScanError::Stopped) => return Err(CreateError::Stopped),
            Err(ScanError::Storage(error)) => return Err(error.into()),
        };
        self.verify_unchanged()?;
        // Bytes were missing while the piece was read, and are back.
        hashes.ok_or_else(|| CreateError::Changed(self.root.clone()))
    }

    /// The hashes that [`Self::remember`] kept of this content, if no file of it was touched
    /// since it was found and hashed then.
    #[must_use]
    pub fn recall(&self, state_folder: &Path, piece_length: u32) -> Option<Vec<[u8; 20]>> {
        self.sums(piece_length)?.load(state_folder)
    }

    /// Keeps what [`Self::hash`] gave, below a folder that holds at most 64 MiB of such. What
    /// cannot be kept will be hashed again.
    pub fn remember(&self, state_folder: &Path, piece_length: u32, hashes: &[[u8; 20]]) {
        let Some(sums) = self.sums(piece_length) else { return };
        if let Err(error) = sums.store(state_folder, hashes) {
            tracing::warn!(%error, "the hashes of the content are not kept");
        }
    }

    fn sums(&self, piece_length: u32) -> Option<Sums<'_>> {
        let geometry = Geometry::new(u64::from(piece_length), self.total_length()).ok()?;
        let mut names = Sha256::new();
        for element in self.files.iter().flat_map(|file| file.path.iter().map(Some).chain([None])) {
            // No element of a path is empty: that ends one.
            let element = element.map_or("", String::as_str);
            names.update((element.len() as u64).to_le_bytes());
            names.update(element);
        }
        Some(Sums {
            root: &self.root,
            names: names.finalize().into(),
            stamps: self.files.iter().map(|file| file.stamp).collect(),
            piece_length,
            pieces: geometry.piece_count() as usize,
        })
    }

    fn walk(&mut self) -> Result<(), CreateError> {
        let mut folders = vec![Vec::new()];
        while let Some(folder) = folders.pop() {
            let path = self.full(&folder);
            let failed = |error| StorageError::new("read", &path, error);
            if folder.len() > DEPTH_MAX {
                return Err(CreateError::TooDeep(path));
            }
            for entry in fs::read_dir(&path).map_err(failed)? {
                let entry = entry.map_err(failed)?;
                let name = entry.file_name();
                let name = name.to_str().ok_or_else(|| CreateError::Name(entry.path()))?;
                let below = folder.iter().map(String::as_str).chain([name]);
                let below: Vec<_> = below.map(str::to_owned).collect();
                let kind = entry.file_type().map_err(failed)?;
                if kind.is_dir() {
                    folders.push(below);
                } else if kind.is_file() {
                    let unread = |error| StorageError::new("open", entry.path(), error);
                    self.files.push(ContentFile::new(below, &entry.metadata().map_err(unread)?));
                } else if kind.is_symlink() {
                    self.skipped.push((entry.path(), Skip::Symlink));
                } else {
                    self.skipped.push((entry.path(), Skip::Special));
                }
            }
            if self.files.len() > FILES_MAX {
                return Err(CreateError::TooMany(self.root.clone()));
            }
        }
        // Element by element, as torrents list them (`metainfo::sort_files`).
        self.files.sort_unstable_by(|a, b| a.path.cmp(&b.path));
        self.skipped.sort_unstable_by(|a, b| a.0.cmp(&b.0));
        Ok(())
    }

    fn verify_unchanged(&self) -> Result<(), CreateError> {
        for file in &self.files {
            let path = if self.is_file { self.root.clone() } else { self.full(&file.path) };
            let is_same = fs::symlink_metadata(&path).is_ok_and(|meta| {
                meta.is_file() && meta.len() == file.length && meta.modified().ok() == file.modified
            });
            if !is_same {
                return Err(CreateError::Changed(path));
            }
        }
        Ok(())
    }

    fn full(&self, below: &[String]) -> PathBuf {
        let mut path = self.root.clone();
        path.extend(below);
        path
    }
}

/// Takes the SHA-1 of pieces; `None` where bytes are missing.
struct Summer<'a> {
    storage: &'a dyn Storage,
    geometry: &'a Geometry,
    layout: &'a Layout,
}

impl Visit for Summer<'_> {
    type Found = Option<[u8; 20]>;

    fn side_by_side(&self, width: Width) -> usize {
        width.lanes()
    }

    fn begin(&self, piece: PieceIndex) -> Begin<Self::Found> {
        let range = self.geometry.piece_range(piece);
        let mut hasher = PieceHasher::v1();
        // To ask about each of many small files costs more than to read them.
        let is_one_file = self.layout.slices(range.clone()).nth(1).is_none();
        if !is_one_file || self.storage.presence(range.clone()) != Presence::Zeros {
            return Begin::Hash(range, hasher);
        }
        hasher.skip_zeros(range.end - range.start);
        Begin::Known(self.end(piece, finish(Width::One, vec![hasher]).pop()))
    }

    fn end(&self, _: PieceIndex, hashed: Option<Hashed>) -> Self::Found {
        hashed.and_then(|hashed| hashed.sha1())
    }
}

impl ContentFile {
    fn new(path: Vec<String>, meta: &Metadata) -> Self {
        let stamp = Stamp::of(meta);
        Self { path, length: meta.len(), modified: meta.modified().ok(), stamp }
    }

    fn for_torrent(&self) -> File {
        File { path: self.path.clone(), length: self.length, pad: false, executable: false }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::data::hasher::sha1;
    use std::ops::ControlFlow;
    use std::os::unix::ffi::OsStrExt as _;
    use std::sync::atomic::{AtomicBool, Ordering};

    fn write(folder: &Path, path: &str, bytes: &[u8]) {
        let path = folder.join(path);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, bytes).unwrap();
    }

    fn paths(content: &Content) -> Vec<String> {
        content.files.iter().map(|file| file.path.join("/")).collect()
    }

    fn go_on(_: super::super::scan::Progress) -> ControlFlow<()> {
        ControlFlow::Continue(())
    }

    #[test]
    fn the_walk_is_in_the_order_of_torrents() {
        let folder = tempfile::tempdir().unwrap();
        for path in ["b", "a/z", "a.txt", "a/b/c", "é", "Z", "a-b"] {
            write(folder.path(), path, b"x");
        }
        let content = Content::find(folder.path()).unwrap();
        assert_eq!(paths(&content), ["Z", "a/b/c", "a/z", "a-b", "a.txt", "b", "é"]);
        assert!(!content.is_file && content.total_length() == 7);
    }

    #[test]
    fn links_and_pipes_are_left_out_and_told() {
        let folder = tempfile::tempdir().unwrap();
        write(folder.path(), "file", b"x");
        std::os::unix::fs::symlink("/etc", folder.path().join("folder-link")).unwrap();
        std::os::unix::fs::symlink("file", folder.path().join("file-link")).unwrap();
        let pipe = folder.path().join("pipe");
        let mode = rustix::fs::Mode::from_raw_mode(0o600);
        rustix::fs::mknodat(rustix::fs::CWD, &pipe, rustix::fs::FileType::Fifo, mode, 0).unwrap();
        let content = Content::find(folder.path()).unwrap();
        assert_eq!(paths(&content), ["file"]);
        let why: Vec<_> = content.skipped.iter().map(|(_, why)| *why).collect();
        assert_eq!(why, [Skip::Symlink, Skip::Symlink, Skip::Special]);
        assert!(Content::find(&pipe).is_err());
    }

    #[test]
    fn a_name_that_is_not_text_is_an_error_that_names_it() {
        let folder = tempfile::tempdir().unwrap();
        let bad = folder.path().join(std::ffi::OsStr::from_bytes(b"\xff"));
        fs::write(&bad, "x").unwrap();
        assert!(
            matches!(Content::find(folder.path()), Err(CreateError::Name(path)) if path.ends_with(bad.file_name().unwrap()))
        );
    }

    #[test]
    fn folders_too_deep_are_refused() {
        let folder = tempfile::tempdir().unwrap();
        let deep = |depth| vec!["d"; depth].join("/") + "/file";
        write(folder.path(), &deep(DEPTH_MAX), b"x");
        assert_eq!(Content::find(folder.path()).unwrap().files.len(), 1);
        write(folder.path(), &deep(DEPTH_MAX + 1), b"x");
        assert!(matches!(Content::find(folder.path()), Err(CreateError::TooDeep(_))));
    }

    #[test]
    fn pieces_run_across_files_and_empty_files_count_for_nothing() {
        let folder = tempfile::tempdir().unwrap();
        let mut all = Vec::new();
        for (at, length) in [0usize, 5, 1, 0, 300_000, 7, 0].into_iter().enumerate() {
            let bytes = vec![u8::try_from(at).unwrap(); length];
            write(folder.path(), &format!("f{at}"), &bytes);
            all.extend(bytes);
        }
        let content = Content::find(folder.path()).unwrap();
        for (piece_length, threads) in [(1000, 1), (16_384, 0), (1 << 20, 3)] {
            let hashes = content.hash(piece_length, threads, &go_on).unwrap();
            let expected: Vec<_> = all.chunks(piece_length as usize).map(|p| sha1([p])).collect();
            assert_eq!(hashes, expected);
        }
    }

    #[test]
    fn a_single_file_is_its_own_content() {
        let folder = tempfile::tempdir().unwrap();
        write(folder.path(), "one", b"abc");
        let content = Content::find(&folder.path().join("one")).unwrap();
        assert!(content.is_file && content.name == "one" && paths(&content) == ["one"]);
        assert_eq!(content.hash(16, 0, &go_on).unwrap(), [sha1([b"abc".as_slice()])]);
    }

    #[test]
    fn nothing_to_share_is_an_error() {
        let folder = tempfile::tempdir().unwrap();
        let hash = || Content::find(folder.path()).unwrap().hash(16, 0, &go_on);
        assert!(matches!(hash(), Err(CreateError::Size { .. })));
        write(folder.path(), "empty", b"");
        assert!(matches!(hash(), Err(CreateError::Size { .. })));
        assert!(Content::find(&folder.path().join("nothing")).is_err());
    }

    #[test]
    fn a_file_that_changes_while_it_is_hashed_is_an_error() {
        for change in ["shorter", "longer", "gone", "replaced"] {
            let folder = tempfile::tempdir().unwrap();
            write(folder.path(), "a", &vec![1; 2 << 20]);
            write(folder.path(), "b", &vec![2; 2 << 20]);
            let content = Content::find(folder.path()).unwrap();
            let victim = folder.path().join("b");
            let done = AtomicBool::new(false);
            let disturb = |_| {
                if !done.swap(true, Ordering::Relaxed) {
                    let file = fs::File::options().write(true).open(&victim).unwrap();
                    match change {
                        "shorter" => file.set_len(1).unwrap(),
                        "longer" => file.set_len(3 << 20).unwrap(),
                        "gone" => fs::remove_file(&victim).unwrap(),
                        _ => file.set_modified(SystemTime::UNIX_EPOCH).unwrap(),
                    }
                }
                ControlFlow::Continue(())
            };
            let result = content.hash(1 << 18, 1, &disturb);
            assert!(
                matches!(result, Err(CreateError::Changed(path)) if path.ends_with("b")),
                "{change}"
            );
        }
    }

    #[test]
    fn it_stops_when_told() {
        let folder = tempfile::tempdir().unwrap();
        write(folder.path(), "a", &vec![1; 2 << 20]);
        let content = Content::find(folder.path()).unwrap();
        let result = content.hash(1 << 18, 2, &|_| ControlFlow::Break(()));
        assert!(matches!(result, Err(CreateError::Stopped)));
    }

    #[test]
    fn many_small_files_are_hashed() {
        let files = if cfg!(debug_assertions) { 2_000 } else { 100_000 };
        let folder = tempfile::tempdir().unwrap();
        let mut all = Vec::new();
        for at in 0..files {
            let bytes = format!("{at:06}");
            write(folder.path(), &format!("d{:03}/{at:06}", at / 500), bytes.as_bytes());
            all.extend(bytes.into_bytes());
        }
        let content = Content::find(folder.path()).unwrap();
        let hashes = content.hash(1 << 14, 0, &go_on).unwrap();
        assert_eq!(hashes, all.chunks(1 << 14).map(|piece| sha1([piece])).collect::<Vec<_>>());
    }
}
