//! What is known of a connection for as long as it lives: for handlers, logs and policy.

use std::any::Any;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use tokio::time::Instant;

use velocity_tls::client_auth::Identity;
use velocity_tls::fallback::Directive;
use velocity_tls::{Facts, Profile};

use crate::log::Line;
use crate::net::stall::Progress;

/// How long a peer may be silent, with nothing in flight, once it was told to go.
pub const PARTING: Duration = Duration::from_secs(2);

/// Protocols as logs and counters name them.
pub const PROTOCOLS: [&str; 4] = ["velocity/1", "h3", "h2", "http/1.1"];

/// The other end of a connection and what was negotiated with it.
#[derive(Debug)]
pub struct Peer {
    /// Unique in this process; `connection_id` in logs.
    pub id: u64,
    pub remote: SocketAddr,
    /// Where it came to.
    pub local: SocketAddr,
    pub facts: Facts,
    /// `velocity/1`, `h3`, `h2` or `http/1.1`.
    pub protocol: &'static str,
    pub profile: Option<Profile>,
    /// Name of the key exchange group, empty if there was none (a TLS 1.2 resumption).
    pub group: String,
    /// Whom its certificate stands for, if it showed one.
    pub identity: Option<Identity>,
    /// Why it did not get `velocity/1`, having offered that.
    pub directive: Option<Directive>,
    /// What an application keeps for as long as the connection lives.
    pub kept: OnceLock<Arc<dyn Any + Send + Sync>>,
    /// Whether a response has carried the directive.
    directed: AtomicBool,
    in_flight: AtomicUsize,
    opened: Instant,
    /// When the last answer ended, in milliseconds after `opened`.
    last_answer: AtomicU64,
}

impl Peer {
    pub fn new(remote: SocketAddr, local: SocketAddr, facts: Facts, directive: Option<Directive>) -> Self {
        static NEXT: AtomicU64 = AtomicU64::new(1);
        // An IPv4 client of a dual-stack socket is an IPv4 client.
        let canonical = |end: SocketAddr| SocketAddr::new(end.ip().to_canonical(), end.port());
        let protocol = match facts.alpn.as_deref() {
            Some(velocity_tls::alpn::VELOCITY) => "velocity/1",
            Some(velocity_tls::alpn::H3) => "h3",
            Some(velocity_tls::alpn::H2) => "h2",
            _ => "http/1.1",
        };
        Self {
            id: NEXT.fetch_add(1, Ordering::Relaxed),
            remote: canonical(remote),
            local: canonical(local),
            protocol,
            profile: facts.profile(),
            group: facts.group_name().unwrap_or_default(),
            identity: facts.client_certificate.as_deref().and_then(Identity::of),
            directive,
            kept: OnceLock::new(),
            directed: AtomicBool::new(false),
            facts,
            in_flight: AtomicUsize::new(0),
            opened: Instant::now(),
            last_answer: AtomicU64::new(0),
        }
    }

    /// The fields by which every log line names a connection.
    pub(crate) fn identify(&self, line: &mut Line) {
        line.raw("connection_id", self.id);
        line.text("client", &self.remote.to_string());
        line.text("alpn", self.protocol);
        if let Some(profile) = self.profile {
            line.text("profile", profile.as_str());
        }
        line.text("group", &self.group);
        if let Some(identity) = &self.identity {
            line.text("identity", &identity.subject);
        }
    }

    /// What the next response has to say about the protocol: once, the directive.
    pub(crate) fn take_directive(&self) -> Option<&Directive> {
        let directive = self.directive.as_ref()?;
        (!self.directed.swap(true, Ordering::Relaxed)).then_some(directive)
    }

    /// Whether a response has yet to carry the directive.
    pub(crate) fn owes_directive(&self) -> bool {
        self.directive.is_some() && !self.directed.load(Ordering::Relaxed)
    }

    pub(crate) fn request_began(&self) {
        self.in_flight.fetch_add(1, Ordering::Relaxed);
    }

    pub(crate) fn request_ended(&self) {
        self.last_answer
            .store(self.opened.elapsed().as_millis() as u64, Ordering::Relaxed);
        self.in_flight.fetch_sub(1, Ordering::Relaxed);
    }

    /// Whether there are requests under way.
    pub fn is_busy(&self) -> bool {
        self.in_flight.load(Ordering::Relaxed) > 0
    }

    /// Wait until nothing was in flight or waiting to be read, and no byte has moved, for `limit`.
    pub async fn idle(&self, limit: Duration, progress: &Progress) {
        loop {
            let answered = self.opened + Duration::from_millis(self.last_answer.load(Ordering::Relaxed));
            let last = answered.max(progress.last());
            let busy = self.is_busy() || progress.is_blocked();
            let until = if busy { Instant::now() + limit } else { last + limit };
            if until <= Instant::now() {
                return;
            }
            tokio::time::sleep_until(until).await;
        }
    }

    /// Wait until a peer that was told to go, and has nothing in flight, says nothing more.
    pub async fn silent(&self, progress: &Progress) {
        tokio::time::sleep(PARTING).await;
        self.idle(PARTING, progress).await;
    }

    /// Whether requests come over QUIC.
    pub fn is_quic(&self) -> bool {
        matches!(self.protocol, "velocity/1" | "h3")
    }
}
