use std::future::poll_fn;

use http::HeaderMap;
use tokio::io::{AsyncReadExt, AsyncWriteExt, DuplexStream, duplex};

use super::*;
use crate::http::h1::MAX_HEAD;

/// What a request comes to when the upstream says this, in pieces of that size, and then closes.
async fn told(
    method: Method,
    answer: &'static [u8],
    step: usize,
) -> Result<(u16, Vec<u8>, Option<HeaderMap>, bool), String> {
    let (ours, theirs) = duplex(1 << 20);
    let speaks = tokio::spawn(speak(theirs, answer, step));
    let mut request = Request::new(Body::Empty);
    *request.method_mut() = method;
    let (head, mut exchange) = Connection::new(Box::new(ours))
        .send(request, |_| {})
        .await
        .map_err(|(failure, _)| failure.kind.to_owned())?;
    let (mut content, mut trailers) = (Vec::new(), None);
    while let Some(frame) = poll_fn(|cx| exchange.poll_frame(cx)).await {
        match frame.map_err(|error| error.kind().to_string())?.into_data() {
            Ok(data) => content.extend_from_slice(&data),
            Err(frame) => trailers = frame.into_trailers().ok(),
        }
    }
    let kept = exchange.into_connection().is_some();
    speaks.abort();
    Ok((head.status.as_u16(), content, trailers, kept))
}

async fn speak(mut stream: DuplexStream, answer: &'static [u8], step: usize) {
    for piece in answer.chunks(step) {
        let _ = stream.write_all(piece).await;
        tokio::task::yield_now().await;
    }
    let _ = stream.shutdown().await;
    // Reads on, so that nothing breaks off before it is read.
    let _ = stream.read_to_end(&mut Vec::new()).await;
}

#[tokio::test]
async fn answers_are_read_however_they_are_cut() {
    let long = "HTTP/1.1 200 OK\r\ncontent-length: 5\r\n\r\nhello";
    for (method, answer, status, content, kept) in [
        (Method::GET, long, 200, "hello", true),
        (
            Method::HEAD,
            "HTTP/1.1 200 OK\r\ncontent-length: 5\r\n\r\n",
            200,
            "",
            true,
        ),
        (
            Method::GET,
            "HTTP/1.1 304 Not Modified\r\ncontent-length: 5\r\n\r\n",
            304,
            "",
            true,
        ),
        (Method::GET, "HTTP/1.1 204 No Content\r\n\r\n", 204, "", true),
        (
            Method::GET,
            "HTTP/1.1 200 OK\r\ncontent-length: 0\r\nconnection: x, Close\r\n\r\n",
            200,
            "",
            false,
        ),
        (
            Method::GET,
            "HTTP/1.1 200 OK\r\ncontent-length: 2\r\ncontent-length: 2\r\n\r\nab",
            200,
            "ab",
            true,
        ),
        (
            Method::GET,
            "HTTP/1.0 200 OK\r\ncontent-length: 2\r\n\r\nab",
            200,
            "ab",
            false,
        ),
        (
            Method::GET,
            "HTTP/1.0 200 OK\r\ncontent-length: 2\r\nconnection: keep-alive\r\n\r\nab",
            200,
            "ab",
            true,
        ),
        (
            Method::GET,
            "HTTP/1.1 200 OK\r\n\r\nuntil the end",
            200,
            "until the end",
            false,
        ),
        (
            Method::GET,
            "HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 103 Early Hints\r\nlink: </a>\r\n\r\nHTTP/1.1 201 Created\r\ncontent-length: 1\r\n\r\nx",
            201,
            "x",
            true,
        ),
        (
            Method::GET,
            "HTTP/1.1 200 OK\r\ntransfer-encoding: Chunked\r\n\r\n5\r\nhello\r\n1  \r\n!\r\nA;x=y\r\n0123456789\r\n0\r\n\r\n",
            200,
            "hello!0123456789",
            true,
        ),
        (
            Method::GET,
            "HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nabHTTP/1.1 200 OK\r\n\r\n",
            200,
            "ab",
            false,
        ),
    ] {
        for step in [1, 2, 3, 7, 1000] {
            let told = told(method.clone(), answer.as_bytes(), step).await;
            let (got, body, trailers, keeps) = told.unwrap_or_else(|error| panic!("{answer:?}: {error}"));
            assert_eq!((got, body.as_slice()), (status, content.as_bytes()), "{answer:?}");
            assert!(trailers.is_none(), "{answer:?}");
            // What comes later than the answer is found when the connection is looked at.
            assert!(
                keeps == kept || (!kept && answer.ends_with("OK\r\n\r\n")),
                "{answer:?} in pieces of {step}"
            );
        }
    }
}

#[tokio::test]
async fn trailers_come_last() {
    let answer = b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n1\r\na\r\n0\r\ngrpc-status: 0\r\ncontent-length: 7\r\n\r\n";
    for step in [1, 3, 1000] {
        let (_, content, trailers, kept) = told(Method::GET, answer, step).await.unwrap();
        let trailers = trailers.unwrap();
        assert_eq!((content.as_slice(), trailers.len(), kept), (&b"a"[..], 1, true));
        assert_eq!(trailers["grpc-status"], "0");
    }
}

#[tokio::test]
async fn what_contradicts_itself_is_no_answer() {
    for (answer, kind) in [
        ("", "reset"),
        ("HTTP/1.1 200 OK\r\ncontent-le", "reset"),
        ("nonsense\r\n\r\n", "protocol"),
        (
            "HTTP/1.1 200 OK\r\ncontent-length: 2\r\ncontent-length: 3\r\n\r\nabc",
            "protocol",
        ),
        ("HTTP/1.1 200 OK\r\ncontent-length: 2, 2\r\n\r\nab", "protocol"),
        ("HTTP/1.1 200 OK\r\ncontent-length: +2\r\n\r\nab", "protocol"),
        (
            "HTTP/1.1 200 OK\r\ncontent-length: 2\r\ntransfer-encoding: chunked\r\n\r\n0\r\n\r\n",
            "protocol",
        ),
        (
            "HTTP/1.1 200 OK\r\ntransfer-encoding: gzip, chunked\r\n\r\n0\r\n\r\n",
            "protocol",
        ),
        (
            "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\ntransfer-encoding: chunked\r\n\r\n0\r\n\r\n",
            "protocol",
        ),
        (
            "HTTP/1.0 200 OK\r\ntransfer-encoding: chunked\r\n\r\n0\r\n\r\n",
            "protocol",
        ),
        ("HTTP/1.1 200 OK\r\na: b\r\n c\r\n\r\n", "protocol"),
        (
            "HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\na",
            "unexpected end of file",
        ),
        (
            "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n5\r\nhel",
            "unexpected end of file",
        ),
        (
            "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n5\r\nhello\r\n",
            "unexpected end of file",
        ),
        (
            "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n5\r\nhello!\r\n0\r\n\r\n",
            "invalid data",
        ),
        (
            "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n5\nhello\r\n0\r\n\r\n",
            "invalid data",
        ),
        (
            "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\nx\r\nhello\r\n0\r\n\r\n",
            "invalid data",
        ),
        (
            "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n0\r\nno field\r\n\r\n",
            "invalid data",
        ),
    ] {
        for step in [1, 4, 1000] {
            let told = told(Method::GET, answer.as_bytes(), step).await;
            assert_eq!(told.err().as_deref(), Some(kind), "{answer:?}");
        }
    }
}

#[tokio::test]
async fn what_has_no_end_is_given_up() {
    for endless in [
        ("HTTP/1.1 200 OK\r\na: ", "protocol"),
        (
            "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n5;",
            "invalid data",
        ),
        (
            "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n0\r\na: ",
            "invalid data",
        ),
    ] {
        let text = format!("{}{}", endless.0, "a".repeat(200_000));
        let told = told(Method::GET, text.leak().as_bytes(), 10_000).await;
        assert_eq!(told.err().as_deref(), Some(endless.1), "{:?}", endless.0);
    }
    let many = format!("HTTP/1.1 200 OK\r\n{}\r\n", "a: b\r\n".repeat(101));
    assert!(told(Method::GET, many.leak().as_bytes(), 10_000).await.is_err());
}

#[test]
fn a_head_that_comes_whole_may_be_no_longer_than_one_that_comes_in_parts() {
    let head = |length: usize| {
        let (before, after) = ("HTTP/1.1 200 OK\r\na: ", "\r\n\r\n");
        let value = "x".repeat(length - before.len() - after.len());
        BytesMut::from(&*format!("{before}{value}{after}"))
    };
    assert!(matches!(Head::parse(&mut head(MAX_HEAD)), Ok(Some(_))));
    assert!(Head::parse(&mut head(MAX_HEAD + 1)).is_err());
}

/// What an upstream gets of a request.
async fn sent(method: Method, fields: &[(&'static str, &'static str)], body: Body) -> String {
    let (ours, mut theirs) = duplex(1 << 20);
    let mut request = Request::new(body);
    *request.method_mut() = method;
    *request.uri_mut() = "/a?b".parse().unwrap();
    for (name, value) in fields {
        request.headers_mut().append(*name, value.parse().unwrap());
    }
    let sending = tokio::spawn(Connection::new(Box::new(ours)).send(request, |_| {}));
    tokio::time::sleep(std::time::Duration::from_millis(20)).await;
    let mut seen = vec![0; 64 * 1024];
    let count = theirs.read(&mut seen).await.unwrap();
    sending.abort();
    String::from_utf8(seen[..count].to_vec()).unwrap()
}

struct Pieces(std::collections::VecDeque<&'static str>);

impl http_body::Body for Pieces {
    type Data = Bytes;
    type Error = io::Error;

    fn poll_frame(mut self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<Option<io::Result<Frame<Bytes>>>> {
        Poll::Ready(self.0.pop_front().map(|piece| Ok(Frame::data(piece.into()))))
    }
}

fn pieces(pieces: &[&'static str]) -> Body {
    Body::stream(Pieces(pieces.iter().copied().collect()))
}

#[tokio::test]
async fn requests_say_how_long_they_are() {
    assert_eq!(
        sent(Method::GET, &[("a", "b"), ("A", "c")], Body::Empty).await,
        "GET /a?b HTTP/1.1\r\na: b\r\na: c\r\n\r\n"
    );
    assert_eq!(
        sent(Method::POST, &[], Body::Empty).await,
        "POST /a?b HTTP/1.1\r\ncontent-length: 0\r\n\r\n"
    );
    assert_eq!(
        sent(Method::PUT, &[], "abc".into()).await,
        "PUT /a?b HTTP/1.1\r\ncontent-length: 3\r\n\r\nabc"
    );
    let declared = [("content-length", "6")];
    assert_eq!(
        sent(Method::PUT, &declared, pieces(&["abc", "def"])).await,
        "PUT /a?b HTTP/1.1\r\ncontent-length: 6\r\n\r\nabcdef"
    );
    assert_eq!(
        sent(Method::PUT, &[], pieces(&["abc", "", "0123456789abcdef"])).await,
        "PUT /a?b HTTP/1.1\r\ntransfer-encoding: chunked\r\n\r\n3\r\nabc\r\n10\r\n0123456789abcdef\r\n0\r\n\r\n"
    );
}

#[tokio::test]
async fn a_body_that_is_too_short_is_the_clients_fault() {
    let (ours, mut theirs) = duplex(1 << 20);
    let mut request = Request::new(pieces(&["abc"]));
    *request.method_mut() = Method::PUT;
    request.headers_mut().insert("content-length", "6".parse().unwrap());
    let Err((failure, None)) = Connection::new(Box::new(ours)).send(request, |_| {}).await else {
        panic!("it was sent");
    };
    assert_eq!(
        (failure.status, failure.reached),
        (StatusCode::BAD_REQUEST, Reached::Perhaps)
    );
    let mut seen = String::new();
    theirs.read_to_string(&mut seen).await.unwrap();
    assert!(seen.ends_with("abc"));
}

#[tokio::test]
async fn an_answer_counts_though_the_request_was_not_wanted() {
    let (ours, mut theirs) = duplex(64);
    let mut request = Request::new(Body::from(Bytes::from(vec![b'x'; 10_000])));
    *request.method_mut() = Method::PUT;
    let sending = tokio::spawn(Connection::new(Box::new(ours)).send(request, |_| {}));
    theirs.read_exact(&mut [0; 10]).await.unwrap();
    theirs
        .write_all(b"HTTP/1.1 413 Content Too Large\r\ncontent-length: 0\r\n\r\n")
        .await
        .unwrap();
    drop(theirs);
    let (head, exchange) = sending
        .await
        .unwrap()
        .unwrap_or_else(|(failure, _)| panic!("{}", failure.reason));
    assert_eq!(head.status, 413);
    assert!(exchange.into_connection().is_none());
}

#[tokio::test]
async fn a_request_of_which_nothing_was_sent_comes_back() {
    let (ours, theirs) = duplex(64);
    drop(theirs);
    let request = Request::new(Body::from("content"));
    let Err((failure, Some(body))) = Connection::new(Box::new(ours)).send(request, |_| {}).await else {
        panic!("it was sent");
    };
    assert_eq!(failure.reached, Reached::Nobody);
    assert_eq!(body.len(), Some(7));
}

#[tokio::test]
async fn ready_is_who_is_silent_and_there() {
    let (ours, mut theirs) = duplex(64);
    let mut connection = Connection::new(Box::new(ours));
    assert!(connection.is_ready());
    theirs.write_all(b"!").await.unwrap();
    assert!(!connection.is_ready());
    let (ours, theirs) = duplex(64);
    let mut connection = Connection::new(Box::new(ours));
    drop(theirs);
    assert!(!connection.is_ready());
}
