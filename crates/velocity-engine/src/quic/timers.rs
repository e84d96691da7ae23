//! Which connection is due next.
//!
//! The deadline of a busy connection changes with every packet, nearly always to a later moment.
//! So a heap entry is an upper bound of how long to wait before looking again: a later deadline
//! leaves it alone, and when it comes up the connection is asked anew.

use std::cmp::Reverse;
use std::collections::BinaryHeap;
use std::time::Instant;

/// Moments at which connections want to be looked at.
#[derive(Default)]
pub(super) struct Timers(BinaryHeap<Reverse<(Instant, usize)>>);

impl Timers {
    /// Look at `connection` at `deadline`. `scheduled` belongs to the connection and is kept here.
    pub fn schedule(&mut self, connection: usize, deadline: Instant, scheduled: &mut Option<Instant>) {
        if scheduled.is_none_or(|at| deadline < at) {
            *scheduled = Some(deadline);
            self.0.push(Reverse((deadline, connection)));
        }
    }

    /// The next connection whose time has come, with that time. It may be out of date: the entry
    /// counts only if it equals what the connection has as `scheduled`.
    pub fn expired(&mut self, now: Instant) -> Option<(Instant, usize)> {
        let Reverse((at, connection)) = *self.0.peek()?;
        (at <= now).then(|| {
            self.0.pop();
            (at, connection)
        })
    }

    pub fn next(&self) -> Option<Instant> {
        self.0.peek().map(|Reverse((at, _))| *at)
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn a_later_deadline_costs_nothing_and_an_earlier_one_comes_first() {
        let mut timers = Timers::default();
        let start = Instant::now();
        let at = |ms| start + Duration::from_millis(ms);
        let mut scheduled = None;
        timers.schedule(7, at(50), &mut scheduled);
        timers.schedule(7, at(90), &mut scheduled);
        assert_eq!(timers.0.len(), 1);
        timers.schedule(7, at(10), &mut scheduled);
        assert_eq!(timers.next(), Some(at(10)));
        assert_eq!(timers.expired(at(9)), None);
        assert_eq!(timers.expired(at(60)), Some((at(10), 7)));
        assert_eq!(
            timers.expired(at(60)),
            Some((at(50), 7)),
            "stale: not what is scheduled"
        );
        assert_eq!(timers.expired(at(60)), None);
    }
}
