//! Host names: exact, then the longest wildcard, then the site that has none.

use std::borrow::Cow;
use std::hash::BuildHasher;

use hashbrown::HashTable;
use rustc_hash::FxBuildHasher;

/// No name is longer (RFC 1035 section 2.3.4), so no wildcard is looked for in what is.
const MAX_NAME: usize = 253;

/// From a name to the place of a site.
pub struct Names {
    exact: Map,
    /// `.example.com` of `*.example.com`.
    wildcards: Map,
    any: Option<usize>,
}

/// Names side by side in memory: where there are many, looking one up is waiting for memory.
#[derive(Default)]
struct Map {
    table: HashTable<Name>,
    text: String,
}

struct Name {
    from: u32,
    len: u32,
    site: u32,
}

impl Map {
    /// Of two equal names the first counts.
    fn insert(&mut self, name: &str, site: usize) {
        let from = u32::try_from(self.text.len());
        let (Ok(from), Ok(len), Ok(site)) = (from, u32::try_from(name.len()), u32::try_from(site)) else {
            return; // no configuration is that large
        };
        if self.get(name).is_none() {
            self.text.push_str(name);
            let text = &self.text;
            let added = Name { from, len, site };
            self.table
                .insert_unique(hash(name), added, |known| hash(known.of(text)));
        }
    }

    fn get(&self, name: &str) -> Option<usize> {
        let known = self.table.find(hash(name), |known| known.of(&self.text) == name)?;
        Some(known.site as usize)
    }

    fn is_empty(&self) -> bool {
        self.table.is_empty()
    }
}

impl Name {
    fn of<'t>(&self, text: &'t str) -> &'t str {
        let from = self.from as usize;
        text.get(from..from + self.len as usize).unwrap_or_default()
    }
}

fn hash(name: &str) -> u64 {
    FxBuildHasher.hash_one(name)
}

impl Names {
    /// The names of each site, in order. Of two sites with the same name the first has it.
    pub fn new<'a>(sites: impl Iterator<Item = &'a [String]>) -> Self {
        let mut names = Self {
            exact: Map::default(),
            wildcards: Map::default(),
            any: None,
        };
        for (site, hosts) in sites.enumerate() {
            if hosts.is_empty() {
                names.any.get_or_insert(site);
            }
            for host in hosts {
                let host = canonical(host);
                match host.strip_prefix('*').filter(|suffix| suffix.starts_with('.')) {
                    Some(suffix) => names.wildcards.insert(suffix, site),
                    None => names.exact.insert(&host, site),
                }
            }
        }
        names
    }

    pub fn find(&self, host: &str) -> Option<usize> {
        if self.exact.is_empty() && self.wildcards.is_empty() {
            return self.any;
        }
        let host = canonical(host);
        self.exact.get(&host).or_else(|| self.wildcard(&host)).or(self.any)
    }

    /// The longest suffix that is known: there are only as many as the name has dots.
    fn wildcard(&self, host: &str) -> Option<usize> {
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
