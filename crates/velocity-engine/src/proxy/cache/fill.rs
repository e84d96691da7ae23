//! Bodies on their way into the cache, and those that have arrived.
//!
//! A body is read as fast as the upstream sends it, whoever reads along: a slow client holds up nobody. It lies in
//! memory, or in a file once it is too large for that. What turns out to be too large to be stored at all is handed,
//! with what is still to come, to the client for whom it was fetched. Only what has come to its end is ever stored
//! (RFC 9111 section 3.3).

use std::fs::File;
use std::io;
use std::ops::Range;
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, Waker, ready};
use std::time::{Duration, Instant};

use bytes::{Bytes, BytesMut};
use http::HeaderMap;
use http_body::{Frame, SizeHint};
use http_body_util::BodyExt;

use super::budget::{Budget, Lease};
use super::disk::{Disk, OnDisk, Writer};
use crate::http::Body;
use crate::http::replay::Start;

/// How long a body is fetched for nobody but the cache.
const ALONE: Duration = Duration::from_secs(30);

/// Where bodies can lie, and how large they may be.
pub struct Room {
    pub memory: Arc<Budget>,
    pub disk: Option<Arc<Disk>>,
    /// Larger ones lie on the disk, if there is one.
    pub in_memory: u64,
    pub max_object: u64,
}

/// The body of a stored answer.
pub enum Content {
    Memory(Bytes),
    Disk(Arc<OnDisk>),
    /// It is on its way.
    Filling(Arc<Filling>),
}

impl Content {
    /// Bytes of memory.
    pub fn in_memory(&self) -> u64 {
        match self {
            Content::Memory(bytes) => bytes.len() as u64,
            Content::Disk(_) | Content::Filling(_) => 256,
        }
    }

    /// Its length, if it is known.
    pub fn len(&self) -> Option<u64> {
        match self {
            Content::Memory(bytes) => Some(bytes.len() as u64),
            Content::Disk(place) => Some(place.len()),
            Content::Filling(filling) => filling.expected,
        }
    }

    /// For somebody who wants to read it; `None` if it is there no more.
    pub fn open(&self) -> Option<Opened> {
        Some(match self {
            Content::Memory(bytes) => Opened::Memory(bytes.clone()),
            Content::Disk(place) => Opened::File(place.open()?),
            Content::Filling(filling) => Opened::Filling(filling.clone()),
        })
    }

    /// The same for another head.
    pub fn share(&self) -> Self {
        match self {
            Content::Memory(bytes) => Content::Memory(bytes.clone()),
            Content::Disk(place) => Content::Disk(place.clone()),
            Content::Filling(filling) => Content::Filling(filling.clone()),
        }
    }
}

/// A body that can be read.
pub enum Opened {
    Memory(Bytes),
    File(Arc<File>),
    Filling(Arc<Filling>),
}

impl Opened {
    /// A part of it, which lies within.
    pub fn part(&self, range: Range<u64>) -> Body {
        match self {
            Opened::Memory(bytes) => bytes.slice(range.start as usize..range.end as usize).into(),
            Opened::File(file) => Body::file(file.clone(), range.start, range.end - range.start),
            Opened::Filling(filling) => filling.reader(Some(range), false),
        }
    }
}

/// A body on its way.
pub struct Filling {
    expected: Option<u64>,
    state: Mutex<State>,
}

struct State {
    parts: Parts,
    /// Bytes that have come.
    length: u64,
    end: End,
    trailers: Option<HeaderMap>,
    /// What is still to come, for the one that leads.
    rest: Option<Body>,
    readers: usize,
    /// Whether the client is still there for whom it is fetched.
    led: bool,
    waiting: Vec<Waker>,
    /// Of memory or of the disk, until the store has it.
    lease: Lease,
    /// Whether the lease is for all that is expected.
    reserved: bool,
}

enum Parts {
    /// With the place of its first byte.
    Memory(Vec<(u64, Bytes)>),
    File(Arc<File>),
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum End {
    Open,
    Whole,
    Broken,
    /// The one that leads has the rest.
    Handed,
}

impl Room {
    /// Make room for a body, of which the length may be known; `None` if there is none.
    pub fn begin(&self, expected: Option<u64>) -> Option<Arc<Filling>> {
        if expected.is_some_and(|length| length > self.max_object) {
            return None;
        }
        let mut lease = match (&self.disk, expected) {
            (Some(disk), Some(length)) if length > self.in_memory => disk.lease(),
            _ => Lease::none(&self.memory),
        };
        if !lease.grow(expected.unwrap_or_default()) {
            return None;
        }
        Some(Arc::new(Filling {
            expected,
            state: Mutex::new(State {
                parts: Parts::Memory(Vec::new()),
                length: 0,
                end: End::Open,
                trailers: None,
                rest: None,
                readers: 0,
                led: false,
                waiting: Vec::new(),
                lease,
                reserved: expected.is_some(),
            }),
        }))
    }

    /// Read a body to its end; what it is then, if it can be stored.
    pub async fn fill(&self, filling: &Filling, mut body: Body) -> Option<Content> {
        let mut writer: Option<Writer> = None;
        let mut length = 0;
        let mut alone = None;
        while let Some(frame) = body.frame().await {
            let Ok(frame) = frame else {
                filling.end(End::Broken);
                return None;
            };
            let data = match frame.into_data() {
                Ok(data) if data.is_empty() => continue,
                Ok(data) => data,
                Err(frame) => {
                    filling.lock().trailers = frame.into_trailers().ok();
                    continue;
                }
            };
            if filling.is_alone() && alone.get_or_insert_with(Instant::now).elapsed() > ALONE {
                filling.end(End::Broken);
                return None;
            }
            length += data.len() as u64;
            if length > self.max_object || filling.expected.is_some_and(|expected| length > expected) {
                filling.hand(data, body);
                return None;
            }
            let spill = self.disk.as_ref().filter(|_| {
                let large = filling.expected.is_some_and(|expected| expected > self.in_memory);
                writer.is_none() && (large || length > self.in_memory)
            });
            if let Some(disk) = spill {
                match filling.spill(disk).await {
                    Some(begun) => writer = Some(begun),
                    None => {
                        filling.hand(data, body);
                        return None;
                    }
                }
            }
            if !filling.lock().lease(data.len() as u64) {
                filling.hand(data, body);
                return None;
            }
            match writer.take() {
                None => filling.push(data),
                Some(begun) => match write(begun, vec![data.clone()]).await {
                    Some(begun) => {
                        writer = Some(begun);
                        filling.grow(length);
                    }
                    None => {
                        filling.hand(data, body);
                        return None;
                    }
                },
            }
        }
        if filling.expected.is_some_and(|expected| expected != length) {
            filling.end(End::Broken);
            return None;
        }
        let content = match writer {
            Some(writer) => writer.keep().map(|place| Content::Disk(Arc::new(place))),
            None => Some(Content::Memory(filling.join())),
        };
        filling.end(End::Whole);
        content
    }
}

/// Write at the end of a file, on another thread; `None` if that failed.
async fn write(mut writer: Writer, data: Vec<Bytes>) -> Option<Writer> {
    let work = move || {
        data.iter()
            .try_for_each(|data| writer.write(data))
            .is_ok()
            .then_some(writer)
    };
    tokio::task::spawn_blocking(work).await.ok().flatten()
}

impl State {
    /// Whether there is room for so many bytes more.
    fn lease(&mut self, bytes: u64) -> bool {
        self.reserved || self.lease.grow(bytes)
    }

    fn wake(&mut self) {
        self.waiting.drain(..).for_each(Waker::wake);
    }
}

impl Filling {
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Its length, if others can read along.
    pub fn reader_length(&self) -> Option<u64> {
        self.expected
    }

    /// A body for one client: the whole of it, or a part. The one that leads is the one for whom it is fetched.
    pub fn reader(self: &Arc<Self>, range: Option<Range<u64>>, leads: bool) -> Body {
        let range = range.filter(|range| Some(range) != self.expected.map(|length| 0..length).as_ref());
        let mut state = self.lock();
        state.readers += 1;
        state.led |= leads;
        drop(state);
        Body::stream(Reader {
            filling: self.clone(),
            at: range.as_ref().map_or(0, |range| range.start),
            until: range.map(|range| range.end),
            leads,
            part: Body::Empty,
            rest: false,
            over: false,
        })
    }

    fn is_alone(&self) -> bool {
        self.lock().readers == 0
    }

    fn push(&self, data: Bytes) {
        let mut state = self.lock();
        let at = state.length;
        state.length += data.len() as u64;
        if let Parts::Memory(chunks) = &mut state.parts {
            chunks.push((at, data));
        }
        state.wake();
    }

    /// So much is in the file.
    fn grow(&self, length: u64) {
        let mut state = self.lock();
        state.length = length;
        state.wake();
    }

    fn end(&self, end: End) {
        let mut state = self.lock();
        state.end = end;
        if end == End::Whole {
            state.lease.release();
        }
        state.wake();
    }

    /// Move what has come to a file.
    async fn spill(&self, disk: &Arc<Disk>) -> Option<Writer> {
        let chunks: Vec<Bytes> = {
            let mut state = self.lock();
            if !state.reserved {
                let mut lease = disk.lease();
                if !lease.grow(state.length) {
                    return None;
                }
                state.lease = lease;
            }
            match &state.parts {
                Parts::Memory(chunks) => chunks.iter().map(|(_, data)| data.clone()).collect(),
                Parts::File(_) => return None,
            }
        };
        let disk = disk.clone();
        let made = tokio::task::spawn_blocking(move || disk.create())
            .await
            .ok()
            .flatten()?;
        let writer = write(made, chunks).await?;
        self.lock().parts = Parts::File(writer.file().clone());
        Some(writer)
    }

    /// Give up on storing it: the rest goes to the one that leads, if it is still there.
    fn hand(&self, data: Bytes, body: Body) {
        let mut state = self.lock();
        if state.led {
            let rest = Start {
                content: data,
                rest: Some(body),
            };
            state.rest = Some(rest.into_body());
            state.end = End::Handed;
        } else {
            state.end = End::Broken;
        }
        state.wake();
    }

    /// All of it in one piece.
    fn join(&self) -> Bytes {
        let mut state = self.lock();
        let Parts::Memory(chunks) = &mut state.parts else {
            return Bytes::new();
        };
        let whole = match &chunks[..] {
            [] => Bytes::new(),
            [(_, only)] => only.clone(),
            all => {
                let mut whole = BytesMut::with_capacity(all.iter().map(|(_, data)| data.len()).sum());
                all.iter().for_each(|(_, data)| whole.extend_from_slice(data));
                whole.freeze()
            }
        };
        *chunks = vec![(0, whole.clone())];
        whole
    }

    fn poll_next(&self, reader: (u64, Option<u64>, bool), cx: &Context<'_>) -> Poll<io::Result<Next>> {
        let (at, until, leads) = reader;
        let mut state = self.lock();
        let available = until.unwrap_or(u64::MAX).min(state.length);
        if at < available {
            let part = match &state.parts {
                Parts::File(file) => Body::file(file.clone(), at, available - at),
                Parts::Memory(chunks) => {
                    let place = chunks.partition_point(|(start, _)| *start <= at).saturating_sub(1);
                    let Some((start, data)) = chunks.get(place) else {
                        return Poll::Ready(Err(broken()));
                    };
                    let end = (available - start).min(data.len() as u64);
                    data.slice((at - start) as usize..end as usize).into()
                }
            };
            return Poll::Ready(Ok(Next::Part(part)));
        }
        if until.is_some_and(|until| at >= until) {
            return Poll::Ready(Ok(Next::End(None)));
        }
        Poll::Ready(match state.end {
            End::Open => {
                if !state.waiting.iter().any(|known| known.will_wake(cx.waker())) {
                    state.waiting.push(cx.waker().clone());
                }
                return Poll::Pending;
            }
            End::Whole => Ok(Next::End(state.trailers.clone().filter(|_| until.is_none()))),
            End::Broken => Err(broken()),
            End::Handed => state.rest.take().filter(|_| leads).map(Next::Rest).ok_or_else(broken),
        })
    }
}

fn broken() -> io::Error {
    io::Error::new(io::ErrorKind::UnexpectedEof, "the answer broke off")
}

enum Next {
    Part(Body),
    End(Option<HeaderMap>),
    Rest(Body),
}

struct Reader {
    filling: Arc<Filling>,
    at: u64,
    until: Option<u64>,
    leads: bool,
    part: Body,
    /// What is read comes from the upstream.
    rest: bool,
    over: bool,
}

impl http_body::Body for Reader {
    type Data = Bytes;
    type Error = io::Error;

    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<io::Result<Frame<Bytes>>>> {
        let this = &mut *self;
        loop {
            if this.over {
                return Poll::Ready(None);
            }
            if let Some(frame) = ready!(Pin::new(&mut this.part).poll_frame(cx)) {
                if let Ok(frame) = &frame {
                    this.at += frame.data_ref().map_or(0, |data| data.len() as u64);
                }
                return Poll::Ready(Some(frame));
            }
            if this.rest {
                this.over = true;
                continue;
            }
            match ready!(this.filling.poll_next((this.at, this.until, this.leads), cx))? {
                Next::Part(part) => this.part = part,
                Next::Rest(rest) => {
                    this.part = rest;
                    this.rest = true;
                }
                Next::End(trailers) => {
                    this.over = true;
                    return Poll::Ready(trailers.map(|trailers| Ok(Frame::trailers(trailers))));
                }
            }
        }
    }

    fn is_end_stream(&self) -> bool {
        let (at, until) = (self.at, self.until.or(self.filling.expected));
        // Trailers may come after the last byte of what is whole.
        self.over || self.until.is_some() && until == Some(at)
    }

    fn size_hint(&self) -> SizeHint {
        match self.until.or(self.filling.expected) {
            Some(until) => SizeHint::with_exact(until.saturating_sub(self.at)),
            None => SizeHint::default(),
        }
    }
}

impl Drop for Reader {
    fn drop(&mut self) {
        let mut state = self.filling.lock();
        state.readers -= 1;
        if self.leads {
            state.led = false;
            // Nobody else may have it.
            state.rest = None;
        }
    }
}

#[cfg(test)]
mod tests;
