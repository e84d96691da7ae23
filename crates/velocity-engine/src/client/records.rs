//! HTTPS records (RFC 9460): what DNS knows about an origin before anybody has spoken to it.

use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use hickory_resolver::TokioResolver;
use hickory_resolver::proto::rr::rdata::svcb::{SVCB, SvcParamValue};
use hickory_resolver::proto::rr::{RData, RecordType};
use tokio::sync::OnceCell;

use super::Protocol;
use crate::proxy::resolver;

/// How long is waited for them: addresses are usually there sooner, and nothing depends on a record alone.
const PATIENCE: Duration = Duration::from_millis(50);

/// What a record says about the origin itself.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Service {
    /// Where it is instead.
    pub target: Option<String>,
    pub port: Option<u16>,
    /// What is spoken there; `http/1.1` too, unless that is ruled out.
    pub protocols: Vec<Protocol>,
}

/// Asks one resolver, or those of the system. Without any, nothing is found.
pub struct Records {
    at: Option<SocketAddr>,
    resolver: OnceCell<Option<TokioResolver>>,
}

impl Records {
    pub fn new(at: Option<SocketAddr>) -> Self {
        Self {
            at,
            resolver: OnceCell::new(),
        }
    }

    /// The record of an origin with the best priority that can be used.
    pub async fn look_up(&self, host: &str, port: u16) -> Option<Service> {
        // RFC 9460 section 9.1: other ports have names of their own. Addresses and local names have no records.
        if host.parse::<IpAddr>().is_ok() || !host.contains('.') || host.ends_with(".localhost") {
            return None;
        }
        let name = match port {
            443 => format!("{host}."),
            _ => format!("_{port}._https.{host}."),
        };
        let at = self.at.map(|at| at.to_string());
        let resolver = self.resolver.get_or_init(|| async { resolver(at.as_deref()).ok() });
        let resolver = resolver.await.as_ref()?;
        let found = tokio::time::timeout(PATIENCE, resolver.lookup(name, RecordType::HTTPS)).await;
        let found = found.ok()?.ok()?;
        let mut services: Vec<&SVCB> = found
            .answers()
            .iter()
            .filter_map(|record| match &record.data {
                RData::HTTPS(https) => Some(&https.0),
                _ => None,
            })
            .collect();
        services.sort_by_key(|service| service.svc_priority);
        services.into_iter().find_map(service)
    }
}

/// `None` for an alias (section 2.4.2), and for what demands something that is not known here (section 8).
fn service(record: &SVCB) -> Option<Service> {
    if record.svc_priority == 0 {
        return None;
    }
    let mut service = Service {
        target: (!record.target_name.is_root()).then(|| record.target_name.to_ascii().trim_end_matches('.').to_owned()),
        ..Service::default()
    };
    let mut default = true;
    for (_, value) in &record.svc_params {
        match value {
            SvcParamValue::Alpn(names) => {
                service
                    .protocols
                    .extend(names.0.iter().filter_map(|name| Protocol::parse(name)));
            }
            SvcParamValue::NoDefaultAlpn => default = false,
            SvcParamValue::Port(port) => service.port = Some(*port),
            SvcParamValue::Mandatory(keys) => {
                let known = |key| {
                    record
                        .svc_params
                        .iter()
                        .any(|(other, value)| other == key && is_known(value))
                };
                if !keys.0.iter().all(known) {
                    return None;
                }
            }
            _ => {}
        }
    }
    if default && !service.protocols.contains(&Protocol::H1) {
        service.protocols.push(Protocol::H1);
    }
    Some(service)
}

fn is_known(value: &SvcParamValue) -> bool {
    matches!(
        value,
        SvcParamValue::Alpn(_) | SvcParamValue::NoDefaultAlpn | SvcParamValue::Port(_)
    )
}

#[cfg(test)]
mod tests {
    use hickory_resolver::proto::rr::Name;
    use hickory_resolver::proto::rr::rdata::svcb::{Alpn, Mandatory, SvcParamKey};

    use super::*;

    fn record(priority: u16, parameters: Vec<(SvcParamKey, SvcParamValue)>) -> SVCB {
        SVCB::new(priority, Name::root(), parameters)
    }

    #[test]
    fn a_record_names_protocols_and_a_port() {
        let parameters = vec![
            (
                SvcParamKey::Alpn,
                SvcParamValue::Alpn(Alpn(vec!["h3".into(), "spdy".into(), "h2".into()])),
            ),
            (SvcParamKey::Port, SvcParamValue::Port(8443)),
        ];
        let found = service(&record(1, parameters)).unwrap();
        assert_eq!((found.target, found.port), (None, Some(8443)));
        assert_eq!(found.protocols, [Protocol::H3, Protocol::H2, Protocol::H1]);
    }

    #[test]
    fn aliases_and_demands_that_cannot_be_met_are_passed_over() {
        assert_eq!(service(&record(0, Vec::new())), None);
        let demands = SvcParamValue::Mandatory(Mandatory(vec![SvcParamKey::EchConfigList]));
        assert_eq!(service(&record(1, vec![(SvcParamKey::Mandatory, demands)])), None);
    }
}
