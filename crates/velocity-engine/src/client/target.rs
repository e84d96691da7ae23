//! Where a URL leads (RFC 9110 section 4.2).

use http::Uri;
use http::uri::{Authority, PathAndQuery};

use crate::error::{Error, Result};

/// Scheme, host and port (RFC 6454 section 4).
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Origin {
    /// `https`, not `http`.
    pub secure: bool,
    /// Lower case, without brackets.
    pub host: Box<str>,
    pub port: u16,
}

impl Origin {
    pub fn scheme(&self) -> &'static str {
        if self.secure { "https" } else { "http" }
    }

    /// `host`, or `host:port` where the port is not that of the scheme.
    pub fn authority(&self) -> String {
        let host = match self.host.contains(':') {
            true => format!("[{}]", self.host),
            false => self.host.to_string(),
        };
        match (self.secure, self.port) {
            (true, 443) | (false, 80) => host,
            (_, port) => format!("{host}:{port}"),
        }
    }
}

/// # Errors
///
/// `URL_INVALID`.
pub fn parse(url: &str) -> Result<(Origin, PathAndQuery)> {
    let invalid = |why: &str| {
        Error::config("URL_INVALID", format!("cannot use {url:?}: {why}")).hint("write https://HOST[:PORT]/PATH")
    };
    let uri: Uri = url.parse().map_err(|error| invalid(&format!("{error}")))?;
    let secure = match uri.scheme_str() {
        Some("https") => true,
        Some("http") => false,
        Some(_) => return Err(invalid("only https and http are spoken here")),
        None => return Err(invalid("there is no scheme")),
    };
    let Some(authority) = uri.authority() else {
        return Err(invalid("there is no host"));
    };
    if authority.as_str().contains('@') {
        return Err(invalid("user names go into a field"));
    }
    let host = authority.host().trim_start_matches('[').trim_end_matches(']');
    if host.is_empty() {
        return Err(invalid("there is no host"));
    }
    let port = port(authority, if secure { 443 } else { 80 }).ok_or_else(|| invalid("the port is none"))?;
    let origin = Origin {
        secure,
        host: host.to_ascii_lowercase().into(),
        port,
    };
    let path = uri.path_and_query().cloned();
    Ok((origin, path.unwrap_or_else(|| PathAndQuery::from_static("/"))))
}

/// The port of an authority, or the one of its scheme; `None` where something else stands in its place.
pub fn port(authority: &Authority, default: u16) -> Option<u16> {
    let text = authority.as_str();
    let place = text.rsplit_once('@').map_or(text, |(_, place)| place);
    match authority.port_u16() {
        Some(port) => Some(port),
        None => (place.trim_end_matches(':') == authority.host()).then_some(default),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_url_is_taken_apart() {
        let (origin, path) = parse("https://Example.com/a?b#c").unwrap();
        assert_eq!((origin.secure, &*origin.host, origin.port), (true, "example.com", 443));
        assert_eq!(path, "/a?b");
        let (origin, path) = parse("http://[::1]:8080").unwrap();
        assert_eq!((origin.secure, &*origin.host, origin.port), (false, "::1", 8080));
        assert_eq!(path, "/");
        assert_eq!(origin.authority(), "[::1]:8080");
        assert_eq!(parse("https://a:443/").unwrap().0.authority(), "a");
    }

    #[test]
    fn what_leads_nowhere_is_refused() {
        for url in [
            "/a",
            "ftp://a/",
            "https://",
            "https://u:p@a/",
            "https://a:99999/",
            "https://a b/",
            "a.example",
        ] {
            assert_eq!(parse(url).unwrap_err().code, "URL_INVALID", "{url}");
        }
    }
}
