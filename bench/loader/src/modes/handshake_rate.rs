//! `handshake-rate`: full handshakes per second, `workers` at once, and what each costs the server.
//!
//! The client checks no certificate here, which makes it cheaper than the server, who has to sign.

use std::cell::{Cell, RefCell};
use std::rc::Rc;
use std::time::Duration;

use serde_json::{Value, json};
use tokio::task::spawn_local;
use tokio::time::sleep;

use crate::args::Args;
use crate::error::{Error, Result};
use crate::modes::block_on;
use crate::session::{Client, Offer, Transport};
use crate::stats::{Meter, rounded};
use crate::target::Target;
use crate::tls::Verify;

#[derive(Default)]
struct Tally {
    handshakes: Cell<u64>,
    error: RefCell<Option<Error>>,
}

pub fn run(args: &mut Args) -> Result<Value> {
    let target = Target::take(args)?;
    let transport: Transport = args.required("transport")?;
    let offer: Offer = args.required("offer")?;
    let workers: usize = args.or("workers", 16)?;
    let seconds: f64 = args.or("seconds", 5.0)?;
    let warmup: f64 = args.or("warmup", 0.5)?;
    args.finish()?;

    block_on(async move {
        let tally = Rc::new(Tally::default());
        for _ in 0..workers {
            let mut client = Client::new(transport, &offer, &target.ca, Verify::No, false)?;
            let tally = tally.clone();
            spawn_local(async move {
                let error = loop {
                    match client.connect(target.address).await {
                        Ok(session) => match session.close().await {
                            Ok(()) => tally.handshakes.set(tally.handshakes.get() + 1),
                            Err(error) => break error,
                        },
                        Err(error) => break error,
                    }
                };
                tally.error.borrow_mut().get_or_insert(error);
            });
        }
        sleep(Duration::from_secs_f64(warmup)).await;
        let meter = Meter::start(target.server)?;
        let before = tally.handshakes.get();
        sleep(Duration::from_secs_f64(seconds)).await;
        let count = (tally.handshakes.get() - before) as f64;
        let cost = meter.stop()?;
        if let Some(error) = tally.error.take() {
            return Err(format!("{}@{}: {error}", offer.group, offer.alpn).into());
        }
        if count == 0.0 {
            return Err("no handshake was completed".into());
        }
        Ok(json!({
            "handshakes_per_s": rounded(count / cost.elapsed, 0),
            "server_us_per_handshake": rounded(cost.server_cpu * 1e6 / count, 1),
            "client_us_per_handshake": rounded(cost.client_cpu * 1e6 / count, 1),
            "server_cpu_percent": cost.server_percent(),
            "client_cpu_percent": cost.client_percent(),
        }))
    })
}
