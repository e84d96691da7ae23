//! Which requests there are, and who answers them.

use std::path::PathBuf;

use serde::Deserialize;

use super::Profiles;

#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Site {
    /// Lower case, exact or `*.example.com`: exact ones win, then the longest wildcard, then the site without any.
    pub hosts: Vec<String>,
    /// Another policy than the server's, by SNI.
    pub profiles: Option<Profiles>,
    /// The first that matches answers.
    pub routes: Vec<Route>,
    pub error_pages: Vec<ErrorPage>,
}

#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Route {
    /// For logs: `content.sites[0]`, `edge.routes[2]`.
    pub name: String,
    #[serde(rename = "match")]
    pub matches: Match,
    /// Upper case; empty for all. GET includes HEAD.
    pub methods: Vec<String>,
    /// Places in `Plan.filters`, in the order they see a request.
    pub filters: Vec<usize>,
    pub handler: Handler,
}

/// Which paths.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Match {
    pub kind: MatchKind,
    pub value: String,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum MatchKind {
    /// The whole path.
    Exact,
    /// Its first segments.
    Prefix,
    /// Segments with `{name}` and a last `{*rest}`.
    Pattern,
}

/// What to show instead of an answer without a body of its own.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ErrorPage {
    /// `404`, `4xx`, `5xx`: the most exact one is shown.
    pub status: String,
    pub file: PathBuf,
}

#[derive(Clone, Debug, Deserialize)]
#[serde(tag = "kind", rename_all = "snake_case")]
pub enum Handler {
    Files(Files),
    File(File),
    Respond(Respond),
    Json(Json),
    Template(Template),
    Redirect(Redirect),
    Proxy(Box<Proxy>),
    Python(Box<Python>),
}

/// A folder.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Files {
    pub root: PathBuf,
    /// Tried in order inside a directory.
    pub index: Vec<String>,
    /// Show a page with the contents of directories that have no index.
    pub listings: bool,
    /// The value of `Cache-Control` on successful answers; `None` sends none.
    pub cache_control: Option<String>,
    /// Serve names that begin with a dot. `.velocity` is never served.
    pub dotfiles: bool,
    /// Compress on the fly and use `.br`, `.zst` and `.gz` siblings.
    pub compress: bool,
    /// Memory for small hot files, in bytes, over the whole folder.
    pub hot_cache_bytes: u64,
    /// Cut from the path before it is looked for, `/assets`.
    pub strip_prefix: String,
    /// Answers, with 200, what is not there.
    pub fallback_file: Option<String>,
}

/// One file, whatever the path.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct File {
    pub path: PathBuf,
    pub status: u16,
    /// `None` goes by the name of the file.
    pub content_type: Option<String>,
}

/// A fixed answer.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Respond {
    pub status: u16,
    pub content_type: String,
    pub body: String,
}

/// JSON in which every string, keys excepted, is a template.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Json {
    pub status: u16,
    pub body: serde_json::Value,
}

/// A page rendered from a template of [`Plan::templates`](super::Plan::templates).
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Template {
    pub name: String,
    pub status: u16,
    /// `None` goes by the name of the template.
    pub content_type: Option<String>,
}

/// Another address.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Redirect {
    /// A template.
    pub location: String,
    pub status: u16,
}

/// An application in Python, in this process or in others.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Python {
    /// As it was named when it was loaded, `module:attribute`.
    pub app: String,
    /// What of the path says which application it is for, without a slash at its end.
    pub root_path: String,
    /// Asked first; what is not there is for the application.
    pub files: Option<FilesFirst>,
    /// Requests at once; more get 503.
    pub limit_concurrency: Option<usize>,
    /// Whether messages of WebSockets are compressed where the client offers it.
    pub ws_per_message_deflate: bool,
    /// The largest message of a WebSocket that is taken, in bytes.
    pub ws_max_message_bytes: usize,
    /// How long a client may be silent before it is pinged, and then again before it is given up; never without.
    pub ws_ping_ms: Option<u64>,
    /// For the head of an answer.
    pub timeout_ms: Option<u64>,
}

/// A folder, as a part of another handler.
#[derive(Clone, Debug, Deserialize)]
#[serde(tag = "kind", rename_all = "snake_case")]
pub enum FilesFirst {
    Files(Files),
}

/// Other servers.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Proxy {
    pub upstreams: Vec<Upstream>,
    pub balance: Balance,
    pub preserve_host: bool,
    pub strip_prefix: String,
    /// Whether an answer goes on while it comes in; otherwise it is read first, if it is short.
    pub streaming: bool,
    pub retries: Retries,
    pub timeouts: Timeouts,
    pub tls: UpstreamTls,
    pub health: Option<Health>,
    pub ejection: Ejection,
    /// How long an upstream that has come back has less than its weight; 0 for not at all.
    pub slow_start_ms: u64,
    /// Address and port of the DNS server to ask where services are; `None` is the system's.
    pub resolver: Option<String>,
    /// The largest body of an answer.
    pub max_response_bytes: Option<u64>,
    pub cache: Option<Cache>,
}

/// Keeping answers for those who ask next.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Cache {
    pub memory_bytes: u64,
    /// 0 for none.
    pub disk_bytes: u64,
    pub path: Option<PathBuf>,
    pub max_object_bytes: u64,
    /// How long an answer is fresh that does not say so; 0 does not store it.
    pub default_ttl_ms: u64,
    /// For answers that do not say so, how long after they have become stale.
    pub stale_while_revalidate_ms: u64,
    pub stale_if_error_ms: u64,
    /// What answers depend on besides the URI and what their Vary names.
    pub key: Vec<CacheKey>,
    /// Store answers that set cookies, without those.
    pub ignore_set_cookie: bool,
    /// Whether answers say what became of them.
    pub status_header: bool,
    /// Networks of those who may purge.
    pub purge_from: Vec<String>,
}

/// A part of a request that answers depend on.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct CacheKey {
    pub of: CacheKeyOf,
    pub name: String,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum CacheKeyOf {
    Header,
    Cookie,
}

/// One of the servers that a route passes requests on to.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Upstream {
    /// `http://`, `https://`, `h2c://`, `h3://` or `velocity://` with host and port; or `unix:/run/app.sock`.
    /// A host that begins with `_` is a service whose servers DNS knows.
    pub url: String,
    pub weight: u32,
    /// Asked only when no other can be.
    pub backup: bool,
    /// What connections to it begin with: for whom they are made.
    pub proxy_protocol: Option<ProxyProtocolVersion>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum ProxyProtocolVersion {
    V1,
    V2,
}

/// Which of several servers gets a request.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Balance {
    pub by: BalanceBy,
    /// Of the header or cookie that is hashed, without which a request goes by the address of its client; or of the
    /// cookie that is set.
    pub name: Option<String>,
    /// Without it, whoever guesses the URL of an upstream sees by the cookie that it is right.
    pub secret_file: Option<PathBuf>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum BalanceBy {
    RoundRobin,
    LeastConnections,
    /// The less busy of two at random.
    TwoChoices,
    /// The one that a cookie of ours says.
    Sticky,
    ClientHash,
    HeaderHash,
    CookieHash,
    PathHash,
}

/// When a request is sent again.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Retries {
    pub attempts: u32,
    /// Answers to idempotent requests that count as failures.
    pub statuses: Vec<u16>,
    /// Bodies of up to this size are kept until there is an answer.
    pub body_bytes: u64,
}

/// How an upstream proves who it is.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct UpstreamTls {
    /// Roots instead of the system's.
    pub ca_file: Option<PathBuf>,
    /// SNI, and the name in the certificate; `None` is the host of the upstream.
    pub server_name: Option<String>,
    pub insecure: bool,
    pub certificate: Option<super::Certificate>,
}

/// Asking upstreams, without anybody else asking, how they are.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Health {
    pub path: String,
    pub interval_ms: u64,
    pub timeout_ms: u64,
    /// So many in a row make a server healthy again, or not.
    pub rise: u32,
    pub fall: u32,
    /// `None` takes every status from 200 to 399.
    pub status: Option<u16>,
}

/// Leaving an upstream alone that fails.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Ejection {
    /// In a row; 0 never leaves it alone.
    pub failures: u32,
    pub for_ms: u64,
}

/// What an upstream may take, in milliseconds.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Timeouts {
    pub connect_ms: u64,
    /// To the response head.
    pub response_ms: u64,
    /// Between two bytes of a body.
    pub idle_ms: u64,
}
