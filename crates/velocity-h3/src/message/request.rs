//! The header section of a request (RFC 9114, section 4.3.1; CONNECT: section 4.4; extended CONNECT: RFC 9220).

use bytes::Bytes;
use http::header::HOST;
use http::uri::{Authority, PathAndQuery, Scheme};
use http::{HeaderMap, Method, Request, Uri, Version};

use super::fields::{Collected, Fields, Section};
use super::{Malformed, bytes, once, pseudo};
use crate::event::Protocol;
use crate::qpack::{Name, Sink, Value};

/// Collects the header section of a request.
pub(crate) struct RequestSink {
    /// Whether we told the client that it may send `:protocol`.
    connect_protocol: bool,
    method: Option<Method>,
    scheme: Option<Scheme>,
    authority: Option<Bytes>,
    path: Option<Bytes>,
    protocol: Option<Protocol>,
    fields: Fields,
}

/// A request head that is well-formed.
pub(crate) struct RequestHead {
    pub head: Request<()>,
    /// `content-length`.
    pub length: Option<u64>,
}

impl RequestSink {
    pub fn new(connect_protocol: bool) -> Self {
        let fields = Fields::new(Section::Request);
        Self {
            connect_protocol,
            method: None,
            scheme: None,
            authority: None,
            path: None,
            protocol: None,
            fields,
        }
    }

    fn pseudo(&mut self, name: &[u8], value: Bytes) -> Result<(), Malformed> {
        match name {
            b":method" => {
                let method = Method::from_bytes(&value).map_err(|_| Malformed(":method is not a token"))?;
                once(&mut self.method, method)
            }
            b":scheme" => once(&mut self.scheme, scheme(&value)?),
            b":authority" => once(&mut self.authority, value),
            b":path" => once(&mut self.path, value),
            b":protocol" if self.connect_protocol => once(
                &mut self.protocol,
                Protocol::new(value).ok_or(Malformed(":protocol is not a token"))?,
            ),
            _ => Err(Malformed("a pseudo-header field that requests do not have")),
        }
    }

    pub fn finish(self) -> Result<RequestHead, Malformed> {
        let Self {
            method,
            scheme,
            authority,
            path,
            protocol,
            fields,
            ..
        } = self;
        let Collected { map, length } = fields.finish();
        let method = method.ok_or(Malformed("no :method"))?;
        let uri = match (method == Method::CONNECT, &protocol) {
            (true, None) => connect_target(scheme, authority, path, &map)?,
            (false, Some(_)) => return Err(Malformed(":protocol without CONNECT")),
            _ => {
                let scheme = scheme.ok_or(Malformed("no :scheme"))?;
                let path = path_and_query(path.ok_or(Malformed("no :path"))?, &method)?;
                target(scheme, authority, path, &map)?
            }
        };
        let mut head = Request::new(());
        *head.method_mut() = method;
        *head.uri_mut() = uri;
        *head.version_mut() = Version::HTTP_3;
        *head.headers_mut() = map;
        if let Some(protocol) = protocol {
            head.extensions_mut().insert(protocol);
        }
        Ok(RequestHead { head, length })
    }
}

impl Sink for RequestSink {
    type Error = Malformed;

    fn field(&mut self, name: Name, value: Value) -> Result<(), Malformed> {
        match pseudo(&name) {
            None => self.fields.push(name, value),
            Some(_) if self.fields.begun => Err(Malformed("a pseudo-header field after a field")),
            Some(name) => self.pseudo(name, bytes(value)),
        }
    }
}

/// RFC 3986, section 3.1, in any case.
fn scheme(value: &[u8]) -> Result<Scheme, Malformed> {
    const WRONG: Malformed = Malformed(":scheme is not a scheme");
    match value {
        b"https" => Ok(Scheme::HTTPS),
        b"http" => Ok(Scheme::HTTP),
        _ if value.eq_ignore_ascii_case(b"https") => Ok(Scheme::HTTPS),
        _ if value.eq_ignore_ascii_case(b"http") => Ok(Scheme::HTTP),
        [first, ..] if first.is_ascii_alphabetic() => Scheme::try_from(value).map_err(|_| WRONG),
        _ => Err(WRONG),
    }
}

fn path_and_query(path: Bytes, method: &Method) -> Result<PathAndQuery, Malformed> {
    match path.first() {
        // PathAndQuery would cut a fragment off: a path with one is not the path it looks like.
        Some(b'/') if !path.contains(&b'#') => {}
        Some(b'*') if path.len() == 1 && *method == Method::OPTIONS => {}
        _ => return Err(Malformed(":path is neither a path nor, with OPTIONS, *")),
    }
    PathAndQuery::from_maybe_shared(path).map_err(|_| Malformed(":path has characters that a path has not"))
}

fn authority(value: Bytes) -> Result<Authority, Malformed> {
    Authority::from_maybe_shared(value).map_err(|_| Malformed("the authority is not an authority"))
}

/// All requests but plain CONNECT.
fn target(scheme: Scheme, sent: Option<Bytes>, path: PathAndQuery, map: &HeaderMap) -> Result<Uri, Malformed> {
    let host = map.get(HOST).map(http::HeaderValue::as_bytes);
    let needed = scheme == Scheme::HTTPS || scheme == Scheme::HTTP;
    if let (Some(sent), Some(host)) = (&sent, host)
        && sent != host
    {
        return Err(Malformed(":authority and host differ"));
    }
    let value = match sent.or_else(|| host.map(Bytes::copy_from_slice)) {
        Some(value) => value,
        None if needed => return Err(Malformed("neither :authority nor host")),
        None => return Ok(Uri::from(path)),
    };
    if needed && value.contains(&b'@') {
        return Err(Malformed("an authority with userinfo"));
    }
    let mut parts = http::uri::Parts::default();
    parts.scheme = Some(scheme);
    parts.authority = Some(authority(value)?);
    parts.path_and_query = Some(path);
    Uri::from_parts(parts).map_err(|_| Malformed("not a URI"))
}

/// CONNECT: a host and a port, and nothing else.
fn connect_target(
    scheme: Option<Scheme>,
    sent: Option<Bytes>,
    path: Option<Bytes>,
    map: &HeaderMap,
) -> Result<Uri, Malformed> {
    if scheme.is_some() || path.is_some() {
        return Err(Malformed("CONNECT with :scheme or :path"));
    }
    let sent = sent.ok_or(Malformed("CONNECT without :authority"))?;
    if map.get(HOST).is_some_and(|host| host.as_bytes() != sent) {
        return Err(Malformed(":authority and host differ"));
    }
    if sent.contains(&b'@') {
        return Err(Malformed("an authority with userinfo"));
    }
    let authority = authority(sent)?;
    if authority.host().is_empty() || authority.port().is_none() {
        return Err(Malformed("CONNECT to something that is not a host and a port"));
    }
    Ok(Uri::from(authority))
}
