//! Asking upstreams how they are, for as long as anybody may send them something.

use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::sync::{Arc, Weak};
use std::time::Duration;

use http::header::{HOST, USER_AGENT};
use http::{HeaderValue, Request, StatusCode, Uri, Version};

use super::connect::{self, Connection};
use super::pool::Key;
use super::upstream::Upstream;
use crate::http::Body;
use crate::plan;

/// The checks of one proxy. They begin with its first request: that is where there is a runtime to run them.
pub struct Checks {
    plan: Option<plan::Health>,
    begun: AtomicBool,
}

impl Checks {
    pub fn new(plan: Option<&plan::Health>) -> Self {
        Self {
            plan: plan.cloned(),
            begun: AtomicBool::new(false),
        }
    }

    pub fn begin(&self, upstreams: &[Arc<Upstream>]) {
        let Some(plan) = &self.plan else { return };
        if self.begun.load(Relaxed) || self.begun.swap(true, Relaxed) {
            return;
        }
        for upstream in upstreams {
            tokio::spawn(watch(Arc::downgrade(upstream), plan.clone()));
        }
    }

    /// One more that was not there at first.
    pub fn watch(&self, upstream: &Arc<Upstream>) {
        if let Some(plan) = &self.plan {
            tokio::spawn(watch(Arc::downgrade(upstream), plan.clone()));
        }
    }
}

async fn watch(upstream: Weak<Upstream>, plan: plan::Health) {
    // In a row: how many said the opposite of what is held to be true.
    let mut against = 0;
    while let Some(upstream) = upstream.upgrade() {
        let limit = Duration::from_millis(plan.timeout_ms);
        let asked = tokio::time::timeout(limit, ask(&upstream, &plan)).await;
        if let Some(well) = asked.unwrap_or(Some(false)) {
            against = if well == upstream.is_healthy() { 0 } else { against + 1 };
            let needed = if well { plan.rise } else { plan.fall };
            if against >= needed.max(1) || (well && upstream.is_healthy()) {
                upstream.checked(well);
                against = 0;
            }
        }
        drop(upstream);
        tokio::time::sleep(Duration::from_millis(plan.interval_ms)).await;
    }
}

/// Whether an upstream says that it is well; `None` if there is no descriptor to ask with, which is not its fault.
async fn ask(upstream: &Upstream, plan: &plan::Health) -> Option<bool> {
    let key = Key {
        upstream: upstream.id,
        name: None,
        upgrade: false,
        client: None,
    };
    let said = match connect::connect(upstream, &key).await {
        Ok(connection) => status(connection, upstream, plan).await,
        Err(failure) if failure.is_ours() => return None,
        Err(_) => None,
    };
    Some(said.is_some_and(|status| match plan.status {
        Some(wanted) => status.as_u16() == wanted,
        None => (200..400).contains(&status.as_u16()),
    }))
}

/// What an upstream says; `None` if it says nothing.
async fn status(connection: Connection, upstream: &Upstream, plan: &plan::Health) -> Option<StatusCode> {
    let authority = &upstream.address.authority;
    let mut request = Request::new(Body::Empty);
    request
        .headers_mut()
        .insert(USER_AGENT, HeaderValue::from_static("velocity-health"));
    Some(match connection {
        Connection::H1(connection) => {
            *request.uri_mut() = plan.path.parse::<Uri>().ok()?;
            *request.version_mut() = Version::HTTP_11;
            request
                .headers_mut()
                .insert(HOST, HeaderValue::from_str(authority.as_str()).ok()?);
            connection.send(request, |_| {}).await.ok()?.0.status
        }
        Connection::Many(shared) => {
            let scheme = if upstream.tls.is_some() { "https" } else { "http" };
            *request.uri_mut() = format!("{scheme}://{authority}{}", plan.path).parse::<Uri>().ok()?;
            shared.send(request, |_| {}).await.ok()?.status()
        }
    })
}
