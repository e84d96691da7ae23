//! From a request path to a name below the root, or a refusal (RFC 3986 sections 2.1 and 3.3).
//!
//! The path is decoded exactly once. What could mean something else to the file system than it
//! means in a URL is refused here, before any system call.

use percent_encoding::percent_decode_str;

/// Longest decoded path looked at; Linux has no longer ones.
const MAX_PATH: usize = 4096;
/// Where the server keeps its own files. Never served, whatever the configuration says.
const OWN: &[u8] = b".velocity";
/// The one dotted name that exists to be served (RFC 8615).
const WELL_KNOWN: &[u8] = b".well-known";

/// A name relative to the root: no empty, `.` or `..` segments, no leading slash.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SitePath {
    /// Empty for the root itself.
    pub relative: Vec<u8>,
    /// Whether the URL ended with a slash.
    pub directory: bool,
}

/// Why a path is not looked up.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Refusal {
    /// It tries to leave the root, or holds what no file name can.
    Malformed,
    TooLong,
    /// Hidden: answered as if it did not exist.
    Hidden,
}

impl SitePath {
    /// Decode and check the path of a URL.
    pub fn parse(path: &str, dotfiles: bool) -> Result<Self, Refusal> {
        let decoded: Vec<u8> = percent_decode_str(path).collect();
        if decoded.len() > MAX_PATH {
            return Err(Refusal::TooLong);
        }
        // A slash that was encoded is data, not a separator, and no file name can hold it.
        let encoded_slash = path.as_bytes().windows(3).any(|w| w.eq_ignore_ascii_case(b"%2f"));
        if decoded.first() != Some(&b'/') || encoded_slash || decoded.iter().any(|&b| b == 0 || b == b'\\') {
            return Err(Refusal::Malformed);
        }
        let mut relative: Vec<u8> = Vec::with_capacity(decoded.len());
        for segment in decoded.split(|&b| b == b'/') {
            match segment {
                b"" | b"." => continue,
                b".." => return Err(Refusal::Malformed),
                name if is_hidden(name, dotfiles) => return Err(Refusal::Hidden),
                name => {
                    if !relative.is_empty() {
                        relative.push(b'/');
                    }
                    relative.extend_from_slice(name);
                }
            }
        }
        let directory = decoded.ends_with(b"/") || decoded.ends_with(b"/.");
        Ok(Self { relative, directory })
    }

    /// The path of `name` inside this directory.
    pub fn join(&self, name: &[u8]) -> Vec<u8> {
        match self.relative.is_empty() {
            true => name.to_vec(),
            false => [&self.relative, &b"/"[..], name].concat(),
        }
    }
}

/// Whether a file or directory of this name is kept from the world.
pub fn is_hidden(name: &[u8], dotfiles: bool) -> bool {
    name.eq_ignore_ascii_case(OWN) || (!dotfiles && name.first() == Some(&b'.') && name != WELL_KNOWN)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(path: &str) -> Result<String, Refusal> {
        SitePath::parse(path, false).map(|p| String::from_utf8(p.relative).unwrap())
    }

    #[test]
    fn plain_names() {
        assert_eq!(parse("/"), Ok(String::new()));
        assert_eq!(parse("/a/b.txt"), Ok("a/b.txt".into()));
        assert_eq!(parse("//a///b/./c"), Ok("a/b/c".into()));
        assert_eq!(parse("/a%20b%3f"), Ok("a b?".into()));
        assert_eq!(parse("/%252e%252e/x"), Ok("%2e%2e/x".into()), "decoded once, not twice");
        assert!(SitePath::parse("/a/", false).unwrap().directory);
        assert!(!SitePath::parse("/a", false).unwrap().directory);
    }

    #[test]
    fn what_leaves_the_root_is_malformed() {
        let hostile = [
            "/..",
            "/../etc/passwd",
            "/a/../../b",
            "/%2e%2e/b",
            "/.%2E/b",
            "/a/..%2fb",
            "/a%2Fb",
            "/a%5c..%5cb",
            "/a\\b",
            "/a%00.html",
            "a",
            "",
        ];
        for path in hostile {
            assert_eq!(parse(path), Err(Refusal::Malformed), "{path}");
        }
        assert_eq!(parse(&format!("/{}", "a".repeat(5000))), Err(Refusal::TooLong));
    }

    #[test]
    fn dotfiles_are_hidden_and_our_own_files_always() {
        for path in ["/.git/config", "/a/.env", "/%2eenv", "/.velocity/certs/key.pem", "/..."] {
            assert_eq!(parse(path), Err(Refusal::Hidden), "{path}");
        }
        assert!(SitePath::parse("/.env", true).is_ok());
        assert_eq!(SitePath::parse("/a/.velocity/x", true), Err(Refusal::Hidden));
        assert_eq!(SitePath::parse("/.VELOCITY/x", true), Err(Refusal::Hidden));
        assert_eq!(
            parse("/.well-known/security.txt"),
            Ok(".well-known/security.txt".into())
        );
    }
}
