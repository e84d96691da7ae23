//! Finding the ClientHello in a TCP stream (RFC 9846 section 5.1), without consuming it.
//!
//! The caller reads bytes, keeps them, and hands the same bytes to rustls afterwards.

use crate::hello::{HANDSHAKE_HEADER, Hello, MAX_HELLO, Malformed};

const RECORD_HEADER: usize = 5;
const HANDSHAKE: u8 = 22;
const MAX_FRAGMENT: usize = 1 << 14;

/// What the bytes received so far amount to.
#[derive(Debug, PartialEq, Eq)]
pub enum Inspection {
    /// Read on.
    Incomplete,
    Hello(Box<Hello>),
    /// Not TLS at all: a request in clear, sent to the wrong port.
    PlainHttp,
    Malformed,
}

/// Look at everything received so far, from the first byte of the connection.
pub fn inspect(received: &[u8]) -> Inspection {
    match received.first() {
        None => return Inspection::Incomplete,
        Some(&HANDSHAKE) => {}
        Some(byte) if byte.is_ascii_uppercase() => return Inspection::PlainHttp,
        Some(_) => return Inspection::Malformed,
    }
    match reassemble(received).map(|message| message.as_deref().map(Hello::parse)) {
        Ok(None) => Inspection::Incomplete,
        Ok(Some(Ok(hello))) => Inspection::Hello(Box::new(hello)),
        Ok(Some(Err(Malformed))) | Err(Malformed) => Inspection::Malformed,
    }
}

/// The first handshake message, put together from its records; `None` while some are missing.
fn reassemble(mut rest: &[u8]) -> Result<Option<Vec<u8>>, Malformed> {
    let mut message = Vec::new();
    loop {
        if let Some(len) = Hello::complete_len(&message) {
            if len > MAX_HELLO {
                return Err(Malformed);
            }
            if message.len() >= len {
                message.truncate(len);
                return Ok(Some(message));
            }
        }
        let Some((header, after)) = rest.split_at_checked(RECORD_HEADER) else {
            return Ok(None);
        };
        let len = usize::from(u16::from_be_bytes([header[3], header[4]]));
        // An empty handshake fragment is forbidden, and would let a peer make us loop for nothing.
        if header[0] != HANDSHAKE || header[1] != 3 || len == 0 || len > MAX_FRAGMENT {
            return Err(Malformed);
        }
        let available = len.min(after.len());
        message.extend_from_slice(&after[..available]);
        if available < len && message.len() < HANDSHAKE_HEADER {
            return Ok(None);
        }
        rest = &after[available..];
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::group;
    use crate::hello::tests::rustls_hello;

    #[test]
    fn whole_and_byte_by_byte() {
        let wire = rustls_hello(&[group::X25519], &[b"h2"]);
        for len in 0..wire.len() {
            assert_eq!(inspect(&wire[..len]), Inspection::Incomplete, "{len}");
        }
        assert!(matches!(inspect(&wire), Inspection::Hello(hello) if hello.offers_alpn(b"h2")));
    }

    #[test]
    fn split_over_many_records() {
        let wire = rustls_hello(&[group::X25519MLKEM768], &[b"h2"]);
        let split: Vec<u8> = wire[5..]
            .chunks(7)
            .flat_map(|part| [&[22, 3, 1, 0, part.len() as u8], part].concat())
            .collect();
        assert_eq!(inspect(&split[..split.len() - 1]), Inspection::Incomplete);
        assert!(matches!(inspect(&split), Inspection::Hello(_)));
    }

    #[test]
    fn what_is_not_a_hello() {
        assert_eq!(inspect(b"GET / HTTP/1.1\r\n"), Inspection::PlainHttp);
        assert_eq!(inspect(&[0x80, 0x2e, 1]), Inspection::Malformed);
        assert_eq!(inspect(&[22, 3, 1, 0, 0, 22, 3, 1]), Inspection::Malformed);
        assert_eq!(inspect(&[22, 3, 1, 0, 4, 1, 0xff, 0xff, 0xff]), Inspection::Malformed);
        assert_eq!(inspect(&[22, 3, 1, 0, 5, 2, 0, 0, 1, 0]), Inspection::Malformed);
    }
}
