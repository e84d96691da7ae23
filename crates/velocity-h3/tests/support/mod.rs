//! What the tests share: raw frames and sections, and a connection that has been handed them.

// Each test uses some of it. And a test may stop, wherever its code is.
#![allow(dead_code, clippy::unwrap_used, clippy::panic)]

use bytes::{Bytes, BytesMut};
use velocity_h3::qpack::{Line, STATIC_PREFIX, encode_lines};
use velocity_h3::{Code, Config, Connection, Error, Event, Scope, StreamId, varint};

pub const DATA: u64 = 0x0;
pub const HEADERS: u64 = 0x1;
pub const CANCEL_PUSH: u64 = 0x3;
pub const SETTINGS: u64 = 0x4;
pub const PUSH_PROMISE: u64 = 0x5;
pub const GOAWAY: u64 = 0x7;
pub const MAX_PUSH_ID: u64 = 0xd;
pub const PRIORITY_UPDATE: u64 = 0xf0700;
pub const PRIORITY_UPDATE_PUSH: u64 = 0xf0701;
pub const GREASE: u64 = 0x21 + 0x1f * 7;

/// The first unidirectional stream of the client, and of the server.
pub const OF_CLIENT: StreamId = 2;
pub const OF_SERVER: StreamId = 3;

pub type Fields<'a> = &'a [(&'a str, &'a str)];

pub const GET: Fields<'static> = &[
    (":method", "GET"),
    (":scheme", "https"),
    (":authority", "example.org"),
    (":path", "/"),
];
pub const POST: Fields<'static> = &[
    (":method", "POST"),
    (":scheme", "https"),
    (":authority", "example.org"),
    (":path", "/"),
];
pub const CONNECT: Fields<'static> = &[(":method", "CONNECT"), (":authority", "example.org:443")];
pub const OK: Fields<'static> = &[(":status", "200")];

pub fn number(number: u64) -> Vec<u8> {
    let mut out = Vec::new();
    varint::encode(number, &mut out);
    out
}

pub fn join(parts: &[&[u8]]) -> Vec<u8> {
    parts.concat()
}

pub fn frame(kind: u64, payload: &[u8]) -> Vec<u8> {
    join(&[&number(kind), &number(payload.len() as u64), payload])
}

pub fn section(fields: Fields<'_>) -> Vec<u8> {
    let lines = fields.iter().map(|(name, value)| Line {
        name: name.as_bytes(),
        value: value.as_bytes(),
        sensitive: false,
    });
    let mut out = BytesMut::from(&STATIC_PREFIX[..]);
    encode_lines(lines, &mut out);
    out.to_vec()
}

pub fn headers(fields: Fields<'_>) -> Vec<u8> {
    frame(HEADERS, &section(fields))
}

pub fn data(payload: &[u8]) -> Vec<u8> {
    frame(DATA, payload)
}

pub fn settings(pairs: &[(u64, u64)]) -> Vec<u8> {
    let payload: Vec<u8> = pairs
        .iter()
        .flat_map(|(id, value)| [number(*id), number(*value)].concat())
        .collect();
    frame(SETTINGS, &payload)
}

/// A control stream: its type, SETTINGS, and what is to follow.
pub fn control(rest: &[u8]) -> Vec<u8> {
    join(&[&[0x00], &settings(&[]), rest])
}

pub fn connection_error(code: Code) -> (Scope, Code) {
    (Scope::Connection, code)
}

/// Hand in, and collect the events.
pub fn receive(connection: &mut Connection, stream: StreamId, bytes: &[u8], fin: bool) -> Result<Vec<Event>, Error> {
    connection.receive(stream, Bytes::copy_from_slice(bytes), fin)?;
    Ok(events(connection))
}

pub fn events(connection: &mut Connection) -> Vec<Event> {
    std::iter::from_fn(|| connection.poll_event()).collect()
}

/// What a connection is given: the type of stream is known by its number.
pub type Steps<'a> = &'a [(StreamId, &'a [u8], bool)];

/// The error that the last step ends with; the steps before it are fine. With `cut`, every step is handed in in pieces
/// of that many bytes, and only the end counts.
pub fn outcome(mut connection: Connection, steps: Steps<'_>, cut: usize) -> Option<(Scope, Code)> {
    for (n, (stream, bytes, fin)) in steps.iter().enumerate() {
        let pieces: Vec<&[u8]> = if bytes.is_empty() {
            vec![&[]]
        } else {
            bytes.chunks(cut).collect()
        };
        for (at, piece) in pieces.iter().enumerate() {
            let fin = *fin && at + 1 == pieces.len();
            if let Err(error) = receive(&mut connection, *stream, piece, fin) {
                assert_eq!(n + 1, steps.len(), "an earlier step failed: {error}");
                return Some((error.scope, error.code));
            }
        }
    }
    None
}

pub fn server() -> Connection {
    Connection::server(Config::default())
}

/// A client with a request on stream 0.
pub fn client(method: &str) -> Connection {
    let mut client = Connection::client(Config::default());
    open(&mut client, 0, method);
    client
}

pub fn open(client: &mut Connection, stream: StreamId, method: &str) {
    let uri = if method == "CONNECT" {
        "example.org:443"
    } else {
        "https://example.org/"
    };
    let head = http::Request::builder().method(method).uri(uri).body(()).unwrap();
    client.open_request(stream, &head, None, &mut BytesMut::new()).unwrap();
}

/// A case: the clause, what is handed in, and the error that the last of it ends with.
pub type Case<'a> = (&'a str, Steps<'a>, Option<(Scope, Code)>);

/// Each case whole, and byte by byte.
#[track_caller]
pub fn check(side: fn() -> Connection, cases: &[Case<'_>]) {
    for (clause, steps, wanted) in cases {
        for cut in [usize::MAX, 1, 3] {
            assert_eq!(outcome(side(), steps, cut), *wanted, "{clause}, in pieces of {cut}");
        }
    }
}

pub fn get_client() -> Connection {
    client("GET")
}

pub fn connect_client() -> Connection {
    client("CONNECT")
}

pub const FRAME_UNEXPECTED: Option<(Scope, Code)> = Some((Scope::Connection, Code::FrameUnexpected));
pub const FRAME_ERROR: Option<(Scope, Code)> = Some((Scope::Connection, Code::FrameError));
pub const ID_ERROR: Option<(Scope, Code)> = Some((Scope::Connection, Code::IdError));
