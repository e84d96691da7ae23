//! Which cipher suites and groups rustls may use, for each situation the hello stage can meet.

use std::sync::Arc;

use rustls::SupportedCipherSuite;
use rustls::crypto::aws_lc_rs::{self, cipher_suite};
use rustls::crypto::{CryptoProvider, SupportedKxGroup};

use crate::group;
use crate::profile::Profile;

/// AEAD order of TLS 1.3 suites (the TLS 1.2 ones follow in rustls' own order).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Aead {
    Aes128,
    Aes256,
    ChaCha20,
}

impl Aead {
    /// What a profile prefers. `balanced` takes ChaCha20 where the peer lists it first, because
    /// only a peer without AES instructions does.
    pub(crate) fn preferred(profile: Profile, peer_prefers_chacha: bool) -> Self {
        match profile {
            Profile::Light => Aead::ChaCha20,
            Profile::Balanced if peer_prefers_chacha => Aead::ChaCha20,
            Profile::Balanced => Aead::Aes128,
            Profile::Secure => Aead::Aes256,
        }
    }

    fn suites(self) -> Vec<SupportedCipherSuite> {
        let (aes128, aes256, chacha) = (
            cipher_suite::TLS13_AES_128_GCM_SHA256,
            cipher_suite::TLS13_AES_256_GCM_SHA384,
            cipher_suite::TLS13_CHACHA20_POLY1305_SHA256,
        );
        let mut suites = match self {
            Aead::Aes128 => vec![aes128, chacha, aes256],
            Aead::Aes256 => vec![aes256, chacha, aes128],
            Aead::ChaCha20 => vec![chacha, aes128, aes256],
        };
        suites.extend(
            aws_lc_rs::DEFAULT_CIPHER_SUITES
                .iter()
                .filter(|suite| suite.tls13().is_none()),
        );
        suites
    }
}

/// A provider that knows exactly these groups, preferred first.
pub(crate) fn provider(groups: &[u16], aead: Aead) -> Arc<CryptoProvider> {
    let kx_groups: Vec<&'static dyn SupportedKxGroup> =
        groups.iter().filter_map(|&code| group::implementation(code)).collect();
    Arc::new(CryptoProvider {
        cipher_suites: aead.suites(),
        kx_groups,
        ..aws_lc_rs::default_provider()
    })
}

/// For browsers and everybody else who can do hybrid key exchange. Only hybrids: rustls would
/// otherwise take an offered x25519 share rather than ask for the hybrid one.
pub(crate) const WEB_HYBRID: [u16; 5] = [
    group::X25519MLKEM768,
    group::SECP384R1MLKEM1024,
    group::X25519MLKEM1024,
    group::SECP256R1MLKEM768,
    group::X25519MLKEM512,
];

/// For those who cannot.
pub(crate) const WEB_CLASSICAL: [u16; 3] = [group::X25519, group::SECP256R1, group::SECP384R1];
