//! The client side of the contract.

use std::path::PathBuf;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use pyo3::prelude::*;
use pyo3::types::{PyBytes, PyDict, PyList};
use velocity_engine::client::{self, Options, Protocol};
use velocity_engine::http::Body;
use velocity_engine::{Error, Result};
use velocity_tls::facts::signature_scheme_name;
use velocity_tls::material;

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
    #[pyo3(signature = (host, port, *, protocol, profile=None, server_name=None, ca_file=None, insecure=false, timeout=10.0))]
    #[allow(clippy::too_many_arguments)] // keyword arguments of a Python constructor
    fn new(
        py: Python<'_>,
        host: String,
        port: u16,
        protocol: &str,
        profile: Option<&str>,
        server_name: Option<String>,
        ca_file: Option<PathBuf>,
        insecure: bool,
        timeout: f64,
    ) -> PyResult<Self> {
        let unknown =
            |what: &str, value: &str| CoreError(Error::config("OPTION_INVALID", format!("no {what} {value:?}")));
        let options = Options {
            host,
            port,
            protocol: Protocol::parse(protocol).ok_or_else(|| unknown("protocol", protocol))?,
            profile: match profile {
                Some(name) => Some(name.parse().map_err(|_| unknown("profile", name))?),
                None => None,
            },
            server_name,
            trust: Options::trust(ca_file, insecure),
            timeout: duration(timeout),
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
        let report = &self.report;
        let facts = &report.facts;
        let dict = PyDict::new(py);
        dict.set_item("alpn", facts.alpn.as_deref().map(String::from_utf8_lossy))?;
        dict.set_item("remote", report.remote.to_string())?;
        dict.set_item(
            "tls_version",
            if facts.version == Some(0x0304) {
                "TLSv1.3"
            } else {
                "TLSv1.2"
            },
        )?;
        dict.set_item("group", facts.group_name())?;
        dict.set_item("group_code", facts.group)?;
        dict.set_item("profile", facts.profile().map(|profile| profile.as_str()))?;
        dict.set_item("cipher", facts.cipher_name())?;
        dict.set_item("signature_scheme", report.signature_scheme.map(signature_scheme_name))?;
        dict.set_item("signature_scheme_code", report.signature_scheme)?;
        dict.set_item("round_trips", report.round_trips)?;
        dict.set_item("handshake_ms", report.handshake.as_secs_f64() * 1e3)?;
        dict.set_item(
            "certificate_sha256",
            report.chain.first().map(|leaf| material::fingerprint(leaf)),
        )?;
        dict.set_item(
            "certificate_chain",
            PyList::new(py, report.chain.iter().map(|der| PyBytes::new(py, der)))?,
        )?;
        dict.set_item("verified", report.verified)?;
        Ok(dict)
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

/// Seconds from Python; a day is as good as for ever, and no sum of times overflows with it.
fn duration(seconds: f64) -> Duration {
    const DAY: Duration = Duration::from_secs(86_400);
    Duration::try_from_secs_f64(seconds).map_or(DAY, |duration| duration.min(DAY))
}
