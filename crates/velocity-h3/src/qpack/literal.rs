//! Prefixed integers and string literals (RFC 9204 section 4.1, RFC 7541 section 5).

use bytes::{Buf, BufMut, Bytes, BytesMut};

use super::huffman;
use crate::varint;

/// Why something could not be read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Problem {
    /// It is not all there.
    Incomplete,
    /// An integer beyond 62 bits, or a string that is no Huffman code.
    Invalid,
    /// A string longer than permitted.
    TooLong,
}

/// The integer at the front of `data`, which has `prefix` bits in the first byte.
pub fn integer(data: &mut impl Buf, prefix: u8) -> Result<u64, Problem> {
    if !data.has_remaining() {
        return Err(Problem::Incomplete);
    }
    let mask = (1u16 << prefix) as u8 as u16;
    let mask = if prefix == 8 { 0xff } else { mask - 1 };
    let mut value = u64::from(u16::from(data.get_u8()) & mask);
    if value < u64::from(mask) {
        return Ok(value);
    }
    for shift in (0..).step_by(7) {
        if !data.has_remaining() {
            return Err(Problem::Incomplete);
        }
        let byte = data.get_u8();
        let part = u64::from(byte & 0x7f);
        if shift > 56 || part << shift >> shift != part {
            return Err(Problem::Invalid);
        }
        value = value
            .checked_add(part << shift)
            .filter(|&value| value <= varint::MAX)
            .ok_or(Problem::Invalid)?;
        if byte & 0x80 == 0 {
            break;
        }
    }
    Ok(value)
}

/// Append an integer with `prefix` bits in its first byte, the others of which are `flags`.
pub fn put_integer(flags: u8, prefix: u8, mut value: u64, out: &mut BytesMut) {
    let most = (1u64 << prefix) - 1;
    if value < most {
        return out.put_u8(flags | value as u8);
    }
    out.put_u8(flags | most as u8);
    value -= most;
    while value >= 0x80 {
        out.put_u8(value as u8 | 0x80);
        value >>= 7;
    }
    out.put_u8(value as u8);
}

/// The string at the front of `data`, whose length has `prefix` bits in the first byte, behind the bit that says
/// whether it is coded. It is a slice of `data`, or of `room` where it had to be decoded.
pub fn string(data: &mut Bytes, prefix: u8, limit: usize, room: &mut BytesMut) -> Result<Bytes, Problem> {
    let coded = data.first().is_some_and(|first| first >> prefix & 1 == 1);
    let len = usize::try_from(integer(data, prefix)?).map_err(|_| Problem::TooLong)?;
    // The shortest code has five bits.
    let least = if coded { len / 4 } else { len };
    if !coded && least > limit || coded && len > limit.saturating_mul(4).saturating_add(4) {
        return Err(Problem::TooLong);
    }
    if data.len() < len {
        return Err(Problem::Incomplete);
    }
    let bytes = data.split_to(len);
    if !coded {
        return Ok(bytes);
    }
    match huffman::decode(&bytes, limit, room) {
        Ok(()) => Ok(room.split().freeze()),
        Err(true) => Err(Problem::TooLong),
        Err(false) => Err(Problem::Invalid),
    }
}

/// Append a string, in whichever form is shorter.
pub fn put_string(flags: u8, prefix: u8, text: &[u8], out: &mut BytesMut) {
    let coded = huffman::encoded_len(text);
    if coded < text.len() {
        put_integer(flags | 1 << prefix, prefix, coded as u64, out);
        huffman::encode(text, out);
    } else {
        put_integer(flags, prefix, text.len() as u64, out);
        out.extend_from_slice(text);
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn integers_of_rfc_7541_appendix_c_1() {
        for (bytes, prefix, value) in [
            (&[0b01010][..], 5, 10),
            (&[0b11111, 0b1001_1010, 0b1010][..], 5, 1337),
            (&[42][..], 8, 42),
        ] {
            assert_eq!(integer(&mut &bytes[..], prefix), Ok(value));
            let mut out = BytesMut::new();
            put_integer(0, prefix, value, &mut out);
            assert_eq!(out, bytes);
        }
    }

    /// RFC 9204 section 4.1.1: 62 bits, and no more.
    #[test]
    fn integers_beyond_62_bits() {
        let mut out = BytesMut::new();
        put_integer(0, 8, varint::MAX, &mut out);
        assert_eq!(integer(&mut out.freeze(), 8), Ok(varint::MAX));
        let mut out = BytesMut::new();
        put_integer(0, 8, varint::MAX + 1, &mut out);
        assert_eq!(integer(&mut out.freeze(), 8), Err(Problem::Invalid));
        assert_eq!(integer(&mut &[0xff; 20][..], 8), Err(Problem::Invalid));
        assert_eq!(integer(&mut &[0xff, 0x80][..], 8), Err(Problem::Incomplete));
    }

    proptest! {
        #[test]
        fn integers_round_trip(value in 0..=varint::MAX, prefix in 1u8..=8) {
            let mut out = BytesMut::new();
            put_integer(0, prefix, value, &mut out);
            prop_assert_eq!(integer(&mut out.freeze(), prefix), Ok(value));
        }

        #[test]
        fn strings_round_trip(text in proptest::collection::vec(any::<u8>(), 0..300), prefix in 3u8..=7) {
            let mut out = BytesMut::new();
            put_string(0, prefix, &text, &mut out);
            prop_assert_eq!(string(&mut out.freeze(), prefix, 300, &mut BytesMut::new()), Ok(Bytes::from(text)));
        }
    }
}
