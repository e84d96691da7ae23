//! The path that a request really asks for (RFC 3986 sections 2.1, 3.3 and 6.2.2).
//!
//! Decoded once, without empty and `.` segments: `//admin/`, `/./admin/` and `/%61dmin/` are `/admin/`, so that what
//! guards one guards all. What could mean one thing here and another to whoever looks at it next is refused, by the
//! rules of [`files`](crate::files).

use std::borrow::Cow;

use percent_encoding::percent_decode_str;

/// Longest decoded path looked at; Linux has no longer ones.
const MAX_PATH: usize = 4096;

/// A path: begins with a slash, and has neither empty nor dot segments.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RequestPath<'a>(Cow<'a, [u8]>);

/// Why a path is not looked at.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Refusal {
    /// It tries to leave the root, or holds what can be read in two ways.
    Malformed,
    TooLong,
}

impl<'a> RequestPath<'a> {
    /// Decode and check the path of a URL.
    pub fn parse(path: &'a str) -> Result<Self, Refusal> {
        let bytes = path.as_bytes();
        if path == "*" {
            return Ok(Self(Cow::Borrowed(b"/"))); // OPTIONS of the whole server
        }
        if is_plain(bytes) {
            return match bytes.len() > MAX_PATH {
                true => Err(Refusal::TooLong),
                false => Ok(Self(Cow::Borrowed(bytes))),
            };
        }
        let decoded: Cow<'_, [u8]> = percent_decode_str(path).into();
        if decoded.len() > MAX_PATH {
            return Err(Refusal::TooLong);
        }
        // A slash that was encoded is data, not a separator, and no segment may hold it.
        let encoded_slash = bytes.windows(3).any(|w| w.eq_ignore_ascii_case(b"%2f"));
        if decoded.first() != Some(&b'/') || encoded_slash || decoded.iter().any(|&b| b == 0 || b == b'\\') {
            return Err(Refusal::Malformed);
        }
        let mut path = Vec::with_capacity(decoded.len());
        for segment in decoded.split(|&b| b == b'/') {
            match segment {
                b"" | b"." => {}
                b".." => return Err(Refusal::Malformed),
                segment => {
                    path.push(b'/');
                    path.extend_from_slice(segment);
                }
            }
        }
        if path.is_empty() || decoded.ends_with(b"/") || decoded.ends_with(b"/.") {
            path.push(b'/');
        }
        Ok(Self(path.into()))
    }

    pub fn as_bytes(&self) -> &[u8] {
        &self.0
    }

    /// Whether it ends with a slash.
    pub fn is_directory(&self) -> bool {
        self.0.ends_with(b"/")
    }

    /// None for the root.
    pub fn segments(&self) -> impl Iterator<Item = &[u8]> {
        segments(&self.0)
    }
}

/// The segments of a path that has no empty ones but at its ends.
pub fn segments(path: &[u8]) -> impl Iterator<Item = &[u8]> {
    path.split(|&b| b == b'/').filter(|segment| !segment.is_empty())
}

/// Whether a path says what it means: the usual one does, and need not be copied.
fn is_plain(path: &[u8]) -> bool {
    let mut before = b' ';
    for &b in path {
        match b {
            b'%' | b'\\' | 0 => return false,
            b'/' | b'.' if before == b'/' => return false,
            _ => before = b,
        }
    }
    path.first() == Some(&b'/')
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(path: &str) -> Result<String, Refusal> {
        RequestPath::parse(path).map(|path| String::from_utf8(path.0.into_owned()).unwrap())
    }

    #[test]
    fn many_ways_to_write_one_path() {
        for path in ["/a/b", "//a//b", "/./a/./b", "/%61/b", "/a/%2e/b", "/a/%62"] {
            assert_eq!(parse(path).as_deref(), Ok("/a/b"), "{path}");
        }
        for path in ["/a/", "/a//", "/a/.", "//a/%2E"] {
            assert_eq!(parse(path).as_deref(), Ok("/a/"), "{path}");
        }
        for path in ["/", "//", "/.", "*"] {
            assert_eq!(parse(path).as_deref(), Ok("/"), "{path}");
        }
        assert_eq!(parse("/.well-known/x").as_deref(), Ok("/.well-known/x"));
        assert_eq!(
            parse("/%252e%252e").as_deref(),
            Ok("/%2e%2e"),
            "decoded once, not twice"
        );
    }

    #[test]
    fn what_files_refuse_is_refused() {
        for path in [
            "/..",
            "/a/../b",
            "/%2e%2e/b",
            "/.%2E",
            "/a%2fb",
            "/a%5cb",
            "/a\\b",
            "/a%00",
            "a",
            "",
        ] {
            assert_eq!(parse(path), Err(Refusal::Malformed), "{path}");
        }
        assert_eq!(parse(&format!("/{}", "a".repeat(5000))), Err(Refusal::TooLong));
        assert_eq!(parse(&format!("/%61{}", "a".repeat(5000))), Err(Refusal::TooLong));
    }
}
