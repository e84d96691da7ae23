//! A Plan made ready to serve: certificates loaded, roots opened, TLS configurations built.
//!
//! A snapshot is immutable. A reload builds a whole new one beside it and swaps; whoever holds the
//! old one finishes with it.

use std::sync::Arc;

use velocity_tls::client_auth::ClientAuth;
use velocity_tls::server::{Fallback, Policies, Policy, Setup};
use velocity_tls::{Certificates, ServerTls, TlsError, certificate};

use crate::error::{Error, Result};
use crate::files::Files;
use crate::plan::{self, ClientAuthMode, Handler, Limits, Plan};

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
            tls: tls(plan)?,
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

/// What answers the ClientHellos of each listener.
fn tls(plan: &Plan) -> Result<Vec<Arc<ServerTls>>> {
    let files: Vec<_> = plan.tls.certificates.iter().map(certificate_files).collect();
    let certificates = Arc::new(Certificates::load(&files)?);
    let client_auth = match &plan.tls.client_auth {
        Some(auth) => {
            let require = auth.mode == ClientAuthMode::Require;
            Some(ClientAuth::load(&auth.roots_file, &auth.revocation_files, require)?)
        }
        None => None,
    };
    let by_host = plan.sites.iter().flat_map(|site| {
        let policy = site.profiles.as_ref().map(policy);
        site.hosts
            .iter()
            .filter_map(move |host| Some((host.clone(), policy.clone()?)))
    });
    let policies = Policies {
        default: policy(&plan.tls.profiles),
        by_host: by_host.collect(),
    };
    let built = plan.listeners.iter().map(|listener| {
        let protocols: Vec<Vec<u8>> = listener.alpn.iter().map(|name| name.clone().into_bytes()).collect();
        let tls = ServerTls::new(Setup {
            certificates: &certificates,
            protocols: &protocols,
            policies: policies.clone(),
            client_auth: client_auth.as_ref(),
            fallback: Fallback {
                alpn: plan.tls.fallback.alpn.clone(),
                host: plan.tls.fallback.host.clone(),
                port: plan.tls.fallback.port,
            },
        })?;
        Ok(Arc::new(tls))
    });
    built.collect()
}

fn certificate_files(certificate: &plan::Certificate) -> certificate::Files {
    certificate::Files {
        chain: certificate.chain_file.clone(),
        key: certificate.key_file.clone(),
        alternative_key: certificate.alternative_key_file.clone(),
        classical_chain: certificate.classical_chain_file.clone(),
    }
}

fn policy(profiles: &plan::Profiles) -> Policy {
    Policy {
        default: profiles.default,
        permit: profiles.permit.clone(),
    }
}

impl From<TlsError> for Error {
    fn from(error: TlsError) -> Self {
        Error::start(error.code(), error.to_string()).hint(error.hint())
    }
}
