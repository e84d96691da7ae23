//! One connection, its clock in our hands: when it dozes, what wakes it, and what must never be lost.

use std::sync::atomic::AtomicUsize;

use tokio::io::{AsyncReadExt, DuplexStream, duplex};
use tokio::task::JoinHandle;
use tokio::time::sleep;

use super::super::testing::{Site, peer};
use super::*;
use crate::net::stall::Stall;
use crate::shutdown::{self, Phase, Trigger};

/// More than the pipe below holds, so that an answer can wait for its reader.
const LARGE: usize = 1 << 20;
const PIPE: usize = 16 << 10;

/// Longer than every timeout of a connection.
const FOREVER: Duration = Duration::from_secs(600);

const REQUEST: &str = "OPTIONS / HTTP/1.1\r\nHost: a\r\n\r\n";
const ANSWER: &str = "HTTP/1.1 204 No Content\r\n";

/// The stream of the server, which remembers how much was asked of it at last: hyper and the doze differ in that.
struct Asked(DuplexStream, Arc<AtomicUsize>);

impl AsyncRead for Asked {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        self.1.store(buf.remaining(), Ordering::Relaxed);
        Pin::new(&mut self.0).poll_read(cx, buf)
    }
}

impl AsyncWrite for Asked {
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

struct Open {
    client: DuplexStream,
    asked: Arc<AtomicUsize>,
    trigger: Trigger,
    served: JoinHandle<Result<(), BoxError>>,
    opened: Instant,
    _site: Site,
}

impl Open {
    fn new() -> Self {
        let site = Site::new("large.bin", &vec![b'x'; LARGE]);
        let (client, server) = duplex(PIPE);
        let asked = Arc::new(AtomicUsize::new(0));
        let (trigger, shutdown) = shutdown::channel();
        let (service, limits) = (site.service(), site.plan.limits.clone());
        let stream = Stall::new(
            Asked(server, asked.clone()),
            Duration::from_millis(limits.idle_timeout_ms),
        );
        let served = tokio::spawn(async move {
            let (peer, progress) = (peer(), stream.progress());
            serve(stream, &peer, service, &limits, &progress, shutdown).await
        });
        Self {
            client,
            asked,
            trigger,
            served,
            opened: Instant::now(),
            _site: site,
        }
    }

    async fn send(&mut self, text: &str) {
        self.client.write_all(text.as_bytes()).await.unwrap();
    }

    /// The head of the next answer.
    async fn head(&mut self) -> String {
        let mut head = String::new();
        while !head.ends_with("\r\n\r\n") {
            head.push(self.client.read_u8().await.unwrap() as char);
        }
        head
    }

    async fn expect_answer(&mut self) {
        let head = self.head().await;
        assert!(head.starts_with(ANSWER), "{head}");
    }

    async fn ask(&mut self) {
        self.send(REQUEST).await;
        self.expect_answer().await;
    }

    fn dozes(&self) -> bool {
        self.asked.load(Ordering::Relaxed) == FIRST_READ
    }

    async fn fall_asleep(&mut self) {
        sleep(DOZE_AFTER * 3).await;
        assert!(self.dozes());
    }

    /// Wait for the server to close, and tell how long after the connection was opened it did.
    async fn closed(mut self) -> Duration {
        let mut rest = Vec::new();
        let end = self.client.read_to_end(&mut rest);
        tokio::time::timeout(FOREVER, end).await.expect("a close").unwrap();
        assert_eq!(String::from_utf8_lossy(&rest), "");
        let _ = self.served.await.unwrap();
        self.opened.elapsed()
    }
}

#[tokio::test(start_paused = true)]
async fn an_idle_connection_dozes_and_a_request_wakes_it() {
    let mut open = Open::new();
    open.fall_asleep().await;
    for _ in 0..3 {
        open.ask().await;
        assert!(!open.dozes());
        open.fall_asleep().await;
    }
    open.send("GET /large.bin HTTP/1.1\r\nHost: a\r\n\r\n").await;
    assert!(open.head().await.starts_with("HTTP/1.1 200"));
    let mut body = vec![0; LARGE];
    open.client.read_exact(&mut body).await.unwrap();
    open.fall_asleep().await;
    open.ask().await;
}

#[tokio::test(start_paused = true)]
async fn a_busy_connection_does_not_doze() {
    let mut open = Open::new();
    for _ in 0..20 {
        open.ask().await;
        sleep(DOZE_AFTER / 2).await;
        assert!(!open.dozes());
    }
}

#[tokio::test(start_paused = true)]
async fn pipelined_requests_are_all_answered() {
    let mut open = Open::new();
    open.fall_asleep().await;
    // More than is read at once when the connection wakes.
    let count = 3 * FIRST_READ / REQUEST.len();
    open.send(&REQUEST.repeat(count)).await;
    for _ in 0..count {
        open.expect_answer().await;
    }
    open.fall_asleep().await;
    open.ask().await;
}

#[tokio::test(start_paused = true)]
async fn half_a_head_keeps_the_connection_awake() {
    let mut open = Open::new();
    open.fall_asleep().await;
    let (half, rest) = REQUEST.split_at(12);
    open.send(half).await;
    for _ in 0..10 {
        sleep(DOZE_AFTER * 2).await;
        assert!(!open.dozes());
    }
    open.send(rest).await;
    open.expect_answer().await;
    open.fall_asleep().await;
}

#[tokio::test(start_paused = true)]
async fn half_a_head_behind_a_request_is_kept() {
    let mut open = Open::new();
    let (half, rest) = REQUEST.split_at(12);
    open.send(&format!("{REQUEST}{half}")).await;
    open.expect_answer().await;
    for _ in 0..10 {
        sleep(DOZE_AFTER * 2).await;
        assert!(!open.dozes());
    }
    open.send(rest).await;
    open.expect_answer().await;
    open.fall_asleep().await;
}

#[tokio::test(start_paused = true)]
async fn half_a_head_is_not_waited_for_longer_than_the_header_timeout() {
    for sent in ["OPTIONS / HT", "\r\n"] {
        let mut open = Open::new();
        sleep(Duration::from_secs(10)).await;
        open.send(sent).await;
        let after = open.closed().await;
        assert!((39..=41).contains(&after.as_secs()), "{sent:?}: {after:?}");
    }
    let mut open = Open::new();
    open.send(&format!("{REQUEST}OPTIONS / HT")).await;
    open.expect_answer().await;
    let after = open.closed().await;
    assert!((30..=31).contains(&after.as_secs()), "{after:?}");
}

#[tokio::test(start_paused = true)]
async fn a_doze_ends_with_the_header_timeout() {
    let mut open = Open::new();
    sleep(Duration::from_secs(10)).await;
    open.ask().await;
    sleep(Duration::from_secs(29)).await;
    assert!(!open.served.is_finished());
    assert_eq!(open.closed().await.as_secs(), 40);
}

#[tokio::test(start_paused = true)]
async fn an_answer_that_waits_for_its_reader_is_no_idle_time() {
    let mut open = Open::new();
    open.send("GET /large.bin HTTP/1.1\r\nHost: a\r\n\r\n").await;
    assert!(open.head().await.starts_with("HTTP/1.1 200"));
    let mut body = vec![0; LARGE];
    let (some, last) = body.split_at_mut(LARGE - PIPE / 2);
    open.client.read_exact(some).await.unwrap();
    // By now everything is in the pipe or in hyper's hands.
    sleep(DOZE_AFTER * 5).await;
    open.client.read_exact(last).await.unwrap();
    assert!(body.iter().all(|byte| *byte == b'x'));
    open.fall_asleep().await;

    open.send("GET /large.bin HTTP/1.1\r\nHost: a\r\n\r\n").await;
    for _ in 0..20 {
        sleep(DOZE_AFTER * 2).await;
        assert!(!open.dozes());
    }
    assert!(open.head().await.starts_with("HTTP/1.1 200"));
    open.client.read_exact(&mut body).await.unwrap();
    open.ask().await;
}

#[tokio::test(start_paused = true)]
async fn a_shutdown_ends_a_doze_at_once() {
    let mut open = Open::new();
    open.ask().await;
    sleep(Duration::from_secs(5)).await;
    assert!(open.dozes());
    open.trigger.advance(Phase::Draining);
    assert_eq!(open.closed().await.as_millis(), 5000);
}

#[tokio::test(start_paused = true)]
async fn a_request_that_was_sent_before_the_shutdown_is_answered() {
    let mut open = Open::new();
    open.fall_asleep().await;
    open.send(REQUEST).await;
    open.trigger.advance(Phase::Draining);
    open.expect_answer().await;
    open.closed().await;
}

#[tokio::test(start_paused = true)]
async fn a_peer_that_leaves_ends_a_doze_at_once() {
    let mut open = Open::new();
    open.fall_asleep().await;
    let before = Instant::now();
    drop(open.client);
    let served = tokio::time::timeout(FOREVER, open.served).await;
    served.expect("an end").unwrap().unwrap();
    assert_eq!(before.elapsed(), Duration::ZERO);
}

/// A body without end.
struct Endless;

impl http_body::Body for Endless {
    type Data = Bytes;
    type Error = io::Error;

    fn poll_frame(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<Option<io::Result<Frame<Bytes>>>> {
        Poll::Ready(Some(Ok(Frame::data(Bytes::from_static(&[b'x'; 16 * 1024])))))
    }
}

struct Woken(AtomicUsize);

impl std::task::Wake for Woken {
    fn wake(self: Arc<Self>) {
        self.0.fetch_add(1, Ordering::Relaxed);
    }
}

#[tokio::test]
async fn who_reads_nothing_is_given_little() {
    let (mut client, server) = duplex(PIPE);
    let mut stream = Stall::new(server, FOREVER);
    let woken = Arc::new(Woken(AtomicUsize::new(0)));
    let waker = woken.clone().into();
    let cx = &mut Context::from_waker(&waker);
    let mut paced = Paced {
        body: Endless,
        progress: stream.progress(),
        ahead: 0,
        writes: 0,
    };
    let mut given = |cx: &mut Context<'_>| {
        let frames = || http_body::Body::poll_frame(Pin::new(&mut paced), cx).is_ready();
        std::iter::repeat_with(frames)
            .take(100)
            .take_while(|ready| *ready)
            .count()
            * 16
            * 1024
    };
    assert_eq!(given(cx), AHEAD);
    assert_eq!(given(cx), 0);
    // Something is written: there is room for as much again, and whoever waited for that is told.
    assert!(Pin::new(&mut stream).poll_write(cx, &[0; PIPE]).is_ready());
    assert_eq!(woken.0.load(Ordering::Relaxed), 1);
    assert_eq!(given(cx), AHEAD);
    // What waits for the reader leaves room for nothing.
    assert!(Pin::new(&mut stream).poll_write(cx, &[0; PIPE]).is_pending());
    assert_eq!(given(cx), 0);
    client.read_exact(&mut [0; PIPE]).await.unwrap();
    let before = woken.0.load(Ordering::Relaxed);
    assert!(Pin::new(&mut stream).poll_write(cx, &[0; PIPE]).is_ready());
    assert_eq!(woken.0.load(Ordering::Relaxed), before + 1);
    assert_eq!(given(cx), AHEAD);
}
