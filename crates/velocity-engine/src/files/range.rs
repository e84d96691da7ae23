//! Byte ranges (RFC 9110 section 14).

use std::ops::Range;

use http::HeaderValue;

/// More ranges than this in one request are no download but an attack (RFC 9110 section 17.15).
const MAX_RANGES: usize = 16;

/// What a Range field means for a representation.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Ranges {
    /// Send everything: no range, one that is not understood, or more work than the whole.
    Whole,
    /// In the order asked for; at least one, all within the representation.
    Parts(Vec<Range<u64>>),
    Unsatisfiable,
}

impl Ranges {
    /// Read a Range field for a representation of `len` bytes.
    pub fn parse(value: &HeaderValue, len: u64) -> Self {
        let Some(specs) = value.to_str().ok().and_then(byte_ranges) else {
            return Ranges::Whole;
        };
        let mut specs = specs
            .split(',')
            .map(str::trim)
            .filter(|spec| !spec.is_empty())
            .peekable();
        if specs.peek().is_none() {
            return Ranges::Whole;
        }
        let mut parts = Vec::new();
        for spec in specs {
            match one(spec, len) {
                None => return Ranges::Whole, // the field is invalid and therefore ignored
                Some(range) if range.is_empty() => {}
                Some(range) => parts.push(range),
            }
            if parts.len() > MAX_RANGES {
                return Ranges::Whole;
            }
        }
        if parts.is_empty() {
            return Ranges::Unsatisfiable;
        }
        // Overlapping ranges must not make us send more than there is.
        let total = parts
            .iter()
            .map(|range| range.end - range.start)
            .fold(0, u64::saturating_add);
        if parts.len() > 1 && total > len {
            Ranges::Whole
        } else {
            Ranges::Parts(parts)
        }
    }
}

fn byte_ranges(value: &str) -> Option<&str> {
    let (unit, specs) = value.split_once('=')?;
    unit.trim().eq_ignore_ascii_case("bytes").then_some(specs)
}

/// `first-last`, `first-` or `-suffix`; `None` if it is neither, empty if it is unsatisfiable.
fn one(spec: &str, len: u64) -> Option<Range<u64>> {
    let (first, last) = spec.split_once('-')?;
    let number = |text: &str| match text.bytes().all(|b| b.is_ascii_digit()) && !text.is_empty() {
        // Beyond 64 bits is beyond every file.
        true => Some(text.parse::<u64>().unwrap_or(u64::MAX)),
        false => None,
    };
    if first.is_empty() {
        let suffix = number(last)?;
        return Some(len.saturating_sub(suffix)..len);
    }
    let first = number(first)?;
    let last = if last.is_empty() { u64::MAX } else { number(last)? };
    if last < first {
        return None;
    }
    Some(first.min(len)..last.saturating_add(1).min(len))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(value: &'static str, len: u64) -> Ranges {
        Ranges::parse(&HeaderValue::from_static(value), len)
    }

    #[test]
    #[allow(clippy::single_range_in_vec_init)]
    fn examples_of_rfc_9110_section_14_1_2() {
        assert_eq!(parse("bytes=0-499", 10_000), Ranges::Parts(vec![0..500]));
        assert_eq!(parse("bytes=500-999", 10_000), Ranges::Parts(vec![500..1000]));
        assert_eq!(parse("bytes=-500", 10_000), Ranges::Parts(vec![9500..10_000]));
        assert_eq!(parse("bytes=9500-", 10_000), Ranges::Parts(vec![9500..10_000]));
        assert_eq!(parse("bytes=0-0,-1", 10_000), Ranges::Parts(vec![0..1, 9999..10_000]));
        assert_eq!(parse("bytes= 0-0 , 4-5 ", 10), Ranges::Parts(vec![0..1, 4..6]));
        assert_eq!(parse("BYTES=0-99999999999999999999999", 5), Ranges::Parts(vec![0..5]));
        assert_eq!(parse("bytes=-99", 5), Ranges::Parts(vec![0..5]));
    }

    #[test]
    fn unsatisfiable_and_invalid() {
        assert_eq!(parse("bytes=10-", 10), Ranges::Unsatisfiable);
        assert_eq!(parse("bytes=-0", 10), Ranges::Unsatisfiable);
        assert_eq!(parse("bytes=0-", 0), Ranges::Unsatisfiable);
        for value in [
            "bytes=",
            "bytes=,",
            "bytes=5-4",
            "bytes=a-b",
            "bytes=--1",
            "items=0-1",
            "bytes",
            "bytes=1",
            "bytes=+1-2",
        ] {
            assert_eq!(parse(value, 10), Ranges::Whole, "{value}");
        }
    }

    #[test]
    fn many_or_overlapping_ranges_get_the_whole() {
        let many = (0..17).map(|i| format!("{i}-{i}")).collect::<Vec<_>>().join(",");
        assert_eq!(
            Ranges::parse(&HeaderValue::try_from(format!("bytes={many}")).unwrap(), 1000),
            Ranges::Whole
        );
        assert_eq!(parse("bytes=0-,0-,0-", 1000), Ranges::Whole);
    }
}
