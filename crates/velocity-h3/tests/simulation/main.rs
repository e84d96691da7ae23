//! Two ends over a network that loses, delays, reorders and duplicates, with a virtual clock: HTTP/3 on quinn-proto.
//!
//! A seed decides everything: the network, the limits of both ends, what is asked and answered and what becomes of it.
//! Whatever happens, each end is told what the other one said and nothing else, in order; every exchange comes to its
//! end; streams are given back; and no connection is lost.
//!
//! `SIMULATION_SEED=7` runs one seed, `SIMULATION_SEEDS=100000` so many.

// Also outside of the test functions, a test is allowed to stop.
#![allow(clippy::unwrap_used, clippy::panic)]

mod exchange;
mod network;
mod random;
mod side;

use std::collections::BTreeMap;
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::{Arc, OnceLock};
use std::time::{Duration, Instant};
use std::{env, panic};

use quinn_proto::{ClientConfig, ServerConfig, TransportConfig};
use rustls::RootCertStore;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, PrivatePkcs8KeyDer};
use velocity_h3::{Code, Config, Connection, Event};

use exchange::{Exchange, Fate, Told};
use network::{Faults, Network};
use random::Random;
use side::{News, Side};

const CLIENT: usize = 0;
const SERVER: usize = 1;

/// How many seeds a usual run tries.
const SEEDS: u64 = 1500;
/// Longer than anything takes that comes to an end, on the slowest network there is.
const LIMIT: Duration = Duration::from_secs(600);

#[test]
fn thousands_of_seeds() {
    let number = |name| env::var(name).ok().map(|value| value.parse::<u64>().expect(name));
    let seeds = match number("SIMULATION_SEED") {
        Some(seed) => seed..seed + 1,
        None => 0..number("SIMULATION_SEEDS").unwrap_or(SEEDS),
    };
    for seed in seeds {
        if let Err(panic) = panic::catch_unwind(|| World::new(seed).run()) {
            eprintln!("\nthe seed was {seed}: run it again with SIMULATION_SEED={seed}");
            panic::resume_unwind(panic);
        }
    }
}

/// Both ends, the network between them, and what is to be said.
struct World {
    now: Instant,
    begin: Instant,
    network: Network,
    sides: [Side; 2],
    exchanges: Vec<Exchange>,
    /// Exchanges that have not begun, the next one last.
    waiting: Vec<usize>,
    /// When the server announces its end, and from which exchange on.
    goaway: Option<(Instant, u64)>,
    /// By stream, which exchange it is, and what either end was told of it.
    client: BTreeMap<u64, (usize, Told)>,
    server: BTreeMap<u64, (usize, Told)>,
    rejected: usize,
}

impl World {
    fn new(seed: u64) -> Self {
        let mut random = Random::new(seed);
        let now = Instant::now();
        let faults = Faults::new(&mut random);
        let exchanges: Vec<Exchange> = (0..=random.below(12)).map(|_| Exchange::new(&mut random)).collect();
        let mut waiting: Vec<usize> = (0..exchanges.len()).collect();
        waiting.sort_by_key(|n| std::cmp::Reverse(exchanges[*n].start));
        let goaway = random.chance(15).then(|| {
            let at = now + Duration::from_micros(random.below(500_000) as u64);
            (at, 4 * random.below(exchanges.len() + 1) as u64)
        });
        let (server, mut client) = (transport(&mut random), ClientConfig::new(tls().0.clone()));
        client.transport_config(transport(&mut random));
        let mut server_config = ServerConfig::with_crypto(tls().1.clone());
        server_config.transport_config(server);
        let address = |port| SocketAddr::from((Ipv4Addr::LOCALHOST, port));
        let mut sides = [
            Side::new(
                address(443),
                Connection::client(config(&mut random)),
                None,
                Random::new(random.next()),
            ),
            Side::new(
                address(50_000),
                Connection::server(config(&mut random)),
                Some(server_config),
                Random::new(random.next()),
            ),
        ];
        sides[CLIENT].connect(now, client);
        Self {
            now,
            begin: now,
            network: Network::new(faults, Random::new(random.next())),
            sides,
            exchanges,
            waiting,
            goaway,
            client: BTreeMap::new(),
            server: BTreeMap::new(),
            rejected: 0,
        }
    }

    fn run(mut self) {
        loop {
            self.turn();
            if self.is_over() {
                return self.check();
            }
            let soonest = [
                self.network.next(),
                self.sides[CLIENT].next_timeout(),
                self.sides[SERVER].next_timeout(),
                self.waiting.last().map(|n| self.start(*n)).filter(|at| *at > self.now),
                self.goaway.map(|(at, _)| at).filter(|at| *at > self.now),
            ];
            let next = soonest.into_iter().flatten().min();
            let next = next.filter(|at| *at < self.begin + LIMIT);
            let next = next.unwrap_or_else(|| panic!("it does not come to an end: {}", self.state()));
            self.now = self.now.max(next);
        }
    }

    fn start(&self, n: usize) -> Instant {
        self.begin + Duration::from_micros(self.exchanges[n].start)
    }

    /// Everything that happens now.
    fn turn(&mut self) {
        while let Some((to, datagram)) = self.network.arrived(self.now) {
            self.sides[to].datagram(self.now, &datagram);
        }
        for side in &mut self.sides {
            side.timeout(self.now);
        }
        for news in self.sides[CLIENT].drive() {
            self.client_news(news);
        }
        for news in self.sides[SERVER].drive() {
            self.server_news(news);
        }
        if self.sides[CLIENT].connected {
            while self.waiting.last().is_some_and(|n| self.start(*n) <= self.now) && self.begin_exchange() {}
        }
        if self.sides[SERVER].connected
            && let Some((_, id)) = self.goaway.take_if(|(at, _)| *at <= self.now)
        {
            self.sides[SERVER].h3.goaway(id).unwrap();
        }
        for (from, to) in [(CLIENT, SERVER), (SERVER, CLIENT)] {
            self.sides[from].transmit(self.now, &mut self.network, to);
        }
    }

    /// Begin the next exchange, if there is a stream for it.
    fn begin_exchange(&mut self) -> bool {
        let client = &mut self.sides[CLIENT];
        let Some(stream) = client.open() else { return false };
        let Some(n) = self.waiting.pop() else { return false };
        let exchange = &self.exchanges[n];
        let Some(bytes) = exchange.ask(n, &mut client.h3, stream) else {
            // After GOAWAY. The stream that was opened for it is not used.
            client.reset(stream, Code::RequestCancelled);
            client.stop(stream, Code::RequestCancelled);
            self.rejected += 1;
            return true;
        };
        let mut told = Told::default();
        match exchange.fate {
            Fate::RequestReset(after) => {
                client.send(stream, bytes, Some((after, Code::RequestCancelled)));
                client.stop(stream, Code::RequestCancelled);
                told.give_up(Code::RequestCancelled);
            }
            _ => client.send(stream, bytes, None),
        }
        if let Some(priority) = exchange.priority {
            client.h3.priority_update(stream, priority);
        }
        self.client.insert(stream, (n, told));
        true
    }

    fn client_news(&mut self, news: News) {
        let client = &mut self.sides[CLIENT];
        let event = match news {
            News::Event(event) => event,
            News::Failed(error) => panic!("the client finds: {error}"),
            News::Reset(_) => return,
        };
        match event {
            Event::Settings | Event::Goaway { .. } => {}
            // The server does not need the rest of the request.
            Event::Stopped { stream, .. } => client.reset(stream, Code::NoError),
            event => {
                let stream = event.stream().expect("an event of a stream");
                let (n, told) = self.client.get_mut(&stream).expect("a stream that was opened");
                let is_content = matches!(event, Event::Data { .. });
                told.note(event);
                if told.reset.is_some() && client.is_sending(stream) {
                    client.reset(stream, Code::RequestCancelled);
                }
                if let Fate::ResponseStop(after) = self.exchanges[*n].fate
                    && is_content
                    && told.content.len() > after
                {
                    told.give_up(Code::RequestCancelled);
                    client.stop(stream, Code::RequestCancelled);
                    if client.is_sending(stream) {
                        client.reset(stream, Code::RequestCancelled);
                    }
                }
            }
        }
    }

    fn server_news(&mut self, news: News) {
        let server = &mut self.sides[SERVER];
        let event = match news {
            News::Event(event) => event,
            News::Failed(error) => return assert_eq!(error.code, Code::RequestRejected, "the server finds: {error}"),
            News::Reset(stream) if self.server.contains_key(&stream) => return,
            // Before it had a head: nobody else will end our side of it.
            News::Reset(stream) => return server.reset(stream, Code::RequestIncomplete),
        };
        match event {
            Event::Settings | Event::Priority { .. } => {}
            Event::Stopped { stream, .. } => server.reset(stream, Code::RequestCancelled),
            event => {
                let stream = event.stream().expect("an event of a stream");
                let mut begun = false;
                if let Event::Request { head, priority, .. } = &event {
                    let n: usize = head.uri().path()[1..].parse().expect("the number of an exchange");
                    let wanted = self.exchanges[n].priority.unwrap_or(*priority);
                    assert!(*priority == wanted || *priority == Default::default(), "{priority:?}");
                    self.server.insert(stream, (n, Told::default()));
                    begun = true;
                }
                let Some((n, told)) = self.server.get_mut(&stream) else {
                    return assert!(matches!(event, Event::Reset { .. }), "{event:?} before its request");
                };
                let is_reset = matches!(event, Event::Reset { .. });
                told.note(event);
                let exchange = &self.exchanges[*n];
                let early = exchange.fate == Fate::Early;
                if is_reset && !early {
                    server.reset(stream, Code::RequestIncomplete);
                } else if begun && early || told.ended && !early {
                    let reset = match exchange.fate {
                        Fate::ResponseReset(after) => Some((after, Code::InternalError)),
                        _ => None,
                    };
                    let bytes = exchange.answer(&mut server.h3, stream);
                    server.send(stream, bytes, reset);
                    if !told.ended {
                        told.give_up(Code::NoError);
                        server.stop(stream, Code::NoError);
                    }
                }
            }
        }
    }

    fn is_over(&mut self) -> bool {
        self.waiting.is_empty()
            && self.client.values().all(|(_, told)| told.ended || told.reset.is_some())
            && self.sides.iter_mut().all(|side| side.connected && side.is_settled())
    }

    fn state(&mut self) -> String {
        let open = |told: &BTreeMap<u64, (usize, Told)>| {
            let open = told.iter().filter(|(_, (_, told))| !told.ended && told.reset.is_none());
            open.map(|(stream, _)| *stream).collect::<Vec<_>>()
        };
        let (client, server) = (open(&self.client), open(&self.server));
        let settled = self.sides.each_mut().map(Side::is_settled);
        let wait = self.waiting.len();
        format!("{wait} wait, streams {client:?} at the client and {server:?} at the server, settled {settled:?}")
    }

    fn check(&self) {
        assert_eq!(self.client.len() + self.rejected, self.exchanges.len());
        for (stream, (n, heard)) in &self.client {
            let exchange = &self.exchanges[*n];
            let rejected = heard.reset == Some(Code::RequestRejected.value());
            let answered = matches!(exchange.fate, Fate::Complete | Fate::Early) && !rejected;
            heard.check(&exchange.response, exchange.interim, answered);
            match self.server.get(stream) {
                Some((of, told)) => {
                    assert_eq!(of, n, "an exchange on the stream of another");
                    assert!(!rejected, "an exchange that was rejected and begun");
                    let received = matches!(
                        exchange.fate,
                        Fate::Complete | Fate::ResponseStop(_) | Fate::ResponseReset(_)
                    );
                    told.check(&exchange.request, 0, received);
                    assert!(
                        !(told.ended && matches!(exchange.fate, Fate::RequestReset(_))),
                        "an end nobody sent"
                    );
                }
                None => assert!(
                    rejected || matches!(exchange.fate, Fate::RequestReset(_)),
                    "{exchange:?}"
                ),
            }
        }
    }
}

/// Both ends' TLS, made once.
fn tls() -> &'static (
    Arc<quinn_proto::crypto::rustls::QuicClientConfig>,
    Arc<quinn_proto::crypto::rustls::QuicServerConfig>,
) {
    static TLS: OnceLock<(
        Arc<quinn_proto::crypto::rustls::QuicClientConfig>,
        Arc<quinn_proto::crypto::rustls::QuicServerConfig>,
    )> = OnceLock::new();
    TLS.get_or_init(|| {
        // Self-signed for localhost, with Ed25519, until 2126.
        let certificate = CertificateDer::from_slice(include_bytes!("certificate.der"));
        let key = PrivateKeyDer::Pkcs8(PrivatePkcs8KeyDer::from(&include_bytes!("key.der")[..]));
        let mut roots = RootCertStore::empty();
        roots.add(certificate.clone()).unwrap();
        let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
        let client = rustls::ClientConfig::builder_with_provider(provider.clone())
            .with_protocol_versions(&[&rustls::version::TLS13])
            .unwrap()
            .with_root_certificates(roots)
            .with_no_client_auth();
        let server = rustls::ServerConfig::builder_with_provider(provider)
            .with_protocol_versions(&[&rustls::version::TLS13])
            .unwrap()
            .with_no_client_auth()
            .with_single_cert(vec![certificate], key)
            .unwrap();
        (
            Arc::new(client.try_into().unwrap()),
            Arc::new(server.try_into().unwrap()),
        )
    })
}

/// Limits that are tight now and then.
fn transport(random: &mut Random) -> Arc<TransportConfig> {
    let mut transport = TransportConfig::default();
    transport
        .max_concurrent_bidi_streams(random.pick(&[1u32, 2, 4, 100]).into())
        .max_concurrent_uni_streams(3u32.into())
        .stream_receive_window(random.pick(&[1_000u32, 10_000, 1 << 20]).into())
        .receive_window(random.pick(&[20_000u32, 8 << 20]).into())
        .send_window(random.pick(&[5_000, 1 << 20]))
        .max_idle_timeout(None)
        .datagram_receive_buffer_size(None)
        .mtu_discovery_config(None);
    Arc::new(transport)
}

fn config(random: &mut Random) -> Config {
    let (capacity, blocked) = random.pick(&[(0, 0), (4096, 0), (4096, 16), (200, 2), (100, 1)]);
    Config {
        qpack_capacity: capacity,
        qpack_blocked_streams: blocked,
        qpack_encoder_capacity: random.pick(&[0, 200, 4096]),
        grease: random.chance(50).then(|| random.next()),
        ..Config::default()
    }
}
