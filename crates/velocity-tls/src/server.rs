//! The server's side of the hello stage: from what a client offers to the configuration it gets.
//!
//! Every combination that can occur is built once, when the snapshot is built; a handshake only
//! looks one up. Each configuration has its own ticket key, so that a ticket can never carry a
//! session from one profile or protocol into another.

use std::collections::HashMap;
use std::sync::Arc;

use rustls::server::danger::ClientCertVerifier;
use rustls::server::{NoServerSessionStorage, ResolvesServerCert, ServerConfig, WebPkiClientVerifier};

use crate::alpn;
use crate::certificate::{Certificates, ResolveHybrid, ResolveLean};
use crate::client_auth::ClientAuth;
use crate::error::TlsError;
use crate::fallback::{Directive, Reason};
use crate::group;
use crate::hello::Hello;
use crate::profile::Profile;
use crate::provider::{self, Aead};
use crate::quic::QuicConfig;

const CHACHA20: u16 = 0x1303;

/// Which kind of socket a hello came over.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Transport {
    Quic,
    Tcp,
}

/// A profile policy.
#[derive(Clone, Debug)]
pub struct Policy {
    /// Taken where the client has no preference.
    pub default: Profile,
    pub permit: Vec<Profile>,
}

impl Policy {
    /// The profile for a client: ours where it offers the groups for it, else the first one of its own
    /// preference. `strong_enough` is what the certificate is good for.
    fn choose(&self, hello: &Hello, strong_enough: impl Fn(Profile) -> bool) -> Option<Profile> {
        let permitted = |profile: &Profile| self.permit.contains(profile) && strong_enough(*profile);
        let offered = |profile: Profile| profile.groups().iter().any(|code| hello.groups.contains(code));
        if permitted(&self.default) && offered(self.default) {
            return Some(self.default);
        }
        hello
            .groups
            .iter()
            .filter_map(|&code| Profile::of_group(code))
            .find(permitted)
    }
}

/// The policy of a server, and those of hosts that have one of their own.
#[derive(Clone, Debug)]
pub struct Policies {
    pub default: Policy,
    /// By SNI, lower case: exact names, and `*.example.com`.
    pub by_host: HashMap<String, Policy>,
}

impl Policies {
    fn of(&self, server_name: Option<&str>) -> &Policy {
        let found = server_name.filter(|_| !self.by_host.is_empty()).and_then(|name| {
            let parents = name.match_indices('.').map(|(at, _)| format!("*{}", &name[at..]));
            self.by_host
                .get(name)
                .or_else(|| parents.into_iter().find_map(|wildcard| self.by_host.get(&wildcard)))
        });
        found.unwrap_or(&self.default)
    }

    fn permit(&self, profile: Profile) -> bool {
        let mut all = self.by_host.values().chain([&self.default]);
        all.any(|policy| policy.permit.contains(&profile))
    }
}

/// Where clients go that do not get `velocity/1`.
#[derive(Clone, Debug)]
pub struct Fallback {
    pub alpn: String,
    pub host: Option<String>,
    pub port: Option<u16>,
}

/// What a listener is made from.
pub struct Setup<'a> {
    pub certificates: &'a Arc<Certificates>,
    /// ALPN names in the order of preference.
    pub protocols: &'a [Vec<u8>],
    pub policies: Policies,
    pub client_auth: Option<&'a Arc<ClientAuth>>,
    pub fallback: Fallback,
}

/// Everything needed to answer a ClientHello on one listener.
pub struct ServerTls {
    certificates: Arc<Certificates>,
    policies: Policies,
    fallback: Fallback,
    offers_velocity: bool,
    /// `velocity/1`, by profile and by whether the client lists ChaCha20 first.
    velocity: Vec<(Profile, bool, QuicConfig)>,
    /// `h3`: clients with hybrid groups, clients without.
    h3: Option<(QuicConfig, QuicConfig)>,
    /// `h2` and `http/1.1`: clients with hybrid groups, clients without.
    tcp: Option<(Arc<ServerConfig>, Arc<ServerConfig>)>,
    /// Gives Initial keys where nothing else over QUIC does; nobody is answered with it.
    initial: Option<QuicConfig>,
}

/// The configuration for a client, and why it is not that of `velocity/1` where the client had offered that.
pub struct Choice<C> {
    pub config: C,
    pub downgrade: Option<Reason>,
}

impl ServerTls {
    /// Build every configuration.
    pub fn new(setup: Setup<'_>) -> Result<Self, TlsError> {
        let Setup {
            certificates,
            protocols,
            policies,
            client_auth,
            fallback,
        } = setup;
        let offered = |name: &[u8]| protocols.iter().any(|protocol| protocol == name);
        let lean = |groups: &[u16], protocols: Vec<Vec<u8>>, transport| {
            let verifier = client_auth.map(|auth| auth.verifier(false));
            let resolver = Arc::new(ResolveLean(certificates.clone()));
            config(resolver, verifier, groups, Aead::Aes128, protocols, transport)
        };
        let lean_quic =
            |groups: &[u16], protocol: &[u8]| QuicConfig::new(lean(groups, vec![protocol.to_vec()], Transport::Quic)?);

        let offers_velocity = offered(alpn::VELOCITY);
        let mut velocity = Vec::new();
        if offers_velocity && certificates.any_hybrid() {
            let permitted = Profile::ALL.into_iter().filter(|&profile| policies.permit(profile));
            for (profile, chacha) in permitted.flat_map(|profile| [(profile, false), (profile, true)]) {
                let aead = Aead::preferred(profile, chacha);
                let verifier = client_auth.map(|auth| auth.verifier(true));
                let resolver = Arc::new(ResolveHybrid(certificates.clone()));
                let protocols = vec![alpn::VELOCITY.to_vec()];
                let config = config(resolver, verifier, profile.groups(), aead, protocols, Transport::Quic)?;
                velocity.push((profile, chacha, QuicConfig::new(config)?));
            }
        }
        let h3 = match offered(alpn::H3) {
            true => Some((
                lean_quic(&provider::WEB_HYBRID, alpn::H3)?,
                lean_quic(&provider::WEB_CLASSICAL, alpn::H3)?,
            )),
            false => None,
        };
        let over_tcp: Vec<Vec<u8>> = protocols
            .iter()
            .filter(|name| *name == alpn::H2 || *name == alpn::HTTP11)
            .cloned()
            .collect();
        let tcp = match over_tcp.is_empty() {
            true => None,
            false => Some((
                Arc::new(lean(&provider::WEB_HYBRID, over_tcp.clone(), Transport::Tcp)?),
                Arc::new(lean(&provider::WEB_CLASSICAL, over_tcp, Transport::Tcp)?),
            )),
        };
        let initial = match offers_velocity && h3.is_none() {
            true => Some(lean_quic(&provider::WEB_HYBRID, alpn::VELOCITY)?),
            false => None,
        };
        Ok(Self {
            certificates: certificates.clone(),
            policies,
            fallback,
            offers_velocity,
            velocity,
            h3,
            tcp,
            initial,
        })
    }

    /// The configuration that answers this client over QUIC, or why there is none that does.
    pub(crate) fn choose_quic(&self, hello: &Hello) -> Result<Choice<&QuicConfig>, Option<Reason>> {
        let mut downgrade = None;
        if hello.offers_alpn(alpn::VELOCITY) {
            match self.velocity(hello) {
                Ok(config) => return Ok(Choice { config, downgrade }),
                Err(reason) => downgrade = Some(reason),
            }
        }
        match &self.h3 {
            // Without a protocol in common, rustls would answer no_application_protocol as well (RFC 9001
            // section 8.1), but without a reason.
            Some((hybrid, classical)) if downgrade.is_none() || hello.offers_alpn(alpn::H3) => Ok(Choice {
                config: if has_hybrid(hello) { hybrid } else { classical },
                downgrade,
            }),
            _ => Err(downgrade),
        }
    }

    /// Any configuration for QUIC; `None` when this server has none.
    pub(crate) fn any_quic(&self) -> Option<&QuicConfig> {
        let h3 = self.h3.as_ref().map(|(hybrid, _)| hybrid);
        h3.or(self.initial.as_ref())
    }

    /// The configuration that answers this client over TCP; `None` when this server has none.
    ///
    /// A client that names `velocity/1` there as well learns why it would not get it over QUIC.
    pub fn choose_tcp(&self, hello: &Hello) -> Option<Choice<Arc<ServerConfig>>> {
        let (hybrid, classical) = self.tcp.as_ref()?;
        let config = match hello.tls13 && has_hybrid(hello) {
            true => hybrid.clone(),
            false => classical.clone(),
        };
        let downgrade = match hello.offers_alpn(alpn::VELOCITY) {
            true => self.velocity(hello).err(),
            false => None,
        };
        Some(Choice { config, downgrade })
    }

    /// What a client is told that does not get `velocity/1`.
    pub fn directive(&self, reason: Reason) -> Directive {
        Directive {
            reason,
            alpn: self.fallback.alpn.clone(),
            host: self.fallback.host.clone(),
            port: self.fallback.port,
        }
    }

    /// The profiles that a client may ask for under this name; none where there is no `velocity/1`.
    pub fn profiles(&self, server_name: Option<&str>) -> Vec<Profile> {
        let certificate = self.certificates.of(server_name);
        let Some(hybrid) = certificate.hybrid.as_ref().filter(|_| self.offers_velocity) else {
            return Vec::new();
        };
        let policy = self.policies.of(server_name);
        let mut profiles = policy.permit.clone();
        profiles.retain(|profile| hybrid.scheme.level >= profile.level());
        profiles.sort_by_key(|profile| *profile != policy.default);
        profiles
    }

    /// `velocity/1` for this client, or why not.
    fn velocity(&self, hello: &Hello) -> Result<&QuicConfig, Reason> {
        if !self.offers_velocity {
            return Err(Reason::PolicyDisabled);
        }
        let name = hello.server_name.as_deref();
        let hybrid = self.certificates.of(name).hybrid.as_ref().ok_or(Reason::NoHybridCert)?;
        if !hello.schemes.contains(&hybrid.scheme.code) {
            return Err(Reason::ClientSigalg);
        }
        let policy = self.policies.of(name);
        let profile = policy.choose(hello, |profile| hybrid.scheme.level >= profile.level());
        let profile = profile.ok_or_else(|| match policy.choose(hello, |_| true) {
            Some(_) => Reason::NoHybridCert, // there is one, and it is too weak
            None => Reason::ClientProfile,
        })?;
        let chacha = prefers_chacha(hello);
        let found = self.velocity.iter().find(|(p, c, _)| *p == profile && *c == chacha);
        found.map(|(_, _, config)| config).ok_or(Reason::PolicyDisabled)
    }
}

fn has_hybrid(hello: &Hello) -> bool {
    hello.groups.iter().any(|&code| group::is_post_quantum(code))
}

fn prefers_chacha(hello: &Hello) -> bool {
    hello.ciphers.iter().find(|code| (0x1301..=CHACHA20).contains(*code)) == Some(&CHACHA20)
}

fn config(
    resolver: Arc<dyn ResolvesServerCert>,
    verifier: Option<Arc<dyn ClientCertVerifier>>,
    groups: &[u16],
    aead: Aead,
    protocols: Vec<Vec<u8>>,
    transport: Transport,
) -> Result<ServerConfig, TlsError> {
    let builder = ServerConfig::builder_with_provider(provider::provider(groups, aead));
    let builder = match transport {
        Transport::Quic => builder.with_protocol_versions(&[&rustls::version::TLS13])?,
        Transport::Tcp => builder.with_safe_default_protocol_versions()?,
    };
    let mut config = builder
        .with_client_cert_verifier(verifier.unwrap_or_else(WebPkiClientVerifier::no_client_auth))
        .with_cert_resolver(resolver);
    config.alpn_protocols = protocols;
    // A profile means its AEAD; browsers on the web protocols keep their own order, which knows
    // whether they have AES instructions.
    config.ignore_client_order = groups != provider::WEB_HYBRID && groups != provider::WEB_CLASSICAL;
    config.session_storage = Arc::new(NoServerSessionStorage {});
    config.ticketer = rustls::crypto::aws_lc_rs::Ticketer::new()?;
    Ok(config)
}
