//! Residency by `statfs` and by reads that may not wait. Not here: why (see `residency`).

use super::Residency;
use rustix::io::{Errno, ReadWriteFlags, preadv2};
use std::fs::File;
use std::io::IoSliceMut;

/// Distance of the bytes that are looked at: one block.
const STEP: u64 = 16 << 10;
/// What `statfs` calls the file system in memory.
const TMPFS: rustix::fs::FsWord = 0x0102_1994;

impl Residency {
    /// Asks the file system. May block.
    pub(in crate::storage::fs) fn of(file: &File) -> Self {
        if rustix::fs::fstatfs(file).is_ok_and(|stat| stat.f_type == TMPFS) {
            return Self::Memory;
        }
        match read_byte(file, 0, ReadWriteFlags::NOWAIT) {
            Ok(_) | Err(Errno::AGAIN) => Self::Probed,
            Err(_) => Self::Unknown,
        }
    }

    /// How many of the `length` bytes at `offset` are in memory, from the first on; `None`
    /// when not even the first [`STEP`] of them are. Waits for no disk.
    pub(in crate::storage::fs) fn prefix(
        self,
        file: &File,
        offset: u64,
        length: u64,
    ) -> Option<u64> {
        let last = length.checked_sub(1)?;
        match self {
            Self::Unknown => None,
            Self::Memory => {
                has_byte(file, offset + last, ReadWriteFlags::empty()).then_some(length)
            }
            Self::Probed => probe(file, offset, last),
        }
    }
}

fn probe(file: &File, offset: u64, last: u64) -> Option<u64> {
    let mut known = None;
    for at in (0..last).step_by(usize::try_from(STEP).unwrap_or(usize::MAX)) {
        if !has_byte(file, offset + at, ReadWriteFlags::NOWAIT) {
            return known;
        }
        known = Some(at).filter(|known| *known > 0);
    }
    has_byte(file, offset + last, ReadWriteFlags::NOWAIT).then_some(last + 1).or(known)
}

fn has_byte(file: &File, at: u64, flags: ReadWriteFlags) -> bool {
    read_byte(file, at, flags) == Ok(1)
}

fn read_byte(file: &File, at: u64, flags: ReadWriteFlags) -> Result<usize, Errno> {
    preadv2(file, &mut [IoSliceMut::new(&mut [0])], at, flags)
}

#[cfg(test)]
mod tests {
    use super::*;
    use rustix::fs::Advice;
    use std::path::Path;

    fn file_of(file: File, length: u64) -> File {
        use std::os::unix::fs::FileExt as _;
        file.write_all_at(&vec![7; usize::try_from(length).unwrap()], 0).unwrap();
        file
    }

    #[test]
    fn a_file_in_memory_is_there_up_to_its_end() {
        let Ok(file) = tempfile::tempfile_in("/dev/shm") else { return };
        let file = file_of(file, 3 * STEP);
        let residency = Residency::of(&file);
        assert_eq!(residency, Residency::Memory);
        assert_eq!(residency.prefix(&file, STEP, 2 * STEP), Some(2 * STEP));
        assert_eq!(residency.prefix(&file, STEP, 2 * STEP + 1), None);
        assert_eq!(residency.prefix(&file, STEP, 0), None);
    }

    #[test]
    fn what_a_file_system_does_not_tell_is_not_there() {
        let file = file_of(tempfile::tempfile().unwrap(), 3 * STEP);
        assert_eq!(Residency::Unknown.prefix(&file, 0, STEP), None);
    }

    #[test]
    fn what_was_dropped_from_memory_is_not_there_and_the_end_of_the_file_is_seen() {
        // A real disk, if the temporary folder or the build's own is on one.
        let target = Path::new(env!("CARGO_MANIFEST_DIR"));
        let file = file_of(tempfile::tempfile_in(target).unwrap(), 8 * STEP + 5);
        if Residency::of(&file) != Residency::Probed {
            return;
        }
        assert_eq!(Residency::Probed.prefix(&file, 0, 8 * STEP + 5), Some(8 * STEP + 5));
        assert_eq!(Residency::Probed.prefix(&file, 8 * STEP, 5), Some(5));
        assert_eq!(Residency::Probed.prefix(&file, 8 * STEP, 6), None);
        assert_eq!(Residency::Probed.prefix(&file, 0, 99 * STEP), Some(8 * STEP));
        file.sync_all().unwrap();
        rustix::fs::fadvise(&file, 4 * STEP, None, Advice::DontNeed).unwrap();
        if Residency::Probed.prefix(&file, 4 * STEP, STEP).is_none() {
            assert_eq!(Residency::Probed.prefix(&file, 0, 8 * STEP), Some(3 * STEP));
        }
    }
}
