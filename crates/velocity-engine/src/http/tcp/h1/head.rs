//! The head of a request from text (RFC 9112 sections 2 to 6), and more strictly than the RFC has it.
//!
//! What can be read in two ways is read in none: a bare LF as the end of a line, Transfer-Encoding beside
//! Content-Length, several lengths. Servers on the way may read it in the other way, and then the end of one request is the
//! beginning of somebody else's.

use std::mem::MaybeUninit;

use bytes::BytesMut;
use http::header::{CONNECTION, CONTENT_LENGTH, EXPECT, TE, TRANSFER_ENCODING};
use http::{HeaderName, HeaderValue, Method, Request, Uri, Version, request};

use crate::http::h1::body::{Framing, Of};
use crate::http::h1::fields;

/// Fields of a request.
const MAX_FIELDS: usize = 100;

pub struct Head {
    pub parts: request::Parts,
    pub framing: Framing,
    /// Whether the connection persists (RFC 9112 section 9.3).
    pub keep: bool,
    /// Whether the client waits for 100 (Continue) before it sends the body (RFC 9110 section 10.1.1).
    pub waits: bool,
    /// Whether it wants trailers (RFC 9110 section 10.1.4).
    pub trailers: bool,
}

/// Why a request is not looked at.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Refusal {
    Malformed,
    TooLarge,
}

/// How far a head was followed, so that no byte is looked at twice.
#[derive(Default)]
pub struct Follow {
    at: usize,
    /// Where the present line begins.
    line: usize,
    /// Whether there was a line that is not empty.
    begun: bool,
}

impl Follow {
    /// Follow what has come: the length of the head, when all of it is here.
    pub fn end(&mut self, received: &[u8]) -> Result<Option<usize>, Refusal> {
        while let Some(found) = memchr::memchr(b'\n', &received[self.at..]) {
            let end = self.at + found;
            let line = received[self.line..end].strip_suffix(b"\r").ok_or(Refusal::Malformed)?;
            self.at = end + 1;
            self.line = end + 1;
            match line {
                // Before the request line they are skipped (RFC 9112 section 2.2).
                [] if !self.begun => {}
                [] => return Ok(Some(end + 1)),
                _ => self.begun = true,
            }
        }
        self.at = received.len();
        Ok(None)
    }
}

impl Head {
    /// Take a head of this length off what was received.
    pub fn parse(received: &mut BytesMut, length: usize) -> Result<Self, Refusal> {
        let text = received.split_to(length).freeze();
        let mut room = [const { MaybeUninit::uninit() }; MAX_FIELDS];
        let mut parsed = httparse::Request::new(&mut []);
        match parsed.parse_with_uninit_headers(&text, &mut room) {
            Ok(httparse::Status::Complete(end)) if end == length => {}
            Err(httparse::Error::TooManyHeaders) => return Err(Refusal::TooLarge),
            _ => return Err(Refusal::Malformed),
        }
        let malformed = Refusal::Malformed;
        let (Some(method), Some(target), Some(minor)) = (parsed.method, parsed.path, parsed.version) else {
            return Err(malformed);
        };
        let (mut parts, ()) = Request::new(()).into_parts();
        parts.method = Method::from_bytes(method.as_bytes()).map_err(|_| malformed)?;
        // This and the values of fields are parts of what was received, not copies.
        parts.uri = Uri::from_maybe_shared(text.slice_ref(target.as_bytes())).map_err(|_| malformed)?;
        parts.version = match minor {
            0 => Version::HTTP_10,
            _ => Version::HTTP_11,
        };
        parts.headers.reserve(parsed.headers.len());
        let mut says = Says::default();
        for field in parsed.headers.iter() {
            let name = HeaderName::from_bytes(field.name.as_bytes()).map_err(|_| malformed)?;
            says.hear(&name, field.value).ok_or(malformed)?;
            let value = HeaderValue::from_maybe_shared(text.slice_ref(field.value)).map_err(|_| malformed)?;
            parts.headers.append(name, value);
        }
        let is_new = parts.version == Version::HTTP_11;
        let framing = says.framing(is_new).ok_or(malformed)?;
        Ok(Self {
            keep: !says.close && (is_new || says.keep_alive),
            waits: says.expects && is_new && !framing.is_end(),
            trailers: says.trailers,
            framing,
            parts,
        })
    }
}

/// What the fields of a request say of its body and of the connection.
#[derive(Default)]
struct Says {
    length: Option<u64>,
    chunked: bool,
    close: bool,
    keep_alive: bool,
    expects: bool,
    trailers: bool,
}

impl Says {
    /// One field; `None` if it says what can be understood in two ways.
    fn hear(&mut self, name: &HeaderName, value: &[u8]) -> Option<()> {
        if *name == CONTENT_LENGTH {
            let length = decimal(value)?;
            return self.length.replace(length).is_none().then_some(());
        }
        if *name == TRANSFER_ENCODING {
            let again = std::mem::replace(&mut self.chunked, true);
            return (!again && value.eq_ignore_ascii_case(b"chunked")).then_some(());
        }
        if *name == CONNECTION {
            self.close |= fields::has(value, b"close");
            self.keep_alive |= fields::has(value, b"keep-alive");
        } else if *name == EXPECT {
            self.expects |= fields::has(value, b"100-continue");
        } else if *name == TE {
            self.trailers |= fields::has(value, b"trailers");
        }
        Some(())
    }

    /// Where the body ends (RFC 9112 section 6.3), if that can be said in one way only.
    fn framing(&self, is_new: bool) -> Option<Framing> {
        match (self.chunked, self.length) {
            (true, None) if is_new => Some(Framing::chunked(Of::Request)),
            (true, _) => None,
            (false, None | Some(0)) => Some(Framing::Empty),
            (false, Some(length)) => Some(Framing::Length(length)),
        }
    }
}

/// RFC 9110 section 8.6: digits and nothing else, not even a list of the same.
fn decimal(text: &[u8]) -> Option<u64> {
    let digits = (1..=19).contains(&text.len()) && text.iter().all(u8::is_ascii_digit);
    let text = std::str::from_utf8(text).ok().filter(|_| digits)?;
    text.parse().ok()
}
