//! `idle`: memory of the server for each connection that did one request and then stays open.

use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use serde_json::{Value, json};
use tokio::task::spawn_local;
use tokio::time::sleep;
use tokio_rustls::TlsConnector;

use crate::args::Args;
use crate::error::{Error, Result};
use crate::modes::block_on;
use crate::stats::rounded;
use crate::target::{Resource, Target};
use crate::tcp::{Connection, Protocol};
use crate::tls::{self, Verify};
use crate::{h3, quic};

/// Connections that are opened at the same time.
const OPENING: usize = 32;
/// UDP sockets that the QUIC connections share.
const SOCKETS: usize = 16;
const WINDOW: u32 = 1 << 20;

/// An open connection that nothing is asked of any more.
enum Idle {
    Quic(h3::Client),
    Tcp(Connection),
}

/// How to open a connection and do one request on it.
enum Opener {
    Quic {
        endpoints: Vec<quinn::Endpoint>,
        config: quinn::ClientConfig,
        request: Vec<u8>,
    },
    Tcp {
        connector: TlsConnector,
        protocol: Protocol,
    },
}

pub fn run(args: &mut Args) -> Result<Value> {
    let target = Rc::new(Target::take(args)?);
    let resource = Rc::new(Resource::take(args)?);
    let protocol: String = args.required("protocol")?;
    let connections: usize = args.or("connections", 5000)?;
    let settle: f64 = args.or("settle", 3.0)?;
    let group: String = args.or("group", "x25519".to_owned())?;
    args.finish()?;

    block_on(async move {
        let tls = tls::config(&target.ca, &group, &protocol, Verify::No)?;
        let opener = Rc::new(match protocol.as_str() {
            "h3" => Opener::Quic {
                endpoints: (0..SOCKETS).map(|_| quic::endpoint()).collect::<Result<_>>()?,
                config: quic::config(tls, WINDOW)?,
                request: h3::request(&target, &resource)?,
            },
            other => Opener::Tcp {
                connector: TlsConnector::from(Arc::new(tls)),
                protocol: other.parse()?,
            },
        });

        // Whatever the server builds once, it builds for the first few connections.
        let mut open = open_all(OPENING, &opener, &target, &resource).await?;
        sleep(Duration::from_secs_f64(settle.min(1.0))).await;
        let before = target.server.memory()?;
        open.extend(open_all(connections, &opener, &target, &resource).await?);
        sleep(Duration::from_secs_f64(settle)).await;
        let after = target.server.memory()?;

        for connection in &open {
            if !connection.is_alive() {
                return Err("the server closed connections that should have stayed open".into());
            }
        }
        let per_connection = |before: u64, after: u64| rounded((after as f64 - before as f64) / connections as f64, 0);
        Ok(json!({
            "connections": connections,
            "bytes_per_connection": per_connection(before.anonymous, after.anonymous),
            "rss_bytes_per_connection": per_connection(before.resident, after.resident),
            "anonymous_before_bytes": before.anonymous,
            "anonymous_after_bytes": after.anonymous,
        }))
    })
}

async fn open_all(
    count: usize,
    opener: &Rc<Opener>,
    target: &Rc<Target>,
    resource: &Rc<Resource>,
) -> Result<Vec<Idle>> {
    let mut open = Vec::with_capacity(count);
    let tasks: Vec<_> = (0..OPENING)
        .map(|worker| {
            let (opener, target, resource) = (opener.clone(), target.clone(), resource.clone());
            spawn_local(async move {
                let mut open = Vec::new();
                for index in (worker..count).step_by(OPENING) {
                    open.push(opener.open(index, &target, &resource).await?);
                }
                Ok::<_, Error>(open)
            })
        })
        .collect();
    for task in tasks {
        open.extend(task.await??);
    }
    Ok(open)
}

impl Opener {
    async fn open(&self, index: usize, target: &Target, resource: &Resource) -> Result<Idle> {
        match self {
            Self::Quic {
                endpoints,
                config,
                request,
            } => {
                let connection = quic::connect(&endpoints[index % endpoints.len()], config, target.address).await?;
                let client = h3::Client::new(connection).await?;
                client.exchange(request, resource.length).await?;
                Ok(Idle::Quic(client))
            }
            Self::Tcp { connector, protocol } => {
                let mut connection = Connection::open(connector, *protocol, target, resource).await?;
                connection.exchange().await?;
                Ok(Idle::Tcp(connection))
            }
        }
    }
}

impl Idle {
    fn is_alive(&self) -> bool {
        match self {
            Self::Quic(client) => client.quic.close_reason().is_none(),
            Self::Tcp(connection) => connection.is_alive(),
        }
    }
}
