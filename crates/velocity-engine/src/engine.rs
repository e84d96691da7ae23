//! The engine: a Plan becomes sockets, workers and a snapshot; and goes down without losing anything.
//!
//! One worker is one thread with a single-threaded runtime and sockets of its own. A connection
//! lives and dies on one worker, so nothing on its path is shared but the snapshot and counters.

use std::net::SocketAddr;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use arc_swap::ArcSwap;

use crate::app::Applications;
use crate::error::{Error, Result};
use crate::metrics::Metrics;
use crate::net::bind::Sockets;
use crate::plan::{Listener, Plan};
use crate::shutdown::{self, Phase, Trigger};
use crate::snapshot::{self, Snapshot};
use crate::worker::{Shared, Worker};

/// More workers than this would not fit the first byte of a connection ID.
const MAX_WORKERS: usize = 256;

pub struct Engine {
    addresses: Vec<SocketAddr>,
    listeners: Vec<Listener>,
    snapshot: Arc<ArcSwap<Snapshot>>,
    metrics: Arc<Metrics>,
    trigger: Trigger,
    applications: Applications,
    alive: Arc<Alive>,
    threads: Mutex<Vec<JoinHandle<()>>>,
}

impl Engine {
    /// Build the snapshot, bind every listener, start the workers. Nothing is left behind on error.
    pub fn start(plan: Plan, applications: Applications) -> Result<Self> {
        // mimalloc asks for huge pages, of which connections that idle touch a third: 16 KB each for nothing.
        let _ = rustix::thread::disable_transparent_huge_pages(true);
        let snapshot = Arc::new(ArcSwap::from_pointee(Snapshot::new(&plan, None, &applications)?));
        let cpus = std::thread::available_parallelism().map_or(1, usize::from);
        let workers = plan.workers.unwrap_or(cpus).clamp(1, MAX_WORKERS);
        let bound = plan.listeners.iter().map(|listener| {
            let (udp, tcp) = (listener.wants_udp(), listener.wants_tcp());
            Sockets::bind(&listener.address, udp, tcp, workers)
        });
        let bound: Vec<Sockets> = bound.collect::<Result<_>>()?;
        let addresses = bound.iter().map(|sockets| sockets.address).collect();

        let metrics = Arc::new(Metrics::default());
        let (trigger, shutdown) = shutdown::channel();
        let shared = Arc::new(Shared::new(&plan, &bound, snapshot.clone(), metrics.clone(), shutdown)?);
        let alive = Arc::new(Alive::default());
        let engine = Self {
            addresses,
            listeners: plan.listeners,
            snapshot,
            metrics,
            trigger,
            applications,
            alive,
            threads: Mutex::default(),
        };
        for worker in Worker::distribute(bound, workers, &shared, &engine.applications)? {
            let place = Alive::enter(&engine.alive);
            let thread = std::thread::Builder::new()
                .name(format!("velocity-{}", worker.index))
                .spawn(move || {
                    worker.run();
                    drop(place);
                })
                .map_err(|e| Error::start("THREAD_FAILED", format!("cannot start a worker: {e}")));
            match thread {
                Ok(thread) => engine.threads().push(thread),
                Err(error) => {
                    engine.abort();
                    return Err(error);
                }
            }
        }
        Ok(engine)
    }

    /// Bound addresses, in the order of the Plan's listeners.
    pub fn addresses(&self) -> &[SocketAddr] {
        &self.addresses
    }

    /// Name and value of every counter.
    pub fn counters(&self) -> Vec<(String, u64)> {
        let mut all = self.metrics.snapshot();
        all.extend(self.snapshot.load().upstreams.counters());
        all.extend(self.applications.counters());
        all
    }

    /// Serve another Plan from now on. Listeners cannot change; on any error nothing does.
    pub fn reload(&self, plan: &Plan) -> Result<()> {
        if plan.listeners != self.listeners {
            return Err(
                Error::config("LISTENERS_CHANGED", "listeners cannot change while the server runs")
                    .hint("restart the server to listen elsewhere"),
            );
        }
        let snapshot = Snapshot::new(plan, Some(&self.snapshot.load()), &self.applications)?;
        self.snapshot.store(Arc::new(snapshot));
        Ok(())
    }

    /// Accept nothing new, send GOAWAY, finish what is in flight. Returns at once.
    pub fn stop(&self) {
        self.applications.drain();
        self.trigger.advance(Phase::Draining);
    }

    /// Wait until every worker is done, at most `timeout`; true when they are.
    pub fn wait(&self, timeout: Duration) -> bool {
        self.alive.none_left(timeout)
    }

    /// End every connection now and wait for the workers.
    pub fn abort(&self) {
        self.trigger.advance(Phase::Aborted);
        for thread in self.threads().drain(..) {
            // A worker that panicked has ended too.
            let _ = thread.join();
        }
    }

    fn threads(&self) -> MutexGuard<'_, Vec<JoinHandle<()>>> {
        self.threads.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Find out whether a Plan could be served, short of listening.
///
/// # Errors
///
/// Whatever [`Engine::start`] would say of certificates, folders, templates and patterns.
pub fn check(plan: &Plan) -> Result<()> {
    Snapshot::new(plan, None, &Applications::any()).map(drop)
}

/// Everything that is wrong with a Plan, its certificates aside: see [`snapshot::problems`].
pub fn problems(plan: &Plan) -> Vec<Error> {
    snapshot::problems(plan)
}

impl Drop for Engine {
    fn drop(&mut self) {
        self.abort();
    }
}

/// Counts running workers.
#[derive(Default)]
struct Alive {
    count: Mutex<usize>,
    changed: Condvar,
}

/// One worker's place in the count.
struct Place(Arc<Alive>);

impl Alive {
    fn enter(alive: &Arc<Alive>) -> Place {
        *alive.count() += 1;
        Place(alive.clone())
    }

    fn count(&self) -> MutexGuard<'_, usize> {
        self.count.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn none_left(&self, timeout: Duration) -> bool {
        let until = Instant::now() + timeout;
        let mut count = self.count();
        while *count > 0 {
            let Some(left) = until
                .checked_duration_since(Instant::now())
                .filter(|left| !left.is_zero())
            else {
                return false;
            };
            count = self
                .changed
                .wait_timeout(count, left)
                .unwrap_or_else(PoisonError::into_inner)
                .0;
        }
        true
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        *self.0.count() -= 1;
        self.0.changed.notify_all();
    }
}
