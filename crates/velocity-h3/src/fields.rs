//! From field sections to messages and back (RFC 9114 sections 4.2 and 4.3).
//!
//! Everything that makes a message malformed (section 4.1.2) is found here, while its fields come
//! out of the decoder one by one.

use bytes::{Bytes, BytesMut};
use http::header::{CONTENT_LENGTH, COOKIE, HOST};
use http::uri::{Authority, PathAndQuery, Scheme};
use http::{HeaderMap, HeaderName, HeaderValue, Method, StatusCode, Uri, Version};

use crate::Protocol;
use crate::qpack::{Line, Name, Sink, Value, static_table};

/// What a section is of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// A request.
    Request,
    /// A response, or an interim one.
    Response,
    /// The end of either.
    Trailers,
}

/// Why a message is malformed.
pub type Reason = &'static str;

/// Collects the fields of one section.
pub struct Fields {
    kind: Kind,
    method: Option<Method>,
    scheme: Option<Bytes>,
    authority: Option<Bytes>,
    path: Option<Bytes>,
    protocol: Option<Bytes>,
    status: Option<StatusCode>,
    headers: HeaderMap,
    /// Set by the first field that is no pseudo-header.
    regular: bool,
    cookie: Option<BytesMut>,
    content_length: Option<u64>,
}

impl Fields {
    pub fn new(kind: Kind) -> Self {
        Self {
            kind,
            method: None,
            scheme: None,
            authority: None,
            path: None,
            protocol: None,
            status: None,
            headers: HeaderMap::new(),
            regular: false,
            cookie: None,
            content_length: None,
        }
    }

    /// What Content-Length says, if it is there.
    pub fn content_length(&self) -> Option<u64> {
        self.content_length
    }

    fn pseudo(&mut self, name: &[u8], value: Value) -> Result<(), Reason> {
        if self.regular {
            return Err("a pseudo-header field after others");
        }
        let place = match (self.kind, name) {
            (Kind::Request, b":method") => {
                let method = Method::from_bytes(bytes(&value)).map_err(|_| "the method is not a token")?;
                return once(&mut self.method, method);
            }
            (Kind::Response, b":status") => {
                let status = match bytes(&value) {
                    digits @ [b'1'..=b'5', _, _] => {
                        StatusCode::from_bytes(digits).map_err(|_| "the status is no number")?
                    }
                    _ => return Err("the status has not three digits from 100 to 599"),
                };
                return once(&mut self.status, status);
            }
            (Kind::Request, b":scheme") => &mut self.scheme,
            (Kind::Request, b":authority") => &mut self.authority,
            (Kind::Request, b":path") => &mut self.path,
            (Kind::Request, b":protocol") => &mut self.protocol,
            (Kind::Trailers, _) => return Err("a pseudo-header field in trailers"),
            _ => return Err("an unknown pseudo-header field"),
        };
        once(place, into_bytes(value))
    }

    fn regular(&mut self, name: HeaderName, value: HeaderValue) -> Result<(), Reason> {
        self.regular = true;
        match name.as_str() {
            "connection" | "keep-alive" | "proxy-connection" | "transfer-encoding" | "upgrade" => {
                return Err("a field of HTTP/1.1 connections");
            }
            "te" if value.as_bytes() != b"trailers" => return Err("TE is something else than trailers"),
            "cookie" if self.kind == Kind::Request => {
                // Section 4.2.1: pieces are put together again before anybody else sees them.
                match &mut self.cookie {
                    None => self.cookie = Some(BytesMut::from(value.as_bytes())),
                    Some(cookie) => {
                        cookie.extend_from_slice(b"; ");
                        cookie.extend_from_slice(value.as_bytes());
                    }
                }
                return Ok(());
            }
            "content-length" if self.kind != Kind::Trailers => return self.content_length_is(value),
            _ => {}
        }
        self.headers.try_append(name, value).map_err(|_| "too many fields")?;
        Ok(())
    }

    fn content_length_is(&mut self, value: HeaderValue) -> Result<(), Reason> {
        let text = value.to_str().map_err(|_| "Content-Length is no number")?;
        for part in text.split(',') {
            let part = part.trim_matches([' ', '\t']);
            if part.is_empty() || !part.bytes().all(|byte| byte.is_ascii_digit()) {
                return Err("Content-Length is no number");
            }
            let length = part.parse().map_err(|_| "Content-Length is no number")?;
            if self.content_length.is_some_and(|before| before != length) {
                return Err("Content-Length contradicts itself");
            }
            self.content_length = Some(length);
        }
        // RFC 9110 section 8.6: equal ones count once.
        self.headers.insert(
            CONTENT_LENGTH,
            HeaderValue::from(self.content_length.unwrap_or_default()),
        );
        Ok(())
    }

    /// The head of a request.
    pub fn into_request(mut self, connect_protocol: bool) -> Result<http::Request<()>, Reason> {
        let method = self.method.take().ok_or("a request without a method")?;
        if let Some(cookie) = self.cookie.take() {
            let cookie =
                HeaderValue::from_maybe_shared(cookie.freeze()).map_err(|_| "a field value that is not valid")?;
            self.headers.insert(COOKIE, cookie);
        }
        let mut request = http::Request::new(());
        let connect = method == Method::CONNECT;
        match self.protocol.take() {
            Some(_) if !connect => return Err(":protocol without CONNECT"),
            Some(_) if !connect_protocol => return Err("extended CONNECT is not enabled"),
            Some(protocol) => {
                let name = std::str::from_utf8(&protocol).map_err(|_| ":protocol is no token")?;
                request.extensions_mut().insert(Protocol(name.to_owned()));
                *request.uri_mut() = self.uri(&method)?;
            }
            None if connect => {
                // Section 4.4: host and port, and nothing else.
                if self.scheme.is_some() || self.path.is_some() {
                    return Err("CONNECT with a scheme or a path");
                }
                let authority = self.authority.take().ok_or("CONNECT without an authority")?;
                let authority = Authority::from_maybe_shared(authority).map_err(|_| "the authority is not valid")?;
                *request.uri_mut() = Uri::from(authority);
            }
            None => *request.uri_mut() = self.uri(&method)?,
        }
        *request.method_mut() = method;
        *request.version_mut() = Version::HTTP_3;
        *request.headers_mut() = self.headers;
        Ok(request)
    }

    fn uri(&mut self, method: &Method) -> Result<Uri, Reason> {
        let scheme = self.scheme.take().ok_or("a request without a scheme")?;
        let path = self.path.take().ok_or("a request without a path")?;
        let mut hosts = self.headers.get_all(HOST).iter();
        let host = hosts.next();
        if hosts.next().is_some() {
            return Err("several Host fields");
        }
        let authority = match (self.authority.take(), host) {
            (Some(authority), Some(host)) if authority != host.as_bytes() => return Err(":authority and Host differ"),
            (Some(authority), _) => authority,
            (None, Some(host)) => Bytes::copy_from_slice(host.as_bytes()),
            (None, None) => return Err("a request without an authority"),
        };
        if authority.is_empty() || authority.contains(&b'@') {
            return Err("the authority is not valid"); // section 4.3.1
        }
        let valid_path = match path.first() {
            Some(b'/') => !path.contains(&b'#'),
            Some(b'*') => path.len() == 1 && method == Method::OPTIONS,
            _ => false,
        };
        if !valid_path {
            return Err("the path is not valid");
        }
        let mut parts = http::uri::Parts::default();
        parts.scheme = Some(match &*scheme {
            b"https" => Scheme::HTTPS,
            b"http" => Scheme::HTTP,
            other => Scheme::try_from(other).map_err(|_| "the scheme is not valid")?,
        });
        parts.authority = Some(Authority::from_maybe_shared(authority).map_err(|_| "the authority is not valid")?);
        parts.path_and_query = Some(PathAndQuery::from_maybe_shared(path).map_err(|_| "the path is not valid")?);
        Uri::from_parts(parts).map_err(|_| "the target is not valid")
    }

    /// The head of a response.
    pub fn into_response(self) -> Result<http::Response<()>, Reason> {
        let status = self.status.ok_or("a response without a status")?;
        if status == StatusCode::SWITCHING_PROTOCOLS {
            return Err("101 does not exist here"); // section 4.5
        }
        let mut response = http::Response::new(());
        *response.status_mut() = status;
        *response.version_mut() = Version::HTTP_3;
        *response.headers_mut() = self.headers;
        Ok(response)
    }

    /// Trailers.
    pub fn into_trailers(self) -> HeaderMap {
        self.headers
    }
}

impl Sink for Fields {
    type Error = Reason;

    fn field(&mut self, name: Name, value: Value) -> Result<(), Reason> {
        let name = match name {
            Name::Static(index) => match static_table::header_name(index) {
                Some(name) => name,
                None => return self.pseudo(static_table::name(index).as_bytes(), value),
            },
            Name::Literal(name) if name.first() == Some(&b':') => return self.pseudo(&name, value),
            // Section 4.2: upper case is malformed, and so is whatever is no token.
            Name::Literal(name) => HeaderName::from_lowercase(&name).map_err(|_| "a field name that is not valid")?,
        };
        let value = match value {
            Value::Static(index) => static_table::header_value(index),
            Value::Literal(value) => {
                HeaderValue::from_maybe_shared(value).map_err(|_| "a field value that is not valid")?
            }
        };
        self.regular(name, value)
    }
}

fn once<T>(place: &mut Option<T>, value: T) -> Result<(), Reason> {
    match place.replace(value) {
        None => Ok(()),
        Some(_) => Err("a pseudo-header field occurs twice"),
    }
}

fn bytes(value: &Value) -> &[u8] {
    match value {
        Value::Static(index) => static_table::value(*index).as_bytes(),
        Value::Literal(value) => value,
    }
}

fn into_bytes(value: Value) -> Bytes {
    match value {
        Value::Static(index) => Bytes::from_static(static_table::value(index).as_bytes()),
        Value::Literal(value) => value,
    }
}

/// The lines of a request, pseudo-header fields first.
pub fn request_lines<'a>(head: &'a http::Request<()>, protocol: Option<&'a str>) -> impl Iterator<Item = Line<'a>> {
    let uri = head.uri();
    let plain_connect = head.method() == Method::CONNECT && protocol.is_none();
    let host = head.headers().get(HOST).map(HeaderValue::as_bytes);
    let authority = uri.authority().map(|authority| authority.as_str().as_bytes()).or(host);
    let path = match uri.path_and_query().map_or("/", PathAndQuery::as_str) {
        "" => "/",
        path => path,
    };
    let pseudo = [
        Some((&b":method"[..], head.method().as_str().as_bytes())),
        (!plain_connect).then(|| (&b":scheme"[..], uri.scheme_str().unwrap_or("https").as_bytes())),
        authority.map(|authority| (&b":authority"[..], authority)),
        (!plain_connect).then_some((&b":path"[..], path.as_bytes())),
        protocol.map(|protocol| (&b":protocol"[..], protocol.as_bytes())),
    ];
    pseudo
        .into_iter()
        .flatten()
        .map(line)
        .chain(header_lines(head.headers(), authority.is_some()))
}

/// The lines of a response.
pub fn response_lines(head: &http::response::Parts) -> impl Iterator<Item = Line<'_>> {
    std::iter::once(line((b":status", head.status.as_str().as_bytes()))).chain(header_lines(&head.headers, false))
}

/// Lines that are no pseudo-header fields.
pub fn header_lines(headers: &HeaderMap, without_host: bool) -> impl Iterator<Item = Line<'_>> {
    headers
        .iter()
        .filter(move |(name, _)| match name.as_str() {
            // Section 4.2: an intermediary must not pass them on.
            "connection" | "keep-alive" | "proxy-connection" | "transfer-encoding" | "upgrade" => false,
            "host" => !without_host,
            _ => true,
        })
        .map(|(name, value)| Line {
            name: name.as_str().as_bytes(),
            value: value.as_bytes(),
            sensitive: value.is_sensitive(),
        })
}

fn line<'a>((name, value): (&'a [u8], &'a [u8])) -> Line<'a> {
    Line {
        name,
        value,
        sensitive: false,
    }
}
