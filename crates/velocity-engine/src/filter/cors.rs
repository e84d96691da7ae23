//! Cross-origin requests (Fetch standard, section 3.2).

use http::header::{
    ACCESS_CONTROL_ALLOW_CREDENTIALS, ACCESS_CONTROL_ALLOW_HEADERS, ACCESS_CONTROL_ALLOW_METHODS,
    ACCESS_CONTROL_ALLOW_ORIGIN, ACCESS_CONTROL_EXPOSE_HEADERS, ACCESS_CONTROL_MAX_AGE, ACCESS_CONTROL_REQUEST_METHOD,
    ORIGIN, VARY,
};
use http::request::Parts;
use http::{HeaderValue, Method, StatusCode};

use super::Extra;
use crate::error::{Error, Result};
use crate::http::{Body, Response};
use crate::plan;

pub struct Cors {
    any: bool,
    exact: Vec<String>,
    /// Before and after the star of `https://*.example.com`.
    wildcards: Vec<(String, String)>,
    methods: HeaderValue,
    headers: Option<HeaderValue>,
    expose: Option<HeaderValue>,
    credentials: bool,
    max_age: HeaderValue,
}

impl Cors {
    /// # Errors
    ///
    /// `CORS_INVALID`.
    pub fn new(plan: &plan::Cors) -> Result<Self> {
        let any = plan.origins.iter().any(|origin| origin == "*");
        if any && plan.credentials {
            return Err(
                Error::config("CORS_INVALID", "credentials cannot be shared with every origin")
                    .hint("name the origins that may have them"),
            );
        }
        let mut wildcards = Vec::new();
        let mut exact = Vec::new();
        for origin in plan.origins.iter().filter(|origin| *origin != "*") {
            let origin = origin.trim_end_matches('/').to_ascii_lowercase();
            match origin.split_once('*') {
                Some((before, after)) if before.ends_with("://") && after.starts_with('.') && !after.contains('*') => {
                    wildcards.push((before.to_owned(), after.to_owned()));
                }
                Some(_) => {
                    return Err(Error::config("CORS_INVALID", format!("{origin:?} is not an origin"))
                        .hint("a star stands for the first labels of a host: https://*.example.com"));
                }
                None => exact.push(origin),
            }
        }
        Ok(Self {
            any,
            exact,
            wildcards,
            methods: list(&plan.methods)?.unwrap_or_else(|| HeaderValue::from_static("")),
            headers: list(&plan.headers)?,
            expose: list(&plan.expose)?,
            credentials: plan.credentials,
            max_age: HeaderValue::from(plan.max_age_s),
        })
    }

    pub fn request(&self, parts: &Parts, extra: &mut Extra) -> Option<Response> {
        if !self.any {
            extra.append(VARY, HeaderValue::from_static("Origin"));
        }
        let origin = parts.headers.get(ORIGIN)?;
        let allowed = self.allows(origin);
        if allowed {
            let shown = if self.any {
                HeaderValue::from_static("*")
            } else {
                origin.clone()
            };
            extra.insert(ACCESS_CONTROL_ALLOW_ORIGIN, shown);
            if self.credentials {
                extra.insert(ACCESS_CONTROL_ALLOW_CREDENTIALS, HeaderValue::from_static("true"));
            }
        }
        if asked_by_preflight(parts).is_none() {
            if let Some(expose) = self.expose.clone().filter(|_| allowed) {
                extra.insert(ACCESS_CONTROL_EXPOSE_HEADERS, expose);
            }
            return None;
        }
        // Section 3.2.3: whatever is not said is not allowed, so a question is answered in any case.
        let mut response = Response::new(Body::Empty);
        *response.status_mut() = StatusCode::NO_CONTENT;
        if allowed {
            let fields = response.headers_mut();
            fields.insert(ACCESS_CONTROL_ALLOW_METHODS, self.methods.clone());
            if let Some(headers) = self.headers.clone() {
                fields.insert(ACCESS_CONTROL_ALLOW_HEADERS, headers);
            }
            fields.insert(ACCESS_CONTROL_MAX_AGE, self.max_age.clone());
        }
        Some(response)
    }

    fn allows(&self, origin: &HeaderValue) -> bool {
        let Ok(origin) = origin.to_str() else { return false };
        // Browsers send origins in lower case; so nothing is folded here.
        self.any
            || self.exact.iter().any(|known| known == origin)
            || self.wildcards.iter().any(|(before, after)| {
                let label = origin
                    .strip_prefix(before.as_str())
                    .and_then(|rest| rest.strip_suffix(after.as_str()));
                label.is_some_and(|label| {
                    !label.is_empty()
                        && label
                            .bytes()
                            .all(|b| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'.' | b'_'))
                })
            })
    }
}

/// The method of another request, if a browser asks whether it may send that.
pub fn asked_by_preflight(parts: &Parts) -> Option<Method> {
    if parts.method != Method::OPTIONS || !parts.headers.contains_key(ORIGIN) {
        return None;
    }
    let method = parts.headers.get(ACCESS_CONTROL_REQUEST_METHOD)?;
    Method::from_bytes(method.as_bytes()).ok()
}

fn list(names: &[String]) -> Result<Option<HeaderValue>> {
    if names.is_empty() {
        return Ok(None);
    }
    let text = names.join(", ");
    HeaderValue::try_from(&text)
        .map(Some)
        .map_err(|_| Error::config("CORS_INVALID", format!("{text:?} cannot be sent")))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn cors(origins: &[&str], credentials: bool) -> Result<Cors> {
        Cors::new(&plan::Cors {
            origins: origins.iter().map(ToString::to_string).collect(),
            methods: vec!["GET".into(), "PUT".into()],
            headers: vec!["x-a".into()],
            expose: vec!["x-b".into()],
            credentials,
            max_age_s: 60,
        })
    }

    fn ask(
        cors: &Cors,
        method: Method,
        origin: &'static str,
        wants: Option<&'static str>,
    ) -> (Option<Response>, Extra) {
        let mut request = http::Request::builder().method(method).header(ORIGIN, origin);
        if let Some(method) = wants {
            request = request.header(ACCESS_CONTROL_REQUEST_METHOD, method);
        }
        let mut extra = Extra::new();
        let answer = cors.request(&request.body(()).unwrap().into_parts().0, &mut extra);
        (answer, extra)
    }

    #[test]
    fn who_may_and_who_may_not() {
        let cors = cors(&["https://app.example", "https://*.example.com"], true).unwrap();
        for (origin, allowed) in [
            ("https://app.example", true),
            ("https://a.example.com", true),
            ("https://a.b.example.com", true),
            ("https://example.com", false),
            ("http://app.example", false),
            ("https://app.example.evil", false),
            ("https://evil.example/x.example.com", false),
            ("https://evilexample.com", false),
            ("null", false),
        ] {
            let (answer, extra) = ask(&cors, Method::GET, origin, None);
            assert!(answer.is_none());
            assert_eq!(extra.contains_key(ACCESS_CONTROL_ALLOW_ORIGIN), allowed, "{origin}");
            assert_eq!(
                extra.contains_key(ACCESS_CONTROL_ALLOW_CREDENTIALS),
                allowed,
                "{origin}"
            );
            assert_eq!(extra[VARY], "Origin");
        }
    }

    #[test]
    fn questions_are_answered() {
        let cors = cors(&["*"], false).unwrap();
        let (answer, extra) = ask(&cors, Method::OPTIONS, "https://a.example", Some("PUT"));
        let answer = answer.unwrap();
        assert_eq!(answer.status(), 204);
        assert_eq!(answer.headers()[ACCESS_CONTROL_ALLOW_METHODS], "GET, PUT");
        assert_eq!(answer.headers()[ACCESS_CONTROL_MAX_AGE], "60");
        assert_eq!(extra[ACCESS_CONTROL_ALLOW_ORIGIN], "*");
        assert!(ask(&cors, Method::OPTIONS, "https://a.example", None).0.is_none());
    }

    #[test]
    fn what_would_open_everything_is_refused() {
        assert_eq!(cors(&["*"], true).err().map(|e| e.code), Some("CORS_INVALID"));
        assert_eq!(cors(&["https://a*"], false).err().map(|e| e.code), Some("CORS_INVALID"));
    }
}
