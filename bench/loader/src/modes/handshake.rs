//! `handshake`: how long a full handshake takes, one after the other.
//!
//! Several offers (`--offers group@alpn,...`) take turns, so that what disturbs one disturbs all.

use std::time::Instant;

use serde_json::{Value, json};

use crate::args::Args;
use crate::error::Result;
use crate::modes::block_on;
use crate::session::{Client, Offer, Transport};
use crate::stats::{Samples, rounded};
use crate::target::Target;
use crate::tls::Verify;

/// Handshakes of each offer before any is counted, unless told otherwise.
const WARMUP: usize = 20;

pub fn run(args: &mut Args) -> Result<Value> {
    let target = Target::take(args)?;
    let transport: Transport = args.required("transport")?;
    let offers: String = args.required("offers")?;
    let count: usize = args.or("count", 300)?;
    let cold: bool = args.or("cold", false)?;
    let warmup: usize = args.or("warmup", WARMUP)?;
    args.finish()?;
    let offers = offers.split(',').map(str::parse).collect::<Result<Vec<Offer>>>()?;

    block_on(async move {
        let mut contenders = Vec::with_capacity(offers.len());
        for offer in offers {
            let client = Client::new(transport, &offer, &target.ca, Verify::Yes, cold)?;
            contenders.push((offer, client, Samples::default(), (0, 0)));
        }
        for round in 0..warmup + count {
            for (offer, client, times, bytes) in &mut contenders {
                let start = Instant::now();
                let session = client
                    .connect(target.address)
                    .await
                    .map_err(|e| format!("{}@{}: {e}", offer.group, offer.alpn))?;
                let elapsed = start.elapsed();
                *bytes = session.bytes();
                session.close().await?;
                if round >= warmup {
                    times.push(elapsed.as_secs_f64() * 1e3);
                }
            }
        }
        let figures = contenders.into_iter().map(|(offer, _, mut times, (sent, received))| {
            times.sort();
            json!({
                "group": offer.group,
                "alpn": offer.alpn,
                "median_ms": rounded(times.quantile(0.5), 4),
                "p95_ms": rounded(times.quantile(0.95), 4),
                "min_ms": rounded(times.quantile(0.0), 4),
                "sent_bytes": sent,
                "received_bytes": received,
            })
        });
        Ok(json!({ "count": count, "offers": figures.collect::<Vec<_>>() }))
    })
}
