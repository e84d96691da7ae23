//! WebTransport sessions that an application has (draft-ietf-webtrans-http3): its streams and datagrams, both ways.
//!
//! A [`Session`] lies between the thread of its connection and that of the application, and both are held back by it:
//! the connection reads no stream while too much waits here for the application, and the application is to wait while
//! too much of a stream, or of all of them, waits for the client. Datagrams wait for nobody: the oldest are dropped.
//!
//! The request itself stays a request. Its body and that of its answer carry capsules (RFC 9297), see [`open`].

use std::collections::VecDeque;
use std::io;
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, Waker};

use bytes::{Bytes, BytesMut};
use http::{HeaderMap, HeaderName, HeaderValue};
use http_body::{Body as _, Frame};
use rustc_hash::FxHashMap;
use tokio::sync::watch;
use velocity_h3::{capsule, webtransport};

use super::answer::Request;
use super::channel::{Notify, Room};
use super::mailbox::Mailbox;
use crate::http::websocket::ByConnect;
use crate::http::{Body, Response};

/// Sessions of one connection at a time.
pub const MAX_SESSIONS: usize = 16;
/// Bytes that may wait for the application before no stream is read, and bytes of one stream that may wait for the
/// client before the application is to wait.
const HIGH: usize = 64 * 1024;
/// So few may be left when either goes on.
const LOW: usize = 16 * 1024;
/// Messages that may wait for the application, however small, and streams that it may wait for.
const MAX_ITEMS: usize = 256;
const MAX_OPENING: usize = 16;
/// Bytes of all streams that may wait for the client.
const MAX_UNSENT: usize = 1 << 20;
/// Datagrams that may wait, each way.
const MAX_DATAGRAMS: usize = 64;

/// What a client of draft 02 says, and hears.
const DRAFT_02: HeaderName = HeaderName::from_static("sec-webtransport-http3-draft02");
const DRAFT: HeaderName = HeaderName::from_static("sec-webtransport-http3-draft");

/// What happens in a session, for the application. Codes are those of applications; `None` is one of HTTP/3.
#[derive(Debug, PartialEq, Eq)]
pub enum Message {
    /// There is a new stream, opened by the client or, as asked, by this side.
    Opened {
        stream: u64,
        bidirectional: bool,
        ours: bool,
    },
    Data {
        stream: u64,
        data: Bytes,
        end: bool,
    },
    /// The client sends no more.
    Reset {
        stream: u64,
        code: Option<u32>,
    },
    /// The client wants no more.
    Stopped {
        stream: u64,
        code: Option<u32>,
    },
    Datagram(Bytes),
}

/// What an application wants of its connection.
#[derive(Debug, PartialEq, Eq)]
pub enum Command {
    Open { bidirectional: bool },
    Data { stream: u64, data: Bytes, end: bool },
    Reset { stream: u64, code: u32 },
    Stop { stream: u64, code: u32 },
}

/// How a session ended. Without a code, it broke off.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Ending {
    pub code: Option<u32>,
    pub reason: String,
}

/// What an application finds.
#[derive(Debug, PartialEq, Eq)]
pub enum Taken {
    Message(Message),
    Ended(Ending),
    /// Nothing yet: it will be notified.
    Wait,
}

/// One session, as the connection and the application have it in common.
pub struct Session(Mutex<State>);

struct State {
    /// The slot of the request.
    connection: Waker,
    /// It has been woken, or will be.
    noted: bool,
    accepted: bool,
    received: VecDeque<Message>,
    /// Bytes of that.
    waiting: usize,
    datagrams: VecDeque<Bytes>,
    /// A datagram was the last that was taken: they and the streams take turns.
    datagram_last: bool,
    /// The connection found no room, and waits.
    full: bool,
    commands: VecDeque<Command>,
    said: VecDeque<Bytes>,
    /// Bytes on their way, by stream that the application may send on.
    unsent: FxHashMap<u64, usize>,
    total: usize,
    /// Streams that were asked for and are not open.
    opening: usize,
    application: Vec<Notify>,
    /// The application has closed it, or has broken off.
    closing: Option<Result<(u32, String), ()>>,
    ended: Option<Ending>,
}

impl Session {
    /// `connection` is woken when the application has said something, and when there is room again.
    pub fn new(connection: Waker) -> Arc<Self> {
        Arc::new(Self(Mutex::new(State {
            connection,
            noted: false,
            accepted: false,
            received: VecDeque::new(),
            waiting: 0,
            datagrams: VecDeque::new(),
            datagram_last: false,
            full: false,
            commands: VecDeque::new(),
            said: VecDeque::new(),
            unsent: FxHashMap::default(),
            total: 0,
            opening: 0,
            application: Vec::new(),
            closing: None,
            ended: None,
        })))
    }

    /// For the application: what has happened. Otherwise `later` makes what is called when this should be asked again.
    pub fn take(&self, mailbox: &Mailbox, later: impl FnOnce() -> Notify) -> Taken {
        let mut state = self.state();
        if state.accepted {
            let datagram = match state.datagram_last && !state.received.is_empty() {
                true => None,
                false => state.datagrams.pop_front(),
            };
            state.datagram_last = datagram.is_some();
            if let Some(data) = datagram {
                return Taken::Message(Message::Datagram(data));
            }
            if let Some(message) = state.received.pop_front() {
                state.waiting -= message.size();
                if state.full && state.waiting <= LOW && state.received.len() <= MAX_ITEMS / 2 {
                    state.full = false;
                    state.wake(mailbox);
                }
                return Taken::Message(message);
            }
        }
        if let Some(ending) = &state.ended {
            return Taken::Ended(ending.clone());
        }
        state.application.push(later());
        Taken::Wait
    }

    /// For the application: do something with a stream. [`Room::Gone`] where there is none that could be sent on.
    pub fn command(&self, mailbox: &Mailbox, command: Command) -> Room {
        let mut state = self.state();
        if state.is_over() {
            return Room::Gone;
        }
        let mut about = None;
        match &command {
            Command::Open { .. } => state.opening += 1,
            Command::Stop { .. } => {}
            Command::Data { stream, data, end } => {
                let Some(unsent) = state.unsent.get_mut(stream) else {
                    return Room::Gone;
                };
                *unsent += data.len();
                state.total += data.len();
                about = Some(*stream);
                if *end {
                    state.forget(*stream);
                }
            }
            Command::Reset { stream, .. } => {
                if !state.unsent.contains_key(stream) {
                    return Room::Gone;
                }
                state.forget(*stream);
            }
        }
        state.commands.push_back(command);
        state.wake(mailbox);
        state.room(about, HIGH)
    }

    /// For the application: send a datagram, or drop it.
    pub fn datagram(&self, mailbox: &Mailbox, data: Bytes) -> Room {
        let mut state = self.state();
        if state.is_over() {
            return Room::Gone;
        }
        keep(&mut state.said, data);
        state.wake(mailbox);
        Room::Enough
    }

    /// For the application: whether there is room again for `stream`, or for a new one. `later` is as for
    /// [`Session::take`].
    pub fn room(&self, stream: Option<u64>, later: impl FnOnce() -> Notify) -> Room {
        let mut state = self.state();
        if state.is_over() {
            return Room::Gone;
        }
        let room = state.room(stream, LOW);
        if room == Room::Full {
            state.application.push(later());
        }
        room
    }

    /// For the application: end it.
    pub fn close(&self, mailbox: &Mailbox, code: u32, reason: String) {
        self.finish(mailbox, Ok((code, reason)));
    }

    /// For the application: break off.
    pub fn fail(&self, mailbox: &Mailbox) {
        self.finish(mailbox, Err(()));
    }

    fn finish(&self, mailbox: &Mailbox, closing: Result<(u32, String), ()>) {
        let mut state = self.state();
        if !state.is_over() {
            state.closing = Some(closing);
            state.wake(mailbox);
        }
    }

    /// Whether the connection should read on. If not, it is woken when it should.
    pub(crate) fn has_room(&self) -> bool {
        let mut state = self.state();
        state.full = state.waiting >= HIGH || state.received.len() >= MAX_ITEMS;
        !state.full
    }

    /// Tell the application.
    pub(crate) fn push(&self, message: Message) {
        let mut state = self.state();
        if state.ended.is_some() {
            return;
        }
        match &message {
            Message::Opened {
                stream,
                bidirectional,
                ours,
            } => {
                if *ours {
                    state.opening = state.opening.saturating_sub(1);
                }
                if *ours || *bidirectional {
                    state.unsent.insert(*stream, 0);
                }
            }
            Message::Stopped { stream, .. } => state.forget(*stream),
            Message::Data { .. } | Message::Reset { .. } | Message::Datagram(_) => {}
        }
        match message {
            Message::Datagram(data) => keep(&mut state.datagrams, data),
            message => {
                state.waiting += message.size();
                state.received.push_back(message);
            }
        }
        notify(state);
    }

    /// The connection looks at everything that was said.
    pub(crate) fn attend(&self) {
        self.state().noted = false;
    }

    pub(crate) fn next_command(&self) -> Option<Command> {
        self.state().commands.pop_front()
    }

    pub(crate) fn next_datagram(&self) -> Option<Bytes> {
        self.state().said.pop_front()
    }

    /// So many bytes of a stream are QUIC's now, or dropped.
    pub(crate) fn sent(&self, stream: u64, bytes: usize) {
        let mut state = self.state();
        let left = state.total.saturating_sub(bytes);
        let many = std::mem::replace(&mut state.total, left) > MAX_UNSENT / 2;
        let low = match state.unsent.get_mut(&stream) {
            Some(unsent) => {
                *unsent = unsent.saturating_sub(bytes);
                *unsent <= LOW
            }
            // Whoever waits for it waits for nothing.
            None => true,
        } || many && left <= MAX_UNSENT / 2;
        if low && !state.application.is_empty() {
            notify(state);
        }
    }

    /// It is over: the first to say how is right.
    pub(crate) fn end(&self, ending: Ending) {
        let mut state = self.state();
        if state.ended.is_none() {
            state.ended = Some(ending);
            state.commands = VecDeque::new();
            state.said = VecDeque::new();
            state.unsent = FxHashMap::default();
            notify(state);
        }
    }

    pub(crate) fn is_accepted(&self) -> bool {
        self.state().accepted
    }

    /// What has come in the meantime can be taken now.
    fn accept(&self) {
        let mut state = self.state();
        state.accepted = true;
        notify(state);
    }

    pub fn has_ended(&self) -> bool {
        self.state().ended.is_some()
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    fn wake(&mut self, mailbox: &Mailbox) {
        if !std::mem::replace(&mut self.noted, true) {
            mailbox.put(self.connection.clone());
        }
    }

    fn is_over(&self) -> bool {
        self.ended.is_some() || self.closing.is_some()
    }

    fn room(&self, stream: Option<u64>, limit: usize) -> Room {
        let stream = stream.and_then(|stream| self.unsent.get(&stream));
        let full = match stream {
            Some(unsent) => *unsent > limit,
            None => self.opening > MAX_OPENING,
        };
        match full || self.total > MAX_UNSENT {
            true => Room::Full,
            false => Room::Enough,
        }
    }

    /// Nothing more can be said on a stream. What was said before still counts until it has been sent.
    fn forget(&mut self, stream: u64) {
        self.unsent.remove(&stream);
    }
}

impl Message {
    fn size(&self) -> usize {
        match self {
            Message::Data { data, .. } => data.len(),
            _ => 0,
        }
    }
}

/// Keep a datagram in the place of the oldest one.
fn keep(datagrams: &mut VecDeque<Bytes>, data: Bytes) {
    if datagrams.len() >= MAX_DATAGRAMS {
        datagrams.pop_front();
    }
    datagrams.push_back(data);
}

/// Tell the application, without holding the lock.
fn notify(mut state: MutexGuard<'_, State>) {
    let application = std::mem::take(&mut state.application);
    drop(state);
    application.into_iter().for_each(|notify| notify());
}

/// Whether a request is of a client of draft 02, which waits for an answer in kind.
pub fn is_draft_02(fields: &HeaderMap) -> bool {
    fields.contains_key(DRAFT_02)
}

/// The answer that opens a session. `spoken` is the body of its request.
pub fn open(
    session: Arc<Session>,
    fields: HeaderMap,
    draft_02: bool,
    request: Request,
    spoken: Body,
    draining: watch::Receiver<bool>,
) -> Response {
    session.accept();
    let mut response = Response::default();
    *response.headers_mut() = fields;
    if draft_02 {
        response
            .headers_mut()
            .insert(DRAFT, HeaderValue::from_static("draft02"));
    }
    response.extensions_mut().insert(ByConnect);
    let understood = |kind| kind == webtransport::CLOSE_SESSION;
    *response.body_mut() = Body::stream(Capsules {
        session,
        spoken,
        reader: capsule::Reader::new(4 + webtransport::MAX_REASON, understood),
        draining: Box::pin(super::websocket::stopping(draining)),
        over: false,
        _request: request,
    });
    response
}

/// What goes over the stream of the request: how the session ends.
struct Capsules {
    session: Arc<Session>,
    spoken: Body,
    reader: capsule::Reader,
    draining: Pin<Box<dyn Future<Output = ()> + Send>>,
    over: bool,
    _request: Request,
}

impl Capsules {
    /// What the client says, which is not more than the end.
    fn hear(&mut self, cx: &mut Context<'_>) -> Poll<Result<Ending, &'static str>> {
        loop {
            match Pin::new(&mut self.spoken).poll_frame(cx) {
                Poll::Pending => return Poll::Pending,
                Poll::Ready(None) => {
                    // Nobody closes with a code who ends the stream, which means 0 and no reason.
                    return Poll::Ready(match self.reader.finish() {
                        Ok(()) => Ok(Ending {
                            code: Some(0),
                            reason: String::new(),
                        }),
                        Err(_) => Err("the client broke off within a capsule"),
                    });
                }
                Poll::Ready(Some(Err(_))) => return Poll::Ready(Err("the client is gone")),
                Poll::Ready(Some(Ok(frame))) => self.reader.receive(frame.into_data().unwrap_or_default()),
            }
            let close = match self.reader.next() {
                Ok(None) => continue,
                Ok(Some(capsule)) => webtransport::read_close(&capsule.value),
                Err(_) => return Poll::Ready(Err("a capsule of the client is too long")),
            };
            return Poll::Ready(match close {
                Some((code, reason)) => Ok(Ending {
                    code: Some(code),
                    reason,
                }),
                None => Err("a capsule of the client has no code"),
            });
        }
    }

    fn end(&mut self, ending: Ending) {
        self.over = true;
        self.session.end(ending);
    }

    /// The capsule that ends the session from here.
    fn close(&mut self, code: u32, reason: String) -> Frame<Bytes> {
        let mut capsule = BytesMut::new();
        webtransport::close_session(code, &reason, &mut capsule);
        self.end(Ending {
            code: Some(code),
            reason,
        });
        Frame::data(capsule.freeze())
    }
}

impl http_body::Body for Capsules {
    type Data = Bytes;
    type Error = io::Error;

    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<io::Result<Frame<Bytes>>>> {
        if self.over {
            return Poll::Ready(None);
        }
        if let Poll::Ready(heard) = self.hear(cx) {
            return Poll::Ready(match heard {
                Ok(ending) => {
                    self.end(ending);
                    None
                }
                Err(reason) => {
                    self.end(Ending::default());
                    Some(Err(io::Error::other(reason)))
                }
            });
        }
        let closing = self.session.state().closing.take();
        match closing {
            Some(Ok((code, reason))) => Poll::Ready(Some(Ok(self.close(code, reason)))),
            Some(Err(())) => {
                self.end(Ending::default());
                Poll::Ready(Some(Err(io::Error::other("the application broke off"))))
            }
            None if self.draining.as_mut().poll(cx).is_ready() => {
                Poll::Ready(Some(Ok(self.close(0, "the server restarts".to_owned()))))
            }
            None => Poll::Pending,
        }
    }

    fn is_end_stream(&self) -> bool {
        self.over
    }
}

#[cfg(test)]
mod tests;
