//! Whole answers over a real socket, to readers quick and slow.

use bytes::Bytes;
use http_body_util::{BodyExt, Empty};
use hyper::client::conn::http2::SendRequest;
use hyper_util::rt::{TokioExecutor, TokioIo};
use tokio::net::TcpStream;

use super::super::testing::{Site, connector};
use super::*;
use crate::{Applications, Engine};

const LENGTH: usize = 3 << 20;

async fn connect(engine: &Engine) -> SendRequest<Empty<Bytes>> {
    let socket = TcpStream::connect(engine.addresses()[0]).await.unwrap();
    let stream = connector(b"h2")
        .connect("localhost".try_into().unwrap(), socket)
        .await
        .unwrap();
    let builder = hyper::client::conn::http2::Builder::new(TokioExecutor::new());
    let (requests, connection) = builder.handshake(TokioIo::new(stream)).await.unwrap();
    tokio::spawn(connection);
    requests
}

fn get() -> http::Request<Empty<Bytes>> {
    http::Request::get("https://localhost/large.bin")
        .body(Empty::new())
        .unwrap()
}

#[tokio::test]
async fn answers_are_whole_side_by_side() {
    let content: Vec<u8> = (0..LENGTH).map(|n| (n / 5) as u8).collect();
    let site = Site::new("large.bin", &content);
    let engine = Engine::start(site.plan.clone(), Applications::any()).unwrap();
    let requests = connect(&engine).await;
    let answers = (0..6).map(|_| {
        let mut requests = requests.clone();
        tokio::spawn(async move {
            requests
                .send_request(get())
                .await
                .unwrap()
                .collect()
                .await
                .unwrap()
                .to_bytes()
        })
    });
    for answer in answers.collect::<Vec<_>>() {
        assert!(answer.await.unwrap() == content);
    }
}

#[tokio::test]
async fn a_slow_reader_gets_everything_and_the_others_do_not_wait() {
    let content: Vec<u8> = (0..LENGTH).map(|n| (n / 3) as u8).collect();
    let site = Site::new("large.bin", &content);
    let engine = Engine::start(site.plan.clone(), Applications::any()).unwrap();
    let mut slow = connect(&engine).await.send_request(get()).await.unwrap().into_body();
    let mut received = Vec::new();
    for _ in 0..3 {
        received.extend_from_slice(&slow.frame().await.unwrap().unwrap().into_data().unwrap());
        tokio::time::sleep(Duration::from_millis(100)).await;
        let quick = connect(&engine).await.send_request(get()).await.unwrap();
        assert!(quick.collect().await.unwrap().to_bytes() == content);
    }
    received.extend_from_slice(&slow.collect().await.unwrap().to_bytes());
    assert!(received == content);
}
