//! The decoder: field sections and the peer's encoder stream come in, fields and our decoder stream go out
//! (RFC 9204 sections 2.2, 4.3 and 4.4).

use std::collections::{BTreeMap, BTreeSet};

use bytes::{Bytes, BytesMut};

use super::dynamic_table::{Entry, OVERHEAD, Table};
use super::instructions::{Reference, ToDecoder, ToEncoder};
use super::integer::{Fault, Reader};
use super::literal::Literal;
use super::section::{self, Lines, Prefix};
use super::{DecodeError, Error, Name, Sink, static_table};

/// What one side permits its peer's encoder, and how large a section may be.
#[derive(Clone, Copy, Debug)]
pub struct DecoderConfig {
    /// SETTINGS_QPACK_MAX_TABLE_CAPACITY, in bytes: 0 for no dynamic table.
    pub max_table_capacity: u32,
    /// SETTINGS_QPACK_BLOCKED_STREAMS: how many streams may wait for the encoder stream.
    pub max_blocked_streams: u16,
    /// SETTINGS_MAX_FIELD_SECTION_SIZE (RFC 9114 section 4.2.2): names, values, and 32 bytes for each field.
    pub max_section_size: u64,
    /// How many fields a section may have.
    pub max_fields: usize,
}

/// What became of a section.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Decoded {
    /// Every field has been given to the sink.
    Complete,
    /// Nothing has: insertions it refers to have not arrived.
    Blocked,
}

/// Decodes what the peer's encoder sends.
#[derive(Debug)]
pub struct Decoder {
    config: DecoderConfig,
    table: Table,
    /// The beginning of an instruction whose rest has not arrived.
    pending: Vec<u8>,
    /// The streams that wait, and for which Insert Count; and the same the other way round.
    blocked: BTreeMap<u64, u64>,
    waiting: BTreeSet<(u64, u64)>,
    /// The Insert Count the peer's encoder can know of from what we have sent, or are about to send.
    known_received: u64,
    instructions: BytesMut,
    /// Where Huffman strings are decoded. Always empty: what has been decoded is split off, see [`Literal::share`].
    scratch: BytesMut,
}

impl Decoder {
    /// A decoder at the start of a connection.
    #[must_use]
    pub fn new(config: DecoderConfig) -> Self {
        Self {
            config,
            table: Table::default(),
            pending: Vec::new(),
            blocked: BTreeMap::new(),
            waiting: BTreeSet::new(),
            known_received: 0,
            instructions: BytesMut::new(),
            scratch: BytesMut::new(),
        }
    }

    /// Gives back the buffer that decoding uses again and again, for the time in which nothing comes.
    pub fn rest(&mut self) {
        self.scratch = BytesMut::new();
    }

    /// Takes bytes of the peer's encoder stream, in order and in pieces of any size.
    ///
    /// # Errors
    ///
    /// [`Error::EncoderStream`]; the connection cannot go on.
    pub fn encoder_stream(&mut self, data: &[u8]) -> Result<(), Error> {
        if self.pending.is_empty() {
            let consumed = self.instructions(data)?;
            self.pending.extend_from_slice(data.get(consumed..).unwrap_or_default());
        } else {
            let mut pending = std::mem::take(&mut self.pending);
            pending.extend_from_slice(data);
            let consumed = self.instructions(&pending)?;
            pending.drain(..consumed);
            self.pending = pending;
        }
        Ok(())
    }

    /// Decodes a whole encoded field section.
    ///
    /// After [`Decoded::Blocked`], hand the same section in again once [`Self::unblocked`] names the stream. A section
    /// that is too large, or whose sink refuses a field, counts as processed: it is acknowledged like any other.
    ///
    /// # Errors
    ///
    /// [`DecodeError`]; some fields may have been given to the sink before. Only with [`DecodeError::Qpack`], always
    /// [`Error::DecompressionFailed`], the connection cannot go on.
    pub fn decode<S: Sink>(
        &mut self,
        stream: u64,
        section: &Bytes,
        sink: &mut S,
    ) -> Result<Decoded, DecodeError<S::Error>> {
        let mut reader = Reader::new(section);
        let max_entries = section::max_entries(self.config.max_table_capacity.into());
        let prefix = Prefix::read(&mut reader, max_entries, self.table.inserted())?;
        self.forget(stream);
        if prefix.required > self.table.inserted() {
            self.block(stream, prefix.required)?;
            return Ok(Decoded::Blocked);
        }
        let lines = Lines {
            table: &self.table,
            section,
            scratch: &mut self.scratch,
            prefix,
        };
        let outcome = lines.decode(reader, self.config.max_section_size, self.config.max_fields, sink);
        if prefix.required > 0 && !matches!(outcome, Err(DecodeError::Qpack(_))) {
            ToEncoder::SectionAcknowledgment(stream).put(&mut self.instructions);
            self.known_received = self.known_received.max(prefix.required);
        }
        outcome.map(|()| Decoded::Complete)
    }

    /// A stream whose section was blocked and can be decoded now. Each is named once.
    pub fn unblocked(&mut self) -> Option<u64> {
        let &(required, stream) = self.waiting.first()?;
        if required > self.table.inserted() {
            return None;
        }
        self.forget(stream);
        Some(stream)
    }

    /// The stream was reset or abandoned before all of its sections were decoded (RFC 9204 section 2.2.2.2).
    pub fn cancel(&mut self, stream: u64) {
        self.forget(stream);
        // Without a table, no section can refer to it: nothing to release.
        if self.config.max_table_capacity > 0 {
            ToEncoder::StreamCancellation(stream).put(&mut self.instructions);
        }
    }

    /// Appends instructions for our decoder stream, if there are any. Best called once after a batch of calls: one
    /// Insert Count Increment then stands for all insertions that no acknowledgment covers.
    pub fn take_instructions(&mut self, out: &mut BytesMut) {
        out.extend_from_slice(&self.instructions);
        self.instructions.clear();
        let increment = self.table.inserted().saturating_sub(self.known_received);
        if increment > 0 {
            ToEncoder::InsertCountIncrement(increment).put(out);
            self.known_received = self.table.inserted();
        }
    }

    fn block(&mut self, stream: u64, required: u64) -> Result<(), Error> {
        if self.blocked.len() >= self.config.max_blocked_streams.into() {
            return Err(Error::DecompressionFailed("more streams are blocked than allowed"));
        }
        self.blocked.insert(stream, required);
        self.waiting.insert((required, stream));
        Ok(())
    }

    fn forget(&mut self, stream: u64) {
        if let Some(required) = self.blocked.remove(&stream) {
            self.waiting.remove(&(required, stream));
        }
    }

    /// Carries out the instructions in `data` and says how many bytes they are; less than one may be left.
    fn instructions(&mut self, data: &[u8]) -> Result<usize, Error> {
        let mut reader = Reader::new(data);
        loop {
            let consumed = data.len() - reader.rest().len();
            // No string of an entry is as long as the table; this also bounds what is kept of an instruction.
            match ToDecoder::read(&mut reader, self.table.capacity().saturating_sub(OVERHEAD)) {
                Ok(instruction) => self.instruction(instruction)?,
                Err(Fault::Short) => return Ok(consumed),
                Err(fault) => return Err(Error::EncoderStream(fault.reason())),
            }
        }
    }

    fn instruction(&mut self, instruction: ToDecoder<'_>) -> Result<(), Error> {
        let missing = Error::EncoderStream("a reference to an entry that is not there");
        let entry = match instruction {
            ToDecoder::SetCapacity(capacity) => {
                if capacity > self.config.max_table_capacity.into() {
                    return Err(Error::EncoderStream("a table capacity above the maximum"));
                }
                self.table.set_capacity(capacity);
                return Ok(());
            }
            ToDecoder::InsertWithNameReference(Reference::Static(index), value) => {
                let index = u8::try_from(index)
                    .ok()
                    .filter(|&index| usize::from(index) < static_table::LEN);
                self.entry(Name::Static(index.ok_or(missing)?), value)?
            }
            ToDecoder::InsertWithNameReference(Reference::Dynamic(index), value) => {
                let name = self.table.relative(index).ok_or(missing)?.name.clone();
                self.entry(name, value)?
            }
            ToDecoder::InsertWithLiteralName(name, value) => {
                let limit = self.room(0)?;
                let name = name.own(&mut self.scratch, limit).map_err(stream_error)?;
                self.entry(Name::Literal(name), value)?
            }
            ToDecoder::Duplicate(index) => self.table.relative(index).ok_or(missing)?.clone(),
        };
        if self.table.insert(entry) {
            Ok(())
        } else {
            Err(Error::EncoderStream("an entry larger than the table"))
        }
    }

    fn entry(&mut self, name: Name, value: Literal<'_>) -> Result<Entry, Error> {
        let limit = self.room(name.as_bytes().len())?;
        let value = value.own(&mut self.scratch, limit).map_err(stream_error)?;
        Ok(Entry { name, value })
    }

    /// How long a string may be in an entry that has `length` bytes already.
    fn room(&self, length: usize) -> Result<u64, Error> {
        let room = self.table.capacity().checked_sub(OVERHEAD + length as u64);
        room.ok_or(Error::EncoderStream("an entry larger than the table"))
    }
}

fn stream_error(fault: Fault) -> Error {
    Error::EncoderStream(fault.reason())
}

#[cfg(test)]
mod tests {
    use std::convert::Infallible;

    use super::super::Value;
    use super::*;

    struct Ignored;

    impl Sink for Ignored {
        type Error = Infallible;

        fn field(&mut self, _: Name, _: Value) -> Result<(), Infallible> {
            Ok(())
        }
    }

    fn decoder(max_blocked_streams: u16) -> Decoder {
        let config = DecoderConfig {
            max_table_capacity: 100,
            max_blocked_streams,
            max_section_size: 1000,
            max_fields: 10,
        };
        let mut decoder = Decoder::new(config);
        decoder.encoder_stream(&[0x3f, 100 - 31]).unwrap();
        decoder
    }

    /// Inserts "a: b".
    const INSERT: [u8; 4] = [0x41, b'a', 0x01, b'b'];

    #[test]
    fn what_is_kept_of_an_instruction_is_bounded_by_the_table() {
        // No string is longer than 68 bytes, for which 259 bytes in the Huffman code could do, but not 260.
        let mut decoder = decoder(0);
        decoder.encoder_stream(&[0x7f, 0xe4, 0x01]).unwrap();
        for byte in [0x07; 258] {
            decoder.encoder_stream(&[byte]).unwrap();
        }
        assert_eq!(decoder.pending.len(), 3 + 258);
        let mut decoder = self::decoder(0);
        assert!(matches!(
            decoder.encoder_stream(&[0x7f, 0xe5, 0x01]),
            Err(Error::EncoderStream(_))
        ));
    }

    #[test]
    fn only_what_is_not_complete_is_kept() {
        let mut decoder = decoder(0);
        decoder.encoder_stream(&[INSERT, INSERT, INSERT].concat()[..9]).unwrap();
        assert_eq!((decoder.table.inserted(), &decoder.pending[..]), (2, &INSERT[..1]));
        decoder.encoder_stream(&INSERT[1..]).unwrap();
        assert_eq!((decoder.table.inserted(), &decoder.pending[..]), (3, &[][..]));
    }

    #[test]
    fn streams_are_unblocked_in_the_order_of_what_they_wait_for() {
        let mut decoder = decoder(3);
        for (stream, encoded) in [(0, 3), (4, 2), (8, 4)] {
            let section = Bytes::from(vec![encoded, 0, 0x80]);
            assert_eq!(decoder.decode(stream, &section, &mut Ignored), Ok(Decoded::Blocked));
        }
        decoder.encoder_stream(&[INSERT, INSERT].concat()).unwrap();
        assert_eq!([(); 3].map(|()| decoder.unblocked()), [Some(4), Some(0), None]);
        decoder.encoder_stream(&INSERT).unwrap();
        assert_eq!([(); 2].map(|()| decoder.unblocked()), [Some(8), None]);
        assert!(decoder.blocked.is_empty() && decoder.waiting.is_empty());
    }

    #[test]
    fn nothing_stays_in_the_scratch() {
        let mut decoder = decoder(0);
        // A string that is too long, one with wrong padding, and one that is fine.
        for section in [&[0, 0, 0x51, 0x82, 0x64, 0x02][..], &[0, 0, 0x51, 0x81, 0x00]] {
            decoder.config.max_section_size = 39;
            assert!(
                decoder
                    .decode(0, &Bytes::copy_from_slice(section), &mut Ignored)
                    .is_err()
            );
            assert!(decoder.scratch.is_empty());
        }
        decoder.config.max_section_size = 40;
        let section = Bytes::from_static(&[0, 0, 0x51, 0x82, 0x64, 0x02]);
        assert_eq!(decoder.decode(0, &section, &mut Ignored), Ok(Decoded::Complete));
        assert!(decoder.scratch.is_empty());
    }
}
