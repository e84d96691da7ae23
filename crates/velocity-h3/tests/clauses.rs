//! Every rule of RFC 9114 (and of its extensions) that names an error code, by clause: what a peer
//! does wrong, as raw bytes, and what it is told.

use bytes::{Bytes, BytesMut};
use velocity_h3::qpack::{Line, STATIC_PREFIX, encode_lines};
use velocity_h3::{Code, Config, Connection, Error, Event, Scope, varint};

const DATA: u64 = 0x00;
const HEADERS: u64 = 0x01;
const CANCEL_PUSH: u64 = 0x03;
const SETTINGS: u64 = 0x04;
const PUSH_PROMISE: u64 = 0x05;
const GOAWAY: u64 = 0x07;
const MAX_PUSH_ID: u64 = 0x0d;
const PRIORITY_UPDATE: u64 = 0xf0700;
const PRIORITY_UPDATE_PUSH: u64 = 0xf0701;

/// Stream IDs: a request, and the unidirectional streams of a client and of a server.
const REQUEST: u64 = 0;
const OF_CLIENT: [u64; 4] = [2, 6, 10, 14];
const OF_SERVER: [u64; 4] = [3, 7, 11, 15];

fn number(value: u64) -> Vec<u8> {
    let mut out = BytesMut::new();
    varint::encode(value, &mut out);
    out.to_vec()
}

fn frame(kind: u64, payload: &[u8]) -> Vec<u8> {
    [number(kind), number(payload.len() as u64), payload.to_vec()].concat()
}

fn headers(fields: &[(&str, &str)]) -> Vec<u8> {
    let mut section = BytesMut::from(&STATIC_PREFIX[..]);
    let line = |&(name, value): &(&'static str, &'static str)| Line {
        name: name.as_bytes(),
        value: value.as_bytes(),
        sensitive: false,
    };
    let fields: Vec<(&'static str, &'static str)> = fields
        .iter()
        .map(|(name, value)| (&*name.to_string().leak(), &*value.to_string().leak()))
        .collect();
    encode_lines(fields.iter().map(line), &mut section);
    frame(HEADERS, &section)
}

fn get() -> Vec<u8> {
    headers(&[
        (":method", "GET"),
        (":scheme", "https"),
        (":authority", "a"),
        (":path", "/"),
    ])
}

fn post(length: &str) -> Vec<u8> {
    headers(&[
        (":method", "POST"),
        (":scheme", "https"),
        (":authority", "a"),
        (":path", "/"),
        ("content-length", length),
    ])
}

/// A control stream that begins as it should.
fn control(frames: &[Vec<u8>]) -> Vec<u8> {
    [vec![0x00], frame(SETTINGS, &[]), frames.concat()].concat()
}

/// A server, and what it says to these bytes, in one piece and byte by byte alike.
fn server_told(streams: &[(u64, Vec<u8>, bool)]) -> Result<Vec<Event>, Error> {
    told(|| Connection::server(Config::default()), streams)
}

/// A client that has sent one GET.
fn client_told(streams: &[(u64, Vec<u8>, bool)]) -> Result<Vec<Event>, Error> {
    told(|| client_that_sent(http::Method::GET), streams)
}

fn client_that_sent(method: http::Method) -> Connection {
    let mut client = Connection::client(Config::default());
    let request = http::Request::builder()
        .method(method)
        .uri("https://a/")
        .body(())
        .expect("a request that can be sent");
    client
        .open_request(REQUEST, &request, None, &mut BytesMut::new())
        .expect("a request that can be sent");
    client
}

fn told(connection: impl Fn() -> Connection, streams: &[(u64, Vec<u8>, bool)]) -> Result<Vec<Event>, Error> {
    let feed = |pieces: usize| {
        let mut connection = connection();
        for (stream, bytes, fin) in streams {
            let bytes = Bytes::from(bytes.clone());
            let size = if pieces == 1 { bytes.len().max(1) } else { 1 };
            let mut begin = 0;
            while begin < bytes.len() {
                let end = (begin + size).min(bytes.len());
                connection.receive(*stream, bytes.slice(begin..end), *fin && end == bytes.len())?;
                begin = end;
            }
            if bytes.is_empty() {
                connection.receive(*stream, Bytes::new(), *fin)?;
            }
        }
        Ok(std::iter::from_fn(|| connection.poll_event()).collect())
    };
    let whole: Result<Vec<Event>, Error> = feed(1);
    let pieces: Result<Vec<Event>, Error> = feed(2);
    assert_eq!(
        whole.as_ref().err(),
        pieces.as_ref().err(),
        "the cut makes no difference"
    );
    whole
}

#[track_caller]
fn connection_error(outcome: Result<Vec<Event>, Error>, code: Code) {
    let error = outcome.expect_err("the peer broke a rule");
    assert_eq!((error.scope, error.code), (Scope::Connection, code), "{error}");
}

#[track_caller]
fn stream_error(outcome: Result<Vec<Event>, Error>, code: Code) {
    let error = outcome.expect_err("the peer broke a rule");
    assert_eq!((error.scope, error.code), (Scope::Stream(REQUEST), code), "{error}");
}

#[test]
fn rfc_9114_4_1_order_of_frames() {
    connection_error(
        server_told(&[(REQUEST, frame(DATA, b"x"), false)]),
        Code::FrameUnexpected,
    );
    let after_trailers = |last| [post("0"), headers(&[("x", "y")]), last].concat();
    connection_error(
        server_told(&[(REQUEST, after_trailers(frame(DATA, b"x")), false)]),
        Code::FrameUnexpected,
    );
    connection_error(
        server_told(&[(REQUEST, after_trailers(headers(&[])), false)]),
        Code::FrameUnexpected,
    );
    connection_error(
        client_told(&[(REQUEST, frame(DATA, b"x"), false)]),
        Code::FrameUnexpected,
    );
    // A frame that means nothing may stand anywhere.
    let everywhere = [frame(0x21, b"a"), get(), frame(0x21 + 0x1f, b"b")].concat();
    assert!(matches!(
        server_told(&[(REQUEST, everywhere, true)]).unwrap()[..],
        [Event::Request { end: true, .. }]
    ));
}

#[test]
fn rfc_9114_4_1_requests_that_end_early() {
    stream_error(server_told(&[(REQUEST, vec![], true)]), Code::RequestIncomplete);
    stream_error(
        server_told(&[(REQUEST, frame(0x21, b"a"), true)]),
        Code::RequestIncomplete,
    );
    stream_error(client_told(&[(REQUEST, vec![], true)]), Code::MessageError);
    stream_error(
        client_told(&[(REQUEST, headers(&[(":status", "103")]), true)]),
        Code::MessageError,
    );
}

#[test]
fn rfc_9114_4_1_2_content_length() {
    let events = server_told(&[(REQUEST, [post("3"), frame(DATA, b"abc")].concat(), true)]).unwrap();
    assert!(matches!(events.last(), Some(Event::End { .. })));
    stream_error(
        server_told(&[(REQUEST, [post("3"), frame(DATA, b"abcd")].concat(), false)]),
        Code::MessageError,
    );
    stream_error(
        server_told(&[(REQUEST, [post("3"), frame(DATA, b"ab")].concat(), true)]),
        Code::MessageError,
    );
    stream_error(server_told(&[(REQUEST, post("3"), true)]), Code::MessageError);
    for wrong in ["", "-1", "+1", "1 2", "0x1", "99999999999999999999", "3, 4"] {
        stream_error(server_told(&[(REQUEST, post(wrong), false)]), Code::MessageError);
    }
    assert!(server_told(&[(REQUEST, [post("3, 3"), frame(DATA, b"abc")].concat(), true)]).is_ok());
    // HEAD, 204 and 304 say how long it would be.
    let long = headers(&[(":status", "200"), ("content-length", "9")]);
    assert!(
        told(
            || client_that_sent(http::Method::HEAD),
            &[(REQUEST, long.clone(), true)]
        )
        .is_ok()
    );
    stream_error(client_told(&[(REQUEST, long, true)]), Code::MessageError);
    let unchanged = headers(&[(":status", "304"), ("content-length", "9")]);
    assert!(client_told(&[(REQUEST, unchanged, true)]).is_ok());
}

#[test]
fn rfc_9114_4_2_fields() {
    let with = |field| {
        let mut fields = vec![
            (":method", "GET"),
            (":scheme", "https"),
            (":authority", "a"),
            (":path", "/"),
        ];
        fields.push(field);
        server_told(&[(REQUEST, headers(&fields), true)])
    };
    for field in [
        ("Upper", "x"),
        ("with space", "x"),
        ("", "x"),
        ("x", "line\nbreak"),
        ("x", "nul\0"),
        ("connection", "close"),
        ("keep-alive", "1"),
        ("proxy-connection", "x"),
        ("transfer-encoding", "chunked"),
        ("upgrade", "x"),
        ("te", "gzip"),
    ] {
        stream_error(with(field), Code::MessageError);
    }
    assert!(with(("te", "trailers")).is_ok());
}

#[test]
fn rfc_9114_4_2_1_cookies_are_joined() {
    let fields = [
        (":method", "GET"),
        (":scheme", "https"),
        (":authority", "a"),
        (":path", "/"),
        ("cookie", "a=1"),
        ("cookie", "b=2"),
    ];
    let events = server_told(&[(REQUEST, headers(&fields), true)]).unwrap();
    let [Event::Request { head, .. }] = &events[..] else {
        panic!("{events:?}")
    };
    assert_eq!(head.headers()["cookie"], "a=1; b=2");
}

#[test]
fn rfc_9114_4_3_pseudo_header_fields() {
    let malformed: [&[(&str, &str)]; 24] = [
        &[(":scheme", "https"), (":authority", "a"), (":path", "/")],
        &[(":method", "GET"), (":authority", "a"), (":path", "/")],
        &[(":method", "GET"), (":scheme", "https"), (":authority", "a")],
        &[(":method", "GET"), (":scheme", "https"), (":path", "/")],
        &[
            (":method", "GET"),
            (":method", "GET"),
            (":scheme", "https"),
            (":authority", "a"),
            (":path", "/"),
        ],
        &[
            (":method", "GET"),
            ("x", "y"),
            (":scheme", "https"),
            (":authority", "a"),
            (":path", "/"),
        ],
        &[
            (":method", "GET"),
            (":scheme", "https"),
            (":authority", "a"),
            (":path", "/"),
            (":status", "200"),
        ],
        &[
            (":method", "GET"),
            (":scheme", "https"),
            (":authority", "a"),
            (":path", "/"),
            (":unknown", "x"),
        ],
        &[
            (":method", "GET"),
            (":scheme", "https"),
            (":authority", "a"),
            (":path", ""),
        ],
        &[
            (":method", "GET"),
            (":scheme", "https"),
            (":authority", "a"),
            (":path", "no-slash"),
        ],
        &[
            (":method", "GET"),
            (":scheme", "https"),
            (":authority", "a"),
            (":path", "*"),
        ],
        &[
            (":method", "GET"),
            (":scheme", "https"),
            (":authority", "a"),
            (":path", "/a#b"),
        ],
        &[
            (":method", "GET"),
            (":scheme", "https"),
            (":authority", "a"),
            (":path", "/a b"),
        ],
        &[
            (":method", "GET"),
            (":scheme", "https"),
            (":authority", ""),
            (":path", "/"),
        ],
        &[
            (":method", "GET"),
            (":scheme", "https"),
            (":authority", "user@a"),
            (":path", "/"),
        ],
        &[
            (":method", "GET"),
            (":scheme", "https"),
            (":authority", "a/b"),
            (":path", "/"),
        ],
        &[
            (":method", "GET"),
            (":scheme", "https"),
            (":authority", "a"),
            (":path", "/"),
            ("host", "b"),
        ],
        &[
            (":method", "GET"),
            (":scheme", "https"),
            (":path", "/"),
            ("host", "a"),
            ("host", "a"),
        ],
        &[
            (":method", "G ET"),
            (":scheme", "https"),
            (":authority", "a"),
            (":path", "/"),
        ],
        &[
            (":method", "GET"),
            (":scheme", "ht tps"),
            (":authority", "a"),
            (":path", "/"),
        ],
        &[(":method", "CONNECT")],
        &[(":method", "CONNECT"), (":scheme", "https"), (":authority", "a:1")],
        &[(":method", "CONNECT"), (":authority", "a:1"), (":path", "/")],
        &[
            (":method", "GET"),
            (":scheme", "https"),
            (":authority", "a"),
            (":path", "/"),
            (":protocol", "websocket"),
        ],
    ];
    for fields in malformed {
        let outcome = server_told(&[(REQUEST, headers(fields), true)]);
        assert!(outcome.is_err(), "{fields:?}");
        stream_error(outcome, Code::MessageError);
    }
    let fine: [&[(&str, &str)]; 4] = [
        &[
            (":method", "OPTIONS"),
            (":scheme", "https"),
            (":authority", "a"),
            (":path", "*"),
        ],
        &[(":method", "CONNECT"), (":authority", "a:1")],
        &[(":method", "GET"), (":scheme", "https"), (":path", "/"), ("host", "a")],
        &[
            (":method", "GET"),
            (":scheme", "https"),
            (":authority", "a"),
            (":path", "/"),
            ("host", "a"),
        ],
    ];
    for fields in fine {
        assert!(server_told(&[(REQUEST, headers(fields), true)]).is_ok(), "{fields:?}");
    }
    stream_error(
        server_told(&[(REQUEST, [get(), headers(&[(":path", "/")])].concat(), true)]),
        Code::MessageError,
    );
    for status in ["", "20", "2000", "099", "600", "abc", "101"] {
        stream_error(
            client_told(&[(REQUEST, headers(&[(":status", status)]), true)]),
            Code::MessageError,
        );
    }
    stream_error(
        client_told(&[(REQUEST, headers(&[("x", "y")]), true)]),
        Code::MessageError,
    );
    stream_error(
        client_told(&[(REQUEST, headers(&[(":status", "200"), (":path", "/")]), true)]),
        Code::MessageError,
    );
}

#[test]
fn rfc_9114_4_4_a_tunnel_carries_data_only() {
    let connect = headers(&[(":method", "CONNECT"), (":authority", "a:1")]);
    let bytes = [connect, frame(DATA, b"x"), headers(&[("x", "y")])].concat();
    connection_error(server_told(&[(REQUEST, bytes, false)]), Code::FrameUnexpected);
}

#[test]
fn rfc_9220_extended_connect() {
    let websocket = headers(&[
        (":method", "CONNECT"),
        (":protocol", "websocket"),
        (":scheme", "https"),
        (":authority", "a"),
        (":path", "/chat"),
    ]);
    stream_error(server_told(&[(REQUEST, websocket.clone(), false)]), Code::MessageError);
    let enabled = || {
        Connection::server(Config {
            connect_protocol: true,
            ..Config::default()
        })
    };
    let events = told(enabled, &[(REQUEST, websocket, false)]).unwrap();
    let [Event::Request { head, .. }] = &events[..] else {
        panic!("{events:?}")
    };
    assert_eq!(head.extensions().get::<velocity_h3::Protocol>().unwrap().0, "websocket");
    assert_eq!(head.uri(), "https://a/chat");
    let mut client = Connection::client(Config::default());
    let request = http::Request::builder()
        .method("CONNECT")
        .uri("https://a/chat")
        .body(())
        .unwrap();
    assert!(
        client
            .open_request(0, &request, Some("websocket"), &mut BytesMut::new())
            .is_err()
    );
}

#[test]
fn rfc_9114_5_2_goaway() {
    let goaway = |ids: &[u64]| ids.iter().map(|&id| frame(GOAWAY, &number(id))).collect::<Vec<_>>();
    connection_error(
        client_told(&[(OF_SERVER[0], control(&goaway(&[4, 8])), false)]),
        Code::IdError,
    );
    connection_error(
        client_told(&[(OF_SERVER[0], control(&goaway(&[5])), false)]),
        Code::IdError,
    );
    assert!(client_told(&[(OF_SERVER[0], control(&goaway(&[8, 4, 4, 0])), false)]).is_ok());
    connection_error(
        client_told(&[(REQUEST, frame(GOAWAY, &[0]), false)]),
        Code::FrameUnexpected,
    );

    let mut server = Connection::server(Config::default());
    server.goaway(8).unwrap();
    assert!(server.receive(4, get().into(), true).is_ok());
    let error = server.receive(8, get().into(), true).unwrap_err();
    assert_eq!((error.scope, error.code), (Scope::Stream(8), Code::RequestRejected));
    assert!(server.goaway(12).is_err());
}

#[test]
fn rfc_9114_6_streams() {
    connection_error(client_told(&[(1, vec![0], false)]), Code::StreamCreationError);
    // 6.2.1 and RFC 9204 4.2: one of each, for as long as the connection.
    for kind in [0x00, 0x02, 0x03] {
        let begin = if kind == 0 { control(&[]) } else { vec![kind] };
        let twice = [(OF_CLIENT[0], begin.clone(), false), (OF_CLIENT[1], vec![kind], false)];
        connection_error(server_told(&twice), Code::StreamCreationError);
        connection_error(
            server_told(&[(OF_CLIENT[0], begin.clone(), true)]),
            Code::ClosedCriticalStream,
        );
        let mut server = Connection::server(Config::default());
        server.receive(OF_CLIENT[0], begin.into(), false).unwrap();
        assert_eq!(
            server.reset(OF_CLIENT[0], 0).unwrap_err().code,
            Code::ClosedCriticalStream
        );
        assert_eq!(
            server.stopped(OF_SERVER[0], 0).unwrap_err().code,
            Code::ClosedCriticalStream
        );
    }
    // 6.2.2: only servers push, and only what is permitted.
    connection_error(
        server_told(&[(OF_CLIENT[0], vec![0x01], false)]),
        Code::StreamCreationError,
    );
    connection_error(client_told(&[(OF_SERVER[0], vec![0x01, 0x00], false)]), Code::IdError);
    // 6.2: a stream may end before its type; an unknown type is no error of the connection.
    assert!(server_told(&[(OF_CLIENT[0], vec![], true), (OF_CLIENT[1], vec![0x40], true)]).is_ok());
    let error = server_told(&[(OF_CLIENT[0], vec![0x21, 1, 2, 3], false)]).unwrap_err();
    assert_eq!(
        (error.scope, error.code),
        (Scope::Stream(OF_CLIENT[0]), Code::StreamCreationError)
    );
}

#[test]
fn rfc_9114_6_2_1_settings_first() {
    let bytes = [vec![0x00], frame(GOAWAY, &[0])].concat();
    connection_error(server_told(&[(OF_CLIENT[0], bytes, false)]), Code::MissingSettings);
    let bytes = [vec![0x00], frame(0x21, b"grease")].concat();
    connection_error(server_told(&[(OF_CLIENT[0], bytes, false)]), Code::MissingSettings);
}

#[test]
fn rfc_9114_7_frames_that_are_too_long_or_too_short() {
    for payload in [&[][..], &[0x40], &[0, 0]] {
        for kind in [GOAWAY, MAX_PUSH_ID, CANCEL_PUSH] {
            let bytes = control(&[frame(kind, payload)]);
            connection_error(server_told(&[(OF_CLIENT[0], bytes, false)]), Code::FrameError);
        }
    }
    connection_error(
        server_told(&[(OF_CLIENT[0], control(&[frame(GOAWAY, &[0; 9])]), false)]),
        Code::FrameError,
    );
    let bytes = [vec![0x00], frame(SETTINGS, &[0x06])].concat();
    connection_error(server_told(&[(OF_CLIENT[0], bytes, false)]), Code::FrameError);
    // 7.1: a stream that ends within a frame.
    let cut = |bytes: Vec<u8>| bytes[..bytes.len() - 1].to_vec();
    connection_error(server_told(&[(REQUEST, cut(get()), true)]), Code::FrameError);
    let bytes = [post("5"), cut(frame(DATA, b"12345"))].concat();
    connection_error(server_told(&[(REQUEST, bytes, true)]), Code::FrameError);
    connection_error(
        server_told(&[(REQUEST, [get(), vec![0x21]].concat(), true)]),
        Code::FrameError,
    );
}

#[test]
fn rfc_9114_7_2_frames_where_they_must_not_be() {
    for kind in [
        CANCEL_PUSH,
        SETTINGS,
        GOAWAY,
        MAX_PUSH_ID,
        PUSH_PROMISE,
        PRIORITY_UPDATE,
        PRIORITY_UPDATE_PUSH,
    ] {
        connection_error(
            server_told(&[(REQUEST, frame(kind, &[0]), false)]),
            Code::FrameUnexpected,
        );
    }
    for kind in [DATA, HEADERS, PUSH_PROMISE] {
        connection_error(
            server_told(&[(OF_CLIENT[0], control(&[frame(kind, &[0])]), false)]),
            Code::FrameUnexpected,
        );
    }
    connection_error(
        client_told(&[(OF_SERVER[0], control(&[frame(MAX_PUSH_ID, &[0])]), false)]),
        Code::FrameUnexpected,
    );
    // 7.2.5: no push was permitted.
    connection_error(
        client_told(&[(REQUEST, frame(PUSH_PROMISE, &[0, 0, 0]), false)]),
        Code::IdError,
    );
    // 7.2.8: types of HTTP/2.
    for kind in [0x02, 0x06, 0x08, 0x09] {
        connection_error(
            server_told(&[(REQUEST, frame(kind, &[]), false)]),
            Code::FrameUnexpected,
        );
        connection_error(
            server_told(&[(OF_CLIENT[0], control(&[frame(kind, &[])]), false)]),
            Code::FrameUnexpected,
        );
    }
}

#[test]
fn rfc_9114_7_2_3_and_7_2_7_pushes() {
    connection_error(
        server_told(&[(OF_CLIENT[0], control(&[frame(CANCEL_PUSH, &[0])]), false)]),
        Code::IdError,
    );
    let permitted = control(&[frame(MAX_PUSH_ID, &[4]), frame(CANCEL_PUSH, &[4])]);
    assert!(server_told(&[(OF_CLIENT[0], permitted, false)]).is_ok());
    let beyond = control(&[frame(MAX_PUSH_ID, &[4]), frame(CANCEL_PUSH, &[5])]);
    connection_error(server_told(&[(OF_CLIENT[0], beyond, false)]), Code::IdError);
    let smaller = control(&[frame(MAX_PUSH_ID, &[4]), frame(MAX_PUSH_ID, &[3])]);
    connection_error(server_told(&[(OF_CLIENT[0], smaller, false)]), Code::IdError);
}

#[test]
fn rfc_9114_7_2_4_settings() {
    let settings =
        |payload: &[u8]| server_told(&[(OF_CLIENT[0], [vec![0x00], frame(SETTINGS, payload)].concat(), false)]);
    connection_error(settings(&[0x06, 1, 0x06, 1]), Code::SettingsError);
    for reserved in [0x00, 0x02, 0x03, 0x04, 0x05] {
        connection_error(settings(&[reserved, 0]), Code::SettingsError);
    }
    // RFC 8441 section 3 (by RFC 9220), RFC 9297 section 2.1.1: 0 or 1.
    for flag in [0x08, 0x33] {
        connection_error(settings(&[flag, 2]), Code::SettingsError);
        assert!(settings(&[flag, 1]).is_ok());
    }
    let twice = [vec![0x00], frame(SETTINGS, &[]), frame(SETTINGS, &[])].concat();
    connection_error(server_told(&[(OF_CLIENT[0], twice, false)]), Code::FrameUnexpected);
    let huge = [vec![0x00], number(SETTINGS), number(1 << 40)].concat();
    connection_error(server_told(&[(OF_CLIENT[0], huge, false)]), Code::ExcessiveLoad);
}

#[test]
fn rfc_9204_the_streams_and_sections_of_qpack() {
    connection_error(
        server_told(&[(REQUEST, frame(HEADERS, &[]), false)]),
        Code::QpackDecompressionFailed,
    );
    connection_error(
        server_told(&[(REQUEST, frame(HEADERS, &[0, 0, 0x80]), false)]),
        Code::QpackDecompressionFailed,
    );
    connection_error(
        server_told(&[(REQUEST, frame(HEADERS, &[0, 0, 0xff, 0x7f]), false)]),
        Code::QpackDecompressionFailed,
    );
    connection_error(
        server_told(&[(OF_CLIENT[0], vec![0x02, 0x00], false)]),
        Code::QpackEncoderStreamError,
    );
    connection_error(
        server_told(&[(OF_CLIENT[0], vec![0x02, 0x3f, 0xff, 0xff, 0x7f], false)]),
        Code::QpackEncoderStreamError,
    );
    connection_error(
        server_told(&[(OF_CLIENT[0], vec![0x03, 0x00], false)]),
        Code::QpackDecoderStreamError,
    );
    connection_error(
        server_told(&[(OF_CLIENT[0], vec![0x03, 0x80], false)]),
        Code::QpackDecoderStreamError,
    );
}

#[test]
fn rfc_9218_7_2_priority_updates() {
    let update = |stream: u64, value: &[u8]| frame(PRIORITY_UPDATE, &[number(stream), value.to_vec()].concat());
    let events = server_told(&[
        (OF_CLIENT[0], control(&[update(0, b"u=1, i")]), false),
        (REQUEST, get(), true),
    ])
    .unwrap();
    let urgency = events.iter().find_map(|event| match event {
        Event::Request { priority, .. } => Some((priority.urgency, priority.incremental)),
        _ => None,
    });
    assert_eq!(urgency, Some((1, true)), "the frame came first, and counts");
    connection_error(
        server_told(&[(OF_CLIENT[0], control(&[update(2, b"u=1")]), false)]),
        Code::IdError,
    );
    connection_error(
        server_told(&[(OF_CLIENT[0], control(&[frame(PRIORITY_UPDATE, &[])]), false)]),
        Code::FrameError,
    );
    let of_push = control(&[frame(PRIORITY_UPDATE_PUSH, &[0])]);
    connection_error(server_told(&[(OF_CLIENT[0], of_push, false)]), Code::IdError);
    connection_error(
        client_told(&[(OF_SERVER[0], control(&[update(0, b"u=1")]), false)]),
        Code::FrameUnexpected,
    );
}

#[test]
fn rfc_9297_2_1_datagrams() {
    let mut off = Connection::server(Config::default());
    assert_eq!(
        off.datagram(Bytes::from_static(&[0, 1])).unwrap_err().code,
        Code::DatagramError
    );
    let mut on = Connection::server(Config {
        datagrams: true,
        ..Config::default()
    });
    assert_eq!(on.datagram(Bytes::new()).unwrap_err().code, Code::DatagramError);
    let too_large = number(1 << 60);
    assert_eq!(on.datagram(too_large.into()).unwrap_err().code, Code::DatagramError);
    on.datagram(Bytes::from_static(&[2, 7, 8])).unwrap();
    assert!(matches!(on.poll_event(), Some(Event::Datagram { stream: 8, data }) if *data == [7, 8]));
}

#[test]
fn rfc_9114_10_5_1_what_is_too_large_is_not_read() {
    // 4 GiB are announced: nothing of it is kept, and the request can be answered (RFC 6585 section 5).
    let huge = [number(HEADERS), number(4 << 30)].concat();
    let mut server = Connection::server(Config::default());
    server.receive(REQUEST, huge.into(), false).unwrap();
    assert!(matches!(server.poll_event(), Some(Event::TooLarge { stream: REQUEST })));
    for _ in 0..100 {
        server.receive(REQUEST, vec![0; 1 << 16].into(), false).unwrap();
    }
    assert!(server.poll_event().is_none());
    let huge = [number(HEADERS), number(4 << 30)].concat();
    stream_error(client_told(&[(REQUEST, huge, false)]), Code::ExcessiveLoad);

    // A bomb: few bytes that mean many.
    let mut section = BytesMut::from(&STATIC_PREFIX[..]);
    section.extend_from_slice(&[0xc0 | 31; 3000]);
    let events = server_told(&[(REQUEST, frame(HEADERS, &section), false)]).unwrap();
    assert!(matches!(events[..], [Event::TooLarge { .. }]));
    stream_error(
        server_told(&[(REQUEST, [post("0"), frame(HEADERS, &section)].concat(), false)]),
        Code::ExcessiveLoad,
    );
}

#[test]
fn rfc_9114_10_5_a_control_stream_that_says_too_much() {
    let frames: Vec<_> = (0..1100).map(|_| frame(0x21, b"")).collect();
    connection_error(
        server_told(&[(OF_CLIENT[0], control(&frames), false)]),
        Code::ExcessiveLoad,
    );
}
