//! Who the client is, where trusted proxies stand in between (RFC 7239).
//!
//! Each proxy writes whom it heard, behind what was there. From the right, the first address that is not one of ours
//! is the client: what stands left of it, anybody could have written.

use std::net::{IpAddr, SocketAddr};

use http::HeaderMap;
use http::header::FORWARDED;

use super::network::Networks;
use crate::error::Result;

/// The proxies that are believed.
pub struct Proxies(Networks);

impl Proxies {
    pub fn new(networks: &[String]) -> Result<Self> {
        Networks::new(networks).map(Self)
    }

    /// The client behind `remote`. Where there are both, X-Forwarded-For counts: more proxies write it.
    pub fn client(&self, remote: IpAddr, fields: &HeaderMap) -> IpAddr {
        if self.0.is_empty() || !self.0.contains(remote) {
            return remote;
        }
        match fields.contains_key("x-forwarded-for") {
            true => self.walk(remote, fields.get_all("x-forwarded-for"), Some),
            false => self.walk(remote, fields.get_all(FORWARDED), forwarded_for),
        }
    }

    fn walk<'a>(
        &self,
        remote: IpAddr,
        values: http::header::GetAll<'a, http::HeaderValue>,
        node: impl Fn(&'a str) -> Option<&'a str>,
    ) -> IpAddr {
        let mut client = remote;
        // From the last line to the first, and each from right to left.
        let elements = values
            .iter()
            .rev()
            .flat_map(|value| value.to_str().unwrap_or_default().rsplit(','));
        for element in elements {
            // What is no address says nothing about who is behind it either.
            let Some(address) = node(element.trim()).and_then(address) else {
                return client;
            };
            client = address;
            if !self.0.contains(client) {
                return client;
            }
        }
        client
    }
}

/// `for=` of one element of Forwarded.
fn forwarded_for(element: &str) -> Option<&str> {
    let mut pairs = element.split(';').filter_map(|pair| pair.split_once('='));
    let (_, node) = pairs.find(|(name, _)| name.trim().eq_ignore_ascii_case("for"))?;
    Some(node.trim().trim_matches('"'))
}

/// An address, with a port or without.
fn address(text: &str) -> Option<IpAddr> {
    let bare = text
        .strip_prefix('[')
        .and_then(|rest| rest.strip_suffix(']'))
        .unwrap_or(text);
    bare.parse::<IpAddr>()
        .or_else(|_| text.parse::<SocketAddr>().map(|address| address.ip()))
        .ok()
        .map(|address| address.to_canonical())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn client(remote: &str, fields: &[(&'static str, &'static str)]) -> String {
        let proxies = Proxies::new(&["10.0.0.0/8".into(), "2001:db8::/32".into()]).unwrap();
        let mut headers = HeaderMap::new();
        for (name, value) in fields {
            headers.append(*name, value.parse().unwrap());
        }
        proxies.client(remote.parse().unwrap(), &headers).to_string()
    }

    #[test]
    fn from_right_to_left_to_the_first_that_is_not_ours() {
        for (remote, fields, expected) in [
            ("192.0.2.9", &[("x-forwarded-for", "198.51.100.1")][..], "192.0.2.9"),
            ("10.0.0.1", &[], "10.0.0.1"),
            ("10.0.0.1", &[("x-forwarded-for", "198.51.100.1")], "198.51.100.1"),
            (
                "10.0.0.1",
                &[("x-forwarded-for", "6.6.6.6, 198.51.100.1, 10.0.0.2")],
                "198.51.100.1",
            ),
            (
                "10.0.0.1",
                &[
                    ("x-forwarded-for", "6.6.6.6"),
                    ("x-forwarded-for", "198.51.100.1,10.9.9.9"),
                ],
                "198.51.100.1",
            ),
            (
                "10.0.0.1",
                &[("x-forwarded-for", "6.6.6.6, unknown, 10.0.0.2")],
                "10.0.0.2",
            ),
            ("10.0.0.1", &[("x-forwarded-for", "198.51.100.1:4711")], "198.51.100.1"),
            (
                "10.0.0.1",
                &[(
                    "forwarded",
                    r#"for=6.6.6.6, for="[2001:db9::1]:80";proto=https, By=x;For=10.0.0.2"#,
                )],
                "2001:db9::1",
            ),
            ("10.0.0.1", &[("forwarded", "for=_hidden")], "10.0.0.1"),
            (
                "10.0.0.1",
                &[("forwarded", "for=6.6.6.6"), ("x-forwarded-for", "198.51.100.1")],
                "198.51.100.1",
            ),
            (
                "2001:db8::1",
                &[("x-forwarded-for", "::ffff:198.51.100.1")],
                "198.51.100.1",
            ),
        ] {
            assert_eq!(client(remote, fields), expected, "{fields:?}");
        }
    }
}
