//! HTTP/2 (RFC 9113): what both sides have in common, and the side of a client. Frames and streams are h2's. The side of a
//! server is [`tcp`](super::tcp).

pub mod body;
pub mod client;
pub mod outgoing;
