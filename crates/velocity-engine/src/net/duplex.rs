//! Any stream of bytes in both directions.

use tokio::io::{AsyncRead, AsyncWrite};

/// TCP, Unix sockets, and TLS over them.
pub trait Duplex: AsyncRead + AsyncWrite + Send + Unpin {}

impl<T: AsyncRead + AsyncWrite + Send + Unpin> Duplex for T {}

pub type BoxDuplex = Box<dyn Duplex>;
