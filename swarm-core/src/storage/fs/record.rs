//! What an earlier run verified, as bytes on the disk.
//!
//! A record claims pieces and says, for every file that holds bytes of theirs, how that file
//! looked when the claim was made ([`Stamp`]). It is believed only when it is whole (SHA-256),
//! is about this torrent, and only for files that still look the same: see `journal`.
//!
//! The checksum finds what a disk or a crash did to it. Against people it does not help: the
//! stamps do, which nobody can choose who cannot write the files themselves, and the rule that
//! the record must belong to us (`Root::read_private`).
//!
//! ```text
//! magic 8 · version 4 · info hash 20 · piece length 4 · total length 8 · generation 8 ·
//! mark 8 · pieces 4 · bits (pieces + 7) / 8 · files 4 · { key 4, stamp 40 } · SHA-256 32
//! ```
//!
//! All numbers are little-endian. Not here: where it lies (`journal`), how it gets there.

use crate::geometry::Geometry;
use crate::types::{Bitfield, InfoHash};
use sha2::{Digest as _, Sha256};
use std::collections::BTreeMap;
use std::fs::Metadata;
use std::os::unix::fs::MetadataExt as _;

/// Longest record that is read, bytes: a million files and two million pieces.
pub(super) const RECORD_BYTES_MAX: u64 = 48 << 20;

const MAGIC: &[u8; 8] = b"swarmrec";
const VERSION: u32 = 1;
const SUM_LEN: usize = 32;

/// How a file looked: whatever writes it changes this.
///
/// `changed` is the inode's own time, which a program that sets the time of modification back
/// does not reach.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Stamp {
    pub(super) device: u64,
    pub(super) inode: u64,
    pub(super) length: u64,
    /// Nanoseconds since 1970.
    pub(super) modified: i64,
    /// Nanoseconds since 1970.
    pub(super) changed: i64,
}

/// Pieces verified, and the files they were verified in.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Record {
    pub(super) subject: Subject,
    /// Counts up with every record of one download. For people.
    pub(super) generation: u64,
    /// Which run's lock tells when it last wrote; 0: none does.
    pub(super) mark: u64,
    pub(super) have: Bitfield,
    /// By place in the torrent; [`SHARED`] is the shared file.
    pub(super) files: BTreeMap<u32, Stamp>,
}

/// What a record is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Subject {
    pub(super) torrent: InfoHash,
    pub(super) geometry: Geometry,
}

/// Stands for the shared file where a file's place in the torrent is due.
pub(super) const SHARED: u32 = u32::MAX;

/// Why bytes are no record, or none of this torrent.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub(super) enum RecordError {
    #[error("cut short, or no record at all")]
    Truncated,
    #[error("its checksum is wrong")]
    Damaged,
    #[error("another version's")]
    Version,
    #[error("another torrent's")]
    Foreign,
}

impl Stamp {
    pub(crate) fn of(meta: &Metadata) -> Self {
        Self {
            device: meta.dev(),
            inode: meta.ino(),
            length: meta.len(),
            modified: nanos(meta.mtime(), meta.mtime_nsec()),
            changed: nanos(meta.ctime(), meta.ctime_nsec()),
        }
    }

    /// Whether it is the same file at the same length, whenever it was written.
    pub(super) const fn is_same_file(&self, other: &Self) -> bool {
        self.device == other.device && self.inode == other.inode && self.length == other.length
    }

    /// When it was last written or otherwise touched.
    pub(super) fn touched(&self) -> i64 {
        self.modified.max(self.changed)
    }
}

fn nanos(seconds: i64, nanos: i64) -> i64 {
    seconds.saturating_mul(1_000_000_000).saturating_add(nanos)
}

impl Record {
    pub(super) fn encode(&self) -> Vec<u8> {
        let mut out = Vec::with_capacity(128 + self.have.as_wire().len() + self.files.len() * 44);
        out.extend_from_slice(MAGIC);
        out.extend_from_slice(&VERSION.to_le_bytes());
        let Subject { torrent, geometry } = &self.subject;
        out.extend_from_slice(torrent.as_bytes());
        out.extend_from_slice(&geometry.piece_length().to_le_bytes());
        out.extend_from_slice(&geometry.total_length().to_le_bytes());
        out.extend_from_slice(&self.generation.to_le_bytes());
        out.extend_from_slice(&self.mark.to_le_bytes());
        out.extend_from_slice(&self.have.len().to_le_bytes());
        out.extend_from_slice(self.have.as_wire());
        // A torrent has at most a million files.
        let files = u32::try_from(self.files.len()).unwrap_or(u32::MAX);
        out.extend_from_slice(&files.to_le_bytes());
        for (key, stamp) in &self.files {
            out.extend_from_slice(&key.to_le_bytes());
            put_stamp(&mut out, stamp);
        }
        let sum = Sha256::digest(&out);
        out.extend_from_slice(&sum);
        out
    }

    /// Reads a record about `subject`.
    pub(super) fn decode(bytes: &[u8], subject: &Subject) -> Result<Self, RecordError> {
        let end = bytes.len().checked_sub(SUM_LEN).ok_or(RecordError::Truncated)?;
        let (body, sum) = bytes.split_at(end);
        let mut cursor = Cursor(body);
        if cursor.take::<8>()? != *MAGIC {
            return Err(RecordError::Truncated);
        }
        if cursor.u32()? != VERSION {
            return Err(RecordError::Version);
        }
        if Sha256::digest(body).as_slice() != sum {
            return Err(RecordError::Damaged);
        }
        let geometry = &subject.geometry;
        let ours = cursor.take::<20>()? == *subject.torrent.as_bytes()
            && cursor.u32()? == geometry.piece_length()
            && cursor.u64()? == geometry.total_length();
        if !ours {
            return Err(RecordError::Foreign);
        }
        let (generation, mark) = (cursor.u64()?, cursor.u64()?);
        if cursor.u32()? != geometry.piece_count() {
            return Err(RecordError::Foreign);
        }
        let bits = cursor.bytes(geometry.piece_count().div_ceil(8) as usize)?;
        let have =
            Bitfield::from_wire(bits, geometry.piece_count()).map_err(|_| RecordError::Damaged)?;
        let mut files = BTreeMap::new();
        for _ in 0..cursor.u32()? {
            files.insert(cursor.u32()?, cursor.stamp()?);
        }
        Ok(Self { subject: *subject, generation, mark, have, files })
    }
}

/// Appends a stamp.
pub(super) fn put_stamp(out: &mut Vec<u8>, stamp: &Stamp) {
    for number in [stamp.device, stamp.inode, stamp.length] {
        out.extend_from_slice(&number.to_le_bytes());
    }
    for time in [stamp.modified, stamp.changed] {
        out.extend_from_slice(&time.to_le_bytes());
    }
}

/// What is left to read.
pub(super) struct Cursor<'a>(pub(super) &'a [u8]);

impl<'a> Cursor<'a> {
    fn bytes(&mut self, length: usize) -> Result<&'a [u8], RecordError> {
        let (head, tail) = self.0.split_at_checked(length).ok_or(RecordError::Truncated)?;
        self.0 = tail;
        Ok(head)
    }

    pub(super) fn take<const N: usize>(&mut self) -> Result<[u8; N], RecordError> {
        self.bytes(N)?.try_into().map_err(|_| RecordError::Truncated)
    }

    pub(super) fn u32(&mut self) -> Result<u32, RecordError> {
        self.take().map(u32::from_le_bytes)
    }

    fn u64(&mut self) -> Result<u64, RecordError> {
        self.take().map(u64::from_le_bytes)
    }

    pub(super) fn stamp(&mut self) -> Result<Stamp, RecordError> {
        Ok(Stamp {
            device: self.u64()?,
            inode: self.u64()?,
            length: self.u64()?,
            modified: self.take().map(i64::from_le_bytes)?,
            changed: self.take().map(i64::from_le_bytes)?,
        })
    }
}

/// Reads bytes as a record of a torrent of 16 pieces: as they are, or behind its own beginning
/// and before the right checksum, which no search would find.
///
/// # Panics
/// When what is read is more than the bytes hold, or is not read again from what is written.
#[cfg(feature = "__fuzz")]
pub fn replay(kind: u8, bytes: &[u8]) {
    // Its lengths are within bounds.
    let geometry = Geometry::new(64, 1000).expect("a valid geometry");
    let subject = Subject { torrent: InfoHash::new([7; 20]), geometry };
    let mut record = Vec::new();
    if kind % 3 == 2 {
        record.extend_from_slice(MAGIC);
        record.extend_from_slice(&VERSION.to_le_bytes());
        record.extend_from_slice(subject.torrent.as_bytes());
        record.extend_from_slice(&geometry.piece_length().to_le_bytes());
        record.extend_from_slice(&geometry.total_length().to_le_bytes());
    }
    record.extend_from_slice(bytes);
    if !kind.is_multiple_of(3) {
        let sum = Sha256::digest(&record);
        record.extend_from_slice(&sum);
    }
    let Ok(read) = Record::decode(&record, &subject) else { return };
    assert_eq!(read.have.len(), geometry.piece_count());
    assert!(read.files.len() * 44 <= bytes.len());
    assert_eq!(Record::decode(&read.encode(), &subject), Ok(read));
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::types::PieceIndex;
    use proptest::prelude::*;

    fn subject() -> Subject {
        Subject { torrent: InfoHash::new([7; 20]), geometry: Geometry::new(64, 1000).unwrap() }
    }

    fn stamp(seed: u64) -> Stamp {
        let time = i64::try_from(seed).unwrap();
        Stamp { device: seed, inode: seed + 1, length: seed + 2, modified: -time, changed: time }
    }

    fn record(pieces: &[u32], files: u32) -> Record {
        let mut have = Bitfield::none(16);
        for piece in pieces {
            have.insert(PieceIndex::new(*piece));
        }
        let files = (0..files).map(|file| (file, stamp(u64::from(file)))).collect();
        Record { subject: subject(), generation: 3, mark: 9, have, files }
    }

    #[test]
    fn a_record_of_another_torrent_or_another_cut_of_it_is_foreign() {
        let bytes = record(&[1], 2).encode();
        let other = Subject { torrent: InfoHash::new([8; 20]), ..subject() };
        assert_eq!(Record::decode(&bytes, &other), Err(RecordError::Foreign));
        for (piece_length, total) in [(128, 1000), (64, 999)] {
            let geometry = Geometry::new(piece_length, total).unwrap();
            let other = Subject { geometry, ..subject() };
            assert_eq!(Record::decode(&bytes, &other), Err(RecordError::Foreign));
        }
    }

    #[test]
    fn the_largest_torrent_fits_the_bound() {
        let files = 1_000_001;
        let length = 128 + 2_097_152 / 8 + 44 * files + SUM_LEN;
        assert!(length as u64 <= RECORD_BYTES_MAX);
    }

    proptest! {
        #[test]
        fn what_was_encoded_is_decoded(pieces in prop::collection::vec(0u32..16, 0..16), files in 0u32..9) {
            let record = record(&pieces, files);
            prop_assert_eq!(Record::decode(&record.encode(), &subject()), Ok(record));
        }

        #[test]
        fn no_cut_and_no_changed_byte_goes_unseen(at in 0usize..400, flip in 1u8..=255, cut: bool) {
            let mut bytes = record(&[0, 5, 15], 4).encode();
            let at = at % bytes.len();
            if cut {
                bytes.truncate(at);
            } else {
                bytes[at] ^= flip;
            }
            prop_assert!(Record::decode(&bytes, &subject()).is_err());
        }

        #[test]
        fn any_bytes_are_refused_without_a_panic(bytes in prop::collection::vec(any::<u8>(), 0..300)) {
            prop_assert!(Record::decode(&bytes, &subject()).is_err());
        }
    }
}
