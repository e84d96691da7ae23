//! Wakers on their way from threads of applications to an engine thread.
//!
//! Waking a task of another thread costs a system call. An application answers many requests in a turn of its own, so
//! the wakers are put here, and one call at the end of the turn has the engine's thread wake them all.

use std::cell::RefCell;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::task::Waker;

use tokio::sync::Notify;

/// That of one engine thread.
#[derive(Default)]
pub struct Mailbox {
    wakers: Mutex<Vec<Waker>>,
    /// Something was put here since the last [`Mailbox::flush`].
    noted: AtomicBool,
    carrier: Notify,
    /// The runtime is gone.
    closed: AtomicBool,
}

thread_local!(static HERE: RefCell<Option<Arc<Mailbox>>> = const { RefCell::new(None) });

impl Mailbox {
    /// The mailbox of this thread, which must be within a runtime.
    pub fn here() -> Arc<Self> {
        HERE.with_borrow_mut(|here| match here {
            Some(mailbox) if !mailbox.closed.load(Ordering::Relaxed) => mailbox.clone(),
            _ => {
                let mailbox = Arc::new(Self::default());
                tokio::spawn(carry(Carrier(mailbox.clone())));
                here.insert(mailbox).clone()
            }
        })
    }

    /// Put a waker here. It does nothing before the next [`Mailbox::flush`].
    pub fn put(&self, waker: Waker) {
        self.wakers.lock().unwrap_or_else(PoisonError::into_inner).push(waker);
        self.noted.store(true, Ordering::Release);
    }

    /// Whether there is a reason to flush.
    pub fn is_noted(&self) -> bool {
        self.noted.load(Ordering::Acquire)
    }

    /// Have everything that was put here woken.
    pub fn flush(&self) {
        if self.noted.swap(false, Ordering::AcqRel) {
            self.carrier.notify_one();
        }
    }
}

/// Closes a mailbox that nobody empties any more.
struct Carrier(Arc<Mailbox>);

impl Drop for Carrier {
    fn drop(&mut self) {
        self.0.closed.store(true, Ordering::Relaxed);
    }
}

async fn carry(carrier: Carrier) {
    let mut wakers = Vec::new();
    loop {
        carrier.0.carrier.notified().await;
        std::mem::swap(
            &mut wakers,
            &mut carrier.0.wakers.lock().unwrap_or_else(PoisonError::into_inner),
        );
        wakers.drain(..).for_each(Waker::wake);
    }
}
