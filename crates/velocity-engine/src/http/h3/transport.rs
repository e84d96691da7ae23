//! quinn as the h3 crate wants to see it.
//!
//! Two things are done here that an adapter off the shelf does not do. Streams that were finished
//! but not yet acknowledged are counted, so that a draining server knows when its last bytes have
//! arrived and not only when it has queued them. And what a peer may send before its request head
//! is complete is bounded: h3 0.0.8 would buffer a HEADERS frame of any declared length.

use std::pin::pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, Waker, ready};

use bytes::{Buf, Bytes};
use h3::error::Code;
use h3::quic::{self, ConnectionErrorIncoming, StreamErrorIncoming, StreamId, WriteBuf};
use quinn::VarInt;
use tokio_util::sync::ReusableBoxFuture;

/// Largest chunk taken from a stream at once.
const READ_CHUNK: usize = 64 * 1024;

/// How many finished streams are kept before those the peer has acknowledged are sorted out.
const SWEEP: usize = 64;

/// Streams that are finished here, and perhaps not yet acknowledged by the peer.
#[derive(Default)]
pub struct Unacknowledged(Mutex<Vec<quinn::SendStream>>);

impl Unacknowledged {
    /// Wait until the peer has acknowledged everything that was sent.
    pub async fn settled(&self) {
        loop {
            let next = self.streams().pop();
            let Some(stream) = next else { return };
            // However it ended, there is nothing left to wait for.
            let _ = stream.stopped().await;
        }
    }

    /// The list stays short: a peer gets no credit for new streams before old ones are acknowledged.
    fn push(&self, stream: quinn::SendStream) {
        let mut streams = self.streams();
        streams.push(stream);
        if streams.len().is_multiple_of(SWEEP) {
            let cx = &mut Context::from_waker(Waker::noop());
            streams.retain(|stream| pin!(stream.stopped()).poll(cx).is_pending());
        }
    }

    fn streams(&self) -> MutexGuard<'_, Vec<quinn::SendStream>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

type Pending<T> = ReusableBoxFuture<'static, Result<T, quinn::ConnectionError>>;

/// A QUIC connection.
pub struct Connection {
    opener: Opener,
    incoming: Pending<(quinn::SendStream, quinn::RecvStream)>,
    incoming_uni: Pending<quinn::RecvStream>,
    /// What a peer may send on a request stream before the head is complete, in bytes.
    max_head: usize,
}

impl Connection {
    pub fn new(connection: quinn::Connection, max_head: usize) -> (Self, Arc<Unacknowledged>) {
        let unacknowledged = Arc::new(Unacknowledged::default());
        let this = Self {
            incoming: ReusableBoxFuture::new(accept_bi(connection.clone())),
            incoming_uni: ReusableBoxFuture::new(accept_uni(connection.clone())),
            opener: Opener {
                connection,
                opening: None,
                opening_uni: None,
                unacknowledged: unacknowledged.clone(),
            },
            max_head,
        };
        (this, unacknowledged)
    }
}

async fn accept_bi(c: quinn::Connection) -> Result<(quinn::SendStream, quinn::RecvStream), quinn::ConnectionError> {
    c.accept_bi().await
}

async fn accept_uni(c: quinn::Connection) -> Result<quinn::RecvStream, quinn::ConnectionError> {
    c.accept_uni().await
}

impl quic::Connection<Bytes> for Connection {
    type RecvStream = RecvStream;
    type OpenStreams = Opener;

    fn poll_accept_recv(&mut self, cx: &mut Context<'_>) -> Poll<Result<RecvStream, ConnectionErrorIncoming>> {
        let accepted = ready!(self.incoming_uni.poll(cx));
        self.incoming_uni.set(accept_uni(self.opener.connection.clone()));
        Poll::Ready(
            accepted
                .map(|stream| RecvStream { stream, budget: None })
                .map_err(connection_error),
        )
    }

    fn poll_accept_bidi(&mut self, cx: &mut Context<'_>) -> Poll<Result<BidiStream, ConnectionErrorIncoming>> {
        let accepted = ready!(self.incoming.poll(cx));
        self.incoming.set(accept_bi(self.opener.connection.clone()));
        let max_head = self.max_head;
        Poll::Ready(
            accepted
                .map(|pair| self.opener.bidi(pair, Some(max_head)))
                .map_err(connection_error),
        )
    }

    fn opener(&self) -> Opener {
        self.opener.clone()
    }
}

impl quic::OpenStreams<Bytes> for Connection {
    type BidiStream = BidiStream;
    type SendStream = SendStream;

    fn poll_open_bidi(&mut self, cx: &mut Context<'_>) -> Poll<Result<BidiStream, StreamErrorIncoming>> {
        self.opener.poll_open_bidi(cx)
    }

    fn poll_open_send(&mut self, cx: &mut Context<'_>) -> Poll<Result<SendStream, StreamErrorIncoming>> {
        self.opener.poll_open_send(cx)
    }

    fn close(&mut self, code: Code, reason: &[u8]) {
        self.opener.close(code, reason);
    }
}

/// Opens streams on a connection.
pub struct Opener {
    connection: quinn::Connection,
    opening: Option<Pending<(quinn::SendStream, quinn::RecvStream)>>,
    opening_uni: Option<Pending<quinn::SendStream>>,
    unacknowledged: Arc<Unacknowledged>,
}

impl Clone for Opener {
    fn clone(&self) -> Self {
        Self {
            connection: self.connection.clone(),
            opening: None,
            opening_uni: None,
            unacknowledged: self.unacknowledged.clone(),
        }
    }
}

impl Opener {
    fn bidi(&self, (send, recv): (quinn::SendStream, quinn::RecvStream), budget: Option<usize>) -> BidiStream {
        BidiStream {
            send: self.send(send),
            recv: RecvStream { stream: recv, budget },
        }
    }

    fn send(&self, stream: quinn::SendStream) -> SendStream {
        SendStream {
            id: stream_id(stream.id()),
            stream: Some(stream),
            queued: [Bytes::new(), Bytes::new()],
            unacknowledged: self.unacknowledged.clone(),
        }
    }
}

impl quic::OpenStreams<Bytes> for Opener {
    type BidiStream = BidiStream;
    type SendStream = SendStream;

    fn poll_open_bidi(&mut self, cx: &mut Context<'_>) -> Poll<Result<BidiStream, StreamErrorIncoming>> {
        let connection = &self.connection;
        let opening = self.opening.get_or_insert_with(|| {
            let connection = connection.clone();
            ReusableBoxFuture::new(async move { connection.open_bi().await })
        });
        let opened = ready!(opening.poll(cx));
        self.opening = None;
        Poll::Ready(opened.map(|pair| self.bidi(pair, None)).map_err(stream_of_connection))
    }

    fn poll_open_send(&mut self, cx: &mut Context<'_>) -> Poll<Result<SendStream, StreamErrorIncoming>> {
        let connection = &self.connection;
        let opening = self.opening_uni.get_or_insert_with(|| {
            let connection = connection.clone();
            ReusableBoxFuture::new(async move { connection.open_uni().await })
        });
        let opened = ready!(opening.poll(cx));
        self.opening_uni = None;
        Poll::Ready(opened.map(|stream| self.send(stream)).map_err(stream_of_connection))
    }

    fn close(&mut self, code: Code, reason: &[u8]) {
        self.connection.close(varint(code.value()), reason);
    }
}

/// Both halves of a request stream.
pub struct BidiStream {
    send: SendStream,
    recv: RecvStream,
}

impl quic::BidiStream<Bytes> for BidiStream {
    type SendStream = SendStream;
    type RecvStream = RecvStream;

    fn split(self) -> (SendStream, RecvStream) {
        (self.send, self.recv)
    }
}

impl quic::RecvStream for BidiStream {
    type Buf = Bytes;

    fn poll_data(&mut self, cx: &mut Context<'_>) -> Poll<Result<Option<Bytes>, StreamErrorIncoming>> {
        self.recv.poll_data(cx)
    }

    fn stop_sending(&mut self, code: u64) {
        self.recv.stop_sending(code);
    }

    fn recv_id(&self) -> StreamId {
        self.recv.recv_id()
    }
}

impl quic::SendStream<Bytes> for BidiStream {
    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), StreamErrorIncoming>> {
        self.send.poll_ready(cx)
    }

    fn send_data<T: Into<WriteBuf<Bytes>>>(&mut self, data: T) -> Result<(), StreamErrorIncoming> {
        // The head is read when the first answer bytes go out: from here on the body's flow control rules.
        self.recv.budget = None;
        self.send.send_data(data)
    }

    fn poll_finish(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), StreamErrorIncoming>> {
        self.send.poll_finish(cx)
    }

    fn reset(&mut self, code: u64) {
        self.send.reset(code);
    }

    fn send_id(&self) -> StreamId {
        self.send.send_id()
    }
}

/// The receiving half of a stream.
pub struct RecvStream {
    stream: quinn::RecvStream,
    budget: Option<usize>,
}

impl quic::RecvStream for RecvStream {
    type Buf = Bytes;

    fn poll_data(&mut self, cx: &mut Context<'_>) -> Poll<Result<Option<Bytes>, StreamErrorIncoming>> {
        // ReadChunk keeps no state of its own between polls, so a fresh one each time is as good.
        let read = ready!(pin!(self.stream.read_chunk(READ_CHUNK, true)).poll(cx));
        Poll::Ready(match read {
            Ok(Some(chunk)) => {
                if let Some(budget) = &mut self.budget {
                    match budget.checked_sub(chunk.bytes.len()) {
                        Some(left) => *budget = left,
                        None => {
                            let _ = self.stream.stop(varint(Code::H3_EXCESSIVE_LOAD.value()));
                            return Poll::Ready(Err(StreamErrorIncoming::StreamTerminated {
                                error_code: Code::H3_EXCESSIVE_LOAD.value(),
                            }));
                        }
                    }
                }
                Ok(Some(chunk.bytes))
            }
            Ok(None) => Ok(None),
            Err(quinn::ReadError::Reset(code)) => Err(StreamErrorIncoming::StreamTerminated {
                error_code: code.into_inner(),
            }),
            Err(quinn::ReadError::ConnectionLost(e)) => Err(stream_of_connection(e)),
            Err(e) => Err(StreamErrorIncoming::Unknown(Box::new(e))),
        })
    }

    fn stop_sending(&mut self, code: u64) {
        let _ = self.stream.stop(varint(code));
    }

    fn recv_id(&self) -> StreamId {
        stream_id(self.stream.id())
    }
}

/// The sending half of a stream.
pub struct SendStream {
    id: StreamId,
    /// `None` once finished.
    stream: Option<quinn::SendStream>,
    /// A frame header and its payload, as far as they are not written.
    queued: [Bytes; 2],
    unacknowledged: Arc<Unacknowledged>,
}

impl quic::SendStream<Bytes> for SendStream {
    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), StreamErrorIncoming>> {
        while self.queued.iter().any(|bytes| !bytes.is_empty()) {
            // Like ReadChunk: stateless between polls; what was written is cut from `queued`.
            let Some(stream) = &mut self.stream else {
                return Poll::Ready(Err(write_error(quinn::WriteError::ClosedStream)));
            };
            let written = ready!(pin!(stream.write_chunks(&mut self.queued)).poll(cx));
            if let Err(error) = written {
                return Poll::Ready(Err(write_error(error)));
            }
        }
        Poll::Ready(Ok(()))
    }

    fn send_data<T: Into<WriteBuf<Bytes>>>(&mut self, data: T) -> Result<(), StreamErrorIncoming> {
        if self.queued.iter().any(|bytes| !bytes.is_empty()) {
            return Err(StreamErrorIncoming::ConnectionErrorIncoming {
                connection_error: ConnectionErrorIncoming::InternalError("send_data before poll_ready".into()),
            });
        }
        let mut data: WriteBuf<Bytes> = data.into();
        for queued in &mut self.queued {
            let chunk = data.chunk();
            *queued = Bytes::copy_from_slice(chunk);
            data.advance(queued.len());
        }
        debug_assert!(!data.has_remaining(), "a frame has at most a header and a payload");
        Ok(())
    }

    fn poll_finish(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), StreamErrorIncoming>> {
        ready!(self.poll_ready(cx))?;
        if let Some(mut stream) = self.stream.take()
            && stream.finish().is_ok()
        {
            self.unacknowledged.push(stream);
        }
        Poll::Ready(Ok(()))
    }

    fn reset(&mut self, code: u64) {
        if let Some(stream) = &mut self.stream {
            let _ = stream.reset(varint(code));
        }
    }

    fn send_id(&self) -> StreamId {
        self.id
    }
}

/// A stream that is dropped before it was finished must not look complete to the peer, as quinn's
/// own implicit finish would make it.
impl Drop for SendStream {
    fn drop(&mut self) {
        if let Some(stream) = &mut self.stream {
            let _ = stream.reset(varint(Code::H3_INTERNAL_ERROR.value()));
        }
    }
}

/// Error codes and stream IDs are below 2^62 by construction.
fn varint(value: u64) -> VarInt {
    VarInt::from_u64(value).unwrap_or(VarInt::MAX)
}

fn stream_id(id: quinn::StreamId) -> StreamId {
    StreamId::try_from(VarInt::from(id).into_inner()).expect("QUIC stream IDs are below 2^62 (RFC 9000 section 2.1)")
}

fn connection_error(error: quinn::ConnectionError) -> ConnectionErrorIncoming {
    match error {
        quinn::ConnectionError::ApplicationClosed(close) => ConnectionErrorIncoming::ApplicationClose {
            error_code: close.error_code.into_inner(),
        },
        quinn::ConnectionError::TimedOut => ConnectionErrorIncoming::Timeout,
        other => ConnectionErrorIncoming::Undefined(Arc::new(other)),
    }
}

fn stream_of_connection(error: quinn::ConnectionError) -> StreamErrorIncoming {
    StreamErrorIncoming::ConnectionErrorIncoming {
        connection_error: connection_error(error),
    }
}

fn write_error(error: quinn::WriteError) -> StreamErrorIncoming {
    match error {
        quinn::WriteError::Stopped(code) => StreamErrorIncoming::StreamTerminated {
            error_code: code.into_inner(),
        },
        quinn::WriteError::ConnectionLost(e) => stream_of_connection(e),
        other => StreamErrorIncoming::Unknown(Box::new(other)),
    }
}
