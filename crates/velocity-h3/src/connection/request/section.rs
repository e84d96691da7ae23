//! What the field sections of a message say about the rest of it (RFC 9114, sections 4.1 and 4.1.2).
//!
//! The method and the status decide whether there is content, how much, and whether it is content at all.

use bytes::Bytes;
use http::{HeaderValue, Method, StatusCode};

use super::{Asked, Blocked, Context, Expect, Part, Stream};
use crate::connection::{Side, broken};
use crate::error::Error;
use crate::event::Event;
use crate::message::{Malformed, RequestSink, ResponseSink, TrailersSink};
use crate::priority::Priority;
use crate::qpack::{DecodeError, Decoded, Decoder, Sink};

/// What became of a section.
enum Outcome {
    Complete,
    Blocked,
    TooLarge,
}

impl Stream {
    /// A field section has come whole; `last` if nothing comes after it.
    pub(super) fn section(&mut self, cx: &mut Context<'_>, section: Bytes, last: bool) -> Result<(), Error> {
        let outcome = match (self.expect, cx.side) {
            (Expect::Head, Side::Server) => self.request_head(cx, &section, last)?,
            (Expect::Head, Side::Client) => self.response_head(cx, &section, last)?,
            _ => self.trailers(cx, &section)?,
        };
        match outcome {
            Outcome::Complete => Ok(()),
            Outcome::Blocked => {
                self.part = Part::Blocked(Box::new(Blocked {
                    section,
                    rest: Bytes::new(),
                    fin: false,
                }));
                Ok(())
            }
            Outcome::TooLarge => self.too_large(cx),
        }
    }

    fn request_head(&mut self, cx: &mut Context<'_>, section: &Bytes, last: bool) -> Result<Outcome, Error> {
        let mut sink = RequestSink::new(cx.config.connect_protocol);
        let outcome = self.decode(cx.decoder, section, &mut sink)?;
        if !matches!(outcome, Outcome::Complete) {
            return Ok(outcome);
        }
        let message = sink.finish().map_err(|Malformed(reason)| self.malformed(reason))?;
        let head = message.head;
        if head.method() == Method::CONNECT {
            self.expect = Expect::Tunnel;
        } else {
            self.expect = Expect::Content;
            self.left = message.length;
        }
        self.head_is(last)?;
        let priority = cx.pending.take(self.id).unwrap_or_else(|| {
            Priority::parse_lines(head.headers().get_all("priority").iter().map(HeaderValue::as_bytes))
        });
        cx.events.push_back(Event::Request {
            stream: self.id,
            head,
            priority,
            end: last,
        });
        Ok(outcome)
    }

    fn response_head(&mut self, cx: &mut Context<'_>, section: &Bytes, last: bool) -> Result<Outcome, Error> {
        let mut sink = ResponseSink::new();
        let outcome = self.decode(cx.decoder, section, &mut sink)?;
        if !matches!(outcome, Outcome::Complete) {
            return Ok(outcome);
        }
        let message = sink.finish().map_err(|Malformed(reason)| self.malformed(reason))?;
        let head = message.head;
        let status = head.status();
        if status.is_informational() {
            if last {
                return Err(self.malformed("an interim response and no final one"));
            }
        } else if self.asked == Asked::Connect && status.is_success() {
            self.expect = Expect::Tunnel;
        } else {
            // What such a response says of a length is about another one (RFC 9110, section 8.6).
            let empty =
                self.asked == Asked::Head || matches!(status, StatusCode::NO_CONTENT | StatusCode::NOT_MODIFIED);
            self.expect = Expect::Content;
            self.left = if empty { Some(0) } else { message.length };
        }
        self.head_is(last)?;
        cx.events.push_back(Event::Response {
            stream: self.id,
            head,
            end: last,
        });
        Ok(outcome)
    }

    fn trailers(&mut self, cx: &mut Context<'_>, section: &Bytes) -> Result<Outcome, Error> {
        let mut sink = TrailersSink::new();
        let outcome = self.decode(cx.decoder, section, &mut sink)?;
        if matches!(outcome, Outcome::Complete) {
            self.expect = Expect::End;
            cx.events.push_back(Event::Trailers {
                stream: self.id,
                fields: sink.finish(),
            });
        }
        Ok(outcome)
    }

    fn decode<S>(&self, decoder: &mut Decoder, section: &Bytes, sink: &mut S) -> Result<Outcome, Error>
    where
        S: Sink<Error = Malformed>,
    {
        match decoder.decode(self.id, section, sink) {
            Ok(Decoded::Complete) => Ok(Outcome::Complete),
            Ok(Decoded::Blocked) => Ok(Outcome::Blocked),
            Err(DecodeError::TooLarge) => Ok(Outcome::TooLarge),
            Err(DecodeError::Sink(Malformed(reason))) => Err(self.malformed(reason)),
            Err(DecodeError::Qpack(error)) => Err(broken(error)),
        }
    }
}
