//! Results for event loops: one wake of a loop for as many as there are.
//!
//! The runtime never takes the GIL. It puts a result where it is expected, the future of whoever waits into the queue of
//! its loop, and makes a file descriptor readable that the loop watches.

use std::os::fd::{AsFd, AsRawFd, OwnedFd};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use pyo3::exceptions::PyStopIteration;
use pyo3::intern;
use pyo3::prelude::*;
use pyo3::sync::PyOnceLock;
use rustix::event::{EventfdFlags, eventfd};
use tokio::task::AbortHandle;

use crate::asgi::awaitable::thrown;
use crate::wait::Drive;

/// Futures of one loop that are to be completed.
struct Queue {
    futures: Mutex<Vec<Py<PyAny>>>,
    ready: OwnedFd,
    /// The loop was woken, and has not looked yet.
    woken: AtomicBool,
}

impl Queue {
    fn push(&self, future: Py<PyAny>) {
        lock(&self.futures).push(future);
        if !self.woken.swap(true, Ordering::AcqRel) {
            // A counter that is full is readable, which is all that is wanted.
            let _ = rustix::io::write(self.ready.as_fd(), &1u64.to_ne_bytes());
        }
    }
}

/// What a loop calls when it was woken.
#[pyclass(module = "velocity._core", frozen)]
struct Deliver(Arc<Queue>);

#[pymethods]
impl Deliver {
    fn __call__(&self, py: Python<'_>) -> PyResult<()> {
        let _ = rustix::io::read(self.0.ready.as_fd(), &mut [0; 8]);
        self.0.woken.store(false, Ordering::Release);
        let futures = std::mem::take(&mut *lock(&self.0.futures));
        for future in futures {
            let future = future.bind(py);
            // Whoever waited may have been cancelled.
            if !future.call_method0(intern!(py, "done"))?.is_truthy()? {
                future.call_method1(intern!(py, "set_result"), (py.None(),))?;
            }
        }
        Ok(())
    }
}

/// A loop that watches a queue.
struct Known {
    event_loop: Py<PyAny>,
    queue: Arc<Queue>,
    /// Who made it: a child that was forked has the same loop, and needs a descriptor of its own.
    process: u32,
}

/// The queue of the running loop, and the loop.
fn queue(py: Python<'_>) -> PyResult<(Arc<Queue>, Bound<'_, PyAny>)> {
    static RUNNING: PyOnceLock<Py<PyAny>> = PyOnceLock::new();
    static LOOPS: Mutex<Vec<Known>> = Mutex::new(Vec::new());
    let running = RUNNING.get_or_try_init(py, || {
        let asyncio = py.import("asyncio")?;
        Ok::<_, PyErr>(asyncio.getattr("get_running_loop")?.unbind())
    })?;
    let event_loop = running.bind(py).call0()?;
    let process = std::process::id();
    let mut loops = lock(&LOOPS);
    let known = loops
        .iter()
        .find(|known| known.event_loop.is(&event_loop) && known.process == process);
    if let Some(known) = known {
        return Ok((known.queue.clone(), event_loop));
    }
    let (closed, open): (Vec<_>, Vec<_>) = std::mem::take(&mut *loops)
        .into_iter()
        .partition(|known| is_closed(known.event_loop.bind(py)));
    *loops = open;
    let queue = Arc::new(Queue {
        futures: Mutex::default(),
        ready: eventfd(0, EventfdFlags::CLOEXEC | EventfdFlags::NONBLOCK).map_err(std::io::Error::from)?,
        woken: AtomicBool::new(false),
    });
    loops.push(Known {
        event_loop: event_loop.clone().unbind(),
        queue: queue.clone(),
        process,
    });
    drop(loops);
    drop(closed);
    let deliver = Deliver(queue.clone()).into_pyobject(py)?;
    event_loop.call_method1("add_reader", (queue.ready.as_raw_fd(), deliver))?;
    Ok((queue, event_loop))
}

fn is_closed(event_loop: &Bound<'_, PyAny>) -> bool {
    let closed = event_loop.call_method0("is_closed");
    closed.and_then(|closed| closed.is_truthy()).unwrap_or(true)
}

/// Where a result is put, and what makes a Python object of it.
trait Outcome: Send + Sync {
    fn take(&self, py: Python<'_>) -> Option<PyResult<Py<PyAny>>>;
}

struct Slot<T, F> {
    result: Mutex<Option<T>>,
    convert: F,
}

impl<T, F> Outcome for Slot<T, F>
where
    T: Send,
    F: Fn(Python<'_>, T) -> PyResult<Py<PyAny>> + Send + Sync,
{
    fn take(&self, py: Python<'_>) -> Option<PyResult<Py<PyAny>>> {
        let result = lock(&self.result).take();
        result.map(|result| (self.convert)(py, result))
    }
}

/// Something that will be there: as much of a coroutine as asyncio asks for. Cancelled or dropped, it ends what was begun.
#[pyclass(module = "velocity._core")]
pub struct Soon {
    outcome: Arc<dyn Outcome>,
    task: AbortHandle,
    future: Py<PyAny>,
    /// `future.__await__()`.
    steps: Option<Py<PyAny>>,
}

impl Soon {
    /// Begin `work`, and make of its result what `convert` says, on the thread of the loop.
    pub fn begin<T, F>(
        py: Python<'_>,
        drive: &'static Drive,
        work: impl Future<Output = T> + Send + 'static,
        convert: F,
    ) -> PyResult<Self>
    where
        T: Send + 'static,
        F: Fn(Python<'_>, T) -> PyResult<Py<PyAny>> + Send + Sync + 'static,
    {
        let (queue, event_loop) = queue(py)?;
        let future = event_loop.call_method0(intern!(py, "create_future"))?.unbind();
        let slot = Arc::new(Slot {
            result: Mutex::new(None),
            convert,
        });
        let (there, woken) = (slot.clone(), future.clone_ref(py));
        let task = drive.spawn(async move {
            let result = work.await;
            *lock(&there.result) = Some(result);
            queue.push(woken);
        });
        Ok(Self {
            outcome: slot,
            task: task.abort_handle(),
            future,
            steps: None,
        })
    }
}

#[pymethods]
impl Soon {
    fn __await__(slf: Py<Self>) -> Py<Self> {
        slf
    }

    fn __iter__(slf: Py<Self>) -> Py<Self> {
        slf
    }

    fn __next__<'py>(&mut self, py: Python<'py>) -> PyResult<Bound<'py, PyAny>> {
        loop {
            if let Some(steps) = &self.steps {
                match steps.bind(py).call_method0(intern!(py, "__next__")) {
                    Err(error) if error.is_instance_of::<PyStopIteration>(py) => {}
                    outcome => return outcome,
                }
            }
            if let Some(result) = self.outcome.take(py) {
                return Err(match result {
                    Ok(value) => PyStopIteration::new_err((value,)),
                    Err(error) => error,
                });
            }
            if self.steps.is_some() {
                // The runtime drops a task only when it ends itself.
                return Err(pyo3::exceptions::PyRuntimeError::new_err(
                    "cannot reuse what was awaited already",
                ));
            }
            self.steps = Some(self.future.bind(py).call_method0(intern!(py, "__await__"))?.unbind());
        }
    }

    fn send<'py>(&mut self, py: Python<'py>, _value: &Bound<'py, PyAny>) -> PyResult<Bound<'py, PyAny>> {
        self.__next__(py)
    }

    #[pyo3(signature = (kind, value=None, traceback=None))]
    fn throw(
        &mut self,
        kind: Bound<'_, PyAny>,
        value: Option<Bound<'_, PyAny>>,
        traceback: Option<Bound<'_, PyAny>>,
    ) -> PyResult<()> {
        self.task.abort();
        Err(thrown(kind, value, traceback))
    }

    fn close(&mut self) {
        self.task.abort();
    }
}

impl Drop for Soon {
    fn drop(&mut self) {
        self.task.abort();
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
