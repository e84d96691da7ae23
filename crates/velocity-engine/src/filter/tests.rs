use std::sync::Arc;
use std::time::Instant;

use http::header::{ACCEPT_ENCODING, CONTENT_ENCODING, CONTENT_LENGTH, CONTENT_TYPE, VARY};
use http::{HeaderValue, StatusCode};

use super::*;
use crate::http::tcp::testing::peer;
use crate::metrics::Metrics;
use crate::router::Params;

/// Something with a request of 192.0.2.1 for `host.example`.
pub async fn with_call<T>(parts: &Parts, act: impl AsyncFnOnce(Call<'_>) -> T) -> T {
    with_templates(parts, &Templates::load(None).unwrap(), act).await
}

pub async fn with_templates<T>(parts: &Parts, templates: &Templates, act: impl AsyncFnOnce(Call<'_>) -> T) -> T {
    with_params(parts, templates, &[], act).await
}

pub async fn with_params<T>(
    parts: &Parts,
    templates: &Templates,
    params: &[(&str, &str)],
    act: impl AsyncFnOnce(Call<'_>) -> T,
) -> T {
    setting(templates, params, async |setting| act(setting.call(parts)).await).await
}

/// Something with whatever is known of such a request besides its head.
pub async fn with_setting<T>(act: impl AsyncFnOnce(Setting<'_>) -> T) -> T {
    setting(&Templates::load(None).unwrap(), &[], act).await
}

async fn setting<T>(templates: &Templates, params: &[(&str, &str)], act: impl AsyncFnOnce(Setting<'_>) -> T) -> T {
    let pairs = params.iter().map(|(name, value)| (Arc::from(*name), value.to_string()));
    let (params, route, metrics) = (Params(pairs.collect()), Arc::from("routes[0]"), Metrics::default());
    let peer = peer();
    act(Setting {
        host: "host.example",
        authority: "host.example",
        peer: &peer,
        remote: std::net::Ipv4Addr::LOCALHOST.into(),
        client: "192.0.2.1".parse().unwrap(),
        identity: "",
        params: &params,
        route: &route,
        templates,
        metrics: &metrics,
        interim: None,
        now: Instant::now(),
    })
    .await
}

fn parts(fields: &[(HeaderName, &str)]) -> Parts {
    let mut request = http::Request::builder().uri("/a?b=c");
    for (name, value) in fields {
        request = request.header(name, *value);
    }
    request.body(()).unwrap().into_parts().0
}

fn pairs(pairs: &[(&str, &str)]) -> Vec<(String, String)> {
    pairs
        .iter()
        .map(|(name, value)| (name.to_string(), value.to_string()))
        .collect()
}

fn headers(default: &[(&str, &str)], set: &[(&str, &str)], add: &[(&str, &str)], remove: &[&str]) -> plan::Headers {
    plan::Headers {
        of: plan::HeadersOf::Response,
        default: pairs(default),
        set: pairs(set),
        add: pairs(add),
        remove: remove.iter().map(ToString::to_string).collect(),
    }
}

#[tokio::test]
async fn headers_are_removed_defaulted_set_and_added() {
    let mut templates = Templates::load(None).unwrap();
    let plan = headers(
        &[("x-a", "default"), ("x-b", "default")],
        &[("x-c", "{{ request.method }} {{ path }}?{{ query }} {{ query.b }}")],
        &[("x-a", "{{ request.headers.x_from }} {{ client }} {{ host }}")],
        &["x-d"],
    );
    let headers = Headers::new(&plan, "filters[0]", &mut templates).unwrap();
    assert!(!headers.is_constant());
    let mut fields = HeaderMap::new();
    fields.insert("x-a", HeaderValue::from_static("own"));
    fields.insert("x-d", HeaderValue::from_static("own"));
    let parts = parts(&[(HeaderName::from_static("x-from"), "me")]);
    with_templates(&parts, &templates, async |call| {
        headers.render(&call).apply(&mut fields)
    })
    .await;
    let values = |name| fields.get_all(name).iter().collect::<Vec<_>>();
    assert_eq!(values("x-a"), ["own", "me 192.0.2.1 host.example"]);
    assert_eq!(values("x-b"), ["default"]);
    assert_eq!(values("x-c"), ["GET /a?b=c c"]);
    assert_eq!(values("x-d"), [""; 0]);
}

#[test]
fn headers_that_cannot_be_are_refused() {
    let mut templates = Templates::load(None).unwrap();
    for (name, value, code) in [
        ("a b", "x", "HEADER_INVALID"),
        ("content-length", "5", "HEADER_INVALID"),
        ("x-a", "a\r\nb", "HEADER_INVALID"),
        ("x-a", "{{ open", "TEMPLATE_INVALID"),
    ] {
        let error = Headers::new(&headers(&[], &[(name, value)], &[], &[]), "filters[3]", &mut templates).err();
        assert_eq!(error.map(|e| e.code), Some(code), "{name}: {value}");
    }
}

#[tokio::test]
async fn answers_in_memory_are_compressed() {
    let compress = Compress::new(&plan::Compress {
        codings: vec!["gzip".into(), "zstd".into()],
        min_bytes: 100,
    })
    .unwrap();
    for (accept, kind, len, coding) in [
        ("br, gzip", "text/html", 1000, Some("gzip")),
        ("gzip, zstd", "application/json", 100_000, Some("zstd")),
        ("br", "text/html", 1000, None),
        ("gzip", "image/png", 1000, None),
        ("gzip", "text/html", 99, None),
    ] {
        let mut response = Response::new(bytes::Bytes::from("x".repeat(len)).into());
        response.headers_mut().insert(CONTENT_TYPE, kind.parse().unwrap());
        compress
            .respond(&parts(&[(ACCEPT_ENCODING, accept)]), &mut response)
            .await;
        let fields = response.headers();
        assert_eq!(
            fields.get(CONTENT_ENCODING).map(|value| value.to_str().unwrap()),
            coding
        );
        if coding.is_some() {
            assert_eq!(fields[CONTENT_LENGTH], response.body().len().unwrap().to_string());
            assert_eq!(fields[VARY], "Accept-Encoding");
            assert!(response.body().len().unwrap() < 500);
        }
    }
}

#[tokio::test]
async fn networks_decide_who_comes_in() {
    for (allow, deny, expected) in [
        (&[][..], &[][..], true),
        (&["192.0.2.0/24"], &[], true),
        (&["198.51.100.0/24"], &[], false),
        (&["192.0.2.0/24"], &["192.0.2.1"], false),
        (&[], &["198.51.100.0/24"], true),
    ] {
        let texts = |texts: &[&str]| texts.iter().map(ToString::to_string).collect();
        let access = IpAccess::new(&plan::IpAccess {
            allow: texts(allow),
            deny: texts(deny),
        })
        .unwrap();
        let answer = with_call(&parts(&[]), async |call| access.request(&call)).await;
        assert_eq!(answer.is_none(), expected, "{allow:?} {deny:?}");
        assert!(answer.is_none_or(|answer| answer.status() == StatusCode::FORBIDDEN));
    }
}
