//! Waiting for the data plane without holding the GIL and without losing Ctrl-C.

use std::sync::OnceLock;
use std::time::Duration;

use pyo3::prelude::*;
use tokio::runtime::Runtime;
use velocity_engine::{Error, Result};

use crate::error::CoreError;

/// How often Python's signal handlers get their turn.
const SIGNAL_CHECK: Duration = Duration::from_millis(100);

/// The runtime of client connections, started by the first of them.
pub fn runtime() -> Result<&'static Runtime> {
    static RUNTIME: OnceLock<std::io::Result<Runtime>> = OnceLock::new();
    let runtime = RUNTIME.get_or_init(|| {
        tokio::runtime::Builder::new_multi_thread()
            .worker_threads(1)
            .max_blocking_threads(4)
            .thread_name("velocity-client")
            .enable_all()
            .build()
    });
    runtime
        .as_ref()
        .map_err(|e| Error::internal(format!("cannot start the client's runtime: {e}")))
}

/// Run a future to its end with the GIL released. A signal handler that raises cancels it.
pub fn wait_for<T: Send>(py: Python<'_>, future: impl Future<Output = Result<T>> + Send) -> PyResult<T> {
    let runtime = runtime().map_err(CoreError)?;
    let mut future = Box::pin(future);
    loop {
        let turn = async { tokio::time::timeout(SIGNAL_CHECK, future.as_mut()).await };
        match py.detach(|| runtime.block_on(turn)) {
            Ok(result) => return Ok(result.map_err(CoreError)?),
            Err(_elapsed) => py.check_signals()?,
        }
    }
}
