//! The messages of a client's handshake (RFC 9846 section 4), for people who want to look at one.
//!
//! Over QUIC they pass in clear between TLS and CRYPTO frames (RFC 9001 section 4), which is where they are recorded.
//! Over TCP the record layer encrypts most of them before anybody else sees them.

use std::sync::{Mutex, PoisonError};

use crate::hello::Hello;

/// Of all messages together: a hybrid flight with a long chain has a tenth of it.
const MAX_BYTES: usize = 256 * 1024;
const FINISHED: u8 = 20;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Sender {
    Client,
    Server,
}

/// A handshake message with its header, as it went over the wire.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Message {
    pub sender: Sender,
    pub bytes: Vec<u8>,
}

/// Records until the client's Finished.
#[derive(Default)]
pub struct Transcript(Mutex<State>);

#[derive(Default)]
struct State {
    messages: Vec<Message>,
    /// Beginnings of messages: of the client's next, and of the server's.
    pending: [Vec<u8>; 2],
    bytes: usize,
    done: bool,
}

impl Transcript {
    /// Bytes of a flight, in pieces of any size.
    pub(crate) fn feed(&self, sender: Sender, bytes: &[u8]) {
        let mut state = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        state.bytes += bytes.len();
        state.done |= state.bytes > MAX_BYTES;
        if state.done {
            return;
        }
        let mut pending = std::mem::take(&mut state.pending[sender as usize]);
        pending.extend_from_slice(bytes);
        while let Some(len) = Hello::complete_len(&pending).filter(|len| *len <= pending.len()) {
            let rest = pending.split_off(len);
            state.done |= sender == Sender::Client && pending.first() == Some(&FINISHED);
            let bytes = std::mem::replace(&mut pending, rest);
            state.messages.push(Message { sender, bytes });
        }
        state.pending[sender as usize] = pending;
    }

    /// What was recorded so far, in its order.
    pub fn messages(&self) -> Vec<Message> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).messages.clone()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn message(kind: u8, length: u8) -> Vec<u8> {
        let mut bytes = vec![kind, 0, 0, length];
        bytes.resize(4 + usize::from(length), kind);
        bytes
    }

    #[test]
    fn records_whole_messages_of_both_sides_until_the_end() {
        let transcript = Transcript::default();
        transcript.feed(Sender::Client, &message(1, 9));
        let flight = [message(2, 5), message(8, 0), message(20, 3)].concat();
        for piece in flight.chunks(3) {
            transcript.feed(Sender::Server, piece);
        }
        transcript.feed(Sender::Client, &message(20, 3));
        transcript.feed(Sender::Server, &message(4, 3)); // a session ticket is no part of it
        let kinds: Vec<_> = transcript
            .messages()
            .iter()
            .map(|one| (one.sender, one.bytes[0]))
            .collect();
        let from = [Sender::Client, Sender::Server];
        assert_eq!(
            kinds,
            [(from[0], 1), (from[1], 2), (from[1], 8), (from[1], 20), (from[0], 20)]
        );
        assert_eq!(transcript.messages()[1].bytes, message(2, 5));
    }

    #[test]
    fn keeps_no_more_than_it_may() {
        let transcript = Transcript::default();
        transcript.feed(Sender::Server, &message(2, 5));
        for _ in 0..=MAX_BYTES / 100 {
            transcript.feed(Sender::Server, &[0xff; 100]);
        }
        assert_eq!(transcript.messages().len(), 1);
        let state = transcript.0.lock().unwrap();
        assert!(state.pending[1].len() <= MAX_BYTES && state.done);
    }
}
