//! WebTransport sessions as ASGI has them: `receive` and `send` of one, from the request that asks for it to its end.
//!
//! The names are those of the open proposal, https://github.com/django/asgiref/issues/280; what it does not say, such as
//! how an application opens a stream, is in docs/guides/python.md.

use std::sync::Arc;

use bytes::Bytes;
use pyo3::intern;
use pyo3::prelude::*;
use pyo3::types::{PyBytes, PyDict};
use velocity_engine::app::channel::Room;
use velocity_engine::app::webtransport::{Command, Ending, Message, Taken};
use velocity_engine::app::{Exchange, Start};

use super::Application;
use super::awaitable::{self, Awaited, Wait};
use super::claim::Claim;
use super::message::{self, bare, closed, item, wrong};

/// The longest reason of an end, in bytes (draft-ietf-webtrans-http3 section 6).
const MAX_REASON: usize = 1024;

#[pyclass(module = "velocity._core", frozen)]
pub struct WebTransportExchange {
    pub exchange: Arc<Exchange>,
    pub application: Py<Application>,
    state: Claim<State>,
}

struct State {
    phase: Phase,
    /// `webtransport.connect` was received.
    connected: bool,
    finished: bool,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Phase {
    /// Neither accepted nor refused.
    Connecting,
    Open,
    Closed,
}

impl WebTransportExchange {
    pub fn new(exchange: Arc<Exchange>, application: Py<Application>) -> Self {
        Self {
            exchange,
            application,
            state: Claim::new(State {
                phase: Phase::Connecting,
                connected: false,
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
        if !state.connected {
            state.connected = true;
            return Ok(Some(bare(py, intern!(py, "webtransport.connect"))?.into_any()));
        }
        let Some(session) = &self.exchange.session else {
            return disconnect(py, &Ending::default()).map(Some);
        };
        let application = self.application.bind(py);
        let later = || application.get().queue.completes(future.clone().unbind());
        let taken = session.take(&self.exchange.mailbox, later);
        Application::note(application, &self.exchange);
        match taken {
            Taken::Message(message) => told(py, message).map(Some),
            // Said again as often as somebody asks.
            Taken::Ended(ending) => disconnect(py, &ending).map(Some),
            Taken::Wait => Ok(None),
        }
    }

    /// Whether there is room again: for a stream, or for another one.
    pub fn poll_send<'py>(
        &self,
        py: Python<'py>,
        stream: Option<u64>,
        future: &Bound<'py, PyAny>,
    ) -> PyResult<Option<Bound<'py, PyAny>>> {
        let later = || self.application.get().queue.completes(future.clone().unbind());
        match &self.exchange.session {
            Some(session) if session.room(stream, later) == Room::Full => Ok(None),
            _ => Ok(Some(py.None().into_bound(py))),
        }
    }

    fn accept(&self, state: &mut State, message: &Bound<'_, PyDict>) -> PyResult<Room> {
        let fields = message::fields(item(message, intern!(message.py(), "headers"))?)?;
        self.begin(state, Start::Accept(fields), Phase::Open)
    }

    fn begin(&self, state: &mut State, start: Start, next: Phase) -> PyResult<Room> {
        match self.exchange.start(start) {
            true => {
                state.phase = next;
                Ok(Room::Enough)
            }
            false => {
                state.phase = Phase::Closed;
                Ok(Room::Gone)
            }
        }
    }

    fn close(&self, state: &mut State, message: &Bound<'_, PyDict>) -> PyResult<Room> {
        if state.phase == Phase::Connecting {
            return self.begin(state, Exchange::refusal(), Phase::Closed);
        }
        let code = code(message)?;
        let reason: String = match item(message, intern!(message.py(), "reason"))? {
            Some(reason) => reason.extract()?,
            None => String::new(),
        };
        if reason.len() > MAX_REASON {
            let text = format!("the reason of webtransport.close has more than {MAX_REASON} bytes");
            return Err(wrong(text));
        }
        state.phase = Phase::Closed;
        if let Some(session) = &self.exchange.session {
            session.close(&self.exchange.mailbox, code, reason);
        }
        Ok(Room::Enough)
    }

    fn datagram(&self, message: &Bound<'_, PyDict>) -> PyResult<Room> {
        let data = data(message)?;
        Ok(match &self.exchange.session {
            Some(session) => session.datagram(&self.exchange.mailbox, data),
            None => Room::Gone,
        })
    }

    fn command(&self, command: Command) -> Room {
        match &self.exchange.session {
            Some(session) => session.command(&self.exchange.mailbox, command),
            None => Room::Gone,
        }
    }

    /// Leave nothing half open.
    fn end(&self) -> Option<&'static str> {
        let mut state = self.state.lock();
        state.finished = true;
        match std::mem::replace(&mut state.phase, Phase::Closed) {
            Phase::Connecting => self
                .exchange
                .start(Exchange::failure())
                .then_some("it returned without accepting or closing the WebTransport session"),
            Phase::Open => {
                if let Some(session) = &self.exchange.session {
                    session.fail(&self.exchange.mailbox);
                }
                None
            }
            Phase::Closed => None,
        }
    }
}

#[pymethods]
impl WebTransportExchange {
    fn receive<'py>(slf: &Bound<'py, Self>) -> PyResult<Bound<'py, PyAny>> {
        let awaited = Awaited::WebTransportReceive(slf.clone().unbind());
        Ok(Bound::new(slf.py(), Wait::new(awaited))?.into_any())
    }

    fn send<'py>(slf: &Bound<'py, Self>, message: &Bound<'py, PyDict>) -> PyResult<Bound<'py, PyAny>> {
        let py = slf.py();
        let this = slf.get();
        let application = this.application.bind(py);
        let kind = message::kind(message)?;
        let mut about = None;
        let room = {
            let mut state = this.state.take()?;
            let room = match (state.phase, kind.to_str()?) {
                (Phase::Connecting, "webtransport.accept") => this.accept(&mut state, message),
                (Phase::Connecting | Phase::Open, "webtransport.close") => this.close(&mut state, message),
                (Phase::Open, "webtransport.datagram.send") => this.datagram(message),
                (Phase::Open, kind) => match command(message, kind)? {
                    Some((stream, command)) => {
                        about = stream;
                        Ok(this.command(command))
                    }
                    None => Err(state.unexpected(kind)),
                },
                (_, kind) => Err(state.unexpected(kind)),
            };
            Application::note(application, &this.exchange);
            room?
        };
        if room == Room::Gone
            && let Some(stream) = about
            && !this.is_gone()
        {
            return Err(closed(stream));
        }
        awaitable::sent(application, room, || {
            Awaited::WebTransportSend(slf.clone().unbind(), about)
        })
    }

    /// Whether the client is gone, so that it does not matter what the application does.
    #[getter]
    fn is_gone(&self) -> bool {
        let over = self
            .exchange
            .session
            .as_ref()
            .is_some_and(|session| session.has_ended());
        over || self.exchange.is_closed()
    }

    /// The application has returned, or failed. Gives what is wrong with how it answered, if anything is.
    fn finish(slf: &Bound<'_, Self>) -> Option<&'static str> {
        let this = slf.get();
        let application = this.application.bind(slf.py());
        application.get().finished();
        let problem = this.end();
        Application::note(application, &this.exchange);
        problem
    }

    /// What the application answers, for messages.
    #[getter]
    fn target(&self) -> String {
        format!("WebTransport {}", self.exchange.head.uri.path())
    }
}

impl Drop for WebTransportExchange {
    fn drop(&mut self) {
        if !self.state.lock().finished {
            self.application.get().finished();
            self.end();
            self.exchange.mailbox.flush();
        }
    }
}

impl State {
    fn unexpected(&self, kind: &str) -> PyErr {
        let wanted = match self.phase {
            Phase::Connecting => "webtransport.accept or webtransport.close is expected",
            Phase::Open => "webtransport.stream.*, webtransport.datagram.send or webtransport.close is expected",
            Phase::Closed => "the session is closed",
        };
        wrong(format!("{kind:?} cannot be sent here: {wanted}"))
    }
}

/// What a message wants, and of which stream; `None` if that is nothing.
fn command(message: &Bound<'_, PyDict>, kind: &str) -> PyResult<Option<(Option<u64>, Command)>> {
    let py = message.py();
    if kind == "webtransport.stream.open" {
        let bidirectional = match item(message, intern!(py, "bidirectional"))? {
            Some(value) => value.is_truthy()?,
            None => true,
        };
        return Ok(Some((None, Command::Open { bidirectional })));
    }
    let stream = || -> PyResult<u64> {
        match item(message, intern!(py, "stream"))? {
            Some(stream) => stream.extract(),
            None => Err(wrong(format!("{kind} has a stream"))),
        }
    };
    let (stream, command) = match kind {
        "webtransport.stream.send" => {
            let (stream, data) = (stream()?, data(message)?);
            let end = message::flag(message, intern!(py, "end_stream"))?;
            (stream, Command::Data { stream, data, end })
        }
        "webtransport.stream.reset" => {
            let (stream, code) = (stream()?, code(message)?);
            (stream, Command::Reset { stream, code })
        }
        "webtransport.stream.stop" => {
            let (stream, code) = (stream()?, code(message)?);
            (stream, Command::Stop { stream, code })
        }
        _ => return Ok(None),
    };
    Ok(Some((Some(stream), command)))
}

fn data(message: &Bound<'_, PyDict>) -> PyResult<Bytes> {
    match item(message, intern!(message.py(), "data"))? {
        Some(data) => message::bytes(&data),
        None => Ok(Bytes::new()),
    }
}

/// 32 bits, as everything of this kind in a session.
fn code(message: &Bound<'_, PyDict>) -> PyResult<u32> {
    match item(message, intern!(message.py(), "code"))? {
        Some(code) => match code.extract() {
            Ok(code) => Ok(code),
            Err(_) => Err(wrong(format!(
                "{code} cannot be the code of {}",
                message::kind(message)?
            ))),
        },
        None => Ok(0),
    }
}

/// A message for the application.
fn told<'py>(py: Python<'py>, message: Message) -> PyResult<Bound<'py, PyAny>> {
    let dict = match message {
        Message::Opened {
            stream,
            bidirectional,
            ours,
        } => {
            let kind = match ours {
                true => intern!(py, "webtransport.stream.opened"),
                false => intern!(py, "webtransport.stream.connect"),
            };
            let dict = bare(py, kind)?;
            dict.set_item(intern!(py, "stream"), stream)?;
            dict.set_item(intern!(py, "bidirectional"), bidirectional)?;
            dict
        }
        Message::Data { stream, data, end } => {
            let dict = bare(py, intern!(py, "webtransport.stream.receive"))?;
            dict.set_item(intern!(py, "stream"), stream)?;
            dict.set_item(intern!(py, "data"), PyBytes::new(py, &data))?;
            dict.set_item(intern!(py, "end_stream"), end)?;
            dict
        }
        Message::Reset { stream, code } => {
            abandoned(bare(py, intern!(py, "webtransport.stream.reset"))?, stream, code)?
        }
        Message::Stopped { stream, code } => {
            abandoned(bare(py, intern!(py, "webtransport.stream.stop"))?, stream, code)?
        }
        Message::Datagram(data) => {
            let dict = bare(py, intern!(py, "webtransport.datagram.receive"))?;
            dict.set_item(intern!(py, "data"), PyBytes::new(py, &data))?;
            dict
        }
    };
    Ok(dict.into_any())
}

fn abandoned<'py>(dict: Bound<'py, PyDict>, stream: u64, code: Option<u32>) -> PyResult<Bound<'py, PyDict>> {
    let py = dict.py();
    dict.set_item(intern!(py, "stream"), stream)?;
    dict.set_item(intern!(py, "code"), code)?;
    Ok(dict)
}

fn disconnect<'py>(py: Python<'py>, ending: &Ending) -> PyResult<Bound<'py, PyAny>> {
    let message = bare(py, intern!(py, "webtransport.disconnect"))?;
    message.set_item(intern!(py, "code"), ending.code)?;
    message.set_item(intern!(py, "reason"), &ending.reason)?;
    Ok(message.into_any())
}
