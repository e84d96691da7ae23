//! Where a body ends (RFC 9112 sections 6 and 7), and its parts as they come.

use bytes::{Buf, Bytes, BytesMut};
use http::header::{CONTENT_LENGTH, HOST, TRANSFER_ENCODING};
use http::{HeaderMap, HeaderName, HeaderValue};
use http_body::{Frame, SizeHint};

use super::{MAX_HEAD, READ};

/// The longest line that says how long a chunk is, extensions included, in bytes.
const MAX_LINE: usize = 4 * 1024;

#[derive(Debug, Default)]
pub enum Framing {
    #[default]
    Empty,
    /// So many bytes are left.
    Length(u64),
    Chunked(Chunked),
    /// It ends with the connection.
    Close {
        ended: bool,
    },
}

/// A chunked body, and what comes next of it.
#[derive(Debug)]
pub struct Chunked {
    of: Of,
    next: Part,
}

/// Whose body it is. A request that can be read in two ways is read in none: somebody on its way here may have read it
/// in the other one. Servers are given what the RFC allows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Of {
    Request,
    Answer,
}

#[derive(Debug, PartialEq, Eq)]
enum Part {
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
    pub fn chunked(of: Of) -> Self {
        Framing::Chunked(Chunked { of, next: Part::Size })
    }

    /// Take the next part of the body off what was received.
    pub fn next(&mut self, received: &mut BytesMut) -> Result<Next, &'static str> {
        match self {
            Framing::Empty | Framing::Length(0) | Framing::Close { ended: true } => Ok(Next::End),
            Framing::Length(left) => Ok(take(left, received)),
            Framing::Close { ended: false } => Ok(take(&mut u64::MAX.clone(), received)),
            Framing::Chunked(chunked) => chunked.next(received),
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
        match self {
            Framing::Empty | Framing::Length(0) | Framing::Close { ended: true } => true,
            Framing::Chunked(chunked) => chunked.next == Part::Nothing,
            Framing::Length(_) | Framing::Close { ended: false } => false,
        }
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
            match &mut self.next {
                Part::Size => {
                    let Some(end) = memchr::memchr(b'\n', received) else {
                        return more(received, MAX_LINE);
                    };
                    let line = received.split_to(within(end + 1, MAX_LINE)?);
                    let line = line.strip_suffix(b"\r\n").ok_or("a chunk has no size")?;
                    let line = match self.of {
                        Of::Request => line,
                        // Some fill it up with spaces, to write it before they know it.
                        Of::Answer => line.trim_ascii_end(),
                    };
                    self.next = match chunk_size(line).ok_or("a chunk has no size")? {
                        0 => Part::Trailers,
                        size => Part::Data(size),
                    };
                }
                Part::Data(left) => {
                    let next = take(left, received);
                    if *left == 0 {
                        self.next = Part::DataEnd;
                    }
                    return Ok(next);
                }
                Part::DataEnd => {
                    let (here, due) = (received.len().min(2), b"\r\n");
                    if received[..here] != due[..here] {
                        return Err("a chunk is longer than it says");
                    }
                    if here < 2 {
                        return Ok(Next::More(READ));
                    }
                    received.advance(2);
                    self.next = Part::Size;
                }
                Part::Trailers => {
                    if received.starts_with(b"\r\n") {
                        received.advance(2);
                        self.next = Part::Nothing;
                        return Ok(Next::End);
                    }
                    let Some(end) = memchr::memmem::find(received, b"\r\n\r\n") else {
                        return more(received, MAX_HEAD);
                    };
                    let text = received.split_to(within(end + 4, MAX_HEAD)?);
                    let trailers = trailers(&text, self.of).ok_or("the trailers are none")?;
                    self.next = Part::Nothing;
                    return Ok(Next::Frame(Frame::trailers(trailers)));
                }
                Part::Nothing => return Ok(Next::End),
            }
        }
    }
}

/// A line or a block is not here yet, and may be this long.
fn more(received: &BytesMut, at_most: usize) -> Result<Next, &'static str> {
    within(received.len(), at_most).map(|_| Next::More(READ))
}

/// The length of a line or a block, or of what is here of it. One that came whole is held to what one that comes in
/// parts is: what is understood does not depend on how it was read.
fn within(length: usize, at_most: usize) -> Result<usize, &'static str> {
    match length > at_most {
        true => Err("the size of a chunk, or the trailers, are too long"),
        false => Ok(length),
    }
}

/// RFC 9112 section 7.1, with extensions, which are ignored; `None` if it is none.
fn chunk_size(line: &[u8]) -> Option<u64> {
    let end = line.iter().position(|byte| !byte.is_ascii_hexdigit());
    let (size, extension) = line.split_at(end.unwrap_or(line.len()));
    let readable = |byte: &u8| !byte.is_ascii_control() || *byte == b'\t';
    let well_formed =
        (1..=16).contains(&size.len()) && matches!(extension, [] | [b';', ..]) && extension.iter().all(readable);
    let size = std::str::from_utf8(size).ok().filter(|_| well_formed)?;
    u64::from_str_radix(size, 16).ok()
}

fn trailers(text: &[u8], of: Of) -> Option<HeaderMap> {
    let mut fields = [httparse::EMPTY_HEADER; 32];
    let Ok(httparse::Status::Complete((length, fields))) = httparse::parse_headers(text, &mut fields) else {
        return None;
    };
    // A bare LF ends a line for some, and then these end before that.
    if length != text.len() || !ends_with_crlf(text) {
        return None;
    }
    let mut trailers = HeaderMap::with_capacity(fields.len());
    for field in fields {
        let name = HeaderName::from_bytes(field.name.as_bytes()).ok()?;
        // RFC 9110 section 6.5.1: what frames a message, or says who it is for, is of no effect here.
        match ([CONTENT_LENGTH, TRANSFER_ENCODING, HOST].contains(&name), of) {
            (true, Of::Request) => return None,
            (true, Of::Answer) => {}
            (false, _) => drop(trailers.append(name, HeaderValue::from_bytes(field.value).ok()?)),
        }
    }
    Some(trailers)
}

/// Whether no line of a text ends with a bare LF.
fn ends_with_crlf(text: &[u8]) -> bool {
    memchr::memchr_iter(b'\n', text).all(|at| at > 0 && text[at - 1] == b'\r')
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Whether a body that is here as a whole is read to its end.
    fn is_read(body: &str, of: Of) -> bool {
        let (mut framing, mut received) = (Framing::chunked(of), BytesMut::from(body));
        while let Ok(next) = framing.next(&mut received) {
            match next {
                Next::More(_) => return false,
                Next::End => return true,
                Next::Frame(_) => {}
            }
        }
        false
    }

    #[test]
    fn what_comes_whole_may_be_no_longer_than_what_comes_in_parts() {
        let line = |length: usize| format!("0;{}\r\n\r\n", "x".repeat(length - "0;\r\n".len()));
        let trailers = |length: usize| format!("0\r\na: {}\r\n\r\n", "x".repeat(length - "a: \r\n\r\n".len()));
        for of in [Of::Request, Of::Answer] {
            assert!(is_read(&line(MAX_LINE), of));
            assert!(!is_read(&line(MAX_LINE + 1), of));
            assert!(is_read(&trailers(MAX_HEAD), of));
            assert!(!is_read(&trailers(MAX_HEAD + 1), of));
        }
    }
}
