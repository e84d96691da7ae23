//! What became of a request at the cache: Cache-Status (RFC 9211), the access log, counters.

use std::fmt::Write;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

use http::{HeaderName, HeaderValue, StatusCode};

use crate::http::Response;

const CACHE_STATUS: HeaderName = HeaderName::from_static("cache-status");

/// For the access log and counters; among the extensions of a response.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    Hit,
    Miss,
    /// Sent although it was stale.
    Stale,
    /// An upstream said that it is still good.
    Revalidated,
    /// It was not for the cache.
    Bypass,
}

impl Outcome {
    pub const ALL: [Outcome; 5] = [
        Outcome::Hit,
        Outcome::Miss,
        Outcome::Stale,
        Outcome::Revalidated,
        Outcome::Bypass,
    ];

    pub fn as_str(self) -> &'static str {
        match self {
            Outcome::Hit => "hit",
            Outcome::Miss => "miss",
            Outcome::Stale => "stale",
            Outcome::Revalidated => "revalidated",
            Outcome::Bypass => "bypass",
        }
    }
}

/// Why a request went on to an upstream (RFC 9211 section 2.2).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Forwarded {
    Bypass,
    Method,
    UriMiss,
    VaryMiss,
    Request,
    Stale,
}

impl Forwarded {
    fn as_str(self) -> &'static str {
        match self {
            Forwarded::Bypass => "bypass",
            Forwarded::Method => "method",
            Forwarded::UriMiss => "uri-miss",
            Forwarded::VaryMiss => "vary-miss",
            Forwarded::Request => "request",
            Forwarded::Stale => "stale",
        }
    }
}

/// All of it.
#[derive(Clone, Copy, Debug)]
pub struct Fate {
    pub outcome: Outcome,
    pub forwarded: Option<Forwarded>,
    /// Of the upstream's answer, where it is not the one that is sent.
    pub upstream: Option<StatusCode>,
    pub stored: bool,
    /// It waited for another request.
    pub collapsed: bool,
    /// Seconds for which the answer is still fresh.
    pub ttl: Option<i64>,
}

impl Fate {
    pub fn new(outcome: Outcome, forwarded: Option<Forwarded>) -> Self {
        Self {
            outcome,
            forwarded,
            upstream: None,
            stored: false,
            collapsed: false,
            ttl: None,
        }
    }

    /// Say it in an answer, behind what caches further on have said.
    pub fn tell(&self, response: &mut Response) {
        let mut text = String::from("velocity");
        let _ = match self.forwarded {
            None => text.write_str("; hit"),
            Some(why) => write!(text, "; fwd={}", why.as_str()),
        };
        if self.forwarded.is_some() {
            let status = self.upstream.unwrap_or(response.status());
            let _ = write!(text, "; fwd-status={}", status.as_u16());
        }
        if let Some(ttl) = self.ttl {
            let _ = write!(text, "; ttl={ttl}");
        }
        if self.stored {
            text.push_str("; stored");
        }
        if self.collapsed {
            text.push_str("; collapsed");
        }
        if let Ok(value) = HeaderValue::try_from(text) {
            response.headers_mut().append(CACHE_STATUS, value);
        }
    }
}

/// Of one route.
#[derive(Default)]
pub struct Counters([AtomicU64; Outcome::ALL.len()]);

impl Counters {
    pub fn count(&self, outcome: Outcome) {
        self.0[outcome as usize].fetch_add(1, Relaxed);
    }

    /// Name and value of each.
    pub fn all(&self) -> impl Iterator<Item = (&'static str, u64)> {
        const NAMES: [&str; Outcome::ALL.len()] = [
            "cache_hits",
            "cache_misses",
            "cache_stale",
            "cache_revalidated",
            "cache_bypassed",
        ];
        NAMES
            .into_iter()
            .zip(self.0.iter().map(|counter| counter.load(Relaxed)))
    }
}
