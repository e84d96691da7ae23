//! What engine threads have for the thread of an application: one wake for as much as there is.
//!
//! No engine thread ever takes the GIL. It puts things here and, at the end of its turn, makes a file descriptor readable
//! that the application's event loop watches.

use std::os::fd::{AsFd, AsRawFd, OwnedFd, RawFd};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use pyo3::prelude::*;
use rustix::event::{EventfdFlags, eventfd};
use velocity_engine::app::channel::Notify;
use velocity_engine::app::{self, Exchange};

/// Requests that may wait for an application that is busy.
const MAX_WAITING: usize = 16 * 1024;
/// At this many the application is woken without waiting for the end of the turn.
const MAX_TURN: usize = 64;

/// Something that the application's thread has to do.
pub enum Item {
    Begin(Arc<Exchange>),
    /// Complete a future.
    Wake(Py<PyAny>),
    /// Cancel a task.
    Cancel(Py<PyAny>),
}

pub struct Queue {
    items: Mutex<Vec<Item>>,
    /// Requests among them.
    waiting: AtomicUsize,
    ready: OwnedFd,
    /// There is something that the application was not woken for.
    pending: AtomicBool,
}

impl Queue {
    pub fn new() -> std::io::Result<Self> {
        Ok(Self {
            items: Mutex::default(),
            waiting: AtomicUsize::new(0),
            ready: eventfd(0, EventfdFlags::CLOEXEC | EventfdFlags::NONBLOCK)?,
            pending: AtomicBool::new(false),
        })
    }

    pub fn descriptor(&self) -> RawFd {
        self.ready.as_raw_fd()
    }

    fn push(&self, item: Item) {
        let mut items = self.items();
        items.push(item);
        let many = items.len().is_multiple_of(MAX_TURN);
        drop(items);
        self.pending.store(true, Ordering::Release);
        if many {
            self.wake();
        }
    }

    /// Wake the application if there is something that it does not know of.
    pub fn wake(&self) {
        if self.pending.swap(false, Ordering::AcqRel) {
            // A counter that is full is readable, which is all that is wanted.
            let _ = rustix::io::write(self.ready.as_fd(), &1u64.to_ne_bytes());
        }
    }

    /// Everything there is.
    pub fn take(&self) -> Vec<Item> {
        let _ = rustix::io::read(self.ready.as_fd(), &mut [0; 8]);
        let items = std::mem::take(&mut *self.items());
        self.waiting.store(0, Ordering::Relaxed);
        items
    }

    /// What completes `future` when it is called.
    pub fn completes(self: &Arc<Self>, future: Py<PyAny>) -> Notify {
        let queue = self.clone();
        Box::new(move || queue.push(Item::Wake(future)))
    }

    /// What cancels `task` when it is called.
    pub fn cancels(self: &Arc<Self>, task: Py<PyAny>) -> Notify {
        let queue = self.clone();
        Box::new(move || queue.push(Item::Cancel(task)))
    }

    fn items(&self) -> MutexGuard<'_, Vec<Item>> {
        self.items.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The engine's end.
pub struct Entrance(pub Arc<Queue>);

impl app::Application for Entrance {
    fn begin(&self, exchange: Arc<Exchange>) -> bool {
        if self.0.waiting.fetch_add(1, Ordering::Relaxed) >= MAX_WAITING {
            return false;
        }
        self.0.push(Item::Begin(exchange));
        true
    }

    fn flush(&self) {
        self.0.wake();
    }

    fn takes_sessions(&self) -> bool {
        true
    }
}
