//! Upstreams that DNS names (RFC 2782): where a service is, in what order, and with what weight.
//!
//! A service is looked up before its first request, and again when what was found is too old. What is found stays as it
//! is while DNS says nothing.

use std::net::{IpAddr, SocketAddr};
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::sync::{Arc, Weak};
use std::time::Duration;

use arc_swap::ArcSwap;
use hickory_resolver::TokioResolver;
use hickory_resolver::config::{NameServerConfig, ResolverConfig};
use hickory_resolver::net::runtime::TokioRuntimeProvider;
use hickory_resolver::proto::rr::RData;
use tokio::sync::watch;
use tokio::time::Instant;

use super::Group;
use super::address;
use super::health::Checks;
use super::upstream::Upstream;
use crate::error::{Error, Result};
use crate::log::{self, Level};
use crate::plan;

/// How long an answer of DNS holds, whatever it says.
const SOONEST: Duration = Duration::from_secs(5);
const LATEST: Duration = Duration::from_secs(5 * 60);
/// Servers of one service: no more are taken.
const SERVERS: usize = 256;

pub struct Discovery {
    plan: plan::Proxy,
    resolver: TokioResolver,
    checks: Checks,
    current: ArcSwap<Group>,
    begun: AtomicBool,
    /// Whether DNS was asked once.
    ready: watch::Sender<bool>,
}

/// One server of a service, or an upstream that is named in the Plan.
struct Server {
    plan: plan::Upstream,
    /// Lower ones are asked first.
    priority: u16,
    /// As our resolver says; otherwise the system is asked when there is a connection to be made.
    address: Option<IpAddr>,
}

impl Discovery {
    /// Whether DNS has to be asked where the upstreams of a proxy are.
    pub fn is_needed(plan: &plan::Proxy) -> bool {
        plan.upstreams.iter().any(|one| address::service(&one.url).is_some())
    }

    /// # Errors
    ///
    /// `RESOLVER_INVALID`, and those of upstreams.
    pub fn new(plan: &plan::Proxy) -> Result<Arc<Self>> {
        for one in plan.upstreams.iter().filter(|one| address::service(&one.url).is_none()) {
            address::Address::parse(&one.url)?;
        }
        Ok(Arc::new(Self {
            resolver: resolver(plan.resolver.as_deref())?,
            checks: Checks::new(plan.health.as_ref()),
            current: ArcSwap::from_pointee(Group::new(plan, Vec::new())?),
            begun: AtomicBool::new(false),
            ready: watch::Sender::new(false),
            plan: plan.clone(),
        }))
    }

    /// Those that are known.
    pub fn current(&self) -> Arc<Group> {
        self.current.load_full()
    }

    /// The same; the first ask DNS and wait for its answer.
    pub async fn found(self: &Arc<Self>) -> Arc<Group> {
        if !self.begun.swap(true, Relaxed) {
            tokio::spawn(follow(Arc::downgrade(self)));
        }
        if !*self.ready.borrow() {
            // Whoever fails to find anything says so, too: it cannot take longer than the resolver does.
            let _ = self.ready.subscribe().wait_for(|ready| *ready).await;
        }
        self.current()
    }

    /// Ask where everything is. How long that holds.
    async fn refresh(&self, known: &mut [Vec<Server>]) -> Duration {
        let mut until = Instant::now() + LATEST;
        for (one, known) in self.plan.upstreams.iter().zip(&mut *known) {
            let Some((scheme, name)) = address::service(&one.url) else {
                continue;
            };
            match self.look_up(one, scheme, name).await {
                Ok((servers, valid)) => {
                    *known = servers;
                    until = until.min(valid);
                }
                Err(reason) => {
                    let fields = [("upstream", (&*one.url).into()), ("reason", reason.into())];
                    let message = "DNS does not say where a service is";
                    log::record(Level::Warn, "velocity::proxy", "upstream_unresolved", message, &fields);
                    until = Instant::now();
                }
            }
        }
        let servers = known.iter().flatten();
        match self.group(servers) {
            Ok(group) => self.current.store(Arc::new(group)),
            Err(error) => {
                let fields = [("reason", error.message.as_str().into())];
                log::record(Level::Error, "velocity::proxy", "upstream_unresolved", "", &fields);
            }
        }
        self.ready.send_replace(true);
        until.saturating_duration_since(Instant::now()).clamp(SOONEST, LATEST)
    }

    /// The servers of a service, and until when they are.
    async fn look_up(
        &self,
        one: &plan::Upstream,
        scheme: &str,
        name: &str,
    ) -> std::result::Result<(Vec<Server>, Instant), String> {
        let answer = self.resolver.srv_lookup(format!("{name}.")).await;
        let answer = answer.map_err(|error| error.to_string())?;
        let mut servers = Vec::new();
        for record in answer.answers() {
            let RData::SRV(found) = &record.data else { continue };
            // RFC 2782: a dot says that there is no such service.
            if found.target.is_root() || servers.len() == SERVERS {
                continue;
            }
            let target = found.target.to_ascii();
            let host = target.trim_end_matches('.').to_ascii_lowercase();
            let address = match &self.plan.resolver {
                None => None,
                Some(_) => match self.resolver.lookup_ip(target).await {
                    Ok(addresses) => addresses.iter().next(),
                    Err(_) => continue,
                },
            };
            servers.push(Server {
                plan: plan::Upstream {
                    url: format!("{scheme}://{host}:{}", found.port),
                    // Those of no weight are asked seldom, not never.
                    weight: one.weight.saturating_mul(u32::from(found.weight).max(1)),
                    backup: one.backup,
                },
                priority: found.priority,
                address,
            });
        }
        Ok((servers, answer.valid_until().into()))
    }

    /// Those who were there before stay who they are.
    fn group<'a>(&self, servers: impl Iterator<Item = &'a Server>) -> Result<Group> {
        let before = self.current();
        let mut upstreams = Vec::new();
        for server in servers {
            let mut upstream = Upstream::new(&server.plan, &self.plan)?;
            upstream.rank += u32::from(server.priority);
            if let Some(address) = server.address {
                upstream.is_at(address);
            }
            match before.upstreams.iter().find(|one| one.is_like(&upstream)) {
                Some(known) => upstreams.push(known.clone()),
                None => {
                    let upstream = Arc::new(upstream);
                    self.checks.watch(&upstream);
                    upstreams.push(upstream);
                }
            }
        }
        Group::new(&self.plan, upstreams)
    }
}

/// For as long as anybody may send requests there.
async fn follow(discovery: Weak<Discovery>) {
    let Some(first) = discovery.upgrade() else { return };
    let fixed = |one: &plan::Upstream| match address::service(&one.url) {
        Some(_) => Vec::new(),
        None => vec![Server {
            plan: one.clone(),
            priority: 0,
            address: None,
        }],
    };
    let mut known: Vec<Vec<Server>> = first.plan.upstreams.iter().map(fixed).collect();
    drop(first);
    while let Some(discovery) = discovery.upgrade() {
        let holds = discovery.refresh(&mut known).await;
        drop(discovery);
        tokio::time::sleep(holds).await;
    }
}

/// The resolver at an address, or that of the system.
pub fn resolver(at: Option<&str>) -> Result<TokioResolver> {
    let invalid = |reason: String| {
        Error::config("RESOLVER_INVALID", format!("no resolver: {reason}"))
            .hint("name one with resolver: ADDRESS:PORT, or in /etc/resolv.conf")
    };
    let provider = TokioRuntimeProvider::default();
    let mut builder = match at {
        None => TokioResolver::builder(provider).map_err(|error| invalid(error.to_string()))?,
        Some(at) => {
            let address: SocketAddr = at
                .parse()
                .map_err(|_| invalid(format!("{at:?} is no address and port")))?;
            let mut server = NameServerConfig::udp_and_tcp(address.ip());
            for connection in &mut server.connections {
                connection.port = address.port();
            }
            TokioResolver::builder_with_config(ResolverConfig::from_parts(None, Vec::new(), vec![server]), provider)
        }
    };
    // We keep what was found for as long as it holds.
    builder.options_mut().cache_size = 0;
    builder.build().map_err(|error| invalid(error.to_string()))
}
