//! Cookies (RFC 6265), in the strictest form there is: `__Host-`, Secure, HttpOnly, SameSite=Lax (RFC 6265bis sections
//! 4.1.3 and 5.6).

use http::HeaderValue;
use http::header::HeaderMap;

use crate::http::cookie;

/// Browsers keep no larger ones (RFC 6265 section 6.1).
pub const MAX: usize = 4096;
/// What the attributes take of that, and a margin.
const ATTRIBUTES: usize = 128;

/// The name by which browsers know a cookie that is for this host and over TLS alone.
pub fn name(name: &str) -> String {
    match name.starts_with("__Host-") {
        true => name.to_owned(),
        false => format!("__Host-{name}"),
    }
}

/// A cookie of a request; the first of the name.
pub fn find<'a>(headers: &'a HeaderMap, name: &str) -> Option<&'a str> {
    std::str::from_utf8(cookie::find(headers, name)?).ok()
}

/// Set a cookie for some seconds; `None` if it would be too large to be kept.
pub fn set(name: &str, value: &str, seconds: u64) -> Option<HeaderValue> {
    if name.len() + value.len() + ATTRIBUTES > MAX {
        return None;
    }
    HeaderValue::try_from(format!(
        "{name}={value}; Path=/; Max-Age={seconds}; Secure; HttpOnly; SameSite=Lax"
    ))
    .ok()
}

/// Take a cookie back.
pub fn clear(name: &str) -> Option<HeaderValue> {
    set(name, "", 0)
}

/// Take cookies whose names begin so out of a request.
pub fn strip(headers: &mut HeaderMap, name: &str) {
    cookie::strip(headers, |other| other.starts_with(name.as_bytes()));
}

#[cfg(test)]
mod tests {
    use http::header::COOKIE;

    use super::*;

    #[test]
    fn whatever_begins_like_ours_is_taken_out() {
        let mut headers = HeaderMap::new();
        for cookie in ["a=1", "s=2", "s_login0=3"] {
            headers.append(COOKIE, HeaderValue::from_static(cookie));
        }
        assert_eq!(find(&headers, "s"), Some("2"));
        strip(&mut headers, "s");
        assert_eq!(headers[COOKIE], "a=1");
    }

    #[test]
    fn cookies_are_for_this_host_over_tls() {
        let cookie = set(&name("session"), "x", 60).unwrap();
        assert_eq!(
            cookie,
            "__Host-session=x; Path=/; Max-Age=60; Secure; HttpOnly; SameSite=Lax"
        );
        assert_eq!(name("__Host-a"), "__Host-a");
        assert_eq!(set("a", &"x".repeat(MAX), 60), None);
    }
}
