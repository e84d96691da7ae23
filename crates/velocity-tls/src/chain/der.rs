//! Distinguished Encoding Rules (ITU-T X.690 section 10): elements as they were encoded, to cut and to look into.
//!
//! What was signed are octets, so they are cut out of what came and never made anew from what was read. Only the
//! headers around a cut are written again, and DER leaves those no choice.

use std::fmt;

use x509_cert::der::asn1::{AnyRef, ObjectIdentifier};
use x509_cert::der::{Decode, Encode, Error, Reader, SliceReader, Tag, TagNumber};

/// Why some octets are not what they should be; one line.
#[derive(Debug)]
pub(super) struct Malformed(pub(super) String);

impl Malformed {
    pub(super) fn new(what: impl Into<String>) -> Self {
        Malformed(what.into())
    }
}

impl fmt::Display for Malformed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl From<Error> for Malformed {
    fn from(error: Error) -> Self {
        Malformed(error.to_string())
    }
}

/// One element: tag, content, and the whole of it.
#[derive(Clone, Copy)]
pub(super) struct Element<'a> {
    pub(super) tag: Tag,
    pub(super) content: &'a [u8],
    pub(super) raw: &'a [u8],
}

/// A constructed element with this context-specific tag number.
pub(super) const fn explicit(number: u32) -> Tag {
    Tag::ContextSpecific {
        constructed: true,
        number: TagNumber(number),
    }
}

/// The elements that stand one after another in `content`.
pub(super) fn children(content: &[u8]) -> Result<Vec<Element<'_>>, Malformed> {
    let mut reader = SliceReader::new(content)?;
    let mut found = Vec::new();
    while !reader.is_finished() {
        let raw = reader.tlv_bytes()?;
        let any = AnyRef::from_der(raw)?;
        found.push(Element {
            tag: any.header().tag(),
            content: any.value(),
            raw,
        });
    }
    Ok(found)
}

/// The content of the one element that `data` is.
pub(super) fn only(data: &[u8], tag: Tag) -> Result<&[u8], Malformed> {
    let any = AnyRef::from_der(data)?;
    any.header().tag().assert_eq(tag)?;
    Ok(any.value())
}

/// An element around `content`.
pub(super) fn wrap(tag: Tag, content: &[u8]) -> Result<Vec<u8>, Malformed> {
    Ok(AnyRef::new(tag, content)?.to_der()?)
}

/// The octets of a BIT STRING that has whole ones.
pub(super) fn bit_string(content: &[u8]) -> Result<&[u8], Malformed> {
    match content.split_first() {
        Some((0, octets)) => Ok(octets),
        _ => Err(Malformed::new("a BIT STRING has unused bits")),
    }
}

/// Decode `data`, which has to be how its value is encoded: defaults left out, sets in order, no idle bits. The
/// decoder is a little more generous than DER.
pub(super) fn exact<'a, T>(data: &'a [u8]) -> Result<T, Malformed>
where
    T: Decode<'a, Error = Error> + Encode,
{
    let value = T::from_der(data)?;
    if value.to_der()? != data {
        return Err(Malformed::new("a value is encoded as DER does not allow"));
    }
    Ok(value)
}

/// The name that an element is. Those above 39 octets, and under arcs such as 2.999, are not read.
pub(super) fn object_identifier(element: &Element<'_>) -> Result<ObjectIdentifier, Malformed> {
    exact(element.raw)
}

/// Whether the tags of `elements` are these.
pub(super) fn are(elements: &[Element<'_>], tags: &[Tag]) -> bool {
    elements.iter().map(|element| element.tag).eq(tags.iter().copied())
}
