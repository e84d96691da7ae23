//! Messages: from decoded field lines to the types of `http`, and back.
//!
//! This is where a malformed message (RFC 9114, section 4.1.2) is told from a good one. Each kind of field section is
//! a [`Sink`] for the QPACK decoder, so that a section is validated line by line as it is decoded and nothing is made
//! of it twice. What depends on more than one section, such as the length of the content, is up to the stream.

mod fields;
mod lines;
mod request;
mod response;

use bytes::Bytes;
use http::HeaderMap;

pub(crate) use lines::{Lines, request_lines, response_lines, trailer_lines};
pub(crate) use request::RequestSink;
pub(crate) use response::ResponseSink;

use crate::qpack::{Name, Sink, Value, static_table};
use fields::{Fields, Section};

/// Why a message is malformed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Malformed(pub &'static str);

/// Collects a trailer section: fields, and no pseudo-header fields (section 4.3).
pub(crate) struct TrailersSink(Fields);

impl TrailersSink {
    pub fn new() -> Self {
        Self(Fields::new(Section::Trailers))
    }

    pub fn finish(self) -> HeaderMap {
        self.0.finish().map
    }
}

impl Sink for TrailersSink {
    type Error = Malformed;

    fn field(&mut self, name: Name, value: Value) -> Result<(), Malformed> {
        match pseudo(&name) {
            Some(_) => Err(Malformed("a pseudo-header field among trailers")),
            None => self.0.push(name, value),
        }
    }
}

/// The name of a pseudo-header field; `None` if it is an ordinary field.
fn pseudo(name: &Name) -> Option<&[u8]> {
    let name = match name {
        Name::Static(index) => static_table::name(*index).as_bytes(),
        Name::Literal(name) => name,
    };
    (name.first() == Some(&b':')).then_some(name)
}

/// A value without a copy.
fn bytes(value: Value) -> Bytes {
    match value {
        Value::Static(index) => Bytes::from_static(static_table::value(index).as_bytes()),
        Value::Literal(value) => value,
    }
}

/// Set what a message may say once.
fn once<T>(slot: &mut Option<T>, value: T) -> Result<(), Malformed> {
    match slot.replace(value) {
        None => Ok(()),
        Some(_) => Err(Malformed("a pseudo-header field twice")),
    }
}
