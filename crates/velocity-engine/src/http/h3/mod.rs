//! HTTP/3 and `velocity/1`: the state machine of `velocity-h3` on the driver of [`crate::quic`].
//!
//! - [`link`]: carries bytes between QUIC streams and the state machine
//! - [`inbox`]: a body on its way in, with backpressure
//! - [`outgoing`]: a message on its way out
//! - [`silence`]: when nothing comes that is waited for
//! - [`webtransport`]: streams and datagrams of sessions
//! - [`server`], [`client`]: the two applications made of these

pub mod client;
mod inbox;
mod link;
mod outgoing;
pub mod server;
mod silence;
mod slots;
mod webtransport;

use std::hash::{BuildHasher, RandomState};

use velocity_h3::Config;

/// Type of the frame that carries the fallback directive (docs/spec/velocity-1.md section 6.1).
const FALLBACK_FRAME: u64 = 0x0056_454c;

/// What both sides of every connection have in common.
fn config() -> Config {
    Config {
        // Unpredictable is all it has to be: peers must not learn to expect it (RFC 9114 section 7.2.8).
        grease: Some(RandomState::new().hash_one(())),
        ..Config::default()
    }
}
