//! One error for the whole engine. It says who is at fault, has a stable code and a hint,
//! and becomes the Python exception of the same code in `velocity-python`.

use std::fmt;

/// Who has to act for the error to go away.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fault {
    /// The configuration or the command line.
    Config,
    /// This process could not start or reload: a port in use, an unreadable file.
    Start,
    /// No connection to the other end, or no handshake with it.
    Connect,
    /// A connection, but no complete response.
    Request,
    /// A defect of ours.
    Internal,
}

impl Fault {
    pub fn as_str(self) -> &'static str {
        match self {
            Fault::Config => "config",
            Fault::Start => "start",
            Fault::Connect => "connect",
            Fault::Request => "request",
            Fault::Internal => "internal",
        }
    }
}

/// An error with everything a person needs: what happened, where, and what to do next.
#[derive(Clone, Debug)]
pub struct Error {
    pub fault: Fault,
    /// Stable, upper snake case: `PORT_IN_USE`, `CERT_KEY_MISMATCH`.
    pub code: &'static str,
    /// One line, lower case, no full stop.
    pub message: String,
    /// What to try next; empty when there is nothing useful to say.
    pub hint: String,
    /// Facts for programs, by name: `cause`, `link`, `fallback`.
    pub details: Vec<(&'static str, String)>,
}

pub type Result<T, E = Error> = std::result::Result<T, E>;

impl Error {
    pub fn new(fault: Fault, code: &'static str, message: impl Into<String>) -> Self {
        Self {
            fault,
            code,
            message: message.into(),
            hint: String::new(),
            details: Vec::new(),
        }
    }

    pub fn config(code: &'static str, message: impl Into<String>) -> Self {
        Self::new(Fault::Config, code, message)
    }

    pub fn start(code: &'static str, message: impl Into<String>) -> Self {
        Self::new(Fault::Start, code, message)
    }

    pub fn connect(code: &'static str, message: impl Into<String>) -> Self {
        Self::new(Fault::Connect, code, message)
    }

    pub fn request(code: &'static str, message: impl Into<String>) -> Self {
        Self::new(Fault::Request, code, message)
    }

    pub fn internal(message: impl Into<String>) -> Self {
        Self::new(Fault::Internal, "INTERNAL", message)
    }

    #[must_use]
    pub fn detail(mut self, name: &'static str, value: impl Into<String>) -> Self {
        self.details.push((name, value.into()));
        self
    }

    #[must_use]
    pub fn hint(mut self, hint: impl Into<String>) -> Self {
        self.hint = hint.into();
        self
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} ({})", self.message, self.code)
    }
}

impl std::error::Error for Error {}

/// An error with what caused it, in one line.
pub(crate) fn chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(cause) = source {
        text = format!("{text}: {cause}");
        source = cause.source();
    }
    text
}
