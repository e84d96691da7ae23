//! WebSocket (RFC 6455) over HTTP/1.1: one message after the other, each of which has to come back. The first exchange
//! opens it.

use crate::error::Result;
use crate::target::{Resource, Target};
use crate::tcp::Exchange;

const MAX_HEAD: usize = 16 << 10;
/// Whatever it is, it has to be undone (RFC 6455 section 5.3).
const MASK: [u8; 4] = [0x37, 0xfa, 0x21, 0x3d];
const FIN_BINARY: u8 = 0x82;
const MASKED: u8 = 0x80;

pub struct Client {
    handshake: Vec<u8>,
    /// The message as it is sent, and as it has to come back.
    message: Vec<u8>,
    echo: Vec<u8>,
    received: Vec<u8>,
    open: bool,
}

impl Client {
    /// The length of the resource is that of a message.
    pub fn new(target: &Target, resource: &Resource) -> Result<Self> {
        let handshake = format!(
            "GET {} HTTP/1.1\r\nHost: {}\r\nConnection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\n\
             Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n",
            resource.path,
            target.authority()
        );
        let payload: Vec<u8> = (0..resource.length).map(|at| at as u8).collect();
        let masked = payload.iter().zip(MASK.iter().cycle()).map(|(byte, mask)| byte ^ mask);
        Ok(Self {
            handshake: handshake.into_bytes(),
            message: [header(payload.len(), MASKED)?, MASK.to_vec(), masked.collect()].concat(),
            echo: [header(payload.len(), 0)?, payload].concat(),
            received: Vec::new(),
            open: false,
        })
    }

    fn opened(&mut self) -> Result<bool> {
        if !self.received.ends_with(b"\r\n\r\n") {
            return match self.received.len() > MAX_HEAD {
                true => Err("the head has no end".into()),
                false => Ok(false),
            };
        }
        if !self.received.starts_with(b"HTTP/1.1 101 ") {
            let line = self.received.split(|byte| *byte == b'\r').next().unwrap_or_default();
            return Err(format!("the answer is {:?}", String::from_utf8_lossy(line)).into());
        }
        self.open = true;
        Ok(true)
    }
}

impl Exchange for Client {
    fn request(&mut self) -> Vec<u8> {
        match self.open {
            true => self.message.clone(),
            false => self.handshake.clone(),
        }
    }

    fn feed(&mut self, bytes: &[u8], _reply: &mut Vec<u8>) -> Result<bool> {
        self.received.extend_from_slice(bytes);
        let complete = match self.open {
            false => self.opened()?,
            true if !self.echo.starts_with(&self.received) => return Err("something else came back".into()),
            true => self.received.len() == self.echo.len(),
        };
        if complete {
            self.received.clear();
        }
        Ok(complete)
    }
}

/// The beginning of a frame with a whole binary message.
fn header(length: usize, masked: u8) -> Result<Vec<u8>> {
    Ok(match length {
        0..=125 => vec![FIN_BINARY, masked | length as u8],
        126..=0xffff => [&[FIN_BINARY, masked | 126][..], &(length as u16).to_be_bytes()].concat(),
        _ => return Err("a message has up to 65535 bytes".into()),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn client(length: usize) -> Client {
        let payload = vec![7; length];
        Client {
            handshake: Vec::new(),
            message: Vec::new(),
            echo: [header(length, 0).unwrap(), payload].concat(),
            received: Vec::new(),
            open: false,
        }
    }

    #[test]
    fn opens_and_reads_messages_in_pieces() {
        for length in [5, 300] {
            let mut client = client(length);
            assert!(
                !client
                    .feed(b"HTTP/1.1 101 Switching Protocols\r\n", &mut Vec::new())
                    .unwrap()
            );
            assert!(client.feed(b"Upgrade: websocket\r\n\r\n", &mut Vec::new()).unwrap());
            let echo = client.echo.clone();
            for _ in 0..2 {
                assert!(!client.feed(&echo[..3], &mut Vec::new()).unwrap());
                assert!(client.feed(&echo[3..], &mut Vec::new()).unwrap());
            }
        }
    }

    #[test]
    fn refuses_other_answers() {
        assert!(client(5).feed(b"HTTP/1.1 200 OK\r\n\r\n", &mut Vec::new()).is_err());
        let mut open = client(5);
        open.open = true;
        assert!(open.feed(b"\x82\x05\x07\x07\x08", &mut Vec::new()).is_err());
    }
}
