//! Streams of WebTransport sessions (draft-ietf-webtrans-http3, sections 4.1 and 4.2): when they leave HTTP/3, and when
//! there are none.

// Also outside of the test functions, a test is allowed to stop.
#![allow(clippy::unwrap_used, clippy::panic)]

mod support;

use support::*;
use velocity_h3::{Code, Config, Connection, Event};

const SIGNAL: u64 = 0x41;
const UNIDIRECTIONAL: u64 = 0x54;
/// The second unidirectional stream of the client.
const SECOND: u64 = OF_CLIENT + 4;

fn offering() -> Connection {
    Connection::server(Config {
        connect_protocol: true,
        datagrams: true,
        webtransport_sessions: 1,
        ..Config::default()
    })
}

fn header(kind: u64, session: u64) -> Vec<u8> {
    [number(kind), number(session)].concat()
}

/// Stream, session, what came with the header, and whether that was all.
fn begun(events: &[Event]) -> (u64, u64, &[u8], bool) {
    match events {
        [
            Event::WebTransport {
                stream,
                session,
                data,
                fin,
            },
        ] => (*stream, *session, data, *fin),
        other => panic!("{other:?}"),
    }
}

#[test]
fn a_stream_leaves_with_what_came_behind_its_header() {
    for (stream, kind) in [(8, SIGNAL), (SECOND, UNIDIRECTIONAL)] {
        for fin in [false, true] {
            let wire = [&header(kind, 400)[..], b"data"].concat();
            let events = receive(&mut offering(), stream, &wire, fin).unwrap();
            assert_eq!(begun(&events), (stream, 400, &b"data"[..], fin));
            // And in pieces: with the last byte of its header.
            let mut server = offering();
            let header = header(kind, 400);
            let (last, first) = header.split_last().unwrap();
            for byte in first {
                assert!(receive(&mut server, stream, &[*byte], false).unwrap().is_empty());
            }
            let events = receive(&mut server, stream, &[*last], fin).unwrap();
            assert_eq!(begun(&events), (stream, 400, &b""[..], fin));
        }
    }
}

#[test]
fn a_session_is_a_request() {
    for (stream, kind) in [(8, SIGNAL), (SECOND, UNIDIRECTIONAL)] {
        for session in 1..4 {
            let error = receive(&mut offering(), stream, &header(kind, session), false).unwrap_err();
            assert_eq!((error.scope, error.code), connection_error(Code::IdError));
        }
    }
}

#[test]
fn only_the_first_frame_is_a_signal() {
    // Behind anything else, it is a frame of a type that nobody knows, and skipped.
    let wire = join(&[&frame(GREASE, b""), &frame(SIGNAL, b"1234"), &headers(GET)]);
    let events = receive(&mut offering(), 0, &wire, true).unwrap();
    assert!(matches!(events[..], [Event::Request { end: true, .. }]), "{events:?}");
    let wire = join(&[&headers(POST), &frame(SIGNAL, b"1234"), &data(b"x")]);
    let events = receive(&mut offering(), 0, &wire, true).unwrap();
    assert!(
        matches!(
            events[..],
            [Event::Request { .. }, Event::Data { .. }, Event::End { .. }]
        ),
        "{events:?}"
    );
}

#[test]
fn who_offers_no_sessions_knows_no_streams_of_them() {
    let wire = join(&[&frame(SIGNAL, b"1234"), &headers(GET)]);
    let events = receive(&mut server(), 0, &wire, true).unwrap();
    assert!(matches!(events[..], [Event::Request { end: true, .. }]), "{events:?}");
    let error = receive(&mut server(), SECOND, &header(UNIDIRECTIONAL, 4), false).unwrap_err();
    assert_eq!(error.code, Code::StreamCreationError);
    // Nor does a client: its server opens none.
    let config = || Config {
        webtransport_sessions: 1,
        ..Config::default()
    };
    let mut client = Connection::client(config());
    let error = receive(&mut client, OF_SERVER, &header(UNIDIRECTIONAL, 4), false).unwrap_err();
    assert_eq!(error.code, Code::StreamCreationError);
    open(&mut client, 0, "GET");
    let wire = join(&[&frame(SIGNAL, b"1234"), &headers(OK)]);
    let events = receive(&mut client, 0, &wire, true).unwrap();
    assert!(matches!(events[..], [Event::Response { end: true, .. }]), "{events:?}");
}

#[test]
fn what_ends_within_its_header() {
    let error = receive(&mut offering(), 0, &header(SIGNAL, 4)[..2], true).unwrap_err();
    assert_eq!((error.scope, error.code), connection_error(Code::FrameError));
    // RFC 9114, section 6.2: which may happen to a unidirectional stream.
    let mut server = offering();
    let header = header(UNIDIRECTIONAL, 4);
    assert!(receive(&mut server, SECOND, &header[..2], true).unwrap().is_empty());
    assert!(
        receive(&mut server, SECOND + 4, &header[..2], false)
            .unwrap()
            .is_empty()
    );
    server.reset(SECOND + 4, 0).unwrap();
    assert!(events(&mut server).is_empty());
}

#[test]
fn sessions_are_announced_by_servers_that_offer_them() {
    let said = |mut connection: Connection| {
        let (_, bytes) = connection.poll_transmit().unwrap();
        let announced = |id: u64, value: u64| {
            let wanted = [number(id), number(value)].concat();
            bytes.windows(wanted.len()).any(|window| window == wanted)
        };
        [announced(0x2b60_3742, 1), announced(0xc671_706a, 7)]
    };
    let config = || Config {
        webtransport_sessions: 7,
        ..Config::default()
    };
    assert_eq!(said(Connection::server(config())), [true, true]);
    assert_eq!(said(Connection::client(config())), [false, false]);
    assert_eq!(said(Connection::server(Config::default())), [false, false]);
}
