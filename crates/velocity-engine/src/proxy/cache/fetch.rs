//! Asking upstreams: for what is missing, and whether what is stored is still good (RFC 9111 sections 4.3 and 4.3.4).

use std::sync::Arc;
use std::time::{Instant, SystemTime};

use http::header::{
    AGE, CONTENT_ENCODING, CONTENT_LENGTH, CONTENT_RANGE, DATE, ETAG, IF_MODIFIED_SINCE, IF_NONE_MATCH, IF_RANGE,
    LAST_MODIFIED, RANGE, SET_COOKIE, TRANSFER_ENCODING,
};
use http::request::Parts as Head;
use http::{HeaderMap, HeaderName, HeaderValue, Method, StatusCode};

use super::directives::Directives;
use super::fill::{Content, Filling};
use super::flight::{Lead, Seat};
use super::key::Selector;
use super::policy::{self, Terms, Times};
use super::status::{Fate, Outcome};
use super::store::{Stored, Watch};
use super::{Ask, Cache, Cached, FAILED, Missing, REFUSED, ttl};
use crate::call::Call;
use crate::files::conditional::{Validators, Verdict};
use crate::files::not_modified;
use crate::http::{Body, Response, declared_length};
use crate::proxy::Proxied;
use crate::router::Params;

/// Fields that a 304 says nothing about (RFC 9111 section 3.2).
const OF_CONTENT: [HeaderName; 5] = [
    CONTENT_LENGTH,
    CONTENT_ENCODING,
    CONTENT_RANGE,
    TRANSFER_ENCODING,
    SET_COOKIE,
];

impl Cached {
    /// Hand a request on of which the answer is not stored.
    pub(super) async fn pass(&self, ask: Ask<'_>, missing: Missing) -> (Response, Fate) {
        let response = self.proxy.respond(ask.call, Body::Empty).await;
        let head = ask.call.parts.method == Method::HEAD;
        // RFC 9111 section 4.3.5.
        if let Some(stored) = missing.stale.filter(|_| head && response.status() == StatusCode::OK) {
            let differs = [ETAG, LAST_MODIFIED, CONTENT_LENGTH].iter().any(|name| {
                let (new, old) = (response.headers().get(name), stored.head.get(name));
                new.is_some() && new != old
            });
            if differs {
                self.cache.store.remove(ask.target, &stored);
            }
        }
        (response, Fate::new(Outcome::Miss, Some(missing.why)))
    }

    /// Ask for what is missing; whoever waits for that waits until `lead` is gone.
    pub(super) async fn fetch(&self, ask: Ask<'_>, missing: Missing, lead: Option<Lead>) -> (Response, Fate) {
        let store = &self.cache.store;
        let watch = store.watch(ask.target);
        let asked = Instant::now();
        let refused = store.is_refused(&missing.key, asked);
        let validated = missing.stale.clone().filter(|stored| can_be_validated(stored));
        // What will not be stored may well be a 304.
        let as_it_is = refused && validated.is_none();
        let head = match &validated {
            Some(stored) => conditional(ask.call.parts, stored),
            None if as_it_is => ask.call.parts.clone(),
            None => unconditional(ask.call.parts),
        };
        let call = Call {
            parts: &head,
            ..*ask.call
        };
        let mut response = self.proxy.respond(&call, Body::Empty).await;
        let received = Instant::now();
        let status = response.status();
        let times = Times {
            received: SystemTime::now(),
            delay: received.saturating_duration_since(asked),
        };
        let mut fate = Fate::new(Outcome::Miss, Some(missing.why));
        if let Some(stored) = validated.filter(|_| status == StatusCode::NOT_MODIFIED) {
            if speaks_of(response.headers(), &stored)
                && let Some(answered) = self.freshen(ask, &stored, &mut response, times, &watch, fate)
            {
                return answered;
            }
            // What it speaks of is not what is here.
            store.remove(ask.target, &stored);
            let missing = Missing { stale: None, ..missing };
            return Box::pin(self.fetch(ask, missing, lead)).await;
        }
        let failed = matches!(status.as_u16(), 500 | 502 | 503 | 504);
        if let Some(stored) = &missing.stale
            && failed
        {
            let age = stored.terms.age(received.saturating_duration_since(stored.since));
            if stored.terms.serves_errors(age, ask.wishes)
                && let Some(mut old) = self.stored(ask, stored, received)
            {
                fate.outcome = Outcome::Stale;
                fate.upstream = Some(status);
                fate.ttl = Some(ttl(stored, age));
                carry(&mut response, &mut old);
                store.fail(&missing.key, received + FAILED);
                return (old, fate);
            }
        }
        // The upstream was not asked what the client had asked.
        let unchanged = status == StatusCode::OK
            && !as_it_is
            && Validators::of(response.headers()).evaluate(&ask.call.parts.headers) == Verdict::NotModified;
        let short = unchanged.then(|| not_modified(response.headers().clone()));
        let leads = lead.is_some();
        let taken = Taken {
            watch,
            since: received,
            lead,
        };
        match self.terms(ask, &response, times) {
            Some((terms, selector)) => {
                fate.ttl = Some(terms.lifetime.as_secs() as i64 - terms.initial_age.as_secs() as i64);
                response = self.cache.take(response, terms, selector, taken, &mut fate.stored);
            }
            None => drop(taken),
        }
        if !fate.stored {
            fate.ttl = None;
            if leads && !ask.asker.is_known {
                store.refuse(&missing.key, received + REFUSED);
            }
            // It has taken the place of what was here, unless that says more about who asks.
            if let Some(stored) = missing
                .stale
                .filter(|_| !failed && !ask.asker.is_known && !ask.asker.no_store)
            {
                store.remove(ask.target, &stored);
            }
        }
        if let Some(mut short) = short {
            carry(&mut response, &mut short);
            response = short;
        }
        (response, fate)
    }

    /// On what terms an answer may be stored, and for whom it is.
    fn terms(&self, ask: Ask<'_>, response: &Response, times: Times) -> Option<(Terms, Selector)> {
        let cache = &self.cache;
        let terms = policy::terms(ask.asker, response.status(), response.headers(), &cache.rules, times)?;
        let selector = Selector::of(ask.call, &cache.parts, response.headers())?;
        Some((terms, selector))
    }

    /// A 304 has come: what is stored is as good as new.
    fn freshen(
        &self,
        ask: Ask<'_>,
        stored: &Arc<Stored>,
        response: &mut Response,
        times: Times,
        watch: &Watch,
        mut fate: Fate,
    ) -> Option<(Response, Fate)> {
        let cache = &self.cache;
        let now = Instant::now();
        let mut head = stored.head.clone();
        update(&mut head, response.headers());
        let terms = policy::terms(ask.asker, stored.status, &head, &cache.rules, times);
        let selector = Selector::of(ask.call, &cache.parts, &head);
        let private = ask.asker.is_known || ask.asker.no_store || ask.asker.has_cookie;
        let mut current = stored.clone();
        match (terms, selector) {
            (Some(terms), Some(selector)) => {
                clean(&mut head);
                current = Arc::new(Stored {
                    status: stored.status,
                    head,
                    terms,
                    since: now,
                    selector,
                    content: stored.content.share(),
                });
                fate.stored = cache.store.replace(watch, stored, current.clone());
                fate.ttl = Some(ttl(&current, current.terms.initial_age));
            }
            // It is good for this one; what it says about storing is about this one too.
            _ if private => {}
            _ => cache.store.remove(ask.target, stored),
        }
        let mut answer = self.stored(ask, &current, now)?;
        for cookie in response.headers().get_all(SET_COOKIE) {
            answer.headers_mut().append(SET_COOKIE, cookie.clone());
        }
        carry(response, &mut answer);
        fate.outcome = Outcome::Revalidated;
        fate.upstream = Some(StatusCode::NOT_MODIFIED);
        Some((answer, fate))
    }

    /// Ask about a stale answer that was sent nevertheless (RFC 5861 section 3), if nobody does so already.
    pub(super) fn refresh(&self, ask: Ask<'_>, missing: Missing) {
        let Ok(permit) = self.cache.refreshing.clone().try_acquire_owned() else {
            return;
        };
        let Seat::Lead(lead) = self.cache.flights.join(&missing.key) else {
            return;
        };
        let (own, call) = (self.clone(), ask.call);
        let mut head = unconditional(call.parts);
        head.method = Method::GET;
        let (host, authority) = (call.host.to_owned(), call.authority.to_owned());
        let (target, identity) = (ask.target.to_owned(), call.identity.to_owned());
        let (remote, client, route) = (call.remote, call.client, call.route.clone());
        let (peer, asker, now) = (call.peer.clone(), ask.asker, call.now);
        tokio::spawn(async move {
            let params = Params::default();
            let call = Call {
                parts: &head,
                host: &host,
                authority: &authority,
                peer: &peer,
                remote,
                client,
                identity: &identity,
                params: &params,
                route: &route,
                templates: &own.cache.templates,
                metrics: &own.cache.metrics,
                interim: None,
                now,
            };
            let ask = Ask {
                call: &call,
                target: &target,
                wishes: &super::Wishes::default(),
                asker,
            };
            own.fetch(ask, missing, Some(lead)).await;
            drop(permit);
        });
    }
}

/// Where an answer is to be stored.
struct Taken {
    watch: Watch,
    since: Instant,
    /// Gone when others can find it.
    lead: Option<Lead>,
}

impl Cache {
    /// Store an answer on its way to a client, who gets what is returned. `stored` is whether it will be, as far as that
    /// can be told.
    fn take(
        self: &Arc<Self>,
        response: Response,
        terms: Terms,
        selector: Selector,
        taken: Taken,
        stored: &mut bool,
    ) -> Response {
        let (parts, body) = response.into_parts();
        let declared = declared_length(&parts.headers);
        let expected = body.len().or(declared);
        // What is shorter than it says has broken off.
        let consistent = declared.is_none() || declared == expected;
        let mut head = parts.headers.clone();
        if !head.contains_key(DATE) {
            head.insert(DATE, now());
        }
        clean(&mut head);
        let made = Made {
            status: parts.status,
            head,
            terms,
            since: taken.since,
            selector,
        };
        let body = match body {
            body @ (Body::Empty | Body::Memory(_))
                if consistent && expected.is_some_and(|length| length <= self.room.in_memory) =>
            {
                let content = match &body {
                    Body::Memory(bytes) => bytes.clone(),
                    _ => bytes::Bytes::new(),
                };
                let made = Arc::new(made.with(Content::Memory(content)));
                *stored = self.store.insert(&taken.watch, made);
                body
            }
            body => match self.room.begin(expected).filter(|_| consistent) {
                None => body,
                Some(filling) => {
                    *stored = true;
                    // Before anything comes: the rest may have to be handed to it.
                    let reader = filling.reader(None, true);
                    self.clone().follow(made, filling, body, taken);
                    reader
                }
            },
        };
        Response::from_parts(parts, body)
    }

    /// Read a body to its end, and store it then. If its length is known, others can read along.
    fn follow(self: Arc<Self>, made: Made, filling: Arc<Filling>, body: Body, taken: Taken) {
        let watch = taken.watch;
        let (early, lead) = match filling.reader_length() {
            Some(_) => {
                let early = Arc::new(made.clone().with(Content::Filling(filling.clone())));
                self.store.insert(&watch, early.clone());
                drop(taken.lead);
                (Some(early), None)
            }
            None => (None, taken.lead),
        };
        tokio::spawn(async move {
            let content = self.room.fill(&filling, body).await;
            match (content, early) {
                (Some(content), Some(early)) => {
                    let whole = Arc::new(made.with(content));
                    self.store.replace(&watch, &early, whole);
                }
                (Some(content), None) => {
                    self.store.insert(&watch, Arc::new(made.with(content)));
                }
                (None, Some(early)) => self.store.remove(watch.target(), &early),
                (None, None) => {}
            }
            drop(lead);
        });
    }
}

/// An answer without its content.
#[derive(Clone)]
struct Made {
    status: StatusCode,
    head: HeaderMap,
    terms: Terms,
    since: Instant,
    selector: Selector,
}

impl Made {
    fn with(mut self, content: Content) -> Stored {
        if let Some(length) = content.len()
            && self.status != StatusCode::NO_CONTENT
        {
            self.head.insert(CONTENT_LENGTH, HeaderValue::from(length));
        }
        Stored {
            status: self.status,
            head: self.head,
            terms: self.terms,
            since: self.since,
            selector: self.selector,
            content,
        }
    }
}

/// Take out what is not stored (RFC 9111 section 3.1).
fn clean(head: &mut HeaderMap) {
    let directives = Directives::of(head);
    for name in policy::withheld(&directives) {
        head.remove(name);
    }
    // The age is counted from now on.
    for name in [SET_COOKIE, AGE, HeaderName::from_static("proxy-authentication-info")] {
        head.remove(name);
    }
}

/// Take over what a 304 says (RFC 9111 section 3.2).
fn update(head: &mut HeaderMap, new: &HeaderMap) {
    head.remove(AGE);
    head.insert(DATE, now());
    for name in new.keys().filter(|name| !OF_CONTENT.contains(name)) {
        head.remove(name);
        for value in new.get_all(name) {
            head.append(name, value.clone());
        }
    }
}

fn now() -> HeaderValue {
    HeaderValue::try_from(httpdate::fmt_http_date(SystemTime::now())).unwrap_or_else(|_| HeaderValue::from_static(""))
}

/// Whether a 304 is about what is stored (RFC 9111 section 4.3.3): it names no other entity tag.
fn speaks_of(head: &HeaderMap, stored: &Stored) -> bool {
    let opaque = |value: &HeaderValue| {
        let bytes = value.as_bytes();
        bytes.strip_prefix(b"W/").unwrap_or(bytes).to_vec()
    };
    match (head.get(ETAG), stored.head.get(ETAG)) {
        (Some(new), Some(old)) => opaque(new) == opaque(old),
        _ => true,
    }
}

fn can_be_validated(stored: &Stored) -> bool {
    stored.head.contains_key(ETAG) || stored.head.contains_key(LAST_MODIFIED)
}

/// A request for the whole of something.
fn unconditional(head: &Head) -> Head {
    let mut head = head.clone();
    for name in [IF_NONE_MATCH, IF_MODIFIED_SINCE, IF_RANGE, RANGE] {
        head.headers.remove(name);
    }
    head
}

/// A request for something else than what is stored (RFC 9111 section 4.3.1).
fn conditional(head: &Head, stored: &Stored) -> Head {
    let mut head = unconditional(head);
    for (name, validator) in [(IF_NONE_MATCH, ETAG), (IF_MODIFIED_SINCE, LAST_MODIFIED)] {
        if let Some(value) = stored.head.get(validator) {
            head.headers.insert(name, value.clone());
        }
    }
    head
}

/// Which upstream it was, for the log.
fn carry(from: &mut Response, to: &mut Response) {
    if let Some(proxied) = from.extensions_mut().remove::<Proxied>() {
        to.extensions_mut().insert(proxied);
    }
}
