//! What goes one way between an engine thread and an application, item by item, with bounds.
//!
//! The engine's end is polled, as everything there is. The application's end does not block either: who finds nothing,
//! or no room, leaves a [`Notify`] that is called once when that has changed.

use std::collections::VecDeque;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, Waker};

use super::mailbox::Mailbox;

/// Bytes that may wait before the one who sends has to.
const HIGH: usize = 64 * 1024;
/// So few may be left when it goes on.
const LOW: usize = 16 * 1024;
/// Items that may wait, however small.
const MAX_ITEMS: usize = 256;

/// Tells an application that it may try again. Called from any thread, and must not block.
pub type Notify = Box<dyn FnOnce() + Send>;

/// Something that takes memory.
pub trait Item {
    fn size(&self) -> usize;
}

impl Item for bytes::Bytes {
    fn size(&self) -> usize {
        self.len()
    }
}

struct Line<T> {
    items: VecDeque<T>,
    bytes: usize,
    /// Nothing comes any more: all is here.
    complete: bool,
    /// Nothing comes any more: the other end is gone, or has given up.
    broken: bool,
    engine: Option<Waker>,
    application: Vec<Notify>,
}

impl<T: Item> Line<T> {
    fn new(complete: bool) -> Mutex<Self> {
        Mutex::new(Self {
            items: VecDeque::new(),
            bytes: 0,
            complete,
            broken: false,
            engine: None,
            application: Vec::new(),
        })
    }

    fn push(&mut self, item: T) {
        self.bytes += item.size();
        self.items.push_back(item);
    }

    fn pop(&mut self) -> Option<T> {
        let item = self.items.pop_front()?;
        self.bytes -= item.size();
        Some(item)
    }

    fn is_full(&self) -> bool {
        self.bytes >= HIGH || self.items.len() >= MAX_ITEMS
    }

    fn is_low(&self) -> bool {
        self.bytes <= LOW && self.items.len() <= MAX_ITEMS / 2
    }
}

fn lock<T>(line: &Mutex<Line<T>>) -> MutexGuard<'_, Line<T>> {
    line.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Tell the application, without holding the lock.
fn notify<T>(mut line: MutexGuard<'_, Line<T>>) {
    let application = std::mem::take(&mut line.application);
    drop(line);
    application.into_iter().for_each(|notify| notify());
}

/// What an application finds.
#[derive(Debug, PartialEq, Eq)]
pub enum Received<T> {
    /// And whether it is the last one.
    Item(T, bool),
    /// There is no more.
    End,
    /// The client is gone.
    Gone,
    /// Nothing yet: it will be notified.
    Wait,
}

/// From the engine to an application.
pub struct Inbound<T>(Mutex<Line<T>>);

impl<T: Item> Inbound<T> {
    /// `complete` is whether nothing will come.
    pub fn new(complete: bool) -> Self {
        Self(Line::new(complete))
    }

    /// Whether there is room. If not, the waker of `cx` is called when there is.
    pub fn poll_room(&self, cx: &mut Context<'_>) -> Poll<()> {
        let mut line = lock(&self.0);
        if !line.is_full() {
            return Poll::Ready(());
        }
        line.engine = Some(cx.waker().clone());
        Poll::Pending
    }

    /// The same without waiting.
    pub fn has_room(&self) -> bool {
        !lock(&self.0).is_full()
    }

    /// `last` is whether nothing comes after it.
    pub fn push(&self, item: T, last: bool) {
        let mut line = lock(&self.0);
        line.push(item);
        line.complete = last;
        notify(line);
    }

    pub fn complete(&self) {
        let mut line = lock(&self.0);
        line.complete = true;
        notify(line);
    }

    /// The client is gone, or its request is over.
    pub fn close(&self) {
        let mut line = lock(&self.0);
        line.broken = true;
        line.engine = None;
        notify(line);
    }

    /// The next item, if there is one. Otherwise `later` makes what is called when this should be asked again.
    pub fn take(&self, mailbox: &Mailbox, later: impl FnOnce() -> Notify) -> Received<T> {
        let mut line = lock(&self.0);
        if let Some(item) = line.pop() {
            if line.is_low()
                && let Some(engine) = line.engine.take()
            {
                mailbox.put(engine);
            }
            let last = line.complete && line.items.is_empty();
            return Received::Item(item, last);
        }
        if line.broken {
            return Received::Gone;
        }
        if line.complete {
            return Received::End;
        }
        line.application.push(later());
        Received::Wait
    }

    /// Wait for the client to go.
    pub fn gone(&self, later: impl FnOnce() -> Notify) -> bool {
        let mut line = lock(&self.0);
        if !line.broken {
            line.application.push(later());
        }
        line.broken
    }
}

/// Whether there is more room for what an application sends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Room {
    Enough,
    /// It should wait, see [`Outbound::room`].
    Full,
    /// Nobody will read it.
    Gone,
}

/// From an application to the engine.
pub struct Outbound<T>(Mutex<Line<T>>);

impl<T: Item> Default for Outbound<T> {
    fn default() -> Self {
        Self(Line::new(false))
    }
}

impl<T: Item> Outbound<T> {
    pub fn push(&self, mailbox: &Mailbox, item: T) -> Room {
        let mut line = lock(&self.0);
        if line.broken {
            return Room::Gone;
        }
        line.push(item);
        wake(&mut line, mailbox);
        if line.is_full() { Room::Full } else { Room::Enough }
    }

    /// Whether there is room; where it is [`Room::Full`], `later` makes what is called when that has changed.
    pub fn room(&self, later: impl FnOnce() -> Notify) -> Room {
        let mut line = lock(&self.0);
        if line.broken {
            return Room::Gone;
        }
        if line.is_low() {
            return Room::Enough;
        }
        line.application.push(later());
        Room::Full
    }

    /// All was said.
    pub fn complete(&self, mailbox: &Mailbox) {
        let mut line = lock(&self.0);
        line.complete = true;
        wake(&mut line, mailbox);
    }

    /// What was said is not all, and no more will come.
    pub fn fail(&self, mailbox: &Mailbox) {
        let mut line = lock(&self.0);
        if !line.complete {
            line.broken = true;
            wake(&mut line, mailbox);
        }
    }

    /// Nobody reads any more.
    pub fn close(&self) {
        let mut line = lock(&self.0);
        line.broken = true;
        line.items = VecDeque::new();
        line.bytes = 0;
        line.engine = None;
        notify(line);
    }

    /// The next item; `None` at the end. An error is an end that came too early.
    pub fn poll(&self, cx: &mut Context<'_>) -> Poll<Option<Result<T, Broken>>> {
        let mut line = lock(&self.0);
        if let Some(item) = line.pop() {
            if line.is_low() && !line.application.is_empty() {
                notify(line);
            }
            return Poll::Ready(Some(Ok(item)));
        }
        if line.broken {
            return Poll::Ready(Some(Err(Broken)));
        }
        if line.complete {
            return Poll::Ready(None);
        }
        line.engine = Some(cx.waker().clone());
        Poll::Pending
    }
}

/// The application broke off.
#[derive(Clone, Copy, Debug)]
pub struct Broken;

fn wake<T>(line: &mut Line<T>, mailbox: &Mailbox) {
    if let Some(engine) = line.engine.take() {
        mailbox.put(engine);
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::Ordering;

    use bytes::Bytes;

    use super::super::testing::counting;
    use super::*;

    fn context() -> Context<'static> {
        Context::from_waker(Waker::noop())
    }

    #[test]
    fn what_comes_is_received_and_then_the_end() {
        let (line, mailbox, (notified, later)) = (Inbound::new(false), Mailbox::default(), counting());
        assert_eq!(line.take(&mailbox, &later), Received::Wait);
        line.push(Bytes::from_static(b"a"), false);
        assert_eq!(notified.load(Ordering::Relaxed), 1);
        line.push(Bytes::from_static(b"b"), true);
        assert_eq!(notified.load(Ordering::Relaxed), 1, "nobody waits");
        assert_eq!(
            line.take(&mailbox, &later),
            Received::Item(Bytes::from_static(b"a"), false)
        );
        assert_eq!(
            line.take(&mailbox, &later),
            Received::Item(Bytes::from_static(b"b"), true)
        );
        assert_eq!(line.take(&mailbox, &later), Received::End);
        line.close();
        assert_eq!(line.take(&mailbox, &later), Received::Gone);
    }

    #[test]
    fn who_is_ahead_waits() {
        let (line, mailbox, (_, later)) = (Inbound::new(false), Mailbox::default(), counting());
        while line.poll_room(&mut context()).is_ready() {
            line.push(Bytes::from(vec![0; 10_000]), false);
        }
        assert!(!mailbox.is_noted());
        for _ in 0..6 {
            assert!(matches!(line.take(&mailbox, &later), Received::Item(..)));
        }
        assert!(mailbox.is_noted(), "there is room again");
        assert!(line.poll_room(&mut context()).is_ready());
    }

    #[test]
    fn small_items_are_bounded_too() {
        let line = Inbound::new(false);
        let mut count = 0;
        while line.poll_room(&mut context()).is_ready() {
            line.push(Bytes::from_static(b"x"), false);
            count += 1;
        }
        assert_eq!(count, MAX_ITEMS);
    }

    #[test]
    fn an_application_waits_for_a_slow_reader() {
        let (line, mailbox, (notified, later)) = (Outbound::default(), Mailbox::default(), counting());
        assert_eq!(line.push(&mailbox, Bytes::from(vec![0; HIGH - 1])), Room::Enough);
        assert_eq!(line.push(&mailbox, Bytes::from_static(b"x")), Room::Full);
        assert_eq!(line.room(&later), Room::Full);
        assert!(matches!(line.poll(&mut context()), Poll::Ready(Some(Ok(_)))));
        assert_eq!(notified.load(Ordering::Relaxed), 1);
        assert_eq!(line.room(&later), Room::Enough);
        line.close();
        assert_eq!(line.room(&later), Room::Gone);
        assert_eq!(line.push(&mailbox, Bytes::from_static(b"x")), Room::Gone);
    }

    #[test]
    fn what_was_said_before_the_end_is_heard() {
        for broken in [false, true] {
            let (line, mailbox) = (Outbound::default(), Mailbox::default());
            assert!(line.poll(&mut context()).is_pending());
            line.push(&mailbox, Bytes::from_static(b"x"));
            assert!(mailbox.is_noted(), "somebody waits for it");
            match broken {
                true => line.fail(&mailbox),
                false => line.complete(&mailbox),
            }
            assert!(matches!(line.poll(&mut context()), Poll::Ready(Some(Ok(_)))));
            match line.poll(&mut context()) {
                Poll::Ready(None) => assert!(!broken),
                Poll::Ready(Some(Err(_))) => assert!(broken),
                _ => panic!("it has ended"),
            }
        }
    }
}
