//! A body on its way out.

use std::future::poll_fn;
use std::pin::Pin;
use std::task::{Poll, ready};

use bytes::Bytes;
use h2::{Reason, SendStream};
use http::header::{CONNECTION, TE, TRANSFER_ENCODING, UPGRADE};
use http::{HeaderMap, HeaderName};
use http_body::Body as _;

use crate::http::Body;

/// What h2 may hold of what is to be sent on a stream: several records at once, and still within a core's second-level
/// cache.
pub const WRITE_BUFFER: usize = 256 * 1024;

/// A body as large as this, or smaller, is handed over at once if it is in memory, in bytes: h2 sends it when the other end
/// lets it.
pub const SMALL: usize = 16 * 1024;

/// Send a body, and tell of each part how long it is; whether all of it was sent. A part is taken from the body when the
/// other end, and what h2 holds already, leave room for one.
pub async fn pour(mut body: Body, mut stream: SendStream<Bytes>, mut sent: impl FnMut(usize)) -> bool {
    loop {
        stream.reserve_capacity(1);
        let has_room = poll_fn(|cx| {
            while stream.capacity() == 0 {
                match ready!(stream.poll_capacity(cx)) {
                    Some(Ok(_)) => {}
                    Some(Err(_)) | None => return Poll::Ready(false),
                }
            }
            Poll::Ready(true)
        });
        if !has_room.await {
            return false;
        }
        let frame = poll_fn(|cx| match Pin::new(&mut body).poll_frame(cx) {
            Poll::Ready(frame) => Poll::Ready(Some(frame)),
            Poll::Pending => stream.poll_reset(cx).map(|_| None),
        });
        // The other end does not want the rest.
        let Some(frame) = frame.await else { return false };
        let ended = match frame.transpose() {
            Ok(None) => stream.send_data(Bytes::new(), true).map(|()| true).ok(),
            Ok(Some(frame)) => match frame.into_data() {
                Ok(data) => {
                    sent(data.len());
                    let ends = body.is_end_stream();
                    match data.is_empty() && !ends {
                        true => Some(false),
                        false => stream.send_data(data, ends).map(|()| ends).ok(),
                    }
                }
                Err(frame) => {
                    stream.reserve_capacity(0);
                    let mut fields = frame.into_trailers().unwrap_or_default();
                    remove_fields_of_connections(&mut fields);
                    stream.send_trailers(fields).map(|()| true).ok()
                }
            },
            // The other end must not take what it has for the whole.
            Err(_) => None,
        };
        match ended {
            Some(false) => {}
            Some(true) => return true,
            None => {
                stream.send_reset(Reason::INTERNAL_ERROR);
                return false;
            }
        }
    }
}

/// RFC 9113 section 8.2.2.
pub fn remove_fields_of_connections(fields: &mut HeaderMap) {
    const KEEP_ALIVE: HeaderName = HeaderName::from_static("keep-alive");
    const PROXY_CONNECTION: HeaderName = HeaderName::from_static("proxy-connection");
    const NAMES: [HeaderName; 5] = [CONNECTION, KEEP_ALIVE, PROXY_CONNECTION, TRANSFER_ENCODING, UPGRADE];
    if fields.keys().any(|name| NAMES.contains(name)) {
        for name in NAMES {
            fields.remove(name);
        }
    }
    if fields.get(TE).is_some_and(|value| value != "trailers") {
        fields.remove(TE);
    }
}
