//! The loop: receive, drive, send, wait.

use std::collections::VecDeque;
use std::future::poll_fn;
use std::io;
use std::net::SocketAddr;
use std::pin::pin;
use std::sync::Arc;
use std::task::{Context, Poll, Waker};
use std::time::{Duration, Instant};

use bytes::{Bytes, BytesMut};
use quinn_proto::{
    ClientConfig, ConnectError, Connection, ConnectionHandle, DatagramEvent, Endpoint, EndpointConfig, Incoming,
    ServerConfig, Transmit, VarInt,
};
use quinn_udp::RecvMeta;

use super::timers::Timers;
use super::wake::{CONNECTION, Wakers, Woken};
use super::way::{self, Found, Trouble, Way};
use super::{Application, Cx, Host, Next, Socket};
use crate::net::batch;
use crate::shutdown::{Phase, Shutdown};

/// Rounds in a row before other tasks of the thread have their turn.
const ROUNDS: usize = 16;
/// What one connection may send before the next one has its turn, in bytes.
const TURN: usize = 256 * 1024;
/// How long the last packets of closed connections may linger when a driver ends.
const LINGER: Duration = Duration::from_millis(500);
/// H3_NO_ERROR (RFC 9114 section 8.1): what a driver says that goes down in peace.
const NO_ERROR: VarInt = VarInt::from_u32(0x100);

/// All QUIC connections of one socket. See the [module](super).
pub struct Driver<H: Host> {
    socket: Socket,
    core: Core<H>,
    /// Of a client, whose socket has one peer: an error of the socket may end the driver.
    way: Option<Way>,
}

/// A driver without its socket.
struct Core<H: Host> {
    host: H,
    endpoint: Endpoint,
    /// By connection handle.
    connections: Vec<Option<Box<Entry<H::Application>>>>,
    open: usize,
    /// Connections that are still shaking hands.
    handshakes: usize,
    /// Connections with something to do, each once.
    dirty: VecDeque<usize>,
    woken: Arc<Woken>,
    /// Swapped with the list of what was woken.
    places: Vec<(usize, u32)>,
    timers: Timers,
    /// What packets are written into.
    buffer: Vec<u8>,
    /// Packets outside of any connection, and what the kernel would not take.
    outbox: VecDeque<(Transmit, Vec<u8>)>,
    /// What became of a packet, or of one sent earlier.
    unsent: Option<io::Error>,
    phase: Phase,
}

struct Entry<A> {
    quic: Connection,
    application: A,
    wakers: Wakers,
    /// Whether it is in `dirty`.
    dirty: bool,
    handshaking: bool,
    /// Earliest valid entry in the timers.
    scheduled: Option<Instant>,
}

impl<H: Host> Driver<H> {
    /// A driver for a server's socket.
    pub fn server(host: H, socket: Socket, endpoint: EndpointConfig, server: Arc<ServerConfig>) -> Self {
        let endpoint = Endpoint::new(Arc::new(endpoint), Some(server), !socket.may_fragment(), None);
        Self {
            socket,
            core: Core::new(host, endpoint),
            way: None,
        }
    }

    /// A driver for a client's socket, which is connected to `remote`. Must be called inside a runtime.
    pub fn client(host: H, socket: std::net::UdpSocket, remote: SocketAddr) -> io::Result<Self> {
        let way = Way::of(&socket, remote)?;
        let socket = Socket::new(socket)?;
        let endpoint = Endpoint::new(Arc::default(), None, !socket.may_fragment(), None);
        Ok(Self {
            socket,
            core: Core::new(host, endpoint),
            way: Some(way),
        })
    }

    /// Open a connection. The application gets the waker of the connection as a whole.
    pub fn connect(
        &mut self,
        config: ClientConfig,
        remote: SocketAddr,
        server_name: &str,
        application: impl FnOnce(Waker) -> H::Application,
    ) -> Result<(), ConnectError> {
        let core = &mut self.core;
        let (handle, quic) = core.endpoint.connect(Instant::now(), config, remote, server_name)?;
        let wakers = Wakers::new(core.woken.clone(), handle.0);
        let application = application(wakers.connection());
        core.insert(handle, quic, application, wakers);
        Ok(())
    }

    /// Run until `shutdown` says so and everything has ended, or until nobody listens where a client sends to.
    ///
    /// A driver that drains stays until `rest` is over as well, to tell newcomers where to go instead.
    pub async fn run(self, shutdown: Shutdown, rest: impl Future<Output = ()>) -> io::Result<()> {
        let Self {
            mut socket,
            mut core,
            mut way,
        } = self;
        // Where packets may still arrive that were under way when a client moved.
        let mut left: Option<Socket> = None;
        let (mut for_draining, mut for_aborted) = (shutdown.clone(), shutdown);
        let mut draining = pin!(for_draining.draining());
        let mut aborted = pin!(for_aborted.aborted());
        let mut sleep = pin!(tokio::time::sleep(Duration::ZERO));
        let mut ends: Option<Instant> = None;
        let (mut rest, mut rests) = (pin!(rest), false);
        // A round is bounded by itself: it needs no second accountant.
        tokio::task::unconstrained(poll_fn(|cx| {
            core.woken.register(cx.waker());
            if let Some(way) = &mut way {
                way.listen(cx);
            }
            if core.phase < Phase::Draining && draining.as_mut().poll(cx).is_ready() {
                core.enter(Phase::Draining);
            }
            if core.phase < Phase::Aborted && aborted.as_mut().poll(cx).is_ready() {
                core.enter(Phase::Aborted);
            }
            rests = rests || core.phase >= Phase::Draining && rest.as_mut().poll(cx).is_ready();
            for _ in 0..ROUNDS {
                let now = Instant::now();
                if let Some(way) = way.as_mut().filter(|way| way.due().is_some_and(|due| due <= now))
                    && let Some(other) = core.look(way, now)
                {
                    left = Some(std::mem::replace(&mut socket, other));
                }
                let received = socket.poll_receive(cx, |meta, datagram| core.datagram(meta, datagram, now));
                let mut busy = match (received, &mut way) {
                    (Poll::Ready(Ok(())), way) => {
                        left = None;
                        way.iter_mut().for_each(Way::heard);
                        true
                    }
                    (Poll::Ready(Err(error)), Some(way)) => match Trouble::of(&error) {
                        Trouble::Cut => {
                            way.cut(now);
                            true
                        }
                        Trouble::Refused | Trouble::Packet => return Poll::Ready(Err(error)),
                    },
                    // On a server's socket an error is about some packet sent earlier: look again.
                    (Poll::Ready(Err(_)), None) => true,
                    (Poll::Pending, _) => false,
                };
                if let Some(before) = &mut left {
                    match before.poll_receive(cx, |meta, datagram| core.datagram(meta, datagram, now)) {
                        Poll::Ready(Ok(())) => busy = true,
                        Poll::Ready(Err(_)) => left = None,
                        Poll::Pending => {}
                    }
                }
                batch::begin();
                core.expire(now);
                core.collect();
                busy |= core.work(now, &socket, cx);
                if let Some(error) = core.unsent.take()
                    && let Some(way) = &mut way
                {
                    match Trouble::of(&error) {
                        Trouble::Refused => {
                            batch::end();
                            return Poll::Ready(Err(error));
                        }
                        Trouble::Cut => way.cut(now),
                        Trouble::Packet => {}
                    }
                }
                if core.is_closed() && (core.phase == Phase::Aborted || rests) {
                    let until = *ends.get_or_insert(now + LINGER);
                    if core.open == 0 || core.phase == Phase::Aborted || now >= until {
                        batch::end();
                        return Poll::Ready(Ok(()));
                    }
                }
                if busy || !core.woken.is_empty() {
                    continue;
                }
                let look = way.as_ref().and_then(Way::due);
                let next = core.timers.next().into_iter().chain(ends).chain(look).min();
                if let Some(next) = next {
                    sleep.as_mut().reset(next.into());
                    if sleep.as_mut().poll(cx).is_ready() {
                        continue;
                    }
                }
                batch::end();
                return Poll::Pending;
            }
            batch::end();
            cx.waker().wake_by_ref();
            Poll::Pending
        }))
        .await
    }
}

impl<H: Host> Core<H> {
    fn new(host: H, endpoint: Endpoint) -> Self {
        Self {
            host,
            endpoint,
            connections: Vec::new(),
            open: 0,
            handshakes: 0,
            dirty: VecDeque::new(),
            woken: Arc::default(),
            places: Vec::new(),
            timers: Timers::default(),
            buffer: Vec::new(),
            outbox: VecDeque::new(),
            unsent: None,
            phase: Phase::Running,
        }
    }

    fn enter(&mut self, phase: Phase) {
        self.phase = phase;
        let now = Instant::now();
        for key in 0..self.connections.len() {
            let Some(entry) = &mut self.connections[key] else {
                continue;
            };
            entry.application.phase(phase);
            if phase == Phase::Aborted {
                entry.quic.close(now, NO_ERROR, Bytes::new());
            }
            self.touch(key);
        }
    }

    /// Whether no connection can carry anything any more.
    fn is_closed(&self) -> bool {
        self.open == 0 || self.connections.iter().flatten().all(|entry| entry.quic.is_closed())
    }

    /// Find out where a client's packets leave from: the socket for them, if that is elsewhere.
    fn look(&mut self, way: &mut Way, now: Instant) -> Option<Socket> {
        let mut connections = self.connections.iter().flatten();
        let other = match way.look(now, connections.all(|entry| way::may_migrate(&entry.quic))) {
            Found::Nothing => return None,
            Found::Again => None,
            Found::Elsewhere(socket) => Some(Socket::new(socket).ok()?),
        };
        for key in 0..self.connections.len() {
            if let Some(entry) = &mut self.connections[key] {
                match other {
                    // Nothing of what is known of the old path holds for the new one (RFC 9000 section 9.4).
                    Some(_) => {
                        entry.quic.path_changed(now);
                        entry.quic.local_address_changed();
                    }
                    // What was lost meanwhile is found to be missing when something else is acknowledged.
                    None => entry.quic.ping(),
                }
                self.touch(key);
            }
        }
        other
    }

    /// Put a connection on the list of those with something to do.
    fn touch(&mut self, key: usize) {
        if let Some(Some(entry)) = self.connections.get_mut(key)
            && !std::mem::replace(&mut entry.dirty, true)
        {
            self.dirty.push_back(key);
        }
    }

    /// A datagram goes to its connection, or opens one, or is answered at once.
    fn datagram(&mut self, meta: &RecvMeta, datagram: &[u8], now: Instant) {
        let ecn = meta.ecn.and_then(|ecn| quinn_proto::EcnCodepoint::from_bits(ecn as u8));
        self.buffer.clear();
        let event = self.endpoint.handle(
            now,
            meta.addr,
            meta.dst_ip,
            ecn,
            BytesMut::from(datagram),
            &mut self.buffer,
        );
        match event {
            Some(DatagramEvent::ConnectionEvent(handle, event)) => {
                if let Some(Some(entry)) = self.connections.get_mut(handle.0) {
                    entry.quic.handle_event(event);
                    self.touch(handle.0);
                }
            }
            Some(DatagramEvent::NewConnection(incoming)) => self.incoming(incoming, now),
            Some(DatagramEvent::Response(transmit)) => self.post(transmit),
            None => {}
        }
    }

    /// Queue what is in the buffer.
    fn post(&mut self, transmit: Transmit) {
        let contents = self.buffer[..transmit.size].to_vec();
        self.outbox.push_back((transmit, contents));
    }

    fn incoming(&mut self, incoming: Incoming, now: Instant) {
        self.buffer.clear();
        // While the server drains, it is the hello stage that refuses: it can say where to go instead.
        if self.phase > Phase::Draining {
            let transmit = self.endpoint.refuse(incoming, &mut self.buffer);
            return self.post(transmit);
        }
        if incoming.may_retry() && !incoming.remote_address_validated() && self.host.validate(self.handshakes) {
            match self.endpoint.retry(incoming, &mut self.buffer) {
                Ok(transmit) => self.post(transmit),
                Err(error) => self.endpoint.ignore(error.into_incoming()),
            }
            return;
        }
        let remote = incoming.remote_address();
        let Some(application) = self.host.admit(remote) else {
            let transmit = self.endpoint.refuse(incoming, &mut self.buffer);
            return self.post(transmit);
        };
        match self.endpoint.accept(incoming, now, &mut self.buffer, None) {
            Ok((handle, quic)) => {
                let wakers = Wakers::new(self.woken.clone(), handle.0);
                self.insert(handle, quic, application, wakers);
            }
            Err(error) => {
                drop(application);
                self.host.failed(remote, &error.cause);
                if let Some(transmit) = error.response {
                    self.post(transmit);
                }
            }
        }
    }

    fn insert(&mut self, handle: ConnectionHandle, quic: Connection, application: H::Application, wakers: Wakers) {
        if self.connections.len() <= handle.0 {
            self.connections.resize_with(handle.0 + 1, || None);
        }
        self.connections[handle.0] = Some(Box::new(Entry {
            quic,
            application,
            wakers,
            dirty: false,
            handshaking: true,
            scheduled: None,
        }));
        self.open += 1;
        self.handshakes += 1;
        self.touch(handle.0);
    }

    /// Connections whose time has come.
    fn expire(&mut self, now: Instant) {
        while let Some((at, key)) = self.timers.expired(now) {
            let Some(Some(entry)) = self.connections.get_mut(key) else {
                continue;
            };
            if entry.scheduled != Some(at) {
                continue;
            }
            entry.scheduled = None;
            if entry.quic.poll_timeout().is_some_and(|at| at <= now) {
                entry.quic.handle_timeout(now);
            }
            self.touch(key);
        }
    }

    /// Connections for which something was woken.
    fn collect(&mut self) {
        let mut places = std::mem::take(&mut self.places);
        self.woken.take(&mut places);
        for (key, slot) in places.drain(..) {
            if let Some(Some(entry)) = self.connections.get_mut(key) {
                if slot != CONNECTION {
                    entry.application.woken(slot);
                }
                self.touch(key);
            }
        }
        self.places = places;
    }

    /// Give every connection that has something to do one turn. True when there is more.
    fn work(&mut self, now: Instant, socket: &Socket, cx: &mut Context<'_>) -> bool {
        for _ in 0..self.dirty.len() {
            if !self.deliver(socket, cx) {
                return false;
            }
            let Some(key) = self.dirty.pop_front() else { break };
            let Some(mut entry) = self.connections.get_mut(key).and_then(Option::take) else {
                continue;
            };
            entry.dirty = false;
            let again = self.turn(&mut entry, now, socket);
            let drained = self.endpoint_events(key, &mut entry);
            if entry.handshaking && !entry.quic.is_handshaking() {
                entry.handshaking = false;
                self.handshakes -= 1;
            }
            if drained {
                self.open -= 1;
                self.handshakes -= usize::from(entry.handshaking);
                continue;
            }
            let deadline = [entry.quic.poll_timeout(), entry.application.deadline()];
            if let Some(deadline) = deadline.into_iter().flatten().min() {
                self.timers.schedule(key, deadline, &mut entry.scheduled);
            }
            self.connections[key] = Some(entry);
            if again {
                self.touch(key);
            }
        }
        self.deliver(socket, cx) && !self.dirty.is_empty()
    }

    /// One turn of one connection: events, application, packets. True when there is more.
    fn turn(&mut self, entry: &mut Entry<H::Application>, now: Instant, socket: &Socket) -> bool {
        let mut cx = Cx {
            quic: &mut entry.quic,
            now,
            wakers: &mut entry.wakers,
        };
        while let Some(event) = cx.quic.poll() {
            entry.application.event(event, &mut cx);
        }
        let next = entry.application.drive(&mut cx);
        let segments = socket.max_segments(entry.quic.current_mtu());
        let mut sent = 0;
        while sent < TURN {
            self.buffer.clear();
            let Some(transmit) = entry.quic.poll_transmit(now, segments, &mut self.buffer) else {
                return next == Next::Again;
            };
            sent += transmit.size;
            match socket.send(&transmit, &self.buffer[..transmit.size]) {
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                    self.post(transmit);
                    break;
                }
                // As good as a packet that is lost, but for what it says of the way.
                Err(error) => self.unsent = Some(error),
                Ok(()) => {}
            }
        }
        true
    }

    /// Let endpoint and connection talk. True when the connection is gone.
    fn endpoint_events(&mut self, key: usize, entry: &mut Entry<H::Application>) -> bool {
        let mut drained = false;
        while let Some(event) = entry.quic.poll_endpoint_events() {
            drained |= event.is_drained();
            if let Some(event) = self.endpoint.handle_event(ConnectionHandle(key), event) {
                entry.quic.handle_event(event);
            }
        }
        drained
    }

    /// Send what waits in the outbox. False when the kernel takes no more for now.
    fn deliver(&mut self, socket: &Socket, cx: &mut Context<'_>) -> bool {
        while let Some((transmit, contents)) = self.outbox.front() {
            match socket.send(transmit, contents) {
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                    if socket.poll_writable(cx).is_pending() {
                        return false;
                    }
                }
                _ => drop(self.outbox.pop_front()),
            }
        }
        true
    }
}
