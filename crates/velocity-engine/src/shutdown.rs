//! The one way down: running, draining, aborted. Everything that lives watches it.

use std::time::Duration;

use tokio::sync::watch;

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Phase {
    Running,
    /// Accept nothing new, finish what is in flight.
    Draining,
    /// End now.
    Aborted,
}

/// A view of the phase. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Shutdown(watch::Receiver<Phase>);

/// The only thing that can move the phase, and only forward.
#[derive(Debug)]
pub struct Trigger(watch::Sender<Phase>);

pub fn channel() -> (Trigger, Shutdown) {
    let (sender, receiver) = watch::channel(Phase::Running);
    (Trigger(sender), Shutdown(receiver))
}

impl Trigger {
    pub fn advance(&self, phase: Phase) {
        self.0.send_if_modified(|current| {
            let forward = phase > *current;
            if forward {
                *current = phase;
            }
            forward
        });
    }
}

/// How long a handshake may go on once draining has begun: it may be the start of a request that
/// was sent before.
pub(crate) const HANDSHAKE_GRACE: Duration = Duration::from_secs(1);

impl Shutdown {
    /// Run a handshake within its time limit, which shrinks when draining begins.
    pub async fn handshake<T>(&self, limit: Duration, handshake: impl Future<Output = T>) -> Option<T> {
        let mut draining = self.clone();
        tokio::select! {
            done = handshake => Some(done),
            () = tokio::time::sleep(limit) => None,
            () = async { draining.draining().await; tokio::time::sleep(HANDSHAKE_GRACE).await } => None,
        }
    }

    /// Wait until draining (or worse) has begun.
    pub async fn draining(&mut self) {
        // An engine that is gone without a word counts as down.
        let _ = self.0.wait_for(|phase| *phase >= Phase::Draining).await;
    }

    pub async fn aborted(&mut self) {
        let _ = self.0.wait_for(|phase| *phase >= Phase::Aborted).await;
    }

    pub fn phase(&self) -> Phase {
        *self.0.borrow()
    }
}
