//! QPACK (RFC 9204): field compression for HTTP/3.
//!
//! A [`Decoder`] and an [`Encoder`] are the two halves of one endpoint. Each reads one unidirectional stream of the
//! peer and writes one of its own; both take bytes in pieces of any size and never block. What QPACK has in common
//! with HPACK, integers and the Huffman code, is in RFC 7541.

mod decoder;
mod dynamic_table;
mod encoder;
mod huffman;
mod instructions;
mod integer;
mod lines;
mod literal;
mod policy;
mod section;
pub mod static_table;

use bytes::Bytes;

pub use decoder::{Decoded, Decoder, DecoderConfig};
pub use encoder::Encoder;
pub use lines::{Line, STATIC_PREFIX, encode_lines};

/// The name of a field as it came: an entry of the static table, or bytes. Nothing has been validated.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Name {
    /// The name of this entry of the static table, always below [`static_table::LEN`].
    Static(u8),
    /// The bytes the peer sent.
    Literal(Bytes),
}

impl Name {
    /// The name itself.
    #[must_use]
    pub fn as_bytes(&self) -> &[u8] {
        match self {
            Self::Static(index) => static_table::name(*index).as_bytes(),
            Self::Literal(bytes) => bytes,
        }
    }
}

/// The value of a field as it came. Nothing has been validated.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Value {
    /// The value of this entry of the static table, always below [`static_table::LEN`].
    Static(u8),
    /// The bytes the peer sent.
    Literal(Bytes),
}

impl Value {
    /// The value itself.
    #[must_use]
    pub fn as_bytes(&self) -> &[u8] {
        match self {
            Self::Static(index) => static_table::value(*index).as_bytes(),
            Self::Literal(bytes) => bytes,
        }
    }
}

/// Receives the fields of a section, in order.
pub trait Sink {
    /// Why a field is refused.
    type Error;

    /// Takes one field.
    ///
    /// # Errors
    ///
    /// An error ends the section: no further field is given.
    fn field(&mut self, name: Name, value: Value) -> Result<(), Self::Error>;
}

/// What a peer did that ends the connection (RFC 9204 section 6), with the reason for the log.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Error {
    /// An encoded field section cannot be interpreted.
    #[error("QPACK_DECOMPRESSION_FAILED: {0}")]
    DecompressionFailed(&'static str),
    /// An instruction on the peer's encoder stream cannot be interpreted.
    #[error("QPACK_ENCODER_STREAM_ERROR: {0}")]
    EncoderStream(&'static str),
    /// An instruction on the peer's decoder stream cannot be interpreted.
    #[error("QPACK_DECODER_STREAM_ERROR: {0}")]
    DecoderStream(&'static str),
}

impl Error {
    /// The HTTP/3 error code to close the connection with.
    #[must_use]
    pub fn code(&self) -> u64 {
        match self {
            Self::DecompressionFailed(_) => 0x200,
            Self::EncoderStream(_) => 0x201,
            Self::DecoderStream(_) => 0x202,
        }
    }
}

/// Why a section did not decode.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum DecodeError<E> {
    /// The connection cannot go on.
    #[error(transparent)]
    Qpack(#[from] Error),
    /// The section is larger than [`DecoderConfig`] allows: at fault is the message, not the connection.
    #[error("the field section is larger than allowed")]
    TooLarge,
    /// The sink refused a field.
    #[error("a field was refused")]
    Sink(E),
}
