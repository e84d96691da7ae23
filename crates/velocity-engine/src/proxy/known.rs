//! The proxies of a snapshot: what the next snapshot keeps of them, and what they have counted.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;

use rustc_hash::FxHashMap;

use super::Proxy;
use super::cache::{self, Cached};
use crate::error::Result;
use crate::plan;

/// All proxies of a snapshot: the next one takes over those that stay as they are, with what they have learned.
#[derive(Default)]
pub struct Known {
    previous: FxHashMap<plan::Proxy, Arc<Proxy>>,
    present: FxHashMap<plan::Proxy, Arc<Proxy>>,
    caches: cache::Caches,
}

impl Known {
    pub fn after(previous: Option<&Self>) -> Self {
        Self {
            previous: previous.map(|known| known.present.clone()).unwrap_or_default(),
            present: FxHashMap::default(),
            caches: previous
                .map(|known| cache::Caches::after(&known.caches))
                .unwrap_or_default(),
        }
    }

    /// # Errors
    ///
    /// `UPSTREAM_INVALID`, `HEADER_INVALID`.
    pub fn proxy(&mut self, plan: &plan::Proxy) -> Result<Arc<Proxy>> {
        if let Some(known) = self.present.get(plan) {
            return Ok(known.clone());
        }
        let proxy = match self.previous.get(plan) {
            Some(known) => known.clone(),
            None => Arc::new(Proxy::new(plan)?),
        };
        self.present.insert(plan.clone(), proxy.clone());
        Ok(proxy)
    }

    /// The same with a cache in front of it, for the route of this name.
    ///
    /// # Errors
    ///
    /// Besides, `CACHE_INVALID`, `NETWORK_INVALID`.
    pub fn cached(&mut self, plan: &plan::Proxy, cache: &plan::Cache, route: &str) -> Result<Cached> {
        let proxy = self.proxy(plan)?;
        Cached::new(proxy, plan, cache, route, &mut self.caches)
    }

    pub fn is_empty(&self) -> bool {
        self.present.is_empty()
    }

    /// The previous ones are no longer needed.
    pub fn settle(mut self) -> Self {
        self.previous = FxHashMap::default();
        self.caches.settle();
        self
    }

    /// Name and value of the counters of every upstream, whichever proxies have it.
    pub fn counters(&self) -> BTreeMap<String, u64> {
        let mut all = BTreeMap::new();
        for upstream in self.present.values().flat_map(|proxy| proxy.upstreams.known()) {
            let counters = &upstream.counters;
            let named = [
                ("upstream_requests", &counters.requests),
                ("upstream_failures", &counters.failures),
                ("upstream_retries", &counters.retries),
                ("upstream_ejections", &counters.ejections),
                ("upstream_connections", &counters.connections),
            ];
            for (name, counter) in named {
                *all.entry(format!("{name}:{}", upstream.url)).or_default() += counter.load(Relaxed);
            }
        }
        self.caches.counters(&mut all);
        all
    }
}
