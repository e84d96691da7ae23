//! The same answer for everybody.

use std::sync::{Arc, OnceLock};

use bytes::Bytes;
use http::header::{CONTENT_LENGTH, CONTENT_TYPE};
use http::{HeaderMap, HeaderValue, StatusCode};

use crate::http::{Prepared, Response};
use crate::service::Stock;

pub struct Fixed {
    status: StatusCode,
    content_type: HeaderValue,
    body: Bytes,
    /// Made for the first who asks: of many thousand routes most never answer.
    answer: OnceLock<Arc<Prepared>>,
}

impl Fixed {
    pub fn new(status: StatusCode, content_type: HeaderValue, body: String) -> Self {
        Self {
            status,
            content_type,
            // RFC 9110 sections 8.6 and 15.3.5: no content.
            body: match is_bare(status) {
                true => Bytes::new(),
                false => Bytes::from(body),
            },
            answer: OnceLock::new(),
        }
    }

    pub fn answer(&self) -> &Arc<Prepared> {
        self.answer.get_or_init(|| {
            let mut head = HeaderMap::new();
            if !is_bare(self.status) {
                head.insert(CONTENT_LENGTH, HeaderValue::from(self.body.len()));
            }
            if !self.body.is_empty() {
                head.insert(CONTENT_TYPE, self.content_type.clone());
            }
            Arc::new(Prepared::with_status(self.status, head, self.body.clone()))
        })
    }

    pub fn respond(&self) -> Response {
        let mut response = self.answer().unpack();
        // Without a body of its own: an error page may take its place.
        if self.body.is_empty() && (self.status.is_client_error() || self.status.is_server_error()) {
            response.extensions_mut().insert(Stock);
        }
        response
    }
}

/// Whether nothing is said about the content of such an answer.
fn is_bare(status: StatusCode) -> bool {
    matches!(status, StatusCode::NO_CONTENT | StatusCode::NOT_MODIFIED)
}
