//! What happens to requests on their way to a handler, and to responses on their way back.
//!
//! Equal filters of two Plans are the same filter: its state, such as who was counted, outlives a reload.

use std::path::PathBuf;

use serde::Deserialize;

#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(tag = "kind", rename_all = "snake_case")]
pub enum Filter {
    RateLimit(RateLimit),
    Waf(Waf),
    Headers(Headers),
    Cors(Cors),
    Compress(Compress),
    BasicAuth(BasicAuth),
    IpAccess(IpAccess),
    RequestSize(RequestSize),
    EarlyHints(EarlyHints),
    Oidc(Box<Oidc>),
}

/// At most `limit` requests in any `window_ms`, else 429.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RateLimit {
    pub limit: u32,
    pub window_ms: u64,
    pub key: RateKey,
}

/// Whom a rate limit counts.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RateKey {
    pub of: RateKeyKind,
    /// Of the header or cookie; requests without it are counted by address.
    pub name: Option<String>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum RateKeyKind {
    /// The client's address, IPv6 by /64.
    Client,
    Header,
    Cookie,
    Path,
}

/// Requests that look like attacks.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Waf {
    pub mode: WafMode,
    pub default_rules: bool,
    pub rules: Vec<WafRule>,
    /// Names of rules that do not apply, `sqli` or `sqli.union`.
    pub exclude: Vec<String>,
    /// How much of a body is looked at.
    pub max_body_bytes: usize,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum WafMode {
    Block,
    Log,
}

/// A pattern that no request may have in it.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct WafRule {
    pub name: String,
    /// Syntax of the regex crate.
    pub pattern: String,
    pub targets: Vec<WafTarget>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum WafTarget {
    Path,
    Query,
    Headers,
    Body,
}

/// Header fields of a request or response, as pairs of name and template.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Headers {
    pub of: HeadersOf,
    /// Set where there is none.
    pub default: Vec<(String, String)>,
    pub set: Vec<(String, String)>,
    pub add: Vec<(String, String)>,
    pub remove: Vec<String>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum HeadersOf {
    Request,
    Response,
}

/// Cross-origin requests (Fetch standard, section 3.2).
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Cors {
    /// `https://app.example`, `https://*.example.com`, or `*`.
    pub origins: Vec<String>,
    pub methods: Vec<String>,
    pub headers: Vec<String>,
    pub expose: Vec<String>,
    pub credentials: bool,
    pub max_age_s: u32,
}

/// Answers that are compressed on the way out.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Compress {
    /// From `br`, `zstd`, `gzip`, preferred first.
    pub codings: Vec<String>,
    pub min_bytes: u64,
}

/// User and password (RFC 7617).
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct BasicAuth {
    pub realm: String,
    /// Pairs of name and password hash: argon2id (PHC) or bcrypt.
    pub users: Vec<(String, String)>,
}

/// Networks. Whoever is denied, or not allowed where anybody is, gets 403.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct IpAccess {
    pub allow: Vec<String>,
    pub deny: Vec<String>,
}

/// Larger request bodies get 413.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RequestSize {
    pub max_bytes: u64,
}

/// 103 (RFC 8297) before the answer.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct EarlyHints {
    /// Values of Link.
    pub links: Vec<String>,
}

/// OpenID Connect. Browsers log in (authorization code, PKCE), API calls bring a bearer token.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Oidc {
    pub issuer: String,
    pub client_id: String,
    /// `None` for a public client.
    pub client_secret_file: Option<PathBuf>,
    pub scopes: Vec<String>,
    pub callback_path: String,
    pub logout_path: String,
    pub cookie: String,
    pub session_ms: u64,
    /// Further audiences of bearer tokens; `client_id` always is one.
    pub audiences: Vec<String>,
    /// Claims, and the values of which each must have one; else 403.
    pub require: Vec<(String, Vec<String>)>,
    /// Pairs of claim and request header field that tells handlers.
    pub claim_headers: Vec<(String, String)>,
    /// What sessions hold besides: claims of templates and of filters that share them.
    pub claims: Vec<String>,
    /// What sessions are sealed with, at least 32 bytes; `None` is a secret that ends with the process.
    pub cookie_secret_file: Option<PathBuf>,
    /// Roots for the provider's certificate; `None` is the system's.
    pub ca_file: Option<PathBuf>,
}
