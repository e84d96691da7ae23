//! Content coding: what a client accepts (RFC 9110 section 12.5.3), and making it.

use std::fs::File;
use std::io::{self, Write};
use std::os::unix::fs::FileExt;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use bytes::Bytes;
use http::HeaderMap;
use http::header::ACCEPT_ENCODING;
use http_body::Frame;
use tokio::sync::OwnedSemaphorePermit;
use tokio::task::JoinHandle;

use crate::http::Body;

/// Below this, a coding costs more than it saves.
pub const MIN_SIZE: u64 = 256;
/// What is read at once, and what is worth sending, of a file that is coded while it is sent.
const CHUNK: usize = 64 * 1024;
/// The most that is read in one step: how long a client that has gone goes unnoticed.
const STEP: u64 = 1 << 20;

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Coding {
    Br,
    Zstd,
    Gzip,
}

impl Coding {
    /// Preferred first.
    pub const ALL: [Coding; 3] = [Coding::Br, Coding::Zstd, Coding::Gzip];

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
        let mut wanted = [0, 1, 2].map(|at| (quality[at].or(any).unwrap_or(0), Coding::ALL[at]));
        wanted.sort_by_key(|&(q, _)| std::cmp::Reverse(q)); // stable: equals stay in our order
        Self(wanted.map(|(q, coding)| (q > 0).then_some(coding)))
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
    // To a slice of its own size: what is kept is counted by length.
    Ok(encoder.finish()?.into_boxed_slice().into())
}

/// A body that codes the first `size` bytes of `file` step by step, each when the client has taken
/// what came before. A client that stalls holds memory, never a thread; `permit` bounds how many.
pub fn stream(coding: Coding, file: Arc<File>, size: u64, permit: OwnedSemaphorePermit) -> Body {
    Body::stream(Coded::Ready(Box::new(Work {
        coding,
        encoder: None,
        file,
        at: 0,
        size,
        _permit: permit,
    })))
}

/// An encoder in the middle of a file.
struct Work {
    coding: Coding,
    /// `None` before the first step: making one takes time and memory that HEAD does not need.
    encoder: Option<Encoder<Vec<u8>>>,
    file: Arc<File>,
    at: u64,
    size: u64,
    /// Here and not in the body: a step goes on for a moment after its client has gone.
    _permit: OwnedSemaphorePermit,
}

/// What one step made, and how to go on; nothing after the last.
type Step = (Bytes, Option<Box<Work>>);

impl Work {
    /// Read and code until there is a chunk worth sending, or nothing yet after a while. Blocking.
    fn step(mut self: Box<Self>) -> io::Result<Step> {
        let mut encoder = match self.encoder.take() {
            Some(encoder) => encoder,
            None => Encoder::new(self.coding, Vec::new())?,
        };
        let mut buffer = vec![0; CHUNK];
        let until = self.at.saturating_add(STEP);
        while encoder.sink().len() < CHUNK && self.at < until {
            let want = (self.size - self.at).min(CHUNK as u64) as usize;
            if want == 0 {
                return Ok((encoder.finish()?.into(), None));
            }
            // Fails if the file has shrunk: an end in silence would look like all of it.
            self.file.read_exact_at(&mut buffer[..want], self.at)?;
            encoder.write_all(&buffer[..want])?;
            self.at += want as u64;
        }
        let chunk = std::mem::take(encoder.sink()).into();
        self.encoder = Some(encoder);
        Ok((chunk, Some(self)))
    }
}

/// A body in steps.
enum Coded {
    Ready(Box<Work>),
    Busy(JoinHandle<io::Result<Step>>),
    Done,
}

impl http_body::Body for Coded {
    type Data = Bytes;
    type Error = io::Error;

    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<io::Result<Frame<Bytes>>>> {
        loop {
            *self = match std::mem::replace(&mut *self, Coded::Done) {
                Coded::Done => return Poll::Ready(None),
                Coded::Ready(work) => Coded::Busy(tokio::task::spawn_blocking(move || work.step())),
                Coded::Busy(mut task) => {
                    let Poll::Ready(step) = Pin::new(&mut task).poll(cx) else {
                        *self = Coded::Busy(task);
                        return Poll::Pending;
                    };
                    let (chunk, rest) = step.unwrap_or_else(|e| Err(io::Error::other(e)))?;
                    *self = rest.map_or(Coded::Done, Coded::Ready);
                    if chunk.is_empty() {
                        continue;
                    }
                    return Poll::Ready(Some(Ok(Frame::data(chunk))));
                }
            };
        }
    }

    fn is_end_stream(&self) -> bool {
        matches!(self, Coded::Done)
    }
}

/// The three encoders behind one face, at levels that keep up with a network.
pub enum Encoder<W: Write> {
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

    /// For what is made while it is sent: less work for each byte, and about a megabyte of memory.
    pub fn passing(coding: Coding, sink: W) -> io::Result<Self> {
        Ok(match coding {
            Coding::Br => Encoder::Br(Box::new(brotli::CompressorWriter::new(sink, 16 * 1024, 4, 17))),
            Coding::Zstd => {
                let mut encoder = zstd::stream::write::Encoder::new(sink, 3)?;
                encoder.window_log(17)?;
                Encoder::Zstd(encoder)
            }
            Coding::Gzip => Encoder::Gzip(flate2::write::GzEncoder::new(sink, flate2::Compression::new(5))),
        })
    }

    pub fn write_all(&mut self, bytes: &[u8]) -> io::Result<()> {
        match self {
            Encoder::Br(encoder) => encoder.write_all(bytes),
            Encoder::Zstd(encoder) => encoder.write_all(bytes),
            Encoder::Gzip(encoder) => encoder.write_all(bytes),
        }
    }

    /// Let everything that was written be readable from what is in the sink.
    pub fn flush(&mut self) -> io::Result<()> {
        match self {
            Encoder::Br(encoder) => encoder.flush(),
            Encoder::Zstd(encoder) => encoder.flush(),
            Encoder::Gzip(encoder) => encoder.flush(),
        }
    }

    /// What has been coded so far.
    pub fn sink(&mut self) -> &mut W {
        match self {
            Encoder::Br(encoder) => encoder.get_mut(),
            Encoder::Zstd(encoder) => encoder.get_mut(),
            Encoder::Gzip(encoder) => encoder.get_mut(),
        }
    }

    /// Write what is left and give the sink back.
    pub fn finish(self) -> io::Result<W> {
        match self {
            Encoder::Br(encoder) => Ok(encoder.into_inner()),
            Encoder::Zstd(encoder) => encoder.finish(),
            Encoder::Gzip(encoder) => encoder.finish(),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::io::Read;

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
