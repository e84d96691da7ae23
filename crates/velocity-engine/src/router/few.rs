//! The routes of sites that have few and plain ones: gone through in their order, those of all sites side by side.
//!
//! Most sites are a folder and some paths. A tree for each lies scattered over memory, and where there are ten thousand
//! sites, a request waits for memory at each step down; here it is one place.

use http::Method;

use super::path::{RequestPath, segments};
use super::table::literal;
use super::{Methods, Outcome, Params};
use crate::plan::{MatchKind, Route};

/// More are looked up faster than they are gone through.
const MAX_ROUTES: usize = 16;
/// It is for what is below, too.
const PREFIX: u8 = 1;
/// It is for some methods only.
const SOME_METHODS: u8 = 2;

/// For each route a byte of flags, the length of its path in two, and the path, without its last slash where it is a
/// prefix.
#[derive(Default)]
pub struct Few {
    packed: Vec<u8>,
    methods: Vec<Methods>,
}

/// The routes of one site.
#[derive(Clone, Copy)]
pub struct Span {
    from: u32,
    methods: u32,
    len: u8,
}

impl Few {
    /// Take the routes of a site, if they are few and plain, and can be matched at all.
    pub fn add(&mut self, routes: &[Route]) -> Option<Span> {
        let len = u8::try_from(routes.len())
            .ok()
            .filter(|&len| usize::from(len) <= MAX_ROUTES)?;
        let span = Span {
            from: u32::try_from(self.packed.len()).ok()?,
            methods: u32::try_from(self.methods.len()).ok()?,
            len,
        };
        let mut packed = Vec::new();
        for route in routes {
            pack(route, &mut packed)?;
        }
        self.packed.extend(packed);
        self.methods
            .extend(routes.iter().map(|route| Methods::new(&route.methods)));
        Some(span)
    }

    /// The first route that matches.
    pub fn find(&self, span: Span, path: &RequestPath<'_>, method: &Method) -> Outcome {
        let path = path.as_bytes();
        let mut left = self.packed.get(span.from as usize..).unwrap_or_default();
        let mut allowed: Option<Methods> = None;
        for place in 0..usize::from(span.len) {
            let Some((flags, value, rest)) = unpack(left) else {
                break;
            };
            left = rest;
            if !matches(flags, value, path) {
                continue;
            }
            let methods = match flags & SOME_METHODS {
                0 => return Outcome::Found(place, Params::default()),
                _ => self.methods.get(span.methods as usize + place),
            };
            match methods {
                Some(methods) if methods.contains(method) => return Outcome::Found(place, Params::default()),
                Some(methods) => allowed.get_or_insert_default().extend(methods),
                None => {}
            }
        }
        allowed.map_or(Outcome::Missing, Outcome::Method)
    }
}

fn pack(route: &Route, out: &mut Vec<u8>) -> Option<()> {
    let value = route.matches.value.as_bytes();
    let kind = match route.matches.kind {
        MatchKind::Exact => 0,
        MatchKind::Prefix => PREFIX,
        MatchKind::Pattern => return None,
    };
    if value.first() != Some(&b'/') && (kind == 0 || !value.is_empty()) {
        return None;
    }
    let mut path = Vec::with_capacity(value.len());
    for segment in segments(value) {
        path.push(b'/');
        path.extend_from_slice(&literal(segment).ok()?);
    }
    if kind == 0 && value.ends_with(b"/") {
        path.push(b'/');
    }
    let methods = if route.methods.is_empty() { 0 } else { SOME_METHODS };
    out.push(kind | methods);
    out.extend_from_slice(&u16::try_from(path.len()).ok()?.to_ne_bytes());
    out.extend_from_slice(&path);
    Some(())
}

/// Flags and path of the first route, and what follows it.
fn unpack(packed: &[u8]) -> Option<(u8, &[u8], &[u8])> {
    let (&[flags, low, high], rest) = packed.split_first_chunk()?;
    let (value, rest) = rest.split_at_checked(usize::from(u16::from_ne_bytes([low, high])))?;
    Some((flags, value, rest))
}

fn matches(flags: u8, value: &[u8], path: &[u8]) -> bool {
    match path.strip_prefix(value) {
        Some(rest) => rest.is_empty() || flags & PREFIX != 0 && rest.first() == Some(&b'/'),
        None => false,
    }
}
