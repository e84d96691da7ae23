#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| velocity_fuzz::client_hello(data));
