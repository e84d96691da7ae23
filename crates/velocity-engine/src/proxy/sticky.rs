//! A client stays with its upstream by a cookie (RFC 6265), for as long as its browser runs.

use std::fs::File;
use std::io::Read;
use std::path::Path;
use std::sync::Arc;

use http::HeaderValue;
use http::header::HeaderMap;
use velocity_tls::seal::{hmac_sha256, sha256};

use super::upstream::Upstream;
use crate::error::{Error, Result};
use crate::http::cookie;

/// Bytes of a secret, and what is read of its file.
const MIN_SECRET: usize = 32;
const MAX_SECRET: u64 = 4096;

pub struct Sticky {
    name: String,
    /// By place of the upstream: the value of the cookie, and the field that sets it.
    upstreams: Vec<(String, HeaderValue)>,
}

impl Sticky {
    /// # Errors
    ///
    /// `HEADER_INVALID`, `SECRET_INVALID`
    pub fn new(name: &str, secret_file: Option<&Path>, upstreams: &[Arc<Upstream>]) -> Result<Self> {
        let invalid = || {
            Error::config("HEADER_INVALID", format!("{name:?} cannot be the name of a cookie"))
                .hint("name it for example backend")
        };
        if !cookie::is_name(name) {
            return Err(invalid());
        }
        let secret = secret_file.map(secret).transpose()?;
        let of = |upstream: &Arc<Upstream>| {
            let id = opaque(secret.as_deref(), &upstream.url);
            let field = format!("{name}={id}; Path=/; Secure; HttpOnly; SameSite=Lax");
            Ok((id, HeaderValue::try_from(field).map_err(|_| invalid())?))
        };
        Ok(Self {
            name: name.to_owned(),
            upstreams: upstreams.iter().map(of).collect::<Result<_>>()?,
        })
    }

    /// The place of the upstream that a client was with.
    pub fn place(&self, headers: &HeaderMap) -> Option<usize> {
        let given = cookie::find(headers, &self.name)?;
        self.upstreams.iter().position(|(id, _)| id.as_bytes() == given)
    }

    /// The field that ties a client to the upstream at a place, unless it is.
    pub fn tie(&self, place: usize, headers: &HeaderMap) -> Option<&HeaderValue> {
        let (_, field) = self.upstreams.get(place)?;
        (self.place(headers) != Some(place)).then_some(field)
    }
}

/// The cookie is between the client and us.
pub fn strip(name: &str, headers: &mut HeaderMap) {
    cookie::strip(headers, |other| other == name.as_bytes());
}

/// The same for every server with the same secret and after every start, and not where the upstream is.
fn opaque(secret: Option<&[u8]>, url: &str) -> String {
    let text = format!("sticky upstream\n{url}");
    let hash = match secret {
        Some(secret) => hmac_sha256(secret, text.as_bytes()),
        None => sha256(text.as_bytes()),
    };
    hash.iter().take(8).map(|byte| format!("{byte:02x}")).collect()
}

/// A secret from a file, without the end of its line.
fn secret(path: &Path) -> Result<Vec<u8>> {
    let invalid = |reason: String| {
        Error::config("SECRET_INVALID", format!("{}: {reason}", path.display()))
            .hint("make one: openssl rand -base64 48")
    };
    let mut content = Vec::new();
    File::open(path)
        .and_then(|file| file.take(MAX_SECRET).read_to_end(&mut content))
        .map_err(|error| invalid(error.to_string()))?;
    match content.trim_ascii() {
        secret if secret.len() < MIN_SECRET => Err(invalid("a secret for cookies has at least 32 bytes".to_owned())),
        secret => Ok(secret.to_vec()),
    }
}

#[cfg(test)]
mod tests {
    use super::super::tests::upstreams;
    use super::*;

    #[test]
    fn a_client_is_tied_once() {
        let sticky = Sticky::new("__Host-backend", None, &upstreams(&[(1, false), (1, false)])).unwrap();
        let mut headers = HeaderMap::new();
        assert_eq!(sticky.place(&headers), None);
        let field = sticky.tie(1, &headers).unwrap().to_str().unwrap();
        let (pair, attributes) = field.split_once("; ").unwrap();
        assert_eq!(attributes, "Path=/; Secure; HttpOnly; SameSite=Lax");
        let value = pair.strip_prefix("__Host-backend=").unwrap();
        assert!(
            value.len() == 16 && value.bytes().all(|byte| byte.is_ascii_hexdigit()),
            "{value}"
        );
        headers.insert("cookie", format!("a=b; {pair}").parse().unwrap());
        assert_eq!(sticky.place(&headers), Some(1));
        assert!(sticky.tie(1, &headers).is_none() && sticky.tie(0, &headers).is_some());
        strip("__Host-backend", &mut headers);
        assert_eq!(headers["cookie"], "a=b");
        headers.insert("cookie", HeaderValue::from_static("__Host-backend=0123456789abcdef"));
        assert_eq!(sticky.place(&headers), None, "nobody that there is");
    }

    #[test]
    fn a_secret_makes_the_cookie_another_one() {
        let folder = tempfile::tempdir().unwrap();
        let file = |name: &str, content: &str| {
            let path = folder.path().join(name);
            std::fs::write(&path, content).unwrap();
            path
        };
        let upstreams = upstreams(&[(1, false)]);
        let cookie = |path: Option<&Path>| {
            let sticky = Sticky::new("a", path, &upstreams)?;
            Ok::<_, Error>(sticky.tie(0, &HeaderMap::new()).unwrap().clone())
        };
        let (one, two) = (file("one", &format!("{:032}\n", 1)), file("two", &format!("{:032}", 2)));
        assert_eq!(cookie(Some(&one)).unwrap(), cookie(Some(&one)).unwrap());
        assert_ne!(cookie(Some(&one)).unwrap(), cookie(Some(&two)).unwrap());
        assert_ne!(cookie(Some(&one)).unwrap(), cookie(None).unwrap());
        for path in [file("short", "secret"), folder.path().join("missing")] {
            assert_eq!(cookie(Some(&path)).unwrap_err().code, "SECRET_INVALID");
        }
    }

    #[test]
    fn names_are_tokens() {
        for name in ["", "a b", "a;b", "a=b", "a\r\nb"] {
            assert_eq!(
                Sticky::new(name, None, &[]).err().unwrap().code,
                "HEADER_INVALID",
                "{name}"
            );
        }
    }
}
