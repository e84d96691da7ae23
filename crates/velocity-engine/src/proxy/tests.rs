//! Paths, and what the tests beside the code have in common.

use super::*;
use crate::filter::tests::with_call;

/// The head of a request over HTTP/1.1.
pub fn parts(uri: &str, fields: &[(&str, &str)]) -> http::request::Parts {
    let mut request = Request::builder().uri(uri);
    for (name, value) in fields {
        request = request.header(*name, *value);
    }
    request.body(()).unwrap().into_parts().0
}

fn plan(weights: &[(u32, bool)], strip_prefix: &str) -> plan::Proxy {
    let upstream = |(place, (weight, backup)): (usize, &(u32, bool))| serde_json::json!({"url": format!("http://127.0.0.{place}:80"), "weight": weight, "backup": backup});
    let upstreams: Vec<_> = weights.iter().enumerate().map(upstream).collect();
    serde_json::from_value(serde_json::json!({
        "upstreams": upstreams,
        "balance": {"by": "round_robin", "name": null},
        "preserve_host": false,
        "strip_prefix": strip_prefix,
        "streaming": true,
        "retries": {"attempts": 0, "statuses": [], "body_bytes": 0},
        "timeouts": {"connect_ms": 1000, "response_ms": 1000, "idle_ms": 1000},
        "tls": {"ca_file": null, "server_name": null, "insecure": false, "certificate": null},
        "health": null,
        "ejection": {"failures": 3, "for_ms": 1000},
        "slow_start_ms": 0,
        "resolver": null,
        "max_response_bytes": null,
        "cache": null,
    }))
    .unwrap()
}

/// The same, with less than their weight when they are back.
pub fn starting_slowly(weights: &[(u32, bool)], slow_start_ms: u64) -> Vec<Arc<Upstream>> {
    let plan = plan::Proxy {
        slow_start_ms,
        ..plan(weights, "")
    };
    Proxy::new(&plan).unwrap().upstreams.known()
}

/// Upstreams of these weights, some of them backups.
pub fn upstreams(weights: &[(u32, bool)]) -> Vec<Arc<Upstream>> {
    Proxy::new(&plan(weights, "")).unwrap().upstreams.known()
}

#[tokio::test]
async fn prefixes_are_cut_off_whole() {
    for (prefix, asked, path) in [
        ("", "/api/a", "/api/a"),
        ("/api", "/api", "/"),
        ("/api", "/api/", "/"),
        ("/api", "/api/a?b=/api", "/a?b=/api"),
        ("/api", "/api?a=b", "/?a=b"),
        ("/api", "/apis/a", "/apis/a"),
        ("/api", "/a", "/a"),
        ("/api", "/api//a", "//a"),
        ("/api", "/api/%2e%2e/a", "/%2e%2e/a"),
    ] {
        let proxy = Proxy::new(&plan(&[(1, false)], prefix)).unwrap();
        let cut = with_call(&parts(asked, &[]), async |call| proxy.path(&call)).await;
        assert_eq!(cut.unwrap().as_str(), path, "{prefix} {asked}");
    }
}

#[tokio::test]
async fn who_asks_for_a_websocket() {
    for (fields, asked) in [
        (&[("connection", "Upgrade"), ("upgrade", "WebSocket")][..], true),
        (&[("connection", "keep-alive, upgrade"), ("upgrade", "websocket")], true),
        (&[("connection", "upgrade"), ("upgrade", "h2c")], false),
        (&[("connection", "upgrade"), ("upgrade", "websocket, h2c")], false),
        (&[("connection", "close"), ("upgrade", "websocket")], false),
        (&[("upgrade", "websocket")], false),
        (&[("connection", "upgrade")], false),
    ] {
        let found = with_call(&parts("/", fields), async |call| upgrade_of(&call).is_some()).await;
        assert_eq!(found, asked, "{fields:?}");
    }
}

#[test]
fn whoever_fails_often_enough_is_left_alone() {
    let all = upstreams(&[(1, false)]);
    for (failed, available) in [
        (true, true),
        (true, true),
        (false, true),
        (true, true),
        (true, true),
        (true, false),
    ] {
        match failed {
            true => all[0].failed(),
            false => all[0].succeeded(),
        }
        assert_eq!(all[0].is_available(), available);
    }
    all[0].checked(true);
    assert!(all[0].is_available(), "a check says that it is well");
    assert_eq!(all[0].counters.ejections.load(Relaxed), 1);
}

#[tokio::test(start_paused = true)]
async fn a_slow_start_begins_where_an_ejection_ends() {
    let all = starting_slowly(&[(1, false)], 10_000);
    let upstream = &all[0];
    assert_eq!(upstream.share(), 1.0);
    for _ in 0..3 {
        upstream.failed();
    }
    assert!(!upstream.is_available());
    for (milliseconds, share) in [(1000, 0.01), (5000, 0.5), (2500, 0.75)] {
        tokio::time::advance(Duration::from_millis(milliseconds)).await;
        assert!((upstream.share() - share).abs() < 0.01, "{}", upstream.share());
        // Checks that find what they expect change nothing.
        upstream.checked(true);
    }
    tokio::time::advance(Duration::from_secs(5)).await;
    assert_eq!(upstream.share(), 1.0);
}

#[test]
fn heads_do_not_make_up_for_answers_that_break_off() {
    let all = upstreams(&[(1, false)]);
    for (ended, available) in [
        (false, true),
        (false, true),
        (true, true),
        (false, true),
        (false, true),
        (false, false),
    ] {
        all[0].succeeded();
        match ended {
            true => all[0].ended(),
            false => all[0].broke_off("it broke off"),
        }
        assert_eq!(all[0].is_available(), available);
    }
    assert_eq!(all[0].counters.failures.load(Relaxed), 5);
}
