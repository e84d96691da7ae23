//! A Plan made ready to serve: certificates loaded, roots opened, TLS configurations built.
//!
//! A snapshot is immutable. A reload builds a whole new one beside it and swaps; whoever holds the
//! old one finishes with it.

use std::sync::Arc;

use velocity_tls::material;
use velocity_tls::server::Policy;
use velocity_tls::{ServerTls, TlsError};

use crate::error::{Error, Result};
use crate::files::Files;
use crate::plan::{self, Handler, Limits, Plan};

pub struct Snapshot {
    /// By index of the listener in the Plan.
    pub tls: Vec<Arc<ServerTls>>,
    pub limits: Limits,
    pub access_log: bool,
    sites: Vec<Site>,
}

struct Site {
    /// Empty for every host.
    hosts: Vec<String>,
    files: Files,
}

impl Snapshot {
    pub fn new(plan: &Plan) -> Result<Self> {
        let [certificate, ..] = plan.tls.certificates.as_slice() else {
            return Err(Error::config("PLAN_INVALID", "the plan has no certificate"));
        };
        let key = material::load_certified_key(&certificate.chain_file, &certificate.key_file)?;
        let policy = Policy {
            default: plan.tls.profiles.default,
            permit: plan.tls.profiles.permit.clone(),
        };
        let tls = plan.listeners.iter().map(|listener| {
            let protocols: Vec<Vec<u8>> = listener.alpn.iter().map(|name| name.clone().into_bytes()).collect();
            Ok(Arc::new(ServerTls::new(&key, &protocols, policy.clone())?))
        });
        let sites = plan.sites.iter().map(|site| {
            // One route a site, for now: its folder.
            let [
                plan::Route {
                    handler: Handler::Files(files),
                    ..
                },
            ] = site.routes.as_slice()
            else {
                return Err(Error::config("PLAN_INVALID", "a site is one folder, for now"));
            };
            Ok(Site {
                hosts: site.hosts.clone(),
                files: Files::new(files)?,
            })
        });
        Ok(Self {
            tls: tls.collect::<Result<_>>()?,
            sites: sites.collect::<Result<_>>()?,
            limits: plan.limits.clone(),
            access_log: plan.log.access,
        })
    }

    /// The site for a host name; a site without names answers for every host.
    pub fn site(&self, host: &str) -> Option<&Files> {
        let named = self
            .sites
            .iter()
            .find(|site| site.hosts.iter().any(|name| name.eq_ignore_ascii_case(host)));
        named
            .or_else(|| self.sites.iter().find(|site| site.hosts.is_empty()))
            .map(|site| &site.files)
    }
}

impl From<TlsError> for Error {
    fn from(error: TlsError) -> Self {
        Error::start(error.code(), error.to_string()).hint(error.hint())
    }
}
