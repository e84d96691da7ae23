//! Which batch of packets a thread is working on.
//!
//! Requests of one batch had all arrived before any of them was looked at. So what was found out for
//! the first, such as that a file is what it was, holds for the others: each could have been the first.

use std::cell::Cell;
use std::num::NonZeroU64;
use std::sync::atomic::{AtomicU64, Ordering};

thread_local!(static CURRENT: Cell<Option<NonZeroU64>> = const { Cell::new(None) });

/// The batch this thread works on; `None` between batches, and where requests come one by one. No two
/// batches of a process have the same number.
pub fn current() -> Option<NonZeroU64> {
    CURRENT.get()
}

/// A batch has been received by this thread.
pub fn begin() {
    static NEXT: AtomicU64 = AtomicU64::new(1);
    CURRENT.set(NonZeroU64::new(NEXT.fetch_add(1, Ordering::Relaxed)));
}

/// This thread goes on to something else.
pub fn end() {
    CURRENT.set(None);
}
