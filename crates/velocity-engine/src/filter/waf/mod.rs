//! Requests that look like attacks.
//!
//! What is looked at is decoded first ([`decode`]), the way the thing that an attack is meant for would do it, and body
//! formats are taken apart ([`content`]). Then all rules look at once ([`rules`]): sets of regular expressions take
//! time in proportion to what they read, whatever it is. A request that was found clean is remembered by a keyed hash,
//! so that the same one is not read again.

mod clean;
mod content;
mod decode;
mod rules;

use http::StatusCode;
use http::request::Parts;
use regex::bytes::{RegexSet, RegexSetBuilder};

use self::clean::Clean;
pub use self::rules::Group;
use self::rules::RULES;
use crate::call::Call;
use crate::error::{Error, Result};
use crate::http::replay;
use crate::http::{Body, Response};
use crate::log::{self, Level};
use crate::plan::{self, WafMode, WafTarget};
use crate::service::plain;

/// Bodies up to this size are looked at where they are; larger ones by another thread.
const IN_PLACE: usize = 4 * 1024;
/// What the regular expressions of one target may become, in bytes.
const MAX_PROGRAM: usize = 16 << 20;
/// Rules of one request that are logged.
const MAX_LOGGED: usize = 8;

const TARGETS: [WafTarget; 4] = [WafTarget::Path, WafTarget::Query, WafTarget::Headers, WafTarget::Body];

pub struct Waf {
    block: bool,
    inspector: std::sync::Arc<Inspector>,
    max_body: usize,
    clean: Clean,
}

/// The rules, by what they look at.
struct Inspector([Rules; 4]);

/// Ours look at text that is folded, those of the Plan at text that is only decoded.
struct Rules {
    folded: Set,
    decoded: Set,
}

#[derive(Default)]
struct Set {
    patterns: Option<RegexSet>,
    /// By place in the set.
    names: Vec<(Group, String)>,
}

/// A rule that a request has run into.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Hit {
    group: Group,
    rule: String,
    target: WafTarget,
}

impl Waf {
    /// # Errors
    ///
    /// `WAF_RULE_INVALID`.
    pub fn new(plan: &plan::Waf) -> Result<Self> {
        Ok(Self {
            block: plan.mode == WafMode::Block,
            inspector: std::sync::Arc::new(Inspector::new(plan)?),
            max_body: plan.max_body_bytes,
            clean: Clean::new(),
        })
    }

    /// Every rule that is none; where each is one, why they cannot be used together.
    pub fn problems(plan: &plan::Waf) -> Vec<Error> {
        let Err(error) = Self::new(plan) else {
            return Vec::new();
        };
        let alone = |rule: &plan::WafRule| {
            let rule = (Group::Custom, rule.name.as_str(), rule.pattern.as_str());
            Set::new(std::iter::once(rule), true).err()
        };
        let used = plan
            .rules
            .iter()
            .filter(|rule| !excluded(plan, Group::Custom, &rule.name));
        let found: Vec<Error> = used.filter_map(alone).collect();
        if found.is_empty() { vec![error] } else { found }
    }

    /// Look at everything but the body.
    pub fn request(&self, call: &Call<'_>) -> Option<Response> {
        let key = self.clean.key(call.parts);
        if self.clean.contains(key) {
            return None;
        }
        let hits = self.inspector.head(call.parts);
        if hits.is_empty() {
            self.clean.insert(key);
            return None;
        }
        self.answer(call, &hits)
    }

    /// Look at the beginning of a body, and put it back.
    pub async fn body(&self, call: &Call<'_>, body: &mut Body) -> Option<Response> {
        if self.max_body == 0 {
            return None;
        }
        let start = match replay::read(std::mem::take(body), self.max_body).await {
            Ok(start) => start,
            Err(error) if error.kind() == std::io::ErrorKind::FileTooLarge => {
                return Some(super::request_size::too_large());
            }
            Err(_) => return Some(plain(StatusCode::BAD_REQUEST, "the request ended early\n")),
        };
        let content = start.content.slice(..start.content.len().min(self.max_body));
        *body = start.into_body();
        let kind = content::Kind::of(&call.parts.headers);
        let hits = match content.len() <= IN_PLACE {
            true => self.inspector.body(&kind, &content),
            false => {
                let inspector = self.inspector.clone();
                tokio::task::spawn_blocking(move || inspector.body(&kind, &content))
                    .await
                    .unwrap_or_default()
            }
        };
        match hits.is_empty() {
            true => None,
            false => self.answer(call, &hits),
        }
    }

    fn answer(&self, call: &Call<'_>, hits: &[Hit]) -> Option<Response> {
        for (at, hit) in hits.iter().enumerate() {
            if hits[..at].iter().all(|before| before.group != hit.group) {
                call.metrics.waf_hit(hit.group);
            }
            if at < MAX_LOGGED {
                let fields = [
                    ("rule", hit.rule.as_str().into()),
                    ("target", name(hit.target).into()),
                    ("client", call.client.to_string().into()),
                    ("host", call.host.into()),
                    ("method", call.parts.method.as_str().into()),
                    ("path", call.parts.uri.path().into()),
                    ("route", call.route.as_ref().into()),
                ];
                let event = if self.block { "waf_block" } else { "waf_match" };
                log::record(Level::Warn, "velocity::edge", event, "", &fields);
            }
        }
        self.block
            .then(|| plain(StatusCode::FORBIDDEN, "this request looks like an attack\n"))
    }
}

impl Inspector {
    fn new(plan: &plan::Waf) -> Result<Self> {
        let build = |target: WafTarget| -> Result<Rules> {
            let ours = RULES.iter().filter(|rule| {
                plan.default_rules && rule.targets.contains(&target) && !excluded(plan, rule.group, rule.name)
            });
            let theirs = plan
                .rules
                .iter()
                .filter(|rule| rule.targets.contains(&target) && !excluded(plan, Group::Custom, &rule.name));
            Ok(Rules {
                folded: Set::new(ours.map(|rule| (rule.group, rule.name, rule.pattern)), false)?,
                decoded: Set::new(
                    theirs.map(|rule| (Group::Custom, rule.name.as_str(), rule.pattern.as_str())),
                    true,
                )?,
            })
        };
        let [path, query, headers, body] = TARGETS.map(build);
        Ok(Self([path?, query?, headers?, body?]))
    }

    fn head(&self, parts: &Parts) -> Vec<Hit> {
        let mut text = Vec::with_capacity(1024);
        let mut hits = Vec::new();
        content::path(parts, &mut text);
        self.look(WafTarget::Path, &mut text, &mut hits);
        if parts.uri.query().is_some_and(|query| !query.is_empty()) {
            content::query(parts, &mut text);
            self.look(WafTarget::Query, &mut text, &mut hits);
        }
        content::fields(parts, &mut text);
        self.look(WafTarget::Headers, &mut text, &mut hits);
        hits
    }

    fn body(&self, kind: &content::Kind, body: &[u8]) -> Vec<Hit> {
        let mut text = Vec::with_capacity(body.len() + 64);
        let mut hits = Vec::new();
        content::body(kind, body, &mut text);
        self.look(WafTarget::Body, &mut text, &mut hits);
        hits
    }

    /// Look at decoded text, and leave it empty.
    fn look(&self, target: WafTarget, text: &mut Vec<u8>, hits: &mut Vec<Hit>) {
        let rules = &self.0[TARGETS.iter().position(|known| *known == target).unwrap_or(0)];
        rules.decoded.look(target, text, hits);
        decode::fold(text);
        rules.folded.look(target, text, hits);
        text.clear();
    }
}

impl Set {
    fn new<'a>(rules: impl Iterator<Item = (Group, &'a str, &'a str)>, unicode: bool) -> Result<Self> {
        let rules: Vec<_> = rules.collect();
        if rules.is_empty() {
            return Ok(Self::default());
        }
        let set = |patterns: &[&str]| {
            RegexSetBuilder::new(patterns)
                .unicode(unicode)
                .size_limit(MAX_PROGRAM)
                .build()
        };
        let invalid = |name: &str, reason: &str| {
            let reason = reason.lines().last().unwrap_or(reason).trim();
            Error::config(
                "WAF_RULE_INVALID",
                format!(
                    "the rule {name:?} is not a regular expression: {}",
                    reason.trim_start_matches("error: ")
                ),
            )
            .hint("the syntax is that of Rust's regex crate: no look-around, no back-references")
        };
        let patterns: Vec<&str> = rules.iter().map(|(_, _, pattern)| *pattern).collect();
        let set = match set(&patterns) {
            Ok(set) => set,
            Err(together) => {
                // Which of them was it?
                for (_, name, pattern) in &rules {
                    set(&[pattern]).map_err(|error| invalid(name, &error.to_string()).detail("text", *pattern))?;
                }
                return Err(invalid("all together", &together.to_string()));
            }
        };
        Ok(Self {
            patterns: Some(set),
            names: rules
                .iter()
                .map(|(group, name, _)| (*group, name.to_string()))
                .collect(),
        })
    }

    fn look(&self, target: WafTarget, text: &[u8], hits: &mut Vec<Hit>) {
        let Some(set) = self.patterns.as_ref().filter(|set| set.is_match(text)) else {
            return;
        };
        hits.extend(set.matches(text).iter().map(|at| {
            let (group, rule) = self.names[at].clone();
            Hit { group, rule, target }
        }));
    }
}

/// Whether a rule does not apply, by its name or its group's.
fn excluded(plan: &plan::Waf, group: Group, name: &str) -> bool {
    let mut names = plan.exclude.iter();
    names.any(|exclude| exclude == name || exclude == group.name())
}

fn name(target: WafTarget) -> &'static str {
    match target {
        WafTarget::Path => "path",
        WafTarget::Query => "query",
        WafTarget::Headers => "headers",
        WafTarget::Body => "body",
    }
}

#[cfg(test)]
mod tests;
