use std::time::Duration;

use bytes::Bytes;
use http::{HeaderMap, Method};
use http_body_util::BodyExt;

use super::back::Back;
use super::*;
use crate::app::channel::{Received, Room};
use crate::app::{App, Applications, Start};
use crate::filter::tests::with_call;
use crate::http::{Body, Response};
use crate::plan;

type Act = Box<dyn Fn(Arc<Exchange>) + Send + Sync>;

/// An application that does the same with every request, from another thread than that of its links.
struct Does(Arc<Act>);

impl Application for Does {
    fn begin(&self, exchange: Arc<Exchange>) -> bool {
        let act = self.0.clone();
        std::thread::spawn(move || {
            let mailbox = exchange.mailbox.clone();
            act(exchange);
            mailbox.flush();
        });
        true
    }

    fn flush(&self) {}
}

/// A worker in this process.
pub fn worker(pool: &Pool, act: impl Fn(Arc<Exchange>) + Send + Sync + 'static) -> (u64, Back) {
    let (number, _) = pool.prepare().unwrap();
    let entrance = {
        let aside = pool.0.aside();
        let worker = aside.iter().find(|worker| worker.number == number).unwrap();
        lock(&worker.entrance).take().unwrap()
    };
    let back = Back::start(entrance.into(), Arc::new(Does(Arc::new(Box::new(act))))).unwrap();
    pool.admit(number);
    (number, back)
}

pub fn app(pool: &Pool, timeout_ms: Option<u64>) -> App {
    let known: Arc<dyn Application> = Arc::new(pool.clone());
    let plan = plan::Python {
        app: "main:app".into(),
        root_path: "/api".into(),
        files: None,
        limit_concurrency: None,
        ws_per_message_deflate: true,
        ws_max_message_bytes: 16 << 20,
        ws_ping_ms: Some(20_000),
        timeout_ms,
    };
    App::new(&plan, &Applications::new([("main:app".to_owned(), known)].into())).unwrap()
}

/// What engine threads do at the end of their turns.
async fn turns() {
    loop {
        link::flush();
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
}

pub async fn ask(app: &App, method: Method, body: Body) -> (StatusCode, Result<Bytes, std::io::Error>) {
    let mut parts = http::Request::builder().uri("/a?b").body(()).unwrap().into_parts().0;
    parts.method = method;
    let answered = async {
        let response = with_call(&parts, async |call| app.respond(&call, HeaderMap::new(), body).await).await;
        let (head, body) = response.into_parts();
        (head.status, body.collect().await.map(|collected| collected.to_bytes()))
    };
    tokio::select! {
        answer = answered => answer,
        () = turns() => unreachable!(),
        () = tokio::time::sleep(Duration::from_secs(60)) => panic!("there is no answer"),
    }
}

pub fn says(text: &'static str) -> impl Fn(Arc<Exchange>) + Send + Sync + 'static {
    move |exchange| {
        exchange.start(Start::Whole(Response::new(Body::from(text))));
    }
}

/// Answers with what it gets, while it does.
fn echoes(exchange: Arc<Exchange>) {
    let flushed = || exchange.mailbox.flush();
    exchange.start(Start::Stream(http::Response::new(())));
    loop {
        match exchange.body.take(&exchange.mailbox, || Box::new(|| {})) {
            Received::Item(data, _) => {
                exchange.push(data);
                while exchange.answer.room(|| Box::new(|| {})) == Room::Full {
                    flushed();
                    std::thread::sleep(Duration::from_millis(1));
                }
            }
            Received::End => break,
            Received::Gone => return,
            Received::Wait => std::thread::sleep(Duration::from_millis(1)),
        }
        flushed();
    }
    exchange.finish(None);
}

#[tokio::test]
async fn a_request_and_its_answer() {
    let pool = Pool::default();
    let (_, back) = worker(&pool, |exchange| {
        assert_eq!((exchange.head.uri.path(), &*exchange.head.root_path), ("/a", "/api"));
        assert_eq!(exchange.head.client.ip().to_string(), "192.0.2.1");
        says("hello")(exchange);
    });
    let app = app(&pool, None);
    for _ in 0..3 {
        let (status, body) = ask(&app, Method::GET, Body::Empty).await;
        assert_eq!((status, body.unwrap()), (StatusCode::OK, Bytes::from("hello")));
    }
    assert!(!back.is_quiet(), "there may be more");
}

#[tokio::test]
async fn bodies_larger_than_any_window() {
    let pool = Pool::default();
    let (_number, _back) = worker(&pool, echoes);
    let app = app(&pool, None);
    let large: Bytes = (0..3_000_000u32).map(|place| place as u8).collect::<Vec<u8>>().into();
    let (status, body) = ask(&app, Method::POST, large.clone().into()).await;
    assert_eq!(status, StatusCode::OK);
    assert!(body.unwrap() == large);
}

#[tokio::test]
async fn an_answer_that_breaks_off() {
    let pool = Pool::default();
    let (_number, _back) = worker(&pool, |exchange| {
        exchange.start(Start::Stream(http::Response::new(())));
        exchange.push(Bytes::from_static(b"a part"));
        exchange.fail();
    });
    let (_, body) = ask(&app(&pool, None), Method::GET, Body::Empty).await;
    assert!(body.is_err());
}

#[tokio::test]
async fn who_has_less_to_do_gets_more() {
    let pool = Pool::default();
    let busy = |exchange: Arc<Exchange>| {
        std::thread::sleep(Duration::from_millis(300));
        says("late")(exchange);
    };
    let (_slow, _one) = worker(&pool, busy);
    let app = app(&pool, None);
    let (first, second) = tokio::join!(ask(&app, Method::GET, Body::Empty), async {
        tokio::time::sleep(Duration::from_millis(50)).await;
        let (_quick, _two) = worker(&pool, says("soon"));
        ask(&app, Method::GET, Body::Empty).await
    });
    assert_eq!((first.1.unwrap(), second.1.unwrap()), ("late".into(), "soon".into()));
}

#[tokio::test]
async fn a_request_waits_for_a_worker() {
    let pool = Pool::default();
    let app = app(&pool, None);
    let (answer, _back) = tokio::join!(ask(&app, Method::POST, Body::Empty), async {
        tokio::time::sleep(Duration::from_millis(50)).await;
        worker(&pool, says("at last"))
    });
    assert_eq!(answer.1.unwrap(), "at last");
}

#[tokio::test]
async fn what_a_dead_worker_had() {
    for (method, status) in [
        (Method::GET, StatusCode::OK),
        (Method::POST, StatusCode::BAD_GATEWAY),
        (Method::DELETE, StatusCode::OK),
    ] {
        let pool = Pool::default();
        let (number, back) = worker(&pool, |_| std::thread::sleep(Duration::from_secs(5)));
        let app = app(&pool, None);
        let ((found, _), _alive) = tokio::join!(ask(&app, method.clone(), Body::Empty), async {
            tokio::time::sleep(Duration::from_millis(50)).await;
            drop(back);
            pool.dismiss(number, true);
            worker(&pool, says("another one"))
        });
        assert_eq!(found, status, "{method}");
        let known: Arc<dyn Application> = Arc::new(pool.clone());
        let applications = Applications::new([("main:app".to_owned(), known)].into());
        let counters: std::collections::HashMap<_, _> = applications.counters().collect();
        assert_eq!(counters["workers_alive:main:app"], 1);
        assert_eq!(counters["workers_lost:main:app"], 1);
        assert_eq!(counters["worker_retries:main:app"], u64::from(status == StatusCode::OK));
    }
}

#[tokio::test]
async fn a_request_that_kills_is_not_asked_for_ever() {
    let pool = Pool::default();
    let asked = Arc::new(AtomicUsize::new(0));
    let hire = || {
        let asked = asked.clone();
        worker(&pool, move |_| {
            asked.fetch_add(1, Ordering::Relaxed);
            std::thread::sleep(Duration::from_secs(5));
        })
    };
    let app = app(&pool, None);
    let (_, first) = hire();
    let (answer, ()) = tokio::join!(ask(&app, Method::GET, Body::Empty), async {
        tokio::time::sleep(Duration::from_millis(50)).await;
        let (_, second) = hire();
        drop(first);
        tokio::time::sleep(Duration::from_millis(50)).await;
        let _third = hire();
        drop(second);
        tokio::time::sleep(Duration::from_millis(50)).await;
    });
    assert_eq!(answer.0, StatusCode::BAD_GATEWAY);
    assert_eq!(asked.load(Ordering::Relaxed), 2);
}

#[tokio::test]
async fn who_retires_finishes_what_it_has() {
    let pool = Pool::default();
    let (number, back) = worker(&pool, |exchange| {
        std::thread::sleep(Duration::from_millis(200));
        says("finished")(exchange);
    });
    let app = app(&pool, None);
    let (answer, ()) = tokio::join!(ask(&app, Method::POST, Body::Empty), async {
        tokio::time::sleep(Duration::from_millis(50)).await;
        pool.retire(number);
        assert!(!back.is_quiet());
    });
    assert_eq!(answer.1.unwrap(), "finished");
    let until = Instant::now() + Duration::from_secs(2);
    while !back.is_quiet() {
        assert!(Instant::now() < until, "nothing more can come");
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
    back.close();
}

#[tokio::test]
async fn an_application_hears_that_the_client_has_gone_or_waits_no_longer() {
    let pool = Pool::default();
    let (tell, told) = std::sync::mpsc::channel();
    let (_number, _back) = worker(&pool, move |exchange| {
        let (cancelled, tell) = (tell.clone(), tell.clone());
        exchange.on_cancel(Box::new(move || {
            let _ = cancelled.send("cancelled");
        }));
        exchange.body.gone(|| {
            Box::new(move || {
                let _ = tell.send("gone");
            })
        });
    });
    let app = app(&pool, Some(100));
    let (status, _) = ask(&app, Method::GET, Body::Empty).await;
    assert_eq!(status, StatusCode::GATEWAY_TIMEOUT);
    let heard = tokio::task::spawn_blocking(move || [told.recv(), told.recv()]);
    let heard = tokio::select! { heard = heard => heard.unwrap(), () = turns() => unreachable!() };
    assert_eq!(heard, [Ok("cancelled"), Ok("gone")]);
}
