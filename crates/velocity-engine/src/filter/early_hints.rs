//! 103 before the answer (RFC 8297): a browser fetches what a page will need while the page is made.

use std::sync::{Mutex, PoisonError};

use http::header::LINK;
use http::{HeaderMap, HeaderValue};

use crate::call::Call;
use crate::error::{Error, Result};
use crate::http::add_fields;
use crate::plan;

pub struct EarlyHints(HeaderMap);

/// Fields that wait for a client who is slow.
const MAX_FIELDS: usize = 100;

/// Where a transport that can send 103 finds its fields.
#[derive(Default)]
pub struct Interim(Mutex<Option<HeaderMap>>);

impl Interim {
    /// What comes before it was taken joins what is there.
    pub fn put(&self, fields: HeaderMap) {
        match &mut *self.0.lock().unwrap_or_else(PoisonError::into_inner) {
            Some(there) if there.len() + fields.len() > MAX_FIELDS => {}
            Some(there) => add_fields(there, fields),
            none => *none = Some(fields),
        }
    }

    /// What is to be sent, once.
    pub fn take(&self) -> Option<HeaderMap> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).take()
    }
}

impl EarlyHints {
    pub fn new(plan: &plan::EarlyHints) -> Result<Self> {
        let mut fields = HeaderMap::new();
        for link in &plan.links {
            let value = HeaderValue::from_str(link).map_err(|_| {
                Error::config("HEADER_INVALID", format!("{link:?} cannot be the value of Link"))
                    .detail("text", link.as_str())
            })?;
            fields.append(LINK, value);
        }
        Ok(Self(fields))
    }

    /// Nothing happens over a transport that cannot send it.
    pub fn request(&self, call: &Call<'_>) {
        if let Some(interim) = call.interim {
            interim.put(self.0.clone());
        }
    }
}
