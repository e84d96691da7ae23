//! A network with a clock of its own, which loses, delays, reorders and duplicates datagrams.

use std::cmp::Reverse;
use std::collections::BinaryHeap;
use std::time::{Duration, Instant};

use crate::random::Random;

/// What the network does to datagrams, in percent and in time.
#[derive(Clone, Copy, Debug)]
pub struct Faults {
    pub loss: usize,
    pub duplicates: usize,
    pub latency: Duration,
    /// Each datagram takes up to so much longer, and one of twenty four times that.
    pub jitter: Duration,
}

impl Faults {
    pub fn new(random: &mut Random) -> Self {
        Self {
            loss: random.pick(&[0, 0, 1, 3, 10, 20]),
            duplicates: random.pick(&[0, 1, 10]),
            latency: Duration::from_micros(random.pick(&[20, 1_000, 10_000, 50_000])),
            jitter: Duration::from_micros(random.pick(&[0, 100, 5_000, 20_000])),
        }
    }
}

/// A datagram on its way: when it arrives, as which of all that were sent, and at which end.
type UnderWay = (Instant, u64, usize, Vec<u8>);

pub struct Network {
    random: Random,
    faults: Faults,
    under_way: BinaryHeap<Reverse<UnderWay>>,
    sent: u64,
}

impl Network {
    pub fn new(faults: Faults, random: Random) -> Self {
        Self {
            random,
            faults,
            under_way: BinaryHeap::new(),
            sent: 0,
        }
    }

    pub fn send(&mut self, now: Instant, to: usize, datagram: &[u8]) {
        if self.random.chance(self.faults.loss) {
            return;
        }
        let copies = 1 + usize::from(self.random.chance(self.faults.duplicates));
        for _ in 0..copies {
            let jitter = self.faults.jitter.mul_f64(self.random.below(1000) as f64 / 1000.0);
            let jitter = if self.random.chance(5) { jitter * 4 } else { jitter };
            self.sent += 1;
            let arrival = now + self.faults.latency + jitter;
            self.under_way
                .push(Reverse((arrival, self.sent, to, datagram.to_vec())));
        }
    }

    /// The next datagram that has arrived, and where.
    pub fn arrived(&mut self, now: Instant) -> Option<(usize, Vec<u8>)> {
        let Reverse((at, ..)) = self.under_way.peek()?;
        if *at > now {
            return None;
        }
        self.under_way.pop().map(|Reverse((_, _, to, datagram))| (to, datagram))
    }

    /// When the next one arrives.
    pub fn next(&self) -> Option<Instant> {
        self.under_way.peek().map(|Reverse((at, ..))| *at)
    }
}
