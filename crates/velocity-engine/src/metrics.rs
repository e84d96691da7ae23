//! Counters of the data plane: relaxed atomics, read by the control plane.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

#[derive(Debug, Default)]
pub struct Metrics {
    connections_open: AtomicU64,
    connections_total: AtomicU64,
    requests_in_flight: AtomicU64,
    requests_total: AtomicU64,
}

impl Metrics {
    pub(crate) fn request_began(&self) {
        self.requests_in_flight.fetch_add(1, Relaxed);
        self.requests_total.fetch_add(1, Relaxed);
    }

    pub(crate) fn request_ended(&self) {
        self.requests_in_flight.fetch_sub(1, Relaxed);
    }

    /// Name and value of every counter.
    pub fn snapshot(&self) -> [(&'static str, u64); 4] {
        [
            ("connections_open", self.connections_open.load(Relaxed)),
            ("connections_total", self.connections_total.load(Relaxed)),
            ("requests_in_flight", self.requests_in_flight.load(Relaxed)),
            ("requests_total", self.requests_total.load(Relaxed)),
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
