//! QPACK (RFC 9204): field compression for HTTP/3.
