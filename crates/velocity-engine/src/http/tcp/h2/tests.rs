//! Whole answers over a real socket, to readers quick and slow.

use http_body_util::BodyExt;
use tokio::net::TcpStream;

use super::super::testing::{Site, connector};
use super::*;
use crate::http::Body;
use crate::http::h2::client::{Connection, Windows};
use crate::{Applications, Engine};

const LENGTH: usize = 3 << 20;

async fn connect(engine: &Engine) -> Connection {
    let socket = TcpStream::connect(engine.addresses()[0]).await.unwrap();
    let stream = connector(b"h2")
        .connect("localhost".try_into().unwrap(), socket)
        .await
        .unwrap();
    let windows = Windows {
        stream: 64 << 10,
        connection: 64 << 10,
    };
    Connection::open(Box::new(stream), windows).await.unwrap()
}

/// The answer for the one file there is.
async fn get(connection: &Connection) -> Body {
    let request = http::Request::get("https://localhost/large.bin");
    let answer = connection.send(request.body(Body::Empty).unwrap(), |_| {}).await;
    answer.map_err(|(failure, _)| failure).unwrap().into_body()
}

#[tokio::test]
async fn answers_are_whole_side_by_side() {
    let content: Vec<u8> = (0..LENGTH).map(|n| (n / 5) as u8).collect();
    let site = Site::new("large.bin", &content);
    let engine = Engine::start(site.plan.clone(), Applications::any()).unwrap();
    let requests = connect(&engine).await;
    let answers = (0..6).map(|_| {
        let requests = requests.clone();
        tokio::spawn(async move { get(&requests).await.collect().await.unwrap().to_bytes() })
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
    let mut slow = get(&connect(&engine).await).await;
    let mut received = Vec::new();
    for _ in 0..3 {
        received.extend_from_slice(&slow.frame().await.unwrap().unwrap().into_data().unwrap());
        tokio::time::sleep(Duration::from_millis(100)).await;
        let quick = get(&connect(&engine).await).await;
        assert!(quick.collect().await.unwrap().to_bytes() == content);
    }
    received.extend_from_slice(&slow.collect().await.unwrap().to_bytes());
    assert!(received == content);
}
