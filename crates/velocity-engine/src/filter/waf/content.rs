//! What is in a request, piece by piece: each on a line of its own, decoded.

use http::HeaderMap;
use http::header::{CONTENT_LENGTH, CONTENT_TYPE, HOST};
use http::request::Parts;
use serde::de::{Deserializer, MapAccess, SeqAccess, Visitor};

use super::decode::decode;

/// The path.
pub fn path(parts: &Parts, out: &mut Vec<u8>) {
    line(parts.uri.path().as_bytes(), false, out);
}

/// Names and values of the query.
pub fn query(parts: &Parts, out: &mut Vec<u8>) {
    form(parts.uri.query().unwrap_or_default().as_bytes(), out);
}

/// Values of header fields. Cookies are taken apart: a semicolon between them ends no command.
pub fn fields(parts: &Parts, out: &mut Vec<u8>) {
    for (name, value) in &parts.headers {
        if *name == HOST || *name == CONTENT_LENGTH {
            continue;
        }
        let is_cookie = *name == http::header::COOKIE;
        for piece in value.as_bytes().split(|&b| is_cookie && b == b';') {
            line(piece, false, out);
        }
    }
}

/// What a body says it is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Kind {
    Form,
    Json,
    Multipart(Vec<u8>),
    Text,
    /// Pictures, archives: nothing that rules know how to read.
    Binary,
}

impl Kind {
    pub fn of(fields: &HeaderMap) -> Self {
        let Some(value) = fields.get(CONTENT_TYPE) else {
            return Kind::Text;
        };
        let lower = value.as_bytes().to_ascii_lowercase();
        let essence = lower.split(|&b| b == b';').next().unwrap_or_default().trim_ascii();
        match essence {
            b"application/x-www-form-urlencoded" => Kind::Form,
            b"multipart/form-data" | b"multipart/mixed" | b"multipart/related" => {
                boundary(value.as_bytes()).map_or(Kind::Text, Kind::Multipart)
            }
            _ if essence == b"application/json" || essence.ends_with(b"+json") => Kind::Json,
            _ if [&b"image/"[..], b"video/", b"audio/", b"font/"]
                .iter()
                .any(|start| essence.starts_with(start))
                && essence != b"image/svg+xml" =>
            {
                Kind::Binary
            }
            b"application/octet-stream"
            | b"application/zip"
            | b"application/gzip"
            | b"application/pdf"
            | b"application/grpc"
            | b"application/wasm" => Kind::Binary,
            _ => Kind::Text,
        }
    }
}

/// A body, or its beginning.
pub fn body(kind: &Kind, body: &[u8], out: &mut Vec<u8>) {
    match kind {
        Kind::Form => form(body, out),
        Kind::Json => json(body, out),
        Kind::Multipart(boundary) => multipart(boundary, body, out),
        Kind::Text => line(body, false, out),
        Kind::Binary => {}
    }
}

fn line(raw: &[u8], plus: bool, out: &mut Vec<u8>) {
    if !raw.is_empty() {
        let from = out.len();
        decode(raw, plus, out);
        // Only pieces are lines: to a database an end of line is a space.
        out[from..].iter_mut().filter(|b| **b == b'\n').for_each(|b| *b = b' ');
        out.push(b'\n');
    }
}

fn form(pairs: &[u8], out: &mut Vec<u8>) {
    for piece in pairs.split(|&b| b == b'&') {
        let (name, value) = match memchr::memchr(b'=', piece) {
            Some(at) => (&piece[..at], &piece[at + 1..]),
            None => (piece, &[][..]),
        };
        line(name, true, out);
        line(value, true, out);
    }
}

/// Every string, names included. What is not JSON, or only the beginning of some, is read as text.
fn json(body: &[u8], out: &mut Vec<u8>) {
    let from = out.len();
    let mut deserializer = serde_json::Deserializer::from_slice(body);
    if (Strings { out }).visit(&mut deserializer).is_err() || deserializer.end().is_err() {
        out.truncate(from);
        line(body, false, out);
    }
}

/// Collects the strings of a JSON text without building it.
struct Strings<'o> {
    out: &'o mut Vec<u8>,
}

impl<'o> Strings<'o> {
    fn visit<'de, D: Deserializer<'de>>(&mut self, deserializer: D) -> Result<(), D::Error> {
        deserializer.deserialize_any(Strings { out: self.out })
    }
}

impl<'de> serde::de::DeserializeSeed<'de> for Strings<'_> {
    type Value = ();

    fn deserialize<D: Deserializer<'de>>(mut self, deserializer: D) -> Result<(), D::Error> {
        self.visit(deserializer)
    }
}

impl<'de> Visitor<'de> for Strings<'_> {
    type Value = ();

    fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("JSON")
    }

    fn visit_str<E>(self, text: &str) -> Result<(), E> {
        line(text.as_bytes(), false, self.out);
        Ok(())
    }

    fn visit_bool<E>(self, _: bool) -> Result<(), E> {
        Ok(())
    }

    fn visit_i64<E>(self, _: i64) -> Result<(), E> {
        Ok(())
    }

    fn visit_u64<E>(self, _: u64) -> Result<(), E> {
        Ok(())
    }

    fn visit_f64<E>(self, _: f64) -> Result<(), E> {
        Ok(())
    }

    fn visit_unit<E>(self) -> Result<(), E> {
        Ok(())
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<(), A::Error> {
        while items.next_element_seed(Strings { out: &mut *self.out })?.is_some() {}
        Ok(())
    }

    fn visit_map<A: MapAccess<'de>>(self, mut members: A) -> Result<(), A::Error> {
        while members.next_key_seed(Strings { out: &mut *self.out })?.is_some() {
            members.next_value_seed(Strings { out: &mut *self.out })?;
        }
        Ok(())
    }
}

/// Names, file names and contents of the parts (RFC 7578); contents that are no text are left out.
fn multipart(boundary: &[u8], body: &[u8], out: &mut Vec<u8>) {
    let delimiter = [b"--", boundary].concat();
    let mut starts = memchr::memmem::find_iter(body, &delimiter).map(|at| at + delimiter.len());
    let mut start = starts.next();
    if start.is_none() {
        return line(body, false, out);
    }
    while let Some(from) = start {
        start = starts.next();
        let part = match start {
            Some(next) => &body[from..next - delimiter.len()],
            None => &body[from..],
        };
        let (head, content) = match memchr::memmem::find(part, b"\r\n\r\n") {
            Some(at) => (&part[..at], &part[at + 4..]),
            None => (part, &[][..]),
        };
        // Quoted values of Content-Disposition.
        for value in head.split(|&b| b == b'"').skip(1).step_by(2) {
            line(value, false, out);
        }
        let content = content.strip_suffix(b"\r\n").unwrap_or(content);
        // The last one may have been cut in the middle of a character.
        let is_text = std::str::from_utf8(content).map_or_else(|e| e.error_len().is_none(), |_| true);
        if is_text && !content.contains(&0) {
            line(content, false, out);
        }
    }
}

fn boundary(content_type: &[u8]) -> Option<Vec<u8>> {
    let mut parameters = content_type.split(|&b| b == b';').skip(1);
    parameters.find_map(|parameter| {
        let at = memchr::memchr(b'=', parameter)?;
        let (name, value) = (parameter[..at].trim_ascii(), parameter[at + 1..].trim_ascii());
        let value = value
            .strip_prefix(b"\"")
            .and_then(|rest| rest.strip_suffix(b"\""))
            .unwrap_or(value);
        // RFC 2046 section 5.1.1.
        (name.eq_ignore_ascii_case(b"boundary") && (1..=70).contains(&value.len())).then(|| value.to_vec())
    })
}
