//! What every mode needs to know of the server under load.

use std::net::SocketAddr;
use std::path::PathBuf;

use crate::args::Args;
use crate::error::Result;
use crate::process::ServerProcess;

/// The name in every certificate of the bench.
pub const SERVER_NAME: &str = "localhost";

pub struct Target {
    pub address: SocketAddr,
    /// PEM file with the root that signed the server's certificate.
    pub ca: PathBuf,
    /// Process group of the server: its CPU time and memory are those of all its processes.
    pub server: ServerProcess,
}

impl Target {
    pub fn take(args: &mut Args) -> Result<Self> {
        Ok(Self {
            address: args.required("address")?,
            ca: args.required("ca")?,
            server: ServerProcess {
                group: args.required("server-group")?,
            },
        })
    }

    /// `localhost:4433`
    pub fn authority(&self) -> String {
        format!("{SERVER_NAME}:{}", self.address.port())
    }
}

/// The file that is asked for, and how many bytes must arrive.
pub struct Resource {
    pub path: String,
    pub length: u64,
}

impl Resource {
    pub fn take(args: &mut Args) -> Result<Self> {
        Ok(Self {
            path: args.required("path")?,
            length: args.required("length")?,
        })
    }
}
