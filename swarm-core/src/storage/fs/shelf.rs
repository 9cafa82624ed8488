//! What is known of content that is not being fetched, in a folder of the user's own.
//!
//! One file for each, named by a digest of what it is about: for a record the torrent and the
//! content's path, so that the same torrent in two places is two contents. Bounded: when it is full the records written
//! longest ago go. Losing one costs one check.
//!
//! Not here: what is in a record (`record`), whether it is believed (`journal`).

use super::beneath::Root;
use super::record::Stamp;
use data_encoding::HEXLOWER;
use sha2::{Digest as _, Sha256};
use std::io;
use std::os::unix::fs::DirBuilderExt as _;
use std::path::{Path, PathBuf};

/// Most records kept.
pub(super) const RECORDS_MAX: usize = 4096;
/// Most bytes of records kept.
pub(super) const RECORDS_BYTES_MAX: u64 = 64 << 20;

/// Where the record of one content is, or will be.
#[derive(Debug)]
pub(super) struct Shelf {
    root: Root,
    name: PathBuf,
    spare: PathBuf,
}

impl Shelf {
    /// The place in `folder` for what is known by these keys together.
    pub(super) fn open(folder: &Path, keys: &[&[u8]]) -> io::Result<Self> {
        std::fs::DirBuilder::new().recursive(true).mode(0o700).create(folder)?;
        let mut digest = Sha256::new();
        for key in keys {
            digest.update((key.len() as u64).to_le_bytes());
            digest.update(key);
        }
        let digest = digest.finalize();
        let name = HEXLOWER.encode(digest.get(..20).unwrap_or_default());
        // Two processes may write at once: each has a spare name of its own.
        let spare = format!("{name}.new-{}", std::process::id());
        Ok(Self { root: Root::open(folder)?, name: name.into(), spare: spare.into() })
    }

    pub(super) fn load(&self, longest: u64) -> io::Result<Option<Vec<u8>>> {
        self.root.read_private(&self.name, longest)
    }

    /// Puts `bytes` there. On a shelf this small they may not fit: then nothing is kept.
    pub(super) fn store(&self, bytes: &[u8]) -> io::Result<()> {
        if bytes.len() as u64 > RECORDS_BYTES_MAX {
            return self.clear();
        }
        self.make_room(bytes.len() as u64)?;
        let written = self.root.replace_private(&self.name, &self.spare, bytes);
        if written.is_err() {
            self.root.remove(&self.spare)?;
        }
        written
    }

    pub(super) fn clear(&self) -> io::Result<()> {
        self.root.remove(&self.name).map(drop)
    }

    /// Removes the oldest records until there is room for one of `length` bytes.
    fn make_room(&self, length: u64) -> io::Result<()> {
        let mut others: Vec<(Stamp, PathBuf)> = Vec::new();
        for (path, _) in self.root.list(Path::new(""))? {
            if path != self.name
                && let Some(stamp) = self.root.stamp(&path)?
            {
                others.push((stamp, path));
            }
        }
        others.sort_by_key(|(stamp, _)| std::cmp::Reverse(stamp.modified));
        let mut bytes = length;
        for (at, (stamp, path)) in others.iter().enumerate() {
            bytes = bytes.saturating_add(stamp.length);
            if at + 1 >= RECORDS_MAX || bytes > RECORDS_BYTES_MAX {
                self.root.remove(path)?;
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shelf(folder: &Path, content: &str) -> Shelf {
        Shelf::open(&folder.join("verified"), &[content.as_bytes()]).unwrap()
    }

    #[test]
    fn each_content_has_a_record_of_its_own() {
        let folder = tempfile::tempdir().unwrap();
        let (one, two) = (shelf(folder.path(), "/a"), shelf(folder.path(), "/b"));
        one.store(b"one").unwrap();
        assert_eq!(two.load(RECORDS_BYTES_MAX).unwrap(), None);
        two.store(b"two").unwrap();
        assert_eq!(one.load(RECORDS_BYTES_MAX).unwrap().unwrap(), b"one");
        one.store(b"again").unwrap();
        assert_eq!(shelf(folder.path(), "/a").load(RECORDS_BYTES_MAX).unwrap().unwrap(), b"again");
        one.clear().unwrap();
        one.clear().unwrap();
        assert_eq!(one.load(RECORDS_BYTES_MAX).unwrap(), None);
        assert_eq!(two.load(RECORDS_BYTES_MAX).unwrap().unwrap(), b"two");
    }

    #[test]
    fn when_it_is_full_the_oldest_go() {
        let folder = tempfile::tempdir().unwrap();
        let verified = folder.path().join("verified");
        let first = shelf(folder.path(), "/first");
        first.store(b"1").unwrap();
        // Long ago, whatever the clock of this filesystem counts in.
        let file = std::fs::File::open(verified.join(&first.name)).unwrap();
        let long_ago = std::time::SystemTime::UNIX_EPOCH;
        file.set_times(std::fs::FileTimes::new().set_modified(long_ago)).unwrap();
        for n in 0..RECORDS_MAX {
            std::fs::write(verified.join(n.to_string()), "x").unwrap();
        }
        shelf(folder.path(), "/last").store(b"2").unwrap();
        assert_eq!(std::fs::read_dir(&verified).unwrap().count(), RECORDS_MAX);
        assert_eq!(first.load(RECORDS_BYTES_MAX).unwrap(), None, "the oldest is gone");
    }

    #[test]
    fn when_there_are_too_many_bytes_the_oldest_go() {
        let folder = tempfile::tempdir().unwrap();
        let [one, two] = ["/one", "/two"].map(|content| shelf(folder.path(), content));
        let half = vec![0; usize::try_from(RECORDS_BYTES_MAX / 2 + 1).unwrap()];
        let long = folder.path().join("verified/long");
        std::fs::write(&long, &half).unwrap();
        one.store(b"1").unwrap();
        assert!(long.exists());
        two.store(&half).unwrap();
        assert!(!long.exists());
        two.store(&vec![0; half.len() * 2]).unwrap();
        assert_eq!(two.load(RECORDS_BYTES_MAX).unwrap(), None, "longer than the whole shelf");
        assert_eq!(one.load(RECORDS_BYTES_MAX).unwrap().unwrap(), b"1");
    }

    #[test]
    fn a_record_that_others_can_write_is_not_read() {
        use std::os::unix::fs::PermissionsExt as _;
        let folder = tempfile::tempdir().unwrap();
        let shelf = shelf(folder.path(), "/a");
        shelf.store(b"mine").unwrap();
        let path = folder.path().join("verified").join(&shelf.name);
        assert_eq!(path.metadata().unwrap().permissions().mode() & 0o777, 0o600);
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o620)).unwrap();
        assert_eq!(shelf.load(RECORDS_BYTES_MAX).unwrap(), None);
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o600)).unwrap();
        std::fs::hard_link(&path, folder.path().join("other")).unwrap();
        assert_eq!(shelf.load(RECORDS_BYTES_MAX).unwrap(), None);
    }
}
