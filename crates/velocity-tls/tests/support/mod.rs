//! Test vectors as they stand in files that other implementations read too.

// Also outside of the test functions, a test is allowed to stop. Not every test needs everything.
#![allow(clippy::unwrap_used, clippy::panic, dead_code)]

use std::path::Path;

use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, UnixTime};
use serde_json::Value;
use velocity_tls::chain::{self, Cause, ChainError, Demands, Level, Roots, Usage, Verified};
use x509_cert::der::DateTime;

/// A file of vectors.
pub fn vectors(name: &str) -> Value {
    let path = Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("../../tests/vectors")
        .join(name);
    serde_json::from_str(&std::fs::read_to_string(path).unwrap()).unwrap()
}

/// The octets that are written in base64.
pub fn octets(text: &Value) -> Vec<u8> {
    let text = text.as_str().unwrap();
    let pem = format!("-----BEGIN CERTIFICATE-----\n{text}\n-----END CERTIFICATE-----\n");
    CertificateDer::from_pem_slice(pem.as_bytes()).unwrap().to_vec()
}

/// What a list of names stands for in a table.
pub fn named(table: &Value, names: &Value) -> Vec<Vec<u8>> {
    let names = names.as_array().map(Vec::as_slice).unwrap_or_default();
    names
        .iter()
        .map(|name| octets(&table[name.as_str().unwrap()]))
        .collect()
}

pub fn time(text: &Value) -> UnixTime {
    let text = text.as_str().unwrap().replace("+00:00", "Z");
    UnixTime::since_unix_epoch(text.parse::<DateTime>().unwrap().unix_duration())
}

pub fn level(name: &Value) -> Level {
    Level::ALL.into_iter().find(|level| level.as_str() == name).unwrap()
}

pub fn cause(name: &Value) -> Option<Cause> {
    let name = name.as_str()?;
    Some(Cause::ALL.into_iter().find(|cause| cause.as_str() == name).unwrap())
}

/// Verify DER as it was sent.
pub fn judge(
    sent: &[Vec<u8>],
    trusted: &[Vec<u8>],
    lists: &[Vec<u8>],
    demands: &Demands<'_>,
) -> Result<Verified, ChainError> {
    let borrow = |all: &[Vec<u8>]| {
        all.iter()
            .map(|der| CertificateDer::from(der.clone()))
            .collect::<Vec<_>>()
    };
    let roots = Roots::new(&borrow(trusted), lists)?;
    chain::verify(&borrow(sent), &roots, demands)
}

/// Demands at a time and for a name, and no others.
pub fn demands(at: UnixTime, name: &str) -> Demands<'_> {
    Demands {
        at,
        name: Some(name),
        usage: Usage::Server,
        at_least: Level::MlDsa44,
    }
}
