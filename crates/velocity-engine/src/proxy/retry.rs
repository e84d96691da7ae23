//! What may be sent again, and how often.

use std::io;
use std::sync::atomic::{AtomicU32, Ordering::Relaxed};

use bytes::Bytes;
use http::Method;

use super::failure::Reached;
use crate::http::{Body, replay};
use crate::plan;

/// The body of a request, for one attempt or several.
pub enum Payload {
    /// All of it is here.
    Kept(Bytes),
    /// It is read once.
    Once(Option<Body>),
}

impl Payload {
    /// # Errors
    ///
    /// The client's, when it broke off.
    pub async fn new(method: &Method, body: Body, retries: &plan::Retries) -> io::Result<Self> {
        if body.is_empty() {
            return Ok(Payload::Kept(Bytes::new()));
        }
        let worth = retries.attempts > 0 && is_idempotent(method);
        let short = body.len().is_none_or(|length| length <= retries.body_bytes);
        if !worth || !short {
            return Ok(Payload::Once(Some(body)));
        }
        let start = replay::read(body, retries.body_bytes as usize).await?;
        Ok(match start.rest {
            None => Payload::Kept(start.content),
            Some(_) => Payload::Once(Some(start.into_body())),
        })
    }

    pub fn take(&mut self) -> Body {
        match self {
            Payload::Kept(content) => content.clone().into(),
            Payload::Once(body) => body.take().unwrap_or_default(),
        }
    }

    /// Nothing of it was read.
    pub fn put_back(&mut self, body: Body) {
        if let Payload::Once(place) = self {
            *place = Some(body);
        }
    }

    /// Whether it can be sent however often.
    pub fn is_whole(&self) -> bool {
        matches!(self, Payload::Kept(_))
    }

    /// Whether it can be sent once more.
    pub fn is_there(&self) -> bool {
        matches!(self, Payload::Kept(_) | Payload::Once(Some(_)))
    }

    /// Whether a request that failed may be sent again: what has reached nobody, and what makes no difference when it
    /// is done twice.
    pub fn allows(&self, method: &Method, reached: Reached) -> bool {
        match reached {
            Reached::Nobody => self.is_there(),
            Reached::Perhaps => self.is_whole() && is_idempotent(method),
        }
    }
}

/// RFC 9110 section 9.2.2.
pub fn is_idempotent(method: &Method) -> bool {
    matches!(
        *method,
        Method::GET | Method::HEAD | Method::OPTIONS | Method::TRACE | Method::PUT | Method::DELETE
    )
}

/// A fifth as many retries as requests, so that upstreams in trouble do not get more of it.
pub struct Budget(AtomicU32);

/// In fifths of a retry: what may be saved up.
const SAVINGS: u32 = 5 * 20;

impl Default for Budget {
    fn default() -> Self {
        Self(AtomicU32::new(SAVINGS))
    }
}

impl Budget {
    /// There was a request.
    pub fn earn(&self) {
        if self.0.load(Relaxed) < SAVINGS {
            self.0.fetch_add(1, Relaxed);
        }
    }

    /// Whether there is a retry to be had.
    pub fn spend(&self) -> bool {
        self.0
            .fetch_update(Relaxed, Relaxed, |left| left.checked_sub(5))
            .is_ok()
    }
}
