//! Networks that may come in, and others that may not.

use http::StatusCode;

use super::network::Networks;
use crate::call::Call;
use crate::error::Result;
use crate::http::Response;
use crate::plan;
use crate::service::plain;

pub struct IpAccess {
    allow: Networks,
    deny: Networks,
}

impl IpAccess {
    pub fn new(plan: &plan::IpAccess) -> Result<Self> {
        Ok(Self {
            allow: Networks::new(&plan.allow)?,
            deny: Networks::new(&plan.deny)?,
        })
    }

    pub fn request(&self, call: &Call<'_>) -> Option<Response> {
        let denied = self.deny.contains(call.client) || !self.allow.is_empty() && !self.allow.contains(call.client);
        denied.then(|| plain(StatusCode::FORBIDDEN, "you may not come in here\n"))
    }
}
