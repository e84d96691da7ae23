//! User and password (RFC 7617), against hashes by argon2id or bcrypt.
//!
//! Hashing is slow by design: it is done on other threads, a few at a time, and what was right once is remembered by a
//! keyed hash. Whoever does not exist is checked against the hash of somebody who does, so that it takes as long.

use std::sync::Arc;

use argon2::{Argon2, PasswordHash, PasswordVerifier};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use blake2::Blake2sMac256;
use blake2::digest::{FixedOutput, KeyInit, Update};
use http::header::{AUTHORIZATION, WWW_AUTHENTICATE};
use http::request::Parts;
use http::{HeaderValue, StatusCode};
use quick_cache::sync::Cache;
use tokio::sync::Semaphore;

use crate::call::Call;
use crate::error::{Error, Result};
use crate::http::Response;
use crate::log::{self, Level};
use crate::plan;
use crate::service::plain;

/// Passwords being checked at once, over the whole filter; each may take 64 MiB and tens of milliseconds.
const CHECKS: usize = 2;
/// Those that may wait for it. Beyond, requests are told to come again.
const MAX_WAITING: usize = 64;
/// Pairs of name and password that are remembered.
const REMEMBERED: usize = 1024;
/// Longer credentials are not looked at.
const MAX_CREDENTIALS: usize = 1024;

pub struct BasicAuth {
    challenge: HeaderValue,
    users: Arc<Vec<(String, Hash)>>,
    key: [u8; 32],
    right: Cache<[u8; 32], ()>,
    checks: Arc<Semaphore>,
    waiting: Semaphore,
}

enum Hash {
    Argon2(String),
    Bcrypt(String),
}

impl BasicAuth {
    /// # Errors
    ///
    /// `BASIC_AUTH_INVALID`.
    pub fn new(plan: &plan::BasicAuth) -> Result<Self> {
        let invalid = |reason: String| Error::config("BASIC_AUTH_INVALID", reason);
        let mut users = Vec::with_capacity(plan.users.len());
        for (name, hash) in &plan.users {
            if name.is_empty() || name.contains(':') || name.contains(|c: char| c.is_control()) {
                return Err(invalid(format!("{name:?} cannot be the name of a user")));
            }
            let hash = Hash::parse(hash).ok_or_else(|| {
                invalid(format!("the password of {name:?} is not hashed by argon2id or bcrypt"))
                    .hint("a hash begins with $argon2id$ or $2b$")
            })?;
            users.push((name.clone(), hash));
        }
        if users.is_empty() {
            return Err(invalid("there are no users".into()));
        }
        let realm = plan.realm.replace('\\', "\\\\").replace('"', "\\\"");
        let challenge = HeaderValue::try_from(format!("Basic realm=\"{realm}\", charset=\"UTF-8\""))
            .map_err(|_| invalid(format!("{:?} cannot be a realm", plan.realm)))?;
        let mut key = [0; 32];
        getrandom::fill(&mut key).map_err(|e| Error::internal(format!("no random numbers: {e}")))?;
        Ok(Self {
            challenge,
            users: Arc::new(users),
            key,
            right: Cache::new(REMEMBERED),
            checks: Arc::new(Semaphore::new(CHECKS)),
            waiting: Semaphore::new(MAX_WAITING),
        })
    }

    /// Whether it is known what to say to a request.
    pub fn is_prompt(&self, parts: &Parts) -> bool {
        credentials(parts).is_none_or(|credentials| self.is_right(&credentials))
    }

    /// Whoever brings nothing is asked.
    pub fn request(&self, call: &Call<'_>) -> Option<Response> {
        credentials(call.parts).is_none().then(|| self.refuse())
    }

    /// Check what was brought.
    pub async fn wait(&self, call: &Call<'_>) -> Option<Response> {
        let Some(credentials) = credentials(call.parts) else {
            return Some(self.refuse());
        };
        if self.is_right(&credentials) {
            return None;
        }
        let busy = || plain(StatusCode::SERVICE_UNAVAILABLE, "too busy, try again\n");
        let Ok(_place) = self.waiting.try_acquire() else {
            return Some(busy());
        };
        let Ok(turn) = self.checks.clone().acquire_owned().await else {
            return Some(busy());
        };
        // The same may have been found right while this waited.
        if self.is_right(&credentials) {
            return None;
        }
        let mac = self.mac(&credentials);
        let users = self.users.clone();
        let checked = tokio::task::spawn_blocking(move || {
            // The turn ends with the work, even if nobody waits for it any more.
            let _turn = turn;
            is_user(&users, &credentials)
        });
        if matches!(checked.await, Ok(true)) {
            self.right.insert(mac, ());
            return None;
        }
        let fields = [
            ("client", call.client.to_string().into()),
            ("route", call.route.as_ref().into()),
        ];
        log::record(Level::Warn, "velocity::edge", "auth_failed", "", &fields);
        Some(self.refuse())
    }

    fn is_right(&self, credentials: &[u8]) -> bool {
        self.right.get(&self.mac(credentials)).is_some()
    }

    /// Without the key nobody can tell from the time of a look-up how much of a guess was right.
    fn mac(&self, credentials: &[u8]) -> [u8; 32] {
        let mut mac = Blake2sMac256::new(&self.key.into());
        mac.update(credentials);
        mac.finalize_fixed().into()
    }

    fn refuse(&self) -> Response {
        let mut response = plain(StatusCode::UNAUTHORIZED, "who are you?\n");
        response.headers_mut().insert(WWW_AUTHENTICATE, self.challenge.clone());
        response
    }
}

/// `name:password` of a request.
fn credentials(parts: &Parts) -> Option<Vec<u8>> {
    let value = parts.headers.get(AUTHORIZATION)?.as_bytes();
    let (scheme, token) = value.split_at_checked(6)?;
    if !scheme.eq_ignore_ascii_case(b"basic ") || token.len() > MAX_CREDENTIALS {
        return None;
    }
    let credentials = STANDARD.decode(token.trim_ascii()).ok()?;
    credentials.contains(&b':').then_some(credentials)
}

/// Blocking, and as long for a name that nobody has.
fn is_user(users: &[(String, Hash)], credentials: &[u8]) -> bool {
    let at = credentials.iter().position(|&b| b == b':').unwrap_or(credentials.len());
    let (name, password) = (&credentials[..at], credentials.get(at + 1..).unwrap_or_default());
    let mut hash = users.first().map(|(_, hash)| hash);
    let mut known = false;
    // Every name is looked at, whichever it is.
    for (user, theirs) in users {
        if user.as_bytes() == name {
            (hash, known) = (Some(theirs), true);
        }
    }
    let right = hash.is_some_and(|hash| hash.verify(password));
    right && known
}

impl Hash {
    fn parse(text: &str) -> Option<Self> {
        if text.starts_with("$argon2id$") {
            let hash = PasswordHash::new(text).ok()?;
            argon2::Params::try_from(&hash).ok()?;
            return Some(Hash::Argon2(text.to_owned()));
        }
        // htpasswd writes $2y$, which is the same.
        let is_bcrypt = ["$2a$", "$2b$", "$2x$", "$2y$"]
            .iter()
            .any(|start| text.starts_with(start));
        (is_bcrypt && text.parse::<bcrypt::HashParts>().is_ok()).then(|| Hash::Bcrypt(text.to_owned()))
    }

    fn verify(&self, password: &[u8]) -> bool {
        match self {
            Hash::Argon2(text) => {
                PasswordHash::new(text).is_ok_and(|hash| Argon2::default().verify_password(password, &hash).is_ok())
            }
            Hash::Bcrypt(text) => bcrypt::verify(password, text).unwrap_or(false),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn basic(users: &[(&str, &str)]) -> Result<BasicAuth> {
        BasicAuth::new(&plan::BasicAuth {
            realm: "a \"quoted\" realm".into(),
            users: users
                .iter()
                .map(|(name, hash)| (name.to_string(), hash.to_string()))
                .collect(),
        })
    }

    fn parts(credentials: Option<&str>) -> Parts {
        let mut request = http::Request::builder();
        if let Some(text) = credentials {
            request = request.header(AUTHORIZATION, format!("Basic {}", STANDARD.encode(text)));
        }
        request.body(()).unwrap().into_parts().0
    }

    /// argon2id with little memory, and bcrypt with few rounds: of "open sesame".
    fn hashes() -> (String, String) {
        use argon2::PasswordHasher;
        let params = argon2::Params::new(64, 1, 1, None).unwrap();
        let argon2 = Argon2::new(argon2::Algorithm::Argon2id, argon2::Version::V0x13, params);
        let hash = argon2.hash_password(b"open sesame").unwrap().to_string();
        (hash, bcrypt::hash("open sesame", 4).unwrap())
    }

    #[tokio::test]
    async fn who_knows_the_password_comes_in() {
        let (argon2, bcrypt) = hashes();
        let auth = basic(&[("ali", &argon2), ("baba", &bcrypt)]).unwrap();
        for (credentials, right) in [
            ("ali:open sesame", true),
            ("baba:open sesame", true),
            ("ali:open barley", false),
            ("ali:", false),
            (":open sesame", false),
            ("cassim:open sesame", false),
        ] {
            let parts = parts(Some(credentials));
            for _ in 0..2 {
                let passed = crate::filter::tests::with_call(&parts, async |call| {
                    auth.request(&call).is_none() && auth.wait(&call).await.is_none()
                })
                .await;
                assert_eq!(passed, right, "{credentials}");
            }
            assert_eq!(auth.is_prompt(&parts), right, "only what is right is remembered");
        }
    }

    #[tokio::test]
    async fn who_says_nothing_is_asked() {
        let auth = basic(&[("ali", &hashes().1)]).unwrap();
        for parts in [parts(None), parts(Some("no colon"))] {
            assert!(auth.is_prompt(&parts));
            let answer = crate::filter::tests::with_call(&parts, async |call| auth.request(&call)).await;
            let answer = answer.unwrap();
            assert_eq!(answer.status(), 401);
            let challenge = &answer.headers()[WWW_AUTHENTICATE];
            assert_eq!(challenge, r#"Basic realm="a \"quoted\" realm", charset="UTF-8""#);
        }
    }

    #[test]
    fn only_hashes_are_taken() {
        for hash in [
            "open sesame",
            "",
            "$argon2id$",
            "$argon2i$v=19$m=64,t=1,p=1$AAAAAAAAAAA$AAAA",
            "$2b$04$short",
        ] {
            let error = basic(&[("ali", hash)]).err();
            assert_eq!(error.map(|e| e.code), Some("BASIC_AUTH_INVALID"), "{hash}");
        }
        assert!(basic(&[]).is_err() && basic(&[("a:b", &hashes().1)]).is_err());
    }
}
