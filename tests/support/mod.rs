//! Content on the disk and its torrent, and waiting that ends.

pub(crate) mod binary;

use sha1::{Digest, Sha1};
use std::future::Future;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;
use std::{fs, io};
use swarm_core::Metainfo;
use swarm_core::metainfo::create::{ContentHashes, FileEntry, MetainfoBuilder, sort_files};

/// How long anything may take before a test calls it stuck. Nothing waits for this long when
/// all is well, so it is generous: the machine may be busy.
pub(crate) const PATIENCE: Duration = Duration::from_secs(60);

/// A file or a folder of files, in memory, to be put on disks and compared with them.
#[derive(Clone, Debug)]
pub(crate) struct Tree {
    pub(crate) name: String,
    files: Vec<(Vec<String>, Vec<u8>)>,
    single: bool,
}

impl Tree {
    /// One file.
    pub(crate) fn file(name: &str, length: usize) -> Self {
        let files = vec![(vec![name.to_owned()], bytes(length, name))];
        Self { name: name.to_owned(), files, single: true }
    }

    /// A folder of files: slash-separated paths with lengths.
    pub(crate) fn folder(name: &str, files: &[(&str, usize)]) -> Self {
        let mut files: Vec<(Vec<String>, Vec<u8>)> = files
            .iter()
            .map(|(path, length)| {
                (path.split('/').map(str::to_owned).collect(), bytes(*length, path))
            })
            .collect();
        files.sort();
        Self { name: name.to_owned(), files, single: false }
    }

    /// Writes it below `folder` and returns where it lies.
    pub(crate) fn write(&self, folder: &Path) -> PathBuf {
        for (path, content) in &self.files {
            let target = self.locate(folder, path);
            fs::create_dir_all(target.parent().expect("below the folder")).expect("a folder");
            fs::write(target, content).expect("a file");
        }
        folder.join(&self.name)
    }

    /// The torrent, in v1.
    pub(crate) fn metainfo(&self, piece_length: u32) -> Arc<Metainfo> {
        Arc::new(Metainfo::from_torrent(&self.torrent(piece_length)).expect("valid"))
    }

    /// The bytes of the `.torrent`.
    pub(crate) fn torrent(&self, piece_length: u32) -> Vec<u8> {
        let content = self.content();
        let size = usize::try_from(piece_length).expect("small");
        let pieces = content.chunks(size).flat_map(Sha1::digest).collect();
        let builder = if self.single {
            MetainfoBuilder::file(&self.name, length(&content), piece_length)
        } else {
            let mut entries: Vec<FileEntry> = self
                .files
                .iter()
                .map(|(path, bytes)| FileEntry { path: path.clone(), length: length(bytes) })
                .collect();
            sort_files(&mut entries);
            MetainfoBuilder::folder(&self.name, entries, piece_length)
        };
        builder.build(&ContentHashes::V1(pieces)).expect("a valid torrent")
    }

    /// Fails unless it lies below `folder`, byte for byte, and nothing else with it.
    pub(crate) fn assert_lies_in(&self, folder: &Path) {
        for (path, content) in &self.files {
            let target = self.locate(folder, path);
            let found = fs::read(&target).unwrap_or_else(|e| panic!("{}: {e}", target.display()));
            assert!(found == *content, "{} differs", target.display());
        }
        assert_eq!(count_files(folder).expect("readable"), self.files.len(), "files left over");
    }

    /// Whether one of its files lies below `folder` under its final name.
    pub(crate) fn has(&self, folder: &Path, index: usize) -> bool {
        let (path, content) = &self.files[index];
        fs::read(self.locate(folder, path)).is_ok_and(|found| found == *content)
    }

    /// Whether anything lies where one of its files belongs.
    pub(crate) fn exists(&self, folder: &Path, index: usize) -> bool {
        self.locate(folder, &self.files[index].0).exists()
    }

    /// How many files there are.
    pub(crate) fn len(&self) -> usize {
        self.files.len()
    }

    /// All of it in the order of the torrent, for who serves it by hand.
    pub(crate) fn content(&self) -> Vec<u8> {
        self.files.iter().flat_map(|(_, bytes)| bytes).copied().collect()
    }

    pub(crate) fn length(&self) -> u64 {
        self.files.iter().map(|(_, bytes)| length(bytes)).sum()
    }

    fn locate(&self, folder: &Path, path: &[String]) -> PathBuf {
        let base = if self.single { folder.to_owned() } else { folder.join(&self.name) };
        path.iter().fold(base, |at, element| at.join(element))
    }
}

/// Waits for what must happen; fails the test when it does not.
pub(crate) async fn within<T>(what: &str, future: impl Future<Output = T>) -> T {
    tokio::time::timeout(PATIENCE, future)
        .await
        .unwrap_or_else(|_| panic!("{what}: nothing after {PATIENCE:?}"))
}

/// Bytes that do not repeat and that a name decides.
fn bytes(length: usize, name: &str) -> Vec<u8> {
    let mut state = name.bytes().fold(0xcbf2_9ce4_8422_2325_u64, |hash, byte| {
        (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3)
    });
    let mut out = Vec::with_capacity(length + 8);
    while out.len() < length {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        out.extend_from_slice(&state.to_le_bytes());
    }
    out.truncate(length);
    out
}

fn length(bytes: &[u8]) -> u64 {
    u64::try_from(bytes.len()).expect("a length fits 64 bits")
}

fn count_files(folder: &Path) -> io::Result<usize> {
    let mut count = 0;
    for entry in fs::read_dir(folder)? {
        let entry = entry?;
        // What a program records for itself is in its own place, see `binary::command`.
        if entry.file_name() == ".xdg" {
            continue;
        }
        count += if entry.file_type()?.is_dir() { count_files(&entry.path())? } else { 1 };
    }
    Ok(count)
}
