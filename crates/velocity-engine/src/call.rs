//! A request as filters and handlers see it.

use std::net::IpAddr;
use std::sync::Arc;
use std::time::Instant;

use http::request::Parts;

use crate::filter::Interim;
use crate::handler::Templates;
use crate::metrics::Metrics;
use crate::router::Params;
use crate::session::Peer;

/// What is known of a request besides its body. Cheap to make: everything is borrowed.
#[derive(Clone, Copy)]
pub struct Call<'a> {
    pub parts: &'a Parts,
    /// The host it is for, without port.
    pub host: &'a str,
    /// The same with its port, if it was given.
    pub authority: &'a str,
    pub peer: &'a Arc<Peer>,
    /// The other end of the connection.
    pub remote: IpAddr,
    /// Who sent it, as far as trusted proxies say.
    pub client: IpAddr,
    /// Whom the client's certificate stands for: its subject; empty without one.
    pub identity: &'a str,
    pub params: &'a Params,
    /// The name of the route, for logs.
    pub route: &'a Arc<str>,
    pub templates: &'a Templates,
    pub metrics: &'a Metrics,
    /// Where something can be said before the answer.
    pub interim: Option<&'a Interim>,
    pub now: Instant,
}

/// The same without the request line and its fields, which filters may change.
#[derive(Clone, Copy)]
pub struct Setting<'a> {
    pub host: &'a str,
    pub authority: &'a str,
    pub peer: &'a Arc<Peer>,
    pub remote: IpAddr,
    pub client: IpAddr,
    /// Whom the client's certificate stands for: its subject; empty without one.
    pub identity: &'a str,
    pub params: &'a Params,
    pub route: &'a Arc<str>,
    pub templates: &'a Templates,
    pub metrics: &'a Metrics,
    /// Where something can be said before the answer.
    pub interim: Option<&'a Interim>,
    pub now: Instant,
}

impl Setting<'_> {
    pub fn call<'b>(&'b self, parts: &'b Parts) -> Call<'b> {
        Call {
            parts,
            host: self.host,
            authority: self.authority,
            peer: self.peer,
            remote: self.remote,
            client: self.client,
            identity: self.identity,
            params: self.params,
            route: self.route,
            templates: self.templates,
            metrics: self.metrics,
            interim: self.interim,
            now: self.now,
        }
    }
}
