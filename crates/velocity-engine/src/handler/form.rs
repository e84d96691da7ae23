//! Fields of a form (URL standard, section 5): for templates that look at them.

use http::StatusCode;
use http::header::CONTENT_TYPE;
use http::request::Parts;

use crate::http::replay::{self, Start};
use crate::http::{Body, Response};
use crate::service::plain;

/// More than any form; files are not sent this way.
const MAX_FORM: usize = 1 << 20;
const MAX_FIELDS: usize = 1000;

/// Names and values, in order; none if the body is no form. An answer if it cannot be read.
pub async fn read(parts: &Parts, body: Body) -> Result<Vec<(String, String)>, Response> {
    let is_form = parts.headers.get(CONTENT_TYPE).is_some_and(|kind| {
        let kind = kind.as_bytes().split(|&b| b == b';').next().unwrap_or_default();
        kind.trim_ascii()
            .eq_ignore_ascii_case(b"application/x-www-form-urlencoded")
    });
    if !is_form {
        return Ok(Vec::new());
    }
    let too_large = || plain(StatusCode::PAYLOAD_TOO_LARGE, "this form is too large\n");
    match replay::read(body, MAX_FORM).await {
        Ok(Start { content, rest: None }) => Ok(form_urlencoded::parse(&content)
            .take(MAX_FIELDS)
            .map(|(name, value)| (name.into_owned(), value.into_owned()))
            .collect()),
        Ok(_) => Err(too_large()),
        Err(error) if error.kind() == std::io::ErrorKind::FileTooLarge => Err(too_large()),
        Err(_) => Err(plain(StatusCode::BAD_REQUEST, "the request ended early\n")),
    }
}
