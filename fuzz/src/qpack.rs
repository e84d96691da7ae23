//! QPACK (RFC 9204): both streams, field sections, and the Huffman code (RFC 7541, section 5.2).

use std::convert::Infallible;

use bytes::{Bytes, BytesMut};
use velocity_h3::qpack::{
    DecodeError, Decoded, Decoder, DecoderConfig, Encoder, Error, Line, Name, STATIC_PREFIX, Sink, Value, encode_lines,
};

use crate::input::{Input, pieces};

const LIMITS: DecoderConfig = DecoderConfig {
    max_table_capacity: 300,
    max_blocked_streams: 3,
    max_section_size: 2000,
    max_fields: 20,
};

/// Sets the capacity of 300 bytes.
const CAPACITY: [u8; 3] = [0x3f, 0x8d, 0x02];

type Field = (Vec<u8>, Vec<u8>);

/// Collects fields, and counts as RFC 9114, section 4.2.2, does.
#[derive(Debug, Default, PartialEq)]
struct Fields {
    fields: Vec<Field>,
    size: u64,
}

impl Sink for Fields {
    type Error = Infallible;

    fn field(&mut self, name: Name, value: Value) -> Result<(), Infallible> {
        let (name, value) = (name.as_bytes().to_vec(), value.as_bytes().to_vec());
        self.size += (name.len() + value.len() + 32) as u64;
        self.fields.push((name, value));
        assert!(
            self.size <= LIMITS.max_section_size && self.fields.len() <= LIMITS.max_fields,
            "beyond the limits"
        );
        Ok(())
    }
}

fn taken(take: impl FnOnce(&mut BytesMut)) -> BytesMut {
    let mut bytes = BytesMut::new();
    take(&mut bytes);
    bytes
}

/// A decoder makes the same of instructions, wherever they are cut, and of sections that refer to them.
pub fn qpack_encoder_stream(data: &[u8]) {
    let mut input = Input(data);
    let cut = usize::from(input.byte() % 16) + 1;
    let (mut whole, mut cut_up) = (Decoder::new(LIMITS), Decoder::new(LIMITS));
    let mut stream = 0;
    for decoder in [&mut whole, &mut cut_up] {
        decoder.encoder_stream(&CAPACITY).expect("the capacity is allowed");
    }
    while !input.is_empty() {
        let bytes = input.bytes();
        let outcome = whole.encoder_stream(bytes);
        assert_eq!(
            outcome,
            pieces(bytes, cut).try_for_each(|piece| cut_up.encoder_stream(piece))
        );
        if let Err(error) = outcome {
            return assert!(matches!(error, Error::EncoderStream(_)));
        }
        loop {
            let unblocked = whole.unblocked();
            assert_eq!(unblocked, cut_up.unblocked());
            if unblocked.is_none() {
                break;
            }
        }
        let section = Bytes::copy_from_slice(input.bytes());
        let mut fields = (Fields::default(), Fields::default());
        let outcome = whole.decode(stream, &section, &mut fields.0);
        assert_eq!(outcome, cut_up.decode(stream, &section, &mut fields.1));
        assert_eq!(fields.0, fields.1);
        match outcome {
            Err(DecodeError::Qpack(error)) => return assert!(matches!(error, Error::DecompressionFailed(_))),
            Ok(Decoded::Blocked) => assert!(fields.0.fields.is_empty()),
            Ok(Decoded::Complete) | Err(DecodeError::TooLarge) => {}
        }
        stream += 4;
        let said = taken(|out| whole.take_instructions(out));
        assert_eq!(said, taken(|out| cut_up.take_instructions(out)));
    }
}

/// An encoder goes on the same, wherever what it is told was cut; and its own decoder understands it if it was told
/// the truth.
pub fn qpack_decoder_stream(data: &[u8]) {
    let mut input = Input(data);
    let cut = usize::from(input.byte() % 16) + 1;
    let new = || {
        let mut encoder = Encoder::new(LIMITS.max_table_capacity);
        encoder.permit(LIMITS.max_table_capacity.into(), LIMITS.max_blocked_streams.into());
        encoder
    };
    let (mut whole, mut cut_up) = (new(), new());
    let mut decoder = Decoder::new(LIMITS);
    while !input.is_empty() {
        let stream = u64::from(input.byte() % 4) * 4;
        let fields: Vec<_> = (0..input.byte() % 8).map(|_| (input.byte(), input.byte())).collect();
        let fields: Vec<Field> = fields.into_iter().map(|(name, value)| field(name, value)).collect();
        let lines = || {
            fields.iter().map(|(name, value)| Line {
                name,
                value,
                sensitive: false,
            })
        };
        let section = taken(|out| whole.encode(stream, lines(), out));
        assert_eq!(section, taken(|out| cut_up.encode(stream, lines(), out)));
        let instructions = taken(|out| whole.take_instructions(out));
        assert_eq!(instructions, taken(|out| cut_up.take_instructions(out)));

        decoder.encoder_stream(&instructions).expect("our own instructions");
        let mut decoded = Fields::default();
        let outcome = decoder.decode(stream, &section.freeze(), &mut decoded);
        assert_eq!((outcome, decoded.fields), (Ok(Decoded::Complete), fields));

        let told = input.bytes();
        let outcome = whole.decoder_stream(told);
        assert_eq!(
            outcome,
            pieces(told, cut).try_for_each(|piece| cut_up.decoder_stream(piece))
        );
        if let Err(error) = outcome {
            return assert!(matches!(error, Error::DecoderStream(_)));
        }
    }
}

/// Few names and values, so that they come again and are worth a place in the table.
fn field(name: u8, value: u8) -> Field {
    const NAMES: [&str; 6] = ["x-a", "x-bcd", "user-agent", ":path", "accept", "server"];
    let name = NAMES[usize::from(name) % NAMES.len()];
    (name.as_bytes().to_vec(), vec![b'a' + value % 4; usize::from(value) / 4])
}

/// A section is decoded within the limits, and comes back when what was decoded is encoded.
pub fn field_section(data: &[u8]) {
    let mut decoder = Decoder::new(LIMITS);
    decoder.encoder_stream(&CAPACITY).expect("the capacity is allowed");
    decoder
        .encoder_stream(b"\x41a\x01b\x43x-a\x03one\xc1\x04/two\x02")
        .expect("four insertions");
    let section = Bytes::copy_from_slice(data);
    let mut fields = Fields::default();
    match decoder.decode(0, &section, &mut fields) {
        Ok(Decoded::Complete) => assert_eq!(again(&fields.fields), fields),
        Ok(Decoded::Blocked) => assert!(fields.fields.is_empty()),
        Err(DecodeError::Qpack(error)) => assert!(matches!(error, Error::DecompressionFailed(_))),
        Err(DecodeError::TooLarge) => {}
    }
}

/// Encode without a table, and decode.
fn again(fields: &[Field]) -> Fields {
    let lines = fields.iter().map(|(name, value)| Line {
        name,
        value,
        sensitive: false,
    });
    let mut section = BytesMut::from(&STATIC_PREFIX[..]);
    encode_lines(lines, &mut section);
    let mut fields = Fields::default();
    let outcome = Decoder::new(LIMITS).decode(0, &section.freeze(), &mut fields);
    assert_eq!(outcome, Ok(Decoded::Complete));
    fields
}

/// Of every string there is one code only: what can be decoded is what the string is encoded as.
pub fn huffman(code: &[u8]) {
    struct Path(Vec<u8>);
    impl Sink for Path {
        type Error = Infallible;

        fn field(&mut self, _: Name, value: Value) -> Result<(), Infallible> {
            self.0 = value.as_bytes().to_vec();
            Ok(())
        }
    }
    // A literal with the name :path, and a value of so many bytes in the Huffman code.
    let mut section = vec![0, 0, 0x51];
    match code.len() {
        len @ 0..127 => section.push(0x80 | len as u8),
        len => {
            let mut left = len - 127;
            section.push(0xff);
            while left >= 0x80 {
                section.push(left as u8 | 0x80);
                left >>= 7;
            }
            section.push(left as u8);
        }
    }
    section.extend_from_slice(code);
    let mut decoder = Decoder::new(DecoderConfig {
        max_section_size: u64::MAX,
        ..LIMITS
    });
    let mut path = Path(Vec::new());
    match decoder.decode(0, &Bytes::from(section), &mut path) {
        Ok(outcome) => assert_eq!(outcome, Decoded::Complete),
        Err(error) => return assert!(matches!(error, DecodeError::Qpack(Error::DecompressionFailed(_)))),
    }
    let Path(value) = path;
    let line = Line {
        name: b":path",
        value: &value,
        sensitive: false,
    };
    let encoded = taken(|out| encode_lines([line], out));
    match encoded.get(..2) {
        // The encoder takes the code where that is shorter.
        Some([0x51, first]) if first & 0x80 != 0 => assert!(encoded.ends_with(code)),
        _ => assert!(value == b"/" || code.len() >= value.len()),
    }
}
