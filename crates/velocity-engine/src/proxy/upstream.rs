//! One upstream: where it is, how it has been, and how busy it is. Shared by all workers.

use std::net::IpAddr;
use std::sync::Arc;
use std::sync::OnceLock;
use std::sync::atomic::{AtomicBool, AtomicU32, AtomicU64, AtomicUsize, Ordering::Relaxed};
use std::time::Duration;

use tokio::time::Instant;

use super::address::{Address, Place, Scheme};
use super::names::Names;
use crate::client::{self, Protocol};
use crate::error::{Error, Result};
use crate::log::{self, Level};
use crate::plan;

/// How long an upstream over QUIC may be silent: one that is gone without a word lets its requests wait for so long.
const PATIENCE: Duration = Duration::from_secs(5);
/// More than any priority.
const BACKUP: u32 = 1 << 16;
/// The share of its weight that an upstream begins with.
const LEAST: f64 = 0.01;

pub struct Upstream {
    /// Unique in this process: pools go by it.
    pub id: u64,
    pub url: Arc<str>,
    pub address: Address,
    pub names: Names,
    pub weight: u32,
    /// Lower ones are asked first; that of a backup is above all priorities (RFC 2782).
    pub rank: u32,
    /// How to shake hands; `None` in clear.
    pub tls: Option<client::Options>,
    pub connect_timeout: Duration,
    /// What connections begin with.
    pub proxy_protocol: Option<plan::ProxyProtocolVersion>,
    /// Over TLS it speaks HTTP/2 and nothing older.
    pub lacks_h1: AtomicBool,
    ejection: plan::Ejection,
    in_flight: AtomicUsize,
    /// In a row: requests that got no answer.
    failures: AtomicU32,
    /// In a row: answers that broke off.
    broken: AtomicU32,
    /// Milliseconds on the clock of [`now`].
    ejected_until: AtomicU64,
    /// What active checks say.
    unhealthy: AtomicBool,
    /// Milliseconds until it has its whole weight when it is back.
    slow_start: u64,
    /// When checks found it well again, or an ejection ended; 0 for never.
    back: AtomicU64,
    pub counters: Counters,
}

#[derive(Default)]
pub struct Counters {
    pub requests: AtomicU64,
    pub failures: AtomicU64,
    pub retries: AtomicU64,
    pub ejections: AtomicU64,
    pub connections: AtomicU64,
}

impl Upstream {
    pub fn new(plan: &plan::Upstream, proxy: &plan::Proxy) -> Result<Self> {
        static NEXT: AtomicU64 = AtomicU64::new(1);
        let address = Address::parse(&plan.url)?;
        if plan.proxy_protocol.is_some() && matches!(address.scheme, Scheme::H3 | Scheme::Velocity) {
            let message = format!("{} has no PROXY protocol: that is for TCP", plan.url);
            return Err(Error::config("UPSTREAM_INVALID", message).hint("take out proxy_protocol, or write https://"));
        }
        let connect_timeout = Duration::from_millis(proxy.timeouts.connect_ms);
        Ok(Self {
            id: NEXT.fetch_add(1, Relaxed),
            url: plan.url.as_str().into(),
            tls: options(&address, &proxy.tls, connect_timeout),
            address,
            names: Names::default(),
            weight: plan.weight.max(1),
            rank: if plan.backup { BACKUP } else { 0 },
            connect_timeout,
            proxy_protocol: plan.proxy_protocol,
            lacks_h1: AtomicBool::new(false),
            ejection: proxy.ejection.clone(),
            in_flight: AtomicUsize::new(0),
            failures: AtomicU32::new(0),
            broken: AtomicU32::new(0),
            ejected_until: AtomicU64::new(0),
            unhealthy: AtomicBool::new(false),
            slow_start: proxy.slow_start_ms,
            back: AtomicU64::new(0),
            counters: Counters::default(),
        })
    }

    /// Where DNS says that it is: nobody has to ask the system.
    pub fn is_at(&mut self, address: IpAddr) {
        let Place::Host(_, port) = self.address.place else {
            return;
        };
        match &mut self.tls {
            Some(tls) => tls.connect_to = Some((address.to_string(), port)),
            None => self.address.place = Place::Host(address.to_string(), port),
        }
    }

    /// Whether it is what another one was made for.
    pub fn is_like(&self, other: &Self) -> bool {
        let elsewhere = |one: &Self| one.tls.as_ref().and_then(|tls| tls.connect_to.clone());
        self.url == other.url
            && (self.weight, self.rank) == (other.weight, other.rank)
            && self.proxy_protocol == other.proxy_protocol
            && self.address.place == other.address.place
            && elsewhere(self) == elsewhere(other)
    }

    /// Whether requests may go there.
    pub fn is_available(&self) -> bool {
        !self.unhealthy.load(Relaxed) && self.ejected_until.load(Relaxed) <= now()
    }

    /// Requests under way, over what it is able to bear.
    pub fn load(&self) -> f64 {
        self.in_flight.load(Relaxed) as f64 / (f64::from(self.weight) * self.share())
    }

    /// How much of its weight it has: less than 1 for a while after it has come back.
    pub fn share(&self) -> f64 {
        if self.slow_start == 0 {
            return 1.0;
        }
        match self.back.load(Relaxed).max(self.ejected_until.load(Relaxed)) {
            0 => 1.0,
            back => (now().saturating_sub(back) as f64 / self.slow_start as f64).clamp(LEAST, 1.0),
        }
    }

    /// There is the head of an answer.
    pub fn succeeded(&self) {
        self.failures.store(0, Relaxed);
    }

    /// There is none.
    pub fn failed(&self) {
        self.count(&self.failures);
    }

    /// An answer came to its end.
    pub fn ended(&self) {
        // Nearly always it is 0, and nobody else has to hear of it.
        if self.broken.load(Relaxed) != 0 {
            self.broken.store(0, Relaxed);
        }
    }

    /// An answer broke off after its head. Heads that come between do not make up for that: answers that end do.
    pub fn broke_off(&self, reason: &str) {
        let fields = [("upstream", (&*self.url).into()), ("reason", reason.into())];
        let message = "the answer of an upstream broke off";
        log::record(Level::Warn, "velocity::proxy", "upstream_broke_off", message, &fields);
        self.count(&self.broken);
    }

    fn count(&self, in_a_row: &AtomicU32) {
        self.counters.failures.fetch_add(1, Relaxed);
        let failures = in_a_row.fetch_add(1, Relaxed) + 1;
        if self.ejection.failures == 0 || failures < self.ejection.failures || !self.is_available() {
            return;
        }
        self.ejected_until.store(now() + self.ejection.for_ms, Relaxed);
        self.counters.ejections.fetch_add(1, Relaxed);
        let fields = [
            ("upstream", (&*self.url).into()),
            ("failures", u64::from(failures).into()),
            ("for_ms", self.ejection.for_ms.into()),
        ];
        let message = "an upstream that fails is left alone for a while";
        log::record(Level::Warn, "velocity::proxy", "upstream_ejected", message, &fields);
    }

    /// What an active check found.
    pub fn checked(&self, healthy: bool) {
        if self.unhealthy.swap(!healthy, Relaxed) == healthy {
            if healthy {
                self.back.store(now(), Relaxed);
            }
            let (event, level) = match healthy {
                true => ("upstream_healthy", Level::Info),
                false => ("upstream_unhealthy", Level::Warn),
            };
            log::record(
                level,
                "velocity::proxy",
                event,
                "",
                &[("upstream", (&*self.url).into())],
            );
        }
        if healthy {
            // An ejection that is over was, and one that is not ends now.
            let until = self.ejected_until.swap(0, Relaxed);
            self.back.fetch_max(until.min(now()), Relaxed);
            self.failures.store(0, Relaxed);
            self.broken.store(0, Relaxed);
        }
    }

    pub fn is_healthy(&self) -> bool {
        !self.unhealthy.load(Relaxed)
    }
}

/// A request under way at an upstream.
pub struct Busy(Arc<Upstream>);

impl Busy {
    pub fn new(upstream: &Arc<Upstream>) -> Self {
        upstream.in_flight.fetch_add(1, Relaxed);
        upstream.counters.requests.fetch_add(1, Relaxed);
        Self(upstream.clone())
    }
}

impl std::ops::Deref for Busy {
    type Target = Upstream;

    fn deref(&self) -> &Upstream {
        &self.0
    }
}

impl Drop for Busy {
    fn drop(&mut self) {
        self.0.in_flight.fetch_sub(1, Relaxed);
    }
}

fn options(address: &Address, tls: &plan::UpstreamTls, timeout: Duration) -> Option<client::Options> {
    let protocols = match address.scheme {
        Scheme::Http | Scheme::H2c => return None,
        Scheme::Https => vec![Protocol::H2, Protocol::H1],
        Scheme::H3 => vec![Protocol::H3],
        Scheme::Velocity => vec![Protocol::Velocity],
    };
    let Place::Host(host, port) = &address.place else {
        return None;
    };
    let trust = client::Options::trust(tls.ca_file.clone(), tls.insecure);
    Some(client::Options {
        server_name: tls.server_name.clone(),
        certificate: tls.certificate.as_ref().map(plan::Certificate::files),
        patience: PATIENCE.max(timeout),
        ..client::Options::new(host.clone(), *port, protocols, trust, timeout)
    })
}

/// Milliseconds since a second before the first call.
fn now() -> u64 {
    static START: OnceLock<Instant> = OnceLock::new();
    START.get_or_init(Instant::now).elapsed().as_millis() as u64 + 1000
}
