//! What templates can say of a request.
//!
//! `request.method`, `.path`, `.query`, `.host`, `.scheme`, `.client`, `.identity`, `.headers`; the parameters of the
//! route by name; `query.NAME`; `form.NAME`; `claims.NAME` of whoever is logged in. `method`, `path`, `host`, `scheme`,
//! `client` and `identity` are there without `request.` as well, where no parameter has the name. Everything is made when
//! it is asked for.

use std::borrow::Cow;
use std::net::IpAddr;
use std::sync::Arc;

use http::{HeaderMap, Method, Uri};
use minijinja::Value;
use minijinja::value::{Enumerator, Object};

use crate::call::Call;
use crate::filter::{Claims, Known};
use crate::router::Params;

#[derive(Debug)]
struct Variables {
    method: Method,
    uri: Uri,
    host: Box<str>,
    client: IpAddr,
    identity: Box<str>,
    headers: HeaderMap,
    params: Params,
    form: Vec<(String, String)>,
    /// Of whoever is logged in.
    claims: Option<Arc<Claims>>,
}

/// The variables for a template. `headers` is whether it looks at header fields: they are many.
pub fn variables(call: &Call<'_>, headers: bool, form: &[(String, String)]) -> Value {
    Value::from_object(Variables {
        method: call.parts.method.clone(),
        uri: call.parts.uri.clone(),
        host: call.host.into(),
        client: call.client,
        identity: call.identity.into(),
        headers: if headers {
            call.parts.headers.clone()
        } else {
            HeaderMap::new()
        },
        params: call.params.clone(),
        form: form.to_vec(),
        claims: call.parts.extensions.get::<Known>().map(|known| known.claims.clone()),
    })
}

/// What is known of every request by a name of its own.
pub fn basic<'a>(call: &Call<'a>, name: &str) -> Option<Cow<'a, str>> {
    let (method, uri) = (&call.parts.method, &call.parts.uri);
    known(name, method, uri, call.host, call.client).or_else(|| (name == "identity").then(|| call.identity.into()))
}

/// The first of a name in a query.
pub fn query<'a>(text: &'a str, name: &str) -> Option<Cow<'a, str>> {
    let mut pairs = form_urlencoded::parse(text.as_bytes());
    pairs.find(|(known, _)| known == name).map(|(_, value)| value)
}

fn known<'a>(name: &str, method: &'a Method, uri: &'a Uri, host: &'a str, client: IpAddr) -> Option<Cow<'a, str>> {
    Some(match name {
        "method" => method.as_str().into(),
        "path" => uri.path().into(),
        "host" => host.into(),
        "scheme" => "https".into(),
        "client" => client.to_string().into(),
        _ => return None,
    })
}

impl Variables {
    fn basic(&self, name: &str) -> Option<Value> {
        if name == "identity" {
            return Some(Value::from(&*self.identity));
        }
        known(name, &self.method, &self.uri, &self.host, self.client).map(|text| Value::from(text.as_ref()))
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
            "claims" => Some(Value::from_serialize(self.claims.as_deref().unwrap_or(&Claims::new()))),
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
        query(self.0.query(), name).map(|value| Value::from(value.as_ref()))
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
