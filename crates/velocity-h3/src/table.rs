//! A map from stream IDs.
//!
//! IDs are handed out in order by QUIC and cannot be chosen freely by the peer, so there is nothing for a keyed hash to
//! protect: one multiplication spreads them.

use std::collections::HashMap;
use std::hash::{BuildHasherDefault, Hasher};

use crate::StreamId;

/// A map from stream IDs.
pub(crate) type Table<T> = HashMap<StreamId, T, BuildHasherDefault<IdHasher>>;

/// Hashes a stream ID.
#[derive(Default)]
pub(crate) struct IdHasher(u64);

impl Hasher for IdHasher {
    fn finish(&self) -> u64 {
        self.0
    }

    fn write(&mut self, bytes: &[u8]) {
        for byte in bytes {
            self.write_u64(self.0 ^ u64::from(*byte));
        }
    }

    fn write_u64(&mut self, id: u64) {
        // The low bits of an ID are its type and always the same; the high half of the product makes up for it.
        let product = u128::from(id) * 0x9e37_79b9_7f4a_7c15;
        self.0 = (product >> 64) as u64 ^ product as u64;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::HashSet;

    #[test]
    fn streams_in_order_fall_into_different_buckets() {
        let bucket = |id: u64| {
            let mut hasher = IdHasher::default();
            hasher.write_u64(id);
            hasher.finish() & 0xff
        };
        let used: HashSet<u64> = (0..256).map(|n| bucket(n * 4)).collect();
        assert!(used.len() > 128, "{}", used.len());
    }
}
