//! From a waker to a place in a connection.
//!
//! Every future a connection waits for has a slot, a small number that its application chose. The
//! waker of a slot puts connection and slot on the driver's list and wakes the driver. Wakers are
//! kept and used again, so that a request which has to wait costs no allocation for it. A waker
//! that outlives its purpose merely causes a slot to be looked at for nothing.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Wake, Waker};

/// The slot of the connection as a whole.
pub const CONNECTION: u32 = u32::MAX;

/// The list of what was woken, shared by a driver and all its wakers.
#[derive(Default)]
pub(super) struct Woken(Mutex<List>);

#[derive(Default)]
struct List {
    places: Vec<(usize, u32)>,
    driver: Option<Waker>,
}

impl Woken {
    /// Who to wake when something comes onto the list.
    pub fn register(&self, waker: &Waker) {
        let mut list = self.lock();
        match &mut list.driver {
            Some(driver) => driver.clone_from(waker),
            None => list.driver = Some(waker.clone()),
        }
    }

    /// Move the list into `places`, which must be empty.
    pub fn take(&self, places: &mut Vec<(usize, u32)>) {
        std::mem::swap(&mut self.lock().places, places);
    }

    pub fn is_empty(&self) -> bool {
        self.lock().places.is_empty()
    }

    fn push(&self, connection: usize, slot: u32) {
        let driver = {
            let mut list = self.lock();
            list.places.push((connection, slot));
            // Only the first on the list has to wake the driver: it takes them all.
            (list.places.len() == 1).then(|| list.driver.clone()).flatten()
        };
        if let Some(driver) = driver {
            driver.wake();
        }
    }

    fn lock(&self) -> MutexGuard<'_, List> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The wakers of one connection.
pub struct Wakers {
    woken: Arc<Woken>,
    connection: usize,
    slots: Vec<Waker>,
}

impl Wakers {
    pub(super) fn new(woken: Arc<Woken>, connection: usize) -> Self {
        Self {
            woken,
            connection,
            slots: Vec::new(),
        }
    }

    /// The waker of a slot. Slots should be small numbers, used again when free.
    pub fn slot(&mut self, slot: u32) -> &Waker {
        while self.slots.len() <= slot as usize {
            let waker = self.waker(self.slots.len() as u32);
            self.slots.push(waker);
        }
        &self.slots[slot as usize]
    }

    /// The waker of the connection as a whole.
    pub fn connection(&self) -> Waker {
        self.waker(CONNECTION)
    }

    /// Forget the wakers of slots, to give their memory back while nothing waits.
    pub fn shrink(&mut self) {
        self.slots = Vec::new();
    }

    fn waker(&self, slot: u32) -> Waker {
        Waker::from(Arc::new(Place {
            woken: self.woken.clone(),
            connection: self.connection,
            slot,
        }))
    }
}

struct Place {
    woken: Arc<Woken>,
    connection: usize,
    slot: u32,
}

impl Wake for Place {
    fn wake(self: Arc<Self>) {
        self.wake_by_ref();
    }

    fn wake_by_ref(self: &Arc<Self>) {
        self.woken.push(self.connection, self.slot);
    }
}
