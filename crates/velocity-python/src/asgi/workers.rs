//! Applications in processes of their own: what the server knows of its workers, and a worker of itself.

use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::sync::{Mutex, MutexGuard, PoisonError};

use pyo3::prelude::*;
use rustix::process::Signal;
use velocity_engine::app::remote::Pool;
use velocity_engine::app::remote::back::Back;

use super::Application;

/// The processes of one application, as the engine knows them. They are started and watched by Python.
#[pyclass(module = "velocity._core", frozen)]
#[derive(Default)]
pub struct Workers(pub Pool);

#[pymethods]
impl Workers {
    #[new]
    fn new() -> Self {
        Self::default()
    }

    fn prepare(&self) -> PyResult<(u64, i32)> {
        Ok(self.0.prepare()?)
    }

    fn started(&self, number: u64) {
        self.0.started(number);
    }

    fn admit(&self, number: u64) {
        self.0.admit(number);
    }

    fn retire(&self, number: u64) {
        self.0.retire(number);
    }

    #[pyo3(signature = (number, *, lost))]
    fn dismiss(&self, number: u64, lost: bool) {
        self.0.dismiss(number, lost);
    }
}

/// This process as a worker: asks its application what comes through standard input.
#[pyclass(module = "velocity._core", frozen)]
pub struct Worker {
    doorway: Mutex<Option<OwnedFd>>,
    back: Mutex<Option<Back>>,
}

#[pymethods]
impl Worker {
    #[new]
    fn new() -> PyResult<Self> {
        Ok(Self {
            doorway: Mutex::new(Some(io::stdin().as_fd().try_clone_to_owned()?)),
            back: Mutex::default(),
        })
    }

    fn serve(&self, application: &Bound<'_, Application>) -> PyResult<()> {
        if let Some(doorway) = lock(&self.doorway).take() {
            *lock(&self.back) = Some(Back::start(doorway, application.get().entrance())?);
        }
        Ok(())
    }

    #[getter]
    fn is_quiet(&self) -> bool {
        lock(&self.back).as_ref().is_none_or(Back::is_quiet)
    }

    fn close(&self, py: Python<'_>) {
        let back = lock(&self.back).take();
        py.detach(|| drop(back));
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Have this process killed when the one that started it ends, in whichever way (prctl(2), PR_SET_PDEATHSIG).
#[pyfunction]
pub fn die_with_parent() -> PyResult<()> {
    Ok(rustix::process::set_parent_process_death_signal(Some(Signal::KILL)).map_err(io::Error::from)?)
}
