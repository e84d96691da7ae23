//! Applications in processes of their own: the same [`Exchange`] at both ends of a socket, and [`frame`]s in between.
//!
//! handler → [`Pool`] → [`front`] → [`link`] ⇄ [`link`] → [`back`] → the worker's application, and the same way back
//!
//! Every thread of the engine has a link of its own to every worker, so that nothing here is waited for.

pub mod back;
mod credit;
mod doorway;
mod frame;
mod front;
mod head;
mod link;

use std::io;
use std::os::fd::{AsRawFd, RawFd};
use std::os::unix::net::UnixStream;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use arc_swap::ArcSwap;
use http::StatusCode;
use tokio::sync::watch;
use tokio::time::{Instant, timeout_at};

use self::front::Front;
use super::{Application, Exchange, Start};
use crate::service::plain;

/// Requests that may wait for a worker.
const MAX_WAITING: usize = 16 * 1024;
/// How long one may wait where there is no worker: as long as an application takes to start again.
const HOLD: Duration = Duration::from_secs(30);

/// A request on its way to a worker.
struct Call {
    exchange: Arc<Exchange>,
    /// A worker that may have begun it has died. It is not the last one that does so if it is the request that kills.
    risked: bool,
}

/// The workers of one application.
#[derive(Clone)]
pub struct Pool(Arc<Workers>);

struct Workers {
    /// Those that are started and not ready, or told to go and not gone.
    aside: Mutex<Vec<Arc<Worker>>>,
    /// Those that get requests.
    ready: ArcSwap<Vec<Arc<Worker>>>,
    /// There is another one.
    changed: watch::Sender<()>,
    waiting: AtomicUsize,
    turn: AtomicUsize,
    numbers: AtomicU64,
    lost: AtomicU64,
    retried: AtomicU64,
}

/// How far a worker is on its way out.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Standing {
    Working,
    /// It finishes what it has and gets nothing more.
    Retiring,
    /// Its process is gone. What it has started itself may still hold its sockets.
    Dead,
}

/// A process that runs the application.
struct Worker {
    number: u64,
    /// Through which it gets its connections; `None` once it needs no more.
    doorway: Mutex<Option<UnixStream>>,
    /// The other end, until the process has it.
    entrance: Mutex<Option<UnixStream>>,
    standing: watch::Sender<Standing>,
    /// It is not to be asked, whatever it is.
    gone: AtomicBool,
    in_flight: AtomicUsize,
}

impl Default for Pool {
    fn default() -> Self {
        Self(Arc::new(Workers {
            aside: Mutex::default(),
            ready: ArcSwap::default(),
            changed: watch::Sender::new(()),
            waiting: AtomicUsize::new(0),
            turn: AtomicUsize::new(0),
            numbers: AtomicU64::new(1),
            lost: AtomicU64::new(0),
            retried: AtomicU64::new(0),
        }))
    }
}

impl Pool {
    /// Make room for a process: its number, and what it has to be started with for its standard input.
    pub fn prepare(&self) -> io::Result<(u64, RawFd)> {
        let (doorway, entrance) = UnixStream::pair()?;
        let descriptor = entrance.as_raw_fd();
        let number = self.0.numbers.fetch_add(1, Ordering::Relaxed);
        self.0.aside().push(Arc::new(Worker {
            number,
            doorway: Mutex::new(Some(doorway)),
            entrance: Mutex::new(Some(entrance)),
            standing: watch::Sender::new(Standing::Working),
            gone: AtomicBool::new(false),
            in_flight: AtomicUsize::new(0),
        }));
        Ok((number, descriptor))
    }

    /// The process has started, and has its end.
    pub fn started(&self, number: u64) {
        if let Some(worker) = self.0.aside().iter().find(|worker| worker.number == number) {
            lock(&worker.entrance).take();
        }
    }

    /// Its application is ready for requests.
    pub fn admit(&self, number: u64) {
        let mut aside = self.0.aside();
        let Some(place) = aside.iter().position(|worker| worker.number == number) else {
            return;
        };
        let worker = aside.swap_remove(place);
        let mut ready = Vec::clone(&self.0.ready.load());
        ready.push(worker);
        self.0.ready.store(Arc::new(ready));
        drop(aside);
        self.0.changed.send_replace(());
    }

    /// It gets no more requests; what it has, it finishes.
    pub fn retire(&self, number: u64) {
        let mut aside = self.0.aside();
        if let Some(worker) = self.0.take_ready(number) {
            worker.becomes(Standing::Retiring);
            aside.push(worker);
        }
    }

    /// Its process is gone. `lost` is whether it should not be.
    pub fn dismiss(&self, number: u64, lost: bool) {
        let mut aside = self.0.aside();
        let place = aside.iter().position(|worker| worker.number == number);
        let worker = match place {
            Some(place) => Some(aside.swap_remove(place)),
            None => self.0.take_ready(number),
        };
        drop(aside);
        if let Some(worker) = worker {
            worker.becomes(Standing::Dead);
        }
        self.0.lost.fetch_add(u64::from(lost), Ordering::Relaxed);
    }
}

impl Application for Pool {
    fn begin(&self, exchange: Arc<Exchange>) -> bool {
        self.0.place(Call {
            exchange,
            risked: false,
        })
    }

    fn flush(&self) {
        link::flush();
    }

    fn counters(&self) -> Vec<(&'static str, u64)> {
        vec![
            ("workers_alive", self.0.ready.load().len() as u64),
            ("workers_lost", self.0.lost.load(Ordering::Relaxed)),
            ("worker_retries", self.0.retried.load(Ordering::Relaxed)),
        ]
    }
}

impl Workers {
    /// Hand a request to a worker, now or as soon as there is one. `false` where too many wait for that.
    fn place(self: &Arc<Self>, call: Call) -> bool {
        let Err(call) = self.offer(call) else {
            return true;
        };
        if self.waiting.fetch_add(1, Ordering::Relaxed) >= MAX_WAITING {
            self.waiting.fetch_sub(1, Ordering::Relaxed);
            return false;
        }
        tokio::spawn(self.clone().wait(call));
        true
    }

    /// The same for one that was placed before: its answer must not stay away.
    fn place_again(self: &Arc<Self>, call: Call) {
        self.retried.fetch_add(1, Ordering::Relaxed);
        let exchange = call.exchange.clone();
        if !self.place(call) {
            exchange.start(unavailable());
        }
    }

    /// To the worker that has the least to do.
    fn offer(self: &Arc<Self>, mut call: Call) -> Result<(), Call> {
        let ready = self.ready.load();
        loop {
            // Of those that have equally little, each gets its turn.
            let turn = self.turn.fetch_add(1, Ordering::Relaxed) % ready.len().max(1);
            let all = ready[turn..].iter().chain(&ready[..turn]);
            let usable = all.filter(|worker| !worker.gone.load(Ordering::Relaxed));
            let Some(worker) = usable.min_by_key(|worker| worker.in_flight.load(Ordering::Relaxed)) else {
                return Err(call);
            };
            let sent = match Front::to(worker, self) {
                Ok(front) => front.send(call),
                Err(_) => Err(call),
            };
            match sent {
                Ok(()) => return Ok(()),
                Err(unsent) => {
                    // Its process is about to be found dead.
                    worker.gone.store(true, Ordering::Relaxed);
                    call = unsent;
                }
            }
        }
    }

    async fn wait(self: Arc<Self>, call: Call) {
        let mut changed = self.changed.subscribe();
        let exchange = call.exchange.clone();
        let until = Instant::now() + HOLD;
        let mut unsent = self.offer(call);
        while let Err(call) = unsent {
            if exchange.is_closed() {
                break;
            }
            if timeout_at(until, changed.changed()).await.is_err() {
                exchange.start(unavailable());
                break;
            }
            unsent = self.offer(call);
        }
        self.waiting.fetch_sub(1, Ordering::Relaxed);
        exchange.mailbox.flush();
    }

    /// To be called while `aside` is held.
    fn take_ready(&self, number: u64) -> Option<Arc<Worker>> {
        let mut ready = Vec::clone(&self.ready.load());
        let place = ready.iter().position(|worker| worker.number == number)?;
        let worker = ready.remove(place);
        self.ready.store(Arc::new(ready));
        Some(worker)
    }

    fn aside(&self) -> MutexGuard<'_, Vec<Arc<Worker>>> {
        lock(&self.aside)
    }
}

impl Worker {
    fn becomes(&self, standing: Standing) {
        lock(&self.doorway).take();
        self.gone.store(true, Ordering::Relaxed);
        self.standing.send_replace(standing);
    }

    /// A further connection to it.
    fn connect(&self) -> io::Result<UnixStream> {
        match &*lock(&self.doorway) {
            Some(doorway) => doorway::send(doorway),
            None => Err(io::ErrorKind::NotConnected.into()),
        }
    }
}

fn unavailable() -> Start {
    Start::Whole(plain(
        StatusCode::SERVICE_UNAVAILABLE,
        "the application is not running at the moment\n",
    ))
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests;
