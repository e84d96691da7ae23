//! Counters of the data plane: relaxed atomics, read by the control plane.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

use velocity_tls::Profile;
use velocity_tls::fallback::Reason;

use crate::filter::Group;
use crate::session::PROTOCOLS;

#[derive(Debug, Default)]
pub struct Metrics {
    connections_open: AtomicU64,
    connections_total: AtomicU64,
    requests_in_flight: AtomicU64,
    requests_total: AtomicU64,
    /// By place in [`PROTOCOLS`].
    handshakes: [AtomicU64; PROTOCOLS.len()],
    handshakes_failed: AtomicU64,
    /// Those of `velocity/1`, by place in [`Profile::ALL`].
    profiles: [AtomicU64; Profile::ALL.len()],
    /// By place in [`Reason::ALL`].
    downgrades: [AtomicU64; Reason::ALL.len()],
    pq_validation_failures: AtomicU64,
    rate_limited_total: AtomicU64,
    /// By [`Group`].
    waf_hits: [AtomicU64; 6],
}

impl Metrics {
    pub(crate) fn request_began(&self) {
        self.requests_in_flight.fetch_add(1, Relaxed);
        self.requests_total.fetch_add(1, Relaxed);
    }

    pub(crate) fn request_ended(&self) {
        self.requests_in_flight.fetch_sub(1, Relaxed);
    }

    /// A request was one too many.
    pub(crate) fn rate_limited(&self) {
        self.rate_limited_total.fetch_add(1, Relaxed);
    }

    /// A request ran into rules of this group.
    pub(crate) fn waf_hit(&self, group: Group) {
        self.waf_hits[group as usize].fetch_add(1, Relaxed);
    }

    /// A handshake is done.
    pub(crate) fn handshake(&self, protocol: &str, profile: Option<Profile>) {
        bump(&self.handshakes, PROTOCOLS.iter().position(|known| *known == protocol));
        bump(&self.profiles, profile.and_then(place(&Profile::ALL)));
    }

    /// A handshake did not come to its end. `reason` is that of the TLS library.
    pub(crate) fn handshake_failed(&self, reason: &str) {
        self.handshakes_failed.fetch_add(1, Relaxed);
        if reason.contains(velocity_tls::scheme::PQ_VALIDATION_FAILED) {
            self.pq_validation_failures.fetch_add(1, Relaxed);
        }
    }

    /// A client that offered `velocity/1` did not get it.
    pub(crate) fn downgrade(&self, reason: Reason) {
        bump(&self.downgrades, place(&Reason::ALL)(reason));
    }

    /// Name and value of every counter; what a label would tell apart is the last part of a name.
    pub fn snapshot(&self) -> Vec<(String, u64)> {
        let mut all: Vec<(String, u64)> = [
            ("connections_open", &self.connections_open),
            ("connections_total", &self.connections_total),
            ("requests_in_flight", &self.requests_in_flight),
            ("requests_total", &self.requests_total),
            ("handshakes_failed", &self.handshakes_failed),
            ("pq_validation_failures", &self.pq_validation_failures),
            ("rate_limited_total", &self.rate_limited_total),
            ("waf_hits:sqli", &self.waf_hits[Group::Sqli as usize]),
            ("waf_hits:xss", &self.waf_hits[Group::Xss as usize]),
            ("waf_hits:traversal", &self.waf_hits[Group::Traversal as usize]),
            ("waf_hits:command", &self.waf_hits[Group::Command as usize]),
            ("waf_hits:scanner", &self.waf_hits[Group::Scanner as usize]),
            ("waf_hits:custom", &self.waf_hits[Group::Custom as usize]),
        ]
        .map(|(name, counter)| (name.to_owned(), counter.load(Relaxed)))
        .into();
        let labelled = |family: &'static str, label: &'static str, counter: &AtomicU64| {
            (format!("{family}:{label}"), counter.load(Relaxed))
        };
        let handshakes = PROTOCOLS.into_iter().zip(&self.handshakes);
        all.extend(handshakes.map(|(protocol, counter)| labelled("handshakes", protocol, counter)));
        let profiles = Profile::ALL.into_iter().zip(&self.profiles);
        all.extend(profiles.map(|(profile, counter)| labelled("profiles", profile.as_str(), counter)));
        let downgrades = Reason::ALL.into_iter().zip(&self.downgrades);
        all.extend(downgrades.map(|(reason, counter)| labelled("downgrades", reason.as_str(), counter)));
        all
    }
}

fn place<T: PartialEq>(all: &[T]) -> impl Fn(T) -> Option<usize> {
    |one| all.iter().position(|known| *known == one)
}

fn bump(counters: &[AtomicU64], place: Option<usize>) {
    if let Some(counter) = place.and_then(|place| counters.get(place)) {
        counter.fetch_add(1, Relaxed);
    }
}

/// One connection's place under `limits.max_sessions`; given back when dropped.
pub struct Session(Arc<Metrics>);

impl Session {
    /// `None` when `max` connections are open.
    pub fn open(metrics: &Arc<Metrics>, max: Option<usize>) -> Option<Self> {
        let before = metrics.connections_open.fetch_add(1, Relaxed);
        let session = Self(metrics.clone()); // from here on, dropping gives the place back
        if max.is_some_and(|max| before >= max as u64) {
            return None;
        }
        metrics.connections_total.fetch_add(1, Relaxed);
        Some(session)
    }
}

impl Drop for Session {
    fn drop(&mut self) {
        self.0.connections_open.fetch_sub(1, Relaxed);
    }
}
