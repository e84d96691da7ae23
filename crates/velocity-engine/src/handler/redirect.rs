//! Another address (RFC 9110 section 15.4).

use http::header::LOCATION;
use http::{HeaderValue, StatusCode};
use percent_encoding::{AsciiSet, CONTROLS, utf8_percent_encode};

use super::template::failed;
use super::{Templates, Text, status, variables};
use crate::call::Call;
use crate::error::Result;
use crate::http::Response;
use crate::plan;
use crate::service::short;

/// What no URI has in it (RFC 3986 section 2), the percent sign excepted: what is encoded stays as it is.
const UNSAFE: &AsciiSet = &CONTROLS
    .add(b' ')
    .add(b'"')
    .add(b'<')
    .add(b'>')
    .add(b'\\')
    .add(b'^')
    .add(b'`')
    .add(b'{')
    .add(b'|')
    .add(b'}');

pub struct Redirect {
    location: Text,
    status: StatusCode,
    /// It stays on this host, so no request may lead it elsewhere.
    local: bool,
}

impl Redirect {
    pub fn new(plan: &plan::Redirect, place: &str, templates: &mut Templates) -> Result<Self> {
        let source = &plan.location;
        Ok(Self {
            location: Text::new(source, place, templates)?,
            status: status(plan.status)?,
            local: source.starts_with('/') && !source.starts_with("//")
                || matches!(source.trim_start_matches(['{', ' ']), s if s.starts_with("path") || s.starts_with("request.path")),
        })
    }

    pub fn respond(&self, call: &Call<'_>) -> Response {
        let known = || variables(call, self.location.wants_headers(), &[]);
        let Some(location) = self.location.render(call, known) else {
            return failed();
        };
        let mut location = utf8_percent_encode(&location, UNSAFE).to_string();
        // `//elsewhere.example` would be another host (RFC 3986 section 4.2).
        if self.local && location.starts_with("//") {
            location = format!("/{}", location.trim_start_matches('/'));
        }
        let mut response = short(self.status, "this is elsewhere\n");
        let value = HeaderValue::try_from(location).unwrap_or_else(|_| HeaderValue::from_static("/"));
        response.headers_mut().insert(LOCATION, value);
        response
    }
}
