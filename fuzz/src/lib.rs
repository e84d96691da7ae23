//! What is fuzzed: one function a parser, and one for each end of a whole HTTP/3 connection.
//!
//! Each takes any bytes and panics when a promise is broken: that input is cut anywhere without making a difference,
//! that what is told could have happened, that memory is bounded, that what was encoded is what is decoded.

mod capsules;
mod connection;
mod frames;
mod input;
mod qpack;
mod tls;

use std::alloc::System;

use cap::Cap;

pub use capsules::capsules;
pub use connection::{connection_client, connection_server};
pub use frames::{frames, settings};
pub use qpack::{field_section, huffman, qpack_decoder_stream, qpack_encoder_stream};
pub use tls::client_hello;

/// Counts what is allocated, so that a target can say what something holds.
#[global_allocator]
static ALLOCATOR: Cap<System> = Cap::new(System, usize::MAX);

/// What is done with an input.
pub type Target = fn(&[u8]);

/// Every target, by the name of its binary.
pub const TARGETS: [(&str, Target); 10] = [
    ("frames", frames),
    ("settings", settings),
    ("qpack_encoder_stream", qpack_encoder_stream),
    ("qpack_decoder_stream", qpack_decoder_stream),
    ("field_section", field_section),
    ("huffman", huffman),
    ("capsules", capsules),
    ("connection_server", connection_server),
    ("connection_client", connection_client),
    ("client_hello", client_hello),
];
