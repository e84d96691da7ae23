//! Sets of methods (RFC 9110 section 9).

use http::{HeaderValue, Method};

const KNOWN: [Method; 9] = [
    Method::GET,
    Method::HEAD,
    Method::POST,
    Method::PUT,
    Method::PATCH,
    Method::DELETE,
    Method::OPTIONS,
    Method::TRACE,
    Method::CONNECT,
];

/// Some methods, or all of them.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Methods {
    all: bool,
    /// By place in [`KNOWN`].
    known: u16,
    other: Vec<Method>,
}

impl Methods {
    /// All if there are none; GET brings HEAD. What is no method at all matches nothing.
    pub fn new(names: &[String]) -> Self {
        let mut methods = Self {
            all: names.is_empty(),
            ..Self::default()
        };
        for name in names {
            if let Ok(method) = Method::from_bytes(name.as_bytes()) {
                methods.insert(&method);
            }
            if name == "GET" {
                methods.insert(&Method::HEAD);
            }
        }
        methods
    }

    fn insert(&mut self, method: &Method) {
        match place(method) {
            Some(at) => self.known |= 1 << at,
            None if !self.other.contains(method) => self.other.push(method.clone()),
            None => {}
        }
    }

    pub fn contains(&self, method: &Method) -> bool {
        self.all
            || match place(method) {
                Some(at) => self.known & 1 << at != 0,
                None => self.other.contains(method),
            }
    }

    /// Add those of another set.
    pub fn extend(&mut self, more: &Self) {
        self.all |= more.all;
        self.known |= more.known;
        more.other.iter().for_each(|method| self.insert(method));
    }

    /// As `Allow` lists them (RFC 9110 section 10.2.1).
    pub fn allow(&self) -> HeaderValue {
        let known = KNOWN.iter().enumerate().filter(|(at, _)| self.known & 1 << at != 0);
        let names: Vec<&str> = known
            .map(|(_, method)| method)
            .chain(&self.other)
            .map(Method::as_str)
            .collect();
        HeaderValue::try_from(names.join(", ")).unwrap_or_else(|_| HeaderValue::from_static(""))
    }
}

fn place(method: &Method) -> Option<usize> {
    KNOWN.iter().position(|known| known == method)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn methods(names: &[&str]) -> Methods {
        Methods::new(&names.iter().map(ToString::to_string).collect::<Vec<_>>())
    }

    #[test]
    fn none_is_all_and_get_brings_head() {
        assert!(methods(&[]).contains(&Method::PUT));
        assert!(methods(&[]).contains(&Method::from_bytes(b"PROPFIND").unwrap()));
        let get = methods(&["GET"]);
        assert!(get.contains(&Method::HEAD) && !get.contains(&Method::POST));
    }

    #[test]
    fn allow_lists_each_once() {
        let mut all = methods(&["PROPFIND", "POST"]);
        all.extend(&methods(&["GET", "PROPFIND"]));
        assert_eq!(all.allow(), "GET, HEAD, POST, PROPFIND");
    }
}
