//! The exchanges of a connection, each in a numbered slot, found by stream as well.
//!
//! A slot's number is what its waker bears, see [`crate::quic::Wakers`]. Numbers are used again, so
//! a busy connection settles on a few.

use std::collections::HashMap;

use quinn_proto::StreamId;
use rustc_hash::FxBuildHasher;

pub struct Slots<T> {
    slots: Vec<Option<(StreamId, T)>>,
    free: Vec<u32>,
    by_stream: HashMap<StreamId, u32, FxBuildHasher>,
}

impl<T> Slots<T> {
    pub fn new() -> Self {
        Self {
            slots: Vec::new(),
            free: Vec::new(),
            by_stream: HashMap::default(),
        }
    }

    /// The number the next [`Slots::insert`] will give.
    pub fn next(&self) -> u32 {
        self.free.last().copied().unwrap_or(self.slots.len() as u32)
    }

    /// Every number there is, whether or not it is in use.
    pub fn numbers(&self) -> std::ops::Range<u32> {
        0..self.slots.len() as u32
    }

    pub fn insert(&mut self, id: StreamId, exchange: T) -> u32 {
        let slot = self.free.pop().unwrap_or_else(|| {
            self.slots.push(None);
            (self.slots.len() - 1) as u32
        });
        self.slots[slot as usize] = Some((id, exchange));
        self.by_stream.insert(id, slot);
        slot
    }

    pub fn get(&self, slot: u32) -> Option<&(StreamId, T)> {
        self.slots.get(slot as usize)?.as_ref()
    }

    pub fn get_mut(&mut self, slot: u32) -> Option<&mut (StreamId, T)> {
        self.slots.get_mut(slot as usize)?.as_mut()
    }

    pub fn find(&self, id: StreamId) -> Option<u32> {
        self.by_stream.get(&id).copied()
    }

    pub fn by_stream(&mut self, id: StreamId) -> Option<&mut T> {
        let slot = self.find(id)?;
        self.get_mut(slot).map(|(_, exchange)| exchange)
    }

    pub fn remove(&mut self, slot: u32) -> Option<T> {
        let (id, exchange) = self.slots.get_mut(slot as usize)?.take()?;
        self.by_stream.remove(&id);
        self.free.push(slot);
        if self.by_stream.is_empty() {
            // An idle connection keeps nothing for the busy time it had.
            *self = Self::new();
        }
        Some(exchange)
    }

    pub fn is_empty(&self) -> bool {
        self.by_stream.is_empty()
    }
}
