//! The dynamic table (RFC 9204 section 3.2), the same on both sides: entries in the order they were inserted, each
//! known by an absolute index that never changes.

use std::collections::VecDeque;

use bytes::Bytes;

use super::Name;

/// What an entry, and a field of a section, counts beyond its name and value (RFC 9204 section 3.2.1, RFC 9114
/// section 4.2.2).
pub(super) const OVERHEAD: u64 = 32;

#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Entry {
    pub(super) name: Name,
    pub(super) value: Bytes,
}

impl Entry {
    pub(super) fn size(&self) -> u64 {
        (self.name.as_bytes().len() + self.value.len()) as u64 + OVERHEAD
    }
}

#[derive(Debug, Default)]
pub(super) struct Table {
    entries: VecDeque<Entry>,
    size: u64,
    capacity: u64,
    inserted: u64,
}

impl Table {
    pub(super) fn capacity(&self) -> u64 {
        self.capacity
    }

    /// The Insert Count: how many entries have ever been inserted, and the absolute index of the next one.
    pub(super) fn inserted(&self) -> u64 {
        self.inserted
    }

    /// The absolute index of the oldest entry that is still there.
    pub(super) fn oldest(&self) -> u64 {
        self.inserted - self.entries.len() as u64
    }

    /// The entry with this absolute index, if it is there.
    pub(super) fn get(&self, index: u64) -> Option<&Entry> {
        let place = index.checked_sub(self.oldest())?;
        self.entries.get(usize::try_from(place).ok()?)
    }

    /// The entry with this index relative to the Insert Count (RFC 9204 section 3.2.5), as on the encoder stream.
    pub(super) fn relative(&self, index: u64) -> Option<&Entry> {
        self.get(self.inserted.checked_sub(index)?.checked_sub(1)?)
    }

    /// Every entry with its absolute index, the newest first.
    pub(super) fn newest_first(&self) -> impl Iterator<Item = (u64, &Entry)> {
        let oldest = self.oldest();
        self.entries
            .iter()
            .enumerate()
            .rev()
            .map(move |(place, entry)| (oldest + place as u64, entry))
    }

    /// Sets the capacity, for which entries may have to go.
    pub(super) fn set_capacity(&mut self, capacity: u64) {
        self.capacity = capacity;
        self.evict(capacity);
    }

    /// The absolute index that the oldest entry has once there is room for `size` more; none if there never is.
    pub(super) fn oldest_after(&self, size: u64) -> Option<u64> {
        let target = self.capacity.checked_sub(size)?;
        let (mut oldest, mut left) = (self.oldest(), self.size);
        for entry in &self.entries {
            if left <= target {
                break;
            }
            left -= entry.size();
            oldest += 1;
        }
        Some(oldest)
    }

    /// Inserts an entry, for which older ones may have to go; whether it fits at all.
    #[must_use]
    pub(super) fn insert(&mut self, entry: Entry) -> bool {
        let size = entry.size();
        let Some(target) = self.capacity.checked_sub(size) else {
            return false;
        };
        self.evict(target);
        self.entries.push_back(entry);
        self.size += size;
        self.inserted += 1;
        true
    }

    fn evict(&mut self, target: u64) {
        while self.size > target
            && let Some(entry) = self.entries.pop_front()
        {
            self.size -= entry.size();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn entry(value: &'static str) -> Entry {
        Entry {
            name: Name::Static(5),
            value: Bytes::from_static(value.as_bytes()),
        }
    }

    fn table(capacity: u64, values: &[&'static str]) -> Table {
        let mut table = Table::default();
        table.set_capacity(capacity);
        for value in values {
            assert!(table.insert(entry(value)));
        }
        table
    }

    fn values(table: &Table) -> Vec<(u64, &[u8])> {
        table
            .newest_first()
            .map(|(index, entry)| (index, &entry.value[..]))
            .collect()
    }

    #[test]
    fn rfc_9204_3_2_1_the_size_of_an_entry_counts_32_bytes_more() {
        assert_eq!(entry("ab").size(), 6 + 2 + 32);
    }

    #[test]
    fn rfc_9204_3_2_2_the_oldest_entries_go_first() {
        assert_eq!(values(&table(79, &["ab", "cd"])), [(1, &b"cd"[..])]);
        let mut table = table(80, &["ab", "cd"]);
        assert_eq!(values(&table), [(1, &b"cd"[..]), (0, b"ab")]);
        assert!(table.insert(entry("")));
        assert_eq!(values(&table), [(2, &b""[..]), (1, b"cd")]);
        table.set_capacity(38);
        assert_eq!(values(&table), [(2, &b""[..])]);
        table.set_capacity(0);
        assert_eq!((table.size, table.inserted()), (0, 3));
    }

    #[test]
    fn an_entry_that_does_not_fit_changes_nothing() {
        let mut table = table(40, &["ab"]);
        assert!(!table.insert(entry("abc")));
        assert_eq!(values(&table), [(0, &b"ab"[..])]);
    }

    #[test]
    fn indices_absolute_and_relative() {
        let table = table(80, &["ab", "cd", "ef"]);
        assert_eq!(table.get(0), None);
        assert_eq!(table.get(1), Some(&entry("cd")));
        assert_eq!(table.get(2), Some(&entry("ef")));
        assert_eq!(table.get(3), None);
        assert_eq!(table.relative(0), Some(&entry("ef")));
        assert_eq!(table.relative(1), Some(&entry("cd")));
        for index in [2, 3, u64::MAX] {
            assert_eq!(table.relative(index), None);
        }
    }

    #[test]
    fn what_would_have_to_go() {
        let table = table(100, &["ab", "cd"]);
        assert_eq!(table.oldest_after(20), Some(0));
        assert_eq!(table.oldest_after(21), Some(1));
        assert_eq!(table.oldest_after(100), Some(2));
        assert_eq!(table.oldest_after(101), None);
    }
}
