use http::header::COOKIE;
use proptest::prelude::*;

use super::*;
use crate::plan::RateKey;

fn limit(limit: u32, window_ms: u64) -> RateLimit {
    RateLimit::new(&plan::RateLimit {
        limit,
        window_ms,
        key: RateKey {
            of: RateKeyKind::Client,
            name: None,
        },
    })
    .unwrap()
}

fn at(limit: &RateLimit, key: u128, ms: u64) -> Standing {
    limit.admit(key, Duration::from_millis(ms))
}

#[test]
fn a_window_slides() {
    let limit = limit(2, 1000);
    let standing = |allowed, remaining, reset| Standing {
        allowed,
        remaining,
        reset,
    };
    assert_eq!(at(&limit, 1, 0), standing(true, 1, 1000));
    assert_eq!(at(&limit, 1, 900), standing(true, 0, 100));
    assert_eq!(at(&limit, 1, 999), standing(false, 0, 1));
    assert_eq!(
        at(&limit, 1, 1000),
        standing(true, 0, 900),
        "the first has left the window"
    );
    assert_eq!(
        at(&limit, 1, 1100),
        standing(false, 0, 800),
        "a new window has not begun"
    );
    assert_eq!(at(&limit, 2, 1100), standing(true, 1, 1000), "others have their own");
}

proptest! {
    /// Against a list of times.
    #[test]
    fn as_a_list_of_times_would_have_it(
        max in 0..6u32,
        window in 1..50u64,
        steps in prop::collection::vec((0..3u128, 0..20u64), 0..200),
    ) {
        let limit = limit(max, window);
        let mut seen: Vec<Vec<u64>> = vec![Vec::new(); 3];
        let mut now = 0;
        for (key, step) in steps {
            now += step;
            let times = &mut seen[key as usize];
            times.retain(|time| time + window > now);
            let expected = times.len() < max as usize;
            if expected {
                times.push(now);
            }
            let standing = at(&limit, key, now);
            prop_assert_eq!(standing.allowed, expected);
            prop_assert_eq!(standing.remaining as usize, max as usize - times.len());
        }
    }

}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(16))]

    /// Where times are rounded, nothing too much is let in, and hardly anything too little.
    #[test]
    fn large_limits_hold(step in 1..40u64, window in 100_000..1_000_000u64) {
        let max = 5000;
        let limit = limit(max, window);
        let mut times = VecDeque::new();
        for n in 0..20_000 {
            let now = n * step;
            if at(&limit, 1, now).allowed {
                times.push_back(now);
            }
            while times.front().is_some_and(|time| time + window <= now) {
                times.pop_front();
            }
            prop_assert!(times.len() <= max as usize);
            let full = now >= window && window / step > u64::from(max);
            prop_assert!(!full || times.len() >= max as usize * 99 / 100, "{} at {now}", times.len());
        }
    }
}

#[test]
fn time_that_goes_back_does_no_harm() {
    let limit = limit(2, 1000);
    assert!(at(&limit, 1, 5000).allowed);
    assert!(at(&limit, 1, 4990).allowed);
    assert!(!at(&limit, 1, 5500).allowed);
    assert!(at(&limit, 1, 6000).allowed);
}

#[test]
fn a_flood_is_forgotten_and_who_goes_on_is_not() {
    let limit = limit(3, 60_000);
    let attacker = 42;
    for _ in 0..3 {
        assert!(at(&limit, attacker, 0).allowed);
    }
    for n in 0..1_000_000u128 {
        at(&limit, 1 << 64 | n, 1 + n as u64 / 1000);
        if n % 10_000 == 0 {
            assert!(!at(&limit, attacker, 1 + n as u64 / 1000).allowed);
        }
    }
    let keys: usize = limit.shards.iter().map(|shard| shard.lock().unwrap().keys.len()).sum();
    let stamps: usize = limit.shards.iter().map(|shard| shard.lock().unwrap().stamps).sum();
    assert!(keys <= MAX_KEYS, "{keys}");
    assert!(stamps <= MAX_STAMPS && stamps >= keys, "{stamps}");
}

#[test]
fn times_are_bounded_as_keys_are() {
    let limit = limit(4096, 1_000_000);
    for key in 0..10_000u128 {
        // All into few shards, and each with many times.
        for n in 0..200 {
            at(&limit, key, n);
        }
    }
    for shard in &limit.shards {
        let shard = shard.lock().unwrap();
        assert_eq!(
            shard.stamps,
            shard.keys.iter().map(|(_, stamps)| stamps.ticks.len()).sum::<usize>()
        );
        assert!(shard.stamps <= MAX_STAMPS / SHARDS + 200);
    }
}

#[test]
fn ipv6_goes_by_its_network() {
    let key = |text: &str| by_address(text.parse().unwrap());
    assert_eq!(key("2001:db8::1"), key("2001:db8::ffff:1"));
    assert_ne!(key("2001:db8::1"), key("2001:db8:0:1::1"));
    assert_eq!(key("::ffff:192.0.2.1"), key("192.0.2.1"));
    assert_ne!(key("192.0.2.1"), key("192.0.2.2"));
}

#[test]
fn cookies_are_found() {
    let fields = [(COOKIE, HeaderValue::from_static("a=1; session=x=y; b=2"))]
        .into_iter()
        .collect();
    assert_eq!(cookie::find(&fields, "session"), Some(&b"x=y"[..]));
    assert_eq!(cookie::find(&fields, "sess"), None);
    assert_eq!(cookie::find(&fields, "b"), Some(&b"2"[..]));
}

#[test]
fn answers_say_how_it_stands() {
    let limit = limit(1, 10_000);
    let mut extra = Extra::new();
    limit.describe(at(&limit, 1, 0), &mut extra);
    let field = |extra: &Extra, name: &str| extra[name].to_str().unwrap().to_owned();
    assert_eq!(field(&extra, "ratelimit-policy"), "\"client\";q=1;w=10");
    assert_eq!(field(&extra, "ratelimit"), "\"client\";r=0;t=10");
    assert_eq!(field(&extra, "ratelimit-limit"), "1");
    assert_eq!(field(&extra, "ratelimit-remaining"), "0");
    assert_eq!(field(&extra, "ratelimit-reset"), "10");
}
