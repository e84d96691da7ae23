//! QPACK (RFC 9204): field compression for HTTP/3.
//!
//! Two halves that know nothing of each other: an [`Encoder`] for what this side says, a [`Decoder`]
//! for what it hears. Each has a stream of instructions to its counterpart at the peer, and one from it.

mod decoder;
mod dynamic_table;
mod encoder;
mod huffman;
mod literal;
pub mod static_table;

use bytes::Bytes;

pub use decoder::{DecodeError, Decoded, Decoder, DecoderConfig};
pub use encoder::{Encoder, encode_lines};

/// The prefix of a section that refers to nothing dynamic (section 4.5.1).
pub const STATIC_PREFIX: [u8; 2] = [0, 0];

/// What a field counts for besides its name and its value (RFC 9114 section 4.2.2, RFC 9204 section 3.2.1).
const FIELD_OVERHEAD: usize = 32;

/// The name of a field as it came.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Name {
    /// That of an entry of the static table.
    Static(u8),
    /// Bytes, of which nothing is known.
    Literal(Bytes),
}

/// The value of a field as it came.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Value {
    /// That of an entry of the static table.
    Static(u8),
    /// Bytes, of which nothing is known.
    Literal(Bytes),
}

impl Name {
    fn as_bytes(&self) -> &[u8] {
        match self {
            Name::Static(index) => static_table::name(*index).as_bytes(),
            Name::Literal(name) => name,
        }
    }
}

impl Value {
    fn as_bytes(&self) -> &[u8] {
        match self {
            Value::Static(index) => static_table::value(*index).as_bytes(),
            Value::Literal(value) => value,
        }
    }
}

/// Receives the fields of a section, in order.
pub trait Sink {
    /// Why it takes no more.
    type Error;

    /// The next field.
    ///
    /// # Errors
    /// The section is not acceptable; decoding stops.
    fn field(&mut self, name: Name, value: Value) -> Result<(), Self::Error>;
}

/// A field to be encoded.
#[derive(Clone, Copy, Debug)]
pub struct Line<'a> {
    /// In lower case.
    pub name: &'a [u8],
    /// As it is.
    pub value: &'a [u8],
    /// Never to be put into a table, by anybody on the way (section 7.1.3).
    pub sensitive: bool,
}

/// The peer broke a rule of QPACK; the connection cannot go on (section 6).
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Error {
    /// QPACK_DECOMPRESSION_FAILED
    #[error("a field section cannot be decoded: {0}")]
    DecompressionFailed(&'static str),
    /// QPACK_ENCODER_STREAM_ERROR
    #[error("the encoder stream is wrong: {0}")]
    EncoderStream(&'static str),
    /// QPACK_DECODER_STREAM_ERROR
    #[error("the decoder stream is wrong: {0}")]
    DecoderStream(&'static str),
}

impl Error {
    /// The code as it goes over the wire.
    pub fn code(&self) -> u64 {
        match self {
            Error::DecompressionFailed(_) => 0x200,
            Error::EncoderStream(_) => 0x201,
            Error::DecoderStream(_) => 0x202,
        }
    }
}
