//! The fallback directive: why there is no `velocity/1`, and where to go instead
//! (docs/spec/velocity-1.md section 6).
//!
//! One text, a dictionary of RFC 9651, wherever it travels: in a frame on the control stream, in the field
//! `Velocity-Fallback`, and as the reason phrase of a CONNECTION_CLOSE. It is a hint and no authority: a
//! client follows it only to where the original host is authenticated.

use std::fmt;
use std::str::FromStr;

use sfv::{BareItem, Dictionary, ListEntry, Parser, key_ref};

/// Why a client that offered `velocity/1` did not get it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Reason {
    /// The server has no hybrid certificate for the name, or none strong enough.
    NoHybridCert,
    /// `velocity/1` is not spoken on this listener.
    PolicyDisabled,
    /// The client offers no group of a profile that is permitted.
    ClientProfile,
    /// The client offers no signature scheme that the certificate can sign with.
    ClientSigalg,
    /// The server is going down.
    Draining,
}

impl Reason {
    pub const ALL: [Reason; 5] = [
        Reason::NoHybridCert,
        Reason::PolicyDisabled,
        Reason::ClientProfile,
        Reason::ClientSigalg,
        Reason::Draining,
    ];

    /// As it stands in directives, logs and counters.
    pub fn as_str(self) -> &'static str {
        match self {
            Reason::NoHybridCert => "no_hybrid_cert",
            Reason::PolicyDisabled => "policy_disabled",
            Reason::ClientProfile => "client_profile",
            Reason::ClientSigalg => "client_sigalg",
            Reason::Draining => "draining",
        }
    }
}

/// What a server tells a client that does not get `velocity/1`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Directive {
    pub reason: Reason,
    /// What to speak instead.
    pub alpn: String,
    /// `None` is the host that was asked for.
    pub host: Option<String>,
    /// `None` is the port that was asked.
    pub port: Option<u16>,
}

/// Longest directive that is read, in bytes.
pub const MAX_LEN: usize = 512;

impl fmt::Display for Directive {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "reason={}, alpn=\"{}\"", self.reason.as_str(), self.alpn)?;
        if let Some(host) = &self.host {
            write!(f, ", host=\"{host}\"")?;
        }
        if let Some(port) = self.port {
            write!(f, ", port={port}")?;
        }
        Ok(())
    }
}

/// The text is no directive.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct NotADirective;

impl FromStr for Directive {
    type Err = NotADirective;

    /// Unknown members are skipped; an unknown reason is no directive.
    fn from_str(text: &str) -> Result<Self, NotADirective> {
        if text.len() > MAX_LEN {
            return Err(NotADirective);
        }
        let members: Dictionary = Parser::new(text).parse().map_err(|_| NotADirective)?;
        let member = |key| match members.get(key) {
            Some(ListEntry::Item(item)) => Some(&item.bare_item),
            _ => None,
        };
        let reason = match member(key_ref("reason")) {
            Some(BareItem::Token(token)) => Reason::ALL.into_iter().find(|reason| reason.as_str() == token.as_str()),
            _ => None,
        };
        let text = |item: Option<&BareItem>| match item {
            Some(BareItem::String(text)) => Some(text.as_str().to_owned()),
            _ => None,
        };
        let port = match member(key_ref("port")) {
            Some(BareItem::Integer(port)) => u16::try_from(i64::from(*port)).ok(),
            _ => None,
        };
        Ok(Self {
            reason: reason.ok_or(NotADirective)?,
            alpn: text(member(key_ref("alpn"))).ok_or(NotADirective)?,
            host: text(member(key_ref("host"))),
            port,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_written_is_read() {
        for reason in Reason::ALL {
            for (host, port) in [(None, None), (Some("alt.example".to_owned()), Some(8443))] {
                let directive = Directive {
                    reason,
                    alpn: "h3".into(),
                    host,
                    port,
                };
                assert_eq!(directive.to_string().parse(), Ok(directive));
            }
        }
    }

    #[test]
    fn what_is_no_directive() {
        let texts = [
            "",
            "h3",
            "reason=whatever, alpn=\"h3\"",
            "reason=\"draining\", alpn=\"h3\"",
            "reason=draining",
            "reason=draining, alpn=\"h3",
            "reason=draining, alpn=\"h3\"\n",
        ];
        for text in texts {
            assert_eq!(text.parse::<Directive>(), Err(NotADirective), "{text:?}");
        }
        assert!(
            format!("reason=draining, alpn=\"{}\"", "x".repeat(600))
                .parse::<Directive>()
                .is_err()
        );
        assert!(
            "reason=draining, alpn=\"h3\", port=70000, later=?1"
                .parse::<Directive>()
                .is_ok_and(|d| d.port.is_none())
        );
    }
}
