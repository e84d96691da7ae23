//! Where the body of an answer ends (RFC 9112 sections 6 and 7), and its parts as they come.

use bytes::{Buf, Bytes, BytesMut};
use http::header::{CONTENT_LENGTH, HOST, TRANSFER_ENCODING};
use http::{HeaderMap, HeaderName, HeaderValue};
use http_body::{Frame, SizeHint};

use super::{MAX_HEAD, READ};
use crate::http::tcp::framing::chunk_size;

/// The longest line that says how long a chunk is, extensions included, in bytes.
const MAX_LINE: usize = 4 * 1024;

#[derive(Debug)]
pub enum Framing {
    Empty,
    /// So many bytes are left.
    Length(u64),
    Chunked(Chunked),
    /// It ends with the connection.
    Close {
        ended: bool,
    },
}

/// What comes next of a chunked body.
#[derive(Debug)]
pub enum Chunked {
    Size,
    Data(u64),
    DataEnd,
    Trailers,
    Nothing,
}

pub enum Next {
    Frame(Frame<Bytes>),
    /// This much more could come, or is worth reading at once.
    More(usize),
    End,
}

impl Framing {
    pub fn chunked() -> Self {
        Framing::Chunked(Chunked::Size)
    }

    /// Take the next part of the body off what was received.
    pub fn next(&mut self, received: &mut BytesMut) -> Result<Next, &'static str> {
        match self {
            Framing::Empty | Framing::Length(0) | Framing::Close { ended: true } => Ok(Next::End),
            Framing::Length(left) => Ok(take(left, received)),
            Framing::Close { ended: false } => Ok(take(&mut u64::MAX.clone(), received)),
            Framing::Chunked(next) => next.next(received),
        }
    }

    /// The connection has ended: whether the body may.
    pub fn closed(&mut self) -> bool {
        match self {
            Framing::Close { ended } => {
                *ended = true;
                true
            }
            _ => false,
        }
    }

    /// Whether it ends before the connection does.
    pub fn is_known(&self) -> bool {
        !matches!(self, Framing::Close { .. })
    }

    pub fn is_end(&self) -> bool {
        matches!(
            self,
            Framing::Empty | Framing::Length(0) | Framing::Chunked(Chunked::Nothing) | Framing::Close { ended: true }
        )
    }

    pub fn length(&self) -> SizeHint {
        match self {
            Framing::Length(left) => SizeHint::with_exact(*left),
            _ if self.is_end() => SizeHint::with_exact(0),
            _ => SizeHint::default(),
        }
    }
}

/// Of what was received, no more than is left.
fn take(left: &mut u64, received: &mut BytesMut) -> Next {
    if received.is_empty() {
        return Next::More(usize::try_from(*left).unwrap_or(usize::MAX));
    }
    let length = received.len().min(usize::try_from(*left).unwrap_or(usize::MAX));
    *left -= length as u64;
    Next::Frame(Frame::data(received.split_to(length).freeze()))
}

impl Chunked {
    fn next(&mut self, received: &mut BytesMut) -> Result<Next, &'static str> {
        loop {
            match self {
                Chunked::Size => {
                    let Some(end) = memchr::memchr(b'\n', received) else {
                        return more(received, MAX_LINE);
                    };
                    let line = received.split_to(end + 1);
                    let line = line.strip_suffix(b"\r\n").ok_or("a chunk has no size")?;
                    // Some fill it up with spaces, to write it before they know it.
                    *self = match chunk_size(line.trim_ascii_end()).map_err(|_| "a chunk has no size")? {
                        0 => Chunked::Trailers,
                        size => Chunked::Data(size),
                    };
                }
                Chunked::Data(left) => {
                    let next = take(left, received);
                    if *left == 0 {
                        *self = Chunked::DataEnd;
                    }
                    return Ok(next);
                }
                Chunked::DataEnd => {
                    if received.len() < 2 {
                        return Ok(Next::More(READ));
                    }
                    if !received.starts_with(b"\r\n") {
                        return Err("a chunk is longer than it says");
                    }
                    received.advance(2);
                    *self = Chunked::Size;
                }
                Chunked::Trailers => {
                    if received.starts_with(b"\r\n") {
                        received.advance(2);
                        *self = Chunked::Nothing;
                        return Ok(Next::End);
                    }
                    let Some(end) = memchr::memmem::find(received, b"\r\n\r\n") else {
                        return more(received, MAX_HEAD);
                    };
                    let trailers = trailers(&received.split_to(end + 4)).ok_or("the trailers are none")?;
                    *self = Chunked::Nothing;
                    return Ok(Next::Frame(Frame::trailers(trailers)));
                }
                Chunked::Nothing => return Ok(Next::End),
            }
        }
    }
}

/// A line or a block is not here yet, and may be this long.
fn more(received: &BytesMut, at_most: usize) -> Result<Next, &'static str> {
    match received.len() > at_most {
        true => Err("the size of a chunk, or the trailers, are too long"),
        false => Ok(Next::More(READ)),
    }
}

fn trailers(text: &[u8]) -> Option<HeaderMap> {
    let mut fields = [httparse::EMPTY_HEADER; 32];
    let Ok(httparse::Status::Complete((_, fields))) = httparse::parse_headers(text, &mut fields) else {
        return None;
    };
    let mut trailers = HeaderMap::with_capacity(fields.len());
    for field in fields {
        let name = HeaderName::from_bytes(field.name.as_bytes()).ok()?;
        // RFC 9110 section 6.5.1.
        if ![CONTENT_LENGTH, TRANSFER_ENCODING, HOST].contains(&name) {
            trailers.append(name, HeaderValue::from_bytes(field.value).ok()?);
        }
    }
    Some(trailers)
}
