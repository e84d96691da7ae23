//! HTTP/1.1 (RFC 9112) on one connection, one request after the other, driven by one task that has no queues.
//!
//! [`Follow`] → [`Head`] → [`Service`] ⇄ [`Received`](wire::Received), the body → [`Asked::answer`] → [`Outgoing`]

mod answer;
mod head;
mod wire;

use std::future::poll_fn;
use std::io;
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use http::StatusCode;
use tokio::io::{AsyncRead, AsyncWrite, AsyncWriteExt};
use tokio::time::{Instant, Sleep, sleep_until, timeout};

use self::answer::Asked;
use self::head::{Follow, Head, Refusal};
use self::wire::Wire;
use super::BoxError;
use crate::http::h1::outgoing::{Broken, Outgoing};
use crate::http::{Body, Request};
use crate::net::rewind::Rewind;
use crate::net::stall::Progress;
use crate::net::tunnel;
use crate::plan::Limits;
use crate::proxy::Switched;
use crate::service::{Service, short};
use crate::session::{PARTING, Peer};
use crate::shutdown::{Phase, Shutdown};

/// What is read of a body that nobody wants, for the sake of the connection, in bytes.
const UNWANTED: usize = 64 * 1024;

/// What is read after the last answer, so that it is not lost to a reset (RFC 9112 section 9.6), in bytes.
const LINGERED: usize = 4 << 20;

/// Serve a connection to its end.
pub async fn serve<S>(
    stream: S,
    peer: &Arc<Peer>,
    service: Arc<Service>,
    limits: &Limits,
    progress: &Progress,
    mut shutdown: Shutdown,
) -> Result<(), BoxError>
where
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    let connection = Connection {
        peer,
        service: &service,
        limits,
        progress,
        shutdown: shutdown.clone(),
    };
    tokio::select! {
        biased;
        result = connection.talk(Wire::new(stream)) => Ok(result?),
        () = shutdown.aborted() => Ok(()),
    }
}

struct Connection<'a> {
    peer: &'a Arc<Peer>,
    service: &'a Service,
    limits: &'a Limits,
    progress: &'a Progress,
    shutdown: Shutdown,
}

impl Connection<'_> {
    /// Answer requests for as long as there are any.
    async fn talk<S>(&self, wire: Wire<S>) -> io::Result<()>
    where
        S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
    {
        let mut shutdown = self.shutdown.clone();
        let mut draining = Some(pin!(shutdown.draining()));
        let mut timer = pin!(sleep_until(self.due(None)));
        loop {
            let head = match self.next(&wire, &mut draining, timer.as_mut()).await? {
                Some(Ok(head)) => head,
                Some(Err(refusal)) => return refuse(wire, refusal).await,
                // Nothing waits to be written, so this needs no patience: TLS and TCP say goodbye.
                None => return (&wire).shutdown().await,
            };
            let mut asked = Asked::of(&head);
            let body = match head.framing.is_end() {
                true => Body::Empty,
                false => Body::stream(wire.receive(head.framing, head.waits)),
            };
            // Boxed, so that a connection that waits has no room for it.
            let request = Request::from_parts(head.parts, body);
            // Common clients take 103 for the answer (RFC 8297 section 3).
            let mut answering = Box::pin(self.service.answer(self.peer, request, None));
            let (mut response, mut access) = poll_fn(|cx| match answering.as_mut().poll(cx) {
                Poll::Ready(answer) => Poll::Ready(Ok(answer)),
                // Nobody is left to hear it.
                Poll::Pending => wire.lock().poll_left(cx).map(Err),
            })
            .await?;
            drop(answering);
            // A client that was not told to send its body might, or might not.
            asked.keep &= !wire.lock().answered() && self.shutdown.phase() == Phase::Running;
            let switched = response.extensions_mut().remove::<Switched>();
            let (head, body) = response.into_parts();
            if head.status.is_informational() && switched.is_none() {
                return Err(io::Error::other("an interim answer is the last one"));
            }
            let mut outgoing = asked.answer(&head, body);
            let sent = send(&mut outgoing, &wire).await;
            access.sent(outgoing.sent() as usize);
            sent?;
            access.complete();
            drop((access, outgoing));
            if let Some((upstream, received)) = switched.as_ref().and_then(Switched::take)
                && let Some((stream, rest)) = wire.take_stream()
            {
                let within = Duration::from_millis(self.limits.idle_timeout_ms);
                let (one, other) = (Rewind::new(rest, stream), Rewind::new(received, upstream));
                tunnel::join(one, other, within, self.shutdown.clone()).await;
                return Ok(());
            }
            let is_received = wire.lock().is_received();
            if !is_received {
                asked.keep = asked.keep && skip_body(&wire).await;
                if !asked.keep {
                    return part(wire).await;
                }
            }
            wire.lock().end();
            if !asked.keep {
                return (&wire).shutdown().await;
            }
        }
    }

    /// Until when a head that began then has to be here as a whole; or until when one has to begin.
    fn due(&self, began: Option<Instant>) -> Instant {
        match began {
            Some(began) => began + Duration::from_millis(self.limits.header_timeout_ms),
            None => self.progress.last() + Duration::from_millis(self.limits.idle_timeout_ms),
        }
    }

    /// Wait for the head of the next request; `None` if there is none, or not in time. `draining` is gone once it has come.
    async fn next<S, D>(
        &self,
        wire: &Wire<S>,
        draining: &mut Option<Pin<&mut D>>,
        mut timer: Pin<&mut Sleep>,
    ) -> io::Result<Option<Result<Head, Refusal>>>
    where
        S: AsyncRead + AsyncWrite + Unpin,
        D: Future<Output = ()>,
    {
        let mut follow = Follow::default();
        // When the head began.
        let mut began: Option<Instant> = None;
        poll_fn(|cx| {
            loop {
                let mut halves = wire.lock();
                match follow.end(&halves.received) {
                    Ok(Some(length)) if length <= self.limits.max_header_bytes as usize => {
                        let parsed = Head::parse(&mut halves.received, length);
                        return Poll::Ready(Ok(Some(parsed)));
                    }
                    Ok(None) if halves.received.len() < self.limits.max_header_bytes as usize => {}
                    Ok(_) => return Poll::Ready(Ok(Some(Err(Refusal::TooLarge)))),
                    Err(refusal) => return Poll::Ready(Ok(Some(Err(refusal)))),
                }
                if began.is_none() && !halves.received.is_empty() {
                    began = Some(Instant::now());
                }
                match halves.poll_more(cx) {
                    Poll::Ready(Ok(0)) => return Poll::Ready(Ok(None)),
                    Poll::Ready(Ok(_)) => continue,
                    Poll::Ready(Err(error)) => return Poll::Ready(Err(error)),
                    Poll::Pending => {}
                }
                drop(halves);
                if draining
                    .as_mut()
                    .is_some_and(|draining| draining.as_mut().poll(cx).is_ready())
                {
                    *draining = None;
                }
                let head_due = self.due(began);
                let due = match (&draining, began) {
                    (Some(_), _) => head_due,
                    (None, None) => return Poll::Ready(Ok(None)),
                    // What was begun before the server stops may be finished, by those who go on with it.
                    (None, Some(_)) => head_due.min(self.progress.last() + PARTING),
                };
                ready!(poll_until(timer.as_mut(), due, cx));
                return Poll::Ready(Ok(None));
            }
        })
        .await
    }
}

/// Say why a request is not looked at, and that there is no more to say.
async fn refuse<S>(wire: Wire<S>, refusal: Refusal) -> io::Result<()>
where
    S: AsyncRead + AsyncWrite + Unpin,
{
    let response = match refusal {
        Refusal::Malformed => short(StatusCode::BAD_REQUEST, "this is no request of HTTP/1.1\n"),
        Refusal::TooLarge => short(
            StatusCode::REQUEST_HEADER_FIELDS_TOO_LARGE,
            "the request header fields are too large\n",
        ),
    };
    let (head, body) = response.into_parts();
    send(&mut Asked::unread().answer(&head, body), &wire).await?;
    part(wire).await
}

/// Ready once the time has come. The timer is moved when it rings too early, not whenever that time moves on.
fn poll_until(mut timer: Pin<&mut Sleep>, due: Instant, cx: &mut Context<'_>) -> Poll<()> {
    if timer.deadline() > due {
        timer.as_mut().reset(due);
    }
    loop {
        ready!(timer.as_mut().poll(cx));
        if Instant::now() >= due {
            return Poll::Ready(());
        }
        timer.as_mut().reset(due);
    }
}

/// Write an answer, unless the client leaves.
async fn send<S>(outgoing: &mut Outgoing, wire: &Wire<S>) -> io::Result<()>
where
    S: AsyncRead + AsyncWrite + Unpin,
{
    let mut begun = false;
    poll_fn(|cx| {
        if !std::mem::replace(&mut begun, true) {
            outgoing.begin(cx)?;
        }
        match outgoing.poll(&mut &*wire, cx) {
            Poll::Ready(sent) => Poll::Ready(sent),
            Poll::Pending => wire.lock().poll_left(cx).map(|error| Err(Broken::Stream(error))),
        }
    })
    .await
    .map_err(|broken| match broken {
        // The connection ends in the middle of the answer, which is how the client learns of it.
        Broken::Body(error) | Broken::Stream(error) => error,
    })
}

/// Read what is left of a body that nobody wants, if it is little and comes soon; whether that is done.
async fn skip_body<S>(wire: &Wire<S>) -> bool
where
    S: AsyncRead + AsyncWrite + Unpin,
{
    let mut left = UNWANTED;
    let rest = poll_fn(|cx| {
        loop {
            match ready!(wire.lock().poll_body(cx)) {
                None => return Poll::Ready(true),
                Some(Ok(frame)) => match left.checked_sub(frame.data_ref().map_or(0, bytes::Bytes::len)) {
                    Some(rest) => left = rest,
                    None => return Poll::Ready(false),
                },
                Some(Err(_)) => return Poll::Ready(false),
            }
        }
    });
    timeout(PARTING, rest).await.unwrap_or(false)
}

/// Close a connection whose client may be sending something that nobody reads: for some time it is read, since otherwise
/// the answer might be lost (RFC 9112 section 9.6).
async fn part<S>(wire: Wire<S>) -> io::Result<()>
where
    S: AsyncRead + AsyncWrite + Unpin,
{
    (&wire).shutdown().await?;
    let mut left = LINGERED;
    let rest = poll_fn(|cx| {
        loop {
            let mut halves = wire.lock();
            halves.received.clear();
            match ready!(halves.poll_more(cx)) {
                Ok(1..) if left > 0 => left = left.saturating_sub(halves.received.len()),
                _ => return Poll::Ready(()),
            }
        }
    });
    let _ = timeout(PARTING, rest).await;
    Ok(())
}

#[cfg(test)]
mod tests;
