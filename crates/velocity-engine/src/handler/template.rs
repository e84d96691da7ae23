//! A page from a template.

use bytes::Bytes;
use http::header::{CONTENT_LENGTH, CONTENT_TYPE};
use http::{HeaderValue, StatusCode};

use super::templates::{Wants, stem};
use super::{Templates, content_type, status, variables};
use crate::call::Call;
use crate::error::Result;
use crate::files;
use crate::http::{Body, Response};
use crate::plan;
use crate::service::plain;

pub struct Page {
    name: String,
    status: StatusCode,
    content_type: HeaderValue,
    wants: Wants,
}

impl Page {
    pub fn new(plan: &plan::Template, place: &str, templates: &Templates) -> Result<Self> {
        let content_type = match &plan.content_type {
            Some(text) => content_type(text)?,
            None => match mime_guess::from_path(stem(&plan.name)).first() {
                Some(kind) => files::content_type(&kind),
                None => HeaderValue::from_static("text/html; charset=utf-8"),
            },
        };
        Ok(Self {
            name: plan.name.clone(),
            status: status(plan.status)?,
            content_type,
            wants: templates.page(&plan.name, place)?,
        })
    }

    pub fn wants_form(&self) -> bool {
        self.wants.form
    }

    pub fn respond(&self, call: &Call<'_>, form: &[(String, String)]) -> Response {
        let known = variables(call, self.wants.headers, form);
        let Some(page) = call.templates.render(&self.name, &known) else {
            return failed();
        };
        let mut response = Response::new(Body::Empty);
        *response.status_mut() = self.status;
        let headers = response.headers_mut();
        headers.insert(CONTENT_TYPE, self.content_type.clone());
        headers.insert(CONTENT_LENGTH, HeaderValue::from(page.len()));
        *response.body_mut() = Bytes::from(page).into();
        response
    }
}

/// What was to be rendered could not be; the log says why.
pub fn failed() -> Response {
    plain(StatusCode::INTERNAL_SERVER_ERROR, "this page cannot be shown\n")
}
