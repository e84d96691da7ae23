//! QUIC (RFC 9000) by quinn, with the socket buffers of a serious client.

use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;

use quinn::crypto::rustls::QuicClientConfig;
use quinn::{ClientConfig, Connection, Endpoint, EndpointConfig, TokioRuntime, TransportConfig, VarInt};
use socket2::{Domain, Socket, Type};

use crate::error::Result;
use crate::target::SERVER_NAME;

const SOCKET_BUFFER: usize = 4 << 20;

/// A QUIC configuration over `tls` whose streams may hold `window` bytes each.
pub fn config(tls: rustls::ClientConfig, window: u32) -> Result<ClientConfig> {
    let mut transport = TransportConfig::default();
    transport.stream_receive_window(window.into());
    transport.receive_window(VarInt::from_u32(window.saturating_mul(2)));
    transport.max_concurrent_uni_streams(16u32.into());
    transport.max_concurrent_bidi_streams(0u32.into());
    // The server alone decides how long idle connections live.
    transport.max_idle_timeout(None);
    let mut config = ClientConfig::new(Arc::new(QuicClientConfig::try_from(tls)?));
    config.transport_config(Arc::new(transport));
    Ok(config)
}

/// A UDP socket and what drives it.
pub fn endpoint() -> Result<Endpoint> {
    let socket = Socket::new(Domain::IPV4, Type::DGRAM, None)?;
    socket.set_recv_buffer_size(SOCKET_BUFFER)?;
    socket.set_send_buffer_size(SOCKET_BUFFER)?;
    socket.bind(&SocketAddr::from((Ipv4Addr::LOCALHOST, 0)).into())?;
    Ok(Endpoint::new(
        EndpointConfig::default(),
        None,
        socket.into(),
        Arc::new(TokioRuntime),
    )?)
}

pub async fn connect(endpoint: &Endpoint, config: &ClientConfig, address: SocketAddr) -> Result<Connection> {
    Ok(endpoint.connect_with(config.clone(), address, SERVER_NAME)?.await?)
}
