//! One connection over one protocol, and what TLS knows of it.

use std::path::PathBuf;
use std::sync::{Mutex, MutexGuard, PoisonError};

use bytes::Bytes;
use pyo3::prelude::*;
use pyo3::types::{PyBytes, PyDict, PyList};
use velocity_engine::client::{self, Options, Protocol};
use velocity_engine::http::Body;
use velocity_engine::{Error, Result};
use velocity_tls::chain::Level;
use velocity_tls::facts::{cipher_name, signature_scheme_name};
use velocity_tls::fallback::{Directive, NotADirective};
use velocity_tls::transcript::Sender;
use velocity_tls::{certificate, group, material};

use super::duration;
use crate::error::CoreError;
use crate::wait::wait_for;

#[pyclass(module = "velocity._core", frozen)]
pub struct Connection {
    inner: Mutex<client::Connection>,
    report: client::Report,
}

#[pymethods]
impl Connection {
    #[new]
    #[pyo3(signature = (
        host, port, *, protocols, profile=None, connect_to=None, server_name=None, ca_file=None, insecure=false,
        crl_files=vec![], cert_file=None, key_file=None, alternative_key_file=None, classical_cert_file=None,
        transcript=false, timeout=10.0
    ))]
    #[allow(clippy::too_many_arguments)] // keyword arguments of a Python constructor
    fn new(
        py: Python<'_>,
        host: String,
        port: u16,
        protocols: Vec<String>,
        profile: Option<&str>,
        connect_to: Option<(String, u16)>,
        server_name: Option<String>,
        ca_file: Option<PathBuf>,
        insecure: bool,
        crl_files: Vec<PathBuf>,
        cert_file: Option<PathBuf>,
        key_file: Option<PathBuf>,
        alternative_key_file: Option<PathBuf>,
        classical_cert_file: Option<PathBuf>,
        transcript: bool,
        timeout: f64,
    ) -> PyResult<Self> {
        let unknown =
            |what: &str, value: &str| CoreError(Error::config("OPTION_INVALID", format!("no {what} {value:?}")));
        let protocols = protocols
            .iter()
            .map(|name| Protocol::parse(name).ok_or_else(|| unknown("protocol", name)))
            .collect::<Result<_, _>>()?;
        let trust = Options::trust(ca_file, insecure);
        let options = Options {
            profile: match profile {
                Some(name) => Some(name.parse().map_err(|_| unknown("profile", name))?),
                None => None,
            },
            connect_to,
            server_name,
            revocation: crl_files,
            certificate: cert_file.zip(key_file).map(|(chain, key)| certificate::Files {
                chain,
                key,
                alternative_key: alternative_key_file,
                classical_chain: classical_cert_file,
            }),
            transcript,
            ..Options::new(host, port, protocols, trust, duration(timeout))
        };
        let inner = wait_for(py, async { client::Connection::open(&options).await })?;
        let report = inner.report.clone();
        Ok(Self {
            inner: Mutex::new(inner),
            report,
        })
    }

    #[getter]
    fn facts<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyDict>> {
        let dict = PyDict::new(py);
        let alpn = self.report.facts.alpn.as_deref();
        dict.set_item("alpn", alpn.map(String::from_utf8_lossy))?;
        dict.set_item("remote", self.report.remote.to_string())?;
        dict.set_item("group_code", self.report.facts.group)?;
        dict.set_item("signature_scheme_code", self.report.signature_scheme)?;
        dict.set_item("handshake_bytes", self.report.bytes)?;
        of_tls(&self.report, &dict)?;
        Ok(dict)
    }

    #[getter]
    fn transcript<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyList>> {
        let messages = self.report.transcript.iter().map(|message| {
            let sender = match message.sender {
                Sender::Client => "client",
                Sender::Server => "server",
            };
            (sender, PyBytes::new(py, &message.bytes))
        });
        PyList::new(py, messages)
    }

    #[getter]
    fn fallback<'py>(&self, py: Python<'py>) -> PyResult<Option<Bound<'py, PyDict>>> {
        match claim(&self.inner)?.directive() {
            Some(directive) => Ok(Some(directive_dict(py, &directive)?)),
            None => Ok(None),
        }
    }

    #[pyo3(signature = (method, path, headers, body=None, timeout=None))]
    fn request(
        &self,
        py: Python<'_>,
        method: &str,
        path: &str,
        headers: Vec<(String, String)>,
        body: Option<Vec<u8>>,
        timeout: Option<f64>,
    ) -> PyResult<Response> {
        let body = body.map(Bytes::from);
        let mut inner = claim(&self.inner)?;
        let response = wait_for(py, within(timeout, inner.request(method, path, &headers, body)))?;
        let headers = response.headers.iter().map(|(name, value)| {
            (
                name.as_str().to_owned(),
                value.as_bytes().iter().map(|&byte| char::from(byte)).collect(),
            )
        });
        Ok(Response {
            status: response.status,
            headers: headers.collect(),
            body: Mutex::new(response.body),
            timeout,
        })
    }

    fn close(&self, py: Python<'_>) -> PyResult<()> {
        let mut guard = claim(&self.inner)?;
        let inner = &mut *guard;
        wait_for(py, async {
            inner.close().await;
            Ok(())
        })
    }
}

#[pyclass(module = "velocity._core", frozen)]
pub struct Response {
    #[pyo3(get)]
    status: u16,
    #[pyo3(get)]
    headers: Vec<(String, String)>,
    body: Mutex<Body>,
    timeout: Option<f64>,
}

#[pymethods]
impl Response {
    fn read<'py>(&self, py: Python<'py>) -> PyResult<Option<Bound<'py, PyBytes>>> {
        let mut body = claim(&self.body)?;
        let chunk = wait_for(py, within(self.timeout, client::next_chunk(&mut body)))?;
        Ok(chunk.map(|bytes| PyBytes::new(py, &bytes)))
    }
}

/// Read a fallback directive as it stands in the field `Velocity-Fallback`; `None` where it is none.
#[pyfunction]
pub fn parse_fallback<'py>(py: Python<'py>, text: &str) -> PyResult<Option<Bound<'py, PyDict>>> {
    match text.parse() {
        Ok(directive) => Ok(Some(directive_dict(py, &directive)?)),
        Err(NotADirective) => Ok(None),
    }
}

/// Whether hybrid chains could be verified against these roots (`None`: the system's) at all.
#[pyfunction]
#[pyo3(signature = (ca_file=None))]
pub fn can_verify_hybrid(ca_file: Option<PathBuf>) -> PyResult<bool> {
    let verdict = velocity_tls::client::can_verify_hybrid(&Options::trust(ca_file, false));
    Ok(verdict.map_err(|e| CoreError(Error::config(e.code(), e.to_string()).hint(e.hint())))?)
}

/// Verify a chain classically, whatever else it has: `None` where it passes, else why not.
#[pyfunction]
#[pyo3(signature = (chain, host, ca_file=None))]
pub fn verify_classical(chain: Vec<Vec<u8>>, host: &str, ca_file: Option<PathBuf>) -> PyResult<Option<String>> {
    let verdict = velocity_tls::client::verify_classical(&chain, host, &Options::trust(ca_file, false));
    Ok(verdict.map_err(|e| CoreError(Error::config(e.code(), e.to_string()).hint(e.hint())))?)
}

/// What a handshake has shown, into `dict`.
pub(super) fn of_tls(report: &client::Report, dict: &Bound<'_, PyDict>) -> PyResult<()> {
    let (py, facts) = (dict.py(), &report.facts);
    let version = match facts.version {
        Some(0x0304) => "TLSv1.3",
        _ => "TLSv1.2",
    };
    dict.set_item("tls_version", version)?;
    dict.set_item("group", facts.group_name())?;
    dict.set_item("profile", facts.profile().map(|profile| profile.as_str()))?;
    dict.set_item("cipher", facts.cipher_name())?;
    dict.set_item("signature_scheme", report.signature_scheme.map(signature_scheme_name))?;
    dict.set_item("resumed", facts.resumed)?;
    dict.set_item("round_trips", report.round_trips)?;
    dict.set_item("handshake_ms", report.handshake.as_secs_f64() * 1e3)?;
    let leaf = report.chain.first();
    dict.set_item("certificate_sha256", leaf.map(|leaf| material::fingerprint(leaf)))?;
    let chain = report.chain.iter().map(|der| PyBytes::new(py, der));
    dict.set_item("certificate_chain", PyList::new(py, chain)?)?;
    dict.set_item("verified", report.verified)?;
    dict.set_item("ml_dsa_level", report.level.map(Level::as_str))
}

/// The name of a code point, as the IANA registry or our own specification has it; `0x1234` for unknown ones.
#[pyfunction]
pub fn code_point_name(kind: &str, code: u16) -> PyResult<String> {
    match kind {
        "group" => Ok(group::name(code)),
        "cipher" => Ok(cipher_name(code)),
        "signature_scheme" => Ok(signature_scheme_name(code)),
        _ => Err(CoreError(Error::config("OPTION_INVALID", format!("no code points of {kind:?}"))).into()),
    }
}

fn directive_dict<'py>(py: Python<'py>, directive: &Directive) -> PyResult<Bound<'py, PyDict>> {
    let dict = PyDict::new(py);
    dict.set_item("reason", directive.reason.as_str())?;
    dict.set_item("alpn", &directive.alpn)?;
    dict.set_item("host", &directive.host)?;
    dict.set_item("port", directive.port)?;
    Ok(dict)
}

/// Two threads on one connection at once are a mistake of the caller, and no reason to wait without end.
fn claim<T>(mutex: &Mutex<T>) -> PyResult<MutexGuard<'_, T>> {
    match mutex.try_lock() {
        Ok(guard) => Ok(guard),
        Err(std::sync::TryLockError::Poisoned(poisoned)) => Ok(PoisonError::into_inner(poisoned)),
        Err(std::sync::TryLockError::WouldBlock) => Err(CoreError(Error::request(
            "REQUEST_FAILED",
            "another thread is using this connection",
        ))
        .into()),
    }
}

async fn within<T>(timeout: Option<f64>, future: impl Future<Output = Result<T>>) -> Result<T> {
    match timeout {
        None => future.await,
        Some(seconds) => tokio::time::timeout(duration(seconds), future)
            .await
            .unwrap_or_else(|_| {
                Err(
                    Error::request("REQUEST_TIMEOUT", format!("no progress for {seconds} seconds"))
                        .hint("--timeout waits longer"),
                )
            }),
    }
}
