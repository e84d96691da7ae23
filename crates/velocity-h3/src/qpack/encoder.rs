//! The encoder: fields and the peer's decoder stream come in, field sections and our encoder stream go out
//! (RFC 9204 sections 2.1, 4.3 and 4.4).
//!
//! The Base of a section is the Insert Count before it: what was there is referred to relative to it, what the
//! section itself inserts is referred to after it. So one pass over the fields is enough.

use std::collections::{BTreeMap, VecDeque};

use bytes::{BufMut, Bytes, BytesMut};

use super::dynamic_table::{Entry, OVERHEAD, Table};
use super::instructions::{self, Reference, ToEncoder};
use super::integer::{self, Fault, Reader};
use super::section::{self, Prefix};
use super::static_table::{self, Match};
use super::{Error, Line, Name, STATIC_PREFIX, encode_lines, lines, literal, policy};

/// How many sections may wait for an acknowledgment. A peer that never acknowledges gets no further references.
const MAX_OUTSTANDING: usize = 1024;

/// A section with dynamic references that has not been acknowledged.
#[derive(Clone, Copy, Debug)]
struct Outstanding {
    required: u64,
    /// The lowest absolute index it refers to. Eviction goes from the oldest on, so this one protects all above it.
    lowest: u64,
}

/// The section that is being encoded.
struct Current {
    stream: u64,
    base: u64,
    required: u64,
    lowest: u64,
    /// Whether it may refer to what the peer may not have, once that has been asked.
    may_block: Option<bool>,
}

/// Encodes for the peer's decoder.
#[derive(Debug)]
pub struct Encoder {
    wanted_capacity: u64,
    table: Table,
    /// Of the peer's maximum, not of the capacity in use.
    max_entries: u64,
    max_blocked_streams: u64,
    /// The Known Received Count (RFC 9204 section 2.1.4).
    known_received: u64,
    /// The Insert Count as far as the instructions have been taken.
    sent: u64,
    /// By stream, in the order they were encoded; and how many there are.
    outstanding: BTreeMap<u64, VecDeque<Outstanding>>,
    outstanding_len: usize,
    instructions: BytesMut,
    /// The lines of the current section: its prefix comes first, but is known last.
    lines: BytesMut,
    /// The beginning of an instruction whose rest has not arrived.
    pending: Vec<u8>,
}

impl Encoder {
    /// An encoder at the start of a connection that would use a dynamic table of this capacity, in bytes. With 0, it
    /// uses the static table and literals only.
    ///
    /// The dynamic table is searched one by one, so it should stay at some kilobytes.
    #[must_use]
    pub fn new(wanted_capacity: u32) -> Self {
        Self {
            wanted_capacity: wanted_capacity.into(),
            table: Table::default(),
            max_entries: 0,
            max_blocked_streams: 0,
            known_received: 0,
            sent: 0,
            outstanding: BTreeMap::new(),
            outstanding_len: 0,
            instructions: BytesMut::new(),
            lines: BytesMut::new(),
            pending: Vec::new(),
        }
    }

    /// Takes the peer's SETTINGS: what its decoder permits. To be called once; before, nothing dynamic is used.
    pub fn permit(&mut self, max_table_capacity: u64, max_blocked_streams: u64) {
        let capacity = self.wanted_capacity.min(max_table_capacity);
        let max_entries = section::max_entries(max_table_capacity);
        // A table without room for an entry is none, and a second call would change how references are read.
        if section::max_entries(capacity) == 0 || self.max_entries > 0 {
            return;
        }
        self.max_entries = max_entries;
        self.max_blocked_streams = max_blocked_streams;
        self.table.set_capacity(capacity);
        instructions::put_set_capacity(&mut self.instructions, capacity);
    }

    /// Appends the section of these fields, its prefix and its lines, for one stream.
    ///
    /// There may be instructions afterwards that the section depends on, see [`Self::take_instructions`].
    pub fn encode<'a>(&mut self, stream: u64, fields: impl IntoIterator<Item = Line<'a>>, out: &mut BytesMut) {
        if self.table.capacity() == 0 || self.outstanding_len >= MAX_OUTSTANDING {
            out.put_slice(&STATIC_PREFIX);
            return encode_lines(fields, out);
        }
        let base = self.table.inserted();
        let mut current = Current {
            stream,
            base,
            required: 0,
            lowest: u64::MAX,
            may_block: None,
        };
        for line in fields {
            self.line(&line, &mut current);
        }
        let Current { required, lowest, .. } = current;
        if required > 0 {
            self.outstanding
                .entry(stream)
                .or_default()
                .push_back(Outstanding { required, lowest });
            self.outstanding_len += 1;
            Prefix { required, base }.put(out, self.max_entries);
        } else {
            out.put_slice(&STATIC_PREFIX);
        }
        out.put_slice(&self.lines);
        self.lines.clear();
    }

    /// Takes bytes of the peer's decoder stream, in order and in pieces of any size.
    ///
    /// # Errors
    ///
    /// [`Error::DecoderStream`]; the connection cannot go on.
    pub fn decoder_stream(&mut self, data: &[u8]) -> Result<(), Error> {
        let mut pending = std::mem::take(&mut self.pending);
        let data = if pending.is_empty() {
            data
        } else {
            pending.extend_from_slice(data);
            &pending
        };
        let mut reader = Reader::new(data);
        let rest = loop {
            let rest = reader.rest();
            match ToEncoder::read(&mut reader) {
                Ok(instruction) => self.instruction(instruction)?,
                Err(Fault::Short) => break rest,
                Err(fault) => return Err(Error::DecoderStream(fault.reason())),
            }
        };
        // At most the beginning of an integer.
        self.pending = rest.to_vec();
        Ok(())
    }

    /// We have reset the stream.
    ///
    /// Its references stay until the peer's decoder cancels the stream on its part, which it must (RFC 9204 section
    /// 2.2.2.2): until then it may still decode what had arrived, and must find there what that refers to.
    pub fn cancel(&mut self, _stream: u64) {}

    /// Appends instructions for our encoder stream, if there are any. They should leave before the sections that were
    /// encoded with them, or the peer may have to wait for them.
    pub fn take_instructions(&mut self, out: &mut BytesMut) {
        out.extend_from_slice(&self.instructions);
        self.instructions.clear();
        self.sent = self.table.inserted();
    }

    fn line(&mut self, line: &Line<'_>, current: &mut Current) {
        let known = static_table::find(line.name, line.value);
        let exact = matches!(known, Some(Match::Exact(_)));
        if exact || !policy::repeats(line, self.table.capacity()) {
            return lines::put_line(&mut self.lines, line, known);
        }
        let (whole, name) = self.find(line);
        if let Some(index) = whole.or_else(|| self.insert(line, known, name, current))
            && self.refer(index, current)
        {
            match current.base.checked_sub(index + 1) {
                Some(relative) => integer::put(&mut self.lines, 0x80, 6, relative),
                None => integer::put(&mut self.lines, 0x10, 4, index - current.base),
            }
        } else if known.is_none()
            && let Some(index) = name
            && self.table.get(index).is_some()
            && self.refer(index, current)
        {
            match current.base.checked_sub(index + 1) {
                Some(relative) => integer::put(&mut self.lines, 0x40, 4, relative),
                None => integer::put(&mut self.lines, 0, 3, index - current.base),
            }
            literal::put(&mut self.lines, 0, 7, line.value);
        } else {
            lines::put_line(&mut self.lines, line, known);
        }
    }

    /// The absolute indices of an entry for the line, and else of one with its name.
    fn find(&self, line: &Line<'_>) -> (Option<u64>, Option<u64>) {
        let mut name = None;
        for (index, entry) in self.table.newest_first() {
            if entry.name.as_bytes() == line.name {
                if entry.value == line.value {
                    return (Some(index), None);
                }
                name = name.or(Some(index));
            }
        }
        (None, name)
    }

    /// Inserts an entry for the line if nothing stands against it, and says its absolute index.
    fn insert(&mut self, line: &Line<'_>, known: Option<Match>, name: Option<u64>, current: &Current) -> Option<u64> {
        let size = (line.name.len() + line.value.len()) as u64 + OVERHEAD;
        let oldest_after = self.table.oldest_after(size)?;
        if oldest_after > self.table.oldest() && oldest_after > self.evictable(current) {
            return None;
        }
        let known = known.map(|(Match::Exact(index) | Match::Name(index))| index);
        let value = Bytes::copy_from_slice(line.value);
        let entry = match (known, name.and_then(|index| self.table.get(index))) {
            (Some(index), _) => Entry {
                name: Name::Static(index),
                value,
            },
            (None, Some(other)) => Entry {
                name: other.name.clone(),
                value,
            },
            (None, None) => Entry {
                name: Name::Literal(Bytes::copy_from_slice(line.name)),
                value,
            },
        };
        let index = self.table.inserted();
        match (known, name) {
            (Some(known), _) => {
                let name = Reference::Static(known.into());
                instructions::put_insert_with_name_reference(&mut self.instructions, name, line.value);
            }
            (None, Some(other)) => {
                let name = Reference::Dynamic(index - 1 - other);
                instructions::put_insert_with_name_reference(&mut self.instructions, name, line.value);
            }
            (None, None) => {
                instructions::put_insert_with_literal_name(&mut self.instructions, line.name, line.value);
            }
        }
        self.table.insert(entry).then_some(index)
    }

    /// Below which absolute index entries may be evicted (RFC 9204 section 2.1.1): the peer has acknowledged them, and
    /// no section that it may still have to decode refers to them.
    fn evictable(&self, current: &Current) -> u64 {
        let sections = self.outstanding.values().flatten();
        sections
            .map(|section| section.lowest)
            .fold(current.lowest.min(self.known_received), u64::min)
    }

    /// Refers to an entry from the current section, unless that could block one stream too many (RFC 9204 section
    /// 2.1.2).
    fn refer(&mut self, index: u64, current: &mut Current) -> bool {
        if index >= self.known_received {
            let may_block = *current.may_block.get_or_insert_with(|| {
                let blocked = self.outstanding.iter().filter(|(stream, sections)| {
                    **stream != current.stream && sections.iter().any(|section| section.required > self.known_received)
                });
                (blocked.count() as u64) < self.max_blocked_streams
            });
            if !may_block {
                return false;
            }
        }
        current.required = current.required.max(index + 1);
        current.lowest = current.lowest.min(index);
        true
    }

    fn instruction(&mut self, instruction: ToEncoder) -> Result<(), Error> {
        match instruction {
            ToEncoder::SectionAcknowledgment(stream) => {
                let sections = self.outstanding.get_mut(&stream);
                let section = sections.and_then(VecDeque::pop_front).ok_or(Error::DecoderStream(
                    "an acknowledgment for a stream without an outstanding section",
                ))?;
                self.outstanding_len -= 1;
                self.known_received = self.known_received.max(section.required);
                if self.outstanding.get(&stream).is_some_and(VecDeque::is_empty) {
                    self.outstanding.remove(&stream);
                }
            }
            ToEncoder::StreamCancellation(stream) => {
                let sections = self.outstanding.remove(&stream);
                self.outstanding_len -= sections.map_or(0, |sections| sections.len());
            }
            ToEncoder::InsertCountIncrement(increment) => {
                let known_received = self.known_received + increment;
                if increment == 0 || known_received > self.sent {
                    return Err(Error::DecoderStream(
                        "an Insert Count Increment of zero or beyond what was sent",
                    ));
                }
                self.known_received = known_received;
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn encoder(max_blocked_streams: u64) -> Encoder {
        let mut encoder = Encoder::new(200);
        encoder.permit(1000, max_blocked_streams);
        encoder
    }

    fn encode(encoder: &mut Encoder, stream: u64, name: &str, value: &str) -> Vec<u8> {
        let mut out = BytesMut::new();
        let line = Line {
            name: name.as_bytes(),
            value: value.as_bytes(),
            sensitive: false,
        };
        encoder.encode(stream, [line], &mut out);
        encoder.take_instructions(&mut BytesMut::new());
        out.to_vec()
    }

    #[test]
    fn what_does_not_repeat_is_not_inserted() {
        let mut encoder = encoder(1);
        for (name, value) in [
            (":path", "/a"),
            ("date", "today"),
            ("etag", "1"),
            ("range", "bytes=1-"),
            (":status", "200"),
        ] {
            assert_eq!(encode(&mut encoder, 0, name, value)[..2], STATIC_PREFIX);
        }
        assert_eq!(encoder.table.inserted(), 0);
        encode(&mut encoder, 0, "server", "velocity");
        encode(&mut encoder, 0, "server", "velocity");
        assert_eq!(encoder.table.inserted(), 1);
    }

    #[test]
    fn an_old_name_serves_a_line_that_cannot_be_inserted() {
        let mut encoder = encoder(0);
        encode(&mut encoder, 0, "x-a", "~");
        encoder.decoder_stream(&[0x01]).unwrap();
        // Larger than half of the table: not inserted, and then not looked up either.
        let long = "~".repeat(90);
        assert_eq!(encode(&mut encoder, 0, "x-a", &long)[..2], STATIC_PREFIX);
        // Inserted, but not acknowledged: the name can be referred to, the entry cannot.
        assert_eq!(encode(&mut encoder, 0, "x-a", "~~"), [2, 0, 0x40, 2, b'~', b'~']);
        assert_eq!(encoder.table.inserted(), 2);
    }

    #[test]
    fn acknowledgments_and_cancellations_release_sections() {
        let mut encoder = encoder(9);
        for stream in [0, 4, 4, 8] {
            encode(&mut encoder, stream, "x-a", "~");
        }
        assert_eq!(encoder.outstanding_len, 4);
        encoder.decoder_stream(&[0x80 | 4]).unwrap();
        assert_eq!((encoder.outstanding_len, encoder.known_received), (3, 1));
        // A cancellation says nothing about insertions, and may come for a stream that has nothing outstanding.
        encoder.decoder_stream(&[0x40 | 4, 0x40 | 8, 0x40 | 12]).unwrap();
        assert_eq!((encoder.outstanding_len, encoder.known_received), (1, 1));
        encoder.decoder_stream(&[0x80]).unwrap();
        assert!(encoder.outstanding.is_empty());
    }

    #[test]
    fn instructions_may_come_in_pieces() {
        let mut encoder = encoder(1);
        encode(&mut encoder, 1000, "x-a", "~");
        for byte in [0xff, 0xe9] {
            encoder.decoder_stream(&[byte]).unwrap();
        }
        assert_eq!((encoder.pending.len(), encoder.outstanding_len), (2, 1));
        encoder.decoder_stream(&[0x06]).unwrap();
        assert_eq!((encoder.pending.len(), encoder.outstanding_len), (0, 0));
    }

    #[test]
    fn permission_counts_once_and_for_a_table_with_room() {
        let mut encoder = Encoder::new(31);
        encoder.permit(4096, 1);
        assert_eq!(encoder.table.capacity(), 0);
        let mut encoder = self::encoder(1);
        encoder.permit(0, 0);
        encoder.permit(50, 0);
        assert_eq!((encoder.table.capacity(), encoder.max_entries), (200, 31));
    }
}
