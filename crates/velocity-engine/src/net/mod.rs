//! Sockets: binding them, steering packets to workers, and the IO shims around them.

pub mod batch;
pub mod bind;
pub mod changes;
pub mod duplex;
pub mod proxy_protocol;
pub mod rewind;
pub mod stall;
pub mod steer;
pub mod tunnel;
