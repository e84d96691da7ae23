//! Why an upstream did not answer, and what the client is told.

use std::io;

use http::StatusCode;

use crate::error::{Error, chain};
use crate::http::h2::client as h2;
use crate::http::h3::client as h3;

/// How far a request had come when it failed: what may be sent again depends on that (RFC 9110 section 9.2.2).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reached {
    /// Nothing of the request was sent, or the upstream says that it did nothing with it.
    Nobody,
    /// A part of it may have been.
    Perhaps,
}

#[derive(Debug)]
pub struct Failure {
    pub reached: Reached,
    /// 502 or 504; 503 is for what we lack, anything else is the client's doing: of those the upstream knows nothing.
    pub status: StatusCode,
    /// A word for logs: `connect`, `tls`, `timeout`, `reset`, `protocol`, `status`, `client`, `resources`, `size`.
    pub kind: &'static str,
    pub reason: String,
    pub hint: String,
    /// Whether the upstream's failures have it already.
    pub counted: bool,
}

impl Failure {
    pub fn new(reached: Reached, kind: &'static str, reason: impl Into<String>) -> Self {
        Self {
            reached,
            status: StatusCode::BAD_GATEWAY,
            kind,
            reason: reason.into(),
            hint: String::new(),
            counted: false,
        }
    }

    pub fn timeout(reached: Reached, reason: impl Into<String>) -> Self {
        Self {
            status: StatusCode::GATEWAY_TIMEOUT,
            ..Self::new(reached, "timeout", reason)
        }
    }

    /// The client's body broke off, for this reason.
    pub fn upload(error: io::ErrorKind) -> Self {
        let status = match error {
            io::ErrorKind::FileTooLarge => StatusCode::PAYLOAD_TOO_LARGE,
            _ => StatusCode::BAD_REQUEST,
        };
        Self {
            status,
            ..Self::new(Reached::Perhaps, "client", "the body of the request broke off")
        }
    }

    /// The rest of the client's body did not come.
    pub fn waited() -> Self {
        Self {
            status: StatusCode::REQUEST_TIMEOUT,
            ..Self::new(
                Reached::Perhaps,
                "client",
                "the rest of the request did not come in time",
            )
        }
    }

    /// There is no descriptor for a connection.
    pub fn exhausted(reason: String) -> Self {
        Self {
            status: StatusCode::SERVICE_UNAVAILABLE,
            hint: "raise the limit of open files: ulimit -n, or LimitNOFILE= of systemd".to_owned(),
            ..Self::new(Reached::Nobody, "resources", reason)
        }
    }

    /// Whether we are to blame.
    pub fn is_ours(&self) -> bool {
        self.status == StatusCode::SERVICE_UNAVAILABLE
    }

    /// Whether the client is to blame.
    pub fn is_clients(&self) -> bool {
        self.status.is_client_error()
    }

    /// A connection that could not be made.
    pub fn connect(error: &Error) -> Self {
        let (kind, hint) = match error.code {
            "CONNECT_TIMEOUT" => return Self::timeout(Reached::Nobody, error.message.clone()),
            "DESCRIPTORS_EXHAUSTED" => return Self::exhausted(error.message.clone()),
            "CONNECT_FAILED" | "RESOLVE_FAILED" => ("connect", error.hint.clone()),
            "CERTIFICATE_INVALID" => (
                "tls",
                "name its root with tls.ca_file, or the name it bears with tls.server_name or --proxy-preserve-host"
                    .to_owned(),
            ),
            _ => (
                "tls",
                "check tls.server_name (--proxy-preserve-host sends the name that the client asked for) and tls.ca_file"
                    .to_owned(),
            ),
        };
        Self {
            hint,
            ..Self::new(Reached::Nobody, kind, error.message.clone())
        }
    }

    /// A request over HTTP/2 that was not answered.
    pub fn over_h2(failure: &h2::Failure) -> Self {
        let (reached, kind) = match failure {
            h2::Failure::Closed(_) | h2::Failure::Refused => (Reached::Nobody, "reset"),
            h2::Failure::Unsupported => (Reached::Nobody, UNSUPPORTED),
            _ if failure.is_protocol() => (Reached::Perhaps, "protocol"),
            _ => (Reached::Perhaps, "reset"),
        };
        Self::new(reached, kind, chain(failure))
    }

    /// A request over HTTP/3 that was not answered.
    pub fn over_h3(failure: &h3::Failure) -> Self {
        let (reached, kind) = match failure {
            h3::Failure::Closed | h3::Failure::Refused => (Reached::Nobody, "reset"),
            h3::Failure::Unsupported => (Reached::Nobody, UNSUPPORTED),
            h3::Failure::Protocol(_) => (Reached::Perhaps, "protocol"),
            _ => (Reached::Perhaps, "reset"),
        };
        Self::new(reached, kind, chain(failure))
    }
}

/// The kind of a failure to have a WebSocket where there is none to be had.
pub const UNSUPPORTED: &str = "unsupported";
