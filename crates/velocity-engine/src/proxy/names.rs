//! Where the name of an upstream leads. It is resolved for each connection, so that a change of its addresses is
//! followed; while nobody can say, its last ones are good enough.

use std::fs::File;
use std::io;
use std::net::SocketAddr;
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use tokio::time::timeout;

use crate::client::connect::is_shortage;
use crate::log::{self, Level};

/// How long a resolver may think about a name that has led somewhere before.
const PATIENCE: Duration = Duration::from_secs(1);
/// How long it is left alone when it has failed.
const PAUSE: Duration = Duration::from_secs(1);

/// What is known of one name.
#[derive(Default)]
pub struct Names(Mutex<Known>);

#[derive(Default)]
struct Known {
    last: Vec<SocketAddr>,
    /// Since when they are all there is, and until when nobody is asked.
    lost: Option<Instant>,
}

impl Names {
    /// # Errors
    ///
    /// The resolver's, when the name has never led anywhere.
    pub async fn resolve(&self, host: &str, port: u16) -> io::Result<Vec<SocketAddr>> {
        let last = {
            let known = self.known();
            if known.lost.is_some_and(|until| Instant::now() < until) {
                return Ok(known.last.clone());
            }
            known.last.clone()
        };
        let asked = tokio::net::lookup_host((host, port));
        let found = match last.is_empty() {
            true => asked.await.map(Iterator::collect),
            false => match timeout(PATIENCE, asked).await {
                Ok(found) => found.map(Iterator::collect),
                Err(_) => Err(io::ErrorKind::TimedOut.into()),
            },
        };
        match found {
            Ok(found) => {
                let found: Vec<_> = found;
                let mut known = self.known();
                known.last.clone_from(&found);
                known.lost = None;
                Ok(found)
            }
            Err(error) if last.is_empty() => Err(shortage().unwrap_or(error)),
            Err(error) => {
                let before = self.known().lost.replace(Instant::now() + PAUSE);
                if before.is_none() {
                    let fields = [("host", host.into()), ("reason", error.to_string().into())];
                    let message = "a name cannot be resolved: its last addresses are used";
                    log::record(Level::Warn, "velocity::proxy", "upstream_unresolved", message, &fields);
                }
                Ok(last)
            }
        }
    }

    fn known(&self) -> std::sync::MutexGuard<'_, Known> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// What keeps a resolver from opening its files, if it is a want of descriptors: it says nothing of that.
fn shortage() -> Option<io::Error> {
    File::open("/dev/null").err().filter(is_shortage)
}
