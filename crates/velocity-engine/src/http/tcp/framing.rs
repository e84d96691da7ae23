//! Where one request over HTTP/1.1 ends and the next begins, followed in front of hyper and more strictly than it has
//! to (RFC 9112 sections 2.2, 5, 6 and 7).
//!
//! hyper reads what is ambiguous in one of the ways that the RFC allows: a bare LF as the end of a line, Transfer-Encoding
//! over Content-Length. Servers on the way may read it in another, and then the end of one request is the beginning of
//! somebody else's. So what can be read in two ways is read in none: hyper is given something that is no HTTP, answers
//! 400 and closes.

/// A line of a head, of a chunk size or of trailers longer than this is refused, in bytes.
const MAX_LINE: usize = 256 * 1024;

/// Follows the bytes of one connection.
#[derive(Default)]
pub struct Framing {
    place: Place,
    /// The beginning of a line whose end has not come.
    partial: Vec<u8>,
    head: Head,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum Place {
    /// Before the request line; empty lines are skipped (RFC 9112 section 2.2).
    #[default]
    Start,
    Fields,
    /// So many bytes are left.
    Length(u64),
    ChunkSize,
    ChunkData(u64),
    /// The CRLF after it.
    ChunkEnd,
    Trailers,
    /// Nothing is believed any more.
    Refused,
}

/// What a head says of the body.
#[derive(Default)]
struct Head {
    length: Option<u64>,
    chunked: bool,
}

/// Something that can be read in two ways.
pub(crate) struct Ambiguous;

impl Framing {
    /// Follow what was read. `Err` says how many of the bytes may be handed on; nothing that comes later may.
    pub fn follow(&mut self, bytes: &[u8]) -> Result<(), usize> {
        let mut at = 0;
        while at < bytes.len() {
            let rest = &bytes[at..];
            match &mut self.place {
                Place::Length(left) | Place::ChunkData(left) => {
                    let taken = (*left).min(rest.len() as u64);
                    *left -= taken;
                    at += taken as usize;
                    if *left == 0 {
                        self.place = match self.place {
                            Place::ChunkData(_) => Place::ChunkEnd,
                            _ => Place::Start,
                        };
                    }
                }
                Place::Refused => return Err(at),
                Place::Start | Place::Fields | Place::ChunkSize | Place::ChunkEnd | Place::Trailers => {
                    let Some(end) = memchr::memchr(b'\n', rest) else {
                        if self.partial.len() + rest.len() > MAX_LINE {
                            return Err(self.refuse(at));
                        }
                        self.partial.extend_from_slice(rest);
                        return Ok(());
                    };
                    let outcome = if self.partial.is_empty() {
                        self.line(&rest[..end])
                    } else {
                        let mut line = std::mem::take(&mut self.partial);
                        line.extend_from_slice(&rest[..end]);
                        self.line(&line)
                    };
                    if outcome.is_err() {
                        // Not its end: without it, hyper cannot have taken the line for good.
                        return Err(self.refuse(at + end));
                    }
                    at += end + 1;
                }
            }
        }
        Ok(())
    }

    fn refuse(&mut self, at: usize) -> usize {
        self.place = Place::Refused;
        self.partial = Vec::new();
        at
    }

    /// One line without its LF.
    fn line(&mut self, line: &[u8]) -> Result<(), Ambiguous> {
        let line = line.strip_suffix(b"\r").ok_or(Ambiguous)?;
        if memchr::memchr(b'\r', line).is_some() {
            return Err(Ambiguous);
        }
        match self.place {
            Place::Start if line.is_empty() => {}
            Place::Start => {
                self.head = Head::default();
                self.place = Place::Fields;
            }
            Place::Fields if line.is_empty() => {
                self.place = match (self.head.chunked, self.head.length) {
                    (true, Some(_)) => return Err(Ambiguous),
                    (true, None) => Place::ChunkSize,
                    (false, Some(1..)) => Place::Length(self.head.length.unwrap_or_default()),
                    (false, _) => Place::Start,
                };
            }
            Place::Fields => {
                let (name, value) = field(line)?;
                if name.eq_ignore_ascii_case(b"content-length") {
                    let length = decimal(value).ok_or(Ambiguous)?;
                    if self.head.length.replace(length).is_some() {
                        return Err(Ambiguous);
                    }
                } else if name.eq_ignore_ascii_case(b"transfer-encoding") {
                    let again = std::mem::replace(&mut self.head.chunked, true);
                    if again || !value.eq_ignore_ascii_case(b"chunked") {
                        return Err(Ambiguous);
                    }
                }
            }
            Place::ChunkSize => {
                self.place = match chunk_size(line)? {
                    0 => Place::Trailers,
                    size => Place::ChunkData(size),
                };
            }
            Place::ChunkEnd if line.is_empty() => self.place = Place::ChunkSize,
            Place::Trailers if line.is_empty() => self.place = Place::Start,
            Place::Trailers => {
                let (name, _) = field(line)?;
                // RFC 9110 section 6.5.1: what frames a message, or says who it is for, is of no effect here.
                let framing: [&[u8]; 3] = [b"content-length", b"transfer-encoding", b"host"];
                if framing.iter().any(|one| name.eq_ignore_ascii_case(one)) {
                    return Err(Ambiguous);
                }
            }
            Place::ChunkEnd | Place::Length(_) | Place::ChunkData(_) | Place::Refused => return Err(Ambiguous),
        }
        Ok(())
    }
}

/// Name and value of a field line (RFC 9112 section 5).
fn field(line: &[u8]) -> Result<(&[u8], &[u8]), Ambiguous> {
    let colon = memchr::memchr(b':', line).ok_or(Ambiguous)?;
    let (name, value) = (&line[..colon], &line[colon + 1..]);
    // A fold begins with a space, and a space before the colon would make another name of it.
    match name {
        [] | [b' ' | b'\t', ..] | [.., b' ' | b'\t'] => Err(Ambiguous),
        _ => Ok((name, value.trim_ascii())),
    }
}

/// RFC 9110 section 8.6: digits and nothing else, not even a list of the same.
fn decimal(text: &[u8]) -> Option<u64> {
    let digits = (1..=19).contains(&text.len()) && text.iter().all(u8::is_ascii_digit);
    let text = std::str::from_utf8(text).ok().filter(|_| digits)?;
    text.parse().ok()
}

/// RFC 9112 section 7.1, with extensions, which are ignored.
pub(crate) fn chunk_size(line: &[u8]) -> Result<u64, Ambiguous> {
    let end = line
        .iter()
        .position(|byte| !byte.is_ascii_hexdigit())
        .unwrap_or(line.len());
    let (size, extension) = line.split_at(end);
    let readable = |byte: &u8| !byte.is_ascii_control() || *byte == b'\t';
    let well_formed =
        (1..=16).contains(&size.len()) && matches!(extension, [] | [b';', ..]) && extension.iter().all(readable);
    let size = std::str::from_utf8(size).ok().filter(|_| well_formed);
    size.and_then(|size| u64::from_str_radix(size, 16).ok())
        .ok_or(Ambiguous)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// How many bytes pass, however they are cut.
    fn passed(text: &str) -> Option<usize> {
        let mut outcomes = Vec::new();
        for step in [1, 2, 3, 7, text.len().max(1)] {
            let mut framing = Framing::default();
            let mut seen = 0;
            let mut outcome = None;
            for piece in text.as_bytes().chunks(step) {
                if let Err(at) = framing.follow(piece) {
                    outcome = Some(seen + at);
                    break;
                }
                seen += piece.len();
            }
            outcomes.push(outcome);
        }
        assert!(
            outcomes.windows(2).all(|two| two[0] == two[1]),
            "{text:?}: {outcomes:?}"
        );
        outcomes[0]
    }

    #[test]
    fn what_can_be_read_in_one_way_passes() {
        for text in [
            "GET / HTTP/1.1\r\nHost: a\r\n\r\n",
            "\r\nGET / HTTP/1.1\r\nHost: a\r\n\r\nGET /2 HTTP/1.1\r\nHost: a\r\n\r\n",
            "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\n\r\n\n\r\n\n\nGET / HTTP/1.1\r\nHost: a\r\n\r\n",
            "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 0\r\n\r\nGET / HTTP/1.1\r\n\r\n",
            "POST / HTTP/1.1\r\nTransfer-Encoding: Chunked\r\n\r\n5;a=\"b\"\r\n\n\n\n\n\n\r\n0\r\nX: y\r\n\r\nGET / HTTP/1.1\r\n\r\n",
            "GET / HTTP/1.1\r\nA:\r\nB: c \r\n\r\n",
        ] {
            assert_eq!(passed(text), None, "{text:?}");
        }
    }

    #[test]
    fn what_can_be_read_in_two_ways_does_not() {
        for text in [
            "GET / HTTP/1.1\nHost: a\r\n\r\n",
            "GET / HTTP/1.1\r\nHost: a\n\r\n",
            "GET / HTTP/1.1\r\nHost: a\r\n\n",
            "GET / HTTP/1.1\r\nA: b\rC: d\r\n\r\n",
            "GET / HTTP/1.1\r\nA: b\r\n c\r\n\r\n",
            "GET / HTTP/1.1\r\nContent-Length : 5\r\n\r\n",
            "GET / HTTP/1.1\r\n: 5\r\n\r\n",
            "GET / HTTP/1.1\r\nA\r\n\r\n",
            "POST / HTTP/1.1\r\nContent-Length: 5\r\nContent-Length: 5\r\n\r\n",
            "POST / HTTP/1.1\r\nContent-Length: 5, 5\r\n\r\n",
            "POST / HTTP/1.1\r\nContent-Length: +5\r\n\r\n",
            "POST / HTTP/1.1\r\nContent-Length: 0x5\r\n\r\n",
            "POST / HTTP/1.1\r\nContent-Length:\r\n\r\n",
            "POST / HTTP/1.1\r\nContent-Length: 99999999999999999999\r\n\r\n",
            "POST / HTTP/1.1\r\nContent-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n",
            "POST / HTTP/1.1\r\nTransfer-Encoding: chunked\r\nContent-Length: 5\r\n\r\n",
            "POST / HTTP/1.1\r\nTransfer-Encoding: chunked\r\nTransfer-Encoding: identity\r\n\r\n",
            "POST / HTTP/1.1\r\nTransfer-Encoding: gzip, chunked\r\n\r\n",
            "POST / HTTP/1.1\r\nTransfer-Encoding: xchunked\r\n\r\n",
            "POST / HTTP/1.1\r\nTransfer-Encoding: \x0bchunked\r\n\r\n",
            "POST / HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n5\n",
            "POST / HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n5 \r\n",
            "POST / HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n0x5\r\n",
            "POST / HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n5;\n\r\n",
            "POST / HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n5;\0\r\n",
            "POST / HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n10000000000000000\r\n",
            "POST / HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n1\r\nab\r\n",
            "POST / HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n1\r\na\n",
            "POST / HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n0\r\nContent-Length: 5\r\n\r\n",
        ] {
            let at = passed(text).unwrap_or_else(|| panic!("{text:?} passes"));
            assert_eq!(
                text.as_bytes()[at],
                b'\n',
                "{text:?}: the end of the line that is wrong"
            );
        }
    }

    #[test]
    fn nothing_passes_after_that() {
        let mut framing = Framing::default();
        assert_eq!(framing.follow(b"GET / HTTP/1.1\n"), Err(14));
        assert_eq!(framing.follow(b"GET / HTTP/1.1\r\n\r\n"), Err(0));
        let mut framing = Framing::default();
        let line = vec![b'a'; MAX_LINE];
        assert_eq!(framing.follow(&line), Ok(()));
        assert!(framing.follow(b"a").is_err());
    }
}
