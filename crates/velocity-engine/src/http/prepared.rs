//! An answer that is always the same, with what a protocol makes of its head made once.

use std::sync::{Arc, OnceLock};

use bytes::{Bytes, BytesMut};
use http::{HeaderMap, StatusCode};
use velocity_h3::qpack;

use super::{Body, Response};

/// Status, head and content of an answer.
pub struct Prepared {
    status: StatusCode,
    head: HeaderMap,
    content: Bytes,
    lines: OnceLock<Bytes>,
    dressed: OnceLock<Arc<Prepared>>,
}

impl Prepared {
    pub fn new(head: HeaderMap, content: Bytes) -> Self {
        Self::with_status(StatusCode::OK, head, content)
    }

    pub fn with_status(status: StatusCode, head: HeaderMap, content: Bytes) -> Self {
        Self {
            status,
            head,
            content,
            lines: OnceLock::new(),
            dressed: OnceLock::new(),
        }
    }

    /// The same with another head, which is made once: an answer belongs to one route, and its filters never change.
    pub fn dressed(&self, dress: impl FnOnce(&mut HeaderMap)) -> Arc<Prepared> {
        let make = || {
            let mut head = self.head.clone();
            dress(&mut head);
            Arc::new(Self::with_status(self.status, head, self.content.clone()))
        };
        self.dressed.get_or_init(make).clone()
    }

    /// As an answer like any other.
    pub fn unpack(&self) -> Response {
        let mut response = Response::new(Body::from(self.content.clone()));
        *response.status_mut() = self.status;
        *response.headers_mut() = self.head.clone();
        response
    }

    pub fn status(&self) -> StatusCode {
        self.status
    }

    pub fn head(&self) -> &HeaderMap {
        &self.head
    }

    pub fn content(&self) -> &Bytes {
        &self.content
    }

    /// The status and the head as QPACK lines that need no dynamic table.
    pub fn lines(&self) -> &Bytes {
        self.lines.get_or_init(|| {
            encode(
                [(":status", self.status.as_str().as_bytes())]
                    .into_iter()
                    .chain(fields(&self.head)),
            )
        })
    }
}

/// Fields as [`encode`] takes them.
pub fn fields(head: &HeaderMap) -> impl Iterator<Item = (&str, &[u8])> {
    head.iter().map(|(name, value)| (name.as_str(), value.as_bytes()))
}

/// Fields as QPACK lines that need no dynamic table.
pub fn encode<'a>(fields: impl Iterator<Item = (&'a str, &'a [u8])>) -> Bytes {
    let mut lines = BytesMut::new();
    let line = |(name, value): (&'a str, &'a [u8])| qpack::Line {
        name: name.as_bytes(),
        value,
        sensitive: false,
    };
    qpack::encode_lines(fields.map(line), &mut lines);
    lines.freeze()
}
