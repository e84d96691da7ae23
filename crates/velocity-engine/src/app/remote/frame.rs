//! Frames between the data plane and a worker: kind, number of the request, length, payload.
//!
//! Numbers are little-endian, for both ends are the same program on the same machine. What a worker says is checked all
//! the same: it runs the code of others.

use std::io;

use bytes::{Buf, BufMut, Bytes, BytesMut, TryGetError};
use http::{HeaderMap, HeaderName, HeaderValue};

/// Kind, number and length, in bytes.
const HEAD: usize = 9;
/// The longest payload, in bytes. Only a message of a WebSocket comes near.
const MAX_PAYLOAD: usize = 256 << 20;
/// A payload as short as this, in bytes, is copied, so that it does not keep all that came with it.
const COPY: usize = 4 * 1024;

macro_rules! kinds {
    ($($(#[$about:meta])* $name:ident,)*) => {
        #[derive(Clone, Copy, Debug, PartialEq, Eq)]
        #[repr(u8)]
        pub enum Kind { $($(#[$about])* $name,)* }

        impl Kind {
            fn of(number: u8) -> Option<Self> {
                [$(Kind::$name),*].get(usize::from(number)).copied()
            }
        }
    };
}

kinds! {
    /// To a worker: what is known of a connection, before the first request that came by it.
    Peer,
    /// It is gone.
    Forget,
    Request,
    /// A part of the request's body.
    Body,
    /// The last one.
    BodyEnd,
    /// Nobody waits for the answer any more.
    Gone,
    /// The answer takes too long.
    Cancel,
    /// No further request comes by this link.
    Last,
    /// Both ways: so many bytes of the stream were used up.
    Credit,
    /// From a worker: what is said before the answer (103).
    Hint,
    /// The whole answer.
    Whole,
    /// One whose body is a file.
    File,
    /// The head of one whose body comes in parts.
    Start,
    Data,
    /// The end, with trailers if there are any.
    End,
    /// The end came too early.
    Fail,
    /// The WebSocket is open.
    Accept,
    /// Both ways: what is said in it.
    Text,
    Binary,
    Close,
}

pub struct Frame {
    pub kind: Kind,
    pub id: u32,
    pub payload: Bytes,
}

/// Append a frame whose payload `fill` writes.
pub fn put(out: &mut BytesMut, kind: Kind, id: u32, fill: impl FnOnce(&mut BytesMut)) {
    let at = out.len();
    out.put_u8(kind as u8);
    out.put_u32_le(id);
    out.put_u32_le(0);
    fill(out);
    let length = (out.len() - at - HEAD) as u32;
    out[at + 5..at + HEAD].copy_from_slice(&length.to_le_bytes());
}

/// Take the next frame, if all of it is there.
///
/// # Errors
///
/// What is there is no frame.
pub fn next(input: &mut BytesMut) -> io::Result<Option<Frame>> {
    let Some(&[kind, a, b, c, d, e, f, g, h]) = input.first_chunk::<HEAD>() else {
        return Ok(None);
    };
    let kind = Kind::of(kind).ok_or_else(malformed)?;
    let length = u32::from_le_bytes([e, f, g, h]) as usize;
    if length > MAX_PAYLOAD {
        return Err(malformed());
    }
    if input.len() < HEAD + length {
        return Ok(None);
    }
    input.advance(HEAD);
    let payload = input.split_to(length);
    Ok(Some(Frame {
        kind,
        id: u32::from_le_bytes([a, b, c, d]),
        payload: match length {
            0..=COPY => Bytes::copy_from_slice(&payload),
            _ => payload.freeze(),
        },
    }))
}

pub fn malformed() -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, "a frame cannot be read")
}

/// Some bytes and how many there are.
pub fn put_bytes(out: &mut BytesMut, value: &[u8]) {
    out.put_u32_le(value.len() as u32);
    out.put_slice(value);
}

pub fn put_fields(out: &mut BytesMut, fields: &HeaderMap) {
    out.put_u16_le(fields.len() as u16);
    for (name, value) in fields {
        put_bytes(out, name.as_str().as_bytes());
        put_bytes(out, value.as_bytes());
    }
}

/// What is left of a payload.
pub struct Reader(pub Bytes);

impl Reader {
    pub fn u8(&mut self) -> io::Result<u8> {
        self.0.try_get_u8().map_err(cut)
    }

    pub fn u16(&mut self) -> io::Result<u16> {
        self.0.try_get_u16_le().map_err(cut)
    }

    pub fn u32(&mut self) -> io::Result<u32> {
        self.0.try_get_u32_le().map_err(cut)
    }

    pub fn u64(&mut self) -> io::Result<u64> {
        self.0.try_get_u64_le().map_err(cut)
    }

    pub fn bytes(&mut self) -> io::Result<Bytes> {
        let length = self.u32()? as usize;
        match length <= self.0.len() {
            true => Ok(self.0.split_to(length)),
            false => Err(malformed()),
        }
    }

    pub fn text(&mut self) -> io::Result<String> {
        String::from_utf8(self.bytes()?.into()).map_err(|_| malformed())
    }

    pub fn fields(&mut self) -> io::Result<HeaderMap> {
        let count = self.u16()?;
        let mut fields = HeaderMap::with_capacity(usize::from(count).min(64));
        for _ in 0..count {
            let name = HeaderName::from_bytes(&self.bytes()?).map_err(|_| malformed())?;
            let value = HeaderValue::from_maybe_shared(self.bytes()?).map_err(|_| malformed())?;
            fields.try_append(name, value).map_err(|_| malformed())?;
        }
        Ok(fields)
    }

    /// Nothing may be left.
    pub fn end(self) -> io::Result<()> {
        match self.0.is_empty() {
            true => Ok(()),
            false => Err(malformed()),
        }
    }
}

fn cut(_: TryGetError) -> io::Error {
    malformed()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_put_is_taken_byte_by_byte() {
        let mut out = BytesMut::new();
        put(&mut out, Kind::Request, 7, |out| put_bytes(out, b"abc"));
        put(&mut out, Kind::Last, u32::MAX, |_| {});
        let mut input = BytesMut::new();
        let mut found = Vec::new();
        for byte in out {
            input.put_u8(byte);
            found.extend(next(&mut input).unwrap());
        }
        assert_eq!(found.len(), 2);
        assert_eq!((found[0].kind, found[0].id), (Kind::Request, 7));
        assert_eq!(Reader(found[0].payload.clone()).bytes().unwrap(), "abc");
        assert_eq!((found[1].kind, found[1].id), (Kind::Last, u32::MAX));
        assert!(found[1].payload.is_empty());
    }

    #[test]
    fn what_is_no_frame() {
        let input = |bytes: &[u8]| next(&mut BytesMut::from(bytes));
        assert!(input(&[0; 8]).unwrap().is_none());
        assert!(input(&[200, 0, 0, 0, 0, 0, 0, 0, 0]).is_err(), "no kind");
        assert!(input(&[2, 0, 0, 0, 0, 255, 255, 255, 255]).is_err(), "too long");
    }

    #[test]
    fn values_that_are_cut_short() {
        let mut out = BytesMut::new();
        let mut fields = HeaderMap::new();
        fields.append("a", HeaderValue::from_static("1"));
        fields.append("a", HeaderValue::from_static("2"));
        put_fields(&mut out, &fields);
        let whole = out.freeze();
        assert_eq!(Reader(whole.clone()).fields().unwrap(), fields);
        for length in 0..whole.len() {
            assert!(Reader(whole.slice(..length)).fields().is_err(), "{length}");
        }
        assert!(Reader(Bytes::from_static(&[9, 0, 0, 0, 1])).bytes().is_err());
    }
}
