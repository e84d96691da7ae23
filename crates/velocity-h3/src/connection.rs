//! The state machine of a connection. See the [crate](crate) for how it is driven.

use std::collections::{BTreeMap, HashMap, VecDeque};
use std::hash::{BuildHasherDefault, Hasher};

use bytes::{Bytes, BytesMut};
use http::{HeaderMap, Method};

use crate::code::{Code, Error};
use crate::control::{Control, Statement, Uni as PeerUni, stream_type};
use crate::fields::{Fields, header_lines, request_lines, response_lines};
use crate::frame::{self, kind};
use crate::message::{Message, Step};
use crate::qpack::{DecodeError, Decoded, Decoder, DecoderConfig, Encoder, STATIC_PREFIX};
use crate::settings::{Settings, grease};
use crate::{Config, Event, Priority, Side, StreamId, Uni, varint};

/// Priorities that came before the requests they are for (RFC 9218 section 7).
const EARLY_PRIORITIES: usize = 128;

/// One side of an HTTP/3 connection.
pub struct Connection {
    side: Side,
    config: Config,
    decoder: Decoder,
    encoder: Encoder,
    messages: HashMap<StreamId, Message, BuildHasherDefault<StreamHasher>>,
    unis: HashMap<StreamId, PeerUni, BuildHasherDefault<StreamHasher>>,
    /// Which of the peer's control, encoder and decoder streams have been seen.
    seen: [bool; 3],
    settings: Option<Settings>,
    events: VecDeque<Event>,
    control: BytesMut,
    /// Whether the type of our encoder and decoder stream has been sent.
    typed: [bool; 2],
    /// The first request that will not be answered.
    goaway: Option<u64>,
    priorities: BTreeMap<StreamId, Priority>,
    scratch: BytesMut,
}

impl Connection {
    /// A server's side.
    pub fn server(config: Config) -> Self {
        Self::new(Side::Server, config)
    }

    /// A client's side.
    pub fn client(config: Config) -> Self {
        Self::new(Side::Client, config)
    }

    fn new(side: Side, config: Config) -> Self {
        let mut control = BytesMut::new();
        varint::encode(stream_type::CONTROL, &mut control);
        let mut settings = BytesMut::new();
        Settings::encode(&config, &mut settings);
        frame::header(kind::SETTINGS, settings.len() as u64, &mut control);
        control.extend_from_slice(&settings);
        for (kind, payload) in &config.preface {
            frame::header(*kind, payload.len() as u64, &mut control);
            control.extend_from_slice(payload);
        }
        if let Some(random) = config.grease {
            frame::header(grease(random.rotate_left(17)), 0, &mut control);
        }
        Self {
            side,
            decoder: Decoder::new(DecoderConfig {
                max_table_capacity: config.qpack_capacity,
                max_blocked_streams: config.qpack_blocked_streams,
                max_section_size: config.max_field_section_size,
                max_fields: config.max_fields,
            }),
            encoder: Encoder::new(config.qpack_encoder_capacity),
            messages: HashMap::default(),
            unis: HashMap::default(),
            seen: [false; 3],
            settings: None,
            events: VecDeque::new(),
            control,
            typed: [false; 2],
            goaway: None,
            priorities: BTreeMap::new(),
            scratch: BytesMut::new(),
            config,
        }
    }

    /// Bytes of a stream, in order; `fin` with the last ones.
    ///
    /// # Errors
    /// The peer broke a rule. An error of a stream leaves the rest of the connection as it is.
    pub fn receive(&mut self, stream: StreamId, data: Bytes, fin: bool) -> Result<(), Error> {
        if stream & 0b10 != 0 {
            return self.receive_uni(stream, data, fin);
        }
        if stream & 0b01 != 0 {
            // Section 6.1: servers open no bidirectional streams.
            return Err(Error::connection(
                Code::StreamCreationError,
                "a bidirectional stream of a server",
            ));
        }
        if self.side == Side::Server && !self.messages.contains_key(&stream) {
            if self.goaway.is_some_and(|first| stream >= first) {
                return Err(Error::stream(stream, Code::RequestRejected, "a request after GOAWAY"));
            }
            self.messages.insert(stream, Message::new(Side::Server, Method::GET));
        }
        let result = self.read(stream, data, fin);
        if result.is_err() {
            self.forget(stream);
        }
        result
    }

    fn read(&mut self, stream: StreamId, mut data: Bytes, fin: bool) -> Result<(), Error> {
        loop {
            let Some(message) = self.messages.get_mut(&stream) else {
                return Ok(());
            };
            if message.discard {
                if fin {
                    self.messages.remove(&stream);
                }
                return Ok(());
            }
            match message.read(stream, &mut data, &self.config)? {
                Step::Data(data) => self.events.push_back(Event::Data { stream, data }),
                Step::Section(section) => {
                    if !self.section(stream, &section)? {
                        if let Some(message) = self.messages.get_mut(&stream) {
                            message.blocked = Some(Box::new((section, data, fin)));
                        }
                        return Ok(());
                    }
                }
                Step::TooLarge => self.too_large(stream)?,
                Step::Empty => break,
            }
        }
        if fin && let Some(message) = self.messages.remove(&stream) {
            message.end(stream)?;
            match self.events.back_mut() {
                // The end belongs to a head that nothing follows.
                Some(Event::Request { stream: of, end, .. }) if *of == stream => *end = true,
                Some(Event::Response { stream: of, end, head })
                    if *of == stream && !head.status().is_informational() =>
                {
                    *end = true;
                }
                _ => self.events.push_back(Event::End { stream }),
            }
        }
        Ok(())
    }

    /// Decode a field section. False when it has to wait for the encoder stream.
    fn section(&mut self, stream: StreamId, section: &Bytes) -> Result<bool, Error> {
        let Some(message) = self.messages.get_mut(&stream) else {
            return Ok(true);
        };
        let mut fields = Fields::new(message.section_kind());
        match self.decoder.decode(stream, section, &mut fields) {
            Ok(Decoded::Complete) => {}
            Ok(Decoded::Blocked) => return Ok(false),
            Err(DecodeError::Qpack(error)) => return Err(qpack_error(&error)),
            Err(DecodeError::TooLarge) => {
                self.too_large(stream)?;
                return Ok(true);
            }
            Err(DecodeError::Sink(reason)) => return Err(Error::stream(stream, Code::MessageError, reason)),
        }
        let event = message.section(stream, fields, self.config.connect_protocol)?;
        if let Some(mut event) = event {
            if let Event::Request { priority, .. } = &mut event {
                if let Some(early) = self.priorities.remove(&stream) {
                    *priority = early; // RFC 9218 section 7: the frame counts more than the field
                }
                self.credit();
            }
            self.events.push_back(event);
        }
        Ok(true)
    }

    /// A field section is larger than is accepted.
    fn too_large(&mut self, stream: StreamId) -> Result<(), Error> {
        let Some(message) = self.messages.get_mut(&stream) else {
            return Ok(());
        };
        if self.side == Side::Server && message.section_kind() == crate::fields::Kind::Request {
            message.discard = true;
            self.events.push_back(Event::TooLarge { stream });
            return Ok(());
        }
        Err(Error::stream(
            stream,
            Code::ExcessiveLoad,
            "a field section is too large",
        ))
    }

    /// Requests give the peer a reason to send frames on its control stream.
    fn credit(&mut self) {
        for uni in self.unis.values_mut() {
            if let PeerUni::Control(control) = uni {
                control.credit();
            }
        }
    }

    fn receive_uni(&mut self, stream: StreamId, mut data: Bytes, fin: bool) -> Result<(), Error> {
        let uni = self
            .unis
            .entry(stream)
            .or_insert_with(|| PeerUni::Unknown(BytesMut::new()));
        if let PeerUni::Unknown(begun) = uni {
            let Some(kind) = control_type(begun, &mut data) else {
                if fin {
                    self.unis.remove(&stream); // section 6.2: a stream may end before its type
                }
                return Ok(());
            };
            let index = match kind {
                stream_type::CONTROL => 0,
                stream_type::QPACK_ENCODER => 1,
                stream_type::QPACK_DECODER => 2,
                stream_type::PUSH if self.side == Side::Server => {
                    return Err(Error::connection(
                        Code::StreamCreationError,
                        "a push stream of a client",
                    ));
                }
                stream_type::PUSH => return Err(Error::connection(Code::IdError, "a push that was not permitted")),
                _ => {
                    // Section 6.2: not an error. It is not read either.
                    *uni = PeerUni::Ignored;
                    return match fin {
                        true => {
                            self.unis.remove(&stream);
                            Ok(())
                        }
                        false => Err(Error::stream(
                            stream,
                            Code::StreamCreationError,
                            "a stream of an unknown type",
                        )),
                    };
                }
            };
            if std::mem::replace(&mut self.seen[index], true) {
                return Err(Error::connection(
                    Code::StreamCreationError,
                    "a second stream of a kind there is one of",
                ));
            }
            *uni = match index {
                0 => PeerUni::Control(Box::new(Control::new())),
                1 => PeerUni::Encoder,
                _ => PeerUni::Decoder,
            };
        }
        match uni {
            PeerUni::Control(_) => self.read_control(stream, &mut data)?,
            PeerUni::Encoder => {
                self.decoder
                    .encoder_stream(&data)
                    .map_err(|error| qpack_error(&error))?;
                self.unblock()?;
            }
            PeerUni::Decoder => self
                .encoder
                .decoder_stream(&data)
                .map_err(|error| qpack_error(&error))?,
            PeerUni::Ignored | PeerUni::Unknown(_) => {}
        }
        match self.unis.get(&stream) {
            Some(PeerUni::Control(_) | PeerUni::Encoder | PeerUni::Decoder) if fin => Err(closed_critical()),
            _ if fin => {
                self.unis.remove(&stream);
                Ok(())
            }
            _ => Ok(()),
        }
    }

    fn read_control(&mut self, stream: StreamId, data: &mut Bytes) -> Result<(), Error> {
        loop {
            let Some(PeerUni::Control(control)) = self.unis.get_mut(&stream) else {
                return Ok(());
            };
            let Some(statement) = control.read(data, self.side, &self.config.extensions)? else {
                return Ok(());
            };
            match statement {
                Statement::Settings(settings) => {
                    self.encoder
                        .permit(settings.qpack_max_table_capacity, settings.qpack_blocked_streams);
                    self.settings = Some(settings);
                    self.events.push_back(Event::Settings);
                }
                Statement::Goaway(id) => self.events.push_back(Event::Goaway { id }),
                Statement::Priority { stream, priority } => {
                    if self.goaway.is_some_and(|first| stream >= first) {
                        continue;
                    }
                    self.events.push_back(Event::Priority { stream, priority });
                    if self.priorities.len() < EARLY_PRIORITIES {
                        self.priorities.insert(stream, priority);
                    }
                }
                Statement::Extension { kind, payload } => self.events.push_back(Event::Extension { kind, payload }),
            }
        }
    }

    /// Go on with streams whose field section can be decoded now.
    fn unblock(&mut self) -> Result<(), Error> {
        while let Some(stream) = self.decoder.unblocked() {
            let Some(held) = self
                .messages
                .get_mut(&stream)
                .and_then(|message| message.blocked.take())
            else {
                continue;
            };
            let (section, rest, fin) = *held;
            // It was counted as unblocked: to be blocked again would be an error of the decoder.
            if !self.section(stream, &section)? {
                return Err(Error::connection(Code::InternalError, "a section was blocked twice"));
            }
            self.read(stream, rest, fin)?;
            self.events.push_back(Event::Unblocked { stream });
        }
        Ok(())
    }

    /// The peer has reset its side of a stream.
    ///
    /// # Errors
    /// The stream was one that must live as long as the connection.
    pub fn reset(&mut self, stream: StreamId, code: u64) -> Result<(), Error> {
        if stream & 0b10 != 0 {
            return match self.unis.remove(&stream) {
                Some(PeerUni::Control(_) | PeerUni::Encoder | PeerUni::Decoder) => Err(closed_critical()),
                Some(PeerUni::Unknown(_) | PeerUni::Ignored) | None => Ok(()),
            };
        }
        self.forget(stream);
        self.events.push_back(Event::Reset { stream, code });
        Ok(())
    }

    /// The peer wants no more of one of our streams.
    ///
    /// # Errors
    /// The stream was one that must live as long as the connection.
    pub fn stopped(&mut self, stream: StreamId, code: u64) -> Result<(), Error> {
        if stream & 0b10 != 0 {
            return Err(closed_critical());
        }
        self.events.push_back(Event::Stopped { stream, code });
        Ok(())
    }

    /// A QUIC datagram has come (RFC 9297 section 2.1).
    ///
    /// # Errors
    /// It belongs to no request stream.
    pub fn datagram(&mut self, mut data: Bytes) -> Result<(), Error> {
        let wrong = Err(Error::connection(
            Code::DatagramError,
            "a datagram that belongs to no stream",
        ));
        let Some((quarter, len)) = varint::decode(&data) else {
            return wrong;
        };
        if quarter > varint::MAX / 4 || !self.config.datagrams {
            return wrong;
        }
        let _ = data.split_to(len);
        self.events.push_back(Event::Datagram {
            stream: quarter * 4,
            data,
        });
        Ok(())
    }

    /// What has happened, in order.
    pub fn poll_event(&mut self) -> Option<Event> {
        self.events.pop_front()
    }

    /// Bytes for one of our own unidirectional streams. The first ones of each begin with its type.
    pub fn poll_transmit(&mut self) -> Option<(Uni, Bytes)> {
        if !self.control.is_empty() {
            return Some((Uni::Control, std::mem::take(&mut self.control).freeze()));
        }
        for (index, uni, kind) in [
            (0, Uni::Encoder, stream_type::QPACK_ENCODER),
            (1, Uni::Decoder, stream_type::QPACK_DECODER),
        ] {
            match uni {
                Uni::Encoder => self.encoder.take_instructions(&mut self.scratch),
                _ => self.decoder.take_instructions(&mut self.scratch),
            }
            if self.scratch.is_empty() {
                continue;
            }
            let mut out = BytesMut::new();
            if !std::mem::replace(&mut self.typed[index], true) {
                varint::encode(kind, &mut out);
            }
            out.extend_from_slice(&self.scratch);
            self.scratch.clear();
            return Some((uni, out.freeze()));
        }
        None
    }

    /// False while a field section of this stream waits for the QPACK encoder stream. More of it should
    /// not be read from QUIC until [`Event::Unblocked`].
    pub fn wants_data(&self, stream: StreamId) -> bool {
        self.messages
            .get(&stream)
            .is_none_or(|message| message.blocked.is_none())
    }

    /// Begin a request on a stream that was just opened: append its HEADERS frame. `protocol` makes it an
    /// extended CONNECT (RFC 9220).
    ///
    /// # Errors
    /// The server has said that it takes no more requests, or no extended CONNECT.
    pub fn open_request(
        &mut self,
        stream: StreamId,
        head: &http::Request<()>,
        protocol: Option<&str>,
        out: &mut BytesMut,
    ) -> Result<(), Error> {
        if protocol.is_some() && !self.settings.is_some_and(|settings| settings.connect_protocol) {
            return Err(Error::stream(
                stream,
                Code::ConnectError,
                "the server takes no extended CONNECT",
            ));
        }
        self.messages
            .insert(stream, Message::new(Side::Client, head.method().clone()));
        self.encoder
            .encode(stream, request_lines(head, protocol), &mut self.scratch);
        self.headers_frame(out);
        Ok(())
    }

    /// Append the HEADERS frame of a response, or of an interim one.
    ///
    /// # Errors
    /// None yet; a peer may one day limit what can be said to it.
    pub fn respond(&mut self, stream: StreamId, head: &http::response::Parts, out: &mut BytesMut) -> Result<(), Error> {
        self.encoder.encode(stream, response_lines(head), &mut self.scratch);
        self.headers_frame(out);
        Ok(())
    }

    /// Append a HEADERS frame made of lines that were encoded before, by
    /// [`encode_lines`](crate::qpack::encode_lines).
    pub fn respond_encoded(lines: &[&[u8]], out: &mut BytesMut) {
        let len = STATIC_PREFIX.len() + lines.iter().map(|lines| lines.len()).sum::<usize>();
        frame::header(kind::HEADERS, len as u64, out);
        out.extend_from_slice(&STATIC_PREFIX);
        for lines in lines {
            out.extend_from_slice(lines);
        }
    }

    /// Append the HEADERS frame of trailers.
    pub fn trailers(&mut self, stream: StreamId, fields: &HeaderMap, out: &mut BytesMut) {
        self.encoder
            .encode(stream, header_lines(fields, false), &mut self.scratch);
        self.headers_frame(out);
    }

    fn headers_frame(&mut self, out: &mut BytesMut) {
        frame::header(kind::HEADERS, self.scratch.len() as u64, out);
        out.extend_from_slice(&self.scratch);
        self.scratch.clear();
    }

    /// Append the header of a DATA frame. The payload goes to QUIC as it is.
    pub fn data_header(len: u64, out: &mut BytesMut) {
        frame::header(kind::DATA, len, out);
    }

    /// Append what comes before the payload of a datagram that belongs to `stream`.
    pub fn datagram_header(stream: StreamId, out: &mut BytesMut) {
        varint::encode(stream / 4, out);
    }

    /// Our side of a stream is finished. What still comes on the other is read as before.
    pub fn finished(&mut self, stream: StreamId) {
        self.priorities.remove(&stream);
    }

    /// Nobody wants the rest of what comes on a stream.
    pub fn abandon(&mut self, stream: StreamId) {
        if stream & 0b10 == 0 {
            self.forget(stream);
        }
    }

    fn forget(&mut self, stream: StreamId) {
        self.priorities.remove(&stream);
        if self.messages.remove(&stream).is_some() {
            self.decoder.cancel(stream);
        }
    }

    /// Nothing is under way: give back what only a busy connection needs.
    pub fn rest(&mut self) {
        self.decoder.rest();
        self.scratch = BytesMut::new();
        self.events = VecDeque::new();
    }

    /// Say that requests from `id` on will not be answered (section 5.2).
    ///
    /// # Errors
    /// An earlier one was named before.
    pub fn goaway(&mut self, id: u64) -> Result<(), Error> {
        if self.goaway.is_some_and(|before| id > before) {
            return Err(Error::connection(
                Code::InternalError,
                "GOAWAY would name a later stream than before",
            ));
        }
        self.goaway = Some(id);
        let mut payload = BytesMut::new();
        varint::encode(id, &mut payload);
        frame::header(kind::GOAWAY, payload.len() as u64, &mut self.control);
        self.control.extend_from_slice(&payload);
        Ok(())
    }

    /// Tell the server that an answer has another priority now (RFC 9218 section 7.2).
    pub fn priority_update(&mut self, stream: StreamId, priority: Priority) {
        let mut payload = BytesMut::new();
        varint::encode(stream, &mut payload);
        payload.extend_from_slice(priority.to_value().as_bytes());
        frame::header(kind::PRIORITY_UPDATE, payload.len() as u64, &mut self.control);
        self.control.extend_from_slice(&payload);
    }

    /// What the peer permits, once it has said so.
    pub fn peer_settings(&self) -> Option<&Settings> {
        self.settings.as_ref()
    }
}

fn control_type(begun: &mut BytesMut, data: &mut Bytes) -> Option<u64> {
    crate::control::stream_type(begun, data)
}

fn closed_critical() -> Error {
    Error::connection(
        Code::ClosedCriticalStream,
        "a stream ended that must live as long as the connection",
    )
}

fn qpack_error(error: &crate::qpack::Error) -> Error {
    use crate::qpack::Error::{DecoderStream, DecompressionFailed, EncoderStream};
    match error {
        DecompressionFailed(reason) => Error::connection(Code::QpackDecompressionFailed, reason),
        EncoderStream(reason) => Error::connection(Code::QpackEncoderStreamError, reason),
        DecoderStream(reason) => Error::connection(Code::QpackDecoderStreamError, reason),
    }
}

/// Stream IDs are numbers that a peer can only count up: mixing their bits once is enough.
#[derive(Default)]
pub struct StreamHasher(u64);

impl Hasher for StreamHasher {
    fn finish(&self) -> u64 {
        self.0
    }

    fn write(&mut self, bytes: &[u8]) {
        for &byte in bytes {
            self.write_u64(u64::from(byte) ^ self.0);
        }
    }

    fn write_u64(&mut self, id: u64) {
        self.0 = id.wrapping_mul(0x9e37_79b9_7f4a_7c15).rotate_left(26);
    }
}
