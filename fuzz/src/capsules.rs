//! Capsules (RFC 9297, section 3.2).

use bytes::{Bytes, BytesMut};
use velocity_h3::capsule::{Capsule, Error, Reader, write};

use crate::input::pieces;

const LIMIT: usize = 64;

fn understood(kind: u64) -> bool {
    kind < 0x40
}

/// Capsules come out the same wherever their bytes are cut, and what is written of them is read again.
pub fn capsules(data: &[u8]) {
    let Some((cut, wire)) = data.split_first() else { return };
    let (capsules, end) = read(wire, usize::MAX);
    assert_eq!((capsules.clone(), end), read(wire, usize::from(cut % 16) + 1));
    let mut again = BytesMut::new();
    for Capsule { kind, value } in &capsules {
        assert!(understood(*kind) && value.len() <= LIMIT);
        write(*kind, value, &mut again);
    }
    assert_eq!(read(&again, usize::MAX), (capsules, Ok(())));
}

fn read(wire: &[u8], cut: usize) -> (Vec<Capsule>, Result<(), Error>) {
    let mut reader = Reader::new(LIMIT, understood);
    let mut capsules = Vec::new();
    for piece in pieces(wire, cut) {
        reader.receive(Bytes::copy_from_slice(piece));
        loop {
            match reader.next() {
                Ok(Some(capsule)) => capsules.push(capsule),
                Ok(None) => break,
                Err(error) => return (capsules, Err(error)),
            }
        }
    }
    (capsules, reader.finish())
}
