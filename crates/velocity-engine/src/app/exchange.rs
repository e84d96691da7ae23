//! One request, as the engine's thread and the application have it in common.

use std::net::SocketAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, Waker};

use bytes::Bytes;
use http::{HeaderMap, Method, StatusCode, Uri, Version};

use super::channel::{Inbound, Notify, Outbound, Room};
use super::mailbox::Mailbox;
use super::websocket::Message;
use super::webtransport::{Ending, Session};
use crate::http::{Response, add_fields};
use crate::service::plain;
use crate::session::Peer;

/// What a request says before its body.
pub struct Head {
    pub method: Method,
    pub uri: Uri,
    pub version: Version,
    pub headers: HeaderMap,
    pub peer: Arc<Peer>,
    /// Who sent it, as far as trusted proxies say; their port is not known then.
    pub client: SocketAddr,
    /// What of the path says which application it is for.
    pub root_path: Arc<str>,
    /// Whether there is, or may be, a body.
    pub has_body: bool,
    /// Whether the client hears what is said before the answer (103, RFC 8297).
    pub hints: bool,
    /// Whether it takes trailers.
    pub trailers: bool,
    /// Whether the application may be told to give up.
    pub expires: bool,
}

/// How an answer begins.
pub enum Start {
    /// With its end.
    Whole(Response),
    /// The rest comes through [`Exchange::answer`].
    Stream(http::Response<()>),
    /// A WebSocket or a WebTransport session, with these further fields.
    Accept(HeaderMap),
}

/// The two directions of a WebSocket.
pub struct Socket {
    pub received: Inbound<Message>,
    pub sent: Outbound<Message>,
}

/// A request and its answer. Applications call everything that is public, from one thread, and none of it blocks.
pub struct Exchange {
    pub head: Head,
    pub body: Inbound<Bytes>,
    pub answer: Outbound<Bytes>,
    /// `None` where the request is for no WebSocket.
    pub socket: Option<Socket>,
    /// `None` where it is for no WebTransport session.
    pub session: Option<Arc<Session>>,
    pub mailbox: Arc<Mailbox>,
    opening: Mutex<Opening>,
}

#[derive(Default)]
struct Opening {
    start: Option<Start>,
    /// Comes before it.
    hints: Option<HeaderMap>,
    /// Comes after everything else.
    trailers: Option<HeaderMap>,
    engine: Option<Waker>,
    cancel: Option<Notify>,
    begun: bool,
    closed: bool,
}

impl Exchange {
    pub(super) fn new(head: Head, websocket: bool) -> Self {
        Self {
            body: Inbound::new(!head.has_body),
            answer: Outbound::default(),
            socket: websocket.then(|| Socket {
                received: Inbound::new(false),
                sent: Outbound::default(),
            }),
            session: None,
            mailbox: Mailbox::here(),
            opening: Mutex::default(),
            head,
        }
    }

    pub(super) fn with_session(self, session: Option<Arc<Session>>) -> Self {
        Self { session, ..self }
    }

    /// Begin the answer. `false` where nobody waits for it any more, or it has begun.
    pub fn start(&self, start: Start) -> bool {
        let mut opening = self.opening();
        if opening.closed || opening.begun {
            return false;
        }
        opening.begun = true;
        opening.start = Some(start);
        if let Some(engine) = opening.engine.take() {
            self.mailbox.put(engine);
        }
        true
    }

    /// Say before the answer what will be needed with it (RFC 8297).
    pub fn hint(&self, fields: HeaderMap) {
        let mut opening = self.opening();
        match &mut opening.hints {
            Some(hints) => add_fields(hints, fields),
            None => opening.hints = Some(fields),
        }
        if let Some(engine) = opening.engine.take() {
            self.mailbox.put(engine);
        }
    }

    /// End a streamed answer.
    pub fn finish(&self, trailers: Option<HeaderMap>) {
        self.opening().trailers = trailers;
        self.answer.complete(&self.mailbox);
    }

    /// Break off: whoever got a part must not take it for the whole.
    pub fn fail(&self) {
        self.answer.fail(&self.mailbox);
    }

    /// What to call when the application should give up. Only for a head that says so.
    pub fn on_cancel(&self, cancel: Notify) {
        let mut opening = self.opening();
        if !opening.closed {
            opening.cancel = Some(cancel);
        }
    }

    /// Whether nobody waits for an answer, or for more of it.
    pub fn is_closed(&self) -> bool {
        self.opening().closed
    }

    /// The beginning of the answer, and what is to be said before.
    pub(super) fn poll_start(&self, cx: &mut Context<'_>, mut hint: impl FnMut(HeaderMap)) -> Poll<Start> {
        let mut opening = self.opening();
        if let Some(fields) = opening.hints.take() {
            hint(fields);
        }
        if let Some(start) = opening.start.take() {
            return Poll::Ready(start);
        }
        opening.engine = Some(cx.waker().clone());
        Poll::Pending
    }

    pub(super) fn take_trailers(&self) -> Option<HeaderMap> {
        self.opening().trailers.take()
    }

    /// Tell the application to give up.
    pub(super) fn cancel(&self) {
        let cancel = self.opening().cancel.take();
        if let Some(cancel) = cancel {
            cancel();
        }
    }

    /// Nobody waits for anything any more.
    pub(super) fn close(&self) {
        let mut opening = self.opening();
        opening.closed = true;
        opening.engine = None;
        // What is dropped here may be the application's.
        let (_start, _cancel) = (opening.start.take(), opening.cancel.take());
        drop(opening);
        self.body.close();
        self.answer.close();
        if let Some(socket) = &self.socket {
            socket.received.close();
            socket.sent.close();
        }
        if let Some(session) = &self.session {
            session.end(Ending::default());
        }
    }

    fn opening(&self) -> MutexGuard<'_, Opening> {
        self.opening.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The answer of an application that has failed to give one.
    pub fn failure() -> Start {
        Start::Whole(plain(StatusCode::INTERNAL_SERVER_ERROR, "internal server error\n"))
    }

    /// The answer to a WebSocket that the application does not want.
    pub fn denial() -> Start {
        Start::Whole(plain(StatusCode::FORBIDDEN, "this WebSocket is not open to you\n"))
    }

    /// The answer to a WebTransport session that the application does not want.
    pub fn refusal() -> Start {
        Start::Whole(plain(StatusCode::FORBIDDEN, "this session is not open to you\n"))
    }

    /// Send a part of a streamed answer.
    pub fn push(&self, data: Bytes) -> Room {
        self.answer.push(&self.mailbox, data)
    }
}
