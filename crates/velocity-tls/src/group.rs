//! Key exchange groups: code points, names, and the hybrids that rustls does not ship.
//!
//! A hybrid is the concatenation of two key exchanges (RFC 10024 for X25519MLKEM768 and its
//! siblings): shares and secrets are joined in an order fixed by the group, ML-KEM first for the
//! X25519 family, the curve first for SecP384r1MLKEM1024. The session is safe while either holds.

use aws_lc_rs::kem;
use rustls::crypto::aws_lc_rs::kx_group;
use rustls::crypto::{ActiveKeyExchange, CompletedKeyExchange, SharedSecret, SupportedKxGroup};
use rustls::ffdhe_groups::FfdheGroup;
use rustls::{Error, NamedGroup, PeerMisbehaved, ProtocolVersion};

pub const SECP256R1: u16 = 0x0017;
pub const SECP384R1: u16 = 0x0018;
pub const X25519: u16 = 0x001d;
/// Private use, as oqs-provider numbers it.
pub const X25519MLKEM512: u16 = 0x2fb6;
pub const SECP256R1MLKEM768: u16 = 0x11eb;
pub const X25519MLKEM768: u16 = 0x11ec;
pub const SECP384R1MLKEM1024: u16 = 0x11ed;
/// Private use, Velocity's own.
pub const X25519MLKEM1024: u16 = 0xfe24;

/// Every group Velocity can negotiate, with its name.
const NAMES: [(u16, &str); 8] = [
    (X25519MLKEM768, "X25519MLKEM768"),
    (X25519MLKEM512, "X25519MLKEM512"),
    (X25519MLKEM1024, "X25519MLKEM1024"),
    (SECP384R1MLKEM1024, "SecP384r1MLKEM1024"),
    (SECP256R1MLKEM768, "SecP256r1MLKEM768"),
    (X25519, "x25519"),
    (SECP256R1, "secp256r1"),
    (SECP384R1, "secp384r1"),
];

/// Name of a group from the IANA registry (or ours for private use); `0x1234` for unknown ones.
pub fn name(code: u16) -> String {
    match NAMES.iter().find(|(known, _)| *known == code) {
        Some((_, name)) => (*name).to_owned(),
        None => format!("{code:#06x}"),
    }
}

/// Whether a quantum adversary gains nothing from recording an exchange in this group.
pub fn is_post_quantum(code: u16) -> bool {
    matches!(
        code,
        X25519MLKEM512 | SECP256R1MLKEM768 | X25519MLKEM768 | SECP384R1MLKEM1024 | X25519MLKEM1024
    )
}

/// The implementation behind a code point of this module.
pub(crate) fn implementation(code: u16) -> Option<&'static dyn SupportedKxGroup> {
    static HYBRID_512: &Hybrid = &Hybrid {
        name: X25519MLKEM512,
        classical: kx_group::X25519,
        classical_share: 32,
        kem: &MlKem512,
        kem_first: true,
    };
    static HYBRID_1024: &Hybrid = &Hybrid {
        name: X25519MLKEM1024,
        classical: kx_group::X25519,
        classical_share: 32,
        kem: kx_group::MLKEM1024,
        kem_first: true,
    };
    static HYBRID_P384_1024: &Hybrid = &Hybrid {
        name: SECP384R1MLKEM1024,
        classical: kx_group::SECP384R1,
        classical_share: 97,
        kem: kx_group::MLKEM1024,
        kem_first: false,
    };
    Some(match code {
        X25519MLKEM512 => &HYBRID_512,
        X25519MLKEM768 => kx_group::X25519MLKEM768,
        SECP256R1MLKEM768 => kx_group::SECP256R1MLKEM768,
        X25519MLKEM1024 => &HYBRID_1024,
        SECP384R1MLKEM1024 => &HYBRID_P384_1024,
        X25519 => kx_group::X25519,
        SECP256R1 => kx_group::SECP256R1,
        SECP384R1 => kx_group::SECP384R1,
        _ => return None,
    })
}

const INVALID_SHARE: Error = Error::PeerMisbehaved(PeerMisbehaved::InvalidKeyShare);

/// A classical group and a KEM under one code point.
#[derive(Debug)]
struct Hybrid {
    name: u16,
    classical: &'static dyn SupportedKxGroup,
    /// Length of a classical share in bytes, both directions. The KEM's half is the rest, and the
    /// KEM checks its own length.
    classical_share: usize,
    kem: &'static dyn SupportedKxGroup,
    kem_first: bool,
}

impl Hybrid {
    fn join(&self, classical: &[u8], kem: &[u8]) -> Vec<u8> {
        if self.kem_first {
            [kem, classical].concat()
        } else {
            [classical, kem].concat()
        }
    }

    /// `(classical, kem)` halves of a peer's share.
    fn split<'a>(&self, share: &'a [u8]) -> Result<(&'a [u8], &'a [u8]), Error> {
        let kem_share = share.len().checked_sub(self.classical_share).ok_or(INVALID_SHARE)?;
        if self.kem_first {
            let (kem, classical) = share.split_at(kem_share);
            Ok((classical, kem))
        } else {
            Ok(share.split_at(self.classical_share))
        }
    }
}

impl SupportedKxGroup for &'static Hybrid {
    fn start(&self) -> Result<Box<dyn ActiveKeyExchange>, Error> {
        let classical = self.classical.start()?;
        let kem = self.kem.start()?;
        let share = self.join(classical.pub_key(), kem.pub_key());
        Ok(Box::new(ActiveHybrid {
            hybrid: self,
            classical,
            kem,
            share,
        }))
    }

    fn start_and_complete(&self, peer_share: &[u8]) -> Result<CompletedKeyExchange, Error> {
        let (classical, kem) = self.split(peer_share)?;
        let classical = self.classical.start_and_complete(classical)?;
        let kem = self.kem.start_and_complete(kem)?;
        Ok(CompletedKeyExchange {
            group: NamedGroup::from(self.name),
            pub_key: self.join(&classical.pub_key, &kem.pub_key),
            secret: self
                .join(classical.secret.secret_bytes(), kem.secret.secret_bytes())
                .into(),
        })
    }

    fn ffdhe_group(&self) -> Option<FfdheGroup<'static>> {
        None
    }

    fn name(&self) -> NamedGroup {
        NamedGroup::from(self.name)
    }

    fn usable_for_version(&self, version: ProtocolVersion) -> bool {
        version == ProtocolVersion::TLSv1_3
    }
}

/// The client's half of a hybrid exchange, waiting for the server's share.
struct ActiveHybrid {
    hybrid: &'static Hybrid,
    classical: Box<dyn ActiveKeyExchange>,
    kem: Box<dyn ActiveKeyExchange>,
    share: Vec<u8>,
}

impl ActiveKeyExchange for ActiveHybrid {
    fn complete(self: Box<Self>, peer_share: &[u8]) -> Result<SharedSecret, Error> {
        let (classical, kem) = self.hybrid.split(peer_share)?;
        let classical = self.classical.complete(classical)?;
        let kem = self.kem.complete(kem)?;
        Ok(self.hybrid.join(classical.secret_bytes(), kem.secret_bytes()).into())
    }

    fn pub_key(&self) -> &[u8] {
        &self.share
    }

    fn ffdhe_group(&self) -> Option<FfdheGroup<'static>> {
        None
    }

    fn group(&self) -> NamedGroup {
        NamedGroup::from(self.hybrid.name)
    }
}

/// ML-KEM-512 (FIPS 203) alone: a component of X25519MLKEM512, never offered by itself.
#[derive(Debug)]
struct MlKem512;

impl SupportedKxGroup for MlKem512 {
    fn start(&self) -> Result<Box<dyn ActiveKeyExchange>, Error> {
        let failed = |_| Error::General("ML-KEM-512 key generation failed".into());
        let key = kem::DecapsulationKey::generate(&kem::ML_KEM_512).map_err(failed)?;
        let share = key
            .encapsulation_key()
            .and_then(|ek| Ok(ek.key_bytes()?.as_ref().to_vec()))
            .map_err(failed)?;
        Ok(Box::new(ActiveMlKem512 { key, share }))
    }

    fn start_and_complete(&self, peer_share: &[u8]) -> Result<CompletedKeyExchange, Error> {
        let key = kem::EncapsulationKey::new(&kem::ML_KEM_512, peer_share).map_err(|_| INVALID_SHARE)?;
        let (ciphertext, secret) = key.encapsulate().map_err(|_| INVALID_SHARE)?;
        Ok(CompletedKeyExchange {
            group: self.name(),
            pub_key: ciphertext.as_ref().to_vec(),
            secret: secret.as_ref().into(),
        })
    }

    fn ffdhe_group(&self) -> Option<FfdheGroup<'static>> {
        None
    }

    fn name(&self) -> NamedGroup {
        NamedGroup::MLKEM512
    }

    fn usable_for_version(&self, version: ProtocolVersion) -> bool {
        version == ProtocolVersion::TLSv1_3
    }
}

struct ActiveMlKem512 {
    key: kem::DecapsulationKey,
    share: Vec<u8>,
}

impl ActiveKeyExchange for ActiveMlKem512 {
    fn complete(self: Box<Self>, ciphertext: &[u8]) -> Result<SharedSecret, Error> {
        let secret = self.key.decapsulate(ciphertext.into()).map_err(|_| INVALID_SHARE)?;
        Ok(secret.as_ref().into())
    }

    fn pub_key(&self) -> &[u8] {
        &self.share
    }

    fn ffdhe_group(&self) -> Option<FfdheGroup<'static>> {
        None
    }

    fn group(&self) -> NamedGroup {
        NamedGroup::MLKEM512
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Client share and server share in bytes: the sizes of FIPS 203 plus the curve's.
    const SIZES: [(u16, usize, usize); 4] = [
        (X25519MLKEM512, 800 + 32, 768 + 32),
        (X25519MLKEM768, 1184 + 32, 1088 + 32),
        (X25519MLKEM1024, 1568 + 32, 1568 + 32),
        (SECP384R1MLKEM1024, 97 + 1568, 97 + 1568),
    ];

    #[test]
    fn both_sides_agree_and_shares_have_their_lengths() {
        for (code, client_len, server_len) in SIZES {
            let group = implementation(code).unwrap();
            let client = group.start().unwrap();
            assert_eq!(client.pub_key().len(), client_len, "{}", name(code));
            let server = group.start_and_complete(client.pub_key()).unwrap();
            assert_eq!(server.pub_key.len(), server_len, "{}", name(code));
            let secret = client.complete(&server.pub_key).unwrap();
            assert_eq!(secret.secret_bytes(), server.secret.secret_bytes());
            assert!(secret.secret_bytes().len() >= 64);
        }
    }

    #[test]
    fn shares_of_another_length_are_refused() {
        for (code, client_len, server_len) in SIZES {
            let group = implementation(code).unwrap();
            for len in [0, 1, 31, 32, 97, client_len - 1, client_len + 1] {
                assert!(group.start_and_complete(&vec![7; len]).is_err(), "{} {len}", name(code));
            }
            for len in [0, 32, server_len - 1, server_len + 1] {
                assert!(
                    group.start().unwrap().complete(&vec![7; len]).is_err(),
                    "{} {len}",
                    name(code)
                );
            }
        }
    }
}
