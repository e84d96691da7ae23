//! The data plane's end of a link: requests go to the worker, and what it says goes where the application would say it.

use std::cell::RefCell;
use std::fs::File;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, Weak};
use std::task::{Context, Poll};

use bytes::{BufMut, Bytes, BytesMut};
use http::{Method, StatusCode};
use rustc_hash::FxHashMap;
use serde_json::Value;

use super::credit::{Credit, Debt};
use super::frame::{self, Frame, Kind, Reader, malformed};
use super::link::Link;
use super::{Call, Standing, Worker, Workers, head, lock};
use crate::app::channel::{Inbound, Item, Notify, Outbound, Received, Room};
use crate::app::mailbox::Mailbox;
use crate::app::websocket::Message;
use crate::app::{Exchange, Start};
use crate::http::Body;
use crate::log::{self, Level};
use crate::service::plain;
use crate::session::Peer;

/// Connections that a worker has heard of, before those that are gone are looked for.
const MANY_PEERS: usize = 256;

thread_local! {
    /// Those of this thread, by the number of the worker.
    static FRONTS: RefCell<FxHashMap<u64, Arc<Front>>> = RefCell::default();
}

pub struct Front {
    link: Arc<Link>,
    worker: Arc<Worker>,
    workers: Arc<Workers>,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    asked: FxHashMap<u32, Asked>,
    next: u32,
    peers: FxHashMap<u64, Weak<Peer>>,
    /// Nothing more is sent.
    parting: bool,
}

/// A request that the worker has, or is about to get.
struct Asked {
    call: Call,
    /// Where it ends in the stream of frames: before that was written, nobody can have begun it.
    end: u64,
    begun: bool,
    /// It has become a WebSocket.
    open: bool,
    /// Something of its body has gone, and cannot be sent to another one.
    taken: Arc<AtomicBool>,
    credit: Arc<Credit>,
    debt: Debt,
}

impl Front {
    /// The one of this thread for a worker.
    pub fn to(worker: &Arc<Worker>, workers: &Arc<Workers>) -> io::Result<Arc<Self>> {
        if let Some(known) = FRONTS.with_borrow(|fronts| fronts.get(&worker.number).cloned()) {
            return Ok(known);
        }
        let front = Arc::new(Self {
            link: Link::new(worker.connect()?)?,
            worker: worker.clone(),
            workers: workers.clone(),
            state: Mutex::default(),
        });
        FRONTS.with_borrow_mut(|fronts| fronts.insert(worker.number, front.clone()));
        tokio::spawn(front.clone().carry());
        Ok(front)
    }

    /// Send a request, unless the worker gets no more.
    pub fn send(self: &Arc<Self>, call: Call) -> Result<(), Call> {
        let exchange = call.exchange.clone();
        let (taken, credit) = (Arc::<AtomicBool>::default(), Arc::<Credit>::default());
        let websocket = exchange.socket.is_some();
        let mut state = self.state();
        if state.parting {
            return Err(call);
        }
        let id = state.next;
        state.next = id.wrapping_add(1);
        self.introduce(&mut state, &exchange.head.peer);
        let end = self.link.put(Kind::Request, id, |out| {
            head::put_request(out, &exchange.head, websocket)
        });
        let asked = Asked {
            call,
            end,
            begun: false,
            open: false,
            taken: taken.clone(),
            credit: credit.clone(),
            debt: Debt::default(),
        };
        state.asked.insert(id, asked);
        drop(state);
        self.worker.in_flight.fetch_add(1, Ordering::Relaxed);
        if exchange.head.expires {
            let front = Arc::downgrade(self);
            exchange.on_cancel(Box::new(move || {
                if let Some(front) = front.upgrade()
                    && front.has(id)
                {
                    front.link.put(Kind::Cancel, id, |_| {});
                }
            }));
        }
        if exchange.head.has_body {
            tokio::spawn(self.clone().upload(id, exchange, taken, credit));
        } else if exchange.body.gone(|| self.later(id, Self::abandon)) {
            self.leave(id);
        }
        Ok(())
    }

    /// Tell the worker of a connection, before the first request that came by it.
    fn introduce(&self, state: &mut State, peer: &Arc<Peer>) {
        if state.peers.contains_key(&peer.id) {
            return;
        }
        if state.peers.len() >= MANY_PEERS && state.peers.len().is_power_of_two() {
            state.peers.retain(|id, peer| {
                let alive = peer.strong_count() > 0;
                if !alive {
                    self.link.put(Kind::Forget, 0, |out| out.put_u64_le(*id));
                }
                alive
            });
        }
        state.peers.insert(peer.id, Arc::downgrade(peer));
        self.link.put(Kind::Peer, 0, |out| head::put_peer(out, peer));
    }

    /// Carry what goes over the link to its end.
    async fn carry(self: Arc<Self>) {
        let reading = async {
            let mut input = BytesMut::new();
            loop {
                self.link.read(&mut input).await?;
                while let Some(frame) = frame::next(&mut input)? {
                    self.hear(frame)?;
                }
                Mailbox::here().flush();
            }
        };
        let parting = async {
            let mut standing = self.worker.standing.subscribe();
            let _ = standing.wait_for(|standing| *standing >= Standing::Retiring).await;
            self.part();
            let _ = standing.wait_for(|standing| *standing == Standing::Dead).await;
        };
        let outcome: io::Result<()> = tokio::select! {
            outcome = reading => outcome,
            error = self.link.writing() => Err(error),
            () = parting => Ok(()),
        };
        if let Err(error) = outcome
            && error.kind() == io::ErrorKind::InvalidData
        {
            let fields = [("worker", Value::from(self.worker.number))];
            let what = "a worker said something that cannot be read";
            log::record(Level::Error, "velocity::server", "worker_malformed", what, &fields);
        }
        self.end();
    }

    /// The worker gets no more requests.
    fn part(&self) {
        let parting = std::mem::replace(&mut self.state().parting, true);
        if !parting {
            self.link.put(Kind::Last, 0, |_| {});
        }
    }

    /// The worker is gone, or has nothing more to say.
    fn end(&self) {
        self.worker.gone.store(true, Ordering::Relaxed);
        FRONTS.with_borrow_mut(|fronts| fronts.remove(&self.worker.number));
        let asked = {
            let mut state = self.state();
            state.parting = true;
            std::mem::take(&mut state.asked)
        };
        let written = self.link.written();
        for asked in asked.into_values() {
            self.worker.in_flight.fetch_sub(1, Ordering::Relaxed);
            asked.credit.release();
            self.lost(asked, written);
        }
        Mailbox::here().flush();
    }

    /// What becomes of a request whose worker is gone.
    fn lost(&self, asked: Asked, written: u64) {
        let Call { exchange, risked } = &asked.call;
        if exchange.is_closed() {
            return;
        }
        if asked.begun {
            return break_off(exchange);
        }
        let untouched = asked.end > written;
        let harmless = is_idempotent(&exchange.head.method) && !risked;
        if !asked.taken.load(Ordering::Relaxed) && (untouched || harmless) {
            self.workers.place_again(Call {
                exchange: exchange.clone(),
                risked: !untouched,
            });
            return;
        }
        exchange.start(Start::Whole(plain(
            StatusCode::BAD_GATEWAY,
            "the process of the application ended before it had answered\n",
        )));
    }

    /// What the worker says.
    fn hear(self: &Arc<Self>, frame: Frame) -> io::Result<()> {
        let Frame { kind, id, payload } = frame;
        let mut reader = Reader(payload);
        match kind {
            Kind::Whole => {
                let answer = head::whole(reader)?;
                if let Some(asked) = self.finish(id) {
                    asked.call.exchange.start(Start::Whole(answer));
                }
            }
            Kind::File => {
                let answer = head::answer(&mut reader)?;
                let (length, path) = (reader.u64()?, PathBuf::from(reader.text()?));
                if let Some(asked) = self.finish(id) {
                    tokio::spawn(send_file(asked.call.exchange, answer, path, length));
                }
            }
            Kind::Start => {
                let answer = head::answer(&mut reader)?;
                self.begin(id, Start::Stream(answer), false);
            }
            Kind::Accept => {
                let fields = reader.fields()?;
                if let Some((exchange, credit)) = self.begin(id, Start::Accept(fields), true) {
                    tokio::spawn(self.clone().converse(id, exchange, credit));
                }
            }
            Kind::Hint => {
                let fields = reader.fields()?;
                if let Some(exchange) = self.find(id) {
                    exchange.hint(fields);
                }
            }
            Kind::Data => {
                if let Some(exchange) = self.find(id) {
                    self.owe(id, reader.0.len());
                    let room = exchange.push(reader.0);
                    self.settle(id, &exchange.answer, room);
                }
            }
            Kind::Text | Kind::Binary | Kind::Close => {
                let message = message(kind, reader)?;
                if let Some(exchange) = self.find(id)
                    && let Some(socket) = &exchange.socket
                {
                    self.owe(id, message.size());
                    let room = socket.sent.push(&exchange.mailbox, message);
                    self.settle(id, &socket.sent, room);
                }
            }
            Kind::End => {
                let trailers = head::fields_if_any(reader)?;
                if let Some(Asked { call, open, .. }) = self.finish(id) {
                    match &call.exchange.socket {
                        Some(socket) if open => socket.sent.complete(&call.exchange.mailbox),
                        _ => call.exchange.finish(trailers),
                    }
                }
            }
            Kind::Fail => {
                if let Some(asked) = self.finish(id) {
                    break_off(&asked.call.exchange);
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

    /// The answer to a request begins; what is left of it comes.
    fn begin(self: &Arc<Self>, id: u32, start: Start, open: bool) -> Option<(Arc<Exchange>, Arc<Credit>)> {
        let found = {
            let mut state = self.state();
            let asked = state.asked.get_mut(&id)?;
            (asked.begun, asked.open) = (true, open);
            (asked.call.exchange.clone(), asked.credit.clone())
        };
        if !found.0.start(start) {
            self.leave(id);
            return None;
        }
        Some(found)
    }

    /// Send the body of a request while it comes, and say so when its client has gone.
    async fn upload(self: Arc<Self>, id: u32, exchange: Arc<Exchange>, taken: Arc<AtomicBool>, credit: Arc<Credit>) {
        loop {
            std::future::poll_fn(|cx| credit.poll(cx)).await;
            let received = std::future::poll_fn(|cx| match self.has(id) {
                true => poll_take(&exchange.body, &exchange.mailbox, cx),
                false => Poll::Ready(Received::Wait),
            });
            match received.await {
                Received::Item(data, last) => {
                    taken.store(true, Ordering::Relaxed);
                    exchange.mailbox.flush();
                    credit.spend(data.len());
                    let kind = if last { Kind::BodyEnd } else { Kind::Body };
                    self.link.put(kind, id, |out| out.put_slice(&data));
                    if last {
                        break;
                    }
                }
                Received::End => {
                    self.link.put(Kind::BodyEnd, id, |_| {});
                    break;
                }
                Received::Gone => return self.leave(id),
                Received::Wait => return, // somebody else has the request now, or nobody
            }
        }
        std::future::poll_fn(|cx| match exchange.body.gone(|| waking(cx)) {
            true => Poll::Ready(()),
            false => Poll::Pending,
        })
        .await;
        self.leave(id);
    }

    /// Send what a client says in a WebSocket.
    async fn converse(self: Arc<Self>, id: u32, exchange: Arc<Exchange>, credit: Arc<Credit>) {
        let Some(socket) = &exchange.socket else { return };
        loop {
            std::future::poll_fn(|cx| credit.poll(cx)).await;
            let received = std::future::poll_fn(|cx| poll_take(&socket.received, &exchange.mailbox, cx)).await;
            exchange.mailbox.flush();
            match received {
                Received::Item(message, _) if self.has(id) => {
                    credit.spend(message.size());
                    put_message(&self.link, id, &message);
                }
                _ => return self.leave(id),
            }
        }
    }

    /// Nobody waits for an answer any more.
    fn leave(self: &Arc<Self>, id: u32) {
        if self.finish(id).is_some() {
            self.link.put(Kind::Gone, id, |_| {});
        }
    }

    /// The same, but for what was said in a WebSocket before.
    fn abandon(self: &Arc<Self>, id: u32) {
        let open = self.state().asked.get(&id).is_none_or(|asked| asked.open);
        if !open {
            self.leave(id);
        }
    }

    /// Have something done with a request when its application is notified.
    fn later(self: &Arc<Self>, id: u32, act: fn(&Arc<Self>, u32)) -> Notify {
        let front = Arc::downgrade(self);
        Box::new(move || {
            if let Some(front) = front.upgrade() {
                act(&front, id);
            }
        })
    }

    fn owe(&self, id: u32, bytes: usize) {
        if let Some(asked) = self.state().asked.get_mut(&id) {
            asked.debt.incur(bytes);
        }
    }

    /// Let the worker send more of an answer, now or when there is room for it.
    fn settle<T: Item>(self: &Arc<Self>, id: u32, line: &Outbound<T>, room: Room) {
        let room = match room {
            Room::Full => line.room(|| self.later(id, Self::pay)),
            room => room,
        };
        if room == Room::Enough {
            self.pay(id);
        }
    }

    fn pay(self: &Arc<Self>, id: u32) {
        let owed = self.state().asked.get_mut(&id).and_then(|asked| asked.debt.settle());
        if let Some(bytes) = owed {
            self.link.put(Kind::Credit, id, |out| out.put_u32_le(bytes));
        }
    }

    fn has(&self, id: u32) -> bool {
        self.state().asked.contains_key(&id)
    }

    fn find(&self, id: u32) -> Option<Arc<Exchange>> {
        self.state().asked.get(&id).map(|asked| asked.call.exchange.clone())
    }

    /// The worker has no more to say to a request.
    fn finish(&self, id: u32) -> Option<Asked> {
        let asked = self.state().asked.remove(&id)?;
        self.worker.in_flight.fetch_sub(1, Ordering::Relaxed);
        Some(asked)
    }

    fn state(&self) -> MutexGuard<'_, State> {
        lock(&self.state)
    }
}

/// Whoever got a part must not take it for the whole.
fn break_off(exchange: &Exchange) {
    exchange.fail();
    if let Some(socket) = &exchange.socket {
        socket.sent.fail(&exchange.mailbox);
    }
}

/// Answer with a file, as the worker would if it were here.
async fn send_file(exchange: Arc<Exchange>, answer: http::Response<()>, path: PathBuf, length: u64) {
    let opened = tokio::task::spawn_blocking(move || open(&path, length).map_err(|error| (path, error))).await;
    match opened {
        Ok(Ok(file)) => exchange.start(Start::Whole(answer.map(|()| Body::file(Arc::new(file), 0, length)))),
        Ok(Err((path, error))) => {
            let fields = [
                ("file", Value::from(path.to_string_lossy())),
                ("reason", error.to_string().into()),
            ];
            let what = "a file that an application wants to send cannot be read";
            log::record(Level::Error, "velocity::server", "pathsend_failed", what, &fields);
            exchange.start(Exchange::failure())
        }
        Err(_) => exchange.start(Exchange::failure()),
    };
    exchange.mailbox.flush();
}

fn open(path: &Path, length: u64) -> io::Result<File> {
    let file = File::open(path)?;
    match file.metadata()?.len() == length {
        true => Ok(file),
        false => Err(io::Error::other("it has changed")),
    }
}

/// RFC 9110 section 9.2.2.
fn is_idempotent(method: &Method) -> bool {
    method.is_safe() || matches!(*method, Method::PUT | Method::DELETE)
}

/// What an application finds, for one that is polled.
pub fn poll_take<T: Item>(line: &Inbound<T>, mailbox: &Mailbox, cx: &Context<'_>) -> Poll<Received<T>> {
    match line.take(mailbox, || waking(cx)) {
        Received::Wait => Poll::Pending,
        found => Poll::Ready(found),
    }
}

fn waking(cx: &Context<'_>) -> Notify {
    let waker = cx.waker().clone();
    Box::new(move || waker.wake())
}

/// What is said in a WebSocket.
pub fn put_message(link: &Arc<Link>, id: u32, message: &Message) {
    match message {
        Message::Text(text) => link.put(Kind::Text, id, |out| out.put_slice(text.as_bytes())),
        Message::Binary(data) => link.put(Kind::Binary, id, |out| out.put_slice(data)),
        Message::Close(code, reason) => link.put(Kind::Close, id, |out| {
            out.put_u16_le(*code);
            out.put_slice(reason.as_bytes());
        }),
    };
}

pub fn message(kind: Kind, mut reader: Reader) -> io::Result<Message> {
    let text = |bytes: Bytes| String::from_utf8(bytes.into()).map_err(|_| malformed());
    Ok(match kind {
        Kind::Text => Message::Text(text(reader.0)?.into()),
        Kind::Binary => Message::Binary(reader.0),
        _ => Message::Close(reader.u16()?, text(reader.0)?),
    })
}

#[cfg(test)]
mod tests {
    use super::super::Pool;
    use super::super::tests::{app, ask, says, worker};
    use super::*;

    #[tokio::test]
    async fn connections_that_are_gone_are_forgotten() {
        let pool = Pool::default();
        let (number, _back) = worker(&pool, says("hello"));
        let app = app(&pool, None);
        for _ in 0..MANY_PEERS + 10 {
            assert_eq!(ask(&app, Method::GET, Body::Empty).await.0, StatusCode::OK);
        }
        let known = FRONTS.with_borrow(|fronts| fronts[&number].state().peers.len());
        assert!(known <= 10, "{known}");
    }
}
