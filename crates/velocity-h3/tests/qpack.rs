//! QPACK from outside: the examples of RFC 9204 Appendix B, and every clause of it that names an error.

// Also outside of the test functions, a test is allowed to stop.
#![allow(clippy::unwrap_used, clippy::panic)]

use std::convert::Infallible;

use bytes::{Bytes, BytesMut};
use velocity_h3::qpack::{
    DecodeError, Decoded, Decoder, DecoderConfig, Encoder, Error, Line, Name, STATIC_PREFIX, Sink, Value, encode_lines,
};

type Fields = Vec<(String, String)>;

#[derive(Default)]
struct Collected(Fields);

impl Sink for Collected {
    type Error = Infallible;

    fn field(&mut self, name: Name, value: Value) -> Result<(), Infallible> {
        let text = |bytes: &[u8]| String::from_utf8(bytes.to_vec()).unwrap();
        self.0.push((text(name.as_bytes()), text(value.as_bytes())));
        Ok(())
    }
}

fn hex(text: &str) -> Vec<u8> {
    let digits: Vec<u8> = text.bytes().filter(|byte| !byte.is_ascii_whitespace()).collect();
    let digits = std::str::from_utf8(&digits).unwrap();
    (0..digits.len())
        .step_by(2)
        .map(|at| u8::from_str_radix(&digits[at..at + 2], 16).unwrap())
        .collect()
}

fn fields(pairs: &[(&str, &str)]) -> Fields {
    pairs
        .iter()
        .map(|&(name, value)| (name.to_owned(), value.to_owned()))
        .collect()
}

fn config(max_table_capacity: u32) -> DecoderConfig {
    DecoderConfig {
        max_table_capacity,
        max_blocked_streams: 1,
        max_section_size: 65_536,
        max_fields: 100,
    }
}

/// A decoder with a table of 220 bytes, and what has come on the encoder stream.
fn decoder(encoder_stream: &str) -> Decoder {
    let mut decoder = Decoder::new(config(220));
    decoder.encoder_stream(&hex(encoder_stream)).unwrap();
    decoder
}

/// Sets a capacity of 220 bytes, as in Appendix B, and inserts "x-a: b" so many times.
fn inserts(count: usize) -> String {
    format!("3fbd01 {}", "43782d6101 62".repeat(count))
}

fn decode(decoder: &mut Decoder, stream: u64, section: &str) -> Result<Fields, DecodeError<Infallible>> {
    let mut sink = Collected::default();
    match decoder.decode(stream, &Bytes::from(hex(section)), &mut sink)? {
        Decoded::Complete => Ok(sink.0),
        Decoded::Blocked => panic!("blocked"),
    }
}

#[track_caller]
fn decompression_failed(decoder: &mut Decoder, section: &str) {
    let error = decode(decoder, 0, section).unwrap_err();
    assert!(
        matches!(error, DecodeError::Qpack(Error::DecompressionFailed(_))),
        "{error:?}"
    );
}

#[track_caller]
fn encoder_stream_error(decoder: &mut Decoder, instructions: &str) {
    let error = decoder.encoder_stream(&hex(instructions)).unwrap_err();
    assert!(matches!(error, Error::EncoderStream(_)), "{error:?}");
}

#[track_caller]
fn decoder_stream_error(encoder: &mut Encoder, instructions: &str) {
    let error = encoder.decoder_stream(&hex(instructions)).unwrap_err();
    assert!(matches!(error, Error::DecoderStream(_)), "{error:?}");
}

fn from_decoder(decoder: &mut Decoder) -> Vec<u8> {
    let mut out = BytesMut::new();
    decoder.take_instructions(&mut out);
    out.to_vec()
}

fn from_encoder(encoder: &mut Encoder) -> Vec<u8> {
    let mut out = BytesMut::new();
    encoder.take_instructions(&mut out);
    out.to_vec()
}

fn lines<'a>(pairs: &'a [(&'a str, &'a str)]) -> impl Iterator<Item = Line<'a>> {
    pairs.iter().map(|(name, value)| Line {
        name: name.as_bytes(),
        value: value.as_bytes(),
        sensitive: false,
    })
}

fn encode(encoder: &mut Encoder, stream: u64, pairs: &[(&str, &str)]) -> Vec<u8> {
    let mut out = BytesMut::new();
    encoder.encode(stream, lines(pairs), &mut out);
    out.to_vec()
}

/// An encoder that uses 220 bytes, and whose peer permits them.
fn encoder(max_blocked_streams: u64) -> Encoder {
    let mut encoder = Encoder::new(220);
    encoder.permit(220, max_blocked_streams);
    encoder
}

const AUTHORITY: (&str, &str) = (":authority", "www.example.com");
const CUSTOM: (&str, &str) = ("custom-key", "custom-value");

#[test]
fn appendix_b_for_the_decoder() {
    let mut decoder = Decoder::new(config(220));

    // B.1: literal field line with name reference.
    let section = "0000 510b 2f69 6e64 6578 2e68 746d 6c";
    assert_eq!(
        decode(&mut decoder, 0, section).unwrap(),
        fields(&[(":path", "/index.html")])
    );
    assert_eq!(from_decoder(&mut decoder), []);

    // B.2: dynamic table. The section arrives first.
    let section = Bytes::from(hex("0381 10 11"));
    let mut sink = Collected::default();
    assert_eq!(decoder.decode(4, &section, &mut sink), Ok(Decoded::Blocked));
    let instructions = hex("3fbd01 c00f 7777 772e 6578 616d 706c 652e 636f 6d c10c 2f73 616d 706c 652f 7061 7468");
    let (last, most) = instructions.split_last().unwrap();
    decoder.encoder_stream(most).unwrap();
    assert_eq!(decoder.unblocked(), None);
    decoder.encoder_stream(&[*last]).unwrap();
    assert_eq!(decoder.unblocked(), Some(4));
    assert_eq!(decoder.unblocked(), None);
    assert_eq!(decoder.decode(4, &section, &mut sink), Ok(Decoded::Complete));
    assert_eq!(sink.0, fields(&[AUTHORITY, (":path", "/sample/path")]));
    assert_eq!(from_decoder(&mut decoder), hex("84"));

    // B.3: speculative insert.
    decoder
        .encoder_stream(&hex("4a63 7573 746f 6d2d 6b65 790c 6375 7374 6f6d 2d76 616c 7565"))
        .unwrap();
    assert_eq!(from_decoder(&mut decoder), hex("01"));

    // B.4: duplicate instruction, stream cancellation.
    let section = Bytes::from(hex("0500 80 c1 81"));
    assert_eq!(
        decoder.decode(8, &section, &mut Collected::default()),
        Ok(Decoded::Blocked)
    );
    decoder.cancel(8);
    decoder.encoder_stream(&hex("02")).unwrap();
    assert_eq!(decoder.unblocked(), None);
    assert_eq!(from_decoder(&mut decoder), hex("4801"));
    assert_eq!(
        decode(&mut decoder, 12, "0500 80 c1 81").unwrap(),
        fields(&[AUTHORITY, (":path", "/"), CUSTOM])
    );

    // B.5: dynamic table insert, eviction. What is left is 1 to 4.
    decoder
        .encoder_stream(&hex("810d 6375 7374 6f6d 2d76 616c 7565 32"))
        .unwrap();
    let all = decode(&mut decoder, 16, "0600 80 81 82 83").unwrap();
    assert_eq!(
        all,
        fields(&[
            ("custom-key", "custom-value2"),
            AUTHORITY,
            CUSTOM,
            (":path", "/sample/path")
        ]),
    );
    decompression_failed(&mut decoder, "0600 84");
}

/// The encoder takes the Huffman code and other steps than the examples do; what they have in common is the same.
#[test]
fn appendix_b_for_the_encoder() {
    let mut encoder = encoder(1);

    // B.1, with the value in the Huffman code.
    assert_eq!(
        encode(&mut encoder, 0, &[(":path", "/index.html")]),
        hex("0000 51 88 60d5 485f 2bce 9a68")
    );
    assert_eq!(from_encoder(&mut encoder), hex("3fbd01"));

    // B.2, where only the authority is worth an entry.
    assert_eq!(encode(&mut encoder, 4, &[AUTHORITY]), hex("0280 10"));
    assert_eq!(from_encoder(&mut encoder), hex("c0 8c f1e3 c2e5 f23a 6ba0 ab90 f4ff"));
    encoder.decoder_stream(&hex("84")).unwrap();

    // B.3 and B.4, in one step and without the duplicate.
    assert_eq!(
        encode(&mut encoder, 8, &[AUTHORITY, (":path", "/"), CUSTOM]),
        hex("0380 80 c1 10")
    );
    assert_eq!(
        from_encoder(&mut encoder),
        hex("68 25a8 49e9 5ba9 7d7f 89 25a8 49e9 5bb8 e8b4 bf")
    );
    encoder.decoder_stream(&hex("48 01")).unwrap();

    // B.5: a name that is in the dynamic table.
    assert_eq!(
        encode(&mut encoder, 12, &[("custom-key", "custom-value2")]),
        hex("0480 10")
    );
    assert_eq!(from_encoder(&mut encoder), hex("80 89 25a8 49e9 5bb8 e8b4 a2"));
}

#[test]
fn lines_encoded_once_stand_behind_the_static_prefix() {
    let pairs = [(":status", "200"), ("server", "velocity"), ("content-type", "text/css")];
    let mut section = BytesMut::from(&STATIC_PREFIX[..]);
    encode_lines(lines(&pairs), &mut section);
    let mut encoder = Encoder::new(0);
    encoder.permit(4096, 100);
    assert_eq!(encode(&mut encoder, 0, &pairs), section);
    assert_eq!(from_encoder(&mut encoder), []);
    let mut sink = Collected::default();
    assert_eq!(
        Decoder::new(config(0)).decode(0, &section.freeze(), &mut sink),
        Ok(Decoded::Complete)
    );
    assert_eq!(sink.0, fields(&pairs));
}

#[test]
fn error_codes_of_section_6() {
    assert_eq!(Error::DecompressionFailed("").code(), 0x200);
    assert_eq!(Error::EncoderStream("").code(), 0x201);
    assert_eq!(Error::DecoderStream("").code(), 0x202);
}

#[test]
fn must_2_1_2_more_blocked_streams_than_allowed_are_an_error() {
    let mut decoder = decoder("3fbd01");
    let section = Bytes::from(hex("0200 80"));
    let mut sink = Collected::default();
    assert_eq!(decoder.decode(0, &section, &mut sink), Ok(Decoded::Blocked));
    // The same stream again is no more than that stream.
    assert_eq!(decoder.decode(0, &section, &mut sink), Ok(Decoded::Blocked));
    let error = decoder.decode(4, &section, &mut sink).unwrap_err();
    assert!(matches!(error, DecodeError::Qpack(Error::DecompressionFailed(_))));
}

#[test]
fn a_blocked_stream_that_is_cancelled_makes_room() {
    let mut decoder = decoder("3fbd01");
    let section = Bytes::from(hex("0200 80"));
    assert_eq!(
        decoder.decode(0, &section, &mut Collected::default()),
        Ok(Decoded::Blocked)
    );
    decoder.cancel(0);
    assert_eq!(
        decoder.decode(4, &section, &mut Collected::default()),
        Ok(Decoded::Blocked)
    );
    decoder.encoder_stream(&hex("43782d6101 62")).unwrap();
    assert_eq!(decoder.unblocked(), Some(4));
    assert_eq!(decoder.unblocked(), None);
}

#[test]
fn must_2_2_1_a_required_insert_count_below_what_the_lines_need_is_an_error() {
    // Two entries are there; one is required, and the second is referred to in each way.
    for section in ["0201 80", "0201 40 00", "0280 11", "0280 01 00"] {
        decompression_failed(&mut decoder(&inserts(2)), section);
    }
    // A section that requires nothing, but refers to the dynamic table.
    for section in ["0002 80", "0002 40 00", "0000 10", "0000 00 00"] {
        decompression_failed(&mut decoder(&inserts(2)), section);
    }
}

#[test]
fn must_2_2_3_a_reference_to_an_evicted_entry_is_an_error() {
    // 220 bytes hold six entries of 36 bytes: the seventh pushes out the first.
    let mut six = decoder(&inserts(6));
    assert_eq!(decode(&mut six, 0, "0700 85").unwrap(), fields(&[("x-a", "b")]));
    for section in ["0800 86", "0800 46 00", "0886 10", "0886 00 00"] {
        decompression_failed(&mut decoder(&inserts(7)), section);
    }
}

#[test]
fn must_2_2_3_an_instruction_that_refers_to_an_evicted_entry_is_an_error() {
    decoder(&inserts(7)).encoder_stream(&hex("05")).unwrap();
    encoder_stream_error(&mut decoder(&inserts(7)), "06");
    encoder_stream_error(&mut decoder(&inserts(7)), "86 00");
    encoder_stream_error(&mut decoder(&inserts(0)), "00");
}

#[test]
fn must_3_1_a_static_index_out_of_range_is_an_error() {
    // 98 is the last.
    assert_eq!(
        decode(&mut decoder(""), 0, "0000 ff23").unwrap(),
        fields(&[("x-frame-options", "sameorigin")])
    );
    for section in ["0000 ff24", "0000 5f54 00", "0000 ff c101", "0000 ff ffffffffff07"] {
        decompression_failed(&mut decoder(""), section);
    }
    decoder("3fbd01").encoder_stream(&hex("ff23 00")).unwrap();
    encoder_stream_error(&mut decoder("3fbd01"), "ff24 00");
    encoder_stream_error(&mut decoder("3fbd01"), "ff c101 00");
}

#[test]
fn must_3_2_2_an_entry_larger_than_the_table_is_an_error() {
    // A table of 40 bytes: "x-a" and five bytes fit.
    let fits = "3f09 43782d6105 6262626262";
    decoder(fits);
    encoder_stream_error(&mut decoder(""), "3f09 43782d6106 626262626262");
    // In the Huffman code, with a name from either table, and with no table at all.
    encoder_stream_error(&mut decoder(""), "3f09 43782d6184 00000007");
    encoder_stream_error(&mut decoder(fits), "8006 626262626262");
    encoder_stream_error(&mut decoder("3f09"), "c5 03 626262");
    encoder_stream_error(&mut decoder(""), "c5 00");
    encoder_stream_error(&mut decoder(""), "40 00");
    // As soon as the length is known.
    encoder_stream_error(&mut decoder(""), "3f09 7f ffff03");
    encoder_stream_error(&mut decoder(""), "3f09 43782d61 ff ffff03");
}

#[test]
fn must_4_1_1_an_integer_above_62_bits_is_an_error() {
    let endless = "ff ffffffffffffffffffff";
    decompression_failed(&mut decoder(""), endless);
    decompression_failed(&mut decoder(""), &format!("0000 {endless}"));
    encoder_stream_error(&mut decoder(""), "3f ffffffffffffffffffff");
    decoder_stream_error(&mut encoder(1), endless);
}

#[test]
fn must_4_1_2_a_string_with_an_invalid_huffman_code_is_an_error() {
    // The padding is zeros, longer than seven bits, or EOS.
    for string in ["81 00", "81 ff", "84 ffffffff"] {
        decompression_failed(&mut decoder(""), &format!("0000 51 {string}"));
        encoder_stream_error(&mut decoder("3fbd01"), &format!("c1 {string}"));
    }
}

#[test]
fn a_section_that_ends_early_is_an_error() {
    for section in [
        "",
        "00",
        "00 ff",
        "0000 51",
        "0000 51 02 62",
        "0000 23 62",
        "0000 ff",
        "0000 51 82 64",
    ] {
        decompression_failed(&mut decoder(""), section);
    }
    assert_eq!(decode(&mut decoder(""), 0, "0000"), Ok(vec![]));
}

#[test]
fn must_4_3_1_a_capacity_above_the_maximum_is_an_error() {
    decoder("3fbd01").encoder_stream(&hex("20")).unwrap();
    encoder_stream_error(&mut decoder(""), "3fbe01");
    encoder_stream_error(&mut Decoder::new(config(0)), "21");
    Decoder::new(config(0)).encoder_stream(&hex("20")).unwrap();
}

#[test]
fn must_4_4_1_an_acknowledgment_without_a_section_is_an_error() {
    decoder_stream_error(&mut encoder(1), "84");

    let mut peer = encoder(1);
    encode(&mut peer, 4, &[AUTHORITY]);
    from_encoder(&mut peer);
    peer.decoder_stream(&hex("84")).unwrap();
    decoder_stream_error(&mut peer, "84");

    // A section without dynamic references counts for nothing, and a cancelled stream has none left.
    let mut peer = encoder(1);
    encode(&mut peer, 4, &[(":path", "/")]);
    decoder_stream_error(&mut peer, "84");
    let mut peer = encoder(1);
    encode(&mut peer, 4, &[AUTHORITY]);
    decoder_stream_error(&mut peer, "44 84");
}

#[test]
fn must_4_4_3_an_increment_of_zero_or_beyond_what_was_sent_is_an_error() {
    decoder_stream_error(&mut encoder(1), "00");
    decoder_stream_error(&mut encoder(1), "01");

    let mut peer = encoder(1);
    encode(&mut peer, 4, &[AUTHORITY]);
    from_encoder(&mut peer);
    peer.decoder_stream(&hex("01")).unwrap();
    decoder_stream_error(&mut peer, "01");

    // Inserted, but not sent.
    let mut peer = encoder(1);
    encode(&mut peer, 4, &[AUTHORITY]);
    decoder_stream_error(&mut peer, "01");

    // The acknowledgment of a section already says that its insertion has arrived.
    let mut peer = encoder(1);
    encode(&mut peer, 4, &[AUTHORITY]);
    from_encoder(&mut peer);
    decoder_stream_error(&mut peer, "84 01");
}

#[test]
fn must_4_5_1_1_a_required_insert_count_no_encoder_sends_is_an_error() {
    // The table has six entries at most: 13 is above the full range. 1 stands for zero, but zero is written as 0.
    decompression_failed(&mut decoder(""), "0d00");
    decompression_failed(&mut decoder(""), "0100");
    decompression_failed(&mut Decoder::new(config(0)), "0200");
}

#[test]
fn must_4_5_1_2_a_negative_base_is_an_error() {
    decompression_failed(&mut decoder(&inserts(1)), "0281");
    decompression_failed(&mut decoder(&inserts(1)), "0080");
}

#[test]
fn must_2_2_2_1_a_section_with_dynamic_references_is_acknowledged_and_others_are_not() {
    let mut decoder = decoder(&inserts(3));
    decode(&mut decoder, 4, "0000 c1").unwrap();
    decode(&mut decoder, 8, "0300 80").unwrap();
    decode(&mut decoder, 8, "0200 80").unwrap();
    // Two insertions are acknowledged with the first section, and one is left to say.
    assert_eq!(from_decoder(&mut decoder), hex("88 88 01"));
    assert_eq!(from_decoder(&mut decoder), []);
}

#[test]
fn may_2_2_2_2_without_a_table_nothing_is_cancelled() {
    let mut decoder = Decoder::new(config(0));
    decoder.cancel(4);
    assert_eq!(from_decoder(&mut decoder), []);
}

#[test]
fn must_2_1_1_an_entry_is_not_evicted_before_it_is_acknowledged_and_released() {
    let value = |byte: &str| byte.repeat(60);
    let mut encoder = encoder(100);
    // Two entries of 92 + 3 bytes fill the table.
    let (a, b, c) = (value("~"), value("|"), value("^"));
    encode(&mut encoder, 0, &[("x-a", &a)]);
    encode(&mut encoder, 4, &[("x-b", &b)]);
    from_encoder(&mut encoder);
    let refused = |encoder: &mut Encoder, stream, name| {
        let section = encode(encoder, stream, &[(name, &c)]);
        assert_eq!(section[..2], STATIC_PREFIX);
        assert_eq!(from_encoder(encoder), []);
    };
    // Neither has arrived as far as we know; then both have, but a section may still need the first.
    refused(&mut encoder, 8, "x-c");
    encoder.decoder_stream(&hex("02")).unwrap();
    refused(&mut encoder, 12, "x-c");
    encoder.decoder_stream(&hex("80")).unwrap();
    let section = encode(&mut encoder, 16, &[("x-c", &c)]);
    assert_ne!(section[..2], STATIC_PREFIX);
    assert_ne!(from_encoder(&mut encoder), []);
    // And now it is the second that is the oldest, and referred to.
    encoder.decoder_stream(&hex("01")).unwrap();
    refused(&mut encoder, 20, "x-d");
}

#[test]
fn must_2_1_1_an_entry_that_nothing_refers_to_waits_for_its_acknowledgment_too() {
    let (a, b, c) = ("~".repeat(60), "|".repeat(60), "^".repeat(60));
    let mut encoder = encoder(0);
    encode(&mut encoder, 0, &[("x-a", &a), ("x-b", &b)]);
    assert_ne!(from_encoder(&mut encoder), []);
    encode(&mut encoder, 4, &[("x-c", &c)]);
    assert_eq!(from_encoder(&mut encoder), []);
    encoder.decoder_stream(&hex("01")).unwrap();
    encode(&mut encoder, 8, &[("x-c", &c)]);
    assert_ne!(from_encoder(&mut encoder), []);
}

#[test]
fn a_stream_that_we_reset_keeps_what_it_refers_to_until_the_peer_cancels_it() {
    let (a, b, c) = ("~".repeat(60), "|".repeat(60), "^".repeat(60));
    let mut encoder = encoder(100);
    encode(&mut encoder, 0, &[("x-a", &a), ("x-b", &b)]);
    from_encoder(&mut encoder);
    encoder.decoder_stream(&hex("02")).unwrap();
    encoder.cancel(0);
    assert_eq!(encode(&mut encoder, 4, &[("x-c", &c)])[..2], STATIC_PREFIX);
    encoder.decoder_stream(&hex("40")).unwrap();
    assert_ne!(encode(&mut encoder, 8, &[("x-c", &c)])[..2], STATIC_PREFIX);
}

#[test]
fn must_2_1_2_the_encoder_keeps_to_the_permitted_blocked_streams() {
    let mut encoder = encoder(1);
    assert_ne!(encode(&mut encoder, 0, &[AUTHORITY])[..2], STATIC_PREFIX);
    // A second stream may not wait, but the first, which does already, may have more to wait for.
    assert_eq!(encode(&mut encoder, 4, &[AUTHORITY])[..2], STATIC_PREFIX);
    assert_eq!(encode(&mut encoder, 4, &[CUSTOM])[..2], STATIC_PREFIX);
    assert_ne!(encode(&mut encoder, 0, &[CUSTOM])[..2], STATIC_PREFIX);
    // Both insertions have arrived: nothing waits.
    from_encoder(&mut encoder);
    encoder.decoder_stream(&hex("02")).unwrap();
    assert_eq!(encode(&mut encoder, 4, &[AUTHORITY, CUSTOM]), hex("0300 81 80"));
}

#[test]
fn with_no_blocked_streams_permitted_entries_are_used_once_they_have_arrived() {
    let mut encoder = encoder(0);
    assert_eq!(encode(&mut encoder, 0, &[AUTHORITY])[..2], STATIC_PREFIX);
    assert_ne!(from_encoder(&mut encoder), []);
    encoder.decoder_stream(&hex("01")).unwrap();
    assert_eq!(encode(&mut encoder, 0, &[AUTHORITY]), hex("0200 80"));
}

#[test]
fn must_3_2_3_the_encoder_does_not_exceed_the_permitted_capacity() {
    let mut encoder = Encoder::new(4096);
    assert_eq!(encode(&mut encoder, 0, &[AUTHORITY])[..2], STATIC_PREFIX);
    encoder.permit(220, 1);
    assert_eq!(from_encoder(&mut encoder), hex("3fbd01"));
    let mut encoder = Encoder::new(4096);
    encoder.permit(0, 1);
    encode(&mut encoder, 0, &[AUTHORITY]);
    assert_eq!(from_encoder(&mut encoder), []);
}

#[test]
fn must_7_1_3_a_sensitive_line_is_never_indexed() {
    let mut encoder = encoder(1);
    from_encoder(&mut encoder);
    encode(&mut encoder, 0, &[AUTHORITY]);
    from_encoder(&mut encoder);
    encoder.decoder_stream(&hex("80")).unwrap();
    let mut out = BytesMut::new();
    let (name, value) = AUTHORITY;
    encoder.encode(
        4,
        [Line {
            name: name.as_bytes(),
            value: value.as_bytes(),
            sensitive: true,
        }],
        &mut out,
    );
    assert_eq!(&out[..], hex("0000 70 8c f1e3 c2e5 f23a 6ba0 ab90 f4ff"));
    assert_eq!(from_encoder(&mut encoder), []);
}

#[test]
fn a_peer_that_never_acknowledges_gets_only_so_many_references() {
    let mut encoder = encoder(u64::MAX);
    let dynamic = (0..5000).filter(|stream| encode(&mut encoder, stream * 4, &[AUTHORITY])[..2] != STATIC_PREFIX);
    assert_eq!(dynamic.count(), 1024);
}

struct Counting {
    fields: usize,
    bytes: usize,
}

impl Sink for Counting {
    type Error = Infallible;

    fn field(&mut self, name: Name, value: Value) -> Result<(), Infallible> {
        self.fields += 1;
        self.bytes += name.as_bytes().len() + value.as_bytes().len() + 32;
        Ok(())
    }
}

#[test]
fn a_bomb_of_references_ends_early() {
    let limits = DecoderConfig {
        max_table_capacity: 4096,
        max_fields: 1_000_000,
        ..config(0)
    };
    let mut decoder = Decoder::new(limits);
    // One entry of 4000 bytes and more, and a section that names it a million times.
    let mut instructions = hex("3fe11f 43782d61 7f a11e");
    instructions.extend([b'b'; 4000]);
    decoder.encoder_stream(&instructions).unwrap();
    let mut section = hex("0200");
    section.extend(std::iter::repeat_n(0x80, 1_000_000));
    let mut sink = Counting { fields: 0, bytes: 0 };
    assert_eq!(
        decoder.decode(0, &section.into(), &mut sink),
        Err(DecodeError::TooLarge)
    );
    assert_eq!((sink.fields, sink.bytes), (16, 16 * 4035));
    // The message is at fault, not the connection: the section is acknowledged.
    assert_eq!(from_decoder(&mut decoder), hex("80"));
}

#[test]
fn a_bomb_of_names_ends_early() {
    let limits = DecoderConfig {
        max_table_capacity: 4096,
        max_fields: 1_000_000,
        ..config(0)
    };
    let mut decoder = Decoder::new(limits);
    let mut instructions = hex("3fe11f 5f811f");
    instructions.extend([b'b'; 4000]);
    instructions.push(0);
    decoder.encoder_stream(&instructions).unwrap();
    let mut section = hex("0200");
    section.extend([0x40, 0].repeat(1_000_000));
    let mut sink = Counting { fields: 0, bytes: 0 };
    assert_eq!(
        decoder.decode(0, &section.into(), &mut sink),
        Err(DecodeError::TooLarge)
    );
    assert_eq!(sink.fields, 16);
}

#[test]
fn the_limits_of_a_section_are_exact() {
    // ":path: 302", as it is and in the Huffman code, ":path: /", and "302: "; from the dynamic table "x-a: b", by both
    // kinds of index, and "x-a: ".
    for (section, size) in [
        ("0000 51 03 333032", 40),
        ("0000 51 82 6402", 40),
        ("0000 c1", 38),
        ("0000 2a 6402 00", 35),
        ("0200 80", 36),
        ("0280 10", 36),
        ("0200 40 00", 35),
        ("0280 00 00", 35),
    ] {
        for (max_section_size, max_fields, fits) in [(size, 1, true), (size - 1, 1, false), (size, 0, false)] {
            let mut decoder = Decoder::new(DecoderConfig {
                max_section_size,
                max_fields,
                ..config(220)
            });
            decoder.encoder_stream(&hex(&inserts(1))).unwrap();
            let result = decode(&mut decoder, 0, section);
            assert_eq!(result.is_ok(), fits, "{section} {max_section_size} {max_fields}");
            assert!(fits || result == Err(DecodeError::TooLarge));
        }
    }
}

#[test]
fn one_field_too_many_is_not_expanded() {
    // Its Huffman code is invalid, which nobody looks at.
    let mut decoder = Decoder::new(DecoderConfig {
        max_fields: 0,
        ..config(220)
    });
    assert_eq!(decode(&mut decoder, 0, "0000 51 81 00"), Err(DecodeError::TooLarge));
    assert_eq!(decode(&mut decoder, 0, "0000 29 00 00"), Err(DecodeError::TooLarge));
}

#[test]
fn a_sink_that_refuses_a_field_ends_the_section() {
    struct Refusing(usize);
    impl Sink for Refusing {
        type Error = &'static str;
        fn field(&mut self, _: Name, _: Value) -> Result<(), &'static str> {
            self.0 += 1;
            if self.0 == 2 { Err("enough") } else { Ok(()) }
        }
    }
    let mut sink = Refusing(0);
    let result = decoder("").decode(0, &Bytes::from(hex("0000 c1 c1 c1")), &mut sink);
    assert_eq!((result, sink.0), (Err(DecodeError::Sink("enough")), 2));
}
