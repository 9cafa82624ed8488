//! Where in a file there is something, and where only a hole.
//!
//! Not here: what a hole means (zeros: see `data::zeros`).

use rustix::fs::SeekFrom;
use rustix::io::Errno;
use std::fs::File;
use std::ops::Range;

/// Where data ends is looked for in steps of so many bytes. To ask the system (`SEEK_HOLE`) costs
/// a walk over all the pages behind, in a filesystem in memory to the end of the file.
const STEP: u64 = 256 << 10;

/// Whether anything of `range` is no hole. On a filesystem that cannot tell, everything is data.
pub(super) fn has_data(file: &File, range: Range<u64>) -> bool {
    next_data(file, &range).is_some()
}

/// The first stretch of `range` that is no hole; `None` when all of it is one. A hole shorter
/// than a quarter of a MiB behind data may count as data.
pub(super) fn data_within(file: &File, range: Range<u64>) -> Option<Range<u64>> {
    let start = next_data(file, &range)?;
    let mut end = start;
    while end < range.end && next_data(file, &(end..range.end)) == Some(end) {
        end = range.end.min(end + STEP);
    }
    Some(start..end)
}

/// The first byte of `range` that is in no hole.
fn next_data(file: &File, range: &Range<u64>) -> Option<u64> {
    match rustix::fs::seek(file, SeekFrom::Data(range.start)) {
        Ok(data) => (data < range.end).then_some(data),
        Err(Errno::NXIO) => None,
        Err(_) => Some(range.start),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::FileExt as _;

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
        assert!(has_data(&file, 4 * STEP..16 * STEP) && has_data(&file, 0..5 * STEP));
        assert!(!has_data(&file, 0..4 * STEP) && !has_data(&file, 6 * STEP..20 * STEP));
    }

    #[test]
    fn a_stretch_ends_with_its_range_or_soon_after_its_data() {
        let file = tempfile::tempfile().unwrap();
        file.set_len(16 * STEP).unwrap();
        let data = vec![1; usize::try_from(5 * STEP).unwrap()];
        file.write_all_at(&data, 4 * STEP).unwrap();
        assert_eq!(data_within(&file, 0..16 * STEP), Some(4 * STEP..9 * STEP));
        assert_eq!(data_within(&file, 5 * STEP + 3..7 * STEP), Some(5 * STEP + 3..7 * STEP));
        let odd = data_within(&file, 4 * STEP + 4096..16 * STEP).expect("most of it");
        assert!((9 * STEP..10 * STEP).contains(&odd.end), "{odd:?}");
    }
}
