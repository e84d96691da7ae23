//! A UDP socket that moves batches: many datagrams a system call, GRO and GSO where the kernel has them.

use std::io::{self, IoSliceMut};
use std::task::{Context, Poll, ready};

use quinn_udp::{BATCH_SIZE, RecvMeta, Transmit, UdpSocketState};
use tokio::io::Interest;

/// What one received datagram, or one GRO batch of them, may hold.
const RECEIVE: usize = 64 * 1024;
/// What one GSO batch may hold: the length field of UDP over IPv4 (RFC 768), less the headers.
const SEND: usize = 65_507;

/// A socket with its receive buffers.
pub struct Socket {
    io: tokio::net::UdpSocket,
    state: UdpSocketState,
    buffer: Vec<u8>,
}

impl Socket {
    /// Take over a bound socket. Must be called inside a runtime.
    pub fn new(socket: std::net::UdpSocket) -> io::Result<Self> {
        let state = UdpSocketState::new((&socket).into())?;
        Ok(Self {
            io: tokio::net::UdpSocket::from_std(socket)?,
            state,
            // Pages that no batch ever reached cost nothing.
            buffer: vec![0; RECEIVE * BATCH_SIZE],
        })
    }

    pub fn may_fragment(&self) -> bool {
        self.state.may_fragment()
    }

    /// How many datagrams of `mtu` bytes one call of [`Socket::send`] may carry.
    pub fn max_segments(&self, mtu: u16) -> usize {
        self.state.max_gso_segments().min(SEND / usize::from(mtu.max(1))).max(1)
    }

    /// Hand every datagram of one batch to `receive`.
    pub fn poll_receive(
        &mut self,
        cx: &mut Context<'_>,
        mut receive: impl FnMut(&RecvMeta, &[u8]),
    ) -> Poll<io::Result<()>> {
        let mut metas = [RecvMeta::default(); BATCH_SIZE];
        let received = loop {
            ready!(self.io.poll_recv_ready(cx))?;
            let mut received = 0;
            let result = self.io.try_io(Interest::READABLE, || {
                let mut chunks = self.buffer.chunks_exact_mut(RECEIVE);
                let mut slices: [IoSliceMut<'_>; BATCH_SIZE] =
                    std::array::from_fn(|_| IoSliceMut::new(chunks.next().unwrap_or_default()));
                received = self.state.recv((&self.io).into(), &mut slices, &mut metas)?;
                // A batch that is not full emptied the socket. Saying so spares the call that would
                // find it empty; whatever comes next raises a new event.
                match received < BATCH_SIZE {
                    true => Err(io::ErrorKind::WouldBlock.into()),
                    false => Ok(()),
                }
            });
            match result {
                Err(error) if error.kind() != io::ErrorKind::WouldBlock => return Poll::Ready(Err(error)),
                _ if received > 0 => break received,
                _ => {} // empty: register for the next event
            }
        };
        for (meta, chunk) in metas[..received].iter().zip(self.buffer.chunks_exact(RECEIVE)) {
            for datagram in chunk[..meta.len.min(RECEIVE)].chunks(meta.stride.max(1)) {
                receive(meta, datagram);
            }
        }
        Poll::Ready(Ok(()))
    }

    /// Send one batch; `WouldBlock` when the kernel's buffer is full, see [`Socket::poll_writable`]. Another error may be
    /// about an earlier one.
    pub fn send(&self, transmit: &quinn_proto::Transmit, contents: &[u8]) -> io::Result<()> {
        let transmit = Transmit {
            destination: transmit.destination,
            ecn: transmit
                .ecn
                .and_then(|ecn| quinn_udp::EcnCodepoint::from_bits(ecn as u8)),
            contents,
            segment_size: transmit.segment_size,
            src_ip: transmit.src_ip,
        };
        self.io
            .try_io(Interest::WRITABLE, || self.state.try_send((&self.io).into(), &transmit))
    }

    pub fn poll_writable(&self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.io.poll_send_ready(cx)
    }
}
