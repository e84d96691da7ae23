//! WebSockets (RFC 6455) that an application answers, over HTTP/1.1, and HTTP/2 and HTTP/3 by extended CONNECT (RFC 8441,
//! RFC 9220). The framing is tungstenite's, under it is [`deflate`](super::deflate); the transports see a tunnel as to any
//! other server.

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use bytes::Bytes;
use futures_util::{Sink, Stream};
use http::header::{
    CONNECTION, SEC_WEBSOCKET_ACCEPT, SEC_WEBSOCKET_EXTENSIONS, SEC_WEBSOCKET_KEY, SEC_WEBSOCKET_VERSION, UPGRADE,
};
use http::{HeaderMap, HeaderValue, Method, StatusCode, Version};
use tokio::io::DuplexStream;
use tokio::sync::watch;
use tokio::time::{Instant, Sleep};
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite::handshake::derive_accept_key;
use tokio_tungstenite::tungstenite::protocol::frame::coding::{CloseCode, Data, OpCode};
use tokio_tungstenite::tungstenite::protocol::frame::{Frame, FrameHeader};
use tokio_tungstenite::tungstenite::protocol::{CloseFrame, Role, WebSocketConfig};
use tokio_tungstenite::tungstenite::{self, Utf8Bytes};

use super::answer::Request;
use super::channel::Item;
use super::deflate::{Agreed, Inflating};
use super::exchange::Socket;
use crate::call::Call;
use crate::http::h1::fields::any_has;
use crate::http::websocket::{self, ByConnect};
use crate::http::{Body, Response};
use crate::proxy::Switched;
use crate::service::plain;

/// What is on its way between the framing and the transport, in bytes.
const PIPE: usize = 64 * 1024;
/// How long a client may take to answer a Close frame (RFC 6455 section 7.1.1).
const CLOSE_WITHIN: Duration = Duration::from_secs(5);

/// What a client may do.
#[derive(Clone, Copy)]
pub struct Limits {
    /// The largest message, in bytes.
    pub message: usize,
    /// How long it may be silent before it is asked whether it is there, and then again before it is not.
    pub silence: Duration,
}

/// How a WebSocket is spoken.
#[derive(Clone, Copy)]
pub struct Manner {
    pub agreed: Option<Agreed>,
    pub limits: Limits,
}

/// What is said in a WebSocket.
#[derive(Debug, PartialEq, Eq)]
pub enum Message {
    Text(Utf8Bytes),
    Binary(Bytes),
    /// Code and reason, with which it is over.
    Close(u16, String),
}

impl Item for Message {
    fn size(&self) -> usize {
        match self {
            Message::Text(text) => text.len(),
            Message::Binary(data) => data.len(),
            Message::Close(..) => 0,
        }
    }
}

/// Whether a request asks for a WebSocket; or what to say to one that does so in the wrong way.
pub fn asked(call: &Call<'_>, fields: &HeaderMap) -> Result<bool, Box<Response>> {
    let by_connect = call.parts.extensions.get::<ByConnect>().is_some();
    if !by_connect && !asked_over_h1(call, fields) {
        return Ok(false);
    }
    if fields.get(SEC_WEBSOCKET_VERSION).is_none_or(|version| version != "13") {
        // RFC 6455 section 4.2.2.
        let mut response = plain(StatusCode::UPGRADE_REQUIRED, "this is not version 13 of WebSocket\n");
        response
            .headers_mut()
            .insert(SEC_WEBSOCKET_VERSION, HeaderValue::from_static("13"));
        return Err(Box::new(response));
    }
    // RFC 6455 section 4.1: 16 bytes; extended CONNECT has none (RFC 8441 section 5).
    let key = fields.get(SEC_WEBSOCKET_KEY).map(|key| BASE64.decode(key.as_bytes()));
    if !by_connect && !matches!(key, Some(Ok(key)) if key.len() == 16) {
        return Err(Box::new(plain(
            StatusCode::BAD_REQUEST,
            "the key of this WebSocket is not valid\n",
        )));
    }
    Ok(true)
}

fn asked_over_h1(call: &Call<'_>, fields: &HeaderMap) -> bool {
    call.parts.version == Version::HTTP_11
        && call.parts.method == Method::GET
        && any_has(fields, &UPGRADE, b"websocket")
        && any_has(fields, &CONNECTION, b"upgrade")
}

/// The answer that opens a WebSocket, and the task that carries it. `spoken` is the body of an extended CONNECT.
pub fn open(
    call: &Call<'_>,
    key: Option<HeaderValue>,
    fields: HeaderMap,
    manner: Manner,
    request: Request,
    spoken: Body,
    draining: watch::Receiver<bool>,
) -> Response {
    let mut response = Response::default();
    *response.headers_mut() = fields;
    if let Some(agreed) = manner.agreed {
        response.headers_mut().insert(SEC_WEBSOCKET_EXTENSIONS, agreed.answer());
    }
    let (ours, theirs) = tokio::io::duplex(PIPE);
    tokio::spawn(talk(ours, manner, request, draining));
    if call.parts.extensions.get::<ByConnect>().is_some() {
        *response.status_mut() = StatusCode::OK;
        response.extensions_mut().insert(ByConnect);
        // A stream for a WebSocket alone is the two bodies.
        *response.body_mut() = websocket::join(spoken, Box::new(theirs), Bytes::new());
    } else {
        *response.status_mut() = StatusCode::SWITCHING_PROTOCOLS;
        let headers = response.headers_mut();
        headers.insert(UPGRADE, HeaderValue::from_static("websocket"));
        headers.insert(CONNECTION, HeaderValue::from_static("upgrade"));
        let accept = key.map(|key| derive_accept_key(key.as_bytes()));
        if let Some(Ok(accept)) = accept.map(HeaderValue::try_from) {
            headers.insert(SEC_WEBSOCKET_ACCEPT, accept);
        }
        let switched = Switched::new(Box::new(theirs), Bytes::new());
        response.extensions_mut().insert(switched);
    }
    response
}

/// Carry a WebSocket to its end.
async fn talk(stream: DuplexStream, manner: Manner, request: Request, draining: watch::Receiver<bool>) {
    let Some(socket) = &request.exchange.socket else { return };
    let Manner { agreed, limits } = manner;
    let config = WebSocketConfig::default()
        .max_message_size(Some(limits.message))
        .max_frame_size(Some(limits.message));
    let stream = Inflating::new(stream, agreed.is_some());
    let stream = WebSocketStream::from_raw_socket(stream, Role::Server, Some(config)).await;
    let mut talk = Talk {
        stream,
        agreed,
        silence: limits.silence,
        asked: false,
        closing: false,
        unsent: None,
        timer: Box::pin(tokio::time::sleep(limits.silence)),
    };
    let mut stopping = std::pin::pin!(stopping(draining));
    std::future::poll_fn(|cx| {
        if !talk.closing && stopping.as_mut().poll(cx).is_ready() {
            talk.close(CloseCode::Restart, "the server restarts");
        }
        talk.poll(socket, cx)
    })
    .await;
    socket.received.close();
}

pub(super) async fn stopping(mut draining: watch::Receiver<bool>) {
    if draining.wait_for(|draining| *draining).await.is_err() {
        std::future::pending::<()>().await;
    }
}

struct Talk {
    stream: WebSocketStream<Inflating<DuplexStream>>,
    agreed: Option<Agreed>,
    /// That is not worth a Ping.
    silence: Duration,
    /// A Ping is on its way.
    asked: bool,
    /// A Close frame was sent, or is about to be.
    closing: bool,
    unsent: Option<tungstenite::Message>,
    timer: Pin<Box<Sleep>>,
}

impl Talk {
    fn close(&mut self, code: CloseCode, reason: &str) {
        self.closing = true;
        self.unsent = Some(tungstenite::Message::Close(Some(CloseFrame {
            code,
            reason: reason.into(),
        })));
        self.timer.as_mut().reset(Instant::now() + CLOSE_WITHIN);
    }

    /// Everything that can be done now; ready when it is over.
    fn poll(&mut self, socket: &Socket, cx: &mut Context<'_>) -> Poll<()> {
        if self.receive(socket, cx).is_ready() {
            return Poll::Ready(());
        }
        if self.timer.as_mut().poll(cx).is_ready() {
            if self.closing {
                return Poll::Ready(());
            }
            if std::mem::replace(&mut self.asked, true) {
                // RFC 6455 section 7.1.7: nobody is there.
                socket.received.push(Message::Close(1006, String::new()), true);
                return Poll::Ready(());
            }
            self.unsent = Some(tungstenite::Message::Ping(Bytes::new()));
            self.timer.as_mut().reset(Instant::now() + self.silence);
            let _ = self.timer.as_mut().poll(cx);
        }
        match self.send(socket, cx) {
            Poll::Ready(Err(_)) => {
                socket.received.push(Message::Close(1006, String::new()), true);
                Poll::Ready(())
            }
            Poll::Ready(Ok(())) | Poll::Pending => Poll::Pending,
        }
    }

    fn receive(&mut self, socket: &Socket, cx: &mut Context<'_>) -> Poll<()> {
        loop {
            // One that closes has no use for more, but for the other Close frame.
            if !self.closing {
                ready!(socket.received.poll_room(cx));
            }
            let message = match ready!(Pin::new(&mut self.stream).poll_next(cx)) {
                Some(Ok(message)) => message,
                end => {
                    let (code, reason) = ending(end.and_then(Result::err));
                    socket.received.push(Message::Close(code, reason.to_owned()), true);
                    return Poll::Ready(());
                }
            };
            if !self.closing {
                self.asked = false;
                self.timer.as_mut().reset(Instant::now() + self.silence);
            }
            match message {
                tungstenite::Message::Text(text) if !self.closing => socket.received.push(Message::Text(text), false),
                tungstenite::Message::Binary(data) if !self.closing => {
                    socket.received.push(Message::Binary(data), false);
                }
                tungstenite::Message::Close(frame) => {
                    let (code, reason) = match frame {
                        Some(frame) => (frame.code.into(), frame.reason.to_string()),
                        None => (1005, String::new()), // RFC 6455 section 7.1.5
                    };
                    socket.received.push(Message::Close(code, reason), true);
                    // tungstenite answers it while it is read on.
                    self.closing = true;
                    self.timer.as_mut().reset(Instant::now() + CLOSE_WITHIN);
                }
                _ => {}
            }
        }
    }

    /// A message as it is sent: deflated, where that was agreed upon and makes it smaller.
    fn deflated(&self, message: tungstenite::Message) -> tungstenite::Message {
        let (data, payload) = match &message {
            tungstenite::Message::Text(text) => (Data::Text, text.as_bytes()),
            tungstenite::Message::Binary(data) => (Data::Binary, &data[..]),
            _ => return message,
        };
        let Some(payload) = self.agreed.and_then(|agreed| agreed.deflate(payload)) else {
            return message;
        };
        let header = FrameHeader {
            opcode: OpCode::Data(data),
            rsv1: true,
            ..FrameHeader::default()
        };
        tungstenite::Message::Frame(Frame::from_payload(header, payload))
    }

    fn send(&mut self, socket: &Socket, cx: &mut Context<'_>) -> Poll<Result<(), tungstenite::Error>> {
        loop {
            if ready!(Pin::new(&mut self.stream).poll_ready(cx)).is_err() {
                return Poll::Pending; // reading tells how it ended
            }
            let message = match self.unsent.take() {
                Some(message) => message,
                None if self.closing => return Pin::new(&mut self.stream).poll_flush(cx).map(|_| Ok(())),
                None => match socket.sent.poll(cx) {
                    Poll::Ready(Some(Ok(Message::Text(text)))) => self.deflated(tungstenite::Message::Text(text)),
                    Poll::Ready(Some(Ok(Message::Binary(data)))) => self.deflated(tungstenite::Message::Binary(data)),
                    Poll::Ready(Some(Ok(Message::Close(code, reason)))) => {
                        self.close(code.into(), &reason);
                        continue;
                    }
                    Poll::Ready(None) => {
                        self.close(CloseCode::Normal, "");
                        continue;
                    }
                    // RFC 6455 section 7.4.1.
                    Poll::Ready(Some(Err(_))) => {
                        self.close(CloseCode::Error, "");
                        continue;
                    }
                    Poll::Pending => return Pin::new(&mut self.stream).poll_flush(cx),
                },
            };
            Pin::new(&mut self.stream).start_send(message)?;
        }
    }
}

/// How a WebSocket ended that was not closed by a frame.
fn ending(error: Option<tungstenite::Error>) -> (u16, &'static str) {
    match error {
        Some(tungstenite::Error::Capacity(_)) => (1009, "the message is too large"),
        Some(tungstenite::Error::Io(error)) if error.kind() == io::ErrorKind::InvalidData => {
            (1007, "the message cannot be inflated")
        }
        Some(tungstenite::Error::Utf8(_)) => (1007, "the text is not UTF-8"),
        Some(tungstenite::Error::Protocol(error)) if !is_reset(&error) => (1002, "the client broke the protocol"),
        _ => (1006, ""),
    }
}

fn is_reset(error: &tungstenite::error::ProtocolError) -> bool {
    matches!(error, tungstenite::error::ProtocolError::ResetWithoutClosingHandshake)
}
