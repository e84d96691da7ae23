//! What is stored, by target: one table for all workers, bounded in bytes.
//!
//! The answers of one target lie together, so that they come and go together: what an unsafe request makes invalid is
//! all of them (RFC 9111 section 4.4). Nothing in the table ever changes; a new list takes the place of an old one.

use std::hash::{BuildHasher, Hash, RandomState};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};
use std::time::Instant;

use http::{HeaderMap, StatusCode};
use quick_cache::sync::{Cache, DefaultLifecycle};
use quick_cache::{DefaultHashBuilder, OptionsBuilder, UnitWeighter, Weighter};
use rustc_hash::FxHashMap;

use super::fill::Content;
use super::key::{Parts, Selector};
use super::policy::Terms;
use crate::call::Call;

/// Answers to one target.
const MAX_VARIANTS: usize = 32;
/// What an answer costs besides its content and the text of its fields.
const OVERHEAD: u64 = 512;
/// Locks for changes; look-ups take none of them.
const STRIPES: usize = 64;

/// A stored answer.
pub struct Stored {
    pub status: StatusCode,
    pub head: HeaderMap,
    pub terms: Terms,
    /// `response_time`.
    pub since: Instant,
    pub selector: Selector,
    pub content: Content,
}

impl Stored {
    fn weight(&self) -> u64 {
        // Each field has a place in the table of its map too.
        let fields = self
            .head
            .iter()
            .map(|(name, value)| name.as_str().len() + value.len() + 128);
        OVERHEAD + (fields.sum::<usize>() + self.selector.size()) as u64 + self.content.in_memory()
    }
}

/// All answers to one target, the newest first.
struct Resource {
    variants: Vec<Arc<Stored>>,
    weight: u64,
}

impl Resource {
    fn new(key: &str, mut variants: Vec<Arc<Stored>>, most: u64) -> Self {
        let mut weight = OVERHEAD + key.len() as u64;
        let mut number = 0;
        variants.retain(|stored| {
            let heavier = weight + stored.weight();
            // The newest has its place: whether it has one in the table is for the table to say.
            let room = number < MAX_VARIANTS && (number == 0 || heavier <= most);
            if room {
                weight = heavier;
                number += 1;
            }
            room
        });
        Self { variants, weight }
    }
}

#[derive(Clone)]
struct Bytes;

impl Weighter<Box<str>, Arc<Resource>> for Bytes {
    fn weight(&self, _: &Box<str>, resource: &Arc<Resource>) -> u64 {
        resource.weight
    }
}

type Table = Cache<Box<str>, Arc<Resource>, Bytes>;

pub struct Store {
    bytes: u64,
    max_object: u64,
    /// Made when there is something to store: there may be thousands of proxies of which nothing is asked.
    table: OnceLock<Table>,
    stripes: [Mutex<Watched>; STRIPES],
    hasher: RandomState,
    /// Targets of which the last answer could not be stored, by hash.
    refused: OnceLock<Cache<u64, Instant, UnitWeighter>>,
}

/// A table of at most so many bytes, cut into shards none of which is too small for an object.
pub fn sized<K, V, W>(bytes: u64, max_object: u64, weighter: W) -> Cache<K, V, W>
where
    K: Eq + Hash,
    V: Clone,
    W: Weighter<K, V> + Clone,
{
    let shards = (bytes / (2 * max_object + 64 * 1024)).clamp(1, 64);
    let shards = (shards + 1).next_power_of_two() / 2; // not more
    let items = (bytes / 8192).max(64 * shards) as usize;
    let mut options = OptionsBuilder::new();
    options
        .shards(shards as usize)
        .estimated_items_capacity(items)
        .weight_capacity(bytes);
    let hasher = DefaultHashBuilder::default();
    match options.build() {
        Ok(options) => Cache::with_options(options, weighter, hasher, DefaultLifecycle::default()),
        Err(_) => Cache::with(items, bytes, weighter, hasher, DefaultLifecycle::default()),
    }
}

/// Targets remembered as refused.
const REFUSED: usize = 1 << 14;

impl Store {
    pub fn new(bytes: u64, max_object: u64) -> Self {
        Self {
            bytes,
            max_object,
            table: OnceLock::new(),
            stripes: std::array::from_fn(|_| Mutex::default()),
            hasher: RandomState::new(),
            refused: OnceLock::new(),
        }
    }

    fn table(&self) -> &Table {
        self.table.get_or_init(|| sized(self.bytes, self.max_object, Bytes))
    }

    /// The answer for a request, or whether there are some for others.
    pub fn find(&self, target: &str, call: &Call<'_>, parts: &Parts) -> Found {
        let Some(resource) = self.table.get().and_then(|table| table.get(target)) else {
            return Found::Nothing;
        };
        // The newest first (RFC 9111 section 4.1).
        match resource
            .variants
            .iter()
            .find(|stored| stored.selector.selects(call, parts))
        {
            Some(stored) => Found::Stored(stored.clone()),
            None => Found::Others(resource.variants[0].selector.again(call, parts)),
        }
    }

    /// To be held from before an answer is asked for until it is stored: what is made invalid meanwhile is not.
    pub fn watch(self: &Arc<Self>, target: &str) -> Watch {
        let mut watched = self.lock(target);
        let entry = watched.entry(self.hash(target)).or_default();
        entry.watches += 1;
        Watch {
            store: self.clone(),
            target: target.into(),
            generation: entry.generation,
        }
    }

    /// Store an answer in place of those with the same selector; false if something has made it invalid meanwhile.
    pub fn insert(&self, watch: &Watch, stored: Arc<Stored>) -> bool {
        self.change(&watch.target, Some(watch), |variants| {
            variants.retain(|known| known.selector != stored.selector);
            variants.insert(0, stored.clone());
            true
        })
    }

    /// The same for what takes the place of one that must still be there.
    pub fn replace(&self, watch: &Watch, old: &Arc<Stored>, new: Arc<Stored>) -> bool {
        self.change(&watch.target, Some(watch), |variants| {
            match variants.iter().position(|known| Arc::ptr_eq(known, old)) {
                Some(at) => {
                    variants.remove(at);
                    variants.retain(|known| known.selector != new.selector);
                    variants.insert(0, new.clone());
                    true
                }
                None => false,
            }
        })
    }

    /// Remove one answer.
    pub fn remove(&self, target: &str, old: &Arc<Stored>) {
        self.change(target, None, |variants| {
            variants.retain(|known| !Arc::ptr_eq(known, old));
            true
        });
    }

    fn change(&self, target: &str, watch: Option<&Watch>, act: impl FnOnce(&mut Vec<Arc<Stored>>) -> bool) -> bool {
        let table = self.table();
        let held = self.lock(target);
        let current = held.get(&self.hash(target)).map(|entry| entry.generation);
        if watch.is_some_and(|watch| current != Some(watch.generation)) {
            return false;
        }
        let mut variants = table
            .peek(target)
            .map(|known| known.variants.clone())
            .unwrap_or_default();
        if !act(&mut variants) {
            return false;
        }
        if variants.is_empty() {
            table.remove(target);
        } else {
            let most = table.shard_capacity() / 2;
            let resource = Resource::new(target, variants, most);
            table.insert(target.into(), Arc::new(resource));
        }
        true
    }

    /// Make all answers of a target invalid; how many targets that were, 0 or 1.
    pub fn invalidate(&self, target: &str) -> usize {
        let mut held = self.lock(target);
        if let Some(entry) = held.get_mut(&self.hash(target)) {
            entry.generation += 1;
        }
        let removed = self.table.get().and_then(|table| table.remove(target));
        usize::from(removed.is_some())
    }

    /// The same for all targets that begin like this.
    pub fn invalidate_prefix(&self, prefix: &str) -> usize {
        for stripe in &self.stripes {
            let mut held = stripe.lock().unwrap_or_else(PoisonError::into_inner);
            held.values_mut().for_each(|entry| entry.generation += 1);
        }
        let Some(table) = self.table.get() else { return 0 };
        let removed = AtomicUsize::new(0);
        table.retain(|target, _| {
            let stays = !target.starts_with(prefix);
            removed.fetch_add(usize::from(!stays), Ordering::Relaxed);
            stays
        });
        removed.into_inner()
    }

    /// Remember that answers under this key cannot be stored: nobody has to wait for one.
    pub fn refuse(&self, key: &[u8], until: Instant) {
        let refused = self.refused.get_or_init(|| Cache::new(REFUSED));
        refused.insert(self.hasher.hash_one(key), until);
    }

    pub fn is_refused(&self, key: &[u8], now: Instant) -> bool {
        let Some(refused) = self.refused.get() else {
            return false;
        };
        refused.get(&self.hasher.hash_one(key)).is_some_and(|until| now < until)
    }

    /// Remember that what was asked for under this key has just failed: nobody has to ask who may have it stale.
    pub fn fail(&self, key: &[u8], until: Instant) {
        self.refuse(&failed(key), until);
    }

    pub fn has_failed(&self, key: &[u8], now: Instant) -> bool {
        self.is_refused(&failed(key), now)
    }

    /// Bytes in memory.
    pub fn weight(&self) -> u64 {
        self.table.get().map_or(0, Cache::weight)
    }

    fn hash(&self, target: &str) -> u64 {
        self.hasher.hash_one(target)
    }

    fn lock(&self, target: &str) -> MutexGuard<'_, Watched> {
        let stripe = &self.stripes[self.hash(target) as usize % STRIPES];
        stripe.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// No key begins like this.
fn failed(key: &[u8]) -> Vec<u8> {
    [b"\0", key].concat()
}

/// Targets of which answers are under way, by hash.
type Watched = FxHashMap<u64, Entry>;

#[derive(Default)]
struct Entry {
    watches: usize,
    /// How often it was made invalid since the first of them.
    generation: u64,
}

/// See [`Store::watch`].
pub struct Watch {
    store: Arc<Store>,
    target: Box<str>,
    generation: u64,
}

impl Watch {
    pub fn target(&self) -> &str {
        &self.target
    }
}

impl Drop for Watch {
    fn drop(&mut self) {
        let hash = self.store.hash(&self.target);
        let mut watched = self.store.lock(&self.target);
        if let Some(entry) = watched.get_mut(&hash) {
            entry.watches -= 1;
            if entry.watches == 0 {
                watched.remove(&hash);
            }
        }
    }
}

/// What a look-up finds.
pub enum Found {
    Stored(Arc<Stored>),
    /// Answers for other requests, and how this one would be told from them.
    Others(Selector),
    Nothing,
}
