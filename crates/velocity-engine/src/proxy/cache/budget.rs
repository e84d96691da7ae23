//! A number of bytes that many share.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

pub struct Budget {
    left: AtomicU64,
}

impl Budget {
    pub fn new(bytes: u64) -> Arc<Self> {
        Arc::new(Self {
            left: AtomicU64::new(bytes),
        })
    }
}

/// A part of a budget, given back when dropped.
pub struct Lease {
    budget: Arc<Budget>,
    bytes: u64,
}

impl Lease {
    pub fn none(budget: &Arc<Budget>) -> Self {
        Self {
            budget: budget.clone(),
            bytes: 0,
        }
    }

    /// Take so many bytes more, if there are so many.
    #[must_use]
    pub fn grow(&mut self, bytes: u64) -> bool {
        let taken = self
            .budget
            .left
            .fetch_update(Relaxed, Relaxed, |left| left.checked_sub(bytes))
            .is_ok();
        if taken {
            self.bytes += bytes;
        }
        taken
    }

    /// Give everything back.
    pub fn release(&mut self) {
        self.budget.left.fetch_add(std::mem::take(&mut self.bytes), Relaxed);
    }
}

impl Drop for Lease {
    fn drop(&mut self) {
        self.release();
    }
}
