//! The hello stage: what a ClientHello says (RFC 9846 section 4.1.2), read before rustls sees it.
//!
//! One place decides from this which host is meant, which profile, why not `velocity/1`, and which
//! `rustls::ServerConfig` answers: [`crate::server`]. The parser takes bytes and gives facts; it
//! trusts no length, allocates no more than the message is long, and leaves everything it does not
//! need to rustls, which parses the same bytes again and is the judge of their validity.

/// Largest ClientHello looked at. Three hybrid shares and an ECH extension stay below 8 KiB.
pub const MAX_HELLO: usize = 32 * 1024;

const CLIENT_HELLO: u8 = 1;
/// Handshake type and 24-bit length.
pub(crate) const HANDSHAKE_HEADER: usize = 4;

/// What the hello stage knows of a client.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Hello {
    /// SNI (RFC 6066 section 3), lower case.
    pub server_name: Option<String>,
    /// ALPN protocols in the client's order (RFC 7301).
    pub alpn: Vec<Vec<u8>>,
    /// `supported_groups`, in the client's order.
    pub groups: Vec<u16>,
    /// Groups that a key share came for.
    pub shares: Vec<u16>,
    /// `signature_algorithms`, in the client's order.
    pub schemes: Vec<u16>,
    /// Cipher suites, in the client's order.
    pub ciphers: Vec<u16>,
    /// Whether TLS 1.3 is among `supported_versions`.
    pub tls13: bool,
    /// Whether an `encrypted_client_hello` extension came (RFC 9849); GREASE looks the same.
    pub ech: bool,
}

/// The bytes are no ClientHello. rustls would answer with `decode_error`, and so does the caller.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Malformed;

impl Hello {
    /// Parse one complete handshake message, header included.
    pub fn parse(message: &[u8]) -> Result<Self, Malformed> {
        let mut message = Reader(message);
        if message.u8()? != CLIENT_HELLO {
            return Err(Malformed);
        }
        let mut body = message.vec24()?;
        message.end()?;

        body.take(2 + 32)?; // legacy_version, random
        body.vec8()?; // legacy_session_id
        let mut hello = Hello {
            ciphers: body.vec16()?.u16s()?,
            ..Hello::default()
        };
        body.vec8()?; // legacy_compression_methods
        if body.0.is_empty() {
            return Ok(hello); // TLS 1.2 without extensions
        }
        let mut extensions = body.vec16()?;
        body.end()?;
        while !extensions.0.is_empty() {
            let kind = extensions.u16()?;
            let content = extensions.vec16()?;
            hello.extension(kind, content)?;
        }
        Ok(hello)
    }

    /// Whether the message in `bytes` is complete; `None` while even its length is not known.
    pub fn complete_len(bytes: &[u8]) -> Option<usize> {
        let &[_, a, b, c] = bytes.first_chunk::<HANDSHAKE_HEADER>()?;
        Some(HANDSHAKE_HEADER + u32::from_be_bytes([0, a, b, c]) as usize)
    }

    pub fn offers_alpn(&self, protocol: &[u8]) -> bool {
        self.alpn.iter().any(|offered| offered == protocol)
    }

    fn extension(&mut self, kind: u16, mut content: Reader<'_>) -> Result<(), Malformed> {
        match kind {
            0 => self.server_name = server_name(content.vec16()?)?,
            10 => self.groups = content.vec16()?.u16s()?,
            13 => self.schemes = content.vec16()?.u16s()?,
            16 => {
                let mut names = content.vec16()?;
                while !names.0.is_empty() {
                    self.alpn.push(names.vec8()?.0.to_vec());
                }
            }
            43 => self.tls13 = content.vec8()?.u16s()?.contains(&0x0304),
            51 => {
                let mut shares = content.vec16()?;
                while !shares.0.is_empty() {
                    self.shares.push(shares.u16()?);
                    shares.vec16()?;
                }
            }
            0xfe0d => self.ech = true,
            _ => {}
        }
        Ok(())
    }
}

/// The host name of a server_name list; other name types are skipped (RFC 6066 section 3).
fn server_name(mut names: Reader<'_>) -> Result<Option<String>, Malformed> {
    while !names.0.is_empty() {
        let kind = names.u8()?;
        let name = names.vec16()?.0;
        if kind == 0 {
            let name = std::str::from_utf8(name).map_err(|_| Malformed)?;
            return Ok(Some(name.trim_end_matches('.').to_ascii_lowercase()));
        }
    }
    Ok(None)
}

/// A cursor over TLS presentation language (RFC 9846 section 3).
#[derive(Clone, Copy)]
pub(crate) struct Reader<'a>(pub(crate) &'a [u8]);

impl<'a> Reader<'a> {
    pub(crate) fn take(&mut self, len: usize) -> Result<&'a [u8], Malformed> {
        let (taken, rest) = self.0.split_at_checked(len).ok_or(Malformed)?;
        self.0 = rest;
        Ok(taken)
    }

    fn integer(&mut self, width: usize) -> Result<usize, Malformed> {
        Ok(self
            .take(width)?
            .iter()
            .fold(0, |value, &byte| value << 8 | usize::from(byte)))
    }

    pub(crate) fn u8(&mut self) -> Result<u8, Malformed> {
        Ok(self.integer(1)? as u8)
    }

    pub(crate) fn u16(&mut self) -> Result<u16, Malformed> {
        Ok(self.integer(2)? as u16)
    }

    pub(crate) fn vec8(&mut self) -> Result<Reader<'a>, Malformed> {
        let len = self.integer(1)?;
        self.take(len).map(Reader)
    }

    pub(crate) fn vec16(&mut self) -> Result<Reader<'a>, Malformed> {
        let len = self.integer(2)?;
        self.take(len).map(Reader)
    }

    pub(crate) fn vec24(&mut self) -> Result<Reader<'a>, Malformed> {
        let len = self.integer(3)?;
        self.take(len).map(Reader)
    }

    fn u16s(self) -> Result<Vec<u16>, Malformed> {
        if !self.0.len().is_multiple_of(2) {
            return Err(Malformed);
        }
        Ok(self
            .0
            .chunks_exact(2)
            .map(|pair| u16::from_be_bytes([pair[0], pair[1]]))
            .collect())
    }

    pub(crate) fn end(&self) -> Result<(), Malformed> {
        if self.0.is_empty() { Ok(()) } else { Err(Malformed) }
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use std::sync::Arc;

    use rustls::pki_types::ServerName;

    use super::*;
    use crate::group;
    use crate::provider::{Aead, provider};

    /// The ClientHello that rustls itself writes: an encoder nobody here wrote.
    pub(crate) fn rustls_hello(groups: &[u16], alpn: &[&[u8]]) -> Vec<u8> {
        let mut config = rustls::ClientConfig::builder_with_provider(provider(groups, Aead::Aes128))
            .with_protocol_versions(&[&rustls::version::TLS13])
            .unwrap()
            .with_root_certificates(rustls::RootCertStore::empty())
            .with_no_client_auth();
        config.alpn_protocols = alpn.iter().map(|name| name.to_vec()).collect();
        let name = ServerName::try_from("Example.COM").unwrap();
        let mut connection = rustls::ClientConnection::new(Arc::new(config), name).unwrap();
        let mut wire = Vec::new();
        connection.write_tls(&mut wire).unwrap();
        wire
    }

    #[test]
    fn reads_what_rustls_writes() {
        let wire = rustls_hello(&[group::X25519MLKEM1024, group::X25519], &[b"velocity/1", b"h3"]);
        let hello = Hello::parse(&wire[5..]).unwrap();
        assert_eq!(hello.server_name.as_deref(), Some("example.com"));
        assert_eq!(hello.alpn, [b"velocity/1".to_vec(), b"h3".to_vec()]);
        assert_eq!(hello.groups, [group::X25519MLKEM1024, group::X25519]);
        assert_eq!(hello.shares, [group::X25519MLKEM1024]);
        assert!(hello.schemes.contains(&0x0403));
        assert_eq!(hello.ciphers[0], 0x1301);
        assert!(hello.tls13 && !hello.ech);
        assert!(hello.offers_alpn(b"h3") && !hello.offers_alpn(b"h2"));
    }

    #[test]
    fn every_truncation_is_malformed_and_none_panics() {
        let wire = rustls_hello(&[group::X25519], &[b"h3"]);
        let message = &wire[5..];
        assert_eq!(Hello::complete_len(message), Some(message.len()));
        for len in 0..message.len() {
            assert_eq!(Hello::parse(&message[..len]), Err(Malformed));
        }
        let longer = [message, &[0]].concat();
        assert_eq!(Hello::parse(&longer), Err(Malformed));
    }

    #[test]
    fn every_flipped_byte_parses_or_fails_quietly() {
        let wire = rustls_hello(&[group::X25519MLKEM768], &[b"h3"]);
        for at in 5..wire.len() {
            for bit in 0..8 {
                let mut message = wire[5..].to_vec();
                message[at - 5] ^= 1 << bit;
                let _ = Hello::parse(&message);
            }
        }
    }
}
