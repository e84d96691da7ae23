//! `rps`: requests per second, `connections` times `streams` at once, as fast as they are answered or, with
//! `--rate`, so many a second. HTTP/3 unless `--alpn` says otherwise; over TCP a connection has one stream. With
//! `--alpn websocket` a request is a message that has to come back, and the length is its length.

use std::cell::{Cell, RefCell};
use std::rc::Rc;
use std::sync::Arc;
use std::time::{Duration, Instant};

use serde_json::{Value, json};
use tokio::task::spawn_local;
use tokio::time::sleep;
use tokio_rustls::TlsConnector;

use crate::args::Args;
use crate::error::{Error, Result};
use crate::h3;
use crate::modes::block_on;
use crate::quic;
use crate::stats::{Meter, Samples, rounded};
use crate::target::{Resource, Target};
use crate::tcp::{Connection, Protocol};
use crate::tls::{self, Verify};

const WINDOW: u32 = 4 << 20;

/// What all streams count into.
#[derive(Default)]
struct Tally {
    measuring: Cell<bool>,
    latencies_us: RefCell<Samples>,
    errors: Cell<u64>,
    first_error: RefCell<Option<Error>>,
}

impl Tally {
    fn failed(&self, error: Error) {
        self.errors.set(self.errors.get() + 1);
        self.first_error.borrow_mut().get_or_insert(error);
    }
}

/// What carries one request at a time.
enum Stream {
    /// With the request and the length of its answer.
    Quic(Rc<h3::Client>, Rc<[u8]>, u64),
    Tcp(Connection),
}

impl Stream {
    async fn exchange(&mut self) -> Result<()> {
        match self {
            Self::Quic(client, request, length) => client.exchange(request, *length).await,
            Self::Tcp(connection) => connection.exchange().await,
        }
    }
}

pub fn run(args: &mut Args) -> Result<Value> {
    let target = Target::take(args)?;
    let resource = Resource::take(args)?;
    let connections: usize = args.or("connections", 32)?;
    let alpn: String = args.or("alpn", "h3".to_owned())?;
    let over_tcp: Option<Protocol> = alpn.parse().ok();
    let streams: usize = args.or("streams", if over_tcp.is_some() { 1 } else { 8 })?;
    // Real clients do not share sockets: one for each connection unless told otherwise.
    let sockets: usize = args.or("sockets", connections)?;
    let seconds: f64 = args.or("seconds", 5.0)?;
    let warmup: f64 = args.or("warmup", 1.0)?;
    let group: String = args.or("group", "x25519".to_owned())?;
    let rate: Option<f64> = args.optional("rate")?;
    args.finish()?;
    if over_tcp.is_some() && streams != 1 {
        return Err("over TCP a connection has one stream".into());
    }
    // Each stream keeps its own beat; together they make the rate.
    let beat = rate.map(|rate| Duration::from_secs_f64((connections * streams) as f64 / rate));

    block_on(async move {
        let name = over_tcp.map_or(alpn.as_str(), |protocol| protocol.alpn());
        let tls = tls::config(&target.ca, &group, name, Verify::Yes)?;
        let tally = Rc::new(Tally::default());
        let pace = |place: usize| {
            let offset = place as f64 / (connections * streams) as f64;
            beat.map(|beat| (Instant::now() + beat.mul_f64(offset), beat))
        };
        if let Some(protocol) = over_tcp {
            let connector = TlsConnector::from(Arc::new(tls));
            for index in 0..connections {
                let connection = Connection::open(&connector, protocol, &target, &resource).await?;
                spawn_local(requests(Stream::Tcp(connection), pace(index), tally.clone()));
            }
        } else {
            let config = quic::config(tls, WINDOW)?;
            let endpoints = (0..sockets.max(1))
                .map(|_| quic::endpoint())
                .collect::<Result<Vec<_>>>()?;
            let request: Rc<[u8]> = h3::request(&target, &resource)?.into();
            for index in 0..connections {
                let connection = quic::connect(&endpoints[index % endpoints.len()], &config, target.address).await?;
                let client = Rc::new(h3::Client::new(connection).await?);
                for stream in 0..streams {
                    let place = index * streams + stream;
                    let stream = Stream::Quic(client.clone(), request.clone(), resource.length);
                    spawn_local(requests(stream, pace(place), tally.clone()));
                }
            }
        }

        sleep(Duration::from_secs_f64(warmup)).await;
        let meter = Meter::start(target.server)?;
        tally.measuring.set(true);
        sleep(Duration::from_secs_f64(seconds)).await;
        tally.measuring.set(false);
        let cost = meter.stop()?;

        if let Some(error) = tally.first_error.take() {
            return Err(format!("{} requests failed, the first one: {error}", tally.errors.get()).into());
        }
        let mut latencies = tally.latencies_us.take();
        latencies.sort();
        let count = latencies.len() as f64;
        if count == 0.0 {
            return Err("no request was answered".into());
        }
        Ok(json!({
            "rps": rounded(count / cost.elapsed, 0),
            "p50_us": rounded(latencies.quantile(0.5), 0),
            "p99_us": rounded(latencies.quantile(0.99), 0),
            "server_us_per_request": rounded(cost.server_cpu * 1e6 / count, 2),
            "client_us_per_request": rounded(cost.client_cpu * 1e6 / count, 2),
            "server_cpu_percent": cost.server_percent(),
            "client_cpu_percent": cost.client_percent(),
        }))
    })
}

/// One stream after the other on one connection, until the loader ends or something fails. `pace` is
/// when the first is due, and how long after it the next.
async fn requests(mut stream: Stream, mut pace: Option<(Instant, Duration)>, tally: Rc<Tally>) {
    loop {
        let mut start = Instant::now();
        if let Some((due, beat)) = &mut pace {
            if *due > start {
                tokio::time::sleep_until((*due).into()).await;
                start = Instant::now();
            } else {
                // Late because the answer before was: that counts as waiting.
                start = *due;
            }
            *due += *beat;
        }
        if let Err(error) = stream.exchange().await {
            return tally.failed(error);
        }
        if tally.measuring.get() {
            tally
                .latencies_us
                .borrow_mut()
                .push(start.elapsed().as_secs_f64() * 1e6);
        }
    }
}
