//! What a shared cache may store, and when it may use what it has stored (RFC 9111 sections 3 and 4, RFC 5861).
//!
//! Pure functions of heads and times: no clock is read here.

use std::time::{Duration, SystemTime};

use http::header::{
    AGE, AUTHORIZATION, CONTENT_RANGE, CONTENT_TYPE, COOKIE, DATE, ETAG, EXPIRES, LAST_MODIFIED, SET_COOKIE,
};
use http::{HeaderMap, HeaderName, StatusCode};

use super::directives::{Directives, Wishes, seconds};

/// What the operator has decided, where an origin says nothing.
#[derive(Clone, Copy, Debug, Default)]
pub struct Rules {
    /// How long an answer is fresh that does not say how long; zero never stores one.
    pub default_ttl: Duration,
    pub stale_while_revalidate: Duration,
    pub stale_if_error: Duration,
    /// Store an answer that sets a cookie, without it.
    pub ignore_set_cookie: bool,
}

/// What of a request decides whether its answer may be stored.
#[derive(Clone, Copy, Debug, Default)]
pub struct Asker {
    /// It says who asks: by Authorization, by a login, or by a certificate.
    pub is_known: bool,
    pub has_cookie: bool,
    pub no_store: bool,
}

impl Asker {
    /// `known` is whether something besides the head says who asks.
    pub fn of(head: &HeaderMap, wishes: &Wishes, known: bool) -> Self {
        Self {
            is_known: known || head.contains_key(AUTHORIZATION),
            has_cookie: head.contains_key(COOKIE),
            no_store: wishes.no_store,
        }
    }
}

/// When an answer came (RFC 9111 section 4.2.3).
#[derive(Clone, Copy, Debug)]
pub struct Times {
    /// `response_time`, on the clock of Date.
    pub received: SystemTime,
    /// `response_time` - `request_time`.
    pub delay: Duration,
}

/// On what terms an answer is stored.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Terms {
    /// `freshness_lifetime`.
    pub lifetime: Duration,
    /// `corrected_initial_age`.
    pub initial_age: Duration,
    /// It is never used without asking (`no-cache`).
    pub always_validate: bool,
    /// No client may have it stale, however patient it is (RFC 9111 section 4.2.4).
    pub never_stale: bool,
    /// So long after it has become stale.
    pub stale_while_revalidate: Duration,
    pub stale_if_error: Duration,
}

/// What a stored answer is good for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Use {
    Fresh,
    /// The client wants it nevertheless (`max-stale`).
    Stale,
    /// It is sent, and asked about behind the client's back.
    StaleWhileRevalidate,
    Validate,
}

/// Statuses that are cacheable by heuristics (RFC 9110 section 15.1), but for 206.
fn is_heuristically_cacheable(status: StatusCode) -> bool {
    matches!(
        status.as_u16(),
        200 | 203 | 204 | 300 | 301 | 308 | 404 | 405 | 410 | 414 | 501
    )
}

/// Statuses of which we know what caches have to (`must-understand`, RFC 9111 section 5.2.2.3).
fn is_understood(status: StatusCode) -> bool {
    is_heuristically_cacheable(status) || matches!(status.as_u16(), 302 | 303 | 307)
}

/// The fields that are not stored, because the answer says so (RFC 9111 sections 5.2.2.4 and 5.2.2.7).
pub fn withheld(directives: &Directives) -> impl Iterator<Item = &HeaderName> {
    directives.no_cache.fields().iter().chain(directives.private.fields())
}

/// Whether and how to store an answer to a GET (RFC 9111 section 3).
pub fn terms(asker: Asker, status: StatusCode, head: &HeaderMap, rules: &Rules, times: Times) -> Option<Terms> {
    let directives = Directives::of(head);
    let understood = !directives.must_understand || is_understood(status);
    let forbidden = asker.no_store
        || !understood
        // Understood, it says that this no-store is for others.
        || directives.no_store && !directives.must_understand
        || directives.private.is_everything();
    let partial = matches!(status.as_u16(), 206 | 304) || head.contains_key(CONTENT_RANGE);
    if forbidden || partial || !(200..600).contains(&status.as_u16()) || is_endless(head) {
        return None;
    }
    // RFC 9111 section 3.5.
    if asker.is_known && !(directives.public || directives.must_revalidate || directives.s_maxage.is_some()) {
        return None;
    }
    let sets_cookie = head.contains_key(SET_COOKIE) && !withheld(&directives).any(|name| *name == SET_COOKIE);
    if sets_cookie && !rules.ignore_set_cookie {
        return None;
    }
    let always_validate = directives.no_cache.is_everything();
    let lifetime = match explicit_lifetime(&directives, head, times) {
        Some(lifetime) => lifetime,
        None if always_validate => Duration::ZERO,
        // RFC 9111 section 4.2.2. An answer to somebody with a cookie may be theirs alone.
        None if !rules.default_ttl.is_zero()
            && !asker.has_cookie
            && (directives.public || is_heuristically_cacheable(status)) =>
        {
            rules.default_ttl
        }
        None => return None,
    };
    let revalidate = directives.must_revalidate || directives.proxy_revalidate || always_validate;
    let never_stale = revalidate || directives.s_maxage.is_some();
    let window = |said: Option<Duration>, configured: Duration| match (revalidate, said) {
        (true, _) => Duration::ZERO,
        // Beside s-maxage, which is a proxy-revalidate, only what the origin itself allows.
        (false, Some(said)) => said,
        (false, None) if never_stale => Duration::ZERO,
        (false, None) => configured,
    };
    let terms = Terms {
        lifetime,
        initial_age: initial_age(head, times),
        always_validate,
        never_stale,
        stale_while_revalidate: window(directives.stale_while_revalidate, rules.stale_while_revalidate),
        stale_if_error: window(directives.stale_if_error, rules.stale_if_error),
    };
    let can_be_validated = head.contains_key(ETAG) || head.contains_key(LAST_MODIFIED);
    let useful = !always_validate && terms.usable_for() > terms.initial_age;
    (useful || can_be_validated).then_some(terms)
}

/// Server-Sent Events go on for as long as somebody listens.
fn is_endless(head: &HeaderMap) -> bool {
    head.get(CONTENT_TYPE).is_some_and(|value| {
        value
            .as_bytes()
            .get(..17)
            .is_some_and(|kind| kind.eq_ignore_ascii_case(b"text/event-stream"))
    })
}

/// RFC 9111 section 4.2.1.
fn explicit_lifetime(directives: &Directives, head: &HeaderMap, times: Times) -> Option<Duration> {
    if let Some(lifetime) = directives.s_maxage.or(directives.max_age) {
        return Some(lifetime);
    }
    let mut earliest = None;
    for value in head.get_all(EXPIRES) {
        // What is no date, `0` above all, is long ago (RFC 9111 section 5.3).
        let at = value
            .to_str()
            .ok()
            .and_then(|text| httpdate::parse_http_date(text).ok())
            .unwrap_or(SystemTime::UNIX_EPOCH);
        earliest = Some(earliest.map_or(at, |known: SystemTime| known.min(at)));
    }
    let date = date(head).unwrap_or(times.received);
    earliest.map(|at| at.duration_since(date).unwrap_or_default())
}

fn date(head: &HeaderMap) -> Option<SystemTime> {
    httpdate::parse_http_date(head.get(DATE)?.to_str().ok()?).ok()
}

/// `corrected_initial_age` of RFC 9111 section 4.2.3.
fn initial_age(head: &HeaderMap, times: Times) -> Duration {
    let age_value = head
        .get(AGE)
        .and_then(|value| seconds(value.to_str().ok()?.split(',').next()?.trim()))
        .unwrap_or_default();
    let apparent_age = date(head)
        .and_then(|date| times.received.duration_since(date).ok())
        .unwrap_or_default();
    apparent_age.max(age_value + times.delay)
}

impl Terms {
    /// The age from which on it is of no use but for validation.
    fn usable_for(&self) -> Duration {
        self.lifetime + self.stale_while_revalidate.max(self.stale_if_error)
    }

    /// `current_age`, so long after it was received.
    pub fn age(&self, resident: Duration) -> Duration {
        self.initial_age + resident
    }

    /// Whether it can be used for any request without asking, at some time.
    pub fn is_ever_fresh(&self) -> bool {
        !self.always_validate && !self.lifetime.is_zero()
    }

    /// Whether an answer of this age may be used (RFC 9111 sections 4.2, 4.2.4 and 5.2.1, RFC 5861 section 3).
    pub fn usage(&self, age: Duration, wishes: &Wishes) -> Use {
        if self.always_validate || wishes.no_cache {
            return Use::Validate;
        }
        let fresh_enough = wishes
            .min_fresh
            .is_none_or(|wanted| age.saturating_add(wanted) <= self.lifetime);
        let young_enough = wishes.max_age.is_none_or(|wanted| age <= wanted);
        if self.lifetime > age && fresh_enough && young_enough {
            return Use::Fresh;
        }
        // What the client finds too old, or what is stale, whichever came first; min-fresh is no matter of patience.
        let limit = wishes.max_age.unwrap_or(Duration::MAX).min(self.lifetime);
        let patient = wishes
            .max_stale
            .is_some_and(|wanted| age.saturating_sub(limit) <= wanted);
        if patient && fresh_enough && (!self.never_stale || self.lifetime > age) {
            return Use::Stale;
        }
        if age < self.lifetime + self.stale_while_revalidate && young_enough && wishes.min_fresh.is_none() {
            return Use::StaleWhileRevalidate;
        }
        Use::Validate
    }

    /// Whether an answer of this age may be used when there is no other (RFC 5861 section 4).
    pub fn serves_errors(&self, age: Duration, wishes: &Wishes) -> bool {
        let young_enough = wishes.max_age.is_none_or(|wanted| age <= wanted);
        if wishes.no_cache || wishes.min_fresh.is_some() || !young_enough || self.always_validate {
            return false;
        }
        let asked = wishes.stale_if_error.filter(|_| !self.never_stale).unwrap_or_default();
        age < self.lifetime + self.stale_if_error.max(asked)
    }
}

#[cfg(test)]
mod tests;
