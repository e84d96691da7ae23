//! HTTP requests as ASGI has them: `receive` and `send` of one request, and what an application may say when.
//!
//! https://asgi.readthedocs.io/en/latest/specs/www.html

use std::fs::File;
use std::sync::Arc;

use bytes::Bytes;
use http::header::{CONTENT_LENGTH, LINK};
use http::{HeaderMap, HeaderValue, Method, StatusCode};
use pyo3::intern;
use pyo3::prelude::*;
use pyo3::types::PyDict;
use velocity_engine::app::channel::{Received, Room};
use velocity_engine::app::remote::back::FilePath;
use velocity_engine::app::{Exchange, Start};
use velocity_engine::http::Body;

use super::Application;
use super::awaitable::{self, Awaited, Ready, Wait};
use super::claim::Claim;
use super::message::{self, bare, flag, item, wrong};

#[pyclass(module = "velocity._core", frozen)]
pub struct HttpExchange {
    pub exchange: Arc<Exchange>,
    pub application: Py<Application>,
    state: Claim<State>,
}

struct State {
    phase: Phase,
    /// The whole request was received.
    received: bool,
    /// The length of the answer, if it was said.
    declared: Option<u64>,
    sent: u64,
    /// Trailers will follow.
    trailers: bool,
    /// What they are so far.
    trailing: Option<HeaderMap>,
    finished: bool,
}

/// How far the answer is.
enum Phase {
    Waiting,
    /// The head was said, and waits for the first part of the body.
    Started(http::Response<()>),
    Streaming,
    /// The body is complete, trailers are not.
    Trailing,
    /// The answer to HEAD has gone; the body that it would have is swallowed.
    Swallowing,
    Complete,
    /// Nobody waits for it.
    Gone,
}

impl HttpExchange {
    pub fn new(exchange: Arc<Exchange>, application: Py<Application>) -> Self {
        Self {
            exchange,
            application,
            state: Claim::new(State {
                phase: Phase::Waiting,
                received: false,
                declared: None,
                sent: 0,
                trailers: false,
                trailing: None,
                finished: false,
            }),
        }
    }

    pub fn poll_receive<'py>(
        &self,
        py: Python<'py>,
        future: &Bound<'py, PyAny>,
    ) -> PyResult<Option<Bound<'py, PyAny>>> {
        let mut state = self.state.take()?;
        if matches!(state.phase, Phase::Complete | Phase::Gone) {
            return disconnect(py).map(Some);
        }
        let application = self.application.bind(py);
        let later = || application.get().queue.completes(future.clone().unbind());
        if state.received {
            return match self.exchange.body.gone(later) {
                true => disconnect(py).map(Some),
                false => Ok(None),
            };
        }
        if !self.exchange.head.has_body {
            state.received = true;
            return Ok(Some(message::request(py, b"", false)?.into_any()));
        }
        let found = self.exchange.body.take(&self.exchange.mailbox, later);
        Application::note(application, &self.exchange);
        match found {
            Received::Item(data, last) => {
                state.received = last;
                Ok(Some(message::request(py, &data, !last)?.into_any()))
            }
            Received::End => {
                state.received = true;
                Ok(Some(message::request(py, b"", false)?.into_any()))
            }
            Received::Gone => {
                state.received = true;
                disconnect(py).map(Some)
            }
            Received::Wait => Ok(None),
        }
    }

    pub fn poll_send<'py>(&self, py: Python<'py>, future: &Bound<'py, PyAny>) -> PyResult<Option<Bound<'py, PyAny>>> {
        let later = || self.application.get().queue.completes(future.clone().unbind());
        match self.exchange.answer.room(later) {
            Room::Enough => Ok(Some(py.None().into_bound(py))),
            // What comes next will be told; this was sent when there was somebody.
            Room::Gone => Ok(Some(py.None().into_bound(py))),
            Room::Full => Ok(None),
        }
    }

    fn start(&self, state: &mut State, message: &Bound<'_, PyDict>) -> PyResult<()> {
        let head = message::head(
            message,
            |status| !status.is_informational(),
            "is not the status of an answer",
        )?;
        state.declared = declared(head.headers())?;
        state.trailers = flag(message, intern!(message.py(), "trailers"))?;
        state.phase = Phase::Started(head);
        Ok(())
    }

    /// A part of the body; whether there is room for more.
    fn body(&self, state: &mut State, message: &Bound<'_, PyDict>) -> PyResult<Room> {
        let (data, more) = message::part(message)?;
        match std::mem::replace(&mut state.phase, Phase::Gone) {
            Phase::Started(head) if self.exchange.head.method == Method::HEAD => {
                self.answer_head(state, head, data, more)
            }
            Phase::Started(head) if more || state.trailers => {
                state.phase = Phase::Streaming;
                state.check(data.len(), more)?;
                if !self.exchange.start(Start::Stream(head)) {
                    state.phase = Phase::Gone;
                    return Ok(Room::Gone);
                }
                self.stream(state, data, more)
            }
            Phase::Started(head) => {
                state.phase = Phase::Waiting; // if it is wrong
                let bodiless = is_bodiless(head.status());
                if !bodiless {
                    state.check(data.len(), false)?;
                }
                self.whole(state, head, if bodiless { Body::Empty } else { data.into() })
            }
            Phase::Streaming => {
                state.phase = Phase::Streaming;
                if let Err(error) = state.check(data.len(), more) {
                    self.exchange.fail();
                    state.phase = Phase::Complete;
                    return Err(error);
                }
                self.stream(state, data, more)
            }
            Phase::Swallowing => {
                state.phase = if more { Phase::Swallowing } else { Phase::Complete };
                Ok(Room::Enough)
            }
            other => {
                state.phase = other;
                Err(state.unexpected("http.response.body"))
            }
        }
    }

    /// RFC 9110 section 9.3.2: the fields that GET would have.
    fn answer_head(&self, state: &mut State, mut head: http::Response<()>, data: Bytes, more: bool) -> PyResult<Room> {
        let complete = !more && !data.is_empty() && !is_bodiless(head.status());
        if complete && state.declared.is_none() {
            head.headers_mut().insert(CONTENT_LENGTH, HeaderValue::from(data.len()));
        }
        state.phase = if more { Phase::Swallowing } else { Phase::Complete };
        match self.exchange.start(Start::Whole(head.map(|()| Body::Empty))) {
            true => Ok(Room::Enough),
            false => Ok(Room::Gone),
        }
    }

    fn whole(&self, state: &mut State, mut head: http::Response<()>, body: Body) -> PyResult<Room> {
        if state.declared.is_none() && !is_bodiless(head.status()) {
            let length = body.len().unwrap_or_default();
            head.headers_mut().insert(CONTENT_LENGTH, HeaderValue::from(length));
        }
        state.phase = Phase::Complete;
        match self.exchange.start(Start::Whole(head.map(|()| body))) {
            true => Ok(Room::Enough),
            false => {
                state.phase = Phase::Gone;
                Ok(Room::Gone)
            }
        }
    }

    fn stream(&self, state: &mut State, data: Bytes, more: bool) -> PyResult<Room> {
        let room = match data.is_empty() {
            true => Room::Enough,
            false => self.exchange.push(data),
        };
        if room == Room::Gone {
            state.phase = Phase::Gone;
        } else if !more {
            state.phase = match state.trailers {
                true => Phase::Trailing,
                false => {
                    self.exchange.finish(None);
                    Phase::Complete
                }
            };
        }
        Ok(room)
    }

    fn trailers(&self, state: &mut State, message: &Bound<'_, PyDict>) -> PyResult<()> {
        let py = message.py();
        if !matches!(state.phase, Phase::Trailing) {
            return Err(state.unexpected("http.response.trailers"));
        }
        let fields = message::fields(item(message, intern!(py, "headers"))?)?;
        state.trailing.get_or_insert_default().extend(fields);
        if !flag(message, intern!(py, "more_trailers"))? {
            let known = self.exchange.head.trailers;
            self.exchange.finish(state.trailing.take().filter(|_| known));
            state.phase = Phase::Complete;
        }
        Ok(())
    }

    fn early_hint(&self, state: &State, message: &Bound<'_, PyDict>) -> PyResult<()> {
        if !matches!(state.phase, Phase::Waiting) {
            return Err(state.unexpected("http.response.early_hint"));
        }
        let mut fields = HeaderMap::new();
        if let Some(links) = item(message, intern!(message.py(), "links"))? {
            for link in links.try_iter()? {
                let link = HeaderValue::from_maybe_shared(message::bytes(&link?)?)
                    .map_err(|_| wrong("a link of http.response.early_hint cannot be sent".into()))?;
                fields.append(LINK, link);
            }
        }
        self.exchange.hint(fields);
        Ok(())
    }

    /// A file as the body, sent as the files of a site are.
    fn pathsend(&self, state: &mut State, message: &Bound<'_, PyDict>) -> PyResult<Room> {
        let py = message.py();
        let Phase::Started(head) = std::mem::replace(&mut state.phase, Phase::Waiting) else {
            return Err(state.unexpected("http.response.pathsend"));
        };
        let path: std::path::PathBuf = match item(message, intern!(py, "path"))? {
            Some(path) => path.extract()?,
            None => return Err(wrong("http.response.pathsend has a path".into())),
        };
        let (file, length) = py.detach(|| open(&path)).map_err(message::failed)?;
        if state.declared.is_some_and(|declared| declared != length) {
            return Err(wrong(format!(
                "the Content-Length of the answer is not that of {}: {length}",
                path.display()
            )));
        }
        let mut head = head;
        if self.exchange.head.method == Method::HEAD {
            head.headers_mut().insert(CONTENT_LENGTH, HeaderValue::from(length));
            state.declared = Some(length);
            return self.whole(state, head, Body::Empty);
        }
        if let Ok(path) = std::path::absolute(path) {
            head.extensions_mut().insert(FilePath(path.into()));
        }
        self.whole(state, head, Body::file(Arc::new(file), 0, length))
    }
}

#[pymethods]
impl HttpExchange {
    fn receive<'py>(slf: &Bound<'py, Self>) -> PyResult<Bound<'py, PyAny>> {
        let py = slf.py();
        let this = slf.get();
        {
            let mut state = this.state.take()?;
            if !state.received && !this.exchange.head.has_body && !matches!(state.phase, Phase::Complete | Phase::Gone)
            {
                state.received = true;
                let request = message::request(py, b"", false)?;
                return Ok(Bound::new(py, Ready(request.into_any().unbind()))?.into_any());
            }
        }
        Ok(Bound::new(py, Wait::new(Awaited::HttpReceive(slf.clone().unbind())))?.into_any())
    }

    fn send<'py>(slf: &Bound<'py, Self>, message: &Bound<'py, PyDict>) -> PyResult<Bound<'py, PyAny>> {
        let py = slf.py();
        let this = slf.get();
        let application = this.application.bind(py);
        let kind = message::kind(message)?;
        let room = {
            let mut state = this.state.take()?;
            let room = match (&state.phase, kind.to_str()?) {
                (Phase::Gone, _) => Ok(Room::Gone),
                (Phase::Waiting, "http.response.start") => this.start(&mut state, message).map(|()| Room::Enough),
                (_, "http.response.body") => this.body(&mut state, message),
                (_, "http.response.trailers") => this.trailers(&mut state, message).map(|()| Room::Enough),
                (_, "http.response.pathsend") => this.pathsend(&mut state, message),
                (_, "http.response.early_hint") => this.early_hint(&state, message).map(|()| Room::Enough),
                (_, kind) => Err(state.unexpected(kind)),
            };
            Application::note(application, &this.exchange);
            room?
        };
        awaitable::sent(application, room, || Awaited::HttpSend(slf.clone().unbind()))
    }

    /// Whether the client is gone, so that it does not matter what the application does.
    #[getter]
    fn is_gone(&self) -> bool {
        match self.state.lock().phase {
            Phase::Gone => true,
            Phase::Swallowing | Phase::Complete => false,
            Phase::Waiting | Phase::Started(_) | Phase::Streaming | Phase::Trailing => self.exchange.is_closed(),
        }
    }

    /// The application has returned, or failed. Gives what is wrong with how it answered, if anything is.
    fn finish(slf: &Bound<'_, Self>) -> Option<&'static str> {
        let this = slf.get();
        let application = slf.get().application.bind(slf.py());
        application.get().finished();
        let problem = this.end();
        if problem.is_some() {
            Application::note(application, &this.exchange);
        }
        problem
    }

    /// What the application answers, for messages.
    #[getter]
    fn target(&self) -> String {
        let head = &self.exchange.head;
        format!("{} {}", head.method, head.uri.path())
    }
}

impl HttpExchange {
    /// Leave no answer half said.
    fn end(&self) -> Option<&'static str> {
        let mut state = self.state.lock();
        state.finished = true;
        match std::mem::replace(&mut state.phase, Phase::Complete) {
            Phase::Waiting => self
                .exchange
                .start(Exchange::failure())
                .then_some("it returned without an answer"),
            Phase::Started(_) => self
                .exchange
                .start(Exchange::failure())
                .then_some("it returned before the body of its answer"),
            Phase::Streaming | Phase::Trailing => {
                let open = !self.exchange.is_closed();
                self.exchange.fail();
                open.then_some("it returned before the end of its answer")
            }
            Phase::Swallowing | Phase::Complete | Phase::Gone => None,
        }
    }
}

impl Drop for HttpExchange {
    fn drop(&mut self) {
        if !self.state.lock().finished {
            self.application.get().finished();
            self.end();
            self.exchange.mailbox.flush();
        }
    }
}

impl State {
    /// Whether a part of the body fits the length that was said.
    fn check(&mut self, length: usize, more: bool) -> PyResult<()> {
        self.sent += length as u64;
        match self.declared {
            Some(declared) if self.sent > declared => Err(wrong(format!(
                "the body is longer than the Content-Length of {declared}"
            ))),
            Some(declared) if !more && self.sent < declared => Err(wrong(format!(
                "the body is shorter than the Content-Length of {declared}"
            ))),
            _ => Ok(()),
        }
    }

    /// What to say to a message that has no place here.
    fn unexpected(&self, kind: &str) -> PyErr {
        let wanted = match self.phase {
            Phase::Waiting => "http.response.start is expected",
            Phase::Started(_) | Phase::Streaming | Phase::Swallowing => "http.response.body is expected",
            Phase::Trailing => "http.response.trailers is expected",
            Phase::Complete | Phase::Gone => "the answer is complete",
        };
        wrong(format!("{kind:?} cannot be sent here: {wanted}"))
    }
}

fn disconnect(py: Python<'_>) -> PyResult<Bound<'_, PyAny>> {
    Ok(bare(py, intern!(py, "http.disconnect"))?.into_any())
}

/// The one Content-Length of a head.
fn declared(fields: &HeaderMap) -> PyResult<Option<u64>> {
    let Some(value) = fields.get(CONTENT_LENGTH) else {
        return Ok(None);
    };
    let text = value
        .to_str()
        .ok()
        .filter(|text| text.bytes().all(|byte| byte.is_ascii_digit()));
    match text.and_then(|text| text.parse().ok()) {
        Some(length) => Ok(Some(length)),
        None => Err(wrong(format!("{value:?} is no Content-Length"))),
    }
}

/// RFC 9110 section 6.4.1.
fn is_bodiless(status: StatusCode) -> bool {
    matches!(
        status,
        StatusCode::NO_CONTENT | StatusCode::NOT_MODIFIED | StatusCode::RESET_CONTENT
    )
}

fn open(path: &std::path::Path) -> std::io::Result<(File, u64)> {
    let file = File::open(path)?;
    let facts = file.metadata()?;
    match facts.is_file() {
        true => Ok((file, facts.len())),
        false => Err(std::io::Error::other(format!("{} is not a file", path.display()))),
    }
}
