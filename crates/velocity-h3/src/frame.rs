//! Frames (RFC 9114 section 7): kinds, headers, and a reader for headers that come in pieces.

use bytes::{Buf, Bytes, BytesMut};

use crate::varint;

/// Frame types (RFC 9114 section 11.2.1, RFC 9218 section 7.2).
pub mod kind {
    /// Content.
    pub const DATA: u64 = 0x00;
    /// A field section.
    pub const HEADERS: u64 = 0x01;
    /// A promised push is not wanted.
    pub const CANCEL_PUSH: u64 = 0x03;
    /// What a side permits.
    pub const SETTINGS: u64 = 0x04;
    /// A promise to push.
    pub const PUSH_PROMISE: u64 = 0x05;
    /// The way down.
    pub const GOAWAY: u64 = 0x07;
    /// How many pushes are permitted.
    pub const MAX_PUSH_ID: u64 = 0x0d;
    /// The priority of a request.
    pub const PRIORITY_UPDATE: u64 = 0xf0700;
    /// The priority of a push.
    pub const PRIORITY_UPDATE_PUSH: u64 = 0xf0701;

    /// Types of HTTP/2 that have no meaning here and must not occur (RFC 9114 section 7.2.8).
    pub fn is_forbidden(kind: u64) -> bool {
        matches!(kind, 0x02 | 0x06 | 0x08 | 0x09)
    }
}

/// Append the header of a frame.
pub fn header(kind: u64, len: u64, out: &mut BytesMut) {
    varint::encode(kind, out);
    varint::encode(len, out);
}

/// Puts two integers together from pieces of any size: type and length of a frame.
#[derive(Clone, Copy, Debug, Default)]
pub struct HeaderReader {
    bytes: [u8; 16],
    filled: u8,
}

impl HeaderReader {
    /// Take what belongs to a header from the front of `data`.
    pub fn read(&mut self, data: &mut Bytes) -> Option<(u64, u64)> {
        if self.filled == 0
            && let Some((kind, first)) = varint::decode(data)
            && let Some((len, second)) = data.get(first..).and_then(varint::decode)
        {
            data.advance(first + second);
            return Some((kind, len));
        }
        while let Some(&byte) = data.first() {
            *self.bytes.get_mut(usize::from(self.filled))? = byte;
            self.filled += 1;
            data.advance(1);
            let known = self.bytes.get(..usize::from(self.filled)).unwrap_or_default();
            if let Some((kind, first)) = varint::decode(known)
                && let Some((len, _)) = known.get(first..).and_then(varint::decode)
            {
                self.filled = 0;
                return Some((kind, len));
            }
        }
        None
    }

    /// Whether a header has begun and not ended.
    pub fn is_partial(&self) -> bool {
        self.filled > 0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn headers_cut_anywhere() {
        let mut whole = BytesMut::new();
        header(0xf0700, 70_000, &mut whole);
        let whole = whole.freeze();
        for cut in 0..whole.len() {
            let mut reader = HeaderReader::default();
            let mut first = whole.slice(..cut);
            assert_eq!(reader.read(&mut first), None);
            assert_eq!(reader.is_partial(), cut > 0);
            let mut second = BytesMut::from(&whole[cut..]);
            second.extend_from_slice(b"rest");
            let mut second = second.freeze();
            assert_eq!(reader.read(&mut second), Some((0xf0700, 70_000)));
            assert_eq!(second, "rest");
            assert!(!reader.is_partial());
        }
    }
}
