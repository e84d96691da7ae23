//! The worker's end: what comes over its links is asked of its application, as the engine would.

use std::io;
use std::os::fd::OwnedFd;
use std::os::unix::ffi::OsStrExt;
use std::path::Path;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, Weak};
use std::thread::JoinHandle;

use bytes::{BufMut, Bytes, BytesMut};
use http::HeaderMap;
use http_body_util::BodyExt;
use rustc_hash::FxHashMap;
use tokio::io::Interest;
use tokio::net::UnixStream;
use tokio::sync::Notify;
use tokio::task::AbortHandle;

use super::credit::{Credit, Debt};
use super::frame::{self, Frame, Kind, Reader, malformed};
use super::front::{message, put_message};
use super::link::{self, Link};
use super::{doorway, head, lock};
use crate::app::channel::{Broken, Item, Outbound};
use crate::app::mailbox::Mailbox;
use crate::app::{Application, Exchange, Start};
use crate::http::{Body, Response};
use crate::session::Peer;

/// A body of up to this many bytes is sent with its head.
const SMALL: usize = 32 * 1024;
/// Bytes of a body that are sent in one frame.
const CHUNK: usize = 32 * 1024;

/// Among the extensions of an answer whose body is a file: where that is. Another process can open it by that.
#[derive(Clone)]
pub struct FilePath(pub Arc<Path>);

/// A thread that hands requests to the application of this process.
pub struct Back {
    business: Arc<Business>,
    stop: Arc<Notify>,
    thread: Option<JoinHandle<()>>,
}

/// What there is to do.
#[derive(Default)]
struct Business {
    /// The doorway, and links by which requests may come.
    open: AtomicUsize,
    /// Requests whose answers are not complete.
    requests: AtomicUsize,
    links: Mutex<Vec<Weak<Link>>>,
}

/// Counted for as long as it lives.
struct Counted(Arc<Business>, fn(&Business) -> &AtomicUsize);

impl Counted {
    fn new(business: &Arc<Business>, count: fn(&Business) -> &AtomicUsize) -> Self {
        count(business).fetch_add(1, Ordering::AcqRel);
        Self(business.clone(), count)
    }
}

impl Drop for Counted {
    fn drop(&mut self) {
        self.1(&self.0).fetch_sub(1, Ordering::AcqRel);
    }
}

impl Back {
    /// Take requests from what comes through a doorway.
    ///
    /// # Errors
    ///
    /// It is no socket, or there is no thread to be had.
    pub fn start(doorway: OwnedFd, application: Arc<dyn Application>) -> io::Result<Self> {
        let doorway = std::os::unix::net::UnixStream::from(doorway);
        doorway.local_addr()?;
        doorway.set_nonblocking(true)?;
        let flushed = application.clone();
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .on_thread_park(move || {
                flushed.flush();
                link::flush();
            })
            .build()?;
        let (business, stop) = (Arc::<Business>::default(), Arc::<Notify>::default());
        let (theirs, stopped) = (business.clone(), stop.clone());
        let open = Counted::new(&business, |business| &business.open);
        let thread = std::thread::Builder::new().name("velocity-requests".to_owned());
        let thread = thread.spawn(move || {
            runtime.block_on(async {
                tokio::spawn(receive(doorway, application, theirs, open));
                stopped.notified().await;
            });
            runtime.shutdown_background();
        })?;
        Ok(Self {
            business,
            stop,
            thread: Some(thread),
        })
    }

    /// Whether nothing is left to do, and nothing more will come.
    pub fn is_quiet(&self) -> bool {
        let Business { open, requests, links } = &*self.business;
        open.load(Ordering::Acquire) == 0
            && requests.load(Ordering::Acquire) == 0
            && lock(links)
                .iter()
                .filter_map(Weak::upgrade)
                .all(|link| link.is_written())
    }

    /// End everything.
    pub fn close(mut self) {
        self.end();
    }

    fn end(&mut self) {
        self.stop.notify_one();
        if let Some(thread) = self.thread.take() {
            let _ = thread.join(); // one that panicked has ended too
        }
    }
}

impl Drop for Back {
    fn drop(&mut self) {
        self.end();
    }
}

async fn receive(
    doorway: std::os::unix::net::UnixStream,
    application: Arc<dyn Application>,
    business: Arc<Business>,
    open: Counted,
) {
    let Ok(doorway) = UnixStream::from_std(doorway) else {
        return;
    };
    while doorway.readable().await.is_ok() {
        match doorway.try_io(Interest::READABLE, || doorway::receive(&doorway)) {
            Ok(Some(descriptor)) => {
                if let Ok(link) = Link::new(descriptor.into()) {
                    let mut links = lock(&business.links);
                    links.retain(|link| link.strong_count() > 0);
                    links.push(Arc::downgrade(&link));
                    drop(links);
                    let open = Counted::new(&business, |business| &business.open);
                    tokio::spawn(Arc::new(Desk::new(link, application.clone(), business.clone())).carry(open));
                }
            }
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
            Ok(None) | Err(_) => break,
        }
    }
    drop(open);
}

/// Where the requests of one link are asked.
struct Desk {
    link: Arc<Link>,
    application: Arc<dyn Application>,
    business: Arc<Business>,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    asked: FxHashMap<u32, Asked>,
    peers: FxHashMap<u64, Arc<Peer>>,
}

struct Asked {
    exchange: Arc<Exchange>,
    answering: AbortHandle,
    credit: Arc<Credit>,
    debt: Debt,
    /// It is more than can be paid at once.
    owing: Arc<Notify>,
}

impl Desk {
    fn new(link: Arc<Link>, application: Arc<dyn Application>, business: Arc<Business>) -> Self {
        Self {
            link,
            application,
            business,
            state: Mutex::default(),
        }
    }

    async fn carry(self: Arc<Self>, open: Counted) {
        let mut open = Some(open);
        let reading = async {
            let mut input = BytesMut::new();
            loop {
                self.link.read(&mut input).await?;
                while let Some(frame) = frame::next(&mut input)? {
                    match frame.kind {
                        Kind::Last => drop(open.take()),
                        _ => self.hear(frame)?,
                    }
                }
                Mailbox::here().flush();
            }
        };
        // Whatever ended it, nobody is there any more.
        let _: io::Result<()> = tokio::select! {
            outcome = reading => outcome,
            error = self.link.writing() => Err(error),
        };
        let asked = std::mem::take(&mut self.state().asked);
        for asked in asked.into_values() {
            asked.leave();
        }
        Mailbox::here().flush();
    }

    fn hear(self: &Arc<Self>, frame: Frame) -> io::Result<()> {
        let Frame { kind, id, payload } = frame;
        let mut reader = Reader(payload);
        match kind {
            Kind::Peer => {
                let (number, peer) = head::peer(reader)?;
                self.state().peers.insert(number, peer);
            }
            Kind::Forget => {
                let number = reader.u64()?;
                self.state().peers.remove(&number);
            }
            Kind::Request => self.ask(id, reader)?,
            Kind::Body | Kind::BodyEnd => {
                let last = kind == Kind::BodyEnd;
                let bytes = reader.0.len();
                if let Some(exchange) = self.find(id) {
                    match bytes {
                        0 if last => exchange.body.complete(),
                        0 => {}
                        _ => exchange.body.push(reader.0, last),
                    }
                    self.settle(id, bytes, &exchange);
                }
            }
            Kind::Text | Kind::Binary | Kind::Close => {
                let message = message(kind, reader)?;
                if let Some(exchange) = self.find(id)
                    && let Some(socket) = &exchange.socket
                {
                    let bytes = message.size();
                    socket.received.push(message, kind == Kind::Close);
                    self.settle(id, bytes, &exchange);
                }
            }
            Kind::Gone => {
                if let Some(asked) = self.state().asked.remove(&id) {
                    asked.leave();
                }
            }
            Kind::Cancel => {
                if let Some(exchange) = self.find(id) {
                    exchange.cancel();
                }
            }
            Kind::Credit => {
                let bytes = reader.u32()?;
                if let Some(asked) = self.state().asked.get(&id) {
                    asked.credit.add(bytes);
                }
            }
            _ => return Err(malformed()),
        }
        Ok(())
    }

    fn ask(self: &Arc<Self>, id: u32, reader: Reader) -> io::Result<()> {
        let (head, websocket) = head::request(reader, |number| self.state().peers.get(&number).cloned())?;
        let receives = head.has_body || websocket;
        let exchange = Arc::new(Exchange::new(head, websocket));
        let (credit, owing) = (Arc::<Credit>::default(), Arc::<Notify>::default());
        let counted = Counted::new(&self.business, |business| &business.requests);
        let answering = {
            let (desk, exchange, credit, owing) = (self.clone(), exchange.clone(), credit.clone(), owing.clone());
            tokio::spawn(async move {
                match receives {
                    true => tokio::select! {
                        () = desk.answer(id, &exchange, &credit) => {},
                        () = desk.pay_late(id, &exchange, &owing) => {},
                    },
                    false => desk.answer(id, &exchange, &credit).await,
                }
                desk.state().asked.remove(&id);
                exchange.close();
                drop(counted);
            })
        };
        let asked = Asked {
            exchange: exchange.clone(),
            answering: answering.abort_handle(),
            credit,
            debt: Debt::default(),
            owing,
        };
        self.state().asked.insert(id, asked);
        if !self.application.begin(exchange.clone()) {
            exchange.start(super::unavailable());
        }
        Ok(())
    }

    /// Send an answer while it is made.
    async fn answer(&self, id: u32, exchange: &Exchange, credit: &Credit) {
        let start = std::future::poll_fn(|cx| {
            exchange.poll_start(cx, |fields| {
                self.link.put(Kind::Hint, id, |out| frame::put_fields(out, &fields));
            })
        });
        match start.await {
            Start::Whole(answer) => self.whole(id, answer, credit).await,
            Start::Stream(head) => {
                self.link.put(Kind::Start, id, |out| head::put_answer(out, &head));
                while let Some(said) = next(&exchange.answer, credit).await {
                    match said {
                        Ok(data) => self.data(id, data, credit).await,
                        Err(Broken) => return self.fail(id),
                    }
                }
                self.end(id, exchange.take_trailers().as_ref());
            }
            Start::Accept(fields) => {
                self.link.put(Kind::Accept, id, |out| frame::put_fields(out, &fields));
                let Some(socket) = &exchange.socket else { return };
                while let Some(said) = next(&socket.sent, credit).await {
                    let Ok(message) = said else { return self.fail(id) };
                    credit.spend(message.size());
                    put_message(&self.link, id, &message);
                }
                self.end(id, None);
            }
        }
    }

    async fn whole(&self, id: u32, answer: Response, credit: &Credit) {
        let (parts, mut body) = answer.into_parts();
        let head = http::Response::from_parts(parts, ());
        let path = head.extensions().get::<FilePath>();
        let kind = match (&body, path) {
            (Body::Empty, _) => Kind::Whole,
            (Body::Memory(data), _) if data.len() <= SMALL => Kind::Whole,
            (Body::File(_), Some(_)) => Kind::File,
            _ => Kind::Start,
        };
        let length = body.len();
        self.link.put(kind, id, |out| {
            head::put_answer(out, &head);
            match (&body, path) {
                (Body::File(_), Some(FilePath(path))) => {
                    out.put_u64_le(length.unwrap_or_default());
                    frame::put_bytes(out, path.as_os_str().as_bytes());
                }
                (Body::Memory(data), _) if kind == Kind::Whole => out.put_slice(data),
                _ => {}
            }
        });
        if kind != Kind::Start {
            return;
        }
        loop {
            match body.frame().await {
                Some(Ok(frame)) => self.data(id, frame.into_data().unwrap_or_default(), credit).await,
                Some(Err(_)) => return self.fail(id),
                None => return self.end(id, None),
            }
        }
    }

    async fn data(&self, id: u32, mut data: Bytes, credit: &Credit) {
        while !data.is_empty() {
            std::future::poll_fn(|cx| credit.poll(cx)).await;
            let part = data.split_to(data.len().min(CHUNK));
            credit.spend(part.len());
            self.link.put(Kind::Data, id, |out| out.put_slice(&part));
        }
    }

    fn end(&self, id: u32, trailers: Option<&HeaderMap>) {
        self.link.put(Kind::End, id, |out| {
            if let Some(trailers) = trailers {
                frame::put_fields(out, trailers);
            }
        });
    }

    fn fail(&self, id: u32) {
        self.link.put(Kind::Fail, id, |_| {});
    }

    /// So much more has come: let the data plane send as much again, if there is room for it.
    fn settle(&self, id: u32, bytes: usize, exchange: &Exchange) {
        let mut state = self.state();
        let Some(asked) = state.asked.get_mut(&id) else { return };
        asked.debt.incur(bytes);
        let has_room = match &exchange.socket {
            Some(socket) => socket.received.has_room(),
            None => exchange.body.has_room(),
        };
        if !has_room {
            asked.owing.notify_one();
            return;
        }
        drop(state);
        self.pay(id);
    }

    /// Or as soon as there is.
    async fn pay_late(&self, id: u32, exchange: &Exchange, owing: &Notify) {
        loop {
            owing.notified().await;
            std::future::poll_fn(|cx| match &exchange.socket {
                Some(socket) => socket.received.poll_room(cx),
                None => exchange.body.poll_room(cx),
            })
            .await;
            self.pay(id);
        }
    }

    fn pay(&self, id: u32) {
        let owed = self.state().asked.get_mut(&id).and_then(|asked| asked.debt.settle());
        if let Some(bytes) = owed {
            self.link.put(Kind::Credit, id, |out| out.put_u32_le(bytes));
        }
    }

    fn find(&self, id: u32) -> Option<Arc<Exchange>> {
        self.state().asked.get(&id).map(|asked| asked.exchange.clone())
    }

    fn state(&self) -> MutexGuard<'_, State> {
        lock(&self.state)
    }
}

impl Asked {
    /// Nobody waits for its answer.
    fn leave(self) {
        self.answering.abort();
        self.exchange.close();
    }
}

/// What an application says next, once it may be sent.
async fn next<T: Item>(line: &Outbound<T>, credit: &Credit) -> Option<Result<T, Broken>> {
    std::future::poll_fn(|cx| credit.poll(cx)).await;
    std::future::poll_fn(|cx| line.poll(cx)).await
}
