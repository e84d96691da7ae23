//! Frames of a request stream (RFC 9114, section 7) and SETTINGS (section 7.2.4).

use std::collections::HashSet;

use bytes::{Bytes, BytesMut};
use velocity_h3::{Code, Config, Connection, Event, Scope, Settings, varint};

use crate::input::pieces;

/// What was told of one stream, with the pieces of its content put together.
#[derive(Debug, Default, PartialEq)]
struct Told {
    events: Vec<String>,
    content: Vec<u8>,
    error: Option<(Scope, Code)>,
}

/// A request stream makes the same of its bytes, wherever they are cut. The first byte says where.
pub fn frames(data: &[u8]) {
    let Some((cut, wire)) = data.split_first() else { return };
    let cut = usize::from(cut % 16) + 1;
    for side in [server, client] {
        assert_eq!(
            tell(side(), wire, usize::MAX),
            tell(side(), wire, cut),
            "in pieces of {cut}"
        );
    }
}

fn config() -> Config {
    Config {
        max_field_section_size: 1000,
        max_fields: 20,
        ..Config::default()
    }
}

fn server() -> Connection {
    Connection::server(config())
}

fn client() -> Connection {
    let mut client = Connection::client(config());
    let head = http::Request::get("https://example.org/").body(()).expect("a request");
    client
        .open_request(0, &head, None, &mut BytesMut::new())
        .expect("it can be sent");
    client
}

fn tell(mut connection: Connection, wire: &[u8], cut: usize) -> Told {
    let mut told = Told::default();
    let mut left = wire.len();
    for piece in pieces(wire, cut) {
        left -= piece.len();
        let outcome = connection.receive(0, Bytes::copy_from_slice(piece), left == 0);
        while let Some(event) = connection.poll_event() {
            match event {
                Event::Data { data, .. } => told.content.extend_from_slice(&data),
                other => told
                    .events
                    .push(format!("{other:?} after {} bytes", told.content.len())),
            }
        }
        if let Err(error) = outcome {
            if let Scope::Stream(_) = error.scope {
                // What of such a stream was told before depends on what had come, and counts for nothing.
                told = Told::default();
            }
            told.error = Some((error.scope, error.code));
            break;
        }
        if !connection.wants_data(0) {
            break;
        }
    }
    assert!(told.content.len() <= wire.len());
    told
}

/// SETTINGS are read as a parser without any ambition reads them.
pub fn settings(payload: &[u8]) {
    let mut wire = vec![0x00, 0x04];
    varint::encode(payload.len() as u64, &mut wire);
    wire.extend_from_slice(payload);
    let mut client = Connection::client(Config::default());
    let outcome = client.receive(3, Bytes::from(wire), false);

    let mut rest = payload;
    let mut wanted = Settings::default();
    let (mut seen, mut wrong, mut cut) = (HashSet::new(), false, false);
    while !rest.is_empty() {
        let Some((id, value)) = number(&mut rest).and_then(|id| Some((id, number(&mut rest)?))) else {
            cut = true;
            break;
        };
        wrong |= !seen.insert(id);
        match id {
            0x01 => wanted.qpack_max_table_capacity = value,
            0x06 => wanted.max_field_section_size = Some(value),
            0x07 => wanted.qpack_blocked_streams = value,
            0x08 => wanted.connect_protocol = value == 1,
            0x33 => wanted.datagrams = value == 1,
            _ => {}
        }
        wrong |= matches!(id, 0x02..=0x05) || matches!(id, 0x08 | 0x33) && value > 1;
    }
    match outcome {
        Ok(()) => {
            assert!(!cut && !wrong, "wrong settings were taken");
            assert_eq!(client.peer_settings(), Some(&wanted));
        }
        Err(error) => {
            assert_eq!(error.scope, Scope::Connection);
            match error.code {
                Code::ExcessiveLoad => assert!(payload.len() > 4096),
                Code::FrameError => assert!(cut),
                Code::SettingsError => assert!(wrong),
                other => panic!("{other}"),
            }
        }
    }
}

/// RFC 9000, section 16.
fn number(input: &mut &[u8]) -> Option<u64> {
    let first = *input.first()?;
    let (number, rest) = input.split_at_checked(1 << (first >> 6))?;
    *input = rest;
    let value = number.iter().fold(0u64, |value, byte| value << 8 | u64::from(*byte));
    Some(value & (u64::MAX >> (66 - 8 * number.len())))
}
