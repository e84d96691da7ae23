//! Whether a client that is waited for is still there.

use std::time::Duration;

use h2::{Ping, PingPong};
use tokio::time::{Instant, sleep_until, timeout};

use crate::net::stall::Progress;
use crate::session::Peer;

/// Ready when a client with requests under way has said nothing for `every`, was asked (RFC 9113 section 6.7), and has not
/// answered for as long again.
pub async fn gone(peer: &Peer, ping: &mut PingPong, progress: &Progress, every: Duration) {
    loop {
        let due = progress.heard() + every;
        if Instant::now() < due {
            sleep_until(due).await;
        } else if !peer.is_busy() {
            // Whoever is merely idle is sent away for that.
            tokio::time::sleep(every).await;
        } else if !matches!(timeout(every, ping.ping(Ping::opaque())).await, Ok(Ok(_))) {
            return;
        }
    }
}
