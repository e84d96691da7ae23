//! Answers of upstreams, kept for those who ask next: a shared cache (RFC 9111) in front of a proxy.
//!
//! [`key`] → [`store`] → fresh: from memory or [`disk`]; stale or missing: [`flight`] → the proxy → [`policy`] → [`fill`].
//! A request that is not for the cache (RFC 9111 section 3, first sentence of each rule in [`policy`]) goes to the proxy
//! as if there were none.

mod budget;
mod directives;
mod disk;
mod fetch;
mod fill;
mod flight;
mod key;
mod policy;
mod purge;
mod status;
mod store;
#[cfg(test)]
mod tests;

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use http::header::{AGE, IF_MATCH, IF_UNMODIFIED_SINCE, RANGE};
use http::{HeaderValue, Method, StatusCode};
use rustc_hash::FxHashMap;
use tokio::sync::Semaphore;

use self::budget::Budget;
use self::directives::Wishes;
use self::disk::Disk;
use self::fill::Room;
use self::flight::{Flights, Seat};
use self::key::{Parts, Selector};
use self::policy::{Asker, Rules, Use};
pub use self::status::Outcome;
use self::status::{Counters, Fate, Forwarded};
use self::store::{Found, Store, Stored};
use super::{Proxy, upgrade_of};
use crate::call::Call;
use crate::error::{Error, Result};
use crate::files::conditional::Validators;
use crate::files::respond_ranges;
use crate::filter::{Known as Login, Networks};
use crate::handler::Templates;
use crate::http::{Body, Response};
use crate::metrics::Metrics;
use crate::plan;
use crate::service::plain;

/// How long a request waits for another one that asks for the same.
const WAIT: Duration = Duration::from_secs(5);
/// How long nobody waits after an answer that could not be stored.
const REFUSED: Duration = Duration::from_secs(10);
/// How long nobody asks after a failure, where stale answers take its place.
const FAILED: Duration = Duration::from_secs(1);
/// Where there is a disk, larger bodies lie on it.
const IN_MEMORY: u64 = 256 << 10;
/// Stale answers that are asked about at once behind the backs of clients.
const REFRESHING: usize = 64;

/// What is kept for one proxy. Shared by all workers, and taken over by the next snapshot.
pub struct Cache {
    store: Arc<Store>,
    flights: Arc<Flights>,
    room: Room,
    parts: Parts,
    rules: Rules,
    purge_from: Networks,
    /// Whether answers say what became of them.
    tells: bool,
    refreshing: Arc<Semaphore>,
    routes: Mutex<BTreeMap<Arc<str>, Arc<Counters>>>,
    /// For requests of our own.
    templates: Templates,
    metrics: Metrics,
}

impl Cache {
    /// # Errors
    ///
    /// `CACHE_INVALID`, `NETWORK_INVALID`.
    fn new(plan: &plan::Cache) -> Result<Self> {
        let smaller = match plan.disk_bytes {
            0 => plan.memory_bytes,
            disk => disk,
        };
        if plan.max_object_bytes > smaller / 4 || plan.memory_bytes == 0 {
            return Err(Error::config(
                "CACHE_INVALID",
                "the largest object is more than a quarter of the cache",
            )
            .hint("make max_object smaller, or memory or disk larger"));
        }
        let disk = match (&plan.path, plan.disk_bytes) {
            (_, 0) => None,
            (Some(path), bytes) => Some(Arc::new(Disk::new(path, bytes, plan.max_object_bytes))),
            (None, _) => return Err(Error::config("CACHE_INVALID", "a cache on the disk without a path")),
        };
        let in_memory = match disk {
            Some(_) => IN_MEMORY.min(plan.memory_bytes / 4).min(plan.max_object_bytes),
            None => plan.max_object_bytes,
        };
        let ms = Duration::from_millis;
        Ok(Self {
            store: Arc::new(Store::new(plan.memory_bytes - plan.memory_bytes / 4, in_memory)),
            flights: Arc::default(),
            room: Room {
                memory: Budget::new(plan.memory_bytes / 4),
                disk,
                in_memory,
                max_object: plan.max_object_bytes,
            },
            parts: Parts::new(&plan.key)?,
            rules: Rules {
                default_ttl: ms(plan.default_ttl_ms),
                stale_while_revalidate: ms(plan.stale_while_revalidate_ms),
                stale_if_error: ms(plan.stale_if_error_ms),
                ignore_set_cookie: plan.ignore_set_cookie,
            },
            purge_from: Networks::new(&plan.purge_from)?,
            tells: plan.status_header,
            refreshing: Arc::new(Semaphore::new(REFRESHING)),
            routes: Mutex::default(),
            templates: Templates::load(None)?,
            metrics: Metrics::default(),
        })
    }

    fn counters(&self, route: &str) -> Arc<Counters> {
        let mut routes = self.routes.lock().unwrap_or_else(PoisonError::into_inner);
        routes.entry(route.into()).or_default().clone()
    }
}

/// What makes two caches the same: what is stored in one would be what is stored in the other.
#[derive(Clone, PartialEq, Eq, Hash)]
struct Identity {
    plan: plan::Cache,
    upstreams: Vec<String>,
    preserve_host: bool,
    strip_prefix: String,
}

/// All caches of a snapshot: the next one takes over those that stay as they are, with what they hold.
#[derive(Default)]
pub struct Caches {
    previous: FxHashMap<Identity, Arc<Cache>>,
    present: FxHashMap<Identity, Arc<Cache>>,
}

impl Caches {
    pub fn after(previous: &Self) -> Self {
        Self {
            previous: previous.present.clone(),
            present: FxHashMap::default(),
        }
    }

    /// # Errors
    ///
    /// See [`Cache::new`].
    fn cache(&mut self, plan: &plan::Cache, proxy: &plan::Proxy) -> Result<Arc<Cache>> {
        let identity = Identity {
            plan: plan.clone(),
            upstreams: proxy.upstreams.iter().map(|upstream| upstream.url.clone()).collect(),
            preserve_host: proxy.preserve_host,
            strip_prefix: proxy.strip_prefix.clone(),
        };
        let known = self.present.get(&identity).or_else(|| self.previous.get(&identity));
        let cache = match known {
            Some(known) => known.clone(),
            None => Arc::new(Cache::new(plan)?),
        };
        self.present.insert(identity, cache.clone());
        Ok(cache)
    }

    /// The previous ones are no longer needed.
    pub fn settle(&mut self) {
        self.previous = FxHashMap::default();
    }

    /// Name and value of the counters of every route, and what each takes.
    pub fn counters(&self, all: &mut BTreeMap<String, u64>) {
        for cache in self.present.values() {
            let routes = cache.routes.lock().unwrap_or_else(PoisonError::into_inner);
            for (route, counters) in &*routes {
                for (name, value) in counters.all() {
                    *all.entry(format!("{name}:{route}")).or_default() += value;
                }
            }
            *all.entry("cache_memory_bytes".to_owned()).or_default() += cache.store.weight();
        }
    }
}

/// A proxy with a cache in front of it, for one route.
#[derive(Clone)]
pub struct Cached {
    proxy: Arc<Proxy>,
    cache: Arc<Cache>,
    counters: Arc<Counters>,
}

/// A request that may be answered by what is stored.
#[derive(Clone, Copy)]
struct Ask<'a> {
    call: &'a Call<'a>,
    target: &'a str,
    wishes: &'a Wishes,
    asker: Asker,
}

/// What is known of an answer that has to be asked for.
struct Missing {
    why: Forwarded,
    /// What there is, but may not be used.
    stale: Option<Arc<Stored>>,
    /// Under which others ask for the same.
    key: Box<[u8]>,
}

impl Cached {
    /// # Errors
    ///
    /// `CACHE_INVALID`, `NETWORK_INVALID`.
    pub fn new(
        proxy: Arc<Proxy>,
        plan: &plan::Proxy,
        cache: &plan::Cache,
        route: &str,
        caches: &mut Caches,
    ) -> Result<Self> {
        let cache = caches.cache(cache, plan)?;
        Ok(Self {
            counters: cache.counters(route),
            proxy,
            cache,
        })
    }

    /// Answer a request, from what is stored or by the proxy.
    pub async fn respond(&self, call: &Call<'_>, body: Body) -> Response {
        let method = &call.parts.method;
        let (mut response, fate) = match *method {
            Method::GET | Method::HEAD => match key::target(call).filter(|_| is_plain(call, &body)) {
                Some(target) => {
                    let wishes = Wishes::of(&call.parts.headers);
                    // Somebody whom this server knows is told to upstreams by fields that need not be Authorization.
                    let known = !call.identity.is_empty() || call.parts.extensions.get::<Login>().is_some();
                    self.answer(Ask {
                        call,
                        target: &target,
                        asker: Asker::of(&call.parts.headers, &wishes, known),
                        wishes: &wishes,
                    })
                    .await
                }
                None => (
                    self.proxy.respond(call, body).await,
                    Fate::new(Outcome::Bypass, Some(Forwarded::Bypass)),
                ),
            },
            _ if method.as_str() == "PURGE" => return self.purge(call),
            _ => {
                let response = self.proxy.respond(call, body).await;
                self.invalidate(call, &response);
                (response, Fate::new(Outcome::Bypass, Some(Forwarded::Method)))
            }
        };
        self.counters.count(fate.outcome);
        if self.cache.tells {
            fate.tell(&mut response);
        }
        response.extensions_mut().insert(fate.outcome);
        response
    }

    /// Answer a request for which something may be stored.
    async fn answer(&self, ask: Ask<'_>) -> (Response, Fate) {
        let until = tokio::time::Instant::now() + WAIT;
        let mut waited = None;
        loop {
            let now = Instant::now();
            let missing = match self.look(ask, now, waited) {
                Ok(answered) => return answered,
                Err(missing) => missing,
            };
            if ask.wishes.only_if_cached {
                // RFC 9111 section 5.2.1.7.
                let response = plain(StatusCode::GATEWAY_TIMEOUT, "this is not in the cache\n");
                return (response, Fate::new(Outcome::Miss, None));
            }
            let fields = &ask.call.parts.headers;
            if ask.call.parts.method == Method::HEAD || missing.stale.is_none() && fields.contains_key(RANGE) {
                return self.pass(ask, missing).await;
            }
            let seat = match self.is_for_others_too(ask, &missing, now) && tokio::time::Instant::now() < until {
                true => Some(self.cache.flights.join(&missing.key)),
                false => None,
            };
            match seat {
                Some(Seat::Follow(follow)) => {
                    follow.wait(until).await;
                    waited = waited.or(Some(missing.why));
                }
                Some(Seat::Lead(lead)) => return self.fetch(ask, missing, Some(lead)).await,
                None => return self.fetch(ask, missing, None).await,
            }
        }
    }

    /// Look for an answer that may be used; or what is missing. `waited` is why it was missing before somebody else
    /// asked for it.
    fn look(
        &self,
        ask: Ask<'_>,
        now: Instant,
        waited: Option<Forwarded>,
    ) -> std::result::Result<(Response, Fate), Missing> {
        let missing = |why, stale, selector: &Selector| Missing {
            why,
            stale,
            key: [ask.target.as_bytes(), b"\0", selector.values()].concat().into(),
        };
        let parts = &self.cache.parts;
        let stored = match self.cache.store.find(ask.target, ask.call, parts) {
            Found::Stored(stored) => stored,
            Found::Others(selector) => return Err(missing(Forwarded::VaryMiss, None, &selector)),
            Found::Nothing => return Err(missing(Forwarded::UriMiss, None, &Selector::plain(ask.call, parts))),
        };
        let age = stored.terms.age(now.saturating_duration_since(stored.since));
        let mut usage = stored.terms.usage(age, ask.wishes);
        if usage == Use::Validate && stored.terms.serves_errors(age, ask.wishes) {
            let key = missing(Forwarded::Stale, None, &stored.selector).key;
            if self.cache.store.has_failed(&key, now) {
                // Somebody has just asked in vain.
                usage = Use::Stale;
            }
        }
        if usage == Use::Validate {
            let why = match stored.terms.is_ever_fresh() && age < stored.terms.lifetime {
                true => Forwarded::Request,
                false => Forwarded::Stale,
            };
            let selector = stored.selector.clone();
            return Err(missing(why, Some(stored), &selector));
        }
        let Some(response) = self.stored(ask, &stored, now) else {
            // Its file had to make room.
            self.cache.store.remove(ask.target, &stored);
            return Err(missing(Forwarded::UriMiss, None, &stored.selector));
        };
        let mut fate = Fate::new(Outcome::Hit, waited);
        fate.collapsed = waited.is_some();
        fate.ttl = Some(ttl(&stored, age));
        if usage != Use::Fresh {
            fate.outcome = Outcome::Stale;
        }
        if usage == Use::StaleWhileRevalidate {
            let selector = stored.selector.clone();
            self.refresh(ask, missing(Forwarded::Stale, Some(stored), &selector));
        }
        Ok((response, fate))
    }

    /// Whether the answer to this request may be one that others can use, so that they may wait for it.
    fn is_for_others_too(&self, ask: Ask<'_>, missing: &Missing, now: Instant) -> bool {
        let alone = ask.asker.is_known || ask.asker.no_store || ask.wishes.no_cache;
        // What is validated for each request is so for each by itself.
        let shared = missing.stale.as_ref().is_none_or(|stored| stored.terms.is_ever_fresh());
        !alone && shared && !self.cache.store.is_refused(&missing.key, now)
    }

    /// A stored answer as a request gets it; `None` if its content is gone.
    fn stored(&self, ask: Ask<'_>, stored: &Stored, now: Instant) -> Option<Response> {
        let opened = stored.content.open()?;
        let length = stored.content.len()?;
        let mut head = stored.head.clone();
        let age = stored.terms.age(now.saturating_duration_since(stored.since));
        head.insert(AGE, HeaderValue::from(age.as_secs()));
        if stored.status == StatusCode::OK {
            let validators = Validators::of(&stored.head);
            return Some(respond_ranges(head, &validators, ask.call.parts, length, |range| {
                opened.part(range)
            }));
        }
        let mut response = Response::new(opened.part(0..length));
        *response.status_mut() = stored.status;
        *response.headers_mut() = head;
        Some(response)
    }
}

/// Whether a GET or HEAD is nothing but that. Preconditions that guard a change are for the origin; a body, or a
/// WebSocket, is for the application.
fn is_plain(call: &Call<'_>, body: &Body) -> bool {
    let fields = &call.parts.headers;
    body.is_empty()
        && !fields.contains_key(IF_MATCH)
        && !fields.contains_key(IF_UNMODIFIED_SINCE)
        && upgrade_of(call).is_none()
}

/// Seconds for which an answer is fresh; less than nothing since it is not.
fn ttl(stored: &Stored, age: Duration) -> i64 {
    stored.terms.lifetime.as_secs() as i64 - age.as_secs() as i64
}
