//! Counters of the data plane: relaxed atomics, read by the control plane.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

use crate::filter::Group;

#[derive(Debug, Default)]
pub struct Metrics {
    connections_open: AtomicU64,
    connections_total: AtomicU64,
    requests_in_flight: AtomicU64,
    requests_total: AtomicU64,
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

    /// Name and value of every counter.
    pub fn snapshot(&self) -> [(&'static str, u64); 11] {
        let waf = |group: Group| self.waf_hits[group as usize].load(Relaxed);
        [
            ("connections_open", self.connections_open.load(Relaxed)),
            ("connections_total", self.connections_total.load(Relaxed)),
            ("requests_in_flight", self.requests_in_flight.load(Relaxed)),
            ("requests_total", self.requests_total.load(Relaxed)),
            ("rate_limited_total", self.rate_limited_total.load(Relaxed)),
            ("waf_hits_sqli_total", waf(Group::Sqli)),
            ("waf_hits_xss_total", waf(Group::Xss)),
            ("waf_hits_traversal_total", waf(Group::Traversal)),
            ("waf_hits_command_total", waf(Group::Command)),
            ("waf_hits_scanner_total", waf(Group::Scanner)),
            ("waf_hits_custom_total", waf(Group::Custom)),
        ]
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
