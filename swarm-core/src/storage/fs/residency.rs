//! Whether bytes of a file are in memory, told without waiting for a disk.
//!
//! In a file system that lives in memory they are, as long as the file is long enough. Of any
//! other a read that may not wait (`RWF_NOWAIT`) tells, for the byte it reads. One byte is read
//! at every 16 KiB and one at the end: the system brings in and drops neighbouring pages
//! together and in order, so a hole between two bytes that are there is rare, and costs one
//! short wait when it happens. Asking for every page would cost as much as copying it (measured
//! on ext4, CPU seconds for 1 GiB: 0.05 at every 16 KiB, 0.15 at every page, 0.17 for a copy).
//!
//! Where a file system refuses such reads, or the system has none, the answer is always no.
//!
//! Not here: reading what is not in memory (`data::jobs`), sending what is (`engine::peer`).

#[cfg(target_os = "linux")]
mod linux;

/// How to tell what is in memory of one file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Residency {
    /// All of it is, always.
    Memory,
    /// A read that may not wait tells.
    Probed,
    /// There is no way to tell.
    Unknown,
}

#[cfg(not(target_os = "linux"))]
impl Residency {
    pub(super) const fn of(_file: &std::fs::File) -> Self {
        Self::Unknown
    }

    pub(super) const fn prefix(
        self,
        _file: &std::fs::File,
        _offset: u64,
        _length: u64,
    ) -> Option<u64> {
        None
    }
}
