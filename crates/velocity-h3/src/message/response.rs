//! The header section of a response (RFC 9114, section 4.3.2).

use http::{Response, StatusCode, Version};

use super::fields::{Collected, Fields, Section};
use super::{Malformed, bytes, once, pseudo};
use crate::qpack::{Name, Sink, Value};

/// Collects the header section of a response.
pub(crate) struct ResponseSink {
    status: Option<StatusCode>,
    fields: Fields,
}

/// A response head that is well-formed.
pub(crate) struct ResponseHead {
    pub head: Response<()>,
    /// `content-length`.
    pub length: Option<u64>,
}

impl ResponseSink {
    pub fn new() -> Self {
        Self {
            status: None,
            fields: Fields::new(Section::Response),
        }
    }

    pub fn finish(self) -> Result<ResponseHead, Malformed> {
        let status = self.status.ok_or(Malformed("no :status"))?;
        // Section 4.5: there is nothing to switch to.
        if status == StatusCode::SWITCHING_PROTOCOLS {
            return Err(Malformed("status 101"));
        }
        let Collected { map, length } = self.fields.finish();
        let mut head = Response::new(());
        *head.status_mut() = status;
        *head.version_mut() = Version::HTTP_3;
        *head.headers_mut() = map;
        Ok(ResponseHead { head, length })
    }
}

impl Sink for ResponseSink {
    type Error = Malformed;

    fn field(&mut self, name: Name, value: Value) -> Result<(), Malformed> {
        match pseudo(&name) {
            None => self.fields.push(name, value),
            Some(_) if self.fields.begun => Err(Malformed("a pseudo-header field after a field")),
            Some(b":status") => {
                let status = StatusCode::from_bytes(&bytes(value)).map_err(|_| Malformed(":status is not a status"))?;
                once(&mut self.status, status)
            }
            Some(_) => Err(Malformed("a pseudo-header field that responses do not have")),
        }
    }
}
