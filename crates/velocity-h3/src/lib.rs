//! HTTP/3 (RFC 9114) without IO: bytes and events in, bytes and events out.
//!
//! Nothing here has a clock, a socket or a task. A driver
//! - hands in what QUIC streams carry: [`Connection::receive`], [`Connection::reset`], [`Connection::stopped`];
//! - takes out what has happened: [`Connection::poll_event`];
//! - writes what it is given: [`Connection::poll_transmit`] for the three unidirectional streams of our
//!   own, [`Connection::open_request`], [`Connection::respond`] and the like for request streams, whose
//!   content goes straight from its source to QUIC behind a [`Connection::data_header`].
//!
//! What a peer can make this side hold is bounded: one partial field section of the permitted size for
//! each stream, a few hundred bytes on the control stream, and the QPACK tables that were permitted.
//!
//! ```text
//!  receive ─> Connection ─┬─ unidirectional ─> control, qpack
//!                         └─ request stream ─> message ─> qpack ─> fields ─> Event
//! ```

#![forbid(unsafe_code)]
#![deny(missing_docs)]

mod code;
mod connection;
mod control;
mod fields;
mod frame;
mod message;
mod priority;
pub mod qpack;
mod settings;
pub mod varint;

use bytes::Bytes;
use http::HeaderMap;

pub use code::{Code, Error, Scope};
pub use connection::Connection;
pub use priority::Priority;
pub use settings::Settings;

/// A QUIC stream ID (RFC 9000 section 2.1).
pub type StreamId = u64;

/// Which side of a connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Side {
    /// The one that is asked.
    Server,
    /// The one that asks.
    Client,
}

/// One of our own unidirectional streams.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Uni {
    /// Settings, GOAWAY and priorities.
    Control,
    /// QPACK's encoder stream.
    Encoder,
    /// QPACK's decoder stream.
    Decoder,
}

/// What this side permits and does.
#[derive(Clone, Debug)]
pub struct Config {
    /// Largest field section accepted, counted as RFC 9114 section 4.2.2 does, in bytes.
    pub max_field_section_size: u64,
    /// Most fields in a section.
    pub max_fields: usize,
    /// Dynamic table the peer's encoder may use, in bytes; 0 for none.
    pub qpack_capacity: u32,
    /// Streams that may wait for the peer's encoder stream.
    pub qpack_blocked_streams: u16,
    /// Dynamic table our encoder uses at most, in bytes; 0 for none, so that heads can be encoded once.
    pub qpack_encoder_capacity: u32,
    /// On a server: take extended CONNECT (RFC 9220).
    pub connect_protocol: bool,
    /// Take datagrams (RFC 9297).
    pub datagrams: bool,
    /// Randomness for reserved settings and frames; `None` sends none.
    pub grease: Option<u64>,
    /// Extension frames that follow our SETTINGS: type and payload.
    pub preface: Vec<(u64, Bytes)>,
    /// Types of extension frames on the peer's control stream that become [`Event::Extension`].
    pub extensions: Vec<u64>,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            max_field_section_size: 64 * 1024,
            max_fields: 256,
            qpack_capacity: 4096,
            qpack_blocked_streams: 16,
            qpack_encoder_capacity: 0,
            connect_protocol: false,
            datagrams: false,
            grease: None,
            preface: Vec::new(),
            extensions: Vec::new(),
        }
    }
}

/// The value of `:protocol` in an extended CONNECT; an extension of the request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Protocol(pub String);

/// What has happened on a connection.
#[derive(Debug)]
pub enum Event {
    /// A request has begun. With `end` there is no more of it, and no [`Event::End`] follows.
    Request {
        /// Its stream.
        stream: StreamId,
        /// Its head; an extended CONNECT has [`Protocol`] among its extensions.
        head: http::Request<()>,
        /// How urgent it is.
        priority: Priority,
        /// Whether that was all.
        end: bool,
    },
    /// A response has begun, or an interim one has come. With `end` no [`Event::End`] follows.
    Response {
        /// Its stream.
        stream: StreamId,
        /// Its head.
        head: http::Response<()>,
        /// Whether that was all.
        end: bool,
    },
    /// A request came whose head is larger than is accepted. Nothing more of it is read.
    TooLarge {
        /// Its stream.
        stream: StreamId,
    },
    /// Content.
    Data {
        /// Its stream.
        stream: StreamId,
        /// A piece of a DATA frame; a slice of what was handed in.
        data: Bytes,
    },
    /// Trailers.
    Trailers {
        /// Their stream.
        stream: StreamId,
        /// The fields.
        fields: HeaderMap,
    },
    /// A message is complete, and as long as it said.
    End {
        /// Its stream.
        stream: StreamId,
    },
    /// The peer gave up on what it was sending.
    Reset {
        /// The stream.
        stream: StreamId,
        /// Why.
        code: u64,
    },
    /// The peer wants no more of what we are sending.
    Stopped {
        /// The stream.
        stream: StreamId,
        /// Why.
        code: u64,
    },
    /// A stream that waited for the QPACK encoder stream goes on.
    Unblocked {
        /// The stream.
        stream: StreamId,
    },
    /// The peer's SETTINGS have come: [`Connection::peer_settings`].
    Settings,
    /// Requests (pushes, on a server) from `id` on will not be answered.
    Goaway {
        /// The first of them.
        id: u64,
    },
    /// A datagram.
    Datagram {
        /// The request it belongs to.
        stream: StreamId,
        /// What it holds.
        data: Bytes,
    },
    /// A request has another priority now. It may not have come yet.
    Priority {
        /// Its stream.
        stream: StreamId,
        /// How urgent it is.
        priority: Priority,
    },
    /// An extension frame of a type in [`Config::extensions`].
    Extension {
        /// Its type.
        kind: u64,
        /// Its payload, at most 1 KiB.
        payload: Bytes,
    },
}
