//! `scope`: what an application learns of a request. What is the same for a connection is made once for it.

use std::net::SocketAddr;
use std::sync::{Arc, Mutex, PoisonError};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use http::header::{COOKIE, HOST, SEC_WEBSOCKET_PROTOCOL};
use http::{HeaderName, Method, Version};
use percent_encoding::percent_decode_str;
use pyo3::intern;
use pyo3::prelude::*;
use pyo3::types::{PyBytes, PyDict, PyList, PyString, PyTuple};
use rustc_hash::FxHashMap;
use velocity_engine::app::Head;
use velocity_engine::session::Peer;

/// The version of ASGI.
const ASGI: &str = "3.0";
/// That of its HTTP and WebSocket protocols: `send` raises an OSError when the client is gone.
const SPECIFICATION: &str = "2.4";
/// Names of fields that are kept, so that each is made once.
const MAX_NAMES: usize = 512;
/// A line of PEM (RFC 7468 section 2).
const PEM_LINE: usize = 64;

/// Makes scopes for one application.
pub struct Scopes {
    /// Handed to every scope as a copy; `None` without lifespan.
    state: Option<Py<PyDict>>,
    asgi: Py<PyDict>,
    names: Mutex<FxHashMap<HeaderName, Py<PyBytes>>>,
}

/// What scopes of one connection have in common, kept with it, whichever application they are for.
struct Common {
    http: Py<PyDict>,
    websocket: Py<PyDict>,
    webtransport: Py<PyDict>,
    extensions: Py<PyDict>,
}

impl Scopes {
    pub fn new(py: Python<'_>, state: Option<Py<PyDict>>) -> PyResult<Self> {
        let asgi = PyDict::new(py);
        asgi.set_item("version", ASGI)?;
        asgi.set_item("spec_version", SPECIFICATION)?;
        Ok(Self {
            state,
            asgi: asgi.unbind(),
            names: Mutex::default(),
        })
    }

    pub fn http<'py>(&self, py: Python<'py>, head: &Head) -> PyResult<Bound<'py, PyDict>> {
        let common = self.common(py, head)?;
        let scope = common.http.bind(py).copy()?;
        scope.set_item(intern!(py, "method"), method(py, &head.method))?;
        let extensions = common.extensions.bind(py).copy()?;
        extensions.set_item(intern!(py, "http.response.pathsend"), PyDict::new(py))?;
        if head.trailers {
            extensions.set_item(intern!(py, "http.response.trailers"), PyDict::new(py))?;
        }
        if head.hints {
            extensions.set_item(intern!(py, "http.response.early_hint"), PyDict::new(py))?;
        }
        self.complete(&scope, &extensions, head)?;
        Ok(scope)
    }

    pub fn websocket<'py>(&self, py: Python<'py>, head: &Head) -> PyResult<Bound<'py, PyDict>> {
        let common = self.common(py, head)?;
        let scope = common.websocket.bind(py).copy()?;
        let offered = head.headers.get_all(SEC_WEBSOCKET_PROTOCOL).iter();
        let offered = offered.filter_map(|value| value.to_str().ok());
        let words = offered.flat_map(|value| value.split(',')).map(str::trim);
        let words: Vec<&str> = words.filter(|word| !word.is_empty()).collect();
        scope.set_item(intern!(py, "subprotocols"), PyList::new(py, words)?)?;
        let extensions = common.extensions.bind(py).copy()?;
        extensions.set_item(intern!(py, "websocket.http.response"), PyDict::new(py))?;
        self.complete(&scope, &extensions, head)?;
        Ok(scope)
    }

    pub fn webtransport<'py>(&self, py: Python<'py>, head: &Head) -> PyResult<Bound<'py, PyDict>> {
        let common = self.common(py, head)?;
        let scope = common.webtransport.bind(py).copy()?;
        let extensions = common.extensions.bind(py).copy()?;
        self.complete(&scope, &extensions, head)?;
        Ok(scope)
    }

    /// What every request says for itself.
    fn complete<'py>(&self, scope: &Bound<'py, PyDict>, extensions: &Bound<'py, PyDict>, head: &Head) -> PyResult<()> {
        let py = scope.py();
        if head.client != head.peer.remote {
            scope.set_item(intern!(py, "client"), address(py, head.client)?)?;
        }
        let raw = head.uri.path();
        let root = &*head.root_path;
        // What is in front of this server may have cut it off.
        let cut = !root.is_empty()
            && !raw
                .strip_prefix(root)
                .is_some_and(|rest| rest.is_empty() || rest.starts_with('/'));
        if root.is_empty() {
            scope.set_item(intern!(py, "raw_path"), PyBytes::new(py, raw.as_bytes()))?;
            scope.set_item(intern!(py, "path"), path(py, raw))?;
        } else {
            let whole = match cut {
                true => format!("{root}{raw}"),
                false => raw.to_owned(),
            };
            scope.set_item(intern!(py, "root_path"), root)?;
            scope.set_item(intern!(py, "raw_path"), PyBytes::new(py, whole.as_bytes()))?;
            scope.set_item(intern!(py, "path"), path(py, &whole))?;
        }
        let query = head.uri.query().unwrap_or_default();
        scope.set_item(intern!(py, "query_string"), PyBytes::new(py, query.as_bytes()))?;
        scope.set_item(intern!(py, "headers"), self.headers(py, head)?)?;
        scope.set_item(intern!(py, "extensions"), extensions)?;
        if let Some(state) = &self.state {
            scope.set_item(intern!(py, "state"), state.bind(py).copy()?)?;
        }
        Ok(())
    }

    fn headers<'py>(&self, py: Python<'py>, head: &Head) -> PyResult<Bound<'py, PyList>> {
        let list = PyList::empty(py);
        let mut names = self.names.lock().unwrap_or_else(PoisonError::into_inner);
        let mut add = |name: &HeaderName, value: &[u8]| -> PyResult<()> {
            let name = match names.get(name) {
                Some(known) => known.bind(py).clone(),
                None => {
                    let made = PyBytes::new(py, name.as_str().as_bytes());
                    if names.len() < MAX_NAMES {
                        names.insert(name.clone(), made.clone().unbind());
                    }
                    made
                }
            };
            list.append((name, PyBytes::new(py, value)))
        };
        if let Some(authority) = head.uri.authority()
            && !head.headers.contains_key(HOST)
        {
            add(&HOST, authority.as_str().as_bytes())?;
        }
        let mut cookies = head.headers.get_all(COOKIE).iter();
        let split = cookies.next().is_some() && cookies.next().is_some();
        for (name, value) in &head.headers {
            if !(split && *name == COOKIE) {
                add(name, value.as_bytes())?;
            }
        }
        if split {
            // RFC 9113 section 8.2.3.
            let cookies: Vec<&[u8]> = head
                .headers
                .get_all(COOKIE)
                .iter()
                .map(|value| value.as_bytes())
                .collect();
            add(&COOKIE, &cookies.join(&b"; "[..]))?;
        }
        Ok(list)
    }

    fn common(&self, py: Python<'_>, head: &Head) -> PyResult<Arc<Common>> {
        let known = head
            .peer
            .kept
            .get()
            .and_then(|kept| kept.clone().downcast::<Common>().ok());
        if let Some(common) = known {
            return Ok(common);
        }
        let common = Arc::new(self.make_common(py, head)?);
        // Whoever was first has made the same.
        let _ = head.peer.kept.set(common.clone());
        Ok(common)
    }

    fn make_common(&self, py: Python<'_>, head: &Head) -> PyResult<Common> {
        let make = |kind: &str, scheme: &str| -> PyResult<Py<PyDict>> {
            let scope = PyDict::new(py);
            scope.set_item("type", PyString::intern(py, kind))?;
            scope.set_item("asgi", &self.asgi)?;
            scope.set_item("http_version", version(head.version))?;
            scope.set_item("server", address(py, head.peer.local)?)?;
            scope.set_item("client", address(py, head.peer.remote)?)?;
            scope.set_item("scheme", PyString::intern(py, scheme))?;
            scope.set_item("root_path", "")?;
            // Places, so that copies need not grow.
            for key in ["method", "path", "raw_path", "query_string", "headers", "extensions"] {
                scope.set_item(PyString::intern(py, key), py.None())?;
            }
            if kind != "http" {
                scope.del_item("method")?;
            }
            Ok(scope.unbind())
        };
        let extensions = PyDict::new(py);
        extensions.set_item("tls", tls(py, &head.peer)?)?;
        extensions.set_item("velocity", velocity(py, &head.peer)?)?;
        Ok(Common {
            http: make("http", "https")?,
            websocket: make("websocket", "wss")?,
            webtransport: make("webtransport", "https")?,
            extensions: extensions.unbind(),
        })
    }
}

fn version(version: Version) -> &'static str {
    match version {
        Version::HTTP_10 => "1.0",
        Version::HTTP_2 => "2",
        Version::HTTP_3 => "3",
        _ => "1.1",
    }
}

fn method<'py>(py: Python<'py>, method: &Method) -> Bound<'py, PyString> {
    match *method {
        Method::GET => intern!(py, "GET").clone(),
        Method::POST => intern!(py, "POST").clone(),
        Method::HEAD => intern!(py, "HEAD").clone(),
        Method::PUT => intern!(py, "PUT").clone(),
        Method::DELETE => intern!(py, "DELETE").clone(),
        Method::OPTIONS => intern!(py, "OPTIONS").clone(),
        Method::PATCH => intern!(py, "PATCH").clone(),
        _ => PyString::new(py, &method.as_str().to_ascii_uppercase()),
    }
}

/// What is not UTF-8 once it is decoded has replacement characters.
fn path<'py>(py: Python<'py>, raw: &str) -> Bound<'py, PyString> {
    match raw.contains('%') {
        true => PyString::new(py, &percent_decode_str(raw).decode_utf8_lossy()),
        false => PyString::new(py, raw),
    }
}

fn address(py: Python<'_>, address: SocketAddr) -> PyResult<Bound<'_, PyTuple>> {
    (address.ip().to_canonical().to_string(), address.port()).into_pyobject(py)
}

/// The extension `tls` of ASGI.
fn tls<'py>(py: Python<'py>, peer: &Peer) -> PyResult<Bound<'py, PyDict>> {
    let facts = PyDict::new(py);
    let chain = peer.facts.client_certificate.iter().map(|der| pem(der));
    facts.set_item("server_cert", py.None())?;
    facts.set_item("client_cert_chain", PyList::new(py, chain.collect::<Vec<_>>())?)?;
    facts.set_item(
        "client_cert_name",
        peer.identity.as_ref().map(|identity| identity.subject.as_str()),
    )?;
    facts.set_item("client_cert_error", py.None())?;
    facts.set_item("tls_version", peer.facts.version)?;
    facts.set_item("cipher_suite", peer.facts.cipher)?;
    Ok(facts)
}

/// What else was negotiated.
fn velocity<'py>(py: Python<'py>, peer: &Peer) -> PyResult<Bound<'py, PyDict>> {
    let facts = PyDict::new(py);
    facts.set_item("alpn", peer.protocol)?;
    facts.set_item("profile", peer.profile.map(|profile| profile.as_str()))?;
    facts.set_item("group", Some(&peer.group).filter(|group| !group.is_empty()))?;
    facts.set_item("fallback", peer.facts.downgrade.map(|reason| reason.as_str()))?;
    facts.set_item("early_data", false)?;
    facts.set_item(
        "identity",
        peer.identity.as_ref().map(|identity| identity.subject.as_str()),
    )?;
    Ok(facts)
}

/// RFC 7468.
fn pem(der: &[u8]) -> String {
    let text = BASE64.encode(der);
    let mut pem = String::with_capacity(text.len() + 128);
    pem.push_str("-----BEGIN CERTIFICATE-----\n");
    let mut rest = text.as_str();
    while !rest.is_empty() {
        let (line, left) = rest.split_at(rest.len().min(PEM_LINE));
        pem.push_str(line);
        pem.push('\n');
        rest = left;
    }
    pem.push_str("-----END CERTIFICATE-----\n");
    pem
}
