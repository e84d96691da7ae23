//! What stands behind the proxies of the benches: files from memory over HTTP/1.1, at next to no cost.
//!
//! `velocity-backend ADDRESS FOLDER` reads every file of the folder and answers a GET of its name, on one thread. It
//! looks at the request line alone, so it is for proxies that can be trusted, and for nothing else.

use std::collections::HashMap;
use std::process::ExitCode;
use std::sync::Arc;

use bytes::{Buf, Bytes, BytesMut};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

type Result<T> = std::result::Result<T, Box<dyn std::error::Error>>;

/// An answer no longer than this is kept with its head, and leaves in one piece.
const SMALL: usize = 64 * 1024;
const MAX_HEAD: usize = 64 * 1024;

struct Answer {
    head: Bytes,
    body: Bytes,
}

type Answers = HashMap<Vec<u8>, Answer>;

impl Answer {
    fn new(status: &str, body: Vec<u8>) -> Self {
        let mut head = format!(
            "HTTP/1.1 {status}\r\ncontent-type: application/octet-stream\r\ncontent-length: {}\r\n\r\n",
            body.len()
        )
        .into_bytes();
        let mut body = Bytes::from(body);
        if body.len() <= SMALL {
            head.extend_from_slice(&body);
            body = Bytes::new();
        }
        Self {
            head: head.into(),
            body,
        }
    }
}

fn load(folder: &str) -> Result<Answers> {
    let mut answers = Answers::new();
    for entry in std::fs::read_dir(folder)? {
        let entry = entry?;
        if entry.file_type()?.is_file() {
            let path = format!("/{}", entry.file_name().to_string_lossy());
            answers.insert(path.into_bytes(), Answer::new("200 OK", std::fs::read(entry.path())?));
        }
    }
    Ok(answers)
}

async fn serve(mut stream: TcpStream, answers: Arc<Answers>) -> std::io::Result<()> {
    let missing = Answer::new("404 Not Found", b"not found\n".to_vec());
    let mut received = BytesMut::with_capacity(4096);
    loop {
        let end = loop {
            if let Some(end) = received.windows(4).position(|four| four == b"\r\n\r\n") {
                break end + 4;
            }
            if received.len() > MAX_HEAD || stream.read_buf(&mut received).await? == 0 {
                return Ok(());
            }
        };
        let path = received[..end].split(|byte| *byte == b' ').nth(1).unwrap_or_default();
        let answer = answers.get(path).unwrap_or(&missing);
        received.advance(end);
        stream.write_all(&answer.head).await?;
        stream.write_all(&answer.body).await?;
    }
}

fn run() -> Result<()> {
    let mut arguments = std::env::args().skip(1);
    let (Some(address), Some(folder), None) = (arguments.next(), arguments.next(), arguments.next()) else {
        return Err("usage: velocity-backend ADDRESS FOLDER".into());
    };
    let answers = Arc::new(load(&folder)?);
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    runtime.block_on(async {
        let listener = TcpListener::bind(address).await?;
        loop {
            let (stream, _) = listener.accept().await?;
            stream.set_nodelay(true)?;
            // A client that goes away is not our business.
            tokio::spawn(serve(stream, answers.clone()));
        }
    })
}

fn main() -> ExitCode {
    match run() {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {error}");
            ExitCode::FAILURE
        }
    }
}
