//! A message on its way out: a head, a body piece by piece, the end of the stream.
//!
//! A head and a body that are there at once are written together with the end, so that a small
//! answer is one packet. Of a large body as much is written in a turn as fills a batch of packets: what is on its way is
//! bounded by the send window, and what is next comes from the file when there is room for it.

use std::pin::Pin;
use std::task::{Context, Poll};

use bytes::{Bytes, BytesMut};
use http_body::Body as _;
use quinn_proto::{SendStream, StreamId, VarInt, WriteError};
use velocity_h3::{Code, Connection};

use crate::access::Access;
use crate::http::Body;
use crate::http::body::FILE_CHUNK;

/// What a piece of a body counts in a turn, at least: those that are tiny take time as well.
const PIECE: usize = 1024;

/// What became of a turn.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Progress {
    /// There is more to write, at once.
    More,
    /// QUIC takes no more; an event will say when it does.
    Blocked,
    /// The body has nothing yet; its waker will be woken.
    Waiting,
    /// Everything is handed over, and the stream is finished.
    Finished,
    /// The stream was reset, by either side.
    Broken,
}

/// The sending half of an exchange.
pub struct Outgoing {
    /// A frame header (and what came before it), and its payload.
    chunks: [Bytes; 2],
    body: Body,
    /// Nothing comes after the chunks.
    last: bool,
    access: Option<Access>,
}

impl Outgoing {
    /// `head` is an encoded HEADERS frame.
    pub fn new(head: BytesMut, body: Body, access: Option<Access>) -> Self {
        let mut head = head;
        let mut payload = Bytes::new();
        let mut last = false;
        // What is in memory joins its head.
        let content = match &body {
            Body::Memory(content) => Some(content),
            Body::Prepared(answer) => Some(answer.content()),
            Body::Empty | Body::File(_) | Body::Stream(_) => None,
        };
        if let Some(content) = content {
            payload = content.clone();
            Connection::data_header(payload.len() as u64, &mut head);
            last = true;
        }
        last |= matches!(body, Body::Empty);
        Self {
            chunks: [head.freeze(), payload],
            body,
            last,
            access,
        }
    }

    /// Write for one turn.
    pub fn write(
        &mut self,
        h3: &mut Connection,
        mut stream: SendStream<'_>,
        id: StreamId,
        cx: &mut Context<'_>,
    ) -> Progress {
        let mut taken = 0;
        loop {
            if self.chunks.iter().any(|chunk| !chunk.is_empty()) {
                let before = self.chunks[1].len();
                match stream.write_chunks(&mut self.chunks) {
                    Ok(_) => {}
                    Err(WriteError::Blocked) => return Progress::Blocked,
                    Err(WriteError::Stopped(_) | WriteError::ClosedStream) => return Progress::Broken,
                }
                if let Some(access) = &mut self.access {
                    access.sent(before - self.chunks[1].len());
                }
                continue;
            }
            if self.last {
                if stream.finish().is_err() {
                    return Progress::Broken;
                }
                if let Some(access) = &mut self.access {
                    access.complete();
                }
                return Progress::Finished;
            }
            if taken >= FILE_CHUNK {
                return Progress::More;
            }
            match Pin::new(&mut self.body).poll_frame(cx) {
                Poll::Pending => return Progress::Waiting,
                Poll::Ready(None) => self.last = true,
                Poll::Ready(Some(Ok(frame))) => {
                    taken += frame.data_ref().map_or(0, Bytes::len).max(PIECE);
                    self.frame(h3, id, frame);
                }
                Poll::Ready(Some(Err(_))) => {
                    // The peer must not take what it has for the whole (RFC 9114 section 4.1.2).
                    let _ = stream.reset(code(Code::InternalError));
                    return Progress::Broken;
                }
            }
        }
    }

    fn frame(&mut self, h3: &mut Connection, id: StreamId, frame: http_body::Frame<Bytes>) {
        let mut header = BytesMut::new();
        match frame.into_data() {
            Ok(data) if data.is_empty() => {}
            Ok(data) => {
                Connection::data_header(data.len() as u64, &mut header);
                self.chunks = [header.freeze(), data];
            }
            Err(frame) => {
                if let Ok(fields) = frame.into_trailers() {
                    h3.trailers(id.into(), &fields, &mut header);
                    self.chunks = [header.freeze(), Bytes::new()];
                    self.last = true; // RFC 9114 section 4.1: nothing comes after trailers
                }
            }
        }
        self.last |= self.body.is_end_stream();
    }
}

/// An error code as QUIC wants it.
pub fn code(code: Code) -> VarInt {
    VarInt::from_u64(code.value()).unwrap_or(VarInt::MAX)
}
