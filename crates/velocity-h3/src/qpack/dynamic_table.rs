//! The dynamic table (RFC 9204 section 3.2): a queue of fields, by absolute index.

use std::collections::VecDeque;

use super::{FIELD_OVERHEAD, Name, Value};

/// A field in the table.
#[derive(Clone, Debug)]
pub struct Entry {
    pub name: Name,
    pub value: Value,
}

impl Entry {
    /// Section 3.2.1.
    pub fn size(&self) -> usize {
        self.name.as_bytes().len() + self.value.as_bytes().len() + FIELD_OVERHEAD
    }
}

#[derive(Debug, Default)]
pub struct DynamicTable {
    entries: VecDeque<Entry>,
    size: usize,
    capacity: usize,
    /// How many entries were ever inserted: the absolute index of the next one.
    inserted: u64,
}

impl DynamicTable {
    pub fn inserted(&self) -> u64 {
        self.inserted
    }

    pub fn capacity(&self) -> usize {
        self.capacity
    }

    /// The absolute index of the oldest entry that is still there.
    pub fn oldest(&self) -> u64 {
        self.inserted - self.entries.len() as u64
    }

    pub fn get(&self, absolute: u64) -> Option<&Entry> {
        let place = absolute.checked_sub(self.oldest())?;
        self.entries.get(usize::try_from(place).ok()?)
    }

    /// Entries with their absolute index, the newest first.
    pub fn newest_first(&self) -> impl Iterator<Item = (u64, &Entry)> {
        (0..self.inserted).rev().zip(self.entries.iter().rev())
    }

    pub fn set_capacity(&mut self, capacity: usize) {
        self.capacity = capacity;
        self.evict(0);
    }

    /// Insert an entry, evicting old ones. False when it is larger than the table.
    pub fn insert(&mut self, entry: Entry) -> bool {
        let size = entry.size();
        if size > self.capacity {
            return false;
        }
        self.evict(size);
        self.size += size;
        self.entries.push_back(entry);
        self.inserted += 1;
        true
    }

    /// The absolute index of the last entry that would have to go for `size` more bytes.
    pub fn victim(&self, size: usize) -> Option<u64> {
        let mut over = (self.size + size).saturating_sub(self.capacity);
        let mut victim = None;
        for (place, entry) in self.entries.iter().enumerate() {
            if over == 0 {
                break;
            }
            over = over.saturating_sub(entry.size());
            victim = Some(self.oldest() + place as u64);
        }
        victim
    }

    fn evict(&mut self, room: usize) {
        while self.size + room > self.capacity {
            let Some(entry) = self.entries.pop_front() else { break };
            self.size -= entry.size();
        }
    }
}
