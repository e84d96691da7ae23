//! Carries bytes between QUIC streams and the HTTP/3 state machine.

use bytes::{Bytes, BytesMut};
use quinn_proto::{Dir, Event, ReadError, StreamEvent, StreamId, VarInt};
use velocity_h3::{Code, Connection, Error, Scope, Uni};

use super::outgoing::code;
use crate::quic::Cx;

/// Largest piece taken from a stream at once.
const PIECE: usize = 64 * 1024;

/// What may wait for a peer that gives our own streams no credit, in bytes.
const BACKLOG: usize = 64 * 1024;

/// A connection's state machine and its streams.
pub struct Link {
    pub h3: Connection,
    /// Our control, encoder and decoder stream, and what each has yet to send.
    ours: [(Option<StreamId>, BytesMut); 3],
    /// Streams that may have something to read.
    readable: Vec<StreamId>,
    /// The connection was closed, by whomever.
    pub closed: bool,
}

/// What one look at a stream brought.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Read {
    /// A piece; there may be more.
    More,
    /// Nothing more for now; an event will say when there is.
    Blocked,
    /// There will never be more.
    Ended,
    /// The peer reset the stream.
    Reset,
    /// The stream or the connection broke a rule and was given up.
    Failed(&'static str),
}

impl Link {
    pub fn new(h3: Connection) -> Self {
        Self {
            h3,
            ours: Default::default(),
            readable: Vec::new(),
            closed: false,
        }
    }

    /// Take note of an event; hands back what concerns sending on request streams.
    pub fn event(&mut self, event: Event, cx: &mut Cx<'_>) -> Option<StreamEvent> {
        match event {
            Event::Stream(StreamEvent::Opened { dir }) => {
                while let Some(id) = cx.quic.streams().accept(dir) {
                    self.readable.push(id);
                }
            }
            Event::Stream(StreamEvent::Readable { id }) => self.readable.push(id),
            Event::Stream(StreamEvent::Stopped { id, error_code }) if self.is_ours(id) => {
                let outcome = self.h3.stopped(id.into(), error_code.into_inner());
                self.outcome(outcome, cx);
            }
            Event::Stream(event) => return Some(event),
            Event::DatagramReceived => {
                while let Some(datagram) = cx.quic.datagrams().recv() {
                    let outcome = self.h3.datagram(datagram);
                    self.outcome(outcome, cx);
                }
            }
            Event::ConnectionLost { .. } => self.closed = true,
            Event::Connected | Event::HandshakeDataReady | Event::DatagramsUnblocked => {}
        }
        None
    }

    fn is_ours(&self, id: StreamId) -> bool {
        id.dir() == Dir::Uni && self.ours.iter().any(|(ours, _)| *ours == Some(id))
    }

    /// Look at `id` again.
    pub fn reread(&mut self, id: StreamId) {
        self.readable.push(id);
    }

    /// The next stream that may have something to read.
    pub fn next_readable(&mut self) -> Option<StreamId> {
        self.readable.pop()
    }

    /// Hand one piece of `id` to the state machine.
    pub fn read(&mut self, id: StreamId, cx: &mut Cx<'_>) -> Read {
        let stream = u64::from(id);
        if self.closed {
            return Read::Ended;
        }
        if !self.h3.wants_data(stream) {
            return Read::Blocked;
        }
        let mut receive = cx.quic.recv_stream(id);
        let Ok(mut chunks) = receive.read(true) else {
            return Read::Ended;
        };
        let (piece, end) = match chunks.next(PIECE) {
            // The end of a stream goes with its last bytes, so that a request without a body is known
            // to be one when its head is read.
            Ok(Some(chunk)) => (Ok(chunk.bytes), matches!(chunks.next(0), Ok(None))),
            Ok(None) => (Ok(Bytes::new()), true),
            Err(error) => (Err(error), false),
        };
        // Flow control credit that this sets free leaves with the next packet.
        let _ = chunks.finalize();
        let outcome = match piece {
            Ok(data) => self.h3.receive(stream, data, end),
            Err(ReadError::Blocked) => return Read::Blocked,
            Err(ReadError::Reset(code)) => {
                let outcome = self.h3.reset(stream, code.into_inner());
                self.outcome(outcome, cx);
                return Read::Reset;
            }
        };
        match outcome {
            Ok(()) if end => Read::Ended,
            Ok(()) => Read::More,
            Err(error) => {
                let reason = error.reason;
                self.outcome(Err(error), cx);
                Read::Failed(reason)
            }
        }
    }

    /// Act on an error of the state machine. True when there was none.
    pub fn outcome(&mut self, outcome: Result<(), Error>, cx: &mut Cx<'_>) -> bool {
        let Err(error) = outcome else { return true };
        match error.scope {
            Scope::Connection => self.close(code(error.code), error.reason, cx),
            Scope::Stream(stream) => {
                self.cancel(stream_id(stream), code(error.code), cx);
            }
        }
        false
    }

    /// Give up on a request stream, in both directions.
    pub fn cancel(&mut self, id: StreamId, code: VarInt, cx: &mut Cx<'_>) {
        if id.dir() == Dir::Bi {
            let _ = cx.quic.send_stream(id).reset(code);
        }
        let _ = cx.quic.recv_stream(id).stop(code);
        self.h3.abandon(id.into());
        self.h3.finished(id.into());
    }

    /// Whether everything that was written on request streams has been acknowledged.
    pub fn is_settled(&self, cx: &mut Cx<'_>) -> bool {
        let ours = self.ours.iter().filter(|(id, _)| id.is_some()).count();
        cx.quic.streams().send_streams() <= ours
    }

    pub fn close(&mut self, code: VarInt, reason: &'static str, cx: &mut Cx<'_>) {
        cx.quic.close(cx.now, code, Bytes::from_static(reason.as_bytes()));
        self.closed = true;
    }

    /// Write what the state machine has to say on our own streams.
    pub fn flush(&mut self, cx: &mut Cx<'_>) {
        if self.closed {
            return;
        }
        while let Some((uni, bytes)) = self.h3.poll_transmit() {
            let index = match uni {
                Uni::Control => 0,
                Uni::Encoder => 1,
                Uni::Decoder => 2,
            };
            self.ours[index].1.extend_from_slice(&bytes);
        }
        if self.ours.iter().any(|(_, pending)| pending.len() > BACKLOG) {
            let reason = "what concerns the whole connection is not read";
            return self.close(code(Code::ExcessiveLoad), reason, cx);
        }
        for (id, pending) in &mut self.ours {
            if pending.is_empty() {
                continue;
            }
            if id.is_none() {
                // RFC 9114 section 6.2: a peer must permit these three. One that does not hears nothing.
                *id = cx.quic.streams().open(Dir::Uni);
            }
            let Some(id) = *id else { continue };
            let mut stream = cx.quic.send_stream(id);
            while let Ok(written) = stream.write(pending) {
                let _ = pending.split_to(written);
                if pending.is_empty() {
                    // Idle connections keep no buffer for what they once said.
                    *pending = BytesMut::new();
                    break;
                }
            }
        }
    }
}

/// A stream ID of the state machine as QUIC wants it. It came from QUIC, so it is in range.
pub fn stream_id(id: u64) -> StreamId {
    StreamId::from(VarInt::from_u64(id).unwrap_or(VarInt::MAX))
}
