//! Who answers: files, fixed answers, JSON, templates, redirects, other servers, applications.

mod error_page;
mod fixed;
mod form;
mod json;
mod redirect;
mod template;
mod templates;
mod text;
mod variables;

use std::sync::Arc;

use http::{HeaderMap, HeaderValue, StatusCode};

pub use self::error_page::ErrorPages;
use self::fixed::Fixed;
use self::json::Json;
use self::redirect::Redirect;
use self::template::Page;
pub use self::templates::Templates;
pub use self::text::Text;
pub use self::variables::{query, variables};
use crate::app::{self, App, Applications};
use crate::call::Call;
use crate::error::{Error, Result};
use crate::files::Files;
use crate::http::{Body, Prepared, Response};
use crate::plan;
use crate::proxy::{self, Cached, Proxy};

pub enum Handler {
    Files(Files),
    Fixed(Fixed),
    Json(Json),
    Page(Page),
    Redirect(Redirect),
    Proxy(Arc<Proxy>),
    Cached(Box<Cached>),
    App(App),
}

/// How a handler answers without waiting for anything.
pub enum Prompt {
    /// The same for everybody.
    Prepared(Arc<Prepared>),
    /// By [`Handler::render`].
    Render,
}

impl Handler {
    /// `place` is the name of the route: what is broken in the Plan is told with it.
    pub fn new(
        plan: &plan::Handler,
        place: &str,
        templates: &mut Templates,
        proxies: &mut proxy::Known,
        applications: &Applications,
    ) -> Result<Self> {
        Ok(match plan {
            plan::Handler::Files(files) => Handler::Files(Files::new(files)?),
            plan::Handler::File(file) => {
                let content_type = file.content_type.as_deref().map(content_type).transpose()?;
                Handler::Files(Files::single(&file.path, status(file.status)?, content_type)?)
            }
            plan::Handler::Respond(respond) => Handler::Fixed(Fixed::new(
                status(respond.status)?,
                content_type(&respond.content_type)?,
                respond.body.clone(),
            )),
            plan::Handler::Json(json) => Handler::Json(Json::new(status(json.status)?, &json.body, place, templates)?),
            plan::Handler::Template(page) => Handler::Page(Page::new(page, place, templates)?),
            plan::Handler::Redirect(redirect) => Handler::Redirect(Redirect::new(redirect, place, templates)?),
            plan::Handler::Proxy(plan) => match &plan.cache {
                None => Handler::Proxy(proxies.proxy(plan)?),
                Some(cache) => Handler::Cached(Box::new(proxies.cached(plan, cache, place)?)),
            },
            plan::Handler::Python(python) => Handler::App(App::new(python, applications)?),
        })
    }

    /// Whether and how this request can be answered at once. Nothing is done yet.
    pub fn prompt(&self, call: &Call<'_>) -> Option<Prompt> {
        match self {
            Handler::Files(files) => files.ready(call.parts).map(Prompt::Prepared),
            Handler::Fixed(fixed) => Some(Prompt::Prepared(fixed.answer().clone())),
            Handler::Page(page) if page.wants_form() => None,
            Handler::Json(_) | Handler::Page(_) | Handler::Redirect(_) => Some(Prompt::Render),
            Handler::App(app) => app.files()?.ready(call.parts).map(Prompt::Prepared),
            Handler::Proxy(_) | Handler::Cached(_) => None,
        }
    }

    /// The answer to a request for which [`Handler::prompt`] said so.
    pub fn render(&self, call: &Call<'_>) -> Response {
        match self {
            Handler::Fixed(fixed) => fixed.respond(),
            Handler::Json(json) => json.respond(call),
            Handler::Page(page) => page.respond(call, &[]),
            Handler::Redirect(redirect) => redirect.respond(call),
            Handler::Files(_) | Handler::Proxy(_) | Handler::Cached(_) | Handler::App(_) => {
                crate::service::plain(StatusCode::INTERNAL_SERVER_ERROR, "this cannot be answered at once\n")
            }
        }
    }

    /// Answer a request. `fields` are for an application to keep.
    pub async fn respond(&self, call: &Call<'_>, fields: HeaderMap, body: Body) -> Response {
        match self {
            Handler::Files(files) => files.respond(call.parts).await,
            Handler::Page(page) if page.wants_form() => match form::read(call.parts, body).await {
                Ok(form) => page.respond(call, &form),
                Err(refusal) => refusal,
            },
            // Boxed, so that the others do not carry their futures about.
            Handler::Proxy(proxy) => Box::pin(proxy.respond(call, body)).await,
            Handler::Cached(cached) => Box::pin(cached.respond(call, body)).await,
            Handler::App(app) => {
                if let Some(files) = app.files().filter(|_| app::asks_for_files(&call.parts.method)) {
                    let response = files.respond(call.parts).await;
                    if !app::is_missing(&response) {
                        return response;
                    }
                }
                app.respond(call, fields, body).await
            }
            Handler::Fixed(_) | Handler::Json(_) | Handler::Page(_) | Handler::Redirect(_) => self.render(call),
        }
    }

    /// The application, where it is one and nobody is asked before.
    pub fn application(&self) -> Option<&App> {
        match self {
            Handler::App(app) if app.files().is_none() => Some(app),
            _ => None,
        }
    }

    /// Whether the body of a request is of any use to it.
    pub fn reads_body(&self) -> bool {
        match self {
            Handler::Page(page) => page.wants_form(),
            Handler::Proxy(_) | Handler::Cached(_) | Handler::App(_) => true,
            _ => false,
        }
    }

    /// Whether answers may come with a Date and a Server of their own.
    pub fn is_origin(&self) -> bool {
        matches!(self, Handler::Proxy(_) | Handler::Cached(_) | Handler::App(_))
    }

    /// Whether answers come from elsewhere.
    pub fn is_proxy(&self) -> bool {
        matches!(self, Handler::Proxy(_) | Handler::Cached(_))
    }

    /// Whether answers may be kept, and say so.
    pub fn is_cached(&self) -> bool {
        matches!(self, Handler::Cached(_))
    }

    /// Whether it codes its answers itself.
    pub fn compresses(&self) -> bool {
        matches!(self, Handler::Files(_))
    }
}

/// The status of a final answer.
fn status(code: u16) -> Result<StatusCode> {
    StatusCode::from_u16(code)
        .ok()
        .filter(|status| (200..600).contains(&status.as_u16()))
        .ok_or_else(|| {
            Error::config("STATUS_INVALID", format!("{code} is not the status of an answer"))
                .hint("a status is between 200 and 599")
        })
}

fn content_type(text: &str) -> Result<HeaderValue> {
    HeaderValue::from_str(text).map_err(|_| {
        Error::config(
            "CONTENT_TYPE_INVALID",
            format!("{text:?} cannot be sent as Content-Type"),
        )
        .detail("text", text)
    })
}

#[cfg(test)]
mod tests;
