//! The peer's unidirectional streams (RFC 9114 section 6.2): their kinds, and the frames of the
//! control stream.

use bytes::{Buf, Bytes, BytesMut};

use crate::code::{Code, Error};
use crate::frame::{HeaderReader, kind};
use crate::settings::Settings;
use crate::{Priority, Side, varint};

/// Largest SETTINGS frame that is read.
const MAX_SETTINGS: u64 = 4096;
/// Largest extension frame that is handed on.
const MAX_EXTENSION: u64 = 1024;
/// Largest PRIORITY_UPDATE frame that is read: a stream ID and a small dictionary.
const MAX_PRIORITY: u64 = 256;
/// Frames on the control stream beyond those that requests give a reason for.
const FRAMES: u32 = 1000;

/// What a unidirectional stream carries.
#[derive(Debug)]
pub enum Uni {
    /// Its type has not come whole.
    Unknown(BytesMut),
    Control(Box<Control>),
    Encoder,
    Decoder,
    /// Of a type that means nothing here.
    Ignored,
}

/// Stream types (RFC 9114 section 11.2.4, RFC 9204 section 4.2).
pub mod stream_type {
    pub const CONTROL: u64 = 0x00;
    pub const PUSH: u64 = 0x01;
    pub const QPACK_ENCODER: u64 = 0x02;
    pub const QPACK_DECODER: u64 = 0x03;
}

/// The type at the front of a stream, once it is there.
pub fn stream_type(begun: &mut BytesMut, data: &mut Bytes) -> Option<u64> {
    while let Some(&byte) = data.first() {
        begun.extend_from_slice(&[byte]);
        data.advance(1);
        if let Some((kind, _)) = varint::decode(begun) {
            return Some(kind);
        }
    }
    None
}

/// What a control stream says.
#[derive(Debug)]
pub enum Statement {
    Settings(Settings),
    Goaway(u64),
    Priority { stream: u64, priority: Priority },
    Extension { kind: u64, payload: Bytes },
}

/// The reader of a control stream.
#[derive(Debug)]
pub struct Control {
    header: HeaderReader,
    /// A frame that is read whole: its type, its length, what has come.
    frame: Option<(u64, usize, BytesMut)>,
    skip: u64,
    settings_seen: bool,
    goaway: Option<u64>,
    max_push: Option<u64>,
    /// Frames that may still come.
    budget: u32,
}

impl Control {
    pub fn new() -> Self {
        Self {
            header: HeaderReader::default(),
            frame: None,
            skip: 0,
            settings_seen: false,
            goaway: None,
            max_push: None,
            budget: FRAMES,
        }
    }

    /// A request gives the peer a reason for another frame.
    pub fn credit(&mut self) {
        self.budget = self.budget.saturating_add(1).min(2 * FRAMES);
    }

    /// The next statement in `data`; `None` when it is all read.
    pub fn read(&mut self, data: &mut Bytes, side: Side, extensions: &[u64]) -> Result<Option<Statement>, Error> {
        loop {
            if self.skip > 0 {
                let piece = data.len().min(usize::try_from(self.skip).unwrap_or(usize::MAX));
                data.advance(piece);
                self.skip -= piece as u64;
                if self.skip > 0 {
                    return Ok(None);
                }
            }
            if let Some((_, len, payload)) = &mut self.frame {
                let piece = data.split_to(data.len().min(len.saturating_sub(payload.len())));
                payload.extend_from_slice(&piece);
                if payload.len() < *len {
                    return Ok(None);
                }
                if let Some((kind, _, payload)) = self.frame.take()
                    && let Some(statement) = self.statement(kind, payload.freeze(), side, extensions)?
                {
                    return Ok(Some(statement));
                }
                continue;
            }
            match self.header.read(data) {
                Some((kind, len)) => self.begin(kind, len, side, extensions)?,
                None => return Ok(None),
            }
        }
    }

    /// A frame begins.
    fn begin(&mut self, kind: u64, len: u64, side: Side, extensions: &[u64]) -> Result<(), Error> {
        let unexpected = |reason| Err(Error::connection(Code::FrameUnexpected, reason));
        if !self.settings_seen && kind != kind::SETTINGS {
            return Err(Error::connection(
                Code::MissingSettings,
                "the control stream does not begin with SETTINGS",
            ));
        }
        self.budget = self.budget.checked_sub(1).ok_or(Error::connection(
            Code::ExcessiveLoad,
            "too many frames on the control stream",
        ))?;
        let most = match kind {
            kind::SETTINGS if self.settings_seen => return unexpected("SETTINGS twice"),
            kind::SETTINGS => MAX_SETTINGS,
            kind::DATA | kind::HEADERS | kind::PUSH_PROMISE => {
                return unexpected("a frame that belongs on a request stream");
            }
            kind if kind::is_forbidden(kind) => return unexpected("a frame of HTTP/2"),
            kind::MAX_PUSH_ID if side == Side::Client => return unexpected("MAX_PUSH_ID from a server"),
            kind::PRIORITY_UPDATE | kind::PRIORITY_UPDATE_PUSH if side == Side::Client => {
                return unexpected("PRIORITY_UPDATE from a server"); // RFC 9218 section 7.2
            }
            kind::GOAWAY | kind::MAX_PUSH_ID | kind::CANCEL_PUSH => 8,
            kind::PRIORITY_UPDATE | kind::PRIORITY_UPDATE_PUSH => MAX_PRIORITY,
            kind if extensions.contains(&kind) && len <= MAX_EXTENSION => MAX_EXTENSION,
            _ => {
                self.skip = len;
                return Ok(());
            }
        };
        match usize::try_from(len) {
            Ok(size) if len <= most => {
                self.frame = Some((kind, size, BytesMut::new()));
                Ok(())
            }
            _ if matches!(kind, kind::GOAWAY | kind::MAX_PUSH_ID | kind::CANCEL_PUSH) => Err(Error::connection(
                Code::FrameError,
                "a frame is longer than its content",
            )),
            _ => Err(Error::connection(Code::ExcessiveLoad, "a frame is too large")),
        }
    }

    /// A frame is whole.
    fn statement(
        &mut self,
        kind: u64,
        payload: Bytes,
        side: Side,
        extensions: &[u64],
    ) -> Result<Option<Statement>, Error> {
        let id_error = |reason| Err(Error::connection(Code::IdError, reason));
        match kind {
            kind::SETTINGS => {
                self.settings_seen = true;
                Settings::decode(&payload).map(|settings| Some(Statement::Settings(settings)))
            }
            kind::GOAWAY => {
                let id = only(&payload)?;
                // Section 5.2: a server names a request stream, and never a later one than before.
                if side == Side::Client && id % 4 != 0 {
                    return id_error("GOAWAY names no request stream");
                }
                if self.goaway.is_some_and(|before| id > before) {
                    return id_error("GOAWAY names a later stream than before");
                }
                self.goaway = Some(id);
                Ok(Some(Statement::Goaway(id)))
            }
            kind::MAX_PUSH_ID => {
                let id = only(&payload)?;
                if self.max_push.is_some_and(|before| id < before) {
                    return id_error("MAX_PUSH_ID has become smaller");
                }
                self.max_push = Some(id);
                Ok(None)
            }
            kind::CANCEL_PUSH => {
                let id = only(&payload)?;
                // Section 7.2.3: nothing is ever promised, so only what was permitted can be cancelled.
                match side {
                    Side::Server if self.max_push.is_some_and(|max| id <= max) => Ok(None),
                    _ => id_error("CANCEL_PUSH of a push that does not exist"),
                }
            }
            kind::PRIORITY_UPDATE => {
                let Some((stream, len)) = varint::decode(&payload) else {
                    return Err(Error::connection(Code::FrameError, "PRIORITY_UPDATE without a stream"));
                };
                if stream % 4 != 0 {
                    return id_error("PRIORITY_UPDATE names no request stream");
                }
                let priority = Priority::parse(payload.get(len..).unwrap_or_default());
                Ok(Some(Statement::Priority { stream, priority }))
            }
            kind::PRIORITY_UPDATE_PUSH => id_error("PRIORITY_UPDATE of a push that does not exist"),
            kind if extensions.contains(&kind) => Ok(Some(Statement::Extension { kind, payload })),
            _ => Ok(None),
        }
    }
}

/// The one integer that a payload consists of.
fn only(payload: &[u8]) -> Result<u64, Error> {
    match varint::decode(payload) {
        Some((value, len)) if len == payload.len() => Ok(value),
        _ => Err(Error::connection(
            Code::FrameError,
            "a frame is longer or shorter than its content",
        )),
    }
}
