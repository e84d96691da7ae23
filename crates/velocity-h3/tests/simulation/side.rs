//! One end: quinn-proto below, the state machine of HTTP/3 above, and the driver that carries bytes between the two.

use std::collections::{BTreeMap, VecDeque};
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Instant;

use bytes::{Bytes, BytesMut};
use quinn_proto::{
    ClientConfig, ConnectionHandle, DatagramEvent, Dir, Endpoint, EndpointConfig, ReadError, ServerConfig, StreamEvent,
    StreamId, VarInt,
};
use velocity_h3::{Code, Connection, Error, Event, Scope, Uni};

use crate::network::Network;
use crate::random::Random;

pub struct Side {
    /// Where its peer is.
    remote: SocketAddr,
    endpoint: Endpoint,
    quic: Option<(ConnectionHandle, quinn_proto::Connection)>,
    pub h3: Connection,
    pub connected: bool,
    /// Our control, encoder and decoder stream, and what each has yet to send.
    ours: [(Option<StreamId>, BytesMut); 3],
    readable: VecDeque<StreamId>,
    outgoing: BTreeMap<u64, Outgoing>,
    random: Random,
}

/// A message on its way out.
struct Outgoing {
    left: Bytes,
    /// The code to end with instead of a FIN.
    reset: Option<Code>,
}

/// What the end above is to know.
pub enum News {
    Event(Event),
    /// The stream was given up, here, for an error of the peer.
    Failed(Error),
    /// The peer reset the stream, whether or not there was an event about it.
    Reset(u64),
}

impl Side {
    pub fn new(remote: SocketAddr, h3: Connection, server: Option<ServerConfig>, mut random: Random) -> Self {
        let mut config = EndpointConfig::default();
        let mut seed = [0; 32];
        seed.fill_with(|| random.next() as u8);
        config.rng_seed(Some(seed));
        Self {
            remote,
            endpoint: Endpoint::new(Arc::new(config), server.map(Arc::new), true, None),
            quic: None,
            h3,
            connected: false,
            ours: Default::default(),
            readable: VecDeque::new(),
            outgoing: BTreeMap::new(),
            random,
        }
    }

    pub fn connect(&mut self, now: Instant, config: ClientConfig) {
        self.quic = Some(self.endpoint.connect(now, config, self.remote, "localhost").unwrap());
    }

    fn quic(&mut self) -> &mut quinn_proto::Connection {
        &mut self.quic.as_mut().unwrap().1
    }

    /// A datagram has arrived.
    pub fn datagram(&mut self, now: Instant, datagram: &[u8]) {
        let mut answer = Vec::new();
        match self
            .endpoint
            .handle(now, self.remote, None, None, BytesMut::from(datagram), &mut answer)
        {
            Some(DatagramEvent::ConnectionEvent(_, event)) => self.quic().handle_event(event),
            Some(DatagramEvent::NewConnection(incoming)) if self.quic.is_none() => {
                self.quic = self.endpoint.accept(incoming, now, &mut answer, None).ok();
            }
            Some(DatagramEvent::NewConnection(incoming)) => self.endpoint.ignore(incoming),
            Some(DatagramEvent::Response(_)) | None => {}
        }
    }

    pub fn next_timeout(&mut self) -> Option<Instant> {
        self.quic.as_mut()?.1.poll_timeout()
    }

    pub fn timeout(&mut self, now: Instant) {
        if self.next_timeout().is_some_and(|at| at <= now) {
            self.quic().handle_timeout(now);
        }
    }

    /// Let QUIC and HTTP/3 do what they can, and say what came of it.
    pub fn drive(&mut self) -> Vec<News> {
        let mut news = Vec::new();
        let Some((handle, quic)) = &mut self.quic else {
            return news;
        };
        while let Some(event) = quic.poll_endpoint_events() {
            if let Some(event) = self.endpoint.handle_event(*handle, event) {
                quic.handle_event(event);
            }
        }
        while let Some(event) = self.quic().poll() {
            match event {
                quinn_proto::Event::Connected => self.connected = true,
                quinn_proto::Event::Stream(StreamEvent::Opened { dir }) => {
                    while let Some(id) = self.quic().streams().accept(dir) {
                        self.readable.push_back(id);
                    }
                }
                quinn_proto::Event::Stream(StreamEvent::Readable { id }) => self.readable.push_back(id),
                quinn_proto::Event::Stream(StreamEvent::Stopped { id, error_code }) => {
                    self.h3.stopped(id.into(), error_code.into_inner()).unwrap();
                }
                quinn_proto::Event::ConnectionLost { reason } => panic!("the connection was lost: {reason}"),
                _ => {}
            }
        }
        while let Some(id) = self.readable.pop_front() {
            self.read(id, &mut news);
        }
        self.events(&mut news);
        news
    }

    fn events(&mut self, news: &mut Vec<News>) {
        while let Some(event) = self.h3.poll_event() {
            match event {
                Event::Unblocked { stream } => self.readable.push_back(id(stream)),
                Event::Failed(error) => self.failed(error, news),
                other => news.push(News::Event(other)),
            }
        }
        while let Some(id) = self.readable.pop_front() {
            self.read(id, news);
        }
    }

    /// Read a stream for as long as there is something, and it is wanted.
    fn read(&mut self, stream: StreamId, news: &mut Vec<News>) {
        while self.h3.wants_data(stream.into()) {
            let most = self.random.pick(&[1, 50, 1_000, 100_000]);
            let mut receive = self.quic.as_mut().unwrap().1.recv_stream(stream);
            let Ok(mut chunks) = receive.read(true) else { return };
            let next = chunks.next(most);
            let fin = matches!(next, Ok(Some(_))) && self.random.chance(50) && matches!(chunks.next(0), Ok(None));
            let _ = chunks.finalize();
            let (data, fin) = match next {
                Ok(Some(chunk)) => (chunk.bytes, fin),
                Ok(None) => (Bytes::new(), true),
                Err(ReadError::Blocked) => return,
                Err(ReadError::Reset(code)) => {
                    self.h3.reset(stream.into(), code.into_inner()).unwrap();
                    self.events(news);
                    return news.push(News::Reset(stream.into()));
                }
            };
            let outcome = self.h3.receive(stream.into(), data, fin);
            self.events(news);
            if let Err(error) = outcome {
                return self.failed(error, news);
            }
            if fin {
                return;
            }
        }
    }

    fn failed(&mut self, error: Error, news: &mut Vec<News>) {
        let Scope::Stream(stream) = error.scope else {
            panic!("{error}")
        };
        self.stop(stream, error.code);
        self.reset(stream, error.code);
        news.push(News::Failed(error));
    }

    /// A new request stream, if the server permits one.
    pub fn open(&mut self) -> Option<u64> {
        self.quic().streams().open(Dir::Bi).map(u64::from)
    }

    /// Send all of a message, or the first bytes of it and a reset.
    pub fn send(&mut self, stream: u64, bytes: Bytes, reset: Option<(usize, Code)>) {
        let len = reset.map_or(bytes.len(), |(len, _)| len.min(bytes.len()));
        let outgoing = Outgoing {
            left: bytes.slice(..len),
            reset: reset.map(|(_, code)| code),
        };
        self.outgoing.insert(stream, outgoing);
    }

    /// End our side of a stream, if it has not ended.
    pub fn reset(&mut self, stream: u64, code: Code) {
        self.outgoing.remove(&stream);
        let _ = self.quic().send_stream(id(stream)).reset(value(code));
        self.h3.finished(stream);
    }

    /// Read no more of a stream.
    pub fn stop(&mut self, stream: u64, code: Code) {
        let _ = self.quic().recv_stream(id(stream)).stop(value(code));
        self.h3.abandon(stream);
    }

    pub fn is_sending(&self, stream: u64) -> bool {
        self.outgoing.contains_key(&stream)
    }

    /// Write what can be written, and send packets.
    pub fn transmit(&mut self, now: Instant, network: &mut Network, to: usize) {
        if self.quic.is_none() {
            return;
        }
        if self.connected {
            self.flush();
            self.write();
        }
        let mut buffer = Vec::new();
        while let Some(transmit) = self.quic().poll_transmit(now, 1, &mut buffer) {
            network.send(now, to, &buffer[..transmit.size]);
            buffer.clear();
        }
    }

    fn flush(&mut self) {
        while let Some((uni, bytes)) = self.h3.poll_transmit() {
            let index = match uni {
                Uni::Control => 0,
                Uni::Encoder => 1,
                Uni::Decoder => 2,
            };
            self.ours[index].1.extend_from_slice(&bytes);
        }
        let quic = &mut self.quic.as_mut().unwrap().1;
        for (stream, pending) in self.ours.iter_mut().filter(|(_, pending)| !pending.is_empty()) {
            let stream = *stream.get_or_insert_with(|| quic.streams().open(Dir::Uni).expect("three are permitted"));
            while let Ok(written) = quic.send_stream(stream).write(pending) {
                let _ = pending.split_to(written);
                if pending.is_empty() {
                    break;
                }
            }
        }
    }

    fn write(&mut self) {
        let streams: Vec<u64> = self.outgoing.keys().copied().collect();
        for stream in streams {
            let Some(outgoing) = self.outgoing.get_mut(&stream) else {
                continue;
            };
            let mut send = self.quic.as_mut().unwrap().1.send_stream(id(stream));
            while !outgoing.left.is_empty() {
                match send.write(&outgoing.left) {
                    Ok(written) => drop(outgoing.left.split_to(written)),
                    Err(_) => break,
                }
            }
            if outgoing.left.is_empty() {
                let ended = match outgoing.reset {
                    Some(code) => send.reset(value(code)).is_ok(),
                    None => send.finish().is_ok(),
                };
                // Stopped by the peer: the event that says so is on its way.
                if ended {
                    self.outgoing.remove(&stream);
                    self.h3.finished(stream);
                }
            }
        }
    }

    /// Whether nothing is under way: no stream but those that last, and nothing left to say on them.
    pub fn is_settled(&mut self) -> bool {
        let idle = self.outgoing.is_empty() && self.ours.iter().all(|(_, pending)| pending.is_empty());
        let ours = self.ours.iter().filter(|(stream, _)| stream.is_some()).count();
        let streams = &mut self.quic().streams();
        idle && streams.send_streams() == ours && streams.remote_open_streams(Dir::Bi) == 0
    }
}

fn id(stream: u64) -> StreamId {
    StreamId::from(VarInt::from_u64(stream).unwrap())
}

fn value(code: Code) -> VarInt {
    VarInt::from_u64(code.value()).unwrap()
}
