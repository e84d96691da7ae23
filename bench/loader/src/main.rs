//! The load generator of the benches.
//!
//! One mode, one figure: it warms the server up, measures, checks every response (status 200 and the
//! length of the body) and prints one line of JSON. Any error makes the figure void and the exit code 1.
//! It shares no code with the servers it measures, and none of them is told apart.

mod args;
mod error;
mod group;
mod h1;
mod h2;
mod h3;
mod modes;
mod process;
mod quic;
mod session;
mod stats;
mod target;
mod tcp;
mod tls;
mod ws;

use std::process::ExitCode;

use crate::args::Args;
use crate::error::Result;

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn run() -> Result<serde_json::Value> {
    let mut args = Args::parse(std::env::args().skip(1))?;
    process::raise_file_limit()?;
    match args.mode.as_str() {
        "rps" => modes::rps::run(&mut args),
        "download" => modes::download::run(&mut args),
        "download-tcp" => modes::download_tcp::run(&mut args),
        "handshake" => modes::handshake::run(&mut args),
        "handshake-rate" => modes::handshake_rate::run(&mut args),
        "idle" => modes::idle::run(&mut args),
        "slow" => modes::slow::run(&mut args),
        "start" => modes::start::run(&mut args),
        other => Err(format!(
            "unknown mode {other:?}; there are rps, download, download-tcp, handshake, handshake-rate, idle, slow and start"
        )
        .into()),
    }
}

fn main() -> ExitCode {
    match run() {
        Ok(figures) => {
            println!("{figures}");
            ExitCode::SUCCESS
        }
        Err(error) => {
            eprintln!("error: {error}");
            ExitCode::FAILURE
        }
    }
}
