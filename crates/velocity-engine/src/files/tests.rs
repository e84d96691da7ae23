//! A whole site on a real disk, asked as a transport asks: what comes back, and what must not.

use std::fs;
use std::io::{Read, Write};
use std::os::unix::fs::symlink;
use std::os::unix::net::UnixListener;
use std::path::PathBuf;

use std::sync::atomic::{AtomicUsize, Ordering};
use std::task::Waker;
use std::time::Instant;

use http::{HeaderName, Request, header};
use http_body_util::BodyExt;
use proptest::prelude::*;

use super::*;

/// In every file that must never be served.
const SECRET: &str = "do not let this out";
/// At the start of every file that may be.
const PUBLIC: &str = "public: ";
/// Older than any clock tick: what settles a file for the cache.
const SETTLED: Duration = Duration::from_millis(80);

/// A folder to serve, beside one that must not be.
struct Tree(tempfile::TempDir);

impl Tree {
    fn new() -> Self {
        let tree = Self(tempfile::tempdir().unwrap());
        fs::create_dir_all(tree.path("")).unwrap();
        fs::create_dir(tree.0.path().join("outside")).unwrap();
        fs::write(tree.0.path().join("outside/secret.txt"), SECRET).unwrap();
        tree
    }

    fn path(&self, name: &str) -> PathBuf {
        self.0.path().join("site").join(name)
    }

    fn write(&self, name: &str, content: impl AsRef<[u8]>) {
        fs::create_dir_all(self.path(name).parent().unwrap()).unwrap();
        fs::write(self.path(name), content).unwrap();
    }

    fn age(&self, name: &str, seconds: u64) {
        let file = fs::File::options().write(true).open(self.path(name)).unwrap();
        file.set_modified(SystemTime::now() - Duration::from_secs(seconds))
            .unwrap();
    }

    fn plan(&self) -> plan::Files {
        plan::Files {
            root: self.path(""),
            index: vec!["index.html".into(), "index.htm".into()],
            listings: false,
            cache_control: None,
            dotfiles: false,
            compress: true,
            hot_cache_bytes: 8 << 20,
            strip_prefix: String::new(),
            fallback_file: None,
        }
    }

    fn files(&self) -> Files {
        Files::new(&self.plan()).unwrap()
    }
}

fn request(method: Method, path: &str, fields: &[(HeaderName, &str)]) -> Option<Parts> {
    let mut builder = Request::builder().method(method).uri(path);
    for (name, value) in fields {
        builder = builder.header(name, *value);
    }
    Some(builder.body(()).ok()?.into_parts().0)
}

struct Answer {
    status: u16,
    head: HeaderMap,
    body: Vec<u8>,
}

impl Answer {
    fn field(&self, name: HeaderName) -> &str {
        self.head.get(name).map_or("", |value| value.to_str().unwrap())
    }
}

async fn ask(files: &Files, method: Method, path: &str, fields: &[(HeaderName, &str)]) -> Answer {
    let (head, body) = files
        .respond(&request(method, path, fields).unwrap())
        .await
        .into_parts();
    Answer {
        status: head.status.as_u16(),
        head: head.headers,
        body: body.collect().await.unwrap().to_bytes().to_vec(),
    }
}

async fn get(files: &Files, path: &str, fields: &[(HeaderName, &str)]) -> Answer {
    ask(files, Method::GET, path, fields).await
}

/// The answer if there is one without waiting for anything.
fn at_once(files: &Files, path: &str, fields: &[(HeaderName, &str)]) -> Option<Response> {
    let request = request(Method::GET, path, fields).unwrap();
    let mut answer = std::pin::pin!(files.respond(&request));
    match answer.as_mut().poll(&mut Context::from_waker(Waker::noop())) {
        Poll::Ready(response) => Some(response),
        Poll::Pending => None,
    }
}

fn decode(coding: &str, content: &[u8]) -> Vec<u8> {
    let mut decoded = Vec::new();
    match coding {
        "br" => brotli::Decompressor::new(content, 4096).read_to_end(&mut decoded),
        "zstd" => zstd::Decoder::new(content).unwrap().read_to_end(&mut decoded),
        "gzip" => flate2::read::GzDecoder::new(content).read_to_end(&mut decoded),
        _ => content.take(u64::MAX).read_to_end(&mut decoded),
    }
    .unwrap();
    decoded
}

/// Compressible, and different everywhere, so that a slice in the wrong place shows.
fn prose(len: usize) -> Vec<u8> {
    let mut text = Vec::with_capacity(len + 32);
    for line in 0.. {
        if text.len() >= len {
            break;
        }
        writeln!(text, "line {line} of the story").unwrap();
    }
    text.truncate(len);
    text
}

#[tokio::test]
async fn a_file_has_its_fields() {
    let tree = Tree::new();
    tree.write("a b.html", "<p>hello");
    let files = Files::new(&plan::Files {
        cache_control: Some("max-age=60".into()),
        ..tree.plan()
    })
    .unwrap();
    for round in ["from disk", "from memory"] {
        let answer = get(&files, "/a%20b.html?query=..%2f", &[]).await;
        assert_eq!((answer.status, &answer.body[..]), (200, &b"<p>hello"[..]), "{round}");
        assert_eq!(answer.field(header::CONTENT_TYPE), "text/html; charset=utf-8");
        assert_eq!(answer.field(header::CONTENT_LENGTH), "8");
        assert_eq!(answer.field(header::CACHE_CONTROL), "max-age=60");
        assert_eq!(answer.field(header::ACCEPT_RANGES), "bytes");
        assert!(answer.field(header::ETAG).starts_with('"'));
        assert!(httpdate::parse_http_date(answer.field(header::LAST_MODIFIED)).is_ok());
        tokio::time::sleep(SETTLED).await;
        get(&files, "/a%20b.html", &[]).await;
        let head = ask(&files, Method::HEAD, "/a%20b.html", &[]).await;
        assert_eq!(head.field(header::CONTENT_LENGTH), "8");
        assert!(head.body.is_empty());
    }
}

#[tokio::test]
async fn methods() {
    let tree = Tree::new();
    tree.write("a", "a");
    let files = tree.files();
    let options = ask(&files, Method::OPTIONS, "/a", &[]).await;
    assert_eq!((options.status, options.body.len()), (204, 0));
    assert_eq!(options.field(header::ALLOW), "GET, HEAD, OPTIONS");
    for method in [Method::POST, Method::PUT, Method::DELETE, Method::TRACE] {
        let answer = ask(&files, method, "/a", &[]).await;
        assert_eq!(
            (answer.status, answer.field(header::ALLOW)),
            (405, "GET, HEAD, OPTIONS")
        );
    }
}

#[tokio::test]
async fn a_directory_is_redirected_to_its_slash_on_this_host() {
    let tree = Tree::new();
    tree.write("evil.com/x", "x");
    let files = tree.files();
    for (path, location) in [
        ("/evil.com", "/evil.com/"),
        ("/evil.com?a=b&c", "/evil.com/?a=b&c"),
        ("//evil.com", "/evil.com/"),
        ("////evil.com", "/evil.com/"),
    ] {
        let answer = get(&files, path, &[]).await;
        assert_eq!(
            (answer.status, answer.field(header::LOCATION)),
            (308, location),
            "{path}"
        );
    }
    assert_eq!(get(&files, "/evil.com/x/", &[]).await.status, 404);
    assert_eq!(get(&files, "/evil.com/", &[]).await.status, 404, "listings are off");
}

#[tokio::test]
async fn what_is_in_memory_is_answered_at_once_and_never_stale() {
    let tree = Tree::new();
    tree.write("page.txt", "one");
    let files = tree.files();
    tokio::time::sleep(SETTLED).await;
    get(&files, "/page.txt", &[]).await;
    assert_eq!(files.0.hot.len(), 1);
    assert!(at_once(&files, "/page.txt", &[]).is_some());

    tree.write("page.txt", "two");
    assert_eq!(get(&files, "/page.txt", &[]).await.body, b"two");
    tokio::time::sleep(SETTLED).await;
    get(&files, "/page.txt", &[]).await;
    // Same size and modification time, another file.
    tree.write("new.txt", "TWO");
    let modified = fs::metadata(tree.path("page.txt")).unwrap().modified().unwrap();
    let new = fs::File::options().write(true).open(tree.path("new.txt")).unwrap();
    new.set_modified(modified).unwrap();
    fs::rename(tree.path("new.txt"), tree.path("page.txt")).unwrap();
    assert_eq!(get(&files, "/page.txt", &[]).await.body, b"TWO");
    tokio::time::sleep(SETTLED).await;
    get(&files, "/page.txt", &[]).await;

    fs::remove_file(tree.path("page.txt")).unwrap();
    symlink("../outside/secret.txt", tree.path("page.txt")).unwrap();
    assert_eq!(get(&files, "/page.txt", &[]).await.status, 404);
}

#[tokio::test]
async fn time_that_coding_takes_settles_nothing() {
    let tree = Tree::new();
    let files = tree.files();
    let site = &files.0;
    for attempt in 0.. {
        let name = format!("{attempt}.txt");
        let began = Instant::now();
        tree.write(&name, prose(1000));
        let turns = site
            .coding
            .clone()
            .acquire_many_owned(site.coding.available_permits() as u32);
        let turns = turns.await.unwrap();
        let asked = request(Method::GET, &format!("/{name}"), &[(header::ACCEPT_ENCODING, "br")]).unwrap();
        let mut answer = std::pin::pin!(files.respond(&asked));
        // Up to where it waits for its turn.
        assert!(
            answer
                .as_mut()
                .poll(&mut Context::from_waker(Waker::noop()))
                .is_pending()
        );
        let young = began.elapsed() < Duration::from_millis(40);
        tokio::time::sleep(SETTLED).await;
        drop(turns);
        assert_eq!(answer.await.status(), 200);
        if young {
            assert_eq!(site.hot.len(), 0, "young when it was looked up");
            return;
        }
        // This machine is busy with something else: the file was old already. Again.
        assert!(attempt < 50, "never fast enough to tell");
        site.hot.clear();
    }
}

#[tokio::test]
async fn who_waited_for_a_file_to_be_coded_gets_what_the_first_made() {
    let tree = Tree::new();
    tree.write("story.txt", prose(1000));
    tokio::time::sleep(SETTLED).await;
    let files = tree.files();
    let site = &files.0;
    let turns = site
        .coding
        .acquire_many(site.coding.available_permits() as u32)
        .await
        .unwrap();
    let fields = [(header::ACCEPT_ENCODING, "br")];
    let release = async {
        tokio::time::sleep(SETTLED).await;
        // One at a time from here on, so that whoever is second comes after the first.
        turns.forget();
        site.coding.add_permits(1);
    };
    let respond = || async {
        let asked = request(Method::GET, "/story.txt", &fields).unwrap();
        match files.respond(&asked).await.into_body() {
            Body::Memory(content) => content,
            _ => panic!("not from memory"),
        }
    };
    let (first, second, ()) = tokio::join!(respond(), respond(), release);
    assert_eq!(first.as_ptr(), second.as_ptr(), "coded twice");
}

#[tokio::test]
async fn more_coded_files_than_there_is_memory_for_are_sent_as_they_are() {
    let tree = Tree::new();
    tree.write("story.txt", prose(1_200_000));
    let files = tree.files();
    let asked = request(Method::GET, "/story.txt", &[(header::ACCEPT_ENCODING, "gzip")]).unwrap();
    let mut held = Vec::new();
    for _ in 0..MAX_STREAMED {
        let response = files.respond(&asked).await;
        assert!(response.headers().contains_key(CONTENT_ENCODING));
        held.push(response);
    }
    let plain = files.respond(&asked).await;
    assert!(!plain.headers().contains_key(CONTENT_ENCODING));
    assert_eq!(plain.headers()[VARY], "Accept-Encoding");
    assert_ne!(plain.headers()[ETAG], held[0].headers()[ETAG]);
    held.pop();
    assert!(files.respond(&asked).await.headers().contains_key(CONTENT_ENCODING));
}

#[test]
fn failures_have_their_statuses() {
    for (error, status) in [
        (Errno::NOENT, 404),
        (Errno::NOTDIR, 404),
        (Errno::LOOP, 404),
        (Errno::XDEV, 404),
        (Errno::NAMETOOLONG, 404),
        (Errno::ACCESS, 403),
        (Errno::PERM, 403),
        (Errno::MFILE, 503),
        (Errno::IO, 500),
    ] {
        assert_eq!(failure(error).status().as_u16(), status, "{error}");
    }
}

#[tokio::test]
async fn a_link_that_is_swapped_is_noticed() {
    let tree = Tree::new();
    tree.write("a.txt", "aaaa");
    tree.write("b.txt", "bbbb");
    symlink("a.txt", tree.path("link.txt")).unwrap();
    tokio::time::sleep(SETTLED).await;
    let files = tree.files();
    assert_eq!(get(&files, "/link.txt", &[]).await.body, b"aaaa");
    assert!(at_once(&files, "/link.txt", &[]).is_some());
    symlink("b.txt", tree.path("next")).unwrap();
    fs::rename(tree.path("next"), tree.path("link.txt")).unwrap();
    assert_eq!(get(&files, "/link.txt", &[]).await.body, b"bbbb");
}

#[tokio::test]
async fn an_index_that_comes_before_the_one_in_memory_wins() {
    let tree = Tree::new();
    tree.write("index.htm", "second");
    tokio::time::sleep(SETTLED).await;
    let files = tree.files();
    assert_eq!(get(&files, "/", &[]).await.body, b"second");
    assert!(at_once(&files, "/", &[]).is_some());
    tree.write("index.html", "first");
    assert_eq!(get(&files, "/", &[]).await.body, b"first");
}

#[tokio::test]
async fn a_cache_of_nothing_serves_all_the_same() {
    let tree = Tree::new();
    tree.write("a.txt", "a");
    tokio::time::sleep(SETTLED).await;
    let files = Files::new(&plan::Files {
        hot_cache_bytes: 0,
        ..tree.plan()
    })
    .unwrap();
    for _ in 0..3 {
        assert_eq!(get(&files, "/a.txt", &[]).await.body, b"a");
    }
    assert_eq!(files.0.hot.len(), 0);
}

#[tokio::test]
async fn memory_stays_within_its_bound() {
    let tree = Tree::new();
    for number in 0..64 {
        tree.write(&format!("{number}.bin"), vec![0; 60_000]);
    }
    tokio::time::sleep(SETTLED).await;
    let files = Files::new(&plan::Files {
        hot_cache_bytes: 1 << 20,
        ..tree.plan()
    })
    .unwrap();
    for number in 0..64 {
        get(&files, &format!("/{number}.bin"), &[]).await;
    }
    assert!((1..=17).contains(&files.0.hot.len()), "{}", files.0.hot.len());
}

#[tokio::test]
async fn ranges_of_small_and_large_files() {
    let tree = Tree::new();
    for len in [1000, 3_000_000] {
        let content = prose(len);
        tree.write("data.txt", &content);
        let files = tree.files();
        // A range is of the file as it is, whatever coding the client would take.
        let fields = |range| [(RANGE, range), (header::ACCEPT_ENCODING, "gzip, br")];
        for (asked, expected) in [
            ("bytes=0-0", 0..1),
            ("bytes=100-199", 100..200),
            ("bytes=-10", len - 10..len),
            ("bytes=990-", 990..len),
            ("bytes=5-9999999999", 5..len),
        ] {
            let answer = get(&files, "/data.txt", &fields(asked)).await;
            assert_eq!(answer.status, 206, "{asked}");
            assert_eq!(
                answer.field(CONTENT_RANGE),
                format!("bytes {}-{}/{len}", expected.start, expected.end - 1)
            );
            assert_eq!(answer.field(CONTENT_LENGTH), expected.len().to_string());
            assert_eq!(answer.field(CONTENT_ENCODING), "");
            assert!(answer.body == content[expected], "{asked}");
        }
        let beyond = get(&files, "/data.txt", &fields("bytes=9999999-")).await;
        assert_eq!(
            (beyond.status, beyond.field(CONTENT_RANGE)),
            (416, &*format!("bytes */{len}"))
        );
        let ignored = get(&files, "/data.txt", &fields("bytes=0-,0-,0-")).await;
        assert!(ignored.status == 200 && ignored.body == content);
        let head = ask(&files, Method::HEAD, "/data.txt", &[(RANGE, "bytes=0-0")]).await;
        assert_eq!(head.status, 200, "RFC 9110 section 14.2: ranges are of GET");

        let many = get(&files, "/data.txt", &fields("bytes=0-9, 500-599, -5")).await;
        assert_eq!(many.status, 206);
        assert_eq!(many.field(CONTENT_LENGTH), many.body.len().to_string());
        let boundary = many.field(CONTENT_TYPE).split_once("boundary=").unwrap().1;
        let body = String::from_utf8(many.body.clone()).unwrap();
        let parts: Vec<&str> = body.split(&format!("--{boundary}")).collect();
        let slice = |range: Range<usize>| {
            let text = std::str::from_utf8(&content[range.clone()]).unwrap();
            format!(
                "\r\nContent-Type: text/plain; charset=utf-8\r\nContent-Range: bytes {}-{}/{len}\r\n\r\n{text}\r\n",
                range.start,
                range.end - 1
            )
        };
        assert_eq!(parts[1..4], [slice(0..10), slice(500..600), slice(len - 5..len)]);
        assert_eq!(parts[4], "--\r\n");
    }
}

#[tokio::test]
async fn preconditions_are_evaluated_for_ranges_too() {
    let tree = Tree::new();
    tree.write("a.txt", "0123456789");
    tree.age("a.txt", 100);
    let files = tree.files();
    let full = get(&files, "/a.txt", &[]).await;
    let (etag, modified) = (full.field(ETAG), full.field(LAST_MODIFIED));
    let range = (RANGE, "bytes=2-3");
    for (fields, status) in [
        (vec![range.clone()], 206),
        (vec![range.clone(), (header::IF_RANGE, etag)], 206),
        (vec![range.clone(), (header::IF_RANGE, modified)], 206),
        (vec![range.clone(), (header::IF_RANGE, "\"other\"")], 200),
        (vec![range.clone(), (header::IF_NONE_MATCH, etag)], 304),
        (vec![range.clone(), (header::IF_MATCH, "\"other\"")], 412),
        // What fails is found before the range is looked at (RFC 9110 section 13.2.1).
        (vec![(RANGE, "bytes=99-"), (header::IF_NONE_MATCH, etag)], 304),
        (vec![(RANGE, "bytes=99-"), (header::IF_RANGE, "\"other\"")], 200),
    ] {
        let answer = get(&files, "/a.txt", &fields).await;
        assert_eq!(answer.status, status, "{fields:?}");
        if status == 304 {
            assert_eq!(answer.field(ETAG), etag);
            assert!(answer.body.is_empty() && !answer.head.contains_key(CONTENT_LENGTH));
        }
    }
}

#[tokio::test]
async fn coded_answers_decode_to_the_file() {
    let tree = Tree::new();
    for len in [300, 100_000, 2_500_000] {
        let content = prose(len);
        tree.write("story.txt", &content);
        let files = tree.files();
        let plain = get(&files, "/story.txt", &[]).await;
        assert_eq!(plain.field(VARY), "Accept-Encoding");
        for coding in ["br", "zstd", "gzip"] {
            let answer = get(&files, "/story.txt", &[(header::ACCEPT_ENCODING, coding)]).await;
            assert_eq!((answer.status, answer.field(CONTENT_ENCODING)), (200, coding));
            assert_eq!(answer.field(VARY), "Accept-Encoding");
            assert!(answer.body.len() < len / 2, "{coding} {len}");
            assert!(decode(coding, &answer.body) == content, "{coding} {len}");
            assert_ne!(
                answer.field(ETAG),
                plain.field(ETAG),
                "a strong tag names one sequence of bytes"
            );
            let known = [
                (header::ACCEPT_ENCODING, coding),
                (header::IF_NONE_MATCH, answer.field(ETAG)),
            ];
            assert_eq!(get(&files, "/story.txt", &known).await.status, 304);
        }
    }
    tree.write("tiny.txt", "tiny");
    let tiny = get(&tree.files(), "/tiny.txt", &[(header::ACCEPT_ENCODING, "br")]).await;
    assert_eq!((tiny.field(CONTENT_ENCODING), &tiny.body[..]), ("", &b"tiny"[..]));
}

#[tokio::test]
async fn siblings_are_chosen_while_they_are_not_older() {
    let tree = Tree::new();
    tree.write("app.js", prose(1000));
    tree.write("app.js.gz", "as if gzip");
    tree.write("logo.png", "png");
    tree.write("logo.png.br", "as if brotli");
    tree.write("photo.png", "png");
    tokio::time::sleep(SETTLED).await;
    let files = tree.files();
    let accept = [(header::ACCEPT_ENCODING, "br, gzip")];
    let answer = get(&files, "/app.js", &accept).await;
    assert_eq!(
        answer.field(CONTENT_ENCODING),
        "gzip",
        "what is there already, before what is better"
    );
    assert_eq!(answer.body, b"as if gzip");
    assert_eq!(answer.field(CONTENT_TYPE), "text/javascript; charset=utf-8");

    // A cache on the way must know that there is more than one answer, whichever it sees first.
    assert_eq!(get(&files, "/logo.png", &accept).await.body, b"as if brotli");
    assert_eq!(get(&files, "/logo.png", &accept).await.field(VARY), "Accept-Encoding");
    assert_eq!(get(&files, "/logo.png", &[]).await.field(VARY), "Accept-Encoding");
    assert_eq!(
        get(&files, "/photo.png", &accept).await.field(VARY),
        "",
        "there is only one"
    );

    tree.age("app.js.gz", 100);
    let answer = get(&files, "/app.js", &accept).await;
    assert_eq!(answer.field(CONTENT_ENCODING), "br");
    fs::remove_file(tree.path("logo.png.br")).unwrap();
    assert_eq!(get(&files, "/logo.png", &accept).await.body, b"png");
    symlink("../outside/secret.txt", tree.path("photo.png.br")).unwrap();
    assert_eq!(get(&files, "/photo.png", &accept).await.body, b"png");
}

#[test]
fn slow_readers_of_coded_files_hold_no_threads() {
    let tree = Tree::new();
    // Hard to shrink and declared to be text: many chunks on both sides of the encoder.
    let mut seed = 7_u64;
    let noise: Vec<u8> = std::iter::repeat_with(|| {
        seed = seed.wrapping_mul(6364136223846793005).wrapping_add(1);
        (seed >> 56) as u8
    })
    .take(2 << 20)
    .collect();
    tree.write("noise.txt", &noise);
    let files = tree.files();
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .max_blocking_threads(2)
        .build()
        .unwrap();
    let asked = request(Method::GET, "/noise.txt", &[(header::ACCEPT_ENCODING, "gzip")]).unwrap();
    runtime.block_on(async {
        let mut stalled = Vec::new();
        for _ in 0..4 {
            let mut body = files.respond(&asked).await.into_body();
            let first = tokio::time::timeout(Duration::from_secs(20), body.frame()).await;
            assert!(first.expect("the pool is used up").is_some());
            stalled.push(body);
        }
        for body in stalled {
            drop(body); // gone in the middle: nothing to wait for
        }
        let whole = files.respond(&asked).await.into_body().collect().await.unwrap();
        assert!(decode("gzip", &whole.to_bytes()) == noise);
    });
}

#[tokio::test]
async fn steps_that_make_nothing_yet_are_no_end() {
    let tree = Tree::new();
    tree.write("zeros.txt", vec![b'0'; 5_000_000]);
    let files = tree.files();
    for coding in ["br", "zstd", "gzip"] {
        let asked = request(Method::GET, "/zeros.txt", &[(header::ACCEPT_ENCODING, coding)]).unwrap();
        let mut body = files.respond(&asked).await.into_body();
        let mut content = Vec::new();
        while let Some(frame) = body.frame().await {
            let chunk = frame.unwrap().into_data().unwrap();
            assert!(!chunk.is_empty(), "a frame of nothing is an end to some");
            content.extend_from_slice(&chunk);
        }
        assert!(decode(coding, &content) == vec![b'0'; 5_000_000], "{coding}");
    }
    assert_eq!(files.0.streaming.available_permits(), MAX_STREAMED);
}

#[tokio::test]
async fn a_coded_file_that_shrinks_breaks_the_answer() {
    let tree = Tree::new();
    tree.write("story.txt", prose(8_000_000));
    let files = tree.files();
    let asked = request(Method::GET, "/story.txt", &[(header::ACCEPT_ENCODING, "gzip")]).unwrap();
    let mut body = files.respond(&asked).await.into_body();
    body.frame().await.unwrap().unwrap();
    let file = fs::File::options().write(true).open(tree.path("story.txt")).unwrap();
    file.set_len(4_000_000).unwrap();
    assert!(body.collect().await.is_err(), "a cut that looks like the end");
}

#[tokio::test]
async fn a_name_from_the_future_has_usable_validators() {
    let tree = Tree::new();
    tree.write("a.txt", "a");
    let file = fs::File::options().write(true).open(tree.path("a.txt")).unwrap();
    file.set_modified(SystemTime::now() + Duration::from_secs(3600))
        .unwrap();
    let files = tree.files();
    let first = get(&files, "/a.txt", &[]).await;
    let modified = first.field(LAST_MODIFIED);
    assert!(httpdate::parse_http_date(modified).unwrap() <= SystemTime::now());
}

#[tokio::test]
async fn listings() {
    let tree = Tree::new();
    for name in [
        "b.txt",
        "a?b#c%d.txt",
        "javascript:x",
        ".env",
        ".velocity/key.pem",
        "sub/x",
    ] {
        tree.write(name, "x");
    }
    symlink("../outside/secret.txt", tree.path("out.txt")).unwrap();
    symlink(".velocity/key.pem", tree.path("own.pem")).unwrap();
    symlink("sub", tree.path("into")).unwrap();
    let files = Files::new(&plan::Files {
        listings: true,
        ..tree.plan()
    })
    .unwrap();
    let page = get(&files, "/", &[]).await;
    assert_eq!(page.field(CONTENT_TYPE), "text/html; charset=utf-8");
    assert!(page.field(CONTENT_SECURITY_POLICY).starts_with("default-src 'none'"));
    let body = String::from_utf8(page.body).unwrap().replace("&#x2f;", "/");
    for shown in ["b.txt", "a%3Fb%23c%25d.txt", "sub/", "into/"] {
        assert!(body.contains(shown), "{shown}");
    }
    for hidden in [".env", ".velocity", "key.pem", "out.txt", "own.pem"] {
        assert!(!body.contains(hidden), "{hidden}");
    }
    let json = get(&files, "/", &[(ACCEPT, "application/json")]).await;
    let json: serde_json::Value = serde_json::from_slice(&json.body).unwrap();
    assert_eq!(json["entries"].as_array().unwrap().len(), 5);
    assert_eq!(json["entries"][0]["href"], "./into/");
    assert_eq!(json["entries"][0]["type"], "directory");
    assert!(ask(&files, Method::HEAD, "/", &[]).await.body.is_empty());
}

#[test]
fn a_root_or_an_index_that_cannot_be_is_refused() {
    let tree = Tree::new();
    let missing = plan::Files {
        root: tree.path("missing"),
        ..tree.plan()
    };
    let error = Files::new(&missing).err().unwrap();
    assert_eq!(
        (error.code, error.fault),
        ("ROOT_UNREADABLE", crate::error::Fault::Start)
    );
    assert!(!error.hint.is_empty());
    for name in ["../outside/secret.txt", "..", "", "a/b", ".velocity", "nul\0"] {
        let plan = plan::Files {
            index: vec![name.into()],
            ..tree.plan()
        };
        assert_eq!(Files::new(&plan).err().unwrap().code, "INDEX_INVALID", "{name:?}");
    }
}

/// Everything that tempts, around two files that may be served.
fn hostile_tree() -> (Tree, UnixListener) {
    let tree = Tree::new();
    for name in ["index.html", "hello.txt", "sub/deep/file.txt", "%2e%2e", "..."] {
        tree.write(name, format!("{PUBLIC}{name}"));
    }
    for name in [".velocity/key.pem", "sub/.velocity/key.pem", ".Velocity/key.pem"] {
        tree.write(name, SECRET);
    }
    tree.write(".env", format!("{PUBLIC}dotfile"));
    let outside = tree.0.path().join("outside");
    for (target, link) in [
        ("../outside", "out"),
        ("../../outside/secret.txt", "sub/secret.txt"),
        ("../", "up"),
        ("/", "slash"),
        ("/proc/self/root", "proc"),
        ("loop", "loop"),
        ("hello.txt", "fine"),
        ("sub/deep", "deep"),
        (".velocity", "own"),
        (".velocity/key.pem", "key"),
        ("own/key.pem", "key2"),
        (".env", "env"),
        ("sub/../../outside/secret.txt", "round"),
    ] {
        symlink(target, tree.path(link)).unwrap();
    }
    symlink(outside.join("secret.txt"), tree.path("absolute")).unwrap();
    for fifo in ["pipe", "sub/pipe.txt"] {
        rustix::fs::mknodat(
            rustix::fs::CWD,
            tree.path(fifo),
            rustix::fs::FileType::Fifo,
            rustix::fs::Mode::from(0o600),
            0,
        )
        .unwrap();
    }
    let socket = UnixListener::bind(tree.path("socket")).unwrap();
    (tree, socket)
}

const PIECES: &[&str] = &[
    "/",
    "/",
    "/",
    "//",
    "/./",
    "%2f",
    "%2F",
    "\\",
    "%5c",
    "%5C",
    "..",
    "..",
    "%2e%2e",
    ".%2E",
    "%252e%252e",
    "...",
    ".",
    "%00",
    "%20",
    ";",
    "?",
    "*",
    "~",
    "%",
    "%zz",
    "%c0%ae",
    "%ff",
    "out",
    "outside",
    "secret.txt",
    "site",
    "sub",
    "deep",
    "file.txt",
    "hello.txt",
    "index.html",
    "up",
    "slash",
    "proc",
    "self",
    "root",
    "loop",
    "fine",
    "own",
    "key",
    "key2",
    "key.pem",
    "round",
    "absolute",
    "env",
    ".env",
    ".velocity",
    "%2evelocity",
    ".VELOCITY",
    ".Velocity",
    "pipe",
    "pipe.txt",
    "socket",
    "etc",
    "passwd",
    "tmp",
];

/// Ask ten thousand hostile paths. Everything served must begin as only public files do.
fn assault(root: impl Fn(Files) -> Files, dotfiles: bool) {
    let (tree, _socket) = hostile_tree();
    let files = root(
        Files::new(&plan::Files {
            dotfiles,
            ..tree.plan()
        })
        .unwrap(),
    );
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .unwrap();
    let (served, asked) = (AtomicUsize::new(0), AtomicUsize::new(0));
    let config = ProptestConfig {
        cases: 10_000,
        failure_persistence: None,
        ..ProptestConfig::default()
    };
    let path = prop::collection::vec(prop::sample::select(PIECES), 1..10).prop_map(|pieces| pieces.concat());
    proptest!(config, |(path in path, coded in any::<bool>())| {
        let fields = [(header::ACCEPT_ENCODING, if coded { "br, gzip" } else { "identity" })];
        let Some(request) = request(Method::GET, &format!("/{path}"), &fields) else {
            return Ok(()); // no transport hands this on
        };
        asked.fetch_add(1, Ordering::Relaxed);
        let response = async { tokio::time::timeout(Duration::from_secs(5), files.respond(&request)).await };
        let response = runtime.block_on(response).expect("something blocks");
        let status = response.status();
        let body = runtime.block_on(response.into_body().collect()).unwrap().to_bytes();
        let body = String::from_utf8(body.to_vec()).unwrap();
        prop_assert!(!body.contains(SECRET), "{path}");
        match status.as_u16() {
            200 => {
                prop_assert!(body.starts_with(PUBLIC), "{path}: {body}");
                prop_assert!(dotfiles || !body.contains("dotfile"), "{path}");
                served.fetch_add(1, Ordering::Relaxed);
            }
            308 | 400 | 404 => {}
            other => prop_assert!(false, "{path}: {other}"),
        }
    });
    let (served, asked) = (served.into_inner(), asked.into_inner());
    assert!(
        asked > 8000 && served > 50,
        "nothing was tried: {asked} asked, {served} served"
    );
}

#[test]
fn nothing_outside_the_root_is_served() {
    assault(|files| files, false);
}

/// The same as on a kernel without openat2.
fn old_kernel(mut files: Files) -> Files {
    Arc::get_mut(&mut files.0).unwrap().root.forget_openat2();
    files
}

#[test]
fn nothing_outside_the_root_is_served_without_openat2() {
    assault(old_kernel, false);
    assault(old_kernel, true);
}

#[test]
fn nothing_outside_the_root_is_served_with_dotfiles() {
    assault(|files| files, true);
}

/// Each line of defence by itself: nothing that [`SitePath`] lets through looks like this.
#[test]
fn the_root_cannot_be_left_even_by_its_own_callers() {
    let (tree, _socket) = hostile_tree();
    for prepare in [|files| files, old_kernel] {
        let files = prepare(tree.files());
        let root = &files.0.root;
        for name in [
            "..",
            "../outside",
            "../outside/secret.txt",
            "sub/../../outside/secret.txt",
            "/etc/passwd",
        ] {
            assert!(root.find(name.as_bytes()).is_err(), "{name}");
        }
        assert!(root.find(b"sub/deep/file.txt").is_ok());
    }
}

#[tokio::test]
async fn every_way_out_by_name() {
    let (tree, _socket) = hostile_tree();
    for dotfiles in [false, true] {
        let files = Files::new(&plan::Files {
            dotfiles,
            ..tree.plan()
        })
        .unwrap();
        for path in [
            "/out/secret.txt",
            "/sub/secret.txt",
            "/up/outside/secret.txt",
            "/slash/etc/passwd",
            "/proc/etc/passwd",
            "/loop",
            "/own/key.pem",
            "/key",
            "/key2",
            "/round",
            "/absolute",
            "/pipe",
            "/sub/pipe.txt",
            "/socket",
            "/.velocity/key.pem",
            "/sub/.velocity/key.pem",
            "/.Velocity/key.pem",
            "/hello.txt/",
            "/hello.txt/x",
        ] {
            assert_eq!(get(&files, path, &[]).await.status, 404, "{path}");
        }
        for path in ["/fine", "/deep/file.txt", "/%252e%252e"] {
            assert_eq!(get(&files, path, &[]).await.status, 200, "{path}");
        }
        for path in ["/env", "/.env", "/..."] {
            assert_eq!(
                get(&files, path, &[]).await.status,
                if dotfiles { 200 } else { 404 },
                "{path}"
            );
        }
    }
}
