//! Pre-encoded answers on the engine's driver.

use std::collections::HashMap;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Instant;

use bytes::Bytes;
use quinn_proto::{ConnectionError, Dir, EndpointConfig, Event, ServerConfig, StreamEvent, StreamId};
use velocity_engine::quic::{Application, Cx, Driver, Host, Next, Socket};
use velocity_engine::shutdown::{self, Phase};

use crate::{Answer, Result};

pub async fn serve(
    socket: std::net::UdpSocket,
    server: ServerConfig,
    endpoint: EndpointConfig,
    answer: Answer,
) -> Result<()> {
    let (_trigger, shutdown) = shutdown::channel();
    let driver = Driver::server(Everybody { answer }, Socket::new(socket)?, endpoint, Arc::new(server));
    Ok(driver.run(shutdown, std::future::ready(())).await?)
}

struct Everybody {
    answer: Answer,
}

impl Host for Everybody {
    type Application = Raw;

    fn admit(&mut self, _: SocketAddr) -> Option<Raw> {
        Some(Raw {
            answer: self.answer.clone(),
            sending: HashMap::new(),
            readable: Vec::new(),
            writable: Vec::new(),
        })
    }

    fn validate(&self, _: usize) -> bool {
        false
    }

    fn failed(&mut self, _: SocketAddr, _: &ConnectionError) {}
}

struct Raw {
    answer: Answer,
    /// What is not yet written of each answer, and how much of the body is.
    sending: HashMap<StreamId, ([Bytes; 2], usize)>,
    readable: Vec<StreamId>,
    writable: Vec<StreamId>,
}

impl Raw {
    /// Read to the end of a request.
    fn read(&mut self, id: StreamId, cx: &mut Cx<'_>) {
        let mut stream = cx.quic.recv_stream(id);
        let Ok(mut chunks) = stream.read(true) else { return };
        let ended = loop {
            match chunks.next(usize::MAX) {
                Ok(Some(_)) => {}
                Ok(None) => break true,
                Err(_) => break false,
            }
        };
        let _ = chunks.finalize();
        if ended && id.dir() == Dir::Bi {
            let first = self.answer.piece(0);
            let sent = first.len();
            self.sending.insert(id, ([self.answer.head.clone(), first], sent));
            self.writable.push(id);
        }
    }

    /// Write what one turn and flow control permit. True when there is more to write now.
    fn write(&mut self, id: StreamId, cx: &mut Cx<'_>) -> bool {
        let Some((chunks, sent)) = self.sending.get_mut(&id) else {
            return false;
        };
        let mut stream = cx.quic.send_stream(id);
        loop {
            if chunks.iter().all(Bytes::is_empty) {
                if *sent == self.answer.length {
                    let _ = stream.finish();
                    self.sending.remove(&id);
                    return false;
                }
                chunks[0] = self.answer.piece(*sent);
                *sent += chunks[0].len();
            }
            if stream.write_chunks(chunks).is_err() {
                return false;
            }
            if *sent != self.answer.length {
                return true;
            }
        }
    }
}

impl Application for Raw {
    fn event(&mut self, event: Event, cx: &mut Cx<'_>) {
        match event {
            Event::Connected => {
                if let Some(control) = cx.quic.streams().open(Dir::Uni) {
                    let _ = cx.quic.send_stream(control).write(&[0x00, 0x04, 0x00]);
                }
            }
            Event::Stream(StreamEvent::Opened { dir }) => {
                while let Some(id) = cx.quic.streams().accept(dir) {
                    self.readable.push(id);
                }
            }
            Event::Stream(StreamEvent::Readable { id }) => self.readable.push(id),
            Event::Stream(StreamEvent::Writable { id }) => self.writable.push(id),
            _ => {}
        }
    }

    fn woken(&mut self, _: u32) {}

    fn drive(&mut self, cx: &mut Cx<'_>) -> Next {
        while let Some(id) = self.readable.pop() {
            self.read(id, cx);
        }
        let window = cx.quic.congestion_state().window();
        cx.quic.set_send_window((2 * window).clamp(128 << 10, 4 << 20));
        let mut more = Vec::new();
        for id in std::mem::take(&mut self.writable) {
            if self.write(id, cx) {
                more.push(id);
            }
        }
        self.writable = more;
        match self.writable.is_empty() {
            true => Next::Wait,
            false => Next::Again,
        }
    }

    fn phase(&mut self, _: Phase) {}

    fn deadline(&self) -> Option<Instant> {
        None
    }
}
