//! The instructions on the encoder stream (RFC 9204 section 4.3) and on the decoder stream (section 4.4).

use bytes::BytesMut;

use super::integer::{self, Fault, Reader};
use super::literal::{self, Literal};

/// Where an instruction or a field line takes a name from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Reference {
    Static(u64),
    /// Relative to the Insert Count.
    Dynamic(u64),
}

/// What an encoder says to the other side's decoder.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum ToDecoder<'a> {
    SetCapacity(u64),
    InsertWithNameReference(Reference, Literal<'a>),
    InsertWithLiteralName(Literal<'a>, Literal<'a>),
    Duplicate(u64),
}

impl<'a> ToDecoder<'a> {
    /// Reads one; strings of which can be told early that they are longer than `limit` are not waited for.
    pub(super) fn read(reader: &mut Reader<'a>, limit: u64) -> Result<Self, Fault> {
        let first = reader.peek().ok_or(Fault::Short)?;
        if first & 0x80 != 0 {
            let index = reader.integer(6)?;
            let name = if first & 0x40 != 0 {
                Reference::Static(index)
            } else {
                Reference::Dynamic(index)
            };
            Ok(Self::InsertWithNameReference(name, Literal::read(reader, 7, limit)?))
        } else if first & 0x40 != 0 {
            let name = Literal::read(reader, 5, limit)?;
            Ok(Self::InsertWithLiteralName(name, Literal::read(reader, 7, limit)?))
        } else if first & 0x20 != 0 {
            Ok(Self::SetCapacity(reader.integer(5)?))
        } else {
            Ok(Self::Duplicate(reader.integer(5)?))
        }
    }
}

pub(super) fn put_set_capacity(out: &mut BytesMut, capacity: u64) {
    integer::put(out, 0x20, 5, capacity);
}

pub(super) fn put_insert_with_name_reference(out: &mut BytesMut, name: Reference, value: &[u8]) {
    match name {
        Reference::Static(index) => integer::put(out, 0xc0, 6, index),
        Reference::Dynamic(index) => integer::put(out, 0x80, 6, index),
    }
    literal::put(out, 0, 7, value);
}

pub(super) fn put_insert_with_literal_name(out: &mut BytesMut, name: &[u8], value: &[u8]) {
    literal::put(out, 0x40, 5, name);
    literal::put(out, 0, 7, value);
}

/// What a decoder says to the other side's encoder.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum ToEncoder {
    /// A section of this stream, which refers to the dynamic table, was decoded.
    SectionAcknowledgment(u64),
    /// This stream will not be read any further.
    StreamCancellation(u64),
    /// So many more insertions have arrived.
    InsertCountIncrement(u64),
}

impl ToEncoder {
    pub(super) fn read(reader: &mut Reader<'_>) -> Result<Self, Fault> {
        let first = reader.peek().ok_or(Fault::Short)?;
        if first & 0x80 != 0 {
            reader.integer(7).map(Self::SectionAcknowledgment)
        } else if first & 0x40 != 0 {
            reader.integer(6).map(Self::StreamCancellation)
        } else {
            reader.integer(6).map(Self::InsertCountIncrement)
        }
    }

    pub(super) fn put(self, out: &mut BytesMut) {
        match self {
            Self::SectionAcknowledgment(stream) => integer::put(out, 0x80, 7, stream),
            Self::StreamCancellation(stream) => integer::put(out, 0x40, 6, stream),
            Self::InsertCountIncrement(increment) => integer::put(out, 0, 6, increment),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What is written for each instruction of an encoder is what is read.
    #[test]
    fn encoder_stream() {
        let mut out = BytesMut::new();
        put_set_capacity(&mut out, 220);
        put_insert_with_name_reference(&mut out, Reference::Static(0), b"~");
        put_insert_with_name_reference(&mut out, Reference::Dynamic(1), b"~");
        put_insert_with_literal_name(&mut out, b"~", b"~~");
        out.extend_from_slice(&[0x02]);
        assert_eq!(&out[..], b"\x3f\xbd\x01\xc0\x01~\x81\x01~\x41~\x02~~\x02");
        let mut reader = Reader::new(&out);
        let mut read = || ToDecoder::read(&mut reader, 100);
        assert_eq!(read(), Ok(ToDecoder::SetCapacity(220)));
        assert!(matches!(
            read(),
            Ok(ToDecoder::InsertWithNameReference(Reference::Static(0), _))
        ));
        assert!(matches!(
            read(),
            Ok(ToDecoder::InsertWithNameReference(Reference::Dynamic(1), _))
        ));
        assert!(matches!(read(), Ok(ToDecoder::InsertWithLiteralName(..))));
        assert_eq!(read(), Ok(ToDecoder::Duplicate(2)));
        assert_eq!(read(), Err(Fault::Short));
    }

    #[test]
    fn decoder_stream() {
        for (instruction, bytes) in [
            (ToEncoder::SectionAcknowledgment(4), &[0x84][..]),
            (ToEncoder::StreamCancellation(8), &[0x48]),
            (ToEncoder::InsertCountIncrement(1), &[0x01]),
            (ToEncoder::SectionAcknowledgment(127), &[0xff, 0]),
        ] {
            let mut out = BytesMut::new();
            instruction.put(&mut out);
            assert_eq!(&out[..], bytes);
            assert_eq!(ToEncoder::read(&mut Reader::new(bytes)), Ok(instruction));
        }
    }
}
