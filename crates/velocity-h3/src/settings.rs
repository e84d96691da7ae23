//! Settings (RFC 9114, section 7.2.4; RFC 9204, section 5; RFC 9220, section 5; RFC 9297, section 2.1.1).

use bytes::BytesMut;

use crate::config::Config;
use crate::error::{Code, Error};
use crate::{frame, varint, webtransport};

const QPACK_MAX_TABLE_CAPACITY: u64 = 0x1;
const MAX_FIELD_SECTION_SIZE: u64 = 0x6;
const QPACK_BLOCKED_STREAMS: u64 = 0x7;
const ENABLE_CONNECT_PROTOCOL: u64 = 0x8;
const H3_DATAGRAM: u64 = 0x33;

/// What the peer told about itself in SETTINGS. The default is what holds until it has.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Settings {
    /// The largest field section it accepts; `None` for any size.
    pub max_field_section_size: Option<u64>,
    /// The largest dynamic table its QPACK decoder has room for.
    pub qpack_max_table_capacity: u64,
    /// How many streams may wait for its dynamic table at a time.
    pub qpack_blocked_streams: u64,
    /// Whether it takes extended CONNECT requests.
    pub connect_protocol: bool,
    /// Whether it takes HTTP datagrams.
    pub datagrams: bool,
}

impl Settings {
    /// Read the payload of a SETTINGS frame.
    pub(crate) fn decode(mut payload: &[u8]) -> Result<Self, Error> {
        let mut settings = Self::default();
        let mut seen = Vec::new();
        while !payload.is_empty() {
            let (id, value) = pair(&mut payload).ok_or(Error::connection(Code::FrameError, "SETTINGS is cut short"))?;
            seen.push(id);
            match id {
                QPACK_MAX_TABLE_CAPACITY => settings.qpack_max_table_capacity = value,
                MAX_FIELD_SECTION_SIZE => settings.max_field_section_size = Some(value),
                QPACK_BLOCKED_STREAMS => settings.qpack_blocked_streams = value,
                ENABLE_CONNECT_PROTOCOL => settings.connect_protocol = switch(value)?,
                H3_DATAGRAM => settings.datagrams = switch(value)?,
                0x2..=0x5 => return Err(wrong("a setting of HTTP/2")),
                _ => {}
            }
        }
        seen.sort_unstable();
        if seen.windows(2).any(|pair| pair[0] == pair[1]) {
            return Err(wrong("the same setting twice"));
        }
        Ok(settings)
    }

    /// Write the payload of the SETTINGS frame that tells the peer of `config`. Defaults go without saying.
    pub(crate) fn encode(config: &Config, server: bool, out: &mut BytesMut) {
        let mut put = |id, value| {
            varint::encode(id, out);
            varint::encode(value, out);
        };
        if config.qpack_capacity > 0 {
            put(QPACK_MAX_TABLE_CAPACITY, u64::from(config.qpack_capacity));
        }
        put(MAX_FIELD_SECTION_SIZE, config.max_field_section_size);
        if config.qpack_blocked_streams > 0 {
            put(QPACK_BLOCKED_STREAMS, u64::from(config.qpack_blocked_streams));
        }
        if config.connect_protocol && server {
            put(ENABLE_CONNECT_PROTOCOL, 1);
        }
        if config.datagrams {
            put(H3_DATAGRAM, 1);
        }
        if config.webtransport_sessions > 0 && server {
            put(webtransport::ENABLE_WEBTRANSPORT, 1);
            put(webtransport::MAX_SESSIONS, config.webtransport_sessions);
        }
        if let Some(random) = config.grease {
            put(frame::grease(random), random >> 32);
        }
    }
}

const fn wrong(reason: &'static str) -> Error {
    Error::connection(Code::SettingsError, reason)
}

fn pair(payload: &mut &[u8]) -> Option<(u64, u64)> {
    let (id, first) = varint::decode(payload)?;
    let (value, second) = varint::decode(payload.get(first..)?)?;
    *payload = payload.get(first + second..)?;
    Some((id, value))
}

const fn switch(value: u64) -> Result<bool, Error> {
    match value {
        0 => Ok(false),
        1 => Ok(true),
        _ => Err(wrong("a setting that is 0 or 1 has another value")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_written_is_read() {
        let config = Config {
            connect_protocol: true,
            datagrams: true,
            grease: Some(u64::MAX),
            ..Config::default()
        };
        let mut out = BytesMut::new();
        Settings::encode(&config, true, &mut out);
        let wanted = Settings {
            max_field_section_size: Some(65_536),
            qpack_max_table_capacity: 4096,
            qpack_blocked_streams: 16,
            connect_protocol: true,
            datagrams: true,
        };
        assert_eq!(Settings::decode(&out), Ok(wanted));
        assert_eq!(Settings::decode(&[]), Ok(Settings::default()));
    }

    #[test]
    fn a_client_has_no_extended_connect_to_offer() {
        let mut out = BytesMut::new();
        Settings::encode(
            &Config {
                connect_protocol: true,
                ..Config::default()
            },
            false,
            &mut out,
        );
        assert!(!Settings::decode(&out).unwrap().connect_protocol);
    }
}
