//! Connections to many origins, kept for the next request, within limits.
//!
//! A request takes a connection that is there, or waits for a place to make one. Connections for many requests at once
//! are shared; of the others, the one that was used last is used first.

use std::collections::HashMap;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::pin::pin;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering::Relaxed};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use bytes::Bytes;
use http::header::{
    CONNECTION, CONTENT_LENGTH, HOST, PROXY_AUTHENTICATE, PROXY_AUTHORIZATION, TE, TRANSFER_ENCODING, UPGRADE,
    USER_AGENT,
};
use http::uri::{Authority, PathAndQuery, Scheme, Uri};
use http::{HeaderMap, HeaderName, HeaderValue, Method, Request, Version};
use rustc_hash::FxHashMap;
use tokio::sync::Notify;
use velocity_tls::client::Trust;
use velocity_tls::{Profile, certificate};

use super::answer::Answer;
use super::carrier::{About, Lease, Shared};
use super::proxy::Proxy;
use super::reach::{Reach, Ways};
use super::target::{self, Origin};
use super::upload::{self, Progress};
use super::{Protocol, alternatives};
use crate::error::{Error, Result};
use crate::http::Body;
use crate::proxy::failure::Reached;
use crate::proxy::h1;
use crate::proxy::h1::head::AbsoluteForm;

/// Requests on one shared connection above which another is made: what servers usually allow.
const CROWDED: usize = 100;
/// Origins above which those that have no connection are forgotten.
const MAX_ORIGINS: usize = 1000;
/// How often a request is sent again at most.
const AGAIN: usize = 3;
/// How often connections that have idled too long are looked for, at least.
const SWEEP: Duration = Duration::from_secs(5);

/// What `velocity/1` may give way to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fallback {
    /// To anything else that is permitted.
    Allow,
    /// To what the server itself points to.
    Directed,
    Never,
}

/// What a pool is to do; see `velocity._core.Pool`.
#[derive(Clone, Debug)]
pub struct Settings {
    /// Preferred first.
    pub protocols: Vec<Protocol>,
    pub profile: Option<Profile>,
    pub fallback: Fallback,
    pub trust: Trust,
    pub revocation: Vec<PathBuf>,
    pub certificate: Option<certificate::Files>,
    pub server_name: Option<String>,
    pub max_connections: Option<usize>,
    pub max_keepalive: Option<usize>,
    pub keepalive: Option<Duration>,
    pub state: Option<PathBuf>,
    pub proxy: Option<Arc<Proxy>>,
    /// Where to connect instead.
    pub resolve: HashMap<(String, u16), (String, u16)>,
    pub discover: bool,
    /// Whom to ask for HTTPS records; the system's resolvers where absent.
    pub resolver: Option<SocketAddr>,
}

/// How long what may take; `None` is for ever.
#[derive(Clone, Copy, Debug)]
pub struct Patience {
    /// Name, connection and handshake together.
    pub connect: Option<Duration>,
    /// Without anything from the server.
    pub read: Option<Duration>,
    /// Without anything of the request being sent.
    pub write: Option<Duration>,
    /// For a place among the connections.
    pub pool: Option<Duration>,
}

/// A request that may be sent more than once.
pub struct Order {
    method: Method,
    origin: Origin,
    path: PathAndQuery,
    /// As the caller names it, or as the origin is named.
    authority: Authority,
    fields: HeaderMap,
    payload: Payload,
}

pub enum Payload {
    Whole(Option<Bytes>),
    /// Can be sent once.
    Pieces(Option<(Body, Arc<Progress>)>),
}

impl Order {
    /// # Errors
    ///
    /// `URL_INVALID` and `HEADERS_INVALID`.
    pub fn new(method: &str, url: &str, mut fields: HeaderMap, payload: Payload) -> Result<Self> {
        let invalid = |what: &str| {
            Error::request("HEADERS_INVALID", format!("the {what} cannot be sent"))
                .hint("control characters and spaces are not allowed there")
        };
        let (origin, path) = target::parse(url)?;
        let authority = match fields.remove(HOST) {
            Some(host) => Authority::from_maybe_shared(Bytes::copy_from_slice(host.as_bytes())),
            None => Authority::from_maybe_shared(Bytes::from(origin.authority())),
        };
        // RFC 9110 section 7.6.1: what concerns a connection is for whoever has one.
        for name in [
            CONNECTION,
            TRANSFER_ENCODING,
            CONTENT_LENGTH,
            UPGRADE,
            PROXY_AUTHENTICATE,
        ] {
            fields.remove(name);
        }
        for name in ["keep-alive", "proxy-connection"] {
            fields.remove(name);
        }
        if fields.get(TE).is_some_and(|value| value != "trailers") {
            fields.remove(TE);
        }
        if !fields.contains_key(USER_AGENT) {
            let ours = HeaderValue::from_static(concat!("velocity/", env!("CARGO_PKG_VERSION")));
            fields.insert(USER_AGENT, ours);
        }
        Ok(Self {
            method: Method::from_bytes(method.as_bytes()).map_err(|_| invalid("method"))?,
            origin,
            path,
            authority: authority.map_err(|_| invalid("host"))?,
            fields,
            payload,
        })
    }

    /// The request, for a connection that has the origin's protocol, and what tells how far its body is.
    fn request(&mut self, h1: bool, proxy: Option<&Proxy>) -> Result<(Request<Body>, Option<Arc<Progress>>)> {
        let (body, progress) = match &mut self.payload {
            Payload::Whole(None) => (Body::Empty, None),
            Payload::Whole(Some(content)) => upload::whole(content.clone()),
            Payload::Pieces(once) => {
                let (body, progress) = once
                    .take()
                    .ok_or_else(|| Error::request("REQUEST_FAILED", "the body of the request cannot be sent again"))?;
                (body, Some(progress))
            }
        };
        let length = body.len();
        let mut request = Request::new(body);
        *request.method_mut() = self.method.clone();
        *request.version_mut() = if h1 { Version::HTTP_11 } else { Version::HTTP_2 };
        let through = proxy.filter(|_| h1 && !self.origin.secure);
        let mut parts = http::uri::Parts::default();
        parts.path_and_query = Some(self.path.clone());
        if !h1 || through.is_some() {
            parts.scheme = Some(if self.origin.secure {
                Scheme::HTTPS
            } else {
                Scheme::HTTP
            });
            parts.authority = Some(self.authority.clone());
        }
        *request.uri_mut() = Uri::from_parts(parts).map_err(|error| Error::internal(error.to_string()))?;
        let mut fields = HeaderMap::with_capacity(self.fields.len() + 3);
        if h1 {
            let host = HeaderValue::from_maybe_shared(Bytes::copy_from_slice(self.authority.as_str().as_bytes()));
            fields.insert(HOST, host.map_err(|error| Error::internal(error.to_string()))?);
        }
        fields.extend(self.fields.clone());
        if let Some(proxy) = through {
            request.extensions_mut().insert(AbsoluteForm);
            if let Some(authorization) = &proxy.authorization
                && !fields.contains_key(PROXY_AUTHORIZATION)
            {
                fields.insert(PROXY_AUTHORIZATION, authorization.clone());
            }
        }
        // RFC 9110 section 8.6: methods that mean something by a body say that there is none.
        let expected = matches!(self.method, Method::POST | Method::PUT | Method::PATCH);
        if let Some(length) = length
            && !h1
            && (length > 0 || expected)
        {
            fields.insert(CONTENT_LENGTH, HeaderValue::from(length));
        }
        *request.headers_mut() = fields;
        Ok((request, progress))
    }

    /// Whether it may be sent again after it has failed.
    fn may_go_again(&self, reached: Reached, lost: bool, reused: bool) -> bool {
        match (&self.payload, reached) {
            (Payload::Pieces(None), _) => false,
            (_, Reached::Nobody) => true,
            // RFC 9112 section 9.3.1: the server may have closed the connection just then.
            (_, Reached::Perhaps) => lost && reused && self.method.is_idempotent(),
        }
    }
}

/// See the [module](self). A clone is the same pool.
#[derive(Clone)]
pub struct Pool(Arc<Inner>);

struct Inner {
    kept: Arc<Kept>,
    reach: Reach,
}

impl Pool {
    /// # Errors
    ///
    /// Those of files that the settings name.
    pub fn new(settings: Settings) -> Result<Self> {
        let kept = Kept {
            limits: Arc::new(Limits {
                open: AtomicUsize::new(0),
                max: settings.max_connections.unwrap_or(usize::MAX),
                waiting: AtomicUsize::new(0),
                freed: Notify::new(),
            }),
            max_idle: settings.max_keepalive.unwrap_or(usize::MAX),
            keepalive: settings.keepalive,
            origins: Mutex::default(),
            sweeping: AtomicBool::new(false),
            closed: AtomicBool::new(false),
        };
        Ok(Self(Arc::new(Inner {
            kept: Arc::new(kept),
            reach: Reach::new(settings)?,
        })))
    }

    /// Send a request and wait for the head of its answer, and for up to `prefetch` bytes of its body.
    pub async fn send(&self, mut order: Order, patience: Patience, prefetch: usize) -> Result<Answer> {
        let origin = Arc::new(order.origin.clone());
        let (kept, reach) = (&self.0.kept, &self.0.reach);
        let mut attempts = 0;
        loop {
            let lease = self.lease(&origin, &patience).await?;
            let reused = lease.is_used();
            let (request, progress) = order.request(lease.is_h1(), reach.proxy())?;
            match lease.send(request, progress.as_deref(), &patience, &origin, kept).await {
                Ok(mut answer) => {
                    if origin.secure
                        && let Some(found) = alternatives::parse(&answer.head.headers)
                    {
                        reach.learn(&origin, found);
                    }
                    if prefetch > 0 {
                        answer.gather(prefetch).await;
                    }
                    return Ok(answer);
                }
                Err(broken) => {
                    attempts += 1;
                    if attempts > AGAIN || !order.may_go_again(broken.reached, broken.lost, reused) {
                        return Err(broken.error);
                    }
                }
            }
        }
    }

    /// Close what idles; no more requests are taken.
    pub fn close(&self) {
        self.0.kept.closed.store(true, Relaxed);
        let dropped = std::mem::take(&mut *self.0.kept.origins());
        drop(dropped);
        self.0.kept.limits.freed.notify_waiters();
        self.0.reach.save();
    }

    /// Connections that are open, and those of them that idle.
    pub fn connections(&self) -> (usize, usize) {
        let open = self.0.kept.limits.open.load(Relaxed);
        (open, self.0.kept.origins().values().map(Known::idle).sum())
    }

    async fn lease(&self, origin: &Arc<Origin>, patience: &Patience) -> Result<Lease> {
        let kept = &self.0.kept;
        if let Some(lease) = kept.take(origin, true)? {
            return Ok(lease);
        }
        let Some(lease) = upload::within(patience.pool, self.place(origin)).await else {
            let open = kept.limits.open.load(Relaxed);
            return Err(Error::request(
                "POOL_TIMEOUT",
                format!("none of {open} connections became free in time"),
            )
            .hint("read or close what is open, or raise max_connections"));
        };
        let (place, ways, gate) = match lease? {
            Room::Lease(lease) => return Ok(lease),
            Room::Place(place, ways, gate) => (place, ways, gate),
        };
        let lease = self.0.reach.connect(origin, &ways, place, patience.connect).await;
        match &lease {
            Ok(lease) => kept.made(origin, lease),
            Err(error) => kept.failed(origin, error),
        }
        drop(gate);
        lease
    }

    /// Wait for a connection that is free, or for a place to make one.
    async fn place(&self, origin: &Arc<Origin>) -> Result<Room> {
        let kept = &self.0.kept;
        let begun = Instant::now();
        loop {
            let (ways, gate) = kept.known(origin);
            // A crowd makes one connection, which many of them can use. If that turns out to be HTTP/1.1, each makes its
            // own; if it fails, it fails for all of them.
            let mut gate = Some(gate.lock_owned().await);
            if let Some(known) = kept.origins().get(origin) {
                if let Some((at, error)) = &known.failure
                    && *at >= begun
                {
                    return Err(error.clone());
                }
                if known.one_by_one {
                    gate = None;
                }
            }
            let mut freed = pin!(kept.limits.freed.notified());
            freed.as_mut().enable();
            if let Some(lease) = kept.take(origin, false)? {
                return Ok(Room::Lease(lease));
            }
            if let Some(place) = kept.place() {
                return Ok(Room::Place(place, ways, gate));
            }
            if let Some(lease) = kept.take(origin, true)? {
                return Ok(Room::Lease(lease));
            }
            drop(gate);
            let _waits = Waits::new(&kept.limits);
            freed.await;
        }
    }
}

enum Room {
    Lease(Lease),
    Place(Place, Arc<Ways>, Option<tokio::sync::OwnedMutexGuard<()>>),
}

/// How many connections there may be.
struct Limits {
    open: AtomicUsize,
    max: usize,
    /// Requests that wait for a place.
    waiting: AtomicUsize,
    freed: Notify,
}

/// Counts who waits, for as long as it does.
struct Waits<'a>(&'a Limits);

impl<'a> Waits<'a> {
    fn new(limits: &'a Limits) -> Self {
        limits.waiting.fetch_add(1, Relaxed);
        Self(limits)
    }
}

impl Drop for Waits<'_> {
    fn drop(&mut self) {
        self.0.waiting.fetch_sub(1, Relaxed);
    }
}

/// A place among the connections that may be open. Whoever has a connection has one.
pub(super) struct Place(Arc<Limits>);

impl Drop for Place {
    fn drop(&mut self) {
        self.0.open.fetch_sub(1, Relaxed);
        self.0.freed.notify_one();
    }
}

/// Connections that are open and can be used.
pub(super) struct Kept {
    limits: Arc<Limits>,
    max_idle: usize,
    keepalive: Option<Duration>,
    origins: Mutex<FxHashMap<Arc<Origin>, Known>>,
    sweeping: AtomicBool,
    closed: AtomicBool,
}

#[derive(Default)]
struct Known {
    /// The one that was used last is last.
    single: Vec<Idle>,
    shared: Vec<(Arc<Shared>, Instant)>,
    /// Held by whoever makes a connection.
    gate: Arc<tokio::sync::Mutex<()>>,
    /// The last one was HTTP/1.1.
    one_by_one: bool,
    /// When the last one could not be made, and why.
    failure: Option<(Instant, Error)>,
    ways: Arc<Ways>,
}

struct Idle {
    connection: h1::Connection,
    about: Arc<About>,
    place: Place,
    since: Instant,
}

impl Known {
    fn idle(&self) -> usize {
        let shared = self.shared.iter().filter(|(shared, _)| Arc::strong_count(shared) == 1);
        self.single.len() + shared.count()
    }
}

impl Kept {
    /// A connection that is there. `crowded`: even one that has a lot to do.
    fn take(&self, origin: &Arc<Origin>, crowded: bool) -> Result<Option<Lease>> {
        if self.closed.load(Relaxed) {
            return Err(Error::request("POOL_CLOSED", "the pool is closed").hint("make another one"));
        }
        // What is of no use any more is dropped outside of the lock.
        let mut dropped = Vec::new();
        let mut broken = Vec::new();
        let mut origins = self.origins();
        let Some(known) = origins.get_mut(origin) else {
            return Ok(None);
        };
        let mut index = 0;
        while let Some((shared, _)) = known.shared.get(index) {
            match shared.is_open() {
                true => index += 1,
                false => dropped.push(known.shared.swap_remove(index)),
            }
        }
        let full = self.limits.open.load(Relaxed) >= self.limits.max;
        let free = known
            .shared
            .iter_mut()
            .min_by_key(|(shared, _)| Arc::strong_count(shared));
        if let Some((shared, used)) = free
            && (Arc::strong_count(shared) <= CROWDED || crowded && full)
        {
            *used = Instant::now();
            return Ok(Some(Lease::Many(shared.clone())));
        }
        while let Some(mut idle) = known.single.pop() {
            let fresh = self.keepalive.is_none_or(|keep| idle.since.elapsed() < keep);
            if fresh && idle.connection.is_ready() {
                let Idle {
                    connection,
                    about,
                    place,
                    ..
                } = idle;
                return Ok(Some(Lease::Single {
                    connection,
                    about,
                    place,
                }));
            }
            broken.push(idle);
        }
        drop(origins);
        Ok(None)
    }

    /// A place, for which something that idles elsewhere may have to go.
    fn place(&self) -> Option<Place> {
        let mut place = self.limits.place();
        while place.is_none() {
            let oldest = self.oldest()?;
            drop(oldest);
            place = self.limits.place();
        }
        place
    }

    /// Take out what has idled longest.
    fn oldest(&self) -> Option<(Option<Idle>, Option<Arc<Shared>>)> {
        let mut origins = self.origins();
        let since = |known: &Known| {
            let single = known.single.first().map(|idle| idle.since);
            let shared = known.shared.iter().filter(|(shared, _)| Arc::strong_count(shared) == 1);
            single.into_iter().chain(shared.map(|(_, used)| *used)).min()
        };
        let (known, at) = origins
            .values_mut()
            .filter_map(|known| since(known).map(|at| (known, at)))
            .min_by_key(|(_, at)| *at)?;
        if known.single.first().is_some_and(|idle| idle.since == at) {
            return Some((Some(known.single.remove(0)), None));
        }
        let index = known
            .shared
            .iter()
            .position(|(shared, used)| Arc::strong_count(shared) == 1 && *used == at)?;
        Some((None, Some(known.shared.swap_remove(index).0)))
    }

    fn known(&self, origin: &Arc<Origin>) -> (Arc<Ways>, Arc<tokio::sync::Mutex<()>>) {
        let mut origins = self.origins();
        let known = origins.entry(origin.clone()).or_default();
        (known.ways.clone(), known.gate.clone())
    }

    /// A connection was made.
    fn made(self: &Arc<Self>, origin: &Arc<Origin>, lease: &Lease) {
        {
            let mut origins = self.origins();
            let known = origins.entry(origin.clone()).or_default();
            known.one_by_one = lease.is_h1();
            if let Lease::Many(shared) = lease
                && !self.closed.load(Relaxed)
            {
                known.shared.push((shared.clone(), Instant::now()));
            }
        }
        self.sweep();
    }

    /// A connection could not be made.
    fn failed(&self, origin: &Arc<Origin>, error: &Error) {
        if let Some(known) = self.origins().get_mut(origin) {
            known.failure = Some((Instant::now(), error.clone()));
        }
    }

    /// Keep a connection that is ready for another request.
    pub fn put_single(&self, origin: &Arc<Origin>, mut connection: h1::Connection, about: Arc<About>, place: Place) {
        if self.closed.load(Relaxed) || !connection.is_ready() {
            return;
        }
        let idle = Idle {
            connection,
            about,
            place,
            since: Instant::now(),
        };
        let crowded = {
            let mut origins = self.origins();
            origins.entry(origin.clone()).or_default().single.push(idle);
            origins.values().map(Known::idle).sum::<usize>() > self.max_idle
        };
        if crowded && self.limits.waiting.load(Relaxed) == 0 {
            drop(self.oldest());
        }
        // Whoever waits for a place can have this connection, or its place.
        self.limits.freed.notify_one();
    }

    /// See to it that what idles does not stay for ever.
    fn sweep(self: &Arc<Self>) {
        let Some(keepalive) = self.keepalive else { return };
        if self.sweeping.swap(true, Relaxed) {
            return;
        }
        let kept = Arc::downgrade(self);
        tokio::spawn(async move {
            loop {
                tokio::time::sleep(SWEEP.min(keepalive.max(Duration::from_millis(50)))).await;
                let Some(kept) = kept.upgrade() else { return };
                // Connections are dropped outside of the lock.
                let dropped = kept.expire(keepalive);
                drop(dropped);
            }
        });
    }

    fn expire(&self, keepalive: Duration) -> (Vec<Idle>, Vec<(Arc<Shared>, Instant)>) {
        let (mut single, mut shared) = (Vec::new(), Vec::new());
        let mut left = self.max_idle;
        let mut origins = self.origins();
        if origins.len() > MAX_ORIGINS {
            origins.retain(|_, known| {
                !known.single.is_empty() || !known.shared.is_empty() || Arc::strong_count(&known.gate) > 1
            });
        }
        for known in origins.values_mut() {
            let old = |idle: &mut Idle| idle.since.elapsed() >= keepalive || !idle.connection.is_ready();
            single.extend(known.single.extract_if(.., old));
            for (shared, used) in &mut known.shared {
                if Arc::strong_count(shared) > 1 {
                    *used = Instant::now();
                }
            }
            left = left.saturating_sub(known.single.len());
            shared.extend(known.shared.extract_if(.., |(shared, used)| {
                let idles = Arc::strong_count(shared) == 1;
                let one_too_many = idles && left == 0;
                left = left.saturating_sub(usize::from(idles));
                !shared.is_open() || one_too_many || idles && used.elapsed() >= keepalive
            }));
        }
        (single, shared)
    }

    fn origins(&self) -> MutexGuard<'_, FxHashMap<Arc<Origin>, Known>> {
        self.origins.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Limits {
    fn place(self: &Arc<Self>) -> Option<Place> {
        let taken = self
            .open
            .fetch_update(Relaxed, Relaxed, |open| (open < self.max).then_some(open + 1));
        taken.is_ok().then(|| Place(self.clone()))
    }
}

/// A field of a request, as Python hands it over: latin-1.
///
/// # Errors
///
/// `HEADERS_INVALID`.
pub fn field(name: &str, value: &str) -> Result<(HeaderName, HeaderValue)> {
    let invalid = |what: String| {
        Error::request("HEADERS_INVALID", format!("the {what} cannot be sent"))
            .hint("control characters and spaces are not allowed there")
    };
    let name = HeaderName::from_bytes(name.as_bytes()).map_err(|_| invalid(format!("header name {name:?}")))?;
    let bytes = match value.is_ascii() {
        true => Bytes::copy_from_slice(value.as_bytes()),
        false => value
            .chars()
            .map(|c| u8::try_from(u32::from(c)))
            .collect::<Result<Vec<u8>, _>>()
            .map_err(|_| invalid(format!("value of {name}")))?
            .into(),
    };
    match HeaderValue::from_maybe_shared(bytes) {
        Ok(value) => Ok((name, value)),
        Err(_) => Err(invalid(format!("value of {name}"))),
    }
}
