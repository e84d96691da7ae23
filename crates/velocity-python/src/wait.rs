//! The runtime of client connections, and waiting for it without holding the GIL and without losing Ctrl-C.
//!
//! Whoever waits drives: a thread that blocks in a call runs the runtime itself meanwhile, so that an answer wakes nobody
//! and crosses no threads. While nobody waits, a thread of our own sees to what goes on by itself, such as
//! acknowledgements and pings, and to the requests of event loops.

use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering::Relaxed};
use std::sync::{Mutex, OnceLock, PoisonError};
use std::thread::{self, Thread};
use std::time::Duration;

use pyo3::prelude::*;
use tokio::runtime::Runtime;
use tokio::sync::Notify;
use tokio::task::JoinHandle;
use velocity_engine::{Error, Result};

use crate::error::CoreError;

/// How often Python's signal handlers get their turn.
const SIGNAL_CHECK: Duration = Duration::from_millis(100);
/// How often our own thread looks whether anybody else drives.
const LOOK: Duration = Duration::from_millis(5);

/// See the [module](self).
pub struct Drive {
    runtime: Runtime,
    /// Threads that wait, and how often any did.
    waiting: AtomicUsize,
    waits: AtomicU64,
    /// Tasks that nobody waits for.
    tasks: AtomicUsize,
    /// Somebody else wants to drive.
    wanted: Notify,
    keeper: OnceLock<Thread>,
    process: u32,
}

impl Drive {
    /// That of this process, started by whoever needs it first. A child that was forked gets one of its own: threads do
    /// not come along.
    pub fn get() -> Result<&'static Self> {
        static CURRENT: Mutex<Option<&'static Drive>> = Mutex::new(None);
        let mut current = CURRENT.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(drive) = *current
            && !drive.is_foreign()
        {
            return Ok(drive);
        }
        let failed = |error: std::io::Error| Error::internal(format!("cannot start the client's runtime: {error}"));
        let runtime = tokio::runtime::Builder::new_current_thread()
            .max_blocking_threads(4)
            .thread_name("velocity-client")
            .enable_all()
            .build()
            .map_err(failed)?;
        let drive: &'static Drive = Box::leak(Box::new(Drive {
            runtime,
            waiting: AtomicUsize::new(0),
            waits: AtomicU64::new(0),
            tasks: AtomicUsize::new(0),
            wanted: Notify::new(),
            keeper: OnceLock::new(),
            process: std::process::id(),
        }));
        let keeper = thread::Builder::new()
            .name("velocity-client".into())
            .spawn(|| drive.keep())
            .map_err(failed)?;
        let _ = drive.keeper.set(keeper.thread().clone());
        *current = Some(drive);
        Ok(drive)
    }

    /// Whether this process was forked from the one it belongs to.
    pub fn is_foreign(&self) -> bool {
        self.process != std::process::id()
    }

    /// Run a future to its end with the GIL released. A signal handler that raises cancels it.
    pub fn wait_for<T: Send>(&self, py: Python<'_>, future: impl Future<Output = Result<T>> + Send) -> PyResult<T> {
        let mut future = Box::pin(future);
        loop {
            let turn = async { tokio::time::timeout(SIGNAL_CHECK, future.as_mut()).await };
            match py.detach(|| self.drive(turn)) {
                Ok(result) => return Ok(result.map_err(CoreError)?),
                Err(_elapsed) => py.check_signals()?,
            }
        }
    }

    /// Begin something that nobody waits for yet.
    pub fn spawn<T: Send + 'static>(&'static self, future: impl Future<Output = T> + Send + 'static) -> JoinHandle<T> {
        self.tasks.fetch_add(1, Relaxed);
        let task = Task(self);
        let handle = self.runtime.spawn(async move {
            let _task = task;
            future.await
        });
        if let Some(keeper) = self.keeper.get() {
            keeper.unpark();
        }
        handle
    }

    fn drive<T>(&self, future: impl Future<Output = T>) -> T {
        self.waiting.fetch_add(1, Relaxed);
        self.waits.fetch_add(1, Relaxed);
        if self.tasks.load(Relaxed) == 0 {
            self.wanted.notify_waiters();
        }
        let outcome = self.runtime.block_on(future);
        self.waiting.fetch_sub(1, Relaxed);
        outcome
    }

    /// Drive while nobody else does.
    fn keep(&self) {
        let mut before = None;
        loop {
            let waits = self.waits.load(Relaxed);
            let quiet = self.waiting.load(Relaxed) == 0 && before == Some(waits);
            before = Some(waits);
            if quiet || self.tasks.load(Relaxed) > 0 {
                self.runtime.block_on(self.wanted.notified());
            } else {
                thread::park_timeout(LOOK);
            }
        }
    }
}

/// Counts as long as it lives.
struct Task(&'static Drive);

impl Drop for Task {
    fn drop(&mut self) {
        self.0.tasks.fetch_sub(1, Relaxed);
    }
}

/// [`Drive::wait_for`], for what is not tied to a pool.
pub fn wait_for<T: Send>(py: Python<'_>, future: impl Future<Output = Result<T>> + Send) -> PyResult<T> {
    Drive::get().map_err(CoreError)?.wait_for(py, future)
}
