//! A request body on its way to an upstream: when did it last move?

use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::task::{Context, Poll, ready};
use std::time::{Duration, Instant};

use bytes::Bytes;
use http::Request;
use http_body::{Frame, SizeHint};

use crate::http::Body;

/// When a request was last being sent.
pub struct Activity {
    begin: Instant,
    /// Milliseconds after that; `None` for a request that is sent at once.
    last: Option<Arc<AtomicU64>>,
}

impl Activity {
    pub fn last(&self) -> Instant {
        let after = self.last.as_ref().map_or(0, |last| last.load(Relaxed));
        self.begin + Duration::from_millis(after)
    }
}

pub struct Upload {
    body: Body,
    begin: Instant,
    last: Arc<AtomicU64>,
}

impl Upload {
    /// The same request, watched.
    pub fn watch(request: Request<Body>) -> (Request<Body>, Activity) {
        let begin = Instant::now();
        if !matches!(request.body(), Body::Stream(_)) {
            return (request, Activity { begin, last: None });
        }
        let last = Arc::new(AtomicU64::new(0));
        let watched = last.clone();
        let request = request.map(|body| {
            Body::stream(Upload {
                body,
                begin,
                last: watched,
            })
        });
        (
            request,
            Activity {
                begin,
                last: Some(last),
            },
        )
    }
}

impl http_body::Body for Upload {
    type Data = Bytes;
    type Error = io::Error;

    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<io::Result<Frame<Bytes>>>> {
        let frame = ready!(Pin::new(&mut self.body).poll_frame(cx));
        self.last.store(self.begin.elapsed().as_millis() as u64, Relaxed);
        Poll::Ready(frame)
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}
