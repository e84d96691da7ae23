//! The client side of the contract.
//!
//! - [`connection`]: one connection over one protocol, for what looks at it
//! - [`pool`]: as many as are needed, and [`exchange`]: a request on one of them
//! - [`waiting`]: how an event loop learns that something is there

mod connection;
mod exchange;
mod pool;
mod waiting;

use std::time::Duration;

pub use connection::{Connection, Response, can_verify_hybrid, code_point_name, parse_fallback, verify_classical};
pub use exchange::Exchange;
pub use pool::Pool;

/// Seconds from Python; a day is as good as for ever, and no sum of times overflows with it.
fn duration(seconds: f64) -> Duration {
    const DAY: Duration = Duration::from_secs(86_400);
    Duration::try_from_secs_f64(seconds).map_or(DAY, |duration| duration.min(DAY))
}
