//! One request and its answer, on one stream (RFC 9113 section 8.1).

use std::future::poll_fn;
use std::pin::pin;
use std::sync::Arc;
use std::task::Poll;
use std::time::Duration;

use bytes::Bytes;
use h2::server::SendResponse;
use h2::{Reason, RecvStream, SendStream};
use http::header::CONTENT_LENGTH;
use http::request::Parts;
use http::{HeaderMap, HeaderValue, StatusCode};
use http_body::Body as _;

use crate::access::Access;
use crate::filter::Interim;
use crate::http::h2::body::Received;
use crate::http::h2::outgoing::{SMALL, pour, remove_fields_of_connections};
use crate::http::{Body, Request, Response};
use crate::service::Service;
use crate::session::Peer;

/// What every exchange of a connection needs.
pub struct Terms<'a> {
    pub peer: &'a Arc<Peer>,
    pub service: &'a Service,
    /// How long a body that is said to be empty may take to end.
    pub head_timeout: Duration,
}

/// What there is to do for a request.
pub enum Task {
    Answer(Parts, RecvStream),
    Send(Response, Access),
}

impl Terms<'_> {
    /// A request has come: what there is still to do, after whatever can be done at once.
    pub fn begin(&self, request: http::Request<RecvStream>, stream: &mut SendResponse<Bytes>) -> Option<Task> {
        let (parts, body) = request.into_parts();
        if !body.is_end_stream() {
            return Some(Task::Answer(parts, body));
        }
        let Some((response, mut access)) = self.service.ready(self.peer, &parts) else {
            return Some(Task::Answer(parts, body));
        };
        match response.body() {
            Body::Empty => {}
            Body::Memory(content) if content.len() <= SMALL => {}
            _ => return Some(Task::Send(response, access)),
        }
        let (head, body) = response.into_parts();
        let mut sending = respond(head, &body, stream)?;
        if let Body::Memory(content) = body {
            let length = content.len();
            sending.send_data(content, true).ok()?;
            access.sent(length);
        }
        access.complete();
        None
    }

    /// See one request to its end. If this is dropped, so is the handler, and the client is told.
    pub async fn run(&self, task: Task, mut stream: SendResponse<Bytes>) {
        let (response, mut access) = match task {
            Task::Send(response, access) => (response, access),
            Task::Answer(parts, body) => match self.answer(parts, body, &mut stream).await {
                Some(answer) => answer,
                None => return,
            },
        };
        let (head, body) = response.into_parts();
        let Some(sending) = respond(head, &body, &mut stream) else {
            return;
        };
        if body.is_end_stream() || pour(body, sending, |length| access.sent(length)).await {
            access.complete();
        }
    }

    /// The answer to a request; `None` if nobody wants it any more.
    async fn answer(
        &self,
        parts: Parts,
        body: RecvStream,
        stream: &mut SendResponse<Bytes>,
    ) -> Option<(Response, Access)> {
        let mut body = Received::request(&parts, body);
        if body.is_in_doubt() {
            // When it turns out that there is one, somebody would have passed the request on.
            let end = poll_fn(|cx| body.poll_ends_as_declared(cx));
            if !tokio::time::timeout(self.head_timeout, end).await.unwrap_or(false) {
                stream.send_reset(Reason::PROTOCOL_ERROR);
                return None;
            }
        }
        let body = match body.is_end_stream() {
            true => Body::Empty,
            false => Body::stream(body),
        };
        let interim = Interim::default();
        let request = Request::from_parts(parts, body);
        let mut answering = pin!(self.service.answer(self.peer, request, Some(&interim)));
        poll_fn(|cx| {
            let polled = answering.as_mut().poll(cx);
            if let Some(fields) = interim.take() {
                inform(fields, stream);
            }
            match polled {
                Poll::Ready(answer) => Poll::Ready(Some(answer)),
                Poll::Pending => stream.poll_reset(cx).map(|_| None),
            }
        })
        .await
    }
}

/// Send 103 (RFC 8297).
fn inform(mut fields: HeaderMap, stream: &mut SendResponse<Bytes>) {
    remove_fields_of_connections(&mut fields);
    let mut response = http::Response::new(());
    *response.status_mut() = StatusCode::EARLY_HINTS;
    *response.headers_mut() = fields;
    // If it fails, so does the answer.
    let _ = stream.send_informational(response);
}

/// Send the head of an answer, and the end of its stream if it has no body. `None` if the stream is gone.
fn respond(
    mut head: http::response::Parts,
    body: &Body,
    stream: &mut SendResponse<Bytes>,
) -> Option<SendStream<Bytes>> {
    if head.status.is_informational() {
        // An answer that is none.
        stream.send_reset(Reason::INTERNAL_ERROR);
        return None;
    }
    remove_fields_of_connections(&mut head.headers);
    let ends = body.is_end_stream();
    if !ends
        && let Some(length) = body.len()
        && !head.headers.contains_key(CONTENT_LENGTH)
    {
        head.headers.insert(CONTENT_LENGTH, HeaderValue::from(length));
    }
    let sent = stream.send_response(http::Response::from_parts(head, ()), ends);
    if sent.is_err() {
        stream.send_reset(Reason::INTERNAL_ERROR);
    }
    sent.ok()
}
