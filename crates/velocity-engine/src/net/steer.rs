//! Keeping a QUIC connection on the worker that owns it, whatever address its packets come from.
//!
//! Sockets that share a port are chosen by the kernel from a hash of the addresses, so a client
//! that moves to another network (RFC 9000 section 9) would land on a worker that has never heard
//! of it. Here the first byte of the connection ID decides instead: a server chooses its own IDs so
//! that the byte, modulo the number of workers, is the worker's index. The ID that a client makes
//! up for its first packets is random, so new connections spread evenly by the same rule.

use std::io;
use std::os::fd::AsRawFd;
use std::time::Duration;

use quinn_proto::{ConnectionId, ConnectionIdGenerator};
use socket2::Socket;

/// Length of the connection IDs we issue, in bytes.
const CID_LEN: usize = 8;

/// Attach the program that picks a socket by connection ID to a group of `workers` UDP sockets.
/// `socket` is any member; the order of binding is the order of indexes.
#[allow(unsafe_code)]
pub fn by_connection_id(socket: &Socket, workers: usize) -> io::Result<()> {
    const LOAD_BYTE: u16 = (libc::BPF_LD | libc::BPF_B | libc::BPF_ABS) as u16;
    const JUMP_IF_SET: u16 = (libc::BPF_JMP | libc::BPF_JSET | libc::BPF_K) as u16;
    const MODULO: u16 = (libc::BPF_ALU | libc::BPF_MOD | libc::BPF_K) as u16;
    const RETURN_A: u16 = (libc::BPF_RET | libc::BPF_A) as u16;
    let op = |code, jt, jf, k| libc::sock_filter { code, jt, jf, k };
    // Offsets are into the UDP payload. A packet too short for its connection ID ends the program
    // with 0, and worker 0 drops it.
    let mut program = [
        op(LOAD_BYTE, 0, 0, 0),
        op(JUMP_IF_SET, 0, 2, 0x80), // header form (RFC 9000 section 17.2)
        op(LOAD_BYTE, 0, 0, 6),      // long header: after version and length of the ID
        op(libc::BPF_JMP as u16, 0, 0, 1),
        op(LOAD_BYTE, 0, 0, 1), // short header: right after the first byte
        op(MODULO, 0, 0, workers as u32),
        op(RETURN_A, 0, 0, 0),
    ];
    let filter = libc::sock_fprog {
        len: program.len() as u16,
        filter: program.as_mut_ptr(),
    };
    // SAFETY: the kernel copies `filter` and the program it points to before the call returns, and
    // both outlive it; the length is that of a sock_fprog.
    let result = unsafe {
        libc::setsockopt(
            socket.as_raw_fd(),
            libc::SOL_SOCKET,
            libc::SO_ATTACH_REUSEPORT_CBPF,
            (&raw const filter).cast(),
            size_of::<libc::sock_fprog>() as libc::socklen_t,
        )
    };
    if result == 0 {
        Ok(())
    } else {
        Err(io::Error::last_os_error())
    }
}

/// Issues random connection IDs whose first byte leads back to one worker.
#[derive(Clone, Copy, Debug)]
pub struct SteeredIds {
    pub worker: usize,
    /// At most 256.
    pub workers: usize,
}

impl ConnectionIdGenerator for SteeredIds {
    fn generate_cid(&mut self) -> ConnectionId {
        let mut id = [0; CID_LEN];
        // The system's generator only fails before it is seeded at boot; then IDs are merely linkable.
        let _ = aws_fill(&mut id);
        let first = usize::from(id[0]);
        let steered = first - first % self.workers + self.worker;
        id[0] = if steered > 255 {
            self.worker as u8
        } else {
            steered as u8
        };
        ConnectionId::new(&id)
    }

    fn cid_len(&self) -> usize {
        CID_LEN
    }

    fn cid_lifetime(&self) -> Option<Duration> {
        None
    }
}

fn aws_fill(bytes: &mut [u8]) -> io::Result<()> {
    rustls::crypto::aws_lc_rs::default_provider()
        .secure_random
        .fill(bytes)
        .map_err(|_| io::Error::other("no randomness"))
}

#[cfg(test)]
mod tests {
    use std::net::UdpSocket;
    use std::time::Duration;

    use super::*;
    use crate::net::bind::Sockets;

    #[test]
    fn every_id_leads_to_its_worker() {
        for workers in [1, 2, 3, 7, 200, 256] {
            for worker in 0..workers {
                let mut ids = SteeredIds { worker, workers };
                for _ in 0..50 {
                    let id = ids.generate_cid();
                    assert_eq!(id.len(), CID_LEN);
                    assert_eq!(usize::from(id[0]) % workers, worker);
                }
            }
        }
    }

    #[test]
    fn the_kernel_follows_the_connection_id_from_any_source_port() {
        let sockets = Sockets::bind("127.0.0.1:0", true, false, 3).unwrap();
        for socket in &sockets.udp {
            socket.set_nonblocking(false).unwrap();
            socket.set_read_timeout(Some(Duration::from_secs(5))).unwrap();
        }
        for byte in 0..30u8 {
            let client = UdpSocket::bind("127.0.0.1:0").unwrap();
            let worker = usize::from(byte) % 3;
            let short = [0x40, byte, 9, 9, 9, 9, 9, 9, 9];
            let long = [0xc0, 0, 0, 0, 1, 8, byte, 9, 9, 9, 9, 9, 9, 9];
            for packet in [&short[..], &long[..]] {
                client.send_to(packet, sockets.address).unwrap();
                let mut received = [0; 64];
                let len = sockets.udp[worker].recv(&mut received).unwrap();
                assert_eq!(&received[..len], packet);
            }
        }
    }
}
