//! QPACK with arbitrary input: an encoder and a decoder that hear from each other late and in pieces, and peers that
//! send anything at all.

// Also outside of the test functions, a test is allowed to stop.
#![allow(clippy::unwrap_used)]

use std::collections::{BTreeMap, VecDeque};
use std::convert::Infallible;

use bytes::{Bytes, BytesMut};
use proptest::collection::vec;
use proptest::prelude::*;
use velocity_h3::qpack::{Decoded, Decoder, DecoderConfig, Encoder, Error, Line, Name, Sink, Value};

type Fields = Vec<(Vec<u8>, Vec<u8>)>;

#[derive(Default)]
struct Collected(Fields);

impl Sink for Collected {
    type Error = Infallible;

    fn field(&mut self, name: Name, value: Value) -> Result<(), Infallible> {
        self.0.push((name.as_bytes().to_vec(), value.as_bytes().to_vec()));
        Ok(())
    }
}

#[derive(Clone, Debug)]
enum Step {
    /// Encode a section for one of a few streams.
    Encode(u8, Vec<(Vec<u8>, Vec<u8>, bool)>),
    /// Deliver so many bytes of the encoder stream, of the decoder stream.
    ToDecoder(usize),
    ToEncoder(usize),
    /// Deliver the next section of a stream.
    Section(u8),
    /// Reset a stream; another takes its place.
    Reset(u8),
}

fn field() -> impl Strategy<Value = (Vec<u8>, Vec<u8>, bool)> {
    let name = prop_oneof![
        4 => prop::sample::select(vec![":authority", ":path", "user-agent", "cookie", "accept", "x-a", "x-bcd"])
            .prop_map(|name| name.as_bytes().to_vec()),
        1 => vec(any::<u8>(), 0..12),
    ];
    let value = prop_oneof![
        4 => prop::sample::select(vec!["", "/", "one", "another one", "something longer than the others"])
            .prop_map(|value| value.as_bytes().to_vec()),
        1 => vec(any::<u8>(), 0..60),
    ];
    (name, value, prop::bool::weighted(0.1))
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        4 => (0u8..5, vec(field(), 0..8)).prop_map(|(stream, fields)| Step::Encode(stream, fields)),
        3 => (1usize..80).prop_map(Step::ToDecoder),
        3 => (1usize..8).prop_map(Step::ToEncoder),
        4 => (0u8..5).prop_map(Step::Section),
        1 => (0u8..5).prop_map(Step::Reset),
    ]
}

/// Both ends, and what is under way between them.
struct Connection {
    encoder: Encoder,
    decoder: Decoder,
    to_decoder: VecDeque<u8>,
    to_encoder: VecDeque<u8>,
    sections: BTreeMap<u64, VecDeque<(Bytes, Fields)>>,
    blocked: Vec<u64>,
    max_blocked: usize,
    /// The streams that the numbers in steps stand for.
    streams: [u64; 5],
    next_stream: u64,
    blocked_ever: usize,
}

impl Connection {
    fn new(wanted: u32, capacity: u32, max_blocked: u16) -> Self {
        let mut encoder = Encoder::new(wanted);
        encoder.permit(capacity.into(), max_blocked.into());
        let decoder = Decoder::new(DecoderConfig {
            max_table_capacity: capacity,
            max_blocked_streams: max_blocked,
            max_section_size: 65_536,
            max_fields: 100,
        });
        Self {
            encoder,
            decoder,
            to_decoder: VecDeque::new(),
            to_encoder: VecDeque::new(),
            sections: BTreeMap::new(),
            blocked: Vec::new(),
            max_blocked: max_blocked.into(),
            streams: [0, 4, 8, 12, 16],
            next_stream: 20,
            blocked_ever: 0,
        }
    }

    fn step(&mut self, step: Step) {
        match step {
            Step::Encode(stream, fields) => {
                let stream = self.streams[usize::from(stream)];
                let lines = fields.iter().map(|(name, value, sensitive)| Line {
                    name,
                    value,
                    sensitive: *sensitive,
                });
                let mut section = BytesMut::new();
                self.encoder.encode(stream, lines, &mut section);
                let fields = fields.into_iter().map(|(name, value, _)| (name, value)).collect();
                self.sections
                    .entry(stream)
                    .or_default()
                    .push_back((section.freeze(), fields));
                let mut instructions = BytesMut::new();
                self.encoder.take_instructions(&mut instructions);
                self.to_decoder.extend(instructions);
            }
            Step::ToDecoder(count) => {
                let count = count.min(self.to_decoder.len());
                let data: Vec<u8> = self.to_decoder.drain(..count).collect();
                self.decoder.encoder_stream(&data).unwrap();
                while let Some(stream) = self.decoder.unblocked() {
                    let place = self.blocked.iter().position(|&blocked| blocked == stream).unwrap();
                    self.blocked.remove(place);
                    assert!(self.section(stream), "named, but still blocked");
                }
            }
            Step::ToEncoder(count) => {
                let mut instructions = BytesMut::new();
                self.decoder.take_instructions(&mut instructions);
                self.to_encoder.extend(instructions);
                let count = count.min(self.to_encoder.len());
                let data: Vec<u8> = self.to_encoder.drain(..count).collect();
                self.encoder.decoder_stream(&data).unwrap();
            }
            Step::Section(stream) => {
                let stream = self.streams[usize::from(stream)];
                if !self.blocked.contains(&stream) {
                    self.section(stream);
                }
            }
            Step::Reset(index) => {
                let stream = std::mem::replace(&mut self.streams[usize::from(index)], self.next_stream);
                self.next_stream += 4;
                self.encoder.cancel(stream);
                self.decoder.cancel(stream);
                self.sections.remove(&stream);
                self.blocked.retain(|&blocked| blocked != stream);
            }
        }
    }

    /// Delivers the next section of a stream; whether it could be decoded.
    fn section(&mut self, stream: u64) -> bool {
        let Some((section, fields)) = self.sections.get_mut(&stream).and_then(VecDeque::pop_front) else {
            return true;
        };
        let mut sink = Collected::default();
        match self.decoder.decode(stream, &section, &mut sink).unwrap() {
            Decoded::Complete => {
                assert_eq!(sink.0, fields);
                true
            }
            Decoded::Blocked => {
                assert!(sink.0.is_empty());
                self.sections.get_mut(&stream).unwrap().push_front((section, fields));
                self.blocked.push(stream);
                self.blocked_ever += 1;
                assert!(self.blocked.len() <= self.max_blocked);
                false
            }
        }
    }

    /// Delivers everything that is under way.
    fn settle(&mut self) {
        self.step(Step::ToDecoder(usize::MAX));
        assert!(self.blocked.is_empty());
        let streams: Vec<u64> = self.sections.keys().copied().collect();
        for stream in streams {
            while !self.sections[&stream].is_empty() {
                assert!(self.section(stream));
            }
        }
        self.step(Step::ToEncoder(usize::MAX));
    }
}

/// The limits of the tests with arbitrary bytes.
const LIMITS: DecoderConfig = DecoderConfig {
    max_table_capacity: 300,
    max_blocked_streams: 3,
    max_section_size: 500,
    max_fields: 8,
};

/// Counts as RFC 9114 section 4.2.2 does.
#[derive(Default)]
struct Limited {
    bytes: usize,
    fields: usize,
}

impl Sink for Limited {
    type Error = Infallible;

    fn field(&mut self, name: Name, value: Value) -> Result<(), Infallible> {
        self.bytes += name.as_bytes().len() + value.as_bytes().len() + 32;
        self.fields += 1;
        assert!(self.bytes as u64 <= LIMITS.max_section_size && self.fields <= LIMITS.max_fields);
        Ok(())
    }
}

/// Bytes that get further than random ones: instructions and lines that are nearly right.
fn plausible() -> impl Strategy<Value = Vec<u8>> {
    let piece = prop_oneof![
        vec(any::<u8>(), 0..20),
        any::<u8>().prop_map(|byte| vec![byte]),
        (any::<u8>(), vec(any::<u8>(), 0..40)).prop_map(|(flags, data)| {
            let mut bytes = vec![flags & 0xe0 | data.len().min(7) as u8];
            bytes.extend(data);
            bytes
        }),
        (any::<u8>(), vec(97u8..123, 0..60)).prop_map(|(index, data)| {
            let mut bytes = vec![index, data.len() as u8];
            bytes.extend(data);
            bytes
        }),
        Just(vec![0x3f, 0x8d, 0x02]),
        (0x40u8..0x60, vec(97u8..123, 31), vec(97u8..123, 0..100)).prop_map(|(first, name, value)| {
            let mut bytes = vec![first];
            bytes.extend(&name[..usize::from(first & 0x1f).min(30)]);
            bytes.push(value.len() as u8);
            bytes.extend(value);
            bytes
        }),
    ];
    vec(piece, 0..12).prop_map(|pieces| pieces.concat())
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 512, ..ProptestConfig::default() })]

    #[test]
    fn what_is_encoded_is_decoded(
        wanted in prop_oneof![Just(0u32), 1u32..400, Just(4096)],
        capacity in prop_oneof![Just(0u32), 1u32..400, Just(4096)],
        max_blocked in 0u16..4,
        steps in vec(step(), 0..120),
    ) {
        let mut connection = Connection::new(wanted, capacity, max_blocked);
        for step in steps {
            connection.step(step);
        }
        connection.settle();
    }

    #[test]
    fn a_decoder_that_is_sent_anything(
        instructions in vec(plausible(), 0..6),
        sections in vec((0u64..6, 0u8..14, any::<u8>(), plausible()), 0..6),
    ) {
        let mut decoder = Decoder::new(LIMITS);
        let mut sections = sections.into_iter();
        let _ = decoder.encoder_stream(&[0x3f, 0x8d, 0x02]);
        for data in instructions {
            if let Err(error) = decoder.encoder_stream(&data) {
                prop_assert!(matches!(error, Error::EncoderStream(_)));
            }
            if let Some((stream, required, base, lines)) = sections.next() {
                let section = [&[required, base][..], &lines].concat();
                let _ = decoder.decode(stream, &section.into(), &mut Limited::default());
                if base == 0 {
                    decoder.cancel(stream);
                }
            }
            while decoder.unblocked().is_some() {}
            decoder.take_instructions(&mut BytesMut::new());
        }
    }

    #[test]
    fn a_decoder_that_is_sent_noise(instructions: Vec<u8>, section: Vec<u8>) {
        let mut decoder = Decoder::new(LIMITS);
        let _ = decoder.encoder_stream(&instructions);
        let _ = decoder.decode(0, &section.into(), &mut Limited::default());
    }

    #[test]
    fn an_encoder_that_is_sent_anything(
        steps in vec((0u64..4, vec(field(), 0..6), vec(prop_oneof![any::<u8>(), 0u8..4, 0x80u8..0x84], 0..6)), 0..20),
    ) {
        let mut encoder = Encoder::new(300);
        encoder.permit(300, 2);
        for (stream, fields, data) in steps {
            let lines = fields.iter().map(|(name, value, sensitive)| Line { name, value, sensitive: *sensitive });
            encoder.encode(stream, lines, &mut BytesMut::new());
            encoder.take_instructions(&mut BytesMut::new());
            if let Err(error) = encoder.decoder_stream(&data) {
                prop_assert!(matches!(error, Error::DecoderStream(_)));
            }
        }
    }

    #[test]
    fn an_encoder_stream_may_come_in_any_pieces(data in plausible(), pieces in vec(1usize..10, 1..40)) {
        let data = [&[0x3f, 0x8d, 0x02][..], &data].concat();
        let mut whole = Decoder::new(LIMITS);
        let expected = whole.encoder_stream(&data);
        let mut split = Decoder::new(LIMITS);
        let mut rest = &data[..];
        let mut result = Ok(());
        for size in pieces.iter().cycle() {
            let (piece, after) = rest.split_at((*size).min(rest.len()));
            rest = after;
            result = split.encoder_stream(piece);
            if rest.is_empty() || result.is_err() {
                break;
            }
        }
        prop_assert_eq!(result, expected);
        if expected.is_ok() {
            let (mut a, mut b) = (BytesMut::new(), BytesMut::new());
            whole.take_instructions(&mut a);
            split.take_instructions(&mut b);
            prop_assert_eq!(a, b);
        }
    }
}

/// The steps above do reach the interesting places.
#[test]
fn a_connection_that_blocks_and_goes_on() {
    let mut connection = Connection::new(4096, 4096, 2);
    let field = |name: &str, value: &str| (name.as_bytes().to_vec(), value.as_bytes().to_vec(), false);
    let fields = || {
        vec![
            field(":authority", "one"),
            field("user-agent", "two"),
            field(":path", "/three"),
        ]
    };
    connection.step(Step::Encode(0, fields()));
    connection.step(Step::Encode(1, fields()));
    connection.step(Step::Encode(2, fields()));
    for stream in 0..3 {
        connection.step(Step::Section(stream));
    }
    assert_eq!((connection.blocked.len(), connection.blocked_ever), (2, 2));
    connection.settle();
    connection.step(Step::Encode(3, fields()));
    // Two references and a path.
    assert_eq!(connection.sections[&12][0].0.len(), 2 + 2 + 2 + 5);
    connection.settle();
}
