//! HTTP/3 (RFC 9114) without IO: bytes and events in, bytes and events out.
//!
//! Nothing here has a clock, a socket or a task. A driver hands in what QUIC streams carry, asks for
//! events, and writes what it is given; see `Connection`.

#![forbid(unsafe_code)]
#![deny(missing_docs)]

pub mod qpack;
