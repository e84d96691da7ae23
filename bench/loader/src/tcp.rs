//! HTTP over TLS over TCP: what HTTP/1.1 and HTTP/2 have in common for a loader.

use std::str::FromStr;

use rustls::pki_types::ServerName;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;

use crate::error::Result;
use crate::target::{Resource, SERVER_NAME, Target};
use crate::{h1, h2, ws};

/// What runs over TCP: HTTP versions by their ALPN names, and WebSocket, which begins as HTTP/1.1.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Protocol {
    Http11,
    H2,
    WebSocket,
}

impl FromStr for Protocol {
    type Err = &'static str;

    fn from_str(text: &str) -> std::result::Result<Self, Self::Err> {
        match text {
            "http/1.1" => Ok(Self::Http11),
            "h2" => Ok(Self::H2),
            "websocket" => Ok(Self::WebSocket),
            _ => Err("neither http/1.1 nor h2 nor websocket"),
        }
    }
}

impl Protocol {
    pub fn alpn(self) -> &'static str {
        match self {
            Self::Http11 | Self::WebSocket => "http/1.1",
            Self::H2 => "h2",
        }
    }

    pub fn exchange(self, target: &Target, resource: &Resource) -> Result<Box<dyn Exchange>> {
        Ok(match self {
            Self::Http11 => Box::new(h1::Client::new(target, resource)),
            Self::H2 => Box::new(h2::Client::new(target, resource)?),
            Self::WebSocket => Box::new(ws::Client::new(target, resource)?),
        })
    }
}

/// The client's side of one connection, without IO: the same request again and again.
pub trait Exchange {
    /// The bytes that ask for the resource once more.
    fn request(&mut self) -> Vec<u8>;

    /// Take bytes of the server; `reply` gets what must be sent back. True when the response is
    /// complete; anything but 200 and the whole body is an error.
    fn feed(&mut self, bytes: &[u8], reply: &mut Vec<u8>) -> Result<bool>;
}

/// A connection that asks for one thing at a time.
pub struct Connection {
    stream: Box<TlsStream<TcpStream>>,
    exchange: Box<dyn Exchange>,
}

impl Connection {
    pub async fn open(
        connector: &TlsConnector,
        protocol: Protocol,
        target: &Target,
        resource: &Resource,
    ) -> Result<Self> {
        let stream = TcpStream::connect(target.address).await?;
        stream.set_nodelay(true)?;
        let stream = connector.connect(ServerName::try_from(SERVER_NAME)?, stream).await?;
        Ok(Self {
            stream: Box::new(stream),
            exchange: protocol.exchange(target, resource)?,
        })
    }

    /// Ask, and leave the answer to [`Connection::read`].
    pub async fn ask(&mut self) -> Result<()> {
        Ok(self.stream.write_all(&self.exchange.request()).await?)
    }

    /// Take no more of the answer than the buffer holds; true when it is complete.
    pub async fn read(&mut self, buffer: &mut [u8]) -> Result<bool> {
        let count = self.stream.read(buffer).await?;
        if count == 0 {
            return Err("the server closed instead of answering".into());
        }
        let mut reply = Vec::new();
        let complete = self.exchange.feed(&buffer[..count], &mut reply)?;
        if !reply.is_empty() {
            self.stream.write_all(&reply).await?;
        }
        Ok(complete)
    }

    /// One request and its whole answer.
    pub async fn exchange(&mut self) -> Result<()> {
        self.ask().await?;
        let mut buffer = [0; 4096];
        while !self.read(&mut buffer).await? {}
        Ok(())
    }

    /// Nothing is left to read on a healthy connection; its end would read as zero bytes.
    pub fn is_alive(&self) -> bool {
        !matches!(self.stream.get_ref().0.try_read(&mut [0; 1]), Ok(0))
    }
}
