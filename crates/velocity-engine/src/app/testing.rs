//! What the tests of this folder share.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use super::channel::Notify;

/// Something to be told, and how often it was.
pub fn counting() -> (Arc<AtomicUsize>, impl Fn() -> Notify) {
    let count = Arc::new(AtomicUsize::new(0));
    let counted = count.clone();
    (count, move || {
        let counted = counted.clone();
        Box::new(move || {
            counted.fetch_add(1, Ordering::Relaxed);
        })
    })
}
