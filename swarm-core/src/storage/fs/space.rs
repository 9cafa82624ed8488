//! How much room there is.

use super::StorageError;
use std::path::Path;

/// Bytes an unprivileged user may still write below `folder`, which need not exist yet.
///
/// Compare it with what is wanted before anything is written (LIMITS A32): a sparse file of
/// any length can be made on a full disk.
///
/// # Errors
/// When the system fails.
pub fn available_bytes(folder: &Path) -> Result<u64, StorageError> {
    let failed = |error: std::io::Error| StorageError::new("open", folder, error);
    let absolute = std::path::absolute(folder).map_err(failed)?;
    let mut existing = absolute.as_path();
    loop {
        match (rustix::fs::statvfs(existing), existing.parent()) {
            (Ok(stat), _) => return Ok(stat.f_bavail.saturating_mul(stat.f_frsize)),
            (Err(rustix::io::Errno::NOENT), Some(parent)) => existing = parent,
            (Err(error), _) => return Err(failed(error.into())),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_folder_that_is_not_there_yet_has_the_room_of_its_parent() {
        let folder = tempfile::tempdir().unwrap();
        assert!(available_bytes(folder.path()).unwrap() > 0);
        assert!(available_bytes(&folder.path().join("a/b/c")).unwrap() > 0);
        let file = folder.path().join("file");
        std::fs::write(&file, "").unwrap();
        assert!(available_bytes(&file.join("below")).is_err());
    }
}
