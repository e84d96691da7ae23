//! What both ends of HTTP/1.1 have in common (RFC 9112): fields as text, where a body ends, and how one leaves.
//!
//! Clients are spoken to in [`tcp::h1`](super::tcp), upstreams in `proxy::h1`.

pub mod body;
pub mod fields;
pub mod outgoing;

/// What is read of a body at once: a TLS record, and what waits in memory for somebody who is slow.
pub const READ: usize = 16 * 1024;

/// The largest head of an answer, and the largest trailers, in bytes.
pub const MAX_HEAD: usize = 64 * 1024;
