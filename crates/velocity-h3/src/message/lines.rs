//! What we send, as field lines for the QPACK encoder (RFC 9114, sections 4.2 and 4.3).
//!
//! An application may hand over a message made for HTTP/1: what is about a connection there is left out.

use http::header::{HOST, HeaderMap, HeaderName, HeaderValue};
use http::{Method, Request, StatusCode};

use super::Malformed;
use crate::qpack::Line;

/// The lines of one section: pseudo-header fields, then fields. Can be walked more than once.
#[derive(Clone)]
pub(crate) struct Lines<'a> {
    /// At most five; the rest are `None`.
    pseudo: [Option<Line<'a>>; 5],
    fields: &'a HeaderMap,
    /// Whether `host` would say again what `:authority` says.
    omit_host: bool,
}

impl<'a> Lines<'a> {
    pub fn iter(&self) -> impl Iterator<Item = Line<'a>> + use<'a> {
        let omit_host = self.omit_host;
        let fields = self
            .fields
            .iter()
            .filter(move |(name, value)| is_sent(name, value, omit_host));
        self.pseudo
            .into_iter()
            .flatten()
            .chain(fields.map(|(name, value)| Line {
                name: name.as_str().as_bytes(),
                value: value.as_bytes(),
                sensitive: value.is_sensitive(),
            }))
    }

    /// The size that SETTINGS_MAX_FIELD_SECTION_SIZE limits (section 4.2.2).
    pub fn size(&self) -> u64 {
        self.iter()
            .map(|line| (line.name.len() + line.value.len() + 32) as u64)
            .sum()
    }
}

fn is_sent(name: &HeaderName, value: &HeaderValue, omit_host: bool) -> bool {
    match name.as_str() {
        "connection" | "keep-alive" | "proxy-connection" | "transfer-encoding" | "upgrade" => false,
        "te" => value.as_bytes().eq_ignore_ascii_case(b"trailers"),
        "host" => !omit_host,
        _ => true,
    }
}

fn line<'a>(name: &'static str, value: &'a str) -> Option<Line<'a>> {
    Some(Line {
        name: name.as_bytes(),
        value: value.as_bytes(),
        sensitive: false,
    })
}

/// The header section of a request. `protocol` makes it an extended CONNECT.
pub(crate) fn request_lines<'a>(head: &'a Request<()>, protocol: Option<&'a str>) -> Result<Lines<'a>, Malformed> {
    let (uri, method) = (head.uri(), head.method());
    let authority = uri.authority().map(http::uri::Authority::as_str);
    let mut pseudo = [line(":method", method.as_str()), None, None, None, None];
    pseudo[1] = authority.and_then(|authority| line(":authority", authority));
    match (*method == Method::CONNECT, protocol) {
        (true, None) if authority.is_none() => return Err(Malformed("CONNECT to no authority")),
        (true, None) => {}
        (false, Some(_)) => return Err(Malformed("a protocol without CONNECT")),
        (_, protocol) => {
            if authority.is_none() && !head.headers().contains_key(HOST) {
                return Err(Malformed("a request to no authority"));
            }
            pseudo[2] = line(
                ":scheme",
                uri.scheme_str().ok_or(Malformed("a request without a scheme"))?,
            );
            let path = uri.path_and_query().map_or("", http::uri::PathAndQuery::as_str);
            pseudo[3] = line(":path", if path.is_empty() { "/" } else { path });
            pseudo[4] = protocol.and_then(|protocol| line(":protocol", protocol));
        }
    }
    Ok(Lines {
        pseudo,
        fields: head.headers(),
        omit_host: authority.is_some(),
    })
}

/// The header section of a response.
pub(crate) fn response_lines<'a>(status: &'a StatusCode, fields: &'a HeaderMap) -> Lines<'a> {
    let pseudo = [line(":status", status.as_str()), None, None, None, None];
    Lines {
        pseudo,
        fields,
        omit_host: false,
    }
}

/// A trailer section.
pub(crate) fn trailer_lines(fields: &HeaderMap) -> Lines<'_> {
    Lines {
        pseudo: [None; 5],
        fields,
        omit_host: false,
    }
}
