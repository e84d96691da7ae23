//! Header fields of a request or an answer: removed, set where there is none, set, added, in this order.

use http::header::{CONNECTION, CONTENT_LENGTH, TE, TRAILER, TRANSFER_ENCODING, UPGRADE};
use http::{HeaderMap, HeaderName, HeaderValue};

use crate::call::Call;
use crate::error::{Error, Result};
use crate::handler::{Templates, Text, variables};
use crate::plan;

/// What frames a message is not for filters to say (RFC 9112 section 6, RFC 9113 section 8.2.2).
const OURS: [HeaderName; 6] = [CONNECTION, CONTENT_LENGTH, TE, TRAILER, TRANSFER_ENCODING, UPGRADE];

pub struct Headers {
    remove: Vec<HeaderName>,
    default: Vec<(HeaderName, Value)>,
    set: Vec<(HeaderName, Value)>,
    add: Vec<(HeaderName, Value)>,
    /// It does the same to every message.
    constant: bool,
}

enum Value {
    Constant(HeaderValue),
    Open(Text),
}

/// What is to be done to the fields of one message: operation, name and value, in order.
pub struct Edits<'a>(&'a [HeaderName], Vec<(Operation, &'a HeaderName, HeaderValue)>);

#[derive(Clone, Copy)]
enum Operation {
    Default,
    Set,
    Add,
}

impl Headers {
    /// # Errors
    ///
    /// `HEADER_INVALID`, `TEMPLATE_INVALID`.
    pub fn new(plan: &plan::Headers, place: &str, templates: &mut Templates) -> Result<Self> {
        let mut pairs = |pairs: &[(String, String)]| -> Result<Vec<(HeaderName, Value)>> {
            let pair = |(name, text): &(String, String)| Ok((field(name)?, value(name, text, place, templates)?));
            pairs.iter().map(pair).collect()
        };
        let mut headers = Self {
            default: pairs(&plan.default)?,
            set: pairs(&plan.set)?,
            add: pairs(&plan.add)?,
            remove: plan.remove.iter().map(|name| field(name)).collect::<Result<_>>()?,
            constant: false,
        };
        let constant = headers.pairs().all(|(_, _, value)| matches!(value, Value::Constant(_)));
        headers.constant = constant;
        Ok(headers)
    }

    fn pairs(&self) -> impl Iterator<Item = (Operation, &HeaderName, &Value)> {
        fn each(
            operation: Operation,
            pairs: &[(HeaderName, Value)],
        ) -> impl Iterator<Item = (Operation, &HeaderName, &Value)> {
            pairs.iter().map(move |(name, value)| (operation, name, value))
        }
        each(Operation::Default, &self.default)
            .chain(each(Operation::Set, &self.set))
            .chain(each(Operation::Add, &self.add))
    }

    /// Whether it does the same to every message.
    pub fn is_constant(&self) -> bool {
        self.constant
    }

    /// Whether it has a say in one of these fields.
    pub fn names_any_of(&self, names: &[HeaderName]) -> bool {
        let mut mine = self.pairs().map(|(_, name, _)| name).chain(&self.remove);
        mine.any(|name| names.contains(name))
    }

    /// Only if [`Headers::is_constant`].
    pub fn apply_constant(&self, fields: &mut HeaderMap) {
        for name in &self.remove {
            fields.remove(name);
        }
        for (operation, name, value) in self.pairs() {
            if let Value::Constant(value) = value {
                operation.apply(fields, name, value.clone());
            }
        }
    }

    /// What it does to a message of this request. What cannot be rendered or sent is left out.
    pub fn render(&self, call: &Call<'_>) -> Edits<'_> {
        let wants_headers = |value: &Value| matches!(value, Value::Open(text) if text.wants_headers());
        let mut known = None;
        let mut edits = Vec::new();
        for (operation, name, value) in self.pairs() {
            let value = match value {
                Value::Constant(value) => Some(value.clone()),
                Value::Open(text) => {
                    let make = || {
                        let headers = self.pairs().any(|(_, _, value)| wants_headers(value));
                        variables(call, headers, &[])
                    };
                    let text = text.render(call, || known.get_or_insert_with(make).clone());
                    text.and_then(|text| HeaderValue::try_from(text.into_owned()).ok())
                }
            };
            edits.extend(value.map(|value| (operation, name, value)));
        }
        Edits(&self.remove, edits)
    }
}

impl Edits<'_> {
    pub fn apply(self, fields: &mut HeaderMap) {
        for name in self.0 {
            fields.remove(name);
        }
        for (operation, name, value) in self.1 {
            operation.apply(fields, name, value);
        }
    }
}

impl Operation {
    fn apply(self, fields: &mut HeaderMap, name: &HeaderName, value: HeaderValue) {
        match self {
            Operation::Default => {
                fields.entry(name).or_insert(value);
            }
            Operation::Set => {
                fields.insert(name, value);
            }
            Operation::Add => {
                fields.append(name, value);
            }
        }
    }
}

fn field(name: &str) -> Result<HeaderName> {
    let invalid = |reason: &str| {
        Error::config("HEADER_INVALID", format!("the header field {name:?} {reason}")).detail("text", name)
    };
    let name = HeaderName::try_from(name).map_err(|_| invalid("is not a name"))?;
    match OURS.contains(&name) {
        true => Err(invalid("is the server's own").hint("it says where a message ends")),
        false => Ok(name),
    }
}

fn value(name: &str, text: &str, place: &str, templates: &mut Templates) -> Result<Value> {
    match Text::new(text, &format!("{place}.{name}"), templates)? {
        Text::Constant(text) => match HeaderValue::from_str(&text) {
            Ok(value) => Ok(Value::Constant(value)),
            Err(_) => Err(
                Error::config("HEADER_INVALID", format!("{text:?} cannot be the value of {name}")).detail("text", text),
            ),
        },
        open => Ok(Value::Open(open)),
    }
}
