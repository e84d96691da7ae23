//! Where a client's packets leave from, and what happens when that changes (RFC 9000 section 9).
//!
//! The socket of a client is connected, so that the kernel reports a port nobody listens on. It also means that the
//! kernel has chosen once and for all which address packets leave from. So whenever addresses or routes of this machine
//! change, or a packet cannot be sent, it is asked which one it would choose now. Where that is another one, a new socket
//! takes over, and the connections migrate. As long as there is none, packets are lost, which QUIC is made for.

use std::io;
use std::net::{IpAddr, SocketAddr, UdpSocket};
use std::task::Context;
use std::time::{Duration, Instant};

use quinn_proto::Connection;
use velocity_h3::varint;

use crate::net::changes::Changes;

/// How long addresses and routes have to settle after a change.
const SETTLE: Duration = Duration::from_millis(20);
/// How long it is until the next look where there is no way, at first and at most.
const PAUSE: Duration = Duration::from_millis(50);
const LONGEST: Duration = Duration::from_secs(1);
/// Receive and send buffer: bulk downloads come in bursts of many packets.
const BUFFER: usize = 4 << 20;
/// RFC 9000 section 18.2.
const DISABLE_ACTIVE_MIGRATION: u64 = 0x0c;

/// A socket connected to `remote`, from wherever the kernel would send.
pub fn connected(remote: SocketAddr) -> io::Result<UdpSocket> {
    let socket = socket2::Socket::new(socket2::Domain::for_address(remote), socket2::Type::DGRAM, None)?;
    let _ = socket.set_recv_buffer_size(BUFFER);
    let _ = socket.set_send_buffer_size(BUFFER);
    socket.connect(&remote.into())?;
    Ok(socket.into())
}

/// What an error of a connected socket is about.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Trouble {
    /// Nobody listens on the other side, as the kernel has heard.
    Refused,
    /// There is no way there from the address that packets leave from, for now.
    Cut,
    /// One packet.
    Packet,
}

impl Trouble {
    pub fn of(error: &io::Error) -> Self {
        use io::ErrorKind as Kind;
        match error.kind() {
            Kind::ConnectionRefused => Trouble::Refused,
            Kind::NetworkUnreachable | Kind::HostUnreachable | Kind::NetworkDown | Kind::AddrNotAvailable => {
                Trouble::Cut
            }
            // Of an address that is gone, Linux says that it is no argument.
            Kind::InvalidInput => Trouble::Cut,
            _ => Trouble::Packet,
        }
    }
}

/// What a look at the way has found.
pub(super) enum Found {
    /// Packets leave from another address now, over this socket.
    Elsewhere(UdpSocket),
    /// There was no way, and there is one again.
    Again,
    Nothing,
}

/// The way of a client's packets.
pub(super) struct Way {
    remote: SocketAddr,
    /// Where they leave from.
    local: IpAddr,
    /// Absent where the kernel does not tell.
    changes: Option<Changes>,
    /// When to look again.
    due: Option<Instant>,
    cut: bool,
    pause: Duration,
}

impl Way {
    /// The way that a connected socket takes. Must be called inside a runtime.
    pub fn of(socket: &UdpSocket, remote: SocketAddr) -> io::Result<Self> {
        Ok(Self {
            remote,
            local: socket.local_addr()?.ip(),
            changes: Changes::new().ok(),
            due: None,
            cut: false,
            pause: PAUSE,
        })
    }

    /// Hear of changes, and be woken by them.
    pub fn listen(&mut self, cx: &mut Context<'_>) {
        if let Some(changes) = &self.changes
            && changes.poll(cx).is_ready()
        {
            self.due = Some(Instant::now() + SETTLE);
        }
    }

    pub fn due(&self) -> Option<Instant> {
        self.due
    }

    /// A packet could not be sent.
    pub fn cut(&mut self, now: Instant) {
        self.cut = true;
        if self.due.is_none() {
            self.due = Some(now + self.pause);
            self.pause = (self.pause * 2).min(LONGEST);
        }
    }

    /// A packet has come.
    pub fn heard(&mut self) {
        self.pause = PAUSE;
    }

    /// Where packets leave from now. Unless they may leave from elsewhere, there is no way either.
    pub fn look(&mut self, now: Instant, may_migrate: bool) -> Found {
        self.due = None;
        let local = |socket: UdpSocket| Ok((socket.local_addr()?.ip(), socket));
        match connected(self.remote).and_then(local) {
            Ok((local, _)) if local == self.local => match std::mem::take(&mut self.cut) {
                true => Found::Again,
                false => Found::Nothing,
            },
            Ok((local, socket)) if may_migrate => {
                self.local = local;
                self.cut = false;
                Found::Elsewhere(socket)
            }
            Ok(_) | Err(_) => {
                self.cut(now);
                Found::Nothing
            }
        }
    }
}

/// Whether a client may leave from elsewhere: not before the handshake is confirmed (RFC 9000 section 9), and not where
/// the server does not want it (section 18.2).
pub(super) fn may_migrate(quic: &Connection) -> bool {
    let mut parameters = Vec::new();
    if let Ok(Some(of_server)) = quic.crypto_session().transport_parameters() {
        of_server.write(&mut parameters);
    }
    quic.stats().frame_rx.handshake_done > 0 && !names(&parameters, DISABLE_ACTIVE_MIGRATION)
}

/// Whether a transport parameter is among those that are encoded (RFC 9000 section 18).
fn names(mut parameters: &[u8], wanted: u64) -> bool {
    while let Some((id, used)) = varint::decode(parameters) {
        if id == wanted {
            return true;
        }
        parameters = &parameters[used..];
        let Some((length, used)) = varint::decode(parameters) else {
            return false;
        };
        let end = usize::try_from(length).unwrap_or(usize::MAX).saturating_add(used);
        parameters = parameters.get(end..).unwrap_or_default();
    }
    false
}

#[cfg(test)]
mod tests {
    use super::*;

    fn way() -> (Way, UdpSocket) {
        let peer = UdpSocket::bind("127.0.0.1:0").unwrap();
        let remote = peer.local_addr().unwrap();
        let way = Way {
            remote,
            local: remote.ip(),
            changes: None,
            due: None,
            cut: false,
            pause: PAUSE,
        };
        (way, peer)
    }

    #[test]
    fn packets_leave_from_where_the_kernel_says() {
        let (mut way, _peer) = way();
        let now = Instant::now();
        assert!(matches!(way.look(now, true), Found::Nothing));
        way.cut(now);
        assert_eq!(way.due(), Some(now + PAUSE));
        assert!(matches!(way.look(now, true), Found::Again));
        assert!(matches!(way.look(now, true), Found::Nothing));
        way.local = "192.0.2.1".parse().unwrap();
        assert!(matches!(way.look(now, false), Found::Nothing));
        assert!(way.due().is_some(), "and it is asked again");
        let Found::Elsewhere(socket) = way.look(now, true) else {
            panic!("the address is another one");
        };
        assert_eq!(socket.local_addr().unwrap().ip(), way.local);
        assert_eq!(way.due(), None);
    }

    #[test]
    fn the_longer_there_is_no_way_the_less_is_it_looked_for() {
        let (mut way, _peer) = way();
        let now = Instant::now();
        let pauses: Vec<_> = (0..7)
            .map(|_| {
                way.cut(now);
                way.cut(now);
                way.due.take().unwrap() - now
            })
            .collect();
        assert_eq!(pauses[..3], [PAUSE, PAUSE * 2, PAUSE * 4]);
        assert_eq!(pauses[5..], [LONGEST, LONGEST]);
        way.heard();
        way.cut(now);
        assert_eq!(way.due(), Some(now + PAUSE));
    }

    #[test]
    fn errors_are_about_the_peer_the_way_or_a_packet() {
        let trouble = |code| Trouble::of(&io::Error::from_raw_os_error(code));
        assert_eq!(trouble(libc::ECONNREFUSED), Trouble::Refused);
        for code in [
            libc::ENETUNREACH,
            libc::EHOSTUNREACH,
            libc::ENETDOWN,
            libc::EADDRNOTAVAIL,
            libc::EINVAL,
        ] {
            assert_eq!(trouble(code), Trouble::Cut, "{code}");
        }
        for code in [libc::EMSGSIZE, libc::EPERM, libc::ENOBUFS] {
            assert_eq!(trouble(code), Trouble::Packet, "{code}");
        }
    }

    #[test]
    fn a_parameter_is_found_among_others() {
        let others = [0x01, 0x02, 0x0c, 0x0c, 0x40, 0x20, 0x00];
        assert!(!names(&others, DISABLE_ACTIVE_MIGRATION), "a value is no name");
        assert!(names(&[&others[..], &[0x0c, 0x00]].concat(), DISABLE_ACTIVE_MIGRATION));
        assert!(!names(&[0x01, 0xff], DISABLE_ACTIVE_MIGRATION));
        assert!(!names(&[], DISABLE_ACTIVE_MIGRATION));
    }
}
