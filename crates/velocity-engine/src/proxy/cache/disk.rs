//! Bodies that are too large to lie in memory.
//!
//! They are files in a folder of this process, which nobody else may read. Nothing of it outlives the process: what one
//! that was killed has left behind is taken away by the next one that uses the same path, and a folder that is in use
//! is told by the lock on it. Which file holds what is known in memory only, so that no file is ever believed.

use std::fs::{DirBuilder, File, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::sync::{Arc, OnceLock, Weak};

use quick_cache::Weighter;
use quick_cache::sync::Cache;
use rustix::fs::{FlockOperation, flock};

use super::budget::{Budget, Lease};
use crate::log::{self, Level};

/// What the folders of processes begin with.
const PREFIX: &str = "velocity-";
const LOCK: &str = "lock";

pub struct Disk {
    path: PathBuf,
    /// Made when there is something to write; `None` if that cannot be.
    own: OnceLock<Option<Own>>,
    files: Cache<u64, Arc<Kept>, Length>,
    next: AtomicU64,
    /// For what is being written.
    budget: Arc<Budget>,
}

/// The folder of this process.
struct Own {
    path: PathBuf,
    _lock: File,
}

impl Drop for Own {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.path);
    }
}

/// A whole body. Who reads it has the file open, so that it may go at any time.
struct Kept {
    path: PathBuf,
    length: u64,
}

impl Drop for Kept {
    fn drop(&mut self) {
        let _ = std::fs::remove_file(&self.path);
    }
}

#[derive(Clone)]
struct Length;

impl Weighter<u64, Arc<Kept>> for Length {
    fn weight(&self, _: &u64, kept: &Arc<Kept>) -> u64 {
        // What a file system takes for the smallest of them.
        kept.length.max(4096)
    }
}

impl Disk {
    /// At most `bytes`, of which a quarter is for bodies on their way.
    pub fn new(path: &Path, bytes: u64, max_object: u64) -> Self {
        Self {
            path: path.to_owned(),
            own: OnceLock::new(),
            files: super::store::sized(bytes - bytes / 4, max_object, Length),
            next: AtomicU64::new(0),
            budget: Budget::new(bytes / 4),
        }
    }

    /// What bodies on their way may take.
    pub fn lease(&self) -> Lease {
        Lease::none(&self.budget)
    }

    /// A file for a body, `None` if there can be none. Blocking.
    pub fn create(self: &Arc<Self>) -> Option<Writer> {
        let own = self.own.get_or_init(|| match Own::make(&self.path) {
            Ok(own) => Some(own),
            Err(error) => {
                self.report(&error);
                None
            }
        });
        let id = self.next.fetch_add(1, Relaxed);
        let path = own.as_ref()?.path.join(format!("{id:x}"));
        let mut options = OpenOptions::new();
        options.create_new(true).read(true).write(true).mode(0o600);
        match options.open(&path) {
            Ok(file) => Some(Writer {
                disk: self.clone(),
                id,
                file: Arc::new(file),
                kept: Some(Kept { path, length: 0 }),
            }),
            Err(error) => {
                self.report(&error);
                None
            }
        }
    }

    /// What went wrong: answers go on, and are not stored.
    fn report(&self, error: &io::Error) {
        let fields = [
            ("path", self.path.display().to_string().into()),
            ("reason", error.to_string().into()),
            ("hint", "make room there, or name another path".into()),
        ];
        log::record(Level::Warn, "velocity::proxy", "cache_disk_failed", "", &fields);
    }
}

impl Own {
    fn make(path: &Path) -> io::Result<Self> {
        let private = |path: &Path, recursive| DirBuilder::new().mode(0o700).recursive(recursive).create(path);
        private(path, true)?;
        sweep(path);
        let mut random = [0; 8];
        getrandom::fill(&mut random).map_err(|error| io::Error::other(error.to_string()))?;
        let path = path.join(format!("{PREFIX}{:016x}", u64::from_be_bytes(random)));
        private(&path, false)?;
        let mut options = OpenOptions::new();
        let lock = options.create_new(true).write(true).mode(0o600).open(path.join(LOCK))?;
        flock(&lock, FlockOperation::NonBlockingLockExclusive)?;
        Ok(Self { path, _lock: lock })
    }
}

/// Take away what processes that are gone have left.
fn sweep(path: &Path) {
    let Ok(entries) = std::fs::read_dir(path) else { return };
    for folder in entries.flatten() {
        let ours = folder.file_name().to_str().is_some_and(|name| name.starts_with(PREFIX));
        // One without a lock is being made.
        if ours
            && let Ok(lock) = File::open(folder.path().join(LOCK))
            && flock(&lock, FlockOperation::NonBlockingLockExclusive).is_ok()
        {
            let _ = std::fs::remove_dir_all(folder.path());
        }
    }
}

/// A body that is being written.
pub struct Writer {
    disk: Arc<Disk>,
    id: u64,
    file: Arc<File>,
    /// Gone from the disk with this, unless it is kept.
    kept: Option<Kept>,
}

impl Writer {
    pub fn file(&self) -> &Arc<File> {
        &self.file
    }

    /// Blocking.
    ///
    /// # Errors
    ///
    /// Those of the file system.
    pub fn write(&mut self, data: &[u8]) -> io::Result<()> {
        (&*self.file)
            .write_all(data)
            .inspect_err(|error| self.disk.report(error))?;
        if let Some(kept) = &mut self.kept {
            kept.length += data.len() as u64;
        }
        Ok(())
    }

    /// It is whole.
    pub fn keep(mut self) -> Option<OnDisk> {
        let kept = Arc::new(self.kept.take()?);
        let place = OnDisk {
            disk: self.disk.clone(),
            id: self.id,
            length: kept.length,
            kept: Arc::downgrade(&kept),
        };
        self.disk.files.insert(self.id, kept);
        Some(place)
    }
}

/// Where a body is, if it still is there. Whoever has the last of these takes the file with him.
pub struct OnDisk {
    disk: Arc<Disk>,
    id: u64,
    length: u64,
    kept: Weak<Kept>,
}

impl OnDisk {
    pub fn len(&self) -> u64 {
        self.length
    }

    /// The file, opened; `None` if it had to make room.
    pub fn open(&self) -> Option<Arc<File>> {
        // Looked up, so that what is used stays.
        self.disk.files.get(&self.id)?;
        File::open(&self.kept.upgrade()?.path).ok().map(Arc::new)
    }
}

impl Drop for OnDisk {
    fn drop(&mut self) {
        self.disk.files.remove(&self.id);
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    fn written(disk: &Arc<Disk>, data: &[u8]) -> OnDisk {
        let mut writer = disk.create().unwrap();
        writer.write(data).unwrap();
        writer.keep().unwrap()
    }

    fn files(path: &Path) -> usize {
        let folders = std::fs::read_dir(path).unwrap().flatten();
        let inside = folders.flat_map(|folder| std::fs::read_dir(folder.path()).unwrap().flatten());
        inside.filter(|file| file.file_name() != LOCK).count()
    }

    #[test]
    fn files_are_private_and_go_with_their_entries() {
        let folder = tempfile::tempdir().unwrap();
        let disk = Arc::new(Disk::new(folder.path(), 1 << 20, 1 << 16));
        assert_eq!(files(folder.path()), 0);
        let kept = written(&disk, b"content");
        assert!(kept.open().is_some() && kept.len() == 7);
        let own = std::fs::read_dir(folder.path()).unwrap().next().unwrap().unwrap();
        assert_eq!(own.metadata().unwrap().permissions().mode() & 0o777, 0o700);
        for file in std::fs::read_dir(own.path()).unwrap().flatten() {
            assert_eq!(file.metadata().unwrap().permissions().mode() & 0o777, 0o600);
        }
        drop(disk.create().unwrap());
        assert_eq!(files(folder.path()), 1, "what is not kept is gone");
        drop(kept);
        assert_eq!(files(folder.path()), 0);
        drop(disk);
        assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 0);
    }

    #[test]
    fn bytes_are_bounded() {
        let folder = tempfile::tempdir().unwrap();
        let disk = Arc::new(Disk::new(folder.path(), 1 << 20, 1 << 16));
        let all: Vec<OnDisk> = (0..40).map(|_| written(&disk, &[0; 1 << 16])).collect();
        let there = all.iter().filter(|one| one.open().is_some()).count();
        assert!((6..=12).contains(&there), "{there}");
        assert_eq!(files(folder.path()), there);
        // Of what is being written, a quarter.
        let mut lease = disk.lease();
        assert!(lease.grow(1 << 18) && !lease.grow(1) && !disk.lease().grow(1));
        drop(lease);
        assert!(disk.lease().grow(1 << 18));
    }

    #[test]
    fn what_others_left_is_taken_away_and_what_they_use_is_not() {
        let folder = tempfile::tempdir().unwrap();
        let alive = Arc::new(Disk::new(folder.path(), 1 << 20, 1 << 16));
        let kept = written(&alive, b"content");
        let left = folder.path().join("velocity-left");
        std::fs::create_dir(&left).unwrap();
        std::fs::write(left.join(LOCK), "").unwrap();
        std::fs::write(left.join("0"), "left").unwrap();
        std::fs::write(folder.path().join("other"), "somebody else's").unwrap();
        let disk = Arc::new(Disk::new(folder.path(), 1 << 20, 1 << 16));
        drop(disk.create().unwrap());
        assert!(!left.exists() && folder.path().join("other").exists());
        assert!(kept.open().is_some());
    }

    #[test]
    fn a_folder_that_cannot_be_is_no_end() {
        let file = tempfile::NamedTempFile::new().unwrap();
        assert!(Arc::new(Disk::new(file.path(), 1 << 20, 1 << 16)).create().is_none());
    }
}
