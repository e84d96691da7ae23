//! Whatever bytes come, on whatever stream and however cut: no panic, and nothing held beyond the limits.

// Also outside of the test functions, a test is allowed to stop.
#![allow(clippy::unwrap_used, clippy::panic)]

mod support;

use std::sync::Arc;

use bytes::Bytes;
use proptest::collection::vec;
use proptest::prelude::*;
use support::*;
use velocity_h3::{Config, Connection, Event, Scope};

/// Something that may happen.
#[derive(Clone, Debug)]
enum Step {
    Receive(u64, Vec<u8>, bool),
    Reset(u64, u64),
    Stopped(u64, u64),
    Datagram(Vec<u8>),
    Finished(u64),
    Abandon(u64),
}

/// Bytes that are nearly right get further than bytes that are not.
fn bytes() -> impl Strategy<Value = Vec<u8>> {
    let kind = prop_oneof![
        0u64..0x10,
        Just(PRIORITY_UPDATE),
        Just(PRIORITY_UPDATE_PUSH),
        Just(GREASE),
        any::<u32>().prop_map(u64::from)
    ];
    let field = prop_oneof![
        Just((":method", "GET")),
        Just((":scheme", "https")),
        Just((":authority", "a")),
        Just((":path", "/")),
        Just((":status", "200")),
        Just((":status", "103")),
        Just(("cookie", "a")),
        Just(("content-length", "3")),
        Just(("x", "y")),
    ];
    prop_oneof![
        vec(any::<u8>(), 0..40),
        (kind, vec(any::<u8>(), 0..20)).prop_map(|(kind, payload)| frame(kind, &payload)),
        vec(field, 0..6).prop_map(|fields| headers(&fields)),
        Just(headers(GET)),
        Just(headers(OK)),
        Just(control(&[])),
        // Sections with dynamic references, and an encoder stream with insertions.
        vec(any::<u8>(), 0..10).prop_map(|rest| frame(HEADERS, &[&[2, 0x80][..], &rest].concat())),
        Just(vec![2, 0x3f, 0xe1, 0x1f, 0x41, b'a', 1, b'b']),
        Just(vec![3]),
    ]
}

fn step() -> impl Strategy<Value = Step> {
    let stream = || prop_oneof![4 => 0u64..24, 1 => any::<u64>().prop_map(|id| id >> 2)];
    prop_oneof![
        12 => (stream(), vec(bytes(), 0..4), proptest::bool::weighted(0.1))
            .prop_map(|(stream, parts, fin)| Step::Receive(stream, parts.concat(), fin)),
        1 => (stream(), any::<u64>()).prop_map(|(stream, code)| Step::Reset(stream, code)),
        1 => (stream(), any::<u64>()).prop_map(|(stream, code)| Step::Stopped(stream, code)),
        1 => vec(any::<u8>(), 0..12).prop_map(Step::Datagram),
        1 => stream().prop_map(Step::Finished),
        1 => stream().prop_map(Step::Abandon),
    ]
}

/// Take the steps until the connection is over. Of the content of DATA, never more comes out than went in.
fn survive(mut connection: Connection, steps: Vec<Step>) {
    let (mut handed_in, mut told) = (0, 0);
    for step in steps {
        let outcome = match step {
            Step::Receive(stream, data, fin) => {
                handed_in += data.len();
                connection.receive(stream, data.into(), fin)
            }
            Step::Reset(stream, code) => connection.reset(stream, code),
            Step::Stopped(stream, code) => connection.stopped(stream, code),
            Step::Datagram(data) => {
                handed_in += data.len();
                connection.datagram(data.into())
            }
            Step::Finished(stream) => {
                connection.finished(stream);
                Ok(())
            }
            Step::Abandon(stream) => {
                connection.abandon(stream);
                Ok(())
            }
        };
        while let Some(event) = connection.poll_event() {
            if let Event::Data { data, .. } | Event::Datagram { data, .. } = event {
                told += data.len();
            }
        }
        while connection.poll_transmit().is_some() {}
        assert!(told <= handed_in);
        if outcome.is_err_and(|error| error.scope == Scope::Connection) {
            return;
        }
    }
}

fn config() -> Config {
    Config {
        connect_protocol: true,
        datagrams: true,
        webtransport_sessions: 4,
        extensions: vec![0x21],
        ..Config::default()
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(300))]

    #[test]
    fn on_a_server(steps in vec(step(), 0..30)) {
        survive(Connection::server(config()), steps);
    }

    #[test]
    fn on_a_client(steps in vec(step(), 0..30)) {
        let mut client = Connection::client(config());
        for (stream, method) in [(0, "GET"), (4, "HEAD"), (8, "CONNECT"), (12, "POST")] {
            open(&mut client, stream, method);
        }
        survive(client, steps);
    }
}

/// A chunk that can be seen to live on.
struct Watched {
    bytes: Vec<u8>,
    _alive: Arc<()>,
}

impl AsRef<[u8]> for Watched {
    fn as_ref(&self) -> &[u8] {
        &self.bytes
    }
}

#[test]
fn nothing_is_held_that_is_not_needed() {
    let alive = Arc::new(());
    let watched = |bytes: Vec<u8>| {
        Bytes::from_owner(Watched {
            bytes,
            _alive: alive.clone(),
        })
    };
    let mut server = support::server();
    // A long frame of unknown type, a section in pieces, and a section that is too large: none keeps its chunks.
    for chunk in [
        join(&[&number(GREASE), &number(1 << 40), &[0; 60_000]]),
        vec![0; 60_000],
    ] {
        server.receive(0, watched(chunk), false).unwrap();
    }
    server
        .receive(4, watched(join(&[&[1], &number(60_000), &[0; 30_000]])), false)
        .unwrap();
    server
        .receive(8, watched(join(&[&[1], &number(1 << 20), &[0; 60_000]])), false)
        .unwrap();
    server.receive(8, watched(vec![0; 60_000]), false).unwrap();
    // A control stream with a long frame, and SETTINGS in pieces.
    server
        .receive(
            2,
            watched(control(&join(&[&number(GREASE), &number(1 << 40), &[0; 60_000]]))),
            false,
        )
        .unwrap();
    while server.poll_event().is_some() {}
    assert_eq!(Arc::strong_count(&alive), 1);

    // While blocked, one chunk is held, and what should not have come only up to a limit.
    let blocked = join(&[&frame(HEADERS, &[2, 0x80, 0x80]), &data(&[0; 100])]);
    server.receive(12, watched(blocked), false).unwrap();
    assert!(!server.wants_data(12));
    assert_eq!(Arc::strong_count(&alive), 2);
    let mut failed = false;
    for _ in 0..100 {
        failed |= server.receive(12, watched(vec![0; 1000]), false).is_err();
        if failed {
            break;
        }
    }
    assert!(failed);
    assert_eq!(Arc::strong_count(&alive), 1);
}

#[test]
fn what_waits_behind_a_blocked_section_is_looked_at_afterwards() {
    let inserted: &[u8] = &[2, 0x3f, 0xe1, 0x1f, 0x41, b'a', 1, b'b'];
    let head = |more: &[u8]| frame(HEADERS, &join(&[&[2, 0x80], &section(GET)[2..], more]));
    // A dynamic reference to the one entry, and something behind the section.
    let told = |wire: &[u8], fin| {
        let mut server = support::server();
        assert!(receive(&mut server, 0, wire, fin).unwrap().is_empty());
        assert!(!server.wants_data(0));
        let outcome = server.receive(6, Bytes::from_static(inserted), false);
        assert!(server.wants_data(0));
        outcome.map(|()| events(&mut server))
    };
    let whole = told(&join(&[&head(&[0x10]), &data(b"x")]), true).unwrap();
    let [
        Event::Request {
            head: request,
            end: false,
            ..
        },
        Event::Data { .. },
        Event::End { .. },
        Event::Unblocked { .. },
    ] = &whole[..]
    else {
        panic!("{whole:?}")
    };
    assert_eq!(request.headers()["a"], "b");
    let only = told(&head(&[0x10]), true).unwrap();
    assert!(
        matches!(
            only[..],
            [Event::Request { end: true, .. }, Event::Unblocked { stream: 0 }]
        ),
        "{only:?}"
    );
    let part = told(&join(&[&head(&[0x10]), &[0, 2, 3]]), false).unwrap();
    assert!(
        matches!(
            part[..],
            [Event::Request { .. }, Event::Data { .. }, Event::Unblocked { .. }]
        ),
        "{part:?}"
    );
    let error = told(&join(&[&head(&[0x10]), &frame(SETTINGS, &[])]), false).unwrap_err();
    assert_eq!(
        (error.scope, error.code),
        connection_error(velocity_h3::Code::FrameUnexpected)
    );

    // A message that turns out malformed is an event, and the others go on.
    let mut server = support::server();
    let malformed = frame(HEADERS, &[2, 0x80, 0x10]);
    for (stream, wire) in [(0, &malformed), (4, &head(&[0x10])), (8, &malformed)] {
        receive(&mut server, stream, wire, true).unwrap();
    }
    let told = receive(&mut server, 6, inserted, false).unwrap();
    let failed = told
        .iter()
        .filter(|event| matches!(event, Event::Failed(error) if matches!(error.scope, Scope::Stream(0 | 8))));
    assert_eq!((failed.count(), told.len()), (2, 4), "{told:?}");
}
