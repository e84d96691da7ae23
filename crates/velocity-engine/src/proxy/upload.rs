//! A request body on its way to an upstream: when did it last move, and whose fault is it if it does not?

use std::io;
use std::pin::Pin;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::Relaxed};
use std::sync::{Arc, OnceLock};
use std::task::{Context, Poll, ready};
use std::time::{Duration, Instant};

use bytes::Bytes;
use http::Request;
use http_body::{Frame, SizeHint};

use crate::http::Body;

/// How it goes with a request that is being sent.
pub struct Activity {
    begin: Instant,
    /// `None` for a request that is sent at once.
    state: Option<Arc<State>>,
}

#[derive(Default)]
struct State {
    /// Milliseconds after the beginning.
    last: AtomicU64,
    /// The upstream could take more than the client has sent.
    waits: AtomicBool,
    broken: OnceLock<io::ErrorKind>,
}

impl Activity {
    pub fn last(&self) -> Instant {
        let after = self.state.as_ref().map_or(0, |state| state.last.load(Relaxed));
        self.begin + Duration::from_millis(after)
    }

    /// Whether the client has yet to send something.
    pub fn waits(&self) -> bool {
        self.state.as_ref().is_some_and(|state| state.waits.load(Relaxed))
    }

    /// Why the client's body broke off, if it did.
    pub fn broken(&self) -> Option<io::ErrorKind> {
        self.state.as_ref()?.broken.get().copied()
    }
}

pub struct Upload {
    body: Body,
    begin: Instant,
    state: Arc<State>,
}

impl Upload {
    /// The same request, watched.
    pub fn watch(request: Request<Body>) -> (Request<Body>, Activity) {
        let begin = Instant::now();
        if !matches!(request.body(), Body::Stream(_)) {
            return (request, Activity { begin, state: None });
        }
        let state = Arc::<State>::default();
        let watched = state.clone();
        let request = request.map(|body| {
            Body::stream(Upload {
                body,
                begin,
                state: watched,
            })
        });
        let state = Some(state);
        (request, Activity { begin, state })
    }
}

impl http_body::Body for Upload {
    type Data = Bytes;
    type Error = io::Error;

    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<io::Result<Frame<Bytes>>>> {
        let polled = Pin::new(&mut self.body).poll_frame(cx);
        self.state.waits.store(polled.is_pending(), Relaxed);
        let frame = ready!(polled);
        if let Some(Err(error)) = &frame {
            let _ = self.state.broken.set(error.kind());
        }
        self.state.last.store(self.begin.elapsed().as_millis() as u64, Relaxed);
        Poll::Ready(frame)
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}
