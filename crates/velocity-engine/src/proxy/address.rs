//! Where an upstream is, and what is spoken there.

use std::path::PathBuf;

use http::HeaderValue;
use http::uri::Authority;

use crate::error::{Error, Result};

/// What an upstream is spoken to in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Scheme {
    /// HTTP/1.1 in clear.
    Http,
    /// HTTP/2 in clear, with prior knowledge (RFC 9113 section 3.3).
    H2c,
    /// HTTP/2 or HTTP/1.1 over TLS, as the upstream prefers.
    Https,
    /// HTTP/3.
    H3,
    /// `velocity/1`, with its hybrid verification.
    Velocity,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Place {
    /// Name or address without brackets, and port.
    Host(String, u16),
    Unix(PathBuf),
}

#[derive(Clone, Debug)]
pub struct Address {
    pub scheme: Scheme,
    pub place: Place,
    /// What it is asked for unless the client's is preserved: host, and port where it is not the default one.
    pub authority: Authority,
    /// The same as Host says it.
    pub host: HeaderValue,
}

impl Address {
    /// Read `http://127.0.0.1:3000`, `unix:/run/app.sock` and the like.
    ///
    /// # Errors
    ///
    /// `UPSTREAM_INVALID`
    pub fn parse(text: &str) -> Result<Self> {
        let invalid = || {
            Error::config("UPSTREAM_INVALID", format!("{text:?} is no upstream"))
                .hint("write http://HOST:PORT, https://HOST:PORT, h2c://, h3:// or velocity://, or unix:/PATH")
        };
        if let Some(path) = text.strip_prefix("unix:").filter(|path| path.starts_with('/')) {
            return Ok(Self {
                scheme: Scheme::Http,
                place: Place::Unix(path.into()),
                authority: Authority::from_static("localhost"),
                host: HeaderValue::from_static("localhost"),
            });
        }
        let (scheme, rest) = text.split_once("://").ok_or_else(invalid)?;
        let (scheme, default) = match scheme {
            "http" => (Scheme::Http, 80),
            "h2c" => (Scheme::H2c, 80),
            "https" => (Scheme::Https, 443),
            "h3" => (Scheme::H3, 443),
            "velocity" => (Scheme::Velocity, 443),
            _ => return Err(invalid()),
        };
        let authority: Authority = rest.parse().map_err(|_| invalid())?;
        if authority.as_str().contains('@') || authority.host().is_empty() {
            return Err(invalid());
        }
        let host = authority.host().trim_start_matches('[').trim_end_matches(']');
        let port = match authority.as_str().strip_prefix(authority.host()) {
            Some("") => default,
            Some(port) => port.trim_start_matches(':').parse().map_err(|_| invalid())?,
            None => return Err(invalid()),
        };
        Ok(Self {
            scheme,
            place: Place::Host(host.to_owned(), port),
            host: authority.as_str().parse().map_err(|_| invalid())?,
            authority,
        })
    }
}

/// Scheme and name of `http://_http._tcp.example.com`: a service that DNS knows (RFC 2782).
pub fn service(url: &str) -> Option<(&str, &str)> {
    let (scheme, name) = url.split_once("://")?;
    (name.starts_with('_') && !name.contains(':')).then_some((scheme, name))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn services() {
        assert_eq!(
            service("https://_app._tcp.example.com"),
            Some(("https", "_app._tcp.example.com"))
        );
        for other in [
            "http://app.example.com",
            "http://_app.example.com:80",
            "unix:/_app",
            "_app._tcp.example.com",
        ] {
            assert_eq!(service(other), None, "{other}");
        }
    }

    #[test]
    fn addresses() {
        let read = |text: &str| {
            let address = Address::parse(text).ok()?;
            let place = match address.place {
                Place::Host(host, port) => format!("{host} {port}"),
                Place::Unix(path) => path.display().to_string(),
            };
            Some((address.scheme, place, address.authority.to_string()))
        };
        let known = |scheme, place: &str, authority: &str| Some((scheme, place.to_owned(), authority.to_owned()));
        assert_eq!(
            read("http://127.0.0.1:3000"),
            known(Scheme::Http, "127.0.0.1 3000", "127.0.0.1:3000")
        );
        assert_eq!(
            read("https://app.example"),
            known(Scheme::Https, "app.example 443", "app.example")
        );
        assert_eq!(
            read("h2c://[::1]:50051"),
            known(Scheme::H2c, "::1 50051", "[::1]:50051")
        );
        assert_eq!(
            read("unix:/run/app.sock"),
            known(Scheme::Http, "/run/app.sock", "localhost")
        );
        for wrong in [
            "",
            "127.0.0.1:80",
            "ftp://a",
            "http://",
            "http://a:b",
            "http://u@h",
            "unix:app.sock",
            "http://a:99999",
        ] {
            assert!(read(wrong).is_none(), "{wrong}");
        }
    }
}
