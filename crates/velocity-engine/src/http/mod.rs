//! HTTP as handlers see it: one request, one response, one body, whatever carried them.

pub mod body;
pub mod cookie;
pub mod h1;
pub mod h2;
pub mod h3;
pub mod prepared;
pub mod replay;
pub mod tcp;
pub mod websocket;
pub mod well_known;

pub use body::Body;
pub use prepared::Prepared;

/// A request over any protocol. `version()` tells which; `extensions()` holds the [`Peer`](crate::session::Peer).
pub type Request = http::Request<Body>;
/// A response over any protocol.
pub type Response = http::Response<Body>;
