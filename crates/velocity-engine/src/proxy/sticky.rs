//! A client stays with its upstream by a cookie (RFC 6265), for as long as its browser runs.

use std::sync::Arc;

use http::HeaderValue;
use http::header::HeaderMap;
use velocity_tls::seal::sha256;

use super::upstream::Upstream;
use crate::error::{Error, Result};
use crate::http::cookie;

pub struct Sticky {
    name: String,
    /// By place of the upstream: the value of the cookie, and the field that sets it.
    upstreams: Vec<(String, HeaderValue)>,
}

impl Sticky {
    /// # Errors
    ///
    /// `HEADER_INVALID`
    pub fn new(name: &str, upstreams: &[Arc<Upstream>]) -> Result<Self> {
        let invalid = || {
            Error::config("HEADER_INVALID", format!("{name:?} cannot be the name of a cookie"))
                .hint("name it for example backend")
        };
        if !cookie::is_name(name) {
            return Err(invalid());
        }
        let of = |upstream: &Arc<Upstream>| {
            let id = opaque(&upstream.url);
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

/// The same for every server and after every start, and not where the upstream is.
fn opaque(url: &str) -> String {
    let hash = sha256(format!("sticky upstream\n{url}").as_bytes());
    hash.iter().take(8).map(|byte| format!("{byte:02x}")).collect()
}

#[cfg(test)]
mod tests {
    use super::super::tests::upstreams;
    use super::*;

    #[test]
    fn a_client_is_tied_once() {
        let sticky = Sticky::new("__Host-backend", &upstreams(&[(1, false), (1, false)])).unwrap();
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
    fn names_are_tokens() {
        for name in ["", "a b", "a;b", "a=b", "a\r\nb"] {
            assert_eq!(Sticky::new(name, &[]).err().unwrap().code, "HEADER_INVALID", "{name}");
        }
    }
}
