//! WebTransport over HTTP/3 (draft-ietf-webtrans-http3, as of versions 02 and 07): what its streams begin with, how
//! its sessions end, and its error codes.
//!
//! A session is an extended CONNECT request. Its streams are QUIC streams that begin with a type and the ID of that
//! request's stream; once that is read ([`crate::Event::WebTransport`]) they are no concern of HTTP/3 any more. Its
//! datagrams are HTTP datagrams (RFC 9297).

use bytes::{BufMut, BytesMut};

use crate::error::{Code, Error};
use crate::{StreamId, capsule, varint};

/// The value of `:protocol` that asks for a session.
pub const PROTOCOL: &str = "webtransport";
/// The capsule that ends a session with a code and a reason.
pub const CLOSE_SESSION: u64 = 0x2843;
/// The longest such reason, in bytes.
pub const MAX_REASON: usize = 1024;

/// SETTINGS_ENABLE_WEBTRANSPORT, of version 02: what browsers and aioquic look for.
pub(crate) const ENABLE_WEBTRANSPORT: u64 = 0x2b60_3742;
/// SETTINGS_WEBTRANSPORT_MAX_SESSIONS, of version 07.
pub(crate) const MAX_SESSIONS: u64 = 0xc671_706a;
/// Begins a bidirectional stream, in the place of its first frame's type.
pub(crate) const BIDIRECTIONAL: u64 = 0x41;
/// The type of a unidirectional stream.
pub(crate) const UNIDIRECTIONAL: u64 = 0x54;

/// Where the codes of applications begin among those of HTTP/3.
const FIRST: u64 = 0x52e4_a40f_a8db;
/// Where they end.
const LAST: u64 = 0x52e5_ac98_3162;

/// Append what a stream of `session` begins with that this side opens.
pub fn stream_header(session: StreamId, bidirectional: bool, out: &mut BytesMut) {
    let kind = if bidirectional { BIDIRECTIONAL } else { UNIDIRECTIONAL };
    varint::encode(kind, out);
    varint::encode(session, out);
}

/// Append the capsule that ends a session. What of the reason is beyond [`MAX_REASON`] is left out.
pub fn close_session(code: u32, reason: &str, out: &mut BytesMut) {
    let mut end = reason.len().min(MAX_REASON);
    while !reason.is_char_boundary(end) {
        end -= 1;
    }
    let reason = &reason[..end];
    capsule::header(CLOSE_SESSION, 4 + reason.len() as u64, out);
    out.put_u32(code);
    out.extend_from_slice(reason.as_bytes());
}

/// Code and reason of such a capsule; `None` if it has no code, or is too long.
#[must_use]
pub fn read_close(value: &[u8]) -> Option<(u32, String)> {
    let (code, reason) = value.split_first_chunk()?;
    (reason.len() <= MAX_REASON).then(|| (u32::from_be_bytes(*code), String::from_utf8_lossy(reason).into_owned()))
}

/// An application's code as HTTP/3 has it, on RESET_STREAM and STOP_SENDING.
#[must_use]
pub const fn to_http3(code: u32) -> u64 {
    // One in 31 is reserved (RFC 9114, section 8.1).
    FIRST + code as u64 + code as u64 / 0x1e
}

/// The application's code behind one of HTTP/3; `None` if it is none of an application.
#[must_use]
pub const fn from_http3(code: u64) -> Option<u32> {
    if code < FIRST || code > LAST || (code - 0x21).is_multiple_of(0x1f) {
        return None;
    }
    let place = code - FIRST;
    Some((place - place / 0x1f) as u32)
}

/// The ID of a session, which is that of a request.
pub(crate) const fn session(id: u64) -> Result<StreamId, Error> {
    match id & 3 {
        0 => Ok(id),
        _ => Err(Error::connection(Code::IdError, "a session that is not of a request")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn codes_of_applications_lie_between_reserved_ones() {
        for code in (0..100).chain([0xff, 0x1_0000, u32::MAX - 1, u32::MAX]) {
            let there = to_http3(code);
            assert!(!(there - 0x21).is_multiple_of(0x1f), "{code}");
            assert_eq!(from_http3(there), Some(code));
        }
        assert_eq!((to_http3(0), to_http3(u32::MAX)), (FIRST, LAST));
        // The first one that is reserved is the one after 0x1d.
        assert_eq!(from_http3(to_http3(0x1d) + 1), None);
        assert_eq!(to_http3(0x1e), to_http3(0x1d) + 2);
        for other in [0, 0x100, FIRST - 1, LAST + 1, u64::MAX] {
            assert_eq!(from_http3(other), None);
        }
    }

    #[test]
    fn a_session_ends_with_code_and_reason() {
        let mut wire = BytesMut::new();
        close_session(7, "enough", &mut wire);
        let mut reader = capsule::Reader::new(4 + MAX_REASON, |kind| kind == CLOSE_SESSION);
        reader.receive(wire.freeze());
        let capsule = reader.next().unwrap().unwrap();
        assert_eq!(read_close(&capsule.value), Some((7, "enough".to_owned())));
        assert_eq!(read_close(&[0, 0, 0]), None);
        assert_eq!(read_close(&[0; 4 + MAX_REASON + 1]), None);
        let mut wire = BytesMut::new();
        close_session(0, &"ä".repeat(MAX_REASON), &mut wire);
        assert_eq!(wire.len(), 2 + 2 + 4 + MAX_REASON);
    }

    #[test]
    fn a_stream_names_its_session() {
        let mut header = BytesMut::new();
        stream_header(4, true, &mut header);
        stream_header(64, false, &mut header);
        assert_eq!(header, [0x40, 0x41, 4, 0x40, 0x54, 0x40, 64][..]);
    }
}
