//! JSON with templates in its strings.
//!
//! What never changes is written when the snapshot is built; only what templates say is written for a request.

use bytes::Bytes;
use http::header::{CONTENT_LENGTH, CONTENT_TYPE};
use http::{HeaderValue, StatusCode};
use serde_json::Value;

use super::template::failed;
use super::{Templates, Text, variables};
use crate::call::Call;
use crate::error::Result;
use crate::http::{Body, Response};

pub struct Json {
    status: StatusCode,
    pieces: Vec<Piece>,
    wants_headers: bool,
    /// Of what is written already.
    len: usize,
}

enum Piece {
    /// JSON as it is sent.
    Written(String),
    /// A string that is written for a request.
    Open(Text),
}

impl Json {
    pub fn new(status: StatusCode, body: &Value, place: &str, templates: &mut Templates) -> Result<Self> {
        let mut pieces = Vec::new();
        write(body, place, templates, &mut pieces)?;
        push(&mut pieces, "\n");
        let wants_headers = pieces.iter().any(|piece| match piece {
            Piece::Written(_) => false,
            Piece::Open(text) => text.wants_headers(),
        });
        let written = pieces.iter().map(|piece| match piece {
            Piece::Written(json) => json.len(),
            Piece::Open(_) => 0,
        });
        Ok(Self {
            status,
            len: written.sum(),
            pieces,
            wants_headers,
        })
    }

    pub fn respond(&self, call: &Call<'_>) -> Response {
        let mut out = Vec::with_capacity(self.len + 128);
        let mut known = None;
        for piece in &self.pieces {
            match piece {
                Piece::Written(json) => out.extend_from_slice(json.as_bytes()),
                Piece::Open(text) => {
                    let make = || variables(call, self.wants_headers, &[]);
                    let Some(text) = text.render(call, || known.get_or_insert_with(make).clone()) else {
                        return failed();
                    };
                    // Writing to a Vec cannot fail.
                    let _ = serde_json::to_writer(&mut out, &*text);
                }
            }
        }
        let mut response = Response::new(Body::Empty);
        *response.status_mut() = self.status;
        let headers = response.headers_mut();
        headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
        headers.insert(CONTENT_LENGTH, HeaderValue::from(out.len()));
        *response.body_mut() = Bytes::from(out).into();
        response
    }
}

/// Take a value apart. `place` says where in the Plan it stands: `edge.routes[2].items[0]`.
fn write(value: &Value, place: &str, templates: &mut Templates, pieces: &mut Vec<Piece>) -> Result<()> {
    match value {
        Value::String(text) => match Text::new(text, place, templates)? {
            Text::Constant(text) => push(pieces, &Value::String(text).to_string()),
            open => pieces.push(Piece::Open(open)),
        },
        Value::Array(values) => {
            push(pieces, "[");
            for (at, value) in values.iter().enumerate() {
                push(pieces, if at > 0 { "," } else { "" });
                write(value, &format!("{place}[{at}]"), templates, pieces)?;
            }
            push(pieces, "]");
        }
        Value::Object(members) => {
            push(pieces, "{");
            for (at, (key, value)) in members.iter().enumerate() {
                push(pieces, if at > 0 { "," } else { "" });
                push(pieces, &Value::from(key.as_str()).to_string());
                push(pieces, ":");
                write(value, &format!("{place}.{key}"), templates, pieces)?;
            }
            push(pieces, "}");
        }
        Value::Null | Value::Bool(_) | Value::Number(_) => push(pieces, &value.to_string()),
    }
    Ok(())
}

fn push(pieces: &mut Vec<Piece>, json: &str) {
    match pieces.last_mut() {
        Some(Piece::Written(before)) => before.push_str(json),
        _ => pieces.push(Piece::Written(json.to_owned())),
    }
}
