//! At most so many requests in any window (RFC 6585 section 4; draft-ietf-httpapi-ratelimit-headers-10).
//!
//! A true sliding window: for each key the times of the requests that were let in, and nothing is let in while `limit`
//! of them are younger than the window. (What is known as GCRA spreads requests evenly instead, and lets in twice as
//! many at first.) Time is cut into ticks, so fine that the difference is at most a four-thousandth of the window, and
//! always to the side of letting in less.
//!
//! Memory is bounded: keys are of a fixed size, there are at most [`MAX_KEYS`] of them with [`MAX_STAMPS`] times in
//! all, and those that have not been seen for longest make room for others. A flood of addresses can make the limiter
//! forget who is silent, never who goes on.

use std::collections::VecDeque;
use std::hash::{BuildHasher, RandomState};
use std::net::IpAddr;
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use http::header::RETRY_AFTER;
use http::{HeaderName, HeaderValue, StatusCode};
use lru::LruCache;

use super::Extra;
use crate::call::Call;
use crate::error::{Error, Result};
use crate::http::{Response, cookie};
use crate::log::{self, Level};
use crate::plan::{self, RateKeyKind};
use crate::service::plain;

/// Locks, so that threads seldom wait for each other.
const SHARDS: usize = 64;
/// Keys of one filter: with a few times each, 20 MiB.
const MAX_KEYS: usize = 1 << 17;
/// Times of one filter: 32 MiB.
const MAX_STAMPS: usize = 1 << 22;
/// Ticks of a window.
const TICKS: u64 = 4096;

pub struct RateLimit {
    window: Window,
    key: RateKeyKind,
    name: Option<HeaderName>,
    cookie: String,
    shards: Vec<Mutex<Shard>>,
    /// Makes keys of values, such that nobody can tell which two are the same.
    hashers: [RandomState; 2],
    began: Instant,
    /// `RateLimit-Policy`, and the name in it.
    policy: HeaderValue,
    limit: HeaderValue,
}

/// What is allowed, in milliseconds and requests.
#[derive(Clone, Copy, Debug)]
struct Window {
    limit: u32,
    length: u64,
    tick: u64,
}

/// What became of a request, and how it stands with its key.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Standing {
    allowed: bool,
    remaining: u32,
    /// Milliseconds until there is room for one more than now.
    reset: u64,
}

/// The times of one key.
#[derive(Default)]
struct Stamps {
    /// End of the tick and requests in it, oldest first.
    ticks: VecDeque<(u64, u32)>,
    requests: u32,
}

struct Shard {
    keys: LruCache<u128, Stamps>,
    /// Of all keys.
    stamps: usize,
}

impl Window {
    fn admit(self, stamps: &mut Stamps, now: u64) -> Standing {
        while let Some(&(at, requests)) = stamps.ticks.front()
            && at.saturating_add(self.length) <= now
        {
            stamps.ticks.pop_front();
            stamps.requests -= requests;
        }
        let allowed = stamps.requests < self.limit;
        if allowed {
            stamps.requests += 1;
            // To the end of the tick: it counts for a little longer than it has to. Threads read the clock before
            // they wait for the lock, so time may seem to go back.
            let tick = now.div_ceil(self.tick) * self.tick;
            match stamps.ticks.back_mut() {
                Some((at, requests)) if *at >= tick => *requests += 1,
                _ => stamps.ticks.push_back((tick, 1)),
            }
        }
        let oldest = stamps.ticks.front().map_or(now, |&(at, _)| at);
        Standing {
            allowed,
            remaining: self.limit - stamps.requests,
            reset: (oldest + self.length).saturating_sub(now),
        }
    }
}

impl RateLimit {
    /// # Errors
    ///
    /// `RATE_LIMIT_INVALID`.
    pub fn new(plan: &plan::RateLimit) -> Result<Self> {
        let invalid = |reason: &str| Error::config("RATE_LIMIT_INVALID", reason.to_owned());
        if plan.window_ms == 0 {
            return Err(invalid("the window of a rate limit is longer than nothing"));
        }
        let name = plan.key.name.clone().unwrap_or_default();
        if name.is_empty() && matches!(plan.key.of, RateKeyKind::Header | RateKeyKind::Cookie) {
            return Err(invalid("a rate limit by header or cookie says by which"));
        }
        let field = match plan.key.of {
            RateKeyKind::Header => {
                Some(HeaderName::try_from(&name).map_err(|_| invalid("a rate limit by header needs its name"))?)
            }
            _ => None,
        };
        // Where every request has a tick of its own, nothing is rounded.
        let tick = match u64::from(plan.limit) <= TICKS {
            true => 1,
            false => plan.window_ms.div_ceil(TICKS),
        };
        let kind = match plan.key.of {
            RateKeyKind::Client => "client",
            RateKeyKind::Header => "header",
            RateKeyKind::Cookie => "cookie",
            RateKeyKind::Path => "path",
        };
        let policy = format!("\"{kind}\";q={};w={}", plan.limit, plan.window_ms.div_ceil(1000));
        Ok(Self {
            window: Window {
                limit: plan.limit,
                length: plan.window_ms,
                tick,
            },
            key: plan.key.of,
            name: field,
            cookie: name,
            shards: (0..SHARDS).map(|_| Mutex::new(Shard::new())).collect(),
            hashers: Default::default(),
            began: Instant::now(),
            policy: HeaderValue::try_from(policy).unwrap_or_else(|_| HeaderValue::from_static("")),
            limit: HeaderValue::from(plan.limit),
        })
    }

    pub fn request(&self, call: &Call<'_>, extra: &mut Extra) -> Option<Response> {
        let now = call.now.saturating_duration_since(self.began);
        let standing = self.admit(self.key(call), now);
        self.describe(standing, extra);
        if standing.allowed {
            return None;
        }
        call.metrics.rate_limited();
        if log::enabled(Level::Debug) {
            let fields = [
                ("client", call.client.to_string().into()),
                ("route", call.route.as_ref().into()),
            ];
            log::record(Level::Debug, "velocity::edge", "rate_limited", "", &fields);
        }
        let mut response = plain(StatusCode::TOO_MANY_REQUESTS, "too many requests, try again later\n");
        let after = HeaderValue::from(seconds(standing.reset).max(1));
        response.headers_mut().insert(RETRY_AFTER, after);
        Some(response)
    }

    /// Count a request at a time since the filter was made.
    fn admit(&self, key: u128, now: Duration) -> Standing {
        let now = u64::try_from(now.as_millis()).unwrap_or(u64::MAX / 2);
        // Keys of addresses differ in their last bits, those of values in all.
        let shard = (key as u64).wrapping_mul(0x9E37_79B9_7F4A_7C15) >> 58;
        let mut shard = self.shards[shard as usize]
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        shard.admit(self.window, key, now)
    }

    fn key(&self, call: &Call<'_>) -> u128 {
        let fields = &call.parts.headers;
        let value = match (self.key, &self.name) {
            (RateKeyKind::Client, _) => None,
            (RateKeyKind::Path, _) => Some(call.parts.uri.path().as_bytes()),
            (RateKeyKind::Cookie, _) => cookie::find(fields, &self.cookie),
            (RateKeyKind::Header, name) => name
                .as_ref()
                .and_then(|name| fields.get(name))
                .map(HeaderValue::as_bytes),
        };
        match value {
            Some(value) => {
                let [high, low] = self.hashers.each_ref().map(|hasher| hasher.hash_one(value));
                u128::from(high) << 64 | u128::from(low)
            }
            None => by_address(call.client),
        }
    }

    fn describe(&self, standing: Standing, extra: &mut Extra) {
        let reset = seconds(standing.reset);
        let policy = self.policy.as_bytes();
        let name = policy.split(|&b| b == b';').next().unwrap_or_default();
        let mut status = Vec::with_capacity(40);
        status.extend_from_slice(name);
        let mut number = itoa::Buffer::new();
        status.extend_from_slice(b";r=");
        status.extend_from_slice(number.format(standing.remaining).as_bytes());
        status.extend_from_slice(b";t=");
        status.extend_from_slice(number.format(reset).as_bytes());
        extra.append(POLICY, self.policy.clone());
        if let Ok(status) = HeaderValue::from_maybe_shared(bytes::Bytes::from(status)) {
            extra.append(STATUS, passing(status));
        }
        // What was there before the draft had fields of one item each; of several limits the last one shows.
        extra.insert(LIMIT, self.limit.clone());
        extra.insert(REMAINING, passing(HeaderValue::from(standing.remaining)));
        extra.insert(RESET, passing(HeaderValue::from(reset)));
    }
}

/// A value that will not come again: HPACK and QPACK need not remember it for the connection.
fn passing(mut value: HeaderValue) -> HeaderValue {
    value.set_sensitive(true);
    value
}

const POLICY: HeaderName = HeaderName::from_static("ratelimit-policy");
const STATUS: HeaderName = HeaderName::from_static("ratelimit");
const LIMIT: HeaderName = HeaderName::from_static("ratelimit-limit");
const REMAINING: HeaderName = HeaderName::from_static("ratelimit-remaining");
const RESET: HeaderName = HeaderName::from_static("ratelimit-reset");

impl Shard {
    fn new() -> Self {
        Self {
            // Grows as it needs to: most servers have few clients.
            keys: LruCache::unbounded(),
            stamps: 0,
        }
    }

    fn admit(&mut self, window: Window, key: u128, now: u64) -> Standing {
        let stamps = self.keys.get_or_insert_mut(key, Stamps::default);
        let before = stamps.ticks.len();
        let standing = window.admit(stamps, now);
        self.stamps = self.stamps - before + stamps.ticks.len();
        // The one just seen is never the stalest, unless it is alone.
        while (self.keys.len() > MAX_KEYS / SHARDS || self.stamps > MAX_STAMPS / SHARDS) && self.keys.len() > 1 {
            let Some((_, stale)) = self.keys.pop_lru() else { break };
            self.stamps -= stale.ticks.len();
        }
        standing
    }
}

/// IPv6 by /64: that is what one household or one machine has.
fn by_address(address: IpAddr) -> u128 {
    match address.to_canonical() {
        IpAddr::V4(v4) => u128::from(v4.to_bits()),
        IpAddr::V6(v6) => 1 << 127 | v6.to_bits() >> 64,
    }
}

fn seconds(milliseconds: u64) -> u64 {
    milliseconds.div_ceil(1000)
}

#[cfg(test)]
mod tests;
