//! How long it takes to find the route of a request: the engine's router alone, without a network.
//!
//! `velocity-matching HOSTS ROUTES ...` has a router for each pair of numbers, so many hosts with so many routes each,
//! and lets them take turns. Requests come to all hosts and routes alike, in an order that nothing can foresee. What is
//! printed are nanoseconds a request, of each router the least of all turns.

use std::hint::black_box;
use std::process::ExitCode;
use std::time::Instant;

use http::Method;
use serde_json::{Value, json};
use velocity_engine::plan::Site;
use velocity_engine::router::{Outcome, RequestPath, Router};

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

type Result<T> = std::result::Result<T, Box<dyn std::error::Error>>;

const TURNS: usize = 10;
const REQUESTS: usize = 200_000;

struct Contestant {
    router: Router,
    /// Host and path.
    requests: Vec<(String, String)>,
    best: f64,
}

impl Contestant {
    fn new(hosts: usize, routes: usize, random: &mut Random) -> Result<Self> {
        let router = Router::new(&sites(hosts, routes)?)?;
        let request = |_| {
            let (host, route) = (random.below(hosts), random.below(routes));
            (format!("h{host}.example.com"), format!("/h{host}/r{route}"))
        };
        Ok(Self {
            router,
            requests: (0..REQUESTS).map(request).collect(),
            best: f64::INFINITY,
        })
    }

    fn turn(&mut self) -> Result<()> {
        let begin = Instant::now();
        for (host, path) in &self.requests {
            let site = self.router.site(host).ok_or("a host was not found")?;
            let path = RequestPath::parse(path).map_err(|_| "a path was refused")?;
            match black_box(self.router.route(site, &path, &Method::GET)) {
                Outcome::Found(..) => {}
                Outcome::Method(_) | Outcome::Missing => return Err("a route was not found".into()),
            }
        }
        self.best = self.best.min(begin.elapsed().as_nanos() as f64 / REQUESTS as f64);
        Ok(())
    }
}

/// Every host with exact paths, and its root.
fn sites(hosts: usize, routes: usize) -> Result<Vec<Site>> {
    let handler = json!({"kind": "respond", "status": 200, "content_type": "text/plain", "body": "ok"});
    let route = |kind: &str, value: String| {
        let matches = json!({"kind": kind, "value": value});
        json!({"name": "route", "match": matches, "methods": [], "filters": [], "handler": handler})
    };
    let site = |host| {
        let exact = (0..routes).map(|number| route("exact", format!("/h{host}/r{number}")));
        let routes: Vec<Value> = exact.chain([route("prefix", "/".to_owned())]).collect();
        json!({"hosts": [format!("h{host}.example.com")], "profiles": null, "routes": routes, "error_pages": []})
    };
    Ok(serde_json::from_value((0..hosts).map(site).collect())?)
}

/// Xorshift: the same numbers on every machine.
struct Random(u64);

impl Random {
    fn below(&mut self, limit: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        usize::try_from(self.0 >> 33).unwrap_or_default() % limit
    }
}

fn run() -> Result<Value> {
    let numbers: Vec<usize> = std::env::args()
        .skip(1)
        .map(|word| word.parse())
        .collect::<std::result::Result<_, _>>()?;
    let mut random = Random(0x9E37_79B9_7F4A_7C15);
    let (pairs, []) = numbers.as_chunks::<2>() else {
        return Err("usage: velocity-matching HOSTS ROUTES ...".into());
    };
    let mut contestants = pairs
        .iter()
        .map(|&[hosts, routes]| Contestant::new(hosts.max(1), routes.max(1), &mut random))
        .collect::<Result<Vec<_>>>()?;
    for _ in 0..TURNS {
        for contestant in &mut contestants {
            contestant.turn()?;
        }
    }
    Ok(contestants.iter().map(|one| json!({"ns": one.best})).collect())
}

fn main() -> ExitCode {
    match run() {
        Ok(figures) => {
            println!("{figures}");
            ExitCode::SUCCESS
        }
        Err(error) => {
            eprintln!("error: {error}");
            ExitCode::FAILURE
        }
    }
}
