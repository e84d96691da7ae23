//! Heads of requests and answers, and what is known of a connection, as frames carry them.

use std::fmt::Write as _;
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;

use bytes::{BufMut, BytesMut};
use http::{HeaderMap, Method, StatusCode, Uri, Version};
use velocity_tls::Facts;
use velocity_tls::fallback::Reason;

use super::frame::{Reader, malformed, put_bytes, put_fields};
use crate::app::Head;
use crate::http::Response;
use crate::service::Stock;
use crate::session::Peer;

/// Flags of a request.
const BODY: u8 = 1;
const HINTS: u8 = 2;
const TRAILERS: u8 = 4;
const EXPIRES: u8 = 8;
const WEBSOCKET: u8 = 16;
/// Beside the status of an answer: it is of our own making, see [`Stock`].
const STOCK: u16 = 1 << 15;

/// What is known of a connection.
pub fn put_peer(out: &mut BytesMut, peer: &Peer) {
    let facts = &peer.facts;
    out.put_u64_le(peer.id);
    put_address(out, peer.remote);
    put_address(out, peer.local);
    put_bytes(out, facts.alpn.as_deref().unwrap_or_default());
    put_bytes(out, facts.server_name.as_deref().unwrap_or_default().as_bytes());
    for number in [facts.group, facts.cipher, facts.version] {
        out.put_u16_le(number.unwrap_or(0)); // which is none of them
    }
    let reason = |reason| Reason::ALL.iter().position(|one| *one == reason);
    out.put_u8(facts.downgrade.and_then(reason).map_or(0, |place| place as u8 + 1));
    put_bytes(out, facts.client_certificate.as_deref().unwrap_or_default());
}

/// The same, and its number.
pub fn peer(mut reader: Reader) -> io::Result<(u64, Arc<Peer>)> {
    let id = reader.u64()?;
    let (remote, local) = (address(&mut reader)?, address(&mut reader)?);
    let some = |reader: &mut Reader| reader.bytes().map(|bytes| (!bytes.is_empty()).then(|| bytes.to_vec()));
    let number = |reader: &mut Reader| reader.u16().map(|number| (number != 0).then_some(number));
    let facts = Facts {
        alpn: some(&mut reader)?,
        server_name: some(&mut reader)?.and_then(|name| String::from_utf8(name).ok()),
        group: number(&mut reader)?,
        cipher: number(&mut reader)?,
        version: number(&mut reader)?,
        downgrade: match reader.u8()? {
            0 => None,
            place => Some(*Reason::ALL.get(usize::from(place) - 1).ok_or_else(malformed)?),
        },
        client_certificate: some(&mut reader)?,
        ..Facts::default()
    };
    reader.end()?;
    Ok((id, Arc::new(Peer::new(remote, local, facts, None))))
}

pub fn put_request(out: &mut BytesMut, head: &Head, websocket: bool) {
    let flags = [
        (head.has_body, BODY),
        (head.hints, HINTS),
        (head.trailers, TRAILERS),
        (head.expires, EXPIRES),
        (websocket, WEBSOCKET),
    ];
    let flags = flags.iter().filter(|(is, _)| *is).fold(0, |all, (_, flag)| all | flag);
    out.put_u64_le(head.peer.id);
    out.put_u8(flags);
    out.put_u8(match head.version {
        Version::HTTP_10 => 10,
        Version::HTTP_2 => 20,
        Version::HTTP_3 => 30,
        _ => 11,
    });
    put_address(out, head.client);
    put_bytes(out, head.root_path.as_bytes());
    put_bytes(out, head.method.as_str().as_bytes());
    let at = out.len();
    out.put_u32_le(0);
    let _ = write!(out, "{}", head.uri); // which does not fail
    let length = (out.len() - at - 4) as u32;
    out[at..at + 4].copy_from_slice(&length.to_le_bytes());
    put_fields(out, &head.headers);
}

/// A request and whether it is for a WebSocket. `known` finds connections by their number.
pub fn request(mut reader: Reader, known: impl FnOnce(u64) -> Option<Arc<Peer>>) -> io::Result<(Head, bool)> {
    let peer = known(reader.u64()?).ok_or_else(malformed)?;
    let flags = reader.u8()?;
    let has = |flag| flags & flag != 0;
    let head = Head {
        version: match reader.u8()? {
            10 => Version::HTTP_10,
            11 => Version::HTTP_11,
            20 => Version::HTTP_2,
            30 => Version::HTTP_3,
            _ => return Err(malformed()),
        },
        client: address(&mut reader)?,
        root_path: reader.text()?.into(),
        method: Method::from_bytes(&reader.bytes()?).map_err(|_| malformed())?,
        uri: Uri::from_maybe_shared(reader.bytes()?).map_err(|_| malformed())?,
        headers: reader.fields()?,
        peer,
        has_body: has(BODY),
        hints: has(HINTS),
        trailers: has(TRAILERS),
        expires: has(EXPIRES),
    };
    reader.end()?;
    Ok((head, has(WEBSOCKET)))
}

/// The head of an answer.
pub fn put_answer<T>(out: &mut BytesMut, answer: &http::Response<T>) {
    let stock = answer.extensions().get::<Stock>().map_or(0, |_| STOCK);
    out.put_u16_le(answer.status().as_u16() | stock);
    put_fields(out, answer.headers());
}

pub fn answer(reader: &mut Reader) -> io::Result<http::Response<()>> {
    let number = reader.u16()?;
    let mut answer = http::Response::new(());
    *answer.status_mut() = StatusCode::from_u16(number & !STOCK).map_err(|_| malformed())?;
    if number & STOCK != 0 {
        answer.extensions_mut().insert(Stock);
    }
    *answer.headers_mut() = reader.fields()?;
    Ok(answer)
}

/// A whole answer: what comes after its head is its body.
pub fn whole(mut reader: Reader) -> io::Result<Response> {
    let head = answer(&mut reader)?;
    Ok(head.map(|()| reader.0.into()))
}

/// Nothing, or fields.
pub fn fields_if_any(mut reader: Reader) -> io::Result<Option<HeaderMap>> {
    match reader.0.is_empty() {
        true => Ok(None),
        false => reader.fields().map(Some),
    }
}

fn put_address(out: &mut BytesMut, address: SocketAddr) {
    match address.ip() {
        IpAddr::V4(ip) => {
            out.put_u8(4);
            out.put_slice(&ip.octets());
        }
        IpAddr::V6(ip) => {
            out.put_u8(6);
            out.put_slice(&ip.octets());
        }
    }
    out.put_u16_le(address.port());
}

fn address(reader: &mut Reader) -> io::Result<SocketAddr> {
    let length = match reader.u8()? {
        4 => 4,
        6 => 16,
        _ => return Err(malformed()),
    };
    if reader.0.len() < length {
        return Err(malformed());
    }
    let octets = reader.0.split_to(length);
    let ip = match <[u8; 4]>::try_from(&octets[..]) {
        Ok(octets) => IpAddr::from(octets),
        Err(_) => IpAddr::from(<[u8; 16]>::try_from(&octets[..]).map_err(|_| malformed())?),
    };
    Ok(SocketAddr::new(ip, reader.u16()?))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn reader(put: impl FnOnce(&mut BytesMut)) -> Reader {
        let mut out = BytesMut::new();
        put(&mut out);
        Reader(out.freeze())
    }

    fn some_peer() -> Peer {
        let facts = Facts {
            alpn: Some(b"velocity/1".to_vec()),
            server_name: Some("host.example".into()),
            group: Some(0x11ec),
            cipher: Some(0x1302),
            version: Some(0x0304),
            downgrade: Some(Reason::ClientSigalg),
            client_certificate: Some(vec![1, 2, 3]),
            ..Facts::default()
        };
        Peer::new(([192, 0, 2, 1], 5).into(), ([192, 0, 2, 2], 443).into(), facts, None)
    }

    #[test]
    fn what_is_known_of_a_connection() {
        for facts in [some_peer().facts, Facts::default()] {
            let (remote, local) = ("[2001:db8::1]:4711".parse().unwrap(), "[::1]:443".parse().unwrap());
            let sent = Peer::new(remote, local, facts, None);
            let (id, got) = peer(reader(|out| put_peer(out, &sent))).unwrap();
            assert_eq!((id, got.remote, got.local), (sent.id, remote, local));
            assert_eq!(got.facts, sent.facts);
            assert_eq!((got.protocol, &got.group), (sent.protocol, &sent.group));
        }
    }

    #[test]
    fn heads_of_requests() {
        let peer = Arc::new(some_peer());
        for (uri, version) in [
            ("/a%20b?c=d", Version::HTTP_11),
            ("*", Version::HTTP_10),
            ("https://host.example:1/a", Version::HTTP_3),
        ] {
            let mut headers = HeaderMap::new();
            headers.append("cookie", "a=b".parse().unwrap());
            headers.append("cookie", http::HeaderValue::from_bytes(b"\xff").unwrap());
            let sent = Head {
                method: Method::from_bytes(b"PURGE").unwrap(),
                uri: uri.parse().unwrap(),
                version,
                headers,
                peer: peer.clone(),
                client: ([192, 0, 2, 9], 0).into(),
                root_path: "/api".into(),
                has_body: true,
                hints: false,
                trailers: true,
                expires: false,
            };
            let find = |id| (id == peer.id).then(|| peer.clone());
            let (got, websocket) = request(reader(|out| put_request(out, &sent, true)), find).unwrap();
            assert_eq!(
                (&got.uri, got.version, &got.headers),
                (&sent.uri, version, &sent.headers)
            );
            assert_eq!((got.client, &*got.root_path), (sent.client, "/api"));
            assert_eq!((got.method, websocket), (sent.method, true));
            assert_eq!(
                (got.has_body, got.hints, got.trailers, got.expires),
                (true, false, true, false)
            );
        }
    }

    #[test]
    fn what_is_cut_short_or_too_long_is_refused() {
        let peers = reader(|out| put_peer(out, &some_peer())).0;
        for length in 0..peers.len() {
            assert!(peer(Reader(peers.slice(..length))).is_err(), "{length}");
        }
        let longer = [&peers[..], b"x"].concat();
        assert!(peer(Reader(longer.into())).is_err());
        let nobody = reader(|out| out.put_u64_le(1));
        assert!(request(nobody, |_| None).is_err());
    }

    #[test]
    fn answers_of_our_own_making_are_known_for_it() {
        let sent = crate::service::plain(StatusCode::INTERNAL_SERVER_ERROR, "oh\n");
        let got = answer(&mut reader(|out| put_answer(out, &sent))).unwrap();
        assert_eq!((got.status(), got.headers()), (sent.status(), sent.headers()));
        assert!(got.extensions().get::<Stock>().is_some());
    }
}
