//! `download`: a large file over one HTTP/3 connection, again and again.

use std::time::{Duration, Instant};

use serde_json::{Value, json};

use crate::args::Args;
use crate::error::Result;
use crate::h3;
use crate::modes::block_on;
use crate::quic;
use crate::stats::{Cost, Meter, Samples, rounded};
use crate::target::{Resource, Target};
use crate::tls::{self, Verify};

const WINDOW: u32 = 16 << 20;

pub fn run(args: &mut Args) -> Result<Value> {
    let target = Target::take(args)?;
    let resource = Resource::take(args)?;
    let seconds: f64 = args.or("seconds", 5.0)?;
    let group: String = args.or("group", "x25519".to_owned())?;
    let alpn: String = args.or("alpn", "h3".to_owned())?;
    args.finish()?;

    block_on(async move {
        let config = quic::config(tls::config(&target.ca, &group, &alpn, Verify::Yes)?, WINDOW)?;
        let endpoint = quic::endpoint()?;
        let connection = quic::connect(&endpoint, &config, target.address).await?;
        let client = h3::Client::new(connection).await?;
        let request = h3::request(&target, &resource)?;

        client.exchange(&request, resource.length).await?;
        let meter = Meter::start(target.server)?;
        let deadline = Instant::now() + Duration::from_secs_f64(seconds);
        let mut rates = Samples::default();
        while rates.len() == 0 || Instant::now() < deadline {
            let start = Instant::now();
            client.exchange(&request, resource.length).await?;
            rates.push(resource.length as f64 / 1e6 / start.elapsed().as_secs_f64());
        }
        let path = client.quic.stats().path;
        let mut figures = report(rates, &resource, &meter.stop()?);
        figures["mtu"] = json!(path.current_mtu);
        figures["client_lost_packets"] = json!(path.lost_packets);
        Ok(figures)
    })
}

/// The figures of downloads over any protocol.
pub fn report(mut rates: Samples, resource: &Resource, cost: &Cost) -> Value {
    rates.sort();
    let gigabytes = rates.len() as f64 * resource.length as f64 / 1e9;
    json!({
        "mb_per_s": rounded(rates.quantile(0.5), 0),
        "downloads": rates.len(),
        "server_s_per_gb": rounded(cost.server_cpu / gigabytes, 3),
        "client_s_per_gb": rounded(cost.client_cpu / gigabytes, 3),
        "server_cpu_percent": cost.server_percent(),
        "client_cpu_percent": cost.client_percent(),
    })
}
