//! HTTP/3 (RFC 9114), which is also what `velocity/1` carries.
//!
//! The framing is the h3 crate's; nothing outside this folder knows that. What is ours here is the
//! transport under it and the driver that answers requests.

pub mod client;
pub mod server;
mod transport;
