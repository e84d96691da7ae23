//! HTTP/3 (RFC 9114) without IO: bytes and events in, bytes and events out.
//!
//! Nothing here has a clock, a socket or a task. A driver hands in what QUIC streams carry, asks for
//! events, and writes what it is given; see [`Connection`].

#![forbid(unsafe_code)]
#![deny(missing_docs)]

pub mod capsule;
mod config;
mod connection;
mod error;
mod event;
mod frame;
mod message;
mod priority;
pub mod qpack;
mod settings;
mod table;
pub mod varint;
pub mod webtransport;

pub use config::Config;
pub use connection::{Connection, Uni};
pub use error::{Code, Error, Scope};
pub use event::{Event, Protocol};
pub use priority::Priority;
pub use settings::Settings;

/// A QUIC stream ID (RFC 9000, section 2.1).
pub type StreamId = u64;
