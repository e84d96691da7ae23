//! A request and its answer.

use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError, TryLockError};
use std::time::Duration;

use bytes::Bytes;
use http::{HeaderMap, Version};
use pyo3::prelude::*;
use pyo3::pybacked::PyBackedBytes;
use pyo3::types::{PyBytes, PyDict, PyList, PyString};
use tokio::task::JoinHandle;
use velocity_engine::client::Answer;
use velocity_engine::client::answer::Head;
use velocity_engine::client::upload::Writer;
use velocity_engine::{Error, Result};

use super::connection::of_tls;
use super::pool::{fields, native};
use super::waiting::Soon;
use crate::asgi::awaitable::Ready;
use crate::error::CoreError;
use crate::wait::Drive;

#[pyclass(module = "velocity._core", frozen)]
pub struct Exchange {
    state: Arc<Mutex<State>>,
    head: Arc<OnceLock<Arc<Head>>>,
    /// Of a body that is written piece by piece.
    writer: Option<Arc<Writer>>,
    write_patience: Option<Duration>,
    drive: &'static Drive,
}

enum State {
    /// The head is still to come.
    Awaited(JoinHandle<Result<Answer>>),
    Here(Box<Answer>),
    /// A task of an event loop has it for now.
    Lent,
    /// There is nothing, or no more.
    Over,
}

impl Exchange {
    pub fn answered(drive: &'static Drive, answer: Answer) -> Self {
        Self {
            head: Arc::new(answer.head.clone().into()),
            state: Arc::new(Mutex::new(State::Here(Box::new(answer)))),
            writer: None,
            write_patience: None,
            drive,
        }
    }

    pub fn awaited(
        drive: &'static Drive,
        answer: JoinHandle<Result<Answer>>,
        writer: Option<Writer>,
        write_patience: Option<Duration>,
    ) -> Self {
        Self {
            head: Arc::default(),
            state: Arc::new(Mutex::new(State::Awaited(answer))),
            writer: writer.map(Arc::new),
            write_patience,
            drive,
        }
    }

    /// Two who read at once are a mistake of the caller, and no reason to wait without end.
    fn claim(&self) -> PyResult<MutexGuard<'_, State>> {
        match self.state.try_lock() {
            Ok(state) => Ok(state),
            Err(TryLockError::Poisoned(poisoned)) => Ok(PoisonError::into_inner(poisoned)),
            Err(TryLockError::WouldBlock) => Err(CoreError(taken()).into()),
        }
    }

    /// Work on the answer while a loop does something else. `None` if it is not here, or not any more.
    fn lend<'py, T, W, F>(
        &self,
        py: Python<'py>,
        mut state: MutexGuard<'_, State>,
        work: impl FnOnce(Box<Answer>) -> W + Send + 'static,
        convert: F,
    ) -> PyResult<Bound<'py, PyAny>>
    where
        T: Send + 'static,
        W: Future<Output = (Result<T>, Box<Answer>)> + Send + 'static,
        F: Fn(Python<'_>, T) -> PyResult<Py<PyAny>> + Send + Sync + 'static,
    {
        native(self.drive)?;
        let answer = match std::mem::replace(&mut *state, State::Lent) {
            State::Here(answer) => answer,
            other => {
                let error = unreadable(&other);
                *state = other;
                return Err(CoreError(error).into());
            }
        };
        drop(state);
        let home = Return(Some(self.state.clone()));
        let work = async move {
            let (result, answer) = work(answer).await;
            home.answer(answer);
            result
        };
        let soon = Soon::begin(py, self.drive, work, move |py, result: Result<T>| {
            convert(py, result.map_err(CoreError)?)
        });
        Ok(soon?.into_pyobject(py)?.into_any())
    }
}

/// Where an answer goes back to; one that does not is over.
struct Return(Option<Arc<Mutex<State>>>);

impl Return {
    fn answer(mut self, answer: Box<Answer>) {
        if let Some(state) = self.0.take() {
            let mut state = lock(&state);
            if matches!(*state, State::Lent) {
                *state = State::Here(answer);
            }
        }
    }
}

impl Drop for Return {
    fn drop(&mut self) {
        if let Some(state) = self.0.take() {
            *lock(&state) = State::Over;
        }
    }
}

#[pymethods]
impl Exchange {
    #[getter]
    fn status(&self) -> u16 {
        self.head.get().map_or(0, |head| head.status.as_u16())
    }

    #[getter]
    fn reason(&self) -> &'static str {
        let reason = self.head.get().and_then(|head| head.status.canonical_reason());
        reason.unwrap_or_default()
    }

    #[getter]
    fn version(&self) -> &'static str {
        match self.head.get().map(|head| head.version) {
            Some(Version::HTTP_10) => "HTTP/1.0",
            Some(Version::HTTP_2) => "HTTP/2",
            Some(Version::HTTP_3) => "HTTP/3",
            _ => "HTTP/1.1",
        }
    }

    #[getter]
    fn headers<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyList>> {
        match self.head.get() {
            Some(head) => pairs(py, &head.headers),
            None => Ok(PyList::empty(py)),
        }
    }

    #[getter]
    fn trailers<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyList>> {
        match self.state.try_lock().as_deref() {
            Ok(State::Here(answer)) => pairs(py, &answer.trailers),
            _ => Ok(PyList::empty(py)),
        }
    }

    #[getter]
    fn negotiated<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyDict>> {
        let dict = PyDict::new(py);
        if let Some(head) = self.head.get() {
            negotiated(head, &dict)?;
        }
        Ok(dict)
    }

    fn wait(&self, py: Python<'_>) -> PyResult<()> {
        let mut state = self.claim()?;
        if let State::Awaited(answer) = &mut *state {
            native(self.drive)?;
            let outcome = self.drive.wait_for(py, async { joined(answer.await) });
            *state = State::Over;
            let answer = outcome?;
            let _ = self.head.set(answer.head.clone());
            *state = State::Here(Box::new(answer));
        }
        Ok(())
    }

    fn await_head<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyAny>> {
        let mut state = self.claim()?;
        let answer = match std::mem::replace(&mut *state, State::Lent) {
            State::Awaited(answer) if !self.drive.is_foreign() => Aborts(answer),
            other => {
                *state = other;
                return Ok(Ready(py.None()).into_pyobject(py)?.into_any());
            }
        };
        drop(state);
        let (home, head) = (Return(Some(self.state.clone())), self.head.clone());
        let work = async move {
            let mut answer = answer;
            let answer = joined((&mut answer.0).await)?;
            let _ = head.set(answer.head.clone());
            home.answer(Box::new(answer));
            Ok(())
        };
        let soon = Soon::begin(py, self.drive, work, |py, outcome: Result<()>| {
            outcome.map_err(CoreError)?;
            Ok(py.None())
        });
        Ok(soon?.into_pyobject(py)?.into_any())
    }

    fn read<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyBytes>> {
        let mut state = self.claim()?;
        let State::Here(answer) = &mut *state else {
            return Err(CoreError(unreadable(&state)).into());
        };
        let piece = match answer.at_once() {
            Some(piece) => piece.map_err(CoreError)?,
            None => {
                native(self.drive)?;
                self.drive.wait_for(py, answer.chunk())?
            }
        };
        Ok(PyBytes::new(py, &piece.unwrap_or_default()))
    }

    fn aread<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyAny>> {
        let mut state = self.claim()?;
        if let State::Here(answer) = &mut *state
            && let Some(piece) = answer.at_once()
        {
            let piece = piece.map_err(CoreError)?.unwrap_or_default();
            return ready(py, PyBytes::new(py, &piece));
        }
        let work = |mut answer: Box<Answer>| async move { (answer.chunk().await, answer) };
        self.lend(py, state, work, |py, piece: Option<Bytes>| {
            Ok(PyBytes::new(py, &piece.unwrap_or_default()).into_any().unbind())
        })
    }

    #[pyo3(signature = (limit=None))]
    fn read_all<'py>(&self, py: Python<'py>, limit: Option<usize>) -> PyResult<Bound<'py, PyBytes>> {
        let mut state = self.claim()?;
        let State::Here(answer) = &mut *state else {
            return Err(CoreError(unreadable(&state)).into());
        };
        let pieces = match at_once(answer, limit) {
            Some(pieces) => pieces.map_err(CoreError)?,
            None => {
                native(self.drive)?;
                self.drive.wait_for(py, answer.rest(limit))?
            }
        };
        joint(py, &pieces)
    }

    #[pyo3(signature = (limit=None))]
    fn aread_all<'py>(&self, py: Python<'py>, limit: Option<usize>) -> PyResult<Bound<'py, PyAny>> {
        let mut state = self.claim()?;
        if let State::Here(answer) = &mut *state
            && let Some(pieces) = at_once(answer, limit)
        {
            let pieces = pieces.map_err(CoreError)?;
            return ready(py, joint(py, &pieces)?);
        }
        let work = move |mut answer: Box<Answer>| async move { (answer.rest(limit).await, answer) };
        self.lend(py, state, work, |py, pieces: Vec<Bytes>| {
            Ok(joint(py, &pieces)?.into_any().unbind())
        })
    }

    fn write(&self, py: Python<'_>, chunk: PyBackedBytes) -> PyResult<bool> {
        native(self.drive)?;
        match &self.writer {
            None => Ok(false),
            Some(writer) => {
                let writing = writer.write(Bytes::from_owner(chunk), self.write_patience);
                self.drive.wait_for(py, writing)
            }
        }
    }

    fn awrite<'py>(&self, py: Python<'py>, chunk: PyBackedBytes) -> PyResult<Bound<'py, PyAny>> {
        native(self.drive)?;
        let (writer, patience) = (self.writer.clone(), self.write_patience);
        let work = async move {
            match writer {
                None => Ok(false),
                Some(writer) => writer.write(Bytes::from_owner(chunk), patience).await,
            }
        };
        let soon = Soon::begin(py, self.drive, work, |py, wrote: Result<bool>| {
            let wrote = wrote.map_err(CoreError)?;
            Ok(wrote.into_pyobject(py)?.to_owned().into_any().unbind())
        });
        Ok(soon?.into_pyobject(py)?.into_any())
    }

    #[pyo3(signature = (trailers=None))]
    fn finish(&self, trailers: Option<&Bound<'_, PyAny>>) -> PyResult<()> {
        let trailers = match trailers {
            Some(pairs) => Some(fields(pairs)?),
            None => None,
        };
        if let Some(writer) = &self.writer {
            writer.finish(trailers);
        }
        Ok(())
    }

    fn close(&self) {
        if self.drive.is_foreign() {
            return;
        }
        // A thread that reads at this moment has it; whoever it is closes it.
        if let Ok(mut state) = self.state.try_lock() {
            match &mut *state {
                State::Awaited(answer) => {
                    answer.abort();
                    *state = State::Over;
                }
                State::Here(answer) => answer.close(),
                State::Lent => *state = State::Over,
                State::Over => {}
            }
        }
    }
}

impl Drop for Exchange {
    fn drop(&mut self) {
        let over = match self.state.try_lock() {
            Ok(mut state) => std::mem::replace(&mut *state, State::Over),
            Err(_) => return,
        };
        match over {
            State::Here(answer) if answer.is_here() => {}
            // Its sockets are the parent's as well.
            over if self.drive.is_foreign() => std::mem::forget(over),
            State::Awaited(answer) => answer.abort(),
            State::Here(_) | State::Lent | State::Over => {}
        }
    }
}

/// A task that nobody needs any more when this is dropped.
struct Aborts(JoinHandle<Result<Answer>>);

impl Drop for Aborts {
    fn drop(&mut self) {
        self.0.abort();
    }
}

fn joined(outcome: std::result::Result<Result<Answer>, tokio::task::JoinError>) -> Result<Answer> {
    outcome.unwrap_or_else(|_| Err(Error::request("REQUEST_FAILED", "the request was given up")))
}

/// Everything that is left, if nothing has to be waited for.
fn at_once(answer: &mut Answer, limit: Option<usize>) -> Option<Result<Vec<Bytes>>> {
    if !answer.is_here() || limit.is_some() {
        return None;
    }
    let mut pieces = Vec::new();
    loop {
        match answer.at_once()? {
            Ok(Some(piece)) => pieces.push(piece),
            Ok(None) => return Some(Ok(pieces)),
            Err(error) => return Some(Err(error)),
        }
    }
}

/// Pieces as one, copied once.
fn joint<'py>(py: Python<'py>, pieces: &[Bytes]) -> PyResult<Bound<'py, PyBytes>> {
    if let [piece] = pieces {
        return Ok(PyBytes::new(py, piece));
    }
    PyBytes::new_with(py, pieces.iter().map(Bytes::len).sum(), |mut room| {
        for piece in pieces {
            let (here, after) = std::mem::take(&mut room).split_at_mut(piece.len());
            here.copy_from_slice(piece);
            room = after;
        }
        Ok(())
    })
}

fn ready<'py>(py: Python<'py>, bytes: Bound<'py, PyBytes>) -> PyResult<Bound<'py, PyAny>> {
    Ok(Ready(bytes.into_any().unbind()).into_pyobject(py)?.into_any())
}

/// Fields as pairs of `str`, latin-1.
fn pairs<'py>(py: Python<'py>, fields: &HeaderMap) -> PyResult<Bound<'py, PyList>> {
    let list = PyList::empty(py);
    for (name, value) in fields {
        let value = match value.to_str() {
            Ok(text) => PyString::new(py, text),
            Err(_) => PyString::new(
                py,
                &value
                    .as_bytes()
                    .iter()
                    .map(|&byte| char::from(byte))
                    .collect::<String>(),
            ),
        };
        list.append((name.as_str(), value))?;
    }
    Ok(list)
}

fn negotiated(head: &Head, dict: &Bound<'_, PyDict>) -> PyResult<()> {
    const OF_TLS: [&str; 13] = [
        "tls_version",
        "group",
        "profile",
        "cipher",
        "signature_scheme",
        "resumed",
        "round_trips",
        "handshake_ms",
        "certificate_sha256",
        "certificate_chain",
        "verified",
        "ml_dsa_level",
        "early_data",
    ];
    let about = &head.about;
    dict.set_item("alpn", about.protocol.alpn())?;
    dict.set_item("remote", about.remote.to_string())?;
    dict.set_item("proxy", about.proxied)?;
    dict.set_item("reused", head.reused)?;
    match &about.report {
        Some(report) => {
            of_tls(report, dict)?;
            dict.set_item("early_data", false)?;
        }
        None => OF_TLS
            .iter()
            .try_for_each(|name| dict.set_item(name, dict.py().None()))?,
    }
    // The server knows best, in a field or on its control stream (docs/spec/velocity-1.md section 6).
    let said = head
        .headers
        .get("velocity-fallback")
        .and_then(|value| value.to_str().ok()?.parse().ok());
    let directive = about.fallback.as_ref().and_then(|_| head.directive().or(said));
    let (code, message) = match (&about.fallback, directive) {
        (None, _) => (None, None),
        (Some((_, message)), Some(directive)) => (Some(directive.reason.as_str().to_owned()), Some(message)),
        (Some((code, message)), None) => (Some(code.clone()), Some(message)),
    };
    dict.set_item("fallback", code)?;
    dict.set_item("fallback_message", message)
}

fn unreadable(state: &State) -> Error {
    match state {
        State::Lent => taken(),
        State::Awaited(_) => Error::request("REQUEST_FAILED", "there is no answer yet").hint("wait() waits for it"),
        State::Here(_) | State::Over => Error::request("REQUEST_FAILED", "there is no answer any more"),
    }
}

fn taken() -> Error {
    Error::request("REQUEST_FAILED", "somebody else is reading this answer")
}

fn lock(state: &Mutex<State>) -> MutexGuard<'_, State> {
    state.lock().unwrap_or_else(PoisonError::into_inner)
}
