//! What QUIC itself costs: a server that answers every stream with the same bytes, encoded once.
//!
//! It reads a request stream to its end without looking at it and writes a HEADERS and a DATA frame
//! that were made at the start. `--driver own` runs on the engine's driver, `--driver quinn` on
//! stock quinn; the difference is the driver, and the distance of the real server from `own` is the
//! price of HTTP/3.

mod own;
mod quinn_stock;

use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::Arc;

use bytes::Bytes;
use quinn_proto::{EndpointConfig, ServerConfig, TransportConfig};
use velocity_tls::certificate::Files;
use velocity_tls::fallback::Reason;
use velocity_tls::quic::{HelloServerConfig, Listening};
use velocity_tls::server::{Fallback, Policies, Policy, Setup};
use velocity_tls::{Certificates, Hello, Profile, ServerTls};

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

type Result<T> = std::result::Result<T, Box<dyn std::error::Error>>;

/// Largest piece of a body handed to QUIC at once, as the real server reads files.
const CHUNK: usize = 64 * 1024;

/// The same answer for everyone.
#[derive(Clone)]
pub struct Answer {
    pub head: Bytes,
    pub chunk: Bytes,
    pub length: usize,
}

impl Answer {
    fn new(length: usize) -> Self {
        // HEADERS: `:status 200` (static entry 25) alone; DATA with an eight-byte length.
        let mut head = vec![0x01, 0x03, 0x00, 0x00, 0xc0 | 25, 0x00];
        head.extend((0xc000_0000_0000_0000u64 | length as u64).to_be_bytes());
        Self {
            head: head.into(),
            chunk: vec![b'x'; CHUNK.min(length)].into(),
            length,
        }
    }

    /// The bytes of the body from `sent`.
    pub fn piece(&self, sent: usize) -> Bytes {
        self.chunk.slice(..self.chunk.len().min(self.length - sent))
    }
}

/// A listener that never changes.
struct Raw(Arc<ServerTls>);

impl Listening for Raw {
    fn tls(&self) -> Arc<ServerTls> {
        self.0.clone()
    }

    fn is_draining(&self) -> bool {
        false
    }

    fn refused(&self, _: &Hello, _: Reason) {}
}

/// The same transport parameters for both drivers, those of the real server.
pub fn server_config(certificate: &Path, key: &Path) -> Result<(ServerConfig, EndpointConfig)> {
    let certificates = Certificates::load(&[Files {
        chain: certificate.to_owned(),
        key: key.to_owned(),
        alternative_key: None,
        classical_chain: None,
    }])?;
    let policies = Policies {
        default: Policy {
            default: Profile::Balanced,
            permit: Profile::ALL.to_vec(),
        },
        by_host: HashMap::new(),
    };
    let tls = ServerTls::new(Setup {
        certificates: &Arc::new(certificates),
        protocols: &[b"h3".to_vec()],
        policies,
        client_auth: None,
        fallback: Fallback {
            alpn: "h3".into(),
            host: None,
            port: None,
        },
    })?;
    let crypto = HelloServerConfig::new(Raw(Arc::new(tls))).ok_or("no QUIC protocol")?;
    let mut server = ServerConfig::with_crypto(Arc::new(crypto));
    let mut transport = TransportConfig::default();
    transport
        .max_concurrent_bidi_streams(100u32.into())
        .max_concurrent_uni_streams(8u32.into())
        .send_window(4 << 20)
        .datagram_receive_buffer_size(None);
    server.transport_config(Arc::new(transport));
    Ok((server, EndpointConfig::default()))
}

fn run() -> Result<()> {
    let mut arguments = std::env::args().skip(1);
    let (mut driver, mut address, mut certificate, mut key, mut length) = (
        "own".to_owned(),
        "127.0.0.1:4433".to_owned(),
        PathBuf::new(),
        PathBuf::new(),
        1024,
    );
    while let Some(name) = arguments.next() {
        let value = arguments.next().ok_or_else(|| format!("{name} needs a value"))?;
        match name.as_str() {
            "--driver" => driver = value,
            "--address" => address = value,
            "--cert" => certificate = value.into(),
            "--key" => key = value.into(),
            "--length" => length = value.parse()?,
            _ => return Err(format!("unknown argument {name}").into()),
        }
    }
    let answer = Answer::new(length);
    let (server, endpoint) = server_config(&certificate, &key)?;
    let socket = std::net::UdpSocket::bind(address)?;
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    runtime.block_on(async {
        match driver.as_str() {
            "own" => own::serve(socket, server, endpoint, answer).await,
            "quinn" => quinn_stock::serve(socket, server, endpoint, answer).await,
            other => Err(format!("unknown driver {other}; there are own and quinn").into()),
        }
    })
}

fn main() -> ExitCode {
    match run() {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {error}");
            ExitCode::FAILURE
        }
    }
}
