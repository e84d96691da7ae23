//! Connections to upstreams that wait for the next request. Each worker has its own, since a connection lives on the
//! runtime that it was made on; nothing here is ever waited for.

use std::cell::RefCell;
use std::sync::atomic::{AtomicU32, Ordering::Relaxed};
use std::sync::{Arc, Weak};
use std::time::{Duration, Instant};

use rustc_hash::FxHashMap;

use super::connect::Shared;
use super::h1;
use super::upstream::Upstream;
use crate::net::proxy_protocol::Client;

/// Connections kept for one upstream on one worker.
const MAX_IDLE: usize = 256;
/// How long one is kept. Many servers close what idles for a minute; whoever does so earlier is found out by a look.
const KEEP: Duration = Duration::from_secs(50);
/// How often what is too old is looked for.
const SWEEP: Duration = Duration::from_secs(5);
/// Requests on one shared connection above which another is made: what servers usually allow.
const CROWDED: usize = 100;

/// Connections that are each for one client: whoever else comes gets one that is not kept.
const MAX_CLIENTS: usize = 1024;

/// Connections are alike when they go to the same upstream under the same name (SNI) for the same client, and can do the
/// same.
#[derive(Clone, PartialEq, Eq, Hash)]
pub struct Key {
    pub upstream: u64,
    pub name: Option<Box<str>>,
    /// HTTP/1.1 only, which alone can be upgraded.
    pub upgrade: bool,
    /// Whose connection it is, where the upstream is told (PROXY protocol). Nobody else may have it.
    pub client: Option<Client>,
}

/// How often there were no descriptors left, on any worker.
static SHORTAGES: AtomicU32 = AtomicU32::new(0);

#[derive(Default)]
struct Pool {
    by_key: FxHashMap<Key, Idle>,
    sweeping: bool,
    /// Shortages that are over for this worker.
    settled: u32,
}

struct Idle {
    /// It is of no use to anybody once nobody has its upstream any more.
    upstream: Weak<Upstream>,
    /// The one that was used last is last.
    single: Vec<(h1::Connection, Instant)>,
    shared: Vec<(Shared, Arc<()>, Instant)>,
    /// Held by whoever makes a shared connection, so that a crowd makes one.
    gate: Arc<tokio::sync::Mutex<()>>,
}

thread_local! {
    static POOL: RefCell<Pool> = RefCell::default();
}

/// A connection for one request at a time.
pub fn take_single(key: &Key) -> Option<h1::Connection> {
    POOL.with_borrow_mut(|pool| {
        let idle = pool.by_key.get_mut(key)?;
        while let Some((mut connection, _)) = idle.single.pop() {
            if connection.is_ready() {
                return Some(connection);
            }
        }
        None
    })
}

/// Keep a connection that is ready for another request.
pub fn put_single(key: &Key, upstream: &Arc<Upstream>, mut connection: h1::Connection) {
    if !connection.is_ready() {
        return;
    }
    POOL.with_borrow_mut(|pool| {
        if pool.is_full(key) {
            return;
        }
        let idle = pool.idle(key, upstream);
        if idle.single.len() == MAX_IDLE {
            idle.single.remove(0);
        }
        idle.single.push((connection, Instant::now()));
        pool.sweep();
    });
}

/// A connection for many requests, and what keeps a place on it.
pub fn take_shared(key: &Key) -> Option<(Shared, Arc<()>)> {
    POOL.with_borrow_mut(|pool| {
        let idle = pool.by_key.get_mut(key)?;
        idle.shared.retain(|(connection, _, _)| connection.is_open());
        let (connection, places, used) = idle
            .shared
            .iter_mut()
            .min_by_key(|(_, places, _)| Arc::strong_count(places))
            .filter(|(_, places, _)| Arc::strong_count(places) <= CROWDED)?;
        *used = Instant::now();
        Some((connection.clone(), places.clone()))
    })
}

pub fn put_shared(key: &Key, upstream: &Arc<Upstream>, connection: Shared) -> Arc<()> {
    let places = Arc::new(());
    POOL.with_borrow_mut(|pool| {
        if pool.is_full(key) {
            return;
        }
        let idle = pool.idle(key, upstream);
        idle.shared.push((connection, places.clone(), Instant::now()));
        pool.sweep();
    });
    places
}

/// There are no descriptors left: whoever needs one comes before what idles. Here that goes at once, elsewhere with the
/// next sweep.
pub fn make_room() {
    SHORTAGES.fetch_add(1, Relaxed);
    let dropped = POOL.with_borrow_mut(Pool::expire);
    drop(dropped);
}

/// To be held while a shared connection is made.
pub fn gate(key: &Key, upstream: &Arc<Upstream>) -> Arc<tokio::sync::Mutex<()>> {
    POOL.with_borrow_mut(|pool| match pool.is_full(key) {
        true => Arc::default(),
        false => pool.idle(key, upstream).gate.clone(),
    })
}

impl Pool {
    /// Whether there are as many clients with connections of their own as there may be.
    fn is_full(&self, key: &Key) -> bool {
        key.client.is_some() && self.by_key.len() >= MAX_CLIENTS && !self.by_key.contains_key(key)
    }

    fn idle(&mut self, key: &Key, upstream: &Arc<Upstream>) -> &mut Idle {
        self.by_key.entry(key.clone()).or_insert_with(|| Idle {
            upstream: Arc::downgrade(upstream),
            single: Vec::new(),
            shared: Vec::new(),
            gate: Arc::default(),
        })
    }

    /// See to it that what is here does not stay for ever.
    fn sweep(&mut self) {
        if std::mem::replace(&mut self.sweeping, true) {
            return;
        }
        tokio::spawn(async {
            loop {
                tokio::time::sleep(SWEEP).await;
                // Connections are dropped outside of the pool.
                let (dropped, done) = POOL.with_borrow_mut(Pool::expire);
                drop(dropped);
                if done {
                    return;
                }
            }
        });
    }

    fn expire(&mut self) -> (Vec<Idle>, bool) {
        let now = Instant::now();
        let shortages = SHORTAGES.load(Relaxed);
        let short = std::mem::replace(&mut self.settled, shortages) != shortages;
        let mut dropped = Vec::new();
        let keys: Vec<Key> = self.by_key.keys().cloned().collect();
        for key in keys {
            let Some(idle) = self.by_key.get_mut(&key) else {
                continue;
            };
            idle.single
                .retain_mut(|(connection, since)| !short && now - *since < KEEP && connection.is_ready());
            idle.shared.retain(|(connection, places, used)| {
                connection.is_open() && (Arc::strong_count(places) > 1 || now - *used < KEEP)
            });
            let empty = idle.single.is_empty() && idle.shared.is_empty() && Arc::strong_count(&idle.gate) == 1;
            if empty || idle.upstream.strong_count() == 0 {
                dropped.extend(self.by_key.remove(&key));
            }
        }
        if self.by_key.is_empty() {
            self.sweeping = false;
        }
        (dropped, self.by_key.is_empty())
    }
}
