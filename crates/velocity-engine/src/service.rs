//! From a request to its answer, whatever protocol it came over: host, router, filters, handler, and
//! the fields that every answer carries.

use std::cell::RefCell;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use arc_swap::ArcSwap;
use bytes::Bytes;
use http::header::{ALLOW, ALT_SVC, DATE, HOST, SERVER};
use http::request::Parts;
use http::uri::Authority;
use http::{HeaderName, HeaderValue, Method, StatusCode};

use crate::access::Access;
use crate::app::webtransport::Session;
use crate::call::Setting;
use crate::filter::{Interim, asked_by_preflight};
use crate::http::websocket::{self, ByConnect};
use crate::http::{Body, Request, Response, prepared, well_known};
use crate::metrics::Metrics;
use crate::proxy::{self, Proxied};
use crate::route::{Own, Route, Site};
use crate::router::{Outcome, Params, Refusal, RequestPath};
use crate::session::Peer;
use crate::snapshot::Snapshot;

/// What `Server` says (RFC 9110 section 10.2.4).
const NAME: &str = "velocity";

/// The fallback directive on its way to a client (docs/spec/velocity-1.md section 6.2).
pub const VELOCITY_FALLBACK: HeaderName = HeaderName::from_static("velocity-fallback");

/// Shared by all connections of one listener.
#[derive(Clone)]
pub struct Service {
    pub snapshot: Arc<ArcSwap<Snapshot>>,
    pub metrics: Arc<Metrics>,
    /// Place of the listener in the Plan.
    pub listener: usize,
    /// Its address, which may stand for all of this machine.
    pub local: SocketAddr,
    /// Points clients of TCP to QUIC (RFC 7838); `None` without QUIC on this listener.
    pub alt_svc: Option<HeaderValue>,
    /// Whether WebTransport is offered.
    pub takes_sessions: bool,
}

impl Service {
    /// Answer a request without body at once, if that takes no waiting. Over QUIC the answer may be
    /// [`Prepared`](crate::http::Prepared): then the transport adds [`common_lines`] and the fields of the response.
    pub fn ready(&self, peer: &Arc<Peer>, parts: &Parts) -> Option<(Response, Access)> {
        let snapshot = self.snapshot.load();
        let host = host(parts);
        let special = peer.owes_directive() || parts.uri.path() == well_known::PATH;
        if parts.method == Method::CONNECT || special || !has_one_host(parts) || !is_of_the_web(parts) {
            return None;
        }
        let found = find(&snapshot, without_port(host), parts).ok()?;
        let setting = self.setting(&snapshot, &found, peer, parts, host, None);
        let pages = &found.site.error_pages;
        let mut response = found.route.at_once(&setting.call(parts), pages)?;
        let mut access = self.begin(peer, parts, host, &snapshot, Some(found.route));
        if parts.method == Method::HEAD || !peer.is_quic() {
            response = unpack(response);
        }
        if parts.method == Method::HEAD {
            *response.body_mut() = Body::Empty; // RFC 9110 section 9.3.2; the fields stay
        }
        if !matches!(response.body(), Body::Prepared(_)) {
            self.finish(peer, &mut response, found.route.own());
        }
        access.status(response.status());
        Some((response, access))
    }

    /// Answer one request. The [`Access`] must live until the body is sent. What is to be said before the answer is put
    /// into `interim`, by transports that can send it.
    pub async fn answer(&self, peer: &Arc<Peer>, request: Request, interim: Option<&Interim>) -> (Response, Access) {
        let snapshot = self.snapshot.load_full();
        let (mut parts, body) = request.into_parts();
        websocket::recognise(&mut parts);
        let by_connect = parts.extensions.get::<ByConnect>().is_some();
        // Filters may change the head, and the host is a part of it.
        let host = host(&parts).to_owned();
        let head_only = parts.method == Method::HEAD;

        let found = if parts.method == Method::CONNECT {
            Err(not_served())
        } else if !has_one_host(&parts) {
            // RFC 9110 section 7.2, RFC 9112 section 3.2.
            Err(Box::new(plain(
                StatusCode::BAD_REQUEST,
                "there must be one Host field\n",
            )))
        } else if !is_of_the_web(&parts) {
            Err(Box::new(plain(
                StatusCode::BAD_REQUEST,
                "only http and https are served here\n",
            )))
        } else if parts.uri.path() == well_known::PATH {
            let tls = &snapshot.tls[self.listener];
            let host = without_port(&host);
            Err(Box::new(well_known::respond(
                &parts.method,
                tls,
                host,
                peer.facts.downgrade,
            )))
        } else {
            find(&snapshot, without_port(&host), &parts)
        };
        let session = by_connect && parts.extensions.get::<Arc<Session>>().is_some();
        let found = match found {
            Ok(found) if session && !found.route.takes_sessions() => Err(not_served()),
            found => found,
        };
        let mut access = self.begin(
            peer,
            &parts,
            &host,
            &snapshot,
            found.as_ref().ok().map(|found| found.route),
        );
        let (mut response, own) = match found {
            Err(refusal) => (*refusal, Own::default()),
            Ok(found) => {
                let pages = &found.site.error_pages;
                let setting = self.setting(&snapshot, &found, peer, &parts, &host, interim);
                let at_once = match body.is_empty() {
                    true => found.route.at_once(&setting.call(&parts), pages),
                    false => None,
                };
                let response = match at_once {
                    Some(response) => unpack(response),
                    // Boxed, so that the future of a request stays small where it is moved about.
                    None => match found.route.application() {
                        Some(app) => Box::pin(found.route.ask(app, parts, body, setting, pages)).await,
                        None => Box::pin(found.route.answer(parts, body, setting, pages)).await,
                    },
                };
                (response, found.route.own())
            }
        };
        if by_connect && response.status().is_success() && response.extensions().get::<ByConnect>().is_none() {
            // Success would mean that there is one now.
            let text = match session {
                true => "there is no WebTransport here\n",
                false => "there is no WebSocket here\n",
            };
            response = plain(StatusCode::BAD_REQUEST, text);
        }
        if let Some(proxied) = response.extensions_mut().remove::<Proxied>() {
            access.proxied(proxied);
        }
        if own.cached
            && let Some(outcome) = response.extensions_mut().remove::<proxy::Outcome>()
        {
            access.cached(outcome);
        }
        self.finish(peer, &mut response, own);
        if head_only {
            *response.body_mut() = Body::Empty; // RFC 9110 section 9.3.2; the fields stay
        }
        access.status(response.status());
        (response, access)
    }

    /// Whether requests may have something to say before their answer.
    pub(crate) fn has_early_hints(&self) -> bool {
        self.snapshot.load().has_early_hints
    }

    fn begin(&self, peer: &Arc<Peer>, parts: &Parts, host: &str, snapshot: &Snapshot, route: Option<&Route>) -> Access {
        let mut access = Access::begin(&self.metrics, peer, parts, host, snapshot.access_log);
        if let Some(route) = route.filter(|_| snapshot.names_routes) {
            access.route(&route.name);
        }
        access
    }

    fn setting<'a>(
        &'a self,
        snapshot: &'a Snapshot,
        found: &'a Found<'a>,
        peer: &'a Arc<Peer>,
        parts: &Parts,
        authority: &'a str,
        interim: Option<&'a Interim>,
    ) -> Setting<'a> {
        Setting {
            host: without_port(authority),
            authority,
            peer,
            remote: peer.remote.ip(),
            client: snapshot.proxies.client(peer.remote.ip(), &parts.headers),
            identity: peer.identity.as_ref().map_or("", |identity| &identity.subject),
            params: &found.params,
            route: &found.route.name,
            templates: &snapshot.templates,
            metrics: &self.metrics,
            interim,
            now: Instant::now(),
        }
    }

    /// Add what every answer carries.
    fn finish(&self, peer: &Peer, response: &mut Response, own: Own) {
        let headers = response.headers_mut();
        if !(own.date || own.origin && headers.contains_key(DATE)) {
            headers.insert(DATE, date());
        }
        if !(own.server || own.origin && headers.contains_key(SERVER)) {
            headers.insert(SERVER, HeaderValue::from_static(NAME));
        }
        if let Some(value) = self.alt_svc.as_ref().filter(|_| !peer.is_quic() && !own.alt_svc) {
            headers.insert(ALT_SVC, value.clone());
        }
        if let Some(directive) = peer.take_directive()
            && let Ok(value) = HeaderValue::try_from(directive.to_string())
        {
            headers.insert(VELOCITY_FALLBACK, value);
        }
    }
}

/// The route of a request.
struct Found<'s> {
    site: &'s Site,
    route: &'s Route,
    params: Params,
}

/// Find the route, or the answer to a request that has none.
fn find<'s>(snapshot: &'s Snapshot, host: &str, parts: &Parts) -> Result<Found<'s>, Box<Response>> {
    let Some((place, site)) = snapshot
        .router
        .site(host)
        .and_then(|place| Some((place, snapshot.sites.get(place)?)))
    else {
        return Err(Box::new(plain(
            StatusCode::MISDIRECTED_REQUEST,
            "this server does not serve that host\n",
        )));
    };
    let refuse = |status, text| {
        let mut response = plain(status, text);
        site.error_pages.apply(&mut response);
        Box::new(response)
    };
    // RFC 9112 section 3.2.4: the asterisk is for OPTIONS alone.
    let misused = parts.uri.path() == "*" && parts.method != Method::OPTIONS;
    let path = match RequestPath::parse(parts.uri.path()) {
        Ok(path) if !misused => path,
        Ok(_) | Err(Refusal::Malformed) => return Err(refuse(StatusCode::BAD_REQUEST, "this path cannot be served\n")),
        Err(Refusal::TooLong) => return Err(refuse(StatusCode::URI_TOO_LONG, "this path is too long\n")),
    };
    let route = |method: &Method| match snapshot.router.route(place, &path, method) {
        Outcome::Found(at, params) => Ok(Found {
            site,
            route: &site.routes[at],
            params,
        }),
        other => Err(other),
    };
    // A browser that asks whether it may is answered by the route that it asks about.
    if let Some(method) = asked_by_preflight(parts)
        && let Ok(found) = route(&method)
        && found.route.has_cors()
    {
        return Ok(found);
    }
    route(&parts.method).map_err(|outcome| match outcome {
        Outcome::Method(allowed) => {
            let mut response = refuse(StatusCode::METHOD_NOT_ALLOWED, "this method is not served here\n");
            response.headers_mut().insert(ALLOW, allowed.allow());
            response
        }
        Outcome::Found(..) | Outcome::Missing => refuse(StatusCode::NOT_FOUND, "not found\n"),
    })
}

/// The answer to CONNECT that is for nothing here.
fn not_served() -> Box<Response> {
    let text = "CONNECT is not served here\n";
    Box::new(plain(StatusCode::METHOD_NOT_ALLOWED, text))
}

/// For protocols that have no use for a prepared head.
fn unpack(response: Response) -> Response {
    let Body::Prepared(answer) = response.body() else {
        return response;
    };
    let mut unpacked = answer.unpack();
    for (name, value) in response.headers() {
        unpacked.headers_mut().append(name, value.clone());
    }
    unpacked
}

/// An answer of our own making: an error page may take its place.
#[derive(Clone, Copy)]
pub struct Stock;

/// A short answer in plain text.
pub fn plain(status: StatusCode, text: &'static str) -> Response {
    let mut response = short(status, text);
    response.extensions_mut().insert(Stock);
    response
}

/// The same where it is no error.
pub fn short(status: StatusCode, text: &'static str) -> Response {
    let mut response = Response::new(Body::from(text));
    *response.status_mut() = status;
    let headers = response.headers_mut();
    headers.insert(
        http::header::CONTENT_TYPE,
        HeaderValue::from_static("text/plain; charset=utf-8"),
    );
    headers.insert(http::header::CONTENT_LENGTH, HeaderValue::from(text.len()));
    response
}

/// The host a request is for: `:authority`, absolute form, or the Host field.
pub(crate) fn host(parts: &Parts) -> &str {
    match parts.uri.authority() {
        Some(authority) => authority.as_str(),
        None => parts
            .headers
            .get(HOST)
            .and_then(|value| value.to_str().ok())
            .unwrap_or_default(),
    }
}

/// Whether a request says in one way for which host it is (RFC 9110 section 7.2, RFC 9112 section 3.2, RFC 9113
/// section 8.3.1): over HTTP/1.1 in one valid Host field, over HTTP/2 and later somewhere, and wherever it says it
/// twice, the same.
fn has_one_host(parts: &Parts) -> bool {
    let mut fields = parts.headers.get_all(HOST).iter();
    match (fields.next(), fields.next(), parts.uri.authority()) {
        (Some(value), None, Some(authority)) => {
            is_plain(authority) && value.as_bytes().eq_ignore_ascii_case(authority.as_str().as_bytes())
        }
        (Some(value), None, None) => is_host(value.as_bytes()),
        (None, _, Some(authority)) => parts.version != http::Version::HTTP_11 && is_plain(authority),
        (None, _, None) => parts.version < http::Version::HTTP_11,
        (Some(_), Some(_), _) => false,
    }
}

/// Whether the scheme of a target is one of those that we are an origin of (RFC 9110 section 4.2): whoever gets the
/// request next takes it for one of these.
fn is_of_the_web(parts: &Parts) -> bool {
    let scheme = parts.uri.scheme_str();
    scheme.is_none_or(|scheme| scheme.eq_ignore_ascii_case("https") || scheme.eq_ignore_ascii_case("http"))
}

fn is_host(value: &[u8]) -> bool {
    Authority::try_from(value).is_ok_and(|authority| is_plain(&authority))
}

/// A host, and a port if there is anything behind it (RFC 9110 section 7.2): nobody's name and password.
fn is_plain(authority: &Authority) -> bool {
    let port = authority.as_str().strip_prefix(authority.host());
    port.is_some_and(|port| match port.strip_prefix(':') {
        Some(port) => {
            port.bytes().all(|byte| byte.is_ascii_digit()) && (port.is_empty() || port.parse::<u16>().is_ok())
        }
        None => port.is_empty(),
    })
}

/// `example.com` of `example.com:443`; an IPv6 literal keeps its brackets.
fn without_port(host: &str) -> &str {
    match host.rsplit_once(':') {
        Some((name, port)) if port.bytes().all(|b| b.is_ascii_digit()) => name,
        _ => host,
    }
}

/// The fields that every answer carries, as QPACK lines, made once a second a thread.
pub fn common_lines() -> Bytes {
    thread_local!(static LAST: RefCell<(HeaderValue, Bytes)> = const { RefCell::new((HeaderValue::from_static(""), Bytes::new())) });
    let date = date();
    LAST.with_borrow_mut(|(of, lines)| {
        if *of != date {
            *lines = prepared::encode([("date", date.as_bytes()), ("server", NAME.as_bytes())].into_iter());
            *of = date;
        }
        lines.clone()
    })
}

/// The present second as IMF-fixdate (RFC 9110 section 6.6.1), formatted once a second a thread.
fn date() -> HeaderValue {
    thread_local!(static LAST: RefCell<(u64, HeaderValue)> = const { RefCell::new((0, HeaderValue::from_static(""))) });
    let second = SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .map_or(0, |elapsed| elapsed.as_secs());
    LAST.with_borrow_mut(|last| {
        if last.0 != second {
            let text = httpdate::fmt_http_date(UNIX_EPOCH + Duration::from_secs(second));
            *last = (
                second,
                HeaderValue::try_from(text).unwrap_or_else(|_| HeaderValue::from_static("")),
            );
        }
        last.1.clone()
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hosts() {
        for right in ["a.example", "a.example:443", "a:", "[::1]", "[::1]:80", "127.0.0.1:1"] {
            assert!(is_host(right.as_bytes()), "{right}");
        }
        for wrong in ["", "user@a", "a:b", "a:99999", "a:+1", "a b", "a/b", "[::1", "a,b@c"] {
            assert!(!is_host(wrong.as_bytes()), "{wrong}");
        }
    }

    #[test]
    fn ports_are_cut_and_literals_are_not() {
        assert_eq!(without_port("example.com:443"), "example.com");
        assert_eq!(without_port("example.com"), "example.com");
        assert_eq!(without_port("[::1]:4433"), "[::1]");
        assert_eq!(without_port("[::1]"), "[::1]");
        assert_eq!(without_port("a:b"), "a:b");
    }
}
