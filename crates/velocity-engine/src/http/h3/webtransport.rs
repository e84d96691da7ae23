//! Streams and datagrams of WebTransport sessions (draft-ietf-webtrans-http3), between QUIC and their applications.
//!
//! A stream leaves the state machine of HTTP/3 once it has said which session it is of, and is read and written here.
//! One that comes before its session is kept for a while, as it was found: the request may have been overtaken.

use std::collections::VecDeque;
use std::sync::Arc;

use bytes::{Bytes, BytesMut};
use quinn_proto::{Dir, ReadError, Side, StreamId, VarInt, WriteError};
use rustc_hash::FxHashMap;
use velocity_h3::{Code, Connection, webtransport};

use super::link::stream_id;
use super::outgoing::code;
use crate::app::webtransport::{Command, Ending, MAX_SESSIONS, Message, Session};
use crate::quic::Cx;

/// Streams that may wait for their session.
const MAX_EARLY: usize = 8;
/// Sessions of which it is remembered that they are over.
const MAX_GONE: usize = 16;
/// Largest piece taken from a stream at once.
const PIECE: usize = 32 * 1024;

/// All that a connection has of WebTransport.
#[derive(Default)]
pub struct Transports {
    /// By the stream of the request.
    sessions: FxHashMap<StreamId, Hosted>,
    streams: FxHashMap<StreamId, Stream>,
    early: VecDeque<Early>,
    gone: VecDeque<StreamId>,
    /// Streams of which QUIC took no more.
    blocked: Vec<StreamId>,
}

struct Hosted {
    session: Arc<Session>,
    /// Streams that the application had no room for.
    stalled: VecDeque<StreamId>,
    /// Streams that it wants and the client does not permit yet.
    opening: VecDeque<Dir>,
}

struct Early {
    stream: StreamId,
    session: StreamId,
    data: Bytes,
    fin: bool,
}

struct Stream {
    session: StreamId,
    /// Whether the application knows of it.
    announced: bool,
    /// What came with its header.
    first: Option<(Bytes, bool)>,
    /// Whether more may come.
    receiving: bool,
    /// What QUIC has not taken yet.
    queue: VecDeque<Bytes>,
    /// Whether more may be said; it is `finishing` when only what is queued is.
    sending: bool,
    finishing: bool,
}

impl Stream {
    fn new(id: StreamId, session: StreamId) -> Self {
        let ours = id.initiator() == Side::Server;
        let both = id.dir() == Dir::Bi;
        Self {
            session,
            announced: ours,
            first: None,
            receiving: both || !ours,
            queue: VecDeque::new(),
            sending: both || ours,
            finishing: false,
        }
    }
}

impl Transports {
    /// Whether there is room for another session.
    pub fn has_room(&self) -> bool {
        self.sessions.len() < MAX_SESSIONS
    }

    /// Whether a stream is, or may become, one of a session.
    pub fn owns(&self, id: StreamId) -> bool {
        self.streams.contains_key(&id) || self.early.iter().any(|early| early.stream == id)
    }

    /// Whether a request is a session, or was one.
    pub fn knows(&self, id: StreamId) -> bool {
        let hosted = self.sessions.get(&id);
        hosted.is_some_and(|hosted| hosted.session.is_accepted()) || self.gone.contains(&id)
    }

    /// A request has come that asks for a session.
    pub fn begin(&mut self, id: StreamId, session: Arc<Session>, cx: &mut Cx<'_>) {
        self.sessions.insert(
            id,
            Hosted {
                session,
                stalled: VecDeque::new(),
                opening: VecDeque::new(),
            },
        );
        let (own, others) = self.early.drain(..).partition(|early| early.session == id);
        self.early = others;
        let own: VecDeque<Early> = own;
        own.into_iter().for_each(|early| self.insert(early, cx));
    }

    /// A stream has said which session it is of.
    pub fn adopt(&mut self, stream: u64, session: u64, data: Bytes, fin: bool, cx: &mut Cx<'_>) {
        let (stream, session) = (stream_id(stream), stream_id(session));
        let early = Early {
            stream,
            session,
            data,
            fin,
        };
        if self.sessions.contains_key(&session) {
            self.insert(early, cx);
        } else if self.gone.contains(&session) {
            refuse(stream, Code::SessionGone, cx);
        } else {
            if self.early.len() >= MAX_EARLY
                && let Some(oldest) = self.early.pop_front()
            {
                refuse(oldest.stream, Code::BufferedStreamRejected, cx);
            }
            self.early.push_back(early);
        }
    }

    fn insert(&mut self, early: Early, cx: &mut Cx<'_>) {
        let mut stream = Stream::new(early.stream, early.session);
        stream.first = Some((early.data, early.fin));
        self.streams.insert(early.stream, stream);
        self.read(early.stream, cx);
    }

    /// Read a stream for as long as there is something, and room for it.
    pub fn read(&mut self, id: StreamId, cx: &mut Cx<'_>) {
        let Some(stream) = self.streams.get_mut(&id) else {
            return;
        };
        let Some(hosted) = self.sessions.get_mut(&stream.session) else {
            return;
        };
        let number = u64::from(id);
        while stream.receiving {
            if !hosted.session.has_room() {
                if !hosted.stalled.contains(&id) {
                    hosted.stalled.push_back(id);
                }
                return;
            }
            if !std::mem::replace(&mut stream.announced, true) {
                hosted.session.push(Message::Opened {
                    stream: number,
                    bidirectional: id.dir() == Dir::Bi,
                    ours: false,
                });
                continue;
            }
            let (data, end) = match stream.first.take() {
                Some(first) => first,
                None => match next(id, cx) {
                    Piece::Data(data, end) => (data, end),
                    Piece::Nothing => return,
                    Piece::Reset(code) => {
                        stream.receiving = false;
                        hosted.session.push(Message::Reset {
                            stream: number,
                            code: webtransport::from_http3(code),
                        });
                        break;
                    }
                    Piece::Gone => {
                        stream.receiving = false;
                        break;
                    }
                },
            };
            stream.receiving = !end;
            if end || !data.is_empty() {
                hosted.session.push(Message::Data {
                    stream: number,
                    data,
                    end,
                });
            }
        }
        self.release(id);
    }

    /// The client wants no more of a stream.
    pub fn stopped(&mut self, id: StreamId, why: u64, cx: &mut Cx<'_>) {
        let Some(stream) = self.streams.get_mut(&id) else {
            return;
        };
        // RFC 9000 section 3.5.
        let _ = cx
            .quic
            .send_stream(id)
            .reset(VarInt::from_u64(why).unwrap_or(VarInt::MAX));
        if std::mem::replace(&mut stream.sending, false)
            && let Some(hosted) = self.sessions.get(&stream.session)
        {
            drop_queue(stream, id, &hosted.session);
            hosted.session.push(Message::Stopped {
                stream: id.into(),
                code: webtransport::from_http3(why),
            });
        }
        self.release(id);
    }

    pub fn datagram(&mut self, session: u64, data: Bytes) {
        if let Some(hosted) = self.sessions.get(&stream_id(session)) {
            hosted.session.push(Message::Datagram(data));
        }
    }

    /// There is room again, perhaps for all.
    pub fn writable(&mut self, cx: &mut Cx<'_>) {
        for id in std::mem::take(&mut self.blocked) {
            self.write(id, cx);
        }
    }

    /// The client permits more streams.
    pub fn available(&mut self, cx: &mut Cx<'_>) {
        let sessions: Vec<StreamId> = self.sessions.keys().copied().collect();
        for id in sessions {
            self.open(id, cx);
        }
    }

    /// The application of a session has said something, or has room again.
    pub fn pump(&mut self, id: StreamId, cx: &mut Cx<'_>) {
        let Some(hosted) = self.sessions.get(&id) else { return };
        let session = hosted.session.clone();
        session.attend();
        while let Some(command) = session.next_command() {
            self.command(id, &session, command, cx);
        }
        while let Some(data) = session.next_datagram() {
            let mut datagram = BytesMut::with_capacity(8 + data.len());
            Connection::datagram_header(id.into(), &mut datagram);
            datagram.extend_from_slice(&data);
            // One that fits into no packet is as good as lost.
            let _ = cx.quic.datagrams().send(datagram.freeze(), true);
        }
        self.open(id, cx);
        let stalled = self
            .sessions
            .get_mut(&id)
            .map(|hosted| std::mem::take(&mut hosted.stalled));
        for stream in stalled.into_iter().flatten() {
            self.read(stream, cx);
        }
    }

    fn command(&mut self, session_id: StreamId, session: &Session, command: Command, cx: &mut Cx<'_>) {
        let (Command::Data { stream, .. } | Command::Reset { stream, .. } | Command::Stop { stream, .. }) = command
        else {
            if let (Command::Open { bidirectional }, Some(hosted)) = (command, self.sessions.get_mut(&session_id)) {
                let dir = if bidirectional { Dir::Bi } else { Dir::Uni };
                hosted.opening.push_back(dir);
            }
            return;
        };
        let id = stream_id(stream);
        let known = self.streams.get_mut(&id).filter(|known| known.session == session_id);
        match (command, known) {
            (Command::Data { data, end, .. }, Some(known)) if known.sending && !known.finishing => {
                if !data.is_empty() {
                    known.queue.push_back(data);
                }
                known.finishing = end;
                self.write(id, cx);
            }
            (Command::Data { data, .. }, _) => session.sent(stream, data.len()),
            (Command::Reset { code, .. }, Some(known)) if known.sending => {
                known.sending = false;
                drop_queue(known, id, session);
                let _ = cx.quic.send_stream(id).reset(application(code));
                self.release(id);
            }
            (Command::Stop { code, .. }, Some(known)) if known.receiving => {
                known.receiving = false;
                let _ = cx.quic.recv_stream(id).stop(application(code));
                self.release(id);
            }
            _ => {}
        }
    }

    /// Open the streams that a session wants, as far as the client permits.
    fn open(&mut self, session_id: StreamId, cx: &mut Cx<'_>) {
        let Some(hosted) = self.sessions.get_mut(&session_id) else {
            return;
        };
        let mut opened = Vec::new();
        while let Some(dir) = hosted.opening.front()
            && let Some(id) = cx.quic.streams().open(*dir)
        {
            hosted.opening.pop_front();
            let mut stream = Stream::new(id, session_id);
            let mut header = BytesMut::new();
            webtransport::stream_header(session_id.into(), id.dir() == Dir::Bi, &mut header);
            stream.queue.push_back(header.freeze());
            self.streams.insert(id, stream);
            hosted.session.push(Message::Opened {
                stream: id.into(),
                bidirectional: id.dir() == Dir::Bi,
                ours: true,
            });
            opened.push(id);
        }
        for id in opened {
            self.write(id, cx);
        }
    }

    /// Write what is queued for a stream.
    fn write(&mut self, id: StreamId, cx: &mut Cx<'_>) {
        let Some(stream) = self.streams.get_mut(&id).filter(|stream| stream.sending) else {
            return;
        };
        let session = self.sessions.get(&stream.session).map(|hosted| &hosted.session);
        let mut quic = cx.quic.send_stream(id);
        while let Some(chunk) = stream.queue.front_mut() {
            match quic.write_chunks(std::slice::from_mut(chunk)) {
                Ok(written) => {
                    if chunk.is_empty() {
                        stream.queue.pop_front();
                    }
                    if let Some(session) = session {
                        session.sent(id.into(), written.bytes);
                    }
                }
                Err(WriteError::Blocked) => {
                    if !self.blocked.contains(&id) {
                        self.blocked.push(id);
                    }
                    return;
                }
                // An event tells of it, or has.
                Err(WriteError::Stopped(_) | WriteError::ClosedStream) => return,
            }
        }
        if stream.finishing {
            let _ = quic.finish();
            stream.sending = false;
            self.release(id);
        }
    }

    /// Forget a stream that is over in both directions.
    fn release(&mut self, id: StreamId) {
        if self
            .streams
            .get(&id)
            .is_some_and(|stream| !stream.receiving && !stream.sending)
        {
            self.streams.remove(&id);
        }
    }

    /// End the sessions that are over, and those whose request is.
    pub fn sweep(&mut self, is_open: impl Fn(StreamId) -> bool, cx: &mut Cx<'_>) {
        let over = |(id, hosted): (&StreamId, &Hosted)| (hosted.session.has_ended() || !is_open(*id)).then_some(*id);
        let over: Vec<StreamId> = self.sessions.iter().filter_map(over).collect();
        for id in over {
            self.end(id, cx);
        }
    }

    fn end(&mut self, id: StreamId, cx: &mut Cx<'_>) {
        let Some(hosted) = self.sessions.remove(&id) else {
            return;
        };
        hosted.session.end(Ending::default());
        if self.gone.len() >= MAX_GONE {
            self.gone.pop_front();
        }
        self.gone.push_back(id);
        self.streams.retain(|stream, known| {
            if known.session == id {
                if known.sending {
                    let _ = cx.quic.send_stream(*stream).reset(code(Code::SessionGone));
                }
                if known.receiving {
                    let _ = cx.quic.recv_stream(*stream).stop(code(Code::SessionGone));
                }
            }
            known.session != id
        });
    }
}

impl Drop for Transports {
    fn drop(&mut self) {
        for hosted in self.sessions.values() {
            hosted.session.end(Ending::default());
        }
    }
}

/// What one look at a stream brought.
enum Piece {
    Data(Bytes, bool),
    Nothing,
    Reset(u64),
    Gone,
}

fn next(id: StreamId, cx: &mut Cx<'_>) -> Piece {
    let mut receive = cx.quic.recv_stream(id);
    let Ok(mut chunks) = receive.read(true) else {
        return Piece::Gone;
    };
    let piece = match chunks.next(PIECE) {
        Ok(Some(chunk)) => Piece::Data(chunk.bytes, matches!(chunks.next(0), Ok(None))),
        Ok(None) => Piece::Data(Bytes::new(), true),
        Err(ReadError::Blocked) => Piece::Nothing,
        Err(ReadError::Reset(code)) => Piece::Reset(code.into_inner()),
    };
    // Flow control credit that this sets free leaves with the next packet.
    let _ = chunks.finalize();
    piece
}

/// Drop what was to be sent.
fn drop_queue(stream: &mut Stream, id: StreamId, session: &Session) {
    let bytes = stream.queue.drain(..).map(|chunk| chunk.len()).sum();
    session.sent(id.into(), bytes);
}

/// Refuse a stream, in both directions that it may have.
fn refuse(id: StreamId, why: Code, cx: &mut Cx<'_>) {
    if id.dir() == Dir::Bi {
        let _ = cx.quic.send_stream(id).reset(code(why));
    }
    let _ = cx.quic.recv_stream(id).stop(code(why));
}

/// A code of an application as QUIC wants it.
fn application(code: u32) -> VarInt {
    VarInt::from_u64(webtransport::to_http3(code)).unwrap_or(VarInt::MAX)
}
