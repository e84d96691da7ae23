//! The receiving side of a request stream: a request on a server, a response on a client (RFC 9114, section 4.1).
//!
//! Two things say what may come next. [`Expect`] is where the message is: head, content, after the trailers, over.
//! [`Part`] is where in a frame the bytes are. DATA goes out in slices as it comes; a field section is needed whole,
//! so it is the one thing that is collected, up to its limit; all other frames are skipped.

mod section;

use std::collections::VecDeque;

use bytes::{Bytes, BytesMut};
use http::Method;

use super::Side;
use super::pending::Pending;
use crate::StreamId;
use crate::config::Config;
use crate::error::{Code, Error};
use crate::event::Event;
use crate::frame::{self, Header, HeaderReader};
use crate::qpack::Decoder;
use crate::webtransport;

/// How much may be handed in while a stream is blocked, when it should be nothing but the chunk that blocked it.
const MAX_HELD: usize = 65_536;

/// What of the connection a stream needs.
pub(super) struct Context<'a> {
    pub side: Side,
    pub config: &'a Config,
    pub decoder: &'a mut Decoder,
    pub events: &'a mut VecDeque<Event>,
    pub pending: &'a mut Pending,
}

impl Context<'_> {
    /// Whether there may be streams of WebTransport sessions.
    fn webtransport(&self) -> bool {
        self.side == Side::Server && self.config.webtransport_sessions > 0
    }
}

/// One request stream.
#[derive(Debug)]
pub(super) struct Stream {
    id: StreamId,
    expect: Expect,
    part: Part,
    /// What `content-length` says is still to come.
    left: Option<u64>,
    asked: Asked,
    /// Whether our side of the stream is open.
    sending: bool,
    /// Whether its first frame has come.
    begun: bool,
}

/// Where the message is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Expect {
    /// A header section; on a client, another one for as long as responses are interim.
    Head,
    /// Content or trailers.
    Content,
    /// What goes through CONNECT (section 4.4): DATA only.
    Tunnel,
    /// Nothing after the trailers.
    End,
    /// Nothing that comes is of interest any more.
    Nothing,
    /// The stream has ended.
    Over,
}

/// Where in a frame the bytes are.
#[derive(Debug)]
enum Part {
    Header(HeaderReader),
    Content(u64),
    Section {
        len: usize,
        held: BytesMut,
    },
    Skip(u64),
    /// The section waits for the encoder stream.
    Blocked(Box<Blocked>),
}

/// A section that could not be decoded yet, and what came after it.
#[derive(Debug)]
struct Blocked {
    section: Bytes,
    rest: Bytes,
    fin: bool,
}

/// What a response answers, where that says something about its content.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Asked {
    Head,
    Connect,
    Other,
}

impl Default for Part {
    fn default() -> Self {
        Self::Header(HeaderReader::default())
    }
}

impl Stream {
    /// A stream that a server receives a request on.
    pub fn request(id: StreamId) -> Self {
        Self {
            id,
            expect: Expect::Head,
            part: Part::default(),
            left: None,
            asked: Asked::Other,
            sending: true,
            begun: false,
        }
    }

    /// A stream that a client receives the response to `method` on.
    pub fn response(id: StreamId, method: &Method) -> Self {
        let asked = match *method {
            Method::HEAD => Asked::Head,
            Method::CONNECT => Asked::Connect,
            _ => Asked::Other,
        };
        Self {
            asked,
            ..Self::request(id)
        }
    }

    pub const fn is_blocked(&self) -> bool {
        matches!(self.part, Part::Blocked(_))
    }

    pub const fn is_sending(&self) -> bool {
        self.sending
    }

    pub fn is_over(&self) -> bool {
        self.expect == Expect::Over && !self.sending
    }

    /// Whether the head of the request was announced.
    pub fn has_head(&self) -> bool {
        self.expect != Expect::Head
    }

    pub fn takes_datagrams(&self, side: Side) -> bool {
        match self.expect {
            Expect::Content | Expect::Tunnel | Expect::End => true,
            Expect::Head => side == Side::Client,
            Expect::Nothing | Expect::Over => false,
        }
    }

    pub const fn end_sending(&mut self) {
        self.sending = false;
    }

    /// Nothing more will come, or be listened to. Whether that was not clear already.
    pub fn end_receiving(&mut self) -> bool {
        let news = !matches!(self.expect, Expect::Nothing | Expect::Over);
        self.expect = Expect::Over;
        self.part = Part::default();
        news
    }

    /// Take the next bytes of the stream.
    pub fn receive(&mut self, cx: &mut Context<'_>, mut data: Bytes, fin: bool) -> Result<(), Error> {
        loop {
            if matches!(self.expect, Expect::Nothing | Expect::Over) {
                if fin {
                    self.expect = Expect::Over;
                }
                return Ok(());
            }
            match &mut self.part {
                Part::Header(reader) => {
                    let Some(header) = reader.read(&mut data) else { break };
                    if header.kind == webtransport::BIDIRECTIONAL && !self.begun && cx.webtransport() {
                        return self.leave(cx, webtransport::session(header.len)?, data, fin);
                    }
                    self.begin(cx, header)?;
                }
                Part::Content(left) => {
                    let take = usize::try_from(*left).unwrap_or(usize::MAX).min(data.len());
                    *left -= take as u64;
                    let whole = *left == 0;
                    if take > 0 {
                        cx.events.push_back(Event::Data {
                            stream: self.id,
                            data: data.split_to(take),
                        });
                    }
                    if !whole {
                        break;
                    }
                    self.part = Part::default();
                }
                Part::Section { len, held } => {
                    let Some(section) = frame::payload(held, *len, &mut data) else {
                        break;
                    };
                    self.part = Part::default();
                    self.section(cx, section, fin && data.is_empty())?;
                }
                Part::Skip(left) => {
                    if !frame::skip(left, &mut data) {
                        break;
                    }
                    self.part = Part::default();
                }
                Part::Blocked(blocked) => {
                    let held = blocked.hold(data, fin);
                    return held.ok_or(Error::stream(
                        self.id,
                        Code::ExcessiveLoad,
                        "too much behind a blocked section",
                    ));
                }
            }
        }
        if fin { self.end(cx) } else { Ok(()) }
    }

    /// Go on with a section that was blocked.
    pub fn resume(&mut self, cx: &mut Context<'_>) -> Result<(), Error> {
        match std::mem::take(&mut self.part) {
            Part::Blocked(blocked) => {
                let Blocked { section, rest, fin } = *blocked;
                self.section(cx, section, fin && rest.is_empty())?;
                self.receive(cx, rest, fin)
            }
            other => {
                self.part = other;
                Ok(())
            }
        }
    }

    /// The stream carries no request: it is one of a WebTransport session.
    fn leave(&mut self, cx: &mut Context<'_>, session: StreamId, data: Bytes, fin: bool) -> Result<(), Error> {
        let stream = self.id;
        cx.events.push_back(Event::WebTransport {
            stream,
            session,
            data,
            fin,
        });
        self.expect = Expect::Over;
        self.sending = false;
        Ok(())
    }

    /// A frame begins.
    fn begin(&mut self, cx: &mut Context<'_>, Header { kind, len }: Header) -> Result<(), Error> {
        self.begun = true;
        self.part = match (kind, self.expect) {
            (frame::DATA, Expect::Content | Expect::Tunnel) => {
                let too_much = self.malformed("more content than content-length says");
                if let Some(left) = &mut self.left {
                    *left = left.checked_sub(len).ok_or(too_much)?;
                }
                Part::Content(len)
            }
            (frame::DATA, _) => return Err(unexpected("DATA where a message has no content")),
            (frame::HEADERS, Expect::Head | Expect::Content) => match usize::try_from(len) {
                Ok(size) if len <= cx.config.max_field_section_size => Part::Section {
                    len: size,
                    held: BytesMut::new(),
                },
                _ => return self.too_large(cx),
            },
            (frame::HEADERS, _) => return Err(unexpected("HEADERS where a message has no more fields")),
            // Section 7.2.5: a client that never sent MAX_PUSH_ID has advertised no push ID at all.
            (frame::PUSH_PROMISE, _) if cx.side == Side::Client => {
                return Err(Error::connection(Code::IdError, "a push that was not allowed"));
            }
            (frame::PUSH_PROMISE | frame::CANCEL_PUSH | frame::SETTINGS | frame::GOAWAY | frame::MAX_PUSH_ID, _)
            | (frame::PRIORITY_UPDATE | frame::PRIORITY_UPDATE_PUSH, _) => {
                return Err(unexpected("a frame that does not belong on a request stream"));
            }
            _ if frame::is_reserved(kind) => return Err(unexpected("a frame of HTTP/2")),
            _ => Part::Skip(len),
        };
        Ok(())
    }

    /// A server can answer a header section beyond its limits with a status (section 4.2.2), so that is an event. Of
    /// any other section there is nothing to be said but that the stream is over.
    fn too_large(&mut self, cx: &mut Context<'_>) -> Result<(), Error> {
        if cx.side == Side::Client || self.expect != Expect::Head {
            return Err(Error::stream(
                self.id,
                Code::ExcessiveLoad,
                "a field section beyond the limits",
            ));
        }
        self.expect = Expect::Nothing;
        cx.decoder.cancel(self.id);
        cx.events.push_back(Event::TooLarge { stream: self.id });
        Ok(())
    }

    /// The head has come, and is the `last` of the stream or not.
    fn head_is(&mut self, last: bool) -> Result<(), Error> {
        if last {
            self.check_length()?;
            self.expect = Expect::Over;
        }
        Ok(())
    }

    /// The stream ended cleanly.
    fn end(&mut self, cx: &mut Context<'_>) -> Result<(), Error> {
        match &self.part {
            Part::Header(reader) if !reader.is_partial() => {}
            // Section 7.1.
            _ => return Err(Error::connection(Code::FrameError, "a stream ended within a frame")),
        }
        match (self.expect, cx.side) {
            (Expect::Head, Side::Server) => Err(Error::stream(
                self.id,
                Code::RequestIncomplete,
                "a stream ended before its request",
            )),
            (Expect::Head, Side::Client) => Err(self.malformed("a stream ended before its response")),
            _ => {
                self.check_length()?;
                self.expect = Expect::Over;
                cx.events.push_back(Event::End { stream: self.id });
                Ok(())
            }
        }
    }

    const fn check_length(&self) -> Result<(), Error> {
        match self.left {
            None | Some(0) => Ok(()),
            Some(_) => Err(self.malformed("less content than content-length says")),
        }
    }

    const fn malformed(&self, reason: &'static str) -> Error {
        Error::stream(self.id, Code::MessageError, reason)
    }
}

impl Blocked {
    /// Keep what came behind the section. `None` if that is more than should have come.
    fn hold(&mut self, data: Bytes, fin: bool) -> Option<()> {
        self.fin |= fin;
        if self.rest.is_empty() {
            self.rest = data;
        } else if !data.is_empty() {
            if self.rest.len() + data.len() > MAX_HELD {
                return None;
            }
            self.rest = [&self.rest[..], &data[..]].concat().into();
        }
        Some(())
    }
}

const fn unexpected(reason: &'static str) -> Error {
    Error::connection(Code::FrameUnexpected, reason)
}
