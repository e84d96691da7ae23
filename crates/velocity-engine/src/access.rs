//! The access log: one line for each request, written when its last byte was handed over or it failed.

use std::sync::Arc;
use std::time::Instant;

use crate::log::{self, Level};
use crate::metrics::Metrics;
use crate::proxy::{Outcome, Proxied};
use crate::session::Peer;

/// An answer under way. Dropping it ends the request: counters move and the line is written.
pub struct Access {
    metrics: Arc<Metrics>,
    peer: Arc<Peer>,
    line: Option<Box<Entry>>,
}

struct Entry {
    start: Instant,
    method: http::Method,
    host: String,
    path: String,
    /// Where there is more than one.
    route: Option<Arc<str>>,
    proxied: Option<Proxied>,
    cached: Option<Outcome>,
    status: u16,
    bytes: u64,
    complete: bool,
}

impl Access {
    /// `log` is whether the Plan wants access lines.
    pub fn begin(
        metrics: &Arc<Metrics>,
        peer: &Arc<Peer>,
        request: &http::request::Parts,
        host: &str,
        log: bool,
    ) -> Self {
        metrics.request_began();
        peer.request_began();
        let line = (log && log::enabled(Level::Info)).then(|| {
            Box::new(Entry {
                start: Instant::now(),
                method: request.method.clone(),
                host: host.to_owned(),
                path: request
                    .uri
                    .path_and_query()
                    .map_or_else(|| "*".to_owned(), |path| path.as_str().to_owned()),
                route: None,
                proxied: None,
                cached: None,
                status: 0,
                bytes: 0,
                complete: false,
            })
        });
        Self {
            metrics: metrics.clone(),
            peer: peer.clone(),
            line,
        }
    }

    /// Which route answers.
    pub fn route(&mut self, name: &Arc<str>) {
        if let Some(entry) = &mut self.line {
            entry.route = Some(name.clone());
        }
    }

    /// Which server behind this one answered, and how fast.
    pub fn proxied(&mut self, proxied: Proxied) {
        if let Some(entry) = &mut self.line {
            entry.proxied = Some(proxied);
        }
    }

    /// What a cache had to do with it.
    pub fn cached(&mut self, outcome: Outcome) {
        if let Some(entry) = &mut self.line {
            entry.cached = Some(outcome);
        }
    }

    pub fn status(&mut self, status: http::StatusCode) {
        if let Some(entry) = &mut self.line {
            entry.status = status.as_u16();
        }
    }

    /// `len` more bytes of the body went to the transport.
    pub fn sent(&mut self, len: usize) {
        if let Some(entry) = &mut self.line {
            entry.bytes += len as u64;
        }
    }

    /// The whole answer went to the transport.
    pub fn complete(&mut self) {
        if let Some(entry) = &mut self.line {
            entry.complete = true;
        }
    }
}

impl Drop for Access {
    fn drop(&mut self) {
        self.metrics.request_ended();
        self.peer.request_ended();
        let Some(entry) = &self.line else { return };
        log::line(Level::Info, "velocity::server", "request", "", |line| {
            self.peer.identify(line);
            line.text("method", entry.method.as_str());
            line.text("host", &entry.host);
            line.text("path", &entry.path);
            if let Some(route) = &entry.route {
                line.text("route", route);
            }
            line.raw("status", entry.status);
            line.raw("bytes", entry.bytes);
            line.raw(
                "latency_ms",
                format_args!("{:.3}", entry.start.elapsed().as_secs_f64() * 1e3),
            );
            if let Some(proxied) = &entry.proxied {
                let ms = |time: std::time::Duration| format!("{:.3}", time.as_secs_f64() * 1e3);
                line.text("upstream", &proxied.upstream);
                if let Some(connect) = proxied.connect {
                    line.raw("upstream_connect_ms", ms(connect));
                }
                line.raw("upstream_first_byte_ms", ms(proxied.first_byte));
                if proxied.attempts > 1 {
                    line.raw("upstream_attempts", proxied.attempts);
                }
            }
            if let Some(outcome) = entry.cached {
                line.text("cache", outcome.as_str());
            }
            if !entry.complete {
                line.text("reason", "aborted");
            }
        });
    }
}
