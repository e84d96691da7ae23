//! A body that is coded while it goes by: read no faster than it is taken, and held back no longer than there is more to
//! come at once.

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use bytes::Bytes;
use http::HeaderMap;
use http_body::Frame;
use tokio::sync::OwnedSemaphorePermit;

use crate::files::coding::{Coding, Encoder};
use crate::http::Body;

/// What is coded in one step: how long others on the thread wait for it.
const STEP: usize = 16 * 1024;
/// Steps without anything to send after which others have their turn.
const PATIENCE: usize = 8;
/// What is worth sending while there is more.
const CHUNK: usize = 16 * 1024;

pub struct Passing {
    body: Body,
    /// `None` when everything is coded.
    encoder: Option<Encoder<Vec<u8>>>,
    /// What has come and is not coded yet.
    waiting: Bytes,
    /// Whether the encoder keeps something that the client does not have.
    held: bool,
    trailers: Option<HeaderMap>,
    /// It bounds how many encoders there are.
    _permit: OwnedSemaphorePermit,
}

impl Passing {
    /// # Errors
    ///
    /// There is no such encoder.
    pub fn new(coding: Coding, body: Body, permit: OwnedSemaphorePermit) -> Result<Self, (Body, io::Error)> {
        match Encoder::passing(coding, Vec::new()) {
            Ok(encoder) => Ok(Self {
                body,
                encoder: Some(encoder),
                waiting: Bytes::new(),
                held: false,
                trailers: None,
                _permit: permit,
            }),
            Err(error) => Err((body, error)),
        }
    }

    /// Code what waits, as far as one turn goes. What has come of it, if that is worth sending.
    fn code(&mut self) -> io::Result<Option<Bytes>> {
        let Some(encoder) = &mut self.encoder else {
            return Ok(None);
        };
        let piece = self.waiting.split_to(self.waiting.len().min(STEP));
        encoder.write_all(&piece)?;
        self.held = true;
        let sink = encoder.sink();
        Ok((sink.len() >= CHUNK).then(|| std::mem::take(sink).into()))
    }

    /// Everything that was coded so far, in a form that can be read.
    fn flush(&mut self) -> io::Result<Bytes> {
        self.held = false;
        match &mut self.encoder {
            Some(encoder) => {
                encoder.flush()?;
                Ok(std::mem::take(encoder.sink()).into())
            }
            None => Ok(Bytes::new()),
        }
    }

    fn finish(&mut self) -> io::Result<Bytes> {
        self.held = false;
        match self.encoder.take() {
            Some(encoder) => Ok(encoder.finish()?.into()),
            None => Ok(Bytes::new()),
        }
    }
}

impl http_body::Body for Passing {
    type Data = Bytes;
    type Error = io::Error;

    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<io::Result<Frame<Bytes>>>> {
        let this = &mut *self;
        for _ in 0..PATIENCE {
            if !this.waiting.is_empty() {
                if let Some(chunk) = this.code()? {
                    return Poll::Ready(Some(Ok(Frame::data(chunk))));
                }
                continue;
            }
            if this.encoder.is_none() {
                return Poll::Ready(this.trailers.take().map(Frame::trailers).map(Ok));
            }
            let polled = Pin::new(&mut this.body).poll_frame(cx);
            if polled.is_pending() && this.held {
                // Nobody knows when there is more: an event, or half a page, is for now.
                return Poll::Ready(Some(this.flush().map(Frame::data)));
            }
            let rest = match ready!(polled).transpose()?.map(Frame::into_data) {
                Some(Ok(data)) => {
                    this.waiting = data;
                    continue;
                }
                Some(Err(frame)) => {
                    this.trailers = frame.into_trailers().ok();
                    this.finish()?
                }
                None => this.finish()?,
            };
            if !rest.is_empty() {
                return Poll::Ready(Some(Ok(Frame::data(rest))));
            }
        }
        cx.waker().wake_by_ref();
        Poll::Pending
    }

    fn is_end_stream(&self) -> bool {
        self.encoder.is_none() && self.trailers.is_none()
    }
}

#[cfg(test)]
mod tests {
    use std::io::Read;
    use std::sync::Arc;

    use http_body::Body as _;
    use http_body_util::BodyExt;
    use tokio::sync::{Semaphore, mpsc};

    use super::*;

    /// What a test sends, piece by piece.
    struct Fed(mpsc::Receiver<io::Result<Frame<Bytes>>>);

    impl http_body::Body for Fed {
        type Data = Bytes;
        type Error = io::Error;

        fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<io::Result<Frame<Bytes>>>> {
            self.0.poll_recv(cx)
        }
    }

    fn fed(coding: Coding) -> (mpsc::Sender<io::Result<Frame<Bytes>>>, Passing) {
        let (feed, fed) = mpsc::channel(4);
        let permit = Arc::new(Semaphore::new(1)).try_acquire_owned().unwrap();
        let passing = Passing::new(coding, Body::stream(Fed(fed)), permit).map_err(|(_, error)| error);
        (feed, passing.unwrap())
    }

    /// As far as it can be read.
    fn decoded(coding: Coding, coded: &[u8]) -> Vec<u8> {
        let mut text = Vec::new();
        let _ = match coding {
            Coding::Br => brotli::Decompressor::new(coded, 4096).read_to_end(&mut text),
            Coding::Zstd => zstd::Decoder::new(coded).unwrap().read_to_end(&mut text),
            Coding::Gzip => flate2::read::GzDecoder::new(coded).read_to_end(&mut text),
        };
        text
    }

    #[tokio::test]
    async fn what_has_come_can_be_read_before_there_is_more() {
        for coding in Coding::ALL {
            let (feed, mut passing) = fed(coding);
            let (mut coded, mut text) = (Vec::new(), Vec::new());
            for number in 0..20 {
                let event = format!("data: event {number}\n\n");
                text.extend_from_slice(event.as_bytes());
                feed.send(Ok(Frame::data(event.into()))).await.unwrap();
                let frame = passing.frame().await.unwrap().unwrap();
                coded.extend_from_slice(&frame.into_data().unwrap());
                assert_eq!(decoded(coding, &coded), text, "{coding:?}");
            }
            let trailers = HeaderMap::from_iter([(http::header::ETAG, http::HeaderValue::from_static("x"))]);
            feed.send(Ok(Frame::trailers(trailers.clone()))).await.unwrap();
            drop(feed);
            let rest = passing.collect().await.unwrap();
            assert_eq!(rest.trailers(), Some(&trailers));
            coded.extend_from_slice(&rest.to_bytes());
            assert_eq!(decoded(coding, &coded), text, "{coding:?}");
        }
    }

    #[tokio::test]
    async fn large_pieces_are_coded_in_turns() {
        for coding in Coding::ALL {
            let (feed, passing) = fed(coding);
            let mut text = vec![0; 3 << 20];
            getrandom::fill(&mut text[..1 << 20]).unwrap();
            feed.send(Ok(Frame::data(text.clone().into()))).await.unwrap();
            drop(feed);
            let coded = passing.collect().await.unwrap().to_bytes();
            assert!(
                coded.len() < text.len() / 2 && decoded(coding, &coded) == text,
                "{coding:?}"
            );
        }
    }

    #[tokio::test]
    async fn what_breaks_off_does_not_end() {
        let (feed, mut passing) = fed(Coding::Gzip);
        feed.send(Ok(Frame::data("beginning".into()))).await.unwrap();
        feed.send(Err(io::ErrorKind::ConnectionReset.into())).await.unwrap();
        let error = loop {
            if let Err(error) = passing.frame().await.unwrap() {
                break error;
            }
        };
        assert_eq!(error.kind(), io::ErrorKind::ConnectionReset);
        assert!(!passing.is_end_stream());
    }
}
