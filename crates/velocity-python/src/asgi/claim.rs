//! What one request remembers, while Python may run in between.

use std::sync::{Mutex, MutexGuard, PoisonError, TryLockError};

use pyo3::PyResult;

use super::message::wrong;

pub struct Claim<T>(Mutex<T>);

impl<T> Claim<T> {
    pub fn new(state: T) -> Self {
        Self(Mutex::new(state))
    }

    pub fn lock(&self) -> MutexGuard<'_, T> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The same while Python may run, which must not wait for itself.
    pub fn take(&self) -> PyResult<MutexGuard<'_, T>> {
        match self.0.try_lock() {
            Ok(state) => Ok(state),
            Err(TryLockError::Poisoned(poisoned)) => Ok(poisoned.into_inner()),
            Err(TryLockError::WouldBlock) => Err(wrong("receive and send are for one thread, and not for two".into())),
        }
    }
}
