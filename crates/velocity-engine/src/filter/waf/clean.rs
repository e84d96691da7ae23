//! Requests that were found clean, by a keyed hash: most are the same as one before.

use std::hash::{BuildHasher, Hasher, RandomState};
use std::sync::atomic::{AtomicU64, Ordering};

use http::request::Parts;

/// Power of two: 64 KiB.
const PLACES: usize = 8192;

/// Forgets one when another needs its place. Nobody who does not know the key can make one look like another.
pub struct Clean {
    hasher: RandomState,
    places: Box<[AtomicU64]>,
}

impl Clean {
    pub fn new() -> Self {
        Self {
            hasher: RandomState::new(),
            places: (0..PLACES).map(|_| AtomicU64::new(0)).collect(),
        }
    }

    /// Of everything that rules look at in a head.
    pub fn key(&self, parts: &Parts) -> u64 {
        let mut hasher = self.hasher.build_hasher();
        if let Some(target) = parts.uri.path_and_query() {
            hasher.write(target.as_str().as_bytes());
        }
        for (name, value) in &parts.headers {
            // With their lengths, so that nothing can pass from one into another.
            hasher.write_usize(name.as_str().len());
            hasher.write(name.as_str().as_bytes());
            hasher.write_usize(value.len());
            hasher.write(value.as_bytes());
        }
        hasher.finish().max(1)
    }

    pub fn contains(&self, key: u64) -> bool {
        self.place(key).load(Ordering::Relaxed) == key
    }

    pub fn insert(&self, key: u64) {
        self.place(key).store(key, Ordering::Relaxed);
    }

    fn place(&self, key: u64) -> &AtomicU64 {
        &self.places[key as usize % PLACES]
    }
}
