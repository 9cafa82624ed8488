//! Piece hashes of content that was hashed once and not touched since.
//!
//! Making a torrent of a terabyte takes an hour; making it again need not. The hashes are kept
//! on the [`shelf`](super::shelf) with the stamps the files had *before* they were hashed, and
//! count only while every file still has exactly those.
//!
//! Not here: hashing, and what else a torrent says (`data::create`).

use super::record::{Cursor, RECORD_BYTES_MAX, RecordError, Stamp, put_stamp};
use super::shelf::Shelf;
use sha2::{Digest as _, Sha256};
use std::io;
use std::os::unix::ffi::OsStrExt as _;
use std::path::Path;

const MAGIC: &[u8; 8] = b"swarmsum";
const SUM_LEN: usize = 32;
const HASH_LEN: usize = 20;

/// Content about to be hashed, as it looks.
#[derive(Debug)]
pub(crate) struct Sums<'a> {
    /// The file or folder, absolute.
    pub(crate) root: &'a Path,
    /// Digest of the paths in it, in order.
    pub(crate) names: [u8; 32],
    /// How each file looks, in the same order.
    pub(crate) stamps: Vec<Stamp>,
    pub(crate) piece_length: u32,
    /// Pieces that come of it.
    pub(crate) pieces: usize,
}

impl Sums<'_> {
    /// The hashes kept of exactly this content, if there are any.
    pub(crate) fn load(&self, folder: &Path) -> Option<Vec<[u8; HASH_LEN]>> {
        let bytes = self.shelf(folder).and_then(|shelf| shelf.load(RECORD_BYTES_MAX));
        let bytes = bytes.inspect_err(|error| tracing::debug!(%error, "no hashes kept")).ok()??;
        self.decode(&bytes).ok().flatten()
    }

    /// Keeps the hashes.
    pub(crate) fn store(&self, folder: &Path, hashes: &[[u8; HASH_LEN]]) -> io::Result<()> {
        self.shelf(folder)?.store(&self.encode(hashes))
    }

    fn shelf(&self, folder: &Path) -> io::Result<Shelf> {
        let root = self.root.as_os_str().as_bytes();
        Shelf::open(&folder.join("hashed"), &[root, &self.piece_length.to_le_bytes()])
    }

    fn encode(&self, hashes: &[[u8; HASH_LEN]]) -> Vec<u8> {
        let mut out = MAGIC.to_vec();
        out.extend_from_slice(&self.piece_length.to_le_bytes());
        out.extend_from_slice(&self.names);
        for stamp in &self.stamps {
            put_stamp(&mut out, stamp);
        }
        out.extend_from_slice(hashes.as_flattened());
        let sum = Sha256::digest(&out);
        out.extend_from_slice(&sum);
        out
    }

    /// `None` when it is about content that looked different.
    fn decode(&self, bytes: &[u8]) -> Result<Option<Vec<[u8; HASH_LEN]>>, RecordError> {
        let end = bytes.len().checked_sub(SUM_LEN).ok_or(RecordError::Truncated)?;
        let (body, sum) = bytes.split_at(end);
        if Sha256::digest(body).as_slice() != sum {
            return Err(RecordError::Damaged);
        }
        let mut cursor = Cursor(body);
        if cursor.take::<8>()? != *MAGIC {
            return Err(RecordError::Version);
        }
        if cursor.u32()? != self.piece_length || cursor.take::<32>()? != self.names {
            return Ok(None);
        }
        for stamp in &self.stamps {
            if cursor.stamp()? != *stamp {
                return Ok(None);
            }
        }
        let hashes: Result<Vec<_>, _> = (0..self.pieces).map(|_| cursor.take()).collect();
        hashes.map(Some)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn stamp(file: &Path) -> Stamp {
        Stamp::of(&file.metadata().unwrap())
    }

    fn sums(root: &Path) -> Sums<'_> {
        Sums { root, names: [3; 32], stamps: vec![stamp(root)], piece_length: 16, pieces: 2 }
    }

    #[test]
    fn hashes_count_for_exactly_the_content_they_were_made_of() {
        let folder = tempfile::tempdir().unwrap();
        let (file, state) = (folder.path().join("a"), folder.path().join("state"));
        std::fs::write(&file, "one").unwrap();
        let hashes = [[1; 20], [2; 20]];
        sums(&file).store(&state, &hashes).unwrap();
        assert_eq!(sums(&file).load(&state).unwrap(), hashes);
        assert!(Sums { names: [4; 32], ..sums(&file) }.load(&state).is_none());
        assert!(Sums { piece_length: 32, ..sums(&file) }.load(&state).is_none());
        assert!(Sums { pieces: 3, ..sums(&file) }.load(&state).is_none());
        std::fs::write(&file, "two!").unwrap();
        assert!(sums(&file).load(&state).is_none());
    }

    #[test]
    fn no_damage_goes_unseen() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("a");
        std::fs::write(&file, "one").unwrap();
        let good = sums(&file).encode(&[[1; 20], [2; 20]]);
        assert!(sums(&file).decode(&good).unwrap().is_some());
        for at in 0..good.len() {
            let mut bad = good.clone();
            bad[at] ^= 1;
            assert!(sums(&file).decode(&bad).is_err(), "byte {at}");
            assert!(sums(&file).decode(&good[..at]).is_err(), "cut at {at}");
        }
    }
}
