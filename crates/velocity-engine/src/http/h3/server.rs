//! Answering requests over `h3` and `velocity/1`: QUIC connection → requests → [`Service`].
//!
//! A request is an [`Exchange`] in a slot. Its handler is polled where its head was read; most
//! answers are on their way before the next packet is looked at. Those that have to wait are polled
//! again when the waker of their slot calls.
//!
//! # The way down
//! When the server drains, a first GOAWAY says that the end is near without refusing anything; a round
//! trip later, when requests that were already on their way have come in, a second one names the first
//! stream that will not be answered (RFC 9114 section 5.2). The connection is closed once everything
//! is sent and acknowledged, or when the peer has been silent for [`SILENCE`].

use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::{Duration, Instant};

use bytes::{Bytes, BytesMut};
use quinn_proto::{ConnectionError, Event, StreamEvent, StreamId, VarInt};
use velocity_h3::{Code, Config, Connection as Machine, Event as H3Event, Priority, Protocol, Scope, webtransport};
use velocity_tls::Facts;

use super::inbox::Inbox;
use super::link::{Link, Read, stream_id};
use super::outgoing::{Outgoing, Progress, code};
use super::slots::Slots;
use super::webtransport::Transports;
use super::{FALLBACK_FRAME, config};
use crate::access::Access;
use crate::app::webtransport::{self as transport, MAX_SESSIONS};
use crate::filter::Interim;
use crate::http::tcp::{log_failure, log_handshake};
use crate::http::{Body, Request, Response, prepared};
use crate::log::{self, Level};
use crate::metrics::Session;
use crate::plan::Limits;
use crate::quic::{Application, Cx, Host, Next};
use crate::service::{Service, common_lines, plain};
use crate::session::Peer;
use crate::shutdown::{HANDSHAKE_GRACE, Phase};

/// How long a server that stops waits for a peer that owes it nothing but acknowledgements.
const SILENCE: Duration = Duration::from_secs(8);
/// Least time between the two GOAWAY frames: a round trip may be shorter than a client's event loop.
const NOTICE: Duration = Duration::from_millis(25);
/// Room for the head of a usual answer, in bytes.
const HEAD_CAPACITY: usize = 320;
/// The largest ID of a request stream (RFC 9114 section 5.2).
const MAX_STREAM: u64 = (1 << 62) - 4;
/// Handshakes under way above which clients must prove their address first (RFC 9000 section 8.1.2).
const VALIDATE_ABOVE: usize = 1000;
/// Unacknowledged data kept for one connection, between what a small answer needs and 40 MB/s at 100 ms.
const SEND_WINDOW: std::ops::RangeInclusive<u64> = (128 << 10)..=(4 << 20);

/// Admits connections to one listener.
pub struct Hosting {
    pub service: Arc<Service>,
}

impl Host for Hosting {
    type Application = Connection;

    fn admit(&mut self, remote: SocketAddr) -> Option<Connection> {
        let limits = self.service.snapshot.load().limits.clone();
        let session = Session::open(&self.service.metrics, limits.max_sessions)?;
        let deadline = Instant::now() + Duration::from_millis(limits.handshake_timeout_ms);
        Some(Connection {
            remote,
            service: self.service.clone(),
            limits,
            _session: session,
            stage: Stage::Handshake { deadline },
        })
    }

    fn validate(&self, handshakes: usize) -> bool {
        handshakes > VALIDATE_ABOVE
    }

    fn failed(&mut self, remote: SocketAddr, reason: &ConnectionError) {
        log_failure(&self.service.metrics, remote, &reason.to_string());
    }
}

/// One connection, from the first packet.
pub struct Connection {
    remote: SocketAddr,
    service: Arc<Service>,
    limits: Limits,
    _session: Session,
    stage: Stage,
}

enum Stage {
    Handshake { deadline: Instant },
    Open(Box<Open>),
    Closed,
}

impl Application for Connection {
    fn event(&mut self, event: Event, cx: &mut Cx<'_>) {
        match (&mut self.stage, event) {
            (Stage::Handshake { .. }, Event::Connected) => {
                let facts = cx.quic.crypto_session().handshake_data();
                let facts = facts.and_then(|data| data.downcast::<Facts>().ok()).unwrap_or_default();
                let tls = self.service.snapshot.load().tls[self.service.listener].clone();
                let directive = facts.downgrade.map(|reason| tls.directive(reason));
                let listener = self.service.local;
                let local = SocketAddr::new(cx.quic.local_ip().unwrap_or(listener.ip()), listener.port());
                let peer = Arc::new(Peer::new(self.remote, local, *facts, directive));
                log_handshake(&self.service.metrics, &peer);
                self.stage = Stage::Open(Box::new(Open::new(peer, self.service.clone(), &self.limits)));
            }
            (Stage::Handshake { .. }, Event::ConnectionLost { reason }) => {
                log_failure(&self.service.metrics, self.remote, &reason.to_string());
                self.stage = Stage::Closed;
            }
            (Stage::Open(open), Event::ConnectionLost { reason }) => {
                open.log_end(&reason.to_string());
                self.stage = Stage::Closed;
            }
            (Stage::Open(open), event) => open.event(event, cx),
            // Early data is not offered: streams come after the handshake.
            (Stage::Handshake { .. } | Stage::Closed, _) => {}
        }
    }

    fn woken(&mut self, slot: u32) {
        if let Stage::Open(open) = &mut self.stage {
            open.woken.push(slot);
        }
    }

    fn drive(&mut self, cx: &mut Cx<'_>) -> Next {
        match &mut self.stage {
            Stage::Handshake { deadline } if *deadline <= cx.now => {
                log_failure(&self.service.metrics, self.remote, "the handshake took too long");
                cx.quic.close(cx.now, VarInt::from_u32(0), Bytes::new());
                self.stage = Stage::Closed;
            }
            Stage::Handshake { .. } | Stage::Closed => {}
            Stage::Open(open) => {
                let next = open.drive(cx);
                if open.link.closed {
                    self.stage = Stage::Closed;
                }
                return next;
            }
        }
        Next::Wait
    }

    fn phase(&mut self, phase: Phase) {
        match &mut self.stage {
            Stage::Handshake { deadline } => *deadline = (*deadline).min(Instant::now() + HANDSHAKE_GRACE),
            Stage::Open(open) if phase == Phase::Draining => open.way_down = WayDown::Announce,
            Stage::Open(_) => self.stage = Stage::Closed, // aborted: the driver closes
            Stage::Closed => {}
        }
    }

    fn deadline(&self) -> Option<Instant> {
        match &self.stage {
            Stage::Handshake { deadline } => Some(*deadline),
            Stage::Open(open) => match open.way_down {
                WayDown::Announced { at } => Some(at),
                WayDown::Settling { look, .. } => Some(look),
                WayDown::No | WayDown::Announce => None,
            },
            Stage::Closed => None,
        }
    }
}

/// How far the way down has been gone.
enum WayDown {
    No,
    /// The first GOAWAY is due.
    Announce,
    /// The second is due `at`.
    Announced {
        at: Instant,
    },
    /// Nothing new is accepted. `look` again whether the peer has said anything since it had sent
    /// `datagrams`.
    Settling {
        look: Instant,
        datagrams: u64,
    },
}

/// A connection that carries requests.
struct Open {
    peer: Arc<Peer>,
    service: Arc<Service>,
    link: Link,
    exchanges: Slots<Exchange>,
    woken: Vec<u32>,
    /// Exchanges that can write, in no order.
    writable: Vec<u32>,
    /// Exchanges that could not when they tried.
    blocked: Vec<u32>,
    /// The first request stream that has not been seen yet.
    next_stream: u64,
    way_down: WayDown,
    /// `None` where no WebTransport is offered.
    transports: Option<Box<Transports>>,
}

struct Exchange {
    /// Where its body goes; `None` when it is complete, or nobody wants it.
    inbox: Option<Inbox>,
    /// Whether the whole request has been read.
    received: bool,
    state: State,
    /// Where filters leave what is to be sent before the answer.
    interim: Option<Arc<Interim>>,
    /// What of that QUIC has not taken yet.
    lead: Bytes,
    priority: Priority,
    /// Turns it has had.
    turns: u32,
}

impl Exchange {
    /// Smaller comes first. Of answers that are of use in parts, the one that had the fewest turns.
    fn order(&self, id: StreamId) -> (u8, bool, u32, StreamId) {
        let turns = if self.priority.incremental { self.turns } else { 0 };
        (self.priority.urgency, self.priority.incremental, turns, id)
    }
}

type Answer = Pin<Box<dyn Future<Output = (Response, Access)> + Send>>;

enum State {
    Handling(Answer),
    Sending(Outgoing),
    Done,
}

impl Open {
    fn new(peer: Arc<Peer>, service: Arc<Service>, limits: &Limits) -> Self {
        let offered = service.takes_sessions;
        let config = Config {
            connect_protocol: true,
            datagrams: offered,
            webtransport_sessions: if offered { MAX_SESSIONS as u64 } else { 0 },
            max_field_section_size: limits.max_header_bytes.into(),
            preface: peer
                .directive
                .iter()
                .map(|directive| (FALLBACK_FRAME, directive.to_string().into()))
                .collect(),
            ..config()
        };
        Self {
            peer,
            service,
            link: Link::new(Machine::server(config)),
            exchanges: Slots::new(),
            woken: Vec::new(),
            writable: Vec::new(),
            blocked: Vec::new(),
            next_stream: 0,
            way_down: WayDown::No,
            transports: offered.then(Box::default),
        }
    }

    fn event(&mut self, event: Event, cx: &mut Cx<'_>) {
        match self.link.event(event, cx) {
            // There is room again, perhaps for all: the most urgent one is to have it, not the one
            // that happened to be told.
            Some(StreamEvent::Writable { .. }) => {
                self.writable.append(&mut self.blocked);
                if let Some(transports) = &mut self.transports {
                    transports.writable(cx);
                }
            }
            Some(StreamEvent::Stopped { id, error_code }) => {
                // Nobody wants the answer: its handler is dropped where it stands.
                if let Some(slot) = self.exchanges.find(id) {
                    self.abort(slot, Code::RequestCancelled, cx);
                } else if let Some(transports) = &mut self.transports {
                    transports.stopped(id, error_code.into_inner(), cx);
                }
            }
            Some(StreamEvent::Available { .. }) => {
                if let Some(transports) = &mut self.transports {
                    transports.available(cx);
                }
            }
            _ => {}
        }
        if self.transports.is_some() {
            self.dispatch(cx); // of datagrams
        }
    }

    fn drive(&mut self, cx: &mut Cx<'_>) -> Next {
        while let Some(id) = self.link.next_readable() {
            self.read(id, cx);
        }
        while let Some(slot) = self.woken.pop() {
            self.resume(slot, cx);
        }
        let next = self.write(cx);
        if let Some(transports) = &mut self.transports {
            transports.sweep(|id| self.exchanges.find(id).is_some(), cx);
        }
        self.descend(cx);
        self.link.flush(cx);
        next
    }

    /// Read a stream for as long as there is something, and room for it.
    fn read(&mut self, id: StreamId, cx: &mut Cx<'_>) {
        if let Some(transports) = &mut self.transports
            && transports.owns(id)
        {
            return transports.read(id, cx);
        }
        while self.has_room(id) {
            let read = self.link.read(id, cx);
            self.dispatch(cx);
            if self.transports.as_ref().is_some_and(|transports| transports.owns(id)) {
                return;
            }
            if let Read::Failed(reason) = read
                && let Some(slot) = self.exchanges.find(id)
                && let Some(exchange) = self.exchanges.remove(slot)
                && let Some(inbox) = exchange.inbox
            {
                inbox.fail(reason);
            }
            if read == Read::Reset && self.exchanges.find(id).is_none() {
                // RFC 9114 section 4.1: there was no request yet, so nothing else would end our side of the stream.
                self.link.cancel(id, code(Code::RequestIncomplete), cx);
            }
            if read != Read::More {
                return;
            }
        }
    }

    /// Whether somebody wants what `id` brings. If not, its slot is woken when somebody does.
    fn has_room(&mut self, id: StreamId) -> bool {
        match self.exchanges.by_stream(id) {
            Some(Exchange { inbox: Some(inbox), .. }) => inbox.has_room(),
            Some(exchange) => exchange.received,
            None => true,
        }
    }

    /// Act on what the state machine has found.
    fn dispatch(&mut self, cx: &mut Cx<'_>) {
        while let Some(event) = self.link.h3.poll_event() {
            match event {
                H3Event::Request {
                    stream,
                    head,
                    priority,
                    end,
                } => self.begin(stream_id(stream), head, priority, end, cx),
                H3Event::TooLarge { stream } => self.refuse(stream_id(stream), cx),
                H3Event::Data { stream, data } => {
                    if let Some(inbox) = self.inbox(stream) {
                        inbox.push(data);
                    }
                }
                H3Event::Trailers { stream, fields } => {
                    if let Some(inbox) = self.inbox(stream) {
                        inbox.end(Some(fields));
                    }
                }
                H3Event::End { stream } => self.received(stream, |inbox| inbox.end(None)),
                H3Event::Reset { stream, .. } => {
                    self.received(stream, |inbox| inbox.fail("the client cancelled the request"));
                }
                H3Event::Failed(error) => self.failed(error, cx),
                H3Event::Unblocked { stream } => self.link.reread(stream_id(stream)),
                H3Event::Priority { stream, priority } => {
                    let id = stream_id(stream);
                    if let Some(exchange) = self.exchanges.by_stream(id) {
                        exchange.priority = priority;
                        let _ = cx.quic.send_stream(id).set_priority(rank(id, priority));
                    }
                }
                H3Event::WebTransport {
                    stream,
                    session,
                    data,
                    fin,
                } => {
                    if let Some(transports) = &mut self.transports {
                        // It is no request, and yet GOAWAY must not say that it was not seen.
                        if stream & 2 == 0 {
                            self.next_stream = self.next_stream.max(stream + 4);
                        }
                        transports.adopt(stream, session, data, fin, cx);
                    }
                }
                H3Event::Datagram { stream, data } => {
                    if let Some(transports) = &mut self.transports {
                        transports.datagram(stream, data);
                    }
                }
                _ => {}
            }
        }
    }

    fn inbox(&mut self, stream: u64) -> Option<&Inbox> {
        self.exchanges.by_stream(stream_id(stream))?.inbox.as_ref()
    }

    /// No more of a request will come.
    fn received(&mut self, stream: u64, end: impl FnOnce(&Inbox)) {
        if let Some(exchange) = self.exchanges.by_stream(stream_id(stream)) {
            exchange.received = true;
            if let Some(inbox) = exchange.inbox.take() {
                end(&inbox);
            }
        }
    }

    /// The peer broke a rule, on a stream or altogether.
    fn failed(&mut self, error: velocity_h3::Error, cx: &mut Cx<'_>) {
        if let Scope::Stream(stream) = error.scope
            && let Some(slot) = self.exchanges.find(stream_id(stream))
            && let Some(exchange) = self.exchanges.remove(slot)
            && let Some(inbox) = exchange.inbox
        {
            inbox.fail(error.reason);
        }
        self.link.outcome(Err(error), cx);
    }

    /// A request has come.
    fn begin(&mut self, id: StreamId, mut head: http::Request<()>, priority: Priority, end: bool, cx: &mut Cx<'_>) {
        if let Some(transports) = &mut self.transports
            && asks_for_session(&head)
        {
            if !transports.has_room() {
                self.next_stream = self.next_stream.max(u64::from(id) + 4);
                return self.link.cancel(id, code(Code::RequestRejected), cx);
            }
            let session = transport::Session::new(cx.wakers.slot(self.exchanges.next()).clone());
            transports.begin(id, session.clone(), cx);
            head.extensions_mut().insert(session);
        }
        let (inbox, body) = match end {
            true => (None, Body::Empty),
            false => {
                let slot = self.exchanges.next();
                let (inbox, incoming) = Inbox::new(cx.wakers.slot(slot).clone());
                (Some(inbox), Body::stream(incoming))
            }
        };
        if end {
            let (parts, ()) = head.into_parts();
            if let Some((response, access)) = self.service.ready(&self.peer, &parts) {
                let slot = self.insert(
                    id,
                    Exchange {
                        inbox: None,
                        received: true,
                        state: State::Done,
                        interim: None,
                        lead: Bytes::new(),
                        priority,
                        turns: 0,
                    },
                );
                return self.send(slot, response, Some(access), cx);
            }
            head = http::Request::from_parts(parts, ());
        }
        let (service, peer) = (self.service.clone(), self.peer.clone());
        let interim = self.service.has_early_hints().then(Arc::<Interim>::default);
        let request: Request = head.map(|()| body);
        let before = interim.clone();
        let answer: Answer = Box::pin(async move { service.answer(&peer, request, before.as_deref()).await });
        let slot = self.insert(
            id,
            Exchange {
                inbox,
                received: end,
                state: State::Handling(answer),
                interim,
                lead: Bytes::new(),
                priority,
                turns: 0,
            },
        );
        self.handle(slot, cx);
    }

    /// A request came whose head is too large to be looked at (RFC 6585 section 5).
    fn refuse(&mut self, id: StreamId, cx: &mut Cx<'_>) {
        let status = http::StatusCode::REQUEST_HEADER_FIELDS_TOO_LARGE;
        let response = plain(status, "the request header fields are too large\n");
        let slot = self.insert(
            id,
            Exchange {
                inbox: None,
                received: false,
                state: State::Done,
                interim: None,
                lead: Bytes::new(),
                priority: Priority::default(),
                turns: 0,
            },
        );
        self.send(slot, response, None, cx);
    }

    fn insert(&mut self, id: StreamId, exchange: Exchange) -> u32 {
        self.next_stream = self.next_stream.max(u64::from(id) + 4);
        self.exchanges.insert(id, exchange)
    }

    /// The waker of `slot` has called: its handler, its body, or the reader of its request.
    fn resume(&mut self, slot: u32, cx: &mut Cx<'_>) {
        let Some((id, exchange)) = self.exchanges.get(slot) else {
            return;
        };
        let (id, wants_more) = (*id, exchange.inbox.is_some());
        match exchange.state {
            State::Handling(_) => self.handle(slot, cx),
            State::Sending(_) => self.writable.push(slot),
            State::Done => {}
        }
        if let Some(transports) = &mut self.transports {
            transports.pump(id, cx);
        }
        if wants_more {
            self.read(id, cx);
        }
    }

    /// Let a handler run as far as it gets.
    fn handle(&mut self, slot: u32, cx: &mut Cx<'_>) {
        let Some((_, exchange)) = self.exchanges.get_mut(slot) else {
            return;
        };
        let State::Handling(answer) = &mut exchange.state else {
            return;
        };
        let polled = answer.as_mut().poll(&mut Context::from_waker(cx.wakers.slot(slot)));
        self.send_interim(slot, cx);
        if let Poll::Ready((response, access)) = polled {
            self.send(slot, response, Some(access), cx);
        }
    }

    /// Send 103 if a filter or whoever answers asks for it (RFC 8297), once the one before it has gone.
    fn send_interim(&mut self, slot: u32, cx: &mut Cx<'_>) {
        let Some((id, exchange)) = self.exchanges.get_mut(slot) else {
            return;
        };
        if !exchange.lead.is_empty() {
            return;
        }
        let Some(fields) = exchange.interim.as_ref().and_then(|interim| interim.take()) else {
            return;
        };
        let (mut head, ()) = http::Response::new(()).into_parts();
        head.status = http::StatusCode::EARLY_HINTS;
        head.headers = fields;
        let mut encoded = BytesMut::new();
        if self.link.h3.respond((*id).into(), &head, &mut encoded).is_ok() {
            let written = cx.quic.send_stream(*id).write(&encoded).unwrap_or(0);
            exchange.lead = encoded.split_off(written).freeze();
        }
    }

    fn send(&mut self, slot: u32, response: Response, access: Option<Access>, cx: &mut Cx<'_>) {
        let Some((id, exchange)) = self.exchanges.get_mut(slot) else {
            return;
        };
        let id = *id;
        let (head, body) = response.into_parts();
        let mut encoded = BytesMut::with_capacity(HEAD_CAPACITY);
        encoded.extend_from_slice(&exchange.lead);
        let outcome = match &body {
            Body::Prepared(answer) => {
                let extra = match head.headers.is_empty() {
                    true => Bytes::new(),
                    false => prepared::encode(prepared::fields(&head.headers)),
                };
                let lines: [&[u8]; 3] = [answer.lines(), &common_lines(), &extra];
                self.link.h3.respond_encoded(id.into(), &lines, &mut encoded);
                Ok(())
            }
            _ => self.link.h3.respond(id.into(), &head, &mut encoded),
        };
        if matches!(body, Body::File(_) | Body::Stream(_)) || exchange.priority != Priority::default() {
            let _ = cx.quic.send_stream(id).set_priority(rank(id, exchange.priority));
        }
        exchange.state = State::Sending(Outgoing::new(encoded, body, access));
        match self.link.outcome(outcome, cx) {
            true => self.writable.push(slot),
            false => drop(self.exchanges.remove(slot)),
        }
    }

    /// Give every answer that can be written its turn, the most urgent first (RFC 9218 section 10).
    fn write(&mut self, cx: &mut Cx<'_>) -> Next {
        if self.writable.is_empty() {
            return Next::Wait;
        }
        // What the path can carry in two round trips, so that a slow reader holds little.
        let window = cx.quic.congestion_state().window();
        cx.quic
            .set_send_window((2 * window).clamp(*SEND_WINDOW.start(), *SEND_WINDOW.end()));
        let mut turn = std::mem::take(&mut self.writable);
        if turn.len() > 1 {
            turn.sort_unstable();
            turn.dedup();
            turn.sort_unstable_by_key(|&slot| self.exchanges.get(slot).map(|(id, exchange)| exchange.order(*id)));
        }
        for slot in turn.drain(..) {
            let Some((id, exchange)) = self.exchanges.get_mut(slot) else {
                continue;
            };
            let State::Sending(outgoing) = &mut exchange.state else {
                continue;
            };
            let id = *id;
            exchange.turns += 1;
            let mut context = Context::from_waker(cx.wakers.slot(slot));
            match outgoing.write(&mut self.link.h3, cx.quic.send_stream(id), id, &mut context) {
                Progress::More => self.writable.push(slot),
                Progress::Blocked => self.blocked.push(slot),
                Progress::Waiting => {}
                Progress::Finished => self.finish(slot, cx),
                Progress::Broken => self.abort(slot, Code::InternalError, cx),
            }
        }
        if self.writable.is_empty() {
            self.writable = turn; // keeps its capacity
            return Next::Wait;
        }
        Next::Again
    }

    /// An answer is handed over.
    fn finish(&mut self, slot: u32, cx: &mut Cx<'_>) {
        if let Some((id, exchange)) = self.exchanges.get(slot) {
            let id = *id;
            // The client ends the request of a session itself, and takes being stopped for a loss.
            let was_session = self.transports.as_ref().is_some_and(|transports| transports.knows(id));
            if !exchange.received && !was_session {
                // RFC 9114 section 4.1: the answer did not need the rest of the request.
                let _ = cx.quic.recv_stream(id).stop(code(Code::NoError));
                self.link.h3.abandon(id.into());
            }
            self.link.h3.finished(id.into());
        }
        self.exchanges.remove(slot);
        if self.exchanges.is_empty() {
            self.link.h3.rest();
            cx.wakers.shrink();
        }
    }

    fn abort(&mut self, slot: u32, why: Code, cx: &mut Cx<'_>) {
        if let Some((id, _)) = self.exchanges.get(slot) {
            self.link.cancel(*id, code(why), cx);
        }
        self.exchanges.remove(slot);
    }

    /// The next step of the way down, if its time has come.
    fn descend(&mut self, cx: &mut Cx<'_>) {
        match self.way_down {
            WayDown::Announce => {
                let outcome = self.link.h3.goaway(MAX_STREAM);
                self.link.outcome(outcome, cx);
                let at = cx.now + cx.quic.rtt().max(NOTICE);
                self.way_down = WayDown::Announced { at };
            }
            WayDown::Announced { at } if at <= cx.now => {
                let outcome = self.link.h3.goaway(self.next_stream);
                self.link.outcome(outcome, cx);
                self.way_down = WayDown::settling(cx);
                self.descend(cx);
            }
            WayDown::Settling { look, datagrams } if self.exchanges.is_empty() => {
                let silent = look <= cx.now && datagrams == cx.quic.stats().udp_rx.datagrams;
                if silent || self.link.is_settled(cx) {
                    self.link.close(code(Code::NoError), "", cx);
                } else if look <= cx.now {
                    self.way_down = WayDown::settling(cx);
                }
            }
            WayDown::Settling { look, .. } if look <= cx.now => self.way_down = WayDown::settling(cx),
            WayDown::No | WayDown::Announced { .. } | WayDown::Settling { .. } => {}
        }
    }

    fn log_end(&self, reason: &str) {
        if log::enabled(Level::Debug) {
            let fields = [("connection_id", self.peer.id.into()), ("reason", reason.into())];
            log::record(Level::Debug, "velocity::server", "connection_ended", "", &fields);
        }
    }
}

impl WayDown {
    fn settling(cx: &Cx<'_>) -> Self {
        WayDown::Settling {
            look: cx.now + SILENCE,
            datagrams: cx.quic.stats().udp_rx.datagrams,
        }
    }
}

/// Whether a request is to be a WebTransport session.
fn asks_for_session(head: &http::Request<()>) -> bool {
    let protocol = head.extensions().get::<Protocol>();
    head.method() == http::Method::CONNECT && protocol.is_some_and(|name| name.as_str() == webtransport::PROTOCOL)
}

/// RFC 9218 as quinn-proto's stream priority: higher goes first, equal ones share. Within one urgency,
/// answers that are useless in parts go one after the other, in the order they were asked for; then
/// those that are not share what is left (section 10).
fn rank(id: StreamId, priority: Priority) -> i32 {
    const LEVEL: i32 = 1 << 24;
    let place = match priority.incremental {
        true => LEVEL - 1,
        false => (id.index() % (LEVEL as u64 - 1)) as i32,
    };
    (3 - i32::from(priority.urgency)) * LEVEL - place
}
