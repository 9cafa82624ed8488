//! Opens, renames and removes below one folder, and never outside of it.
//!
//! A torrent's paths are safe as text (`metainfo`), but a symbolic link planted in the output
//! folder would still lead out of it (LIMITS A04). So every path is resolved from the folder's
//! descriptor with links refused: by `openat2` where the kernel has it, else one component at
//! a time with `O_NOFOLLOW`. What changes a folder names the last component only, relative to
//! a descriptor obtained in this way.
//!
//! The folder itself is the user's own choice and may be, or lie behind, a link.

use super::record::Stamp;
use crate::storage::crash::{self, Point};
use rustix::fs::{AtFlags, FileType, Mode, OFlags, RenameFlags, ResolveFlags, Stat};
use rustix::io::Errno;
use std::ffi::OsStr;
use std::fs::File;
use std::io::{self, Read};
use std::os::fd::OwnedFd;
use std::os::unix::ffi::OsStrExt as _;
use std::os::unix::fs::{FileExt as _, MetadataExt as _};
use std::path::{Component, Path, PathBuf};

/// A folder and the only way into it.
#[derive(Debug)]
pub(super) struct Root {
    fd: OwnedFd,
    path: PathBuf,
    resolve: Resolve,
    #[cfg(test)]
    pub(super) fuse: super::tests::Fuse,
}

/// Who follows a path.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Resolve {
    /// `openat2`, in one call.
    Kernel,
    /// We do, component by component.
    Ourselves,
}

/// What may happen to a file that has the new name already.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Replace {
    No,
    Yes,
}

const FOLDER: OFlags = OFlags::PATH.union(OFlags::DIRECTORY).union(OFlags::CLOEXEC);
/// A pipe or a terminal in place of a file must neither block us nor take us over.
const CAUTION: OFlags =
    OFlags::CLOEXEC.union(OFlags::NOFOLLOW).union(OFlags::NONBLOCK).union(OFlags::NOCTTY);

impl Root {
    /// Opens a folder that exists.
    pub(super) fn open(path: &Path) -> io::Result<Self> {
        let fd = rustix::fs::open(path, FOLDER, Mode::empty())?;
        let resolve = if has_openat2(&fd) { Resolve::Kernel } else { Resolve::Ourselves };
        Ok(Self {
            fd,
            path: path.to_owned(),
            resolve,
            #[cfg(test)]
            fuse: super::tests::Fuse::default(),
        })
    }

    /// The folder's path, as it was given. For messages.
    pub(super) fn path(&self) -> &Path {
        &self.path
    }

    /// Opens a regular file for reading.
    pub(super) fn read(&self, path: &Path) -> io::Result<File> {
        regular(self.resolve(path, OFlags::RDONLY)?)
    }

    /// Opens a regular file for reading and writing.
    pub(super) fn write(&self, path: &Path) -> io::Result<File> {
        regular(self.resolve(path, OFlags::RDWR)?)
    }

    /// Opens a regular file for reading and writing; makes it, and its parents, as needed.
    pub(super) fn create(&self, path: &Path) -> io::Result<File> {
        self.mutates()?;
        let flags = OFlags::RDWR | OFlags::CREATE;
        match self.resolve(path, flags) {
            Err(Errno::NOENT) => {
                self.create_parents(path)?;
                regular(self.resolve(path, flags)?)
            }
            result => regular(result?),
        }
    }

    /// Type and length of what is at `path`, a link not followed; `None` when nothing is.
    pub(super) fn stat(&self, path: &Path) -> io::Result<Option<(FileType, u64)>> {
        let stat = self
            .parent(path)
            .and_then(|(parent, name)| rustix::fs::statat(parent, name, AtFlags::SYMLINK_NOFOLLOW));
        match stat {
            Ok(stat) => Ok(Some((FileType::from_raw_mode(stat.st_mode), length(&stat)))),
            Err(Errno::NOENT) => Ok(None),
            Err(error) => Err(error.into()),
        }
    }

    /// How the regular file at `path` looks; `None` when there is none.
    pub(super) fn stamp(&self, path: &Path) -> io::Result<Option<Stamp>> {
        match self.resolve(path, OFlags::PATH | OFlags::CLOEXEC) {
            Ok(found) => {
                let meta = File::from(found).metadata()?;
                Ok(meta.is_file().then(|| Stamp::of(&meta)))
            }
            Err(Errno::NOENT | Errno::NOTDIR | Errno::LOOP) => Ok(None),
            Err(error) => Err(error.into()),
        }
    }

    /// Reads a small file that only we can have written: it belongs to us, nobody else may
    /// write it, and it has one name. `None` when there is none such.
    pub(super) fn read_private(&self, path: &Path, longest: u64) -> io::Result<Option<Vec<u8>>> {
        let mut file = match self.read(path) {
            Ok(file) => file,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(error),
        };
        let meta = file.metadata()?;
        let is_ours = meta.uid() == rustix::process::geteuid().as_raw()
            && meta.mode() & 0o022 == 0
            && meta.nlink() == 1;
        if !is_ours || meta.len() > longest {
            tracing::debug!(path = %path.display(), "not ours, or too long: not read");
            return Ok(None);
        }
        let mut bytes = Vec::new();
        Read::by_ref(&mut file).take(longest).read_to_end(&mut bytes)?;
        Ok(Some(bytes))
    }

    /// Puts `bytes` at `path` so that at every moment, also of a power cut, the old or the new
    /// ones are there and whole. `spare` is a name beside it that may be used meanwhile.
    pub(super) fn replace_private(
        &self,
        path: &Path,
        spare: &Path,
        bytes: &[u8],
    ) -> io::Result<()> {
        let file = self.create(spare)?;
        rustix::fs::fchmod(&file, Mode::from_raw_mode(0o600))?;
        file.set_len(0)?;
        let (head, tail) = bytes.split_at(bytes.len() / 2);
        file.write_all_at(head, 0)?;
        crash::at(Point::MidRecord);
        file.write_all_at(tail, head.len() as u64)?;
        self.mutates()?;
        file.sync_all()?;
        self.forced(spare);
        crash::at(Point::BeforeRename);
        self.rename(spare, path, Replace::Yes)?;
        crash::at(Point::AfterRename);
        self.sync_folder(path.parent().unwrap_or_else(|| Path::new("")))?;
        crash::at(Point::AfterFolderSync);
        Ok(())
    }

    /// Renames a file or folder; makes the new name's parents as needed.
    pub(super) fn rename(&self, from: &Path, to: &Path, replace: Replace) -> io::Result<()> {
        self.mutates()?;
        self.create_parents(to)?;
        let (from_parent, from_name) = self.parent(from)?;
        let (to_parent, to_name) = self.parent(to)?;
        if replace == Replace::Yes {
            return Ok(rustix::fs::renameat(from_parent, from_name, to_parent, to_name)?);
        }
        rename_new(&from_parent, from_name, &to_parent, to_name)
    }

    /// Removes a file; true when there was one.
    pub(super) fn remove(&self, path: &Path) -> io::Result<bool> {
        self.unlink(path, AtFlags::empty())
    }

    /// Removes a folder if it is empty; true when it was there and is gone.
    pub(super) fn remove_empty(&self, path: &Path) -> io::Result<bool> {
        match self.unlink(path, AtFlags::REMOVEDIR) {
            Err(error) if error.kind() == io::ErrorKind::DirectoryNotEmpty => Ok(false),
            result => result,
        }
    }

    /// Forces a folder's entries to the disk; the empty path is the root itself.
    pub(super) fn sync_folder(&self, path: &Path) -> io::Result<()> {
        self.mutates()?;
        Ok(rustix::fs::fsync(self.folder(path, OFlags::RDONLY)?)?)
    }

    /// Forces everything on the root's filesystem to the disk.
    pub(super) fn sync_filesystem(&self) -> io::Result<()> {
        self.mutates()?;
        Ok(rustix::fs::syncfs(self.folder(Path::new(""), OFlags::RDONLY)?)?)
    }

    /// Names and types in a folder, `.` and `..` left out.
    pub(super) fn list(&self, path: &Path) -> io::Result<Vec<(PathBuf, FileType)>> {
        let folder = self.folder(path, OFlags::RDONLY)?;
        let mut found = Vec::new();
        for entry in rustix::fs::Dir::read_from(folder)? {
            let entry = entry?;
            let name = OsStr::from_bytes(entry.file_name().to_bytes());
            if name == "." || name == ".." {
                continue;
            }
            let path = path.join(name);
            let kind = match entry.file_type() {
                // Some filesystems do not say.
                FileType::Unknown => self.stat(&path)?.map_or(FileType::Unknown, |stat| stat.0),
                kind => kind,
            };
            found.push((path, kind));
        }
        Ok(found)
    }

    /// Makes the folders that `path` lies in.
    fn create_parents(&self, path: &Path) -> io::Result<()> {
        let parent = path.parent().unwrap_or_else(|| Path::new(""));
        if self.resolve_folder(parent, FOLDER).is_ok() {
            return Ok(());
        }
        let mut made = PathBuf::new();
        for component in parent.components() {
            made.push(component);
            let (within, name) = self.parent(&made)?;
            match rustix::fs::mkdirat(within, name, Mode::from_raw_mode(0o777)) {
                Ok(()) | Err(Errno::EXIST) => {}
                Err(error) => return Err(error.into()),
            }
        }
        Ok(())
    }

    fn unlink(&self, path: &Path, flags: AtFlags) -> io::Result<bool> {
        self.mutates()?;
        let result =
            self.parent(path).and_then(|(parent, name)| rustix::fs::unlinkat(parent, name, flags));
        match result {
            Ok(()) => Ok(true),
            Err(Errno::NOENT) => Ok(false),
            Err(error) => Err(error.into()),
        }
    }

    /// The folder that `path` lies in, and its last component.
    fn parent<'a>(&self, path: &'a Path) -> Result<(OwnedFd, &'a OsStr), Errno> {
        let name = path.file_name().ok_or(Errno::INVAL)?;
        let parent = path.parent().unwrap_or_else(|| Path::new(""));
        Ok((self.resolve_folder(parent, FOLDER)?, name))
    }

    fn folder(&self, path: &Path, flags: OFlags) -> Result<OwnedFd, Errno> {
        self.resolve_folder(path, flags | OFlags::DIRECTORY | OFlags::CLOEXEC)
    }

    fn resolve_folder(&self, path: &Path, flags: OFlags) -> Result<OwnedFd, Errno> {
        if path.as_os_str().is_empty() {
            return rustix::fs::openat(&self.fd, ".", flags, Mode::empty());
        }
        self.resolve(path, flags)
    }

    fn resolve(&self, path: &Path, flags: OFlags) -> Result<OwnedFd, Errno> {
        if !is_plain(path) {
            return Err(Errno::INVAL);
        }
        let flags =
            if flags.contains(OFlags::PATH) { flags | OFlags::NOFOLLOW } else { flags | CAUTION };
        let mode = match flags.contains(OFlags::CREATE) {
            true => Mode::from_raw_mode(0o666),
            false => Mode::empty(),
        };
        match self.resolve {
            Resolve::Kernel => openat2(&self.fd, path, flags, mode),
            Resolve::Ourselves => self.walk(path, flags, mode),
        }
    }

    fn walk(&self, path: &Path, flags: OFlags, mode: Mode) -> Result<OwnedFd, Errno> {
        let mut components = path.components();
        let last = components.next_back().ok_or(Errno::INVAL)?;
        let mut at: Option<OwnedFd> = None;
        for component in components {
            let from = at.as_ref().unwrap_or(&self.fd);
            let next = rustix::fs::openat(
                from,
                component.as_os_str(),
                FOLDER | OFlags::NOFOLLOW,
                Mode::empty(),
            )?;
            at = Some(next);
        }
        rustix::fs::openat(at.as_ref().unwrap_or(&self.fd), last.as_os_str(), flags, mode)
    }

    #[cfg(test)]
    pub(super) fn resolving(mut self, resolve: Resolve) -> Self {
        self.resolve = resolve;
        self
    }

    /// Where tests cut the power.
    #[cfg(test)]
    fn mutates(&self) -> io::Result<()> {
        self.fuse.burn()
    }

    /// A file's bytes are on the disk. Tests take note.
    #[cfg(test)]
    pub(super) fn forced(&self, path: &Path) {
        self.fuse.note_forced(path);
    }

    #[cfg(not(test))]
    #[expect(clippy::unused_self, reason = "tests take note here")]
    pub(super) const fn forced(&self, _: &Path) {}

    #[cfg(not(test))]
    #[expect(clippy::unnecessary_wraps, clippy::unused_self, reason = "tests cut the power here")]
    const fn mutates(&self) -> io::Result<()> {
        Ok(())
    }
}

fn openat2(root: &OwnedFd, path: &Path, flags: OFlags, mode: Mode) -> Result<OwnedFd, Errno> {
    let resolve = ResolveFlags::BENEATH | ResolveFlags::NO_SYMLINKS | ResolveFlags::NO_MAGICLINKS;
    rustix::fs::openat2(root, path, flags, mode, resolve)
}

/// Old kernels lack the call, and some containers forbid it.
fn has_openat2(root: &OwnedFd) -> bool {
    openat2(root, Path::new("."), FOLDER, Mode::empty()).is_ok()
}

/// Whether every component is an ordinary name, so that no text can lead upwards.
fn is_plain(path: &Path) -> bool {
    let ordinary = |component| matches!(component, Component::Normal(_));
    path.components().next().is_some()
        && path.components().all(ordinary)
        && !path.as_os_str().as_bytes().contains(&0)
}

fn regular(fd: OwnedFd) -> io::Result<File> {
    let stat = rustix::fs::fstat(&fd)?;
    match FileType::from_raw_mode(stat.st_mode) {
        FileType::RegularFile => Ok(File::from(fd)),
        _ => Err(io::Error::new(io::ErrorKind::InvalidInput, "not a regular file")),
    }
}

fn length(stat: &Stat) -> u64 {
    u64::try_from(stat.st_size).unwrap_or(0)
}

/// Renames unless the new name is taken.
fn rename_new(from: &OwnedFd, from_name: &OsStr, to: &OwnedFd, to_name: &OsStr) -> io::Result<()> {
    match rustix::fs::renameat_with(from, from_name, to, to_name, RenameFlags::NOREPLACE) {
        // This filesystem cannot do both at once: look, then rename.
        Err(Errno::INVAL | Errno::NOSYS) => {
            match rustix::fs::statat(to, to_name, AtFlags::SYMLINK_NOFOLLOW) {
                Err(Errno::NOENT) => Ok(rustix::fs::renameat(from, from_name, to, to_name)?),
                Err(error) => Err(error.into()),
                Ok(_) => Err(Errno::EXIST.into()),
            }
        }
        result => Ok(result?),
    }
}
