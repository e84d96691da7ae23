//! Who is logged in and who is about to be: in sealed cookies, so that no client can make this process hold anything.

use std::path::Path;
use std::sync::OnceLock;
use std::time::{SystemTime, UNIX_EPOCH};

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use velocity_tls::seal::Seal;

use super::claims::Claims;
use super::cookie;
use crate::error::{Error, Result};

/// Bytes of a secret for cookies, at least.
const MIN_SECRET: usize = 32;
/// Of a file with a secret, at most.
const MAX_SECRET: u64 = 4096;

/// Somebody who is logged in.
#[derive(Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Session {
    pub until: u64,
    pub claims: Claims,
}

/// A login that has begun (OpenID Connect Core 1.0 section 3.1.2.1, RFC 7636).
#[derive(Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Pending {
    pub until: u64,
    pub state: String,
    pub nonce: String,
    pub verifier: String,
    /// The path and query to go back to.
    pub back: String,
}

/// What has an end, in seconds since 1970.
pub trait Ends {
    fn until(&self) -> u64;
}

impl Ends for Session {
    fn until(&self) -> u64 {
        self.until
    }
}

impl Ends for Pending {
    fn until(&self) -> u64 {
        self.until
    }
}

/// Seals and opens cookies. What was sealed for a cookie is opened for one of the same name only.
pub struct Vault {
    seal: Seal,
}

impl Vault {
    /// `purpose` tells logins apart that have the same secret. Without a secret there is one that this process makes: it
    /// outlives reloads, and ends with the process.
    pub fn new(secret: Option<&[u8]>, purpose: &str) -> Result<Self> {
        let secret = match secret {
            Some(secret) => secret,
            None => own_secret()?,
        };
        let seal = Seal::new(secret, purpose.as_bytes()).ok_or_else(|| Error::internal("no key for cookies"))?;
        Ok(Self { seal })
    }

    pub fn seal<T: Serialize>(&self, name: &str, content: &T) -> Option<String> {
        let plain = serde_json::to_vec(content).ok()?;
        let sealed = self.seal.seal(name.as_bytes(), plain)?;
        Some(URL_SAFE_NO_PAD.encode(sealed))
    }

    /// `None` for what is not ours, and for what has ended.
    pub fn open<T: DeserializeOwned + Ends>(&self, name: &str, text: &str) -> Option<T> {
        if text.len() > cookie::MAX {
            return None;
        }
        let sealed = URL_SAFE_NO_PAD.decode(text).ok()?;
        let plain = self.seal.open(name.as_bytes(), sealed)?;
        let content: T = serde_json::from_slice(&plain).ok()?;
        (now() < content.until()).then_some(content)
    }
}

/// Seconds since 1970.
pub fn now() -> u64 {
    SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .map_or(0, |elapsed| elapsed.as_secs())
}

/// 32 random bytes as text.
pub fn random() -> Result<String> {
    Ok(URL_SAFE_NO_PAD.encode(random_bytes()?))
}

fn random_bytes() -> Result<[u8; 32]> {
    let mut bytes = [0; 32];
    getrandom::fill(&mut bytes).map_err(|e| Error::internal(format!("no random numbers: {e}")))?;
    Ok(bytes)
}

/// The secret of this process.
fn own_secret() -> Result<&'static [u8]> {
    static SECRET: OnceLock<[u8; 32]> = OnceLock::new();
    let made = random_bytes()?;
    Ok(SECRET.get_or_init(|| made))
}

/// A secret for cookies from a file.
pub fn cookie_secret(path: &Path) -> Result<Vec<u8>> {
    let secret = secret(path)?;
    if secret.len() < MIN_SECRET {
        return Err(Error::config(
            "OIDC_INVALID",
            format!("{}: a secret for cookies has at least 32 bytes", path.display()),
        )
        .hint("make one: openssl rand -base64 48"));
    }
    Ok(secret)
}

/// A secret from a file, without the end of its line.
pub fn secret(path: &Path) -> Result<Vec<u8>> {
    use std::io::Read;
    let failed = |reason: String| Error::config("OIDC_INVALID", format!("cannot read {}: {reason}", path.display()));
    let mut content = Vec::new();
    std::fs::File::open(path)
        .and_then(|file| file.take(MAX_SECRET + 1).read_to_end(&mut content))
        .map_err(|e| failed(e.to_string()))?;
    let secret = content.trim_ascii();
    if secret.is_empty() || content.len() as u64 > MAX_SECRET {
        return Err(failed("a secret has 1 to 4096 bytes".into()));
    }
    Ok(secret.to_vec())
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn session(until: u64) -> Session {
        Session {
            until,
            claims: json!({"sub": "ann"}).as_object().unwrap().clone(),
        }
    }

    fn vault(secret: &[u8], purpose: &str) -> Vault {
        Vault::new(Some(secret), purpose).unwrap()
    }

    #[test]
    fn a_session_is_opened_by_whoever_sealed_it() {
        let ours = vault(&[1; 32], "a");
        let text = ours.seal("s", &session(now() + 60)).unwrap();
        assert_eq!(ours.open("s", &text), Some(session(now() + 60)));
        assert!(vault(&[1; 32], "a").open::<Session>("s", &text).is_some());
        assert!(
            vault(&[2; 32], "a").open::<Session>("s", &text).is_none(),
            "another secret"
        );
        assert!(
            vault(&[1; 32], "b").open::<Session>("s", &text).is_none(),
            "another login"
        );
        assert!(ours.open::<Session>("t", &text).is_none(), "another cookie");
        assert!(ours.open::<Pending>("s", &text).is_none(), "another thing");
        for cut in 0..text.len() {
            assert!(ours.open::<Session>("s", &text[..cut]).is_none(), "cut at {cut}");
        }
        for at in 0..text.len() {
            let mut changed = text.clone().into_bytes();
            changed[at] = if changed[at] == b'A' { b'B' } else { b'A' };
            let changed = String::from_utf8(changed).unwrap();
            assert!(ours.open::<Session>("s", &changed).is_none(), "changed at {at}");
        }
        assert!(
            ours.open::<Session>("s", &format!("{text}{}", "A".repeat(8000)))
                .is_none()
        );
    }

    #[test]
    fn what_has_ended_is_not_opened() {
        let ours = vault(&[1; 32], "a");
        let text = ours.seal("s", &session(now())).unwrap();
        assert!(ours.open::<Session>("s", &text).is_none());
    }

    #[test]
    fn without_a_secret_there_is_one_of_the_process() {
        let [one, two] = [0, 1].map(|_| Vault::new(None, "a").unwrap());
        let text = one.seal("s", &session(now() + 60)).unwrap();
        assert!(two.open::<Session>("s", &text).is_some(), "as after a reload");
        assert!(vault(&[0; 32], "a").open::<Session>("s", &text).is_none());
    }

    #[test]
    fn secrets_come_from_files() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("secret");
        std::fs::write(&path, "hush\n").unwrap();
        assert_eq!(secret(&path).unwrap(), b"hush");
        assert_eq!(cookie_secret(&path).unwrap_err().code, "OIDC_INVALID");
        std::fs::write(&path, "x".repeat(40)).unwrap();
        assert_eq!(cookie_secret(&path).unwrap().len(), 40);
        std::fs::write(&path, "\n").unwrap();
        assert!(secret(&path).is_err());
        assert!(secret(&folder.path().join("none")).is_err());
    }
}
