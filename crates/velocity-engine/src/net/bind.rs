//! Binding: one address, one port number for UDP and TCP, a socket of each kind for every worker.
//!
//! Several workers share a port through `SO_REUSEPORT`. That option would also let a second server
//! of the same user slip onto the port and take half its clients, so the port is first claimed
//! without it: a port in use is an error, as people expect.

use std::io;
use std::net::{SocketAddr, TcpListener, ToSocketAddrs, UdpSocket};

use socket2::{Domain, Protocol, Socket, Type};

use super::steer;
use crate::error::{Error, Result};

/// Kernel buffers of a UDP socket: a burst of 64 KiB GRO batches from many peers.
const UDP_BUFFER: usize = 4 << 20;
const BACKLOG: i32 = 4096;
/// How often to look for a port that is free for UDP and TCP alike, when any port will do.
const PORT_TRIES: usize = 32;

/// The sockets of one listener: one of each wanted kind for each worker.
pub struct Sockets {
    pub address: SocketAddr,
    pub udp: Vec<UdpSocket>,
    pub tcp: Vec<TcpListener>,
}

impl Sockets {
    /// Bind `address` for `workers` workers.
    pub fn bind(address: &str, udp: bool, tcp: bool, workers: usize) -> Result<Self> {
        let wanted = resolve(address)?;
        let mut last = None;
        for _ in 0..if wanted.port() == 0 { PORT_TRIES } else { 1 } {
            match bind_all(wanted, udp, tcp, workers) {
                Ok(sockets) => return Ok(sockets),
                Err(e) if e.kind() == io::ErrorKind::AddrInUse => last = Some(e),
                Err(e) => return Err(explain(wanted, &e)),
            }
        }
        let error = last.unwrap_or_else(|| io::ErrorKind::AddrInUse.into());
        Err(explain(wanted, &error))
    }
}

fn resolve(address: &str) -> Result<SocketAddr> {
    let unusable = |reason: &str| {
        Error::config("LISTEN_INVALID", format!("cannot listen on {address}: {reason}"))
            .hint("write HOST:PORT, for example 127.0.0.1:4433 or [::]:443")
    };
    let mut found = address.to_socket_addrs().map_err(|e| unusable(&e.to_string()))?;
    found.next().ok_or_else(|| unusable("the name has no address"))
}

fn bind_all(wanted: SocketAddr, udp: bool, tcp: bool, workers: usize) -> io::Result<Sockets> {
    let shared = workers > 1;
    let mut address = wanted;
    // Claims hold the port until every shared socket is bound; they carry no traffic themselves.
    let claim = |kind, address: &mut SocketAddr| -> io::Result<Socket> {
        let socket = open(kind, *address)?;
        socket.bind(&(*address).into())?;
        address.set_port(bound_port(&socket)?);
        Ok(socket)
    };
    let first_tcp = if tcp {
        Some(claim(Type::STREAM, &mut address)?)
    } else {
        None
    };
    let first_udp = if udp {
        Some(claim(Type::DGRAM, &mut address)?)
    } else {
        None
    };
    let (mut udps, mut tcps) = (Vec::new(), Vec::new());
    if !shared {
        tcps.extend(first_tcp);
        udps.extend(first_udp);
    } else {
        drop((first_tcp, first_udp));
        for _ in 0..workers {
            for (kind, wanted, sockets) in [(Type::STREAM, tcp, &mut tcps), (Type::DGRAM, udp, &mut udps)] {
                if wanted {
                    let socket = open(kind, address)?;
                    socket.set_reuse_port(true)?;
                    socket.bind(&address.into())?;
                    sockets.push(socket);
                }
            }
        }
        if let Some(socket) = udps.first() {
            steer::by_connection_id(socket, workers)?;
        }
    }
    for socket in &tcps {
        socket.listen(BACKLOG)?;
    }
    for socket in &udps {
        // Best effort: the kernel caps both at net.core.{r,w}mem_max.
        let _ = socket.set_recv_buffer_size(UDP_BUFFER);
        let _ = socket.set_send_buffer_size(UDP_BUFFER);
    }
    Ok(Sockets {
        address,
        udp: udps.into_iter().map(UdpSocket::from).collect(),
        tcp: tcps.into_iter().map(TcpListener::from).collect(),
    })
}

fn open(kind: Type, address: SocketAddr) -> io::Result<Socket> {
    let protocol = if kind == Type::STREAM {
        Protocol::TCP
    } else {
        Protocol::UDP
    };
    let socket = Socket::new(Domain::for_address(address), kind, Some(protocol))?;
    socket.set_nonblocking(true)?;
    if kind == Type::STREAM {
        // Connections in TIME_WAIT must not keep a restarted server from its port.
        socket.set_reuse_address(true)?;
    }
    if address.is_ipv6() {
        // `[::]` serves IPv4 too.
        socket.set_only_v6(false)?;
    }
    Ok(socket)
}

fn bound_port(socket: &Socket) -> io::Result<u16> {
    let address = socket
        .local_addr()?
        .as_socket()
        .ok_or(io::ErrorKind::AddrNotAvailable)?;
    Ok(address.port())
}

fn explain(address: SocketAddr, error: &io::Error) -> Error {
    match error.kind() {
        io::ErrorKind::AddrInUse => Error::start("PORT_IN_USE", format!("{address} is already in use"))
            .hint("stop the other server, or choose another port with --listen HOST:PORT"),
        io::ErrorKind::PermissionDenied => {
            Error::start("PORT_FORBIDDEN", format!("this user may not listen on {address}"))
                .hint("ports below 1024 need CAP_NET_BIND_SERVICE; 4433 does not")
        }
        io::ErrorKind::AddrNotAvailable => Error::start(
            "ADDRESS_UNKNOWN",
            format!("{address} is not an address of this machine"),
        )
        .hint("0.0.0.0 and [::] stand for every address"),
        _ => Error::start("LISTEN_FAILED", format!("cannot listen on {address}: {error}")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn port_zero_is_one_port_for_both_kinds_and_all_workers() {
        let sockets = Sockets::bind("127.0.0.1:0", true, true, 3).unwrap();
        assert_ne!(sockets.address.port(), 0);
        assert_eq!((sockets.udp.len(), sockets.tcp.len()), (3, 3));
        for socket in &sockets.udp {
            assert_eq!(socket.local_addr().unwrap(), sockets.address);
        }
        for listener in &sockets.tcp {
            assert_eq!(listener.local_addr().unwrap(), sockets.address);
        }
    }

    #[test]
    fn a_second_server_is_refused_even_though_ports_can_be_shared() {
        let first = Sockets::bind("127.0.0.1:0", true, true, 2).unwrap();
        for (udp, tcp) in [(true, true), (true, false), (false, true)] {
            for workers in [1, 2] {
                let error = Sockets::bind(&first.address.to_string(), udp, tcp, workers)
                    .err()
                    .unwrap();
                assert_eq!(error.code, "PORT_IN_USE");
            }
        }
    }

    #[test]
    fn nonsense_is_a_config_error() {
        for address in ["", "localhost", "127.0.0.1:99999", "[::1:443"] {
            assert_eq!(
                Sockets::bind(address, true, true, 1).err().unwrap().code,
                "LISTEN_INVALID",
                "{address}"
            );
        }
    }
}
