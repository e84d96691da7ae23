//! A string of the Plan that may be a template.
//!
//! What is always the same is never rendered. What only names variables, `hello {{ name }}`, is put together here; the
//! template engine is for everything else, and both give the same text.

use std::borrow::Cow;

use minijinja::Value;

use super::Templates;
use super::variables::{basic, query};
use crate::call::Call;
use crate::error::Result;

pub enum Text {
    Constant(String),
    Simple(Vec<Piece>),
    Template(Inline),
}

/// A template without a file.
pub struct Inline {
    pub name: String,
    /// Whether it looks at header fields of the request.
    pub wants_headers: bool,
}

/// A part of a template that is not much of one.
#[derive(Debug, PartialEq, Eq)]
pub enum Piece {
    Written(String),
    /// `{{ name }}`: a parameter of the route, or what is known by that name of every request.
    Name(String),
    /// `{{ request.path }}`
    Request(String),
    /// `{{ query.page }}`
    Query(String),
}

/// What names mean that are not variables.
const RESERVED: [&str; 25] = [
    "true",
    "false",
    "none",
    "True",
    "False",
    "None",
    "not",
    "and",
    "or",
    "in",
    "is",
    "if",
    "else",
    "self",
    "loop",
    "super",
    "caller",
    "request",
    "query",
    "form",
    "claims",
    "range",
    "dict",
    "debug",
    "namespace",
];

impl Text {
    /// `place` is where in the Plan it stands.
    ///
    /// # Errors
    ///
    /// `TEMPLATE_INVALID`.
    pub fn new(source: &str, place: &str, templates: &mut Templates) -> Result<Self> {
        if !["{{", "{%", "{#"].iter().any(|mark| source.contains(mark)) {
            return Ok(Text::Constant(source.to_owned()));
        }
        match simple(source) {
            Some(pieces) => Ok(Text::Simple(pieces)),
            None => templates.inline(source, place).map(Text::Template),
        }
    }

    pub fn wants_headers(&self) -> bool {
        match self {
            Text::Constant(_) | Text::Simple(_) => false,
            Text::Template(inline) => inline.wants_headers,
        }
    }

    /// The text for a request, `None` if it cannot be rendered: that is logged. `variables` is called for the template
    /// engine only.
    pub fn render(&self, call: &Call<'_>, variables: impl FnOnce() -> Value) -> Option<Cow<'_, str>> {
        match self {
            Text::Constant(text) => Some(Cow::Borrowed(text)),
            Text::Simple(pieces) => {
                let mut text = String::new();
                pieces.iter().for_each(|piece| piece.write(call, &mut text));
                Some(Cow::Owned(text))
            }
            Text::Template(inline) => call.templates.render(&inline.name, &variables()).map(Cow::Owned),
        }
    }
}

impl Piece {
    /// What is not known is nothing.
    fn write(&self, call: &Call<'_>, out: &mut String) {
        let parameter = |name: &str| call.params.get(name);
        match self {
            Piece::Written(text) => out.push_str(text),
            Piece::Name(name) => match parameter(name) {
                Some(value) => out.push_str(value),
                None => out.push_str(&basic(call, name).unwrap_or_default()),
            },
            // A parameter of that name has no members.
            Piece::Request(_) if parameter("request").is_some() => {}
            Piece::Request(name) if name == "query" => out.push_str(call.parts.uri.query().unwrap_or_default()),
            Piece::Request(name) => out.push_str(&basic(call, name).unwrap_or_default()),
            Piece::Query(_) if parameter("query").is_some() => {}
            Piece::Query(name) => {
                let text = call.parts.uri.query().unwrap_or_default();
                out.push_str(&query(text, name).unwrap_or_default());
            }
        }
    }
}

/// The pieces of a template that names variables and does nothing with them.
fn simple(source: &str) -> Option<Vec<Piece>> {
    // The template engine takes off a last end of line, and what stands beside a mark with a minus.
    if source.ends_with('\n') || source.contains("{%") || source.contains("{#") {
        return None;
    }
    let mut pieces = Vec::new();
    let mut rest = source;
    while let Some((before, after)) = rest.split_once("{{") {
        let (name, behind) = after.split_once("}}")?;
        if !before.is_empty() {
            pieces.push(Piece::Written(before.to_owned()));
        }
        pieces.push(variable(name.trim())?);
        rest = behind;
    }
    if !rest.is_empty() {
        pieces.push(Piece::Written(rest.to_owned()));
    }
    Some(pieces)
}

fn variable(name: &str) -> Option<Piece> {
    let is_name = |name: &str| {
        !name.is_empty()
            && !name.starts_with(|c: char| c.is_ascii_digit())
            && name.bytes().all(|b| b == b'_' || b.is_ascii_alphanumeric())
    };
    match name.split_once('.') {
        None => (is_name(name) && !RESERVED.contains(&name)).then(|| Piece::Name(name.to_owned())),
        Some(("query", name)) if is_name(name) => Some(Piece::Query(name.to_owned())),
        Some(("request", name)) if is_name(name) && name != "headers" => Some(Piece::Request(name.to_owned())),
        Some(_) => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::filter::tests::with_params;
    use crate::handler::variables;

    #[test]
    fn what_is_simple() {
        let kind = |source: &str| Text::new(source, "x", &mut Templates::load(None).unwrap()).unwrap();
        assert!(matches!(kind("text } {"), Text::Constant(_)));
        for source in ["{{ a }}", "a{{a}}b{{ request.path }}", "{{ query.page }}"] {
            assert!(matches!(kind(source), Text::Simple(_)), "{source}");
        }
        for source in [
            "{{ a }}\n",
            "{{- a }}",
            "{{ a|upper }}",
            "{{ true }}",
            "{{ 'a' }}",
            "{{ a.b }}",
            "{{ query }}",
        ] {
            assert!(matches!(kind(source), Text::Template(_)), "{source}");
        }
    }

    /// Whatever is put together here is what the template engine makes of it.
    #[tokio::test]
    async fn both_ways_give_the_same() {
        let names = [
            "id",
            "missing",
            "host",
            "path",
            "method",
            "scheme",
            "client",
            "identity",
            "request.method",
            "request.path",
            "request.query",
            "request.host",
            "request.scheme",
            "request.client",
            "request.missing",
            "query.a",
            "query.b",
            "query.missing",
        ];
        let request = http::Request::builder()
            .uri("/x/y?a=1%20%3C&a=2&b=%ff")
            .body(())
            .unwrap();
        let parts = request.into_parts().0;
        for params in [
            vec![("id", "<7>")],
            vec![("query", "q"), ("request", "r"), ("host", "h")],
        ] {
            let mut templates = Templates::load(None).unwrap();
            for name in names {
                let source = format!("a {{{{ {name} }}}} b");
                let simple = Text::new(&source, "x", &mut templates).unwrap();
                assert!(matches!(simple, Text::Simple(_)), "{source}");
                let inline = Text::Template(templates.inline(&source, "x").unwrap());
                let [ours, theirs] = with_params(&parts, &templates, &params, async |call| {
                    [&simple, &inline].map(|text| {
                        let rendered = text.render(&call, || variables(&call, true, &[]));
                        rendered.unwrap().into_owned()
                    })
                })
                .await;
                assert_eq!(ours, theirs, "{source} {params:?}");
            }
        }
    }
}
