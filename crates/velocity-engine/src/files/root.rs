//! Opening what lies below the root, and nothing else.
//!
//! `openat2(2)` with RESOLVE_BENEATH lets the kernel refuse every way out, races included. Symbolic
//! links are followed only as long as they stay inside, and only to names that are not hidden.

use std::ffi::OsStr;
use std::fs::File;
use std::io;
use std::os::fd::{AsRawFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};
use std::sync::LazyLock;
use std::time::{Duration, SystemTime};

use rustix::fs::{AtFlags, CWD, FileType, Mode, OFlags, ResolveFlags, Stat};
use rustix::io::Errno;

use super::path::is_hidden;
use crate::error::{Error, Result};

/// Kernels before 5.6 and some sandboxes have no openat2.
static HAS_OPENAT2: LazyLock<bool> = LazyLock::new(|| {
    let flags = OFlags::PATH | OFlags::CLOEXEC;
    let beneath = rustix::fs::openat2(CWD, ".", flags, Mode::empty(), ResolveFlags::BENEATH);
    !matches!(beneath, Err(Errno::NOSYS | Errno::PERM))
});

/// An open directory that a site is served from.
pub struct Root {
    directory: OwnedFd,
    /// The same without symbolic links in it, for telling where an open file really is.
    real: PathBuf,
    dotfiles: bool,
    has_openat2: bool,
}

/// What was found under a name.
pub enum Found {
    File(File, Identity),
    Directory(OwnedFd),
}

/// Tells one state of one file from every other.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Identity {
    device: u64,
    inode: u64,
    pub size: u64,
    /// Nanoseconds since the epoch.
    pub modified: i128,
    changed: i128,
}

impl Identity {
    fn of(stat: &Stat) -> Self {
        let nanoseconds = |seconds: i64, rest: i64| i128::from(seconds) * 1_000_000_000 + i128::from(rest);
        Self {
            device: stat.st_dev,
            inode: stat.st_ino,
            size: u64::try_from(stat.st_size).unwrap_or(0),
            modified: nanoseconds(stat.st_mtime, stat.st_mtime_nsec as i64),
            changed: nanoseconds(stat.st_ctime, stat.st_ctime_nsec as i64),
        }
    }

    pub fn modified_time(&self) -> SystemTime {
        match u64::try_from(self.modified) {
            Ok(nanoseconds) => SystemTime::UNIX_EPOCH + Duration::from_nanos(nanoseconds),
            Err(_) => SystemTime::UNIX_EPOCH,
        }
    }

    /// Whether a change after `seen`, when this was the identity, is sure to move a timestamp:
    /// those of the kernel are only as fine as its clock tick.
    pub fn is_settled(&self, seen: SystemTime) -> bool {
        let seen = seen
            .duration_since(SystemTime::UNIX_EPOCH)
            .unwrap_or_default()
            .as_nanos();
        i128::try_from(seen).is_ok_and(|seen| seen - self.modified.max(self.changed) > 50_000_000)
    }
}

impl Root {
    pub fn open(path: &Path, dotfiles: bool) -> Result<Self> {
        let unreadable = |e: io::Error| {
            Error::start("ROOT_UNREADABLE", format!("cannot serve {}: {e}", path.display()))
                .detail("file", path.display().to_string())
                .hint("check that the folder exists and that this user may read it")
        };
        let real = path.canonicalize().map_err(unreadable)?;
        let flags = OFlags::DIRECTORY | OFlags::RDONLY | OFlags::CLOEXEC;
        let directory = rustix::fs::openat(CWD, &real, flags, Mode::empty()).map_err(|e| unreadable(e.into()))?;
        Ok(Self {
            directory,
            real,
            dotfiles,
            has_openat2: *HAS_OPENAT2,
        })
    }

    /// The present identity of a regular file, by one system call. Links are followed: the caller
    /// compares with an identity that [`Root::find`] has vouched for.
    pub fn identity(&self, relative: &[u8]) -> Option<Identity> {
        let stat = rustix::fs::statat(&self.directory, relative, AtFlags::empty()).ok()?;
        Some(Identity::of(&stat))
    }

    /// Open `relative` (empty for the root itself).
    pub fn find(&self, relative: &[u8]) -> Result<Found, Errno> {
        let relative = if relative.is_empty() { b"." } else { relative };
        // Looked at before it is opened: opening a device or a FIFO already does something.
        let handle = self.resolve(relative, OFlags::PATH)?;
        let seen = rustix::fs::fstat(&handle)?;
        match FileType::from_raw_mode(seen.st_mode) {
            FileType::RegularFile => {
                let file = self.resolve(relative, OFlags::RDONLY | OFlags::NONBLOCK | OFlags::NOCTTY)?;
                let stat = rustix::fs::fstat(&file)?;
                if FileType::from_raw_mode(stat.st_mode) != FileType::RegularFile {
                    return Err(Errno::NOENT);
                }
                Ok(Found::File(File::from(file), Identity::of(&stat)))
            }
            FileType::Directory => Ok(Found::Directory(
                self.resolve(relative, OFlags::RDONLY | OFlags::DIRECTORY)?,
            )),
            _ => Err(Errno::NOENT),
        }
    }

    fn resolve(&self, relative: &[u8], flags: OFlags) -> Result<OwnedFd, Errno> {
        let flags = flags | OFlags::CLOEXEC;
        if !self.has_openat2 {
            return self.walk(relative, flags);
        }
        let beneath = ResolveFlags::BENEATH | ResolveFlags::NO_MAGICLINKS;
        let open = |resolve| {
            let once = || rustix::fs::openat2(&self.directory, relative, flags, Mode::empty(), resolve);
            // AGAIN: something was renamed while the kernel followed a `..` in a link.
            once().or_else(|error| if error == Errno::AGAIN { once() } else { Err(error) })
        };
        match open(beneath | ResolveFlags::NO_SYMLINKS) {
            // A link is on the way. Follow it, then see where it led.
            Err(Errno::LOOP) => {
                let file = open(beneath)?;
                if self.is_shown(&file) {
                    Ok(file)
                } else {
                    Err(Errno::NOENT)
                }
            }
            result => result,
        }
    }

    /// Whether an open file lies at a name that is not hidden. Without /proc there is no telling.
    fn is_shown(&self, file: &OwnedFd) -> bool {
        let Ok(real) = std::fs::read_link(format!("/proc/self/fd/{}", file.as_raw_fd())) else {
            return false;
        };
        let Ok(relative) = real.strip_prefix(&self.real) else {
            return false;
        };
        relative.iter().all(|name| !is_hidden(name.as_bytes(), self.dotfiles))
    }

    /// Without openat2: name by name, following no link at all.
    fn walk(&self, relative: &[u8], flags: OFlags) -> Result<OwnedFd, Errno> {
        let mut names = relative.split(|&b| b == b'/').peekable();
        let mut directory: Option<OwnedFd> = None;
        while let Some(name) = names.next() {
            let flags = match names.peek() {
                Some(_) => OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC,
                None => flags,
            };
            if name == b".." {
                return Err(Errno::XDEV); // what RESOLVE_BENEATH says
            }
            let name = OsStr::from_bytes(name);
            let parent = directory.as_ref().unwrap_or(&self.directory);
            directory = Some(rustix::fs::openat(
                parent,
                name,
                flags | OFlags::NOFOLLOW,
                Mode::empty(),
            )?);
        }
        directory.ok_or(Errno::NOENT)
    }

    /// As if the kernel had no openat2.
    #[cfg(test)]
    pub fn forget_openat2(&mut self) {
        self.has_openat2 = false;
    }
}
