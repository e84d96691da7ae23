//! `slow`: memory of the server while every connection reads its answer a piece at a time.

use std::sync::Arc;
use std::time::{Duration, Instant};

use serde_json::{Value, json};
use tokio::task::spawn_local;
use tokio::time::sleep;
use tokio_rustls::TlsConnector;

use crate::args::Args;
use crate::error::Error;
use crate::modes::block_on;
use crate::stats::rounded;
use crate::target::{Resource, Target};
use crate::tcp::{Connection, Protocol};
use crate::tls::{self, Verify};

/// What a client takes in one read.
const PIECE: usize = 16 << 10;
/// How long it waits for the next.
const PAUSE: Duration = Duration::from_millis(500);
const LOOK: Duration = Duration::from_millis(250);

pub fn run(args: &mut Args) -> crate::error::Result<Value> {
    let target = Target::take(args)?;
    let resource = Resource::take(args)?;
    let protocol: Protocol = args.required("protocol")?;
    let connections: usize = args.or("connections", 1000)?;
    let seconds: f64 = args.or("seconds", 10.0)?;
    let group: String = args.or("group", "x25519".to_owned())?;
    args.finish()?;

    block_on(async move {
        let connector = TlsConnector::from(Arc::new(tls::config(&target.ca, &group, protocol.alpn(), Verify::No)?));
        let before = target.server.memory()?;
        let mut clients = Vec::with_capacity(connections);
        for _ in 0..connections {
            let mut connection = Connection::open(&connector, protocol, &target, &resource).await?;
            connection.ask().await?;
            clients.push(spawn_local(async move {
                let mut buffer = vec![0; PIECE];
                while !connection.read(&mut buffer).await? {
                    sleep(PAUSE).await;
                }
                Ok::<_, Error>(())
            }));
        }
        let (mut most, until) = (before, Instant::now() + Duration::from_secs_f64(seconds));
        while Instant::now() < until {
            sleep(LOOK).await;
            let now = target.server.memory()?;
            most.resident = most.resident.max(now.resident);
            most.anonymous = most.anonymous.max(now.anonymous);
        }
        for client in clients {
            if client.is_finished() {
                client.await??;
                return Err("a client was not slow enough".into());
            }
        }
        let growth = |before: u64, most: u64| rounded((most as f64 - before as f64) / 1e6, 1);
        Ok(json!({
            "connections": connections,
            "mb": growth(0, most.anonymous),
            "mb_grown": growth(before.anonymous, most.anonymous),
            "rss_mb": growth(0, most.resident),
        }))
    })
}
