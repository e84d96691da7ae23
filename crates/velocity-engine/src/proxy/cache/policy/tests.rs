//! Each case names its section of RFC 9111, or of RFC 5861.

use std::time::UNIX_EPOCH;

use super::*;

/// Sun, 06 Nov 1994 08:49:37 GMT, when every answer here came.
const NOW: u64 = 784_111_777;

fn s(seconds: u64) -> Duration {
    Duration::from_secs(seconds)
}

fn times() -> Times {
    Times {
        received: UNIX_EPOCH + s(NOW),
        delay: Duration::ZERO,
    }
}

fn head(fields: &[(&'static str, &str)]) -> HeaderMap {
    let mut head = HeaderMap::new();
    for (name, value) in fields {
        head.append(*name, value.parse().unwrap());
    }
    head
}

const NOBODY: Asker = Asker {
    is_known: false,
    has_cookie: false,
    no_store: false,
};
const KNOWN: Asker = Asker {
    is_known: true,
    ..NOBODY
};

fn stored(asker: Asker, status: u16, rules: &Rules, fields: &[(&'static str, &str)]) -> Option<Terms> {
    terms(
        asker,
        StatusCode::from_u16(status).unwrap(),
        &head(fields),
        rules,
        times(),
    )
}

fn lifetime(fields: &[(&'static str, &str)]) -> Option<u64> {
    stored(NOBODY, 200, &Rules::default(), fields).map(|terms| terms.lifetime.as_secs())
}

const CC: &str = "cache-control";
const LATER: (&str, &str) = ("expires", "Sun, 06 Nov 1994 08:50:37 GMT");
const ETAGGED: (&str, &str) = ("etag", "\"a\"");

#[test]
fn what_is_stored() {
    for (section, fields, expected) in [
        ("3", &[(CC, "max-age=60")][..], true),
        ("3: says nothing", &[], false),
        ("3: says nothing", &[ETAGGED], false),
        ("3", &[LATER], true),
        ("3", &[(CC, "public")], false),
        ("3: of no use", &[(CC, "max-age=0")], false),
        ("3: to be validated", &[(CC, "max-age=0"), ETAGGED], true),
        (
            "3: to be validated",
            &[(CC, "no-cache"), ("last-modified", "Sun, 06 Nov 1994 08:00:00 GMT")],
            true,
        ),
        ("3: old already", &[(CC, "max-age=60"), ("age", "60")], false),
        ("3: old already", &[(CC, "max-age=60"), ("age", "59")], true),
        (
            "3.3: a part",
            &[(CC, "max-age=60"), ("content-range", "bytes 0-1/2")],
            false,
        ),
        ("5.2.2.5", &[(CC, "max-age=60, no-store")], false),
        ("5.2.2.5", &[(CC, "max-age=60"), (CC, "No-Store")], false),
        ("5.2.2.7", &[(CC, "max-age=60, private")], false),
        ("5.2.2.7", &[(CC, "max-age=60, private=\"x-a\"")], true),
        ("5.2.2.4", &[(CC, "max-age=60, no-cache")], false),
        ("5.2.2.3", &[(CC, "max-age=60, must-understand, no-store")], true),
        ("7.3", &[(CC, "max-age=60"), ("set-cookie", "a=b")], false),
        ("7.3", &[(CC, "max-age=60, public"), ("set-cookie", "a=b")], false),
        (
            "5.2.2.4",
            &[(CC, "max-age=60, no-cache=\"set-cookie\""), ("set-cookie", "a=b")],
            true,
        ),
        (
            "endless",
            &[(CC, "max-age=60"), ("content-type", "text/event-stream")],
            false,
        ),
        (
            "endless",
            &[(CC, "max-age=60"), ("content-type", "Text/Event-Stream; charset=utf-8")],
            false,
        ),
    ] {
        assert_eq!(
            stored(NOBODY, 200, &Rules::default(), fields).is_some(),
            expected,
            "{section}: {fields:?}"
        );
    }
}

#[test]
fn statuses_of_section_3() {
    let plain = Rules::default();
    for (status, expected) in [
        (200, true),
        (206, false),
        (304, false),
        (404, true),
        (503, true),
        (299, true),
    ] {
        assert_eq!(
            stored(NOBODY, status, &plain, &[(CC, "max-age=60")]).is_some(),
            expected,
            "{status}"
        );
    }
    // Section 5.2.2.3: what is not understood is not stored, with or without no-store.
    for (status, expected) in [(200, true), (307, true), (299, false), (503, false)] {
        for directives in ["must-understand, max-age=60", "must-understand, no-store, max-age=60"] {
            assert_eq!(
                stored(NOBODY, status, &plain, &[(CC, directives)]).is_some(),
                expected,
                "{status}"
            );
        }
    }
}

#[test]
fn who_asks_matters_by_section_3_5() {
    let plain = Rules::default();
    for (directives, expected) in [
        ("max-age=60", false),
        ("max-age=60, public", true),
        ("max-age=60, must-revalidate", true),
        ("s-maxage=60", true),
        ("max-age=60, proxy-revalidate", false),
    ] {
        assert_eq!(
            stored(KNOWN, 200, &plain, &[(CC, directives)]).is_some(),
            expected,
            "{directives}"
        );
    }
    let silent = Asker {
        no_store: true,
        ..NOBODY
    };
    assert_eq!(
        stored(silent, 200, &plain, &[(CC, "max-age=60, public")]),
        None,
        "section 5.2.1.5"
    );
    let wishes = Wishes::default();
    assert!(Asker::of(&head(&[("authorization", "Basic eA==")]), &wishes, false).is_known);
    assert!(
        Asker::of(&head(&[]), &wishes, true).is_known
            && Asker::of(&head(&[("cookie", "a")]), &wishes, false).has_cookie
    );
}

#[test]
fn lifetimes_of_section_4_2_1() {
    let date = ("date", "Sun, 06 Nov 1994 08:49:27 GMT");
    for (fields, expected) in [
        (&[(CC, "max-age=60")][..], Some(60)),
        (&[(CC, "max-age=60, s-maxage=30")], Some(30)),
        (&[(CC, "s-maxage=0, max-age=60"), ETAGGED], Some(0)),
        (&[(CC, "max-age=10"), LATER], Some(10)),
        (&[LATER], Some(60)),
        (&[LATER, date], Some(70)),
        (&[LATER, ("expires", "0"), ETAGGED], Some(0)),
        (&[("expires", "0"), ETAGGED], Some(0)),
        (&[("expires", "Sun, 06 Nov 1994 08:49:00 GMT"), ETAGGED], Some(0)),
        (&[(CC, "max-age=x"), LATER, ETAGGED], Some(0)),
    ] {
        assert_eq!(lifetime(fields), expected, "{fields:?}");
    }
}

#[test]
fn heuristics_of_section_4_2_2_are_the_operators() {
    let rules = Rules {
        default_ttl: s(30),
        ..Rules::default()
    };
    let cookie = Asker {
        has_cookie: true,
        ..NOBODY
    };
    for (asker, status, fields, expected) in [
        (NOBODY, 200, &[][..], Some(30)),
        (NOBODY, 404, &[], Some(30)),
        (NOBODY, 302, &[], None),
        (NOBODY, 302, &[(CC, "public")], Some(30)),
        (NOBODY, 500, &[], None),
        (NOBODY, 200, &[(CC, "max-age=5")], Some(5)),
        (NOBODY, 200, &[(CC, "private")], None),
        (NOBODY, 200, &[("set-cookie", "a=b")], None),
        (NOBODY, 200, &[(CC, "no-cache"), ETAGGED], Some(0)),
        (cookie, 200, &[], None),
        (cookie, 200, &[(CC, "max-age=5")], Some(5)),
        (KNOWN, 200, &[], None),
    ] {
        let found = stored(asker, status, &rules, fields).map(|terms| terms.lifetime.as_secs());
        assert_eq!(found, expected, "{status} {fields:?}");
    }
    let ignoring = Rules {
        ignore_set_cookie: true,
        ..rules
    };
    assert!(stored(NOBODY, 200, &ignoring, &[("set-cookie", "a=b")]).is_some());
}

#[test]
fn ages_of_section_4_2_3() {
    let date = |text: &'static str| ("date", text);
    for (fields, delay, expected) in [
        (&[][..], 0, 0),
        (&[("age", "10")], 0, 10),
        (&[("age", "10")], 3, 13),
        (&[date("Sun, 06 Nov 1994 08:49:17 GMT")], 0, 20),
        (&[date("Sun, 06 Nov 1994 08:49:17 GMT"), ("age", "5")], 3, 20),
        (&[date("Sun, 06 Nov 1994 08:49:17 GMT"), ("age", "30")], 3, 33),
        (&[date("Sun, 06 Nov 1994 08:59:37 GMT")], 2, 2),
        (&[("age", "-1")], 0, 0),
        (&[("age", "7, 9")], 0, 7),
    ] {
        let all: Vec<(&str, &str)> = fields.iter().copied().chain([(CC, "max-age=1000")]).collect();
        let times = Times {
            delay: s(delay),
            ..times()
        };
        let terms = terms(NOBODY, StatusCode::OK, &head(&all), &Rules::default(), times).unwrap();
        assert_eq!(terms.initial_age.as_secs(), expected, "{fields:?}");
        assert_eq!(terms.age(s(5)).as_secs(), expected + 5);
    }
}

fn wishes(text: &str) -> Wishes {
    match text {
        "" => Wishes::default(),
        text => Wishes::of(&head(&[(CC, text)])),
    }
}

#[test]
fn what_requests_want_by_section_5_2_1() {
    let usual = "max-age=60";
    for (section, said, age, wanted, expected) in [
        ("4.2", usual, 59, "", Use::Fresh),
        ("4.2", usual, 60, "", Use::Validate),
        ("5.2.1.1", usual, 30, "max-age=30", Use::Fresh),
        ("5.2.1.1", usual, 31, "max-age=30", Use::Validate),
        ("5.2.1.1", usual, 35, "max-age=30, max-stale=5", Use::Stale),
        ("5.2.1.1", usual, 36, "max-age=30, max-stale=5", Use::Validate),
        ("5.2.1.2", usual, 65, "max-stale=5", Use::Stale),
        ("5.2.1.2", usual, 66, "max-stale=5", Use::Validate),
        ("5.2.1.2", usual, 6000, "max-stale", Use::Stale),
        ("5.2.1.3", usual, 50, "min-fresh=10", Use::Fresh),
        ("5.2.1.3", usual, 51, "min-fresh=10", Use::Validate),
        ("5.2.1.3", usual, 51, "min-fresh=10, max-stale", Use::Validate),
        ("5.2.1.4", usual, 1, "no-cache", Use::Validate),
        ("5.2.1.4", usual, 1, "no-cache, max-stale", Use::Validate),
        ("5.2.2.2", "max-age=60, must-revalidate", 61, "max-stale", Use::Validate),
        (
            "5.2.2.8",
            "max-age=60, proxy-revalidate",
            61,
            "max-stale",
            Use::Validate,
        ),
        ("5.2.2.10", "s-maxage=60", 61, "max-stale", Use::Validate),
        ("5.2.2.4", "no-cache", 1, "max-stale", Use::Validate),
        (
            "5861/3",
            "max-age=60, stale-while-revalidate=30",
            89,
            "",
            Use::StaleWhileRevalidate,
        ),
        ("5861/3", "max-age=60, stale-while-revalidate=30", 90, "", Use::Validate),
        (
            "5861/3",
            "max-age=60, stale-while-revalidate=30",
            70,
            "max-age=65",
            Use::Validate,
        ),
        (
            "5861/3",
            "max-age=60, stale-while-revalidate=30",
            70,
            "min-fresh=1",
            Use::Validate,
        ),
        (
            "5861/3",
            "s-maxage=60, stale-while-revalidate=30",
            70,
            "",
            Use::StaleWhileRevalidate,
        ),
        (
            "5.2.2.2",
            "max-age=60, stale-while-revalidate=30, must-revalidate",
            70,
            "",
            Use::Validate,
        ),
    ] {
        let terms = stored(NOBODY, 200, &Rules::default(), &[(CC, said), ETAGGED]).unwrap();
        assert_eq!(
            terms.usage(s(age), &wishes(wanted)),
            expected,
            "{section}: {said}; {age}; {wanted}"
        );
    }
}

#[test]
fn failures_of_rfc_5861_section_4() {
    let rules = Rules {
        stale_while_revalidate: s(5),
        stale_if_error: s(20),
        ..Rules::default()
    };
    for (said, age, wanted, expected) in [
        ("max-age=60", 79, "", true),
        ("max-age=60", 80, "", false),
        ("max-age=60, stale-if-error=0", 61, "", false),
        ("max-age=60, stale-if-error=100", 159, "", true),
        ("max-age=60", 100, "stale-if-error=50", true),
        ("max-age=60", 61, "no-cache", false),
        ("max-age=60", 50, "max-age=40", false),
        ("max-age=60", 50, "min-fresh=20", false),
        ("max-age=60, must-revalidate", 61, "stale-if-error=50", false),
        ("s-maxage=60", 61, "stale-if-error=50", false),
        ("s-maxage=60, stale-if-error=5", 61, "", true),
        ("no-cache", 1, "", false),
    ] {
        let terms = stored(NOBODY, 200, &rules, &[(CC, said), ETAGGED]).unwrap();
        assert_eq!(
            terms.serves_errors(s(age), &wishes(wanted)),
            expected,
            "{said}; {age}; {wanted}"
        );
    }
    // What is configured is for those who say nothing, and nothing against it.
    let window = |said: &str| {
        stored(NOBODY, 200, &rules, &[(CC, said)])
            .unwrap()
            .stale_while_revalidate
    };
    assert_eq!(window("max-age=60"), s(5));
    assert_eq!(window("max-age=60, stale-while-revalidate=9"), s(9));
    assert_eq!(window("s-maxage=60"), s(0));
    assert_eq!(window("max-age=60, proxy-revalidate"), s(0));
}
