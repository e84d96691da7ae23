//! Requests and responses over whichever protocol the connection speaks.

use std::io;

use bytes::Bytes;
use http::header::{CONTENT_LENGTH, HOST, USER_AGENT};
use http::uri::{Authority, Scheme, Uri};
use http::{HeaderName, HeaderValue, Method, Version};
use http_body_util::BodyExt;
use hyper::body::Incoming;
use hyper_util::rt::TokioIo;
use tokio::net::TcpStream;
use tokio_rustls::client::TlsStream;
use velocity_tls::fallback::Directive;

use super::connect::Opened;
use super::{Options, Protocol, Response};
use crate::error::{Error, Result, chain};
use crate::http::Body;
use crate::http::h2::client as h2;
use crate::http::h3::client as h3;

/// Bulk downloads on long paths over HTTP/2.
const WINDOWS: h2::Windows = h2::Windows {
    stream: 8 << 20,
    connection: 8 << 20,
};

/// The sending side of a connection.
pub(super) enum Sender {
    H1(hyper::client::conn::http1::SendRequest<Body>),
    H2(h2::Connection),
    H3(h3::Connection),
    Closed,
}

impl Sender {
    pub(super) async fn new(opened: Opened) -> Result<Self> {
        match opened {
            Opened::Tcp(stream, Protocol::H2) => Sender::h2(*stream).await,
            Opened::Tcp(stream, _) => Sender::h1(*stream).await,
            Opened::Quic(connection) => Ok(Sender::H3(connection)),
        }
    }

    async fn h1(stream: TlsStream<TcpStream>) -> Result<Self> {
        let mut builder = hyper::client::conn::http1::Builder::new();
        let (sender, driver) = builder
            .max_buf_size(1 << 20)
            .handshake(TokioIo::new(stream))
            .await
            .map_err(|e| broken(&e))?;
        tokio::spawn(driver);
        Ok(Sender::H1(sender))
    }

    async fn h2(stream: TlsStream<TcpStream>) -> Result<Self> {
        let connection = h2::Connection::open(Box::new(stream), WINDOWS).await;
        Ok(Sender::H2(connection.map_err(|e| broken(&e))?))
    }

    pub(super) fn is_h1(&self) -> bool {
        matches!(self, Sender::H1(_))
    }

    pub(super) async fn send(&mut self, request: http::Request<Body>) -> Result<Response> {
        let response = match self {
            Sender::H1(sender) => sender
                .send_request(request)
                .await
                .map(from_hyper)
                .map_err(|e| broken(&e))?,
            Sender::H2(connection) => connection.send(request, |_| {}).await.map_err(|(e, _)| broken(&e))?,
            Sender::H3(connection) => connection.send(request, |_| {}).await.map_err(|e| broken(&e))?,
            Sender::Closed => return Err(Error::request("REQUEST_FAILED", "the connection is closed")),
        };
        let (head, body) = response.into_parts();
        Ok(Response {
            status: head.status.as_u16(),
            headers: head.headers,
            body,
        })
    }

    /// Why there is no `velocity/1`, as far as the server has said so on its control stream.
    pub(super) fn directive(&self) -> Option<Directive> {
        match self {
            Sender::H3(connection) => connection.directive(),
            Sender::H1(_) | Sender::H2(_) | Sender::Closed => None,
        }
    }

    pub(super) async fn close(&mut self) {
        if let Sender::H3(connection) = std::mem::replace(self, Sender::Closed) {
            connection.close().await;
        }
    }
}

fn broken(error: &dyn std::error::Error) -> Error {
    Error::request("REQUEST_FAILED", format!("the request failed: {}", chain(error)))
        .hint("the server may say more in its log")
}

/// `host`, or `host:port` where the port is not the default one.
pub(super) fn authority(options: &Options) -> String {
    let host = match options.host.contains(':') && !options.host.starts_with('[') {
        true => format!("[{}]", options.host),
        false => options.host.clone(),
    };
    if options.port == 443 {
        host
    } else {
        format!("{host}:{}", options.port)
    }
}

/// Put a request together; anything the field grammar forbids is refused here (RFC 9110 section 5.5).
pub(super) fn build(
    authority: &str,
    h1: bool,
    method: &str,
    path: &str,
    headers: &[(String, String)],
    body: Option<Bytes>,
) -> Result<http::Request<Body>> {
    let invalid = |what: &str| {
        Error::request("HEADERS_INVALID", format!("the {what} cannot be sent"))
            .hint("control characters and spaces are not allowed there")
    };
    let mut request = http::Request::new(Body::default());
    *request.method_mut() = Method::from_bytes(method.as_bytes()).map_err(|_| invalid("method"))?;
    *request.version_mut() = if h1 { Version::HTTP_11 } else { Version::HTTP_2 };
    let map = request.headers_mut();
    for (name, value) in headers {
        let name = HeaderName::from_bytes(name.as_bytes()).map_err(|_| invalid(&format!("header name {name:?}")))?;
        // Latin-1, as Python hands it over.
        let value: Vec<u8> = value
            .chars()
            .map(|c| u8::try_from(u32::from(c)))
            .collect::<Result<_, _>>()
            .map_err(|_| invalid(name.as_str()))?;
        map.append(
            &name,
            HeaderValue::from_bytes(&value).map_err(|_| invalid(&format!("value of {name}")))?,
        );
    }
    // RFC 9113 section 8.3.1, RFC 9114 section 4.3.1: what the caller says there is the authority.
    let host = match map.remove(HOST) {
        Some(host) => host,
        None => HeaderValue::from_str(authority).map_err(|_| invalid("host"))?,
    };
    let mut parts = http::uri::Parts::default();
    parts.path_and_query = Some(path.parse().map_err(|_| invalid("path"))?);
    if h1 {
        map.insert(HOST, host);
    } else {
        parts.scheme = Some(Scheme::HTTPS);
        parts.authority = Some(Authority::try_from(host.as_bytes()).map_err(|_| invalid("host"))?);
    }
    if !map.contains_key(USER_AGENT) {
        map.insert(
            USER_AGENT,
            HeaderValue::from_static(concat!("velocity/", env!("CARGO_PKG_VERSION"))),
        );
    }
    *request.uri_mut() = Uri::from_parts(parts).map_err(|_| invalid("path"))?;
    if let Some(body) = body {
        request
            .headers_mut()
            .insert(CONTENT_LENGTH, HeaderValue::from(body.len()));
        *request.body_mut() = body.into();
    }
    Ok(request)
}

fn from_hyper(response: http::Response<Incoming>) -> http::Response<Body> {
    response.map(|body| Body::stream(body.map_err(io::Error::other)))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Where a request goes, and its field Host.
    fn target(h1: bool, host: Option<&str>) -> Result<(String, Option<String>)> {
        let fields: Vec<_> = host
            .map(|host| ("host".to_owned(), host.to_owned()))
            .into_iter()
            .collect();
        let request = build("a.example:1", h1, "GET", "/x?y", &fields, None)?;
        let host = request.headers().get(HOST).and_then(|host| host.to_str().ok());
        Ok((request.uri().to_string(), host.map(str::to_owned)))
    }

    #[test]
    fn the_authority_is_what_the_caller_says() {
        let to = |uri: &str| (uri.to_owned(), None);
        assert_eq!(target(false, None).unwrap(), to("https://a.example:1/x?y"));
        assert_eq!(target(false, Some("b.example")).unwrap(), to("https://b.example/x?y"));
        for host in ["b c", "b/c", ""] {
            assert_eq!(target(false, Some(host)).unwrap_err().code, "HEADERS_INVALID", "{host}");
        }
    }

    #[test]
    fn over_http1_it_is_a_field() {
        let says = |host: &str| ("/x?y".to_owned(), Some(host.to_owned()));
        assert_eq!(target(true, None).unwrap(), says("a.example:1"));
        assert_eq!(target(true, Some("b.example")).unwrap(), says("b.example"));
    }
}
