//! Fields of a message as text (RFC 9112 section 5).

use bytes::BytesMut;
use http::header::{
    AUTHORIZATION, CACHE_CONTROL, CONNECTION, CONTENT_ENCODING, CONTENT_LENGTH, CONTENT_RANGE, CONTENT_TYPE, HOST,
    MAX_FORWARDS, SET_COOKIE, TE, TRAILER, TRANSFER_ENCODING, UPGRADE,
};
use http::{HeaderMap, HeaderName};

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

/// Whether the value of a field, a list of tokens, has this one.
pub fn has(value: &[u8], token: &[u8]) -> bool {
    value
        .split(|byte| *byte == b',')
        .any(|one| one.trim_ascii().eq_ignore_ascii_case(token))
}

/// The same for all lines of a field.
pub fn any_has(fields: &HeaderMap, name: &HeaderName, token: &[u8]) -> bool {
    fields.get_all(name).iter().any(|value| has(value.as_bytes(), token))
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
