//! What `receive()` and `send()` return. Most of the time there is nothing to wait for, and they say so at once.

use pyo3::exceptions::PyStopIteration;
use pyo3::prelude::*;
use velocity_engine::app::channel::Room;

use super::Application;
use super::http::HttpExchange;
use super::message::gone;
use super::websocket::WebSocketExchange;
use super::webtransport::WebTransportExchange;

/// `None`, without waiting. One is enough for everybody.
#[pyclass(module = "velocity._core", frozen)]
pub struct Done;

#[pymethods]
impl Done {
    fn __await__(slf: Py<Self>) -> Py<Self> {
        slf
    }

    fn __next__(&self) -> Option<()> {
        None
    }

    fn send(&self, _value: &Bound<'_, PyAny>) -> PyResult<()> {
        Err(PyStopIteration::new_err(()))
    }

    #[pyo3(signature = (kind, value=None, traceback=None))]
    fn throw(
        &self,
        kind: Bound<'_, PyAny>,
        value: Option<Bound<'_, PyAny>>,
        traceback: Option<Bound<'_, PyAny>>,
    ) -> PyResult<()> {
        Err(thrown(kind, value, traceback))
    }

    fn close(&self) {}
}

/// A value, without waiting.
#[pyclass(module = "velocity._core", frozen)]
pub struct Ready(pub Py<PyAny>);

#[pymethods]
impl Ready {
    fn __await__(slf: Py<Self>) -> Py<Self> {
        slf
    }

    fn __next__(&self, py: Python<'_>) -> PyResult<()> {
        Err(PyStopIteration::new_err(self.0.clone_ref(py)))
    }

    fn send(&self, py: Python<'_>, _value: &Bound<'_, PyAny>) -> PyResult<()> {
        self.__next__(py)
    }

    #[pyo3(signature = (kind, value=None, traceback=None))]
    fn throw(
        &self,
        kind: Bound<'_, PyAny>,
        value: Option<Bound<'_, PyAny>>,
        traceback: Option<Bound<'_, PyAny>>,
    ) -> PyResult<()> {
        Err(thrown(kind, value, traceback))
    }

    fn close(&self) {}
}

/// What `send` returns when something was sent and there is this much room.
pub fn sent<'py>(
    application: &Bound<'py, Application>,
    room: Room,
    waits: impl FnOnce() -> Awaited,
) -> PyResult<Bound<'py, PyAny>> {
    let py = application.py();
    match room {
        Room::Enough => Ok(application.get().done.bind(py).clone().into_any()),
        Room::Full => Ok(Bound::new(py, Wait::new(waits()))?.into_any()),
        Room::Gone => Err(gone()),
    }
}

/// What is waited for.
pub enum Awaited {
    HttpReceive(Py<HttpExchange>),
    HttpSend(Py<HttpExchange>),
    WebSocketReceive(Py<WebSocketExchange>),
    WebSocketSend(Py<WebSocketExchange>),
    WebTransportReceive(Py<WebTransportExchange>),
    /// For room on a stream, or for another one.
    WebTransportSend(Py<WebTransportExchange>, Option<u64>),
}

impl Awaited {
    /// What there is; `None` where `future` will be completed when this should be asked again.
    fn poll<'py>(&self, py: Python<'py>, future: &Bound<'py, PyAny>) -> PyResult<Option<Bound<'py, PyAny>>> {
        match self {
            Self::HttpReceive(exchange) => exchange.get().poll_receive(py, future),
            Self::HttpSend(exchange) => exchange.get().poll_send(py, future),
            Self::WebSocketReceive(exchange) => exchange.get().poll_receive(py, future),
            Self::WebSocketSend(exchange) => exchange.get().poll_send(py, future),
            Self::WebTransportReceive(exchange) => exchange.get().poll_receive(py, future),
            Self::WebTransportSend(exchange, stream) => exchange.get().poll_send(py, *stream, future),
        }
    }

    fn future<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyAny>> {
        let application = match self {
            Self::HttpReceive(exchange) | Self::HttpSend(exchange) => &exchange.get().application,
            Self::WebSocketReceive(exchange) | Self::WebSocketSend(exchange) => &exchange.get().application,
            Self::WebTransportReceive(exchange) | Self::WebTransportSend(exchange, _) => &exchange.get().application,
        };
        application.get().create_future.bind(py).call0()
    }
}

/// Something that is not there yet: as much of a coroutine as asyncio asks for.
#[pyclass(module = "velocity._core")]
pub struct Wait {
    awaited: Awaited,
    /// `future.__await__()`.
    steps: Option<Py<PyAny>>,
}

impl Wait {
    pub fn new(awaited: Awaited) -> Self {
        Self { awaited, steps: None }
    }
}

#[pymethods]
impl Wait {
    fn __await__(slf: Py<Self>) -> Py<Self> {
        slf
    }

    fn __next__<'py>(&mut self, py: Python<'py>) -> PyResult<Bound<'py, PyAny>> {
        loop {
            if let Some(steps) = &self.steps {
                match steps.bind(py).call_method0(pyo3::intern!(py, "__next__")) {
                    Err(error) if error.is_instance_of::<PyStopIteration>(py) => self.steps = None,
                    outcome => return outcome,
                }
            }
            let future = self.awaited.future(py)?;
            if let Some(value) = self.awaited.poll(py, &future)? {
                return Err(PyStopIteration::new_err(value.unbind()));
            }
            self.steps = Some(future.call_method0(pyo3::intern!(py, "__await__"))?.unbind());
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
        self.steps = None;
        Err(thrown(kind, value, traceback))
    }

    fn close(&mut self) {
        self.steps = None;
    }
}

/// An exception in any of the forms that `throw()` takes.
pub(crate) fn thrown(
    kind: Bound<'_, PyAny>,
    value: Option<Bound<'_, PyAny>>,
    traceback: Option<Bound<'_, PyAny>>,
) -> PyErr {
    drop(traceback); // the exception has its own
    match value.filter(|value| !value.is_none()) {
        Some(value) if value.is_instance(&kind).unwrap_or(false) => PyErr::from_value(value),
        Some(value) => match kind.call1((value,)) {
            Ok(exception) => PyErr::from_value(exception),
            Err(error) => error,
        },
        None => PyErr::from_value(kind),
    }
}
