//! A client and a server against each other, over a network that cuts and reorders as QUIC may.
//!
//! Exchanges are made up, carried out, and looked at from both ends: what one side said is what the other was told,
//! whatever the pieces, whichever stream was faster, with and without the dynamic table of QPACK.

// Also outside of the test functions, a test is allowed to stop.
#![allow(clippy::unwrap_used, clippy::panic)]

mod support;

use std::collections::{BTreeMap, BTreeSet, HashSet};

use bytes::{Bytes, BytesMut};
use http::{HeaderMap, Request, Response};
use proptest::collection::vec;
use proptest::prelude::*;
use velocity_h3::{Code, Config, Connection, Error, Event, Scope, StreamId};

const CANCELLED: u64 = Code::RequestCancelled.value();
const REJECTED: u64 = Code::RequestRejected.value();

/// Header fields, content in pieces, trailers.
#[derive(Clone, Debug)]
struct Message {
    fields: HeaderMap,
    content: Vec<Vec<u8>>,
    trailers: Option<HeaderMap>,
}

#[derive(Clone, Debug)]
struct Exchange {
    request: Message,
    response: Message,
    interim: usize,
    /// After how many bytes of its request the client gives up.
    reset: Option<usize>,
}

/// What one end was told of a message.
#[derive(Debug, Default, PartialEq)]
struct Told {
    fields: Option<HeaderMap>,
    interim: usize,
    content: Vec<u8>,
    trailers: Option<HeaderMap>,
    ended: bool,
    reset: Option<u64>,
}

impl Told {
    fn of(message: &Message, interim: usize) -> Self {
        Self {
            fields: Some(message.fields.clone()),
            interim,
            content: message.content.concat(),
            trailers: message.trailers.clone(),
            ended: true,
            reset: None,
        }
    }
}

/// One direction of one stream on the network.
#[derive(Default)]
struct Pipe {
    bytes: Vec<u8>,
    at: usize,
    fin: bool,
    reset: Option<u64>,
    done: bool,
}

/// One end, and what is on its way to it.
struct End {
    connection: Connection,
    pipes: BTreeMap<StreamId, Pipe>,
    told: BTreeMap<StreamId, Told>,
}

impl End {
    fn new(connection: Connection) -> Self {
        Self {
            connection,
            pipes: BTreeMap::new(),
            told: BTreeMap::new(),
        }
    }

    fn pipe(&mut self, stream: StreamId) -> &mut Pipe {
        self.pipes.entry(stream).or_default()
    }

    /// Streams that something can be delivered of.
    fn ready(&self) -> Vec<StreamId> {
        let ready = |(stream, pipe): (&StreamId, &Pipe)| {
            let something = pipe.at < pipe.bytes.len() || pipe.fin || pipe.reset.is_some();
            (!pipe.done && something && self.connection.wants_data(*stream)).then_some(*stream)
        };
        self.pipes.iter().filter_map(ready).collect()
    }

    /// Deliver up to `len` bytes of a stream.
    fn deliver(&mut self, stream: StreamId, len: usize) -> Result<(), Error> {
        let Some(pipe) = self.pipes.get_mut(&stream) else {
            return Ok(());
        };
        let piece = &pipe.bytes[pipe.at..pipe.bytes.len().min(pipe.at + len)];
        pipe.at += piece.len();
        let all = pipe.at == pipe.bytes.len();
        if let (true, Some(code)) = (all, pipe.reset) {
            pipe.done = true;
            return self.connection.reset(stream, code);
        }
        pipe.done = all && pipe.fin;
        self.connection
            .receive(stream, Bytes::copy_from_slice(piece), pipe.done)
    }

    fn tell(&mut self, event: Event) {
        let Some(stream) = event.stream() else { return };
        let told = self.told.entry(stream).or_default();
        assert!(
            !told.ended && told.reset.is_none() || matches!(event, Event::Unblocked { .. }),
            "late: {event:?}"
        );
        match event {
            Event::Request { head, end, .. } => {
                assert_eq!(head.uri().to_string(), format!("https://example.org/{stream}"));
                told.fields = Some(head.headers().clone());
                told.ended = end;
            }
            Event::Response { head, end, .. } if head.status() != 103 => {
                told.fields = Some(head.headers().clone());
                told.ended = end;
            }
            Event::Response { .. } => told.interim += 1,
            Event::Data { data, .. } => told.content.extend_from_slice(&data),
            Event::Trailers { fields, .. } => told.trailers = Some(fields),
            Event::End { .. } => told.ended = true,
            Event::Reset { code, .. } => told.reset = Some(code),
            Event::Unblocked { .. } => {}
            other => panic!("{other:?}"),
        }
    }
}

struct Pair {
    client: End,
    server: End,
    exchanges: Vec<Exchange>,
    answered: HashSet<StreamId>,
    blocked: usize,
}

impl Pair {
    fn new(exchanges: Vec<Exchange>, server: Config, client: Config) -> Self {
        let (server, client) = (
            End::new(Connection::server(server)),
            End::new(Connection::client(client)),
        );
        Self {
            client,
            server,
            exchanges,
            answered: HashSet::new(),
            blocked: 0,
        }
    }

    fn exchange(&self, stream: StreamId) -> &Exchange {
        &self.exchanges[(stream / 4) as usize]
    }

    fn open(&mut self, stream: StreamId) {
        let Exchange { request, reset, .. } = self.exchange(stream).clone();
        let mut out = BytesMut::new();
        let mut head = Request::post(format!("https://example.org/{stream}")).body(()).unwrap();
        *head.headers_mut() = request.fields.clone();
        self.client.told.entry(stream).or_default();
        if let Err(error) = self.client.connection.open_request(stream, &head, None, &mut out) {
            assert_eq!(
                (error.scope, error.code),
                (Scope::Stream(stream), Code::RequestRejected)
            );
            self.client.told.entry(stream).or_default().reset = Some(REJECTED);
            return;
        }
        rest(&mut self.client.connection, stream, &request, &mut out);
        let pipe = self.server.pipe(stream);
        match reset {
            Some(len) => {
                out.truncate(len);
                pipe.reset = Some(CANCELLED);
                self.client.connection.abandon(stream);
                self.client.told.entry(stream).or_default().reset = Some(CANCELLED);
            }
            None => pipe.fin = true,
        }
        pipe.bytes = out.to_vec();
        self.client.connection.finished(stream);
    }

    fn answer(&mut self, stream: StreamId) {
        let Exchange { response, interim, .. } = self.exchange(stream).clone();
        self.answered.insert(stream);
        let mut out = BytesMut::new();
        for _ in 0..interim {
            let (parts, ()) = Response::builder()
                .status(103)
                .header("link", "</a>")
                .body(())
                .unwrap()
                .into_parts();
            self.server.connection.respond(stream, &parts, &mut out).unwrap();
        }
        let (mut parts, ()) = Response::new(()).into_parts();
        parts.headers = response.fields.clone();
        self.server.connection.respond(stream, &parts, &mut out).unwrap();
        rest(&mut self.server.connection, stream, &response, &mut out);
        let pipe = self.client.pipe(stream);
        (pipe.bytes, pipe.fin) = (out.to_vec(), true);
        self.server.connection.finished(stream);
    }

    /// The server is handed something, and does what it entails.
    fn feed_server(&mut self, stream: StreamId, len: usize) {
        if let Err(error) = self.server.deliver(stream, len) {
            assert_eq!(
                (error.scope, error.code),
                (Scope::Stream(stream), Code::RequestRejected),
                "{error}"
            );
            self.server.pipe(stream).done = true;
            self.client.pipe(stream).reset = Some(REJECTED);
        }
        self.blocked += usize::from(!self.server.connection.wants_data(stream));
        while let Some(event) = self.server.connection.poll_event() {
            let stream = event.stream();
            self.server.tell(event);
            if let Some(stream) = stream
                && self.server.told[&stream].ended
                && !self.answered.contains(&stream)
            {
                self.answer(stream);
            }
        }
    }

    fn feed_client(&mut self, stream: StreamId, len: usize) {
        self.client.deliver(stream, len).unwrap();
        while let Some(event) = self.client.connection.poll_event() {
            self.client.tell(event);
        }
    }

    fn transmit(&mut self) {
        while let Some((uni, bytes)) = self.client.connection.poll_transmit() {
            self.server.pipe(2 + 4 * uni as u64).bytes.extend_from_slice(&bytes);
        }
        while let Some((uni, bytes)) = self.server.connection.poll_transmit() {
            self.client.pipe(3 + 4 * uni as u64).bytes.extend_from_slice(&bytes);
        }
    }

    /// Deliver what there is, in pieces and an order that `schedule` gives, until nothing is left.
    fn run(&mut self, schedule: &[(u16, u8)], goaway: Option<(usize, u64)>) {
        let mut unopened: BTreeSet<StreamId> = (0..self.exchanges.len() as u64).map(|n| n * 4).collect();
        for (step, (choice, len)) in schedule.iter().cycle().enumerate() {
            if let Some((at, id)) = goaway
                && at == step
            {
                self.server.connection.goaway(id * 4).unwrap();
            }
            self.transmit();
            let (to_server, to_client) = (self.server.ready(), self.client.ready());
            let choices = to_server.len() + to_client.len() + unopened.len().min(1);
            if choices == 0 {
                break;
            }
            let choice = usize::from(*choice) % choices;
            // A byte at a time takes its time; it is not all that has to be tried.
            let len = if *len < 16 {
                usize::from(*len).max(1)
            } else {
                usize::from(*len) * 8
            };
            if let Some(stream) = to_server.get(choice) {
                self.feed_server(*stream, len);
            } else if let Some(stream) = to_client.get(choice - to_server.len()) {
                self.feed_client(*stream, len);
            } else if let Some(stream) = unopened.pop_first() {
                self.open(stream);
            }
            assert!(step < 200_000, "nothing comes to an end");
        }
    }

    fn check(&self) {
        for (n, exchange) in self.exchanges.iter().enumerate() {
            let stream = n as u64 * 4;
            let heard = &self.client.told[&stream];
            match (heard.reset, self.server.told.get(&stream)) {
                (Some(REJECTED), told) => assert!(told.is_none(), "{told:?}"),
                (Some(_), told) => {
                    // The server may have seen nothing, or some of it, but never an end.
                    assert!(
                        told.is_none_or(|told| told.reset == Some(CANCELLED) && !told.ended),
                        "{told:?}"
                    );
                }
                (None, told) => {
                    assert_eq!(told, Some(&Told::of(&exchange.request, 0)));
                    assert_eq!(heard, &Told::of(&exchange.response, exchange.interim));
                }
            }
        }
    }
}

/// All of a message after its head.
fn rest(connection: &mut Connection, stream: StreamId, message: &Message, out: &mut BytesMut) {
    for piece in &message.content {
        Connection::data_header(piece.len() as u64, out);
        out.extend_from_slice(piece);
    }
    if let Some(trailers) = &message.trailers {
        connection.trailers(stream, trailers, out);
    }
}

fn fields(max: usize) -> impl Strategy<Value = HeaderMap> {
    // Few names and values, so that they come again and are worth a place in a table.
    let name = prop_oneof![
        Just("x-a"),
        Just("x-b"),
        Just("user-agent"),
        Just("accept"),
        Just("priority")
    ];
    let value = prop_oneof![
        Just(String::new()),
        "[a-d]{1,3}".prop_map(|value| value.repeat(20)),
        "[ -~]{0,40}".prop_map(|value| value.trim().to_owned()),
        Just("z".repeat(2000)),
    ];
    vec((name, value), 0..max).prop_map(|lines| {
        let mut fields = HeaderMap::new();
        for (name, value) in lines {
            fields.append(name, value.parse().unwrap());
        }
        fields
    })
}

fn message() -> impl Strategy<Value = Message> {
    let content = vec(vec(any::<u8>(), 0..300), 0..4);
    (fields(8), content, proptest::option::of(fields(3)), any::<bool>()).prop_map(
        |(mut fields, content, trailers, with_length)| {
            if with_length {
                let length: usize = content.iter().map(Vec::len).sum();
                fields.insert("content-length", length.into());
            }
            Message {
                fields,
                content,
                trailers,
            }
        },
    )
}

fn exchange(resets: bool) -> impl Strategy<Value = Exchange> {
    let reset = proptest::option::weighted(0.3, 0usize..600).prop_map(move |reset| reset.filter(|_| resets));
    (message(), message(), 0usize..3, reset).prop_map(|(request, response, interim, reset)| {
        // A reset is one only if something is missing: see that there is more than is ever delivered.
        let mut request = request;
        if reset.is_some() {
            request.content.push(vec![0; 1000]);
            let length: usize = request.content.iter().map(Vec::len).sum();
            request.fields.insert("content-length", length.into());
        }
        Exchange {
            request,
            response,
            interim,
            reset,
        }
    })
}

fn config(table: u32, blocked: u16) -> Config {
    Config {
        qpack_capacity: table,
        qpack_encoder_capacity: table,
        qpack_blocked_streams: blocked,
        ..Config::default()
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(96))]

    #[test]
    fn what_is_said_is_what_is_told(
        exchanges in vec(exchange(false), 1..8),
        schedule in vec(any::<(u16, u8)>(), 20..200),
        tables in prop_oneof![Just((0, 0)), Just((4096, 0)), Just((4096, 16)), Just((200, 2))],
    ) {
        let mut pair = Pair::new(exchanges, config(tables.0, tables.1), config(tables.0, tables.1));
        pair.run(&schedule, None);
        pair.check();
    }

    #[test]
    fn with_resets_and_goaway(
        exchanges in vec(exchange(true), 1..8),
        schedule in vec(any::<(u16, u8)>(), 20..200),
        tables in prop_oneof![Just((0, 0)), Just((4096, 16)), Just((200, 2))],
        goaway in proptest::option::of((0usize..60, 0u64..8)),
    ) {
        let mut pair = Pair::new(exchanges, config(tables.0, tables.1), config(tables.0, tables.1));
        pair.run(&schedule, goaway);
        pair.check();
    }
}

/// That streams do block here, so that the tests above mean something: requests are delivered first, the encoder
/// stream after them.
#[test]
fn a_blocked_request_goes_on() {
    let mut fields = HeaderMap::new();
    fields.insert("x-a", "worth a place in a table".parse().unwrap());
    let message = Message {
        fields: fields.clone(),
        content: vec![b"content".to_vec()],
        trailers: Some(fields),
    };
    let exchange = Exchange {
        request: message.clone(),
        response: message,
        interim: 1,
        reset: None,
    };
    let mut pair = Pair::new(vec![exchange; 4], config(4096, 16), config(4096, 16));
    // SETTINGS first: without them no table is used.
    pair.transmit();
    pair.feed_client(3, 1000);
    for stream in [0, 4, 8, 12] {
        pair.open(stream);
        for _ in 0..2 {
            pair.feed_server(stream, 20);
        }
    }
    assert!(pair.blocked > 0);
    assert!(pair.server.told.is_empty());
    pair.run(&[(0, 255)], None);
    pair.check();
}
