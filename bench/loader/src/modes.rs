//! One file for each figure.

pub mod download;
pub mod download_tcp;
pub mod handshake;
pub mod handshake_rate;
pub mod idle;
pub mod rps;
pub mod slow;
pub mod start;

use std::future::Future;

use tokio::runtime::Builder;
use tokio::task::LocalSet;

use crate::error::Result;

/// Run `future` on one thread, where tasks need not be `Send`.
fn block_on<T>(future: impl Future<Output = Result<T>>) -> Result<T> {
    let runtime = Builder::new_current_thread().enable_all().build()?;
    LocalSet::new().block_on(&runtime, future)
}
