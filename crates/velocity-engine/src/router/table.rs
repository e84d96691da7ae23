//! The routes of one site as a tree of segments.
//!
//! Each node has a child for each literal segment and one for `{name}`; routes hang on the node where their path
//! ends. All ways down that fit a path are gone, and the route that comes first in the Plan wins. Each node knows the
//! first route below it, so a way that can find nothing better is not gone.

use std::borrow::Cow;
use std::sync::Arc;

use http::Method;
use percent_encoding::percent_decode;
use rustc_hash::FxHashMap;

use super::path::{RequestPath, segments};
use super::{Methods, Outcome};
use crate::error::{Error, Result};
use crate::plan::{MatchKind, Route};

/// Names and values of the segments that a pattern left open, decoded.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Params(pub Vec<(Arc<str>, String)>);

pub struct Table {
    nodes: Vec<Node>,
    routes: Vec<Entry>,
}

#[derive(Default)]
struct Node {
    literals: FxHashMap<Box<[u8]>, usize>,
    /// `{name}`: any one segment.
    any: Option<usize>,
    /// Routes that end here, without and with a slash behind.
    exact: Vec<usize>,
    exact_directory: Vec<usize>,
    /// Routes for everything from here on.
    prefix: Vec<usize>,
    /// The first route here or below.
    first: usize,
}

struct Entry {
    methods: Methods,
    /// Names of the open segments and their depths.
    names: Vec<(Arc<str>, usize)>,
    /// Name of the rest and the depth where it begins.
    rest: Option<(Arc<str>, usize)>,
}

/// A search under way.
struct Search<'p> {
    segments: Vec<&'p [u8]>,
    directory: bool,
    method: &'p Method,
    best: Option<usize>,
    allowed: Methods,
    missed: bool,
}

impl Table {
    /// # Errors
    ///
    /// A path that does not begin with a slash, or a pattern that is none.
    pub fn new(routes: &[Route]) -> Result<Self> {
        let mut table = Self {
            nodes: vec![Node {
                first: usize::MAX,
                ..Node::default()
            }],
            routes: Vec::with_capacity(routes.len()),
        };
        for (place, route) in routes.iter().enumerate() {
            table.add(place, route).map_err(|reason| {
                Error::config(
                    "ROUTE_INVALID",
                    format!("{}: {:?} cannot be matched: {reason}", route.name, route.matches.value),
                )
                .detail("place", route.name.as_str())
                .detail("text", route.matches.value.as_str())
            })?;
        }
        Ok(table)
    }

    fn add(&mut self, place: usize, route: &Route) -> Result<(), &'static str> {
        let (kind, value) = (route.matches.kind, route.matches.value.as_bytes());
        if value.first() != Some(&b'/') && !(kind == MatchKind::Prefix && value.is_empty()) {
            return Err("a path begins with a slash");
        }
        let mut entry = Entry {
            methods: Methods::new(&route.methods),
            names: Vec::new(),
            rest: None,
        };
        let mut node = 0;
        self.nodes[0].first = self.nodes[0].first.min(place);
        for (depth, segment) in segments(value).enumerate() {
            if entry.rest.is_some() {
                return Err("{*rest} comes last");
            }
            let placeholder = match kind {
                MatchKind::Pattern => placeholder(segment)?,
                MatchKind::Exact | MatchKind::Prefix => Placeholder::None,
            };
            let segment = literal(segment)?;
            let next = match placeholder {
                Placeholder::Rest(name) => {
                    entry.rest = Some((name.into(), depth));
                    continue;
                }
                Placeholder::Name(name) => {
                    entry.names.push((name.into(), depth));
                    self.nodes[node].any
                }
                Placeholder::None => self.nodes[node].literals.get(&*segment).copied(),
            };
            node = next.unwrap_or_else(|| {
                let new = self.nodes.len();
                let parent = &mut self.nodes[node];
                match entry.names.last() {
                    Some(&(_, at)) if at == depth => parent.any = Some(new),
                    _ => drop(parent.literals.insert(segment.into_owned().into(), new)),
                }
                self.nodes.push(Node {
                    first: place,
                    ..Node::default()
                });
                new
            });
            self.nodes[node].first = self.nodes[node].first.min(place);
        }
        let node = &mut self.nodes[node];
        if kind == MatchKind::Prefix || entry.rest.is_some() {
            node.prefix.push(place);
        } else if value.ends_with(b"/") {
            node.exact_directory.push(place);
        } else {
            node.exact.push(place);
        }
        self.routes.push(entry);
        Ok(())
    }

    /// The first route that matches.
    pub fn find(&self, path: &RequestPath<'_>, method: &Method) -> Outcome {
        let mut search = Search {
            segments: path.segments().collect(),
            directory: path.is_directory(),
            method,
            best: None,
            allowed: Methods::default(),
            missed: false,
        };
        self.descend(0, 0, &mut search);
        match search.best {
            Some(place) => Outcome::Found(place, self.params(place, path, &search.segments)),
            None if search.missed => Outcome::Method(search.allowed),
            None => Outcome::Missing,
        }
    }

    fn descend(&self, node: usize, depth: usize, search: &mut Search<'_>) {
        let node = &self.nodes[node];
        if search.best.is_some_and(|best| best <= node.first) {
            return;
        }
        self.consider(&node.prefix, search);
        let Some(&segment) = search.segments.get(depth) else {
            let exact = if search.directory {
                &node.exact_directory
            } else {
                &node.exact
            };
            return self.consider(exact, search);
        };
        if let Some(&child) = node.literals.get(segment) {
            self.descend(child, depth + 1, search);
        }
        if let Some(child) = node.any
            && std::str::from_utf8(segment).is_ok()
        {
            self.descend(child, depth + 1, search);
        }
    }

    /// Take the first of these that is for the method. They are in order.
    fn consider(&self, places: &[usize], search: &mut Search<'_>) {
        for &place in places {
            if search.best.is_some_and(|best| best < place) {
                return;
            }
            let entry = &self.routes[place];
            if entry.methods.contains(search.method) {
                // What is left open is text.
                let open = entry.rest.as_ref().map_or(0, |&(_, depth)| depth);
                let is_text = |segment: &&[u8]| std::str::from_utf8(segment).is_ok();
                if entry.rest.is_none() || search.segments[open..].iter().all(is_text) {
                    search.best = Some(place);
                    return;
                }
            } else if search.best.is_none() {
                search.missed = true;
                search.allowed.extend(&entry.methods);
            }
        }
    }

    fn params(&self, place: usize, path: &RequestPath<'_>, segments: &[&[u8]]) -> Params {
        let entry = &self.routes[place];
        if entry.names.is_empty() && entry.rest.is_none() {
            return Params::default();
        }
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        let mut params: Vec<(Arc<str>, String)> = entry
            .names
            .iter()
            .map(|(name, depth)| (name.clone(), text(segments[*depth])))
            .collect();
        if let Some((name, depth)) = &entry.rest {
            // Behind the slashes and the segments before it.
            let before: usize = segments[..*depth].iter().map(|segment| segment.len() + 1).sum();
            let rest = path.as_bytes().get(before + 1..).unwrap_or_default();
            params.push((name.clone(), text(rest)));
        }
        Params(params)
    }
}

impl Params {
    pub fn get(&self, name: &str) -> Option<&str> {
        self.0
            .iter()
            .find(|(known, _)| **known == *name)
            .map(|(_, value)| value.as_str())
    }
}

/// A segment as the path of a request has it, decoded.
pub fn literal(segment: &[u8]) -> Result<Cow<'_, [u8]>, &'static str> {
    let segment: Cow<'_, [u8]> = percent_decode(segment).into();
    match matches!(&*segment, b"." | b"..") || segment.contains(&b'/') {
        true => Err("no path has such a segment"),
        false => Ok(segment),
    }
}

enum Placeholder<'a> {
    None,
    Name(&'a str),
    Rest(&'a str),
}

fn placeholder(segment: &[u8]) -> Result<Placeholder<'_>, &'static str> {
    let Some(inner) = segment.strip_prefix(b"{").and_then(|rest| rest.strip_suffix(b"}")) else {
        return match segment.contains(&b'{') || segment.contains(&b'}') {
            true => Err("braces hold a whole segment"),
            false => Ok(Placeholder::None),
        };
    };
    let (inner, rest) = match inner.strip_prefix(b"*") {
        Some(inner) => (inner, true),
        None => (inner, false),
    };
    let is_name = |name: &&str| {
        !name.is_empty()
            && !name.starts_with(|c: char| c.is_ascii_digit())
            && name.bytes().all(|b| b == b'_' || b.is_ascii_alphanumeric())
    };
    match std::str::from_utf8(inner).ok().filter(is_name) {
        Some(name) if rest => Ok(Placeholder::Rest(name)),
        Some(name) => Ok(Placeholder::Name(name)),
        None => Err("a name in braces is of letters, digits and _"),
    }
}
