//! What is stored, by target: one table for all workers, bounded in bytes.
//!
//! The answers of one target lie together, so that they come and go together: what an unsafe request makes invalid is
//! all of them (RFC 9111 section 4.4). Nothing in the table ever changes; a new list takes the place of an old one.

use std::hash::{BuildHasher, Hash, RandomState};
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};
use std::time::Instant;

use http::{HeaderMap, StatusCode};
use quick_cache::sync::{Cache, DefaultLifecycle};
use quick_cache::{DefaultHashBuilder, OptionsBuilder, UnitWeighter, Weighter};

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
/// Counts of what was made invalid. Targets that share one make each other's answers under way unfit to be stored.
const GENERATIONS: usize = 4096;

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
    stripes: [Mutex<()>; STRIPES],
    /// How often something was made invalid, by hash of the target: what was asked for before that is not stored.
    generations: OnceLock<Box<[AtomicU64]>>,
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
            generations: OnceLock::new(),
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

    /// Which generation a target is in now.
    pub fn generation(&self, target: &str) -> u64 {
        self.counter(target).load(Ordering::Acquire)
    }

    /// Store an answer to what was asked in a generation, in place of those with the same selector; false if something
    /// has made it invalid since.
    pub fn insert(&self, target: &str, stored: Arc<Stored>, generation: u64) -> bool {
        self.change(target, generation, |variants| {
            variants.retain(|known| known.selector != stored.selector);
            variants.insert(0, stored.clone());
            true
        })
    }

    /// The same for what takes the place of one that must still be there.
    pub fn replace(&self, target: &str, old: &Arc<Stored>, new: Arc<Stored>, generation: u64) -> bool {
        self.change(target, generation, |variants| {
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
        self.change(target, self.generation(target), |variants| {
            variants.retain(|known| !Arc::ptr_eq(known, old));
            true
        });
    }

    fn change(&self, target: &str, generation: u64, act: impl FnOnce(&mut Vec<Arc<Stored>>) -> bool) -> bool {
        let table = self.table();
        let _held = self.lock(target);
        if self.generation(target) != generation {
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
        let _held = self.lock(target);
        self.counter(target).fetch_add(1, Ordering::AcqRel);
        let removed = self.table.get().and_then(|table| table.remove(target));
        usize::from(removed.is_some())
    }

    /// The same for all targets that begin like this.
    pub fn invalidate_prefix(&self, prefix: &str) -> usize {
        for generation in self.generations() {
            generation.fetch_add(1, Ordering::AcqRel);
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

    /// Bytes in memory.
    pub fn weight(&self) -> u64 {
        self.table.get().map_or(0, Cache::weight)
    }

    fn generations(&self) -> &[AtomicU64] {
        self.generations
            .get_or_init(|| (0..GENERATIONS).map(|_| AtomicU64::default()).collect())
    }

    fn counter(&self, target: &str) -> &AtomicU64 {
        &self.generations()[self.hasher.hash_one(target) as usize % GENERATIONS]
    }

    fn lock(&self, target: &str) -> MutexGuard<'_, ()> {
        let stripe = &self.stripes[self.hasher.hash_one(target) as usize % STRIPES];
        stripe.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// What a look-up finds.
pub enum Found {
    Stored(Arc<Stored>),
    /// Answers for other requests, and how this one would be told from them.
    Others(Selector),
    Nothing,
}
