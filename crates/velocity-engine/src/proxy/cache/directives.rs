//! Cache-Control (RFC 9111 section 5.2, RFC 5861), of requests and of responses.
//!
//! What can be read in two ways is read in the way that keeps less: of two ages the smaller one, and an age that is no
//! number is 0 (RFC 9111 section 4.2.1).

use std::time::Duration;

use http::header::{CACHE_CONTROL, PRAGMA};
use http::{HeaderMap, HeaderName};

/// Larger ones are this (RFC 9111 section 1.2.2).
const MAX_SECONDS: u64 = 1 << 31;

/// To what a directive applies that may name fields: `no-cache`, `private`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Extent {
    #[default]
    Nothing,
    Fields(Vec<HeaderName>),
    Everything,
}

impl Extent {
    pub fn is_everything(&self) -> bool {
        *self == Extent::Everything
    }

    pub fn fields(&self) -> &[HeaderName] {
        match self {
            Extent::Fields(names) => names,
            Extent::Nothing | Extent::Everything => &[],
        }
    }

    fn extend(&mut self, argument: Option<&str>) {
        let names: Vec<HeaderName> = argument
            .unwrap_or_default()
            .split(',')
            .filter_map(|name| HeaderName::from_bytes(name.trim().as_bytes()).ok())
            .collect();
        match (&mut *self, names.is_empty()) {
            (Extent::Everything, _) => {}
            (_, true) => *self = Extent::Everything,
            (Extent::Nothing, false) => *self = Extent::Fields(names),
            (Extent::Fields(known), false) => known.extend(names),
        }
    }
}

/// What an origin says about its response (RFC 9111 section 5.2.2).
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Directives {
    pub no_store: bool,
    pub must_understand: bool,
    pub public: bool,
    pub must_revalidate: bool,
    pub proxy_revalidate: bool,
    pub private: Extent,
    pub no_cache: Extent,
    pub max_age: Option<Duration>,
    pub s_maxage: Option<Duration>,
    pub stale_while_revalidate: Option<Duration>,
    pub stale_if_error: Option<Duration>,
}

impl Directives {
    pub fn of(head: &HeaderMap) -> Self {
        let mut all = Self::default();
        each(head, |name, argument| match name {
            "no-store" => all.no_store = true,
            "must-understand" => all.must_understand = true,
            "public" => all.public = true,
            "must-revalidate" => all.must_revalidate = true,
            "proxy-revalidate" => all.proxy_revalidate = true,
            "private" => all.private.extend(argument),
            "no-cache" => all.no_cache.extend(argument),
            "max-age" => smaller(&mut all.max_age, argument),
            "s-maxage" => smaller(&mut all.s_maxage, argument),
            "stale-while-revalidate" => smaller(&mut all.stale_while_revalidate, argument),
            "stale-if-error" => smaller(&mut all.stale_if_error, argument),
            _ => {}
        });
        all
    }
}

/// What a client wants (RFC 9111 section 5.2.1).
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Wishes {
    pub no_cache: bool,
    pub no_store: bool,
    pub only_if_cached: bool,
    pub max_age: Option<Duration>,
    pub min_fresh: Option<Duration>,
    /// How stale it may be; [`Duration::MAX`] is however stale.
    pub max_stale: Option<Duration>,
    pub stale_if_error: Option<Duration>,
}

impl Wishes {
    pub fn of(head: &HeaderMap) -> Self {
        let mut all = Self::default();
        if !head.contains_key(CACHE_CONTROL) {
            // RFC 9111 section 5.4.
            all.no_cache = head
                .get(PRAGMA)
                .is_some_and(|value| value.as_bytes().eq_ignore_ascii_case(b"no-cache"));
            return all;
        }
        each(head, |name, argument| match name {
            "no-cache" => all.no_cache = true,
            "no-store" => all.no_store = true,
            "only-if-cached" => all.only_if_cached = true,
            "max-age" => smaller(&mut all.max_age, argument),
            "min-fresh" => {
                // Whoever cannot be understood wants it as fresh as can be.
                let wanted = argument.map_or(Some(Duration::MAX), |text| Some(seconds(text).unwrap_or(Duration::MAX)));
                all.min_fresh = all.min_fresh.max(wanted);
            }
            "max-stale" if argument.is_none() => all.max_stale = Some(all.max_stale.unwrap_or(Duration::MAX)),
            "max-stale" => smaller(&mut all.max_stale, argument),
            "stale-if-error" => smaller(&mut all.stale_if_error, argument),
            _ => {}
        });
        all
    }
}

fn smaller(known: &mut Option<Duration>, argument: Option<&str>) {
    let said = argument.and_then(seconds).unwrap_or_default();
    *known = Some(known.map_or(said, |known| known.min(said)));
}

/// Delta-seconds (RFC 9111 section 1.2.2).
pub fn seconds(text: &str) -> Option<Duration> {
    let digits = !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    // What does not fit is very long.
    digits.then(|| Duration::from_secs(text.parse().unwrap_or(MAX_SECONDS).min(MAX_SECONDS)))
}

/// Every directive, its name in lower case, with its argument without quotes.
fn each(head: &HeaderMap, mut visit: impl FnMut(&str, Option<&str>)) {
    for value in head.get_all(CACHE_CONTROL) {
        // What is no text is read as far as it is: a directive that forbids must not be lost with its neighbour.
        let text = String::from_utf8_lossy(value.as_bytes());
        for member in members(&text) {
            let (name, argument) = match member.split_once('=') {
                Some((name, argument)) => (name, Some(unquoted(argument.trim()))),
                None => (member, None),
            };
            let name = name.trim().to_ascii_lowercase();
            if !name.is_empty() {
                visit(&name, argument.as_deref());
            }
        }
    }
}

/// The members of a list; commas inside of quotes belong to a member (RFC 9110 section 5.6.4).
fn members(list: &str) -> impl Iterator<Item = &str> {
    let (mut quoted, mut escaped) = (false, false);
    list.split(move |sign: char| {
        let plain = !std::mem::take(&mut escaped);
        match sign {
            '"' if plain => quoted = !quoted,
            '\\' if plain && quoted => escaped = true,
            _ => {}
        }
        sign == ',' && !quoted
    })
    .map(str::trim)
}

fn unquoted(argument: &str) -> String {
    match argument.strip_prefix('"') {
        None => argument.to_owned(),
        Some(rest) => {
            let mut signs = rest.chars();
            let mut text = String::new();
            while let Some(sign) = signs.next() {
                match sign {
                    '"' => break,
                    '\\' => text.extend(signs.next()),
                    sign => text.push(sign),
                }
            }
            text
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn head(name: HeaderName, lines: &[&'static str]) -> HeaderMap {
        let mut head = HeaderMap::new();
        for line in lines {
            head.append(name.clone(), http::HeaderValue::from_static(line));
        }
        head
    }

    fn response(lines: &[&'static str]) -> Directives {
        Directives::of(&head(CACHE_CONTROL, lines))
    }

    fn request(lines: &[&'static str]) -> Wishes {
        Wishes::of(&head(CACHE_CONTROL, lines))
    }

    const fn s(seconds: u64) -> Option<Duration> {
        Some(Duration::from_secs(seconds))
    }

    #[test]
    fn ages_of_rfc_9111_section_4_2_1() {
        for (lines, expected) in [
            (&["max-age=60"][..], s(60)),
            (&["MAX-AGE=60"], s(60)),
            (&["public,max-age=\"60\""], s(60)),
            (&["max-age=60, max-age=10"], s(10)),
            (&["max-age=60", "max-age=0"], s(0)),
            (&["max-age"], s(0)),
            (&["max-age="], s(0)),
            (&["max-age=-1"], s(0)),
            (&["max-age=+1"], s(0)),
            (&["max-age=1.5"], s(0)),
            (&["max-age=60;"], s(0)),
            (&["max-age=99999999999999999999999"], s(1 << 31)),
            (&["x-max-age=60"], None),
            (&["ext=\"max-age=60, no-store\""], None),
            (&[""], None),
        ] {
            assert_eq!(response(lines).max_age, expected, "{lines:?}");
        }
    }

    #[test]
    fn fields_of_rfc_9111_sections_5_2_2_4_and_5_2_2_7() {
        let named =
            |names: &[&'static str]| Extent::Fields(names.iter().map(|name| HeaderName::from_static(name)).collect());
        for (line, no_cache, private) in [
            ("no-cache", Extent::Everything, Extent::Nothing),
            ("no-cache=\"\"", Extent::Everything, Extent::Nothing),
            (
                "no-cache=\"Set-Cookie, X-A\"",
                named(&["set-cookie", "x-a"]),
                Extent::Nothing,
            ),
            ("no-cache=x-a", named(&["x-a"]), Extent::Nothing),
            ("no-cache=\"x-a\", no-cache", Extent::Everything, Extent::Nothing),
            ("private=\"x-a\",no-cache=\"x-b", named(&["x-b"]), named(&["x-a"])),
            ("Private", Extent::Nothing, Extent::Everything),
        ] {
            let found = Directives::of(&HeaderMap::from_iter([(CACHE_CONTROL, line.parse().unwrap())]));
            assert_eq!((found.no_cache, found.private), (no_cache, private), "{line}");
        }
    }

    #[test]
    fn nothing_that_forbids_is_lost() {
        for line in [
            &b"no-store"[..],
            b"a=\"b,c\", no-store",
            b"max-age=1,,no-store ,",
            b"\xff, no-store",
            b"a=\"\\\"\", NO-STORE",
        ] {
            let head = HeaderMap::from_iter([(CACHE_CONTROL, http::HeaderValue::from_bytes(line).unwrap())]);
            assert!(Directives::of(&head).no_store, "{line:?}");
        }
        assert!(!response(&["x=\"no-store\""]).no_store);
    }

    #[test]
    fn wishes_of_rfc_9111_section_5_2_1() {
        assert_eq!(request(&["max-stale"]).max_stale, Some(Duration::MAX));
        assert_eq!(request(&["max-stale=5, max-stale"]).max_stale, s(5));
        assert_eq!(request(&["max-stale, max-stale=5"]).max_stale, s(5));
        assert_eq!(request(&["min-fresh=5, min-fresh=9"]).min_fresh, s(9));
        assert_eq!(request(&["min-fresh=x"]).min_fresh, Some(Duration::MAX));
        assert_eq!(request(&["max-age=x"]).max_age, s(0));
        let wishes = request(&["no-cache, no-store", "only-if-cached"]);
        assert!(wishes.no_cache && wishes.no_store && wishes.only_if_cached);
        // RFC 9111 section 5.4: Pragma counts where there is nothing else.
        assert!(Wishes::of(&head(PRAGMA, &["No-Cache"])).no_cache);
        let mut both = head(PRAGMA, &["no-cache"]);
        both.insert(CACHE_CONTROL, http::HeaderValue::from_static("max-age=5"));
        assert!(!Wishes::of(&both).no_cache);
    }
}
