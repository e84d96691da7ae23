//! Applications: programs that answer requests within this process, in threads of their own, or in others ([`remote`]).
//!
//! The engine knows nothing of what they are written in. It hands each request over as an [`Exchange`], through which
//! the application reads the body and answers, at its own pace; neither ever waits for the other's thread.
//!
//! handler → [`Application::begin`] → … → [`Exchange::start`] → [`mailbox`] → handler

mod answer;
pub mod channel;
mod deflate;
mod exchange;
pub mod mailbox;
pub mod remote;
#[cfg(test)]
mod testing;
pub mod websocket;
pub mod webtransport;

use std::collections::HashMap;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use http::header::{CONNECTION, CONTENT_LENGTH, SEC_WEBSOCKET_KEY, TE, TRANSFER_ENCODING, UPGRADE};
use http::{HeaderMap, HeaderName, Method, StatusCode, Version};
use tokio::sync::watch;

use self::answer::{Answer, Request};
use self::deflate::Agreed;
pub use self::exchange::{Exchange, Head, Socket, Start};
use self::webtransport::Session;
use crate::call::Call;
use crate::error::{Error, Result};
use crate::files::Files;
use crate::http::{Body, Response};
use crate::plan;
use crate::service::plain;

/// A program that answers requests. Called from engine threads; nothing here may wait.
pub trait Application: Send + Sync {
    /// Answer a request. `false` where it has more to do than it can.
    fn begin(&self, exchange: Arc<Exchange>) -> bool;

    /// The engine's thread has nothing more to do for now: whatever was begun should be looked at.
    fn flush(&self);

    /// Whether it answers WebTransport.
    fn takes_sessions(&self) -> bool {
        false
    }

    /// Name and value of what it counts.
    fn counters(&self) -> Vec<(&'static str, u64)> {
        Vec::new()
    }
}

/// The applications of a process, by name.
#[derive(Clone)]
pub struct Applications {
    known: Arc<HashMap<String, Arc<dyn Application>>>,
    draining: Arc<watch::Sender<bool>>,
    /// Whether one that is not known is an error.
    strict: bool,
}

impl Applications {
    pub fn new(known: HashMap<String, Arc<dyn Application>>) -> Self {
        Self {
            known: Arc::new(known),
            draining: Arc::new(watch::Sender::new(false)),
            strict: true,
        }
    }

    /// For looking at a Plan, without answering anything.
    pub fn any() -> Self {
        Self {
            strict: false,
            ..Self::new(HashMap::new())
        }
    }

    pub fn is_empty(&self) -> bool {
        self.known.is_empty()
    }

    /// See [`Application::flush`].
    pub fn flush(&self) {
        self.known.values().for_each(|application| application.flush());
    }

    /// Name and value of the counters of every one.
    pub fn counters(&self) -> impl Iterator<Item = (String, u64)> {
        self.known.iter().flat_map(|(application, known)| {
            let counters = known.counters().into_iter();
            counters.map(move |(name, value)| (format!("{name}:{application}"), value))
        })
    }

    /// WebSockets are to end.
    pub fn drain(&self) {
        self.draining.send_replace(true);
    }

    /// # Errors
    ///
    /// `APPLICATION_UNKNOWN`.
    fn get(&self, name: &str) -> Result<Arc<dyn Application>> {
        match self.known.get(name) {
            Some(application) => Ok(application.clone()),
            None if !self.strict => Ok(Arc::new(Nobody)),
            None => Err(
                Error::config("APPLICATION_UNKNOWN", format!("the application {name} is not running"))
                    .detail("text", name)
                    .hint("applications are loaded when the server starts: restart it"),
            ),
        }
    }
}

/// Answers nothing.
struct Nobody;

impl Application for Nobody {
    fn begin(&self, _: Arc<Exchange>) -> bool {
        false
    }

    fn flush(&self) {}
}

/// Longer than any server runs, and no longer than timers can be set to.
const FOR_EVER: Duration = Duration::from_secs(30 * 365 * 24 * 60 * 60);

/// A route's application.
pub struct App {
    application: Arc<dyn Application>,
    draining: Arc<watch::Sender<bool>>,
    /// Asked first.
    files: Option<Files>,
    root_path: Arc<str>,
    timeout: Option<Duration>,
    limit: usize,
    /// Messages of WebSockets, if the client wants it.
    deflates: bool,
    websockets: websocket::Limits,
    in_flight: Arc<AtomicUsize>,
}

impl App {
    pub fn new(plan: &plan::Python, applications: &Applications) -> Result<Self> {
        Ok(Self {
            application: applications.get(&plan.app)?,
            draining: applications.draining.clone(),
            files: match &plan.files {
                Some(plan::FilesFirst::Files(files)) => Some(Files::new(files)?),
                None => None,
            },
            root_path: plan.root_path.as_str().into(),
            timeout: plan.timeout_ms.map(Duration::from_millis),
            limit: plan.limit_concurrency.unwrap_or(usize::MAX),
            deflates: plan.ws_per_message_deflate,
            websockets: websocket::Limits {
                message: plan.ws_max_message_bytes,
                silence: plan.ws_ping_ms.map_or(FOR_EVER, Duration::from_millis),
            },
            in_flight: Arc::default(),
        })
    }

    /// The files that are asked before the application.
    pub fn files(&self) -> Option<&Files> {
        self.files.as_ref()
    }

    /// Whether it answers WebTransport.
    pub fn takes_sessions(&self) -> bool {
        self.application.takes_sessions()
    }

    /// Answer a request. `fields` are those of its head, which the application gets for its own.
    pub async fn respond(&self, call: &Call<'_>, fields: HeaderMap, body: Body) -> Response {
        let busy = || plain(StatusCode::SERVICE_UNAVAILABLE, "the application has too much to do\n");
        let session = call.parts.extensions.get::<Arc<Session>>();
        let websocket = match websocket::asked(call, &fields) {
            _ if session.is_some() => false,
            Ok(websocket) => websocket,
            Err(refusal) => return *refusal,
        };
        let draft_02 = session.is_some() && webtransport::is_draft_02(&fields);
        let key = fields.get(SEC_WEBSOCKET_KEY).filter(|_| websocket).cloned();
        let agreed = match websocket && self.deflates {
            true => Agreed::of(&fields),
            false => None,
        };
        if self.in_flight.fetch_add(1, Ordering::Relaxed) >= self.limit {
            self.in_flight.fetch_sub(1, Ordering::Relaxed);
            return busy();
        }
        // The body of an extended CONNECT is what the client says in the WebSocket, or of its session.
        let (spoken, body) = match websocket || session.is_some() {
            true => (body, Body::Empty),
            false => (Body::Empty, body),
        };
        let head = self.head(call, fields, !body.is_empty());
        let exchange = Arc::new(Exchange::new(head, websocket).with_session(session.cloned()));
        let mut request = Request::new(exchange.clone(), body, self.in_flight.clone());
        if !self.application.begin(exchange) {
            return busy();
        }
        let start = std::future::poll_fn(|cx| {
            request.pump(cx);
            request.exchange.poll_start(cx, |fields| {
                if let Some(interim) = call.interim {
                    interim.put(fields);
                }
            })
        });
        let start = match self.timeout {
            None => start.await,
            Some(limit) => match tokio::time::timeout(limit, start).await {
                Ok(start) => start,
                Err(_elapsed) => {
                    request.exchange.cancel();
                    return plain(StatusCode::GATEWAY_TIMEOUT, "the application did not answer in time\n");
                }
            },
        };
        let mut response = match start {
            Start::Whole(response) => response,
            Start::Stream(head) => head.map(|()| Body::stream(Answer(request))),
            Start::Accept(fields) => {
                let draining = self.draining.subscribe();
                if let Some(session) = session {
                    return webtransport::open(session.clone(), fields, draft_02, request, spoken, draining);
                }
                let manner = websocket::Manner {
                    agreed,
                    limits: self.websockets,
                };
                return websocket::open(call, key, fields, manner, request, spoken, draining);
            }
        };
        clean(&mut response, call.parts.version);
        response
    }

    fn head(&self, call: &Call<'_>, headers: HeaderMap, has_body: bool) -> Head {
        let peer = call.peer.clone();
        let version = call.parts.version;
        let mut expected = headers.get_all(TE).iter();
        let trailers = expected.any(|value| value.as_bytes().eq_ignore_ascii_case(b"trailers"));
        Head {
            method: call.parts.method.clone(),
            uri: call.parts.uri.clone(),
            version,
            headers,
            client: match call.client == peer.remote.ip() {
                true => peer.remote,
                false => SocketAddr::new(call.client, 0),
            },
            peer,
            root_path: self.root_path.clone(),
            has_body,
            hints: call.interim.is_some(),
            trailers: trailers || version >= Version::HTTP_2,
            expires: self.timeout.is_some(),
        }
    }
}

/// Whether what is not there is for somebody else to answer.
pub fn is_missing(response: &Response) -> bool {
    matches!(response.status(), StatusCode::NOT_FOUND | StatusCode::FORBIDDEN)
}

/// Whether files can answer this at all.
pub fn asks_for_files(method: &Method) -> bool {
    matches!(*method, Method::GET | Method::HEAD)
}

/// Take away what is the connection's (RFC 9110 section 7.6.1), and no application's.
fn clean(response: &mut Response, version: Version) {
    let fields = response.headers_mut();
    fields.remove(TRANSFER_ENCODING);
    fields.remove(UPGRADE);
    fields.remove(KEEP_ALIVE);
    if version >= Version::HTTP_2 {
        fields.remove(CONNECTION);
    }
    // Two lengths would be two answers.
    if fields.get_all(CONTENT_LENGTH).iter().count() > 1 {
        fields.remove(CONTENT_LENGTH);
    }
}

const KEEP_ALIVE: HeaderName = HeaderName::from_static("keep-alive");

#[cfg(test)]
mod tests;
