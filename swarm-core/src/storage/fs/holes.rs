//! Where in a file there is something, and where only a hole.
//!
//! Not here: what a hole means (zeros: see `data::zeros`).

use rustix::fs::SeekFrom;
use rustix::io::Errno;
use std::fs::File;
use std::ops::Range;

/// The first stretch of `range` that is no hole; `None` when all of it is one. On a filesystem
/// that cannot tell, everything is data.
pub(super) fn data_within(file: &File, range: Range<u64>) -> Option<Range<u64>> {
    let start = match rustix::fs::seek(file, SeekFrom::Data(range.start)) {
        Ok(data) if data < range.end => data,
        Ok(_) | Err(Errno::NXIO) => return None,
        Err(_) => return Some(range),
    };
    let end = match rustix::fs::seek(file, SeekFrom::Hole(start)) {
        Ok(hole) if hole < range.end => hole,
        Ok(_) | Err(_) => range.end,
    };
    Some(start..end)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::FileExt as _;

    const STEP: u64 = 64 << 10;

    #[test]
    fn only_what_was_written_is_data() {
        let file = tempfile::tempfile().unwrap();
        file.set_len(16 * STEP).unwrap();
        assert_eq!(data_within(&file, 0..16 * STEP), None, "a hole");
        file.write_all_at(&[1; 10], 4 * STEP).unwrap();
        let found = data_within(&file, STEP..16 * STEP).expect("ten bytes");
        assert!(found.start >= STEP && found.start <= 4 * STEP, "{found:?}");
        assert!(found.end > 4 * STEP && found.end < 8 * STEP, "{found:?}");
        assert_eq!(data_within(&file, 8 * STEP..16 * STEP), None, "behind it");
        assert_eq!(data_within(&file, 0..STEP), None, "before it");
        assert_eq!(data_within(&file, 16 * STEP..17 * STEP), None, "beyond the end");
    }
}
