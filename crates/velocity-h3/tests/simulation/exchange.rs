//! The workload: messages that are made up, what is to go wrong with them, and what each end is told of them.

use bytes::{Bytes, BytesMut};
use http::{HeaderMap, Request, Response};
use velocity_h3::{Code, Connection, Event, Priority, StreamId, varint};

use crate::random::Random;

/// Header fields, content in pieces, trailers.
#[derive(Clone, Debug)]
pub struct Message {
    fields: HeaderMap,
    content: Vec<Bytes>,
    trailers: Option<HeaderMap>,
}

/// A request and its response.
#[derive(Clone, Debug)]
pub struct Exchange {
    pub request: Message,
    pub response: Message,
    pub interim: usize,
    pub fate: Fate,
    /// When the client is to begin it, in microseconds.
    pub start: u64,
    pub priority: Option<Priority>,
}

/// What becomes of an exchange. The numbers are bytes after which it happens.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Fate {
    Complete,
    /// The response comes as soon as the head of the request is known, and the rest is not wanted (section 4.1).
    Early,
    /// The client gives up while it sends its request.
    RequestReset(usize),
    /// The client gives up while it receives content.
    ResponseStop(usize),
    /// The server gives up while it sends its response.
    ResponseReset(usize),
}

impl Message {
    fn new(random: &mut Random) -> Self {
        let count = random.pick(&[0, 0, 1, 1, 2, 4]);
        let content: Vec<Bytes> = (0..count)
            .map(|_| {
                let most = random.pick(&[1, 100, 3_000, 20_000, 60_000]);
                let (len, first) = (random.below(most), random.next() as u8);
                (0..len).map(|n| first.wrapping_add(n as u8).wrapping_mul(31)).collect()
            })
            .collect();
        let mut headers = fields(random, 8);
        if random.chance(30) {
            let len: usize = content.iter().map(Bytes::len).sum();
            headers.insert("content-length", len.into());
        }
        Self {
            fields: headers,
            content,
            trailers: random.chance(20).then(|| fields(random, 3)),
        }
    }

    /// Everything after the head, with frames in between that mean nothing (section 7.2.8).
    fn rest(&self, connection: &mut Connection, stream: StreamId, out: &mut BytesMut) {
        for piece in &self.content {
            if piece.len() % 5 == 1 {
                varint::encode(0x21 + 0x1f * piece.len() as u64, out);
                out.extend_from_slice(b"\x03any");
            }
            Connection::data_header(piece.len() as u64, out);
            out.extend_from_slice(piece);
        }
        if let Some(trailers) = &self.trailers {
            connection.trailers(stream, trailers, out);
        }
    }
}

/// Few names and values, so that they come again and are worth a place in a table.
fn fields(random: &mut Random, most: usize) -> HeaderMap {
    let mut fields = HeaderMap::new();
    for _ in 0..random.below(most) {
        let name = random.pick(&["x-a", "x-b", "user-agent", "accept", "server"]);
        let value = match random.below(4) {
            0 => String::new(),
            1 => "z".repeat(random.below(1500)),
            _ => random
                .pick(&["one", "another", "something longer than the others"])
                .repeat(1 + random.below(3)),
        };
        fields.append(name, value.parse().unwrap());
    }
    fields
}

impl Exchange {
    pub fn new(random: &mut Random) -> Self {
        let most = random.pick(&[1, 2_000, 50_000]);
        let after = random.below(most);
        let fate = match random.below(12) {
            0 => Fate::RequestReset(after),
            1 => Fate::ResponseStop(after),
            2 => Fate::ResponseReset(after),
            3 => Fate::Early,
            _ => Fate::Complete,
        };
        Self {
            request: Message::new(random),
            response: Message::new(random),
            interim: random.pick(&[0, 0, 0, 1, 2]),
            fate,
            start: random.below(300_000) as u64,
            priority: random.chance(20).then(|| Priority {
                urgency: random.below(8) as u8,
                incremental: random.chance(50),
            }),
        }
    }

    /// The whole request, unless it cannot be sent any more.
    pub fn ask(&self, n: usize, client: &mut Connection, stream: StreamId) -> Option<Bytes> {
        let mut head = Request::post(format!("https://example.org/{n}")).body(()).unwrap();
        *head.headers_mut() = self.request.fields.clone();
        let mut out = BytesMut::new();
        client.open_request(stream, &head, None, &mut out).ok()?;
        self.request.rest(client, stream, &mut out);
        Some(out.freeze())
    }

    /// The whole response, and those before it.
    pub fn answer(&self, server: &mut Connection, stream: StreamId) -> Bytes {
        let mut out = BytesMut::new();
        for _ in 0..self.interim {
            let head = Response::builder().status(103).header("link", "</a>").body(()).unwrap();
            server.respond(stream, &head.into_parts().0, &mut out).unwrap();
        }
        let (mut head, ()) = Response::new(()).into_parts();
        head.headers = self.response.fields.clone();
        server.respond(stream, &head, &mut out).unwrap();
        self.response.rest(server, stream, &mut out);
        out.freeze()
    }
}

/// What one end was told of a message.
#[derive(Debug, Default)]
pub struct Told {
    fields: Option<HeaderMap>,
    interim: usize,
    pub content: Vec<u8>,
    trailers: Option<HeaderMap>,
    pub ended: bool,
    /// The peer's code, or the one that this end gave up with.
    pub reset: Option<u64>,
    /// Whether it was this end: what was told at the same time is not looked at any more.
    given_up: bool,
}

impl Told {
    pub fn give_up(&mut self, code: Code) {
        self.reset = Some(code.value());
        self.given_up = true;
    }

    pub fn note(&mut self, event: Event) {
        if self.given_up {
            return;
        }
        assert!(!self.ended && self.reset.is_none(), "late: {event:?}");
        match event {
            Event::Request { head, end, .. } => {
                self.fields = Some(head.headers().clone());
                self.ended = end;
            }
            Event::Response { head, .. } if head.status() == 103 => self.interim += 1,
            Event::Response { head, end, .. } => {
                self.fields = Some(head.headers().clone());
                self.ended = end;
            }
            Event::Data { data, .. } => self.content.extend_from_slice(&data),
            Event::Trailers { fields, .. } => self.trailers = Some(fields),
            Event::End { .. } => self.ended = true,
            Event::Reset { code, .. } => self.reset = Some(code),
            other => panic!("{other:?}"),
        }
    }

    /// What was told is what was said, as far as it goes; and all of it if `complete`.
    pub fn check(&self, said: &Message, interim: usize, complete: bool) {
        let content = said.content.concat();
        assert!(content.starts_with(&self.content), "content that was not sent");
        assert!(
            self.fields.as_ref().is_none_or(|fields| *fields == said.fields),
            "other fields"
        );
        assert!(
            self.trailers.is_none() || self.trailers == said.trailers,
            "other trailers"
        );
        assert!(self.interim <= interim);
        assert!(self.ended || !complete, "not complete: {self:?}");
        if self.ended {
            assert_eq!((self.content.len(), self.interim), (content.len(), interim));
            assert_eq!(
                (self.fields.as_ref(), &self.trailers),
                (Some(&said.fields), &said.trailers)
            );
        }
    }
}
