//! The server's side of the hello stage: from what a client offers to the configuration it gets.
//!
//! Every combination that can occur is built once, when the snapshot is built; a handshake only
//! looks one up. Each configuration has its own ticket key, so that a ticket can never carry a
//! session from one profile or protocol into another.

use std::sync::Arc;

use rustls::server::{NoServerSessionStorage, ServerConfig};
use rustls::sign::{CertifiedKey, SingleCertAndKey};

use crate::alpn;
use crate::error::TlsError;
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

/// The profile policy of a server.
#[derive(Clone, Debug)]
pub struct Policy {
    /// Taken where the client has no preference.
    pub default: Profile,
    pub permit: Vec<Profile>,
}

/// Everything needed to answer a ClientHello on one listener.
pub struct ServerTls {
    policy: Policy,
    /// `velocity/1`, by profile and by whether the client lists ChaCha20 first.
    velocity: Vec<(Profile, bool, QuicConfig)>,
    /// `h3`: clients with hybrid groups, clients without.
    h3: Option<(QuicConfig, QuicConfig)>,
    /// `h2` and `http/1.1`: clients with hybrid groups, clients without.
    tcp: Option<(Arc<ServerConfig>, Arc<ServerConfig>)>,
}

impl ServerTls {
    /// Build every configuration for one certificate.
    ///
    /// `protocols` are ALPN names in the order of preference.
    pub fn new(key: &Arc<CertifiedKey>, protocols: &[Vec<u8>], policy: Policy) -> Result<Self, TlsError> {
        let offered = |name: &[u8]| protocols.iter().any(|protocol| protocol == name);
        let quic = |groups: &[u16], aead, protocol: &[u8]| {
            QuicConfig::new(config(key, groups, aead, vec![protocol.to_vec()], Transport::Quic)?)
        };

        let mut velocity = Vec::new();
        if offered(alpn::VELOCITY) {
            for &profile in &policy.permit {
                for chacha in [false, true] {
                    let aead = Aead::preferred(profile, chacha);
                    velocity.push((profile, chacha, quic(profile.groups(), aead, alpn::VELOCITY)?));
                }
            }
        }
        let h3 = match offered(alpn::H3) {
            true => Some((
                quic(&provider::WEB_HYBRID, Aead::Aes128, alpn::H3)?,
                quic(&provider::WEB_CLASSICAL, Aead::Aes128, alpn::H3)?,
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
                Arc::new(config(
                    key,
                    &provider::WEB_HYBRID,
                    Aead::Aes128,
                    over_tcp.clone(),
                    Transport::Tcp,
                )?),
                Arc::new(config(
                    key,
                    &provider::WEB_CLASSICAL,
                    Aead::Aes128,
                    over_tcp,
                    Transport::Tcp,
                )?),
            )),
        };
        Ok(Self {
            policy,
            velocity,
            h3,
            tcp,
        })
    }

    /// The configuration that answers this client over QUIC; `None` when no protocol is in common.
    pub fn choose_quic(&self, hello: &Hello) -> Option<&QuicConfig> {
        if hello.offers_alpn(alpn::VELOCITY) && !self.velocity.is_empty() {
            if let Some(profile) = self.profile(hello) {
                let chacha = prefers_chacha(hello);
                let found = self.velocity.iter().find(|(p, c, _)| *p == profile && *c == chacha);
                return found.map(|(_, _, config)| config);
            }
            if !hello.offers_alpn(alpn::H3) || self.h3.is_none() {
                // Nothing to fall back to: let rustls refuse for want of a common group.
                return self.velocity.first().map(|(_, _, config)| config);
            }
        }
        let (hybrid, classical) = self.h3.as_ref()?;
        // Without a protocol in common, rustls answers no_application_protocol (RFC 9001 section 8.1).
        Some(if has_hybrid(hello) { hybrid } else { classical })
    }

    /// Any configuration for QUIC; `None` when this server has none.
    pub(crate) fn any_quic(&self) -> Option<&QuicConfig> {
        let velocity = self.velocity.first().map(|(_, _, config)| config);
        velocity.or(self.h3.as_ref().map(|(hybrid, _)| hybrid))
    }

    /// The configuration that answers this client over TCP; `None` when this server has none.
    pub fn choose_tcp(&self, hello: &Hello) -> Option<Arc<ServerConfig>> {
        let (hybrid, classical) = self.tcp.as_ref()?;
        Some(if hello.tls13 && has_hybrid(hello) {
            hybrid.clone()
        } else {
            classical.clone()
        })
    }

    /// The profile for a client of `velocity/1`: ours where it offers the groups for it, else the
    /// first one of its own preference that is permitted.
    fn profile(&self, hello: &Hello) -> Option<Profile> {
        let permitted = |profile: &Profile| self.policy.permit.contains(profile);
        let offered = |profile: Profile| profile.groups().iter().any(|code| hello.groups.contains(code));
        if permitted(&self.policy.default) && offered(self.policy.default) {
            return Some(self.policy.default);
        }
        hello
            .groups
            .iter()
            .filter_map(|&code| Profile::of_group(code))
            .find(permitted)
    }
}

fn has_hybrid(hello: &Hello) -> bool {
    hello.groups.iter().any(|&code| group::is_post_quantum(code))
}

fn prefers_chacha(hello: &Hello) -> bool {
    hello.ciphers.iter().find(|code| (0x1301..=CHACHA20).contains(*code)) == Some(&CHACHA20)
}

fn config(
    key: &Arc<CertifiedKey>,
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
        .with_no_client_auth()
        .with_cert_resolver(Arc::new(SingleCertAndKey::from(key.as_ref().clone())));
    config.alpn_protocols = protocols;
    // A profile means its AEAD; browsers on the web protocols keep their own order, which knows
    // whether they have AES instructions.
    config.ignore_client_order = groups != provider::WEB_HYBRID && groups != provider::WEB_CLASSICAL;
    config.session_storage = Arc::new(NoServerSessionStorage {});
    config.ticketer = rustls::crypto::aws_lc_rs::Ticketer::new()?;
    Ok(config)
}
