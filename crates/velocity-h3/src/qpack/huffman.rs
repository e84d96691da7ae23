//! The Huffman code of QPACK (RFC 9204 section 4.1.2), which is that of HPACK (RFC 7541 Appendix B).
//!
//! The code is canonical: codes of one length follow each other in the order of their symbols. So
//! lengths are all there is to know, and both tables are made from them when this is compiled.

use bytes::{BufMut, BytesMut};

/// The symbol that ends a string, and must not occur in one.
const EOS: u16 = 256;
const LONGEST: usize = 30;

/// The length of the code of each symbol, in bits.
#[rustfmt::skip]
const LENGTHS: [u8; 257] = [
    13, 23, 28, 28, 28, 28, 28, 28, 28, 24, 30, 28, 28, 30, 28, 28,
    28, 28, 28, 28, 28, 28, 30, 28, 28, 28, 28, 28, 28, 28, 28, 28,
    6, 10, 10, 12, 13, 6, 8, 11, 10, 10, 8, 11, 8, 6, 6, 6,
    5, 5, 5, 6, 6, 6, 6, 6, 6, 6, 7, 8, 15, 6, 12, 10,
    13, 6, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7,
    7, 7, 7, 7, 7, 7, 7, 7, 8, 7, 8, 13, 19, 13, 14, 6,
    15, 5, 6, 5, 6, 5, 6, 6, 6, 5, 7, 7, 6, 6, 6, 5,
    6, 7, 6, 5, 5, 6, 7, 7, 7, 7, 7, 15, 11, 14, 13, 28,
    20, 22, 20, 20, 22, 22, 22, 23, 22, 23, 23, 23, 23, 23, 24, 23,
    24, 24, 22, 23, 24, 23, 23, 23, 23, 21, 22, 23, 22, 23, 23, 24,
    22, 21, 20, 22, 22, 23, 23, 21, 23, 22, 22, 24, 21, 22, 23, 23,
    21, 21, 22, 21, 23, 22, 23, 23, 20, 22, 22, 22, 23, 22, 22, 23,
    26, 26, 20, 19, 22, 23, 22, 25, 26, 26, 26, 27, 27, 26, 24, 25,
    19, 21, 26, 27, 27, 26, 27, 24, 21, 21, 26, 26, 28, 27, 27, 27,
    20, 24, 20, 21, 22, 21, 21, 23, 22, 22, 25, 25, 24, 24, 26, 23,
    26, 27, 26, 26, 27, 27, 27, 27, 27, 28, 27, 27, 27, 27, 27, 26,
    30,
];

/// Symbols by length of code, and then by value.
const SYMBOLS: [u16; 257] = symbols();
/// For each length: its first code, and the place of that code's symbol in [`SYMBOLS`].
const FIRST: [(u32, u16); LONGEST + 2] = first();
/// Codes by symbol.
const CODES: [u32; 257] = codes();
/// For each byte: the symbol its first bits are the code of, and how many they are; 0 for longer codes.
const SHORT: [(u8, u8); 256] = short();

const fn symbols() -> [u16; 257] {
    let mut symbols = [0; 257];
    let (mut len, mut filled) = (1, 0);
    while len <= LONGEST {
        let mut symbol = 0;
        while symbol < 257 {
            if LENGTHS[symbol] as usize == len {
                symbols[filled] = symbol as u16;
                filled += 1;
            }
            symbol += 1;
        }
        len += 1;
    }
    symbols
}

const fn first() -> [(u32, u16); LONGEST + 2] {
    let mut first = [(0, 0); LONGEST + 2];
    let (mut code, mut place, mut len) = (0, 0, 1);
    while len <= LONGEST + 1 {
        code <<= 1;
        first[len] = (code, place);
        let mut symbol = 0;
        while symbol < 257 {
            if LENGTHS[symbol] as usize == len {
                code += 1;
                place += 1;
            }
            symbol += 1;
        }
        len += 1;
    }
    first
}

const fn codes() -> [u32; 257] {
    let mut codes = [0; 257];
    let mut place = 0;
    while place < 257 {
        let symbol = SYMBOLS[place] as usize;
        let (code, start) = FIRST[LENGTHS[symbol] as usize];
        codes[symbol] = code + place as u32 - start as u32;
        place += 1;
    }
    codes
}

const fn short() -> [(u8, u8); 256] {
    let mut short = [(0, 0); 256];
    let mut symbol = 0;
    while symbol < 256 {
        let len = LENGTHS[symbol];
        if len <= 8 {
            let start = (CODES[symbol] as usize) << (8 - len);
            let mut rest = 0;
            while rest < 1 << (8 - len) {
                short[start + rest] = (symbol as u8, len);
                rest += 1;
            }
        }
        symbol += 1;
    }
    short
}

/// How long `text` is when it is encoded, in bytes.
pub fn encoded_len(text: &[u8]) -> usize {
    text.iter()
        .map(|&byte| usize::from(LENGTHS[usize::from(byte)]))
        .sum::<usize>()
        .div_ceil(8)
}

/// Append `text`, encoded.
pub fn encode(text: &[u8], out: &mut BytesMut) {
    let (mut bits, mut held) = (0u64, 0u32);
    for &byte in text {
        let symbol = usize::from(byte);
        bits = bits << LENGTHS[symbol] | u64::from(CODES[symbol]);
        held += u32::from(LENGTHS[symbol]);
        while held >= 8 {
            held -= 8;
            out.put_u8((bits >> held) as u8);
        }
    }
    if held > 0 {
        // RFC 7541 section 5.2: the rest of the last byte is ones.
        out.put_u8((bits << (8 - held)) as u8 | (0xff >> held));
    }
}

/// Append what `coded` means, at most `limit` bytes. `Err(true)` when it is longer, `Err(false)` when it is wrong.
pub fn decode(coded: &[u8], limit: usize, out: &mut BytesMut) -> Result<(), bool> {
    let end = out.len().saturating_add(limit);
    let mut rest = coded.iter();
    // The bits that are held are the upper ones of a word.
    let (mut bits, mut held) = (0u64, 0u32);
    loop {
        while held <= 56 {
            let Some(&byte) = rest.next() else { break };
            bits |= u64::from(byte) << (56 - held);
            held += 8;
        }
        let (mut symbol, mut len) = (
            u16::from(SHORT[(bits >> 56) as usize].0),
            u32::from(SHORT[(bits >> 56) as usize].1),
        );
        if len == 0 {
            (symbol, len) = long(bits);
        }
        if len > held {
            // RFC 7541 section 5.2: less than a byte of padding, and that the front of EOS.
            let padding = held < 8 && bits >> (64 - held.max(1)) == (1 << held.max(1)) - 1;
            return if held == 0 || padding { Ok(()) } else { Err(false) };
        }
        if symbol == EOS {
            return Err(false);
        }
        if out.len() == end {
            return Err(true);
        }
        out.put_u8(symbol as u8);
        bits <<= len;
        held -= len;
    }
}

/// The symbol at the front of `bits` whose code has more than eight bits, and how many.
fn long(bits: u64) -> (u16, u32) {
    for len in 9..=LONGEST {
        let code = (bits >> (64 - len)) as u32;
        let (first, place) = FIRST[len];
        let count = FIRST[len + 1].1 - place;
        if code >= first && code - first < u32::from(count) {
            return (SYMBOLS[usize::from(place) + (code - first) as usize], len as u32);
        }
    }
    (EOS, LONGEST as u32)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn decoded(coded: &[u8]) -> Result<Vec<u8>, bool> {
        let mut out = BytesMut::new();
        decode(coded, 1 << 16, &mut out).map(|()| out.to_vec())
    }

    #[test]
    fn examples_of_rfc_7541_appendix_c() {
        let pairs: [(&[u8], &str); 5] = [
            (
                &[0xf1, 0xe3, 0xc2, 0xe5, 0xf2, 0x3a, 0x6b, 0xa0, 0xab, 0x90, 0xf4, 0xff],
                "www.example.com",
            ),
            (&[0xa8, 0xeb, 0x10, 0x64, 0x9c, 0xbf], "no-cache"),
            (&[0x25, 0xa8, 0x49, 0xe9, 0x5b, 0xa9, 0x7d, 0x7f], "custom-key"),
            (&[0x25, 0xa8, 0x49, 0xe9, 0x5b, 0xb8, 0xe8, 0xb4, 0xbf], "custom-value"),
            (&[0x64, 0x02], "302"),
        ];
        for (coded, text) in pairs {
            let mut out = BytesMut::new();
            encode(text.as_bytes(), &mut out);
            assert_eq!(out, coded);
            assert_eq!(decoded(coded).unwrap(), text.as_bytes());
            assert_eq!(encoded_len(text.as_bytes()), coded.len());
        }
    }

    #[test]
    fn the_ends_of_the_code_are_those_of_rfc_7541_appendix_b() {
        assert_eq!((CODES[b'0' as usize], LENGTHS[b'0' as usize]), (0x0, 5));
        assert_eq!((CODES[b'!' as usize], LENGTHS[b'!' as usize]), (0x3f8, 10));
        assert_eq!((CODES[249], LENGTHS[249]), (0xffffffe, 28));
        assert_eq!((CODES[256], LENGTHS[256]), (0x3fff_ffff, 30));
    }

    /// RFC 7541 section 5.2.
    #[test]
    fn padding_and_eos() {
        assert_eq!(decoded(&[0x1f]), Ok(b"a".to_vec()));
        assert_eq!(decoded(&[0x1e]), Err(false), "padding is not ones");
        assert_eq!(decoded(&[0x1f, 0xff]), Err(false), "a byte of padding");
        assert_eq!(decoded(&[0xff, 0xff, 0xff, 0xff]), Err(false), "EOS");
        assert_eq!(decoded(&[]), Ok(Vec::new()));
        assert_eq!(
            decode(&[0x64, 0x02], 2, &mut BytesMut::new()),
            Err(true),
            "more than the limit"
        );
    }

    proptest! {
        #[test]
        fn round_trip(text in proptest::collection::vec(any::<u8>(), 0..200)) {
            let mut out = BytesMut::new();
            encode(&text, &mut out);
            prop_assert_eq!(out.len(), encoded_len(&text));
            prop_assert_eq!(decoded(&out).unwrap(), text);
        }

        #[test]
        fn whatever_comes_is_decoded_or_refused(coded in proptest::collection::vec(any::<u8>(), 0..200)) {
            if let Ok(text) = decoded(&coded) {
                let mut out = BytesMut::new();
                encode(&text, &mut out);
                prop_assert_eq!(&out[..], &coded[..], "there is one way to encode a string");
            }
        }
    }
}
