//! Static files: a folder as a site (RFC 9110).
//!
//! [`path`] refuses, [`root`] opens, [`conditional`] and [`range`] decide how much of it to send,
//! [`coding`] in which form, [`hot`] remembers.

pub(crate) mod coding;
pub mod conditional;
mod hot;
mod listing;
mod path;
mod range;
mod root;
#[cfg(test)]
mod tests;

use std::collections::VecDeque;
use std::fs::File;
use std::hash::{BuildHasher, Hasher, RandomState};
use std::io;
use std::ops::Range;
use std::os::fd::OwnedFd;
use std::os::unix::ffi::OsStrExt;
use std::path::Path;
use std::pin::Pin;
use std::sync::atomic::AtomicU64;
use std::sync::{Arc, LazyLock};
use std::task::{Context, Poll, ready};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use bytes::Bytes;
use http::header::{
    ACCEPT, ACCEPT_RANGES, ALLOW, CACHE_CONTROL, CONTENT_ENCODING, CONTENT_LENGTH, CONTENT_RANGE,
    CONTENT_SECURITY_POLICY, CONTENT_TYPE, ETAG, IF_MATCH, IF_MODIFIED_SINCE, IF_NONE_MATCH, IF_RANGE,
    IF_UNMODIFIED_SINCE, LAST_MODIFIED, LOCATION, RANGE, VARY,
};
use http::request::Parts;
use http::{HeaderMap, HeaderValue, Method, StatusCode};
use http_body::{Frame, SizeHint};
use rustix::fs::{AtFlags, FileType};
use rustix::io::{Errno, ReadWriteFlags};
use tokio::sync::Semaphore;

use self::coding::{Accepted, Coding};
use self::conditional::{Validators, Verdict};
use self::hot::{Entry, Hot};
use self::path::{Refusal, SitePath};
use self::range::Ranges;
use self::root::{Found, Identity, Root};
use crate::error::Result;
use crate::http::{Body, Prepared, Response};
use crate::plan;
use crate::service::plain;

/// Files up to this size are kept in memory.
const MAX_HOT: u64 = 256 * 1024;
/// Memory for all forms of the one file of a handler that has no more.
const MAX_HOT_SINGLE: u64 = 4 << 20;
/// Files up to this size are coded whole, and the result kept in memory.
const MAX_CODED: u64 = 1 << 20;
/// Larger files that are coded while they are sent, at once; each holds the memory of an encoder.
/// Further ones are sent as they are.
const MAX_STREAMED: usize = 32;
/// Entries of a directory that a listing shows.
const MAX_LISTED: usize = 10_000;

/// Asked for once: the answer is in files of the control group, and there may be thousands of sites.
static PROCESSORS: LazyLock<usize> = LazyLock::new(|| std::thread::available_parallelism().map_or(1, usize::from));

/// A folder that is a site.
pub struct Files(Arc<Site>);

struct Site {
    root: Root,
    index: Vec<String>,
    listings: bool,
    cache_control: Option<HeaderValue>,
    dotfiles: bool,
    compress: bool,
    /// Cut from the names of what is looked for.
    prefix: Vec<u8>,
    /// Answers what is not there.
    fallback: Option<Vec<u8>>,
    /// Answers everything, whatever the path.
    only: Option<Only>,
    hot: Hot,
    /// Whole files being coded: as many as there are processors.
    coding: Arc<Semaphore>,
    /// Files being coded while they are sent.
    streaming: Arc<Semaphore>,
}

/// The one file of a handler that has no more.
struct Only {
    name: Vec<u8>,
    status: StatusCode,
    content_type: Option<HeaderValue>,
}

/// Under what a file is remembered that answers many paths: no URL has this one.
const ANY_PATH: &str = "";

impl Files {
    /// Open the root.
    pub fn new(plan: &plan::Files) -> Result<Self> {
        let cache_control = match &plan.cache_control {
            None => None,
            Some(text) => Some(HeaderValue::from_str(text).map_err(|_| {
                crate::Error::config(
                    "CACHE_CONTROL_INVALID",
                    format!("{text:?} cannot be sent as Cache-Control"),
                )
                .detail("text", text.as_str())
            })?),
        };
        for name in &plan.index {
            // Plain names only: a path could lead to where the path of a URL may not.
            if !is_name(name) {
                return Err(
                    crate::Error::config("INDEX_INVALID", format!("{name:?} cannot be an index file"))
                        .detail("text", name.as_str())
                        .hint("an index file is a plain file name, like index.html"),
                );
            }
        }
        let fallback = plan.fallback_file.as_ref().map(|name| name.trim_start_matches('/'));
        if let Some(name) = fallback.filter(|name| !name.split('/').all(is_name)) {
            return Err(
                crate::Error::config("FALLBACK_INVALID", format!("{name:?} cannot be a fallback file"))
                    .detail("text", name)
                    .hint("a fallback file is below the root, like index.html"),
            );
        }
        let prefix = SitePath::parse(&format!("/{}", plan.strip_prefix), true)
            .map_err(|_| crate::Error::config("PREFIX_INVALID", format!("{:?} is no prefix", plan.strip_prefix)))?;
        Ok(Self(Arc::new(Site {
            root: Root::open(&plan.root, plan.dotfiles)?,
            index: plan.index.clone(),
            listings: plan.listings,
            cache_control,
            dotfiles: plan.dotfiles,
            compress: plan.compress,
            prefix: prefix.relative,
            fallback: fallback.map(|name| name.as_bytes().to_vec()),
            only: None,
            hot: Hot::new(plan.hot_cache_bytes),
            coding: Arc::new(Semaphore::new(*PROCESSORS)),
            streaming: Arc::new(Semaphore::new(MAX_STREAMED)),
        })))
    }

    /// One file for every path. `content_type` is by its name if there is none.
    pub fn single(path: &Path, status: StatusCode, content_type: Option<HeaderValue>) -> Result<Self> {
        let missing = |reason: String| {
            crate::Error::start("FILE_UNREADABLE", format!("cannot serve {}: {reason}", path.display()))
                .detail("file", path.display().to_string())
        };
        let (Some(name), Ok(file)) = (path.file_name(), path.metadata()) else {
            return Err(missing("there is no such file".into()));
        };
        if !file.is_file() {
            return Err(missing("it is not a file".into()));
        }
        let folder = path
            .parent()
            .filter(|folder| !folder.as_os_str().is_empty())
            .unwrap_or(Path::new("."));
        Ok(Self(Arc::new(Site {
            root: Root::open(folder, true)?,
            index: Vec::new(),
            listings: false,
            cache_control: None,
            dotfiles: true,
            compress: true,
            prefix: Vec::new(),
            fallback: None,
            only: Some(Only {
                name: name.as_bytes().to_vec(),
                status,
                content_type,
            }),
            hot: Hot::new(MAX_HOT_SINGLE),
            coding: Arc::new(Semaphore::new(*PROCESSORS)),
            streaming: Arc::new(Semaphore::new(MAX_STREAMED)),
        })))
    }

    /// The whole answer to a plain GET, if it is in memory and nothing about it depends on the request.
    pub fn ready(&self, request: &Parts) -> Option<Arc<Prepared>> {
        let conditional = [IF_MATCH, IF_NONE_MATCH, IF_MODIFIED_SINCE, IF_UNMODIFIED_SINCE, RANGE];
        if request.method != Method::GET || conditional.iter().any(|name| request.headers.contains_key(name)) {
            return None;
        }
        let site = &self.0;
        if site.only.as_ref().is_some_and(|only| only.status != StatusCode::OK) {
            return None;
        }
        let accepted = match site.compress {
            true => Accepted::of(&request.headers),
            false => Accepted::default(),
        };
        let entry = site.hot.get(site.key(request), accepted, &site.root)?;
        Some(entry.answer.clone())
    }

    /// Answer a request. What is in memory is answered without waiting for anything.
    pub async fn respond(&self, request: &Parts) -> Response {
        let site = &self.0;
        match request.method {
            Method::GET | Method::HEAD => {}
            Method::OPTIONS => return allow(StatusCode::NO_CONTENT),
            _ => return allow(StatusCode::METHOD_NOT_ALLOWED),
        }
        if let Some(only) = site.only.as_ref().filter(|only| only.status != StatusCode::OK) {
            return site.always(only, request).await;
        }
        let wants_range = request.method == Method::GET && request.headers.contains_key(RANGE);
        // Ranges are of the file as it is: a client that resumes must not depend on our encoder.
        let accepted = match site.compress && !wants_range {
            true => Accepted::of(&request.headers),
            false => Accepted::default(),
        };
        let url = site.key(request);
        if let Some(entry) = site.hot.get(url, accepted, &site.root) {
            return from_memory(&entry, request);
        }
        // Boxed, so that the future of a request stays small where it is moved about: the usual answer
        // has been given above.
        match Box::pin(site.find(url, request, accepted)).await {
            Ok(response) => response,
            Err(error) => failure(error),
        }
    }
}

/// Whether a name of the Plan is one of a file, and leads nowhere else.
fn is_name(name: &str) -> bool {
    !matches!(name, "" | "." | "..") && !name.contains(['/', '\0']) && !path::is_hidden(name.as_bytes(), true)
}

/// What is asked for, on its way through the site.
struct Ask<'a> {
    url: &'a str,
    request: &'a Parts,
    accepted: Accepted,
    /// Before anything was looked up.
    seen: SystemTime,
    /// Index files that come before the one found, and do not exist.
    absent: Vec<Vec<u8>>,
}

/// A file about to be sent.
struct Opened {
    file: Arc<File>,
    identity: Identity,
    relative: Vec<u8>,
}

impl Site {
    /// Under what the answer to a request is remembered.
    fn key<'a>(&self, request: &'a Parts) -> &'a str {
        match self.only {
            None => request.uri.path(),
            Some(_) => ANY_PATH,
        }
    }

    /// The one file with another status than 200: always all of it, for conditions and ranges are about 200.
    async fn always(self: &Arc<Self>, only: &Only, request: &Parts) -> Response {
        let mut plain = request.clone();
        for name in [
            IF_MATCH,
            IF_NONE_MATCH,
            IF_MODIFIED_SINCE,
            IF_UNMODIFIED_SINCE,
            IF_RANGE,
            RANGE,
        ] {
            plain.headers.remove(name);
        }
        let accepted = Accepted::of(&plain.headers);
        let found = match self.hot.get(ANY_PATH, accepted, &self.root) {
            Some(entry) => Ok(from_memory(&entry, &plain)),
            None => Box::pin(self.find(ANY_PATH, &plain, accepted)).await,
        };
        match found {
            Ok(mut response) => {
                if response.status() == StatusCode::OK {
                    *response.status_mut() = only.status;
                    response.headers_mut().remove(ACCEPT_RANGES);
                }
                response
            }
            Err(error) => failure(error),
        }
    }

    async fn find(self: &Arc<Self>, url: &str, request: &Parts, accepted: Accepted) -> Result<Response, Errno> {
        if let Some(only) = &self.only {
            return self.send_named(&only.name, request, accepted).await;
        }
        match self.look(url, request, accepted).await {
            Err(error) if self.fallback.is_some() && status_of(error) == StatusCode::NOT_FOUND => {}
            result => return result,
        }
        if let Some(entry) = self.hot.get(ANY_PATH, accepted, &self.root) {
            return Ok(from_memory(&entry, request));
        }
        let name = self.fallback.as_deref().unwrap_or_default();
        self.send_named(name, request, accepted).await
    }

    /// Send a file that is not named by the path of the request.
    async fn send_named(&self, name: &[u8], request: &Parts, accepted: Accepted) -> Result<Response, Errno> {
        let ask = Ask {
            url: ANY_PATH,
            request,
            accepted,
            seen: SystemTime::now(),
            absent: Vec::new(),
        };
        match self.root.find(name)? {
            Found::File(file, identity) => {
                let opened = Opened {
                    file: Arc::new(file),
                    identity,
                    relative: name.to_vec(),
                };
                Ok(self.send(ask, opened).await)
            }
            Found::Directory(_) => Err(Errno::NOENT),
        }
    }

    /// What is left of a name without the prefix; all of it if it has none.
    fn strip(&self, mut path: SitePath) -> SitePath {
        if let Some(rest) = path.relative.strip_prefix(self.prefix.as_slice())
            && !self.prefix.is_empty()
            && matches!(rest.first(), None | Some(b'/'))
        {
            path.relative = rest.strip_prefix(b"/").unwrap_or(rest).to_vec();
        }
        path
    }

    async fn look(self: &Arc<Self>, url: &str, request: &Parts, accepted: Accepted) -> Result<Response, Errno> {
        let whole = match SitePath::parse(url, self.dotfiles) {
            Ok(path) => path,
            Err(Refusal::Malformed) => return Ok(plain(StatusCode::BAD_REQUEST, "this path cannot be served\n")),
            Err(Refusal::TooLong) => return Ok(plain(StatusCode::URI_TOO_LONG, "this path is too long\n")),
            Err(Refusal::Hidden) => return Err(Errno::NOENT),
        };
        let path = self.strip(whole.clone());
        let mut ask = Ask {
            url,
            request,
            accepted,
            seen: SystemTime::now(),
            absent: Vec::new(),
        };
        match self.root.find(&path.relative)? {
            // `/page.html/` is not `/page.html`.
            Found::File(..) if path.directory => Err(Errno::NOTDIR),
            Found::File(file, identity) => {
                let opened = Opened {
                    file: Arc::new(file),
                    identity,
                    relative: path.relative,
                };
                Ok(self.send(ask, opened).await)
            }
            Found::Directory(_) if !path.directory => Ok(redirect(url, request.uri.query())),
            Found::Directory(directory) => {
                for name in &self.index {
                    let relative = path.join(name.as_bytes());
                    match self.root.find(&relative) {
                        Ok(Found::File(file, identity)) => {
                            let opened = Opened {
                                file: Arc::new(file),
                                identity,
                                relative,
                            };
                            return Ok(self.send(ask, opened).await);
                        }
                        Ok(Found::Directory(_)) => {}
                        // What is there and cannot be had is not to be passed over in silence.
                        Err(error) if status_of(error) != StatusCode::NOT_FOUND => return Err(error),
                        Err(_) => {}
                    }
                    ask.absent.push(relative);
                }
                match self.listings {
                    true => self.list(directory, &path, &whole, request).await,
                    false => Err(Errno::NOENT),
                }
            }
        }
    }

    /// Send a file, in the best form there is of it.
    async fn send(&self, ask: Ask<'_>, opened: Opened) -> Response {
        let media_type = media_type(&opened.relative);
        let mut head = HeaderMap::with_capacity(12);
        let fixed = self.only.as_ref().and_then(|only| only.content_type.clone());
        head.insert(CONTENT_TYPE, fixed.unwrap_or_else(|| content_type(&media_type)));
        head.insert(ACCEPT_RANGES, HeaderValue::from_static("bytes"));
        if let Some(value) = &self.cache_control {
            head.insert(CACHE_CONTROL, value.clone());
        }
        let shrinks = opened.identity.size >= coding::MIN_SIZE && coding::compresses(&media_type);
        let sibling = self.sibling(&opened, ask.accepted);
        if self.compress && (shrinks || sibling.is_some() || self.has_sibling(&opened)) {
            head.insert(VARY, HeaderValue::from_static("Accept-Encoding"));
        }

        if let Some((coding, sibling)) = sibling {
            let source = (opened.relative, opened.identity);
            head.insert(CONTENT_ENCODING, HeaderValue::from_static(coding.token()));
            let validators = Validators::new(&sibling.identity, coding.token());
            return self.send_as_is(ask, sibling, Some(source), head, validators).await;
        }
        let Some(coding) = ask.accepted.best().filter(|_| shrinks) else {
            let validators = Validators::new(&opened.identity, "");
            return self.send_as_is(ask, opened, None, head, validators).await;
        };

        let size = opened.identity.size;
        let validators = Validators::new(&opened.identity, coding.token());
        if size > MAX_CODED {
            let Ok(permit) = self.streaming.clone().try_acquire_owned() else {
                let validators = Validators::new(&opened.identity, "");
                return self.send_as_is(ask, opened, None, head, validators).await;
            };
            head.insert(CONTENT_ENCODING, HeaderValue::from_static(coding.token()));
            finish_head(&mut head, &validators, None);
            return respond(head, &validators, ask.request, || {
                coding::stream(coding, opened.file, size, permit)
            });
        }
        head.insert(CONTENT_ENCODING, HeaderValue::from_static(coding.token()));
        let Ok(turn) = self.coding.clone().acquire_owned().await else {
            return unreadable();
        };
        // Many may have waited for the same file, and the first has left it in memory.
        if let Some(entry) = self.hot.get(ask.url, ask.accepted, &self.root) {
            return from_memory(&entry, ask.request);
        }
        let file = opened.file;
        let coded = tokio::task::spawn_blocking(move || {
            // The turn ends when the result is in memory, or with this work if nobody waits for it any more.
            coding::encode(coding, &read_whole(&file, size)?).map(|content| (content, turn))
        });
        match coded.await {
            Ok(Ok((content, _turn))) => {
                let sources = vec![(opened.relative, opened.identity)];
                self.keep(ask, head, validators, content, sources)
            }
            _ => unreadable(),
        }
    }

    /// Send a file byte by byte: from memory if it is small, else from the disk.
    async fn send_as_is(
        &self,
        ask: Ask<'_>,
        opened: Opened,
        also: Option<(Vec<u8>, Identity)>,
        mut head: HeaderMap,
        validators: Validators,
    ) -> Response {
        let size = opened.identity.size;
        let file = opened.file;
        if size > MAX_HOT {
            finish_head(&mut head, &validators, Some(size));
            return respond_ranges(head, &validators, ask.request, size, |range| {
                Body::file(file.clone(), range.start, range.end - range.start)
            });
        }
        let content = match read_in_place(&file, size) {
            Some(content) => Ok(content),
            None => tokio::task::spawn_blocking(move || read_whole(&file, size))
                .await
                .unwrap_or_else(|e| Err(io::Error::other(e))),
        };
        let Ok(content) = content else {
            return unreadable();
        };
        let mut sources = vec![(opened.relative, opened.identity)];
        sources.extend(also);
        self.keep(ask, head, validators, content, sources)
    }

    fn keep(
        &self,
        ask: Ask<'_>,
        mut head: HeaderMap,
        validators: Validators,
        content: Bytes,
        sources: Vec<(Vec<u8>, Identity)>,
    ) -> Response {
        finish_head(&mut head, &validators, Some(content.len() as u64));
        let entry = Arc::new(Entry {
            validators,
            answer: Arc::new(Prepared::new(head, content)),
            sources,
            absent: ask.absent,
            seen: ask.seen,
            vouched: AtomicU64::new(0),
        });
        self.hot.insert(ask.url, ask.accepted, entry.clone());
        from_memory(&entry, ask.request)
    }

    /// Whether a client that accepts more could get a sibling: then the answer depends on that.
    fn has_sibling(&self, opened: &Opened) -> bool {
        Coding::ALL.iter().any(|coding| {
            let relative = [&opened.relative, coding.extension().as_bytes()].concat();
            self.root.identity(&relative).is_some()
        })
    }

    /// A sibling that somebody has coded already, and that is not older than the file.
    fn sibling(&self, opened: &Opened, accepted: Accepted) -> Option<(Coding, Opened)> {
        accepted.iter().find_map(|coding| {
            let relative = [&opened.relative, coding.extension().as_bytes()].concat();
            match self.root.find(&relative) {
                Ok(Found::File(file, identity)) if identity.modified >= opened.identity.modified => Some((
                    coding,
                    Opened {
                        file: Arc::new(file),
                        identity,
                        relative,
                    },
                )),
                _ => None,
            }
        })
    }

    /// A page with the contents of a directory; `whole` is its path with the prefix.
    async fn list(
        self: &Arc<Self>,
        directory: OwnedFd,
        path: &SitePath,
        whole: &SitePath,
        request: &Parts,
    ) -> Result<Response, Errno> {
        let order = listing::Order::from_query(request.uri.query());
        let as_json = request
            .headers
            .get(ACCEPT)
            .is_some_and(|value| value.as_bytes().starts_with(b"application/json"));
        let mut shown = b"/".to_vec();
        if !whole.relative.is_empty() {
            shown.extend_from_slice(&whole.relative);
            shown.push(b'/');
        }
        let (site, path) = (self.clone(), path.clone());
        let page = tokio::task::spawn_blocking(move || {
            let (mut entries, truncated) = site.read_directory(&directory, &path)?;
            Ok::<_, Errno>(match as_json {
                true => listing::json(&shown, &mut entries, order, truncated),
                false => listing::html(&shown, &mut entries, order, truncated),
            })
        });
        let page = page.await.map_err(|_| Errno::IO)??;
        let mut head = HeaderMap::new();
        let media_type = if as_json {
            "application/json"
        } else {
            "text/html; charset=utf-8"
        };
        head.insert(CONTENT_TYPE, HeaderValue::from_static(media_type));
        head.insert(CONTENT_LENGTH, HeaderValue::from(page.len()));
        head.insert(CONTENT_SECURITY_POLICY, HeaderValue::from_static(listing::CSP));
        head.insert(CACHE_CONTROL, HeaderValue::from_static("no-cache"));
        head.insert(VARY, HeaderValue::from_static("Accept"));
        Ok(with_head(
            StatusCode::OK,
            head,
            if request.method == Method::HEAD {
                Body::Empty
            } else {
                Bytes::from(page).into()
            },
        ))
    }

    fn read_directory(&self, directory: &OwnedFd, path: &SitePath) -> Result<(Vec<listing::Entry>, bool), Errno> {
        let mut entries = Vec::new();
        for entry in rustix::fs::Dir::read_from(directory)? {
            let entry = entry?;
            let name = entry.file_name().to_bytes();
            if matches!(name, b"." | b"..") || path::is_hidden(name, self.dotfiles) {
                continue;
            }
            let stat = match rustix::fs::statat(directory, entry.file_name(), AtFlags::SYMLINK_NOFOLLOW) {
                // A link is shown as what it leads to, and not at all if that is not served.
                Ok(stat) if FileType::from_raw_mode(stat.st_mode).is_symlink() => {
                    match self.root.find(&path.join(name)) {
                        Ok(Found::File(file, _)) => rustix::fs::fstat(&file),
                        Ok(Found::Directory(directory)) => rustix::fs::fstat(&directory),
                        Err(error) => Err(error),
                    }
                }
                stat => stat,
            };
            let Ok(stat) = stat else { continue };
            let kind = FileType::from_raw_mode(stat.st_mode);
            if !(kind.is_file() || kind.is_dir()) {
                continue;
            }
            if entries.len() == MAX_LISTED {
                return Ok((entries, true));
            }
            entries.push(listing::Entry {
                name: name.to_vec(),
                directory: kind.is_dir(),
                size: u64::try_from(stat.st_size).unwrap_or(0),
                modified: u64::try_from(stat.st_mtime)
                    .ok()
                    .map(|seconds| UNIX_EPOCH + Duration::from_secs(seconds)),
            });
        }
        Ok((entries, false))
    }
}

/// `size` bytes if the page cache holds them: no thread is needed for a copy.
fn read_in_place(file: &File, size: u64) -> Option<Bytes> {
    let mut content = vec![0; size as usize];
    let read = rustix::io::preadv2(
        file,
        &mut [io::IoSliceMut::new(&mut content)],
        0,
        ReadWriteFlags::NOWAIT,
    );
    (read == Ok(content.len())).then(|| content.into())
}

/// Exactly `size` bytes, or an error if the file has shrunk. Blocking.
fn read_whole(file: &File, size: u64) -> io::Result<Bytes> {
    use std::os::unix::fs::FileExt;
    let mut content = vec![0; size as usize];
    file.read_exact_at(&mut content, 0)?;
    Ok(content.into())
}

fn media_type(relative: &[u8]) -> mime_guess::Mime {
    mime_guess::from_path(Path::new(std::ffi::OsStr::from_bytes(relative))).first_or_octet_stream()
}

/// The value of Content-Type: text is UTF-8.
pub(crate) fn content_type(media_type: &mime_guess::Mime) -> HeaderValue {
    let text = media_type.type_() == "text"
        || matches!(media_type.essence_str(), "application/javascript" | "application/json");
    let name = media_type.essence_str();
    let value = if text {
        format!("{name}; charset=utf-8")
    } else {
        name.to_owned()
    };
    HeaderValue::try_from(value).unwrap_or_else(|_| HeaderValue::from_static("application/octet-stream"))
}

/// The fields every form of a representation has.
fn finish_head(head: &mut HeaderMap, validators: &Validators, len: Option<u64>) {
    head.insert(ETAG, validators.etag.clone());
    head.insert(LAST_MODIFIED, validators.last_modified.clone());
    if let Some(len) = len {
        head.insert(CONTENT_LENGTH, HeaderValue::from(len));
    }
}

fn from_memory(entry: &Entry, request: &Parts) -> Response {
    let content = entry.answer.content();
    let len = content.len() as u64;
    respond_ranges(entry.answer.head().clone(), &entry.validators, request, len, |range| {
        // Within bounds: ranges are cut to the length before they come here.
        content.slice(range.start as usize..range.end as usize).into()
    })
}

/// 200, 206, 304, 412 or 416 for a representation of known length.
pub(crate) fn respond_ranges(
    mut head: HeaderMap,
    validators: &Validators,
    request: &Parts,
    len: u64,
    mut part: impl FnMut(Range<u64>) -> Body,
) -> Response {
    let range = match request.method == Method::GET && validators.range_applies(&request.headers) {
        true => request.headers.get(RANGE),
        false => None,
    };
    let Some(range) = range else {
        return respond(head, validators, request, || part(0..len));
    };
    match validators.evaluate(&request.headers) {
        Verdict::Proceed => {}
        _ => return respond(head, validators, request, Body::default),
    }
    let parts = match Ranges::parse(range, len) {
        Ranges::Whole => return with_head(StatusCode::OK, head, part(0..len)),
        Ranges::Unsatisfiable => {
            let mut response = plain(StatusCode::RANGE_NOT_SATISFIABLE, "there is no such range\n");
            response
                .headers_mut()
                .insert(CONTENT_RANGE, text(format!("bytes */{len}")));
            return response;
        }
        Ranges::Parts(parts) => parts,
    };
    if let [only] = &parts[..] {
        head.insert(
            CONTENT_RANGE,
            text(format!("bytes {}-{}/{len}", only.start, only.end - 1)),
        );
        head.insert(CONTENT_LENGTH, HeaderValue::from(only.end - only.start));
        return with_head(StatusCode::PARTIAL_CONTENT, head, part(only.clone()));
    }
    // multipart/byteranges, RFC 9110 section 14.6. The boundary is unguessable, so no content can hold it.
    let random = || RandomState::new().build_hasher().finish();
    let boundary = format!("{:016x}{:016x}", random(), random());
    let media_type = head
        .get(CONTENT_TYPE)
        .and_then(|value| value.to_str().ok())
        .unwrap_or("application/octet-stream");
    let mut bodies = VecDeque::with_capacity(parts.len() * 2 + 1);
    for range in parts {
        let lead = format!(
            "\r\n--{boundary}\r\nContent-Type: {media_type}\r\nContent-Range: bytes {}-{}/{len}\r\n\r\n",
            range.start,
            range.end - 1
        );
        bodies.push_back(Body::from(Bytes::from(lead)));
        bodies.push_back(part(range));
    }
    bodies.push_back(Body::from(Bytes::from(format!("\r\n--{boundary}--\r\n"))));
    let total: u64 = bodies.iter().filter_map(Body::len).sum();
    head.insert(CONTENT_TYPE, text(format!("multipart/byteranges; boundary={boundary}")));
    head.insert(CONTENT_LENGTH, HeaderValue::from(total));
    with_head(
        StatusCode::PARTIAL_CONTENT,
        head,
        Body::stream(Sequence { bodies, left: total }),
    )
}

/// 200, 304 or 412 for the whole representation.
fn respond(head: HeaderMap, validators: &Validators, request: &Parts, body: impl FnOnce() -> Body) -> Response {
    match validators.evaluate(&request.headers) {
        Verdict::Proceed if request.method == Method::HEAD => with_head(StatusCode::OK, head, Body::Empty),
        Verdict::Proceed => with_head(StatusCode::OK, head, body()),
        Verdict::NotModified => not_modified(head),
        Verdict::Failed => plain(StatusCode::PRECONDITION_FAILED, "the file is not what you expect\n"),
    }
}

/// 304 in place of 200 (RFC 9110 section 15.4.5): what a cache needs, nothing about content that is not there.
pub(crate) fn not_modified(mut head: HeaderMap) -> Response {
    head.remove(CONTENT_LENGTH);
    head.remove(CONTENT_TYPE);
    head.remove(CONTENT_ENCODING);
    with_head(StatusCode::NOT_MODIFIED, head, Body::Empty)
}

fn with_head(status: StatusCode, head: HeaderMap, body: Body) -> Response {
    let mut response = Response::new(body);
    *response.status_mut() = status;
    *response.headers_mut() = head;
    response
}

fn allow(status: StatusCode) -> Response {
    let mut response = match status {
        StatusCode::NO_CONTENT => with_head(status, HeaderMap::new(), Body::Empty),
        _ => plain(status, "only GET and HEAD are served here\n"),
    };
    response
        .headers_mut()
        .insert(ALLOW, HeaderValue::from_static("GET, HEAD, OPTIONS"));
    response
}

/// What a failed look-up says about the file.
fn status_of(error: Errno) -> StatusCode {
    match error {
        Errno::ACCESS | Errno::PERM => StatusCode::FORBIDDEN,
        Errno::MFILE | Errno::NFILE | Errno::NOMEM | Errno::AGAIN => StatusCode::SERVICE_UNAVAILABLE,
        Errno::IO | Errno::STALE => StatusCode::INTERNAL_SERVER_ERROR,
        // Everything else is a way of not being there: no file, no directory, a link that leads out.
        _ => StatusCode::NOT_FOUND,
    }
}

fn failure(error: Errno) -> Response {
    match status_of(error) {
        StatusCode::FORBIDDEN => plain(StatusCode::FORBIDDEN, "this file may not be read\n"),
        StatusCode::SERVICE_UNAVAILABLE => plain(StatusCode::SERVICE_UNAVAILABLE, "too busy, try again\n"),
        StatusCode::INTERNAL_SERVER_ERROR => unreadable(),
        _ => plain(StatusCode::NOT_FOUND, "not found\n"),
    }
}

fn unreadable() -> Response {
    plain(StatusCode::INTERNAL_SERVER_ERROR, "this file cannot be read\n")
}

/// To the same path with a slash. Collapsed at the front: `//host/` would lead to another site.
fn redirect(url: &str, query: Option<&str>) -> Response {
    let query = query.map(|query| format!("?{query}")).unwrap_or_default();
    let mut response = plain(StatusCode::PERMANENT_REDIRECT, "this is a directory\n");
    response
        .headers_mut()
        .insert(LOCATION, text(format!("/{}/{query}", url.trim_start_matches('/'))));
    response
}

fn text(value: String) -> HeaderValue {
    HeaderValue::try_from(value).unwrap_or_else(|_| HeaderValue::from_static(""))
}

/// Several bodies one after the other.
struct Sequence {
    bodies: VecDeque<Body>,
    left: u64,
}

impl http_body::Body for Sequence {
    type Data = Bytes;
    type Error = io::Error;

    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<io::Result<Frame<Bytes>>>> {
        while let Some(body) = self.bodies.front_mut() {
            match ready!(Pin::new(body).poll_frame(cx)) {
                Some(Ok(frame)) => {
                    self.left -= frame.data_ref().map_or(0, |data| data.len() as u64);
                    return Poll::Ready(Some(Ok(frame)));
                }
                Some(error) => return Poll::Ready(Some(error)),
                None => drop(self.bodies.pop_front()),
            }
        }
        Poll::Ready(None)
    }

    fn is_end_stream(&self) -> bool {
        self.left == 0
    }

    fn size_hint(&self) -> SizeHint {
        SizeHint::with_exact(self.left)
    }
}
