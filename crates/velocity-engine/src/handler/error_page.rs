//! Pages for answers that have no body of their own.

use std::io::Read;
use std::path::Path;

use bytes::Bytes;
use http::header::{CONTENT_LENGTH, CONTENT_TYPE};
use http::{HeaderValue, StatusCode};

use crate::error::{Error, Result};
use crate::files;
use crate::http::Response;
use crate::plan;
use crate::service::Stock;

const MAX_PAGE: u64 = 1 << 20;

/// The error pages of a site, read when the snapshot is built.
#[derive(Default)]
pub struct ErrorPages(Vec<Page>);

struct Page {
    /// The first and the last status it is for.
    from: u16,
    to: u16,
    content_type: HeaderValue,
    content: Bytes,
}

impl ErrorPages {
    /// # Errors
    ///
    /// `ERROR_PAGE_INVALID`, `ERROR_PAGE_UNREADABLE`.
    pub fn new(plan: &[plan::ErrorPage]) -> Result<Self> {
        let mut pages: Vec<Page> = plan.iter().map(Page::new).collect::<Result<_>>()?;
        pages.sort_by_key(|page| page.to - page.from); // stable: the most exact first, then by order
        Ok(Self(pages))
    }

    /// Show the page for an answer of our own making, if there is one.
    pub fn apply(&self, response: &mut Response) {
        if self.0.is_empty() || response.extensions_mut().remove::<Stock>().is_none() {
            return;
        }
        let status = response.status().as_u16();
        let Some(page) = self.0.iter().find(|page| (page.from..=page.to).contains(&status)) else {
            return;
        };
        let headers = response.headers_mut();
        headers.insert(CONTENT_TYPE, page.content_type.clone());
        headers.insert(CONTENT_LENGTH, HeaderValue::from(page.content.len()));
        *response.body_mut() = page.content.clone().into();
    }

    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

impl Page {
    fn new(plan: &plan::ErrorPage) -> Result<Self> {
        let (from, to) = match plan.status.as_str() {
            "4xx" => (400, 499),
            "5xx" => (500, 599),
            status => match status.parse().ok().and_then(|code| StatusCode::from_u16(code).ok()) {
                Some(status) if status.is_client_error() || status.is_server_error() => {
                    (status.as_u16(), status.as_u16())
                }
                _ => {
                    return Err(
                        Error::config("ERROR_PAGE_INVALID", format!("{status:?} is no status of an error"))
                            .hint("write 404, 4xx or 5xx"),
                    );
                }
            },
        };
        let content = read(&plan.file).map_err(|e| {
            Error::config(
                "ERROR_PAGE_UNREADABLE",
                format!("cannot read the error page {}: {e}", plan.file.display()),
            )
            .detail("file", plan.file.display().to_string())
        })?;
        Ok(Self {
            from,
            to,
            content_type: files::content_type(&mime_guess::from_path(&plan.file).first_or_octet_stream()),
            content: content.into(),
        })
    }
}

fn read(path: &Path) -> std::io::Result<Vec<u8>> {
    let mut content = Vec::new();
    std::fs::File::open(path)?
        .take(MAX_PAGE + 1)
        .read_to_end(&mut content)?;
    match content.len() as u64 > MAX_PAGE {
        true => Err(std::io::Error::other("it has more than 1 MiB")),
        false => Ok(content),
    }
}
