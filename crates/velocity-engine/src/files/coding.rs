//! Content coding: what a client accepts (RFC 9110 section 12.5.3), and making it.

use std::fs::File;
use std::io::{self, Read, Write};
use std::sync::Arc;
use std::task::{Context, Poll};

use bytes::{Bytes, BytesMut};
use http::HeaderMap;
use http::header::ACCEPT_ENCODING;
use http_body::Frame;
use tokio::sync::mpsc;

use crate::http::Body;

/// Below this, a coding costs more than it saves.
pub const MIN_SIZE: u64 = 256;
/// Chunks of a file that is coded while it is sent.
const CHUNK: usize = 64 * 1024;
/// Coded chunks that wait for a slow client.
const QUEUE: usize = 4;

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Coding {
    Br,
    Zstd,
    Gzip,
}

impl Coding {
    const ALL: [Coding; 3] = [Coding::Br, Coding::Zstd, Coding::Gzip];

    /// The token in Accept-Encoding and Content-Encoding.
    pub fn token(self) -> &'static str {
        match self {
            Coding::Br => "br",
            Coding::Zstd => "zstd",
            Coding::Gzip => "gzip",
        }
    }

    /// What a sibling that is compressed already ends with.
    pub fn extension(self) -> &'static str {
        match self {
            Coding::Br => ".br",
            Coding::Zstd => ".zst",
            Coding::Gzip => ".gz",
        }
    }
}

/// The codings a client takes, preferred first. Two equal ones lead to the same answer.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct Accepted([Option<Coding>; 3]);

impl Accepted {
    pub fn of(headers: &HeaderMap) -> Self {
        if !headers.contains_key(ACCEPT_ENCODING) {
            return Self::default(); // identity is the safe reading of silence
        }
        // Thousandths, by position in Coding::ALL; None where not mentioned.
        let mut quality = [None::<u16>; 3];
        let mut any = None;
        for value in headers.get_all(ACCEPT_ENCODING) {
            for item in value.to_str().unwrap_or_default().split(',') {
                let (token, parameters) = item.split_once(';').unwrap_or((item, ""));
                let q = quality_of(parameters);
                let token = token.trim();
                if token == "*" {
                    any = Some(q);
                }
                let token = if token.eq_ignore_ascii_case("x-gzip") {
                    "gzip"
                } else {
                    token
                };
                if let Some(at) = Coding::ALL
                    .iter()
                    .position(|coding| token.eq_ignore_ascii_case(coding.token()))
                {
                    quality[at] = Some(q);
                }
            }
        }
        let mut wanted: Vec<(u16, Coding)> = Coding::ALL
            .iter()
            .zip(quality)
            .map(|(&coding, q)| (q.or(any).unwrap_or(0), coding))
            .filter(|&(q, _)| q > 0)
            .collect();
        wanted.sort_by_key(|&(q, _)| std::cmp::Reverse(q)); // stable: equals stay in our order
        let mut accepted = [None; 3];
        for (slot, (_, coding)) in accepted.iter_mut().zip(wanted) {
            *slot = Some(coding);
        }
        Self(accepted)
    }

    pub fn iter(self) -> impl Iterator<Item = Coding> {
        self.0.into_iter().flatten()
    }

    pub fn best(self) -> Option<Coding> {
        self.0[0]
    }
}

/// `;q=0.5` in thousandths; 1000 without one, 0 where it is no number.
fn quality_of(parameters: &str) -> u16 {
    for parameter in parameters.split(';') {
        if let Some((name, value)) = parameter.split_once('=')
            && name.trim().eq_ignore_ascii_case("q")
        {
            return value
                .trim()
                .parse::<f32>()
                .map_or(0, |q| (q.clamp(0.0, 1.0) * 1000.0) as u16);
        }
    }
    1000
}

/// Whether files of this media type get smaller.
pub fn compresses(media_type: &mime_guess::Mime) -> bool {
    let (kind, subtype) = (media_type.type_().as_str(), media_type.subtype().as_str());
    let suffix = media_type.suffix().map(|name| name.as_str());
    kind == "text"
        || matches!(suffix, Some("json" | "xml" | "text"))
        || match (kind, subtype) {
            ("application", subtype) => {
                matches!(
                    subtype,
                    "javascript" | "json" | "xml" | "wasm" | "rtf" | "x-ndjson" | "vnd.ms-fontobject"
                )
            }
            ("font", subtype) => matches!(subtype, "ttf" | "otf"),
            ("image", subtype) => matches!(subtype, "svg+xml" | "bmp" | "x-icon" | "vnd.microsoft.icon"),
            _ => false,
        }
}

/// Code a whole file in memory. Blocking; for files that are kept afterwards.
pub fn encode(coding: Coding, content: &[u8]) -> io::Result<Bytes> {
    let mut encoder = Encoder::new(coding, Vec::with_capacity(content.len() / 2))?;
    encoder.write_all(content)?;
    encoder.finish().map(Bytes::from)
}

/// A body that codes `file` on a thread of its own, as fast as the client reads and no faster.
pub fn stream(coding: Coding, file: Arc<File>) -> Body {
    let (sender, receiver) = mpsc::channel(QUEUE);
    tokio::task::spawn_blocking(move || {
        if let Err(error) = pump(coding, &file, &sender) {
            // Fails only when the client has gone, and then there is nobody to tell.
            let _ = sender.blocking_send(Err(error));
        }
    });
    Body::stream(Received(receiver))
}

type Chunk = io::Result<Bytes>;

fn pump(coding: Coding, mut file: &File, sender: &mpsc::Sender<Chunk>) -> io::Result<()> {
    let sink = Sink {
        sender: sender.clone(),
        pending: BytesMut::with_capacity(CHUNK),
    };
    let mut encoder = Encoder::new(coding, sink)?;
    let mut buffer = vec![0; CHUNK];
    loop {
        match file.read(&mut buffer)? {
            0 => break,
            n => encoder.write_all(&buffer[..n])?,
        }
    }
    encoder.finish()?.send()
}

/// Gathers what an encoder writes into chunks worth sending.
struct Sink {
    sender: mpsc::Sender<Chunk>,
    pending: BytesMut,
}

impl Sink {
    fn send(&mut self) -> io::Result<()> {
        let chunk = self.pending.split().freeze();
        if chunk.is_empty() {
            return Ok(());
        }
        self.sender
            .blocking_send(Ok(chunk))
            .map_err(|_| io::ErrorKind::BrokenPipe.into())
    }
}

impl Write for Sink {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.pending.extend_from_slice(bytes);
        if self.pending.len() >= CHUNK / 2 {
            self.send()?;
        }
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

struct Received(mpsc::Receiver<Chunk>);

impl http_body::Body for Received {
    type Data = Bytes;
    type Error = io::Error;

    fn poll_frame(mut self: std::pin::Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<io::Result<Frame<Bytes>>>> {
        self.0
            .poll_recv(cx)
            .map(|chunk| chunk.map(|chunk| chunk.map(Frame::data)))
    }
}

/// The three encoders behind one face, at levels that keep up with a network.
enum Encoder<W: Write> {
    Br(Box<brotli::CompressorWriter<W>>),
    Zstd(zstd::stream::write::Encoder<'static, W>),
    Gzip(flate2::write::GzEncoder<W>),
}

impl<W: Write> Encoder<W> {
    fn new(coding: Coding, sink: W) -> io::Result<Self> {
        Ok(match coding {
            Coding::Br => Encoder::Br(Box::new(brotli::CompressorWriter::new(sink, 16 * 1024, 5, 20))),
            Coding::Zstd => Encoder::Zstd(zstd::stream::write::Encoder::new(sink, 4)?),
            Coding::Gzip => Encoder::Gzip(flate2::write::GzEncoder::new(sink, flate2::Compression::new(6))),
        })
    }

    fn write_all(&mut self, bytes: &[u8]) -> io::Result<()> {
        match self {
            Encoder::Br(encoder) => encoder.write_all(bytes),
            Encoder::Zstd(encoder) => encoder.write_all(bytes),
            Encoder::Gzip(encoder) => encoder.write_all(bytes),
        }
    }

    /// Write what is left and give the sink back.
    fn finish(self) -> io::Result<W> {
        match self {
            Encoder::Br(encoder) => Ok(encoder.into_inner()),
            Encoder::Zstd(encoder) => encoder.finish(),
            Encoder::Gzip(encoder) => encoder.finish(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn accepted(value: &'static str) -> Vec<&'static str> {
        let headers = HeaderMap::from_iter([(ACCEPT_ENCODING, http::HeaderValue::from_static(value))]);
        Accepted::of(&headers).iter().map(Coding::token).collect()
    }

    #[test]
    fn preference_is_quality_then_ours() {
        assert_eq!(accepted("gzip, deflate, br, zstd"), ["br", "zstd", "gzip"]);
        assert_eq!(accepted("br;q=0.5, gzip;q=0.8"), ["gzip", "br"]);
        assert_eq!(accepted("gzip;q=0, *"), ["br", "zstd"]);
        assert_eq!(accepted("identity"), [""; 0]);
        assert_eq!(accepted("br;q=nonsense, X-GZIP"), ["gzip"]);
        assert_eq!(Accepted::of(&HeaderMap::new()), Accepted::default());
    }

    #[test]
    fn what_is_encoded_decodes_again() {
        let content = b"velocity ".repeat(1000);
        for coding in Coding::ALL {
            let coded = encode(coding, &content).unwrap();
            assert!(coded.len() < content.len() / 10, "{coding:?}");
            let mut decoded = Vec::new();
            match coding {
                Coding::Br => brotli::Decompressor::new(&coded[..], 4096)
                    .read_to_end(&mut decoded)
                    .unwrap(),
                Coding::Zstd => zstd::Decoder::new(&coded[..])
                    .unwrap()
                    .read_to_end(&mut decoded)
                    .unwrap(),
                Coding::Gzip => flate2::read::GzDecoder::new(&coded[..])
                    .read_to_end(&mut decoded)
                    .unwrap(),
            };
            assert_eq!(decoded, content);
        }
    }

    #[test]
    fn media_types_that_shrink() {
        for (name, expected) in [
            ("a.html", true),
            ("a.js", true),
            ("a.json", true),
            ("a.svg", true),
            ("a.wasm", true),
            ("a.png", false),
            ("a.mp4", false),
            ("a.zip", false),
            ("a.woff2", false),
        ] {
            assert_eq!(
                compresses(&mime_guess::from_path(name).first_or_octet_stream()),
                expected,
                "{name}"
            );
        }
    }
}
