//! A second wall around the folders that `fetch` writes to.
//!
//! The library opens every path of a torrent beneath the output folder and follows no link. If
//! there were a mistake in that, the kernel would refuse what it lets through: from here on this
//! process may make, change, rename and remove files in its own folders only (Landlock, Linux
//! 5.19). Reading is not confined: `.torrent` files, certificates and resolvers lie anywhere.
//!
//! Where the kernel has no such wall there is none, and that is no error. Called before any
//! thread starts, since it holds for the thread that calls and those it starts.
//!
//! Not here: paths (`swarm_core::storage`), `seed`, which writes where the user says and nothing
//! that a stranger named.

use std::path::{Path, PathBuf};

/// Keeps this thread, and those it starts, from writing outside of `folders`. One that is not
/// there yet is made when it can be; else the next one above counts.
#[cfg(target_os = "linux")]
pub(crate) fn to(folders: &[PathBuf]) {
    match wall(folders) {
        Ok(status) => tracing::debug!(?status, "writes are confined to our folders"),
        Err(error) => tracing::debug!(%error, "this system does not confine writes"),
    }
}

#[cfg(not(target_os = "linux"))]
pub(crate) fn to(_: &[PathBuf]) {}

#[cfg(target_os = "linux")]
fn wall(folders: &[PathBuf]) -> Result<landlock::RulesetStatus, landlock::RulesetError> {
    use landlock::{
        ABI, AccessFs, CompatLevel, Compatible as _, PathBeneath, PathFd, Ruleset,
        RulesetAttr as _, RulesetCreatedAttr as _,
    };
    let writes = AccessFs::from_write(ABI::V3);
    // A kernel that cannot allow it forbids every rename from one folder into another.
    let ruleset = Ruleset::default()
        .set_compatibility(CompatLevel::HardRequirement)
        .handle_access(AccessFs::Refer)?
        .set_compatibility(CompatLevel::BestEffort)
        .handle_access(writes)?;
    let mut ruleset = ruleset.create()?;
    for folder in folders {
        // A folder that cannot be opened cannot be written to either.
        if let Ok(fd) = PathFd::new(nearest(folder)) {
            ruleset = ruleset.add_rule(PathBeneath::new(fd, writes))?;
        }
    }
    Ok(ruleset.restrict_self()?.ruleset)
}

/// The folder, or the nearest one above it that is there.
#[cfg(target_os = "linux")]
fn nearest(folder: &Path) -> PathBuf {
    // Why it cannot be made is told where it is needed.
    let _ = std::fs::create_dir_all(folder);
    let absolute = std::path::absolute(folder).unwrap_or_else(|_| folder.to_owned());
    let found = absolute.ancestors().find(|path| path.is_dir()).map(Path::to_owned);
    found.unwrap_or(absolute)
}

#[cfg(all(test, target_os = "linux"))]
mod tests {
    use super::*;
    use landlock::RulesetStatus;
    use std::fs;
    use std::io::ErrorKind;
    use std::os::unix::fs::symlink;

    /// LIMITS A01 to A04. On a kernel without Landlock there is nothing to see.
    #[test]
    fn nothing_is_written_outside_of_the_folders_whatever_leads_there() {
        let place = tempfile::tempdir().unwrap();
        let [inside, outside] = ["inside", "outside"].map(|name| place.path().join(name));
        fs::create_dir(&outside).unwrap();
        fs::write(outside.join("file"), "kept").unwrap();
        let confined = std::thread::spawn(move || {
            let status = wall(&[inside.join("new")]);
            let is_walled = matches!(status, Ok(status) if status != RulesetStatus::NotEnforced);
            let inside = inside.join("new");
            fs::create_dir(inside.join("a")).unwrap();
            fs::write(inside.join("a/file"), "x").unwrap();
            fs::create_dir(inside.join("b")).unwrap();
            fs::rename(inside.join("a/file"), inside.join("b/file")).unwrap();
            fs::remove_file(inside.join("b/file")).unwrap();
            symlink(&outside, inside.join("link")).unwrap();
            let tries = [
                fs::write(outside.join("file"), "changed"),
                fs::write(inside.join("link/file"), "changed"),
                fs::write(outside.join("new"), ""),
                fs::create_dir(inside.join("../../elsewhere")),
                fs::remove_file(outside.join("file")),
                fs::rename(outside.join("file"), inside.join("taken")),
            ];
            let refused = |result: &std::io::Result<()>| {
                let kind = result.as_ref().map_err(std::io::Error::kind);
                matches!(kind, Err(ErrorKind::PermissionDenied | ErrorKind::CrossesDevices))
            };
            assert!(!is_walled || tries.iter().all(refused), "{tries:?}");
            assert!(!is_walled || fs::read(outside.join("file")).unwrap() == b"kept");
        });
        confined.join().unwrap();
    }

    #[test]
    fn a_folder_that_cannot_be_made_stands_for_the_one_above() {
        let place = tempfile::tempdir().unwrap();
        fs::write(place.path().join("file"), "").unwrap();
        assert_eq!(nearest(&place.path().join("file/new")), place.path());
        assert_eq!(nearest(&place.path().join("x/y")), place.path().join("x/y"));
    }
}
