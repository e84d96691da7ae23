//! Small hot files in memory, with everything an answer needs made once.
//!
//! An entry is only as good as the file it was read from: each use compares the identity of that
//! file, which is one system call for all requests of a batch ([`batch`]). Nothing is served stale, and
//! nothing has to watch the disk.

use std::hash::{Hash, Hasher};
use std::num::NonZeroU64;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, OnceLock};
use std::time::SystemTime;

use quick_cache::sync::Cache;
use quick_cache::{Equivalent, Weighter};

use super::coding::Accepted;
use super::conditional::Validators;
use super::root::{Identity, Root};
use crate::http::Prepared;
use crate::net::batch;

/// Keys longer than this are not kept.
const MAX_KEY: usize = 512;
/// What an entry costs besides its content: key, header map, bookkeeping.
const OVERHEAD: u64 = 1024;

/// A representation in memory.
pub struct Entry {
    pub validators: Validators,
    /// A 200 answer, Content-Length included.
    pub answer: Arc<Prepared>,
    /// Every file this came from: the one of the URL, and the coded sibling if there is one.
    pub sources: Vec<(Vec<u8>, Identity)>,
    /// Names that come before these, and that nothing had.
    pub absent: Vec<Vec<u8>>,
    /// Before the sources were looked at.
    pub seen: SystemTime,
    /// The last batch of packets in which it was found current.
    pub vouched: AtomicU64,
}

impl Entry {
    /// Whether every source is what it was, and nothing has come before them.
    pub fn is_current(&self, root: &Root) -> bool {
        let batch = batch::current().map_or(0, NonZeroU64::get);
        if batch != 0 && self.vouched.load(Ordering::Relaxed) == batch {
            return true;
        }
        let current = self.look(root);
        if current {
            self.vouched.store(batch, Ordering::Relaxed);
        }
        current
    }

    fn look(&self, root: &Root) -> bool {
        let unchanged = |(relative, identity): &(Vec<u8>, _)| root.identity(relative).as_ref() == Some(identity);
        self.sources.iter().all(unchanged) && self.absent.iter().all(|name| root.identity(name).is_none())
    }
}

#[derive(PartialEq, Eq)]
struct Key {
    path: Box<str>,
    accepted: Accepted,
}

/// A key that borrows the path of a request.
struct KeyRef<'a>(&'a str, Accepted);

impl Hash for Key {
    fn hash<H: Hasher>(&self, state: &mut H) {
        KeyRef(&self.path, self.accepted).hash(state);
    }
}

impl Hash for KeyRef<'_> {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.0.hash(state);
        self.1.hash(state);
    }
}

impl Equivalent<Key> for KeyRef<'_> {
    fn equivalent(&self, key: &Key) -> bool {
        *self.0 == *key.path && self.1 == key.accepted
    }
}

#[derive(Clone)]
struct Size;

impl Weighter<Key, Arc<Entry>> for Size {
    fn weight(&self, key: &Key, entry: &Arc<Entry>) -> u64 {
        OVERHEAD + key.path.len() as u64 + entry.answer.content().len() as u64
    }
}

/// The cache of one site.
pub struct Hot {
    bytes: u64,
    /// Made when there is something to keep: there may be thousands of sites of which nothing is asked.
    cache: OnceLock<Cache<Key, Arc<Entry>, Size>>,
}

impl Hot {
    pub fn new(bytes: u64) -> Self {
        Self {
            bytes,
            cache: OnceLock::new(),
        }
    }

    /// The entry for a request path, as the URL has it, if it is still current.
    pub fn get(&self, path: &str, accepted: Accepted, root: &Root) -> Option<Arc<Entry>> {
        let key = KeyRef(path, accepted);
        let cache = self.cache.get()?;
        let entry = cache.get(&key)?;
        if entry.is_current(root) {
            return Some(entry);
        }
        cache.remove(&key);
        None
    }

    pub fn insert(&self, path: &str, accepted: Accepted, entry: Arc<Entry>) {
        // As it was when it was read: coding takes long enough to look settled afterwards.
        let settled = entry
            .sources
            .iter()
            .all(|(_, identity)| identity.is_settled(entry.seen));
        if settled && path.len() <= MAX_KEY {
            // The estimate sizes the tables; 8 KiB is a usual small file.
            let cache = || Cache::with_weighter((self.bytes / 8192).max(16) as usize, self.bytes, Size);
            self.cache.get_or_init(cache).insert(
                Key {
                    path: path.into(),
                    accepted,
                },
                entry,
            );
        }
    }

    #[cfg(test)]
    pub fn clear(&self) {
        if let Some(cache) = self.cache.get() {
            cache.clear();
        }
    }

    /// Entries held, whether current or not.
    #[cfg(test)]
    pub fn len(&self) -> usize {
        self.cache.get().map_or(0, Cache::len)
    }
}
