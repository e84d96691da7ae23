//! `rps`: HTTP/3 requests per second, `connections` times `streams` at once, as fast as they are
//! answered or, with `--rate`, so many a second.

use std::cell::{Cell, RefCell};
use std::rc::Rc;
use std::time::{Duration, Instant};

use serde_json::{Value, json};
use tokio::task::spawn_local;
use tokio::time::sleep;

use crate::args::Args;
use crate::error::{Error, Result};
use crate::h3;
use crate::modes::block_on;
use crate::quic;
use crate::stats::{Meter, Samples, rounded};
use crate::target::{Resource, Target};
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

pub fn run(args: &mut Args) -> Result<Value> {
    let target = Target::take(args)?;
    let resource = Resource::take(args)?;
    let connections: usize = args.or("connections", 32)?;
    let streams: usize = args.or("streams", 8)?;
    // Real clients do not share sockets: one for each connection unless told otherwise.
    let sockets: usize = args.or("sockets", connections)?;
    let seconds: f64 = args.or("seconds", 5.0)?;
    let warmup: f64 = args.or("warmup", 1.0)?;
    let group: String = args.or("group", "x25519".to_owned())?;
    let alpn: String = args.or("alpn", "h3".to_owned())?;
    let rate: Option<f64> = args.optional("rate")?;
    args.finish()?;
    // Each stream keeps its own beat; together they make the rate.
    let beat = rate.map(|rate| Duration::from_secs_f64((connections * streams) as f64 / rate));

    block_on(async move {
        let config = quic::config(tls::config(&target.ca, &group, &alpn, Verify::Yes)?, WINDOW)?;
        let endpoints = (0..sockets.max(1))
            .map(|_| quic::endpoint())
            .collect::<Result<Vec<_>>>()?;
        let request: Rc<[u8]> = h3::request(&target, &resource)?.into();
        let tally = Rc::new(Tally::default());
        for index in 0..connections {
            let connection = quic::connect(&endpoints[index % endpoints.len()], &config, target.address).await?;
            let client = Rc::new(h3::Client::new(connection).await?);
            for stream in 0..streams {
                let offset = (index * streams + stream) as f64 / (connections * streams) as f64;
                let pace = beat.map(|beat| (Instant::now() + beat.mul_f64(offset), beat));
                spawn_local(requests(
                    client.clone(),
                    request.clone(),
                    resource.length,
                    pace,
                    tally.clone(),
                ));
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
async fn requests(
    client: Rc<h3::Client>,
    request: Rc<[u8]>,
    length: u64,
    mut pace: Option<(Instant, Duration)>,
    tally: Rc<Tally>,
) {
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
        if let Err(error) = client.exchange(&request, length).await {
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
