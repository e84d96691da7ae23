//! Field lines that need no dynamic table (RFC 9204 sections 4.5.2, 4.5.4 and 4.5.6), for the encoder.

use bytes::BytesMut;

use super::static_table::{self, Match};
use super::{integer, literal};

/// A field to encode.
#[derive(Clone, Copy, Debug)]
pub struct Line<'a> {
    /// The name, in lowercase.
    pub name: &'a [u8],
    /// The value.
    pub value: &'a [u8],
    /// A secret: it goes as a literal that no intermediary may put into a table (RFC 9204 section 7.1.3).
    pub sensitive: bool,
}

/// The prefix of a section that refers to nothing dynamic.
pub const STATIC_PREFIX: [u8; 2] = [0, 0];

/// Appends field lines that need no dynamic table, without the prefix of a section: they can be encoded once, kept,
/// and put behind [`STATIC_PREFIX`] in any section of any connection.
pub fn encode_lines<'a>(lines: impl IntoIterator<Item = Line<'a>>, out: &mut BytesMut) {
    for line in lines {
        put_line(out, &line, static_table::find(line.name, line.value));
    }
}

/// Appends a line by what the static table has for it.
pub(super) fn put_line(out: &mut BytesMut, line: &Line<'_>, known: Option<Match>) {
    let never = u8::from(line.sensitive);
    match known {
        Some(Match::Exact(index)) if !line.sensitive => return integer::put(out, 0xc0, 6, index.into()),
        Some(Match::Exact(index) | Match::Name(index)) => integer::put(out, 0x50 | never << 5, 4, index.into()),
        None => literal::put(out, 0x20 | never << 4, 3, line.name),
    }
    literal::put(out, 0, 7, line.value);
}

#[cfg(test)]
mod tests {
    use super::*;

    fn encoded(name: &str, value: &str, sensitive: bool) -> Vec<u8> {
        let mut out = BytesMut::new();
        encode_lines(
            [Line {
                name: name.as_bytes(),
                value: value.as_bytes(),
                sensitive,
            }],
            &mut out,
        );
        out.to_vec()
    }

    #[test]
    fn each_representation() {
        assert_eq!(encoded(":method", "GET", false), [0xc0 | 17]);
        assert_eq!(encoded("x-frame-options", "sameorigin", false), [0xff, 98 - 63]);
        assert_eq!(encoded(":path", "~", false), [0x51, 1, b'~']);
        assert_eq!(encoded("~", "~", false), [0x21, b'~', 1, b'~']);
    }

    #[test]
    fn rfc_9204_7_1_3_a_sensitive_line_is_a_literal_that_is_never_indexed() {
        assert_eq!(encoded(":path", "~", true), [0x71, 1, b'~']);
        assert_eq!(encoded("~", "~", true), [0x31, b'~', 1, b'~']);
        assert_eq!(encoded(":path", "/", true), [0x71, 1, b'/']);
    }
}
