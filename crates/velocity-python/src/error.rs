//! Errors of the engine as the exceptions of `velocity.errors`.

use std::collections::HashMap;

use pyo3::prelude::*;
use velocity_engine::Error;

/// Wraps an engine error, so that `?` turns it into the Python exception of the same code.
pub struct CoreError(pub Error);

impl From<Error> for CoreError {
    fn from(error: Error) -> Self {
        Self(error)
    }
}

impl From<CoreError> for PyErr {
    fn from(CoreError(error): CoreError) -> Self {
        Python::attach(|py| {
            let exception = py.import("velocity.errors").and_then(|module| {
                module.call_method1(
                    "from_core",
                    (
                        error.fault.as_str(),
                        error.code,
                        &error.message,
                        &error.hint,
                        error.details.into_iter().collect::<HashMap<_, _>>(),
                    ),
                )
            });
            match exception {
                Ok(exception) => PyErr::from_value(exception),
                Err(import_error) => import_error,
            }
        })
    }
}
