//! Bodies on their way: the request's to the application while it is answered, and the application's answer.

use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::task::{Context, Poll};

use bytes::Bytes;
use http_body::{Body as _, Frame};

use super::exchange::Exchange;
use crate::http::Body;

/// A request that is being answered. When this is dropped the application learns that it is over.
pub struct Request {
    pub exchange: Arc<Exchange>,
    body: Body,
    in_flight: Arc<AtomicUsize>,
}

impl Request {
    pub fn new(exchange: Arc<Exchange>, body: Body, in_flight: Arc<AtomicUsize>) -> Self {
        Self {
            exchange,
            body,
            in_flight,
        }
    }

    /// Hand the body on as far as it has come and there is room.
    pub fn pump(&mut self, cx: &mut Context<'_>) {
        while !matches!(self.body, Body::Empty) && self.exchange.body.poll_room(cx).is_ready() {
            match Pin::new(&mut self.body).poll_frame(cx) {
                Poll::Pending => return,
                Poll::Ready(Some(Ok(frame))) => {
                    let data = frame.into_data().unwrap_or_default(); // trailers have no place in ASGI
                    let end = self.body.is_end_stream();
                    if end {
                        self.body = Body::Empty;
                    }
                    match data.is_empty() {
                        true if end => self.exchange.body.complete(),
                        true => {}
                        false => self.exchange.body.push(data, end),
                    }
                }
                Poll::Ready(None) => {
                    self.body = Body::Empty;
                    self.exchange.body.complete();
                }
                Poll::Ready(Some(Err(_))) => {
                    self.body = Body::Empty;
                    self.exchange.body.close();
                }
            }
        }
    }
}

impl Drop for Request {
    fn drop(&mut self) {
        self.in_flight.fetch_sub(1, Ordering::Relaxed);
        self.exchange.close();
    }
}

/// A streamed answer.
pub struct Answer(pub Request);

impl http_body::Body for Answer {
    type Data = Bytes;
    type Error = io::Error;

    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<io::Result<Frame<Bytes>>>> {
        self.0.pump(cx);
        let exchange = &self.0.exchange;
        exchange.answer.poll(cx).map(|item| match item {
            Some(Ok(data)) => Some(Ok(Frame::data(data))),
            Some(Err(_)) => Some(Err(io::Error::other("the application broke off"))),
            None => exchange.take_trailers().map(|fields| Ok(Frame::trailers(fields))),
        })
    }
}
