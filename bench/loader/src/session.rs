//! A connection and nothing on it: full handshakes over QUIC (RFC 9001) and TCP (RFC 9846).

use std::net::SocketAddr;
use std::path::Path;
use std::str::FromStr;
use std::sync::Arc;

use quinn::Endpoint;
use rustls::pki_types::ServerName;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpSocket, TcpStream};
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;

use crate::error::{Error, Result};
use crate::quic;
use crate::target::SERVER_NAME;
use crate::tls::{self, Verify};

const WINDOW: u32 = 1 << 20;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Transport {
    Quic,
    Tcp,
}

impl FromStr for Transport {
    type Err = &'static str;

    fn from_str(text: &str) -> std::result::Result<Self, Self::Err> {
        match text {
            "quic" => Ok(Self::Quic),
            "tcp" => Ok(Self::Tcp),
            _ => Err("neither quic nor tcp"),
        }
    }
}

/// The only group and the only protocol in a ClientHello.
#[derive(Clone, Debug)]
pub struct Offer {
    pub group: String,
    pub alpn: String,
}

impl FromStr for Offer {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self> {
        let (group, alpn) = text
            .split_once('@')
            .ok_or_else(|| format!("{text:?} is not GROUP@ALPN"))?;
        Ok(Self {
            group: group.to_owned(),
            alpn: alpn.to_owned(),
        })
    }
}

/// Makes one connection after the other.
pub enum Client {
    Quic {
        endpoint: Endpoint,
        config: quinn::ClientConfig,
    },
    Tcp {
        connector: TlsConnector,
        next: u16,
    },
}

/// A connection whose handshake is complete.
pub enum Session {
    Quic(quinn::Connection),
    Tcp(Box<TlsStream<TcpStream>>),
}

impl Client {
    /// A `cold` client throws away the address validation tokens it is given (RFC 9000 section 8.1.3).
    pub fn new(transport: Transport, offer: &Offer, ca: &Path, verify: Verify, cold: bool) -> Result<Self> {
        let tls = tls::config(ca, &offer.group, &offer.alpn, verify)?;
        Ok(match transport {
            Transport::Quic => {
                let mut config = quic::config(tls, WINDOW)?;
                if cold {
                    config.token_store(Arc::new(quinn::NoneTokenStore));
                }
                Self::Quic {
                    endpoint: quic::endpoint()?,
                    config,
                }
            }
            Transport::Tcp => Self::Tcp {
                connector: TlsConnector::from(Arc::new(tls)),
                next: 0,
            },
        })
    }

    pub async fn connect(&mut self, address: SocketAddr) -> Result<Session> {
        match self {
            Self::Quic { endpoint, config } => Ok(Session::Quic(quic::connect(endpoint, config, address).await?)),
            Self::Tcp { connector, next } => {
                // Closed connections keep their port for a minute (TIME_WAIT): spread them over 127.1.0.0/16.
                *next = next.wrapping_add(1);
                let [high, low] = next.to_be_bytes();
                let socket = TcpSocket::new_v4()?;
                socket.bind(SocketAddr::from(([127, 1, high, low], 0)))?;
                let stream = socket.connect(address).await?;
                stream.set_nodelay(true)?;
                let stream = connector.connect(ServerName::try_from(SERVER_NAME)?, stream).await?;
                Ok(Session::Tcp(Box::new(stream)))
            }
        }
    }
}

impl Session {
    /// UDP payload so far, in bytes: sent, and received. Nothing over TCP.
    pub fn bytes(&self) -> (u64, u64) {
        match self {
            Self::Quic(connection) => {
                let stats = connection.stats();
                (stats.udp_tx.bytes, stats.udp_rx.bytes)
            }
            Self::Tcp(_) => (0, 0),
        }
    }

    /// End the connection in a way that lets the server finish its side of the handshake first.
    pub async fn close(self) -> Result<()> {
        match self {
            // quinn has sent our Finished before it told us that the handshake is complete.
            Self::Quic(connection) => connection.close(0u32.into(), b""),
            Self::Tcp(mut stream) => {
                stream.shutdown().await?;
                // Session tickets, then the server's own close. How it closes is no business of ours.
                let mut rest = [0; 1024];
                while matches!(stream.read(&mut rest).await, Ok(count) if count > 0) {}
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn offers() {
        let offer: Offer = "x25519@velocity/1".parse().unwrap();
        assert_eq!((offer.group.as_str(), offer.alpn.as_str()), ("x25519", "velocity/1"));
        assert!("x25519".parse::<Offer>().is_err());
    }
}
