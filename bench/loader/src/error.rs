//! Errors of the loader: a sentence is enough, there is nobody to catch them.

pub type Error = Box<dyn std::error::Error + Send + Sync>;
pub type Result<T> = std::result::Result<T, Error>;
