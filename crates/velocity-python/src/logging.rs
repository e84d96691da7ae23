//! The one logger, for Python's own messages.

use pyo3::exceptions::PyValueError;
use pyo3::prelude::*;
use pyo3::types::{PyDict, PyString};
use serde_json::Value;
use velocity_engine::log::{self as logger, Format, Level};

#[pyfunction]
pub fn configure_logging(format: &str, level: i32, color: bool) -> PyResult<()> {
    let format = match format {
        "json" => Format::Json,
        "text" => Format::Text { color },
        other => return Err(PyValueError::new_err(format!("no log format {other:?}"))),
    };
    let max = match level {
        i32::MIN..=0 => Level::Warn,
        1 => Level::Info,
        2 => Level::Debug,
        3.. => Level::Trace,
    };
    logger::configure(format, max, level >= 4);
    Ok(())
}

#[pyfunction]
pub fn log(level: &str, target: &str, event: &str, message: &str, fields: &Bound<'_, PyDict>) -> PyResult<()> {
    let level = Level::parse(level).ok_or_else(|| PyValueError::new_err(format!("no log level {level:?}")))?;
    let mut values = Vec::with_capacity(fields.len());
    for (key, value) in fields {
        values.push((key.extract::<String>()?, json(&value)?));
    }
    let fields: Vec<(&str, Value)> = values
        .iter()
        .map(|(key, value)| (key.as_str(), value.clone()))
        .collect();
    logger::record(level, target, event, message, &fields);
    Ok(())
}

#[pyfunction]
pub fn flush_logs(py: Python<'_>) {
    py.detach(logger::flush);
}

/// Numbers, booleans and None as themselves, everything else as its text.
fn json(value: &Bound<'_, PyAny>) -> PyResult<Value> {
    if value.is_none() {
        return Ok(Value::Null);
    }
    if value.is_instance_of::<PyString>() {
        return Ok(Value::String(value.extract()?));
    }
    if let Ok(flag) = value.extract::<bool>() {
        return Ok(Value::Bool(flag));
    }
    if let Ok(integer) = value.extract::<i64>() {
        return Ok(integer.into());
    }
    if let Ok(float) = value.extract::<f64>() {
        return Ok(float.into());
    }
    Ok(Value::String(value.str()?.extract()?))
}
