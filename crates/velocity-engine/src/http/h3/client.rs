//! Requests over `h3` and `velocity/1`.
//!
//! A client connection has a socket and a driver of its own. Requests come to it through a queue;
//! its answers go back through a channel each, their bodies through an [`Inbox`].

use std::collections::VecDeque;
use std::io;
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, Waker};
use std::time::Instant;

use bytes::{Bytes, BytesMut};
use http::response;
use http_body::Frame;
use quinn_proto::{ClientConfig, ConnectError, ConnectionError, Dir, Event, StreamEvent, StreamId};
use rustls::pki_types::CertificateDer;
use tokio::io::Interest;
use tokio::net::UdpSocket;
use tokio::sync::oneshot;
use tokio::task::JoinHandle;
use velocity_h3::{Code, Config, Connection as Machine, Event as H3Event, Scope};
use velocity_tls::Facts;
use velocity_tls::fallback::Directive;

use super::FALLBACK_FRAME;
use super::inbox::{Inbox, Incoming};
use super::link::{Link, Read, stream_id};
use super::outgoing::{Outgoing, Progress, code};
use super::silence::Silence;
use super::slots::Slots;
use crate::http::Body;
use crate::http::websocket::ByConnect;
use crate::quic::{Application, Cx, Driver, Host, Next};
use crate::shutdown::{self, Phase, Trigger};

/// Interim answers to one request that are passed on; more are left out.
const MAX_INTERIM: usize = 32;
/// Room for the head of a usual request, in bytes.
const HEAD_CAPACITY: usize = 256;

/// A client connection. It lives for as long as this, or a body that came over it, does.
pub struct Connection(Arc<Handle>);

struct Handle {
    queue: Arc<Queue>,
    trigger: Trigger,
    driver: Mutex<Option<JoinHandle<io::Result<()>>>>,
}

/// What a finished handshake revealed.
pub struct Established {
    pub facts: Facts,
    /// DER, leaf first.
    pub chain: Vec<CertificateDer<'static>>,
    /// UDP payload until the handshake was done, in bytes: sent, and received.
    pub bytes: (u64, u64),
}

/// Why there is no connection, or no answer.
#[derive(Debug, thiserror::Error)]
pub enum Failure {
    #[error(transparent)]
    Config(#[from] ConnectError),
    #[error(transparent)]
    Socket(#[from] io::Error),
    #[error(transparent)]
    Lost(#[from] ConnectionError),
    #[error("the connection was lost")]
    Gone,
    /// Nothing was sent.
    #[error("the connection was closed before the request")]
    Closed,
    /// It did nothing with it (RFC 9114 section 4.1.1).
    #[error("the server refused the request")]
    Refused,
    #[error("the server gave up on the request: {0}")]
    Reset(String),
    #[error("the server does not follow HTTP/3: {0}")]
    Protocol(&'static str),
    #[error("the server takes no extended CONNECT")]
    Unsupported,
}

impl Connection {
    /// Shake hands over `socket`, which is connected to `remote`.
    pub async fn open(
        socket: std::net::UdpSocket,
        config: ClientConfig,
        remote: SocketAddr,
        server_name: &str,
    ) -> Result<(Self, Established), Failure> {
        let refused = refused(socket.try_clone()?);
        let mut driver = Driver::client(Nobody, socket, remote)?;
        let (established, outcome) = oneshot::channel();
        let queue = Arc::new(Queue::default());
        driver.connect(config, remote, server_name, |waker| {
            queue.lock().connection = Some(waker);
            Client {
                established: Some(established),
                queue: queue.clone(),
                link: Link::new(Machine::client(Config {
                    extensions: vec![FALLBACK_FRAME],
                    ..super::config()
                })),
                exchanges: Slots::new(),
                woken: Vec::new(),
                writable: Vec::new(),
                unsettled: false,
                silence: Silence::new(Instant::now(), 0),
            }
        })?;
        let (trigger, shutdown) = shutdown::channel();
        let mut driver = tokio::spawn(driver.run(shutdown, std::future::ready(())));
        let established = tokio::select! {
            outcome = outcome => outcome.map_err(|_| Failure::Gone)??,
            ended = &mut driver => match ended {
                Ok(Err(error)) => return Err(error.into()),
                Ok(Ok(())) | Err(_) => return Err(Failure::Gone),
            },
            error = refused => return Err(error.into()),
        };
        let driver = Mutex::new(Some(driver));
        Ok((Self(Arc::new(Handle { queue, trigger, driver })), established))
    }

    /// Send a request and wait for the head of its answer; `informed` gets the heads of those before it. One that is marked
    /// as [`ByConnect`] opens a WebSocket (RFC 9220), which is the two bodies.
    pub async fn send(
        &self,
        request: http::Request<Body>,
        mut informed: impl FnMut(response::Parts),
    ) -> Result<http::Response<Body>, Failure> {
        let (reply, mut answer) = oneshot::channel();
        self.0.queue.push(Command { request, reply })?;
        let mut waits = Waits(Some(&self.0.queue));
        let response = loop {
            match answer.await {
                Ok(Said::Interim(head, rest)) => {
                    informed(*head);
                    answer = rest;
                }
                Ok(Said::Answer(response)) => break response,
                Err(_) => break Err(Failure::Gone),
            }
        };
        waits.0 = None;
        let response = response?;
        Ok(response.map(|incoming| match incoming {
            None => Body::Empty,
            Some(incoming) => Body::stream(Received {
                incoming,
                _connection: self.0.clone(),
            }),
        }))
    }

    /// Whether it takes requests.
    pub fn is_open(&self) -> bool {
        let waiting = self.0.queue.lock();
        !waiting.gone && !waiting.draining
    }

    /// What the server said on its control stream about there being no `velocity/1`.
    pub fn directive(&self) -> Option<Directive> {
        self.0.queue.lock().directive.clone()
    }

    /// Close, and wait until that is said.
    pub async fn close(&self) {
        self.0.trigger.advance(Phase::Aborted);
        let driver = self.0.driver.lock().unwrap_or_else(PoisonError::into_inner).take();
        if let Some(driver) = driver {
            // Whether it went well makes no difference any more.
            let _ = driver.await;
        }
    }
}

/// Wait for the kernel to hear that nobody listens there, which it does not report as something to read.
async fn refused(socket: std::net::UdpSocket) -> io::Error {
    let watch = async {
        socket.set_nonblocking(true)?;
        let socket = UdpSocket::from_std(socket)?;
        loop {
            socket.ready(Interest::ERROR).await?;
            let heard = socket.try_io(Interest::ERROR, || {
                socket.take_error()?.ok_or_else(|| io::ErrorKind::WouldBlock.into())
            });
            match heard {
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                Ok(error) | Err(error) => return Ok(error),
            }
        }
    };
    watch.await.unwrap_or_else(|error| error)
}

/// Whoever waits for the head of an answer, on a queue that is to know when nobody does any more.
struct Waits<'a>(Option<&'a Queue>);

impl Drop for Waits<'_> {
    fn drop(&mut self) {
        if let Some(queue) = self.0 {
            queue.give_up();
        }
    }
}

/// A response body that keeps its connection.
struct Received {
    incoming: Incoming,
    _connection: Arc<Handle>,
}

impl http_body::Body for Received {
    type Data = Bytes;
    type Error = io::Error;

    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<io::Result<Frame<Bytes>>>> {
        Pin::new(&mut self.incoming).poll_frame(cx)
    }

    fn is_end_stream(&self) -> bool {
        self.incoming.is_end_stream()
    }
}

type Reply = oneshot::Sender<Said>;

/// What comes back of a request.
enum Said {
    /// Something before the answer, and where the rest is to be had.
    Interim(Box<response::Parts>, oneshot::Receiver<Said>),
    Answer(Result<http::Response<Option<Incoming>>, Failure>),
}

struct Command {
    request: http::Request<Body>,
    reply: Reply,
}

impl Command {
    fn is_connect(&self) -> bool {
        self.request.extensions().get::<ByConnect>().is_some()
    }
}

/// Requests on their way to the connection.
#[derive(Default)]
struct Queue(Mutex<Waiting>);

#[derive(Default)]
struct Waiting {
    commands: VecDeque<Command>,
    connection: Option<Waker>,
    /// Somebody who waited for an answer does not any more.
    given_up: bool,
    /// The server takes no more requests, but may answer those it has.
    draining: bool,
    gone: bool,
    /// Comes back the other way.
    directive: Option<Directive>,
}

impl Queue {
    fn push(&self, command: Command) -> Result<(), Failure> {
        let mut waiting = self.lock();
        if waiting.gone || waiting.draining {
            return Err(Failure::Closed);
        }
        waiting.commands.push_back(command);
        let connection = waiting.connection.clone();
        drop(waiting);
        if let Some(connection) = connection {
            connection.wake();
        }
        Ok(())
    }

    fn give_up(&self) {
        let mut waiting = self.lock();
        waiting.given_up = true;
        let connection = waiting.connection.clone();
        drop(waiting);
        if let Some(connection) = connection {
            connection.wake();
        }
    }

    fn lock(&self) -> MutexGuard<'_, Waiting> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Admits no connections.
struct Nobody;

impl Host for Nobody {
    type Application = Client;

    fn admit(&mut self, _: SocketAddr) -> Option<Client> {
        None
    }

    fn validate(&self, _: usize) -> bool {
        false
    }

    fn failed(&mut self, _: SocketAddr, _: &ConnectionError) {}
}

/// The application of the one connection.
struct Client {
    established: Option<oneshot::Sender<Result<Established, ConnectionError>>>,
    queue: Arc<Queue>,
    link: Link,
    exchanges: Slots<Exchange>,
    woken: Vec<u32>,
    writable: Vec<u32>,
    /// A request waits for the server's settings.
    unsettled: bool,
    /// Since the first of the requests that are under way.
    silence: Silence,
}

struct Exchange {
    /// `None` once the request is sent.
    outgoing: Option<Outgoing>,
    /// `None` once the head of the answer has come.
    reply: Option<Reply>,
    /// What came before that.
    interims: usize,
    inbox: Option<Inbox>,
}

impl Drop for Client {
    fn drop(&mut self) {
        self.lost();
    }
}

impl Application for Client {
    fn event(&mut self, event: Event, cx: &mut Cx<'_>) {
        match &event {
            Event::Connected => {
                let session = cx.quic.crypto_session();
                let facts = session.handshake_data().and_then(|data| data.downcast::<Facts>().ok());
                let chain = session
                    .peer_identity()
                    .and_then(|identity| identity.downcast::<Vec<CertificateDer<'static>>>().ok());
                let stats = cx.quic.stats();
                let bytes = (stats.udp_tx.bytes, stats.udp_rx.bytes);
                if let Some(established) = self.established.take() {
                    let _ = established.send(Ok(Established {
                        facts: facts.map(|facts| *facts).unwrap_or_default(),
                        chain: chain.map(|chain| *chain).unwrap_or_default(),
                        bytes,
                    }));
                }
            }
            Event::ConnectionLost { reason } => {
                if let Some(established) = self.established.take() {
                    let _ = established.send(Err(reason.clone()));
                }
            }
            _ => {}
        }
        if let Some(StreamEvent::Writable { id } | StreamEvent::Stopped { id, .. }) = self.link.event(event, cx) {
            self.writable.extend(self.exchanges.find(id));
        }
    }

    fn woken(&mut self, slot: u32) {
        self.woken.push(slot);
    }

    fn drive(&mut self, cx: &mut Cx<'_>) -> Next {
        if self.link.closed {
            self.lost();
            return Next::Wait;
        }
        if self.established.is_none() {
            self.give_up(cx);
            self.open(cx);
        }
        while let Some(id) = self.link.next_readable() {
            self.read(id, cx);
        }
        if self.unsettled {
            self.open(cx);
        }
        while let Some(slot) = self.woken.pop() {
            self.resume(slot, cx);
        }
        if self.deadline().is_some_and(|due| due <= cx.now)
            && self.silence.look(cx.now, cx.quic.stats().frame_rx.stream)
        {
            cx.quic.ping();
        }
        let next = self.write(cx);
        self.link.flush(cx);
        next
    }

    fn phase(&mut self, _: Phase) {}

    fn deadline(&self) -> Option<Instant> {
        (!self.exchanges.is_empty()).then(|| self.silence.due())
    }
}

impl Client {
    /// Nothing will be answered any more.
    fn lost(&mut self) {
        let commands = {
            let mut waiting = self.queue.lock();
            waiting.gone = true;
            std::mem::take(&mut waiting.commands)
        };
        for command in commands {
            let _ = command.reply.send(Said::Answer(Err(Failure::Closed)));
        }
        self.exchanges = Slots::new();
    }

    /// The server does nothing with requests from `first` on, nor with those that wait (RFC 9114 section 5.2).
    fn drain(&mut self, first: u64, cx: &mut Cx<'_>) {
        let commands = {
            let mut waiting = self.queue.lock();
            waiting.draining = true;
            std::mem::take(&mut waiting.commands)
        };
        for command in commands {
            let _ = command.reply.send(Said::Answer(Err(Failure::Closed)));
        }
        for slot in self.exchanges.numbers() {
            let Some((id, Exchange { reply: Some(_), .. })) = self.exchanges.get(slot) else {
                continue;
            };
            if u64::from(*id) < first {
                continue;
            }
            self.link.cancel(*id, code(Code::RequestCancelled), cx);
            if let Some(Exchange { reply: Some(reply), .. }) = self.exchanges.remove(slot) {
                let _ = reply.send(Said::Answer(Err(Failure::Refused)));
            }
        }
    }

    /// Cancel what nobody waits for any more (RFC 9114 section 4.1.1).
    fn give_up(&mut self, cx: &mut Cx<'_>) {
        {
            let mut waiting = self.queue.lock();
            if !std::mem::take(&mut waiting.given_up) {
                return;
            }
            waiting.commands.retain(|command| !command.reply.is_closed());
        }
        for slot in self.exchanges.numbers() {
            if let Some((id, exchange)) = self.exchanges.get(slot)
                && exchange.reply.as_ref().is_some_and(Reply::is_closed)
            {
                self.link.cancel(*id, code(Code::RequestCancelled), cx);
                self.exchanges.remove(slot);
            }
        }
    }

    /// Open a stream for each request that waits, as far as the server permits.
    fn open(&mut self, cx: &mut Cx<'_>) {
        self.unsettled = false;
        loop {
            let command = {
                let mut waiting = self.queue.lock();
                let Some(first) = waiting.commands.front() else {
                    return;
                };
                if first.is_connect() {
                    match self.link.h3.peer_settings().map(|settings| settings.connect_protocol) {
                        Some(true) => {}
                        // They are the first that a server says (RFC 9114 section 6.2.1).
                        None => {
                            self.unsettled = true;
                            return;
                        }
                        Some(false) => {
                            if let Some(command) = waiting.commands.pop_front() {
                                let _ = command.reply.send(Said::Answer(Err(Failure::Unsupported)));
                            }
                            continue;
                        }
                    }
                }
                let Some(id) = cx.quic.streams().open(Dir::Bi) else {
                    return; // an event will say when another stream is permitted
                };
                waiting.commands.pop_front().map(|command| (id, command))
            };
            let Some((id, Command { request, reply })) = command else {
                return;
            };
            let (head, body) = request.into_parts();
            let head = http::Request::from_parts(head, ());
            let protocol = head.extensions().get::<ByConnect>().map(|ByConnect| "websocket");
            let mut encoded = BytesMut::with_capacity(HEAD_CAPACITY);
            match self.link.h3.open_request(id.into(), &head, protocol, &mut encoded) {
                Ok(()) => {
                    if self.exchanges.is_empty() {
                        self.silence = Silence::new(cx.now, cx.quic.stats().frame_rx.stream);
                    }
                    let slot = self.exchanges.insert(
                        id,
                        Exchange {
                            outgoing: Some(Outgoing::new(encoded, body, None)),
                            reply: Some(reply),
                            interims: 0,
                            inbox: None,
                        },
                    );
                    self.writable.push(slot);
                }
                Err(error) => {
                    let _ = reply.send(Said::Answer(Err(Failure::Protocol(error.reason))));
                    self.link.outcome(Err(error), cx);
                }
            }
        }
    }

    fn read(&mut self, id: StreamId, cx: &mut Cx<'_>) {
        while self.has_room(id) {
            let read = self.link.read(id, cx);
            self.dispatch(cx);
            if let Read::Failed(reason) = read {
                self.broken(id, reason);
            }
            if read != Read::More {
                return;
            }
        }
    }

    fn has_room(&mut self, id: StreamId) -> bool {
        match self.exchanges.by_stream(id) {
            Some(Exchange { inbox: Some(inbox), .. }) => inbox.has_room(),
            _ => true,
        }
    }

    fn dispatch(&mut self, cx: &mut Cx<'_>) {
        while let Some(event) = self.link.h3.poll_event() {
            match event {
                H3Event::Response { stream, head, .. } if head.status().is_informational() => {
                    self.informed(stream_id(stream), head);
                }
                H3Event::Response { stream, head, end } => self.answered(stream_id(stream), head, end, cx),
                H3Event::Data { stream, data } => {
                    if let Some(Exchange { inbox: Some(inbox), .. }) = self.exchanges.by_stream(stream_id(stream)) {
                        inbox.push(data);
                    }
                }
                H3Event::Trailers { stream, fields } => {
                    if let Some(Exchange { inbox: Some(inbox), .. }) = self.exchanges.by_stream(stream_id(stream)) {
                        inbox.end(Some(fields));
                    }
                }
                H3Event::End { stream } => self.ended(stream_id(stream), cx),
                H3Event::Reset { stream, code } => self.failed(stream_id(stream), code, cx),
                H3Event::Failed(error) => {
                    if let Scope::Stream(stream) = error.scope {
                        self.broken(stream_id(stream), error.reason);
                    }
                    self.link.outcome(Err(error), cx);
                }
                H3Event::Goaway { id } => self.drain(id, cx),
                H3Event::Unblocked { stream } => self.link.reread(stream_id(stream)),
                H3Event::Extension { payload, .. } => {
                    // The first one counts; what cannot be read is none.
                    let directive = std::str::from_utf8(&payload).ok().and_then(|text| text.parse().ok());
                    let mut waiting = self.queue.lock();
                    waiting.directive = waiting.directive.take().or(directive);
                }
                _ => {}
            }
        }
    }

    /// Something has come before the answer.
    fn informed(&mut self, id: StreamId, head: http::Response<()>) {
        let Some(exchange) = self.exchanges.by_stream(id) else {
            return;
        };
        exchange.interims += 1;
        if exchange.interims > MAX_INTERIM {
            return;
        }
        if let Some(reply) = exchange.reply.take() {
            let (next, rest) = oneshot::channel();
            exchange.reply = Some(next);
            let _ = reply.send(Said::Interim(Box::new(head.into_parts().0), rest));
        }
    }

    fn answered(&mut self, id: StreamId, head: http::Response<()>, end: bool, cx: &mut Cx<'_>) {
        let Some(slot) = self.exchanges.find(id) else { return };
        let Some((_, exchange)) = self.exchanges.get_mut(slot) else {
            return;
        };
        let Some(reply) = exchange.reply.take() else { return };
        let incoming = match end {
            true => None,
            false => {
                let (inbox, incoming) = Inbox::new(cx.wakers.slot(slot).clone());
                exchange.inbox = Some(inbox);
                Some(incoming)
            }
        };
        // Whoever asked may be gone; the dropped body then says so.
        let _ = reply.send(Said::Answer(Ok(head.map(|()| incoming))));
        if end {
            self.ended(id, cx);
        }
    }

    /// The answer is complete.
    fn ended(&mut self, id: StreamId, cx: &mut Cx<'_>) {
        let Some(slot) = self.exchanges.find(id) else { return };
        let Some(Exchange { outgoing, inbox, .. }) = self.exchanges.remove(slot) else {
            return;
        };
        if let Some(inbox) = inbox {
            inbox.end(None);
        }
        if outgoing.is_some() {
            // The server did not need the rest of the request (RFC 9114 section 4.1).
            let _ = cx.quic.send_stream(id).reset(code(Code::NoError));
            self.link.h3.finished(id.into());
        }
    }

    /// The server broke a rule.
    fn broken(&mut self, id: StreamId, reason: &'static str) {
        let Some(slot) = self.exchanges.find(id) else { return };
        let Some(Exchange { reply, inbox, .. }) = self.exchanges.remove(slot) else {
            return;
        };
        if let Some(reply) = reply {
            let _ = reply.send(Said::Answer(Err(Failure::Protocol(reason))));
        }
        if let Some(inbox) = inbox {
            inbox.fail(reason);
        }
    }

    /// The server reset the stream.
    fn failed(&mut self, id: StreamId, why: u64, cx: &mut Cx<'_>) {
        let Some(slot) = self.exchanges.find(id) else { return };
        let Some(Exchange {
            outgoing, reply, inbox, ..
        }) = self.exchanges.remove(slot)
        else {
            return;
        };
        if outgoing.is_some() {
            // Nobody will answer the rest of the request: the stream has to end on this side, too.
            let _ = cx.quic.send_stream(id).reset(code(Code::RequestCancelled));
            self.link.h3.finished(id.into());
        }
        if let Some(reply) = reply {
            let _ = reply.send(Said::Answer(Err(match why == Code::RequestRejected.value() {
                true => Failure::Refused,
                false => Failure::Reset(format!("{why:#x}")),
            })));
        }
        if let Some(inbox) = inbox {
            inbox.fail("the server gave up on the answer");
        }
    }

    /// A body to be sent has more, or a body that is read has room, or is not wanted any more.
    fn resume(&mut self, slot: u32, cx: &mut Cx<'_>) {
        let Some((id, exchange)) = self.exchanges.get(slot) else {
            return;
        };
        let id = *id;
        if exchange.outgoing.is_some() {
            self.writable.push(slot);
        }
        match &exchange.inbox {
            Some(inbox) if inbox.is_abandoned() => {
                self.link.cancel(id, code(Code::RequestCancelled), cx);
                self.exchanges.remove(slot);
            }
            Some(_) => self.read(id, cx),
            None => {}
        }
    }

    fn write(&mut self, cx: &mut Cx<'_>) -> Next {
        for slot in std::mem::take(&mut self.writable) {
            let Some((id, exchange)) = self.exchanges.get_mut(slot) else {
                continue;
            };
            let Some(outgoing) = &mut exchange.outgoing else {
                continue;
            };
            let id = *id;
            let mut context = Context::from_waker(cx.wakers.slot(slot));
            match outgoing.write(&mut self.link.h3, cx.quic.send_stream(id), id, &mut context) {
                Progress::More => self.writable.push(slot),
                Progress::Blocked | Progress::Waiting => {}
                Progress::Finished => {
                    exchange.outgoing = None;
                    self.link.h3.finished(id.into());
                }
                // A server that wants no more of the request may still answer it. It goes on counting the stream
                // among those that are open until it is told where the request ends (RFC 9000 section 3.5).
                Progress::Broken => {
                    let _ = cx.quic.send_stream(id).reset(code(Code::NoError));
                    exchange.outgoing = None;
                    self.link.h3.finished(id.into());
                }
            }
        }
        match self.writable.is_empty() {
            true => Next::Wait,
            false => Next::Again,
        }
    }
}
