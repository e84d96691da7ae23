//! Answers that are compressed on the way out: those that are in memory. Files have their own (see
//! [`files`](crate::files)).

use http::HeaderValue;
use http::header::{CACHE_CONTROL, CONTENT_ENCODING, CONTENT_LENGTH, CONTENT_RANGE, CONTENT_TYPE, ETAG, VARY};
use http::request::Parts;

use crate::error::{Error, Result};
use crate::files::coding::{self, Accepted, Coding};
use crate::http::{Body, Response};
use crate::plan;

/// What is coded where it stands; more goes to another thread.
const IN_PLACE: usize = 16 * 1024;

pub struct Compress {
    codings: Vec<Coding>,
    min: u64,
}

impl Compress {
    /// # Errors
    ///
    /// `CODING_UNKNOWN`.
    pub fn new(plan: &plan::Compress) -> Result<Self> {
        let coding = |name: &String| {
            Coding::ALL
                .into_iter()
                .find(|coding| coding.token() == name)
                .ok_or_else(|| {
                    Error::config("CODING_UNKNOWN", format!("{name:?} is not a content coding"))
                        .hint("there are br, zstd and gzip")
                })
        };
        Ok(Self {
            codings: plan.codings.iter().map(coding).collect::<Result<_>>()?,
            min: plan.min_bytes,
        })
    }

    pub async fn respond(&self, request: &Parts, response: &mut Response) {
        let Body::Memory(content) = response.body() else { return };
        let fields = response.headers();
        let no_transform = fields.get(CACHE_CONTROL).is_some_and(|value| {
            value
                .as_bytes()
                .windows(12)
                .any(|w| w.eq_ignore_ascii_case(b"no-transform"))
        });
        if (content.len() as u64) < self.min
            || no_transform
            || fields.contains_key(CONTENT_ENCODING)
            || fields.contains_key(CONTENT_RANGE)
            || !fields.get(CONTENT_TYPE).is_some_and(shrinks)
        {
            return;
        }
        let content = content.clone();
        response
            .headers_mut()
            .append(VARY, HeaderValue::from_static("Accept-Encoding"));
        let accepted = Accepted::of(&request.headers);
        let Some(coding) = self.choose(accepted) else { return };
        let coded = match content.len() <= IN_PLACE {
            true => coding::encode(coding, &content),
            false => tokio::task::spawn_blocking(move || coding::encode(coding, &content))
                .await
                .unwrap_or_else(|e| Err(std::io::Error::other(e))),
        };
        // What cannot be coded is sent as it is.
        let Ok(coded) = coded else { return };
        let fields = response.headers_mut();
        fields.insert(CONTENT_ENCODING, HeaderValue::from_static(coding.token()));
        fields.insert(CONTENT_LENGTH, HeaderValue::from(coded.len()));
        fields.remove(ETAG);
        *response.body_mut() = coded.into();
    }

    /// What the client likes best of what we make; of what it likes equally, [`Coding::ALL`] says which.
    fn choose(&self, accepted: Accepted) -> Option<Coding> {
        accepted.iter().find(|coding| self.codings.contains(coding))
    }
}

fn shrinks(content_type: &HeaderValue) -> bool {
    let kind = content_type.to_str().ok().and_then(|text| text.parse().ok());
    kind.is_some_and(|kind: mime_guess::Mime| coding::compresses(&kind))
}
