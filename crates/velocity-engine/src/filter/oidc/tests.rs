use http::request::Builder;
use serde_json::json;

use super::session::{Pending, now};
use super::*;
use crate::filter::tests::{with_call, with_setting};

fn plan() -> plan::Oidc {
    plan::Oidc {
        // Nobody listens there.
        issuer: "http://127.0.0.1:1".into(),
        client_id: "velocity".into(),
        client_secret_file: None,
        scopes: vec!["profile".into(), "openid".into()],
        callback_path: "/callback".into(),
        logout_path: "/logout".into(),
        cookie: "session".into(),
        session_ms: 60_000,
        audiences: Vec::new(),
        require: vec![("groups".into(), vec!["ops".into()])],
        claim_headers: vec![("email".into(), "x-user-email".into())],
        claims: vec!["name".into()],
        cookie_secret_file: None,
        ca_file: None,
    }
}

fn session(oidc: &Oidc, until: u64, claims: serde_json::Value) -> String {
    let claims = claims.as_object().unwrap().clone();
    let sealed = oidc.vault.seal(&oidc.cookie, &Session { until, claims }).unwrap();
    format!("__Host-session={sealed}")
}

fn get(path: &str) -> Builder {
    http::Request::builder().uri(path).header("host", "host.example")
}

/// What becomes of a request, and its answer if it did not pass.
async fn pass(oidc: &Oidc, request: Builder) -> (Parts, Option<Response>) {
    let mut parts = request.body(()).unwrap().into_parts().0;
    let answer = with_setting(async |setting| oidc.pass(&mut parts, &setting).await).await;
    (parts, answer)
}

async fn status(oidc: &Oidc, request: Builder) -> u16 {
    pass(oidc, request).await.1.map_or(0, |answer| answer.status().as_u16())
}

#[tokio::test]
async fn a_session_passes_with_its_claims() {
    let oidc = Oidc::new(&plan()).unwrap();
    let cookie = session(
        &oidc,
        now() + 60,
        json!({"sub": "ann", "groups": ["ops"], "email": "ann@a.example"}),
    );
    let request = get("/a")
        .header(COOKIE, format!("a=1; {cookie}; __Host-session_login0=x; b=2"))
        .header("X-User-Email", "eve@a.example")
        .header("X_User-Email", "eve@a.example");
    let (parts, answer) = pass(&oidc, request).await;
    assert!(answer.is_none());
    let emails: Vec<_> = parts.headers.get_all("x-user-email").iter().collect();
    assert_eq!(emails, ["ann@a.example"]);
    assert!(!parts.headers.contains_key("x_user-email"));
    assert_eq!(parts.headers[COOKIE], "a=1; b=2", "sessions are nobody else's");
    assert_eq!(parts.extensions.get::<Known>().unwrap().claims["sub"], "ann");
}

#[tokio::test]
async fn nothing_else_does() {
    let oidc = Oidc::new(&plan()).unwrap();
    let ops = json!({"sub": "ann", "groups": ["ops"]});
    let good = session(&oidc, now() + 60, ops.clone());
    assert_eq!(status(&oidc, get("/a").header(COOKIE, &good)).await, 0);
    let other = Oidc::new(&plan::Oidc {
        client_id: "other".into(),
        ..plan()
    });
    for (cookie, expected) in [
        (session(&oidc, now(), ops.clone()), 401),
        (session(&other.unwrap(), now() + 60, ops), 401),
        (
            session(&oidc, now() + 60, json!({"sub": "bob", "groups": ["dev"]})),
            403,
        ),
        (session(&oidc, now() + 60, json!({"sub": "bob"})), 403),
        (good[..good.len() - 1].to_owned(), 401),
        (good.replace("__Host-session=", "session="), 401),
        (String::new(), 401),
    ] {
        assert_eq!(status(&oidc, get("/a").header(COOKIE, cookie)).await, expected);
    }
}

#[tokio::test]
async fn browsers_are_led_and_programs_are_told() {
    let oidc = Oidc::new(&plan()).unwrap();
    let html = |request: Builder| request.header(ACCEPT, "text/html,*/*;q=0.8");
    // The provider cannot be reached, which is only of interest to those that are led there.
    for (request, expected) in [
        (html(get("/a")), 502),
        (html(get("/a")).method("HEAD"), 502),
        (html(get("/a")).header("sec-fetch-mode", "navigate"), 502),
        (html(get("/a")).header("sec-fetch-mode", "cors"), 401),
        (html(get("/a")).method("POST"), 401),
        (get("/a").header(ACCEPT, "application/json"), 401),
        (get("/a").header(ACCEPT, "*/*"), 401),
        (get("/a"), 401),
        (get("/a").header(AUTHORIZATION, "Basic YTpi"), 401),
        (get("/a").header(AUTHORIZATION, "Bearers x"), 401),
        (get("/a").header(AUTHORIZATION, "Bearer x.y.z"), 502),
        (get("/a").header(AUTHORIZATION, "bearer"), 502),
    ] {
        let headers = format!("{:?} {:?}", request.method_ref(), request.headers_ref());
        let answer = pass(&oidc, request).await.1.unwrap();
        assert_eq!(answer.status(), expected, "{headers}");
        assert_eq!(answer.headers()[CACHE_CONTROL], "no-store");
        let challenge = answer.headers().get(WWW_AUTHENTICATE);
        assert_eq!(
            challenge.map(|value| value.to_str().unwrap()),
            (expected == 401).then_some("Bearer")
        );
    }
}

#[tokio::test]
async fn a_login_ends_in_the_browser_where_it_began() {
    let oidc = Oidc::new(&plan()).unwrap();
    let pending = |until| Pending {
        until,
        state: "s".into(),
        nonce: "n".into(),
        verifier: "v".into(),
        back: "/a".into(),
    };
    let slot = oidc.slot("s");
    let sealed = |until| format!("{slot}={}", oidc.vault.seal(&slot, &pending(until)).unwrap());
    for (path, cookie, expected) in [
        ("/callback?code=c&state=s", String::new(), 400),
        ("/callback?code=c&state=s", sealed(now()), 400),
        ("/callback?code=c&state=t", sealed(now() + 60), 400),
        ("/callback?code=c", sealed(now() + 60), 400),
        ("/callback?error=access_denied&state=s", sealed(now() + 60), 400),
        ("/callback?state=s", sealed(now() + 60), 400),
        ("/callback?code=c&state=s", sealed(now() + 60), 502),
        ("/callback", String::new(), 400),
    ] {
        assert_eq!(
            status(&oidc, get(path).header(COOKIE, cookie)).await,
            expected,
            "{path}"
        );
    }
    // Another login whose cookie has the same name.
    let states = (0..100).map(|number| format!("s{number}"));
    let state = states.into_iter().find(|state| oidc.slot(state) == slot).unwrap();
    let request = get(&format!("/callback?code=c&state={state}")).header(COOKIE, sealed(now() + 60));
    assert_eq!(status(&oidc, request).await, 400);
    let other = format!("{slot}={}", oidc.vault.seal("another", &pending(now() + 60)).unwrap());
    let request = get("/callback?code=c&state=s").header(COOKIE, other);
    assert_eq!(status(&oidc, request).await, 400);
    assert_eq!(status(&oidc, get("/callback").method("POST")).await, 405);
}

#[tokio::test]
async fn a_logout_needs_no_provider() {
    let oidc = Oidc::new(&plan()).unwrap();
    let answer = pass(&oidc, get("/logout")).await.1.unwrap();
    assert_eq!(answer.status(), 200);
    let cookie = answer.headers()[SET_COOKIE].to_str().unwrap();
    assert!(cookie.starts_with("__Host-session=; Path=/; Max-Age=0;"), "{cookie}");
}

#[tokio::test]
async fn pages_of_others_are_not_gone_back_to() {
    let oidc = Oidc::new(&plan()).unwrap();
    let back = async |path: &str| {
        let parts = get(path).body(()).unwrap().into_parts().0;
        with_call(&parts, async |call| oidc.pending(&call).unwrap().0.back).await
    };
    assert_eq!(back("/a/b?c=d").await, "/a/b?c=d");
    assert_eq!(back("https://else.example/a").await, "/a");
    assert_eq!(back("//else.example/a").await, "/");
    assert_eq!(back(&format!("/{}", "a".repeat(2000))).await, "/");
    for (path, local) in [
        ("/", true),
        ("/a?b=//c", true),
        ("//else.example", false),
        ("/\\else.example", false),
        ("https://else.example", false),
        ("javascript:alert(1)", false),
        ("/\t/else.example", false),
        ("/a b", false),
        ("", false),
    ] {
        assert_eq!(login::is_local(path), local, "{path:?}");
        let parts = get("/callback").body(()).unwrap().into_parts().0;
        let answer = with_call(&parts, async |call| oidc.welcome(&call, Claims::new(), path)).await;
        assert_eq!(answer.headers()[LOCATION], if local { path } else { "/" });
    }
}

#[tokio::test]
async fn sessions_are_bounded() {
    let oidc = Oidc::new(&plan()).unwrap();
    let claims = |len: usize| json!({"sub": "x".repeat(len)}).as_object().unwrap().clone();
    let parts = get("/callback").body(()).unwrap().into_parts().0;
    for (len, expected) in [(2500, 302), (3500, 500)] {
        let answer = with_call(&parts, async |call| oidc.welcome(&call, claims(len), "/")).await;
        assert_eq!(answer.status(), expected);
        let cookie = answer.headers().get(SET_COOKIE);
        assert!(cookie.is_none_or(|cookie| cookie.len() <= cookie::MAX));
    }
}

#[test]
fn what_cannot_be_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    let missing = Some(folder.path().join("none"));
    let short = folder.path().join("short");
    std::fs::write(&short, "short").unwrap();
    let changed = |change: fn(&mut plan::Oidc)| {
        let mut plan = plan();
        change(&mut plan);
        plan
    };
    for plan in [
        changed(|plan| plan.issuer = "http://id.example".into()),
        changed(|plan| plan.client_id = String::new()),
        changed(|plan| plan.callback_path = "callback".into()),
        changed(|plan| plan.callback_path = plan.logout_path.clone()),
        changed(|plan| plan.cookie = "a b".into()),
        changed(|plan| plan.claim_headers[0].1 = "a b".into()),
        changed(|plan| plan.claim_headers[0].1 = "Host".into()),
        plan::Oidc {
            client_secret_file: missing.clone(),
            ..self::plan()
        },
        plan::Oidc {
            ca_file: missing,
            ..self::plan()
        },
        plan::Oidc {
            cookie_secret_file: Some(short),
            ..self::plan()
        },
    ] {
        assert_eq!(Oidc::new(&plan).err().map(|e| e.code), Some("OIDC_INVALID"));
    }
}

#[test]
fn addresses_are_put_together() {
    assert_eq!(
        login::extended("https://id.example/a?b=c", &[("d", "e f&g")]),
        "https://id.example/a?b=c&d=e+f%26g"
    );
    assert_eq!(
        login::extended("https://id.example/a", &[("d", "e")]),
        "https://id.example/a?d=e"
    );
    assert_eq!(login::scope(&["profile".into(), "openid".into()]), "openid profile");
    assert_eq!(login::scope(&[]), "openid");
}
