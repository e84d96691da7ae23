//! Other servers behind this one (RFC 9110 section 7.6): choose one, send it the request, hand on its answer.
//!
//! [`fields`] → [`balance`] → [`pool`] or [`connect`] → the exchange → [`answer`]; and [`retry`] when that fails

mod address;
mod answer;
mod balance;
mod cache;
mod connect;
mod discovery;
pub(crate) mod failure;
mod fields;
pub(crate) mod h1;
mod health;
mod known;
mod names;
mod pool;
mod retry;
mod sticky;
#[cfg(test)]
mod tests;
mod upgrade;
mod upload;
mod upstream;

use std::net::SocketAddr;
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;
use std::time::{Duration, Instant};

use http::header::{CONNECTION, DATE, HOST, SEC_WEBSOCKET_ACCEPT, SEC_WEBSOCKET_KEY, SET_COOKIE, UPGRADE};
use http::uri::{Authority, PathAndQuery, Scheme as UriScheme, Uri};
use http::{HeaderValue, Request, StatusCode, Version};

use self::address::Scheme;
use self::answer::{Multiplexed, Single, UnderWay};
use self::balance::Balance;
pub use self::cache::{Cached, Outcome};
use self::connect::{Connection, Shared};
use self::discovery::Discovery;
pub(crate) use self::discovery::resolver;
use self::failure::{Failure, Reached};
pub use self::fields::strip_nominated;
use self::health::Checks;
pub use self::known::Known;
use self::pool::Key;
pub use self::pool::make_room;
use self::retry::{Budget, Payload};
pub use self::upgrade::Switched;
use self::upgrade::{accept, nonce, opened, switched_unasked, upgrade_of};
use self::upload::{Activity, Upload};
use self::upstream::{Busy, Upstream};
use crate::call::Call;
use crate::error::{Error, Result};
use crate::http::websocket::ByConnect;
use crate::http::{Body, Response, replay};
use crate::log::{self, Level};
use crate::net::proxy_protocol::Client;
use crate::plan;
use crate::service::plain;

/// An answer that is not to be streamed is read first if it is no longer than this, in bytes.
const READ_FIRST: usize = 1 << 20;

const UNREACHABLE: &str = "the server behind this one cannot be reached\n";

/// One `proxy` of the Plan. Routes with equal ones share it.
pub struct Proxy {
    upstreams: Upstreams,
    budget: Budget,
    checks: Checks,
    plan: plan::Proxy,
}

/// Servers for the same requests, and who of them gets which.
struct Group {
    upstreams: Vec<Arc<Upstream>>,
    balance: Balance,
}

impl Group {
    fn new(plan: &plan::Proxy, upstreams: Vec<Arc<Upstream>>) -> Result<Self> {
        Ok(Self {
            balance: Balance::new(&plan.balance, &upstreams)?,
            upstreams,
        })
    }
}

enum Upstreams {
    Fixed(Group),
    /// DNS says which there are.
    Found(Arc<Discovery>),
}

impl Upstreams {
    fn known(&self) -> Vec<Arc<Upstream>> {
        match self {
            Upstreams::Fixed(group) => group.upstreams.clone(),
            Upstreams::Found(discovery) => discovery.current().upstreams.clone(),
        }
    }
}

/// What became of a request, for the access log; among the extensions of a response.
#[derive(Clone)]
pub struct Proxied {
    pub upstream: Arc<str>,
    /// `None` on a connection that was there.
    pub connect: Option<Duration>,
    /// From the request to the head of its answer.
    pub first_byte: Duration,
    pub attempts: u32,
}

impl Proxy {
    fn new(plan: &plan::Proxy) -> Result<Self> {
        if plan.upstreams.is_empty() {
            return Err(
                Error::config("UPSTREAM_INVALID", "a proxy without upstreams").hint("name one: http://HOST:PORT")
            );
        }
        let upstreams = if Discovery::is_needed(plan) {
            Upstreams::Found(Discovery::new(plan)?)
        } else {
            let upstreams = plan.upstreams.iter();
            let upstreams = upstreams.map(|one| Ok(Arc::new(Upstream::new(one, plan)?)));
            Upstreams::Fixed(Group::new(plan, upstreams.collect::<Result<_>>()?)?)
        };
        Ok(Self {
            checks: Checks::new(plan.health.as_ref()),
            budget: Budget::default(),
            upstreams,
            plan: plan.clone(),
        })
    }

    /// Pass a request on.
    pub async fn respond(&self, call: &Call<'_>, body: Body) -> Response {
        let found;
        let Group { upstreams, balance } = match &self.upstreams {
            Upstreams::Fixed(group) => {
                self.checks.begin(&group.upstreams);
                group
            }
            Upstreams::Found(discovery) => {
                found = Box::pin(discovery.found()).await;
                &*found
            }
        };
        if upstreams.is_empty() {
            return plain(StatusCode::BAD_GATEWAY, UNREACHABLE);
        }
        self.budget.earn();
        let method = &call.parts.method;
        let upgrade = upgrade_of(call);
        // The body of an extended CONNECT is what the client says in the WebSocket.
        let (mut spoken, body) = match call.parts.extensions.get::<ByConnect>() {
            Some(_) => (Some(body), Body::Empty),
            None => (None, body),
        };
        let mut payload = match Payload::new(method, body, &self.plan.retries).await {
            Ok(payload) => payload,
            Err(error) => return refusal(&Failure::upload(error.kind())),
        };
        let mut tried = Vec::new();
        let mut attempts = 0;
        loop {
            let place = balance.choose(upstreams, &tried, call);
            let upstream = &upstreams[place];
            attempts += 1;
            let outcome = self.attempt(call, upstream, &mut payload, upgrade.as_ref()).await;
            let left = attempts <= self.plan.retries.attempts;
            match outcome {
                Ok(mut response) => {
                    let tie = balance
                        .sticky()
                        .and_then(|sticky| sticky.tie(place, &call.parts.headers));
                    if let Some(cookie) = tie {
                        response.headers_mut().append(SET_COOKIE, cookie.clone());
                    }
                    if response.status() == StatusCode::SWITCHING_PROTOCOLS
                        && let Some(spoken) = spoken.take()
                    {
                        return opened(response, spoken);
                    }
                    let failed = self.plan.retries.statuses.contains(&response.status().as_u16());
                    if failed {
                        upstream.failed();
                    } else {
                        upstream.succeeded();
                    }
                    if failed && left && payload.is_whole() && retry::is_idempotent(method) && self.budget.spend() {
                        upstream.counters.retries.fetch_add(1, Relaxed);
                        tried.push(place);
                        continue;
                    }
                    if let Some(proxied) = response.extensions_mut().get_mut::<Proxied>() {
                        proxied.attempts = attempts;
                    }
                    return response;
                }
                Err(failure) if failure.is_clients() => return refusal(&failure),
                Err(failure) => {
                    if !failure.is_ours() && !failure.counted {
                        upstream.failed();
                    }
                    let again =
                        left && !failure.is_ours() && payload.allows(method, failure.reached) && self.budget.spend();
                    report(call, upstream, &failure, attempts, again);
                    if !again {
                        return gateway(&failure, upstream, attempts);
                    }
                    upstream.counters.retries.fetch_add(1, Relaxed);
                    tried.push(place);
                }
            }
        }
    }

    /// Send a request to one upstream.
    async fn attempt(
        &self,
        call: &Call<'_>,
        upstream: &Arc<Upstream>,
        payload: &mut Payload,
        upgrade: Option<&HeaderValue>,
    ) -> Result<Response, Failure> {
        let busy = Busy::new(upstream);
        let preserved = self
            .plan
            .preserve_host
            .then_some(call.host)
            .filter(|host| !host.is_empty());
        let mut key = Key {
            upstream: upstream.id,
            name: preserved.filter(|_| upstream.tls.is_some()).map(Into::into),
            upgrade: upgrade.is_some() && upstream.address.scheme == Scheme::Https && !upstream.lacks_h1.load(Relaxed),
            client: upstream.proxy_protocol.map(|_| announced(call)),
        };
        let begin = Instant::now();
        let mut connect = None;
        let idle = Duration::from_millis(self.plan.timeouts.idle_ms);
        // A connection that was there may have been closed by now, a new one not: at most a second round.
        let mut stale = false;
        let mut response = loop {
            let (connection, place) = match held(&key).filter(|_| !stale) {
                Some(held) => held,
                None => {
                    // Boxed, like everything that few requests need.
                    match Box::pin(self.connect(upstream, &key)).await {
                        Ok(made) => {
                            connect = Some(begin.elapsed());
                            made
                        }
                        // Then the WebSocket goes over HTTP/2.
                        Err(_) if key.upgrade && upstream.lacks_h1.load(Relaxed) => {
                            key.upgrade = false;
                            continue;
                        }
                        Err(failure) => return Err(failure),
                    }
                }
            };
            match connection {
                Connection::H1(connection) => {
                    let fresh = !connection.used;
                    let request = self.request(call, upstream, payload, true, upgrade)?;
                    match self.single(call, connection, request, payload).await {
                        Ok((head, ..)) if head.status == StatusCode::SWITCHING_PROTOCOLS && upgrade.is_none() => {
                            return Err(switched_unasked());
                        }
                        Ok((head, exchange, upload)) => {
                            break self.answered(head, exchange, key, upstream, UnderWay { busy, upload });
                        }
                        Err(failure) if failure.reached == Reached::Nobody && !fresh && payload.is_there() => {
                            stale = true;
                        }
                        // The upstream closed it while the request was on its way (RFC 9112 section 9.3.1).
                        Err(failure)
                            if !fresh
                                && failure.kind == "reset"
                                && payload.allows(&call.parts.method, failure.reached) =>
                        {
                            stale = true;
                        }
                        Err(failure) => return Err(failure),
                    }
                }
                Connection::Many(shared) if upgrade.is_some() => {
                    let Some(accept) = accept(call) else {
                        return Ok(plain(StatusCode::BAD_REQUEST, "a WebSocket needs a key\n"));
                    };
                    let request = self.request(call, upstream, payload, false, None)?;
                    let Some((mut response, upload)) = Box::pin(self.open(&shared, &place, request)).await? else {
                        return Ok(plain(StatusCode::NOT_IMPLEMENTED, "there is no WebSocket here\n"));
                    };
                    if response.status() == StatusCode::SWITCHING_PROTOCOLS {
                        response.headers_mut().insert(SEC_WEBSOCKET_ACCEPT, accept);
                        break response;
                    }
                    let (head, body) = response.into_parts();
                    let body = Multiplexed { body, _place: place }.into_body(idle, UnderWay { busy, upload });
                    break Response::from_parts(head, body);
                }
                Connection::Many(shared) => {
                    let request = self.request(call, upstream, payload, false, None)?;
                    let (response, upload) = Box::pin(self.many(call, &shared, request, payload)).await?;
                    let (head, body) = response.into_parts();
                    if head.status == StatusCode::SWITCHING_PROTOCOLS {
                        return Err(switched_unasked());
                    }
                    let body = Multiplexed { body, _place: place }.into_body(idle, UnderWay { busy, upload });
                    break Response::from_parts(head, body);
                }
            }
        };
        // Each hop has its own version (RFC 9110 section 2.5).
        *response.version_mut() = Version::default();
        fields::response(response.headers_mut());
        if let (Some(protocol), StatusCode::SWITCHING_PROTOCOLS) = (upgrade, response.status()) {
            response.headers_mut().insert(UPGRADE, protocol.clone());
            response
                .headers_mut()
                .insert(CONNECTION, HeaderValue::from_static("upgrade"));
        }
        if let Some(limit) = self.plan.max_response_bytes {
            response = answer::limited(response, limit)?;
        }
        if !self.plan.streaming {
            let (head, body) = response.into_parts();
            let start = replay::read(body, READ_FIRST).await.map_err(|error| Failure {
                counted: true,
                ..Failure::new(Reached::Perhaps, "reset", error.to_string())
            })?;
            response = Response::from_parts(head, start.into_body());
        }
        response.extensions_mut().insert(Proxied {
            upstream: upstream.url.clone(),
            connect,
            first_byte: begin.elapsed(),
            attempts: 1,
        });
        Ok(response)
    }

    async fn connect(&self, upstream: &Arc<Upstream>, key: &Key) -> Result<(Connection, Arc<()>), Failure> {
        let many = matches!(upstream.address.scheme, Scheme::H2c | Scheme::H3 | Scheme::Velocity);
        let gate = many.then(|| pool::gate(key, upstream));
        let _held = match &gate {
            Some(gate) => {
                let guard = gate.lock().await;
                // Whoever was first may have made it.
                if let Some(held) = held(key) {
                    return Ok(held);
                }
                Some(guard)
            }
            None => None,
        };
        let connection = connect::connect(upstream, key).await?;
        upstream.counters.connections.fetch_add(1, Relaxed);
        let place = match &connection {
            Connection::H1(_) => Arc::default(),
            Connection::Many(shared) => pool::put_shared(key, upstream, shared.clone()),
        };
        Ok((connection, place))
    }

    /// A request as the upstream gets it. `single` is whether it goes over HTTP/1.1.
    fn request(
        &self,
        call: &Call<'_>,
        upstream: &Upstream,
        payload: &mut Payload,
        single: bool,
        upgrade: Option<&HeaderValue>,
    ) -> Result<Request<Body>, Failure> {
        let mut request = Request::new(payload.take());
        *request.method_mut() = call.parts.method.clone();
        let invalid = |what: &str| Failure::new(Reached::Nobody, "protocol", format!("the {what} cannot be sent"));
        let preserved = match self.plan.preserve_host && !call.authority.is_empty() {
            true => Some(call.authority.parse::<Authority>().map_err(|_| invalid("host"))?),
            false => None,
        };
        let path = self.path(call).ok_or_else(|| invalid("path"))?;
        let mut fields = fields::request(call, single);
        if let (plan::BalanceBy::Sticky, Some(name)) = (self.plan.balance.by, &self.plan.balance.name) {
            sticky::strip(name, &mut fields);
        }
        let mut parts = http::uri::Parts::default();
        parts.path_and_query = Some(path);
        if single {
            let host = match preserved {
                Some(authority) => HeaderValue::from_str(authority.as_str()).map_err(|_| invalid("host"))?,
                None => upstream.address.host.clone(),
            };
            fields.insert(HOST, host);
            if let Some(protocol) = upgrade {
                fields.insert(UPGRADE, protocol.clone());
                fields.insert(CONNECTION, HeaderValue::from_static("upgrade"));
                if call.parts.extensions.get::<ByConnect>().is_some() {
                    fields.insert(SEC_WEBSOCKET_KEY, nonce());
                }
            }
            *request.version_mut() = Version::HTTP_11;
        } else {
            parts.scheme = Some(match upstream.address.scheme {
                Scheme::Http | Scheme::H2c => UriScheme::HTTP,
                Scheme::Https | Scheme::H3 | Scheme::Velocity => UriScheme::HTTPS,
            });
            parts.authority = Some(preserved.unwrap_or_else(|| upstream.address.authority.clone()));
            *request.version_mut() = Version::HTTP_2;
        }
        *request.uri_mut() = Uri::from_parts(parts).map_err(|_| invalid("path"))?;
        *request.headers_mut() = fields;
        Ok(request)
    }

    fn path(&self, call: &Call<'_>) -> Option<PathAndQuery> {
        let Some(whole) = call.parts.uri.path_and_query() else {
            return Some(PathAndQuery::from_static("/"));
        };
        let rest = match self.plan.strip_prefix.is_empty() {
            true => None,
            false => whole.as_str().strip_prefix(self.plan.strip_prefix.as_str()),
        };
        match rest {
            None => Some(whole.clone()),
            Some(rest) if rest.starts_with('/') => rest.parse().ok(),
            Some(rest) if rest.is_empty() || rest.starts_with('?') => format!("/{rest}").parse().ok(),
            // `/api` is no prefix of `/apis`.
            Some(_) => Some(whole.clone()),
        }
    }

    async fn single(
        &self,
        call: &Call<'_>,
        connection: h1::Connection,
        request: Request<Body>,
        payload: &mut Payload,
    ) -> Result<(http::response::Parts, h1::Exchange, Activity), Failure> {
        let (request, activity) = Upload::watch(request);
        let answer = pin!(connection.send(request, |head| inform(call, head)));
        match self.within(&activity, answer).await? {
            Ok((head, exchange)) => Ok((head, exchange, activity)),
            Err((failure, body)) => {
                if let Some(error) = activity.broken() {
                    return Err(Failure::upload(error));
                }
                if let Some(body) = body {
                    payload.put_back(body);
                }
                Err(failure)
            }
        }
    }

    async fn many(
        &self,
        call: &Call<'_>,
        shared: &Shared,
        request: Request<Body>,
        payload: &mut Payload,
    ) -> Result<(http::Response<Body>, Activity), Failure> {
        let (request, activity) = Upload::watch(request);
        let answer = pin!(shared.send(request, |head| inform(call, head)));
        let (failure, body) = match self.within(&activity, answer).await? {
            Ok(response) => return Ok((response, activity)),
            Err(failed) => failed,
        };
        if let Some(error) = activity.broken() {
            return Err(Failure::upload(error));
        }
        if let Some(body) = body {
            payload.put_back(body);
        }
        Err(failure)
    }

    /// The head of an answer has to come within its time, counted from the last byte of the request.
    async fn within<T>(
        &self,
        activity: &Activity,
        mut answer: Pin<&mut impl Future<Output = T>>,
    ) -> Result<T, Failure> {
        let limit = Duration::from_millis(self.plan.timeouts.response_ms);
        loop {
            let until = activity.last() + limit;
            if let Ok(answered) = tokio::time::timeout_at(until.into(), answer.as_mut()).await {
                return Ok(answered);
            }
            if activity.last() + limit <= Instant::now() {
                if activity.waits() {
                    return Err(Failure::waited());
                }
                let reason = format!("no answer within {} ms", self.plan.timeouts.response_ms);
                return Err(Failure::timeout(Reached::Perhaps, reason));
            }
        }
    }

    fn answered(
        &self,
        mut head: http::response::Parts,
        exchange: h1::Exchange,
        key: Key,
        upstream: &Arc<Upstream>,
        under_way: UnderWay,
    ) -> Response {
        if head.status == StatusCode::SWITCHING_PROTOCOLS {
            let (stream, received) = exchange.into_stream();
            head.extensions.insert(Switched::new(stream, received));
            return Response::from_parts(head, Body::Empty);
        }
        let single = Single {
            exchange: Some(exchange),
            key,
            upstream: upstream.clone(),
        };
        let idle = Duration::from_millis(self.plan.timeouts.idle_ms);
        Response::from_parts(head, single.into_body(idle, under_way))
    }
}

/// For whom an upstream is told that a connection is.
fn announced(call: &Call<'_>) -> Client {
    let source = match call.client == call.remote {
        true => call.peer.remote,
        // Proxies say who it is, but not from which port.
        false => SocketAddr::new(call.client, 0),
    };
    Client::new(source, call.peer.local)
}

/// A connection that is there.
fn held(key: &Key) -> Option<(Connection, Arc<()>)> {
    if let Some(connection) = pool::take_single(key) {
        return Some((Connection::H1(connection), Arc::default()));
    }
    pool::take_shared(key).map(|(shared, place)| (Connection::Many(shared), place))
}

/// An interim answer goes on where the transport to the client can send one (RFC 9110 section 15.2).
fn inform(call: &Call<'_>, mut head: http::response::Parts) {
    if head.status == StatusCode::EARLY_HINTS
        && let Some(interim) = call.interim
    {
        fields::response(&mut head.headers);
        interim.put(head.headers);
    }
}

/// A line for each attempt that failed.
fn report(call: &Call<'_>, upstream: &Upstream, failure: &Failure, attempt: u32, again: bool) {
    let level = if again { Level::Warn } else { Level::Error };
    let mut fields = vec![
        ("route", call.route.as_ref().into()),
        ("upstream", (&*upstream.url).into()),
        ("kind", failure.kind.into()),
        ("reason", failure.reason.as_str().into()),
        ("attempt", u64::from(attempt).into()),
        ("retried", again.to_string().into()),
    ];
    if !failure.hint.is_empty() {
        fields.push(("hint", failure.hint.as_str().into()));
    }
    log::record(level, "velocity::proxy", "upstream_failed", "", &fields);
}

/// The client is told what it did.
fn refusal(failure: &Failure) -> Response {
    plain(
        failure.status,
        match failure.status {
            StatusCode::PAYLOAD_TOO_LARGE => "the request is too large\n",
            StatusCode::REQUEST_TIMEOUT => "the rest of the request did not come in time\n",
            _ => "the body of the request broke off\n",
        },
    )
}

/// 502, 503 or 504. What exactly went wrong is for the log, not for strangers.
fn gateway(failure: &Failure, upstream: &Upstream, attempts: u32) -> Response {
    let text = match failure.status {
        StatusCode::SERVICE_UNAVAILABLE => "there is no room for this request now\n",
        StatusCode::GATEWAY_TIMEOUT => "the server behind this one did not answer in time\n",
        _ => UNREACHABLE,
    };
    let mut response = plain(failure.status, text);
    response.headers_mut().remove(DATE);
    response.extensions_mut().insert(Proxied {
        upstream: upstream.url.clone(),
        connect: None,
        first_byte: Duration::ZERO,
        attempts,
    });
    response
}
