//! The peer's unidirectional streams: which is which (RFC 9114, section 6.2; RFC 9204, section 4.2;
//! draft-ietf-webtrans-http3, section 4.1).

use bytes::{Buf, Bytes};

use super::Side;
use crate::error::{Code, Error};
use crate::table::Table;
use crate::{StreamId, varint, webtransport};

const CONTROL: u64 = 0x00;
const PUSH: u64 = 0x01;
const ENCODER: u64 = 0x02;
const DECODER: u64 = 0x03;

/// What a stream is for. All of these but the last have to live as long as the connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Role {
    Control,
    Encoder,
    Decoder,
    /// For this WebTransport session, and nothing to the connection from now on.
    WebTransport(StreamId),
}

/// The peer's unidirectional streams.
#[derive(Debug, Default)]
pub(super) struct Incoming {
    control: Option<StreamId>,
    encoder: Option<StreamId>,
    decoder: Option<StreamId>,
    /// Streams whose type has not come whole, and what there is of it.
    untyped: Table<Beginning>,
}

/// What a stream begins with.
#[derive(Debug, Default)]
struct Beginning {
    /// Known where the ID of a session comes behind it.
    kind: Option<u64>,
    number: Number,
}

#[derive(Debug, Default)]
struct Number {
    bytes: [u8; 8],
    len: u8,
}

impl Incoming {
    /// What `stream` is for, with its type taken off `data`; `None` if that has not come whole.
    /// `webtransport` is whether there may be sessions.
    pub fn role(
        &mut self,
        stream: StreamId,
        data: &mut Bytes,
        side: Side,
        webtransport: bool,
    ) -> Result<Option<Role>, Error> {
        for (known, role) in [
            (self.control, Role::Control),
            (self.encoder, Role::Encoder),
            (self.decoder, Role::Decoder),
        ] {
            if known == Some(stream) {
                return Ok(Some(role));
            }
        }
        let beginning = self.untyped.entry(stream).or_default();
        let Some(kind) = beginning.kind.or_else(|| beginning.number.read(data)) else {
            return Ok(None);
        };
        if kind == webtransport::UNIDIRECTIONAL && webtransport {
            beginning.kind = Some(kind);
            let Some(session) = beginning.number.read(data) else {
                return Ok(None);
            };
            self.untyped.remove(&stream);
            return webtransport::session(session).map(|session| Some(Role::WebTransport(session)));
        }
        self.untyped.remove(&stream);
        let (slot, role) = match kind {
            CONTROL => (&mut self.control, Role::Control),
            ENCODER => (&mut self.encoder, Role::Encoder),
            DECODER => (&mut self.decoder, Role::Decoder),
            // Section 4.6: a client that never sent MAX_PUSH_ID allows no push. Section 6.2.2: and clients cannot push.
            PUSH if side == Side::Client => {
                return Err(Error::connection(Code::IdError, "a push that was not allowed"));
            }
            PUSH => {
                return Err(Error::connection(
                    Code::StreamCreationError,
                    "a push stream of the client",
                ));
            }
            _ => {
                return Err(Error::stream(
                    stream,
                    Code::StreamCreationError,
                    "a stream of unknown type",
                ));
            }
        };
        if slot.replace(stream).is_some() {
            return Err(Error::connection(
                Code::StreamCreationError,
                "a second stream of a type there is one of",
            ));
        }
        Ok(Some(role))
    }

    /// The stream has ended or was reset.
    pub fn close(&mut self, stream: StreamId) -> Result<(), Error> {
        if [self.control, self.encoder, self.decoder].contains(&Some(stream)) {
            return Err(Error::connection(
                Code::ClosedCriticalStream,
                "the peer closed one of its critical streams",
            ));
        }
        // Section 6.2: which may happen before its type is known.
        self.untyped.remove(&stream);
        Ok(())
    }
}

impl Number {
    /// The number, taken off the front of `data`; `None` while it is cut. Then the next one can be read.
    fn read(&mut self, data: &mut Bytes) -> Option<u64> {
        while !data.is_empty() {
            // Eight bytes are always a number: there is room for every byte.
            *self.bytes.get_mut(usize::from(self.len))? = data.get_u8();
            self.len += 1;
            if let Some((number, _)) = varint::decode(&self.bytes[..usize::from(self.len)]) {
                self.len = 0;
                return Some(number);
            }
        }
        None
    }
}
