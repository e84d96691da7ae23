//! How long nothing may come of an answer before a server is asked whether it is there.
//!
//! A client that only reads has nothing to say. When its address changes on the way, behind a NAT, a server goes on
//! sending to where nobody is any more, until it hears from elsewhere (RFC 9000 section 9.3).

use std::time::{Duration, Instant};

/// Until the first question, and at most between two of them.
const FIRST: Duration = Duration::from_millis(500);
const LONGEST: Duration = Duration::from_secs(8);

pub(super) struct Silence {
    due: Instant,
    pause: Duration,
    /// How much had come at the last look.
    heard: u64,
}

impl Silence {
    pub fn new(now: Instant, heard: u64) -> Self {
        Self {
            due: now + FIRST,
            pause: FIRST,
            heard,
        }
    }

    /// When to look again.
    pub fn due(&self) -> Instant {
        self.due
    }

    /// Whether to ask, as nothing has come since the last look. `heard` is how much has come altogether.
    pub fn look(&mut self, now: Instant, heard: u64) -> bool {
        let silent = heard == self.heard;
        self.heard = heard;
        self.pause = match silent {
            true => (self.pause * 2).min(LONGEST),
            false => FIRST,
        };
        self.due = now + self.pause;
        silent
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_longer_nothing_comes_the_less_is_asked() {
        let start = Instant::now();
        let mut silence = Silence::new(start, 5);
        assert_eq!(silence.due(), start + FIRST);
        assert!(!silence.look(silence.due(), 6), "something came");
        let mut pauses = Vec::new();
        for _ in 0..5 {
            let now = silence.due();
            assert!(silence.look(now, 6));
            pauses.push((silence.due() - now).as_millis());
        }
        assert_eq!(pauses, [1000, 2000, 4000, 8000, 8000]);
        assert!(!silence.look(silence.due(), 7));
        assert_eq!(silence.pause, FIRST);
    }
}
