use std::path::Path;

use http::HeaderMap;
use http::header::LOCATION;

use super::*;
use crate::app::Applications;
use crate::filter::tests::with_templates;
use crate::plan::{ErrorPage, Handler as Plan};
use crate::proxy::Known;

fn write(folder: &Path, files: &[(&str, &str)]) {
    for (name, content) in files {
        let path = folder.join(name);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(path, content).unwrap();
    }
}

fn request(target: &str) -> http::request::Parts {
    let request = http::Request::builder().uri(target).header("x-name", "<b>");
    request.body(()).unwrap().into_parts().0
}

async fn answer(plan: Plan, templates: &mut Templates, target: &str) -> (StatusCode, HeaderMap, String) {
    let handler = Handler::new(
        &plan,
        "edge.routes[0]",
        templates,
        &mut Known::default(),
        &Applications::any(),
    )
    .unwrap();
    let response = with_templates(&request(target), templates, async |call| {
        handler.respond(&call, HeaderMap::new(), Body::Empty).await
    })
    .await;
    let (head, body) = response.into_parts();
    let body = http_body_util::BodyExt::collect(body).await.unwrap().to_bytes();
    (head.status, head.headers, String::from_utf8(body.to_vec()).unwrap())
}

fn json(body: serde_json::Value) -> Plan {
    Plan::Json(plan::Json { status: 201, body })
}

fn page(name: &str) -> Plan {
    Plan::Template(plan::Template {
        name: name.into(),
        status: 200,
        content_type: None,
    })
}

#[tokio::test]
async fn json_keeps_its_shape_whatever_is_in_it() {
    let mut templates = Templates::load(None).unwrap();
    let body = serde_json::json!({
        "text": "a \"quoted\" text",
        "name": "{{ query.name }}",
        "list": [1, null, true, "{{ request.path }}", {"{{ key }}": "{{ missing }}"}],
    });
    let (status, fields, text) = answer(json(body), &mut templates, "/x?name=%22%7D%2C%3Cb%3E%0A").await;
    assert_eq!(status, 201);
    assert_eq!(fields["content-type"], "application/json");
    assert_eq!(fields["content-length"], text.len().to_string());
    let value: serde_json::Value = serde_json::from_str(&text).unwrap();
    assert_eq!(
        value,
        serde_json::json!({
            "text": "a \"quoted\" text",
            "name": "\"},<b>\n",
            "list": [1, null, true, "/x", {"{{ key }}": ""}],
        })
    );
}

#[tokio::test]
async fn pages_escape_by_their_type() {
    let folder = tempfile::tempdir().unwrap();
    write(
        folder.path(),
        &[
            ("base.html", "<title>{% block title %}{% endblock %}</title>"),
            (
                "page.html.j2",
                "{% extends 'base.html' %}{% block title %}{{ request.headers['x-name'] }}{% endblock %}",
            ),
            ("sub/page.txt", "{{ query.q }}"),
            ("data.json", "{\"q\": {{ query.q }}}"),
            (".hidden.html", "{{ broken"),
            ("logo.png", "{{ no template"),
        ],
    );
    std::fs::write(folder.path().join("logo.png"), [0xff, 0xfe]).unwrap();
    let mut templates = Templates::load(Some(folder.path())).unwrap();
    let (_, fields, text) = answer(page("page.html.j2"), &mut templates, "/").await;
    assert_eq!(fields["content-type"], "text/html; charset=utf-8");
    assert_eq!(text, "<title>&lt;b&gt;</title>");
    let (_, fields, text) = answer(page("sub/page.txt"), &mut templates, "/?q=%3Cb%3E").await;
    assert_eq!(
        (fields["content-type"].to_str().unwrap(), &*text),
        ("text/plain; charset=utf-8", "<b>")
    );
    let (_, _, text) = answer(page("data.json"), &mut templates, "/?q=%22").await;
    assert_eq!(text, "{\"q\": \"\\\"\"}");
}

#[test]
fn broken_templates_are_told_with_their_place() {
    let folder = tempfile::tempdir().unwrap();
    write(folder.path(), &[("a/page.html", "one\ntwo {{ open\n")]);
    let error = Templates::load(Some(folder.path())).err().unwrap();
    assert_eq!(error.code, "TEMPLATE_INVALID");
    let place = format!("{}:", folder.path().join("a/page.html").display());
    assert!(error.message.starts_with(&place), "{error}");

    let mut templates = Templates::load(None).unwrap();
    let broken = json(serde_json::json!({"a": [0, "{% if %}"]}));
    let error = Handler::new(
        &broken,
        "edge.routes[2]",
        &mut templates,
        &mut Known::default(),
        &Applications::any(),
    )
    .err()
    .unwrap();
    assert_eq!(error.code, "TEMPLATE_INVALID");
    assert!(error.message.starts_with("edge.routes[2].a[1]:1: "), "{error}");
    let error = Handler::new(
        &page("x.html"),
        "edge.routes[2]",
        &mut templates,
        &mut Known::default(),
        &Applications::any(),
    )
    .err()
    .unwrap();
    assert_eq!(error.code, "TEMPLATE_MISSING");
}

#[tokio::test]
async fn a_page_without_end_is_cut_off() {
    let folder = tempfile::tempdir().unwrap();
    write(
        folder.path(),
        &[
            (
                "long.html",
                "{% for a in range(10000) %}{% for b in range(10000) %}{{ a * b }}{% endfor %}{% endfor %}",
            ),
            ("self.html", "{% include 'self.html' %}"),
        ],
    );
    let mut templates = Templates::load(Some(folder.path())).unwrap();
    for name in ["long.html", "self.html"] {
        let (status, _, text) = answer(page(name), &mut templates, "/").await;
        assert_eq!(
            (status.as_u16(), &*text),
            (500, "this page cannot be shown\n"),
            "{name}"
        );
    }
}

#[tokio::test]
async fn redirects_stay_where_they_are_meant_to() {
    for (location, target, expected) in [
        ("https://{{ host }}{{ path }}", "/a%20b", "https://host.example/a%20b"),
        ("{{ path }}/", "//evil.example/x", "/evil.example/x/"),
        ("/{{ query.to }}", "/?to=/evil.example", "/evil.example"),
        ("/{{ query.to }}", "/?to=\\evil.example", "/%5Cevil.example"),
        ("/new?q={{ query.q }}", "/?q=a%0d%0ab", "/new?q=a%0D%0Ab"),
        ("/ü", "/", "/%C3%BC"),
        ("https://elsewhere.example/", "/", "https://elsewhere.example/"),
    ] {
        let plan = Plan::Redirect(plan::Redirect {
            location: location.into(),
            status: 307,
        });
        let (status, fields, _) = answer(plan, &mut Templates::load(None).unwrap(), target).await;
        assert_eq!(
            (status.as_u16(), fields[LOCATION].to_str().unwrap()),
            (307, expected),
            "{location}"
        );
    }
}

#[tokio::test]
async fn error_pages_take_the_place_of_answers_without_a_body() {
    let folder = tempfile::tempdir().unwrap();
    write(
        folder.path(),
        &[("404.html", "lost"), ("4xx.html", "yours"), ("5xx.html", "ours")],
    );
    let page = |status: &str| ErrorPage {
        status: status.into(),
        file: folder.path().join(format!("{status}.html")),
    };
    let pages = ErrorPages::new(&[page("4xx"), page("404"), page("5xx")]).unwrap();
    for (status, expected) in [(404, "lost"), (403, "yours"), (502, "ours")] {
        let mut response = crate::service::plain(StatusCode::from_u16(status).unwrap(), "short\n");
        pages.apply(&mut response);
        assert_eq!(response.headers()["content-length"], expected.len().to_string());
        assert_eq!(response.headers()["content-type"], "text/html; charset=utf-8");
        assert_eq!(response.status(), status);
    }
    let respond = |body: &str| {
        Plan::Respond(plan::Respond {
            status: 404,
            content_type: "text/plain".into(),
            body: body.into(),
        })
    };
    for (body, replaced) in [("own", false), ("", true)] {
        let handler = Handler::new(
            &respond(body),
            "x",
            &mut Templates::load(None).unwrap(),
            &mut Known::default(),
            &Applications::any(),
        )
        .unwrap();
        let Handler::Fixed(fixed) = handler else {
            panic!("respond is fixed")
        };
        let mut response = fixed.respond();
        pages.apply(&mut response);
        assert_eq!(response.headers()["content-length"] == "4", replaced);
    }
    let error = ErrorPages::new(&[ErrorPage {
        status: "200".into(),
        file: "x".into(),
    }])
    .err();
    assert_eq!(error.map(|e| e.code), Some("ERROR_PAGE_INVALID"));
    let error = ErrorPages::new(&[ErrorPage {
        status: "500".into(),
        file: "/none".into(),
    }])
    .err();
    assert_eq!(error.map(|e| e.code), Some("ERROR_PAGE_UNREADABLE"));
}

/// What is moved about for every request.
#[tokio::test]
async fn futures_are_small() {
    let mut templates = Templates::load(None).unwrap();
    let handler = Handler::new(
        &json(serde_json::Value::Null),
        "x",
        &mut templates,
        &mut Known::default(),
        &Applications::any(),
    )
    .unwrap();
    with_templates(&request("/"), &templates, async |call| {
        let size = std::mem::size_of_val(&handler.respond(&call, HeaderMap::new(), Body::Empty));
        assert!(size <= 1536, "{size}");
    })
    .await;
}
