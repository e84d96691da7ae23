//! QUIC (RFC 9000) on sockets: quinn-proto's state machines under a driver of our own.
//!
//! A [`Driver`] is one future on one thread. In each round it takes what a UDP socket has received,
//! hands it to the connections concerned, lets the [`Application`] of each do what can be done now,
//! and sends what that produced. Handlers run inside the round as far as they get without waiting,
//! so a request that can be answered from memory is answered by the very loop that received it:
//! without a task, a channel, a lock or a wake-up. Docs: `docs/adr/0006-quic-driver.md`.
//!
//! - [`socket`]: batches in and out (GRO, GSO)
//! - [`wake`]: how a future that had to wait finds its way back to its connection
//! - [`timers`]: the next moment at which something is due
//! - [`way`]: where a client's packets leave from, also when that changes

mod driver;
mod socket;
mod timers;
mod wake;
mod way;

use std::net::SocketAddr;
use std::time::Instant;

pub use driver::Driver;
pub use socket::Socket;
pub use wake::{CONNECTION, Wakers};
pub use way::connected;

use crate::shutdown::Phase;

/// What runs on a QUIC connection.
pub trait Application: Send {
    /// An event of the connection, in order.
    fn event(&mut self, event: quinn_proto::Event, cx: &mut Cx<'_>);

    /// The future that was given the waker of `slot` wants to be polled.
    fn woken(&mut self, slot: u32);

    /// After events, wakes or a deadline: do everything that can be done now.
    fn drive(&mut self, cx: &mut Cx<'_>) -> Next;

    /// The server is going down (or further down). [`Application::drive`] follows.
    fn phase(&mut self, phase: Phase);

    /// When to call [`Application::drive`] although nothing happened.
    fn deadline(&self) -> Option<Instant>;
}

/// What an application wants after [`Application::drive`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Next {
    /// Nothing before the next event.
    Wait,
    /// There is more to do, after the others had their turn and what is queued was sent.
    Again,
}

/// What an application may use while it runs.
pub struct Cx<'a> {
    pub quic: &'a mut quinn_proto::Connection,
    pub now: Instant,
    pub wakers: &'a mut Wakers,
}

/// Decides about new connections.
pub trait Host: Send {
    type Application: Application;

    /// The application for a connection from `remote`; `None` refuses it.
    fn admit(&mut self, remote: SocketAddr) -> Option<Self::Application>;

    /// Whether a client must prove its address first (RFC 9000 section 8.1.2), with `handshakes` under way.
    fn validate(&self, handshakes: usize) -> bool;

    /// A connection that was admitted failed before it had an application.
    fn failed(&mut self, remote: SocketAddr, reason: &quinn_proto::ConnectionError);
}
