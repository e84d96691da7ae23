//! WebSockets as ASGI has them: `receive` and `send` of one, from the request that asks for it to its end.
//!
//! https://asgi.readthedocs.io/en/latest/specs/www.html#websocket

use std::sync::Arc;

use bytes::Bytes;
use http::header::SEC_WEBSOCKET_PROTOCOL;
use http::{HeaderValue, StatusCode};
use pyo3::intern;
use pyo3::prelude::*;
use pyo3::types::{PyBytes, PyDict, PyString};
use velocity_engine::app::channel::{Received, Room};
use velocity_engine::app::websocket::Message;
use velocity_engine::app::{Exchange, Start};

use super::Application;
use super::awaitable::{self, Awaited, Wait};
use super::claim::Claim;
use super::message::{self, bare, item, wrong};

/// The longest reason of a Close frame, in bytes (RFC 6455 section 5.5).
const MAX_REASON: usize = 123;

#[pyclass(module = "velocity._core", frozen)]
pub struct WebSocketExchange {
    pub exchange: Arc<Exchange>,
    pub application: Py<Application>,
    state: Claim<State>,
}

struct State {
    phase: Phase,
    /// `websocket.connect` was received.
    connected: bool,
    /// So was `websocket.disconnect`, which is said again as often as somebody asks.
    ended: Option<(u16, String)>,
    finished: bool,
}

enum Phase {
    /// Neither accepted nor denied.
    Connecting,
    Open,
    /// It is denied with an answer of which the head was said.
    Denying(http::Response<()>),
    /// And with a part of its body.
    Streaming,
    Closed,
}

impl WebSocketExchange {
    pub fn new(exchange: Arc<Exchange>, application: Py<Application>) -> Self {
        Self {
            exchange,
            application,
            state: Claim::new(State {
                phase: Phase::Connecting,
                connected: false,
                ended: None,
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
            return Ok(Some(bare(py, intern!(py, "websocket.connect"))?.into_any()));
        }
        if let Some((code, reason)) = &state.ended {
            return disconnect(py, *code, reason).map(Some);
        }
        let Some(socket) = &self.exchange.socket else {
            return disconnect(py, 1006, "").map(Some);
        };
        let application = self.application.bind(py);
        let later = || application.get().queue.completes(future.clone().unbind());
        let found = socket.received.take(&self.exchange.mailbox, later);
        Application::note(application, &self.exchange);
        let receive = |key, value| {
            let message = bare(py, intern!(py, "websocket.receive"))?;
            message.set_item(key, value)?;
            Ok(Some(message.into_any()))
        };
        match found {
            Received::Item(Message::Text(text), _) => {
                receive(intern!(py, "text"), PyString::new(py, text.as_str()).into_any())
            }
            Received::Item(Message::Binary(data), _) => {
                receive(intern!(py, "bytes"), PyBytes::new(py, &data).into_any())
            }
            Received::Item(Message::Close(code, reason), _) => {
                let message = disconnect(py, code, &reason)?;
                state.ended = Some((code, reason));
                Ok(Some(message))
            }
            Received::End | Received::Gone => {
                // RFC 6455 section 7.1.5: no Close frame came.
                state.ended = Some((1006, String::new()));
                disconnect(py, 1006, "").map(Some)
            }
            Received::Wait => Ok(None),
        }
    }

    pub fn poll_send<'py>(&self, py: Python<'py>, future: &Bound<'py, PyAny>) -> PyResult<Option<Bound<'py, PyAny>>> {
        let later = || self.application.get().queue.completes(future.clone().unbind());
        match &self.exchange.socket {
            Some(socket) if socket.sent.room(later) == Room::Full => Ok(None),
            _ => Ok(Some(py.None().into_bound(py))),
        }
    }

    fn accept(&self, state: &mut State, message: &Bound<'_, PyDict>) -> PyResult<Room> {
        let py = message.py();
        let mut fields = message::fields(item(message, intern!(py, "headers"))?)?;
        if fields.contains_key(SEC_WEBSOCKET_PROTOCOL) {
            return Err(wrong(
                "the subprotocol is not among the headers of websocket.accept".into(),
            ));
        }
        if let Some(subprotocol) = item(message, intern!(py, "subprotocol"))? {
            let subprotocol: String = subprotocol.extract()?;
            let value = HeaderValue::try_from(subprotocol.as_str())
                .map_err(|_| wrong(format!("{subprotocol:?} is no subprotocol")))?;
            fields.insert(SEC_WEBSOCKET_PROTOCOL, value);
        }
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

    fn data(&self, message: &Bound<'_, PyDict>) -> PyResult<Room> {
        let py = message.py();
        let data = match item(message, intern!(py, "bytes"))? {
            Some(data) => Message::Binary(message::bytes(&data)?),
            None => match item(message, intern!(py, "text"))? {
                Some(text) => Message::Text(text.cast::<PyString>()?.to_str()?.into()),
                None => return Err(wrong("websocket.send has text or bytes".into())),
            },
        };
        Ok(self.push(data))
    }

    fn push(&self, message: Message) -> Room {
        match &self.exchange.socket {
            Some(socket) => socket.sent.push(&self.exchange.mailbox, message),
            None => Room::Gone,
        }
    }

    fn close(&self, state: &mut State, message: &Bound<'_, PyDict>) -> PyResult<Room> {
        let py = message.py();
        if matches!(state.phase, Phase::Connecting) {
            // A denial has neither code nor reason, and FastAPI gives as the reason what is no text.
            return self.begin(state, Exchange::denial(), Phase::Closed);
        }
        let code = match item(message, intern!(py, "code"))? {
            Some(code) => code.extract()?,
            None => 1000,
        };
        let reason: String = match item(message, intern!(py, "reason"))? {
            Some(reason) => reason.extract()?,
            None => String::new(),
        };
        // RFC 6455 section 7.4.2.
        if !(matches!(code, 1000..=1003 | 1007..=1014 | 3000..=4999)) {
            return Err(wrong(format!("{code} cannot be the code of websocket.close")));
        }
        if reason.len() > MAX_REASON {
            return Err(wrong(format!(
                "the reason of websocket.close has more than {MAX_REASON} bytes"
            )));
        }
        match state.phase {
            Phase::Open => {
                state.phase = Phase::Closed;
                state.ended.get_or_insert((code, reason.clone()));
                Ok(self.push(Message::Close(code, reason)))
            }
            _ => Err(state.unexpected("websocket.close")),
        }
    }

    fn deny(&self, state: &mut State, message: &Bound<'_, PyDict>) -> PyResult<Room> {
        let denies = |status: StatusCode| !status.is_informational() && !status.is_success();
        state.phase = Phase::Denying(message::head(message, denies, "does not deny a WebSocket")?);
        Ok(Room::Enough)
    }

    fn deny_body(&self, state: &mut State, message: &Bound<'_, PyDict>) -> PyResult<Room> {
        let (data, more) = message::part(message)?;
        match std::mem::replace(&mut state.phase, Phase::Closed) {
            Phase::Denying(head) if !more => self.begin(state, Start::Whole(head.map(|()| data.into())), Phase::Closed),
            Phase::Denying(head) => {
                self.begin(state, Start::Stream(head), Phase::Streaming)?;
                Ok(self.part(data))
            }
            Phase::Streaming => {
                let room = self.part(data);
                match more {
                    true => state.phase = Phase::Streaming,
                    false => self.exchange.finish(None),
                }
                Ok(room)
            }
            other => {
                state.phase = other;
                Err(state.unexpected("websocket.http.response.body"))
            }
        }
    }

    fn part(&self, data: Bytes) -> Room {
        match data.is_empty() {
            true => Room::Enough,
            false => self.exchange.push(data),
        }
    }

    /// Leave nothing half open.
    fn end(&self) -> Option<&'static str> {
        let mut state = self.state.lock();
        state.finished = true;
        match std::mem::replace(&mut state.phase, Phase::Closed) {
            Phase::Connecting | Phase::Denying(_) => self
                .exchange
                .start(Exchange::failure())
                .then_some("it returned without accepting or denying the WebSocket"),
            Phase::Streaming => {
                self.exchange.fail();
                Some("it returned before the end of its answer")
            }
            Phase::Open => {
                if let Some(socket) = &self.exchange.socket {
                    match state.ended {
                        Some(_) => socket.sent.complete(&self.exchange.mailbox),
                        None => socket.sent.fail(&self.exchange.mailbox),
                    }
                }
                None
            }
            Phase::Closed => None,
        }
    }
}

#[pymethods]
impl WebSocketExchange {
    fn receive<'py>(slf: &Bound<'py, Self>) -> PyResult<Bound<'py, PyAny>> {
        Ok(Bound::new(slf.py(), Wait::new(Awaited::WebSocketReceive(slf.clone().unbind())))?.into_any())
    }

    fn send<'py>(slf: &Bound<'py, Self>, message: &Bound<'py, PyDict>) -> PyResult<Bound<'py, PyAny>> {
        let py = slf.py();
        let this = slf.get();
        let application = this.application.bind(py);
        let kind = message::kind(message)?;
        let room = {
            let mut state = this.state.take()?;
            let room = match (&state.phase, kind.to_str()?) {
                (Phase::Connecting, "websocket.accept") => this.accept(&mut state, message),
                (Phase::Connecting, "websocket.http.response.start") => this.deny(&mut state, message),
                (Phase::Denying(_) | Phase::Streaming, "websocket.http.response.body") => {
                    this.deny_body(&mut state, message)
                }
                (Phase::Open, "websocket.send") => this.data(message),
                (_, "websocket.close") => this.close(&mut state, message),
                (_, kind) => Err(state.unexpected(kind)),
            };
            Application::note(application, &this.exchange);
            room?
        };
        awaitable::sent(application, room, || Awaited::WebSocketSend(slf.clone().unbind()))
    }

    /// Whether the client is gone, so that it does not matter what the application does.
    #[getter]
    fn is_gone(&self) -> bool {
        let state = self.state.lock();
        state.ended.is_some() || self.exchange.is_closed()
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
        format!("WebSocket {}", self.exchange.head.uri.path())
    }
}

impl Drop for WebSocketExchange {
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
            Phase::Connecting => "websocket.accept or websocket.close is expected",
            Phase::Open => "websocket.send or websocket.close is expected",
            Phase::Denying(_) | Phase::Streaming => "websocket.http.response.body is expected",
            Phase::Closed => "the WebSocket is closed",
        };
        wrong(format!("{kind:?} cannot be sent here: {wanted}"))
    }
}

fn disconnect<'py>(py: Python<'py>, code: u16, reason: &str) -> PyResult<Bound<'py, PyAny>> {
    let message = bare(py, intern!(py, "websocket.disconnect"))?;
    message.set_item(intern!(py, "code"), code)?;
    message.set_item(intern!(py, "reason"), reason)?;
    Ok(message.into_any())
}
