//! A provider: its metadata (OpenID Connect Discovery 1.0) and its keys, fetched when they are needed and kept.
//!
//! What is known of it is used for a while, then used and renewed beside, then no more. A token by a key that is not
//! known fetches the keys again, once in a while. A provider that cannot be reached is asked again after a pause; it
//! takes nothing but time until it is back.

use std::path::PathBuf;
use std::sync::{Arc, Mutex as StdMutex, PoisonError, Weak};
use std::time::Duration;

use arc_swap::ArcSwapOption;
use jsonwebtoken::Algorithm;
use serde::Deserialize;
use tokio::sync::Mutex;
use tokio::time::Instant;

use super::claims::Claims;
use super::fetch::{Endpoint, failed};
use super::token::{ASYMMETRIC, Expected, Keys, Refusal};
use crate::error::{Error, Result};
use crate::log::{self, Level};

/// How long it is used as it is.
const FRESH: Duration = Duration::from_secs(5 * 60);
/// How long it is used at all.
const USABLE: Duration = Duration::from_secs(60 * 60);
/// Between two fetches for the sake of keys that are not known.
const ROTATION: Duration = Duration::from_secs(30);
/// After a fetch that failed.
const PAUSE: Duration = Duration::from_secs(2);

pub struct Provider {
    /// As it was configured: without a slash at the end.
    issuer: String,
    discovery: Endpoint,
    ca_file: Option<PathBuf>,
    known: ArcSwapOption<Known>,
    fetching: Mutex<Fetching>,
}

/// What is known of fetches. Whoever fetches holds it, so that there is one at a time.
#[derive(Default)]
struct Fetching {
    /// When one failed, if the last one did, and why.
    failure: Option<(Instant, Error)>,
    /// When one was for a key that was not known.
    rotated: Option<Instant>,
}

/// Everything about a provider.
pub struct Known {
    pub metadata: Metadata,
    pub token_endpoint: Endpoint,
    pub userinfo_endpoint: Option<Endpoint>,
    pub algorithms: Vec<Algorithm>,
    keys: Keys,
    since: Instant,
}

/// OpenID Connect Discovery 1.0 section 3.
#[derive(Deserialize)]
pub struct Metadata {
    pub issuer: String,
    pub authorization_endpoint: String,
    token_endpoint: String,
    userinfo_endpoint: Option<String>,
    jwks_uri: String,
    pub end_session_endpoint: Option<String>,
    id_token_signing_alg_values_supported: Vec<String>,
    #[serde(default = "basic_only")]
    pub token_endpoint_auth_methods_supported: Vec<String>,
    /// RFC 9207 section 3.
    #[serde(default)]
    pub authorization_response_iss_parameter_supported: bool,
}

fn basic_only() -> Vec<String> {
    vec!["client_secret_basic".into()]
}

/// Why a token was not verified.
pub enum Failure {
    Invalid(String),
    Unreachable,
}

impl Provider {
    /// The provider of that name: one for all filters of this process that have it, so that it outlives reloads.
    ///
    /// # Errors
    ///
    /// `OIDC_INVALID`.
    pub fn shared(issuer: &str, ca_file: Option<&PathBuf>) -> Result<Arc<Self>> {
        static ALL: StdMutex<Vec<Weak<Provider>>> = StdMutex::new(Vec::new());
        let issuer = issuer.trim_end_matches('/');
        let mut all = ALL.lock().unwrap_or_else(PoisonError::into_inner);
        all.retain(|one| one.strong_count() > 0);
        let mut known = all.iter().filter_map(Weak::upgrade);
        if let Some(known) = known.find(|one| one.issuer == issuer && one.ca_file.as_ref() == ca_file) {
            return Ok(known);
        }
        let discovery = format!("{issuer}/.well-known/openid-configuration");
        let discovery = Endpoint::parse(&discovery)
            .filter(|_| !issuer.contains(['?', '#']))
            .ok_or_else(|| {
                Error::config("OIDC_INVALID", format!("{issuer:?} cannot be an issuer"))
                    .hint("write https://HOST/PATH; http is for this machine only")
            })?;
        let made = Arc::new(Self {
            issuer: issuer.to_owned(),
            discovery,
            ca_file: ca_file.cloned(),
            known: ArcSwapOption::empty(),
            fetching: Mutex::default(),
        });
        all.push(Arc::downgrade(&made));
        Ok(made)
    }

    pub fn ca_file(&self) -> Option<&PathBuf> {
        self.ca_file.as_ref()
    }

    /// What is known of it, fetched if it has to be. Failures are logged.
    pub async fn known(self: &Arc<Self>) -> Result<Arc<Known>> {
        if let Some(known) = self.known.load_full().filter(|known| known.since.elapsed() < USABLE) {
            if known.since.elapsed() >= FRESH && self.fetching.try_lock().is_ok() {
                let own = self.clone();
                tokio::spawn(async move { own.renew(|known| known.since.elapsed() < FRESH).await });
            }
            return Ok(known);
        }
        self.renew(|known| known.since.elapsed() < USABLE).await
    }

    /// The claims of a token, if it is what it should be.
    pub async fn verify(
        self: &Arc<Self>,
        token: &str,
        audiences: &[String],
        login: Option<(&str, &str)>,
    ) -> Result<Claims, Failure> {
        let mut known = self.known().await.map_err(|_| Failure::Unreachable)?;
        loop {
            let expected = Expected {
                issuer: &known.metadata.issuer,
                audiences,
                login,
            };
            match known.keys.verify(token, &known.algorithms, &expected) {
                Ok(claims) => return Ok(claims),
                Err(Refusal::Invalid(reason)) => return Err(Failure::Invalid(reason)),
                Err(Refusal::UnknownKey) => match self.rotated(&known).await {
                    Some(newer) => known = newer,
                    None => return Err(Failure::Invalid("it is signed by a key that is not known".into())),
                },
            }
        }
    }

    /// What is newer than `seen`, if it is not too soon to look.
    async fn rotated(&self, seen: &Arc<Known>) -> Option<Arc<Known>> {
        {
            let mut fetching = self.fetching.lock().await;
            match self.known.load_full() {
                Some(newer) if newer.since > seen.since => return Some(newer),
                _ if fetching.rotated.is_some_and(|last| last.elapsed() < ROTATION) => return None,
                _ => fetching.rotated = Some(Instant::now()),
            }
        }
        self.renew(|known| known.since > seen.since).await.ok()
    }

    /// Fetch everything, unless what is known is `enough` by now.
    async fn renew(&self, enough: impl Fn(&Known) -> bool) -> Result<Arc<Known>> {
        let mut fetching = self.fetching.lock().await;
        if let Some(known) = self.known.load_full().filter(|known| enough(known)) {
            return Ok(known);
        }
        if let Some((_, error)) = fetching.failure.as_ref().filter(|(when, _)| when.elapsed() < PAUSE) {
            return Err(error.clone());
        }
        match self.fetch().await {
            Ok(known) => {
                let known = Arc::new(known);
                if fetching.failure.take().is_some() {
                    self.log(Level::Info, "provider_reachable", Vec::new());
                }
                self.known.store(Some(known.clone()));
                Ok(known)
            }
            Err(error) => {
                // Once, until it is back.
                if fetching.failure.is_none() {
                    let reason = ("reason", error.message.clone().into());
                    self.log(Level::Warn, "provider_unreachable", vec![reason]);
                }
                fetching.failure = Some((Instant::now(), error.clone()));
                Err(error)
            }
        }
    }

    async fn fetch(&self) -> Result<Known> {
        let answer = self.discovery.get(self.ca_file(), None).await?;
        if answer.status != 200 {
            return Err(failed(format!("its metadata has status {}", answer.status)));
        }
        let metadata: Metadata = answer.json()?;
        // Section 4.3: it must say that it is who was asked.
        if metadata.issuer.trim_end_matches('/') != self.issuer {
            return Err(failed(format!("it says that it is {:?}", metadata.issuer)));
        }
        let algorithms = metadata.id_token_signing_alg_values_supported.iter();
        let algorithms: Vec<Algorithm> = algorithms
            .filter_map(|name| name.parse().ok())
            .filter(|algorithm| ASYMMETRIC.contains(algorithm))
            .collect();
        if algorithms.is_empty() {
            return Err(failed("it has no algorithm for signatures that is known here"));
        }
        let answer = self.endpoint(&metadata.jwks_uri)?.get(self.ca_file(), None).await?;
        let keys = Keys::parse(&answer.body)
            .filter(|keys| answer.status == 200 && keys.len() > 0)
            .ok_or_else(|| failed("it has no keys"))?;
        // Browsers are sent there, and must not be sent to anything else.
        for page in [
            Some(&metadata.authorization_endpoint),
            metadata.end_session_endpoint.as_ref(),
        ] {
            page.map(|page| self.endpoint(page)).transpose()?;
        }
        Ok(Known {
            token_endpoint: self.endpoint(&metadata.token_endpoint)?,
            userinfo_endpoint: metadata
                .userinfo_endpoint
                .as_ref()
                .map(|url| self.endpoint(url))
                .transpose()?,
            algorithms,
            keys,
            since: Instant::now(),
            metadata,
        })
    }

    /// A provider over TLS has everything over TLS.
    fn endpoint(&self, url: &str) -> Result<Endpoint> {
        Endpoint::parse(url)
            .filter(|endpoint| endpoint.is_secure() || !self.discovery.is_secure())
            .ok_or_else(|| failed(format!("{url:?} is no endpoint")))
    }

    fn log(&self, level: Level, event: &str, more: Vec<(&str, serde_json::Value)>) {
        let mut fields = vec![("issuer", self.issuer.as_str().into())];
        fields.extend(more);
        log::record(level, "velocity::edge", event, "", &fields);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn there_is_one_for_everybody() {
        let file = PathBuf::from("/ca.pem");
        let one = Provider::shared("https://one.example/", None).unwrap();
        assert!(Arc::ptr_eq(
            &one,
            &Provider::shared("https://one.example", None).unwrap()
        ));
        let other = Provider::shared("https://one.example", Some(&file)).unwrap();
        assert!(!Arc::ptr_eq(&one, &other));
        for issuer in ["http://id.example", "id.example", "https://", "https://a.example?b", ""] {
            assert_eq!(
                Provider::shared(issuer, None).err().map(|e| e.code),
                Some("OIDC_INVALID"),
                "{issuer}"
            );
        }
    }
}
