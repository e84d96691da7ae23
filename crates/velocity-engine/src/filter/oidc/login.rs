//! The authorization code flow (OpenID Connect Core 1.0 section 3.1) with PKCE (RFC 7636): to the provider and back.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use http::{Method, StatusCode};
use serde::Deserialize;
use serde_json::Value;
use velocity_tls::seal::sha256;

use super::claims::{self, Claims};
use super::provider::{Failure, Known};
use super::session::{self, Pending, Session, now};
use super::{Oidc, cookie, give_cookie, never_stored, redirect, unavailable};
use crate::call::Call;
use crate::error::Result;
use crate::handler::query;
use crate::http::Response;
use crate::service::{host, plain};

/// How long somebody may take to log in, in seconds.
const PENDING: u64 = 10 * 60;
/// Longer addresses are not gone back to.
const MAX_BACK: usize = 1024;
/// Logins that may have begun in one browser, in several tabs: each has a cookie.
const TABS: u8 = 4;
/// A code or a state is a line of text.
const MAX_PARAMETER: usize = 4096;

/// RFC 6749 section 5.1.
#[derive(Deserialize)]
struct Tokens {
    id_token: String,
    access_token: Option<String>,
}

/// RFC 6749 section 5.2.
#[derive(Deserialize)]
struct Refused {
    error: String,
}

/// Why a login did not come to an end.
enum Broken {
    /// Begin again.
    Login(String),
    /// The provider does not answer, or does not know us.
    Provider(String),
}

impl Oidc {
    /// Send a browser to the provider.
    pub(super) async fn begin(&self, call: &Call<'_>) -> Response {
        let Ok(known) = self.provider.known().await else {
            return unavailable();
        };
        match self.pending(call) {
            Ok((pending, slot, sealed)) => {
                let challenge = URL_SAFE_NO_PAD.encode(sha256(pending.verifier.as_bytes()));
                let mut response = redirect(&extended(
                    &known.metadata.authorization_endpoint,
                    &[
                        ("response_type", "code"),
                        ("client_id", &self.client_id),
                        ("redirect_uri", &self.redirect_uri(call)),
                        ("scope", &self.scope),
                        ("state", &pending.state),
                        ("nonce", &pending.nonce),
                        ("code_challenge", &challenge),
                        ("code_challenge_method", "S256"),
                    ],
                ));
                give_cookie(&mut response, cookie::set(&slot, &sealed, PENDING));
                response
            }
            Err(error) => {
                self.log(call, "login_failed", &error.message);
                unavailable()
            }
        }
    }

    /// A login that begins, the name of its cookie, and what is in it.
    pub(super) fn pending(&self, call: &Call<'_>) -> Result<(Pending, String, String)> {
        let path = call.parts.uri.path_and_query().map_or("/", |path| path.as_str());
        let back = match path.len() <= MAX_BACK && is_local(path) {
            true => path,
            false => "/",
        };
        let pending = Pending {
            until: now() + PENDING,
            state: session::random()?,
            nonce: session::random()?,
            verifier: session::random()?,
            back: back.to_owned(),
        };
        let slot = self.slot(&pending.state);
        let sealed = self.vault.seal(&slot, &pending);
        let sealed = sealed.ok_or_else(|| crate::Error::internal("a login cannot be sealed"))?;
        Ok((pending, slot, sealed))
    }

    /// The cookie of a login. There are few, so that none can fill a browser with them.
    pub(super) fn slot(&self, state: &str) -> String {
        format!("{}_login{}", self.cookie, sha256(state.as_bytes())[0] % TABS)
    }

    /// Where the provider sends browsers back to.
    fn redirect_uri(&self, call: &Call<'_>) -> String {
        format!("https://{}{}", host(call.parts), self.callback_path)
    }

    /// A browser comes back from the provider.
    pub(super) async fn finish(&self, call: &Call<'_>) -> Response {
        if call.parts.method != Method::GET {
            return plain(StatusCode::METHOD_NOT_ALLOWED, "a login ends by GET\n");
        }
        let text = call.parts.uri.query().unwrap_or_default();
        let parameter = |name| query(text, name).filter(|value| value.len() <= MAX_PARAMETER);
        let state = parameter("state").unwrap_or_default();
        let slot = self.slot(&state);
        // Only the browser that began a login can end it (RFC 6749 section 10.12).
        let pending = cookie::find(&call.parts.headers, &slot)
            .and_then(|text| self.vault.open::<Pending>(&slot, text))
            .filter(|pending| pending.state == state);
        let Some(pending) = pending else {
            self.log(
                call,
                "login_failed",
                "it was not begun by this browser, or too long ago",
            );
            return never_stored(plain(
                StatusCode::BAD_REQUEST,
                "this login was not begun here, or too long ago: open the page again\n",
            ));
        };
        let ended = match (parameter("code"), parameter("error")) {
            (_, Some(error)) => Err(Broken::Login(format!("the provider says {}", shown(&error)))),
            (None, None) => Err(Broken::Login("there is no code".into())),
            (Some(code), None) => self.exchange(call, &pending, &code, parameter("iss").as_deref()).await,
        };
        let mut response = match ended {
            Ok(claims) => self.welcome(call, claims, &pending.back),
            Err(Broken::Login(reason)) => {
                self.log(call, "login_failed", &reason);
                plain(StatusCode::BAD_REQUEST, "this login has failed: open the page again\n")
            }
            Err(Broken::Provider(reason)) => {
                self.log(call, "login_failed", &reason);
                unavailable()
            }
        };
        give_cookie(&mut response, cookie::clear(&slot));
        never_stored(response)
    }

    /// Give somebody a session.
    pub(super) fn welcome(&self, call: &Call<'_>, claims: Claims, back: &str) -> Response {
        let session = Session {
            until: now() + self.session_seconds,
            claims,
        };
        let sealed = self.vault.seal(&self.cookie, &session);
        let cookie = sealed.and_then(|sealed| cookie::set(&self.cookie, &sealed, self.session_seconds));
        let Some(cookie) = cookie else {
            self.log(call, "login_failed", "the claims are too large for a cookie");
            return plain(StatusCode::INTERNAL_SERVER_ERROR, "this session is too large\n");
        };
        let mut response = redirect(if is_local(back) { back } else { "/" });
        give_cookie(&mut response, Some(cookie));
        response
    }

    /// A code for claims.
    async fn exchange(
        &self,
        call: &Call<'_>,
        pending: &Pending,
        code: &str,
        issuer: Option<&str>,
    ) -> Result<Claims, Broken> {
        let known = self.provider.known().await.map_err(|e| Broken::Provider(e.message))?;
        // RFC 9207 section 2.4: another provider may have sent it.
        let metadata = &known.metadata;
        let right = match issuer {
            Some(issuer) => issuer == metadata.issuer,
            None => !metadata.authorization_response_iss_parameter_supported,
        };
        if !right {
            return Err(Broken::Login("it comes from another provider".into()));
        }
        let Ok(_turn) = self.finishing.try_acquire() else {
            return Err(Broken::Provider("too many logins at once".into()));
        };
        let tokens = self.tokens(call, &known, pending, code).await?;
        let audience = std::slice::from_ref(&self.client_id);
        let login = Some((self.client_id.as_str(), pending.nonce.as_str()));
        let verified = self.provider.verify(&tokens.id_token, audience, login).await;
        let claims = verified.map_err(|failure| match failure {
            Failure::Invalid(reason) => Broken::Login(format!("the ID token is not valid: {reason}")),
            Failure::Unreachable => Broken::Provider("the provider cannot be reached".into()),
        })?;
        let claims = self.completed(&known, claims, tokens.access_token.as_deref()).await?;
        Ok(claims::keep(&claims, &self.claims))
    }

    /// Section 3.1.3.
    async fn tokens(&self, call: &Call<'_>, known: &Known, pending: &Pending, code: &str) -> Result<Tokens, Broken> {
        let provider = |e: crate::Error| Broken::Provider(e.message);
        let secret = match self.secret_file.clone() {
            Some(path) => {
                let read = tokio::task::spawn_blocking(move || session::secret(&path)).await;
                let read = read.map_err(|e| Broken::Provider(e.to_string()))?;
                Some(read.map_err(provider)?)
            }
            None => None,
        };
        let methods = &known.metadata.token_endpoint_auth_methods_supported;
        let has = |method: &str| methods.iter().any(|known| known == method);
        let in_form = !has("client_secret_basic") && has("client_secret_post");
        let (redirect_uri, client_id) = (self.redirect_uri(call), self.client_id.as_str());
        let mut form = vec![
            ("grant_type", "authorization_code"),
            ("code", code),
            ("redirect_uri", &redirect_uri),
            ("code_verifier", &pending.verifier),
        ];
        let text = secret.as_deref().map(String::from_utf8_lossy);
        let basic = match &text {
            Some(secret) if !in_form => Some((client_id, &**secret)),
            Some(secret) => {
                form.extend([("client_id", client_id), ("client_secret", secret)]);
                None
            }
            None => {
                form.push(("client_id", client_id));
                None
            }
        };
        let answer = known
            .token_endpoint
            .post(self.provider.ca_file(), encoded(&form), basic)
            .await
            .map_err(provider)?;
        match answer.status {
            200 => answer.json().map_err(provider),
            status => match answer.json::<Refused>() {
                // The code is old or was used: another login helps.
                Ok(refused) if refused.error == "invalid_grant" => Err(Broken::Login("the code is not valid".into())),
                Ok(refused) => Err(Broken::Provider(format!("the provider says {}", shown(&refused.error)))),
                Err(_) => Err(Broken::Provider(format!("the token endpoint has status {status}"))),
            },
        }
    }

    /// Claims that are wanted and not in the ID token are at another endpoint (sections 5.3 and 5.4).
    async fn completed(&self, known: &Known, mut claims: Claims, token: Option<&str>) -> Result<Claims, Broken> {
        let complete = self.claims.iter().all(|name| claims::find(&claims, name).is_some());
        let (false, Some(endpoint), Some(token)) = (complete, &known.userinfo_endpoint, token) else {
            return Ok(claims);
        };
        let provider = |e: crate::Error| Broken::Provider(e.message);
        let answer = endpoint
            .get(self.provider.ca_file(), Some(token))
            .await
            .map_err(provider)?;
        if answer.status != 200 {
            let reason = format!("the userinfo endpoint has status {}", answer.status);
            return Err(Broken::Provider(reason));
        }
        let more: Claims = answer.json().map_err(provider)?;
        // Section 5.3.4: it may be about somebody else.
        if more.get("sub").and_then(Value::as_str) != claims.get("sub").and_then(Value::as_str) {
            return Err(Broken::Login("the userinfo endpoint speaks of another subject".into()));
        }
        for (name, value) in more {
            claims.entry(name).or_insert(value);
        }
        Ok(claims)
    }
}

/// `openid` is always one of them (section 3.1.2.1).
pub(super) fn scope(scopes: &[String]) -> String {
    let others = scopes.iter().map(String::as_str).filter(|&scope| scope != "openid");
    ["openid"].into_iter().chain(others).collect::<Vec<_>>().join(" ")
}

/// Whether an address leads to this host and nowhere else: to browsers, `//a.example` and `/\a.example` are others.
pub(super) fn is_local(path: &str) -> bool {
    let plain = path.bytes().all(|byte| byte > b' ' && byte != b'\\' && byte != 0x7f);
    path.starts_with('/') && !path.starts_with("//") && plain
}

/// An address with more in its query.
pub(super) fn extended(url: &str, pairs: &[(&str, &str)]) -> String {
    let mark = if url.contains('?') { '&' } else { '?' };
    format!("{url}{mark}{}", encoded(pairs))
}

fn encoded(pairs: &[(&str, &str)]) -> String {
    form_urlencoded::Serializer::new(String::new())
        .extend_pairs(pairs)
        .finish()
}

/// The beginning of what others say.
fn shown(text: &str) -> String {
    text.chars().take(80).collect()
}
