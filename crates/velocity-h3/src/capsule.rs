//! Capsules (RFC 9297, section 3.2): type, length, value, on the data stream of an extended CONNECT request.
//!
//! As sans-IO as the rest: bytes of the data stream in, capsules out, whatever way the bytes were cut. A value is held
//! only up to a limit; capsules of types nobody asked for are passed over without being held at all.

use bytes::{Bytes, BytesMut};

use crate::error::Code;
use crate::frame::{Header, HeaderReader, payload, skip};

/// The capsule that carries an HTTP datagram (RFC 9297, section 3.5).
pub const DATAGRAM: u64 = 0x00;

/// One capsule.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Capsule {
    /// Its type.
    pub kind: u64,
    /// Its value.
    pub value: Bytes,
}

/// What is wrong with a capsule: abort the stream (RFC 9297, section 3.3).
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Error {
    /// The data stream ended within a capsule.
    #[error("the data stream ended within a capsule")]
    Truncated,
    /// A capsule that is understood, with a value longer than the limit.
    #[error("a capsule is longer than is accepted")]
    TooLong,
}

impl Error {
    /// The code to abort the stream with.
    #[must_use]
    pub const fn code(self) -> Code {
        match self {
            Self::Truncated => Code::DatagramError,
            Self::TooLong => Code::ExcessiveLoad,
        }
    }
}

/// Reads the capsules of one data stream.
#[derive(Debug)]
pub struct Reader {
    /// Bytes of the data stream that were not looked at yet.
    input: Bytes,
    /// What came of a value so far; bounded by `limit`.
    held: BytesMut,
    state: State,
    limit: usize,
    understood: fn(u64) -> bool,
}

#[derive(Debug)]
enum State {
    Header(HeaderReader),
    Value {
        kind: u64,
        len: usize,
    },
    Skip(u64),
    /// A capsule was too long: where the next one begins no longer matters.
    Failed,
}

impl Reader {
    /// A reader of the types for which `understood` is true, with values of up to `limit` bytes.
    #[must_use]
    pub fn new(limit: usize, understood: fn(u64) -> bool) -> Self {
        let state = State::Header(HeaderReader::default());
        Self {
            input: Bytes::new(),
            held: BytesMut::new(),
            state,
            limit,
            understood,
        }
    }

    /// Hand in the next bytes of the data stream. Take out with [`Self::next`] all there is before handing in more:
    /// what was not taken is copied to stand before the new bytes.
    pub fn receive(&mut self, data: Bytes) {
        if self.input.is_empty() {
            self.input = data;
        } else {
            let mut joined = BytesMut::with_capacity(self.input.len() + data.len());
            joined.extend_from_slice(&self.input);
            joined.extend_from_slice(&data);
            self.input = joined.freeze();
        }
    }

    /// The next capsule, `None` if it has not come whole.
    ///
    /// # Errors
    ///
    /// A capsule that is understood and too long. The reader is of no use afterwards.
    #[allow(clippy::should_implement_trait)]
    pub fn next(&mut self) -> Result<Option<Capsule>, Error> {
        loop {
            self.state = match &mut self.state {
                State::Header(reader) => match reader.read(&mut self.input) {
                    None => return Ok(None),
                    Some(Header { kind, len }) if (self.understood)(kind) => match usize::try_from(len) {
                        Ok(len) if len <= self.limit => State::Value { kind, len },
                        _ => State::Failed,
                    },
                    Some(header) => State::Skip(header.len),
                },
                State::Value { kind, len } => {
                    let kind = *kind;
                    let Some(value) = payload(&mut self.held, *len, &mut self.input) else {
                        return Ok(None);
                    };
                    self.state = State::Header(HeaderReader::default());
                    return Ok(Some(Capsule { kind, value }));
                }
                State::Skip(left) => {
                    if !skip(left, &mut self.input) {
                        return Ok(None);
                    }
                    State::Header(HeaderReader::default())
                }
                State::Failed => {
                    self.input.clear();
                    return Err(Error::TooLong);
                }
            }
        }
    }

    /// The data stream ended.
    ///
    /// # Errors
    ///
    /// It ended within a capsule.
    pub fn finish(&self) -> Result<(), Error> {
        match &self.state {
            State::Header(reader) if !reader.is_partial() && self.input.is_empty() => Ok(()),
            _ => Err(Error::Truncated),
        }
    }
}

/// Write a capsule.
pub fn write(kind: u64, value: &[u8], out: &mut BytesMut) {
    header(kind, value.len() as u64, out);
    out.extend_from_slice(value);
}

/// Write type and length only, for a value that follows in its own buffer.
pub fn header(kind: u64, len: u64, out: &mut BytesMut) {
    Header { kind, len }.encode(out);
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::collection::vec;
    use proptest::prelude::*;

    fn read(limit: usize, chunks: &[&[u8]]) -> (Vec<Capsule>, Result<(), Error>) {
        let mut reader = Reader::new(limit, |kind| kind < 0x40);
        let mut capsules = Vec::new();
        for chunk in chunks {
            reader.receive(Bytes::copy_from_slice(chunk));
            loop {
                match reader.next() {
                    Ok(Some(capsule)) => capsules.push(capsule),
                    Ok(None) => break,
                    Err(error) => return (capsules, Err(error)),
                }
            }
            assert!(reader.held.len() <= limit && reader.input.is_empty());
        }
        let end = reader.finish();
        (capsules, end)
    }

    #[test]
    fn a_value_may_be_as_long_as_the_limit() {
        assert_eq!(
            read(2, &[&[1, 2, 7, 8]]),
            (
                vec![Capsule {
                    kind: 1,
                    value: vec![7, 8].into()
                }],
                Ok(())
            )
        );
        assert_eq!(read(2, &[&[1, 3]]), (vec![], Err(Error::TooLong)));
        assert_eq!(
            read(2, &[&[1, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff]]),
            (vec![], Err(Error::TooLong))
        );
        // A type that is not understood may have any length (RFC 9297, section 3.2: skipped silently).
        assert_eq!(
            read(2, &[&[0x40, 0x40, 3, 9, 9, 9, 1, 0]]).0,
            vec![Capsule {
                kind: 1,
                value: Bytes::new()
            }]
        );
    }

    #[test]
    fn rfc_9297_3_3_a_truncated_capsule() {
        for cut in [&[1][..], &[1, 2], &[1, 2, 0], &[0x40], &[0x40, 0x40, 2, 0]] {
            assert_eq!(read(8, &[cut]), (vec![], Err(Error::Truncated)), "{cut:?}");
        }
        assert_eq!(Error::Truncated.code(), Code::DatagramError);
    }

    #[test]
    fn what_was_not_taken_is_not_lost() {
        let mut reader = Reader::new(8, |_| true);
        reader.receive(Bytes::from_static(&[0, 1, 5, 0, 2, 6]));
        reader.receive(Bytes::from_static(&[7]));
        assert_eq!(reader.next().unwrap().unwrap().value, [5][..]);
        assert_eq!(reader.finish(), Err(Error::Truncated));
        assert_eq!(reader.next().unwrap().unwrap().value, [6, 7][..]);
        assert_eq!((reader.next(), reader.finish()), (Ok(None), Ok(())));
    }

    proptest! {
        #[test]
        fn any_cut_gives_the_same(capsules in vec((0u64..100, vec(any::<u8>(), 0..80)), 0..6), cut in 1usize..30) {
            let mut wire = BytesMut::new();
            for (kind, value) in &capsules {
                write(*kind, value, &mut wire);
            }
            let wanted: Vec<_> = capsules.into_iter().filter(|(kind, _)| *kind < 0x40)
                .map(|(kind, value)| Capsule { kind, value: value.into() }).collect();
            prop_assert_eq!(read(80, &wire.chunks(cut).collect::<Vec<_>>()), (wanted, Ok(())));
        }

        #[test]
        fn any_bytes_are_survived(chunks in vec(vec(any::<u8>(), 0..40), 0..10)) {
            let chunks: Vec<_> = chunks.iter().map(Vec::as_slice).collect();
            let _ = read(64, &chunks);
        }
    }
}
