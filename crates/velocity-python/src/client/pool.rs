//! A pool of connections, for threads and event loops.

use std::collections::HashMap;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http::HeaderMap;
use pyo3::prelude::*;
use pyo3::pybacked::PyBackedBytes;
use pyo3::types::{PyDict, PyString, PyTuple};
use velocity_engine::client::pool::{Fallback, field};
use velocity_engine::client::{self, Answer, Options, Order, Patience, Payload, Protocol, Proxy, Settings, upload};
use velocity_engine::{Error, Result};
use velocity_tls::certificate;

use super::duration;
use super::exchange::Exchange;
use super::waiting::Soon;
use crate::error::CoreError;
use crate::wait::Drive;

#[pyclass(module = "velocity._core", frozen)]
pub struct Pool {
    inner: client::Pool,
    drive: &'static Drive,
}

/// What `send` and `start` have in common.
struct Call {
    order: Order,
    patience: Patience,
    prefetch: usize,
    writer: Option<upload::Writer>,
}

#[pymethods]
impl Pool {
    #[new]
    #[pyo3(signature = (
        *, protocols=None, profile=None, fallback="allow", ca_file=None, insecure=false, crl_files=vec![], cert_file=None,
        key_file=None, alternative_key_file=None, classical_cert_file=None, server_name=None, max_connections=Some(100),
        max_keepalive=Some(20), keepalive=Some(30.0), state_dir=None, proxy=None, resolve=None, discover=true,
        resolver=None
    ))]
    #[allow(clippy::too_many_arguments)] // keyword arguments of a Python constructor
    fn new(
        protocols: Option<Vec<String>>,
        profile: Option<&str>,
        fallback: &str,
        ca_file: Option<PathBuf>,
        insecure: bool,
        crl_files: Vec<PathBuf>,
        cert_file: Option<PathBuf>,
        key_file: Option<PathBuf>,
        alternative_key_file: Option<PathBuf>,
        classical_cert_file: Option<PathBuf>,
        server_name: Option<String>,
        max_connections: Option<usize>,
        max_keepalive: Option<usize>,
        keepalive: Option<f64>,
        state_dir: Option<PathBuf>,
        proxy: Option<&str>,
        resolve: Option<HashMap<(String, u16), (String, u16)>>,
        discover: bool,
        resolver: Option<&str>,
    ) -> PyResult<Self> {
        let invalid = |what: String| CoreError(Error::config("OPTION_INVALID", what));
        let protocols = match protocols {
            None => Protocol::ALL.to_vec(),
            Some(names) => names
                .iter()
                .map(|name| Protocol::parse(name).ok_or_else(|| invalid(format!("no protocol {name:?}"))))
                .collect::<std::result::Result<_, _>>()?,
        };
        if protocols.is_empty() || max_connections == Some(0) {
            return Err(invalid("there have to be protocols, and room for a connection".into()).into());
        }
        let settings = Settings {
            protocols,
            profile: match profile {
                Some(name) => Some(name.parse().map_err(|_| invalid(format!("no profile {name:?}")))?),
                None => None,
            },
            fallback: match fallback {
                "allow" => Fallback::Allow,
                "directed" => Fallback::Directed,
                "never" => Fallback::Never,
                other => return Err(invalid(format!("no fallback {other:?}")).into()),
            },
            trust: Options::trust(ca_file, insecure),
            revocation: crl_files,
            certificate: cert_file.zip(key_file).map(|(chain, key)| certificate::Files {
                chain,
                key,
                alternative_key: alternative_key_file,
                classical_chain: classical_cert_file,
            }),
            server_name,
            max_connections,
            max_keepalive,
            keepalive: keepalive.map(duration),
            state: state_dir,
            proxy: match proxy {
                Some(url) => Some(Arc::new(Proxy::parse(url).map_err(CoreError)?)),
                None => None,
            },
            resolve: resolve.unwrap_or_default(),
            discover,
            resolver: match resolver {
                Some(at) => Some(at.parse().map_err(|_| invalid(format!("no resolver {at:?}")))?),
                None => None,
            },
        };
        Ok(Self {
            inner: client::Pool::new(settings).map_err(CoreError)?,
            drive: Drive::get().map_err(CoreError)?,
        })
    }

    #[pyo3(signature = (
        method, url, headers, body=None, *, streaming=false, length=None, prefetch=65536, connect_timeout=Some(10.0),
        read_timeout=Some(30.0), write_timeout=Some(30.0), pool_timeout=Some(30.0)
    ))]
    #[allow(clippy::too_many_arguments)] // keyword arguments of a Python method
    fn send(
        &self,
        py: Python<'_>,
        method: &str,
        url: &str,
        headers: &Bound<'_, PyAny>,
        body: Option<PyBackedBytes>,
        streaming: bool,
        length: Option<u64>,
        prefetch: usize,
        connect_timeout: Option<f64>,
        read_timeout: Option<f64>,
        write_timeout: Option<f64>,
        pool_timeout: Option<f64>,
    ) -> PyResult<Exchange> {
        let patience = patience(connect_timeout, read_timeout, write_timeout, pool_timeout);
        let call = self.call(
            method,
            url,
            headers,
            body,
            streaming.then_some(length),
            prefetch,
            patience,
        )?;
        match call.writer {
            Some(_) => Ok(self.begin(call)),
            None => {
                let answer = self.inner.send(call.order, call.patience, call.prefetch);
                Ok(Exchange::answered(self.drive, self.drive.wait_for(py, answer)?))
            }
        }
    }

    #[pyo3(signature = (
        method, url, headers, body=None, *, streaming=false, length=None, prefetch=65536, connect_timeout=Some(10.0),
        read_timeout=Some(30.0), write_timeout=Some(30.0), pool_timeout=Some(30.0)
    ))]
    #[allow(clippy::too_many_arguments)] // keyword arguments of a Python method
    fn start<'py>(
        &self,
        py: Python<'py>,
        method: &str,
        url: &str,
        headers: &Bound<'py, PyAny>,
        body: Option<PyBackedBytes>,
        streaming: bool,
        length: Option<u64>,
        prefetch: usize,
        connect_timeout: Option<f64>,
        read_timeout: Option<f64>,
        write_timeout: Option<f64>,
        pool_timeout: Option<f64>,
    ) -> PyResult<Bound<'py, PyAny>> {
        let patience = patience(connect_timeout, read_timeout, write_timeout, pool_timeout);
        let call = self.call(
            method,
            url,
            headers,
            body,
            streaming.then_some(length),
            prefetch,
            patience,
        )?;
        if call.writer.is_some() {
            let exchange = Py::new(py, self.begin(call))?.into_any();
            return Ok(crate::asgi::awaitable::Ready(exchange).into_pyobject(py)?.into_any());
        }
        let (pool, drive) = (self.inner.clone(), self.drive);
        let work = async move { pool.send(call.order, call.patience, call.prefetch).await };
        let soon = Soon::begin(py, drive, work, move |py, answer: Result<Answer>| {
            let exchange = Exchange::answered(drive, answer.map_err(CoreError)?);
            Ok(Py::new(py, exchange)?.into_any())
        });
        Ok(soon?.into_pyobject(py)?.into_any())
    }

    #[getter]
    fn connections<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyDict>> {
        let (open, idle) = self.inner.connections();
        let dict = PyDict::new(py);
        dict.set_item("open", open)?;
        dict.set_item("idle", idle)?;
        Ok(dict)
    }

    fn close(&self, py: Python<'_>) {
        if !self.drive.is_foreign() {
            py.detach(|| self.inner.close());
        }
    }
}

impl Pool {
    #[allow(clippy::too_many_arguments)] // those of two Python methods
    fn call(
        &self,
        method: &str,
        url: &str,
        headers: &Bound<'_, PyAny>,
        body: Option<PyBackedBytes>,
        streaming: Option<Option<u64>>,
        prefetch: usize,
        patience: Patience,
    ) -> PyResult<Call> {
        native(self.drive)?;
        let fields = fields(headers)?;
        let (payload, writer) = match streaming {
            None => (Payload::Whole(body.map(Bytes::from_owner)), None),
            Some(length) => {
                let (writer, body, progress) = upload::channel(length);
                (Payload::Pieces(Some((body, progress))), Some(writer))
            }
        };
        Ok(Call {
            order: Order::new(method, url, fields, payload).map_err(CoreError)?,
            patience,
            prefetch,
            writer,
        })
    }

    fn begin(&self, call: Call) -> Exchange {
        let pool = self.inner.clone();
        let (order, patience, prefetch) = (call.order, call.patience, call.prefetch);
        let answer = self
            .drive
            .spawn(async move { pool.send(order, patience, prefetch).await });
        Exchange::awaited(self.drive, answer, call.writer, patience.write)
    }
}

impl Drop for Pool {
    fn drop(&mut self) {
        if self.drive.is_foreign() {
            // Its sockets are the parent's as well.
            std::mem::forget(self.inner.clone());
        }
    }
}

/// # Errors
///
/// `POOL_FORKED`: this process is not the one that has the connections.
pub(super) fn native(drive: &Drive) -> PyResult<()> {
    match drive.is_foreign() {
        false => Ok(()),
        true => Err(CoreError(
            Error::request("POOL_FORKED", "this process was forked after the pool was made")
                .hint("make one in each process, after the fork"),
        )
        .into()),
    }
}

/// Fields as pairs of `str`.
pub(super) fn fields(pairs: &Bound<'_, PyAny>) -> PyResult<HeaderMap> {
    let mut fields = HeaderMap::with_capacity(pairs.len().unwrap_or_default() + 1);
    for pair in pairs.try_iter()? {
        let pair = pair?;
        let (name, value): (Bound<'_, PyString>, Bound<'_, PyString>) = match pair.cast::<PyTuple>() {
            Ok(pair) if pair.len() == 2 => (pair.get_item(0)?.cast_into()?, pair.get_item(1)?.cast_into()?),
            _ => pair.extract()?,
        };
        let invalid = |_: PyErr| {
            let error = Error::request("HEADERS_INVALID", "a field of the request cannot be sent");
            CoreError(error.hint("fields are latin-1"))
        };
        let (name, value) = (name.to_str().map_err(invalid)?, value.to_str().map_err(invalid)?);
        let (name, value) = field(name, value).map_err(CoreError)?;
        fields.append(name, value);
    }
    Ok(fields)
}

fn patience(connect: Option<f64>, read: Option<f64>, write: Option<f64>, pool: Option<f64>) -> Patience {
    let within = |seconds: Option<f64>| -> Option<Duration> { seconds.map(duration) };
    Patience {
        connect: within(connect),
        read: within(read),
        write: within(write),
        pool: within(pool),
    }
}
