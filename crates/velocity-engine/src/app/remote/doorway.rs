//! How a worker comes by its sockets: they are sent to it through one that it was started with (SCM_RIGHTS, unix(7)).
//!
//! None of them has a name, so nobody else can reach a worker, or pretend to be the data plane.

use std::io::{self, IoSlice, IoSliceMut};
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::net::UnixStream;

use rustix::cmsg_space;
use rustix::net::{
    RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, SendAncillaryBuffer, SendAncillaryMessage, SendFlags,
};

/// Make a connection: one end is for us, the other one goes through the doorway.
pub fn send(doorway: &UnixStream) -> io::Result<UnixStream> {
    let (ours, theirs) = UnixStream::pair()?;
    let mut space = [MaybeUninit::uninit(); cmsg_space!(ScmRights(1))];
    let mut rights = SendAncillaryBuffer::new(&mut space);
    let descriptors = [theirs.as_fd()];
    if !rights.push(SendAncillaryMessage::ScmRights(&descriptors)) {
        return Err(io::ErrorKind::OutOfMemory.into());
    }
    // Rights travel with a byte.
    let flags = SendFlags::DONTWAIT | SendFlags::NOSIGNAL;
    rustix::net::sendmsg(doorway, &[IoSlice::new(b"c")], &mut rights, flags)?;
    Ok(ours)
}

/// The next connection; `None` where there will be none.
pub fn receive(doorway: impl AsFd) -> io::Result<Option<OwnedFd>> {
    let mut space = [MaybeUninit::uninit(); cmsg_space!(ScmRights(1))];
    let mut rights = RecvAncillaryBuffer::new(&mut space);
    let mut byte = [0];
    let flags = RecvFlags::DONTWAIT | RecvFlags::CMSG_CLOEXEC;
    let received = rustix::net::recvmsg(doorway, &mut [IoSliceMut::new(&mut byte)], &mut rights, flags)?;
    if received.bytes == 0 {
        return Ok(None);
    }
    let found = rights.drain().find_map(|message| match message {
        RecvAncillaryMessage::ScmRights(mut descriptors) => descriptors.next(),
        _ => None,
    });
    found.map(Some).ok_or_else(|| io::ErrorKind::InvalidData.into())
}
