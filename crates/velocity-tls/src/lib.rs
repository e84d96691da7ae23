//! TLS as Velocity speaks it: profiles and their hybrid groups, the hello stage that looks at every
//! ClientHello before rustls does, and the configurations it chooses from.
//!
//! This is the only crate that names aws-lc-rs. It does no IO and knows no HTTP.

pub mod certificate;
pub mod chain;
pub mod client;
pub mod client_auth;
pub mod error;
pub mod facts;
pub mod fallback;
pub mod group;
pub mod hello;
pub mod material;
pub mod profile;
mod provider;
pub mod quic;
pub mod record;
pub mod scheme;
pub mod seal;
pub mod server;
pub mod transcript;

pub use certificate::Certificates;
pub use client::ClientTls;
pub use error::TlsError;
pub use facts::Facts;
pub use hello::Hello;
pub use profile::Profile;
pub use server::{ServerTls, Transport};
pub use transcript::Transcript;

/// ALPN protocol identifiers (RFC 7301), as they stand on the wire.
pub mod alpn {
    pub const VELOCITY: &[u8] = b"velocity/1";
    pub const H3: &[u8] = b"h3";
    pub const H2: &[u8] = b"h2";
    pub const HTTP11: &[u8] = b"http/1.1";
}
