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

#[cfg(test)]
mod tests {
    use super::*;

    fn retries(attempts: u32, body_bytes: u64) -> plan::Retries {
        let plan = serde_json::json!({"attempts": attempts, "statuses": [], "body_bytes": body_bytes});
        serde_json::from_value(plan).unwrap()
    }

    #[tokio::test]
    async fn what_may_be_sent_again() {
        let body = || Body::from("content");
        for (method, body, attempts, bytes, untouched, perhaps) in [
            (Method::GET, Body::Empty, 0, 0, true, true),
            (Method::POST, Body::Empty, 1, 10, true, false),
            (Method::PUT, body(), 1, 10, true, true),
            (Method::PUT, body(), 1, 6, true, false),
            (Method::PUT, body(), 0, 10, true, false),
            (Method::POST, body(), 1, 10, true, false),
            (Method::PATCH, body(), 1, 10, true, false),
        ] {
            let mut payload = Payload::new(&method, body, &retries(attempts, bytes)).await.unwrap();
            assert_eq!(payload.allows(&method, Reached::Nobody), untouched, "{method}");
            let sent = payload.take();
            assert_eq!(payload.allows(&method, Reached::Perhaps), perhaps, "{method}");
            // What comes back untouched can be sent whatever it is.
            payload.put_back(sent);
            assert!(payload.allows(&method, Reached::Nobody), "{method}");
        }
    }

    #[tokio::test]
    async fn a_body_that_is_gone_is_not_sent_again() {
        let mut payload = Payload::new(&Method::POST, Body::from("content"), &retries(2, 100))
            .await
            .unwrap();
        assert_eq!(payload.take().len(), Some(7));
        assert!(!payload.allows(&Method::POST, Reached::Nobody));
        assert!(!payload.is_there() && !payload.is_whole());
    }

    #[test]
    fn the_budget_is_a_fifth() {
        let budget = Budget::default();
        let spent = |times: usize| (0..times).filter(|_| budget.spend()).count();
        assert_eq!(spent(100), 20);
        for _ in 0..50 {
            budget.earn();
        }
        assert_eq!(spent(100), 10);
        for _ in 0..100_000 {
            budget.earn();
        }
        assert_eq!(spent(100), 20, "savings end somewhere");
    }
}
