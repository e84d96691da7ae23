//! Waking a task, except while it is at work: then it is told when it has finished.
//!
//! Whatever an answer does to its stream wakes the connection, which would be right if they were two tasks. Here they are
//! one: without this, each answer would cost a turn in which there is nothing to do.

use std::sync::Arc;
use std::sync::atomic::{AtomicU8, Ordering};
use std::task::{Wake, Waker};

use futures_util::task::AtomicWaker;

/// The task is at work.
const BUSY: u8 = 1;
/// The bell was rung since anybody looked.
const RUNG: u8 = 2;

#[derive(Default)]
pub struct Bell {
    task: AtomicWaker,
    state: AtomicU8,
}

impl Bell {
    /// The task begins a turn. What rang before is what it was woken for.
    pub fn begin(&self, task: &Waker) {
        self.task.register(task);
        self.state.store(BUSY, Ordering::SeqCst);
    }

    /// Whether it was rung in this turn, and not yet noticed.
    pub fn rang(&self) -> bool {
        self.state.fetch_and(!RUNG, Ordering::SeqCst) & RUNG != 0
    }

    /// The turn is over. If it has rung meanwhile there will be another one.
    pub fn end(&self) {
        if self.state.fetch_and(!BUSY, Ordering::SeqCst) & RUNG != 0 {
            self.task.wake();
        }
    }
}

impl Wake for Bell {
    fn wake(self: Arc<Self>) {
        self.wake_by_ref();
    }

    fn wake_by_ref(self: &Arc<Self>) {
        // Rung before and not at work: the task was woken then.
        if self.state.fetch_or(RUNG, Ordering::SeqCst) == 0 {
            self.task.wake();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Default)]
    struct Count(AtomicU8);

    impl Wake for Count {
        fn wake(self: Arc<Self>) {
            self.0.fetch_add(1, Ordering::SeqCst);
        }
    }

    #[test]
    fn a_task_at_work_is_told_when_it_has_finished() {
        let (bell, count) = (Arc::new(Bell::default()), Arc::new(Count::default()));
        let (waker, task) = (Waker::from(bell.clone()), Waker::from(count.clone()));
        let woken = || count.0.swap(0, Ordering::SeqCst);
        bell.begin(&task);
        waker.wake_by_ref();
        waker.wake_by_ref();
        assert_eq!(woken(), 0);
        assert!(bell.rang());
        assert!(!bell.rang());
        bell.end();
        assert_eq!(woken(), 0);
        waker.wake_by_ref();
        waker.wake_by_ref();
        assert_eq!(woken(), 1, "once is enough");
        bell.begin(&task);
        waker.wake_by_ref();
        bell.end();
        assert_eq!(woken(), 1);
    }
}
