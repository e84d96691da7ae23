//! Requests for the same thing at the same time become one (RFC 9111 section 4): the first asks, the others wait.
//!
//! Whoever asks holds a [`Lead`]; it ends, however the request ends, by being dropped. Then the others look again, and
//! find an answer or ask by themselves.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use rustc_hash::FxHashMap;
use tokio::sync::watch;
use tokio::time::{Instant, timeout_at};

/// Requests under way, by what they ask for.
#[derive(Default)]
pub struct Flights {
    under_way: Mutex<FxHashMap<Box<[u8]>, watch::Receiver<()>>>,
}

pub enum Seat {
    Lead(Lead),
    Follow(Follow),
}

/// To be held for as long as others shall wait.
pub struct Lead {
    flights: Arc<Flights>,
    key: Box<[u8]>,
    _end: watch::Sender<()>,
}

pub struct Follow(watch::Receiver<()>);

impl Flights {
    pub fn join(self: &Arc<Self>, key: &[u8]) -> Seat {
        let mut under_way = self.lock();
        if let Some(end) = under_way.get(key) {
            return Seat::Follow(Follow(end.clone()));
        }
        let (end, ended) = watch::channel(());
        under_way.insert(key.into(), ended);
        Seat::Lead(Lead {
            flights: self.clone(),
            key: key.into(),
            _end: end,
        })
    }

    fn lock(&self) -> MutexGuard<'_, FxHashMap<Box<[u8]>, watch::Receiver<()>>> {
        self.under_way.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Lead {
    fn drop(&mut self) {
        // First, so that whoever wakes up finds nobody to follow.
        self.flights.lock().remove(&self.key);
    }
}

impl Follow {
    /// Wait for the end; false if it is not there in time.
    pub async fn wait(mut self, until: Instant) -> bool {
        // Nothing is ever sent: the sender goes.
        timeout_at(until, self.0.changed()).await.is_ok()
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[tokio::test(start_paused = true)]
    async fn one_leads_until_it_is_gone() {
        let flights = Arc::<Flights>::default();
        let Seat::Lead(lead) = flights.join(b"a") else {
            unreachable!("nobody leads")
        };
        assert!(matches!(flights.join(b"b"), Seat::Lead(_)));
        let Seat::Follow(late) = flights.join(b"a") else {
            unreachable!("somebody leads")
        };
        assert!(!late.wait(Instant::now() + Duration::from_secs(5)).await);
        let Seat::Follow(follow) = flights.join(b"a") else {
            unreachable!("somebody leads")
        };
        let waiting = tokio::spawn(follow.wait(Instant::now() + Duration::from_secs(5)));
        tokio::task::yield_now().await;
        drop(lead);
        assert!(waiting.await.unwrap());
        assert!(matches!(flights.join(b"a"), Seat::Lead(_)));
        assert!(flights.lock().is_empty());
    }
}
