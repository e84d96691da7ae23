//! The same answer for everybody.

use std::sync::Arc;

use bytes::Bytes;
use http::header::{CONTENT_LENGTH, CONTENT_TYPE};
use http::{HeaderMap, HeaderValue, StatusCode};

use crate::http::{Prepared, Response};
use crate::service::Stock;

pub struct Fixed {
    answer: Arc<Prepared>,
    /// Without a body of its own: an error page may take its place.
    stock: bool,
}

impl Fixed {
    pub fn new(status: StatusCode, content_type: HeaderValue, body: String) -> Self {
        let mut head = HeaderMap::new();
        // RFC 9110 sections 8.6 and 15.3.5: no content, and nothing about it.
        let none = matches!(status, StatusCode::NO_CONTENT | StatusCode::NOT_MODIFIED);
        let body = if none { Bytes::new() } else { Bytes::from(body) };
        if !none {
            head.insert(CONTENT_LENGTH, HeaderValue::from(body.len()));
        }
        if !body.is_empty() {
            head.insert(CONTENT_TYPE, content_type);
        }
        let stock = body.is_empty() && (status.is_client_error() || status.is_server_error());
        Self {
            answer: Arc::new(Prepared::with_status(status, head, body)),
            stock,
        }
    }

    pub fn answer(&self) -> &Arc<Prepared> {
        &self.answer
    }

    pub fn respond(&self) -> Response {
        let mut response = self.answer.unpack();
        if self.stock {
            response.extensions_mut().insert(Stock);
        }
        response
    }
}
