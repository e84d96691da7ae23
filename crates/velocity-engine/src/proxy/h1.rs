//! HTTP/1.1 to an upstream, by hyper, whose connection is driven by whoever waits for the answer: no task of its own,
//! no queue in between.

use std::future::poll_fn;
use std::pin::{Pin, pin};
use std::task::{Context, Poll, Waker};

use http::Request;
use hyper::body::Incoming;
use hyper::client::conn::http1;
use hyper_util::rt::TokioIo;

use super::failure::{Failure, Reached};
use crate::http::Body;
use crate::net::duplex::BoxDuplex;

/// The largest head of an answer, in bytes.
const MAX_HEAD: usize = 64 * 1024;

pub struct Connection {
    sender: http1::SendRequest<Body>,
    driver: http1::Connection<TokioIo<BoxDuplex>, Body>,
    /// It has ended. To be polled again, it would close a stream that has switched protocols.
    done: bool,
    /// Whether it has carried a request: then the upstream may be about to close it.
    pub used: bool,
}

impl Connection {
    pub async fn new(stream: BoxDuplex) -> Result<Self, Failure> {
        let (sender, driver) = http1::Builder::new()
            .max_buf_size(MAX_HEAD.max(256 * 1024))
            .max_header_size(MAX_HEAD)
            .handshake(TokioIo::new(stream))
            .await
            .map_err(|error| Failure::exchange(Reached::Nobody, &error))?;
        Ok(Self {
            sender,
            driver,
            done: false,
            used: false,
        })
    }

    /// Whether it can carry a request now.
    pub fn is_ready(&mut self) -> bool {
        // Reads what has come: an upstream that has closed is found here.
        let driven = self.drive(&mut Context::from_waker(Waker::noop()));
        driven.is_pending() && self.sender.is_ready()
    }

    /// Send a request and wait for the head of its answer; a request of which nothing was sent comes back.
    #[allow(clippy::type_complexity)]
    pub async fn send(
        mut self,
        request: Request<Body>,
    ) -> Result<(http::Response<Incoming>, Self), (Failure, Option<Request<Body>>)> {
        self.used = true;
        let answered = {
            let mut answer = pin!(self.sender.try_send_request(request));
            let (driver, done) = (&mut self.driver, &mut self.done);
            poll_fn(|cx| {
                *done = *done || Pin::new(&mut *driver).poll(cx).is_ready();
                answer.as_mut().poll(cx)
            })
            .await
        };
        match answered {
            Ok(response) => Ok((response, self)),
            Err(mut error) => {
                let request = error.take_message();
                let reached = if request.is_some() {
                    Reached::Nobody
                } else {
                    Reached::Perhaps
                };
                Err((Failure::exchange(reached, error.error()), request))
            }
        }
    }

    /// Read and write what can be, while the body of an answer is read.
    pub fn drive(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        // What went wrong, the body says.
        self.done = self.done || Pin::new(&mut self.driver).poll(cx).is_ready();
        match self.done {
            true => Poll::Ready(()),
            false => Poll::Pending,
        }
    }

    /// The stream, and what was read from it beyond the answer, once an answer has switched protocols.
    pub async fn into_stream(mut self) -> (BoxDuplex, bytes::Bytes) {
        poll_fn(|cx| self.drive(cx)).await;
        let parts = self.driver.into_parts();
        (parts.io.into_inner(), parts.read_buf)
    }
}
