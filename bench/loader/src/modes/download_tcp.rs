//! `download-tcp`: a large file over one HTTP/1.1 or HTTP/2 connection, again and again.
//!
//! Blocking, with rustls' unbuffered interface: records are decrypted in the buffer that recv(2) filled,
//! so that the client costs less than any server that has to encrypt and read files.

use std::io::{Read, Write};
use std::net::TcpStream;
use std::sync::Arc;
use std::time::{Duration, Instant};

use rustls::client::UnbufferedClientConnection;
use rustls::pki_types::ServerName;
use rustls::unbuffered::{ConnectionState, EncodeError, EncryptError, UnbufferedStatus};
use serde_json::Value;

use crate::args::Args;
use crate::error::Result;
use crate::modes::download::report;
use crate::stats::{Meter, Samples};
use crate::target::{Resource, SERVER_NAME, Target};
use crate::tcp::{Exchange, Protocol};
use crate::tls::{self, Verify};

/// What one recv(2) may bring. Larger buffers only leave the cache.
const RECEIVE: usize = 256 << 10;

const STALL: Duration = Duration::from_secs(30);

pub fn run(args: &mut Args) -> Result<Value> {
    let target = Target::take(args)?;
    let resource = Resource::take(args)?;
    let protocol: Protocol = args.required("protocol")?;
    let seconds: f64 = args.or("seconds", 5.0)?;
    let group: String = args.or("group", "x25519".to_owned())?;
    args.finish()?;

    let config = tls::config(&target.ca, &group, protocol.alpn(), Verify::Yes)?;
    let mut connection = Connection::open(&target, config)?;
    let mut exchange = protocol.exchange(&target, &resource)?;

    connection.exchange(exchange.as_mut())?;
    let meter = Meter::start(target.server)?;
    let deadline = Instant::now() + Duration::from_secs_f64(seconds);
    let mut rates = Samples::default();
    while rates.len() == 0 || Instant::now() < deadline {
        let start = Instant::now();
        connection.exchange(exchange.as_mut())?;
        rates.push(resource.length as f64 / 1e6 / start.elapsed().as_secs_f64());
    }
    Ok(report(rates, &resource, &meter.stop()?))
}

struct Connection {
    socket: TcpStream,
    tls: UnbufferedClientConnection,
    /// Received TLS records: `incoming[start..end]` is still to be processed.
    incoming: Vec<u8>,
    start: usize,
    end: usize,
    outgoing: Vec<u8>,
}

impl Connection {
    fn open(target: &Target, config: rustls::ClientConfig) -> Result<Self> {
        let socket = TcpStream::connect(target.address)?;
        socket.set_nodelay(true)?;
        socket.set_read_timeout(Some(STALL))?;
        let tls = UnbufferedClientConnection::new(Arc::new(config), ServerName::try_from(SERVER_NAME)?)?;
        Ok(Self {
            socket,
            tls,
            incoming: vec![0; 2 * RECEIVE],
            start: 0,
            end: 0,
            outgoing: Vec::new(),
        })
    }

    /// One request and its whole response.
    fn exchange(&mut self, exchange: &mut dyn Exchange) -> Result<()> {
        let mut to_send = exchange.request();
        let mut complete = false;
        while !complete {
            let UnbufferedStatus { mut discard, state, .. } =
                self.tls.process_tls_records(&mut self.incoming[self.start..self.end]);
            let mut receive = false;
            match state? {
                ConnectionState::ReadTraffic(mut traffic) => {
                    while let Some(record) = traffic.next_record() {
                        let record = record?;
                        discard += record.discard;
                        complete |= exchange.feed(record.payload, &mut to_send)?;
                    }
                }
                ConnectionState::EncodeTlsData(mut data) => {
                    let sent = self.outgoing.len();
                    let length = match data.encode(&mut []) {
                        Err(EncodeError::InsufficientSize(size)) => size.required_size,
                        other => other?,
                    };
                    self.outgoing.resize(sent + length, 0);
                    data.encode(&mut self.outgoing[sent..])?;
                }
                ConnectionState::TransmitTlsData(data) => {
                    self.socket.write_all(&self.outgoing)?;
                    self.outgoing.clear();
                    data.done();
                }
                ConnectionState::WriteTraffic(mut traffic) => {
                    if to_send.is_empty() {
                        receive = true;
                    } else {
                        let length = match traffic.encrypt(&to_send, &mut []) {
                            Err(EncryptError::InsufficientSize(size)) => size.required_size,
                            other => other?,
                        };
                        self.outgoing.resize(length, 0);
                        let length = traffic.encrypt(&to_send, &mut self.outgoing)?;
                        self.socket.write_all(&self.outgoing[..length])?;
                        self.outgoing.clear();
                        to_send.clear();
                    }
                }
                ConnectionState::BlockedHandshake => receive = true,
                ConnectionState::PeerClosed | ConnectionState::Closed => return Err("the server closed".into()),
                other => return Err(format!("unexpected TLS state {other:?}").into()),
            }
            self.start += discard;
            if receive {
                self.receive()?;
            }
        }
        Ok(())
    }

    fn receive(&mut self) -> Result<()> {
        self.incoming.copy_within(self.start..self.end, 0);
        (self.start, self.end) = (0, self.end - self.start);
        let room = self.incoming.len().min(self.end + RECEIVE);
        match self.socket.read(&mut self.incoming[self.end..room])? {
            0 => Err("the server closed the TCP connection".into()),
            count => {
                self.end += count;
                Ok(())
            }
        }
    }
}
