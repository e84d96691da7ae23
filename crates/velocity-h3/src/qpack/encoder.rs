//! Fields into field sections, and the encoder stream that fills the peer's dynamic table (RFC 9204 section 2.1).
//!
//! The rules for the dynamic table are simple ones: what repeats over requests is inserted when it fits without
//! evicting anything that is referred to or not yet known to have arrived, and it is referred to as soon as the peer
//! permits. Everything else is static or literal, and without a table nothing but those exists.

use std::collections::{HashMap, VecDeque};

use bytes::{Buf, Bytes, BytesMut};

use super::dynamic_table::{DynamicTable, Entry};
use super::literal::{Problem, integer, put_integer, put_string};
use super::static_table::{self, Match};
use super::{Error, FIELD_OVERHEAD, Line, Name, STATIC_PREFIX, Value};

/// The encoding half.
pub struct Encoder {
    /// The table we would like, in bytes.
    wanted: u32,
    /// What the peer's decoder permits.
    permitted: u64,
    max_blocked: u64,
    table: DynamicTable,
    /// Insertions that the peer has said have arrived (section 2.1.4).
    known: u64,
    /// Sections that were not acknowledged, by stream.
    outstanding: HashMap<u64, VecDeque<Section>>,
    /// An instruction of the decoder stream that has not come whole.
    partial: BytesMut,
    instructions: BytesMut,
    lines: BytesMut,
}

/// What a section refers to.
#[derive(Clone, Copy)]
struct Section {
    required: u64,
    oldest: u64,
}

impl Encoder {
    /// An encoder that uses a dynamic table of at most `wanted` bytes; 0 is none.
    pub fn new(wanted: u32) -> Self {
        Self {
            wanted,
            permitted: 0,
            max_blocked: 0,
            table: DynamicTable::default(),
            known: 0,
            outstanding: HashMap::new(),
            partial: BytesMut::new(),
            instructions: BytesMut::new(),
            lines: BytesMut::new(),
        }
    }

    /// The peer's SETTINGS: what its decoder permits.
    pub fn permit(&mut self, max_table_capacity: u64, max_blocked_streams: u64) {
        self.permitted = max_table_capacity;
        self.max_blocked = max_blocked_streams;
        let capacity = u64::from(self.wanted).min(max_table_capacity);
        if capacity > 0 {
            self.table.set_capacity(capacity as usize);
            put_integer(0x20, 5, capacity, &mut self.instructions);
        }
    }

    /// Append an encoded field section.
    pub fn encode<'a>(&mut self, stream: u64, fields: impl IntoIterator<Item = Line<'a>>, out: &mut BytesMut) {
        if self.table.capacity() == 0 {
            out.extend_from_slice(&STATIC_PREFIX);
            return encode_lines(fields, out);
        }
        let base = self.table.inserted();
        let may_block = self.may_block(stream);
        let mut section = Section {
            required: 0,
            oldest: u64::MAX,
        };
        let mut lines = std::mem::take(&mut self.lines);
        for line in fields {
            match self.refer(&line, may_block, section.oldest) {
                Some(absolute) => {
                    section.required = section.required.max(absolute + 1);
                    section.oldest = section.oldest.min(absolute);
                    match base.checked_sub(absolute + 1) {
                        Some(relative) => put_integer(0x80, 6, relative, &mut lines),
                        None => put_integer(0x10, 4, absolute - base, &mut lines),
                    }
                }
                None => encode_line(&line, &mut lines),
            }
        }
        self.prefix(section.required, base, out);
        out.extend_from_slice(&lines);
        lines.clear();
        self.lines = lines;
        if section.required > 0 {
            self.outstanding.entry(stream).or_default().push_back(section);
        }
    }

    /// Section 4.5.1.
    fn prefix(&self, required: u64, base: u64, out: &mut BytesMut) {
        if required == 0 {
            return out.extend_from_slice(&STATIC_PREFIX);
        }
        let full_range = 2 * (self.permitted / FIELD_OVERHEAD as u64);
        put_integer(0, 8, required % full_range + 1, out);
        match base.checked_sub(required) {
            Some(delta) => put_integer(0, 7, delta, out),
            None => put_integer(0x80, 7, required - base - 1, out),
        }
    }

    /// Section 2.1.2: whether a section of this stream may refer to what has perhaps not arrived.
    fn may_block(&self, stream: u64) -> bool {
        let blocks = |sections: &VecDeque<Section>| sections.iter().any(|section| section.required > self.known);
        self.outstanding.get(&stream).is_some_and(blocks)
            || (self.outstanding.values().filter(|sections| blocks(sections)).count() as u64) < self.max_blocked
    }

    /// The entry to refer to instead of writing a line, which is inserted where that is worth it.
    fn refer(&mut self, line: &Line<'_>, may_block: bool, oldest: u64) -> Option<u64> {
        if line.sensitive || matches!(static_table::find(line.name, line.value), Some(Match::Exact(_))) {
            return None;
        }
        let same = |entry: &Entry| entry.name.as_bytes() == line.name && entry.value.as_bytes() == line.value;
        let found = self
            .table
            .newest_first()
            .find(|(_, entry)| same(entry))
            .map(|(absolute, _)| absolute);
        let absolute = match found {
            Some(absolute) => absolute,
            None => self.insert(line, oldest)?,
        };
        (may_block || absolute < self.known).then_some(absolute)
    }

    /// Insert a line, if it is likely to come again and nothing is lost by it.
    fn insert(&mut self, line: &Line<'_>, oldest: u64) -> Option<u64> {
        let size = line.name.len() + line.value.len() + FIELD_OVERHEAD;
        if !repeats(line.name) || size > self.table.capacity() / 2 {
            return None;
        }
        if let Some(victim) = self.table.victim(size) {
            // Section 2.1.1: not what is referred to, nor what may not have arrived.
            let referred = self.outstanding.values().flatten().map(|section| section.oldest).min();
            if victim >= self.known || victim >= oldest.min(referred.unwrap_or(u64::MAX)) {
                return None;
            }
        }
        let name = match static_table::find(line.name, line.value) {
            Some(Match::Name(index) | Match::Exact(index)) => {
                put_integer(0xc0, 6, index.into(), &mut self.instructions);
                Name::Static(index)
            }
            None => {
                put_string(0x40, 5, line.name, &mut self.instructions);
                Name::Literal(Bytes::copy_from_slice(line.name))
            }
        };
        put_string(0, 7, line.value, &mut self.instructions);
        let value = Value::Literal(Bytes::copy_from_slice(line.value));
        let absolute = self.table.inserted();
        self.table.insert(Entry { name, value }).then_some(absolute)
    }

    /// Bytes of the peer's decoder stream (section 4.4), in order and in pieces of any size.
    ///
    /// # Errors
    /// They acknowledge what was never sent.
    pub fn decoder_stream(&mut self, data: &[u8]) -> Result<(), Error> {
        self.partial.extend_from_slice(data);
        loop {
            let mut rest = &self.partial[..];
            let Some(&first) = rest.first() else { return Ok(()) };
            let prefix = if first & 0x80 != 0 { 7 } else { 6 };
            let value = match integer(&mut rest, prefix) {
                Ok(value) => value,
                Err(Problem::Incomplete) => return Ok(()),
                Err(_) => return Err(Error::DecoderStream("an integer is not valid")),
            };
            let read = self.partial.len() - rest.len();
            self.partial.advance(read);
            match first & 0xc0 {
                0x00 => self.increment(value)?,
                0x40 => drop(self.outstanding.remove(&value)),
                _ => self.acknowledge(value)?,
            }
        }
    }

    /// Section 4.4.3.
    fn increment(&mut self, by: u64) -> Result<(), Error> {
        let known = self.known.saturating_add(by);
        if by == 0 || known > self.table.inserted() {
            return Err(Error::DecoderStream(
                "an increment of nothing, or beyond what was inserted",
            ));
        }
        self.known = known;
        Ok(())
    }

    /// Section 4.4.1.
    fn acknowledge(&mut self, stream: u64) -> Result<(), Error> {
        let sections = self.outstanding.get_mut(&stream);
        let Some((section, rest)) = sections.and_then(|sections| Some((sections.pop_front()?, sections.len()))) else {
            return Err(Error::DecoderStream("a section is acknowledged that was never sent"));
        };
        if rest == 0 {
            self.outstanding.remove(&stream);
        }
        self.known = self.known.max(section.required);
        Ok(())
    }

    /// Append what our encoder stream has to say (section 4.3).
    pub fn take_instructions(&mut self, out: &mut BytesMut) {
        out.extend_from_slice(&self.instructions);
        self.instructions.clear();
    }
}

/// Whether a field is likely to be the same in the next request.
fn repeats(name: &[u8]) -> bool {
    matches!(
        name,
        b":authority"
            | b"user-agent"
            | b"cookie"
            | b"authorization"
            | b"referer"
            | b"origin"
            | b"server"
            | b"content-type"
            | b"cache-control"
            | b"strict-transport-security"
            | b"content-security-policy"
    ) || name.starts_with(b"accept")
        || name.starts_with(b"sec-")
        || name.starts_with(b"x-")
}

/// Append lines that need no dynamic table: they can be kept and used in any section, behind
/// [`STATIC_PREFIX`].
pub fn encode_lines<'a>(lines: impl IntoIterator<Item = Line<'a>>, out: &mut BytesMut) {
    for line in lines {
        encode_line(&line, out);
    }
}

fn encode_line(line: &Line<'_>, out: &mut BytesMut) {
    // Sections 4.5.2, 4.5.4 and 4.5.6. The N bit keeps what is sensitive out of every table.
    let never = u8::from(line.sensitive);
    match static_table::find(line.name, line.value) {
        Some(Match::Exact(index)) if !line.sensitive => return put_integer(0xc0, 6, index.into(), out),
        Some(Match::Exact(index) | Match::Name(index)) => put_integer(0x50 | never << 5, 4, index.into(), out),
        None => put_string(0x20 | never << 4, 3, line.name, out),
    }
    put_string(0, 7, line.value, out);
}
