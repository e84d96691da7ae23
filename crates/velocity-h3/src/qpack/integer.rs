//! Prefixed integers (RFC 7541 section 5.1, RFC 9204 section 4.1.1), and the reader everything is parsed with.

use bytes::{BufMut, BytesMut};

/// The largest integer there is: what QUIC can carry (RFC 9204 section 4.1.1).
pub(super) const MAX: u64 = (1 << 62) - 1;

/// Why something could not be read. Which error it becomes depends on where it was read from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Fault {
    /// The bytes end too early: on a stream, the rest may still come.
    Short,
    /// An integer above 62 bits.
    Overflow,
    /// A Huffman code with EOS in it, or with wrong padding.
    Huffman,
    /// A string that is longer than allowed.
    TooLong,
}

impl Fault {
    pub(super) fn reason(self) -> &'static str {
        match self {
            Self::Short => "truncated",
            Self::Overflow => "an integer is above 62 bits",
            Self::Huffman => "a string has an invalid Huffman code",
            Self::TooLong => "a string is longer than allowed",
        }
    }
}

/// Reads from the front of a slice.
#[derive(Clone, Copy)]
pub(super) struct Reader<'a> {
    rest: &'a [u8],
}

impl<'a> Reader<'a> {
    pub(super) fn new(rest: &'a [u8]) -> Self {
        Self { rest }
    }

    /// What has not been read.
    pub(super) fn rest(&self) -> &'a [u8] {
        self.rest
    }

    /// The next byte, which stays.
    pub(super) fn peek(&self) -> Option<u8> {
        self.rest.first().copied()
    }

    /// The next `count` bytes.
    pub(super) fn take(&mut self, count: u64) -> Result<&'a [u8], Fault> {
        let count = usize::try_from(count).map_err(|_| Fault::Short)?;
        let (taken, rest) = self.rest.split_at_checked(count).ok_or(Fault::Short)?;
        self.rest = rest;
        Ok(taken)
    }

    /// An integer that begins in the low `prefix` bits of the next byte.
    #[inline]
    pub(super) fn integer(&mut self, prefix: u32) -> Result<u64, Fault> {
        let (&first, rest) = self.rest.split_first().ok_or(Fault::Short)?;
        let mask = (1 << prefix) - 1;
        let value = u64::from(first) & mask;
        self.rest = rest;
        if value < mask { Ok(value) } else { self.continued(value) }
    }

    fn continued(&mut self, mut value: u64) -> Result<u64, Fault> {
        // Nine bytes hold 63 bits: enough for every valid integer, and too little to overflow a u64.
        for shift in (0..63).step_by(7) {
            let (&byte, rest) = self.rest.split_first().ok_or(Fault::Short)?;
            self.rest = rest;
            value += u64::from(byte & 0x7f) << shift;
            if byte & 0x80 == 0 {
                return if value <= MAX { Ok(value) } else { Err(Fault::Overflow) };
            }
        }
        Err(Fault::Overflow)
    }
}

/// Writes an integer after the `flags`, in the low `prefix` bits of a byte and as many more as it takes.
pub(super) fn put(out: &mut BytesMut, flags: u8, prefix: u32, value: u64) {
    let mask = (1 << prefix) - 1;
    if value < mask {
        out.put_u8(flags | value as u8);
        return;
    }
    out.put_u8(flags | mask as u8);
    let mut rest = value - mask;
    while rest >= 0x80 {
        out.put_u8(rest as u8 | 0x80);
        rest >>= 7;
    }
    out.put_u8(rest as u8);
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn written(flags: u8, prefix: u32, value: u64) -> Vec<u8> {
        let mut out = BytesMut::new();
        put(&mut out, flags, prefix, value);
        out.to_vec()
    }

    #[test]
    fn examples_of_rfc_7541_appendix_c1() {
        for (prefix, value, bytes) in [(5, 10, &[10][..]), (5, 1337, &[31, 154, 10]), (8, 42, &[42])] {
            assert_eq!(written(0, prefix, value), bytes);
            assert_eq!(Reader::new(bytes).integer(prefix), Ok(value));
        }
    }

    #[test]
    fn flags_are_kept_on_writing_and_ignored_on_reading() {
        assert_eq!(written(0xe0, 5, 3), [0xe3]);
        assert_eq!(Reader::new(&[0xe3]).integer(5), Ok(3));
    }

    #[test]
    fn rfc_9204_4_1_1_62_bits_must_be_decoded_and_more_are_an_error() {
        for prefix in 3..=8 {
            assert_eq!(Reader::new(&written(0, prefix, MAX)).integer(prefix), Ok(MAX));
            assert_eq!(
                Reader::new(&written(0, prefix, MAX + 1)).integer(prefix),
                Err(Fault::Overflow)
            );
            assert_eq!(
                Reader::new(&written(0, prefix, u64::MAX)).integer(prefix),
                Err(Fault::Overflow)
            );
        }
    }

    #[test]
    fn an_endless_integer_is_an_error_though_its_value_is_small() {
        let mut bytes = vec![0xff];
        bytes.extend([0x80; 20]);
        assert_eq!(Reader::new(&bytes).integer(7), Err(Fault::Overflow));
    }

    proptest! {
        #[test]
        fn every_integer_comes_back(value in 0..=MAX, shift in 0u32..62, prefix in 1u32..=8, flags: u8) {
            let value = value >> shift;
            let flags = if prefix == 8 { 0 } else { flags << prefix };
            let bytes = written(flags, prefix, value);
            let mut reader = Reader::new(&bytes);
            prop_assert_eq!(reader.integer(prefix), Ok(value));
            prop_assert!(reader.rest().is_empty());
            for short in 0..bytes.len() {
                prop_assert_eq!(Reader::new(&bytes[..short]).integer(prefix), Err(Fault::Short));
            }
        }
    }
}
