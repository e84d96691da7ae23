//! HTTP over TLS over TCP: what HTTP/1.1 and HTTP/2 have in common for a loader.

use std::str::FromStr;

use crate::error::Result;
use crate::target::{Resource, Target};
use crate::{h1, h2};

/// The HTTP versions that run over TCP, by their ALPN names.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Protocol {
    Http11,
    H2,
}

impl FromStr for Protocol {
    type Err = &'static str;

    fn from_str(text: &str) -> std::result::Result<Self, Self::Err> {
        match text {
            "http/1.1" => Ok(Self::Http11),
            "h2" => Ok(Self::H2),
            _ => Err("neither http/1.1 nor h2"),
        }
    }
}

impl Protocol {
    pub fn alpn(self) -> &'static str {
        match self {
            Self::Http11 => "http/1.1",
            Self::H2 => "h2",
        }
    }

    pub fn exchange(self, target: &Target, resource: &Resource) -> Result<Box<dyn Exchange>> {
        Ok(match self {
            Self::Http11 => Box::new(h1::Client::new(target, resource)),
            Self::H2 => Box::new(h2::Client::new(target, resource)?),
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
