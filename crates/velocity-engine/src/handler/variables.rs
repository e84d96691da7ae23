//! What templates can say of a request.
//!
//! `request.method`, `.path`, `.query`, `.host`, `.scheme`, `.client`, `.headers`; the parameters of the route by name;
//! `query.NAME`; `form.NAME`. `method`, `path`, `host`, `scheme` and `client` are there without `request.` as well,
//! where no parameter has the name. Everything is made when it is asked for.

use std::net::IpAddr;
use std::sync::Arc;

use http::{HeaderMap, Method, Uri};
use minijinja::Value;
use minijinja::value::{Enumerator, Object};

use crate::call::Call;
use crate::router::Params;

#[derive(Debug)]
struct Variables {
    method: Method,
    uri: Uri,
    host: Box<str>,
    client: IpAddr,
    headers: HeaderMap,
    params: Params,
    form: Vec<(String, String)>,
}

/// The variables for a template. `headers` is whether it looks at header fields: they are many.
pub fn variables(call: &Call<'_>, headers: bool, form: &[(String, String)]) -> Value {
    Value::from_object(Variables {
        method: call.parts.method.clone(),
        uri: call.parts.uri.clone(),
        host: call.host.into(),
        client: call.client,
        headers: if headers {
            call.parts.headers.clone()
        } else {
            HeaderMap::new()
        },
        params: call.params.clone(),
        form: form.to_vec(),
    })
}

impl Variables {
    fn basic(&self, name: &str) -> Option<Value> {
        Some(match name {
            "method" => Value::from(self.method.as_str()),
            "path" => Value::from(self.uri.path()),
            "host" => Value::from(&*self.host),
            "scheme" => Value::from("https"),
            "client" => Value::from(self.client.to_string()),
            _ => return None,
        })
    }

    fn query(&self) -> &str {
        self.uri.query().unwrap_or_default()
    }
}

impl Object for Variables {
    fn get_value(self: &Arc<Self>, key: &Value) -> Option<Value> {
        self.get_value_by_str(key.as_str()?)
    }

    fn get_value_by_str(self: &Arc<Self>, name: &str) -> Option<Value> {
        if let Some(value) = self.params.get(name) {
            return Some(Value::from(value));
        }
        match name {
            "request" => Some(Value::from_object(Request(self.clone()))),
            "query" => Some(Value::from_object(Query(self.clone()))),
            "form" => Some(Value::from_object(Form(self.clone()))),
            name => self.basic(name),
        }
    }
}

#[derive(Debug)]
struct Request(Arc<Variables>);

impl Object for Request {
    fn get_value(self: &Arc<Self>, key: &Value) -> Option<Value> {
        self.get_value_by_str(key.as_str()?)
    }

    fn get_value_by_str(self: &Arc<Self>, name: &str) -> Option<Value> {
        match name {
            "query" => Some(Value::from(self.0.query())),
            "headers" => Some(Value::from_object(Fields(self.0.clone()))),
            name => self.0.basic(name),
        }
    }
}

/// Header fields, by name in any case; `_` stands for `-`.
#[derive(Debug)]
struct Fields(Arc<Variables>);

impl Object for Fields {
    fn get_value(self: &Arc<Self>, key: &Value) -> Option<Value> {
        self.get_value_by_str(key.as_str()?)
    }

    fn get_value_by_str(self: &Arc<Self>, name: &str) -> Option<Value> {
        let headers = &self.0.headers;
        let value = headers.get(name).or_else(|| headers.get(name.replace('_', "-")))?;
        Some(Value::from(String::from_utf8_lossy(value.as_bytes()).as_ref()))
    }

    fn enumerate(self: &Arc<Self>) -> Enumerator {
        Enumerator::Values(self.0.headers.keys().map(|name| Value::from(name.as_str())).collect())
    }
}

/// `query.NAME`: the first of the name. By itself it is the query as it was sent.
#[derive(Debug)]
struct Query(Arc<Variables>);

impl Object for Query {
    fn get_value(self: &Arc<Self>, key: &Value) -> Option<Value> {
        self.get_value_by_str(key.as_str()?)
    }

    fn get_value_by_str(self: &Arc<Self>, name: &str) -> Option<Value> {
        form_urlencoded::parse(self.0.query().as_bytes())
            .find(|(known, _)| known == name)
            .map(|(_, value)| Value::from(value.as_ref()))
    }

    fn enumerate(self: &Arc<Self>) -> Enumerator {
        let pairs = form_urlencoded::parse(self.0.query().as_bytes());
        Enumerator::Values(pairs.map(|(name, _)| Value::from(name.as_ref())).collect())
    }

    fn render(self: &Arc<Self>, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.0.query())
    }
}

/// `form.NAME`: the first of the name.
#[derive(Debug)]
struct Form(Arc<Variables>);

impl Object for Form {
    fn get_value(self: &Arc<Self>, key: &Value) -> Option<Value> {
        self.get_value_by_str(key.as_str()?)
    }

    fn get_value_by_str(self: &Arc<Self>, name: &str) -> Option<Value> {
        let mut pairs = self.0.form.iter();
        pairs
            .find(|(known, _)| known == name)
            .map(|(_, value)| Value::from(value.as_str()))
    }

    fn enumerate(self: &Arc<Self>) -> Enumerator {
        let names = self.0.form.iter().map(|(name, _)| Value::from(name.as_str()));
        Enumerator::Values(names.collect())
    }
}
