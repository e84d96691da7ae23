//! Variable-length integers (RFC 9000, section 16): what every length, type and identifier is written in.

use bytes::BufMut;

/// The largest number that fits.
pub const MAX: u64 = (1 << 62) - 1;

/// The number at the start of `input` and how many bytes it takes; `None` while it is cut.
#[must_use]
pub fn decode(input: &[u8]) -> Option<(u64, usize)> {
    let first = *input.first()?;
    // Most types and lengths are a single byte.
    if first < 0x40 {
        return Some((u64::from(first), 1));
    }
    let len = 1 << (first >> 6);
    let rest = input.get(1..len)?;
    let number = rest
        .iter()
        .fold(u64::from(first & 0x3f), |number, byte| number << 8 | u64::from(*byte));
    Some((number, len))
}

/// Write `number` in its shortest form. What is beyond [`MAX`] cannot be written, and [`MAX`] is in its place.
pub fn encode(number: u64, out: &mut impl BufMut) {
    match size(number) {
        1 => out.put_u8(number as u8),
        2 => out.put_u16(number as u16 | 0x4000),
        4 => out.put_u32(number as u32 | 0x8000_0000),
        _ => out.put_u64(number.min(MAX) | 0xc000_0000_0000_0000),
    }
}

/// How many bytes [`encode`] takes for `number`.
#[must_use]
pub const fn size(number: u64) -> usize {
    match number {
        0..0x40 => 1,
        0x40..0x4000 => 2,
        0x4000..0x4000_0000 => 4,
        _ => 8,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn examples_of_rfc_9000_a_1() {
        let cases: [(&[u8], u64); 5] = [
            (
                &[0xc2, 0x19, 0x7c, 0x5e, 0xff, 0x14, 0xe8, 0x8c],
                151_288_809_941_952_652,
            ),
            (&[0x9d, 0x7f, 0x3e, 0x7d], 494_878_333),
            (&[0x7b, 0xbd], 15_293),
            (&[0x25], 37),
            (&[0x40, 0x25], 37),
        ];
        for (bytes, number) in cases {
            assert_eq!(decode(bytes), Some((number, bytes.len())));
            for cut in 0..bytes.len() {
                assert_eq!(decode(&bytes[..cut]), None);
            }
        }
    }

    proptest! {
        #[test]
        fn what_is_written_is_read(number in 0..=MAX) {
            let mut out = Vec::new();
            encode(number, &mut out);
            prop_assert_eq!(out.len(), size(number));
            prop_assert_eq!(decode(&out), Some((number, out.len())));
        }
    }

    #[test]
    fn the_edges_of_each_length() {
        for (number, len) in [
            (63, 1),
            (64, 2),
            (16383, 2),
            (16384, 4),
            ((1 << 30) - 1, 4),
            (1 << 30, 8),
            (MAX, 8),
        ] {
            let mut out = Vec::new();
            encode(number, &mut out);
            assert_eq!((out.len(), decode(&out)), (len, Some((number, len))));
        }
    }
}
