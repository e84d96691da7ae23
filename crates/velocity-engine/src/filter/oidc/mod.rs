//! OpenID Connect (Core 1.0, authorization code flow with PKCE, RFC 7636): browsers are led to the provider and come
//! back with a session, everything else brings a bearer token (RFC 6750) or is told to.
//!
//! Nothing is kept here for anybody: sessions and logins that have begun are in sealed cookies. Claims decide who may
//! pass, and go on to handlers as header fields, which no client can set, and as variables of templates.

mod claims;
mod cookie;
mod fetch;
mod login;
mod provider;
mod session;
mod token;

use std::path::PathBuf;
use std::sync::Arc;

use http::header::{ACCEPT, AUTHORIZATION, CACHE_CONTROL, CONNECTION, CONTENT_LENGTH, COOKIE, HOST};
use http::header::{LOCATION, RETRY_AFTER, SET_COOKIE, TRANSFER_ENCODING, WWW_AUTHENTICATE};
use http::request::Parts;
use http::{HeaderName, HeaderValue, Method, StatusCode};
use tokio::sync::Semaphore;

pub use self::claims::{Claims, Known};
use self::provider::{Failure, Provider};
use self::session::{Session, Vault};
use crate::call::{Call, Setting};
use crate::error::{Error, Result};
use crate::http::Response;
use crate::log::{self, Level};
use crate::plan;
use crate::service::{plain, short};

/// Logins that are being finished at once, each a request to the provider or two.
const MAX_FINISHING: usize = 32;

pub struct Oidc {
    provider: Arc<Provider>,
    client_id: String,
    secret_file: Option<PathBuf>,
    scope: String,
    callback_path: String,
    logout_path: String,
    /// The whole name of the session's cookie; those of logins that have begun begin with it.
    cookie: String,
    session_seconds: u64,
    audiences: Vec<String>,
    require: Vec<(String, Vec<String>)>,
    fields: Vec<(String, HeaderName)>,
    /// What a session holds, besides the subject.
    claims: Vec<String>,
    /// Whose sessions these are: filters with the same share them.
    login: Arc<str>,
    vault: Vault,
    finishing: Semaphore,
}

impl Oidc {
    /// Does not ask the provider: one that is down is no reason not to start.
    ///
    /// # Errors
    ///
    /// `OIDC_INVALID`.
    pub fn new(plan: &plan::Oidc) -> Result<Self> {
        let invalid = |reason: String| Error::config("OIDC_INVALID", reason);
        for path in [&plan.callback_path, &plan.logout_path] {
            if !login::is_local(path) || path.contains(['?', '%']) {
                return Err(invalid(format!("{path:?} cannot be a path of a login")));
            }
        }
        if plan.callback_path == plan.logout_path {
            return Err(invalid("callback_path and logout_path are the same".into()));
        }
        if HeaderName::from_bytes(plan.cookie.as_bytes()).is_err() {
            return Err(invalid(format!("{:?} cannot be the name of a cookie", plan.cookie)));
        }
        if plan.client_id.is_empty() {
            return Err(invalid("client_id is empty".into()));
        }
        if let Some(path) = &plan.ca_file {
            std::fs::File::open(path).map_err(|e| invalid(format!("cannot read {}: {e}", path.display())))?;
        }
        // Read again for every login: it may be changed at any time.
        plan.client_secret_file.as_deref().map(session::secret).transpose()?;
        let cookie_secret = plan
            .cookie_secret_file
            .as_deref()
            .map(session::cookie_secret)
            .transpose()?;
        let fields = plan.claim_headers.iter().map(|(claim, name)| {
            HeaderName::from_bytes(name.as_bytes())
                .ok()
                .filter(|name| !OTHERS.contains(name))
                .map(|name| (claim.clone(), name))
                .ok_or_else(|| invalid(format!("{name:?} cannot say a claim")))
        });
        let cookie = cookie::name(&plan.cookie);
        let login = format!("{}\n{}\n{cookie}", plan.issuer, plan.client_id);
        let required = plan.require.iter().map(|(name, _)| name);
        let told = plan.claim_headers.iter().map(|(name, _)| name);
        let mut claims: Vec<String> = plan.claims.iter().chain(required).chain(told).cloned().collect();
        claims.sort_unstable();
        claims.dedup();
        Ok(Self {
            provider: Provider::shared(&plan.issuer, plan.ca_file.as_ref())?,
            client_id: plan.client_id.clone(),
            secret_file: plan.client_secret_file.clone(),
            scope: login::scope(&plan.scopes),
            callback_path: plan.callback_path.clone(),
            logout_path: plan.logout_path.clone(),
            session_seconds: plan.session_ms.div_ceil(1000),
            audiences: [&plan.client_id].into_iter().chain(&plan.audiences).cloned().collect(),
            require: plan.require.clone(),
            fields: fields.collect::<Result<_>>()?,
            claims,
            vault: Vault::new(cookie_secret.as_deref(), &login)?,
            login: login.into(),
            cookie,
            finishing: Semaphore::new(MAX_FINISHING),
        })
    }

    /// Let a request pass with what is known of its sender, or answer it.
    pub async fn pass(&self, parts: &mut Parts, setting: &Setting<'_>) -> Option<Response> {
        for (_, name) in &self.fields {
            remove(parts, name);
        }
        let path = parts.uri.path();
        // Boxed, what asks the provider: that is rare, and large.
        if path == self.callback_path {
            return Some(Box::pin(self.finish(&setting.call(parts))).await);
        }
        if path == self.logout_path {
            return Some(Box::pin(self.logout()).await);
        }
        let claims = match self.who(parts, setting).await {
            Ok(claims) => claims,
            Err(answer) => return Some(answer),
        };
        cookie::strip(&mut parts.headers, &self.cookie);
        if !claims::meet(&claims, &self.require) {
            self.log(&setting.call(parts), "access_denied", &subject(&claims));
            return Some(plain(StatusCode::FORBIDDEN, "this is not for you\n"));
        }
        for (claim, name) in &self.fields {
            if let Some(value) = claims::find(&claims, claim).and_then(claims::field) {
                parts.headers.insert(name, value);
            }
        }
        parts.extensions.insert(Known {
            login: self.login.clone(),
            claims,
        });
        None
    }

    /// Who sent a request, or what to say to somebody unknown.
    async fn who(&self, parts: &Parts, setting: &Setting<'_>) -> Result<Arc<Claims>, Response> {
        // A filter before this one has found out already.
        if let Some(known) = parts
            .extensions
            .get::<Known>()
            .filter(|known| known.login == self.login)
        {
            return Ok(known.claims.clone());
        }
        let call = setting.call(parts);
        if let Some(token) = bearer(parts) {
            return match Box::pin(self.provider.verify(token, &self.audiences, None)).await {
                Ok(claims) => Ok(Arc::new(claims::keep(&claims, &self.claims))),
                Err(Failure::Unreachable) => Err(unavailable()),
                Err(Failure::Invalid(reason)) => {
                    self.log(&call, "token_refused", &reason);
                    Err(unauthorized("Bearer error=\"invalid_token\""))
                }
            };
        }
        let session = cookie::find(&parts.headers, &self.cookie);
        match session.and_then(|text| self.vault.open::<Session>(&self.cookie, text)) {
            Some(session) => Ok(Arc::new(session.claims)),
            None if is_browser(parts) => Err(Box::pin(self.begin(&call)).await),
            None => Err(unauthorized("Bearer")),
        }
    }

    /// End a session here, and at the provider where it has a page for that (OpenID Connect RP-Initiated Logout 1.0).
    async fn logout(&self) -> Response {
        let page = match self.provider.known().await {
            Ok(known) => known.metadata.end_session_endpoint.clone(),
            Err(_) => None,
        };
        let mut response = match page {
            Some(page) => redirect(&login::extended(&page, &[("client_id", &self.client_id)])),
            None => short(StatusCode::OK, "logged out\n"),
        };
        give_cookie(&mut response, cookie::clear(&self.cookie));
        never_stored(response)
    }

    fn log(&self, call: &Call<'_>, event: &str, reason: &str) {
        let fields = [
            ("client", call.client.to_string().into()),
            ("route", call.route.as_ref().into()),
            ("reason", reason.into()),
        ];
        log::record(Level::Warn, "velocity::edge", event, "", &fields);
    }
}

/// What somebody sees who is logged in is for no cache that others share, unless the handler says so.
pub fn keep_private(response: &mut Response) {
    let fields = response.headers_mut();
    if !fields.contains_key(CACHE_CONTROL) {
        fields.insert(CACHE_CONTROL, HeaderValue::from_static("private"));
    }
}

/// Fields that are no claim's to say.
const OTHERS: [HeaderName; 6] = [
    AUTHORIZATION,
    CONNECTION,
    CONTENT_LENGTH,
    COOKIE,
    HOST,
    TRANSFER_ENCODING,
];

/// Take a field out, and what some programs take for it: they read `X_User` as `X-User`.
fn remove(parts: &mut Parts, name: &HeaderName) {
    let same = |other: &HeaderName| {
        let (ours, theirs) = (name.as_str().bytes(), other.as_str().bytes());
        ours.len() == theirs.len() && ours.zip(theirs).all(|(a, b)| a == b || (is_dash(a) && is_dash(b)))
    };
    let found: Vec<HeaderName> = parts.headers.keys().filter(|other| same(other)).cloned().collect();
    for name in found {
        parts.headers.remove(name);
    }
}

fn is_dash(byte: u8) -> bool {
    matches!(byte, b'-' | b'_')
}

fn subject(claims: &Claims) -> String {
    let subject = claims.get("sub").and_then(serde_json::Value::as_str);
    format!("the claims of {} do not suffice", subject.unwrap_or_default())
}

/// The token of a request (RFC 6750 section 2.1). One that cannot be is as wrong as any other.
fn bearer(parts: &Parts) -> Option<&str> {
    let value = parts.headers.get(AUTHORIZATION)?.as_bytes();
    let (scheme, token) = value.split_at_checked(6)?;
    (scheme.eq_ignore_ascii_case(b"bearer") && matches!(token, [] | [b' ', ..]))
        .then(|| std::str::from_utf8(token.trim_ascii()).unwrap_or_default())
}

/// Whether somebody sits before it who can log in: it opens a page, rather than a part of one (Fetch Metadata).
fn is_browser(parts: &Parts) -> bool {
    let field = |name: &str| parts.headers.get(name).and_then(|value| value.to_str().ok());
    let mut accepted = parts
        .headers
        .get_all(ACCEPT)
        .iter()
        .filter_map(|value| value.to_str().ok());
    matches!(parts.method, Method::GET | Method::HEAD)
        && accepted.any(|value| value.to_ascii_lowercase().contains("text/html"))
        && field("sec-fetch-mode").is_none_or(|mode| mode == "navigate")
}

fn unauthorized(challenge: &'static str) -> Response {
    let mut response = plain(StatusCode::UNAUTHORIZED, "who are you?\n");
    let challenge = HeaderValue::from_static(challenge);
    response.headers_mut().insert(WWW_AUTHENTICATE, challenge);
    never_stored(response)
}

/// The provider does not answer, or not as it should.
fn unavailable() -> Response {
    let mut response = plain(StatusCode::BAD_GATEWAY, "nobody can log in now, try again\n");
    response
        .headers_mut()
        .insert(RETRY_AFTER, HeaderValue::from_static("5"));
    never_stored(response)
}

fn redirect(location: &str) -> Response {
    let Ok(location) = HeaderValue::try_from(location) else {
        return unavailable();
    };
    let mut response = short(StatusCode::FOUND, "this is elsewhere\n");
    response.headers_mut().insert(LOCATION, location);
    never_stored(response)
}

fn give_cookie(response: &mut Response, cookie: Option<HeaderValue>) {
    if let Some(cookie) = cookie {
        response.headers_mut().append(SET_COOKIE, cookie);
    }
}

fn never_stored(mut response: Response) -> Response {
    let never = HeaderValue::from_static("no-store");
    response.headers_mut().insert(CACHE_CONTROL, never);
    response
}

#[cfg(test)]
mod tests;
