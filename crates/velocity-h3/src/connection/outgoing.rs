//! What we say: HEADERS frames for request streams, and the bytes of our own unidirectional streams.
//!
//! What goes on a request stream is appended to a buffer of the driver, which writes it; DATA is a header from here
//! and a payload that never passes through. Our three unidirectional streams are filled by many calls, so their bytes
//! wait here until the driver takes them. A QPACK stream is not opened before there is something to say on it (RFC
//! 9204, section 4.2).

use bytes::{Bytes, BytesMut};
use http::{HeaderMap, Request, response};

use super::request::Stream;
use super::{Connection, Side};
use crate::config::Config;
use crate::error::{Code, Error};
use crate::frame::{self, Header};
use crate::message::{Lines, Malformed, request_lines, response_lines, trailer_lines};
use crate::priority::Priority;
use crate::qpack::STATIC_PREFIX;
use crate::settings::Settings;
use crate::{StreamId, varint};

/// One of our unidirectional streams. The driver opens it when it is first named.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Uni {
    /// The control stream.
    Control,
    /// The stream of our QPACK encoder.
    Encoder,
    /// The stream of our QPACK decoder.
    Decoder,
}

impl Uni {
    /// What each begins with (RFC 9114, section 6.2.1; RFC 9204, section 4.2).
    const fn kind(self) -> u8 {
        match self {
            Self::Control => 0x00,
            Self::Encoder => 0x02,
            Self::Decoder => 0x03,
        }
    }
}

/// What waits to be sent on our unidirectional streams.
#[derive(Debug)]
pub(super) struct Outgoing {
    control: BytesMut,
    encoder_open: bool,
    decoder_open: bool,
}

impl Outgoing {
    pub fn new(config: &Config, side: Side) -> Self {
        let mut control = BytesMut::from(&[Uni::Control.kind()][..]);
        let mut settings = BytesMut::new();
        Settings::encode(config, side == Side::Server, &mut settings);
        put_frame(frame::SETTINGS, &settings, &mut control);
        for (kind, payload) in &config.preface {
            put_frame(*kind, payload, &mut control);
        }
        if let Some(random) = config.grease {
            let payload = random.to_be_bytes();
            put_frame(
                frame::grease(random >> 16),
                &payload[..(random % 8) as usize],
                &mut control,
            );
        }
        Self {
            control,
            encoder_open: false,
            decoder_open: false,
        }
    }
}

fn put_frame(kind: u64, payload: &[u8], out: &mut BytesMut) {
    Header {
        kind,
        len: payload.len() as u64,
    }
    .encode(out);
    out.extend_from_slice(payload);
}

/// Put its type in front of the first bytes of a stream.
fn begun(open: &mut bool, uni: Uni, bytes: BytesMut) -> (Uni, Bytes) {
    if std::mem::replace(open, true) {
        return (uni, bytes.freeze());
    }
    (uni, [&[uni.kind()], &bytes[..]].concat().into())
}

impl Connection {
    /// Bytes for one of our unidirectional streams, in order; `None` when there are none for any.
    pub fn poll_transmit(&mut self) -> Option<(Uni, Bytes)> {
        if !self.outgoing.control.is_empty() {
            return Some((Uni::Control, self.outgoing.control.split().freeze()));
        }
        let mut instructions = BytesMut::new();
        self.encoder.take_instructions(&mut instructions);
        if !instructions.is_empty() {
            return Some(begun(&mut self.outgoing.encoder_open, Uni::Encoder, instructions));
        }
        self.decoder.take_instructions(&mut instructions);
        if !instructions.is_empty() {
            return Some(begun(&mut self.outgoing.decoder_open, Uni::Decoder, instructions));
        }
        None
    }

    /// On a client: open a request on `stream`, and append its HEADERS frame to `out`. `protocol` makes it an extended
    /// CONNECT (RFC 9220), which the server's settings have to allow. Fields that are about a connection of HTTP/1 are
    /// left out.
    ///
    /// # Errors
    ///
    /// The request cannot be sent, now or at all: nothing was appended, and the stream is not known.
    pub fn open_request(
        &mut self,
        stream: StreamId,
        head: &Request<()>,
        protocol: Option<&str>,
        out: &mut BytesMut,
    ) -> Result<(), Error> {
        if self.peer_goaway.is_some() {
            return Err(Error::stream(
                stream,
                Code::RequestRejected,
                "the server accepts no more requests",
            ));
        }
        if protocol.is_some()
            && !self
                .peer_settings
                .as_ref()
                .is_some_and(|settings| settings.connect_protocol)
        {
            return Err(Error::stream(
                stream,
                Code::MessageError,
                "the server has not allowed extended CONNECT",
            ));
        }
        let lines = request_lines(head, protocol)
            .map_err(|Malformed(reason)| Error::stream(stream, Code::MessageError, reason))?;
        self.check_size(stream, &lines)?;
        self.streams.insert(stream, Stream::response(stream, head.method()));
        self.requests += 1;
        frame::headers(out, |out| self.encoder.encode(stream, lines.iter(), out));
        Ok(())
    }

    /// On a server: append the HEADERS frame of a response, final or interim, to `out`. Fields that are about a
    /// connection of HTTP/1 are left out.
    ///
    /// # Errors
    ///
    /// The response cannot be sent: its status is 101, or it is larger than the client accepts. Nothing was appended
    /// and nothing forgotten: another response can be sent instead.
    pub fn respond(&mut self, stream: StreamId, head: &response::Parts, out: &mut BytesMut) -> Result<(), Error> {
        if head.status == http::StatusCode::SWITCHING_PROTOCOLS {
            return Err(Error::stream(
                stream,
                Code::InternalError,
                "status 101 has no meaning in HTTP/3",
            ));
        }
        let lines = response_lines(&head.status, &head.headers);
        self.check_size(stream, &lines)?;
        frame::headers(out, |out| self.encoder.encode(stream, lines.iter(), out));
        Ok(())
    }

    /// Append a HEADERS frame of lines that [`crate::qpack::encode_lines`] made earlier.
    pub fn respond_encoded(&mut self, _stream: StreamId, lines: &[&[u8]], out: &mut BytesMut) {
        let len = STATIC_PREFIX.len() + lines.iter().map(|line| line.len()).sum::<usize>();
        out.reserve(len + 16);
        Header {
            kind: frame::HEADERS,
            len: len as u64,
        }
        .encode(out);
        out.extend_from_slice(&STATIC_PREFIX);
        for line in lines {
            out.extend_from_slice(line);
        }
    }

    /// Append the HEADERS frame of a trailer section.
    pub fn trailers(&mut self, stream: StreamId, fields: &HeaderMap, out: &mut BytesMut) {
        frame::headers(out, |out| {
            self.encoder.encode(stream, trailer_lines(fields).iter(), out)
        });
    }

    /// Append the header of a DATA frame, whose `len` bytes go to the transport as they are.
    pub fn data_header(len: u64, out: &mut BytesMut) {
        Header { kind: frame::DATA, len }.encode(out);
    }

    /// Append what an HTTP datagram begins with in a QUIC datagram (RFC 9297, section 2.1).
    pub fn datagram_header(stream: StreamId, out: &mut BytesMut) {
        varint::encode(stream / 4, out);
    }

    /// Tell the peer that requests from stream `id` on (from a client: pushes from ID `id` on) will not be processed;
    /// a server refuses them from now on.
    ///
    /// # Errors
    ///
    /// The ID is larger than one before, or not of a request: nothing was sent, and the fault is on this side.
    pub fn goaway(&mut self, id: u64) -> Result<(), Error> {
        if id > varint::MAX || self.side == Side::Server && id & 3 != 0 {
            return Err(Error::connection(
                Code::InternalError,
                "GOAWAY with an ID that is not of a request",
            ));
        }
        if self.our_goaway.is_some_and(|before| id > before) {
            return Err(Error::connection(
                Code::InternalError,
                "GOAWAY with a larger ID than before",
            ));
        }
        // To say the same again would have no effect.
        if self.our_goaway.replace(id) != Some(id) {
            Header {
                kind: frame::GOAWAY,
                len: varint::size(id) as u64,
            }
            .encode(&mut self.outgoing.control);
            varint::encode(id, &mut self.outgoing.control);
        }
        Ok(())
    }

    /// On a client: change the priority of a request (RFC 9218, section 7.2).
    pub fn priority_update(&mut self, stream: StreamId, priority: Priority) {
        let value = priority.to_string();
        let len = (varint::size(stream) + value.len()) as u64;
        Header {
            kind: frame::PRIORITY_UPDATE,
            len,
        }
        .encode(&mut self.outgoing.control);
        varint::encode(stream, &mut self.outgoing.control);
        self.outgoing.control.extend_from_slice(value.as_bytes());
    }

    /// Section 4.2.2: what the peer said it would refuse is not worth sending.
    fn check_size(&self, stream: StreamId, lines: &Lines<'_>) -> Result<(), Error> {
        match self
            .peer_settings
            .as_ref()
            .and_then(|settings| settings.max_field_section_size)
        {
            Some(limit) if lines.size() > limit => Err(Error::stream(
                stream,
                Code::InternalError,
                "larger than the field sections that the peer accepts",
            )),
            _ => Ok(()),
        }
    }
}
