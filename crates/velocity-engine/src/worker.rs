//! A worker: one thread, one runtime, a UDP and a TCP socket of every listener.

use std::net::{SocketAddr, TcpListener, UdpSocket};
use std::sync::Arc;
use std::time::Duration;

use arc_swap::ArcSwap;
use http::HeaderValue;
use quinn_proto::congestion::CubicConfig;
use quinn_proto::{EndpointConfig, IdleTimeout, MtuDiscoveryConfig, ServerConfig, TransportConfig};
use tokio::net::TcpStream;
use tokio_util::task::TaskTracker;
use velocity_tls::fallback::Reason;
use velocity_tls::quic::{HelloServerConfig, Listening};
use velocity_tls::{Hello, ServerTls};

use crate::app::Applications;
use crate::error::{Error, Result};
use crate::http::{h3, tcp};
use crate::log::{self, Level};
use crate::metrics::{Metrics, Session};
use crate::net::bind::Sockets;
use crate::net::steer::SteeredIds;
use crate::plan::{Limits, Plan};
use crate::proxy;
use crate::quic::{Driver, Socket};
use crate::service::Service;
use crate::shutdown::{Phase, Shutdown};
use crate::snapshot::Snapshot;

/// Data of one stream that a peer may send before we have read it.
const STREAM_WINDOW: u32 = 1 << 20;
/// The same over all streams of a connection.
const CONNECTION_WINDOW: u32 = 8 << 20;
/// Unidirectional streams of the peer: control, QPACK encoder and decoder, and some that only GREASE opens.
const UNI_STREAMS: u32 = 8;
/// Datagrams (RFC 9221) that wait for their turn, each way, in bytes.
const DATAGRAMS: usize = 64 * 1024;
/// What may be on its way before anything is acknowledged, in bytes: 32 packets, as quic-go and the large sites have it.
/// RFC 9002 section 7.2 recommends ten, into which the flight of a hybrid handshake does not fit.
const INITIAL_WINDOW: u64 = 32 * 1200;
/// UDP payload that path MTU discovery tries for by default: Ethernet without tunnels.
const DEFAULT_DATAGRAM: u16 = 1452;
/// How long connections that are told to end at once may take to say so.
const CLOSE_LINGER: Duration = Duration::from_millis(500);
/// Pause after accept() failed for want of file descriptors or memory.
const ACCEPT_PAUSE: Duration = Duration::from_millis(50);

/// What all workers have in common.
pub struct Shared {
    snapshot: Arc<ArcSwap<Snapshot>>,
    metrics: Arc<Metrics>,
    shutdown: Shutdown,
    /// By listener; `None` without QUIC. One configuration for all workers, so that tokens and
    /// stateless resets of one are good with the others.
    quic: Vec<Option<(Arc<ServerConfig>, EndpointConfig)>>,
    services: Vec<Arc<Service>>,
}

impl Shared {
    pub fn new(
        plan: &Plan,
        bound: &[Sockets],
        snapshot: Arc<ArcSwap<Snapshot>>,
        metrics: Arc<Metrics>,
        shutdown: Shutdown,
    ) -> Result<Self> {
        // Applications are there from the start or not at all.
        let takes_sessions = snapshot.load().takes_sessions;
        let mut quic = Vec::new();
        let mut services = Vec::new();
        for (index, listener) in plan.listeners.iter().enumerate() {
            quic.push(match listener.wants_udp() {
                true => {
                    let listening = Listener {
                        index,
                        snapshot: snapshot.clone(),
                        metrics: metrics.clone(),
                        shutdown: shutdown.clone(),
                    };
                    Some(quic_config(listening, &plan.limits, takes_sessions)?)
                }
                false => None,
            });
            let local = bound
                .get(index)
                .map_or_else(|| SocketAddr::from(([0, 0, 0, 0], 0)), |sockets| sockets.address);
            let port = local.port();
            let alternatives: Vec<String> = ["h3", "velocity/1"]
                .into_iter()
                .filter(|name| listener.alpn.iter().any(|alpn| alpn == name))
                // RFC 7838 section 3: protocol names are percent-encoded where they are no tokens.
                .map(|name| format!("{}=\":{port}\"; ma=86400", name.replace('/', "%2F")))
                .collect();
            services.push(Arc::new(Service {
                snapshot: snapshot.clone(),
                metrics: metrics.clone(),
                listener: index,
                local,
                alt_svc: HeaderValue::try_from(alternatives.join(", "))
                    .ok()
                    .filter(|value| !value.is_empty()),
                takes_sessions,
            }));
        }
        Ok(Self {
            snapshot,
            metrics,
            shutdown,
            quic,
            services,
        })
    }
}

/// What the hello stage of a QUIC listener asks.
struct Listener {
    index: usize,
    snapshot: Arc<ArcSwap<Snapshot>>,
    metrics: Arc<Metrics>,
    shutdown: Shutdown,
}

impl Listening for Listener {
    fn tls(&self) -> Arc<ServerTls> {
        self.snapshot.load().tls[self.index].clone()
    }

    fn is_draining(&self) -> bool {
        self.shutdown.phase() >= Phase::Draining
    }

    fn refused(&self, hello: &Hello, reason: Reason) {
        self.metrics.downgrade(reason);
        let name = hello.server_name.as_deref().unwrap_or_default();
        let fields = [("reason", reason.as_str().into()), ("server_name", name.into())];
        log::record(
            Level::Info,
            "velocity::tls",
            tcp::downgrade_event(reason),
            "a client that speaks nothing else was refused",
            &fields,
        );
    }
}

/// `takes_sessions` is whether WebTransport is offered.
fn quic_config(
    listening: Listener,
    limits: &Limits,
    takes_sessions: bool,
) -> Result<(Arc<ServerConfig>, EndpointConfig)> {
    let crypto =
        HelloServerConfig::new(listening).ok_or_else(|| Error::internal("a listener without QUIC protocols"))?;
    let mut server = ServerConfig::with_crypto(Arc::new(crypto));
    server.transport_config(Arc::new(transport(limits, takes_sessions)));
    let mut endpoint = EndpointConfig::default();
    let datagram = limits.max_datagram_size.unwrap_or(DEFAULT_DATAGRAM).max(1472);
    endpoint
        .max_udp_payload_size(datagram)
        .map_err(|e| Error::config("DATAGRAM_SIZE", e.to_string()))?;
    Ok((Arc::new(server), endpoint))
}

fn transport(limits: &Limits, takes_sessions: bool) -> TransportConfig {
    let mut transport = TransportConfig::default();
    let mut congestion = CubicConfig::default();
    congestion.initial_window(INITIAL_WINDOW);
    let mut discovery = MtuDiscoveryConfig::default();
    discovery.upper_bound(limits.max_datagram_size.unwrap_or(DEFAULT_DATAGRAM));
    let uni_streams = match takes_sessions {
        true => limits.max_streams.saturating_add(UNI_STREAMS),
        false => UNI_STREAMS,
    };
    transport
        .max_concurrent_bidi_streams(limits.max_streams.into())
        .max_concurrent_uni_streams(uni_streams.into())
        .stream_receive_window(STREAM_WINDOW.into())
        .receive_window(CONNECTION_WINDOW.into())
        .max_idle_timeout(IdleTimeout::try_from(Duration::from_millis(limits.idle_timeout_ms)).ok())
        .mtu_discovery_config(Some(discovery))
        .datagram_receive_buffer_size(takes_sessions.then_some(DATAGRAMS))
        .datagram_send_buffer_size(DATAGRAMS)
        .congestion_controller_factory(Arc::new(congestion));
    transport
}

pub struct Worker {
    pub index: usize,
    workers: usize,
    shared: Arc<Shared>,
    /// By listener.
    sockets: Vec<(Option<UdpSocket>, Option<TcpListener>)>,
    runtime: tokio::runtime::Runtime,
}

impl Worker {
    /// Hand every worker its own sockets. Runtimes are made here, where failing is still an error.
    pub fn distribute(
        bound: Vec<Sockets>,
        workers: usize,
        shared: &Arc<Shared>,
        applications: &Applications,
    ) -> Result<Vec<Worker>> {
        let mut bound: Vec<_> = bound
            .into_iter()
            .map(|s| (s.udp.into_iter(), s.tcp.into_iter()))
            .collect();
        (0..workers)
            .map(|index| {
                let mut builder = tokio::runtime::Builder::new_current_thread();
                builder
                    .enable_all()
                    .max_blocking_threads(64)
                    .thread_name("velocity-disk");
                if !applications.is_empty() {
                    // What a turn has begun is handed over at its end: one wake for all of it.
                    let applications = applications.clone();
                    builder.on_thread_park(move || applications.flush());
                }
                let runtime = builder
                    .build()
                    .map_err(|e| Error::start("RUNTIME_FAILED", format!("cannot start a worker: {e}")))?;
                let sockets = bound.iter_mut().map(|(udp, tcp)| (udp.next(), tcp.next())).collect();
                Ok(Worker {
                    index,
                    workers,
                    shared: shared.clone(),
                    sockets,
                    runtime,
                })
            })
            .collect()
    }

    /// Serve until shut down.
    pub fn run(self) {
        let Worker {
            index,
            workers,
            shared,
            sockets,
            runtime,
        } = self;
        let local = Local {
            index,
            workers,
            shared,
            drivers: TaskTracker::new(),
            streams: TaskTracker::new(),
        };
        runtime.block_on(local.serve(sockets));
        // Reads of slow disks must not hold up an exit.
        runtime.shutdown_background();
    }
}

/// A worker inside its runtime.
struct Local {
    index: usize,
    workers: usize,
    shared: Arc<Shared>,
    /// QUIC: a driver for each listener.
    drivers: TaskTracker,
    /// TCP: a task for each connection.
    streams: TaskTracker,
}

impl Local {
    async fn serve(&self, sockets: Vec<(Option<UdpSocket>, Option<TcpListener>)>) {
        let accepting = TaskTracker::new();
        for (listener, (udp, tcp)) in sockets.into_iter().enumerate() {
            if let Some(socket) = udp {
                match self.driver(listener, socket) {
                    Ok(driver) => {
                        let streams = self.streams.clone();
                        let rest = async move { streams.wait().await };
                        // A server's driver ends without an error.
                        drop(self.drivers.spawn(driver.run(self.shared.shutdown.clone(), rest)));
                    }
                    Err(error) => self.failed("UDP", &error),
                }
            }
            if let Some(socket) = tcp {
                match tokio::net::TcpListener::from_std(socket) {
                    Ok(socket) => drop(accepting.spawn(self.accept_tcp(listener, socket))),
                    Err(error) => self.failed("TCP", &error),
                }
            }
        }
        accepting.close();
        accepting.wait().await;
        self.streams.close();
        self.drivers.close();
        let mut shutdown = self.shared.shutdown.clone();
        let everything = async {
            self.streams.wait().await;
            self.drivers.wait().await;
        };
        tokio::pin!(everything);
        tokio::select! {
            () = &mut everything => {},
            () = shutdown.aborted() => {
                let _ = tokio::time::timeout(CLOSE_LINGER, everything).await;
            },
        }
    }

    fn failed(&self, kind: &str, error: &std::io::Error) {
        let fields = [("socket", kind.into()), ("reason", error.to_string().into())];
        log::record(
            Level::Error,
            "velocity::server",
            "listener_failed",
            "a listener does not work",
            &fields,
        );
    }

    fn driver(&self, listener: usize, socket: UdpSocket) -> std::io::Result<Driver<h3::server::Hosting>> {
        let Some((server, mut endpoint)) = self.shared.quic[listener].clone() else {
            return Err(std::io::Error::other("a UDP socket without QUIC protocols"));
        };
        let ids = SteeredIds {
            worker: self.index,
            workers: self.workers,
        };
        endpoint.cid_generator(move || Box::new(ids));
        let hosting = h3::server::Hosting {
            service: self.shared.services[listener].clone(),
        };
        Ok(Driver::server(hosting, Socket::new(socket)?, endpoint, server))
    }

    fn accept_tcp(&self, listener: usize, socket: tokio::net::TcpListener) -> impl Future<Output = ()> + use<> {
        let (shared, streams) = (self.shared.clone(), self.streams.clone());
        let mut shutdown = shared.shutdown.clone();
        async move {
            let accept = |(stream, remote): (TcpStream, SocketAddr)| {
                let snapshot = shared.snapshot.load();
                let limits = snapshot.limits.clone();
                // Closing at once is all the answer there is before TLS.
                let Some(session) = Session::open(&shared.metrics, limits.max_sessions) else {
                    return;
                };
                let (tls, service) = (snapshot.tls[listener].clone(), shared.services[listener].clone());
                let shutdown = shared.shutdown.clone();
                let accepted = tcp::Accepted {
                    stream,
                    remote,
                    announced: snapshot
                        .senders
                        .as_ref()
                        .and_then(|senders| senders.expect(remote.ip())),
                };
                streams.spawn(async move {
                    tcp::serve(accepted, tls, service, limits, shutdown).await;
                    drop(session);
                });
            };
            loop {
                tokio::select! {
                    accepted = socket.accept() => match accepted {
                        Ok(accepted) => accept(accepted),
                        // The connection is gone, or we are out of descriptors: either way, go on.
                        Err(error) if error.kind() == std::io::ErrorKind::ConnectionAborted => {}
                        Err(_) => {
                            proxy::make_room();
                            tokio::time::sleep(ACCEPT_PAUSE).await;
                        }
                    },
                    () = shutdown.draining() => break,
                }
            }
            // Whoever the kernel has already let in is let in.
            while let Some(Ok(accepted)) = poll_once(socket.accept()).await {
                accept(accepted);
            }
        }
    }
}

/// The output of a future that is ready now.
async fn poll_once<T>(future: impl Future<Output = T>) -> Option<T> {
    let mut future = std::pin::pin!(future);
    std::future::poll_fn(|cx| {
        std::task::Poll::Ready(match future.as_mut().poll(cx) {
            std::task::Poll::Ready(output) => Some(output),
            std::task::Poll::Pending => None,
        })
    })
    .await
}
