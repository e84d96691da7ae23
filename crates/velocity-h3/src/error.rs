//! Error codes and how far an error reaches (RFC 9114, section 8).

use std::fmt;

use crate::StreamId;

macro_rules! codes {
    ($($(#[$meta:meta])* $variant:ident = $value:literal, $name:literal;)*) => {
        /// The error codes of HTTP/3 (RFC 9114, section 8.1), of its datagrams (RFC 9297, section 5.2), of WebTransport
        /// (draft-ietf-webtrans-http3, section 8.5) and of QPACK (RFC 9204, section 6).
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
        pub enum Code { $($(#[$meta])* $variant = $value,)* }

        impl Code {
            /// The name in the registry, such as `H3_NO_ERROR`.
            #[must_use]
            pub const fn name(self) -> &'static str {
                match self { $(Self::$variant => $name,)* }
            }

            /// The code with this number on the wire, if it is one of these.
            #[must_use]
            pub const fn from_value(value: u64) -> Option<Self> {
                match value { $($value => Some(Self::$variant),)* _ => None }
            }
        }
    };
}

codes! {
    /// Nothing is wrong; the connection or stream is only over.
    NoError = 0x100, "H3_NO_ERROR";
    /// The peer broke a rule that has no code of its own.
    GeneralProtocolError = 0x101, "H3_GENERAL_PROTOCOL_ERROR";
    /// Something failed on this side.
    InternalError = 0x102, "H3_INTERNAL_ERROR";
    /// The peer opened a stream that will not be accepted.
    StreamCreationError = 0x103, "H3_STREAM_CREATION_ERROR";
    /// A stream that has to live as long as the connection was closed or reset.
    ClosedCriticalStream = 0x104, "H3_CLOSED_CRITICAL_STREAM";
    /// A frame that is not permitted now, or not on this stream.
    FrameUnexpected = 0x105, "H3_FRAME_UNEXPECTED";
    /// A frame whose layout or size is wrong.
    FrameError = 0x106, "H3_FRAME_ERROR";
    /// The peer causes more work than it is worth.
    ExcessiveLoad = 0x107, "H3_EXCESSIVE_LOAD";
    /// A stream or push ID used wrongly.
    IdError = 0x108, "H3_ID_ERROR";
    /// Something is wrong in the payload of SETTINGS.
    SettingsError = 0x109, "H3_SETTINGS_ERROR";
    /// The control stream did not begin with SETTINGS.
    MissingSettings = 0x10a, "H3_MISSING_SETTINGS";
    /// The request was not looked at and can be sent again.
    RequestRejected = 0x10b, "H3_REQUEST_REJECTED";
    /// The request, or its response, is not wanted any more.
    RequestCancelled = 0x10c, "H3_REQUEST_CANCELLED";
    /// The stream ended before its request did.
    RequestIncomplete = 0x10d, "H3_REQUEST_INCOMPLETE";
    /// A malformed message.
    MessageError = 0x10e, "H3_MESSAGE_ERROR";
    /// The connection behind a CONNECT request was reset.
    ConnectError = 0x10f, "H3_CONNECT_ERROR";
    /// Only another version of HTTP can answer.
    VersionFallback = 0x110, "H3_VERSION_FALLBACK";
    /// A datagram or capsule that cannot be parsed.
    DatagramError = 0x33, "H3_DATAGRAM_ERROR";
    /// A stream of a WebTransport session that nobody knows of came too early, or never had one.
    BufferedStreamRejected = 0x3994_bd84, "WEBTRANSPORT_BUFFERED_STREAM_REJECTED";
    /// The WebTransport session of a stream is over.
    SessionGone = 0x170d_7b68, "WEBTRANSPORT_SESSION_GONE";
    /// A field section that cannot be decompressed.
    QpackDecompressionFailed = 0x200, "QPACK_DECOMPRESSION_FAILED";
    /// A wrong instruction on the encoder stream.
    QpackEncoderStreamError = 0x201, "QPACK_ENCODER_STREAM_ERROR";
    /// A wrong instruction on the decoder stream.
    QpackDecoderStreamError = 0x202, "QPACK_DECODER_STREAM_ERROR";
}

impl Code {
    /// The number on the wire.
    #[must_use]
    pub const fn value(self) -> u64 {
        self as u64
    }
}

impl fmt::Display for Code {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// What an error ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Scope {
    /// Close the connection with the code.
    Connection,
    /// Reset and stop this one stream with the code and go on; the state machine has forgotten it already.
    Stream(StreamId),
}

/// A rule that was broken, nearly always by the peer.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{code}: {reason}")]
pub struct Error {
    /// What it ends.
    pub scope: Scope,
    /// What to tell the peer.
    pub code: Code,
    /// What was wrong, for logs.
    pub reason: &'static str,
}

impl Error {
    pub(crate) const fn connection(code: Code, reason: &'static str) -> Self {
        Self {
            scope: Scope::Connection,
            code,
            reason,
        }
    }

    pub(crate) const fn stream(stream: StreamId, code: Code, reason: &'static str) -> Self {
        Self {
            scope: Scope::Stream(stream),
            code,
            reason,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_code_has_its_number_and_name() {
        for value in (0x100..=0x110)
            .chain([0x33, 0x3994_bd84, 0x170d_7b68])
            .chain(0x200..=0x202)
        {
            assert_eq!(Code::from_value(value).map(Code::value), Some(value));
        }
        assert_eq!(Code::from_value(0x111), None);
        assert_eq!(Code::MessageError.value(), 0x10e);
        let error = Error::stream(4, Code::MessageError, "no method");
        assert_eq!(error.to_string(), "H3_MESSAGE_ERROR: no method");
    }
}
