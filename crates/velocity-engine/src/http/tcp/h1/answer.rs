//! The head of an answer as text, and how its body ends (RFC 9112 sections 4 and 6).

use bytes::BytesMut;
use http::header::{CONNECTION, CONTENT_LENGTH, TRANSFER_ENCODING, UPGRADE};
use http::{HeaderName, Method, StatusCode, Version, response};

use super::head::Head;
use crate::http::Body;
use crate::http::h1::fields;
use crate::http::h1::outgoing::{Ends, Outgoing};

/// Room for the head of most answers, in bytes.
const ROOM: usize = 512;

const KEEP_ALIVE: HeaderName = HeaderName::from_static("keep-alive");

/// What of a request matters for the form of its answer.
pub struct Asked {
    pub version: Version,
    /// Whether an answer has no body whatever it says (RFC 9110 section 9.3.2).
    pub head_only: bool,
    /// Whether the connection is to go on.
    pub keep: bool,
    pub trailers: bool,
}

impl Asked {
    pub fn of(head: &Head) -> Self {
        Self {
            version: head.parts.version,
            head_only: head.parts.method == Method::HEAD,
            keep: head.keep,
            trailers: head.trailers,
        }
    }

    /// What is known of a request that nobody has read.
    pub fn unread() -> Self {
        Self {
            version: Version::HTTP_11,
            head_only: false,
            keep: false,
            trailers: false,
        }
    }

    /// An answer as it goes out. Afterwards `keep` is what its head says.
    pub fn answer(&mut self, head: &response::Parts, body: Body) -> Outgoing {
        let mut text = BytesMut::with_capacity(ROOM);
        text.extend_from_slice(b"HTTP/1.1 ");
        text.extend_from_slice(head.status.as_str().as_bytes());
        text.extend_from_slice(b" ");
        text.extend_from_slice(head.status.canonical_reason().unwrap_or_default().as_bytes());
        text.extend_from_slice(b"\r\n");
        let (mut declared, mut upgrade) = (None, false);
        for (name, value) in &head.headers {
            if *name == CONTENT_LENGTH {
                declared = value.to_str().ok().and_then(|value| value.parse().ok());
            } else if *name == CONNECTION {
                self.keep &= !fields::has(value.as_bytes(), b"close");
            } else if *name != TRANSFER_ENCODING && *name != KEEP_ALIVE {
                upgrade |= *name == UPGRADE;
                fields::write(name.as_str(), value.as_bytes(), &mut text);
            }
        }
        let (ends, length) = self.ends(head.status, declared, &body);
        if let Some(length) = length {
            fields::write_length(length, &mut text);
        }
        if matches!(ends, Ends::Chunked { .. }) {
            fields::write("transfer-encoding", b"chunked", &mut text);
        }
        self.keep &= ends != Ends::Close;
        let switches = head.status == StatusCode::SWITCHING_PROTOCOLS;
        // What is nominated is meant for the next on the way only (RFC 9110 section 7.6.1).
        let option: &[u8] = match (self.keep || switches, upgrade) {
            (true, true) => b"upgrade",
            (false, true) => b"upgrade, close",
            (false, false) => b"close",
            (true, false) if self.version == Version::HTTP_10 => b"keep-alive",
            (true, false) => b"",
        };
        if !option.is_empty() {
            fields::write("connection", option, &mut text);
        }
        text.extend_from_slice(b"\r\n");
        match ends {
            Ends::Now => Outgoing::new(text, Body::Empty, ends),
            _ => Outgoing::new(text, body, ends),
        }
    }

    /// How the body ends, and the length that the head tells.
    fn ends(&self, status: StatusCode, declared: Option<u64>, body: &Body) -> (Ends, Option<u64>) {
        if status.is_informational() || status == StatusCode::NO_CONTENT {
            // RFC 9110 section 8.6: there is nothing to tell the length of.
            return (Ends::Now, None);
        }
        if self.head_only || status == StatusCode::NOT_MODIFIED {
            return (Ends::Now, declared);
        }
        match declared.or(body.len()) {
            Some(0) => (Ends::Now, Some(0)),
            Some(length) => (Ends::Length(length), Some(length)),
            None if self.version == Version::HTTP_10 => (Ends::Close, None),
            None => (
                Ends::Chunked {
                    trailers: self.trailers,
                },
                None,
            ),
        }
    }
}
