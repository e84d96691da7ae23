//! SETTINGS (RFC 9114 section 7.2.4, RFC 9204 section 5, RFC 9220 section 3, RFC 9297 section 2.1.1).

use bytes::BytesMut;

use crate::code::{Code, Error};
use crate::{Config, varint};

const QPACK_MAX_TABLE_CAPACITY: u64 = 0x01;
const MAX_FIELD_SECTION_SIZE: u64 = 0x06;
const QPACK_BLOCKED_STREAMS: u64 = 0x07;
const ENABLE_CONNECT_PROTOCOL: u64 = 0x08;
const H3_DATAGRAM: u64 = 0x33;
/// More settings than this are not looked at, but refused.
const MAX_COUNT: usize = 64;

/// What a side permits its peer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Settings {
    /// Largest field section it takes, decoded, in bytes.
    pub max_field_section_size: u64,
    /// Largest dynamic table of its QPACK decoder, in bytes.
    pub qpack_max_table_capacity: u64,
    /// Streams that may wait for its QPACK decoder.
    pub qpack_blocked_streams: u64,
    /// Whether it takes extended CONNECT.
    pub connect_protocol: bool,
    /// Whether it takes datagrams.
    pub datagrams: bool,
}

impl Default for Settings {
    /// What holds before SETTINGS have come, and where they say nothing.
    fn default() -> Self {
        Self {
            max_field_section_size: varint::MAX,
            qpack_max_table_capacity: 0,
            qpack_blocked_streams: 0,
            connect_protocol: false,
            datagrams: false,
        }
    }
}

impl Settings {
    /// Read the payload of a SETTINGS frame.
    pub fn decode(mut payload: &[u8]) -> Result<Self, Error> {
        let wrong = |reason| Error::connection(Code::SettingsError, reason);
        let mut settings = Self::default();
        let mut seen = Vec::new();
        while !payload.is_empty() {
            let pair = varint::decode(payload)
                .and_then(|(id, first)| Some((id, payload.get(first..)?)))
                .and_then(|(id, rest)| varint::decode(rest).map(|(value, len)| (id, value, rest, len)));
            let Some((id, value, rest, len)) = pair else {
                return Err(Error::connection(Code::FrameError, "SETTINGS end within a setting"));
            };
            payload = rest.get(len..).unwrap_or_default();
            if seen.contains(&id) {
                return Err(wrong("a setting occurs twice"));
            }
            if seen.len() == MAX_COUNT {
                return Err(Error::connection(Code::ExcessiveLoad, "too many settings"));
            }
            seen.push(id);
            let flag = || match value {
                0 | 1 => Ok(value == 1),
                _ => Err(wrong("a setting is neither 0 nor 1")),
            };
            match id {
                QPACK_MAX_TABLE_CAPACITY => settings.qpack_max_table_capacity = value,
                MAX_FIELD_SECTION_SIZE => settings.max_field_section_size = value,
                QPACK_BLOCKED_STREAMS => settings.qpack_blocked_streams = value,
                ENABLE_CONNECT_PROTOCOL => settings.connect_protocol = flag()?,
                H3_DATAGRAM => settings.datagrams = flag()?,
                0x00 | 0x02..=0x05 => return Err(wrong("a setting of HTTP/2")),
                _ => {}
            }
        }
        Ok(settings)
    }

    /// The payload of our SETTINGS frame.
    pub(crate) fn encode(config: &Config, out: &mut BytesMut) {
        let mut put = |id, value: u64| {
            varint::encode(id, out);
            varint::encode(value, out);
        };
        put(MAX_FIELD_SECTION_SIZE, config.max_field_section_size);
        if config.qpack_capacity > 0 {
            put(QPACK_MAX_TABLE_CAPACITY, config.qpack_capacity.into());
            put(QPACK_BLOCKED_STREAMS, config.qpack_blocked_streams.into());
        }
        if config.connect_protocol {
            put(ENABLE_CONNECT_PROTOCOL, 1);
        }
        if config.datagrams {
            put(H3_DATAGRAM, 1);
        }
        if let Some(random) = config.grease {
            // RFC 9114 section 7.2.4.1: identifiers of this form mean nothing, and keep peers honest.
            put(grease(random), random & 0xff);
        }
    }
}

/// A reserved number of the form 0x1f * N + 0x21.
pub(crate) fn grease(random: u64) -> u64 {
    (random % (1 << 56)) * 0x1f + 0x21
}
