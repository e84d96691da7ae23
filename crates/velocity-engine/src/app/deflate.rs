//! permessage-deflate (RFC 7692): what is agreed upon, messages deflated on their way out, and inflated on their way in.
//!
//! The framing is tungstenite's, which knows no extensions. So a deflated message goes out as a frame that is made here,
//! and one that comes in passes through [`Inflating`], which hands it on as if its sender had sent it in pieces and as it
//! is: how large it may become is for the framing to judge, piece by piece. No window outlives its message (section
//! 7.1.1), so that between messages there is nothing to keep.

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use bytes::{Buf, Bytes, BytesMut};
use flate2::{Compress, Compression, Decompress, FlushCompress, FlushDecompress, Status};
use http::header::SEC_WEBSOCKET_EXTENSIONS;
use http::{HeaderMap, HeaderValue};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

/// What every deflated message ends with, and none is sent with (section 7.2.1).
const TAIL: [u8; 4] = [0, 0, 0xff, 0xff];
/// Messages that are worth it, in bytes; those that are longer would hold up everybody else.
const WORTH: std::ops::RangeInclusive<usize> = 64..=1 << 20;
/// What one read of the transport brings at most, and what is unmasked at a time.
const READ: usize = 4096;
/// What a message grows by at a time.
const PIECE: usize = 16 * 1024;
/// The largest window of deflate, as a power of two.
const MAX_WINDOW: u8 = 15;

/// What both sides have agreed upon.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Agreed {
    /// The window of what we send, as a power of two, where the client has limited it.
    window: Option<u8>,
}

impl Agreed {
    /// The first of a client's offers that can be accepted (section 5.1).
    pub fn of(fields: &HeaderMap) -> Option<Self> {
        let values = fields.get_all(SEC_WEBSOCKET_EXTENSIONS).iter();
        let mut offers = values
            .filter_map(|value| value.to_str().ok())
            .flat_map(|value| value.split(','));
        offers.find_map(accepted)
    }

    /// What the client is told.
    pub fn answer(self) -> HeaderValue {
        const NO_CONTEXT: &str = "permessage-deflate; server_no_context_takeover; client_no_context_takeover";
        let limited = |window| HeaderValue::try_from(format!("{NO_CONTEXT}; server_max_window_bits={window}"));
        match self.window.map(limited) {
            Some(Ok(limited)) => limited,
            Some(Err(_)) | None => HeaderValue::from_static(NO_CONTEXT),
        }
    }

    /// The payload of a message, deflated; `None` if it would not be smaller.
    pub fn deflate(self, payload: &[u8]) -> Option<Bytes> {
        if !WORTH.contains(&payload.len()) {
            return None;
        }
        let mut deflate = Compress::new_with_window_bits(Compression::fast(), false, self.window.unwrap_or(MAX_WINDOW));
        let mut out = Vec::with_capacity(payload.len());
        deflate.compress_vec(payload, &mut out, FlushCompress::Sync).ok()?;
        let complete = deflate.total_in() == payload.len() as u64 && out.len() < payload.len();
        if !complete || !out.ends_with(&TAIL) {
            return None;
        }
        out.truncate(out.len() - TAIL.len());
        Some(out.into())
    }
}

/// An offer (section 7.1), if it is one and can be accepted.
fn accepted(offer: &str) -> Option<Agreed> {
    let mut parts = offer.split(';').map(str::trim);
    if parts.next() != Some("permessage-deflate") {
        return None;
    }
    let mut agreed = Agreed { window: None };
    let mut seen = Vec::new();
    for part in parts {
        let (name, value) = match part.split_once('=') {
            Some((name, value)) => (name.trim(), Some(value.trim().trim_matches('"'))),
            None => (part, None),
        };
        if seen.contains(&name) {
            return None;
        }
        seen.push(name);
        let bits = |value: &str| value.parse().ok().filter(|bits| (8..=MAX_WINDOW).contains(bits));
        match (name, value) {
            ("server_no_context_takeover" | "client_no_context_takeover" | "client_max_window_bits", None) => {}
            ("client_max_window_bits", Some(value)) => drop(bits(value)?),
            // zlib has no raw stream with a window of 256 bytes.
            ("server_max_window_bits", Some(value)) => agreed.window = Some(bits(value).filter(|bits| *bits > 8)?),
            _ => return None,
        }
    }
    Some(agreed)
}

/// A transport whose deflated messages read as if they were not.
pub struct Inflating<S> {
    stream: S,
    active: bool,
    /// What has come.
    raw: BytesMut,
    /// What may be read.
    ready: BytesMut,
    at: At,
    message: Option<Message>,
}

/// Where in the stream of frames (RFC 6455 section 5.2).
enum At {
    Head,
    /// In a payload that is none of ours, with so many bytes to come.
    Other(u64),
    Payload {
        left: u64,
        mask: [u8; 4],
        last: bool,
    },
    /// Behind the payload of a last frame; so much of [`TAIL`] was inflated.
    Tail(usize),
}

/// A deflated message that has begun.
struct Message {
    inflate: Box<Decompress>,
    /// Of its next piece.
    opcode: u8,
    /// Its last block said so.
    ended: bool,
}

impl<S> Inflating<S> {
    pub fn new(stream: S, active: bool) -> Self {
        Self {
            stream,
            active,
            raw: BytesMut::new(),
            ready: BytesMut::new(),
            at: At::Head,
            message: None,
        }
    }

    /// One step with what has come. False if more has to come first.
    fn advance(&mut self) -> io::Result<bool> {
        match self.at {
            At::Head => Ok(self.head()),
            At::Other(left) => {
                let size = self.raw.len().min(usize::try_from(left).unwrap_or(usize::MAX));
                self.ready.extend_from_slice(&self.raw[..size]);
                self.raw.advance(size);
                let left = left - size as u64;
                self.at = if left == 0 { At::Head } else { At::Other(left) };
                Ok(size > 0)
            }
            At::Payload { left, mut mask, last } => {
                let mut plain = [0; READ];
                let size = self.raw.len().min(usize::try_from(left).unwrap_or(READ)).min(READ);
                for (index, byte) in self.raw[..size].iter().enumerate() {
                    plain[index] = byte ^ mask[index % 4];
                }
                if size == 0 && left > 0 {
                    return Ok(false);
                }
                let used = match size {
                    0 => 0,
                    _ => self.inflate(&plain[..size], false)?.0,
                };
                self.raw.advance(used);
                mask.rotate_left(used % 4);
                let left = left - used as u64;
                self.at = match (left, last) {
                    (0, true) => At::Tail(0),
                    (0, false) => At::Head,
                    _ => At::Payload { left, mask, last },
                };
                Ok(true)
            }
            At::Tail(done) => {
                let (used, more) = self.inflate(&TAIL[done..], true)?;
                self.at = At::Tail(done + used);
                if !more {
                    self.at = At::Head;
                    self.message = None;
                }
                Ok(true)
            }
        }
    }

    /// A frame begins. What is wrong with it is for the framing to find.
    fn head(&mut self) -> bool {
        let [first, second, ..] = self.raw[..] else {
            return false;
        };
        let size = match second & 0x7f {
            126 => 2,
            127 => 8,
            _ => 0,
        };
        let masked = second & 0x80 != 0;
        let end = 2 + size + if masked { 4 } else { 0 };
        if self.raw.len() < end {
            return false;
        }
        let length = match size {
            0 => u64::from(second & 0x7f),
            _ => self.raw[2..2 + size]
                .iter()
                .fold(0, |sum, byte| sum << 8 | u64::from(*byte)),
        };
        let (last, reserved, opcode) = (first & 0x80 != 0, first & 0x70, first & 0x0f);
        if matches!(opcode, 1 | 2) {
            self.message = (masked && reserved == 0x40).then(|| Message {
                inflate: Box::new(Decompress::new_with_window_bits(false, MAX_WINDOW)),
                opcode,
                ended: false,
            });
        }
        let continues = opcode == 0 && masked && reserved == 0;
        if self.message.is_some() && (continues || matches!(opcode, 1 | 2)) {
            let mut mask = [0; 4];
            mask.copy_from_slice(&self.raw[end - 4..end]);
            self.at = At::Payload {
                left: length,
                mask,
                last,
            };
        } else {
            self.ready.extend_from_slice(&self.raw[..end]);
            self.at = match length {
                0 => At::Head,
                _ => At::Other(length),
            };
        }
        self.raw.advance(end);
        true
    }

    /// Inflate some of `input` into a piece of the message: how much, and whether there is more to come out of it.
    fn inflate(&mut self, input: &[u8], tail: bool) -> io::Result<(usize, bool)> {
        let Some(message) = &mut self.message else {
            return Err(io::ErrorKind::InvalidData.into());
        };
        let mut out = [0; PIECE];
        let (mut used, mut size) = (input.len(), 0);
        // After a last block only another stream can follow, or the end (section 7.2.3.5).
        if !(tail && message.ended) {
            if std::mem::take(&mut message.ended) {
                message.inflate.reset(false);
            }
            let before = (message.inflate.total_in(), message.inflate.total_out());
            let status = message.inflate.decompress(input, &mut out, FlushDecompress::Sync);
            let status = status.map_err(|error| io::Error::new(io::ErrorKind::InvalidData, error))?;
            message.ended = status == Status::StreamEnd;
            used = (message.inflate.total_in() - before.0) as usize;
            size = (message.inflate.total_out() - before.1) as usize;
            if used == 0 && size == 0 && !input.is_empty() {
                return Err(io::ErrorKind::InvalidData.into());
            }
        }
        let more = size == PIECE || used < input.len();
        let last = tail && !more;
        if size > 0 || last {
            let opcode = std::mem::take(&mut message.opcode);
            self.ready
                .extend_from_slice(&[u8::from(last) << 7 | opcode, 0x80 | 126]);
            self.ready.extend_from_slice(&(size as u16).to_be_bytes());
            // A mask that changes nothing.
            self.ready.extend_from_slice(&[0; 4]);
            self.ready.extend_from_slice(&out[..size]);
        }
        Ok((used, more))
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for Inflating<S> {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buffer: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let this = &mut *self;
        if !this.active {
            return Pin::new(&mut this.stream).poll_read(cx, buffer);
        }
        loop {
            if !this.ready.is_empty() {
                let size = this.ready.len().min(buffer.remaining());
                buffer.put_slice(&this.ready[..size]);
                this.ready.advance(size);
                if this.ready.is_empty() {
                    this.ready = BytesMut::new();
                }
                return Poll::Ready(Ok(()));
            }
            if this.advance()? {
                continue;
            }
            let mut some = [0; READ];
            let mut some = ReadBuf::new(&mut some);
            if this.raw.is_empty() {
                this.raw = BytesMut::new();
            }
            ready!(Pin::new(&mut this.stream).poll_read(cx, &mut some))?;
            if some.filled().is_empty() {
                return Poll::Ready(Ok(()));
            }
            this.raw.extend_from_slice(some.filled());
        }
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for Inflating<S> {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write(cx, bytes)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }
}

#[cfg(test)]
mod tests {
    use tokio::io::AsyncReadExt;

    use super::*;

    const MASK: [u8; 4] = [1, 2, 3, 4];

    fn agreed(offer: &'static str) -> Option<Agreed> {
        let mut fields = HeaderMap::new();
        fields.insert(SEC_WEBSOCKET_EXTENSIONS, HeaderValue::from_static(offer));
        Agreed::of(&fields)
    }

    /// A frame of a client.
    fn frame(first: u8, payload: &[u8]) -> Vec<u8> {
        let mut frame = vec![first, 0x80 | 126];
        frame.extend((payload.len() as u16).to_be_bytes());
        frame.extend(MASK);
        frame.extend(payload.iter().enumerate().map(|(index, byte)| byte ^ MASK[index % 4]));
        frame
    }

    fn deflated(content: &[u8]) -> Vec<u8> {
        let mut out = Vec::with_capacity(content.len() + 64);
        let mut deflate = Compress::new(Compression::best(), false);
        deflate.compress_vec(content, &mut out, FlushCompress::Sync).unwrap();
        out.truncate(out.len() - TAIL.len());
        out
    }

    /// What is read of frames: first byte and payload of each, in the clear.
    async fn read(frames: &[u8]) -> io::Result<Vec<(u8, Vec<u8>)>> {
        let mut inflating = Inflating::new(frames, true);
        let mut all = Vec::new();
        inflating.read_to_end(&mut all).await?;
        let mut found = Vec::new();
        let mut rest = &all[..];
        while let [first, _, a, b, mask @ ..] = rest {
            let size = usize::from(u16::from_be_bytes([*a, *b]));
            let payload = mask[4..4 + size].iter().enumerate();
            found.push((*first, payload.map(|(index, byte)| byte ^ mask[index % 4]).collect()));
            rest = &mask[4 + size..];
        }
        Ok(found)
    }

    fn joined(pieces: &[(u8, Vec<u8>)]) -> Vec<u8> {
        pieces.iter().flat_map(|(_, payload)| payload.clone()).collect()
    }

    #[test]
    fn the_first_offer_that_can_be_accepted_is() {
        let plain = Agreed { window: None };
        assert_eq!(agreed("permessage-deflate; client_max_window_bits"), Some(plain));
        assert_eq!(agreed("x-webkit-deflate-frame, permessage-deflate"), Some(plain));
        let small = agreed("permessage-deflate; server_max_window_bits=\"12\"; client_max_window_bits=8").unwrap();
        assert_eq!(small.window, Some(12));
        assert!(
            small
                .answer()
                .to_str()
                .unwrap()
                .ends_with("takeover; server_max_window_bits=12")
        );
        assert_eq!(
            agreed("permessage-deflate; server_max_window_bits=8, permessage-deflate; server_no_context_takeover"),
            Some(plain)
        );
        for offer in [
            "",
            "permessage-bzip2",
            "permessage-deflate; server_max_window_bits",
            "permessage-deflate; server_max_window_bits=16",
            "permessage-deflate; client_max_window_bits=7",
            "permessage-deflate; client_no_context_takeover=1",
            "permessage-deflate; client_no_context_takeover; client_no_context_takeover",
            "permessage-deflate; whatever",
        ] {
            assert_eq!(agreed(offer), None, "{offer}");
        }
    }

    #[tokio::test]
    async fn what_is_deflated_is_inflated() {
        let content = "as it was said ".repeat(5000).into_bytes();
        for window in [Some(9), None] {
            let payload = Agreed { window }.deflate(&content).unwrap();
            assert!(payload.len() < content.len() / 10);
            let pieces = read(&frame(0xc2, &payload)).await.unwrap();
            assert_eq!(joined(&pieces), content);
            assert_eq!(pieces[0].0, 0x02, "more follows");
            assert!(pieces[1..pieces.len() - 1].iter().all(|(first, _)| *first == 0));
            assert_eq!(pieces.last().unwrap().0, 0x80);
        }
    }

    #[test]
    fn what_would_not_be_smaller_stays_as_it_is() {
        let agreed = Agreed { window: None };
        let noise: Vec<u8> = (0..1000u32)
            .flat_map(|n| n.wrapping_mul(0x9e37_79b9).to_le_bytes())
            .collect();
        assert_eq!(agreed.deflate(&noise), None);
        assert_eq!(agreed.deflate(b"aaaaaaaaaaaa"), None);
        assert_eq!(agreed.deflate(&vec![0; 2 << 20]), None);
    }

    #[tokio::test]
    async fn fragments_with_others_in_between() {
        let payload = deflated(b"in pieces, in pieces");
        let frames = [
            frame(0x41, &payload[..3]),
            frame(0x89, b"ping"),
            frame(0x00, b""),
            frame(0x80, &payload[3..]),
            frame(0x81, b"as it is"),
            frame(0xc1, &[0]),
        ];
        let found = read(&frames.concat()).await.unwrap();
        let ping = found.iter().position(|one| *one == (0x89, b"ping".to_vec())).unwrap();
        let end = found.iter().position(|(first, _)| first & 0x8f == 0x80).unwrap();
        assert!(ping < end);
        let message: Vec<_> = found[..=end]
            .iter()
            .filter(|(first, _)| *first != 0x89)
            .cloned()
            .collect();
        assert_eq!(
            (message[0].0, joined(&message)),
            (0x01, b"in pieces, in pieces".to_vec())
        );
        assert_eq!(found[end + 1..], [(0x81, b"as it is".to_vec()), (0x81, Vec::new())]);
    }

    /// RFC 7692 section 7.2.3.
    #[tokio::test]
    async fn the_examples_of_the_rfc() {
        for payload in [
            &[0xf2, 0x48, 0xcd, 0xc9, 0xc9, 0x07, 0x00][..],
            &[0x00, 0x05, 0x00, 0xfa, 0xff, 0x48, 0x65, 0x6c, 0x6c, 0x6f, 0x00],
            &[0xf3, 0x48, 0xcd, 0xc9, 0xc9, 0x07, 0x00, 0x00],
            &[
                0xf2, 0x48, 0x05, 0x00, 0x00, 0x00, 0xff, 0xff, 0xca, 0xc9, 0xc9, 0x07, 0x00,
            ],
        ] {
            assert_eq!(
                joined(&read(&frame(0xc1, payload)).await.unwrap()),
                b"Hello",
                "{payload:x?}"
            );
        }
    }

    #[tokio::test]
    async fn a_bomb_comes_piece_by_piece() {
        let payload = deflated(&vec![0; 8 << 20]);
        assert!(payload.len() < 16 << 10);
        let bomb = frame(0xc2, &payload);
        let mut inflating = Inflating::new(&bomb[..], true);
        let mut some = [0; 1000];
        for _ in 0..100 {
            assert!(inflating.read(&mut some).await.unwrap() > 0);
            assert!(inflating.ready.capacity() <= 2 * PIECE);
        }
    }

    #[tokio::test]
    async fn nonsense_is_an_error_and_rule_breakers_are_left_to_the_framing() {
        let error = read(&frame(0xc1, &[0xff; 20])).await.unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::InvalidData);
        for first in [0xe1, 0xc8, 0xc0, 0x80] {
            assert_eq!(read(&frame(first, b"x")).await.unwrap(), [(first, b"x".to_vec())]);
        }
    }
}
