//! Bytes done, per file and in all, for the torrent's task to count and anyone to read.
//!
//! Exact at every moment and free of locks: a reader sees each piece either counted or not
//! yet, a few nanoseconds apart between a file and the sum.
//!
//! Not here: which pieces are done (`proto`).

use crate::metainfo::Metainfo;
use crate::session::{FileStats, Selection};
use crate::types::{Bitfield, FileIndex, PieceIndex};
use std::collections::BTreeSet;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

/// What of a torrent's content is verified and written.
#[derive(Debug)]
pub(crate) struct Progress {
    metainfo: Arc<Metainfo>,
    files: Box<[FileProgress]>,
    have_bytes: AtomicU64,
    total_bytes: AtomicU64,
}

#[derive(Debug, Default)]
struct FileProgress {
    have_bytes: AtomicU64,
    wanted: AtomicBool,
}

impl Progress {
    /// Nothing done yet, of the files selected.
    pub(crate) fn new(metainfo: Arc<Metainfo>, selection: &Selection) -> Self {
        let files = metainfo.files().iter().map(|_| FileProgress::default()).collect();
        let progress =
            Self { metainfo, files, have_bytes: AtomicU64::new(0), total_bytes: AtomicU64::new(0) };
        progress.select(selection);
        progress
    }

    /// Changes which files count.
    pub(crate) fn select(&self, selection: &Selection) {
        let chosen: Option<BTreeSet<FileIndex>> = match selection {
            Selection::All => None,
            Selection::Files(files) => Some(files.iter().copied().collect()),
        };
        let is_chosen = |index: usize| match (&chosen, u32::try_from(index)) {
            (None, _) => true,
            (Some(chosen), Ok(index)) => chosen.contains(&FileIndex::new(index)),
            (Some(_), Err(_)) => false,
        };
        let (mut have, mut total) = (0, 0);
        for (index, (file, progress)) in self.metainfo.files().iter().zip(&self.files).enumerate() {
            let wanted = !file.pad && is_chosen(index);
            progress.wanted.store(wanted, Ordering::Relaxed);
            if wanted {
                have += progress.have_bytes.load(Ordering::Relaxed);
                total += file.length;
            }
        }
        self.have_bytes.store(have, Ordering::Relaxed);
        self.total_bytes.store(total, Ordering::Relaxed);
    }

    /// Counts a piece; gives the wanted files that it completes.
    pub(crate) fn add_piece(&self, piece: PieceIndex) -> Vec<FileIndex> {
        let range = self.metainfo.geometry().piece_range(piece);
        let mut done = Vec::new();
        for slice in self.metainfo.layout().slices(range).filter(|slice| !slice.pad) {
            let (Some(progress), Some(extent)) =
                (self.files.get(slice.file.as_usize()), self.metainfo.layout().extent(slice.file))
            else {
                continue;
            };
            let before = progress.have_bytes.fetch_add(slice.length, Ordering::Relaxed);
            if !progress.wanted.load(Ordering::Relaxed) {
                continue;
            }
            self.have_bytes.fetch_add(slice.length, Ordering::Relaxed);
            if before + slice.length == extent.length {
                done.push(slice.file);
            }
        }
        done
    }

    /// Counts anew what was found on the disk; gives the wanted files that are done and were
    /// not before.
    pub(crate) fn recount(&self, have: &Bitfield) -> Vec<FileIndex> {
        let extents = self.metainfo.layout().extents();
        let full: Vec<bool> = extents
            .iter()
            .zip(&self.files)
            .map(|(extent, file)| file.have_bytes.swap(0, Ordering::Relaxed) == extent.length)
            .collect();
        self.have_bytes.store(0, Ordering::Relaxed);
        let mut done: Vec<FileIndex> =
            have.iter().flat_map(|piece| self.add_piece(piece)).collect();
        done.retain(|file| full.get(file.as_usize()) != Some(&true));
        done
    }

    /// The pieces that hold a byte of a file that counts.
    pub(crate) fn wanted_pieces(&self) -> Bitfield {
        let geometry = self.metainfo.geometry();
        let mut wanted = Bitfield::none(geometry.piece_count());
        for (extent, progress) in self.metainfo.layout().extents().iter().zip(&self.files) {
            if progress.wanted.load(Ordering::Relaxed) {
                for piece in geometry.pieces_of(extent.offset..extent.offset + extent.length) {
                    wanted.insert(PieceIndex::new(piece));
                }
            }
        }
        wanted
    }

    /// Whether a file counts.
    pub(crate) fn is_wanted(&self, file: FileIndex) -> bool {
        let progress = self.files.get(file.as_usize());
        progress.is_some_and(|progress| progress.wanted.load(Ordering::Relaxed))
    }

    /// Whether no file counts at all.
    pub(crate) fn is_nothing_wanted(&self) -> bool {
        self.files.iter().all(|file| !file.wanted.load(Ordering::Relaxed))
    }

    /// Bytes done of the files that count.
    pub(crate) fn have_bytes(&self) -> u64 {
        self.have_bytes.load(Ordering::Relaxed)
    }

    /// Bytes of the files that count.
    pub(crate) fn total_bytes(&self) -> u64 {
        self.total_bytes.load(Ordering::Relaxed)
    }

    /// Each file that counts.
    pub(crate) fn files(&self) -> Vec<FileStats> {
        let each = self.metainfo.files().iter().zip(&self.files).enumerate();
        each.filter(|(_, (_, progress))| progress.wanted.load(Ordering::Relaxed))
            .filter_map(|(index, (file, progress))| {
                Some(FileStats {
                    file: FileIndex::new(u32::try_from(index).ok()?),
                    have_bytes: progress.have_bytes.load(Ordering::Relaxed),
                    length: file.length,
                })
            })
            .collect()
    }
}
