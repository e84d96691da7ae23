//! The clauses that name an error code about sequences of frames and kinds of streams, one by one, in raw bytes: RFC
//! 9114, sections 4.1, 4.4 and 6; RFC 9204, sections 4.2 and 6.

// Also outside of the test functions, a test is allowed to stop.
#![allow(clippy::unwrap_used, clippy::panic)]

mod support;

use support::*;
use velocity_h3::{Code, Scope};

const STREAM_CREATION_ERROR: Option<(Scope, Code)> = Some((Scope::Connection, Code::StreamCreationError));
const CLOSED_CRITICAL_STREAM: Option<(Scope, Code)> = Some((Scope::Connection, Code::ClosedCriticalStream));
const MISSING_SETTINGS: Option<(Scope, Code)> = Some((Scope::Connection, Code::MissingSettings));

#[test]
fn section_4_1_sequences_of_frames() {
    let (get, post, trailers, ok) = (headers(GET), headers(POST), headers(&[("x", "y")]), headers(OK));
    let whole = join(&[&post, &data(b"abc"), &data(b""), &trailers]);
    let grease = frame(GREASE, b"anything");
    check(
        server,
        &[
            ("a whole request", &[(0, &whole, true)], None),
            ("4.1: DATA before HEADERS", &[(0, &data(b"x"), false)], FRAME_UNEXPECTED),
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
            (
                "4.1: unknown frames anywhere",
                &[(
                    0,
                    &join(&[&grease, &post, &grease, &data(b"x"), &grease, &trailers, &grease]),
                    true,
                )],
                None,
            ),
            (
                "4.1: no request at all",
                &[(0, &[], true)],
                Some((Scope::Stream(0), Code::RequestIncomplete)),
            ),
            (
                "4.1: nothing but an unknown frame",
                &[(8, &grease, true)],
                Some((Scope::Stream(8), Code::RequestIncomplete)),
            ),
            (
                "4.4: HEADERS within CONNECT",
                &[(0, &headers(CONNECT), false), (0, &trailers, false)],
                FRAME_UNEXPECTED,
            ),
            (
                "4.4: DATA within CONNECT",
                &[(0, &join(&[&headers(CONNECT), &data(b"x")]), true)],
                None,
            ),
            (
                "7.2.5: PUSH_PROMISE of a client",
                &[(0, &get, false), (0, &frame(PUSH_PROMISE, &[0]), false)],
                FRAME_UNEXPECTED,
            ),
        ],
    );
    check(
        get_client,
        &[
            (
                "a whole response",
                &[(0, &join(&[&ok, &data(b"abc"), &trailers]), true)],
                None,
            ),
            ("4.1: DATA before HEADERS", &[(0, &data(b"x"), false)], FRAME_UNEXPECTED),
            (
                "4.1: DATA after an interim response",
                &[(0, &headers(&[(":status", "103")]), false), (0, &data(b"x"), false)],
                FRAME_UNEXPECTED,
            ),
            (
                "4.1: HEADERS after trailers",
                &[(0, &join(&[&ok, &trailers]), false), (0, &trailers, false)],
                FRAME_UNEXPECTED,
            ),
            (
                "7.2.5: PUSH_PROMISE that was not allowed",
                &[(0, &frame(PUSH_PROMISE, &[0]), false)],
                ID_ERROR,
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
                &[(
                    0,
                    &join(&[&headers(&[(":status", "407")]), &data(b"x"), &trailers]),
                    true,
                )],
                None,
            ),
        ],
    );
}

#[test]
fn section_6_streams() {
    let start = control(&[]);
    check(
        server,
        &[
            (
                "6.2: a stream of unknown type",
                &[(2, &[0x21, 1, 2], false)],
                Some((Scope::Stream(2), Code::StreamCreationError)),
            ),
            (
                "6.2: a stream that ends before its type",
                &[(2, &[0x40], true), (6, &[], true), (2, &start, false)],
                None,
            ),
            (
                "6.2.1: no SETTINGS first",
                &[(2, &join(&[&[0], &frame(GOAWAY, &[0])]), false)],
                MISSING_SETTINGS,
            ),
            (
                "6.2.1: an unknown frame first",
                &[(2, &join(&[&[0], &frame(GREASE, &[])]), false)],
                MISSING_SETTINGS,
            ),
            (
                "6.2.1: DATA first",
                &[(2, &join(&[&[0], &data(b"")]), false)],
                MISSING_SETTINGS,
            ),
            (
                "6.2.1: a second control stream",
                &[(2, &start, false), (6, &[0], false)],
                STREAM_CREATION_ERROR,
            ),
            (
                "6.2.1: the control stream ends",
                &[(2, &start, true)],
                CLOSED_CRITICAL_STREAM,
            ),
            (
                "6.2.2: a push stream of a client",
                &[(2, &[1], false)],
                STREAM_CREATION_ERROR,
            ),
            (
                "RFC 9204 4.2: a second encoder stream",
                &[(2, &[2], false), (6, &[2], false)],
                STREAM_CREATION_ERROR,
            ),
            (
                "RFC 9204 4.2: a second decoder stream",
                &[(2, &[3], false), (6, &[3], false)],
                STREAM_CREATION_ERROR,
            ),
            (
                "RFC 9204 4.2: the encoder stream ends",
                &[(2, &[2], true)],
                CLOSED_CRITICAL_STREAM,
            ),
            (
                "RFC 9204 4.2: the decoder stream ends",
                &[(2, &[3], false), (2, &[], true)],
                CLOSED_CRITICAL_STREAM,
            ),
            (
                "RFC 9204 6: an encoder stream that is wrong",
                &[(
                    2,
                    &[2, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff],
                    false,
                )],
                Some((Scope::Connection, Code::QpackEncoderStreamError)),
            ),
            (
                "RFC 9204 6: a decoder stream that is wrong",
                &[(2, &[3, 0x00], false)],
                Some((Scope::Connection, Code::QpackDecoderStreamError)),
            ),
            (
                "RFC 9204 6: a section that is wrong",
                &[(0, &frame(HEADERS, &[0, 0, 0xff, 0xff]), false)],
                Some((Scope::Connection, Code::QpackDecompressionFailed)),
            ),
            (
                "RFC 9204 4.5.1: a section without a prefix",
                &[(0, &frame(HEADERS, &[]), false)],
                Some((Scope::Connection, Code::QpackDecompressionFailed)),
            ),
        ],
    );
    check(
        get_client,
        &[
            (
                "6.1: a bidirectional stream of the server",
                &[(1, &[], false)],
                STREAM_CREATION_ERROR,
            ),
            (
                "6.2.2: a push stream that was not allowed",
                &[(3, &[1, 0], false)],
                ID_ERROR,
            ),
            (
                "6.2.1: no SETTINGS first",
                &[(3, &join(&[&[0], &frame(GOAWAY, &[0])]), false)],
                MISSING_SETTINGS,
            ),
            (
                "6.2.1: the control stream ends",
                &[(3, &control(&[]), true)],
                CLOSED_CRITICAL_STREAM,
            ),
        ],
    );
}

#[test]
fn section_6_2_1_critical_streams_are_reset_or_stopped() {
    for (kind, start) in [control(&[]), vec![2], vec![3]].iter().enumerate() {
        let mut server = server();
        receive(&mut server, 2, start, false).unwrap();
        let error = server.reset(2, 0x100).unwrap_err();
        assert_eq!(
            (error.scope, error.code),
            connection_error(Code::ClosedCriticalStream),
            "{kind}"
        );
    }
    let error = server().stopped(3, 0x100).unwrap_err();
    assert_eq!((error.scope, error.code), connection_error(Code::ClosedCriticalStream));

    // Section 6.2: of any other it does not matter.
    let mut server = server();
    receive(&mut server, 6, &[0x40], false).unwrap();
    assert_eq!(server.reset(6, 0x100), Ok(()));
    assert_eq!(server.reset(10, 0x100), Ok(()));
}
