//! The server side of the contract.

use std::collections::HashMap;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use pyo3::exceptions::PyBaseException;
use pyo3::prelude::*;
use pyo3::types::PyDict;
use velocity_engine::{Applications, Error, Plan};
use velocity_tls::chain::Level;
use velocity_tls::material;

use crate::asgi::Application;
use crate::asgi::workers::Workers;
use crate::error::CoreError;

/// An application in this process, or in others.
#[derive(FromPyObject)]
pub enum Hosted {
    Here(Py<Application>),
    Elsewhere(Py<Workers>),
}

impl Hosted {
    fn entrance(&self) -> Arc<dyn velocity_engine::Application> {
        match self {
            Hosted::Here(application) => application.get().entrance(),
            Hosted::Elsewhere(workers) => Arc::new(workers.get().0.clone()),
        }
    }
}

#[pyclass(module = "velocity._core", frozen)]
pub struct Engine(velocity_engine::Engine);

#[pymethods]
impl Engine {
    #[new]
    #[pyo3(signature = (plan, applications=None))]
    fn new(py: Python<'_>, plan: &str, applications: Option<HashMap<String, Hosted>>) -> PyResult<Self> {
        let applications = applications.unwrap_or_default().into_iter();
        let known = applications.map(|(name, application)| (name, application.entrance()));
        let applications = Applications::new(known.collect());
        let engine = py.detach(|| velocity_engine::Engine::start(Plan::from_json(plan)?, applications));
        Ok(Self(engine.map_err(CoreError)?))
    }

    #[getter]
    fn addresses(&self) -> Vec<String> {
        self.0.addresses().iter().map(ToString::to_string).collect()
    }

    fn reload(&self, py: Python<'_>, plan: &str) -> PyResult<()> {
        let reloaded = py.detach(|| self.0.reload(&Plan::from_json(plan)?));
        Ok(reloaded.map_err(CoreError)?)
    }

    fn stop(&self) {
        self.0.stop();
    }

    fn wait(&self, py: Python<'_>, timeout: f64) -> bool {
        let timeout = Duration::try_from_secs_f64(timeout).unwrap_or_default();
        py.detach(|| self.0.wait(timeout))
    }

    fn abort(&self, py: Python<'_>) {
        py.detach(|| self.0.abort());
    }

    fn counters(&self) -> HashMap<String, u64> {
        self.0.counters().into_iter().collect()
    }
}

#[pyfunction]
pub fn check(py: Python<'_>, plan: &str) -> PyResult<()> {
    let checked = py.detach(|| velocity_engine::engine::check(&Plan::from_json(plan)?));
    Ok(checked.map_err(CoreError)?)
}

#[pyfunction]
pub fn problems(py: Python<'_>, plan: &str) -> Vec<Py<PyBaseException>> {
    let found = py.detach(|| match Plan::from_json(plan) {
        Ok(plan) => velocity_engine::engine::problems(&plan),
        Err(error) => vec![error],
    });
    found
        .into_iter()
        .map(|error| PyErr::from(CoreError(error)).into_value(py))
        .collect()
}

#[pyfunction]
pub fn certificate_facts<'py>(py: Python<'py>, chain_file: &str) -> PyResult<Bound<'py, PyDict>> {
    let facts = material::load_chain(Path::new(chain_file)).and_then(|chain| {
        let leaf = &chain[0]; // load_chain gives at least one
        material::describe(leaf, Path::new(chain_file))
    });
    let facts = facts.map_err(|e| CoreError(Error::from(e)))?;
    let dict = PyDict::new(py);
    dict.set_item("sha256", facts.sha256)?;
    dict.set_item("names", facts.names)?;
    dict.set_item("not_before", facts.not_before)?;
    dict.set_item("not_after", facts.not_after)?;
    dict.set_item("ml_dsa_level", facts.level.map(Level::as_str))?;
    Ok(dict)
}
