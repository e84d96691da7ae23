//! Key exchange groups by name, each offered alone so that its share is always in the first ClientHello
//! and no HelloRetryRequest is ever needed (RFC 9846, `key_share`).
//!
//! rustls brings X25519 and X25519MLKEM768 (RFC 10024). The other hybrids are put together here from
//! ML-KEM and an elliptic curve in the same way: shares and secrets are simply concatenated, the curve
//! first where its name stands first in a NIST hybrid, ML-KEM first beside X25519.

use aws_lc_rs::kem::{self, Ciphertext, DecapsulationKey};
use rustls::crypto::aws_lc_rs::kx_group;
use rustls::crypto::{ActiveKeyExchange, SharedSecret, SupportedKxGroup};
use rustls::ffdhe_groups::FfdheGroup;
use rustls::{Error, NamedGroup, PeerMisbehaved, ProtocolVersion};

use crate::error::Result;

/// The client's half of a hybrid group.
struct Hybrid {
    name: NamedGroup,
    curve: &'static dyn SupportedKxGroup,
    /// Length in bytes of the server's curve share.
    curve_share: usize,
    curve_first: bool,
    kem: &'static kem::Algorithm<kem::AlgorithmId>,
}

static X25519_MLKEM512: Hybrid = Hybrid {
    name: NamedGroup::Unknown(0x2FB6),
    curve: kx_group::X25519,
    curve_share: 32,
    curve_first: false,
    kem: &kem::ML_KEM_512,
};
static X25519_MLKEM1024: Hybrid = Hybrid {
    name: NamedGroup::Unknown(0xFE24),
    curve: kx_group::X25519,
    curve_share: 32,
    curve_first: false,
    kem: &kem::ML_KEM_1024,
};
static SECP384R1_MLKEM1024: Hybrid = Hybrid {
    name: NamedGroup::Unknown(0x11ED),
    curve: kx_group::SECP384R1,
    curve_share: 97,
    curve_first: true,
    kem: &kem::ML_KEM_1024,
};

/// The group with this name, as IANA writes it, in lower case.
pub fn by_name(name: &str) -> Result<&'static dyn SupportedKxGroup> {
    Ok(match name {
        "x25519" => kx_group::X25519,
        "x25519mlkem512" => &X25519_MLKEM512,
        "x25519mlkem768" => kx_group::X25519MLKEM768,
        "x25519mlkem1024" => &X25519_MLKEM1024,
        "secp384r1mlkem1024" => &SECP384R1_MLKEM1024,
        _ => return Err(format!("no group is called {name:?}").into()),
    })
}

impl Hybrid {
    fn join(&self, curve: &[u8], kem: &[u8]) -> Vec<u8> {
        if self.curve_first {
            [curve, kem].concat()
        } else {
            [kem, curve].concat()
        }
    }
}

impl std::fmt::Debug for Hybrid {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{:?}", self.name)
    }
}

impl SupportedKxGroup for Hybrid {
    fn start(&self) -> std::result::Result<Box<dyn ActiveKeyExchange>, Error> {
        let failed = |_| Error::General("ML-KEM key generation failed".to_owned());
        let curve = self.curve.start()?;
        let decapsulation = DecapsulationKey::generate(self.kem).map_err(failed)?;
        let encapsulation = decapsulation.encapsulation_key().map_err(failed)?;
        let share = self.join(curve.pub_key(), encapsulation.key_bytes().map_err(failed)?.as_ref());
        Ok(Box::new(Exchange {
            hybrid: Hybrid { ..*self },
            curve,
            decapsulation,
            share,
        }))
    }

    fn ffdhe_group(&self) -> Option<FfdheGroup<'static>> {
        None
    }

    fn name(&self) -> NamedGroup {
        self.name
    }

    fn usable_for_version(&self, version: ProtocolVersion) -> bool {
        version == ProtocolVersion::TLSv1_3
    }
}

struct Exchange {
    hybrid: Hybrid,
    curve: Box<dyn ActiveKeyExchange>,
    decapsulation: DecapsulationKey<kem::AlgorithmId>,
    share: Vec<u8>,
}

impl ActiveKeyExchange for Exchange {
    fn complete(self: Box<Self>, peer: &[u8]) -> std::result::Result<SharedSecret, Error> {
        let invalid = || Error::PeerMisbehaved(PeerMisbehaved::InvalidKeyShare);
        let kem_length = peer.len().checked_sub(self.hybrid.curve_share).ok_or_else(invalid)?;
        let (curve, ciphertext) = if self.hybrid.curve_first {
            peer.split_at(self.hybrid.curve_share)
        } else {
            let (ciphertext, curve) = peer.split_at(kem_length);
            (curve, ciphertext)
        };
        let curve = self.curve.complete(curve)?;
        let kem = self
            .decapsulation
            .decapsulate(Ciphertext::from(ciphertext))
            .map_err(|_| invalid())?;
        Ok(SharedSecret::from(self.hybrid.join(curve.secret_bytes(), kem.as_ref())))
    }

    fn pub_key(&self) -> &[u8] {
        &self.share
    }

    fn ffdhe_group(&self) -> Option<FfdheGroup<'static>> {
        None
    }

    fn group(&self) -> NamedGroup {
        self.hybrid.name
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn shares_have_the_length_of_the_standard() {
        for (name, length) in [
            ("x25519", 32),
            ("x25519mlkem512", 800 + 32),
            ("x25519mlkem768", 1184 + 32),
            ("x25519mlkem1024", 1568 + 32),
            ("secp384r1mlkem1024", 97 + 1568),
        ] {
            assert_eq!(
                by_name(name).unwrap().start().unwrap().pub_key().len(),
                length,
                "{name}"
            );
        }
        assert!(by_name("p521").is_err());
    }

    #[test]
    fn refuses_short_shares() {
        let exchange = by_name("secp384r1mlkem1024").unwrap().start().unwrap();
        assert!(exchange.complete(&[0; 96]).is_err());
    }
}
