//! What a connection tells its driver.

use std::fmt;

use bytes::Bytes;
use http::HeaderMap;

use crate::StreamId;
use crate::error::Error;
use crate::priority::Priority;

/// Something the peer did. Events of one stream come in the order in which it happened.
#[derive(Debug)]
pub enum Event {
    /// On a server: the head of a request.
    ///
    /// The URI has scheme, authority and path, the authority taken from `Host` if need be; for CONNECT it has the
    /// authority only, and for a scheme without authority the path only. Extended CONNECT (RFC 9220) has a
    /// [`Protocol`] in its extensions. Several `cookie` fields have been joined.
    Request {
        /// Its stream.
        stream: StreamId,
        /// Method, URI and fields.
        head: http::Request<()>,
        /// From a PRIORITY_UPDATE frame if there was one, else from the `priority` field.
        priority: Priority,
        /// Whether this is all of the request; no `End` follows.
        end: bool,
    },
    /// On a client: the head of a response, final or interim (1xx).
    Response {
        /// The stream of its request.
        stream: StreamId,
        /// Status and fields.
        head: http::Response<()>,
        /// Whether this is all of the response; no `End` follows.
        end: bool,
    },
    /// On a server: the header section of a request is beyond the limits. Status 431 is the answer; whatever else
    /// comes on the stream is dropped without another event.
    TooLarge {
        /// Its stream.
        stream: StreamId,
    },
    /// Some of the content of a message, never empty.
    Data {
        /// Its stream.
        stream: StreamId,
        /// The bytes, a slice of what was handed in.
        data: Bytes,
    },
    /// The trailer section; only `End` follows.
    Trailers {
        /// Its stream.
        stream: StreamId,
        /// The fields.
        fields: HeaderMap,
    },
    /// The message is complete, and its content as long as it was said to be.
    End {
        /// Its stream.
        stream: StreamId,
    },
    /// The peer reset the stream: the message will not be completed.
    Reset {
        /// Its stream.
        stream: StreamId,
        /// The peer's error code.
        code: u64,
    },
    /// The peer does not want the rest of what is sent on the stream.
    Stopped {
        /// Its stream.
        stream: StreamId,
        /// The peer's error code.
        code: u64,
    },
    /// A stream that did not want data wants it again.
    Unblocked {
        /// Its stream.
        stream: StreamId,
    },
    /// What waited for the QPACK encoder stream turned out wrong once it could be read: to be treated as if `receive`
    /// had returned it. The scope is always a stream.
    Failed(Error),
    /// The peer's SETTINGS have come.
    Settings,
    /// The peer will not process requests from this stream ID on (for a server: pushes from this push ID on).
    Goaway {
        /// The ID.
        id: u64,
    },
    /// An HTTP datagram.
    Datagram {
        /// The request stream it belongs to.
        stream: StreamId,
        /// Its payload.
        data: Bytes,
    },
    /// On a server: a stream of a WebTransport session has begun. It is nothing to this state machine, which has
    /// forgotten it: the driver reads on by itself, and decides whether there is such a session.
    WebTransport {
        /// The stream, bidirectional or not.
        stream: StreamId,
        /// The stream of the request that the session is.
        session: StreamId,
        /// What came behind the header.
        data: Bytes,
        /// Whether this is all of the stream.
        fin: bool,
    },
    /// On a server: the priority of a request that is under way has changed.
    Priority {
        /// Its stream.
        stream: StreamId,
        /// The new priority.
        priority: Priority,
    },
    /// A frame of an extension on the control stream, of a type listed in [`crate::Config::extensions`].
    Extension {
        /// The type of the frame.
        kind: u64,
        /// Its payload, at most 1 KiB.
        payload: Bytes,
    },
}

impl Event {
    /// The request stream that it is about.
    #[must_use]
    pub const fn stream(&self) -> Option<StreamId> {
        match self {
            Self::Request { stream, .. }
            | Self::Response { stream, .. }
            | Self::TooLarge { stream }
            | Self::Data { stream, .. }
            | Self::Trailers { stream, .. }
            | Self::End { stream }
            | Self::Reset { stream, .. }
            | Self::Stopped { stream, .. }
            | Self::Unblocked { stream }
            | Self::Datagram { stream, .. }
            | Self::WebTransport { stream, .. }
            | Self::Priority { stream, .. } => Some(*stream),
            Self::Failed(Error {
                scope: crate::Scope::Stream(stream),
                ..
            }) => Some(*stream),
            Self::Failed(_) | Self::Settings | Self::Goaway { .. } | Self::Extension { .. } => None,
        }
    }
}

/// The value of `:protocol` (RFC 8441, section 4; RFC 9220), such as `websocket`.
#[derive(Clone, PartialEq, Eq, Hash)]
pub struct Protocol(Bytes);

impl Protocol {
    /// `None` if it is not a token (RFC 9110, section 5.6.2).
    pub(crate) fn new(name: Bytes) -> Option<Self> {
        let token = |byte: &u8| byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(byte);
        (!name.is_empty() && name.iter().all(token)).then_some(Self(name))
    }

    /// The name as it was sent.
    #[must_use]
    pub fn as_str(&self) -> &str {
        // A token is ASCII.
        std::str::from_utf8(&self.0).unwrap_or_default()
    }
}

impl fmt::Debug for Protocol {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Protocol").field(&self.as_str()).finish()
    }
}
