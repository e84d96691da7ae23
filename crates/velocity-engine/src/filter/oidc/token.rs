//! JSON Web Tokens of a provider (RFC 7519): ID tokens (OpenID Connect Core 1.0 section 3.1.3.7) and bearer tokens (RFC
//! 9068), verified against its keys (RFC 7517).
//!
//! The algorithm is never the token's to choose: it has to be asymmetric, announced by the provider, and the key's.

use jsonwebtoken::jwk::{AlgorithmParameters, EllipticCurve, Jwk, KeyAlgorithm, PublicKeyUse};
use jsonwebtoken::{Algorithm, AlgorithmFamily, DecodingKey, Validation, decode, decode_header};
use serde::Deserialize;
use serde_json::Value;

use super::claims::Claims;

/// How far clocks may be apart, in seconds (RFC 7519 section 4.1.4).
const LEEWAY: u64 = 30;
/// Longer tokens are not looked at.
const MAX_TOKEN: usize = 16 << 10;
/// Keys of a provider that are looked at.
const MAX_KEYS: usize = 64;
/// What a token may say that it is: nothing, a JWT, or an access token. Others are for other uses (RFC 8725 section 3.11).
const TYPES: [&str; 3] = ["jwt", "at+jwt", "application/at+jwt"];

/// Those that may be used: only the provider can sign by them.
pub const ASYMMETRIC: [Algorithm; 9] = [
    Algorithm::RS256,
    Algorithm::RS384,
    Algorithm::RS512,
    Algorithm::PS256,
    Algorithm::PS384,
    Algorithm::PS512,
    Algorithm::ES256,
    Algorithm::ES384,
    Algorithm::EdDSA,
];

/// The keys of a provider (RFC 7517 section 5).
pub struct Keys(Vec<Key>);

struct Key {
    id: Option<String>,
    algorithm: Option<KeyAlgorithm>,
    parameters: AlgorithmParameters,
    key: DecodingKey,
}

#[derive(Deserialize)]
struct Set {
    keys: Vec<Value>,
}

/// Why a token is not accepted.
#[derive(Debug, PartialEq, Eq)]
pub enum Refusal {
    /// It is signed by a key that is not known here, and may be new.
    UnknownKey,
    Invalid(String),
}

/// What a token must say.
pub struct Expected<'a> {
    pub issuer: &'a str,
    /// One of these has to be among its own.
    pub audiences: &'a [String],
    /// Of an ID token: whom it was made for, and the nonce of that login.
    pub login: Option<(&'a str, &'a str)>,
}

impl Keys {
    /// Keys of kinds that are not known are passed over (RFC 7517 section 5).
    pub fn parse(json: &[u8]) -> Option<Self> {
        let set: Set = serde_json::from_slice(json).ok()?;
        let keys = set.keys.into_iter().filter_map(Key::parse).take(MAX_KEYS);
        Some(Self(keys.collect()))
    }

    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// The claims of a token, if it is what it should be. `algorithms` are those that the provider announced.
    pub fn verify(&self, token: &str, algorithms: &[Algorithm], expected: &Expected<'_>) -> Result<Claims, Refusal> {
        let invalid = |reason: &str| Refusal::Invalid(reason.to_owned());
        if token.len() > MAX_TOKEN {
            return Err(invalid("it is too long"));
        }
        let header = decode_header(token).map_err(|e| Refusal::Invalid(e.to_string()))?;
        if !ASYMMETRIC.contains(&header.alg) || !algorithms.contains(&header.alg) {
            return Err(invalid("its algorithm is not the provider's"));
        }
        // RFC 7515 section 4.1.11: nothing critical is known here.
        if header.crit.is_some() {
            return Err(invalid("it has critical extensions"));
        }
        let known = |kind: &String| TYPES.iter().any(|known| kind.eq_ignore_ascii_case(known));
        if header.typ.as_ref().is_some_and(|kind| !known(kind)) {
            return Err(invalid("it is a token of another type"));
        }
        let mut refusal = Refusal::UnknownKey;
        for key in &self.0 {
            if (header.kid.is_some() && key.id != header.kid) || !key.is_for(header.alg) {
                continue;
            }
            match verify(token, key, header.alg, expected) {
                // Without a name it may be any, and one that is not known yet.
                Err(Refusal::UnknownKey) if header.kid.is_some() => refusal = invalid("its signature is wrong"),
                Err(Refusal::UnknownKey) => {}
                verdict => return verdict,
            }
        }
        Err(refusal)
    }
}

impl Key {
    fn parse(value: Value) -> Option<Self> {
        let jwk: Jwk = serde_json::from_value(value).ok()?;
        if matches!(&jwk.common.public_key_use, Some(of) if *of != PublicKeyUse::Signature) {
            return None;
        }
        Some(Self {
            key: DecodingKey::from_jwk(&jwk).ok()?,
            id: jwk.common.key_id,
            algorithm: jwk.common.key_algorithm,
            parameters: jwk.algorithm,
        })
    }

    /// Whether it is of the kind that the algorithm takes, and meant for it (RFC 7518 section 3.1, RFC 8037).
    fn is_for(&self, algorithm: Algorithm) -> bool {
        let kind = match &self.parameters {
            AlgorithmParameters::RSA(_) => algorithm.family() == AlgorithmFamily::Rsa,
            AlgorithmParameters::EllipticCurve(key) => match key.curve {
                EllipticCurve::P256 => algorithm == Algorithm::ES256,
                EllipticCurve::P384 => algorithm == Algorithm::ES384,
                _ => false,
            },
            AlgorithmParameters::OctetKeyPair(key) => {
                algorithm == Algorithm::EdDSA && key.curve == EllipticCurve::Ed25519
            }
            _ => false,
        };
        kind && self.algorithm.is_none_or(|own| own == KeyAlgorithm::from(algorithm))
    }
}

/// By one key; [`Refusal::UnknownKey`] if that did not sign it.
fn verify(token: &str, key: &Key, algorithm: Algorithm, expected: &Expected<'_>) -> Result<Claims, Refusal> {
    let mut validation = Validation::new(algorithm);
    validation.leeway = LEEWAY;
    validation.validate_nbf = true;
    validation.set_required_spec_claims(&["exp", "iss", "aud", "sub"]);
    validation.set_issuer(&[expected.issuer]);
    validation.set_audience(expected.audiences);
    let claims = match decode::<Claims>(token, &key.key, &validation) {
        Ok(token) => token.claims,
        Err(error) => {
            return Err(match error.kind() {
                jsonwebtoken::errors::ErrorKind::InvalidSignature => Refusal::UnknownKey,
                _ => Refusal::Invalid(error.to_string()),
            });
        }
    };
    let invalid = |reason: &str| Err(Refusal::Invalid(reason.to_owned()));
    let text = |name: &str| claims.get(name).and_then(Value::as_str);
    if text("iss") != Some(expected.issuer) {
        return invalid("it is of another issuer");
    }
    if text("sub").is_none_or(str::is_empty) {
        return invalid("it has no subject");
    }
    if let Some((client, nonce)) = expected.login {
        if text("nonce") != Some(nonce) {
            return invalid("it is of another login");
        }
        let several = claims
            .get("aud")
            .and_then(Value::as_array)
            .is_some_and(|all| all.len() > 1);
        if (several || claims.contains_key("azp")) && text("azp") != Some(client) {
            return invalid("it was made for another client");
        }
    }
    Ok(claims)
}

#[cfg(test)]
pub mod tests {
    use jsonwebtoken::{EncodingKey, Header, encode};
    use serde_json::json;

    use super::*;
    use crate::filter::oidc::session::now;

    /// A key of ECDSA P-256 and of Ed25519 in PKCS #8, made for these tests.
    fn pair(algorithm: Algorithm) -> (EncodingKey, Jwk) {
        let pkcs8 = match algorithm {
            Algorithm::ES256 => P256,
            _ => ED25519,
        };
        use base64::Engine as _;
        let der = base64::engine::general_purpose::STANDARD.decode(pkcs8).unwrap();
        let key = match algorithm {
            Algorithm::ES256 => EncodingKey::from_ec_der(&der),
            _ => EncodingKey::from_ed_der(&der),
        };
        let jwk = Jwk::from_encoding_key(&key, algorithm).unwrap();
        (key, jwk)
    }

    const P256: &str = "MIGHAgEAMBMGByqGSM49AgEGCCqGSM49AwEHBG0wawIBAQQgFbD9jIoEprFQS2ZCyKABXKCnsgR9BVHmAvDV7Y7YiZahRANCAAQf8rCODk6VmOrJsSYP5sGuceA1Rzc5EFD1Kpypgi4BGTsGythBrlCZDvIFKCzHBElNcz9hmR5D6/8tZHSEIiM+";
    const ED25519: &str = "MC4CAQAwBQYDK2VwBCIEIF/jclhzyHUrZl1Z95VzcxT8/mc5+XyiahINeOfKw18u";

    fn keys(algorithm: Algorithm, id: &str) -> Keys {
        let mut jwk = serde_json::to_value(pair(algorithm).1).unwrap();
        jwk["kid"] = id.into();
        Keys::parse(json!({"keys": [{"kty": "new"}, 5, jwk]}).to_string().as_bytes()).unwrap()
    }

    fn token(algorithm: Algorithm, id: Option<&str>, claims: &Value) -> String {
        let mut header = Header::new(algorithm);
        header.kid = id.map(str::to_owned);
        encode(&header, claims, &pair(algorithm).0).unwrap()
    }

    fn good() -> Value {
        json!({
            "iss": "https://id.example", "sub": "ann", "aud": "client", "nonce": "n",
            "exp": now() + 60, "iat": now(), "nbf": now(),
        })
    }

    fn with(changes: Value) -> Value {
        let mut claims = good();
        for (name, value) in changes.as_object().unwrap() {
            match value {
                Value::Null => _ = claims.as_object_mut().unwrap().remove(name),
                value => claims[name] = value.clone(),
            }
        }
        claims
    }

    fn check(keys: &Keys, token: &str) -> Result<Claims, Refusal> {
        let audiences = ["client".to_owned()];
        let expected = Expected {
            issuer: "https://id.example",
            audiences: &audiences,
            login: Some(("client", "n")),
        };
        keys.verify(token, &[Algorithm::ES256, Algorithm::EdDSA], &expected)
    }

    #[test]
    fn claims_must_be_what_they_should() {
        for algorithm in [Algorithm::ES256, Algorithm::EdDSA] {
            let keys = keys(algorithm, "k");
            assert_eq!(keys.len(), 1);
            for (change, right) in [
                (json!({}), true),
                (json!({"iss": "https://else.example"}), false),
                (json!({"iss": ["https://id.example"]}), false),
                (json!({"iss": null}), false),
                (json!({"aud": "other"}), false),
                (json!({"aud": null}), false),
                (json!({"aud": ["client"]}), true),
                (json!({"aud": ["other", "client"]}), false),
                (json!({"aud": ["other", "client"], "azp": "client"}), true),
                (json!({"aud": ["other", "client"], "azp": "other"}), false),
                (json!({"azp": "other"}), false),
                (json!({"azp": 5}), false),
                (json!({"exp": now() - 60}), false),
                (json!({"exp": now() - 5}), true),
                (json!({"exp": null}), false),
                (json!({"exp": "tomorrow"}), false),
                (json!({"nbf": now() + 60}), false),
                (json!({"nbf": now() + 5}), true),
                (json!({"nonce": "m"}), false),
                (json!({"nonce": null}), false),
                (json!({"sub": ""}), false),
                (json!({"sub": null}), false),
                (json!({"sub": 5}), false),
            ] {
                let token = token(algorithm, Some("k"), &with(change.clone()));
                assert_eq!(check(&keys, &token).is_ok(), right, "{change}");
            }
        }
    }

    #[test]
    fn a_bearer_needs_no_nonce() {
        let audiences = ["api".to_owned(), "client".to_owned()];
        let expected = Expected {
            issuer: "https://id.example",
            audiences: &audiences,
            login: None,
        };
        let keys = keys(Algorithm::ES256, "k");
        for (aud, right) in [("api", true), ("client", true), ("other", false)] {
            let token = token(Algorithm::ES256, Some("k"), &with(json!({"nonce": null, "aud": aud})));
            let claims = keys.verify(&token, &[Algorithm::ES256], &expected);
            assert_eq!(claims.is_ok(), right, "{aud}");
        }
    }

    #[test]
    fn the_algorithm_is_not_the_tokens_to_choose() {
        use base64::Engine as _;
        use base64::engine::general_purpose::URL_SAFE_NO_PAD;
        let keys = keys(Algorithm::ES256, "k");
        let payload = URL_SAFE_NO_PAD.encode(good().to_string());
        for header in [
            json!({"alg": "none", "kid": "k"}),
            json!({"alg": "none"}),
            json!({"alg": "NONE", "kid": "k"}),
            json!({"kid": "k"}),
        ] {
            let header = URL_SAFE_NO_PAD.encode(header.to_string());
            for signature in ["", "AAAA"] {
                assert!(check(&keys, &format!("{header}.{payload}.{signature}")).is_err());
            }
            assert!(check(&keys, &format!("{header}.{payload}")).is_err());
        }
        // The public key as the secret of an HMAC.
        let public = serde_json::to_vec(&pair(Algorithm::ES256).1).unwrap();
        let AlgorithmParameters::EllipticCurve(point) = pair(Algorithm::ES256).1.algorithm else {
            panic!("no curve");
        };
        for secret in [public, URL_SAFE_NO_PAD.decode(point.x).unwrap()] {
            let mut header = Header::new(Algorithm::HS256);
            header.kid = Some("k".into());
            let token = encode(&header, &good(), &EncodingKey::from_secret(&secret)).unwrap();
            assert!(matches!(check(&keys, &token), Err(Refusal::Invalid(_))));
            // Not even if the provider announces it.
            let expected = Expected {
                issuer: "https://id.example",
                audiences: &["client".to_owned()],
                login: None,
            };
            assert!(keys.verify(&token, &[Algorithm::HS256], &expected).is_err());
        }
        // What the provider does not announce, and a key of another kind.
        let other = token(Algorithm::EdDSA, Some("k"), &good());
        assert_eq!(check(&keys, &other), Err(Refusal::UnknownKey));
        let expected = Expected {
            issuer: "https://id.example",
            audiences: &["client".to_owned()],
            login: None,
        };
        let right = token(Algorithm::ES256, Some("k"), &good());
        assert!(keys.verify(&right, &[Algorithm::RS256], &expected).is_err());
    }

    #[test]
    fn types_and_critical_extensions_are_looked_at() {
        let keys = keys(Algorithm::ES256, "k");
        for (kind, right) in [
            ("JWT", true),
            ("at+jwt", true),
            ("logout+jwt", false),
            ("dpop+jwt", false),
        ] {
            let mut header = Header::new(Algorithm::ES256);
            (header.kid, header.typ) = (Some("k".into()), Some(kind.into()));
            let token = encode(&header, &good(), &pair(Algorithm::ES256).0).unwrap();
            assert_eq!(check(&keys, &token).is_ok(), right, "{kind}");
        }
        let mut header = Header::new(Algorithm::ES256);
        (header.kid, header.crit) = (Some("k".into()), Some(vec!["exp".into()]));
        let token = encode(&header, &good(), &pair(Algorithm::ES256).0).unwrap();
        assert!(check(&keys, &token).is_err());
    }

    #[test]
    fn a_key_that_is_not_known_may_be_new() {
        let keys = keys(Algorithm::ES256, "k");
        let right = token(Algorithm::ES256, Some("k"), &good());
        assert_eq!(
            check(&keys, &token(Algorithm::ES256, Some("other"), &good())),
            Err(Refusal::UnknownKey)
        );
        assert!(check(&keys, &token(Algorithm::ES256, None, &good())).is_ok());
        let cut = &right[..right.len() - 4];
        assert!(matches!(check(&keys, cut), Err(Refusal::Invalid(_))));
        let (head, signature) = right.rsplit_once('.').unwrap();
        let flipped: String = signature.chars().rev().collect();
        assert!(matches!(
            check(&keys, &format!("{head}.{flipped}")),
            Err(Refusal::Invalid(_))
        ));
        for nonsense in ["", ".", "..", "a.b.c", &"x".repeat(20_000)] {
            assert!(
                matches!(check(&keys, nonsense), Err(Refusal::Invalid(_))),
                "{}",
                nonsense.len()
            );
        }
    }

    #[test]
    fn keys_for_something_else_are_passed_over() {
        let mut jwk = serde_json::to_value(pair(Algorithm::ES256).1).unwrap();
        jwk["use"] = "enc".into();
        let set = |jwk: &Value| Keys::parse(json!({"keys": [jwk]}).to_string().as_bytes()).unwrap();
        assert_eq!(set(&jwk).len(), 0);
        assert_eq!(set(&json!({"kty": "oct", "k": "AAAA"})).len(), 1);
        let secret = EncodingKey::from_base64_secret("AAAA").unwrap();
        let token = encode(&Header::new(Algorithm::HS256), &good(), &secret).unwrap();
        assert!(check(&set(&json!({"kty": "oct", "k": "AAAA"})), &token).is_err());
        assert!(Keys::parse(b"{}").is_none());
        assert!(Keys::parse(b"<html>").is_none());
    }
}
