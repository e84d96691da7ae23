//! The least of HTTP/3 (RFC 9114) that loads a server: pre-encoded requests, static QPACK (RFC 9204),
//! and a response reader that keeps no bytes.

use quinn::{Connection, SendStream};

use crate::error::Result;
use crate::target::{Resource, Target};

const DATA: u64 = 0x00;
const HEADERS: u64 = 0x01;

/// QPACK static table: `:status: 200` as an indexed field line (RFC 9204 section 4.5.2, entry 25).
const STATUS_200: u8 = 0b1100_0000 | 25;

/// One connection with its control streams. They must stay open (RFC 9114 section 6.2.1).
pub struct Client {
    pub quic: Connection,
    _control: Vec<SendStream>,
}

impl Client {
    /// Send our SETTINGS and swallow the server's control streams. Needs a `LocalSet`.
    pub async fn new(quic: Connection) -> Result<Self> {
        let mut control = Vec::with_capacity(3);
        // Control stream with empty SETTINGS; QPACK encoder; QPACK decoder.
        for bytes in [&[0x00, 0x04, 0x00][..], &[0x02], &[0x03]] {
            let mut stream = quic.open_uni().await?;
            stream.write_all(bytes).await?;
            control.push(stream);
        }
        let connection = quic.clone();
        tokio::task::spawn_local(async move {
            while let Ok(mut stream) = connection.accept_uni().await {
                tokio::task::spawn_local(
                    async move { while let Ok(Some(_)) = stream.read_chunk(4096, false).await {} },
                );
            }
        });
        Ok(Self {
            quic,
            _control: control,
        })
    }

    /// Send `request` on a stream of its own; the answer must be 200 with a body of `length` bytes.
    pub async fn exchange(&self, request: &[u8], length: u64) -> Result<()> {
        let (mut send, mut receive) = self.quic.open_bi().await?;
        send.write_all(request).await?;
        send.finish()?;
        let mut response = Response::default();
        let mut chunks: [_; 32] = Default::default();
        while let Some(count) = receive.read_chunks(&mut chunks).await? {
            for chunk in &chunks[..count] {
                response.feed(chunk)?;
            }
        }
        response.check(length)
    }
}

/// A GET request as it goes over the wire: one HEADERS frame.
pub fn request(target: &Target, resource: &Resource) -> Result<Vec<u8>> {
    // No dynamic table; `:method GET` and `:scheme https` are entries 17 and 23 of the static one.
    let mut fields = vec![0, 0, 0b1100_0000 | 17, 0b1100_0000 | 23];
    literal(&mut fields, 0b0101_0000, &target.authority())?;
    literal(&mut fields, 0b0101_0001, &resource.path)?;
    let mut frame = vec![HEADERS as u8];
    let length = u16::try_from(fields.len())?;
    frame.extend((0x4000 | length).to_be_bytes());
    frame.extend(fields);
    Ok(frame)
}

/// A literal field line whose name is a static entry (RFC 9204 section 4.5.4).
fn literal(fields: &mut Vec<u8>, name: u8, value: &str) -> Result<()> {
    if value.len() >= 127 {
        return Err(format!("{value:?} is too long for this loader").into());
    }
    fields.push(name);
    fields.push(value.len() as u8);
    fields.extend(value.as_bytes());
    Ok(())
}

/// Reads frames as they come, in pieces of any size.
#[derive(Default)]
struct Response {
    /// The frame header so far, then the first bytes of the field section.
    head: [u8; 16],
    filled: usize,
    kind: u64,
    left: u64,
    body: u64,
    status_200: bool,
}

impl Response {
    fn feed(&mut self, mut bytes: &[u8]) -> Result<()> {
        while let Some(&first) = bytes.first() {
            if self.left > 0 {
                let (payload, rest) = bytes.split_at(bytes.len().min(usize::try_from(self.left)?));
                self.payload(payload)?;
                self.left -= payload.len() as u64;
                bytes = rest;
                continue;
            }
            self.head[self.filled] = first;
            self.filled += 1;
            bytes = &bytes[1..];
            if let Some((kind, kind_length)) = varint(&self.head[..self.filled])
                && let Some((length, _)) = varint(&self.head[kind_length..self.filled])
            {
                (self.kind, self.left, self.filled) = (kind, length, 0);
            }
        }
        Ok(())
    }

    fn payload(&mut self, payload: &[u8]) -> Result<()> {
        match self.kind {
            DATA => self.body += payload.len() as u64,
            HEADERS if !self.status_200 => {
                // Required Insert Count 0, Delta Base, then `:status`, which comes first of all fields.
                for &byte in payload.iter().take(3 - self.filled.min(3)) {
                    self.head[self.filled] = byte;
                    self.filled += 1;
                }
                if self.filled == 3 {
                    if self.head[0] != 0 || self.head[2] != STATUS_200 {
                        return Err("the status is not 200".into());
                    }
                    (self.status_200, self.filled) = (true, 0);
                }
            }
            _ => {}
        }
        Ok(())
    }

    fn check(&self, length: u64) -> Result<()> {
        if !self.status_200 || self.left > 0 || self.filled > 0 {
            return Err("the response ended early".into());
        }
        if self.body != length {
            return Err(format!("the body has {} bytes instead of {length}", self.body).into());
        }
        Ok(())
    }
}

/// A variable-length integer (RFC 9000 section 16) and its length, if it is all there.
fn varint(bytes: &[u8]) -> Option<(u64, usize)> {
    let first = *bytes.first()?;
    let length = 1usize << (first >> 6);
    let rest = bytes.get(1..length)?;
    Some((
        rest.iter()
            .fold(u64::from(first & 0x3F), |value, &byte| value << 8 | u64::from(byte)),
        length,
    ))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// HEADERS with `:status 200`, a reserved frame, DATA of 5 and 70 bytes.
    fn answer() -> Vec<u8> {
        let mut bytes = vec![0x01, 0x04, 0, 0, STATUS_200, 0xFF, 0x21, 0x01, 0xAA, 0x00, 0x05];
        bytes.extend([7; 5]);
        bytes.extend([0x00, 0x40, 70]);
        bytes.extend([7; 70]);
        bytes
    }

    #[test]
    fn reads_pieces_of_any_size() {
        for size in [1, 2, 3, 7, 1000] {
            let mut response = Response::default();
            for piece in answer().chunks(size) {
                response.feed(piece).unwrap();
            }
            response.check(75).unwrap();
            assert!(response.check(74).is_err());
        }
    }

    #[test]
    fn refuses_other_answers() {
        let mut not_found = answer();
        not_found[4] = 0b1100_0000 | 27;
        assert!(Response::default().feed(&not_found).is_err());
        let mut short = Response::default();
        short.feed(&answer()[..40]).unwrap();
        assert!(short.check(75).is_err());
        assert!(Response::default().check(0).is_err());
    }

    #[test]
    fn varints_of_the_rfc() {
        assert_eq!(varint(&[0x25]), Some((37, 1)));
        assert_eq!(varint(&[0x7b, 0xbd]), Some((15_293, 2)));
        assert_eq!(varint(&[0x9d, 0x7f, 0x3e, 0x7d]), Some((494_878_333, 4)));
        assert_eq!(varint(&[0x9d, 0x7f]), None);
    }
}
