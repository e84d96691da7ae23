//! The data plane of Velocity: it moves bytes and decides nothing.
//!
//! hello → tls → http → service → router → filters → handler
//!
//! A [`plan::Plan`] comes in, an [`engine::Engine`] serves it. [`client`] is the other end.

mod access;
pub mod app;
mod call;
pub mod client;
pub mod engine;
pub mod error;
pub mod files;
mod filter;
mod handler;
pub mod http;
pub mod log;
pub mod metrics;
pub mod net;
pub mod plan;
mod proxy;
pub mod quic;
mod route;
pub mod router;
pub mod service;
pub mod session;
pub mod shutdown;
pub mod snapshot;
mod worker;

pub use app::{Application, Applications};
pub use engine::Engine;
pub use error::{Error, Fault, Result};
pub use plan::Plan;
