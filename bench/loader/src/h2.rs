//! The least of HTTP/2 (RFC 9113) that fetches one file after the other: static HPACK (RFC 7541) and
//! windows so large that flow control never holds the server back.

use crate::error::Result;
use crate::target::{Resource, Target};
use crate::tcp::Exchange;

const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";
const MAX_WINDOW: u32 = (1 << 31) - 1;
const INITIAL_WINDOW: u32 = 65_535;
/// We announce no other SETTINGS_MAX_FRAME_SIZE than the default.
const MAX_FRAME: usize = 16_384;

const DATA: u8 = 0x0;
const HEADERS: u8 = 0x1;
const RST_STREAM: u8 = 0x3;
const SETTINGS: u8 = 0x4;
const PING: u8 = 0x6;
const GOAWAY: u8 = 0x7;
const WINDOW_UPDATE: u8 = 0x8;

const ACK: u8 = 0x1;
const END_STREAM: u8 = 0x1;
const END_HEADERS: u8 = 0x4;
const PADDED: u8 = 0x8;
const PRIORITY: u8 = 0x20;

/// HPACK: `:status: 200` as an indexed field (static entry 8).
const STATUS_200: u8 = 0x80 | 8;

pub struct Client {
    fields: Vec<u8>,
    length: u64,
    stream: u32,
    /// A frame header, then the payload of any frame but DATA.
    frame: Vec<u8>,
    /// Bytes of the current DATA frame still to come.
    data_left: usize,
    data_ends: bool,
    body: u64,
    status_200: bool,
}

impl Client {
    pub fn new(target: &Target, resource: &Resource) -> Result<Self> {
        // `:method GET` and `:scheme https` are static entries 2 and 7; then literals without indexing.
        let mut fields = vec![0x80 | 2, 0x80 | 7];
        literal(&mut fields, 1, &target.authority())?;
        literal(&mut fields, 4, &resource.path)?;
        Ok(Self::with_fields(fields, resource.length))
    }

    fn with_fields(fields: Vec<u8>, length: u64) -> Self {
        Self {
            fields,
            length,
            stream: 0,
            frame: Vec::with_capacity(MAX_FRAME),
            data_left: 0,
            data_ends: false,
            body: 0,
            status_200: false,
        }
    }

    fn data(&mut self, length: usize) -> Result<bool> {
        self.body += length as u64;
        self.data_left -= length;
        if self.data_left > 0 || !self.data_ends {
            return Ok(false);
        }
        self.end()
    }

    fn end(&mut self) -> Result<bool> {
        if !self.status_200 {
            return Err("a body without a head".into());
        }
        if self.body != self.length {
            return Err(format!("the body has {} bytes instead of {}", self.body, self.length).into());
        }
        Ok(true)
    }

    /// A whole frame other than DATA.
    fn control(&mut self, kind: u8, flags: u8, payload: &[u8], reply: &mut Vec<u8>) -> Result<bool> {
        match kind {
            SETTINGS if flags & ACK == 0 => write_frame(reply, SETTINGS, ACK, 0, &[]),
            PING if flags & ACK == 0 => write_frame(reply, PING, ACK, 0, payload),
            HEADERS => {
                if flags & PADDED != 0 {
                    return Err("padded frames are not expected".into());
                }
                let fields = payload
                    .get(if flags & PRIORITY == 0 { 0 } else { 5 }..)
                    .unwrap_or_default();
                // Dynamic table size updates (001xxxxx and its continuation) may come first.
                let mut fields = fields.iter();
                let mut first = fields.next();
                while let Some(byte) = first.filter(|byte| **byte & 0xE0 == 0x20) {
                    if byte & 0x1F == 0x1F {
                        fields.find(|byte| **byte & 0x80 == 0);
                    }
                    first = fields.next();
                }
                if !self.status_200 && first != Some(&STATUS_200) {
                    return Err("the status is not 200".into());
                }
                self.status_200 = true;
                if flags & END_STREAM != 0 {
                    return self.end();
                }
            }
            RST_STREAM => return Err("the server reset the stream".into()),
            GOAWAY => return Err("the server sent GOAWAY".into()),
            _ => {}
        }
        Ok(false)
    }
}

impl Exchange for Client {
    fn request(&mut self) -> Vec<u8> {
        let mut out = Vec::new();
        if self.stream == 0 {
            out.extend_from_slice(PREFACE);
            // SETTINGS_ENABLE_PUSH 0, SETTINGS_INITIAL_WINDOW_SIZE as large as it can be.
            let mut settings = vec![0, 2, 0, 0, 0, 0, 0, 4];
            settings.extend(MAX_WINDOW.to_be_bytes());
            write_frame(&mut out, SETTINGS, 0, 0, &settings);
            write_frame(
                &mut out,
                WINDOW_UPDATE,
                0,
                0,
                &(MAX_WINDOW - INITIAL_WINDOW).to_be_bytes(),
            );
            self.stream = 1;
        } else {
            // Give back what the last body took; a body of the bench fits the window.
            if let Some(increment) = u32::try_from(self.body).ok().filter(|increment| *increment > 0) {
                write_frame(&mut out, WINDOW_UPDATE, 0, 0, &increment.to_be_bytes());
            }
            self.stream += 2;
        }
        (self.body, self.status_200) = (0, false);
        write_frame(&mut out, HEADERS, END_HEADERS | END_STREAM, self.stream, &self.fields);
        out
    }

    fn feed(&mut self, mut bytes: &[u8], reply: &mut Vec<u8>) -> Result<bool> {
        let mut complete = false;
        while !bytes.is_empty() {
            if self.data_left > 0 {
                let (data, rest) = bytes.split_at(bytes.len().min(self.data_left));
                complete |= self.data(data.len())?;
                bytes = rest;
                continue;
            }
            let wanted = match self.frame.get(..3) {
                Some(length) if self.frame.len() >= 9 => 9 + length.iter().fold(0, |n, &b| n << 8 | usize::from(b)),
                _ => 9,
            };
            let (piece, rest) = bytes.split_at(bytes.len().min(wanted - self.frame.len()));
            self.frame.extend_from_slice(piece);
            bytes = rest;
            let &[a, b, c, kind, flags, ref rest @ ..] = self.frame.as_slice() else {
                continue;
            };
            let length = usize::from(a) << 16 | usize::from(b) << 8 | usize::from(c);
            if length > MAX_FRAME {
                return Err(format!("a frame of {length} bytes").into());
            }
            if rest.len() < 4 {
                continue;
            }
            if kind == DATA {
                if flags & PADDED != 0 {
                    return Err("padded frames are not expected".into());
                }
                (self.data_left, self.data_ends) = (length, flags & END_STREAM != 0);
                self.frame.clear();
                if length == 0 {
                    complete |= self.data(0)?;
                }
            } else if rest.len() - 4 == length {
                let frame = std::mem::take(&mut self.frame);
                complete |= self.control(kind, flags, frame.get(9..).unwrap_or_default(), reply)?;
                self.frame = frame;
                self.frame.clear();
            }
        }
        Ok(complete)
    }
}

fn write_frame(out: &mut Vec<u8>, kind: u8, flags: u8, stream: u32, payload: &[u8]) {
    out.extend_from_slice(&(payload.len() as u32).to_be_bytes()[1..]);
    out.extend_from_slice(&[kind, flags]);
    out.extend_from_slice(&stream.to_be_bytes());
    out.extend_from_slice(payload);
}

/// A literal field without indexing whose name is static entry `name` (RFC 7541 section 6.2.2).
fn literal(fields: &mut Vec<u8>, name: u8, value: &str) -> Result<()> {
    if value.len() >= 127 {
        return Err(format!("{value:?} is too long for this loader").into());
    }
    fields.push(name);
    fields.push(value.len() as u8);
    fields.extend(value.as_bytes());
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn answer(status: u8) -> Vec<u8> {
        let mut bytes = Vec::new();
        write_frame(&mut bytes, SETTINGS, 0, 0, &[0, 3, 0, 0, 0, 100]);
        write_frame(&mut bytes, PING, 0, 0, b"12345678");
        write_frame(&mut bytes, HEADERS, END_HEADERS, 1, &[0x3F, 0xE1, 0x1F, status, 0x61]);
        write_frame(&mut bytes, DATA, 0, 1, &[7; 300]);
        write_frame(&mut bytes, DATA, 0, 1, &[7; 20]);
        write_frame(&mut bytes, DATA, END_STREAM, 1, &[]);
        bytes
    }

    #[test]
    fn reads_pieces_of_any_size_and_answers() {
        for size in [1, 2, 8, 9, 10, 5000] {
            let mut client = Client::with_fields(vec![0x82], 320);
            assert!(client.request().starts_with(PREFACE));
            let mut reply = Vec::new();
            let done: Vec<bool> = answer(STATUS_200)
                .chunks(size)
                .map(|piece| client.feed(piece, &mut reply).unwrap())
                .collect();
            assert_eq!(done.iter().position(|done| *done), Some(done.len() - 1));
            let mut expected = Vec::new();
            write_frame(&mut expected, SETTINGS, ACK, 0, &[]);
            write_frame(&mut expected, PING, ACK, 0, b"12345678");
            assert_eq!(reply, expected);
            let mut next = Vec::new();
            write_frame(&mut next, WINDOW_UPDATE, 0, 0, &320u32.to_be_bytes());
            write_frame(&mut next, HEADERS, END_HEADERS | END_STREAM, 3, &[0x82]);
            assert_eq!(client.request(), next);
        }
    }

    #[test]
    fn refuses_other_answers() {
        let mut reply = Vec::new();
        assert!(
            Client::with_fields(Vec::new(), 320)
                .feed(&answer(0x8D), &mut reply)
                .is_err()
        );
        assert!(
            Client::with_fields(Vec::new(), 321)
                .feed(&answer(STATUS_200), &mut reply)
                .is_err()
        );
        let mut goaway = Vec::new();
        write_frame(&mut goaway, GOAWAY, 0, 0, &[0; 8]);
        assert!(Client::with_fields(Vec::new(), 0).feed(&goaway, &mut reply).is_err());
        assert!(
            Client::with_fields(Vec::new(), 0)
                .feed(&[0xFF, 0xFF, 0xFF, 0, 0], &mut reply)
                .is_err()
        );
    }
}
