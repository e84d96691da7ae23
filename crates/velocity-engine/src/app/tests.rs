use std::sync::Mutex;

use bytes::Bytes;
use http::request::Parts;
use http_body_util::BodyExt;

use super::channel::Received;
use super::*;
use crate::filter::tests::with_call;

type Act = Box<dyn Fn(Arc<Exchange>) + Send + Sync>;

/// An application that does the same with every request, from another thread.
struct Does(Act);

impl Application for Does {
    fn begin(&self, exchange: Arc<Exchange>) -> bool {
        let mailbox = exchange.mailbox.clone();
        std::thread::scope(|scope| {
            scope.spawn(|| (self.0)(exchange));
        });
        mailbox.flush();
        true
    }

    fn flush(&self) {}
}

fn app(limit: Option<usize>, timeout_ms: Option<u64>, act: impl Fn(Arc<Exchange>) + Send + Sync + 'static) -> App {
    let known: Arc<dyn Application> = Arc::new(Does(Box::new(act)));
    let plan = plan::Python {
        app: "main:app".into(),
        root_path: "/api".into(),
        files: None,
        limit_concurrency: limit,
        ws_per_message_deflate: true,
        ws_max_message_bytes: 16 << 20,
        ws_ping_ms: Some(20_000),
        timeout_ms,
    };
    App::new(&plan, &Applications::new([("main:app".to_owned(), known)].into())).unwrap()
}

fn parts() -> Parts {
    http::Request::builder().uri("/a?b").body(()).unwrap().into_parts().0
}

async fn respond(app: &App, body: Body) -> Response {
    let parts = parts();
    with_call(&parts, async |call| {
        app.respond(&call, parts.headers.clone(), body).await
    })
    .await
}

fn not_notified() -> channel::Notify {
    Box::new(|| panic!("there was something"))
}

#[tokio::test]
async fn a_whole_answer() {
    let app = app(None, None, |exchange| {
        assert_eq!((exchange.head.uri.path(), &*exchange.head.root_path), ("/a", "/api"));
        let mut response = Response::new(Body::from("hello"));
        response
            .headers_mut()
            .insert(TRANSFER_ENCODING, "chunked".parse().unwrap());
        assert!(exchange.start(Start::Whole(response)));
        assert!(!exchange.start(Exchange::failure()), "one is enough");
    });
    let response = respond(&app, Body::Empty).await;
    assert_eq!(response.status(), StatusCode::OK);
    assert!(
        !response.headers().contains_key(TRANSFER_ENCODING),
        "that is the connection's"
    );
    assert_eq!(response.into_body().collect().await.unwrap().to_bytes(), "hello");
    assert_eq!(app.in_flight.load(Ordering::Relaxed), 0);
}

#[tokio::test]
async fn a_streamed_answer_ends_or_breaks() {
    for broken in [false, true] {
        let app = app(None, None, move |exchange| {
            exchange.start(Start::Stream(http::Response::new(())));
            exchange.push(Bytes::from_static(b"a part"));
            match broken {
                true => exchange.fail(),
                false => exchange.finish(None),
            }
        });
        let collected = respond(&app, Body::Empty).await.into_body().collect().await;
        assert_eq!(collected.is_err(), broken);
        assert_eq!(app.in_flight.load(Ordering::Relaxed), 0);
    }
}

#[tokio::test]
async fn the_body_comes_and_then_the_request_is_over() {
    let exchanges: Arc<Mutex<Vec<Arc<Exchange>>>> = Arc::default();
    let kept = exchanges.clone();
    let app = app(None, None, move |exchange| {
        kept.lock().unwrap().push(exchange.clone());
        exchange.start(Start::Stream(http::Response::new(())));
    });
    let mut response = respond(&app, Body::from("what was sent")).await;
    // It is pumped while the answer is asked for.
    let none = tokio::time::timeout(Duration::from_millis(10), response.body_mut().frame()).await;
    assert!(none.is_err());
    let exchange = exchanges.lock().unwrap()[0].clone();
    let received = exchange.body.take(&exchange.mailbox, not_notified);
    assert_eq!(received, Received::Item(Bytes::from_static(b"what was sent"), true));
    assert!(!exchange.is_closed());
    drop(response);
    assert!(exchange.is_closed());
    assert_eq!(exchange.body.take(&exchange.mailbox, not_notified), Received::Gone);
}

#[tokio::test]
async fn more_than_the_limit_is_refused() {
    let app = app(Some(1), None, |exchange| {
        exchange.start(Start::Stream(http::Response::new(())));
    });
    let held = respond(&app, Body::Empty).await;
    assert_eq!(
        respond(&app, Body::Empty).await.status(),
        StatusCode::SERVICE_UNAVAILABLE
    );
    drop(held);
    assert_eq!(respond(&app, Body::Empty).await.status(), StatusCode::OK);
}

#[tokio::test(start_paused = true)]
async fn an_answer_that_takes_too_long() {
    let cancelled = Arc::new(AtomicUsize::new(0));
    let counted = cancelled.clone();
    let app = app(None, Some(1000), move |exchange| {
        assert!(exchange.head.expires);
        let counted = counted.clone();
        exchange.on_cancel(Box::new(move || {
            counted.fetch_add(1, Ordering::Relaxed);
        }));
    });
    let response = respond(&app, Body::Empty).await;
    assert_eq!(response.status(), StatusCode::GATEWAY_TIMEOUT);
    assert_eq!(cancelled.load(Ordering::Relaxed), 1);
    assert_eq!(app.in_flight.load(Ordering::Relaxed), 0);
}

#[test]
fn one_that_is_not_running() {
    let plan = plan::Python {
        app: "main:app".into(),
        root_path: String::new(),
        files: None,
        limit_concurrency: None,
        ws_per_message_deflate: true,
        ws_max_message_bytes: 16 << 20,
        ws_ping_ms: Some(20_000),
        timeout_ms: None,
    };
    let error = App::new(&plan, &Applications::new(HashMap::new())).err().unwrap();
    assert_eq!(error.code, "APPLICATION_UNKNOWN");
    assert!(
        App::new(&plan, &Applications::any()).is_ok(),
        "a Plan can be judged without"
    );
}
