//! Cookies of a request (RFC 6265 section 4.2), and cookies that go no further.

use http::header::{COOKIE, HeaderMap};
use http::{HeaderName, HeaderValue};

/// The value of a cookie; that of the first of the name.
pub fn find<'a>(headers: &'a HeaderMap, name: &str) -> Option<&'a [u8]> {
    pairs(headers).find_map(|pair| pair.strip_prefix(name.as_bytes())?.strip_prefix(b"="))
}

/// Take cookies of these names out of a request: they are nobody else's business.
pub fn strip(headers: &mut HeaderMap, is_ours: impl Fn(&[u8]) -> bool) {
    let goes_on = |pair: &&[u8]| !is_ours(pair.split(|byte| *byte == b'=').next().unwrap_or_default());
    if pairs(headers).all(|pair| goes_on(&pair)) {
        return;
    }
    let others = pairs(headers).filter(goes_on).collect::<Vec<_>>().join(&b"; "[..]);
    match HeaderValue::from_bytes(&others) {
        Ok(others) if !others.is_empty() => _ = headers.insert(COOKIE, others),
        _ => _ = headers.remove(COOKIE),
    }
}

/// Whether a cookie can have this name: a token, as that of a field is.
pub fn is_name(name: &str) -> bool {
    HeaderName::from_bytes(name.as_bytes()).is_ok()
}

fn pairs(headers: &HeaderMap) -> impl Iterator<Item = &[u8]> {
    // HTTP/2 and HTTP/3 may send several fields.
    let fields = headers.get_all(COOKIE).iter().map(HeaderValue::as_bytes);
    fields.flat_map(|field| field.split(|byte| *byte == b';').map(<[u8]>::trim_ascii))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn headers(cookies: &[&'static str]) -> HeaderMap {
        let mut headers = HeaderMap::new();
        for cookie in cookies {
            headers.append(COOKIE, HeaderValue::from_bytes(cookie.as_bytes()).unwrap());
        }
        headers
    }

    #[test]
    fn cookies_are_found_in_any_field() {
        let headers = headers(&["a=1; session=x=y", "session2=2;b=3;n=ü", "c="]);
        for (name, value) in [
            ("session", Some("x=y")),
            ("session2", Some("2")),
            ("b", Some("3")),
            ("n", Some("ü")),
            ("c", Some("")),
            ("sess", None),
        ] {
            assert_eq!(find(&headers, name), value.map(str::as_bytes), "{name}");
        }
    }

    #[test]
    fn ours_are_taken_out() {
        for (cookies, left) in [
            (&["a=1; s=2; b=3"][..], Some("a=1; b=3")),
            (&["a=1", "s=2", "s_login0=3"], Some("a=1; s_login0=3")),
            (&["s=2; n=ü"], Some("n=ü")),
            (&["s=2", "s"], None),
            (&["a=1;b=2"], Some("a=1;b=2")),
        ] {
            let mut headers = headers(cookies);
            strip(&mut headers, |name| name == b"s");
            assert_eq!(headers.get(COOKIE).map(HeaderValue::as_bytes), left.map(str::as_bytes));
        }
    }
}
