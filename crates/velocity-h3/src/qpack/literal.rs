//! String literals (RFC 9204 section 4.1.2): a Huffman flag, a length, and the bytes.

use bytes::{BufMut, Bytes, BytesMut};

use super::huffman;
use super::integer::{self, Fault, Reader};

/// What is allocated at least for decoded strings. Sections share it until it is full, so most allocate nothing.
const CHUNK: usize = 2048;

/// A string as it stands in the bytes it was read from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Literal<'a> {
    huffman: bool,
    data: &'a [u8],
}

impl<'a> Literal<'a> {
    /// Reads a string whose length begins in the low `prefix` bits, with the Huffman flag above them.
    ///
    /// A string of which can be told that it is longer than `limit` is [`Fault::TooLong`], even if it is not all here.
    pub(super) fn read(reader: &mut Reader<'a>, prefix: u32, limit: u64) -> Result<Self, Fault> {
        let huffman = reader.peek().ok_or(Fault::Short)? & (1 << prefix) != 0;
        let length = reader.integer(prefix)?;
        let least = if huffman { huffman::least(length) } else { length };
        if least > limit {
            return Err(Fault::TooLong);
        }
        Ok(Self {
            huffman,
            data: reader.take(length)?,
        })
    }

    /// The string, in memory shared with the `section` it was read from or with `scratch`.
    pub(super) fn share(self, section: &Bytes, scratch: &mut BytesMut, limit: u64) -> Result<Bytes, Fault> {
        if self.huffman {
            self.expand(scratch, limit)?;
            Ok(scratch.split().freeze())
        } else if self.data.len() as u64 <= limit {
            Ok(section.slice_ref(self.data))
        } else {
            Err(Fault::TooLong)
        }
    }

    /// The string, in memory of its own.
    pub(super) fn own(self, scratch: &mut BytesMut, limit: u64) -> Result<Bytes, Fault> {
        if self.huffman {
            self.expand(scratch, limit)?;
            let bytes = Bytes::copy_from_slice(scratch);
            scratch.clear();
            Ok(bytes)
        } else if self.data.len() as u64 <= limit {
            Ok(Bytes::copy_from_slice(self.data))
        } else {
            Err(Fault::TooLong)
        }
    }

    /// Decodes into `scratch`, which is empty before, and after an error.
    fn expand(self, scratch: &mut BytesMut, limit: u64) -> Result<(), Fault> {
        let most = huffman::most(self.data).min(usize::try_from(limit).unwrap_or(usize::MAX));
        if scratch.capacity() < most {
            scratch.reserve(most.max(CHUNK));
        }
        scratch.resize(most, 0);
        let length = huffman::decode(self.data, scratch);
        scratch.truncate(length.unwrap_or(0));
        length.map(|_| ())
    }
}

/// Writes a string after the `flags`, with its length in the low `prefix` bits and the Huffman flag above them:
/// in the Huffman code where that is shorter.
pub(super) fn put(out: &mut BytesMut, flags: u8, prefix: u32, data: &[u8]) {
    let length = huffman::encoded_len(data);
    if length < data.len() {
        integer::put(out, flags | 1 << prefix, prefix, length as u64);
        out.reserve(length);
        huffman::encode(data, out);
    } else {
        integer::put(out, flags, prefix, data.len() as u64);
        out.put_slice(data);
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn read(bytes: &[u8], prefix: u32, limit: u64) -> Result<Bytes, Fault> {
        let section = Bytes::copy_from_slice(bytes);
        let literal = Literal::read(&mut Reader::new(&section), prefix, limit)?;
        let shared = literal.share(&section, &mut BytesMut::new(), limit);
        assert_eq!(shared, literal.own(&mut BytesMut::new(), limit));
        shared
    }

    #[test]
    fn the_shorter_form_is_written() {
        let mut out = BytesMut::new();
        put(&mut out, 0, 7, b"www.example.com");
        assert_eq!(out[0], 0x80 | 12);
        out.clear();
        put(&mut out, 0x20, 3, b"~~");
        assert_eq!(&out[..], [0x22, b'~', b'~']);
    }

    #[test]
    fn plain_strings_are_not_copied() {
        let section = Bytes::from_static(b"\x03abc");
        let literal = Literal::read(&mut Reader::new(&section), 7, 3).unwrap();
        let shared = literal.share(&section, &mut BytesMut::new(), 3).unwrap();
        assert_eq!(shared.as_ptr(), section[1..].as_ptr());
    }

    #[test]
    fn huffman_strings_of_a_section_share_one_buffer() {
        let section = Bytes::from_static(b"\x82\x64\x02\x82\x64\x02");
        let mut reader = Reader::new(&section);
        let mut scratch = BytesMut::new();
        let strings = [(); 2].map(|()| {
            let literal = Literal::read(&mut reader, 7, 9).unwrap();
            literal.share(&section, &mut scratch, 9).unwrap()
        });
        assert_eq!(strings, ["302", "302"]);
        assert_eq!(strings[0].as_ptr_range().end, strings[1].as_ptr());
    }

    #[test]
    fn the_limit_is_the_decoded_length() {
        // "302" in two bytes.
        for (limit, result) in [(3, Ok(Bytes::from_static(b"302"))), (2, Err(Fault::TooLong))] {
            assert_eq!(read(&[0x82, 0x64, 0x02], 7, limit), result);
            assert_eq!(read(b"\x03302", 7, limit), result);
        }
    }

    #[test]
    fn a_string_that_is_here_is_measured_again() {
        for section in [Bytes::from_static(&[0x82, 0x64, 0x02]), Bytes::from_static(b"\x03302")] {
            let literal = Literal::read(&mut Reader::new(&section), 7, u64::MAX).unwrap();
            assert_eq!(literal.share(&section, &mut BytesMut::new(), 2), Err(Fault::TooLong));
            assert_eq!(literal.own(&mut BytesMut::new(), 2), Err(Fault::TooLong));
            assert_eq!(literal.own(&mut BytesMut::new(), 3).unwrap(), "302");
        }
    }

    #[test]
    fn a_length_above_the_limit_is_known_before_the_string_is_here() {
        assert_eq!(read(&[11], 7, 10), Err(Fault::TooLong));
        assert_eq!(read(&[10], 7, 10), Err(Fault::Short));
        assert_eq!(read(&[0x80 | 50], 7, 10), Err(Fault::TooLong));
        assert_eq!(read(&[0x80 | 37], 7, 10), Err(Fault::Short));
    }

    proptest! {
        #[test]
        fn every_string_comes_back(data: Vec<u8>, prefix in 3u32..=7) {
            let mut out = BytesMut::new();
            put(&mut out, 0, prefix, &data);
            prop_assert_eq!(read(&out, prefix, data.len() as u64), Ok(Bytes::from(data.clone())));
            if !data.is_empty() {
                prop_assert_eq!(read(&out, prefix, data.len() as u64 - 1), Err(Fault::TooLong));
            }
        }
    }
}
