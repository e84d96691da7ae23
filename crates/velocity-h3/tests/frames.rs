//! The clauses that name an error code about frames, settings and IDs, one by one, in raw bytes: RFC 9114, sections 5.2
//! and 7; RFC 9218, section 7.2; RFC 9297, section 2.1.

// Also outside of the test functions, a test is allowed to stop.
#![allow(clippy::unwrap_used, clippy::panic)]

mod support;

use support::*;
use velocity_h3::{Code, Config, Connection, Scope};

const SETTINGS_ERROR: Option<(Scope, Code)> = Some((Scope::Connection, Code::SettingsError));

#[test]
fn section_7_1_layout_of_frames() {
    let cut = headers(POST);
    check(
        server,
        &[
            ("7.1: an end within a type", &[(0, &[0x40], true)], FRAME_ERROR),
            ("7.1: an end within a length", &[(0, &[0x01], true)], FRAME_ERROR),
            (
                "7.1: an end within HEADERS",
                &[(0, &cut[..cut.len() - 1], true)],
                FRAME_ERROR,
            ),
            (
                "7.1: an end before DATA's payload",
                &[(0, &join(&[&cut, &[0, 1]]), true)],
                FRAME_ERROR,
            ),
            (
                "7.1: an end within DATA",
                &[(0, &join(&[&cut, &[0, 3, 1]]), true)],
                FRAME_ERROR,
            ),
            (
                "7.1: an end within an unknown frame",
                &[(0, &join(&[&cut, &[0x21, 3, 1]]), true)],
                FRAME_ERROR,
            ),
            (
                "7.1: GOAWAY too short",
                &[(2, &control(&frame(GOAWAY, &[])), false)],
                FRAME_ERROR,
            ),
            (
                "7.1: GOAWAY cut",
                &[(2, &control(&frame(GOAWAY, &[0x40])), false)],
                FRAME_ERROR,
            ),
            (
                "7.1: GOAWAY too long",
                &[(2, &control(&frame(GOAWAY, &[0, 0])), false)],
                FRAME_ERROR,
            ),
            (
                "7.1: GOAWAY far too long",
                &[(2, &control(&[7, 0x80, 1, 0, 0]), false)],
                FRAME_ERROR,
            ),
            (
                "7.1: MAX_PUSH_ID too long",
                &[(2, &control(&frame(MAX_PUSH_ID, &[0, 0])), false)],
                FRAME_ERROR,
            ),
            (
                "7.1: CANCEL_PUSH too short",
                &[(2, &control(&frame(CANCEL_PUSH, &[])), false)],
                FRAME_ERROR,
            ),
            (
                "7.1: SETTINGS cut",
                &[(2, &join(&[&[0], &frame(SETTINGS, &[6])]), false)],
                FRAME_ERROR,
            ),
            (
                "7.1: PRIORITY_UPDATE too short",
                &[(2, &control(&frame(PRIORITY_UPDATE, &[0x40])), false)],
                FRAME_ERROR,
            ),
        ],
    );
}

#[test]
fn section_7_2_frames_on_the_wrong_stream() {
    for (kind, payload) in [
        (CANCEL_PUSH, &[0][..]),
        (SETTINGS, &[]),
        (GOAWAY, &[0]),
        (MAX_PUSH_ID, &[0]),
        (PRIORITY_UPDATE, b"\0u=1"),
        (PRIORITY_UPDATE_PUSH, b"\0u=1"),
    ] {
        let wrong = frame(kind, payload);
        let clause = format!("7.2: {kind:#x} on a request stream");
        check(server, &[(&clause, &[(0, &wrong, false)], FRAME_UNEXPECTED)]);
        check(
            server,
            &[(
                &clause,
                &[(0, &headers(CONNECT), false), (0, &wrong, false)],
                FRAME_UNEXPECTED,
            )],
        );
        check(get_client, &[(&clause, &[(0, &wrong, false)], FRAME_UNEXPECTED)]);
    }
    for kind in [DATA, HEADERS, PUSH_PROMISE] {
        let clause = format!("7.2: {kind:#x} on the control stream");
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
    // Section 7.2.8: frames of HTTP/2.
    for kind in [0x2, 0x6, 0x8, 0x9] {
        let clause = format!("7.2.8: {kind:#x}");
        let wrong = frame(kind, &[0, 0]);
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
                    &[(2, &control(&[]), false), (2, &wrong, false)],
                    FRAME_UNEXPECTED,
                ),
            ],
        );
    }
    // Section 9: unknown frames, however long, mean nothing.
    check(
        server,
        &[(
            "9: unknown frames",
            &[(
                2,
                &control(&join(&[&frame(GREASE, &[1; 5000]), &frame(0xc, &[])])),
                false,
            )],
            None,
        )],
    );
}

#[test]
fn section_7_2_pushes_and_goaway() {
    let goaway = |id| control(&frame(GOAWAY, &number(id)));
    let max_push = |ids: &[u64]| {
        control(
            &ids.iter()
                .flat_map(|id| frame(MAX_PUSH_ID, &number(*id)))
                .collect::<Vec<_>>(),
        )
    };
    check(
        server,
        &[
            (
                "7.2.3: CANCEL_PUSH of what was not promised",
                &[(2, &control(&frame(CANCEL_PUSH, &[0])), false)],
                ID_ERROR,
            ),
            (
                "7.2.3: CANCEL_PUSH of what was allowed and not promised",
                &[(2, &max_push(&[5]), false), (2, &frame(CANCEL_PUSH, &[0]), false)],
                ID_ERROR,
            ),
            ("7.2.7: MAX_PUSH_ID rises", &[(2, &max_push(&[0, 0, 7]), false)], None),
            ("7.2.7: MAX_PUSH_ID falls", &[(2, &max_push(&[7, 6]), false)], ID_ERROR),
            (
                "5.2: GOAWAY with any push ID",
                &[(2, &goaway(7), false), (2, &frame(GOAWAY, &[6]), false)],
                None,
            ),
            (
                "5.2: GOAWAY rises",
                &[(2, &goaway(7), false), (2, &frame(GOAWAY, &[8]), false)],
                ID_ERROR,
            ),
        ],
    );
    check(
        get_client,
        &[
            (
                "7.2.3: CANCEL_PUSH of what is not allowed",
                &[(3, &control(&frame(CANCEL_PUSH, &[0])), false)],
                ID_ERROR,
            ),
            (
                "7.2.7: MAX_PUSH_ID of a server",
                &[(3, &control(&frame(MAX_PUSH_ID, &[0])), false)],
                FRAME_UNEXPECTED,
            ),
            (
                "7.2.6: GOAWAY with a request",
                &[(3, &goaway(8), false), (3, &frame(GOAWAY, &[8]), false)],
                None,
            ),
            (
                "7.2.6: GOAWAY with a stream of the server",
                &[(3, &goaway(1), false)],
                ID_ERROR,
            ),
            (
                "7.2.6: GOAWAY with a unidirectional stream",
                &[(3, &goaway(2), false)],
                ID_ERROR,
            ),
            (
                "5.2: GOAWAY rises",
                &[(3, &goaway(8), false), (3, &frame(GOAWAY, &[12]), false)],
                ID_ERROR,
            ),
            (
                "RFC 9218 7.2: PRIORITY_UPDATE of a server",
                &[(3, &control(&frame(PRIORITY_UPDATE, b"\0u=1")), false)],
                FRAME_UNEXPECTED,
            ),
            (
                "RFC 9218 7.2: the same for pushes",
                &[(3, &control(&frame(PRIORITY_UPDATE_PUSH, b"\0u=1")), false)],
                FRAME_UNEXPECTED,
            ),
        ],
    );
    check(
        server,
        &[
            (
                "RFC 9218 7.2: not a request",
                &[(2, &control(&frame(PRIORITY_UPDATE, b"\x02u=1")), false)],
                ID_ERROR,
            ),
            (
                "RFC 9218 7.2: not a push",
                &[(2, &control(&frame(PRIORITY_UPDATE_PUSH, b"\0u=1")), false)],
                ID_ERROR,
            ),
        ],
    );
}

#[test]
fn section_7_2_4_settings() {
    let start = |pairs: &[(u64, u64)]| join(&[&[0], &settings(pairs)]);
    let all = start(&[
        (1, 4096),
        (6, 1 << 20),
        (7, 100),
        (8, 1),
        (0x33, 1),
        (GREASE, 5),
        (0x2b60_3742, 1),
    ]);
    check(
        server,
        &[
            ("7.2.4: settings known and unknown", &[(2, &all, false)], None),
            (
                "7.2.4: SETTINGS twice",
                &[(2, &all, false), (2, &settings(&[]), false)],
                FRAME_UNEXPECTED,
            ),
            (
                "7.2.4: a setting twice",
                &[(2, &start(&[(6, 1), (7, 1), (6, 1)]), false)],
                SETTINGS_ERROR,
            ),
            (
                "7.2.4: an unknown setting twice",
                &[(2, &start(&[(GREASE, 1), (GREASE, 1)]), false)],
                SETTINGS_ERROR,
            ),
            (
                "7.2.4.1: a setting of HTTP/2",
                &[(2, &start(&[(2, 0)]), false)],
                SETTINGS_ERROR,
            ),
            (
                "7.2.4.1: a setting of HTTP/2",
                &[(2, &start(&[(3, 100)]), false)],
                SETTINGS_ERROR,
            ),
            (
                "7.2.4.1: a setting of HTTP/2",
                &[(2, &start(&[(4, 65535)]), false)],
                SETTINGS_ERROR,
            ),
            (
                "7.2.4.1: a setting of HTTP/2",
                &[(2, &start(&[(5, 16384)]), false)],
                SETTINGS_ERROR,
            ),
            (
                "RFC 9220 3: not a switch",
                &[(2, &start(&[(8, 2)]), false)],
                SETTINGS_ERROR,
            ),
            (
                "RFC 9297 2.1.1: not a switch",
                &[(2, &start(&[(0x33, 2)]), false)],
                SETTINGS_ERROR,
            ),
            (
                "10.5: far too many settings",
                &[(2, &join(&[&[0, 4], &number(4097)]), false)],
                Some((Scope::Connection, Code::ExcessiveLoad)),
            ),
        ],
    );
}

#[test]
fn rfc_9297_2_1_datagrams() {
    let mut server = Connection::server(Config {
        datagrams: true,
        ..Config::default()
    });
    for payload in [
        &[][..],
        &[0x40],
        &[0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff],
        &[0xd0, 0, 0, 0, 0, 0, 0, 0],
    ] {
        let error = server.datagram(payload.to_vec().into()).unwrap_err();
        assert_eq!(
            (error.scope, error.code),
            connection_error(Code::DatagramError),
            "{payload:?}"
        );
    }
}
