//! The list of clauses: every sentence of RFC 9114 and RFC 9204 that names an error code, in the order of the documents,
//! as raw bytes from a peer and the error they end with. Each case is tried whole and cut in pieces.
//!
//! Where a clause has many faces there is a file that tries them all: `messages.rs` for malformed messages (RFC 9114,
//! section 4.1.2), `qpack.rs` for RFC 9204 instruction by instruction, `behaviour.rs` for limits.
//!
//! Without a case are clauses about what does not exist here: early data (RFC 9114, section 7.2.4.2; RFC 9204, section
//! 3.2.3), pushes that were allowed or promised (RFC 9114, sections 4.1, 4.6, 6.2.2 and 7.2.5), and the TCP connection
//! behind a CONNECT request (section 4.4). Codes that only the driver says are tried where the driver is:
//! H3_REQUEST_CANCELLED (section 4.1.1) and H3_NO_ERROR (sections 4.1 and 5.2) in `tests/interop`.

// Also outside of the test functions, a test is allowed to stop.
#![allow(clippy::unwrap_used, clippy::panic)]

mod support;

use bytes::Bytes;
use support::*;
use velocity_h3::{Code, Config, Connection, Event, Scope};

type Outcome = Option<(Scope, Code)>;

const FINE: Outcome = None;
const CLOSED_CRITICAL_STREAM: Outcome = Some((Scope::Connection, Code::ClosedCriticalStream));
const EXCESSIVE_LOAD: Outcome = Some((Scope::Connection, Code::ExcessiveLoad));
const MESSAGE_ERROR: Outcome = Some((Scope::Stream(0), Code::MessageError));
const MISSING_SETTINGS: Outcome = Some((Scope::Connection, Code::MissingSettings));
const REQUEST_INCOMPLETE: Outcome = Some((Scope::Stream(0), Code::RequestIncomplete));
const REQUEST_REJECTED: Outcome = Some((Scope::Stream(0), Code::RequestRejected));
const SETTINGS_ERROR: Outcome = Some((Scope::Connection, Code::SettingsError));
const STREAM_CREATION_ERROR: Outcome = Some((Scope::Connection, Code::StreamCreationError));

const DECOMPRESSION_FAILED: Outcome = Some((Scope::Connection, Code::QpackDecompressionFailed));
const ENCODER_STREAM_ERROR: Outcome = Some((Scope::Connection, Code::QpackEncoderStreamError));
const DECODER_STREAM_ERROR: Outcome = Some((Scope::Connection, Code::QpackDecoderStreamError));

/// A control stream with one more frame than SETTINGS.
fn with(kind: u64, payload: &[u8]) -> Vec<u8> {
    control(&frame(kind, payload))
}

/// The start of a control stream, with these settings.
fn start(pairs: &[(u64, u64)]) -> Vec<u8> {
    join(&[&[0x00], &settings(pairs)])
}

/// A field section of these bytes in its frame.
fn encoded(section: &[u8]) -> Vec<u8> {
    frame(HEADERS, section)
}

/// An encoder stream that sets this capacity, which is 31 or more, and goes on with `rest`.
fn encoder(capacity: u64, rest: &[u8]) -> Vec<u8> {
    let mut bytes = vec![0x02, 0x3f];
    let mut left = capacity - 31;
    while left >= 0x80 {
        bytes.push(left as u8 | 0x80);
        left >>= 7;
    }
    bytes.push(left as u8);
    bytes.extend_from_slice(rest);
    bytes
}

/// Inserts "a: b", an entry of 34 bytes.
const INSERT: &[u8] = &[0x41, b'a', 0x01, b'b'];
/// An integer beyond 62 bits, behind a prefix of ones.
const ENDLESS: &[u8] = &[0xff; 10];

#[test]
fn rfc_9114_4_1_framing_of_messages() {
    let (get, post, trailers, ok) = (headers(GET), headers(POST), headers(&[("x", "y")]), headers(OK));
    let whole = join(&[&post, &data(b"abc"), &data(b""), &trailers]);
    let grease = frame(GREASE, b"anything");
    let between = join(&[&grease, &post, &grease, &data(b"x"), &grease, &trailers, &grease]);
    let interim = headers(&[(":status", "103")]);
    check(
        server,
        &[
            ("4.1: a whole request", &[(0, &whole, true)], FINE),
            ("4.1: unknown frames anywhere", &[(0, &between, true)], FINE),
            ("4.1: DATA before HEADERS", &[(0, &data(b"x"), false)], FRAME_UNEXPECTED),
            (
                "4.1: DATA without content before HEADERS",
                &[(0, &data(b""), false)],
                FRAME_UNEXPECTED,
            ),
            (
                "4.1: DATA after trailers",
                &[(0, &whole, false), (0, &data(b"x"), false)],
                FRAME_UNEXPECTED,
            ),
            (
                "4.1: HEADERS after trailers",
                &[(0, &whole, false), (0, &trailers, false)],
                FRAME_UNEXPECTED,
            ),
            ("4.1: no request at all", &[(0, &[], true)], REQUEST_INCOMPLETE),
            (
                "4.1: nothing but an unknown frame",
                &[(0, &grease, true)],
                REQUEST_INCOMPLETE,
            ),
            ("4.1: a request is complete without content", &[(0, &get, true)], FINE),
        ],
    );
    check(
        get_client,
        &[
            (
                "4.1: a whole response",
                &[(0, &join(&[&interim, &ok, &data(b"abc"), &trailers]), true)],
                FINE,
            ),
            ("4.1: DATA before HEADERS", &[(0, &data(b"x"), false)], FRAME_UNEXPECTED),
            (
                "4.1: DATA after an interim response",
                &[(0, &interim, false), (0, &data(b"x"), false)],
                FRAME_UNEXPECTED,
            ),
            (
                "4.1: HEADERS after trailers",
                &[(0, &join(&[&ok, &trailers]), false), (0, &ok, false)],
                FRAME_UNEXPECTED,
            ),
            (
                "4.1: DATA after trailers",
                &[(0, &join(&[&ok, &trailers]), false), (0, &data(b"x"), false)],
                FRAME_UNEXPECTED,
            ),
        ],
    );
}

#[test]
fn rfc_9114_4_1_1_rejection_of_requests() {
    let going = || {
        let mut server = server();
        server.goaway(0).unwrap();
        server
    };
    check(
        going,
        &[(
            "4.1.1, 5.2: a request after GOAWAY",
            &[(0, &headers(GET), true)],
            REQUEST_REJECTED,
        )],
    );
    // The same from the other end: what the server will reject is not sent.
    let mut client = client("GET");
    receive(&mut client, 3, &with(GOAWAY, &[4]), false).unwrap();
    let head = http::Request::get("https://example.org/").body(()).unwrap();
    let error = client
        .open_request(4, &head, None, &mut Default::default())
        .unwrap_err();
    assert_eq!((error.scope, error.code), (Scope::Stream(4), Code::RequestRejected));
}

#[test]
fn rfc_9114_4_1_2_malformed_messages() {
    let request = |more: Fields<'_>| headers(&[POST, more].concat());
    let long = join(&[&request(&[("content-length", "2")]), &data(b"abc")]);
    let short = join(&[&request(&[("content-length", "2")]), &data(b"a")]);
    let late = headers(&[
        (":method", "GET"),
        (":scheme", "https"),
        ("x", "y"),
        (":authority", "a"),
        (":path", "/"),
    ]);
    let trailers = join(&[&headers(POST), &headers(&[(":path", "/")])]);
    check(
        server,
        &[
            (
                "4.1.2: more content than content-length",
                &[(0, &long, true)],
                MESSAGE_ERROR,
            ),
            (
                "4.1.2: less content than content-length",
                &[(0, &short, true)],
                MESSAGE_ERROR,
            ),
            (
                "4.1.2: content-length and no content",
                &[(0, &request(&[("content-length", "1")]), true)],
                MESSAGE_ERROR,
            ),
            (
                "4.2: a field name in upper case",
                &[(0, &request(&[("X", "y")]), true)],
                MESSAGE_ERROR,
            ),
            (
                "4.2: a field of the connection",
                &[(0, &request(&[("connection", "close")]), true)],
                MESSAGE_ERROR,
            ),
            (
                "4.2: te that is not trailers",
                &[(0, &request(&[("te", "gzip")]), true)],
                MESSAGE_ERROR,
            ),
            (
                "10.3: a line end in a value",
                &[(0, &request(&[("x", "a\r\nb: c")]), true)],
                MESSAGE_ERROR,
            ),
            (
                "4.3: a pseudo-header field out of order",
                &[(0, &late, true)],
                MESSAGE_ERROR,
            ),
            (
                "4.3: an unknown pseudo-header field",
                &[(0, &request(&[(":x", "y")]), true)],
                MESSAGE_ERROR,
            ),
            (
                "4.3: one of responses",
                &[(0, &request(&[(":status", "200")]), true)],
                MESSAGE_ERROR,
            ),
            ("4.3: one among trailers", &[(0, &trailers, true)], MESSAGE_ERROR),
            (
                "4.3.1: one twice",
                &[(0, &request(&[(":path", "/")]), true)],
                MESSAGE_ERROR,
            ),
            ("4.3.1: one missing", &[(0, &headers(&GET[..3]), true)], MESSAGE_ERROR),
            (
                "4.3.1: :authority and host differ",
                &[(0, &request(&[("host", "a")]), true)],
                MESSAGE_ERROR,
            ),
        ],
    );
    check(
        get_client,
        &[
            ("4.1.2: no response", &[(0, &[], true)], MESSAGE_ERROR),
            (
                "4.1: an interim response and no final one",
                &[(0, &headers(&[(":status", "103")]), true)],
                MESSAGE_ERROR,
            ),
            (
                "4.3.2: no :status",
                &[(0, &headers(&[("x", "y")]), true)],
                MESSAGE_ERROR,
            ),
            (
                "4.3: one of requests",
                &[(0, &headers(&[OK, &[(":path", "/")]].concat()), true)],
                MESSAGE_ERROR,
            ),
            (
                "4.5: status 101",
                &[(0, &headers(&[(":status", "101")]), true)],
                MESSAGE_ERROR,
            ),
        ],
    );
}

#[test]
fn rfc_9114_4_4_connect() {
    let (connect, ok, trailers) = (headers(CONNECT), headers(OK), headers(&[("x", "y")]));
    let refused = join(&[&headers(&[(":status", "407")]), &data(b"x"), &trailers]);
    check(
        server,
        &[
            (
                "4.4: DATA within CONNECT",
                &[(0, &join(&[&connect, &data(b"x")]), true)],
                FINE,
            ),
            (
                "4.4: HEADERS within CONNECT",
                &[(0, &connect, false), (0, &trailers, false)],
                FRAME_UNEXPECTED,
            ),
            (
                "4.4: HEADERS within CONNECT, after DATA",
                &[(0, &join(&[&connect, &data(b"x")]), false), (0, &trailers, false)],
                FRAME_UNEXPECTED,
            ),
            (
                "4.4: unknown frames within CONNECT",
                &[(0, &join(&[&connect, &frame(GREASE, b"x")]), true)],
                FINE,
            ),
            (
                "4.4: CONNECT with a path",
                &[(0, &headers(&[CONNECT, &[(":path", "/")]].concat()), true)],
                MESSAGE_ERROR,
            ),
        ],
    );
    check(
        connect_client,
        &[
            (
                "4.4: HEADERS within CONNECT",
                &[(0, &ok, false), (0, &trailers, false)],
                FRAME_UNEXPECTED,
            ),
            (
                "4.4: a refused CONNECT is a response like any other",
                &[(0, &refused, true)],
                FINE,
            ),
        ],
    );
}

#[test]
fn rfc_9114_5_2_shutdown() {
    let goaway = |id| with(GOAWAY, &number(id));
    let again = |id| frame(GOAWAY, &number(id));
    check(
        server,
        &[
            (
                "5.2: GOAWAY with any push ID, falling",
                &[(2, &goaway(7), false), (2, &again(6), false)],
                FINE,
            ),
            (
                "5.2: GOAWAY rises",
                &[(2, &goaway(7), false), (2, &again(8), false)],
                ID_ERROR,
            ),
        ],
    );
    check(
        get_client,
        &[
            (
                "5.2: GOAWAY falls or stays",
                &[(3, &goaway(8), false), (3, &again(8), false), (3, &again(0), false)],
                FINE,
            ),
            (
                "5.2: GOAWAY rises",
                &[(3, &goaway(8), false), (3, &again(12), false)],
                ID_ERROR,
            ),
        ],
    );
}

#[test]
fn rfc_9114_6_1_bidirectional_streams() {
    let anything = headers(GET);
    check(
        get_client,
        &[
            (
                "6.1: a bidirectional stream of the server",
                &[(1, &[], false)],
                STREAM_CREATION_ERROR,
            ),
            (
                "6.1: with something on it",
                &[(5, &anything, false)],
                STREAM_CREATION_ERROR,
            ),
        ],
    );
}

#[test]
fn rfc_9114_6_2_unidirectional_streams() {
    let unknown = |stream| Some((Scope::Stream(stream), Code::StreamCreationError));
    check(
        server,
        &[
            (
                "6.2: a stream of unknown type",
                &[(2, &[0x04, 1, 2], false)],
                unknown(2),
            ),
            ("6.2.3: a reserved type", &[(2, &[0x21, 1, 2], false)], unknown(2)),
            (
                "6.2.3: a reserved type of eight bytes",
                &[(2, &number(0x21 + 0x1f * (1 << 50)), false)],
                unknown(2),
            ),
            (
                "6.2: streams that end before their type",
                &[(2, &[0x40], true), (6, &[], true), (2, &control(&[]), false)],
                FINE,
            ),
            (
                "6.2: a type in more bytes than it needs",
                &[(2, &join(&[&[0x40, 0x00], &settings(&[])]), false)],
                FINE,
            ),
        ],
    );
    check(
        get_client,
        &[("6.2: a stream of unknown type", &[(3, &[0x04], false)], unknown(3))],
    );
    // Before the type is known it does not matter what becomes of a stream.
    let mut server = server();
    receive(&mut server, 6, &[0x40], false).unwrap();
    assert_eq!((server.reset(6, 0x100), server.reset(10, 0x100)), (Ok(()), Ok(())));
}

#[test]
fn rfc_9114_6_2_1_control_streams() {
    for (side, stream) in [(server as fn() -> Connection, 2), (get_client, 3)] {
        let start = control(&[]);
        check(
            side,
            &[
                (
                    "6.2.1: GOAWAY first",
                    &[(stream, &join(&[&[0], &frame(GOAWAY, &[0])]), false)],
                    MISSING_SETTINGS,
                ),
                (
                    "6.2.1: an unknown frame first",
                    &[(stream, &join(&[&[0], &frame(GREASE, &[])]), false)],
                    MISSING_SETTINGS,
                ),
                (
                    "6.2.1: DATA first",
                    &[(stream, &join(&[&[0], &data(b"")]), false)],
                    MISSING_SETTINGS,
                ),
                (
                    "6.2.1: a second control stream",
                    &[(stream, &start, false), (stream + 4, &[0], false)],
                    STREAM_CREATION_ERROR,
                ),
                (
                    "6.2.1: the control stream ends",
                    &[(stream, &start, true)],
                    CLOSED_CRITICAL_STREAM,
                ),
                (
                    "6.2.1: it ends before SETTINGS",
                    &[(stream, &[0], true)],
                    CLOSED_CRITICAL_STREAM,
                ),
                (
                    "6.2.1: it ends later on",
                    &[(stream, &start, false), (stream, &[], true)],
                    CLOSED_CRITICAL_STREAM,
                ),
            ],
        );
        let mut reset = side();
        receive(&mut reset, stream, &start, false).unwrap();
        let error = reset.reset(stream, 0x100).unwrap_err();
        assert_eq!(
            (error.scope, error.code),
            connection_error(Code::ClosedCriticalStream),
            "6.2.1: it is reset"
        );
        // Ours are asked to end.
        let error = side().stopped(stream ^ 1, 0x100).unwrap_err();
        assert_eq!(
            (error.scope, error.code),
            connection_error(Code::ClosedCriticalStream),
            "6.2.1: ours is stopped"
        );
    }
}

#[test]
fn rfc_9114_4_6_and_6_2_2_pushes() {
    check(
        server,
        &[(
            "6.2.2: a push stream of a client",
            &[(2, &[1], false)],
            STREAM_CREATION_ERROR,
        )],
    );
    check(
        get_client,
        &[
            (
                "4.6: a push stream, and no MAX_PUSH_ID was sent",
                &[(3, &[1], false)],
                ID_ERROR,
            ),
            ("6.2.2: with a push ID", &[(3, &[1, 0], false)], ID_ERROR),
        ],
    );
}

#[test]
fn rfc_9114_7_1_layout_of_frames() {
    let whole = headers(POST);
    let cut = &whole[..whole.len() - 1];
    check(
        server,
        &[
            ("7.1: an end within a type", &[(0, &[0x40], true)], FRAME_ERROR),
            ("7.1: an end within a length", &[(0, &[0x01], true)], FRAME_ERROR),
            ("7.1: an end within HEADERS", &[(0, cut, true)], FRAME_ERROR),
            (
                "7.1: an end before the payload of DATA",
                &[(0, &join(&[&whole, &[0, 1]]), true)],
                FRAME_ERROR,
            ),
            (
                "7.1: an end within DATA",
                &[(0, &join(&[&whole, &[0, 3, 1]]), true)],
                FRAME_ERROR,
            ),
            (
                "7.1: an end within an unknown frame",
                &[(0, &join(&[&whole, &[0x21, 3, 1]]), true)],
                FRAME_ERROR,
            ),
            ("7.1: GOAWAY too short", &[(2, &with(GOAWAY, &[]), false)], FRAME_ERROR),
            (
                "7.1: GOAWAY with a cut number",
                &[(2, &with(GOAWAY, &[0x40]), false)],
                FRAME_ERROR,
            ),
            (
                "7.1: GOAWAY too long",
                &[(2, &with(GOAWAY, &[0, 0]), false)],
                FRAME_ERROR,
            ),
            (
                "7.1: GOAWAY far too long",
                &[(2, &control(&[7, 0x80, 1, 0, 0]), false)],
                FRAME_ERROR,
            ),
            (
                "7.1: MAX_PUSH_ID too short",
                &[(2, &with(MAX_PUSH_ID, &[]), false)],
                FRAME_ERROR,
            ),
            (
                "7.1: MAX_PUSH_ID too long",
                &[(2, &with(MAX_PUSH_ID, &[0, 0]), false)],
                FRAME_ERROR,
            ),
            (
                "7.1: CANCEL_PUSH too short",
                &[(2, &with(CANCEL_PUSH, &[]), false)],
                FRAME_ERROR,
            ),
            (
                "7.1: CANCEL_PUSH too long",
                &[(2, &with(CANCEL_PUSH, &[0, 0]), false)],
                FRAME_ERROR,
            ),
            (
                "7.1: SETTINGS with half a pair",
                &[(2, &join(&[&[0], &frame(SETTINGS, &[6])]), false)],
                FRAME_ERROR,
            ),
            (
                "7.1: SETTINGS with a cut number",
                &[(2, &join(&[&[0], &frame(SETTINGS, &[6, 0x40])]), false)],
                FRAME_ERROR,
            ),
            (
                "7.1: PRIORITY_UPDATE without an ID",
                &[(2, &with(PRIORITY_UPDATE, &[0x40]), false)],
                FRAME_ERROR,
            ),
            (
                "7.1: numbers in more bytes than they need",
                &[(0, &join(&[&[0x40, 1, 0x40], &whole[1..]]), true)],
                FINE,
            ),
        ],
    );
    check(
        get_client,
        &[
            ("7.1: an end within HEADERS", &[(0, cut, true)], FRAME_ERROR),
            (
                "7.1: GOAWAY too long",
                &[(3, &with(GOAWAY, &[0, 0]), false)],
                FRAME_ERROR,
            ),
        ],
    );
}

/// Sections 7.2.1 to 7.2.8: each frame on each stream that it does not belong on.
#[test]
fn rfc_9114_7_2_frames_on_the_wrong_stream() {
    for (section, kind, payload) in [
        ("7.2.3: CANCEL_PUSH", CANCEL_PUSH, &[0][..]),
        ("7.2.4: SETTINGS", SETTINGS, &[]),
        ("7.2.6: GOAWAY", GOAWAY, &[0]),
        ("7.2.7: MAX_PUSH_ID", MAX_PUSH_ID, &[0]),
        ("RFC 9218 7.2: PRIORITY_UPDATE", PRIORITY_UPDATE, b"\0u=1"),
        (
            "RFC 9218 7.2: PRIORITY_UPDATE of a push",
            PRIORITY_UPDATE_PUSH,
            b"\0u=1",
        ),
    ] {
        let wrong = frame(kind, payload);
        let clause = format!("{section} on a request stream");
        check(
            server,
            &[
                (&clause, &[(0, &wrong, false)], FRAME_UNEXPECTED),
                (
                    &clause,
                    &[(0, &headers(POST), false), (0, &wrong, false)],
                    FRAME_UNEXPECTED,
                ),
                (
                    &clause,
                    &[(0, &headers(CONNECT), false), (0, &wrong, false)],
                    FRAME_UNEXPECTED,
                ),
            ],
        );
        check(get_client, &[(&clause, &[(0, &wrong, false)], FRAME_UNEXPECTED)]);
    }
    for (section, kind) in [
        ("7.2.1: DATA", DATA),
        ("7.2.2: HEADERS", HEADERS),
        ("7.2.5: PUSH_PROMISE", PUSH_PROMISE),
    ] {
        let clause = format!("{section} on a control stream");
        let wrong = frame(kind, &[0, 0]);
        check(
            server,
            &[(
                &clause,
                &[(2, &control(&[]), false), (2, &wrong, false)],
                FRAME_UNEXPECTED,
            )],
        );
        check(
            get_client,
            &[(
                &clause,
                &[(3, &control(&[]), false), (3, &wrong, false)],
                FRAME_UNEXPECTED,
            )],
        );
    }
    // What only the other side may send.
    check(
        server,
        &[(
            "7.2.5: PUSH_PROMISE of a client",
            &[(0, &headers(GET), false), (0, &frame(PUSH_PROMISE, &[0]), false)],
            FRAME_UNEXPECTED,
        )],
    );
    check(
        get_client,
        &[
            (
                "7.2.7: MAX_PUSH_ID of a server",
                &[(3, &with(MAX_PUSH_ID, &[0]), false)],
                FRAME_UNEXPECTED,
            ),
            (
                "RFC 9218 7.2: PRIORITY_UPDATE of a server",
                &[(3, &with(PRIORITY_UPDATE, b"\0u=1"), false)],
                FRAME_UNEXPECTED,
            ),
            (
                "RFC 9218 7.2: PRIORITY_UPDATE of a push by a server",
                &[(3, &with(PRIORITY_UPDATE_PUSH, b"\0u=1"), false)],
                FRAME_UNEXPECTED,
            ),
        ],
    );
}

#[test]
fn rfc_9114_7_2_3_and_7_2_7_identifiers_of_pushes() {
    let max_push = |ids: &[u64]| {
        let frames = ids.iter().flat_map(|id| frame(MAX_PUSH_ID, &number(*id)));
        control(&frames.collect::<Vec<_>>())
    };
    let cancel = frame(CANCEL_PUSH, &[0]);
    check(
        server,
        &[
            (
                "7.2.3: CANCEL_PUSH beyond MAX_PUSH_ID",
                &[(2, &control(&cancel), false)],
                ID_ERROR,
            ),
            (
                "7.2.3: CANCEL_PUSH of what was not promised",
                &[(2, &max_push(&[5]), false), (2, &cancel, false)],
                ID_ERROR,
            ),
            (
                "7.2.7: MAX_PUSH_ID rises or stays",
                &[(2, &max_push(&[0, 0, 7]), false)],
                FINE,
            ),
            ("7.2.7: MAX_PUSH_ID falls", &[(2, &max_push(&[7, 6]), false)], ID_ERROR),
        ],
    );
    check(
        get_client,
        &[
            (
                "7.2.3: CANCEL_PUSH of what was not allowed",
                &[(3, &control(&cancel), false)],
                ID_ERROR,
            ),
            (
                "7.2.5: PUSH_PROMISE of what was not allowed",
                &[(0, &frame(PUSH_PROMISE, &[0]), false)],
                ID_ERROR,
            ),
            (
                "7.2.5: the same after a response has begun",
                &[(0, &headers(OK), false), (0, &frame(PUSH_PROMISE, &[0]), false)],
                ID_ERROR,
            ),
        ],
    );
}

#[test]
fn rfc_9114_7_2_4_settings() {
    let known = [(1, 4096), (6, 1 << 20), (7, 100), (8, 1), (0x33, 1)];
    let all = start(&[&known[..], &[(GREASE, 5), (0x2b60_3742, 1)]].concat());
    let cases: [(&str, &[(u64, u64)]); 9] = [
        ("7.2.4: a setting twice", &[(6, 1), (7, 1), (6, 1)]),
        ("7.2.4: an unknown setting twice", &[(GREASE, 1), (GREASE, 1)]),
        ("7.2.4.1: 0x02 of HTTP/2", &[(0x2, 0)]),
        ("7.2.4.1: 0x03 of HTTP/2", &[(0x3, 100)]),
        ("7.2.4.1: 0x04 of HTTP/2", &[(0x4, 65535)]),
        ("7.2.4.1: 0x05 of HTTP/2", &[(0x5, 16384)]),
        ("7.2.4.1: one of HTTP/2 among others", &[(6, 1), (0x2, 0), (7, 1)]),
        ("RFC 9220 3: neither 0 nor 1", &[(0x8, 2)]),
        ("RFC 9297 2.1.1: neither 0 nor 1", &[(0x33, 2)]),
    ];
    for (side, stream) in [(server as fn() -> Connection, 2), (get_client, 3)] {
        check(
            side,
            &[
                ("7.2.4: settings known and unknown", &[(stream, &all, false)], FINE),
                ("7.2.4: no settings", &[(stream, &start(&[]), false)], FINE),
                (
                    "7.2.4: SETTINGS twice",
                    &[(stream, &all, false), (stream, &settings(&[]), false)],
                    FRAME_UNEXPECTED,
                ),
            ],
        );
        for (clause, pairs) in cases {
            check(side, &[(clause, &[(stream, &start(pairs), false)], SETTINGS_ERROR)]);
        }
    }
}

#[test]
fn rfc_9114_7_2_6_goaway() {
    check(
        get_client,
        &[
            ("7.2.6: GOAWAY with a request", &[(3, &with(GOAWAY, &[8]), false)], FINE),
            (
                "7.2.6: GOAWAY with a stream of the server",
                &[(3, &with(GOAWAY, &[1]), false)],
                ID_ERROR,
            ),
            (
                "7.2.6: GOAWAY with a unidirectional stream",
                &[(3, &with(GOAWAY, &[2]), false)],
                ID_ERROR,
            ),
            (
                "7.2.6: GOAWAY with one of the server's",
                &[(3, &with(GOAWAY, &[3]), false)],
                ID_ERROR,
            ),
        ],
    );
    check(
        server,
        &[
            (
                "RFC 9218 7.2: a priority of what is not a request",
                &[(2, &with(PRIORITY_UPDATE, b"\x02u=1"), false)],
                ID_ERROR,
            ),
            (
                "RFC 9218 7.2: a priority of a push",
                &[(2, &with(PRIORITY_UPDATE_PUSH, b"\0u=1"), false)],
                ID_ERROR,
            ),
        ],
    );
}

#[test]
fn rfc_9114_7_2_8_frames_of_http_2() {
    for kind in [0x2, 0x6, 0x8, 0x9] {
        let clause = format!("7.2.8: {kind:#x}");
        let wrong = frame(kind, &[0, 0]);
        for (side, stream) in [(server as fn() -> Connection, 2), (get_client, 3)] {
            check(
                side,
                &[
                    (&clause, &[(0, &wrong, false)], FRAME_UNEXPECTED),
                    (
                        &clause,
                        &[(stream, &control(&[]), false), (stream, &wrong, false)],
                        FRAME_UNEXPECTED,
                    ),
                ],
            );
        }
        check(
            server,
            &[(
                &clause,
                &[(0, &headers(POST), false), (0, &wrong, false)],
                FRAME_UNEXPECTED,
            )],
        );
    }
    // Section 9: of a type that is merely unknown, anything goes.
    let unknown = control(&join(&[&frame(GREASE, &[1; 5000]), &frame(0xc, &[])]));
    check(server, &[("9: unknown frames", &[(2, &unknown, false)], FINE)]);
}

/// Section 8: a code nobody knows is no reason to make anything of it.
#[test]
fn rfc_9114_8_unknown_error_codes() {
    let mut server = server();
    receive(&mut server, 0, &headers(POST), false).unwrap();
    server.reset(0, 0x21).unwrap();
    server.stopped(0, 1 << 61).unwrap();
    let told = events(&mut server);
    assert!(
        matches!(
            told[..],
            [Event::Reset { stream: 0, code: 0x21 }, Event::Stopped { stream: 0, .. }]
        ),
        "{told:?}"
    );
}

#[test]
fn rfc_9114_10_5_excessive_load() {
    let settings = join(&[&[0x00, SETTINGS as u8], &number(4097)]);
    let priority = control(&join(&[&number(PRIORITY_UPDATE), &number(1025)]));
    let flood = control(&frame(GREASE, &[]).repeat(1001));
    let trailers = join(&[&headers(POST), &[HEADERS as u8], &number(65_537)]);
    check(
        server,
        &[
            ("10.5: far too many settings", &[(2, &settings, false)], EXCESSIVE_LOAD),
            (
                "10.5: a priority that is far too long",
                &[(2, &priority, false)],
                EXCESSIVE_LOAD,
            ),
            ("10.5: frames without effect", &[(2, &flood, false)], EXCESSIVE_LOAD),
            (
                "10.5: a trailer section that is too large",
                &[(0, &trailers, false)],
                Some((Scope::Stream(0), Code::ExcessiveLoad)),
            ),
        ],
    );
}

#[test]
fn rfc_9204_2_1_2_blocked_streams() {
    let waits = encoded(&[2, 0x00, 0x80]);
    let streams: Vec<(u64, &[u8], bool)> = (0..17).map(|n| (4 * n, &waits[..], false)).collect();
    check(
        server,
        &[
            ("2.1.2: as many blocked streams as are allowed", &streams[..16], FINE),
            ("2.1.2: one more", &streams, DECOMPRESSION_FAILED),
        ],
    );
}

#[test]
fn rfc_9204_2_2_references() {
    let two = encoder(4096, &[INSERT, INSERT].concat());
    // A table with room for one: the first of two is evicted.
    let evicted = encoder(40, &[INSERT, INSERT].concat());
    check(
        server,
        &[
            (
                "2.2.1: a line needs more than the section requires",
                &[(6, &two, false), (0, &encoded(&[2, 0x00, 0x10]), false)],
                DECOMPRESSION_FAILED,
            ),
            (
                "2.2.1: a line needs something and the section requires nothing",
                &[(6, &two, false), (0, &encoded(&[0, 0x00, 0x80]), false)],
                DECOMPRESSION_FAILED,
            ),
            (
                "2.2.3: a line that refers to an evicted entry",
                &[(6, &evicted, false), (0, &encoded(&[3, 0x00, 0x81]), false)],
                DECOMPRESSION_FAILED,
            ),
            (
                "2.2.3: an instruction that refers to an evicted entry",
                &[(6, &evicted, false), (6, &[0x01], false)],
                ENCODER_STREAM_ERROR,
            ),
            (
                "2.2.3: an instruction that refers to an entry that never was",
                &[(6, &encoder(4096, &[]), false), (6, &[0x00], false)],
                ENCODER_STREAM_ERROR,
            ),
        ],
    );
}

#[test]
fn rfc_9204_3_tables() {
    let unused = [2];
    check(
        server,
        &[
            (
                "3.1: a line beyond the static table",
                &[(0, &encoded(&[0, 0, 0xff, 36]), false)],
                DECOMPRESSION_FAILED,
            ),
            (
                "3.1: a name beyond the static table",
                &[(0, &encoded(&[0, 0, 0x5f, 84, 0]), false)],
                DECOMPRESSION_FAILED,
            ),
            (
                "3.1: an insertion with a name beyond the static table",
                &[(6, &encoder(4096, &[0xff, 36, 0]), false)],
                ENCODER_STREAM_ERROR,
            ),
            (
                "3.2.2: an entry larger than the table",
                &[(6, &encoder(40, b"\x43abc\x06123456"), false)],
                ENCODER_STREAM_ERROR,
            ),
            (
                "3.2.2: an entry as large as the table",
                &[(6, &encoder(40, b"\x43abc\x0512345"), false)],
                FINE,
            ),
            (
                "3.2.2: an entry before there is a table",
                &[(6, &unused, false), (6, INSERT, false)],
                ENCODER_STREAM_ERROR,
            ),
        ],
    );
}

/// Sections 4.1.1 and 7.4: numbers and strings that cannot be decoded. On a request stream that is an error of the
/// stream; RFC 9114, section 8, leaves it to the receiver to close the connection, whose peer cannot be trusted.
#[test]
fn rfc_9204_4_1_and_7_4_numbers_and_strings() {
    let endless = |first: u8| [&[first], ENDLESS].concat();
    check(
        server,
        &[
            (
                "7.4: a number too large on the encoder stream",
                &[(6, &endless(2), false)],
                ENCODER_STREAM_ERROR,
            ),
            (
                "7.4: a number too large on the decoder stream",
                &[(6, &endless(3), false)],
                DECODER_STREAM_ERROR,
            ),
            (
                "7.4: a number too large in a prefix",
                &[(0, &encoded(&endless(0xff)), false)],
                DECOMPRESSION_FAILED,
            ),
            (
                "7.4: a number too large in a line",
                &[(0, &encoded(&[&[0, 0][..], ENDLESS].concat()), false)],
                DECOMPRESSION_FAILED,
            ),
            (
                "4.1.2: a string with wrong padding",
                &[(0, &encoded(&[0, 0, 0x51, 0x81, 0x00]), false)],
                DECOMPRESSION_FAILED,
            ),
            (
                "4.1.2: the same on the encoder stream",
                &[(6, &encoder(4096, &[0xc0, 0x81, 0x00]), false)],
                ENCODER_STREAM_ERROR,
            ),
        ],
    );
}

#[test]
fn rfc_9204_4_2_encoder_and_decoder_streams() {
    for (side, stream) in [(server as fn() -> Connection, 2), (get_client, 3)] {
        for kind in [0x02, 0x03] {
            check(
                side,
                &[
                    (
                        "4.2: a second one",
                        &[(stream, &[kind], false), (stream + 4, &[kind], false)],
                        STREAM_CREATION_ERROR,
                    ),
                    (
                        "4.2: it ends at once",
                        &[(stream, &[kind], true)],
                        CLOSED_CRITICAL_STREAM,
                    ),
                    (
                        "4.2: it ends",
                        &[(stream, &[kind], false), (stream, &[], true)],
                        CLOSED_CRITICAL_STREAM,
                    ),
                ],
            );
            let mut reset = side();
            receive(&mut reset, stream, &[kind], false).unwrap();
            let error = reset.reset(stream, 0x100).unwrap_err();
            assert_eq!(
                (error.scope, error.code),
                connection_error(Code::ClosedCriticalStream),
                "4.2: it is reset"
            );
        }
    }
}

#[test]
fn rfc_9204_4_3_1_capacity() {
    check(
        server,
        &[
            (
                "4.3.1: the capacity that is allowed",
                &[(6, &encoder(4096, &[]), false)],
                FINE,
            ),
            (
                "4.3.1: one more",
                &[(6, &encoder(4097, &[]), false)],
                ENCODER_STREAM_ERROR,
            ),
            (
                "4.3.1: one more later on",
                &[(6, &encoder(100, &[]), false), (6, &encoder(4097, &[])[1..], false)],
                ENCODER_STREAM_ERROR,
            ),
        ],
    );
}

#[test]
fn rfc_9204_4_4_instructions_of_a_decoder() {
    check(
        server,
        &[
            (
                "4.4.1: an acknowledgment of nothing",
                &[(6, &[3, 0x80], false)],
                DECODER_STREAM_ERROR,
            ),
            ("4.4.2: a cancellation of nothing", &[(6, &[3, 0x40], false)], FINE),
            (
                "4.4.3: an increment of zero",
                &[(6, &[3, 0x00], false)],
                DECODER_STREAM_ERROR,
            ),
            (
                "4.4.3: an increment beyond what was sent",
                &[(6, &[3, 0x01], false)],
                DECODER_STREAM_ERROR,
            ),
        ],
    );
    // With sections to acknowledge: each once.
    let mut server = Connection::server(Config {
        qpack_encoder_capacity: 4096,
        ..Config::default()
    });
    receive(&mut server, 2, &start(&[(1, 4096), (7, 16)]), false).unwrap();
    receive(&mut server, 0, &headers(GET), true).unwrap();
    let (parts, ()) = http::Response::builder()
        .header("x-name", "worth an entry")
        .body(())
        .unwrap()
        .into_parts();
    server.respond(0, &parts, &mut Default::default()).unwrap();
    while server.poll_transmit().is_some() {}
    receive(&mut server, 6, &[3, 0x80], false).unwrap();
    let error = server.receive(6, Bytes::from_static(&[0x80]), false).unwrap_err();
    assert_eq!(
        (error.scope, error.code),
        connection_error(Code::QpackDecoderStreamError),
        "4.4.1: twice"
    );
}

#[test]
fn rfc_9204_4_5_1_prefix_of_a_section() {
    check(
        server,
        &[
            ("4.5.1: no prefix", &[(0, &encoded(&[]), false)], DECOMPRESSION_FAILED),
            (
                "4.5.1: half a prefix",
                &[(0, &encoded(&[0]), false)],
                DECOMPRESSION_FAILED,
            ),
            (
                "4.5.1.1: a count above the full range",
                &[(0, &encoded(&[0xff, 2, 0]), false)],
                DECOMPRESSION_FAILED,
            ),
            (
                "4.5.1.1: a count of zero, not as zero",
                &[(0, &encoded(&[1, 0]), false)],
                DECOMPRESSION_FAILED,
            ),
            (
                "4.5.1.2: a negative Base",
                &[(0, &encoded(&[2, 0x81]), false)],
                DECOMPRESSION_FAILED,
            ),
        ],
    );
    let without = || {
        Connection::server(Config {
            qpack_capacity: 0,
            ..Config::default()
        })
    };
    check(
        without,
        &[(
            "4.5.1.1: a count where no table was allowed",
            &[(0, &encoded(&[2, 0]), false)],
            DECOMPRESSION_FAILED,
        )],
    );
}

#[test]
fn rfc_9297_2_1_datagrams() {
    let mut server = Connection::server(Config {
        datagrams: true,
        ..Config::default()
    });
    for (clause, payload) in [
        ("2.1: no stream", &[][..]),
        ("2.1: a cut stream", &[0x40]),
        ("2.1: a stream beyond all", &[0xff; 8]),
        ("2.1: a stream just beyond all", &[0xd0, 0, 0, 0, 0, 0, 0, 0]),
    ] {
        let error = server.datagram(Bytes::copy_from_slice(payload)).unwrap_err();
        assert_eq!(
            (error.scope, error.code),
            connection_error(Code::DatagramError),
            "{clause}"
        );
    }
}
