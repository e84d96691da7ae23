//! An encoded field section (RFC 9204 section 4.5): its prefix, both ways, and reading its lines.

use bytes::{Bytes, BytesMut};

use super::dynamic_table::{Entry, OVERHEAD, Table};
use super::integer::{self, Fault, Reader};
use super::literal::Literal;
use super::{DecodeError, Error, Name, Sink, Value, static_table};

impl<E> From<Fault> for DecodeError<E> {
    fn from(fault: Fault) -> Self {
        match fault {
            Fault::TooLong => Self::TooLarge,
            _ => Self::Qpack(Error::DecompressionFailed(fault.reason())),
        }
    }
}

fn failed<E>(reason: &'static str) -> DecodeError<E> {
    DecodeError::Qpack(Error::DecompressionFailed(reason))
}

/// How many entries a table can have at most (RFC 9204 section 4.5.1.1), by the capacity in the decoder's SETTINGS.
pub(super) fn max_entries(max_table_capacity: u64) -> u64 {
    max_table_capacity / OVERHEAD
}

/// The prefix of a section (RFC 9204 section 4.5.1).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Prefix {
    /// The Required Insert Count: what must have been inserted before the section can be decoded.
    pub(super) required: u64,
    /// What the indices of the section are relative to.
    pub(super) base: u64,
}

impl Prefix {
    /// Reads the prefix, where `inserted` is the Insert Count of the decoder.
    pub(super) fn read(reader: &mut Reader<'_>, max_entries: u64, inserted: u64) -> Result<Self, Error> {
        let fault = |fault: Fault| Error::DecompressionFailed(fault.reason());
        let encoded = reader.integer(8).map_err(fault)?;
        let required = required_insert_count(encoded, max_entries, inserted)
            .ok_or(Error::DecompressionFailed("the Required Insert Count is invalid"))?;
        let negative = reader.peek().is_some_and(|byte| byte & 0x80 != 0);
        let delta = reader.integer(7).map_err(fault)?;
        let base = if negative {
            required.checked_sub(delta).and_then(|base| base.checked_sub(1))
        } else {
            required.checked_add(delta)
        };
        Ok(Self {
            required,
            base: base.ok_or(Error::DecompressionFailed("the Base is negative"))?,
        })
    }

    /// Writes the prefix, for a decoder with as many entries at most.
    pub(super) fn put(self, out: &mut BytesMut, max_entries: u64) {
        // A section that requires anything was written for a table with entries.
        let encoded = if self.required == 0 {
            0
        } else {
            self.required % (2 * max_entries).max(1) + 1
        };
        integer::put(out, 0, 8, encoded);
        match self.base.checked_sub(self.required) {
            Some(delta) => integer::put(out, 0, 7, delta),
            None => integer::put(out, 0x80, 7, self.required - self.base - 1),
        }
    }
}

/// Undoes the wrapping of the Required Insert Count (RFC 9204 section 4.5.1.1); none for what no encoder sends.
fn required_insert_count(encoded: u64, max_entries: u64, inserted: u64) -> Option<u64> {
    if encoded == 0 {
        return Some(0);
    }
    let full_range = 2 * max_entries;
    if encoded > full_range {
        return None;
    }
    let max_value = inserted + max_entries;
    let mut required = max_value / full_range * full_range + encoded - 1;
    if required > max_value {
        required = required.checked_sub(full_range)?;
    }
    (required > 0).then_some(required)
}

/// What remains of the limits of a section.
struct Budget {
    bytes: u64,
    fields: usize,
}

impl Budget {
    /// Takes one field of this length from the limits.
    fn spend(&mut self, length: usize) -> Result<(), Fault> {
        self.fields = self.fields.checked_sub(1).ok_or(Fault::TooLong)?;
        self.bytes = self.bytes.checked_sub(OVERHEAD + length as u64).ok_or(Fault::TooLong)?;
        Ok(())
    }

    /// How long a string may be in a field that has `length` bytes already.
    fn string(&self, length: usize) -> Result<u64, Fault> {
        if self.fields == 0 {
            return Err(Fault::TooLong);
        }
        self.bytes.checked_sub(OVERHEAD + length as u64).ok_or(Fault::TooLong)
    }
}

/// A section whose prefix has been read, and what it is decoded with.
pub(super) struct Lines<'a> {
    pub(super) table: &'a Table,
    pub(super) section: &'a Bytes,
    pub(super) scratch: &'a mut BytesMut,
    pub(super) prefix: Prefix,
}

impl Lines<'_> {
    /// Decodes the lines that `reader` is at, within the limits.
    pub(super) fn decode<S: Sink>(
        mut self,
        mut reader: Reader<'_>,
        bytes: u64,
        fields: usize,
        sink: &mut S,
    ) -> Result<(), DecodeError<S::Error>> {
        let mut budget = Budget { bytes, fields };
        while let Some(first) = reader.peek() {
            let (name, value) = self.line(first, &mut reader, &mut budget)?;
            sink.field(name, value).map_err(DecodeError::Sink)?;
        }
        Ok(())
    }

    /// Reads one line, which begins with the byte `first`.
    fn line<E>(
        &mut self,
        first: u8,
        reader: &mut Reader<'_>,
        budget: &mut Budget,
    ) -> Result<(Name, Value), DecodeError<E>> {
        let is_static = |bit: u8| first & bit != 0;
        let name = match first.leading_zeros() {
            // 1T: indexed (4.5.2).
            0 => {
                let index = reader.integer(6)?;
                if is_static(0x40) {
                    let index = static_index(index)?;
                    budget.spend(static_table::name(index).len() + static_table::value(index).len())?;
                    return Ok((Name::Static(index), Value::Static(index)));
                }
                return Ok(whole(self.relative(index)?, budget)?);
            }
            // 01NT: literal with name reference (4.5.4).
            1 => {
                let index = reader.integer(4)?;
                if is_static(0x10) {
                    Name::Static(static_index(index)?)
                } else {
                    self.relative(index)?.name.clone()
                }
            }
            // 001NH: literal with literal name (4.5.6).
            2 => {
                let limit = budget.string(0)?;
                Name::Literal(Literal::read(reader, 3, u64::MAX)?.share(self.section, self.scratch, limit)?)
            }
            // 0001: indexed with post-Base index (4.5.3).
            3 => {
                let index = reader.integer(4)?;
                return Ok(whole(self.post_base(index)?, budget)?);
            }
            // 0000N: literal with post-Base name reference (4.5.5).
            _ => {
                let index = reader.integer(3)?;
                self.post_base(index)?.name.clone()
            }
        };
        let length = name.as_bytes().len();
        let limit = budget.string(length)?;
        let value = Literal::read(reader, 7, u64::MAX)?.share(self.section, self.scratch, limit)?;
        budget.spend(length + value.len())?;
        Ok((name, Value::Literal(value)))
    }

    fn relative<E>(&self, index: u64) -> Result<&Entry, DecodeError<E>> {
        self.entry(
            self.prefix
                .base
                .checked_sub(index)
                .and_then(|index| index.checked_sub(1)),
        )
    }

    fn post_base<E>(&self, index: u64) -> Result<&Entry, DecodeError<E>> {
        self.entry(self.prefix.base.checked_add(index))
    }

    fn entry<E>(&self, index: Option<u64>) -> Result<&Entry, DecodeError<E>> {
        let index = index
            .filter(|&index| index < self.prefix.required)
            .ok_or_else(|| failed("a reference is outside of what the section requires"))?;
        self.table
            .get(index)
            .ok_or_else(|| failed("a reference to an entry that was evicted"))
    }
}

/// A field that is an entry.
fn whole(entry: &Entry, budget: &mut Budget) -> Result<(Name, Value), Fault> {
    budget.spend(entry.name.as_bytes().len() + entry.value.len())?;
    Ok((entry.name.clone(), Value::Literal(entry.value.clone())))
}

fn static_index<E>(index: u64) -> Result<u8, DecodeError<E>> {
    u8::try_from(index)
        .ok()
        .filter(|&index| usize::from(index) < static_table::LEN)
        .ok_or_else(|| failed("a reference outside of the static table"))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn read(bytes: &[u8], max_entries: u64, inserted: u64) -> Result<Prefix, Error> {
        Prefix::read(&mut Reader::new(bytes), max_entries, inserted)
    }

    #[test]
    fn example_of_rfc_9204_4_5_1_1() {
        // A table of 100 bytes, 10 insertions: an encoded 4 stands for 9.
        assert_eq!(required_insert_count(4, max_entries(100), 10), Some(9));
    }

    #[test]
    fn example_of_rfc_9204_4_5_1_2() {
        // 9 are required and the Base is 6: sign 1 and a Delta Base of 2.
        let mut out = BytesMut::new();
        Prefix { required: 9, base: 6 }.put(&mut out, 3);
        assert_eq!(&out[..], [4, 0x82]);
        assert_eq!(read(&out, 3, 10), Ok(Prefix { required: 9, base: 6 }));
    }

    #[test]
    fn rfc_9204_4_5_1_1_a_required_insert_count_no_encoder_sends_must_be_an_error() {
        for (encoded, max_entries, inserted) in [
            (1, 0, 0), // nothing dynamic was allowed
            (7, 3, 0), // above the full range
            (1, 3, 0), // zero, not as zero
            (6, 3, 1), // wraps to below zero
        ] {
            assert_eq!(required_insert_count(encoded, max_entries, inserted), None, "{encoded}");
            assert!(matches!(
                read(&[encoded as u8, 0], max_entries, inserted),
                Err(Error::DecompressionFailed(_))
            ));
        }
    }

    #[test]
    fn rfc_9204_4_5_1_2_a_negative_base_must_be_an_error() {
        assert_eq!(read(&[3, 0x81], 3, 2), Ok(Prefix { required: 2, base: 0 }));
        assert!(matches!(read(&[3, 0x82], 3, 2), Err(Error::DecompressionFailed(_))));
        assert!(matches!(read(&[0, 0x80], 3, 2), Err(Error::DecompressionFailed(_))));
    }

    proptest! {
        #[test]
        fn every_prefix_comes_back(max_entries in 1u64..200, inserted in 0u64..100_000, ahead: u64, base: u16) {
            // An encoder is at most as many entries ahead, or behind, as the table can have.
            let required = (inserted + max_entries).saturating_sub(ahead % (2 * max_entries));
            prop_assume!(required > 0);
            let prefix = Prefix { required, base: base.into() };
            let mut out = BytesMut::new();
            prefix.put(&mut out, max_entries);
            prop_assert_eq!(read(&out, max_entries, inserted), Ok(prefix));
        }
    }
}
