//! The Huffman code for strings (RFC 7541 section 5.2 and Appendix B).
//!
//! The code is canonical: among codes of one length, and from one length to the next, codes ascend with the symbols.
//! So the lengths are all there is to know, and every table below is computed from them when this is compiled.

use bytes::{BufMut, BytesMut};

use super::integer::Fault;

/// The end-of-string symbol, whose beginning is the padding.
const EOS: usize = 256;
const SYMBOLS: usize = 257;
const LONGEST: usize = 30;
/// No symbol is shorter, so a string grows at most by 8/5 when it is decoded.
const SHORTEST: usize = 5;

/// How many bits the code of each symbol has.
const LENGTHS: [u8; SYMBOLS] = [
    13, 23, 28, 28, 28, 28, 28, 28, 28, 24, 30, 28, 28, 30, 28, 28, 28, 28, 28, 28, 28, 28, 30, 28, //
    28, 28, 28, 28, 28, 28, 28, 28, 6, 10, 10, 12, 13, 6, 8, 11, 10, 10, 8, 11, 8, 6, 6, 6, //
    5, 5, 5, 6, 6, 6, 6, 6, 6, 6, 7, 8, 15, 6, 12, 10, 13, 6, 7, 7, 7, 7, 7, 7, //
    7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 8, 7, 8, 13, 19, 13, 14, 6, //
    15, 5, 6, 5, 6, 5, 6, 6, 6, 5, 7, 7, 6, 6, 6, 5, 6, 7, 6, 5, 5, 6, 7, 7, //
    7, 7, 7, 15, 11, 14, 13, 28, 20, 22, 20, 20, 22, 22, 22, 23, 22, 23, 23, 23, 23, 23, 24, 23, //
    24, 24, 22, 23, 24, 23, 23, 23, 23, 21, 22, 23, 22, 23, 23, 24, 22, 21, 20, 22, 22, 23, 23, 21, //
    23, 22, 22, 24, 21, 22, 23, 23, 21, 21, 22, 21, 23, 22, 23, 23, 20, 22, 22, 22, 23, 22, 22, 23, //
    26, 26, 20, 19, 22, 23, 22, 25, 26, 26, 26, 27, 27, 26, 24, 25, 19, 21, 26, 27, 27, 26, 27, 24, //
    21, 21, 26, 26, 28, 27, 27, 27, 20, 24, 20, 21, 22, 21, 21, 23, 22, 22, 25, 25, 24, 24, 26, 23, //
    26, 27, 26, 26, 27, 27, 27, 27, 27, 28, 27, 27, 27, 27, 27, 26, 30,
];

/// What decoding needs beyond the fast table: symbols in the order of their codes, and for each length where its
/// codes end, as 32 bits from the left, and what to add to a code to get its place among the symbols.
struct Canonical {
    codes: [u32; SYMBOLS],
    sorted: [u16; SYMBOLS],
    end: [u64; LONGEST + 1],
    offset: [i32; LONGEST + 1],
}

const fn canonical() -> Canonical {
    let mut table = Canonical {
        codes: [0; SYMBOLS],
        sorted: [0; SYMBOLS],
        end: [0; LONGEST + 1],
        offset: [0; LONGEST + 1],
    };
    let (mut code, mut place, mut length) = (0u32, 0usize, 1usize);
    while length <= LONGEST {
        code <<= 1;
        table.offset[length] = place as i32 - code as i32;
        let mut symbol = 0;
        while symbol < SYMBOLS {
            if LENGTHS[symbol] as usize == length {
                table.codes[symbol] = code;
                table.sorted[place] = symbol as u16;
                code += 1;
                place += 1;
            }
            symbol += 1;
        }
        table.end[length] = (code as u64) << (32 - length);
        length += 1;
    }
    table
}

static CANONICAL: Canonical = canonical();

/// Twelve bits hold two symbols of most strings in fields.
const FAST_BITS: usize = 12;

/// What the next twelve bits begin with: one symbol, or two that are complete. All zero where the first is longer.
#[derive(Clone, Copy)]
struct Fast {
    /// The length of all, and of the first symbol.
    all: u8,
    first: u8,
    symbols: [u8; 2],
}

static FAST: [Fast; 1 << FAST_BITS] = {
    let codes = canonical().codes;
    let mut fast = [Fast {
        symbols: [0; 2],
        first: 0,
        all: 0,
    }; 1 << FAST_BITS];
    let mut symbol = 0;
    while symbol < EOS {
        let length = LENGTHS[symbol];
        if length as usize <= FAST_BITS {
            let spare = FAST_BITS - length as usize;
            let first = (codes[symbol] as usize) << spare;
            let mut index = first;
            while index < first + (1 << spare) {
                fast[index] = Fast {
                    symbols: [symbol as u8, 0],
                    first: length,
                    all: length,
                };
                index += 1;
            }
        }
        symbol += 1;
    }
    let mut index = 0;
    while index < fast.len() {
        let length = fast[index].first;
        let next = fast[(index << length) % fast.len()];
        if length > 0 && next.first > 0 && (length + next.first) as usize <= FAST_BITS {
            fast[index].symbols[1] = next.symbols[0];
            fast[index].all = length + next.first;
        }
        index += 1;
    }
    fast
};

/// How long `data` may become when it is decoded.
pub(super) fn most(data: &[u8]) -> usize {
    data.len().saturating_mul(8) / SHORTEST
}

/// How long a string of `length` encoded bytes is at least.
pub(super) fn least(length: u64) -> u64 {
    length.saturating_mul(8).saturating_sub(7) / LONGEST as u64
}

/// Decodes `data` into `out` and says how long it has become; that it does not fit is [`Fault::TooLong`].
pub(super) fn decode(mut data: &[u8], out: &mut [u8]) -> Result<usize, Fault> {
    // The unread bits, from the left; below the first `bits` of them are either zeros or bits that will be read again.
    let mut window = 0u64;
    let mut bits = 0usize;
    let mut at = 0;
    loop {
        if let Some(next) = data.first_chunk::<8>() {
            window |= u64::from_be_bytes(*next) >> bits;
            let taken = (63 - bits) / 8;
            data = data.get(taken..).unwrap_or_default();
            bits += taken * 8;
        } else {
            while bits <= 56
                && let Some((&byte, rest)) = data.split_first()
            {
                window |= u64::from(byte) << (56 - bits);
                data = rest;
                bits += 8;
            }
        }
        let (symbol, length) = first_symbol(if bits < LONGEST {
            window | u64::MAX >> bits
        } else {
            window
        });
        if length > bits {
            // Nothing is left but padding: the beginning of EOS, shorter than a byte (RFC 7541 section 5.2).
            let padded = (window | u64::MAX >> bits) == u64::MAX;
            return if padded && bits <= 7 {
                Ok(at)
            } else {
                Err(Fault::Huffman)
            };
        }
        if symbol == EOS {
            return Err(Fault::Huffman);
        }
        *out.get_mut(at).ok_or(Fault::TooLong)? = symbol as u8;
        at += 1;
        window <<= length;
        bits -= length;
        // The common case: pairs of short symbols before more bits are needed, while there is room for pairs.
        while bits >= FAST_BITS
            && let Some(pair) = out.get_mut(at..at + 2)
        {
            let fast = FAST[(window >> (64 - FAST_BITS)) as usize];
            if fast.all == 0 {
                break;
            }
            pair.copy_from_slice(&fast.symbols);
            at += if fast.all == fast.first { 1 } else { 2 };
            window <<= fast.all;
            bits -= usize::from(fast.all);
        }
    }
}

/// The symbol these bits begin with, and its length.
fn first_symbol(window: u64) -> (usize, usize) {
    let fast = FAST[(window >> (64 - FAST_BITS)) as usize];
    if fast.first != 0 {
        return (fast.symbols[0].into(), fast.first.into());
    }
    let left = window >> 32;
    let mut length = FAST_BITS + 1;
    while length < LONGEST && left >= CANONICAL.end[length] {
        length += 1;
    }
    let place = CANONICAL.offset[length] + (left >> (32 - length)) as i32;
    (
        CANONICAL
            .sorted
            .get(place as usize)
            .map_or(EOS, |&symbol| symbol.into()),
        length,
    )
}

/// How many bytes `data` takes when it is encoded.
pub(super) fn encoded_len(data: &[u8]) -> usize {
    let bits: usize = data.iter().map(|&byte| usize::from(LENGTHS[usize::from(byte)])).sum();
    bits.div_ceil(8)
}

/// Appends `data`, encoded.
pub(super) fn encode(data: &[u8], out: &mut BytesMut) {
    let mut window = 0u64;
    let mut bits = 0u32;
    for &byte in data {
        // At most 31 bits are waiting and at most 30 come.
        window = window << LENGTHS[usize::from(byte)] | u64::from(CANONICAL.codes[usize::from(byte)]);
        bits += u32::from(LENGTHS[usize::from(byte)]);
        if bits >= 32 {
            bits -= 32;
            out.put_u32((window >> bits) as u32);
        }
    }
    let padding = (8 - bits % 8) % 8;
    window = window << padding | ((1 << padding) - 1);
    bits += padding;
    while bits > 0 {
        bits -= 8;
        out.put_u8((window >> bits) as u8);
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn encoded(data: &[u8]) -> Vec<u8> {
        let mut out = BytesMut::new();
        encode(data, &mut out);
        assert_eq!(out.len(), encoded_len(data));
        out.to_vec()
    }

    fn decoded(data: &[u8]) -> Result<Vec<u8>, Fault> {
        let mut out = vec![0; most(data)];
        let length = decode(data, &mut out)?;
        out.truncate(length);
        Ok(out)
    }

    fn hex(text: &str) -> Vec<u8> {
        (0..text.len())
            .step_by(2)
            .map(|at| u8::from_str_radix(&text[at..at + 2], 16).unwrap())
            .collect()
    }

    #[test]
    fn strings_of_rfc_7541_appendices_c4_and_c6() {
        for (text, code) in [
            ("www.example.com", "f1e3c2e5f23a6ba0ab90f4ff"),
            ("no-cache", "a8eb10649cbf"),
            ("custom-key", "25a849e95ba97d7f"),
            ("custom-value", "25a849e95bb8e8b4bf"),
            ("302", "6402"),
            ("private", "aec3771a4b"),
            (
                "Mon, 21 Oct 2013 20:13:21 GMT",
                "d07abe941054d444a8200595040b8166e082a62d1bff",
            ),
            ("https://www.example.com", "9d29ad171863c78f0b97c8e9ae82ae43d3"),
            ("307", "640eff"),
            (
                "Mon, 21 Oct 2013 20:13:22 GMT",
                "d07abe941054d444a8200595040b8166e084a62d1bff",
            ),
            ("gzip", "9bd9ab"),
            (
                "foo=ASDJKHQKBZXOQWEOPIUAXQWEOIU; max-age=3600; version=1",
                "94e7821dd7f2e6c7b335dfdfcd5b3960d5af27087f3672c1ab270fb5291f9587316065c003ed4ee5b1063d5007",
            ),
        ] {
            assert_eq!(encoded(text.as_bytes()), hex(code), "{text}");
            assert_eq!(decoded(&hex(code)).unwrap(), text.as_bytes());
        }
    }

    #[test]
    fn codes_of_rfc_7541_appendix_b() {
        for (symbol, code, length) in [
            (0, 0x1ff8, 13),
            (1, 0x7fffd8, 23),
            (10, 0x3ffffffc, 30),
            (32, 0x14, 6),
            (48, 0, 5),
            (92, 0x7fff0, 19),
            (122, 0x7b, 7),
            (128, 0xfffe6, 20),
            (255, 0x3ffffee, 26),
            (256, 0x3fffffff, 30),
        ] {
            assert_eq!((CANONICAL.codes[symbol], LENGTHS[symbol]), (code, length), "{symbol}");
        }
    }

    #[test]
    fn every_byte_alone_and_doubled() {
        for byte in 0..=255 {
            assert_eq!(decoded(&encoded(&[byte])).unwrap(), [byte]);
            assert_eq!(decoded(&encoded(&[byte, byte])).unwrap(), [byte, byte]);
        }
    }

    #[test]
    fn rfc_7541_5_2_padding_longer_than_seven_bits_must_be_an_error() {
        assert_eq!(decoded(&[0xff]), Err(Fault::Huffman));
        assert_eq!(decoded(&hex("f1e3c2e5f23a6ba0ab90f4ffff")), Err(Fault::Huffman));
        assert_eq!(decoded(&[0xff, 0xff, 0xff]), Err(Fault::Huffman));
    }

    #[test]
    fn rfc_7541_5_2_padding_that_is_not_the_start_of_eos_must_be_an_error() {
        // "0" is 00000; three bits of padding follow.
        assert_eq!(decoded(&[0x07]).unwrap(), b"0");
        for padding in 0..7 {
            assert_eq!(decoded(&[padding]), Err(Fault::Huffman));
        }
    }

    #[test]
    fn rfc_7541_5_2_eos_in_a_string_must_be_an_error() {
        assert_eq!(decoded(&[0xff, 0xff, 0xff, 0xff]), Err(Fault::Huffman));
        // "0", then EOS, then "0" and padding.
        assert_eq!(decoded(&[0x07, 0xff, 0xff, 0xff, 0xe0, 0x7f]), Err(Fault::Huffman));
    }

    #[test]
    fn what_does_not_fit_is_too_long() {
        let code = encoded(b"0000000000000000");
        assert_eq!(decode(&code, &mut [0; 15]), Err(Fault::TooLong));
        assert_eq!(decode(&code, &mut [0; 16]), Ok(16));
        assert_eq!(decode(&[], &mut []), Ok(0));
    }

    proptest! {
        #[test]
        fn every_string_comes_back(data: Vec<u8>) {
            let code = encoded(&data);
            prop_assert_eq!(decoded(&code), Ok(data.clone()));
            prop_assert!(least(code.len() as u64) <= data.len() as u64);
        }

        #[test]
        fn what_decodes_is_what_was_encoded(code: Vec<u8>) {
            if let Ok(data) = decoded(&code) {
                prop_assert_eq!(encoded(&data), code);
            }
        }
    }
}
