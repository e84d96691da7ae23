//! What this side of a connection permits, supports and asks for.

use bytes::Bytes;

/// What one side of a connection is like. The default suits a server.
#[derive(Clone, Debug)]
pub struct Config {
    /// The largest field section that is accepted, in bytes: as it is on the wire, and as RFC 9114, section 4.2.2
    /// counts it, which is name and value and 32 for each field.
    pub max_field_section_size: u64,
    /// The largest number of fields in a section.
    pub max_fields: usize,
    /// The dynamic table that the peer's QPACK encoder may use, in bytes (RFC 9204, section 3.2.3).
    pub qpack_capacity: u32,
    /// How many streams may wait for that table at a time (RFC 9204, section 2.1.2).
    pub qpack_blocked_streams: u16,
    /// The dynamic table that our QPACK encoder uses at most, in bytes, whatever the peer permits.
    pub qpack_encoder_capacity: u32,
    /// On a server: whether extended CONNECT is understood (RFC 9220).
    pub connect_protocol: bool,
    /// Whether HTTP datagrams are understood (RFC 9297). The QUIC transport has to be set up for them as well.
    pub datagrams: bool,
    /// On a server: how many WebTransport sessions a client may have at a time; none are offered where it is 0. They
    /// need extended CONNECT and datagrams.
    pub webtransport_sessions: u64,
    /// Randomness for a reserved setting and a reserved frame (RFC 9114, sections 7.2.4.1 and 7.2.8), which keep the
    /// peer used to what it does not know. `None` sends neither.
    pub grease: Option<u64>,
    /// Frames of extensions, type and payload, sent on the control stream directly after SETTINGS.
    pub preface: Vec<(u64, Bytes)>,
    /// Types of frames of extensions that become [`crate::Event::Extension`] when the peer sends them on its control
    /// stream. All other unknown ones are skipped.
    pub extensions: Vec<u64>,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            max_field_section_size: 65_536,
            max_fields: 256,
            qpack_capacity: 4096,
            qpack_blocked_streams: 16,
            qpack_encoder_capacity: 0,
            connect_protocol: false,
            datagrams: false,
            webtransport_sessions: 0,
            grease: None,
            preface: Vec::new(),
            extensions: Vec::new(),
        }
    }
}
