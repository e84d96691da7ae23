//! The table of what is stored, and how it is emptied.

use http::HeaderMap;

use super::super::tests::parts as head;
use super::fill::Content;
use super::policy::Terms;
use super::*;
use crate::filter::tests::with_call;

fn terms() -> Terms {
    Terms {
        lifetime: Duration::from_secs(60),
        initial_age: Duration::ZERO,
        always_validate: false,
        never_stale: false,
        stale_while_revalidate: Duration::ZERO,
        stale_if_error: Duration::ZERO,
    }
}

/// An answer of so many bytes to a request with these fields, which varies by `a`.
async fn answer(fields: &[(&str, &str)], bytes: usize) -> Arc<Stored> {
    let vary = HeaderMap::from_iter([(http::header::VARY, HeaderValue::from_static("a"))]);
    let none = Parts::new(&[]).unwrap();
    let selector = with_call(&head("/", fields), async |call| Selector::of(&call, &none, &vary)).await;
    Arc::new(Stored {
        status: StatusCode::OK,
        head: vary,
        terms: terms(),
        since: Instant::now(),
        selector: selector.unwrap(),
        content: Content::Memory(vec![0; bytes].into()),
    })
}

/// How long the answer to a request is.
async fn found(store: &Store, target: &str, fields: &[(&str, &str)]) -> Option<u64> {
    let none = Parts::new(&[]).unwrap();
    let found = with_call(&head("/", fields), async |call| store.find(target, &call, &none)).await;
    match found {
        Found::Stored(stored) => stored.content.len(),
        Found::Others(_) | Found::Nothing => None,
    }
}

#[tokio::test]
async fn the_newest_answer_that_is_for_a_request() {
    let store = Arc::new(Store::new(1 << 20, 1 << 14));
    let now = store.watch("t");
    assert!(store.insert(&now, answer(&[("a", "1")], 1).await));
    assert!(store.insert(&now, answer(&[("a", "2")], 2).await));
    assert_eq!(found(&store, "t", &[("a", "1")]).await, Some(1));
    assert_eq!(found(&store, "t", &[("a", "2")]).await, Some(2));
    assert_eq!(found(&store, "t", &[("a", "3")]).await, None);
    assert!(store.insert(&now, answer(&[("a", "1")], 3).await));
    assert_eq!(found(&store, "t", &[("a", "1")]).await, Some(3));
    let old = answer(&[("a", "1")], 4).await;
    assert!(
        !store.replace(&now, &old, answer(&[("a", "1")], 5).await),
        "it is not there"
    );
    assert_eq!(found(&store, "t", &[("a", "1")]).await, Some(3));
}

#[tokio::test]
async fn what_was_asked_for_before_is_not_stored_after() {
    let store = Arc::new(Store::new(1 << 20, 1 << 14));
    let (before, another) = (store.watch("t"), store.watch("another"));
    assert!(store.insert(&before, answer(&[], 1).await));
    assert_eq!((store.invalidate("t"), store.invalidate("t")), (1, 0));
    let after = store.watch("t");
    assert!(!store.insert(&before, answer(&[], 1).await));
    assert!(store.insert(&another, answer(&[], 1).await), "of which nobody spoke");
    assert_eq!(found(&store, "t", &[]).await, None);
    assert!(store.insert(&after, answer(&[], 2).await));
    assert_eq!(found(&store, "t", &[]).await, Some(2));
    store.invalidate_prefix("t");
    assert!(!store.insert(&after, answer(&[], 1).await));
    drop((before, after));
    assert!(store.insert(&store.watch("t"), answer(&[], 3).await));
}

#[tokio::test]
async fn prefixes() {
    let store = Arc::new(Store::new(1 << 20, 1 << 14));
    for target in ["https://a/b", "https://a/b/c", "https://a/c", "https://ab/b"] {
        assert!(store.insert(&store.watch(target), answer(&[], 1).await));
    }
    assert_eq!(store.invalidate_prefix("https://a/b"), 2);
    assert_eq!(found(&store, "https://a/b/c", &[]).await, None);
    assert_eq!(found(&store, "https://a/c", &[]).await, Some(1));
    assert_eq!(store.invalidate_prefix("https://a/"), 1);
}

#[tokio::test]
async fn variants_and_bytes_are_bounded() {
    let store = Arc::new(Store::new(1 << 20, 1 << 14));
    let all: Vec<String> = (0..100).map(|number| number.to_string()).collect();
    for value in &all {
        assert!(store.insert(&store.watch("t"), answer(&[("a", value)], 1).await));
    }
    let mut there = 0;
    for value in &all {
        there += usize::from(found(&store, "t", &[("a", value)]).await.is_some());
    }
    assert_eq!(there, 32, "the newest of them");
    assert!(found(&store, "t", &[("a", "99")]).await.is_some());
    for number in 0..1000 {
        store.insert(&store.watch(&number.to_string()), answer(&[], 1 << 14).await);
        assert!(store.weight() <= 1 << 20);
    }
    assert!(store.weight() > 1 << 19);
    // Large variants of one target do not push each other out altogether.
    for value in &all {
        store.insert(&store.watch("large"), answer(&[("a", value)], 1 << 14).await);
        assert!(found(&store, "large", &[("a", value)]).await.is_some());
    }
}

#[test]
fn tables_have_room_for_objects() {
    for (bytes, object) in [
        (1 << 20, 1 << 18),
        (48 << 20, 8 << 20),
        (48 << 20, 256 << 10),
        (3 << 20, 4096),
    ] {
        let table: quick_cache::sync::Cache<u8, u8> = store::sized(bytes, object, quick_cache::UnitWeighter);
        assert!(
            table.shard_capacity() >= 2 * object,
            "{bytes} {object}: {}",
            table.shard_capacity()
        );
        assert!(table.num_shards() == 1 || table.shard_capacity() <= 5 * object + (1 << 18));
    }
}
