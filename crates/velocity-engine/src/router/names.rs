//! Host names: exact, then the longest wildcard, then the site that has none.

use std::borrow::Cow;

use rustc_hash::FxHashMap;

/// No name is longer (RFC 1035 section 2.3.4), so no wildcard is looked for in what is.
const MAX_NAME: usize = 253;

/// From a name to the place of a site.
pub struct Names {
    exact: FxHashMap<Box<str>, usize>,
    /// `.example.com` of `*.example.com`.
    wildcards: FxHashMap<Box<str>, usize>,
    any: Option<usize>,
}

impl Names {
    /// The names of each site, in order. Of two sites with the same name the first has it.
    pub fn new<'a>(sites: impl Iterator<Item = &'a [String]>) -> Self {
        let mut names = Self {
            exact: FxHashMap::default(),
            wildcards: FxHashMap::default(),
            any: None,
        };
        for (site, hosts) in sites.enumerate() {
            if hosts.is_empty() {
                names.any.get_or_insert(site);
            }
            for host in hosts {
                let host = canonical(host);
                match host.strip_prefix('*').filter(|suffix| suffix.starts_with('.')) {
                    Some(suffix) => names.wildcards.entry(suffix.into()).or_insert(site),
                    None => names.exact.entry(host.into()).or_insert(site),
                };
            }
        }
        names
    }

    pub fn find(&self, host: &str) -> Option<usize> {
        if self.exact.is_empty() && self.wildcards.is_empty() {
            return self.any;
        }
        let host = canonical(host);
        self.exact
            .get(&*host)
            .or_else(|| self.wildcard(&host))
            .or(self.any.as_ref())
            .copied()
    }

    /// The longest suffix that is known: there are only as many as the name has dots.
    fn wildcard(&self, host: &str) -> Option<&usize> {
        if self.wildcards.is_empty() || host.len() > MAX_NAME {
            return None;
        }
        // From 1: `*` stands for at least one label.
        let dots = host.bytes().enumerate().skip(1).filter(|&(_, b)| b == b'.');
        dots.map(|(at, _)| &host[at..])
            .find_map(|suffix| self.wildcards.get(suffix))
    }
}

/// In lower case, without the dot of the root.
fn canonical(host: &str) -> Cow<'_, str> {
    let host = host.strip_suffix('.').unwrap_or(host);
    match host.bytes().any(|b| b.is_ascii_uppercase()) {
        true => host.to_ascii_lowercase().into(),
        false => host.into(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names(sites: &[&[&str]]) -> Names {
        let sites: Vec<Vec<String>> = sites
            .iter()
            .map(|hosts| hosts.iter().map(ToString::to_string).collect())
            .collect();
        Names::new(sites.iter().map(Vec::as_slice))
    }

    #[test]
    fn exact_then_the_longest_wildcard_then_any() {
        let names = names(&[
            &["*.example.com"],
            &[],
            &["a.example.com", "[::1]"],
            &["*.b.example.com"],
            &["a.example.com"],
            &[],
        ]);
        for (host, site) in [
            ("a.example.com", 2),
            ("A.Example.COM.", 2),
            ("c.example.com", 0),
            ("x.c.example.com", 0),
            ("x.b.example.com", 3),
            ("b.example.com", 0),
            ("example.com", 1),
            (".example.com", 1),
            ("[::1]", 2),
            ("elsewhere", 1),
            ("", 1),
        ] {
            assert_eq!(names.find(host), Some(site), "{host}");
        }
    }

    #[test]
    fn without_a_site_for_all_others_are_nobodys() {
        let names = names(&[&["a.example"]]);
        assert_eq!(names.find("a.example"), Some(0));
        assert_eq!(names.find("b.example"), None);
        assert_eq!(names.find(&format!("{}a.example", ".".repeat(100_000))), None);
    }
}
