use std::sync::Arc;
use std::time::Instant;

use http::Method;
use proptest::prelude::*;

use super::path::segments;
use super::*;
use crate::plan::{Handler, Match, MatchKind, Redirect, Route, Site};

fn route(kind: MatchKind, value: &str, methods: &[&str]) -> Route {
    Route {
        name: format!("{kind:?} {value}"),
        matches: Match {
            kind,
            value: value.into(),
        },
        methods: methods.iter().map(ToString::to_string).collect(),
        filters: Vec::new(),
        handler: Handler::Redirect(Redirect {
            location: "/".into(),
            status: 308,
        }),
    }
}

fn table(routes: &[(MatchKind, &str)]) -> Table {
    let routes: Vec<Route> = routes.iter().map(|(kind, value)| route(*kind, value, &[])).collect();
    Table::new(&routes).unwrap()
}

fn find(table: &Table, path: &str) -> Option<(usize, Vec<(String, String)>)> {
    match table.find(&RequestPath::parse(path).unwrap(), &Method::GET) {
        Outcome::Found(place, params) => {
            let text = |(name, value): (Arc<str>, String)| (name.to_string(), value);
            Some((place, params.0.into_iter().map(text).collect()))
        }
        _ => None,
    }
}

fn place(table: &Table, path: &str) -> Option<usize> {
    find(table, path).map(|(place, _)| place)
}

#[test]
fn the_first_that_matches_answers() {
    use MatchKind::*;
    let table = table(&[
        (Exact, "/users/me"),
        (Pattern, "/users/{id}"),
        (Exact, "/users/you"),
        (Pattern, "/files/{*path}"),
        (Prefix, "/api"),
        (Exact, "/dir/"),
        (Prefix, "/users"),
        (Exact, "/"),
        (Pattern, "/a/{b}/c/{*d}"),
    ]);
    for (path, expected) in [
        ("/users/me", Some(0)),
        ("/users/you", Some(1)),
        ("/users//me", Some(0)),
        ("/users/%6de", Some(0)),
        ("/users/me/", Some(6)),
        ("/users", Some(6)),
        ("/files/a/b", Some(3)),
        ("/files", Some(3)),
        ("/api", Some(4)),
        ("/api/", Some(4)),
        ("/api/x", Some(4)),
        ("/apix", None),
        ("/dir/", Some(5)),
        ("/dir", None),
        ("/", Some(7)),
        ("/a/1/c", Some(8)),
        ("/a/1/d", None),
    ] {
        assert_eq!(place(&table, path), expected, "{path}");
    }
}

#[test]
fn open_segments_are_decoded_text() {
    use MatchKind::*;
    let table = table(&[
        (Pattern, "/u/{name}/f/{*rest}"),
        (Pattern, "/u/{other}"),
        (Pattern, "/{*rest}"),
    ]);
    let params = |path| find(&table, path).unwrap().1;
    let pair = |name: &str, value: &str| (name.to_owned(), value.to_owned());
    assert_eq!(
        params("/u/J%C3%BCrgen/f/a/b%20c/"),
        [pair("name", "Jürgen"), pair("rest", "a/b c/")]
    );
    assert_eq!(params("/u/x"), [pair("other", "x")]);
    assert_eq!(params("/"), [pair("rest", "")]);
    assert_eq!(place(&table, "/u/%ff"), None, "no text");
}

#[test]
fn only_the_method_was_wrong() {
    use MatchKind::*;
    let table = Table::new(&[
        route(Exact, "/a", &["GET"]),
        route(Prefix, "/a", &["POST", "PURGE"]),
        route(Pattern, "/{x}", &["PUT"]),
    ])
    .unwrap();
    let path = RequestPath::parse("/a").unwrap();
    assert!(matches!(table.find(&path, &Method::HEAD), Outcome::Found(0, _)));
    assert!(matches!(table.find(&path, &Method::PUT), Outcome::Found(2, _)));
    let Outcome::Method(allowed) = table.find(&path, &Method::DELETE) else {
        panic!("a method that nobody takes");
    };
    assert_eq!(allowed.allow(), "GET, HEAD, POST, PUT, PURGE");
    let other = RequestPath::parse("/b/c").unwrap();
    assert_eq!(table.find(&other, &Method::DELETE), Outcome::Missing);
}

#[test]
fn what_is_no_pattern_is_refused() {
    for value in [
        "a", "", "/a/{", "/{}", "/{a-b}", "/{1}", "/{*r}/x", "/x{y}", "/../x", "/a%2fb",
    ] {
        let error = Table::new(&[route(MatchKind::Pattern, value, &[])]).err();
        assert_eq!(error.map(|e| e.code), Some("ROUTE_INVALID"), "{value}");
    }
}

/// The rules without any tree.
fn naive(routes: &[Route], path: &RequestPath<'_>, method: &Method) -> Option<usize> {
    let asked: Vec<&[u8]> = path.segments().collect();
    routes.iter().position(|route| {
        let value = route.matches.value.as_bytes();
        let wanted: Vec<&[u8]> = segments(value).collect();
        let open = wanted.last().is_some_and(|last| last.starts_with(b"{*"));
        let fits = |(wanted, asked): (&&[u8], &&[u8])| {
            wanted == asked || route.matches.kind == MatchKind::Pattern && wanted.starts_with(b"{")
        };
        let matches = match route.matches.kind {
            MatchKind::Exact => path.as_bytes() == value,
            MatchKind::Prefix => asked.len() >= wanted.len() && wanted.iter().zip(&asked).all(fits),
            MatchKind::Pattern if open => {
                asked.len() >= wanted.len() - 1 && wanted[..wanted.len() - 1].iter().zip(&asked).all(fits)
            }
            MatchKind::Pattern => {
                asked.len() == wanted.len()
                    && value.ends_with(b"/") == path.is_directory()
                    && wanted.iter().zip(&asked).all(fits)
            }
        };
        matches && Methods::new(&route.methods).contains(method)
    })
}

fn any_route() -> impl Strategy<Value = Route> {
    let segment = prop_oneof![3 => "[ab]", 1 => Just("{x}".to_owned())];
    let kind = prop_oneof![
        Just(MatchKind::Exact),
        Just(MatchKind::Prefix),
        Just(MatchKind::Pattern)
    ];
    let methods = prop_oneof![Just(&[][..]), Just(&["GET"][..]), Just(&["POST", "GET"][..])];
    (kind, prop::collection::vec(segment, 0..4), 0..4u8, methods).prop_map(|(kind, mut parts, end, methods)| {
        if kind != MatchKind::Pattern {
            parts.retain(|part| !part.starts_with('{'));
        }
        if end == 0 && kind == MatchKind::Pattern {
            parts.push("{*rest}".into());
        }
        let slash = if end == 1 || parts.is_empty() { "/" } else { "" };
        let path: String = parts.iter().flat_map(|part| ["/", part.as_str()]).collect();
        route(kind, &(path + slash), methods)
    })
}

proptest! {
    #[test]
    fn the_tree_finds_what_a_scan_finds(
        routes in prop::collection::vec(any_route(), 0..24),
        path in "(/[ab]){0,4}/?",
        post in any::<bool>(),
    ) {
        let path = format!("/{}", path.trim_start_matches('/'));
        let path = RequestPath::parse(&path).unwrap();
        let method = if post { Method::POST } else { Method::GET };
        let found = match Table::new(&routes).unwrap().find(&path, &method) {
            Outcome::Found(place, _) => Some(place),
            _ => None,
        };
        prop_assert_eq!(found, naive(&routes, &path, &method));
    }

    /// What is gone through gives the same as the tree, refusals included.
    #[test]
    fn few_routes_are_found_as_by_the_tree(
        mut routes in prop::collection::vec(any_route(), 0..8),
        others in prop::collection::vec(any_route(), 0..8),
        path in "(/[ab]){0,4}/?",
        post in any::<bool>(),
    ) {
        for route in &mut routes {
            if route.matches.kind == MatchKind::Pattern {
                route.matches = Match { kind: MatchKind::Exact, value: "/%61/b".into() };
            }
        }
        let path = format!("/{}", path.trim_start_matches('/'));
        let path = RequestPath::parse(&path).unwrap();
        let method = if post { Method::POST } else { Method::GET };
        let mut few = Few::default();
        few.add(&others);
        let span = few.add(&routes).unwrap();
        prop_assert_eq!(few.find(span, &path, &method), Table::new(&routes).unwrap().find(&path, &method));
    }

    #[test]
    fn no_path_breaks_it(path in "/(\\PC|[/.%{}*]){0,40}") {
        let table = table(&[(MatchKind::Pattern, "/{a}/{b}/{*c}"), (MatchKind::Exact, "/x")]);
        if let Ok(path) = RequestPath::parse(&path) {
            table.find(&path, &Method::GET);
        }
    }
}

/// 10,000 sites with 50,000 routes, against 10 routes. Time is noise on a busy machine: the factor is generous, a scan
/// would be a thousand times slower.
#[test]
fn many_routes_cost_no_more_than_few() {
    let site = |hosts: usize, at: usize, routes: usize| Site {
        hosts: vec![format!("host{at}.of{hosts}.example")],
        profiles: None,
        routes: (0..routes)
            .map(|n| match n % 3 {
                0 => route(MatchKind::Exact, &format!("/exact/{n}"), &[]),
                1 => route(MatchKind::Prefix, &format!("/prefix/{n}"), &[]),
                _ => route(MatchKind::Pattern, &format!("/pattern/{n}/{{id}}"), &[]),
            })
            .collect(),
        error_pages: Vec::new(),
    };
    let time = |sites: &[Site], host: &str| {
        let began = Instant::now();
        let router = Router::new(sites).unwrap();
        let built = began.elapsed();
        let path = RequestPath::parse("/pattern/2/x").unwrap();
        let look = || {
            let began = Instant::now();
            for _ in 0..1000 {
                let found = router.route(router.site(std::hint::black_box(host)).unwrap(), &path, &Method::GET);
                assert!(matches!(found, Outcome::Found(2, _)));
            }
            began.elapsed()
        };
        (built, (0..20).map(|_| look()).min().unwrap())
    };
    let (_, few) = time(&[site(1, 0, 10)], "host0.of1.example");
    let many: Vec<Site> = (0..10_000).map(|at| site(10_000, at, 5)).collect();
    let (built, many) = time(&many, "host7777.of10000.example");
    assert!(built.as_millis() < 2000, "built in {built:?}");
    assert!(many < few * 8, "{many:?} against {few:?}");
    let (built, one) = time(&[site(2, 0, 50_000)], "host0.of2.example");
    assert!(built.as_millis() < 2000, "built in {built:?}");
    assert!(one < few * 8, "{one:?} against {few:?}");
}
