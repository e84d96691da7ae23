//! What a provider says of whom it knows (OpenID Connect Core 1.0 section 5.1), and what follows from that.

use std::sync::Arc;

use http::HeaderValue;
use serde_json::{Map, Value};

/// Claims by name.
pub type Claims = Map<String, Value>;

/// Who sent a request: an extension of it.
#[derive(Clone, Debug)]
pub struct Known {
    /// The login that says so.
    pub login: Arc<str>,
    pub claims: Arc<Claims>,
}

/// A claim by its name, or by a way into it, `realm_access.roles`.
pub fn find<'a>(claims: &'a Claims, name: &str) -> Option<&'a Value> {
    claims.get(name).or_else(|| {
        let mut steps = name.split('.');
        let first = claims.get(steps.next()?)?;
        steps.try_fold(first, |value, step| value.get(step))
    })
}

/// Nothing but the subject and what was named, each by the name it was given.
pub fn keep(claims: &Claims, names: &[String]) -> Claims {
    names
        .iter()
        .map(String::as_str)
        .chain(["sub"])
        .filter_map(|name| Some((name.to_owned(), find(claims, name)?.clone())))
        .collect()
}

/// Whether every claim has one of the values that it must have.
pub fn meet(claims: &Claims, require: &[(String, Vec<String>)]) -> bool {
    require.iter().all(|(name, wanted)| match find(claims, name) {
        Some(Value::Array(values)) => values.iter().any(|value| is_one(value, wanted)),
        Some(value) => is_one(value, wanted),
        None => false,
    })
}

fn is_one(value: &Value, wanted: &[String]) -> bool {
    match value {
        Value::String(text) => wanted.contains(text),
        Value::Bool(_) | Value::Number(_) => wanted.contains(&value.to_string()),
        Value::Null | Value::Array(_) | Value::Object(_) => false,
    }
}

/// A claim as the value of a header field: text as it is, several joined by commas, the rest as JSON. `None` for what no
/// field can hold.
pub fn field(value: &Value) -> Option<HeaderValue> {
    let text = match value {
        Value::Null => return None,
        Value::String(text) => text.clone(),
        Value::Array(values) => {
            let texts: Option<Vec<&str>> = values.iter().map(Value::as_str).collect();
            match texts {
                // Nobody could tell one with a comma from two.
                Some(texts) if !texts.iter().any(|text| text.contains(',')) => texts.join(","),
                _ => value.to_string(),
            }
        }
        Value::Bool(_) | Value::Number(_) | Value::Object(_) => value.to_string(),
    };
    HeaderValue::from_bytes(text.as_bytes()).ok()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn claims(value: Value) -> Claims {
        value.as_object().unwrap().clone()
    }

    #[test]
    fn every_key_must_hold_by_any_of_its_values() {
        let ann = claims(json!({
            "sub": "ann", "groups": ["dev", "ops"], "verified": true, "level": 3,
            "realm_access": {"roles": ["admin"]}, "team": "a",
        }));
        for (require, met) in [
            (&[][..], true),
            (&[("groups", &["ops"][..])][..], true),
            (&[("groups", &["qa", "dev"])], true),
            (&[("groups", &["qa"])], false),
            (&[("groups", &[])], false),
            (&[("groups", &["ops"]), ("team", &["a"])], true),
            (&[("groups", &["ops"]), ("team", &["b"])], false),
            (&[("verified", &["true"]), ("level", &["3"])], true),
            (&[("realm_access.roles", &["admin"])], true),
            (&[("realm_access", &["roles"])], false),
            (&[("missing", &["x"])], false),
            (&[("team", &["A"])], false),
        ] {
            let require: Vec<(String, Vec<String>)> = require
                .iter()
                .map(|(name, values)| (name.to_string(), values.iter().map(ToString::to_string).collect()))
                .collect();
            assert_eq!(meet(&ann, &require), met, "{require:?}");
            let names: Vec<String> = require.iter().map(|(name, _)| name.clone()).collect();
            assert_eq!(meet(&keep(&ann, &names), &require), met, "{require:?}, of what is kept");
        }
    }

    #[test]
    fn only_what_was_named_is_kept() {
        let ann = claims(json!({"sub": "ann", "email": "ann@a.example", "a": {"b": 1}, "picture": "large"}));
        let names = ["email", "a.b", "none"].map(String::from);
        assert_eq!(
            keep(&ann, &names),
            claims(json!({"sub": "ann", "email": "ann@a.example", "a.b": 1}))
        );
    }

    #[test]
    fn claims_as_fields() {
        for (value, expected) in [
            (json!("Jürgen"), Some("Jürgen")),
            (json!(["a", "b"]), Some("a,b")),
            (json!(["a,b", "c"]), Some(r#"["a,b","c"]"#)),
            (json!(true), Some("true")),
            (json!({"a": 1}), Some(r#"{"a":1}"#)),
            (json!(null), None),
            (json!("two\r\nlines"), None),
        ] {
            assert_eq!(
                field(&value).as_ref().map(HeaderValue::as_bytes),
                expected.map(str::as_bytes)
            );
        }
    }
}
