//! The parts of ASGI messages, read and written.

use std::io;

use bytes::Bytes;
use http::{HeaderMap, HeaderName, HeaderValue, StatusCode};
use pyo3::exceptions::{PyConnectionResetError, PyRuntimeError, PyTypeError, PyValueError};
use pyo3::intern;
use pyo3::prelude::*;
use pyo3::pybacked::PyBackedBytes;
use pyo3::types::{PyByteArray, PyBytes, PyDict, PyMemoryView, PyString, PyTuple};

/// Bodies of up to this size are copied: that costs less than keeping the object.
const COPY: usize = 32 * 1024;

/// The type of a message.
pub fn kind<'py>(message: &Bound<'py, PyDict>) -> PyResult<Bound<'py, PyString>> {
    match message.get_item(intern!(message.py(), "type"))? {
        Some(kind) => kind
            .cast_into::<PyString>()
            .map_err(|_| PyTypeError::new_err("the type of an ASGI message is a str")),
        None => Err(PyTypeError::new_err("an ASGI message has a type")),
    }
}

pub fn item<'py>(message: &Bound<'py, PyDict>, key: &Bound<'py, PyString>) -> PyResult<Option<Bound<'py, PyAny>>> {
    Ok(message.get_item(key)?.filter(|value| !value.is_none()))
}

/// A flag, false where it is not there.
pub fn flag<'py>(message: &Bound<'py, PyDict>, key: &Bound<'py, PyString>) -> PyResult<bool> {
    match item(message, key)? {
        Some(value) => value.is_truthy(),
        None => Ok(false),
    }
}

/// A value that is bytes; those that are large are not copied.
pub fn bytes(value: &Bound<'_, PyAny>) -> PyResult<Bytes> {
    if let Ok(bytes) = value.cast::<PyBytes>() {
        let content = bytes.as_bytes();
        return Ok(match content.len() {
            0 => Bytes::new(),
            1..=COPY => Bytes::copy_from_slice(content),
            _ => Bytes::from_owner(PyBackedBytes::from(bytes.clone())),
        });
    }
    if let Ok(bytes) = value.cast::<PyByteArray>() {
        return Ok(bytes.to_vec().into());
    }
    if value.is_instance_of::<PyMemoryView>() {
        let bytes = value.call_method0(intern!(value.py(), "tobytes"))?;
        return Ok(Bytes::copy_from_slice(bytes.cast::<PyBytes>()?.as_bytes()));
    }
    Err(PyTypeError::new_err(format!(
        "bytes are needed here, not {}",
        value.get_type().name()?
    )))
}

/// The fields of a message: pairs of bytes.
pub fn fields(value: Option<Bound<'_, PyAny>>) -> PyResult<HeaderMap> {
    let Some(value) = value else {
        return Ok(HeaderMap::new());
    };
    let mut fields = HeaderMap::with_capacity(value.len().unwrap_or(0));
    for pair in value.try_iter()? {
        let pair = pair?;
        let (name, value) = match pair.cast::<PyTuple>() {
            Ok(pair) if pair.len() == 2 => (pair.get_item(0)?, pair.get_item(1)?),
            _ => (pair.get_item(0)?, pair.get_item(1)?),
        };
        fields.append(name_of(&name)?, value_of(&value)?);
    }
    Ok(fields)
}

/// The head of an answer, whose status `fits`; where it does not, that is what it is `otherwise`.
pub fn head(
    message: &Bound<'_, PyDict>,
    fits: impl Fn(StatusCode) -> bool,
    otherwise: &str,
) -> PyResult<http::Response<()>> {
    let py = message.py();
    let status: u16 = match item(message, intern!(py, "status"))? {
        Some(status) => status.extract()?,
        None => return Err(wrong(format!("{} has a status", kind(message)?))),
    };
    let status = StatusCode::from_u16(status)
        .ok()
        .filter(|status| fits(*status))
        .ok_or_else(|| wrong(format!("{status} {otherwise}")))?;
    let mut head = http::Response::new(());
    *head.status_mut() = status;
    *head.headers_mut() = fields(item(message, intern!(py, "headers"))?)?;
    Ok(head)
}

/// A part of the body of an answer, and whether there is more.
pub fn part(message: &Bound<'_, PyDict>) -> PyResult<(Bytes, bool)> {
    let py = message.py();
    let data = match item(message, intern!(py, "body"))? {
        Some(body) => bytes(&body)?,
        None => Bytes::new(),
    };
    Ok((data, flag(message, intern!(py, "more_body"))?))
}

fn name_of(name: &Bound<'_, PyAny>) -> PyResult<HeaderName> {
    let invalid = |name: &dyn std::fmt::Debug| PyValueError::new_err(format!("{name:?} cannot be the name of a field"));
    match name.cast::<PyBytes>() {
        Ok(name) => {
            HeaderName::from_bytes(name.as_bytes()).map_err(|_| invalid(&String::from_utf8_lossy(name.as_bytes())))
        }
        Err(_) => Err(PyTypeError::new_err("names of fields are bytes")),
    }
}

fn value_of(value: &Bound<'_, PyAny>) -> PyResult<HeaderValue> {
    match value.cast::<PyBytes>() {
        Ok(value) => HeaderValue::from_bytes(value.as_bytes().trim_ascii()).map_err(|_| {
            let value = String::from_utf8_lossy(value.as_bytes());
            PyValueError::new_err(format!("{value:?} cannot be the value of a field"))
        }),
        Err(_) => Err(PyTypeError::new_err("values of fields are bytes")),
    }
}

/// A message that has nothing but a type.
pub fn bare<'py>(py: Python<'py>, kind: &Bound<'py, PyString>) -> PyResult<Bound<'py, PyDict>> {
    let message = PyDict::new(py);
    message.set_item(intern!(py, "type"), kind)?;
    Ok(message)
}

/// A part of a request body.
pub fn request<'py>(py: Python<'py>, body: &[u8], more: bool) -> PyResult<Bound<'py, PyDict>> {
    let message = bare(py, intern!(py, "http.request"))?;
    message.set_item(intern!(py, "body"), PyBytes::new(py, body))?;
    message.set_item(intern!(py, "more_body"), more)?;
    Ok(message)
}

/// What is raised when nobody is there to hear it; an OSError, as ASGI has it.
pub fn gone() -> PyErr {
    PyConnectionResetError::new_err("the client is gone")
}

/// What is raised when the client takes no more on this stream, or there is none.
pub fn closed(stream: u64) -> PyErr {
    PyConnectionResetError::new_err(format!("stream {stream} takes no more"))
}

pub fn wrong(text: String) -> PyErr {
    PyRuntimeError::new_err(text)
}

/// An error of a file, as Python has it.
pub fn failed(error: io::Error) -> PyErr {
    error.into()
}
