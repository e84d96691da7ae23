//! Cookies (RFC 6265), in the strictest form there is: `__Host-`, Secure, HttpOnly, SameSite=Lax (RFC 6265bis sections
//! 4.1.3 and 5.6).

use http::header::{COOKIE, HeaderMap};
use http::{HeaderValue, header};

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
    pairs(headers).find_map(|pair| pair.strip_prefix(name)?.strip_prefix('='))
}

fn pairs(headers: &HeaderMap) -> impl Iterator<Item = &str> {
    // HTTP/2 and HTTP/3 may send several fields.
    let fields = headers.get_all(COOKIE).iter().filter_map(|value| value.to_str().ok());
    fields.flat_map(|field| field.split(';').map(str::trim))
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

/// Take cookies whose names begin so out of a request: they are nobody else's business.
pub fn strip(headers: &mut HeaderMap, name: &str) {
    if !pairs(headers).any(|pair| pair.starts_with(name)) {
        return;
    }
    let others: Vec<&str> = pairs(headers).filter(|pair| !pair.starts_with(name)).collect();
    let others = HeaderValue::try_from(others.join("; ")).ok();
    match others.filter(|others| !others.is_empty()) {
        Some(others) => _ = headers.insert(header::COOKIE, others),
        None => _ = headers.remove(header::COOKIE),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn headers(cookies: &[&'static str]) -> HeaderMap {
        let mut headers = HeaderMap::new();
        for cookie in cookies {
            headers.append(COOKIE, HeaderValue::from_static(cookie));
        }
        headers
    }

    #[test]
    fn cookies_are_found_in_any_field() {
        let headers = headers(&["a=1; session=x=y", "session2=2;b=3"]);
        assert_eq!(find(&headers, "session"), Some("x=y"));
        assert_eq!(find(&headers, "session2"), Some("2"));
        assert_eq!(find(&headers, "b"), Some("3"));
        assert_eq!(find(&headers, "sess"), None);
    }

    #[test]
    fn ours_are_taken_out() {
        for (cookies, left) in [
            (&["a=1; s=2; b=3"][..], Some("a=1; b=3")),
            (&["a=1", "s=2", "s_login0=3"], Some("a=1")),
            (&["s=2"], None),
            (&["a=1;b=2"], Some("a=1;b=2")),
        ] {
            let mut headers = headers(cookies);
            strip(&mut headers, "s");
            assert_eq!(headers.get(COOKIE).map(|value| value.to_str().unwrap()), left);
        }
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
