//! One end of a socket between the data plane and a worker. It lives on one thread, with everything that uses it.
//!
//! Frames are collected and written at the end of a turn of the thread's runtime: one system call for all of them.

use std::cell::RefCell;
use std::io;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use bytes::{Buf, BytesMut};
use tokio::net::UnixStream;
use tokio::sync::Notify;

use super::frame::{self, Kind};

/// So many bytes are written without waiting for the end of the turn.
const MAX_TURN: usize = 32 * 1024;
/// What is read at once, in bytes.
const CHUNK: usize = 64 * 1024;

pub struct Link {
    stream: UnixStream,
    out: Mutex<Out>,
    /// Something is left that could not be written.
    blocked: Notify,
}

#[derive(Default)]
struct Out {
    buffer: BytesMut,
    /// Bytes that were ever written.
    written: u64,
    /// It is among those that are written at the end of the turn.
    noted: bool,
}

thread_local!(static NOTED: RefCell<Vec<Arc<Link>>> = const { RefCell::new(Vec::new()) });

/// The thread has nothing more to do for now: write what there is.
pub fn flush() {
    let noted = NOTED.try_with(RefCell::take).unwrap_or_default();
    for link in noted {
        link.out().noted = false;
        link.write_or_wait();
    }
}

impl Link {
    pub fn new(stream: std::os::unix::net::UnixStream) -> io::Result<Arc<Self>> {
        stream.set_nonblocking(true)?;
        Ok(Arc::new(Self {
            stream: UnixStream::from_std(stream)?,
            out: Mutex::default(),
            blocked: Notify::new(),
        }))
    }

    /// Send a frame. Gives the place in the stream where it ends.
    pub fn put(self: &Arc<Self>, kind: Kind, id: u32, fill: impl FnOnce(&mut BytesMut)) -> u64 {
        let mut out = self.out();
        frame::put(&mut out.buffer, kind, id, fill);
        let end = out.written + out.buffer.len() as u64;
        let full = out.buffer.len() >= MAX_TURN;
        let noted = std::mem::replace(&mut out.noted, true);
        drop(out);
        if !noted {
            let _ = NOTED.try_with(|links| links.borrow_mut().push(self.clone()));
        }
        if full {
            self.write_or_wait();
        }
        end
    }

    /// Bytes that were ever written.
    pub fn written(&self) -> u64 {
        self.out().written
    }

    /// Whether all was written.
    pub fn is_written(&self) -> bool {
        self.out().buffer.is_empty()
    }

    /// Read something.
    ///
    /// # Errors
    ///
    /// Besides those of the socket, `UnexpectedEof`: nothing comes any more.
    pub async fn read(&self, input: &mut BytesMut) -> io::Result<()> {
        loop {
            self.stream.readable().await?;
            input.reserve(CHUNK);
            match self.stream.try_read_buf(input) {
                Ok(0) => return Err(io::ErrorKind::UnexpectedEof.into()),
                Ok(_) => return Ok(()),
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                Err(error) => return Err(error),
            }
        }
    }

    /// Write what could not be written at once, for as long as that is possible.
    pub async fn writing(&self) -> io::Error {
        loop {
            self.blocked.notified().await;
            loop {
                if let Err(error) = self.stream.writable().await {
                    return error;
                }
                match self.write() {
                    Ok(()) => break,
                    Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                    Err(error) => return error,
                }
            }
        }
    }

    fn write_or_wait(&self) {
        if self.write().is_err() {
            self.blocked.notify_one();
        }
    }

    fn write(&self) -> io::Result<()> {
        let mut out = self.out();
        while !out.buffer.is_empty() {
            let written = self.stream.try_write(&out.buffer)?;
            out.buffer.advance(written);
            out.written += written as u64;
        }
        Ok(())
    }

    fn out(&self) -> MutexGuard<'_, Out> {
        self.out.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
