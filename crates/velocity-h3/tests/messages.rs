//! Malformed messages (RFC 9114, section 4.1.2), and those that look like it and are not.

// Also outside of the test functions, a test is allowed to stop.
#![allow(clippy::unwrap_used, clippy::panic)]

mod support;

use http::header::HeaderMap;
use support::*;
use velocity_h3::{Code, Config, Connection, Event, Protocol, Scope};

fn extended() -> Connection {
    Connection::server(Config {
        connect_protocol: true,
        ..Config::default()
    })
}

/// What becomes of a message with this head and content.
fn message(mut connection: Connection, head: Fields<'_>, content: &[&[u8]]) -> Result<Vec<Event>, (Scope, Code)> {
    let frames: Vec<u8> = content.iter().flat_map(|payload| data(payload)).collect();
    receive(&mut connection, 0, &join(&[&headers(head), &frames]), true).map_err(|error| (error.scope, error.code))
}

fn request(head: Fields<'_>) -> Result<http::Request<()>, (Scope, Code)> {
    match message(server(), head, &[])?.remove(0) {
        Event::Request { head, end: true, .. } => Ok(head),
        other => panic!("{other:?}"),
    }
}

#[track_caller]
fn malformed(outcome: Result<impl std::fmt::Debug, (Scope, Code)>, what: impl std::fmt::Debug) {
    match outcome {
        Err(error) => assert_eq!(error, (Scope::Stream(0), Code::MessageError), "{what:?}"),
        Ok(message) => panic!("{what:?} gave {message:?}"),
    }
}

fn with<'a>(fields: &[(&'a str, &'a str)], more: &[(&'a str, &'a str)]) -> Vec<(&'a str, &'a str)> {
    [fields, more].concat()
}

#[test]
fn section_4_3_1_the_target_of_a_request() {
    let target = |method, scheme, authority, path| {
        let all = [
            (":method", method),
            (":scheme", scheme),
            (":authority", authority),
            (":path", path),
        ];
        request(&all).map(|head| head.uri().to_string())
    };
    for (method, scheme, authority, path, uri) in [
        ("GET", "https", "example.org", "/", "https://example.org/"),
        (
            "GET",
            "http",
            "example.org:8080",
            "/a/b?c=d&e",
            "http://example.org:8080/a/b?c=d&e",
        ),
        ("GET", "https", "[2001:db8::1]:443", "/?", "https://[2001:db8::1]:443/?"),
        ("GET", "HTTPS", "example.org", "/", "https://example.org/"),
        ("OPTIONS", "https", "example.org", "*", "https://example.org*"),
        ("PURGE", "ftp", "me@example.org", "/", "ftp://me@example.org/"),
    ] {
        assert_eq!(target(method, scheme, authority, path).as_deref(), Ok(uri));
    }
    for (method, scheme, authority, path) in [
        ("GE T", "https", "example.org", "/"),
        ("", "https", "example.org", "/"),
        ("GET", "", "example.org", "/"),
        ("GET", "ht tp", "example.org", "/"),
        ("GET", "1http", "example.org", "/"),
        ("GET", "HTTPS", "me@example.org", "/"),
        ("GET", "https", "", "/"),
        ("GET", "https", "me@example.org", "/"),
        ("GET", "http", "me:secret@example.org", "/"),
        ("GET", "https", "exa mple.org", "/"),
        ("GET", "https", "example.org/a", "/"),
        ("GET", "https", "example.org", ""),
        ("GET", "https", "example.org", "a"),
        ("GET", "https", "example.org", "*"),
        ("GET", "https", "example.org", "?a"),
        ("GET", "https", "example.org", "/a b"),
        ("GET", "https", "example.org", "/a#b"),
        ("GET", "https", "example.org", "/\u{7f}"),
        ("GET", "https", "example.org", "https://example.org/"),
        ("OPTIONS", "https", "example.org", "**"),
    ] {
        malformed(
            target(method, scheme, authority, path),
            (method, scheme, authority, path),
        );
    }
}

#[test]
fn section_4_3_1_pseudo_header_fields_are_all_there_once_and_first() {
    for missing in 0..4 {
        let mut head = GET.to_vec();
        head.remove(missing);
        malformed(request(&head), &head);
    }
    for again in GET {
        let head = with(GET, &[*again]);
        malformed(request(&head), &head);
    }
    for late in 0..4 {
        let mut head = GET.to_vec();
        let last = head.remove(late);
        head.extend([("x", "y"), last]);
        malformed(request(&head), &head);
    }
    for unknown in [
        (":status", "200"),
        (":protocol", "websocket"),
        (":x", "y"),
        (":", "y"),
        (":Path", "/"),
    ] {
        let head = with(GET, &[unknown]);
        malformed(request(&head), &head);
    }
}

#[test]
fn section_4_3_1_authority_and_host() {
    let without = |more: Fields<'_>| request(&[&[GET[0], GET[1], GET[3]], more].concat());
    let head = without(&[("host", "example.org:8443")]).unwrap();
    assert_eq!(head.uri(), "https://example.org:8443/");
    assert_eq!(head.headers()["host"], "example.org:8443");
    request(&with(GET, &[("host", "example.org")])).unwrap();

    malformed(without(&[]), "neither");
    malformed(without(&[("host", "")]), "an empty host");
    malformed(without(&[("host", "me@example.org")]), "userinfo in host");
    malformed(without(&[("host", "a.example, b.example")]), "two hosts in one");
    malformed(
        without(&[("host", "example.org"), ("host", "example.org")]),
        "two hosts",
    );
    malformed(request(&with(GET, &[("host", "example.com")])), "they differ");

    let urn = [(":method", "GET"), (":scheme", "urn"), (":path", "/a")];
    assert_eq!(request(&urn).unwrap().uri(), "/a");
}

#[test]
fn section_4_4_connect() {
    let connect = |more: Fields<'_>| request(&[&[(":method", "CONNECT")], more].concat());
    let head = connect(&[(":authority", "example.org:443")]).unwrap();
    assert_eq!(
        (head.uri().scheme(), head.uri().authority().unwrap().as_str()),
        (None, "example.org:443")
    );
    for wrong in [
        &[][..],
        &[(":authority", "")],
        &[(":authority", "example.org")],
        &[(":authority", ":443")],
        &[(":authority", "example.org:")],
        &[(":authority", "me@example.org:443")],
        &[(":authority", "example.org:443"), (":scheme", "https")],
        &[(":authority", "example.org:443"), (":path", "/")],
        &[(":authority", "example.org:443"), ("host", "example.org")],
        &[("host", "example.org:443")],
    ] {
        malformed(connect(wrong), wrong);
    }
}

#[test]
fn rfc_9220_extended_connect() {
    let head = [
        (":method", "CONNECT"),
        (":protocol", "websocket"),
        (":scheme", "https"),
        (":authority", "example.org"),
        (":path", "/chat"),
    ];
    let events = message(extended(), &head, &[b"frames"]).unwrap();
    let Event::Request {
        head: request,
        end: false,
        ..
    } = &events[0]
    else {
        panic!("{events:?}")
    };
    assert_eq!(request.uri(), "https://example.org/chat");
    assert_eq!(
        request.extensions().get::<Protocol>().map(Protocol::as_str),
        Some("websocket")
    );

    malformed(message(server(), &head, &[]), "it was not offered");
    for missing in [2, 3, 4] {
        let mut head = head.to_vec();
        head.remove(missing);
        malformed(message(extended(), &head, &[]), head);
    }
    malformed(
        message(extended(), &with(GET, &[(":protocol", "websocket")]), &[]),
        "not CONNECT",
    );
    for protocol in ["", "web socket", "a/b"] {
        let mut head = head;
        head[1].1 = protocol;
        malformed(message(extended(), &head, &[]), protocol);
    }
}

#[test]
fn section_4_2_fields() {
    for fine in [
        ("te", "trailers"),
        ("x", ""),
        ("x", "a\tb c"),
        ("x!#$%&'*+-.^_`|~0", "\u{e9}"),
    ] {
        request(&with(GET, &[fine])).unwrap();
    }
    for wrong in [
        ("connection", "close"),
        ("keep-alive", "timeout=5"),
        ("proxy-connection", "close"),
        ("transfer-encoding", "chunked"),
        ("upgrade", "websocket"),
        ("te", "gzip"),
        ("te", "trailers, gzip"),
        ("X-Y", "z"),
        ("Host", "example.org"),
        ("x y", "z"),
        ("x:", "z"),
        ("", "z"),
        ("\u{e9}", "z"),
        ("x\0", "z"),
        ("x", "a\0b"),
        ("x", "a\r\nb: c"),
        ("x", "a\nb"),
        ("x", "\u{7f}"),
        ("x", " a"),
        ("x", "a "),
        ("x", "\ta"),
        ("content-length", ""),
        ("content-length", "-1"),
        ("content-length", "+0"),
        ("content-length", "0x0"),
        ("content-length", "0,"),
        ("content-length", "0, 1"),
        ("content-length", "18446744073709551616"),
    ] {
        malformed(request(&with(GET, &[wrong])), wrong);
    }
}

#[test]
fn section_4_2_1_cookies_come_in_crumbs() {
    let cookies = |crumbs: &[&str]| {
        let crumbs: Vec<_> = crumbs.iter().map(|crumb| ("cookie", *crumb)).collect();
        let head = request(&with(GET, &with(&crumbs, &[("x", "y")]))).unwrap();
        head.headers()
            .get_all("cookie")
            .iter()
            .map(|value| value.to_str().unwrap().to_owned())
            .collect::<Vec<_>>()
    };
    assert_eq!(cookies(&[]), [""; 0]);
    assert_eq!(cookies(&["a=b"]), ["a=b"]);
    assert_eq!(cookies(&["a=b", "c=d; e=f", "g=h"]), ["a=b; c=d; e=f; g=h"]);
    assert_eq!(cookies(&["", "a=b"]), ["; a=b"]);
}

#[test]
fn section_4_1_2_content_length_of_a_request() {
    let post = |lengths: &[&str], content: &[&[u8]]| {
        let lengths: Vec<_> = lengths.iter().map(|length| ("content-length", *length)).collect();
        message(server(), &with(POST, &lengths), content)
    };
    for (lengths, content) in [
        (&["3"][..], &[&b"abc"[..]][..]),
        (&["3"], &[b"a", b"", b"bc"]),
        (&["3", "3"], &[b"abc"]),
        (&["3, 3"], &[b"abc"]),
        (&["003"], &[b"abc"]),
        (&["0"], &[]),
        (&["0"], &[b""]),
        (&[], &[b"abc"]),
    ] {
        let events = post(lengths, content).unwrap();
        let Event::Request { head, .. } = &events[0] else {
            panic!("{events:?}")
        };
        assert_eq!(
            head.headers().get_all("content-length").iter().count(),
            lengths.len().min(1)
        );
    }
    for (lengths, content) in [
        (&["3"][..], &[][..]),
        (&["3"], &[&b"ab"[..]]),
        (&["3"], &[b"abcd"]),
        (&["3"], &[b"ab", b"cd"]),
        (&["0"], &[b"a"]),
        (&["3", "4"], &[b"abc"]),
    ] {
        malformed(post(lengths, content), (lengths, content));
    }
    // It is clear before all of it has come.
    let mut server = server();
    let start = join(&[&headers(&with(POST, &[("content-length", "3")])), &[0, 4]]);
    malformed(
        receive(&mut server, 0, &start, false).map_err(|error| (error.scope, error.code)),
        "too much to come",
    );
    // Section 4.4: what goes through CONNECT is not content.
    message(
        support::server(),
        &with(CONNECT, &[("content-length", "3")]),
        &[b"abcd"],
    )
    .unwrap();
}

#[test]
fn section_4_1_2_content_length_of_a_response() {
    let respond = |method, status, length, content: &[&[u8]]| {
        message(
            client(method),
            &[(":status", status), ("content-length", length)],
            content,
        )
    };
    for (method, status, length, content) in [
        ("GET", "200", "3", &[&b"abc"[..]][..]),
        ("HEAD", "200", "3", &[]),
        ("GET", "204", "3", &[]),
        ("GET", "304", "3", &[]),
        ("GET", "304", "3", &[b""]),
        ("CONNECT", "200", "3", &[b"abcd"]),
    ] {
        respond(method, status, length, content).unwrap();
    }
    for (method, status, length, content) in [
        ("GET", "200", "3", &[&b"ab"[..]][..]),
        ("GET", "200", "3", &[b"abcd"]),
        ("GET", "200", "3", &[]),
        ("HEAD", "200", "3", &[b"abc"]),
        ("GET", "204", "0", &[b"a"]),
        ("GET", "304", "3", &[b"abc"]),
        ("CONNECT", "403", "3", &[b"abcd"]),
    ] {
        malformed(respond(method, status, length, content), (method, status, length));
    }
}

#[test]
fn section_4_3_2_the_head_of_a_response() {
    for fine in [
        &[(":status", "200")][..],
        &[(":status", "599"), ("x", "y"), ("set-cookie", "a"), ("set-cookie", "b")],
    ] {
        message(client("GET"), fine, &[]).unwrap();
    }
    for wrong in [
        &[][..],
        &[("x", "y")],
        &[(":status", "20")],
        &[(":status", "2000")],
        &[(":status", "099")],
        &[(":status", "20x")],
        &[(":status", "")],
        &[(":status", "+20")],
        &[(":status", "101")],
        &[(":status", "200"), (":status", "200")],
        &[("x", "y"), (":status", "200")],
        &[(":status", "200"), (":path", "/")],
        &[(":status", "200"), ("transfer-encoding", "chunked")],
        &[(":status", "200"), ("te", "trailers")],
        &[(":status", "200"), ("X", "y")],
    ] {
        malformed(message(client("GET"), wrong, &[]), wrong);
    }
}

#[test]
fn section_4_1_interim_responses() {
    let (interim, ok) = (headers(&[(":status", "103"), ("link", "</a>")]), headers(OK));
    let events = receive(
        &mut client("GET"),
        0,
        &join(&[&interim, &interim, &ok, &data(b"x")]),
        true,
    )
    .unwrap();
    let statuses: Vec<_> = events
        .iter()
        .filter_map(|event| match event {
            Event::Response { head, end: false, .. } => Some(head.status().as_u16()),
            _ => None,
        })
        .collect();
    assert_eq!(statuses, [103, 103, 200]);
    for wrong in [join(&[&ok, &interim]), join(&[&ok, &ok]), interim, Vec::new()] {
        let outcome = receive(&mut client("GET"), 0, &wrong, true).map_err(|error| (error.scope, error.code));
        malformed(outcome, wrong);
    }
}

#[test]
fn section_4_3_trailers() {
    let trailers = |fields: Fields<'_>| {
        let wire = join(&[&headers(POST), &data(b"x"), &headers(fields)]);
        let events = receive(&mut server(), 0, &wire, true).map_err(|error| (error.scope, error.code))?;
        match events.into_iter().nth(2) {
            Some(Event::Trailers { fields, .. }) => Ok::<HeaderMap, _>(fields),
            other => panic!("{other:?}"),
        }
    };
    assert_eq!(
        trailers(&[("x", "1"), ("x", "2")]).unwrap().get_all("x").iter().count(),
        2
    );
    assert!(trailers(&[]).unwrap().is_empty());
    for wrong in [
        (":path", "/"),
        (":status", "200"),
        (":x", "y"),
        ("connection", "close"),
        ("te", "trailers"),
        ("X", "y"),
    ] {
        malformed(trailers(&[wrong]), wrong);
    }
}

#[test]
fn a_malformed_message_is_the_end_of_its_stream_only() {
    let mut server = server();
    let wire = join(&[&headers(&with(POST, &[("content-length", "1")])), &data(b"ab")]);
    receive(&mut server, 0, &wire, true).unwrap_err();
    assert!(
        events(&mut server).is_empty(),
        "nothing is told of a stream that failed"
    );
    assert!(matches!(
        receive(&mut server, 4, &headers(GET), true).as_deref(),
        Ok([Event::Request { stream: 4, .. }])
    ));
}
