//! Heads: a request as text, and an answer from text (RFC 9112 sections 2 to 5).

use std::mem::MaybeUninit;

use bytes::BytesMut;
use http::header::{CONNECTION, CONTENT_LENGTH, TRANSFER_ENCODING};
use http::uri::Authority;
use http::{HeaderMap, HeaderName, HeaderValue, Method, Request, StatusCode, Version, response};

use crate::http::h1::body::{Framing, Of};
use crate::http::h1::outgoing::{Ends, Outgoing};
use crate::http::h1::{MAX_HEAD, fields};
use crate::http::{Body, declared_length, says_that_it_is_empty};

/// Fields of an answer.
const MAX_FIELDS: usize = 100;

/// Fields that are added to most answers on their way on.
const OURS: usize = 3;

/// Room for the head of most requests, in bytes.
const ROOM: usize = 1024;

/// The head of an answer.
pub struct Head {
    pub parts: response::Parts,
    /// Whether the connection persists (RFC 9112 section 9.3).
    pub keep: bool,
}

/// Marks a request whose target is to be written with scheme and authority, as proxies want it (RFC 9112 section 3.2.2).
#[derive(Clone, Copy)]
pub struct AbsoluteForm;

/// A request as it goes out.
pub fn outgoing(mut request: Request<Body>) -> Outgoing {
    let mut text = BytesMut::with_capacity(ROOM);
    write(&request, &mut text);
    let body = std::mem::take(request.body_mut());
    let declared = declared_length(request.headers());
    let expected = says_that_it_is_empty(request.method());
    let length = body.len().or(declared);
    match length {
        None => fields::write("transfer-encoding", b"chunked", &mut text),
        Some(0) if !expected && declared.is_none() => {}
        Some(length) => fields::write_length(length, &mut text),
    }
    text.extend_from_slice(b"\r\n");
    let ends = match length {
        None => Ends::Chunked { trailers: true },
        Some(0) => Ends::Now,
        Some(length) => Ends::Length(length),
    };
    Outgoing::new(text, body, ends)
}

/// Write the head of a request, but for what says how long its body is.
fn write<B>(request: &Request<B>, out: &mut BytesMut) {
    let uri = request.uri();
    let path = uri.path_and_query().map_or("/", |path| path.as_str());
    let (scheme, authority) = match request.extensions().get::<AbsoluteForm>() {
        Some(AbsoluteForm) => (uri.scheme_str(), uri.authority().map(Authority::as_str)),
        None => (None, None),
    };
    let before = if scheme.is_some() { "://" } else { "" };
    let (scheme, authority) = (scheme.unwrap_or_default(), authority.unwrap_or_default());
    for part in [
        request.method().as_str(),
        " ",
        scheme,
        before,
        authority,
        path,
        " HTTP/1.1\r\n",
    ] {
        out.extend_from_slice(part.as_bytes());
    }
    for (name, value) in request.headers() {
        if name != CONTENT_LENGTH {
            fields::write(name.as_str(), value.as_bytes(), out);
        }
    }
}

impl Head {
    /// Take a head off what was received; `None` while a part of it is missing.
    pub fn parse(received: &mut BytesMut) -> Result<Option<Self>, &'static str> {
        let mut fields = [const { MaybeUninit::uninit() }; MAX_FIELDS];
        let mut parsed = httparse::Response::new(&mut []);
        let parser = httparse::ParserConfig::default();
        let length = match parser.parse_response_with_uninit_headers(&mut parsed, received, &mut fields) {
            Ok(httparse::Status::Complete(length)) if length <= MAX_HEAD => length,
            Ok(httparse::Status::Partial) if received.len() < MAX_HEAD => return Ok(None),
            Ok(_) => return Err("the head of the answer is too large"),
            Err(httparse::Error::TooManyHeaders) => return Err("the answer has too many fields"),
            Err(_) => return Err("what came is no answer of HTTP/1.1"),
        };
        let status = parsed.code.and_then(|code| StatusCode::from_u16(code).ok());
        let mut head = response::Response::new(()).into_parts().0;
        head.status = status.ok_or("the status is none")?;
        head.version = match parsed.version {
            Some(0) => Version::HTTP_10,
            _ => Version::HTTP_11,
        };
        // Values are parts of what was received, not copies.
        let start = received.as_ptr() as usize;
        let places: Vec<_> = parsed
            .headers
            .iter()
            .map(|field| {
                let name = HeaderName::from_bytes(field.name.as_bytes()).ok();
                (name, field.value.as_ptr() as usize - start, field.value.len())
            })
            .collect();
        let text = received.split_to(length).freeze();
        let mut headers = HeaderMap::with_capacity(places.len() + OURS);
        for (name, at, length) in places {
            let value = text.slice(at..at + length);
            let (Some(name), Ok(value)) = (name, HeaderValue::from_maybe_shared(value)) else {
                return Err("a field of the answer is none");
            };
            headers.append(name, value);
        }
        let keep = persists(head.version, &headers);
        head.headers = headers;
        Ok(Some(Self { parts: head, keep }))
    }

    /// How the body of this answer to such a request ends (RFC 9112 section 6.3). Where the RFC has a way out of what
    /// contradicts itself, there is none here: somebody else may take the other one.
    pub fn framing(&self, method: &Method) -> Result<Framing, &'static str> {
        let headers = &self.parts.headers;
        if *method == Method::HEAD || matches!(self.parts.status, StatusCode::NO_CONTENT | StatusCode::NOT_MODIFIED) {
            return Ok(Framing::Empty);
        }
        let mut codings = headers.get_all(TRANSFER_ENCODING).iter();
        if let Some(coding) = codings.next() {
            if codings.next().is_some() || !coding.as_bytes().eq_ignore_ascii_case(b"chunked") {
                return Err("the answer has a transfer coding that is not known");
            }
            if headers.contains_key(CONTENT_LENGTH) || self.parts.version == Version::HTTP_10 {
                return Err("the answer has a transfer coding and a length, or a version that knows none");
            }
            return Ok(Framing::chunked(Of::Answer));
        }
        let mut length = None;
        for value in headers.get_all(CONTENT_LENGTH) {
            let text = value
                .to_str()
                .ok()
                .filter(|text| text.bytes().all(|byte| byte.is_ascii_digit()));
            let this: u64 = text
                .and_then(|text| text.parse().ok())
                .ok_or("the length of the answer is none")?;
            if length.replace(this).is_some_and(|other| other != this) {
                return Err("the answer has two lengths");
            }
        }
        Ok(match length {
            Some(0) => Framing::Empty,
            Some(length) => Framing::Length(length),
            None => Framing::Close { ended: false },
        })
    }
}

/// RFC 9112 section 9.3.
fn persists(version: Version, headers: &HeaderMap) -> bool {
    let says = |option| fields::any_has(headers, &CONNECTION, option);
    match version {
        Version::HTTP_10 => says(b"keep-alive") && !says(b"close"),
        _ => !says(b"close"),
    }
}
