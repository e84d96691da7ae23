//! From a request to its answer, whatever protocol it came over: host, router, handler, and the
//! fields that every answer carries.

use std::cell::RefCell;
use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use arc_swap::ArcSwap;
use bytes::Bytes;
use http::header::{ALT_SVC, DATE, HOST, SERVER};
use http::{HeaderName, HeaderValue, StatusCode};

use crate::access::Access;
use crate::http::{Body, Request, Response, prepared, well_known};
use crate::metrics::Metrics;
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
    /// Points clients of TCP to QUIC (RFC 7838); `None` without QUIC on this listener.
    pub alt_svc: Option<HeaderValue>,
}

impl Service {
    /// Answer a request at once, if all of the answer is in memory. For protocols that can write a
    /// [`Prepared`](crate::http::Prepared) answer; they add [`common_lines`].
    pub fn ready(&self, peer: &Arc<Peer>, parts: &http::request::Parts) -> Option<(Response, Access)> {
        let snapshot = self.snapshot.load();
        let host = host(parts);
        if !has_one_host(parts) || peer.owes_directive() || parts.uri.path() == well_known::PATH {
            return None;
        }
        let prepared = snapshot.site(without_port(host))?.ready(parts)?;
        let mut access = Access::begin(&self.metrics, peer, parts, host, snapshot.access_log);
        access.status(StatusCode::OK);
        Some((Response::new(Body::Prepared(prepared)), access))
    }

    /// Answer one request. The [`Access`] must live until the body is sent.
    pub async fn answer(&self, peer: &Arc<Peer>, request: Request) -> (Response, Access) {
        let snapshot = self.snapshot.load_full();
        let (parts, _body) = request.into_parts();
        let host = host(&parts);
        let head_only = parts.method == http::Method::HEAD;
        let mut access = Access::begin(&self.metrics, peer, &parts, host, snapshot.access_log);

        let mut response = if parts.method == http::Method::CONNECT {
            plain(StatusCode::METHOD_NOT_ALLOWED, "CONNECT is not served here\n")
        } else if !has_one_host(&parts) {
            // RFC 9110 section 7.2, RFC 9112 section 3.2.
            plain(StatusCode::BAD_REQUEST, "there must be one Host field\n")
        } else if parts.uri.path() == well_known::PATH {
            let (host, downgrade) = (without_port(host), peer.facts.downgrade);
            well_known::respond(&parts.method, &snapshot.tls[self.listener], host, downgrade)
        } else {
            match snapshot.site(without_port(host)) {
                Some(files) => files.respond(&parts).await,
                None => plain(
                    StatusCode::MISDIRECTED_REQUEST,
                    "this server does not serve that host\n",
                ),
            }
        };

        let headers = response.headers_mut();
        headers.insert(DATE, date());
        headers.insert(SERVER, HeaderValue::from_static(NAME));
        if let Some(value) = self.alt_svc.as_ref().filter(|_| !peer.is_quic()) {
            headers.insert(ALT_SVC, value.clone());
        }
        if let Some(directive) = peer.take_directive()
            && let Ok(value) = HeaderValue::try_from(directive.to_string())
        {
            headers.insert(VELOCITY_FALLBACK, value);
        }
        if head_only {
            *response.body_mut() = Body::Empty; // RFC 9110 section 9.3.2; the fields stay
        }
        access.status(response.status());
        (response, access)
    }
}

/// A short answer in plain text.
pub fn plain(status: StatusCode, text: &'static str) -> Response {
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
fn host(parts: &http::request::Parts) -> &str {
    match parts.uri.authority() {
        Some(authority) => authority.as_str(),
        None => parts
            .headers
            .get(HOST)
            .and_then(|value| value.to_str().ok())
            .unwrap_or_default(),
    }
}

/// Whether a request over HTTP/1.1 names its host in one valid field. The other protocols see to
/// `:authority` themselves.
fn has_one_host(parts: &http::request::Parts) -> bool {
    let mut fields = parts.headers.get_all(HOST).iter();
    match (fields.next(), fields.next()) {
        (Some(value), None) => http::uri::Authority::try_from(value.as_bytes()).is_ok(),
        (None, _) => parts.version != http::Version::HTTP_11,
        (Some(_), Some(_)) => false,
    }
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
    fn ports_are_cut_and_literals_are_not() {
        assert_eq!(without_port("example.com:443"), "example.com");
        assert_eq!(without_port("example.com"), "example.com");
        assert_eq!(without_port("[::1]:4433"), "[::1]");
        assert_eq!(without_port("[::1]"), "[::1]");
        assert_eq!(without_port("a:b"), "a:b");
    }
}
