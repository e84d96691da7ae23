//! An answer that is always the same, with what a protocol makes of its head made once.

use std::sync::OnceLock;

use bytes::{Bytes, BytesMut};
use http::HeaderMap;
use velocity_h3::qpack;

/// Head and content of a 200 answer.
pub struct Prepared {
    head: HeaderMap,
    content: Bytes,
    lines: OnceLock<Bytes>,
}

impl Prepared {
    pub fn new(head: HeaderMap, content: Bytes) -> Self {
        Self {
            head,
            content,
            lines: OnceLock::new(),
        }
    }

    pub fn head(&self) -> &HeaderMap {
        &self.head
    }

    pub fn content(&self) -> &Bytes {
        &self.content
    }

    /// The status and the head as QPACK lines that need no dynamic table.
    pub fn lines(&self) -> &Bytes {
        self.lines
            .get_or_init(|| encode([(":status", &b"200"[..])].into_iter().chain(fields(&self.head))))
    }
}

fn fields(head: &HeaderMap) -> impl Iterator<Item = (&str, &[u8])> {
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
