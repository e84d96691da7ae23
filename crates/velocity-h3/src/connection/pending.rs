//! Priorities of requests that have not arrived yet (RFC 9218, section 7).
//!
//! PRIORITY_UPDATE goes on the control stream and can be faster than its request. It may as well be for a request that
//! is over; the two are not told apart, since there is little to keep and the oldest is the first to be dropped.

use crate::StreamId;
use crate::priority::Priority;

/// For how many streams a priority is kept.
const MAX: usize = 128;

/// The priorities, in the order of their streams.
#[derive(Debug, Default)]
pub(super) struct Pending(Vec<(StreamId, Priority)>);

impl Pending {
    pub fn insert(&mut self, stream: StreamId, priority: Priority) {
        match self.0.binary_search_by_key(&stream, |kept| kept.0) {
            Ok(at) => self.0[at].1 = priority,
            Err(at) => {
                self.0.insert(at, (stream, priority));
                if self.0.len() > MAX {
                    self.0.remove(0);
                }
            }
        }
    }

    pub fn take(&mut self, stream: StreamId) -> Option<Priority> {
        let at = self.0.binary_search_by_key(&stream, |kept| kept.0).ok()?;
        Some(self.0.remove(at).1)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_latest_of_each_stream_and_of_the_newest_streams() {
        let mut pending = Pending::default();
        let urgency = |urgency| Priority {
            urgency,
            incremental: false,
        };
        for n in (0..200).rev() {
            pending.insert(n * 4, urgency(1));
        }
        for n in 0..200 {
            pending.insert(n * 4, urgency(2));
        }
        assert_eq!(pending.0.len(), MAX);
        assert_eq!(pending.take(71 * 4), None);
        assert_eq!(pending.take(72 * 4), Some(urgency(2)));
        assert_eq!(pending.take(72 * 4), None);
        assert_eq!(pending.take(199 * 4), Some(urgency(2)));
    }
}
