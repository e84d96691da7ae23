//! A route: filters, then a handler, then the filters again.
//!
//! Most requests take the short way, [`Route::at_once`]: no future, no copy of the head. The others take the long
//! one, [`Route::answer`].

use std::sync::Arc;

use http::HeaderMap;
use http::header::{ALT_SVC, DATE, SERVER};
use http::request::Parts;

use crate::app::{App, Applications};
use crate::call::{Call, Setting};
use crate::error::Result;
use crate::filter::{Chain, Extra, Filter};
use crate::handler::{ErrorPages, Handler, Prompt, Templates};
use crate::http::{Body, Response};
use crate::plan;
use crate::proxy::{self, Known};

/// Everything of a site but its names.
pub struct Site {
    pub routes: Vec<Route>,
    pub error_pages: ErrorPages,
}

pub struct Route {
    pub name: Arc<str>,
    chain: Chain,
    handler: Handler,
    own: Own,
}

/// Fields that every answer carries, and of which the filters of this route say what they are.
#[derive(Clone, Copy, Debug, Default)]
pub struct Own {
    pub date: bool,
    pub server: bool,
    pub alt_svc: bool,
    /// Answers come with a Date and a Server, which are those of their origin (RFC 9110 section 7.7).
    pub origin: bool,
    /// Answers have been at a cache.
    pub cached: bool,
}

impl Route {
    pub fn new(
        plan: &plan::Route,
        filters: &[Arc<Filter>],
        templates: &mut Templates,
        proxies: &mut Known,
        applications: &Applications,
    ) -> Result<Self> {
        let handler = Handler::new(&plan.handler, &plan.name, templates, proxies, applications)
            .map_err(|error| error.detail("place", plan.name.as_str()))?;
        let mut chain = Vec::with_capacity(plan.filters.len());
        for &place in &plan.filters {
            let filter = filters.get(place).ok_or_else(|| {
                crate::Error::config("PLAN_INVALID", format!("{}: there is no filter {place}", plan.name))
            })?;
            if !(handler.compresses() && matches!(**filter, Filter::Compress(_))) {
                chain.push(filter.clone());
            }
        }
        let chain = Chain::new(chain);
        Ok(Self {
            name: plan.name.as_str().into(),
            own: Own {
                date: chain.decides(&DATE),
                server: chain.decides(&SERVER),
                origin: handler.is_origin(),
                cached: handler.is_cached(),
                alt_svc: chain.decides(&ALT_SVC),
            },
            chain,
            handler,
        })
    }

    pub fn own(&self) -> Own {
        self.own
    }

    /// Whether it answers the questions of browsers that come before a request.
    pub fn has_cors(&self) -> bool {
        self.chain.has_cors()
    }

    /// The answer to a request without body, if that takes neither waiting nor changing the request. With a
    /// [`Body::Prepared`], the fields of the answer are those that it has besides.
    pub fn at_once(&self, call: &Call<'_>, pages: &ErrorPages) -> Option<Response> {
        if !self.chain.is_prompt(call.parts) {
            return None;
        }
        // Before the filters, which would count a request twice that must take the long way after all.
        let prompt = match self.handler.prompt(call)? {
            // What an error page may replace is made anew.
            Prompt::Prepared(answer) if answer.status().is_success() || pages.is_empty() => Some(answer),
            _ => None,
        };
        let mut extra = Extra::new();
        let answer = match self.chain.is_empty() {
            true => None,
            false => self.chain.request(call, &mut extra),
        };
        let mut response = match (answer, prompt) {
            (Some(answer), _) => answer,
            (None, Some(prepared)) => {
                let prepared = match self.chain.is_empty() {
                    true => prepared,
                    false => prepared.dressed(|head| self.chain.dress(head)),
                };
                let status = prepared.status();
                let mut response = Response::new(Body::Prepared(prepared));
                *response.status_mut() = status;
                *response.headers_mut() = extra;
                return Some(response);
            }
            (None, None) => self.handler.render(call),
        };
        pages.apply(&mut response);
        self.chain.dress(response.headers_mut());
        append(response.headers_mut(), extra);
        Some(response)
    }

    /// Whether it answers WebTransport.
    pub fn takes_sessions(&self) -> bool {
        self.handler.application().is_some_and(App::takes_sessions)
    }

    /// The application that answers whatever comes, without any filter.
    pub fn application(&self) -> Option<&App> {
        self.handler.application().filter(|_| self.chain.is_empty())
    }

    /// Have it answer. It keeps the fields of the request, which nobody else looks at.
    pub async fn ask(
        &self,
        application: &App,
        mut parts: Parts,
        body: Body,
        setting: Setting<'_>,
        pages: &ErrorPages,
    ) -> Response {
        let fields = std::mem::take(&mut parts.headers);
        let mut response = application.respond(&setting.call(&parts), fields, body).await;
        pages.apply(&mut response);
        response
    }

    /// Answer any request.
    pub async fn answer(&self, mut parts: Parts, mut body: Body, setting: Setting<'_>, pages: &ErrorPages) -> Response {
        let mut extra = Extra::new();
        let reads = self.handler.reads_body();
        if self.handler.is_proxy() {
            proxy::strip_nominated(&mut parts.headers);
        }
        let answer = self
            .chain
            .pass(&mut parts, &mut body, reads, &mut extra, &setting)
            .await;
        let fields = match &self.handler {
            Handler::App(_) => parts.headers.clone(),
            _ => HeaderMap::new(),
        };
        let call = setting.call(&parts);
        let mut response = match answer {
            Some(answer) => answer,
            None => self.handler.respond(&call, fields, body).await,
        };
        pages.apply(&mut response);
        self.chain.respond(&call, &mut response).await;
        append(response.headers_mut(), extra);
        response
    }
}

fn append(fields: &mut HeaderMap, extra: Extra) {
    for (name, value) in &extra {
        fields.append(name, value.clone());
    }
}
