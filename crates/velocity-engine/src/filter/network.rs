//! Sets of networks: `10.0.0.0/8`, `2001:db8::/32`, single addresses.

use std::net::IpAddr;

use ipnet::IpNet;
use rustc_hash::FxHashSet;

use crate::error::{Error, Result};

/// A look-up for each length of prefix there is, however many networks have it.
#[derive(Debug, Default)]
pub struct Networks {
    lengths: Vec<(u8, bool)>,
    networks: FxHashSet<IpNet>,
}

impl Networks {
    /// # Errors
    ///
    /// `NETWORK_INVALID`.
    pub fn new(texts: &[String]) -> Result<Self> {
        let mut set = Self::default();
        for text in texts {
            let network = parse(text).ok_or_else(|| {
                Error::config("NETWORK_INVALID", format!("{text:?} is not a network"))
                    .hint("write it like 10.0.0.0/8, 2001:db8::/32 or 192.0.2.1")
            })?;
            let length = (network.prefix_len(), network.addr().is_ipv6());
            if !set.lengths.contains(&length) {
                set.lengths.push(length);
            }
            set.networks.insert(network);
        }
        Ok(set)
    }

    pub fn is_empty(&self) -> bool {
        self.networks.is_empty()
    }

    pub fn contains(&self, address: IpAddr) -> bool {
        let address = address.to_canonical();
        let mut lengths = self.lengths.iter().filter(|(_, v6)| *v6 == address.is_ipv6());
        lengths.any(|&(length, _)| {
            IpNet::new(address, length).is_ok_and(|network| self.networks.contains(&network.trunc()))
        })
    }
}

fn parse(text: &str) -> Option<IpNet> {
    let text = text.trim();
    let network = text
        .parse::<IpNet>()
        .or_else(|_| text.parse::<IpAddr>().map(IpNet::from))
        .ok()?;
    // An IPv4 network in IPv6 is one of IPv4, as addresses of clients are.
    match network {
        IpNet::V6(v6) if v6.prefix_len() >= 96 && v6.addr().to_ipv4_mapped().is_some() => {
            let v4 = v6.addr().to_ipv4_mapped()?;
            IpNet::new(v4.into(), v6.prefix_len() - 96)
                .ok()
                .map(|network| network.trunc())
        }
        network => Some(network.trunc()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn networks(texts: &[&str]) -> Networks {
        Networks::new(&texts.iter().map(ToString::to_string).collect::<Vec<_>>()).unwrap()
    }

    #[test]
    fn contains_what_lies_inside() {
        let set = networks(&[
            "10.0.0.0/8",
            "192.0.2.1",
            "2001:db8::/32",
            "::ffff:198.51.100.0/120",
            "10.1.2.3/16",
        ]);
        for (address, inside) in [
            ("10.255.0.1", true),
            ("11.0.0.1", false),
            ("192.0.2.1", true),
            ("192.0.2.2", false),
            ("2001:db8:ffff::1", true),
            ("2001:db9::1", false),
            ("198.51.100.7", true),
            ("::ffff:10.1.1.1", true),
        ] {
            assert_eq!(set.contains(address.parse().unwrap()), inside, "{address}");
        }
        assert!(networks(&["0.0.0.0/0"]).contains("1.2.3.4".parse().unwrap()));
        assert!(!networks(&["0.0.0.0/0"]).contains("::1".parse().unwrap()));
        assert!(!networks(&[]).contains("::1".parse().unwrap()));
    }

    #[test]
    fn what_is_no_network_is_refused() {
        for text in ["", "10.0.0.0/33", "10.0.0", "example.com", "::/129"] {
            assert_eq!(
                Networks::new(&[text.to_owned()]).unwrap_err().code,
                "NETWORK_INVALID",
                "{text}"
            );
        }
    }
}
