//! How much of one stream may be on its way: who reads slowly holds up nobody else on the same socket.

use std::sync::atomic::{AtomicI64, Ordering};
use std::task::{Context, Poll};

use futures_util::task::AtomicWaker;

/// Bytes that may be on their way.
const WINDOW: u32 = 64 * 1024;
/// As many are used up before the other end is told.
const ENOUGH: u32 = WINDOW / 4;
/// What a frame weighs at least, in bytes, so that many small ones are not for nothing.
const LEAST: usize = 128;

/// That of the end that sends.
pub struct Credit {
    left: AtomicI64,
    waker: AtomicWaker,
}

impl Default for Credit {
    fn default() -> Self {
        Self {
            left: AtomicI64::new(WINDOW.into()),
            waker: AtomicWaker::new(),
        }
    }
}

impl Credit {
    /// Wait until something may be sent, however much that is.
    pub fn poll(&self, cx: &mut Context<'_>) -> Poll<()> {
        if self.left.load(Ordering::Acquire) > 0 {
            return Poll::Ready(());
        }
        self.waker.register(cx.waker());
        match self.left.load(Ordering::Acquire) > 0 {
            true => Poll::Ready(()),
            false => Poll::Pending,
        }
    }

    pub fn spend(&self, bytes: usize) {
        self.left.fetch_sub(bytes.max(LEAST) as i64, Ordering::AcqRel);
    }

    pub fn add(&self, bytes: u32) {
        self.left.fetch_add(bytes.into(), Ordering::AcqRel);
        self.waker.wake();
    }

    /// Let whoever waits go on.
    pub fn release(&self) {
        self.left.store(i64::from(u32::MAX), Ordering::Release);
        self.waker.wake();
    }
}

/// That of the end that receives: what it owes.
#[derive(Default)]
pub struct Debt(u32);

impl Debt {
    pub fn incur(&mut self, bytes: usize) {
        self.0 = self.0.saturating_add(bytes.max(LEAST) as u32);
    }

    /// What is to be paid now, if it is enough to speak of.
    pub fn settle(&mut self) -> Option<u32> {
        (self.0 >= ENOUGH).then(|| std::mem::take(&mut self.0))
    }
}

#[cfg(test)]
mod tests {
    use std::task::Waker;

    use super::*;

    #[test]
    fn what_is_spent_comes_back() {
        let (credit, mut debt) = (Credit::default(), Debt::default());
        let mut cx = Context::from_waker(Waker::noop());
        credit.spend(WINDOW as usize - 1);
        assert!(credit.poll(&mut cx).is_ready());
        credit.spend(1_000_000);
        assert!(credit.poll(&mut cx).is_pending());
        debt.incur(10);
        assert_eq!(debt.settle(), None, "not worth a frame");
        debt.incur(WINDOW as usize + 1_000_000);
        credit.add(debt.settle().unwrap());
        assert!(credit.poll(&mut cx).is_ready());
        assert_eq!(debt.settle(), None);
    }
}
