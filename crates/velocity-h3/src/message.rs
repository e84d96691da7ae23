//! The receiving half of a request stream: frames in, a message out (RFC 9114 section 4.1).
//!
//! A message is a head (on a client after any number of interim ones), content, and perhaps
//! trailers. Nothing is kept but a field section that has not come whole, and that only up to the
//! size that would be accepted.

use bytes::{Buf, Bytes, BytesMut};
use http::Method;

use crate::code::{Code, Error};
use crate::fields::{Fields, Kind};
use crate::frame::{HeaderReader, kind};
use crate::{Config, Event, Side, StreamId};

/// How far a message has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Phase {
    Head,
    Content,
    Trailed,
}

/// What the payload that comes next is.
#[derive(Debug, Default)]
enum Payload {
    /// Nothing: a frame header comes next.
    #[default]
    None,
    Data(u64),
    /// A field section of that many bytes, and those that have come.
    Section(usize, BytesMut),
    /// Nothing that anybody wants.
    Skip(u64),
}

/// What [`Message::read`] found.
pub enum Step {
    /// Content; part of a DATA frame.
    Data(Bytes),
    /// A whole field section, to be decoded and given to [`Message::section`].
    Section(Bytes),
    /// A field section larger than is accepted.
    TooLarge,
    /// Everything that was handed in is read.
    Empty,
}

/// The state of one stream.
#[derive(Debug)]
pub struct Message {
    side: Side,
    header: HeaderReader,
    payload: Payload,
    phase: Phase,
    content_length: Option<u64>,
    received: u64,
    /// Whether the content must be empty whatever its length says: HEAD, 204, 304.
    bodiless: bool,
    /// On a client: the request was HEAD; on both: it was CONNECT.
    method: Method,
    /// Nobody wants the rest.
    pub discard: bool,
    /// A section that waits for the QPACK encoder stream, what came after it, and whether that was all.
    pub blocked: Option<Box<(Bytes, Bytes, bool)>>,
}

impl Message {
    /// The answer to a request with `method`, or on a server the request, whose method is not known yet.
    pub fn new(side: Side, method: Method) -> Self {
        Self {
            side,
            header: HeaderReader::default(),
            payload: Payload::None,
            phase: Phase::Head,
            content_length: None,
            received: 0,
            bodiless: method == Method::HEAD,
            method,
            discard: false,
            blocked: None,
        }
    }

    /// The kind of the section that [`Step::Section`] brought.
    pub fn section_kind(&self) -> Kind {
        match (self.phase, self.side) {
            (Phase::Head, Side::Server) => Kind::Request,
            (Phase::Head, Side::Client) => Kind::Response,
            (Phase::Content | Phase::Trailed, _) => Kind::Trailers,
        }
    }

    /// Read on in `data`.
    pub fn read(&mut self, stream: StreamId, data: &mut Bytes, config: &Config) -> Result<Step, Error> {
        loop {
            match &mut self.payload {
                Payload::None => match self.header.read(data) {
                    Some((kind, len)) => {
                        if let Some(step) = self.begin(kind, len, config)? {
                            return Ok(step);
                        }
                    }
                    None => return Ok(Step::Empty),
                },
                Payload::Data(left) => {
                    if data.is_empty() {
                        return Ok(Step::Empty);
                    }
                    let piece = data.split_to(data.len().min(usize::try_from(*left).unwrap_or(usize::MAX)));
                    *left -= piece.len() as u64;
                    if *left == 0 {
                        self.payload = Payload::None;
                    }
                    self.received = self.received.saturating_add(piece.len() as u64);
                    self.check_length(stream, false)?;
                    return Ok(Step::Data(piece));
                }
                Payload::Section(len, buffer) => {
                    let missing = len.saturating_sub(buffer.len());
                    if buffer.is_empty() && data.len() >= missing {
                        let section = data.split_to(missing);
                        self.payload = Payload::None;
                        return Ok(Step::Section(section));
                    }
                    let piece = data.split_to(data.len().min(missing));
                    buffer.extend_from_slice(&piece);
                    if buffer.len() < *len {
                        return Ok(Step::Empty);
                    }
                    let section = std::mem::take(buffer).freeze();
                    self.payload = Payload::None;
                    return Ok(Step::Section(section));
                }
                Payload::Skip(left) => {
                    let piece = data.len().min(usize::try_from(*left).unwrap_or(usize::MAX));
                    data.advance(piece);
                    *left -= piece as u64;
                    if *left > 0 {
                        return Ok(Step::Empty);
                    }
                    self.payload = Payload::None;
                }
            }
        }
    }

    /// A frame begins.
    fn begin(&mut self, kind: u64, len: u64, config: &Config) -> Result<Option<Step>, Error> {
        let unexpected = |reason| Err(Error::connection(Code::FrameUnexpected, reason));
        match (kind, self.phase) {
            (kind::DATA, Phase::Head) => return unexpected("DATA before HEADERS"),
            (kind::DATA, Phase::Trailed) => return unexpected("DATA after trailers"),
            (kind::DATA, Phase::Content) if len == 0 => {}
            (kind::DATA, Phase::Content) => self.payload = Payload::Data(len),
            (kind::HEADERS, Phase::Trailed) => return unexpected("HEADERS after trailers"),
            (kind::HEADERS, Phase::Content) if self.method == Method::CONNECT => {
                return unexpected("HEADERS in a tunnel"); // section 4.4
            }
            (kind::HEADERS, Phase::Head | Phase::Content) => match usize::try_from(len) {
                // Encoding never makes a section longer than its fields are counted (section 4.2.2).
                Ok(len) if len as u64 <= config.max_field_section_size => {
                    self.payload = Payload::Section(len, BytesMut::new());
                }
                _ => return Ok(Some(Step::TooLarge)),
            },
            (kind::PUSH_PROMISE, _) if self.side == Side::Client => {
                // No MAX_PUSH_ID was ever sent, so every push ID is too large (section 7.2.5).
                return Err(Error::connection(Code::IdError, "a push that was not permitted"));
            }
            (
                kind::CANCEL_PUSH
                | kind::SETTINGS
                | kind::PUSH_PROMISE
                | kind::GOAWAY
                | kind::MAX_PUSH_ID
                | kind::PRIORITY_UPDATE
                | kind::PRIORITY_UPDATE_PUSH,
                _,
            ) => return unexpected("a frame that belongs on the control stream"),
            (kind, _) if kind::is_forbidden(kind) => return unexpected("a frame of HTTP/2"),
            // Section 9: what is not known is of no concern.
            _ => self.payload = Payload::Skip(len),
        }
        Ok(None)
    }

    /// The fields of a section: the event they make, if they make one.
    pub fn section(
        &mut self,
        stream: StreamId,
        fields: Fields,
        connect_protocol: bool,
    ) -> Result<Option<Event>, Error> {
        let malformed = |reason| Error::stream(stream, Code::MessageError, reason);
        match self.section_kind() {
            Kind::Request => {
                self.content_length = fields.content_length();
                let head = fields.into_request(connect_protocol).map_err(malformed)?;
                self.method = head.method().clone();
                self.phase = Phase::Content;
                let priority = head.headers().get("priority");
                Ok(Some(Event::Request {
                    stream,
                    priority: priority
                        .map(|value| crate::Priority::parse(value.as_bytes()))
                        .unwrap_or_default(),
                    head,
                    end: false,
                }))
            }
            Kind::Response => {
                let content_length = fields.content_length();
                let head = fields.into_response().map_err(malformed)?;
                if !head.status().is_informational() {
                    self.phase = Phase::Content;
                    self.content_length = content_length;
                    self.bodiless |= matches!(head.status().as_u16(), 204 | 304);
                    if self.method == Method::CONNECT && !head.status().is_success() {
                        self.method = Method::GET; // refused: an ordinary answer
                    }
                }
                Ok(Some(Event::Response {
                    stream,
                    head,
                    end: false,
                }))
            }
            Kind::Trailers => {
                self.phase = Phase::Trailed;
                Ok(Some(Event::Trailers {
                    stream,
                    fields: fields.into_trailers(),
                }))
            }
        }
    }

    /// The stream has ended: whether that is in order.
    pub fn end(&self, stream: StreamId) -> Result<(), Error> {
        if self.header.is_partial() || !matches!(self.payload, Payload::None) {
            return Err(Error::connection(Code::FrameError, "a stream ended within a frame"));
        }
        match (self.phase, self.side) {
            (Phase::Head, Side::Server) => Err(Error::stream(
                stream,
                Code::RequestIncomplete,
                "the stream ended before the request",
            )),
            (Phase::Head, Side::Client) => Err(Error::stream(
                stream,
                Code::MessageError,
                "the stream ended before the response",
            )),
            (Phase::Content | Phase::Trailed, _) => self.check_length(stream, true),
        }
    }

    /// Section 4.1.2: content must be as long as Content-Length says.
    fn check_length(&self, stream: StreamId, complete: bool) -> Result<(), Error> {
        let wrong = match self.content_length {
            _ if self.bodiless => self.received > 0,
            Some(length) => self.received > length || complete && self.received < length,
            None => false,
        };
        match wrong {
            true => Err(Error::stream(
                stream,
                Code::MessageError,
                "the content is not as long as it should be",
            )),
            false => Ok(()),
        }
    }
}
