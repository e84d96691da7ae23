//! A string of the Plan that may be a template: what is always the same is never rendered.

use std::borrow::Cow;

use minijinja::Value;

use super::Templates;
use crate::error::Result;

pub enum Text {
    Constant(String),
    Template(Inline),
}

/// A template without a file.
pub struct Inline {
    pub name: String,
    /// Whether it looks at header fields of the request.
    pub wants_headers: bool,
}

impl Text {
    /// `place` is where in the Plan it stands.
    ///
    /// # Errors
    ///
    /// `TEMPLATE_INVALID`.
    pub fn new(source: &str, place: &str, templates: &mut Templates) -> Result<Self> {
        match ["{{", "{%", "{#"].iter().any(|mark| source.contains(mark)) {
            true => templates.inline(source, place).map(Text::Template),
            false => Ok(Text::Constant(source.to_owned())),
        }
    }

    pub fn constant(&self) -> Option<&str> {
        match self {
            Text::Constant(text) => Some(text),
            Text::Template(_) => None,
        }
    }

    pub fn wants_headers(&self) -> bool {
        match self {
            Text::Constant(_) => false,
            Text::Template(inline) => inline.wants_headers,
        }
    }

    /// The text for a request, `None` if it cannot be rendered: that is logged.
    pub fn render(&self, templates: &Templates, variables: &Value) -> Option<Cow<'_, str>> {
        match self {
            Text::Constant(text) => Some(Cow::Borrowed(text)),
            Text::Template(inline) => templates.render(&inline.name, variables).map(Cow::Owned),
        }
    }
}
