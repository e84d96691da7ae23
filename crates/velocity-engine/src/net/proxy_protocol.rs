//! The PROXY protocol, versions 1 and 2 as HAProxy specifies them: whoever makes a TCP connection for somebody else says at
//! its beginning, before TLS, who that is.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use ppp::{v1, v2};
use tokio::io::{AsyncRead, AsyncReadExt};

use crate::error::Result;
use crate::filter::Networks;
use crate::plan::{self, ProxyProtocolVersion as Version};

/// The longest header of version 1, in bytes (section 2.1).
const MAX_LINE: usize = 107;

/// The longest of version 2 that is read. Addresses are 216 bytes at most; the rest is what senders tell of TLS and of
/// themselves, which is skipped.
const MAX_HEADER: usize = 4096;

/// Version 2 up to its length, the last two bytes (section 2.2).
const FIXED: usize = 16;

/// Who connects for others.
pub struct Senders {
    trusted: Networks,
    required: bool,
}

/// What a connection begins with.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Beginning {
    /// A header, or it is refused.
    Header,
    /// A header, or what a client says.
    Either,
}

impl Senders {
    /// # Errors
    ///
    /// `NETWORK_INVALID`.
    pub fn new(plan: &plan::ProxyProtocol) -> Result<Self> {
        Ok(Self {
            trusted: Networks::new(&plan.trusted)?,
            required: plan.required,
        })
    }

    /// What a connection from there begins with; `None` if nothing that it says of others would be believed.
    pub fn expect(&self, remote: IpAddr) -> Option<Beginning> {
        self.trusted.contains(remote).then_some(match self.required {
            true => Beginning::Header,
            false => Beginning::Either,
        })
    }
}

/// Read the header, and leave in `received` what came after it. The client; `None` if the sender speaks for itself, or for
/// somebody who has no address.
///
/// # Errors
///
/// Why there is no header, in words for a log.
pub async fn read<S>(
    stream: &mut S,
    received: &mut Vec<u8>,
    beginning: Beginning,
) -> std::result::Result<Option<Client>, String>
where
    S: AsyncRead + Unpin,
{
    loop {
        match inspect(received)? {
            Inspection::Header { len, client } => {
                received.drain(..len);
                return Ok(client);
            }
            Inspection::Other if beginning == Beginning::Either => return Ok(None),
            Inspection::Other => return Err("it does not begin with a PROXY header".to_owned()),
            Inspection::Incomplete => {}
        }
        match stream.read_buf(received).await {
            Ok(0) => return Err("it ended within the PROXY header".to_owned()),
            Ok(_) => {}
            Err(error) => return Err(error.to_string()),
        }
    }
}

#[derive(Debug, PartialEq, Eq)]
enum Inspection {
    Header {
        len: usize,
        client: Option<Client>,
    },
    Incomplete,
    /// No header begins like this.
    Other,
}

fn inspect(bytes: &[u8]) -> std::result::Result<Inspection, String> {
    let begins = |prefix: &[u8]| {
        let common = bytes.len().min(prefix.len());
        bytes[..common] == prefix[..common]
    };
    if begins(v2::PROTOCOL_PREFIX) {
        binary(bytes)
    } else if begins(b"PROXY ") {
        line(bytes)
    } else {
        Ok(Inspection::Other)
    }
}

/// Version 1.
fn line(bytes: &[u8]) -> std::result::Result<Inspection, String> {
    let Some(end) = memchr::memchr(b'\n', &bytes[..bytes.len().min(MAX_LINE)]) else {
        return match bytes.len() < MAX_LINE {
            true => Ok(Inspection::Incomplete),
            false => Err("its PROXY header has no end".to_owned()),
        };
    };
    let line = &bytes[..=end];
    let len = line.len();
    // Section 2.1: whatever stands behind UNKNOWN is to be ignored.
    if line.starts_with(b"PROXY UNKNOWN ") && line.ends_with(b"\r\n") {
        return Ok(Inspection::Header { len, client: None });
    }
    let header = v1::Header::try_from(line).map_err(|error| error.to_string())?;
    let client = match header.addresses {
        v1::Addresses::Tcp4(of) => Some(of.into()),
        v1::Addresses::Tcp6(of) => Some(of.into()),
        v1::Addresses::Unknown => None,
    };
    Ok(Inspection::Header { len, client })
}

/// Version 2.
fn binary(bytes: &[u8]) -> std::result::Result<Inspection, String> {
    let Some(fixed) = bytes.get(..FIXED) else {
        return Ok(Inspection::Incomplete);
    };
    let len = FIXED + usize::from(u16::from_be_bytes([fixed[14], fixed[15]]));
    if len > MAX_HEADER {
        return Err(format!("its PROXY header has {len} bytes, more than {MAX_HEADER}"));
    }
    let Some(header) = bytes.get(..len) else {
        return Ok(Inspection::Incomplete);
    };
    let header = v2::Header::try_from(header).map_err(|error| error.to_string())?;
    let client = match (header.command, header.addresses) {
        (v2::Command::Proxy, v2::Addresses::IPv4(of)) => Some(of.into()),
        (v2::Command::Proxy, v2::Addresses::IPv6(of)) => Some(of.into()),
        // LOCAL is a health check of the sender's.
        _ => None,
    };
    Ok(Inspection::Header { len, client })
}

/// For whom a connection is made.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Client {
    pub source: SocketAddr,
    /// Where it came to.
    pub destination: SocketAddr,
}

impl Client {
    /// `local` is our end of the connection, which is of another family where proxies say who the client is.
    pub fn new(source: SocketAddr, local: SocketAddr) -> Self {
        let ip = match (source.ip(), local.ip()) {
            (IpAddr::V4(_), IpAddr::V6(_)) => Ipv4Addr::UNSPECIFIED.into(),
            (IpAddr::V6(_), IpAddr::V4(_)) => Ipv6Addr::UNSPECIFIED.into(),
            (_, ip) => ip,
        };
        let destination = SocketAddr::new(ip, local.port());
        Self { source, destination }
    }
}

impl From<v2::IPv4> for Client {
    fn from(of: v2::IPv4) -> Self {
        Self {
            source: (of.source_address, of.source_port).into(),
            destination: (of.destination_address, of.destination_port).into(),
        }
    }
}

impl From<v2::IPv6> for Client {
    fn from(of: v2::IPv6) -> Self {
        Self {
            source: (of.source_address, of.source_port).into(),
            destination: (of.destination_address, of.destination_port).into(),
        }
    }
}

/// The header of a connection for `client`; without one, the connection is for nobody but us.
pub fn header(version: Version, client: Option<Client>) -> std::io::Result<Vec<u8>> {
    match (version, client) {
        (Version::V1, None) => Ok(b"PROXY UNKNOWN\r\n".to_vec()),
        (Version::V1, Some(Client { source, destination })) => {
            let family = if source.is_ipv4() { "TCP4" } else { "TCP6" };
            let (from, to) = (source.ip(), destination.ip());
            let ports = (source.port(), destination.port());
            Ok(format!("PROXY {family} {from} {to} {} {}\r\n", ports.0, ports.1).into_bytes())
        }
        (Version::V2, None) => {
            let nobody = v2::AddressFamily::Unspecified | v2::Protocol::Unspecified;
            v2::Builder::new(v2::Version::Two | v2::Command::Local, nobody).build()
        }
        (Version::V2, Some(Client { source, destination })) => {
            let command = v2::Version::Two | v2::Command::Proxy;
            v2::Builder::with_addresses(command, v2::Protocol::Stream, (source, destination)).build()
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn address(text: &str) -> SocketAddr {
        text.parse().unwrap()
    }

    async fn read_in(pieces: usize, bytes: &[u8], beginning: Beginning) -> Result<(Option<Client>, Vec<u8>), String> {
        let (mut sender, mut receiver) = tokio::io::duplex(pieces);
        let bytes = bytes.to_vec();
        let sending = tokio::spawn(async move {
            let _ = tokio::io::AsyncWriteExt::write_all(&mut sender, &bytes).await;
        });
        let mut received = Vec::new();
        let client = read(&mut receiver, &mut received, beginning).await?;
        let _ = receiver.read_to_end(&mut received).await;
        sending.await.unwrap();
        Ok((client, received))
    }

    type Result<T, E> = std::result::Result<T, E>;

    #[tokio::test]
    async fn what_is_written_is_read_however_it_is_cut() {
        for (source, local) in [
            ("192.0.2.7:4711", "198.51.100.1:443"),
            ("192.0.2.7:0", "[::]:443"),
            ("[2001:db8::7]:4711", "[2001:db8::1]:443"),
            ("[2001:db8::7]:65535", "0.0.0.0:443"),
        ] {
            let client = Client::new(address(source), address(local));
            assert_eq!(client.source.is_ipv4(), client.destination.is_ipv4());
            for version in [Version::V1, Version::V2] {
                for client in [Some(client), None] {
                    let mut bytes = header(version, client).unwrap();
                    bytes.extend_from_slice(b"\x16\x03\x01PROXY ");
                    for pieces in [1, 2, 5, 13, 1000] {
                        let (found, rest) = read_in(pieces, &bytes, Beginning::Header).await.unwrap();
                        assert_eq!(
                            (found, &*rest),
                            (client, &b"\x16\x03\x01PROXY "[..]),
                            "{source} {version:?}"
                        );
                    }
                }
            }
        }
    }

    #[tokio::test]
    async fn additions_are_skipped_and_other_families_are_nobody() {
        let of = |command: u8, family: u8, addresses: &[u8], more: usize| {
            let mut bytes = v2::PROTOCOL_PREFIX.to_vec();
            bytes.extend_from_slice(&[command, family]);
            bytes.extend_from_slice(&((addresses.len() + more) as u16).to_be_bytes());
            bytes.extend_from_slice(addresses);
            bytes.resize(bytes.len() + more, 0xe0);
            bytes.extend_from_slice(b"hello");
            bytes
        };
        let known = Client::new(address("192.0.2.7:4711"), address("198.51.100.1:443"));
        let v4 = [192, 0, 2, 7, 198, 51, 100, 1, 0x12, 0x67, 1, 187];
        for (bytes, expected) in [
            (of(0x21, 0x11, &v4, 300), Some(known)),
            (of(0x20, 0x11, &v4, 0), None),
            (of(0x20, 0x00, &[], 20), None),
            (of(0x21, 0x00, &[], 0), None),
            (of(0x21, 0x31, &[b'a'; 216], 0), None),
        ] {
            assert_eq!(
                read_in(64, &bytes, Beginning::Header).await.unwrap(),
                (expected, b"hello".to_vec())
            );
        }
        let line = b"PROXY UNKNOWN a b c d e f g h\r\nhello";
        assert_eq!(
            read_in(64, line, Beginning::Header).await.unwrap(),
            (None, b"hello".to_vec())
        );
    }

    #[tokio::test]
    async fn what_is_no_header_is_refused() {
        let mut long = v2::PROTOCOL_PREFIX.to_vec();
        long.extend_from_slice(&[0x21, 0x11, 0xff, 0xff]);
        let mut other = v2::PROTOCOL_PREFIX.to_vec();
        other.extend_from_slice(&[0x31, 0x11, 0, 0, 0, 0]);
        let mut short = v2::PROTOCOL_PREFIX.to_vec();
        short.extend_from_slice(&[0x21, 0x11, 0, 2, 0, 0]);
        let endless = [&b"PROXY TCP4 "[..], &[b'1'; 200]].concat();
        for bytes in [
            &b"PROXY TCP4 192.0.2.7 198.51.100.1 4711 443\n"[..],
            b"PROXY TCP4 192.0.2.7 198.51.100.1 4711\r\n",
            b"PROXY TCP4 192.0.2.7 198.51.100.1 99999 443\r\n",
            b"PROXY TCP4 192.0.2.300 198.51.100.1 1 443\r\n",
            b"PROXY TCP6 192.0.2.7 198.51.100.1 1 443\r\n",
            b"PROXY  TCP4 192.0.2.7 198.51.100.1 1 443\r\n",
            b"PROXY UDP4 192.0.2.7 198.51.100.1 1 443\r\n",
            b"PROXY TCP4 192.0.2.7",
            b"",
            &endless,
            &long,
            &other,
            &short,
        ] {
            for beginning in [Beginning::Header, Beginning::Either] {
                let text = String::from_utf8_lossy(bytes);
                assert!(read_in(64, bytes, beginning).await.is_err(), "{text}");
            }
        }
        for bytes in [&b"\x16\x03\x01"[..], b"GET / HTTP/1.1\r\n", b"\r\n\r\nGET"] {
            assert!(read_in(64, bytes, Beginning::Header).await.is_err());
            assert_eq!(
                read_in(64, bytes, Beginning::Either).await.unwrap(),
                (None, bytes.to_vec())
            );
        }
    }

    #[test]
    fn only_the_trusted_are_believed() {
        let senders = |required| {
            let trusted = vec!["10.0.0.0/8".to_owned()];
            Senders::new(&plan::ProxyProtocol { trusted, required }).unwrap()
        };
        let expect = |required, ip: &str| senders(required).expect(ip.parse().unwrap());
        assert_eq!(expect(true, "10.1.2.3"), Some(Beginning::Header));
        assert_eq!(expect(false, "::ffff:10.1.2.3"), Some(Beginning::Either));
        assert_eq!(expect(true, "192.0.2.1"), None);
    }
}
