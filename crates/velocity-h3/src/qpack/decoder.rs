//! Field sections into fields, and the encoder stream that fills the dynamic table (RFC 9204 section 2.2).

use std::collections::{BTreeMap, VecDeque};

use bytes::{Bytes, BytesMut};

use super::dynamic_table::{DynamicTable, Entry};
use super::literal::{Problem, integer, put_integer, string};
use super::{Error, FIELD_OVERHEAD, Name, Sink, Value, static_table};

/// What this side permits the peer's encoder, and how large a section may be.
#[derive(Clone, Copy, Debug)]
pub struct DecoderConfig {
    /// Of the dynamic table, in bytes.
    pub max_table_capacity: u32,
    /// Streams that may wait for the encoder stream.
    pub max_blocked_streams: u16,
    /// The sum over all fields of name, value and 32 (RFC 9114 section 4.2.2).
    pub max_section_size: u64,
    /// How many fields a section may have.
    pub max_fields: usize,
}

/// What became of a section.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Decoded {
    /// Every field was handed on.
    Complete,
    /// It refers to entries that have not come. [`Decoder::unblocked`] says when they have.
    Blocked,
}

/// Why a section was not decoded to its end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum DecodeError<E> {
    /// The connection cannot go on.
    Qpack(Error),
    /// The section is larger than permitted.
    TooLarge,
    /// The sink takes no more.
    Sink(E),
}

impl<E> From<Error> for DecodeError<E> {
    fn from(error: Error) -> Self {
        DecodeError::Qpack(error)
    }
}

/// The decoding half.
pub struct Decoder {
    config: DecoderConfig,
    table: DynamicTable,
    /// An instruction of the encoder stream that has not come whole.
    partial: BytesMut,
    /// Streams that wait, with the insert count each waits for.
    blocked: BTreeMap<u64, u64>,
    ready: VecDeque<u64>,
    /// What the peer's encoder knows that we have (section 2.1.4).
    known: u64,
    instructions: BytesMut,
}

impl Decoder {
    /// A decoder with an empty table.
    pub fn new(config: DecoderConfig) -> Self {
        Self {
            config,
            table: DynamicTable::default(),
            partial: BytesMut::new(),
            blocked: BTreeMap::new(),
            ready: VecDeque::new(),
            known: 0,
            instructions: BytesMut::new(),
        }
    }

    /// Bytes of the peer's encoder stream (section 4.3), in order and in pieces of any size.
    ///
    /// # Errors
    /// They are no instructions, or such as were not permitted.
    pub fn encoder_stream(&mut self, data: &[u8]) -> Result<(), Error> {
        self.partial.extend_from_slice(data);
        let mut rest = self.partial.split().freeze();
        while !rest.is_empty() {
            let mut attempt = rest.clone();
            match self.instruction(&mut attempt) {
                Ok(()) => rest = attempt,
                Err(Stop::Incomplete) => {
                    // No instruction is longer than an entry that fits, but for its integers.
                    if rest.len() > self.config.max_table_capacity as usize + 64 {
                        return Err(Error::EncoderStream("an instruction is too long"));
                    }
                    self.partial.extend_from_slice(&rest);
                    break;
                }
                Err(Stop::Wrong(reason)) => return Err(Error::EncoderStream(reason)),
            }
        }
        let inserted = self.table.inserted();
        let ready = &mut self.ready;
        self.blocked.retain(|&stream, &mut needed| {
            let waits = needed > inserted;
            if !waits {
                ready.push_back(stream);
            }
            waits
        });
        Ok(())
    }

    fn instruction(&mut self, data: &mut Bytes) -> Result<(), Stop> {
        let first = data.first().copied().unwrap_or_default();
        let limit = self.table.capacity();
        let mut room = BytesMut::new();
        let entry = if first & 0x80 != 0 {
            // Section 4.3.2: insert with name reference.
            let index = integer(data, 6)?;
            let name = match first & 0x40 != 0 {
                true => static_name(index).ok_or(Stop::Wrong("a name beyond the static table"))?,
                false => self.relative(index)?.name.clone(),
            };
            let value = string(data, 7, limit, &mut room)?;
            Entry {
                name,
                value: Value::Literal(owned(&value)),
            }
        } else if first & 0x40 != 0 {
            // Section 4.3.3: insert with literal name.
            let name = string(data, 5, limit, &mut room)?;
            let value = string(data, 7, limit, &mut room)?;
            Entry {
                name: Name::Literal(owned(&name)),
                value: Value::Literal(owned(&value)),
            }
        } else if first & 0x20 != 0 {
            // Section 4.3.1: set dynamic table capacity.
            let capacity = integer(data, 5)?;
            if capacity > u64::from(self.config.max_table_capacity) {
                return Err(Stop::Wrong("a capacity above what was permitted"));
            }
            self.table.set_capacity(capacity as usize);
            return Ok(());
        } else {
            // Section 4.3.4: duplicate.
            let index = integer(data, 5)?;
            self.relative(index)?.clone()
        };
        match self.table.insert(entry) {
            true => Ok(()),
            false => Err(Stop::Wrong("an entry larger than the table")),
        }
    }

    /// Section 3.2.5: on the encoder stream 0 is the newest entry.
    fn relative(&self, index: u64) -> Result<&Entry, Stop> {
        let absolute = self
            .table
            .inserted()
            .checked_sub(1)
            .and_then(|newest| newest.checked_sub(index));
        absolute
            .and_then(|absolute| self.table.get(absolute))
            .ok_or(Stop::Wrong("a reference to an entry that is not there"))
    }

    /// Decode a whole encoded field section (section 4.5). After [`Decoded::Blocked`], hand the same one in again once
    /// [`Decoder::unblocked`] names the stream.
    ///
    /// # Errors
    /// See [`DecodeError`].
    pub fn decode<S: Sink>(
        &mut self,
        stream: u64,
        section: &Bytes,
        sink: &mut S,
    ) -> Result<Decoded, DecodeError<S::Error>> {
        let wrong = |reason| DecodeError::Qpack(Error::DecompressionFailed(reason));
        let mut data = section.clone();
        let required = integer(&mut data, 8).map_err(|_| wrong("the prefix is cut short"))?;
        let required = self
            .required_insert_count(required)
            .ok_or(wrong("the required insert count is impossible"))?;
        let negative = data.first().is_some_and(|first| first & 0x80 != 0);
        let delta = integer(&mut data, 7).map_err(|_| wrong("the prefix is cut short"))?;
        // Section 4.5.1.2.
        let base = match negative {
            false => required.checked_add(delta),
            true => required.checked_sub(delta).and_then(|base| base.checked_sub(1)),
        };
        let base = base.ok_or(wrong("the base is below zero"))?;
        if required > self.table.inserted() {
            if !self.blocked.contains_key(&stream) && self.blocked.len() >= usize::from(self.config.max_blocked_streams)
            {
                return Err(wrong("more streams are blocked than permitted"));
            }
            self.blocked.insert(stream, required);
            return Ok(Decoded::Blocked);
        }

        let mut size = 0u64;
        let mut fields = 0;
        let mut room = BytesMut::new();
        while !data.is_empty() {
            let left = self.config.max_section_size.saturating_sub(size);
            let left = usize::try_from(left).unwrap_or(usize::MAX);
            if room.capacity() == 0 {
                // One allocation holds all there is to decode: no code is shorter than five bits.
                room.reserve((data.len() * 8 / 5 + 1).min(left));
            }
            let (name, value) = self
                .line(&mut data, base, required, left, &mut room)
                .map_err(|stop| match stop {
                    Line::TooLong => DecodeError::TooLarge,
                    Line::Wrong(reason) => wrong(reason),
                })?;
            size += (name.as_bytes().len() + value.as_bytes().len() + FIELD_OVERHEAD) as u64;
            fields += 1;
            if size > self.config.max_section_size || fields > self.config.max_fields {
                return Err(DecodeError::TooLarge);
            }
            sink.field(name, value).map_err(DecodeError::Sink)?;
        }
        if required > 0 {
            // Section 4.4.1: section acknowledgment.
            put_integer(0x80, 7, stream, &mut self.instructions);
            self.known = self.known.max(required);
        }
        Ok(Decoded::Complete)
    }

    /// Section 4.5.1.1.
    fn required_insert_count(&self, encoded: u64) -> Option<u64> {
        if encoded == 0 {
            return Some(0);
        }
        let max_entries = u64::from(self.config.max_table_capacity) / FIELD_OVERHEAD as u64;
        let full_range = 2 * max_entries;
        if encoded > full_range {
            return None;
        }
        let max_value = self.table.inserted() + max_entries;
        let required = max_value / full_range * full_range + encoded - 1;
        let required = match required > max_value {
            true => required.checked_sub(full_range)?,
            false => required,
        };
        (required > 0).then_some(required)
    }

    fn line(
        &self,
        data: &mut Bytes,
        base: u64,
        required: u64,
        limit: usize,
        room: &mut BytesMut,
    ) -> Result<(Name, Value), Line> {
        let first = data.first().copied().unwrap_or_default();
        let before_base = |index: u64| base.checked_sub(1).and_then(|newest| newest.checked_sub(index));
        let dynamic = |absolute: Option<u64>| {
            absolute
                .filter(|&absolute| absolute < required) // section 2.2.3
                .and_then(|absolute| self.table.get(absolute))
                .ok_or(Line::Wrong("a reference to an entry that is not there"))
        };
        let static_entry = |index| static_name(index).ok_or(Line::Wrong("a reference beyond the static table"));
        if first & 0x80 != 0 {
            // Section 4.5.2: indexed field line.
            let index = integer(data, 6)?;
            if first & 0x40 != 0 {
                return match static_entry(index)? {
                    Name::Static(index) => Ok((Name::Static(index), Value::Static(index))),
                    Name::Literal(_) => Err(Line::Wrong("a reference beyond the static table")),
                };
            }
            let entry = dynamic(before_base(index))?;
            return Ok((entry.name.clone(), entry.value.clone()));
        }
        if first & 0xf0 == 0x10 {
            // Section 4.5.3: indexed field line with post-base index.
            let index = integer(data, 4)?;
            let entry = dynamic(base.checked_add(index))?;
            return Ok((entry.name.clone(), entry.value.clone()));
        }
        let name = if first & 0x40 != 0 {
            // Section 4.5.4: literal field line with name reference.
            let index = integer(data, 4)?;
            match first & 0x10 != 0 {
                true => static_entry(index)?,
                false => dynamic(before_base(index))?.name.clone(),
            }
        } else if first & 0x20 != 0 {
            // Section 4.5.6: literal field line with literal name.
            Name::Literal(string(data, 3, limit, room)?)
        } else {
            // Section 4.5.5: literal field line with post-base name reference.
            let index = integer(data, 3)?;
            dynamic(base.checked_add(index))?.name.clone()
        };
        let value = string(data, 7, limit, room)?;
        Ok((name, Value::Literal(value)))
    }

    /// The next stream whose section can be decoded now.
    pub fn unblocked(&mut self) -> Option<u64> {
        self.ready.pop_front()
    }

    /// The stream was reset or is not read any more: its section, if it waits, is forgotten (section 2.2.2.2).
    pub fn cancel(&mut self, stream: u64) {
        self.blocked.remove(&stream);
        self.ready.retain(|&waiting| waiting != stream);
        if self.config.max_table_capacity > 0 && self.table.inserted() > 0 {
            put_integer(0x40, 6, stream, &mut self.instructions);
        }
    }

    /// Append what our decoder stream has to say (section 4.4).
    pub fn take_instructions(&mut self, out: &mut BytesMut) {
        out.extend_from_slice(&self.instructions);
        self.instructions.clear();
        let increment = self.table.inserted() - self.known;
        if increment > 0 {
            put_integer(0x00, 6, increment, out);
            self.known = self.table.inserted();
        }
    }
}

fn static_name(index: u64) -> Option<Name> {
    u8::try_from(index)
        .ok()
        .filter(|&index| usize::from(index) < static_table::LEN)
        .map(Name::Static)
}

/// A copy that does not keep the packet it came in.
fn owned(bytes: &Bytes) -> Bytes {
    Bytes::copy_from_slice(bytes)
}

/// Why an instruction was not carried out.
enum Stop {
    Incomplete,
    Wrong(&'static str),
}

impl From<Problem> for Stop {
    fn from(problem: Problem) -> Self {
        match problem {
            Problem::Incomplete => Stop::Incomplete,
            Problem::Invalid => Stop::Wrong("an integer or a string is not valid"),
            Problem::TooLong => Stop::Wrong("an entry larger than the table"),
        }
    }
}

/// Why a line was not decoded.
enum Line {
    TooLong,
    Wrong(&'static str),
}

impl From<Problem> for Line {
    fn from(problem: Problem) -> Self {
        match problem {
            Problem::Incomplete => Line::Wrong("the section is cut short"),
            Problem::Invalid => Line::Wrong("an integer or a string is not valid"),
            Problem::TooLong => Line::TooLong,
        }
    }
}
