//! Two streams joined: what comes out of one goes into the other (RFC 9110 section 7.8).

use std::time::Duration;

use tokio::io::{AsyncRead, AsyncWrite, copy_bidirectional};

use crate::shutdown::Shutdown;

/// Carry bytes until both sides have said all they have to say, or the server is told to end at once. `within` is how
/// long a server that stops leaves a tunnel open: nothing tells when a conversation is over.
pub async fn join<A, B>(mut one: A, mut other: B, within: Duration, mut shutdown: Shutdown)
where
    A: AsyncRead + AsyncWrite + Unpin,
    B: AsyncRead + AsyncWrite + Unpin,
{
    let mut draining = shutdown.clone();
    let late = async {
        draining.draining().await;
        tokio::time::sleep(within).await;
    };
    tokio::select! {
        // However it ends, both sides are closed with it.
        _ = copy_bidirectional(&mut one, &mut other) => {}
        () = shutdown.aborted() => {}
        () = late => {}
    }
}
