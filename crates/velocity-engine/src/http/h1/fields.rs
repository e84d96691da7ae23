//! Fields of a message as text, and what they say about the connection (RFC 9112 sections 5 and 9).

use bytes::BytesMut;
use http::header::{
    AUTHORIZATION, CACHE_CONTROL, CONNECTION, CONTENT_ENCODING, CONTENT_LENGTH, CONTENT_RANGE, CONTENT_TYPE, HOST,
    MAX_FORWARDS, SET_COOKIE, TE, TRAILER, TRANSFER_ENCODING, UPGRADE,
};
use http::{HeaderMap, HeaderName, Version};

/// Write one field.
pub fn write(name: &str, value: &[u8], out: &mut BytesMut) {
    out.reserve(name.len() + value.len() + 4);
    out.extend_from_slice(name.as_bytes());
    out.extend_from_slice(b": ");
    out.extend_from_slice(value);
    out.extend_from_slice(b"\r\n");
}

/// Write how long a body is, in bytes.
pub fn write_length(length: u64, out: &mut BytesMut) {
    write("content-length", itoa::Buffer::new().format(length).as_bytes(), out);
}

/// Whether a field that is a list of tokens has this one.
pub fn lists(fields: &HeaderMap, name: &HeaderName, token: &[u8]) -> bool {
    fields
        .get_all(name)
        .iter()
        .flat_map(|value| value.as_bytes().split(|byte| *byte == b','))
        .any(|one| one.trim_ascii().eq_ignore_ascii_case(token))
}

/// Whether the connection goes on after a message with these (RFC 9112 section 9.3).
pub fn persists(version: Version, fields: &HeaderMap) -> bool {
    match version {
        Version::HTTP_10 => lists(fields, &CONNECTION, b"keep-alive") && !lists(fields, &CONNECTION, b"close"),
        _ => !lists(fields, &CONNECTION, b"close"),
    }
}

/// RFC 9110 section 6.5.1: what frames a message, routes it, or says how to read it, comes first or not at all.
pub fn may_come_last(name: &HeaderName) -> bool {
    let first = [
        AUTHORIZATION,
        CACHE_CONTROL,
        CONNECTION,
        CONTENT_ENCODING,
        CONTENT_LENGTH,
        CONTENT_RANGE,
        CONTENT_TYPE,
        HOST,
        MAX_FORWARDS,
        SET_COOKIE,
        TE,
        TRAILER,
        TRANSFER_ENCODING,
        UPGRADE,
    ];
    !first.contains(name)
}
