//! A whole connection against a model of what may be told: any bytes on any stream, resets, stops and datagrams from a
//! peer, and answers, requests and priorities from a driver that keeps to the rules of [`Connection`].
//!
//! The model knows for each stream what was told of it, and so what can follow. What the connection itself sends goes
//! to a well-behaved peer, which must have nothing against it. What it holds is bounded whatever it was sent.

use std::collections::{HashMap, HashSet};

use bytes::{Bytes, BytesMut};
use velocity_h3::{Config, Connection, Error, Event, Priority, Scope, StreamId, Uni};

use crate::ALLOCATOR;
use crate::input::Input;

/// What a connection of 16 request streams may hold beyond what it held at first: a chunk and a section for each of
/// the blocked streams, a section for each of the others, and the tables.
const MOST_HELD: isize = 1 << 20;
/// How often a client changes priorities before a server takes offence.
const MOST_UPDATES: usize = 500;
/// Of all the streams there are, those that are of interest.
const STREAMS: u8 = 64;

/// A server and whatever a client may send.
pub fn connection_server(data: &[u8]) {
    Drive::new(Connection::server(config()), true).run(Input(data));
}

/// A client and whatever a server may send.
pub fn connection_client(data: &[u8]) {
    Drive::new(Connection::client(config()), false).run(Input(data));
}

fn config() -> Config {
    Config {
        max_field_section_size: 4096,
        max_fields: 20,
        qpack_capacity: 400,
        qpack_blocked_streams: 3,
        qpack_encoder_capacity: 300,
        connect_protocol: true,
        datagrams: true,
        extensions: vec![0x21],
        ..Config::default()
    }
}

/// Where the message on a stream is, as far as it was told.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Told {
    Nothing,
    Head,
    Trailers,
    Over,
}

struct Drive {
    connection: Connection,
    is_server: bool,
    told: HashMap<StreamId, Told>,
    /// Streams that nothing is handed in of any more: ended, reset, failed or abandoned.
    ended: HashSet<StreamId>,
    /// Streams whose sending side is over.
    finished: HashSet<StreamId>,
    /// Streams of which little is to be told.
    abandoned: HashSet<StreamId>,
    handed_in: usize,
    content: usize,
    /// How many priorities were changed.
    updates: usize,
    peer: Peer,
}

impl Drive {
    fn new(connection: Connection, is_server: bool) -> Self {
        Self {
            connection,
            is_server,
            told: HashMap::new(),
            ended: HashSet::new(),
            finished: HashSet::new(),
            abandoned: HashSet::new(),
            handed_in: 0,
            content: 0,
            updates: 0,
            peer: Peer::new(is_server),
        }
    }

    fn run(mut self, mut input: Input<'_>) {
        self.transmit();
        let mut held = 0;
        while !input.is_empty() {
            let before = ALLOCATOR.allocated();
            let outcome = self.step(&mut input);
            self.tell();
            held += ALLOCATOR.allocated() as isize - before as isize;
            assert!(held < MOST_HELD, "{held} bytes are held");
            if let Err(error) = outcome {
                assert_eq!(error.scope, Scope::Connection);
                return self.closed();
            }
            self.transmit();
        }
    }

    /// One thing that happens. An error is one of the connection.
    fn step(&mut self, input: &mut Input<'_>) -> Result<(), Error> {
        let (kind, stream) = (input.byte(), u64::from(input.byte() % STREAMS));
        match kind % 16 {
            0..8 => {
                let times = if kind & 0x80 != 0 {
                    usize::from(input.byte()) + 1
                } else {
                    1
                };
                let (fin, bytes) = (kind & 0x40 != 0, input.bytes());
                for n in 1..=times {
                    self.receive(stream, bytes, fin && n == times)?;
                    self.tell();
                }
                Ok(())
            }
            8 if self.ended.insert(stream) => self.connection.reset(stream, u64::from(input.byte())),
            9 if !self.finished.contains(&stream) => self.connection.stopped(stream, u64::from(input.byte())),
            10 => {
                let bytes = Bytes::copy_from_slice(input.bytes());
                self.handed_in += bytes.len();
                self.connection.datagram(bytes)
            }
            11 => {
                self.connection.abandon(stream);
                if stream % 4 == 0 {
                    self.ended.insert(stream);
                    self.abandoned.insert(stream);
                }
                Ok(())
            }
            12 if self.is_server => {
                self.respond(stream, input);
                Ok(())
            }
            12 => {
                self.request(stream, input);
                Ok(())
            }
            13 => {
                self.finish(stream);
                Ok(())
            }
            14 => {
                // An ID that is larger than before is refused, and nothing else happens.
                let _ = self.connection.goaway(stream);
                Ok(())
            }
            15 if !self.is_server && stream % 4 == 0 && self.updates < MOST_UPDATES => {
                self.updates += 1;
                let (urgency, incremental) = (input.byte() % 8, kind & 0x80 != 0);
                self.connection
                    .priority_update(stream, Priority { urgency, incremental });
                Ok(())
            }
            _ => Ok(()),
        }
    }

    fn receive(&mut self, stream: StreamId, bytes: &[u8], fin: bool) -> Result<(), Error> {
        if self.ended.contains(&stream) || !self.connection.wants_data(stream) {
            return Ok(());
        }
        if fin {
            self.ended.insert(stream);
        }
        self.handed_in += bytes.len();
        let outcome = self.connection.receive(stream, Bytes::copy_from_slice(bytes), fin);
        match outcome {
            Err(Error {
                scope: Scope::Stream(failed),
                ..
            }) => {
                assert_eq!(failed, stream);
                self.fail(stream);
                Ok(())
            }
            other => other,
        }
    }

    /// The stream is reset and stopped: nothing of it is told, or said, any more.
    fn fail(&mut self, stream: StreamId) {
        self.ended.insert(stream);
        self.finish(stream);
        self.told.insert(stream, Told::Over);
    }

    fn finish(&mut self, stream: StreamId) {
        if stream.is_multiple_of(4) && self.finished.insert(stream) {
            self.connection.finished(stream);
        }
    }

    fn respond(&mut self, stream: StreamId, input: &mut Input<'_>) {
        let known = self.told.get(&stream).is_some_and(|told| *told != Told::Nothing);
        if !known || self.finished.contains(&stream) {
            return;
        }
        let interim = input.byte() % 4 == 1;
        let mut head = http::Response::builder().status(if interim { 103 } else { 200 });
        for (name, value) in fields(input) {
            head = head.header(name, value);
        }
        let (parts, ()) = head.body(()).expect("a response").into_parts();
        let mut out = BytesMut::new();
        if self.connection.respond(stream, &parts, &mut out).is_err() {
            // Larger than what this client said it would take.
            return assert!(out.is_empty());
        }
        if !interim {
            self.finish(stream);
        }
        self.peer.hear(&mut self.connection);
        self.peer.response(stream, out.freeze(), !interim);
    }

    fn request(&mut self, stream: StreamId, input: &mut Input<'_>) {
        if !stream.is_multiple_of(4) || self.told.contains_key(&stream) || self.ended.contains(&stream) {
            return;
        }
        const METHODS: [&str; 4] = ["GET", "HEAD", "POST", "CONNECT"];
        let method = METHODS[usize::from(input.byte() % 4)];
        let uri = match method {
            "CONNECT" => "example.org:443",
            _ => "https://example.org/",
        };
        let mut head = http::Request::builder().method(method).uri(uri);
        for (name, value) in fields(input) {
            head = head.header(name, value);
        }
        let head = head.body(()).expect("a request");
        let mut out = BytesMut::new();
        if self.connection.open_request(stream, &head, None, &mut out).is_err() {
            // After GOAWAY, or larger than what this server said it would take.
            return assert!(out.is_empty());
        }
        self.told.insert(stream, Told::Nothing);
        self.peer.hear(&mut self.connection);
        self.peer.request(stream, out.freeze());
    }

    /// Look at every event there is.
    fn tell(&mut self) {
        while let Some(event) = self.connection.poll_event() {
            self.event(event);
        }
        assert!(self.content <= self.handed_in, "more came out than went in");
    }

    fn event(&mut self, event: Event) {
        let Some(stream) = event.stream() else {
            match event {
                Event::Settings => self.peer.settings(&self.connection),
                Event::Goaway { id } => assert!(self.is_server || id % 4 == 0),
                Event::Extension { kind, payload } => assert!(kind == 0x21 && payload.len() <= 1024),
                other => panic!("{other:?}"),
            }
            return;
        };
        assert_eq!(stream % 4, 0, "{event:?} of something that is not a request");
        let before = self.told.get(&stream).copied().unwrap_or(Told::Nothing);
        if self.abandoned.contains(&stream) {
            let fine = matches!(event, Event::Stopped { .. } | Event::Priority { .. });
            return assert!(fine, "{event:?} of an abandoned stream");
        }
        let after = match (&event, before) {
            (Event::Request { end, .. }, Told::Nothing) if self.is_server => over(*end),
            (Event::TooLarge { .. }, Told::Nothing) if self.is_server => Told::Over,
            (Event::Response { head, end, .. }, Told::Nothing) if !self.is_server => {
                assert!(
                    !(head.status().is_informational() && *end),
                    "an interim response is the end"
                );
                if head.status().is_informational() {
                    Told::Nothing
                } else {
                    over(*end)
                }
            }
            (Event::Data { data, .. }, Told::Head) => {
                assert!(!data.is_empty());
                self.content += data.len();
                Told::Head
            }
            (Event::Trailers { .. }, Told::Head) => Told::Trailers,
            (Event::End { .. }, Told::Head | Told::Trailers) => Told::Over,
            (Event::Reset { .. }, Told::Nothing | Told::Head | Told::Trailers) => Told::Over,
            (Event::Failed(error), Told::Nothing | Told::Head | Told::Trailers) => {
                assert_eq!(error.scope, Scope::Stream(stream));
                return self.fail(stream);
            }
            (Event::Stopped { .. }, _) => {
                assert!(!self.finished.contains(&stream), "stopped what is finished");
                before
            }
            (Event::Datagram { data, .. }, Told::Nothing | Told::Head | Told::Trailers) => {
                self.content += data.len();
                before
            }
            (Event::Priority { .. }, _) if self.is_server => before,
            (Event::Unblocked { .. }, _) => before,
            _ => panic!("{event:?} after {before:?}"),
        };
        self.told.insert(stream, after);
    }

    fn transmit(&mut self) {
        self.peer.hear(&mut self.connection);
    }

    /// The connection is over. What it told before was in order; a driver that looks at it again hears nothing.
    fn closed(mut self) {
        while self.connection.poll_transmit().is_some() {}
        assert!(self.connection.poll_event().is_none() && self.connection.poll_transmit().is_none());
    }
}

const fn over(end: bool) -> Told {
    if end { Told::Over } else { Told::Head }
}

/// Few names and values, so that they come again and are worth a place in a table.
fn fields(input: &mut Input<'_>) -> Vec<(&'static str, String)> {
    const NAMES: [&str; 5] = ["x-a", "x-bcd", "user-agent", "accept", "server"];
    let count = input.byte() % 6;
    let field = |_| {
        let (name, value) = (input.byte(), input.byte());
        let letter = char::from(b'a' + value % 4);
        (
            NAMES[usize::from(name) % NAMES.len()],
            letter.to_string().repeat(usize::from(value) / 4),
        )
    };
    (0..count).map(field).collect()
}

/// The other end, which does everything right, and hears what the connection says but not what it was told.
struct Peer {
    connection: Option<Connection>,
    is_client: bool,
    /// Whether its settings are those that the connection was sent.
    is_settled: bool,
    /// What has come on each of the connection's own streams, for a peer that begins again with other settings.
    heard: Vec<(Uni, Bytes)>,
    ended: HashSet<StreamId>,
}

impl Peer {
    fn new(is_client: bool) -> Self {
        Self {
            connection: Some(Self::connection(is_client, 0, 0)),
            is_client,
            is_settled: false,
            heard: Vec::new(),
            ended: HashSet::new(),
        }
    }

    fn connection(is_client: bool, qpack_capacity: u32, qpack_blocked_streams: u16) -> Connection {
        let config = Config {
            max_field_section_size: 1 << 20,
            qpack_capacity,
            qpack_blocked_streams,
            extensions: Vec::new(),
            ..config()
        };
        match is_client {
            true => Connection::client(config),
            false => Connection::server(config),
        }
    }

    /// The settings that the connection was sent are the ones of this peer. Beyond what can be configured there is none.
    fn settings(&mut self, connection: &Connection) {
        let settings = connection.peer_settings().expect("they have come");
        let capacity = u32::try_from(settings.qpack_max_table_capacity);
        let blocked = u16::try_from(settings.qpack_blocked_streams).unwrap_or(u16::MAX);
        self.connection = capacity
            .ok()
            .map(|capacity| Self::connection(self.is_client, capacity, blocked));
        self.is_settled = true;
        for (uni, bytes) in std::mem::take(&mut self.heard) {
            self.receive_uni(uni, bytes);
        }
    }

    /// Everything on the connection's own streams.
    fn hear(&mut self, connection: &mut Connection) {
        while let Some((uni, bytes)) = connection.poll_transmit() {
            self.receive_uni(uni, bytes);
        }
    }

    fn receive_uni(&mut self, uni: Uni, bytes: Bytes) {
        // What the decoder says is about instructions that this peer has not sent.
        let number = match uni {
            Uni::Control => 0,
            Uni::Encoder => 1,
            Uni::Decoder => return,
        };
        let stream = 4 * number + if self.is_client { 3 } else { 2 };
        self.receive(stream, bytes.clone(), false);
        if !self.is_settled {
            self.heard.push((uni, bytes));
        }
    }

    /// A response of a server, in one piece.
    fn response(&mut self, stream: StreamId, bytes: Bytes, end: bool) {
        let Some(client) = &mut self.connection else { return };
        if !self.ended.contains(&stream) {
            let head = http::Request::get("https://example.org/").body(()).expect("a request");
            // It is refused after GOAWAY; then there is nobody to answer to.
            let _ = client.open_request(stream, &head, None, &mut BytesMut::new());
        }
        if end {
            self.ended.insert(stream);
        }
        self.receive(stream, bytes, end);
    }

    /// A request of a client, of which this is all.
    fn request(&mut self, stream: StreamId, bytes: Bytes) {
        self.receive(stream, bytes, true);
    }

    fn receive(&mut self, stream: StreamId, bytes: Bytes, fin: bool) {
        let Some(connection) = &mut self.connection else { return };
        if let Err(error) = connection.receive(stream, bytes, fin) {
            panic!("a peer that keeps to the rules finds: {error}");
        }
        assert!(
            connection.wants_data(stream),
            "what was sent in order waits for something"
        );
        while let Some(event) = connection.poll_event() {
            if let Event::Failed(error) = event {
                panic!("a peer that keeps to the rules finds: {error}");
            }
        }
        while connection.poll_transmit().is_some() {}
    }
}
