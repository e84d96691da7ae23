//! What a connection does beyond telling right from wrong: limits, priorities, GOAWAY, extensions, and what it says.

// Also outside of the test functions, a test is allowed to stop.
#![allow(clippy::unwrap_used, clippy::panic)]

mod support;

use bytes::{Bytes, BytesMut};
use http::{HeaderMap, Response};
use support::*;
use velocity_h3::qpack::{Line, encode_lines};
use velocity_h3::{Code, Config, Connection, Event, Priority, Scope, Uni};

fn error(outcome: Result<Vec<Event>, velocity_h3::Error>) -> (Scope, Code) {
    let error = outcome.expect_err("an error");
    (error.scope, error.code)
}

fn priority(urgency: u8, incremental: bool) -> Priority {
    Priority { urgency, incremental }
}

fn update(stream: u64, value: &str) -> Vec<u8> {
    frame(PRIORITY_UPDATE, &[&number(stream), value.as_bytes()].concat())
}

/// All of a request with the priority it came with.
fn request_priority(server: &mut Connection, stream: u64, fields: Fields<'_>) -> Priority {
    match receive(server, stream, &headers(fields), true).unwrap().remove(0) {
        Event::Request { priority, .. } => priority,
        other => panic!("{other:?}"),
    }
}

#[test]
fn a_request_in_one_piece_is_not_copied() {
    let chunk = Bytes::from(join(&[&headers(POST), &data(b"content")]));
    let mut server = server();
    server.receive(0, chunk.clone(), true).unwrap();
    let events = events(&mut server);
    let [
        Event::Request { head, end: false, .. },
        Event::Data { data, .. },
        Event::End { .. },
    ] = &events[..]
    else {
        panic!("{events:?}")
    };
    assert_eq!(head.version(), http::Version::HTTP_3);
    assert_eq!(data.as_ptr(), chunk[chunk.len() - 7..].as_ptr());
}

#[test]
fn rfc_9114_4_2_2_a_header_section_that_is_too_large() {
    let config = || Config {
        max_field_section_size: 1000,
        max_fields: 8,
        ..Config::default()
    };
    // Of many bytes after decompression, of many fields, and of many bytes on the wire.
    let long = "x".repeat(1000);
    let wires = |head: Fields<'_>| {
        [
            headers(&[head, &[("x", &long[..980])]].concat()),
            headers(&[head, &[("a", "b"); 8]].concat()),
            join(&[&[1], &number(1001), &[0; 1001]]),
            vec![1, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff],
        ]
    };
    for wire in wires(GET) {
        let mut server = Connection::server(config());
        let events = receive(&mut server, 0, &wire, false).unwrap();
        assert!(matches!(events[..], [Event::TooLarge { stream: 0 }]), "{events:?}");
        // Whatever follows is dropped, be it right or wrong.
        assert!(receive(&mut server, 0, &[2; 5000], false).unwrap().is_empty());
        assert!(receive(&mut server, 0, &[], true).unwrap().is_empty());
        assert!(server.wants_data(0));
    }
    for wire in wires(OK) {
        let mut client = Connection::client(config());
        open(&mut client, 0, "GET");
        assert_eq!(
            error(receive(&mut client, 0, &wire, false)),
            (Scope::Stream(0), Code::ExcessiveLoad)
        );
    }
    let mut server = Connection::server(config());
    let wire = join(&[&headers(POST), &headers(&[("x", &long)])]);
    assert_eq!(
        error(receive(&mut server, 0, &wire, false)),
        (Scope::Stream(0), Code::ExcessiveLoad)
    );
}

#[test]
fn rfc_9114_10_5_frames_without_effect() {
    let mut server = server();
    let start = control(&[]);
    receive(&mut server, 2, &start, false).unwrap();
    // Requests pay for frames.
    for stream in 0..10 {
        receive(&mut server, stream * 4, &headers(GET), true).unwrap();
    }
    for n in 0..1040 {
        let kind = [frame(GREASE, &[]), update(400, "u=1"), frame(MAX_PUSH_ID, &[0])];
        receive(&mut server, 2, &kind[n % 3], false).unwrap();
    }
    assert_eq!(
        error(receive(&mut server, 2, &frame(GREASE, &[]), false)),
        connection_error(Code::ExcessiveLoad)
    );
}

#[test]
fn rfc_9114_5_2_goaway() {
    let mut server = server();
    receive(&mut server, 0, &headers(POST), false).unwrap();
    server.goaway(8).unwrap();
    server.goaway(4).unwrap();
    server.goaway(4).unwrap();
    assert_eq!(server.goaway(8).unwrap_err().code, Code::InternalError);
    assert_eq!(server.goaway(3).unwrap_err().code, Code::InternalError);
    assert_eq!(
        error(receive(&mut server, 4, &headers(GET), true)),
        (Scope::Stream(4), Code::RequestRejected)
    );
    assert_eq!(receive(&mut server, 0, &data(b"x"), true).unwrap().len(), 2);

    let (_, control) = server.poll_transmit().unwrap();
    assert!(control.ends_with(&[GOAWAY as u8, 1, 8, GOAWAY as u8, 1, 4]));
    let mut client = client("GET");
    let events = receive(&mut client, 3, &control, false).unwrap();
    assert!(
        matches!(
            events[..],
            [Event::Settings, Event::Goaway { id: 8 }, Event::Goaway { id: 4 }]
        ),
        "{events:?}"
    );
    let head = http::Request::get("https://example.org/").body(()).unwrap();
    let error = client.open_request(4, &head, None, &mut BytesMut::new()).unwrap_err();
    assert_eq!((error.scope, error.code), (Scope::Stream(4), Code::RequestRejected));
}

#[test]
fn rfc_9218_5_the_priority_field() {
    let mut server = server();
    for (stream, fields, wanted) in [
        (0, &[][..], priority(3, false)),
        (4, &[("priority", "u=1, i")], priority(1, true)),
        (8, &[("priority", "u=1"), ("priority", "i")], priority(1, true)),
        (12, &[("priority", "u=1,,i")], priority(3, false)),
    ] {
        assert_eq!(request_priority(&mut server, stream, &[GET, fields].concat()), wanted);
    }
}

#[test]
fn rfc_9218_7_priority_update() {
    let mut server = server();
    let early: Vec<u8> = (0..200).flat_map(|n| update(n * 4, "u=5")).collect();
    assert_eq!(receive(&mut server, 2, &control(&early), false).unwrap().len(), 1);
    // It counts more than the field, and is kept for so many streams.
    assert_eq!(
        request_priority(&mut server, 199 * 4, &[GET, &[("priority", "u=1")]].concat()),
        priority(5, false)
    );
    assert_eq!(
        request_priority(&mut server, 0, &[GET, &[("priority", "u=1")]].concat()),
        priority(1, false)
    );

    let events = receive(&mut server, 2, &update(0, "u=0, i"), false).unwrap();
    let [
        Event::Priority {
            stream: 0,
            priority: urgent,
        },
    ] = events[..]
    else {
        panic!("{events:?}")
    };
    assert_eq!(urgent, priority(0, true));
    server.finished(0);
    assert!(receive(&mut server, 2, &update(0, "u=0"), false).unwrap().is_empty());

    let mut client = client("GET");
    client.poll_transmit();
    client.priority_update(0, priority(6, true));
    assert_eq!(client.poll_transmit(), Some((Uni::Control, update(0, "u=6, i").into())));
}

#[test]
fn rfc_9297_datagrams_of_requests_that_are_received() {
    let mut server = Connection::server(Config {
        datagrams: true,
        ..Config::default()
    });
    let send = |server: &mut Connection, stream| {
        let mut datagram = BytesMut::new();
        Connection::datagram_header(stream, &mut datagram);
        datagram.extend_from_slice(b"payload");
        server.datagram(datagram.freeze()).unwrap();
        matches!(&events(server)[..], [Event::Datagram { stream: of, data }] if *of == stream && data == "payload")
    };
    assert!(!send(&mut server, 256), "no request yet");
    receive(&mut server, 256, &headers(CONNECT), false).unwrap();
    assert!(send(&mut server, 256));
    receive(&mut server, 256, &[], true).unwrap();
    assert!(!send(&mut server, 256), "the request is over");

    let mut without = support::server();
    receive(&mut without, 0, &headers(CONNECT), false).unwrap();
    assert!(!send(&mut without, 0), "datagrams are not configured");
}

#[test]
fn resets_and_stops() {
    let mut server = server();
    receive(&mut server, 0, &headers(POST), false).unwrap();
    server.stopped(0, 0x10c).unwrap();
    server.reset(0, 0x10c).unwrap();
    server.reset(0, 0x10c).unwrap();
    let told = events(&mut server);
    assert!(matches!(
        told[..],
        [
            Event::Stopped { stream: 0, code: 0x10c },
            Event::Reset { stream: 0, code: 0x10c }
        ]
    ));
    server.finished(0);
    // What is not known, or was given up, is no news.
    server.receive(4, headers(POST).into(), false).unwrap();
    server.stopped(4, 7).unwrap();
    server.abandon(4);
    let told = events(&mut server);
    assert!(matches!(told[..], [Event::Stopped { stream: 4, code: 7 }]), "{told:?}");
    server.reset(4, 0).unwrap();
    server.finished(4);
    server.stopped(4, 0).unwrap();
    server.reset(8, 0).unwrap();
    server.stopped(8, 0).unwrap();
    assert!(events(&mut server).is_empty());
    // A client that gave up does not hear the rest.
    let mut client = client("GET");
    client.abandon(0);
    client.finished(0);
    assert!(receive(&mut client, 0, &headers(OK), true).unwrap().is_empty());
}

#[test]
fn rfc_9204_2_2_2_2_cancelled_streams() {
    // The decoder stream, its type first: a cancellation is 01 and six bits of stream ID.
    let said = |cancel: fn(&mut Connection), start: &[u8]| {
        let mut server = server();
        server.poll_transmit();
        receive(&mut server, 4, start, false).unwrap();
        cancel(&mut server);
        server.poll_transmit()
    };
    let cancelled = Some((Uni::Decoder, Bytes::from_static(&[3, 0x44])));
    let blocked = frame(HEADERS, &[2, 0x80, 0x10]);
    for start in [&blocked, &headers(POST)] {
        assert_eq!(said(|server| server.reset(4, 0).unwrap(), start), cancelled);
        assert_eq!(said(|server| server.abandon(4), start), cancelled);
    }
    assert_eq!(
        said(|server| server.abandon(4), &join(&[&[1], &number(70_000)])),
        cancelled
    );
    let malformed = |server: &mut Connection| assert!(server.receive(4, data(b"").into(), true).is_err());
    assert_eq!(
        said(malformed, &headers(&[POST, &[("content-length", "1")]].concat())),
        cancelled
    );
    assert_eq!(
        said(|server| assert!(receive(server, 4, &[], true).is_ok()), &headers(POST)),
        None
    );
}

#[test]
fn extensions_that_were_asked_for() {
    let mut server = Connection::server(Config {
        extensions: vec![0x40, 0xc],
        ..Config::default()
    });
    let rest = join(&[
        &frame(0x40, b"abc"),
        &frame(0x41, b"x"),
        &frame(0x40, &[0; 1025]),
        &frame(0xc, b""),
    ]);
    for piece in control(&rest).chunks(2) {
        server.receive(2, Bytes::copy_from_slice(piece), false).unwrap();
    }
    let events = events(&mut server);
    let [
        Event::Settings,
        Event::Extension { kind: 0x40, payload },
        Event::Extension { kind: 0xc, .. },
    ] = &events[..]
    else {
        panic!("{events:?}")
    };
    assert_eq!(payload, "abc");
}

#[test]
fn what_a_control_stream_begins_with() {
    let config = Config {
        preface: vec![(0xc, Bytes::from_static(b"origin"))],
        ..Config::default()
    };
    let (uni, bytes) = Connection::server(config).poll_transmit().unwrap();
    assert_eq!(uni, Uni::Control);
    let wanted = join(&[
        &[0],
        &settings(&[(1, 4096), (6, 65536), (7, 16)]),
        &frame(0xc, b"origin"),
    ]);
    assert_eq!(bytes, wanted);
    // Reserved identifiers are passed over by the other side.
    for random in [0, 1, u64::MAX, 0x1234_5678_9abc_def0] {
        let config = Config {
            grease: Some(random),
            connect_protocol: true,
            datagrams: true,
            ..Config::default()
        };
        let (_, bytes) = Connection::server(config).poll_transmit().unwrap();
        let mut client = client("GET");
        assert_eq!(receive(&mut client, 3, &bytes, false).unwrap().len(), 1);
        let settings = client.peer_settings().unwrap();
        assert!(settings.connect_protocol && settings.datagrams);
    }
}

#[test]
fn what_is_left_out_of_a_message() {
    let head = http::Request::get("https://example.org/a")
        .header("host", "example.org")
        .header("connection", "keep-alive")
        .header("upgrade", "h2c")
        .header("te", "gzip")
        .header("te", "trailers")
        .body(())
        .unwrap();
    let mut client = Connection::client(Config::default());
    let mut out = BytesMut::new();
    client.open_request(0, &head, None, &mut out).unwrap();
    let mut server = server();
    let events = receive(&mut server, 0, &out, true).unwrap();
    let [Event::Request { head, end: true, .. }] = &events[..] else {
        panic!("{events:?}")
    };
    assert_eq!(
        (head.uri().to_string().as_str(), head.headers().len()),
        ("https://example.org/a", 1)
    );

    let (parts, ()) = Response::builder()
        .header("transfer-encoding", "chunked")
        .body(())
        .unwrap()
        .into_parts();
    let mut out = BytesMut::new();
    server.respond(0, &parts, &mut out).unwrap();
    assert_eq!(out, join(&[&[1, 0x40, 3], &section(OK)]));
}

#[test]
fn what_cannot_be_sent() {
    let open = |head: http::request::Builder, protocol| {
        let mut out = BytesMut::new();
        let head = head.body(()).unwrap();
        let outcome = Connection::client(Config::default()).open_request(0, &head, protocol, &mut out);
        assert!(outcome.is_ok() || out.is_empty());
        outcome.map_err(|error| (error.scope, error.code))
    };
    let wrong = Err((Scope::Stream(0), Code::MessageError));
    assert_eq!(open(http::Request::get("/a"), None), wrong);
    assert_eq!(
        open(http::Request::get("/a").header("host", "example.org"), None),
        wrong
    );
    assert_eq!(open(http::Request::connect("/a"), None), wrong);
    assert_eq!(
        open(http::Request::connect("https://example.org/"), Some("websocket")),
        wrong
    );
    assert_eq!(open(http::Request::connect("example.org:443"), None), Ok(()));

    let mut server = server();
    receive(&mut server, 2, &join(&[&[0], &settings(&[(6, 100)])]), false).unwrap();
    let respond = |server: &mut Connection, head: http::response::Builder| {
        let mut out = BytesMut::new();
        let (parts, ()) = head.body(()).unwrap().into_parts();
        server
            .respond(0, &parts, &mut out)
            .map(|()| out.len())
            .map_err(|error| error.code)
    };
    assert_eq!(
        respond(&mut server, Response::builder().status(101)),
        Err(Code::InternalError)
    );
    // 42 bytes of :status, 58 of the field, and one more.
    assert!(respond(&mut server, Response::builder().header("x", "y".repeat(25))).is_ok());
    assert_eq!(
        respond(&mut server, Response::builder().header("x", "y".repeat(26))),
        Err(Code::InternalError)
    );
}

#[test]
fn lines_that_were_encoded_earlier() {
    let line = |name: &'static str, value: &'static str| {
        let mut out = BytesMut::new();
        encode_lines(
            [Line {
                name: name.as_bytes(),
                value: value.as_bytes(),
                sensitive: false,
            }],
            &mut out,
        );
        out.freeze()
    };
    let (status, server_name) = (line(":status", "200"), line("server", "velocity"));
    let mut out = BytesMut::new();
    let mut server = server();
    server.respond_encoded(0, &[&status, &server_name], &mut out);
    Connection::data_header(5, &mut out);
    out.extend_from_slice(b"hello");
    let mut trailers = HeaderMap::new();
    trailers.insert("x", "y".parse().unwrap());
    server.trailers(0, &trailers, &mut out);
    let events = receive(&mut client("GET"), 0, &out, true).unwrap();
    let [
        Event::Response { head, .. },
        Event::Data { data, .. },
        Event::Trailers { fields, .. },
        Event::End { .. },
    ] = &events[..]
    else {
        panic!("{events:?}")
    };
    assert_eq!(
        (head.status().as_u16(), &head.headers()["server"], &data[..]),
        (200, &"velocity".parse().unwrap(), &b"hello"[..])
    );
    assert_eq!(*fields, trailers);
}
