//! What of a batch reaches the wire, when, and in which records.

use std::future::poll_fn;
use std::sync::Arc;

use tokio::io::{AsyncReadExt, DuplexStream, duplex};
use tokio::task::JoinHandle;

use super::super::testing::{acceptor, connector};
use super::*;

/// What TLS 1.3 with AES-GCM adds to a record: header, content type, tag.
const OVERHEAD: usize = 5 + 1 + 16;
const FRAME: usize = 9 + RECORD;

/// The client's end of the pipe, which keeps what it reads.
struct Tap(DuplexStream, Arc<Mutex<Vec<u8>>>);

impl AsyncRead for Tap {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let before = buf.filled().len();
        ready!(Pin::new(&mut self.0).poll_read(cx, buf))?;
        self.1.lock().unwrap().extend_from_slice(&buf.filled()[before..]);
        Poll::Ready(Ok(()))
    }
}

impl AsyncWrite for Tap {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.0).poll_write(cx, bytes)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.0).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.0).poll_shutdown(cx)
    }
}

struct Ends {
    batch: Mutex<Batch<DuplexStream>>,
    client: tokio_rustls::client::TlsStream<Tap>,
    wire: Arc<Mutex<Vec<u8>>>,
    sent: Vec<u8>,
}

impl Ends {
    async fn new(limit: usize, pipe: usize) -> Self {
        let (client, server) = duplex(pipe);
        let wire = Arc::default();
        let tap = Tap(client, Arc::clone(&wire));
        let client = tokio::spawn(async move { connector(b"h2").connect("localhost".try_into().unwrap(), tap).await });
        let server = acceptor().accept(server).await.unwrap();
        let client = client.await.unwrap().unwrap();
        let batch = Batch::new(Box::new(server), limit);
        Self {
            batch,
            client,
            wire,
            sent: Vec::new(),
        }
    }

    /// Write a frame as h2 does: a header and a payload, then a flush. False when the write must wait.
    async fn write(&mut self, len: usize) -> bool {
        let start = self.sent.len();
        let frame: Vec<u8> = (start..start + len).map(|n| (n / 7) as u8).collect();
        let mut handle = Handle(&self.batch);
        let mut written = 0;
        while written < len {
            let (head, payload) = frame[written..].split_at((len - written).min(9));
            let slices = [IoSlice::new(head), IoSlice::new(payload)];
            let poll = poll_fn(|cx| Poll::Ready(Pin::new(&mut handle).poll_write_vectored(cx, &slices))).await;
            let Poll::Ready(count) = poll else {
                self.sent.extend_from_slice(&frame[..written]);
                return false;
            };
            written += count.unwrap();
        }
        poll_fn(|cx| Pin::new(&mut handle).poll_flush(cx)).await.unwrap();
        self.sent.extend_from_slice(&frame);
        true
    }

    /// Flush while the client reads; lengths of the records that came, without what TLS adds.
    async fn finish(mut self) -> Vec<usize> {
        self.wire.lock().unwrap().clear();
        let sent = self.sent.len();
        let reader: JoinHandle<Vec<u8>> = tokio::spawn(async move {
            let mut received = vec![0; sent];
            self.client.read_exact(&mut received).await.unwrap();
            received
        });
        poll_fn(|cx| self.batch.lock().unwrap().poll_finish(cx)).await.unwrap();
        let received = tokio::time::timeout(std::time::Duration::from_secs(10), reader).await;
        assert!(received.expect("every byte").unwrap() == self.sent);
        let wire = self.wire.lock().unwrap();
        let (mut rest, mut records) = (&wire[..], Vec::new());
        while let [_, _, _, high, low, ..] = rest {
            let len = 5 + usize::from(u16::from_be_bytes([*high, *low]));
            records.push(len - OVERHEAD);
            rest = &rest[len..];
        }
        records
    }
}

#[tokio::test]
async fn frames_fill_records_and_leave_together() {
    let mut ends = Ends::new(1 << 20, 2 << 20).await;
    for _ in 0..16 {
        assert!(ends.write(FRAME).await);
    }
    // Nothing leaves before the end.
    let mut byte = [0];
    let early = tokio::time::timeout(std::time::Duration::from_millis(20), ends.client.read(&mut byte)).await;
    assert!(early.is_err());
    let mut expected = vec![RECORD; 16];
    expected.push(16 * 9);
    assert_eq!(ends.finish().await, expected);
}

#[tokio::test]
async fn small_frames_share_a_record() {
    let mut ends = Ends::new(1 << 20, 2 << 20).await;
    for _ in 0..20 {
        assert!(ends.write(1000).await);
    }
    assert_eq!(ends.finish().await.len(), 2);
    let mut ends = Ends::new(1 << 20, 2 << 20).await;
    for _ in 0..16 {
        assert!(ends.write(1000).await);
    }
    assert_eq!(ends.finish().await, [16_000]);
}

#[tokio::test]
async fn frames_of_any_length_arrive_as_they_were() {
    let mut ends = Ends::new(1 << 20, 2 << 20).await;
    for len in [
        1,
        9,
        10,
        16_383,
        16_384,
        16_385,
        1,
        20_000,
        32_768 + 9,
        3,
        18_000,
        65_536,
        5_000,
        5_000,
        5_000,
        5_000,
    ] {
        assert!(ends.write(len).await);
    }
    ends.finish().await;
}

#[tokio::test]
async fn no_more_is_held_than_the_limit() {
    let (limit, pipe) = (256 << 10, 16 << 10);
    let mut ends = Ends::new(limit, pipe).await;
    for _ in 0..1000 {
        if !ends.write(FRAME).await {
            break;
        }
    }
    assert!((limit..limit + FRAME).contains(&ends.sent.len()), "{}", ends.sent.len());
    // And what is held arrives when the client begins to read.
    ends.finish().await;
}

#[tokio::test]
async fn one_write_of_more_than_the_limit_is_cut() {
    let mut ends = Ends::new(64 << 10, 4 << 20).await;
    assert!(ends.write(1 << 20).await);
    ends.finish().await;
}
