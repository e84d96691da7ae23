//! The fields of a section (RFC 9114, section 4.2): their names, their values, and which must not be there.

use bytes::{BufMut, Bytes, BytesMut};
use http::header::{CONTENT_LENGTH, COOKIE, HOST, HeaderMap, HeaderName, HeaderValue};

use super::Malformed;
use crate::qpack::{Name, Value, static_table};

/// How many fields a map has room for from the start: most requests have no more, and a map grows by doubling.
const USUAL: usize = 12;

/// What kind of section the fields are in.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Section {
    Request,
    Response,
    Trailers,
}

/// Collects fields.
pub(super) struct Fields {
    section: Section,
    /// Whether there was a field: none of the pseudo-header fields may come afterwards (section 4.3).
    pub begun: bool,
    map: HeaderMap,
    length: Option<u64>,
    /// Cookie fields joined with "; ", once there is more than one (section 4.2.1).
    crumbs: BytesMut,
}

/// All fields of a section.
pub(super) struct Collected {
    pub map: HeaderMap,
    /// `content-length`.
    pub length: Option<u64>,
}

impl Fields {
    pub fn new(section: Section) -> Self {
        let room = if section == Section::Trailers { 0 } else { USUAL };
        let map = HeaderMap::try_with_capacity(room).unwrap_or_default();
        Self {
            section,
            begun: false,
            map,
            length: None,
            crumbs: BytesMut::new(),
        }
    }

    /// Add an ordinary field.
    pub fn push(&mut self, name: Name, value: Value) -> Result<(), Malformed> {
        self.begun = true;
        let name = match name {
            Name::Static(index) => static_table::header_name(index).ok_or(Malformed("not the name of a field"))?,
            Name::Literal(name) => {
                HeaderName::from_lowercase(&name).map_err(|_| Malformed("not the name of a field in lower case"))?
            }
        };
        let value = match value {
            Value::Static(index) => static_table::header_value(index),
            Value::Literal(value) => field_value(value)?,
        };
        match name.as_str() {
            "connection" | "keep-alive" | "proxy-connection" | "transfer-encoding" | "upgrade" => {
                return Err(Malformed("a field that is about a connection of HTTP/1"));
            }
            "te" if self.section != Section::Request || !value.as_bytes().eq_ignore_ascii_case(b"trailers") => {
                return Err(Malformed("te with another value than trailers"));
            }
            "host" if self.map.contains_key(HOST) => return Err(Malformed("two host fields")),
            "cookie" if self.section == Section::Request => {
                if let Some(cookies) = self.map.get(COOKIE) {
                    if self.crumbs.is_empty() {
                        self.crumbs.put_slice(cookies.as_bytes());
                    }
                    self.crumbs.put_slice(b"; ");
                    self.crumbs.put_slice(value.as_bytes());
                    return Ok(());
                }
            }
            "content-length" if self.section != Section::Trailers => return self.content_length(value),
            _ => {}
        }
        self.append(name, value)
    }

    fn append(&mut self, name: HeaderName, value: HeaderValue) -> Result<(), Malformed> {
        self.map
            .try_append(name, value)
            .map(|_| ())
            .map_err(|_| Malformed("more fields than can be held"))
    }

    /// The same length several times, in one field or in many, is that length; the map gets it once (RFC 9110,
    /// section 8.6).
    fn content_length(&mut self, value: HeaderValue) -> Result<(), Malformed> {
        let first = self.length.is_none();
        let mut list = false;
        for number in value.as_bytes().split(|byte| *byte == b',') {
            let number = decimal(number.trim_ascii()).ok_or(Malformed("content-length is not a number"))?;
            if self.length.is_some_and(|length| length != number) {
                return Err(Malformed("content-length twice, with different values"));
            }
            list |= self.length.replace(number).is_some();
        }
        match (first, self.length) {
            (true, Some(length)) if list => self.append(CONTENT_LENGTH, HeaderValue::from(length)),
            (true, _) => self.append(CONTENT_LENGTH, value),
            (false, _) => Ok(()),
        }
    }

    pub fn finish(mut self) -> Collected {
        // Values with "; " between them are a value, and the name is there already: neither can fail.
        if !self.crumbs.is_empty()
            && let Ok(cookies) = HeaderValue::from_maybe_shared(self.crumbs.freeze())
        {
            let _ = self.map.try_insert(COOKIE, cookies);
        }
        Collected {
            map: self.map,
            length: self.length,
        }
    }
}

/// RFC 9110, section 5.5: neither control characters nor space around it.
fn field_value(value: Bytes) -> Result<HeaderValue, Malformed> {
    if matches!(value.first(), Some(b' ' | b'\t')) || matches!(value.last(), Some(b' ' | b'\t')) {
        return Err(Malformed("space around the value of a field"));
    }
    HeaderValue::from_maybe_shared(value).map_err(|_| Malformed("not the value of a field"))
}

fn decimal(digits: &[u8]) -> Option<u64> {
    if digits.is_empty() {
        return None;
    }
    digits.iter().try_fold(0u64, |number, digit| {
        let digit = digit.is_ascii_digit().then(|| u64::from(digit - b'0'))?;
        number.checked_mul(10)?.checked_add(digit)
    })
}
