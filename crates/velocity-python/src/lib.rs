//! `velocity._core`: the only place where Rust meets Python. Its contract is `src/velocity/_core.pyi`.
//!
//! Nothing is decided here. Calls that may wait release the GIL and look for signals ten times a
//! second, so that Ctrl-C works everywhere.

mod asgi;
mod client;
mod engine;
mod error;
mod logging;
mod wait;

use pyo3::prelude::*;

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

#[pymodule(gil_used = true)]
mod _core {
    #[pymodule_export]
    use super::asgi::Application;
    #[pymodule_export]
    use super::asgi::workers::{Worker, Workers, die_with_parent};
    #[pymodule_export]
    use super::client::{
        Connection, Exchange, Pool, Response, can_verify_hybrid, code_point_name, parse_fallback, verify_classical,
    };
    #[pymodule_export]
    use super::engine::{Engine, certificate_facts, check, problems};
    #[pymodule_export]
    use super::logging::{configure_logging, flush_logs, log};

    #[pymodule_export]
    #[allow(non_upper_case_globals)]
    const __version__: &str = env!("CARGO_PKG_VERSION");
}
