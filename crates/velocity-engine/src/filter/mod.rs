//! What happens to a request on its way to a handler, and to the answer on its way back.
//!
//! A filter looks at a request and lets it pass or answers it; most do that at once, so that a hot file behind them
//! is still answered without a future. Some have to wait: for a body, or for a password to be checked. What an answer
//! has to say because of a filter is collected while the request goes in, or written by [`Filter::respond`].

mod basic_auth;
mod client;
mod compress;
mod cors;
mod early_hints;
mod headers;
mod ip_access;
mod network;
mod oidc;
mod rate_limit;
mod request_size;
mod waf;

use std::sync::Arc;

use http::request::Parts;
use http::{HeaderMap, HeaderName};

use self::basic_auth::BasicAuth;
pub use self::client::Proxies;
use self::compress::Compress;
use self::cors::Cors;
pub use self::cors::asked_by_preflight;
use self::early_hints::EarlyHints;
pub use self::early_hints::Interim;
use self::headers::Headers;
use self::ip_access::IpAccess;
pub use self::network::Networks;
use self::oidc::Oidc;
pub use self::oidc::{Claims, Known};
use self::rate_limit::RateLimit;
use self::request_size::RequestSize;
pub use self::waf::Group;
use self::waf::Waf;
use crate::call::{Call, Setting};
use crate::error::{Error, Result};
use crate::handler::Templates;
use crate::http::{Body, Response};
use crate::plan;

/// Header fields that an answer gets because of what filters saw in its request.
pub type Extra = HeaderMap;

pub enum Filter {
    RateLimit(RateLimit),
    Waf(Waf),
    RequestHeaders(Headers),
    ResponseHeaders(Headers),
    Cors(Cors),
    Compress(Compress),
    BasicAuth(BasicAuth),
    IpAccess(IpAccess),
    RequestSize(RequestSize),
    EarlyHints(EarlyHints),
    Oidc(Box<Oidc>),
}

impl Filter {
    /// `place` says which of the Plan's it is.
    pub fn new(plan: &plan::Filter, place: usize, templates: &mut Templates) -> Result<Self> {
        let place = format!("filters[{place}]");
        Ok(match plan {
            plan::Filter::RateLimit(plan) => Filter::RateLimit(RateLimit::new(plan)?),
            plan::Filter::Waf(plan) => Filter::Waf(Waf::new(plan)?),
            plan::Filter::Headers(plan) => {
                let headers = Headers::new(plan, &place, templates)?;
                match plan.of {
                    plan::HeadersOf::Request => Filter::RequestHeaders(headers),
                    plan::HeadersOf::Response => Filter::ResponseHeaders(headers),
                }
            }
            plan::Filter::Cors(plan) => Filter::Cors(Cors::new(plan)?),
            plan::Filter::Compress(plan) => Filter::Compress(Compress::new(plan)?),
            plan::Filter::BasicAuth(plan) => Filter::BasicAuth(BasicAuth::new(plan)?),
            plan::Filter::IpAccess(plan) => Filter::IpAccess(IpAccess::new(plan)?),
            plan::Filter::RequestSize(plan) => Filter::RequestSize(RequestSize::new(plan)),
            plan::Filter::EarlyHints(plan) => Filter::EarlyHints(EarlyHints::new(plan)?),
            plan::Filter::Oidc(plan) => Filter::Oidc(Box::new(Oidc::new(plan)?)),
        })
    }

    /// Everything that is wrong with one. Broken templates are left with `templates`.
    pub fn problems(plan: &plan::Filter, place: usize, templates: &mut Templates) -> Vec<Error> {
        match plan {
            plan::Filter::Waf(plan) => Waf::problems(plan),
            plan => Self::new(plan, place, templates).err().into_iter().collect(),
        }
    }

    /// Whether what it has learned is to outlive a reload that leaves its part of the Plan as it is.
    pub fn has_state(&self) -> bool {
        matches!(self, Filter::RateLimit(_) | Filter::BasicAuth(_) | Filter::Waf(_))
    }

    /// Whether this request, which has no body, passes it without waiting.
    fn is_prompt(&self, parts: &Parts) -> bool {
        match self {
            Filter::RateLimit(_) | Filter::Waf(_) | Filter::Cors(_) | Filter::IpAccess(_) | Filter::RequestSize(_) => {
                true
            }
            Filter::ResponseHeaders(_) => true, // of those that do not depend on the request, [`Chain`] knows
            Filter::BasicAuth(auth) => auth.is_prompt(parts),
            Filter::RequestHeaders(_) | Filter::Compress(_) | Filter::EarlyHints(_) | Filter::Oidc(_) => false,
        }
    }

    /// Look at a request, and answer it or let it pass.
    fn request(&self, call: &Call<'_>, extra: &mut Extra) -> Option<Response> {
        match self {
            Filter::RateLimit(limit) => limit.request(call, extra),
            Filter::Waf(waf) => waf.request(call),
            Filter::Cors(cors) => cors.request(call.parts, extra),
            Filter::BasicAuth(auth) => auth.request(call),
            Filter::IpAccess(access) => access.request(call),
            Filter::RequestSize(size) => size.request(call.parts),
            Filter::EarlyHints(hints) => {
                hints.request(call);
                None
            }
            Filter::RequestHeaders(_) | Filter::ResponseHeaders(_) | Filter::Compress(_) | Filter::Oidc(_) => None,
        }
    }

    /// The same for what takes time; after [`Filter::request`].
    async fn wait(&self, call: &Call<'_>, body: &mut Body, read: bool) -> Option<Response> {
        match self {
            Filter::Waf(waf) => waf.body(call, body).await,
            Filter::BasicAuth(auth) => auth.wait(call).await,
            Filter::RequestSize(size) => size.body(body, read).await,
            _ => None,
        }
    }

    fn waits(&self, body: &Body) -> bool {
        match self {
            Filter::Waf(_) | Filter::RequestSize(_) => !body.is_empty(),
            Filter::BasicAuth(_) => true,
            _ => false,
        }
    }
}

/// Fields that every answer carries, whatever the filters say.
const COMMON: [HeaderName; 3] = [http::header::DATE, http::header::SERVER, http::header::ALT_SVC];

/// The filters of one route, in the order they see a request.
pub struct Chain {
    filters: Vec<Arc<Filter>>,
    /// What it does to an answer depends on nothing, and leaves what every answer carries alone.
    constant: bool,
    cors: bool,
}

impl Chain {
    pub fn new(filters: Vec<Arc<Filter>>) -> Self {
        let constant = filters.iter().all(|filter| match &**filter {
            Filter::ResponseHeaders(headers) => headers.is_constant() && !headers.names_any_of(&COMMON),
            Filter::Compress(_) => false,
            _ => true,
        });
        let cors = filters.iter().any(|filter| matches!(&**filter, Filter::Cors(_)));
        Self {
            filters,
            constant,
            cors,
        }
    }

    pub fn is_empty(&self) -> bool {
        self.filters.is_empty()
    }

    /// Whether it answers the questions of browsers that come before a request.
    pub fn has_cors(&self) -> bool {
        self.cors
    }

    /// Whether a request without body gets through, and its answer back, without waiting and without rendering.
    pub fn is_prompt(&self, parts: &Parts) -> bool {
        self.constant && self.filters.iter().all(|filter| filter.is_prompt(parts))
    }

    /// Let every filter look at a request without body. Only if [`Chain::is_prompt`].
    pub fn request(&self, call: &Call<'_>, extra: &mut Extra) -> Option<Response> {
        self.filters.iter().find_map(|filter| filter.request(call, extra))
    }

    /// Let every filter look at a request, and change it. `reads` is whether the handler reads its body.
    pub async fn pass(
        &self,
        parts: &mut Parts,
        body: &mut Body,
        reads: bool,
        extra: &mut Extra,
        setting: &Setting<'_>,
    ) -> Option<Response> {
        for filter in &self.filters {
            if let Filter::RequestHeaders(headers) = &**filter {
                let edits = headers.render(&setting.call(parts));
                edits.apply(&mut parts.headers);
                continue;
            }
            if let Filter::Oidc(oidc) = &**filter {
                if let Some(answer) = oidc.pass(parts, setting).await {
                    return Some(answer);
                }
                continue;
            }
            if let Some(answer) = filter.request(&setting.call(parts), extra) {
                return Some(answer);
            }
            if filter.waits(body) {
                let call = setting.call(parts);
                // Boxed, for those that have nothing to wait for.
                if let Some(answer) = Box::pin(filter.wait(&call, body, reads)).await {
                    return Some(answer);
                }
            }
        }
        None
    }

    /// Change the head of an answer that is the same for everybody.
    pub fn dress(&self, head: &mut HeaderMap) {
        for filter in self.filters.iter().rev() {
            if let Filter::ResponseHeaders(headers) = &**filter {
                headers.apply_constant(head);
            }
        }
    }

    /// Change an answer on its way out.
    pub async fn respond(&self, call: &Call<'_>, response: &mut Response) {
        for filter in self.filters.iter().rev() {
            match &**filter {
                Filter::ResponseHeaders(headers) if headers.is_constant() => {
                    headers.apply_constant(response.headers_mut());
                }
                Filter::ResponseHeaders(headers) => headers.render(call).apply(response.headers_mut()),
                Filter::Compress(compress) => compress.respond(call.parts, response).await,
                Filter::Oidc(_) => oidc::keep_private(response),
                _ => {}
            }
        }
    }

    /// Whether filters decide about a field of [`COMMON`] themselves.
    pub fn decides(&self, name: &HeaderName) -> bool {
        self.filters.iter().any(|filter| match &**filter {
            Filter::ResponseHeaders(headers) => headers.names_any_of(std::slice::from_ref(name)),
            _ => false,
        })
    }
}

#[cfg(test)]
pub(crate) mod tests;
