//! One connection, its clock in our hands: when it ends, what can be read in two ways, and what must never be lost.

use tokio::io::{AsyncReadExt, DuplexStream, duplex};
use tokio::task::JoinHandle;
use tokio::time::sleep;

use super::super::testing::{Site, peer};
use super::*;
use crate::net::stall::Stall;
use crate::shutdown::{self, Trigger};

/// More than the pipe below holds, so that an answer can wait for its reader.
const LARGE: usize = 1 << 20;
const PIPE: usize = 16 << 10;

/// Longer than every timeout of a connection.
const FOREVER: Duration = Duration::from_secs(600);

/// After which a connection without a request is closed, by the Plan that is tested with.
const IDLE: Duration = Duration::from_secs(60);

/// For as long as a connection may idle.
const SOME_TIME: Duration = Duration::from_millis(750);

const REQUEST: &str = "OPTIONS / HTTP/1.1\r\nHost: a\r\n\r\n";
const ANSWER: &str = "HTTP/1.1 204 No Content\r\n";

struct Open {
    client: DuplexStream,
    trigger: Trigger,
    served: JoinHandle<Result<(), BoxError>>,
    opened: Instant,
    _site: Site,
}

impl Open {
    fn new() -> Self {
        let site = Site::new("large.bin", &vec![b'x'; LARGE]);
        let (client, server) = duplex(PIPE);
        let (trigger, shutdown) = shutdown::channel();
        let (service, limits) = (site.service(), site.plan.limits.clone());
        let stream = Stall::new(server, Duration::from_millis(limits.idle_timeout_ms));
        let served = tokio::spawn(async move {
            let (peer, progress) = (peer(), stream.progress());
            serve(stream, &peer, service, &limits, &progress, shutdown).await
        });
        Self {
            client,
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
async fn an_idle_connection_goes_on() {
    let mut open = Open::new();
    sleep(SOME_TIME).await;
    for _ in 0..3 {
        open.ask().await;
        sleep(SOME_TIME).await;
    }
    open.send("GET /large.bin HTTP/1.1\r\nHost: a\r\n\r\n").await;
    assert!(open.head().await.starts_with("HTTP/1.1 200"));
    let mut body = vec![0; LARGE];
    open.client.read_exact(&mut body).await.unwrap();
    sleep(SOME_TIME).await;
    open.ask().await;
}

#[tokio::test(start_paused = true)]
async fn pipelined_requests_are_all_answered() {
    let mut open = Open::new();
    sleep(SOME_TIME).await;
    // More than is read at once.
    let count = 3 * wire::FIRST_READ / REQUEST.len();
    open.send(&REQUEST.repeat(count)).await;
    for _ in 0..count {
        open.expect_answer().await;
    }
    sleep(SOME_TIME).await;
    open.ask().await;
}

#[tokio::test(start_paused = true)]
async fn half_a_head_may_take_its_time() {
    let mut open = Open::new();
    sleep(SOME_TIME).await;
    let (half, rest) = REQUEST.split_at(12);
    open.send(half).await;
    for _ in 0..10 {
        sleep(SOME_TIME).await;
    }
    open.send(rest).await;
    open.expect_answer().await;
    sleep(SOME_TIME).await;
}

#[tokio::test(start_paused = true)]
async fn half_a_head_behind_a_request_is_kept() {
    let mut open = Open::new();
    let (half, rest) = REQUEST.split_at(12);
    open.send(&format!("{REQUEST}{half}")).await;
    open.expect_answer().await;
    for _ in 0..10 {
        sleep(SOME_TIME).await;
    }
    open.send(rest).await;
    open.expect_answer().await;
    sleep(SOME_TIME).await;
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
async fn idle_time_ends_with_the_idle_timeout() {
    let mut open = Open::new();
    sleep(Duration::from_secs(10)).await;
    open.ask().await;
    sleep(Duration::from_secs(59)).await;
    assert!(!open.served.is_finished());
    assert_eq!(open.closed().await.as_secs(), 70);
}

#[tokio::test(start_paused = true)]
async fn an_answer_that_waits_for_its_reader_is_no_idle_time() {
    let mut open = Open::new();
    open.send("GET /large.bin HTTP/1.1\r\nHost: a\r\n\r\n").await;
    assert!(open.head().await.starts_with("HTTP/1.1 200"));
    let mut body = vec![0; LARGE];
    let (some, last) = body.split_at_mut(LARGE - PIPE / 2);
    open.client.read_exact(some).await.unwrap();
    // By now everything is in the pipe or about to be.
    sleep(SOME_TIME).await;
    open.client.read_exact(last).await.unwrap();
    assert!(body.iter().all(|byte| *byte == b'x'));
    sleep(SOME_TIME).await;

    open.send("GET /large.bin HTTP/1.1\r\nHost: a\r\n\r\n").await;
    for _ in 0..20 {
        sleep(SOME_TIME).await;
    }
    assert!(open.head().await.starts_with("HTTP/1.1 200"));
    open.client.read_exact(&mut body).await.unwrap();
    open.ask().await;
}

#[tokio::test(start_paused = true)]
async fn a_shutdown_ends_idle_time_at_once() {
    let mut open = Open::new();
    open.ask().await;
    sleep(Duration::from_secs(5)).await;
    open.trigger.advance(Phase::Draining);
    assert_eq!(open.closed().await.as_millis(), 5000);
}

#[tokio::test(start_paused = true)]
async fn a_request_that_was_sent_before_the_shutdown_is_answered() {
    let mut open = Open::new();
    sleep(SOME_TIME).await;
    open.send(REQUEST).await;
    open.trigger.advance(Phase::Draining);
    open.expect_answer().await;
    open.closed().await;
}

#[tokio::test(start_paused = true)]
async fn a_peer_that_leaves_ends_a_connection_at_once() {
    let open = Open::new();
    sleep(SOME_TIME).await;
    let before = Instant::now();
    drop(open.client);
    let served = tokio::time::timeout(FOREVER, open.served).await;
    served.expect("an end").unwrap().unwrap();
    assert_eq!(before.elapsed(), Duration::ZERO);
}

/// What is said to a client that sends this in pieces of that size and then waits, and how long it is said.
async fn said(text: &str, step: usize) -> (String, Duration) {
    let mut open = Open::new();
    for piece in text.as_bytes().chunks(step) {
        // A server that has closed takes no more.
        let _ = open.client.write_all(piece).await;
        tokio::task::yield_now().await;
    }
    let mut said = Vec::new();
    let before = Instant::now();
    let _ = timeout(FOREVER, open.client.read_to_end(&mut said))
        .await
        .expect("a close");
    (String::from_utf8(said).unwrap(), before.elapsed())
}

const STEPS: [usize; 5] = [1, 2, 3, 7, 4096];

#[tokio::test(start_paused = true)]
async fn what_can_be_read_in_one_way_is_answered() {
    for (text, answers) in [
        ("GET / HTTP/1.1\r\nHost: a\r\n\r\n", 1),
        (
            "\r\nGET / HTTP/1.1\r\nHost: a\r\n\r\nGET /2 HTTP/1.1\r\nHost: a\r\n\r\n",
            2,
        ),
        (
            "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\n\r\n\n\r\n\n\nGET / HTTP/1.1\r\nHost: a\r\n\r\n",
            2,
        ),
        (
            "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 0\r\n\r\nGET / HTTP/1.1\r\nHost: a\r\n\r\n",
            2,
        ),
        (
            "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: Chunked\r\n\r\n5;a=\"b\"\r\n\n\n\n\n\n\r\n0\r\nX: y\r\n\r\nGET / HTTP/1.1\r\nHost: a\r\n\r\n",
            2,
        ),
        ("GET / HTTP/1.1\r\nHost: a\r\nA:\r\nB: c \r\n\r\n", 1),
    ] {
        for step in STEPS {
            let (said, after) = said(text, step).await;
            assert_eq!(said.matches("HTTP/1.1 ").count(), answers, "{text:?} by {step}: {said}");
            assert!(!said.contains("HTTP/1.1 400"), "{text:?} by {step}: {said}");
            assert_eq!(after, IDLE, "{text:?} by {step}: closed for another reason");
        }
    }
}

#[tokio::test(start_paused = true)]
async fn what_can_be_read_in_two_ways_is_refused() {
    for text in [
        "GET / HTTP/1.1\n",
        "GET / HTTP/1.1\r\nHost: a\n",
        "GET / HTTP/1.1\r\nHost: a\r\n\n",
        "GET / HTTP/1.1\r\nHost: a\r\nA: b\rC: d\r\n\r\n",
        "GET / HTTP/1.1\r\nHost: a\r\nA: b\r\n c\r\n\r\n",
        "GET / HTTP/1.1\r\nHost: a\r\nContent-Length : 5\r\n\r\n",
        "GET / HTTP/1.1\r\nHost: a\r\n: 5\r\n\r\n",
        "GET / HTTP/1.1\r\nHost: a\r\nA\r\n\r\n",
        "GET / HTTP/1.1\r\nHost: a\r\nA: \0\r\n\r\n",
        "GET / HTTP/2.0\r\nHost: a\r\n\r\n",
        "GET /  HTTP/1.1\r\nHost: a\r\n\r\n",
        "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\nContent-Length: 5\r\n\r\nabcde",
        "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 5, 5\r\n\r\nabcde",
        "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: +5\r\n\r\nabcde",
        "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 0x5\r\n\r\nabcde",
        "POST / HTTP/1.1\r\nHost: a\r\nContent-Length:\r\n\r\n",
        "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 99999999999999999999\r\n\r\n",
        "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n",
        "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\nContent-Length: 5\r\n\r\n",
        "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\nTransfer-Encoding: identity\r\n\r\n",
        "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: gzip, chunked\r\n\r\n",
        "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: xchunked\r\n\r\n",
        "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: \x0bchunked\r\n\r\n",
        "POST / HTTP/1.0\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n",
    ] {
        for step in STEPS {
            let (said, after) = said(text, step).await;
            assert!(said.starts_with("HTTP/1.1 400 "), "{text:?} by {step}: {said}");
            assert_eq!(said.matches("HTTP/1.1 ").count(), 1, "{text:?} by {step}: {said}");
            assert_eq!(after, Duration::ZERO, "{text:?} by {step}: closed for another reason");
        }
    }
}

#[tokio::test(start_paused = true)]
async fn nothing_is_answered_behind_a_body_that_can_be_read_in_two_ways() {
    for body in [
        "5\n",
        "5 \r\n",
        "0x5\r\n",
        "5;\n\r\n",
        "5;\0\r\n",
        "10000000000000000\r\n",
        "1\r\nab\r\n",
        "1\r\na\n",
        "0\r\nContent-Length: 5\r\n\r\n",
        "0\r\nA: b\n\r\n\r\n",
        "0\r\nA : b\r\n\r\n",
    ] {
        for step in STEPS {
            let text = format!("POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n{body}{REQUEST}");
            let (said, after) = said(&text, step).await;
            assert!(said.starts_with("HTTP/1.1 405 "), "{body:?} by {step}: {said}");
            assert_eq!(said.matches("HTTP/1.1 ").count(), 1, "{body:?} by {step}: {said}");
            assert_eq!(after, Duration::ZERO, "{body:?} by {step}: closed for another reason");
        }
    }
}

#[tokio::test(start_paused = true)]
async fn a_head_has_an_end() {
    let field = format!("A: {}\r\n", "b".repeat(1000));
    let text = format!("GET / HTTP/1.1\r\nHost: a\r\n{}", field.repeat(70));
    assert!(said(&text, PIPE).await.0.starts_with("HTTP/1.1 431 "));
    let text = format!("GET / HTTP/1.1\r\nHost: a\r\n{}\r\n", "A: b\r\n".repeat(200));
    assert!(said(&text, PIPE).await.0.starts_with("HTTP/1.1 431 "));
    assert!(said(&"\r\n".repeat(40_000), PIPE).await.0.starts_with("HTTP/1.1 431 "));
}

#[tokio::test(start_paused = true)]
async fn versions_and_options_decide_whether_it_goes_on() {
    for (text, field, goes_on) in [
        ("OPTIONS / HTTP/1.0\r\nHost: a\r\n\r\n", "connection: close", false),
        (
            "OPTIONS / HTTP/1.0\r\nHost: a\r\nConnection: Keep-Alive\r\n\r\n",
            "connection: keep-alive",
            true,
        ),
        (
            "OPTIONS / HTTP/1.1\r\nHost: a\r\nConnection: x, Close\r\n\r\n",
            "connection: close",
            false,
        ),
        ("OPTIONS / HTTP/1.1\r\nHost: a\r\n\r\n", "", true),
        // It was not told to send it, so that it may or may not.
        (
            "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\nExpect: 100-continue\r\n\r\n",
            "connection: close",
            false,
        ),
    ] {
        let (said, after) = said(text, 4096).await;
        assert!(said.contains(field), "{said}");
        assert_eq!(after == IDLE, goes_on, "{text:?}: {said} after {after:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_body_that_nobody_wants_is_skipped_if_it_is_small() {
    for (length, answers) in [(UNWANTED, 2), (UNWANTED + 1, 1)] {
        let body = "x".repeat(length);
        let text = format!("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: {length}\r\n\r\n{body}{REQUEST}");
        let (said, _) = said(&text, PIPE).await;
        assert_eq!(said.matches("HTTP/1.1 ").count(), answers, "{length}: {said}");
    }
}
