//! Frame headers (RFC 9114, section 7.1) and the types of frames (section 7.2).
//!
//! Only headers are here. What follows one is a slice of what came from the transport, or is collected by the stream
//! that knows how much it is willing to hold.

use bytes::{Buf, BufMut, Bytes, BytesMut};

use crate::varint;

pub(crate) const DATA: u64 = 0x0;
pub(crate) const HEADERS: u64 = 0x1;
pub(crate) const CANCEL_PUSH: u64 = 0x3;
pub(crate) const SETTINGS: u64 = 0x4;
pub(crate) const PUSH_PROMISE: u64 = 0x5;
pub(crate) const GOAWAY: u64 = 0x7;
pub(crate) const MAX_PUSH_ID: u64 = 0xd;
/// RFC 9218, section 7.2: the priority of a request.
pub(crate) const PRIORITY_UPDATE: u64 = 0xf_0700;
/// RFC 9218, section 7.2: the priority of a push.
pub(crate) const PRIORITY_UPDATE_PUSH: u64 = 0xf_0701;

/// Frames of HTTP/2 that have no counterpart: PRIORITY, PING, WINDOW_UPDATE, CONTINUATION (section 7.2.8).
pub(crate) const fn is_reserved(kind: u64) -> bool {
    matches!(kind, 0x2 | 0x6 | 0x8 | 0x9)
}

/// Identifiers without meaning that keep the peer used to unknown ones (sections 7.2.4.1 and 7.2.8).
pub(crate) const fn grease(n: u64) -> u64 {
    0x1f * (n & 0xffff_ffff) + 0x21
}

/// Type and length. Capsules begin with the same two numbers (RFC 9297, section 3.2).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Header {
    pub kind: u64,
    pub len: u64,
}

impl Header {
    pub fn decode(input: &[u8]) -> Option<(Self, usize)> {
        let (kind, first) = varint::decode(input)?;
        let (len, second) = varint::decode(input.get(first..)?)?;
        Some((Self { kind, len }, first + second))
    }

    pub fn encode(self, out: &mut BytesMut) {
        out.reserve(16);
        varint::encode(self.kind, out);
        varint::encode(self.len, out);
    }
}

/// Reads a header that may be cut anywhere, and keeps what there is of it: at most fifteen bytes.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct HeaderReader {
    bytes: [u8; 16],
    len: u8,
}

impl HeaderReader {
    /// The next header, taken off the front of `input`; `None` when `input` ended first.
    pub fn read(&mut self, input: &mut Bytes) -> Option<Header> {
        if self.len == 0
            && let Some((header, len)) = Header::decode(input)
        {
            input.advance(len);
            return Some(header);
        }
        while !input.is_empty() {
            // Two whole numbers fill sixteen bytes and are always a header: there is room for every byte.
            *self.bytes.get_mut(usize::from(self.len))? = input.get_u8();
            self.len += 1;
            if let Some((header, _)) = Header::decode(&self.bytes[..usize::from(self.len)]) {
                self.len = 0;
                return Some(header);
            }
        }
        None
    }

    /// Whether a header has begun and is not complete.
    pub fn is_partial(&self) -> bool {
        self.len != 0
    }
}

/// A payload of known length: a slice of `input` when it is whole, else collected in `held`. `None` while some is
/// missing. The caller has checked `len` against what it is willing to hold.
pub(crate) fn payload(held: &mut BytesMut, len: usize, input: &mut Bytes) -> Option<Bytes> {
    if held.is_empty() && input.len() >= len {
        return Some(input.split_to(len));
    }
    // Grows with what has arrived, not with what was announced.
    let take = len.saturating_sub(held.len()).min(input.len());
    held.extend_from_slice(&input.split_to(take));
    (held.len() >= len).then(|| std::mem::take(held).freeze())
}

/// Drop what of `left` there is in `input`. Whether that was all of it.
pub(crate) fn skip(left: &mut u64, input: &mut Bytes) -> bool {
    let take = usize::try_from(*left).unwrap_or(usize::MAX).min(input.len());
    input.advance(take);
    *left -= take as u64;
    *left == 0
}

/// Write a HEADERS frame around a section that `write` appends. Its length is known only then, and has two bytes kept
/// for it: more than a short section needs, less than a section beyond 16 KiB does, which is moved.
pub(crate) fn headers(out: &mut BytesMut, write: impl FnOnce(&mut BytesMut)) {
    let start = out.len();
    out.put_slice(&[HEADERS as u8, 0, 0]);
    let section = out.len();
    write(out);
    let len = out.len().saturating_sub(section);
    if len < 0x4000 {
        out[start + 1..section].copy_from_slice(&(len as u16 | 0x4000).to_be_bytes());
    } else {
        out.put_bytes(0, 6);
        out.copy_within(section..section + len, section + 6);
        let len = (len as u64).min(varint::MAX) | 0xc000_0000_0000_0000;
        out[start + 1..section + 6].copy_from_slice(&len.to_be_bytes());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_header_may_be_cut_anywhere() {
        for header in [
            Header { kind: DATA, len: 5 },
            Header {
                kind: PRIORITY_UPDATE,
                len: 70_000,
            },
            Header {
                kind: varint::MAX,
                len: varint::MAX,
            },
        ] {
            let mut wire = BytesMut::new();
            header.encode(&mut wire);
            let len = wire.len();
            wire.extend_from_slice(b"payload");
            let wire = wire.freeze();
            for cut in 0..=len {
                let mut reader = HeaderReader::default();
                let (mut first, mut second) = (wire.slice(..cut), wire.slice(cut..));
                let read = reader.read(&mut first).or_else(|| {
                    assert_eq!(reader.is_partial(), cut > 0);
                    reader.read(&mut second)
                });
                assert_eq!(read, Some(header));
                assert!(!reader.is_partial() && first.is_empty() && second == b"payload"[..]);
            }
        }
    }

    #[test]
    fn a_section_of_any_size_gets_its_header() {
        for len in [0, 1, 0x3fff, 0x4000, 70_000] {
            let mut out = BytesMut::from(&b"before"[..]);
            let section: Vec<u8> = (0..len).map(|n: usize| n as u8).collect();
            headers(&mut out, |out| out.extend_from_slice(&section));
            let (header, at) = Header::decode(&out[6..]).unwrap();
            assert_eq!((header.kind, header.len as usize), (HEADERS, len));
            assert_eq!((&out[..6], &out[6 + at..]), (&b"before"[..], &section[..]));
        }
    }

    #[test]
    fn a_whole_payload_is_not_copied() {
        let chunk = Bytes::from_static(b"abcdef");
        let mut input = chunk.clone();
        let taken = payload(&mut BytesMut::new(), 4, &mut input).unwrap();
        assert_eq!((taken.as_ptr(), &input[..]), (chunk.as_ptr(), &b"ef"[..]));

        let mut held = BytesMut::new();
        assert_eq!(payload(&mut held, 8, &mut chunk.clone()), None);
        let mut input = chunk.clone();
        assert_eq!(payload(&mut held, 8, &mut input).unwrap(), b"abcdefab"[..]);
        assert_eq!((held.len(), &input[..]), (0, &b"cdef"[..]));
    }
}
