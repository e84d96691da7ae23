//! Alternative services (RFC 7838): where else an origin can be reached, as it says itself.

use std::time::Duration;

use http::HeaderMap;
use http::header::ALT_SVC;
use percent_encoding::percent_decode_str;

use super::Protocol;

/// How long one holds that does not say (section 3.1).
const FRESH: Duration = Duration::from_secs(86_400);
/// No longer than this, whatever it says.
const LONGEST: Duration = Duration::from_secs(30 * 86_400);
/// Of one origin.
const MAX: usize = 8;

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Alternative {
    pub protocol: Protocol,
    /// `None` is the origin's.
    pub host: Option<String>,
    pub port: u16,
    pub fresh: Duration,
}

/// What a response says; `None` where it says nothing. What is not understood is left out.
pub fn parse(fields: &HeaderMap) -> Option<Vec<Alternative>> {
    if !fields.contains_key(ALT_SVC) {
        return None;
    }
    let values = fields.get_all(ALT_SVC).iter().filter_map(|value| value.to_str().ok());
    let mut found = Vec::new();
    for value in values {
        if value.trim() == "clear" {
            return Some(Vec::new());
        }
        found.extend(split(value, ',').into_iter().filter_map(alternative));
    }
    found.truncate(MAX);
    Some(found)
}

fn alternative(text: &str) -> Option<Alternative> {
    let mut parts = split(text, ';').into_iter();
    let (protocol, authority) = parts.next()?.split_once('=')?;
    let protocol = percent_decode_str(protocol.trim()).decode_utf8().ok()?;
    let (host, port) = unquoted(authority).rsplit_once(':')?;
    let mut fresh = FRESH;
    for parameter in parts {
        if let Some((name, value)) = parameter.split_once('=')
            && name.trim().eq_ignore_ascii_case("ma")
            && let Ok(seconds) = unquoted(value).parse()
        {
            fresh = Duration::from_secs(seconds);
        }
    }
    Some(Alternative {
        protocol: Protocol::parse(&protocol)?,
        host: (!host.is_empty()).then(|| host.trim_start_matches('[').trim_end_matches(']').to_ascii_lowercase()),
        port: port.parse().ok().filter(|port| *port != 0)?,
        fresh: fresh.min(LONGEST),
    })
}

fn unquoted(text: &str) -> &str {
    text.trim().trim_matches('"')
}

/// Parts between separators that are not inside quotes.
fn split(text: &str, separator: char) -> Vec<&str> {
    let mut quoted = false;
    text.split(|c| {
        quoted ^= c == '"';
        c == separator && !quoted
    })
    .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(value: &'static str) -> Vec<Alternative> {
        let mut fields = HeaderMap::new();
        fields.insert(ALT_SVC, http::HeaderValue::from_static(value));
        parse(&fields).unwrap()
    }

    #[test]
    fn alternatives_have_a_protocol_a_place_and_a_time() {
        let found = of("h3=\":8443\"; ma=60, velocity%2F1=\"a,b.example:1\"; persist=1, h2=\"[::1]:2\"");
        let places: Vec<_> = found
            .iter()
            .map(|one| (one.protocol, one.host.as_deref(), one.port))
            .collect();
        assert_eq!(
            places,
            [
                (Protocol::H3, None, 8443),
                (Protocol::Velocity, Some("a,b.example"), 1),
                (Protocol::H2, Some("::1"), 2)
            ]
        );
        assert_eq!((found[0].fresh, found[1].fresh), (Duration::from_secs(60), FRESH));
    }

    #[test]
    fn what_is_no_alternative_is_left_out() {
        for value in [
            "clear",
            "",
            "h3",
            "h3=8",
            "h3=\":0\"",
            "h3=\":99999\"",
            "quic=\":1\"",
            "=\":1\"",
            "\"h3=\":1",
        ] {
            assert_eq!(of(value), [], "{value}");
        }
        assert_eq!(parse(&HeaderMap::new()), None);
        assert_eq!(of("h3=\":1\"; ma=99999999999").len(), 1);
    }
}
