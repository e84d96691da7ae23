//! The Plan: the one contract between Python, which decides, and the engine, which moves bytes.
//!
//! Python compiles flags, environment and files into this canonical JSON; the engine turns it into
//! an immutable snapshot. Unknown keys are refused, so that the two sides can never drift apart
//! quietly. `src/velocity/config/plan.py` is the mirror of this module, and the golden tests hold both.

mod filter;
mod route;
mod tls;

use std::path::PathBuf;

use serde::Deserialize;

pub use self::filter::*;
pub use self::route::*;
pub use self::tls::*;
use crate::error::{Error, Result};

/// The only Plan version this engine understands.
pub const VERSION: u32 = 1;

#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Plan {
    pub version: u32,
    pub listeners: Vec<Listener>,
    pub tls: Tls,
    pub limits: Limits,
    pub sites: Vec<Site>,
    /// Routes name them by their place, so that they can share one and its state.
    pub filters: Vec<Filter>,
    /// The folder of all templates.
    pub templates: Option<PathBuf>,
    /// Networks whose `Forwarded` and `X-Forwarded-For` say who the client is.
    pub trusted_proxies: Vec<String>,
    /// Who says at the beginning of a TCP connection whose it is; `None` for nobody.
    pub proxy_protocol: Option<ProxyProtocol>,
    pub log: Log,
    /// Worker threads; `None` is one for each CPU this process may run on.
    pub workers: Option<usize>,
}

#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Listener {
    /// `127.0.0.1:4433`, `[::]:443`; port 0 asks the kernel for one, the same for UDP and TCP.
    pub address: String,
    /// In order of preference, from `velocity/1`, `h3`, `h2`, `http/1.1`.
    pub alpn: Vec<String>,
}

impl Listener {
    /// Whether any protocol of this listener runs over QUIC.
    pub fn wants_udp(&self) -> bool {
        self.alpn
            .iter()
            .any(|name| matches!(name.as_str(), "velocity/1" | "h3"))
    }

    /// Whether any protocol of this listener runs over TCP.
    pub fn wants_tcp(&self) -> bool {
        self.alpn.iter().any(|name| matches!(name.as_str(), "h2" | "http/1.1"))
    }
}

/// What peers may make this process hold. Durations in milliseconds, sizes in bytes.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Limits {
    /// Connections at once over all protocols; `None` is unlimited.
    pub max_sessions: Option<usize>,
    /// Largest UDP payload sent; `None` lets path MTU discovery decide up to 1452.
    pub max_datagram_size: Option<u16>,
    pub handshake_timeout_ms: u64,
    pub idle_timeout_ms: u64,
    /// From the first byte of a request head to its last (HTTP/1.1).
    pub header_timeout_ms: u64,
    pub max_header_bytes: u32,
    pub max_streams: u32,
}

/// The PROXY protocol on its way in.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ProxyProtocol {
    /// Networks of those who speak it.
    pub trusted: Vec<String>,
    /// Whether they always do.
    pub required: bool,
}

#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Log {
    /// A line for each request.
    pub access: bool,
}

impl Plan {
    /// Parse canonical JSON. Errors name the key and the place.
    pub fn from_json(json: &str) -> Result<Self> {
        let plan: Plan = serde_json::from_str(json)
            .map_err(|e| Error::config("PLAN_INVALID", format!("the plan is not valid: {e}")))?;
        if plan.version != VERSION {
            return Err(Error::config(
                "PLAN_VERSION",
                format!("the plan has version {}, this engine reads {VERSION}", plan.version),
            ));
        }
        Ok(plan)
    }
}
