//! A Plan made ready to serve: certificates loaded, roots opened, TLS configurations built.
//!
//! A snapshot is immutable. A reload builds a whole new one beside it and swaps; whoever holds the
//! old one finishes with it.

use std::collections::HashSet;
use std::sync::Arc;

use velocity_tls::client_auth::ClientAuth;
use velocity_tls::server::{Fallback, Policies, Policy, Setup};
use velocity_tls::{Certificates, ServerTls, TlsError};

use crate::app::Applications;
use crate::error::{Error, Result};
use crate::filter::{Filter, Proxies};
use crate::handler::{ErrorPages, Handler, Templates};
use crate::net::proxy_protocol::Senders;
use crate::plan::{self, ClientAuthMode, Limits, Plan};
use crate::proxy::Known;
use crate::route::{Route, Site};
use crate::router::Router;

pub struct Snapshot {
    /// By index of the listener in the Plan.
    pub tls: Vec<Arc<ServerTls>>,
    pub limits: Limits,
    pub access_log: bool,
    /// By index of the site in the Plan.
    pub(crate) sites: Vec<Site>,
    pub(crate) router: Router,
    pub(crate) proxies: Proxies,
    /// Who speaks the PROXY protocol.
    pub(crate) senders: Option<Senders>,
    pub(crate) templates: Templates,
    /// Whether there is more than one route, so that it is worth saying which answers.
    pub(crate) names_routes: bool,
    /// Whether any route has hints for before the answer.
    pub(crate) has_early_hints: bool,
    /// Whether any route answers WebTransport.
    pub(crate) takes_sessions: bool,
    /// The filters with what they are by the Plan: the next one may have some of them as well.
    filters: Vec<(plan::Filter, Arc<Filter>)>,
    /// The same for the servers behind this one.
    pub(crate) upstreams: Known,
}

impl Snapshot {
    /// `previous` is the snapshot that this one is to take the place of: filters that are the same in both keep what
    /// they have counted and learned.
    pub fn new(plan: &Plan, previous: Option<&Self>, applications: &Applications) -> Result<Self> {
        let mut templates = Templates::load(plan.templates.as_deref())?;
        let filters = filters(plan, previous, &mut templates)?;
        let shared: Vec<Arc<Filter>> = filters.iter().map(|(_, filter)| filter.clone()).collect();
        let mut upstreams = Known::after(previous.map(|snapshot| &snapshot.upstreams));
        let mut sites = Vec::with_capacity(plan.sites.len());
        for site in &plan.sites {
            let routes = site
                .routes
                .iter()
                .map(|route| Route::new(route, &shared, &mut templates, &mut upstreams, applications));
            sites.push(Site {
                routes: routes.collect::<Result<_>>()?,
                error_pages: ErrorPages::new(&site.error_pages)?,
            });
        }
        Ok(Self {
            tls: tls(plan)?,
            limits: plan.limits.clone(),
            access_log: plan.log.access,
            names_routes: sites.iter().map(|site| site.routes.len()).sum::<usize>() > 1,
            takes_sessions: sites.iter().flat_map(|site| &site.routes).any(Route::takes_sessions),
            sites,
            router: Router::new(&plan.sites)?,
            proxies: Proxies::new(&plan.trusted_proxies)?,
            senders: plan.proxy_protocol.as_ref().map(Senders::new).transpose()?,
            templates,
            has_early_hints: !applications.is_empty()
                || !upstreams.is_empty()
                || shared.iter().any(|filter| matches!(**filter, Filter::EarlyHints(_))),
            filters,
            upstreams: upstreams.settle(),
        })
    }
}

/// Everything that is wrong with a Plan, as far as that can be told without its certificates.
///
/// The details of an error say where: `place` is the name of a route or `filters[N]`, `text` what cannot be, `file` what
/// cannot be read, or has the `line` and `column`.
pub fn problems(plan: &Plan) -> Vec<Error> {
    let mut templates = match Templates::inspect(plan.templates.as_deref()) {
        Ok(templates) => templates,
        Err(error) => return vec![error],
    };
    let mut found = templates.take_failures();
    for (place, filter) in plan.filters.iter().enumerate() {
        let mut errors = Filter::problems(filter, place, &mut templates);
        errors.extend(templates.take_failures());
        found.extend(
            errors
                .into_iter()
                .map(|error| error.detail("place", format!("filters[{place}]"))),
        );
    }
    let (mut upstreams, applications) = (Known::default(), Applications::any());
    // A route of many sites is the same at each.
    let mut seen = HashSet::new();
    let routes = plan.sites.iter().flat_map(|site| &site.routes);
    for route in routes.filter(|route| seen.insert(route.name.as_str())) {
        found.extend(Router::check(route).err());
        let broken = Handler::new(
            &route.handler,
            &route.name,
            &mut templates,
            &mut upstreams,
            &applications,
        )
        .err();
        let errors = broken.into_iter().chain(templates.take_failures());
        found.extend(errors.map(|error| error.detail("place", route.name.as_str())));
    }
    let pages = plan.sites.iter().flat_map(|site| &site.error_pages);
    found.extend(pages.filter_map(|page| ErrorPages::new(std::slice::from_ref(page)).err()));
    found.extend(Proxies::new(&plan.trusted_proxies).err());
    found.extend(plan.proxy_protocol.as_ref().and_then(|plan| Senders::new(plan).err()));
    found
}

/// Every filter of a Plan, those with a state from the snapshot before where they are equal. Two equal filters of one
/// Plan are two.
fn filters(
    plan: &Plan,
    previous: Option<&Snapshot>,
    templates: &mut Templates,
) -> Result<Vec<(plan::Filter, Arc<Filter>)>> {
    let mut known: Vec<&(plan::Filter, Arc<Filter>)> = previous
        .map(|snapshot| {
            snapshot
                .filters
                .iter()
                .filter(|(_, filter)| filter.has_state())
                .collect()
        })
        .unwrap_or_default();
    let filter = |(place, plan): (usize, &plan::Filter)| {
        let filter = match known.iter().position(|(known, _)| known == plan) {
            Some(at) => known.remove(at).1.clone(),
            None => {
                let place_of = |error: Error| error.detail("place", format!("filters[{place}]"));
                Arc::new(Filter::new(plan, place, templates).map_err(place_of)?)
            }
        };
        Ok((plan.clone(), filter))
    };
    plan.filters.iter().enumerate().map(filter).collect()
}

/// What answers the ClientHellos of each listener.
fn tls(plan: &Plan) -> Result<Vec<Arc<ServerTls>>> {
    let files: Vec<_> = plan.tls.certificates.iter().map(plan::Certificate::files).collect();
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
