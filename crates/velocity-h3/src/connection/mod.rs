//! The state machine of one HTTP/3 connection (RFC 9114).
//!
//! An HTTP/3 connection is a handful of byte streams with very different lives. Each has its part here:
//!
//! * a **request stream** carries one request and its response; what may come on it next is the state of a
//!   [`request::Stream`], of which there is one in a table for as long as the stream is of interest;
//! * the peer's **control stream** begins with SETTINGS and never ends; [`control::Control`] makes frames of it, and
//!   what they mean to the connection is decided in this file;
//! * the peer's **encoder and decoder streams** belong to QPACK, and their bytes go there;
//! * any other **unidirectional stream** is told apart by [`incoming::Incoming`] and refused;
//! * **streams of WebTransport sessions** leave as soon as they are known to be that;
//! * **our own** unidirectional streams are only bytes to be sent, see [`outgoing`].
//!
//! Bytes go in by [`Connection::receive`], in whatever pieces the transport has. What they mean comes out as
//! [`Event`]s. There is no clock and nothing is sent: the driver takes bytes for our unidirectional streams from
//! [`Connection::poll_transmit`], and writes to request streams itself what `respond` and its like have encoded.
//!
//! Only one thing can make a stream wait: a field section that refers to insertions which have not arrived on the
//! encoder stream. Then the section and the rest of the chunk it came in are held, [`Connection::wants_data`] is
//! false, and flow control holds back what the driver does not read.

mod control;
mod incoming;
mod outgoing;
mod pending;
mod request;

use std::collections::VecDeque;
use std::collections::hash_map::Entry;

use bytes::Bytes;

pub use outgoing::Uni;

use crate::config::Config;
use crate::error::{Code, Error, Scope};
use crate::event::Event;
use crate::settings::Settings;
use crate::table::Table;
use crate::{StreamId, qpack, varint};
use control::{Control, Frame};
use incoming::{Incoming, Role};
use outgoing::Outgoing;
use pending::Pending;
use request::{Context, Stream};

/// How many frames the control stream may carry for each request, such as a PRIORITY_UPDATE whenever something scrolls
/// into view, and how many beyond that: those have no effect that would be worth their cost (section 10.5).
const FRAMES_PER_REQUEST: u64 = 4;
const IDLE_FRAMES: u64 = 1000;

/// Which end of the connection this is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Side {
    Client,
    Server,
}

/// One HTTP/3 connection, of a server or of a client.
///
/// What a driver has to keep to:
///
/// * after an error with the scope of a stream, [`Event::Failed`] or [`Connection::abandon`], it hands in nothing more
///   of that stream;
/// * after every call it polls events and transmissions until there are none, and it bounds what of the transmissions
///   waits for the peer's flow control;
/// * it says [`Connection::finished`] for each request stream whose sending side is over, which lets go of it.
#[derive(Debug)]
pub struct Connection {
    side: Side,
    config: Config,
    events: VecDeque<Event>,
    decoder: qpack::Decoder,
    encoder: qpack::Encoder,
    streams: Table<Stream>,
    incoming: Incoming,
    control: Control,
    outgoing: Outgoing,
    /// On a server: priorities that came before their requests.
    pending: Pending,
    /// Requests received by a server, or opened by a client.
    requests: u64,
    /// Frames on the peer's control stream after SETTINGS.
    control_frames: u64,
    peer_settings: Option<Settings>,
    /// The last GOAWAY in each direction. IDs can only fall (section 5.2).
    peer_goaway: Option<u64>,
    our_goaway: Option<u64>,
    /// On a server: the client's MAX_PUSH_ID, which can only rise.
    max_push_id: Option<u64>,
}

impl Connection {
    /// The server's end.
    #[must_use]
    pub fn server(config: Config) -> Self {
        Self::new(Side::Server, config)
    }

    /// The client's end.
    #[must_use]
    pub fn client(config: Config) -> Self {
        Self::new(Side::Client, config)
    }

    fn new(side: Side, config: Config) -> Self {
        let decoder = qpack::Decoder::new(qpack::DecoderConfig {
            max_table_capacity: config.qpack_capacity,
            max_blocked_streams: config.qpack_blocked_streams,
            max_section_size: config.max_field_section_size,
            max_fields: config.max_fields,
        });
        Self {
            side,
            events: VecDeque::new(),
            decoder,
            encoder: qpack::Encoder::new(config.qpack_encoder_capacity),
            streams: Table::default(),
            incoming: Incoming::default(),
            control: Control::default(),
            outgoing: Outgoing::new(&config, side),
            pending: Pending::default(),
            requests: 0,
            control_frames: 0,
            peer_settings: None,
            peer_goaway: None,
            our_goaway: None,
            max_push_id: None,
            config,
        }
    }

    /// Hand in the next bytes of a request stream or of one of the peer's unidirectional streams; `fin` if they are
    /// its last.
    ///
    /// # Errors
    ///
    /// What the peer did wrong. The scope of a unidirectional stream means that it is of an unknown type and should be
    /// stopped; there is nothing to reset.
    pub fn receive(&mut self, stream: StreamId, data: Bytes, fin: bool) -> Result<(), Error> {
        match (self.side, stream & 3) {
            (_, 0) => {
                let outcome = self.receive_request(stream, data, fin);
                self.settle(stream, outcome)
            }
            (Side::Server, 2) | (Side::Client, 3) => self.receive_uni(stream, data, fin),
            // Section 6.1.
            (Side::Client, 1) => Err(Error::connection(
                Code::StreamCreationError,
                "a bidirectional stream of the server",
            )),
            // Ours: nothing can come on it.
            _ => Ok(()),
        }
    }

    /// The peer reset a stream.
    ///
    /// # Errors
    ///
    /// The stream has to live as long as the connection.
    pub fn reset(&mut self, stream: StreamId, code: u64) -> Result<(), Error> {
        if stream & 2 != 0 {
            return self.incoming.close(stream);
        }
        if self.end_receiving(stream) {
            self.events.push_back(Event::Reset { stream, code });
        }
        Ok(())
    }

    /// The peer asked us to stop sending on a stream.
    ///
    /// # Errors
    ///
    /// The stream has to live as long as the connection, as do all unidirectional streams that are opened from here.
    pub fn stopped(&mut self, stream: StreamId, code: u64) -> Result<(), Error> {
        if stream & 2 != 0 {
            return Err(Error::connection(
                Code::ClosedCriticalStream,
                "the peer stopped one of our critical streams",
            ));
        }
        if self.streams.get(&stream).is_some_and(Stream::is_sending) {
            self.events.push_back(Event::Stopped { stream, code });
        }
        Ok(())
    }

    /// Hand in a QUIC datagram. It is dropped unless datagrams are configured and its request is being received (RFC
    /// 9297, section 2.1).
    ///
    /// # Errors
    ///
    /// The datagram cannot be parsed.
    pub fn datagram(&mut self, mut data: Bytes) -> Result<(), Error> {
        let malformed = Error::connection(Code::DatagramError, "a datagram without the ID of a stream");
        let (quarter, len) = varint::decode(&data).ok_or(malformed)?;
        if quarter > varint::MAX / 4 {
            return Err(malformed);
        }
        let stream = quarter * 4;
        if self.config.datagrams
            && self
                .streams
                .get(&stream)
                .is_some_and(|known| known.takes_datagrams(self.side))
        {
            let data = data.split_off(len);
            self.events.push_back(Event::Datagram { stream, data });
        }
        Ok(())
    }

    /// Nothing is under way: gives back what only a busy connection needs.
    pub fn rest(&mut self) {
        self.decoder.rest();
        self.events = VecDeque::new();
    }

    /// What the peer did, in order.
    pub fn poll_event(&mut self) -> Option<Event> {
        self.events.pop_front()
    }

    /// False while a field section on this stream waits for the QPACK encoder stream: read no more of it until
    /// [`Event::Unblocked`].
    #[must_use]
    pub fn wants_data(&self, stream: StreamId) -> bool {
        !self.streams.get(&stream).is_some_and(Stream::is_blocked)
    }

    /// Our side of a request stream is over, finished or reset.
    pub fn finished(&mut self, stream: StreamId) {
        if let Some(known) = self.streams.get_mut(&stream) {
            known.end_sending();
            self.release(stream);
        }
    }

    /// Receive no more of a request stream, which the driver stops. Until it is [`Self::finished`],
    /// [`Event::Stopped`] and [`Event::Priority`] can still come of it, and nothing else.
    pub fn abandon(&mut self, stream: StreamId) {
        self.end_receiving(stream);
        self.events
            .retain(|event| event.stream() != Some(stream) || matches!(event, Event::Stopped { .. }));
    }

    /// What the peer has told about itself; `None` until [`Event::Settings`].
    #[must_use]
    pub const fn peer_settings(&self) -> Option<&Settings> {
        self.peer_settings.as_ref()
    }

    fn receive_request(&mut self, id: StreamId, data: Bytes, fin: bool) -> Result<(), Error> {
        let stream = match self.streams.entry(id) {
            Entry::Occupied(known) => known.into_mut(),
            // A response to a request that was given up.
            Entry::Vacant(_) if self.side == Side::Client => return Ok(()),
            Entry::Vacant(vacant) => {
                if self.our_goaway.is_some_and(|limit| id >= limit) {
                    return Err(Error::stream(id, Code::RequestRejected, "a request after GOAWAY"));
                }
                self.requests += 1;
                vacant.insert(Stream::request(id))
            }
        };
        let mut context = Context {
            side: self.side,
            config: &self.config,
            decoder: &mut self.decoder,
            events: &mut self.events,
            pending: &mut self.pending,
        };
        stream.receive(&mut context, data, fin)?;
        if stream.is_over() {
            self.streams.remove(&id);
        }
        Ok(())
    }

    /// Nothing more of a message is of interest, or will come. Whether that was not clear already.
    fn end_receiving(&mut self, stream: StreamId) -> bool {
        let Some(known) = self.streams.get_mut(&stream) else {
            return false;
        };
        let news = known.end_receiving();
        if news {
            self.decoder.cancel(stream);
        }
        self.release(stream);
        news
    }

    /// Forget a stream that failed, and what was to be told of it.
    fn settle(&mut self, id: StreamId, outcome: Result<(), Error>) -> Result<(), Error> {
        if let Err(Error {
            scope: Scope::Stream(_),
            ..
        }) = outcome
        {
            self.streams.remove(&id);
            self.decoder.cancel(id);
            self.events.retain(|event| event.stream() != Some(id));
        }
        outcome
    }

    /// Forget a stream that is over in both directions.
    fn release(&mut self, id: StreamId) {
        if self.streams.get(&id).is_some_and(Stream::is_over) {
            self.streams.remove(&id);
        }
    }

    fn receive_uni(&mut self, stream: StreamId, mut data: Bytes, fin: bool) -> Result<(), Error> {
        let webtransport = self.side == Side::Server && self.config.webtransport_sessions > 0;
        match self.incoming.role(stream, &mut data, self.side, webtransport)? {
            None => {}
            Some(Role::WebTransport(session)) => {
                self.events.push_back(Event::WebTransport {
                    stream,
                    session,
                    data,
                    fin,
                });
                return Ok(());
            }
            Some(Role::Control) => self.receive_control(data)?,
            Some(Role::Encoder) => {
                self.decoder.encoder_stream(&data).map_err(broken)?;
                self.unblock()?;
            }
            Some(Role::Decoder) => self.encoder.decoder_stream(&data).map_err(broken)?,
        }
        if fin { self.incoming.close(stream) } else { Ok(()) }
    }

    /// Go on with the streams whose sections can be decoded now.
    fn unblock(&mut self) -> Result<(), Error> {
        while let Some(id) = self.decoder.unblocked() {
            let Some(stream) = self.streams.get_mut(&id) else {
                continue;
            };
            let mut context = Context {
                side: self.side,
                config: &self.config,
                decoder: &mut self.decoder,
                events: &mut self.events,
                pending: &mut self.pending,
            };
            let outcome = stream.resume(&mut context);
            let waits = stream.is_blocked();
            match self.settle(id, outcome) {
                // The next section, in what came behind the first one.
                Ok(()) if waits => {}
                Ok(()) => {
                    self.release(id);
                    self.events.push_back(Event::Unblocked { stream: id });
                }
                Err(error) if error.scope == Scope::Connection => return Err(error),
                Err(error) => self.events.push_back(Event::Failed(error)),
            }
        }
        Ok(())
    }

    fn receive_control(&mut self, mut data: Bytes) -> Result<(), Error> {
        while let Some(frame) = self.control.next(&mut data, self.side, &self.config.extensions)? {
            if !matches!(frame, Frame::Settings(_)) {
                self.control_frames += 1;
            }
            if self.control_frames > IDLE_FRAMES + self.requests.saturating_mul(FRAMES_PER_REQUEST).min(varint::MAX) {
                return Err(Error::connection(
                    Code::ExcessiveLoad,
                    "too many frames on the control stream",
                ));
            }
            self.control_frame(frame)?;
        }
        Ok(())
    }

    fn control_frame(&mut self, frame: Frame) -> Result<(), Error> {
        match frame {
            Frame::Settings(settings) => {
                self.encoder
                    .permit(settings.qpack_max_table_capacity, settings.qpack_blocked_streams);
                self.peer_settings = Some(settings);
                self.events.push_back(Event::Settings);
            }
            Frame::Goaway(id) => {
                // Section 7.2.6. A client's GOAWAY has a push ID, which can be any number.
                if self.side == Side::Client && id & 3 != 0 {
                    return Err(Error::connection(
                        Code::IdError,
                        "GOAWAY with an ID that is not of a request",
                    ));
                }
                if self.peer_goaway.is_some_and(|before| id > before) {
                    return Err(Error::connection(Code::IdError, "GOAWAY with a larger ID than before"));
                }
                self.peer_goaway = Some(id);
                self.events.push_back(Event::Goaway { id });
            }
            Frame::MaxPushId(id) => {
                if self.max_push_id.is_some_and(|before| id < before) {
                    return Err(Error::connection(
                        Code::IdError,
                        "MAX_PUSH_ID with a smaller ID than before",
                    ));
                }
                self.max_push_id = Some(id);
            }
            Frame::Priority(id, priority) => {
                if id & 3 != 0 {
                    return Err(Error::connection(
                        Code::IdError,
                        "PRIORITY_UPDATE for what is not a request",
                    ));
                }
                match self.streams.get(&id) {
                    Some(stream) if stream.has_head() => {
                        self.events.push_back(Event::Priority { stream: id, priority });
                    }
                    _ => self.pending.insert(id, priority),
                }
            }
            Frame::Extension(kind, payload) => self.events.push_back(Event::Extension { kind, payload }),
            Frame::Skipped => {}
        }
        Ok(())
    }
}

/// An error of QPACK, which always ends the connection (RFC 9204, section 6).
const fn broken(error: qpack::Error) -> Error {
    match error {
        qpack::Error::DecompressionFailed(reason) => Error::connection(Code::QpackDecompressionFailed, reason),
        qpack::Error::EncoderStream(reason) => Error::connection(Code::QpackEncoderStreamError, reason),
        qpack::Error::DecoderStream(reason) => Error::connection(Code::QpackDecoderStreamError, reason),
    }
}
