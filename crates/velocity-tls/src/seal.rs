//! Bytes that only their writer can read and nobody can change: AES-256-GCM (NIST SP 800-38D) with random nonces, under
//! keys derived by HKDF with SHA-256 (RFC 5869).

use aws_lc_rs::aead::{AES_256_GCM, Aad, NONCE_LEN, Nonce, RandomizedNonceKey};
use aws_lc_rs::{digest, hkdf, hmac};

/// A key for one purpose.
pub struct Seal {
    key: RandomizedNonceKey,
}

/// Of a key of AES-256.
struct KeyLen;

impl hkdf::KeyType for KeyLen {
    fn len(&self) -> usize {
        32
    }
}

impl Seal {
    /// The same secret and purpose give the same key. A secret has no less than 32 bytes of randomness in it; `None` if
    /// the library fails.
    pub fn new(secret: &[u8], purpose: &[u8]) -> Option<Self> {
        let mut key = [0; 32];
        hkdf::Salt::new(hkdf::HKDF_SHA256, b"velocity seal 1")
            .extract(secret)
            .expand(&[purpose], KeyLen)
            .and_then(|okm| okm.fill(&mut key))
            .ok()?;
        let key = RandomizedNonceKey::new(&AES_256_GCM, &key).ok()?;
        Some(Self { key })
    }

    /// `plain`, which [`Seal::open`] gives back for the same `context` only: nonce, ciphertext and tag. `None` if the
    /// library fails.
    pub fn seal(&self, context: &[u8], mut plain: Vec<u8>) -> Option<Vec<u8>> {
        let nonce = self.key.seal_in_place_append_tag(Aad::from(context), &mut plain).ok()?;
        plain.splice(..0, *nonce.as_ref());
        Some(plain)
    }

    /// `None` for what was not sealed by this key, for this context, or was changed since.
    pub fn open(&self, context: &[u8], mut sealed: Vec<u8>) -> Option<Vec<u8>> {
        let (nonce, rest) = sealed.split_at_mut_checked(NONCE_LEN)?;
        let nonce = Nonce::try_assume_unique_for_key(nonce).ok()?;
        let plain = self.key.open_in_place(nonce, Aad::from(context), rest).ok()?;
        Some(plain.to_vec())
    }
}

/// SHA-256 (FIPS 180-4).
pub fn sha256(data: &[u8]) -> [u8; 32] {
    let mut hash = [0; 32];
    hash.copy_from_slice(digest::digest(&digest::SHA256, data).as_ref());
    hash
}

/// HMAC with SHA-256 (RFC 2104).
pub fn hmac_sha256(key: &[u8], data: &[u8]) -> [u8; 32] {
    let mut tag = [0; 32];
    tag.copy_from_slice(hmac::sign(&hmac::Key::new(hmac::HMAC_SHA256, key), data).as_ref());
    tag
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_sealed_is_opened_by_the_same_key_only() {
        let key = |secret: &[u8], purpose: &[u8]| Seal::new(secret, purpose).unwrap();
        let ours = key(&[1; 32], b"a");
        let sealed = ours.seal(b"context", b"secret".to_vec()).unwrap();
        assert_eq!(sealed.len(), 12 + 6 + 16);
        assert_ne!(sealed, ours.seal(b"context", b"secret".to_vec()).unwrap());
        assert_eq!(ours.open(b"context", sealed.clone()).as_deref(), Some(&b"secret"[..]));
        assert_eq!(
            key(&[1; 32], b"a").open(b"context", sealed.clone()).as_deref(),
            Some(&b"secret"[..])
        );
        assert_eq!(ours.open(b"another", sealed.clone()), None);
        assert_eq!(key(&[1; 32], b"b").open(b"context", sealed.clone()), None);
        assert_eq!(key(&[2; 32], b"a").open(b"context", sealed.clone()), None);
        for at in 0..sealed.len() {
            let mut changed = sealed.clone();
            changed[at] ^= 1;
            assert_eq!(ours.open(b"context", changed), None, "byte {at}");
            assert_eq!(ours.open(b"context", sealed[..at].to_vec()), None, "cut at {at}");
        }
    }

    #[test]
    fn sha256_is_what_it_is() {
        // FIPS 180-4, "abc".
        assert_eq!(sha256(b"abc")[..4], [0xba, 0x78, 0x16, 0xbf]);
    }
}
