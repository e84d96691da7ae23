//! The peer's control stream (RFC 9114, section 6.2.1): from bytes to frames.
//!
//! Which frames there may be, in which order and how long, is decided here. What the identifiers in them mean is not.

use bytes::{Bytes, BytesMut};

use super::Side;
use crate::error::{Code, Error};
use crate::frame::{self, Header, HeaderReader};
use crate::priority::Priority;
use crate::settings::Settings;
use crate::{StreamId, varint};

/// The largest SETTINGS frame: room for some hundred settings, where a dozen are defined.
const MAX_SETTINGS: u64 = 4096;
/// The largest PRIORITY_UPDATE frame, and the largest frame of an extension.
const MAX_PAYLOAD: u64 = 1024;

/// A frame of the control stream.
#[derive(Debug)]
pub(super) enum Frame {
    Settings(Settings),
    Goaway(u64),
    MaxPushId(u64),
    Priority(StreamId, Priority),
    Extension(u64, Bytes),
    /// A frame of a type that means nothing here.
    Skipped,
}

/// Where in the control stream we are.
#[derive(Debug, Default)]
pub(super) struct Control {
    part: Part,
    has_settings: bool,
}

#[derive(Debug)]
enum Part {
    Header(HeaderReader),
    Payload { kind: u64, len: usize, held: BytesMut },
    Skip(u64),
}

impl Default for Part {
    fn default() -> Self {
        Self::Header(HeaderReader::default())
    }
}

impl Control {
    /// The next frame, taken off the front of `data`; `None` once that is used up.
    pub fn next(&mut self, data: &mut Bytes, side: Side, extensions: &[u64]) -> Result<Option<Frame>, Error> {
        loop {
            match &mut self.part {
                Part::Header(reader) => {
                    let Some(header) = reader.read(data) else {
                        return Ok(None);
                    };
                    self.part = self.begin(header, side, extensions)?;
                }
                Part::Payload { kind, len, held } => {
                    let kind = *kind;
                    let Some(payload) = frame::payload(held, *len, data) else {
                        return Ok(None);
                    };
                    self.part = Part::default();
                    return decode(kind, payload).map(Some);
                }
                Part::Skip(left) => {
                    if !frame::skip(left, data) {
                        return Ok(None);
                    }
                    self.part = Part::default();
                    return Ok(Some(Frame::Skipped));
                }
            }
        }
    }

    fn begin(&mut self, Header { kind, len }: Header, side: Side, extensions: &[u64]) -> Result<Part, Error> {
        match (kind, self.has_settings) {
            (frame::SETTINGS, false) => self.has_settings = true,
            (frame::SETTINGS, true) => return Err(unexpected("a second SETTINGS frame")),
            (_, false) => {
                return Err(Error::connection(
                    Code::MissingSettings,
                    "the control stream begins without SETTINGS",
                ));
            }
            (_, true) => {}
        }
        let limit = match kind {
            frame::SETTINGS => MAX_SETTINGS,
            frame::MAX_PUSH_ID | frame::PRIORITY_UPDATE | frame::PRIORITY_UPDATE_PUSH if side == Side::Client => {
                return Err(unexpected("a frame that only clients send"));
            }
            // One number and nothing else: anything longer is wrong before it has come.
            frame::GOAWAY | frame::CANCEL_PUSH | frame::MAX_PUSH_ID if len > 8 => return Err(not_one_number()),
            frame::GOAWAY | frame::CANCEL_PUSH | frame::MAX_PUSH_ID => 8,
            frame::PRIORITY_UPDATE | frame::PRIORITY_UPDATE_PUSH => MAX_PAYLOAD,
            frame::DATA | frame::HEADERS | frame::PUSH_PROMISE => {
                return Err(unexpected("a frame of a message on the control stream"));
            }
            _ if frame::is_reserved(kind) => return Err(unexpected("a frame of HTTP/2")),
            _ if len <= MAX_PAYLOAD && extensions.contains(&kind) => MAX_PAYLOAD,
            _ => return Ok(Part::Skip(len)),
        };
        match usize::try_from(len) {
            Ok(size) if len <= limit => Ok(Part::Payload {
                kind,
                len: size,
                held: BytesMut::new(),
            }),
            _ => Err(Error::connection(
                Code::ExcessiveLoad,
                "a frame on the control stream is too long",
            )),
        }
    }
}

fn decode(kind: u64, payload: Bytes) -> Result<Frame, Error> {
    match kind {
        frame::SETTINGS => Settings::decode(&payload).map(Frame::Settings),
        frame::GOAWAY => number(&payload).map(Frame::Goaway),
        frame::MAX_PUSH_ID => number(&payload).map(Frame::MaxPushId),
        // Section 7.2.3: nothing was promised, by a server of ours or to a client of ours.
        frame::CANCEL_PUSH => {
            number(&payload)?;
            Err(Error::connection(
                Code::IdError,
                "CANCEL_PUSH of a push that was not promised",
            ))
        }
        frame::PRIORITY_UPDATE => {
            let (id, value) = prioritized(&payload)?;
            Ok(Frame::Priority(id, Priority::parse(value)))
        }
        frame::PRIORITY_UPDATE_PUSH => {
            prioritized(&payload)?;
            Err(Error::connection(
                Code::IdError,
                "PRIORITY_UPDATE for a push that was not promised",
            ))
        }
        _ => Ok(Frame::Extension(kind, payload)),
    }
}

/// A payload of exactly one number.
fn number(payload: &[u8]) -> Result<u64, Error> {
    match varint::decode(payload) {
        Some((number, len)) if len == payload.len() => Ok(number),
        _ => Err(not_one_number()),
    }
}

/// The payload of PRIORITY_UPDATE (RFC 9218, section 7.2).
fn prioritized(payload: &[u8]) -> Result<(u64, &[u8]), Error> {
    varint::decode(payload)
        .and_then(|(id, len)| Some((id, payload.get(len..)?)))
        .ok_or(Error::connection(Code::FrameError, "PRIORITY_UPDATE without an ID"))
}

const fn not_one_number() -> Error {
    Error::connection(Code::FrameError, "a frame with more or less than its one number")
}

const fn unexpected(reason: &'static str) -> Error {
    Error::connection(Code::FrameUnexpected, reason)
}
