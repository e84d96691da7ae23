//! When addresses or routes of this machine change, as the kernel tells it (rtnetlink(7)).

use std::io;
use std::task::{Context, Poll};

use rustix::net::netlink::SocketAddrNetlink;
use rustix::net::{AddressFamily, SocketFlags, SocketType, bind, socket_with};
use tokio::net::UdpSocket;

const GROUPS: i32 =
    libc::RTMGRP_IPV4_IFADDR | libc::RTMGRP_IPV4_ROUTE | libc::RTMGRP_IPV6_IFADDR | libc::RTMGRP_IPV6_ROUTE;

/// Hears that something has changed; whoever wants to know what looks. To tokio, one socket for datagrams is like another.
pub struct Changes(UdpSocket);

impl Changes {
    /// Must be called inside a runtime.
    pub fn new() -> io::Result<Self> {
        let flags = SocketFlags::CLOEXEC | SocketFlags::NONBLOCK;
        let socket = socket_with(AddressFamily::NETLINK, SocketType::RAW, flags, None)?;
        bind(&socket, &SocketAddrNetlink::new(0, GROUPS as u32))?;
        Ok(Self(UdpSocket::from_std(socket.into())?))
    }

    /// Ready when something has changed since the last time. Whoever asks is woken at the next change either way.
    pub fn poll(&self, cx: &mut Context<'_>) -> Poll<()> {
        let mut changed = Poll::Pending;
        while let Poll::Ready(Ok(())) = self.0.poll_recv_ready(cx) {
            match self.0.try_recv(&mut [0; 16]) {
                Ok(_) => changed = Poll::Ready(()),
                // There was more news than the kernel keeps.
                Err(error) if error.raw_os_error() == Some(libc::ENOBUFS) => changed = Poll::Ready(()),
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                Err(_) => break,
            }
        }
        changed
    }
}
