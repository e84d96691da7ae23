//! Error codes of HTTP/3 (RFC 9114 section 8.1), QPACK (RFC 9204 section 6) and datagrams (RFC 9297
//! section 5.2), and the errors that carry them.

use crate::StreamId;

/// Why a stream or a connection is ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[repr(u64)]
pub enum Code {
    /// Nothing is wrong.
    NoError = 0x100,
    /// A rule was broken for which there is no other code.
    GeneralProtocolError = 0x101,
    /// Our fault.
    InternalError = 0x102,
    /// A stream of a kind that is not accepted.
    StreamCreationError = 0x103,
    /// A control or QPACK stream has ended.
    ClosedCriticalStream = 0x104,
    /// A frame where it must not be.
    FrameUnexpected = 0x105,
    /// A frame whose layout or size is wrong.
    FrameError = 0x106,
    /// More load than anybody needs.
    ExcessiveLoad = 0x107,
    /// A stream or push ID that is out of place.
    IdError = 0x108,
    /// SETTINGS that are wrong.
    SettingsError = 0x109,
    /// No SETTINGS first.
    MissingSettings = 0x10a,
    /// A request that was not looked at, and can be sent again.
    RequestRejected = 0x10b,
    /// A request, or its answer, that is no longer wanted.
    RequestCancelled = 0x10c,
    /// A request that ended too early.
    RequestIncomplete = 0x10d,
    /// A malformed message.
    MessageError = 0x10e,
    /// The other side of a CONNECT failed.
    ConnectError = 0x10f,
    /// To be asked again over HTTP/1.1.
    VersionFallback = 0x110,
    /// A datagram or capsule that is wrong.
    DatagramError = 0x33,
    /// A field section that cannot be decoded.
    QpackDecompressionFailed = 0x200,
    /// Instructions on the encoder stream that are wrong.
    QpackEncoderStreamError = 0x201,
    /// Instructions on the decoder stream that are wrong.
    QpackDecoderStreamError = 0x202,
}

impl Code {
    /// The code as it goes over the wire.
    pub fn value(self) -> u64 {
        self as u64
    }
}

/// What an error ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Scope {
    /// Everything.
    Connection,
    /// One stream; the connection goes on. The state machine has forgotten the stream.
    Stream(StreamId),
}

/// The peer broke a rule.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{reason} ({code:?})")]
pub struct Error {
    /// What it ends.
    pub scope: Scope,
    /// What the peer is told.
    pub code: Code,
    /// What people are told.
    pub reason: &'static str,
}

impl Error {
    /// An error that ends the connection.
    pub(crate) const fn connection(code: Code, reason: &'static str) -> Self {
        Self {
            scope: Scope::Connection,
            code,
            reason,
        }
    }

    /// An error that ends one stream.
    pub(crate) const fn stream(stream: StreamId, code: Code, reason: &'static str) -> Self {
        Self {
            scope: Scope::Stream(stream),
            code,
            reason,
        }
    }
}
