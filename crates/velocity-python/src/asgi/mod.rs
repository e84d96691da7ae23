//! ASGI 3 within this process: the engine's [`Application`](velocity_engine::Application) whose program is Python's.
//!
//! engine thread → [`queue`] → event loop → [`Application::deliver`] → task → [`http`], [`websocket`], [`webtransport`] → mailbox → engine

pub(crate) mod awaitable;
mod claim;
mod http;
mod message;
mod queue;
mod scope;
mod websocket;
mod webtransport;
pub mod workers;

use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use pyo3::intern;
use pyo3::prelude::*;
use pyo3::types::PyDict;
use velocity_engine::app::mailbox::Mailbox;
use velocity_engine::app::{self, Exchange};

use self::awaitable::Done;
use self::http::HttpExchange;
use self::queue::{Entrance, Item, Queue};
use self::scope::Scopes;
use self::websocket::WebSocketExchange;
use self::webtransport::WebTransportExchange;

/// An application and the event loop that it runs on. Everything but the queue belongs to the loop's thread.
#[pyclass(module = "velocity._core", frozen)]
pub struct Application {
    pub(crate) queue: Arc<Queue>,
    run: Py<PyAny>,
    spawn: Py<PyAny>,
    call_soon: Py<PyAny>,
    create_future: Py<PyAny>,
    scopes: Scopes,
    done: Py<Done>,
    /// Engine threads that have something to look at.
    dirty: Mutex<Vec<Arc<Mailbox>>>,
    /// They will be told at the end of this turn of the loop.
    flushes: AtomicBool,
    running: AtomicUsize,
    begun: AtomicU64,
    /// After so many requests `enough` is called.
    limit: Option<u64>,
    enough: Py<PyAny>,
}

#[pymethods]
impl Application {
    #[new]
    #[pyo3(signature = (run, spawn, event_loop, *, state=None, limit=None, enough=None))]
    fn new(
        py: Python<'_>,
        run: Py<PyAny>,
        spawn: Py<PyAny>,
        event_loop: &Bound<'_, PyAny>,
        state: Option<Py<PyDict>>,
        limit: Option<u64>,
        enough: Option<Py<PyAny>>,
    ) -> PyResult<Self> {
        Ok(Self {
            queue: Arc::new(Queue::new()?),
            run,
            spawn,
            call_soon: event_loop.getattr("call_soon")?.unbind(),
            create_future: event_loop.getattr("create_future")?.unbind(),
            scopes: Scopes::new(py, state)?,
            done: Py::new(py, Done)?,
            dirty: Mutex::default(),
            flushes: AtomicBool::new(false),
            running: AtomicUsize::new(0),
            begun: AtomicU64::new(0),
            limit,
            enough: enough.unwrap_or_else(|| py.None()),
        })
    }

    fn fileno(&self) -> i32 {
        self.queue.descriptor()
    }

    #[getter]
    fn running(&self) -> usize {
        self.running.load(Ordering::Relaxed)
    }

    fn deliver(slf: &Bound<'_, Self>) -> PyResult<()> {
        let py = slf.py();
        let this = slf.get();
        for item in this.queue.take() {
            match item {
                Item::Begin(exchange) => {
                    if let Err(error) = Self::begin(slf, &exchange) {
                        exchange.start(Exchange::failure());
                        Self::note(slf, &exchange);
                        error.write_unraisable(py, Some(slf));
                    }
                }
                Item::Wake(future) => {
                    let future = future.bind(py);
                    if !future.call_method0(intern!(py, "done"))?.is_truthy()? {
                        future.call_method1(intern!(py, "set_result"), (py.None(),))?;
                    }
                }
                Item::Cancel(task) => {
                    task.bind(py).call_method0(intern!(py, "cancel"))?;
                }
            }
        }
        Ok(())
    }

    /// Tell the engine's threads of everything that was said in this turn of the loop.
    fn flush(&self) {
        self.flushes.store(false, Ordering::Relaxed);
        let mailboxes = std::mem::take(&mut *self.dirty.lock().unwrap_or_else(PoisonError::into_inner));
        mailboxes.iter().for_each(|mailbox| mailbox.flush());
        self.queue.wake();
    }
}

impl Application {
    /// What the engine knows of it.
    pub fn entrance(&self) -> Arc<dyn app::Application> {
        Arc::new(Entrance(self.queue.clone()))
    }

    fn begin(slf: &Bound<'_, Self>, exchange: &Arc<Exchange>) -> PyResult<()> {
        let py = slf.py();
        let this = slf.get();
        let head = &exchange.head;
        this.running.fetch_add(1, Ordering::Relaxed);
        let begun = this.begun.fetch_add(1, Ordering::Relaxed) + 1;
        let (exchange_object, scope) = if exchange.socket.is_some() {
            let object = Bound::new(py, WebSocketExchange::new(exchange.clone(), slf.clone().unbind()))?;
            (object.into_any(), this.scopes.websocket(py, head)?)
        } else if exchange.session.is_some() {
            let object = Bound::new(py, WebTransportExchange::new(exchange.clone(), slf.clone().unbind()))?;
            (object.into_any(), this.scopes.webtransport(py, head)?)
        } else {
            let object = Bound::new(py, HttpExchange::new(exchange.clone(), slf.clone().unbind()))?;
            (object.into_any(), this.scopes.http(py, head)?)
        };
        let coroutine = this.run.bind(py).call1((exchange_object, scope))?;
        let task = this.spawn.bind(py).call1((coroutine,))?;
        if head.expires {
            exchange.on_cancel(this.queue.cancels(task.unbind()));
        }
        if this.limit == Some(begun) {
            this.enough.bind(py).call0()?;
        }
        Ok(())
    }

    fn finished(&self) {
        self.running.fetch_sub(1, Ordering::Relaxed);
    }

    /// See to it that the engine's thread learns what was said.
    fn note(slf: &Bound<'_, Self>, exchange: &Exchange) {
        if !exchange.mailbox.is_noted() {
            return;
        }
        let this = slf.get();
        let mut dirty = this.dirty.lock().unwrap_or_else(PoisonError::into_inner);
        if !dirty.iter().any(|mailbox| Arc::ptr_eq(mailbox, &exchange.mailbox)) {
            dirty.push(exchange.mailbox.clone());
        }
        drop(dirty);
        if this.flushes.swap(true, Ordering::Relaxed) {
            return;
        }
        let py = slf.py();
        let soon = slf
            .getattr(intern!(py, "flush"))
            .and_then(|flush| this.call_soon.bind(py).call1((flush,)));
        if soon.is_err() {
            // The loop is closed: there is no end of a turn any more.
            this.flush();
        }
    }
}
