//! TLS 1.3 as every contestant gets it: one group, AES-128-GCM, no resumption.

use std::path::Path;
use std::sync::Arc;

use rustls::client::Resumption;
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::CryptoProvider;
use rustls::crypto::aws_lc_rs::{cipher_suite, default_provider};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::{ClientConfig, DigitallySignedStruct, Error, RootCertStore, SignatureScheme};

use velocity_tls::client::{Offer, Trust};
use velocity_tls::{ClientTls, Profile};

use crate::error::Result;
use crate::group;

/// What to do with the server's certificate.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verify {
    /// Check chain, name and signature, as a client does.
    Yes,
    /// Check nothing: a client that is cheaper than any server, for handshakes per second.
    No,
}

/// A configuration that offers exactly one group and one ALPN protocol.
///
/// Under `velocity/1` it is the one of Velocity's own client, with the groups of the profile: nobody else's
/// verifies what a server signs there.
pub fn config(ca: &Path, group: &str, alpn: &str, verify: Verify) -> Result<ClientConfig> {
    if alpn == "velocity/1" {
        return velocity(ca, group, verify);
    }
    let provider = Arc::new(CryptoProvider {
        kx_groups: vec![group::by_name(group)?],
        cipher_suites: vec![cipher_suite::TLS13_AES_128_GCM_SHA256],
        ..default_provider()
    });
    let builder = ClientConfig::builder_with_provider(provider).with_protocol_versions(&[&rustls::version::TLS13])?;
    let mut config = match verify {
        Verify::Yes => {
            let mut roots = RootCertStore::empty();
            for certificate in CertificateDer::pem_file_iter(ca).map_err(|e| format!("{}: {e}", ca.display()))? {
                roots.add(certificate?)?;
            }
            builder.with_root_certificates(roots).with_no_client_auth()
        }
        Verify::No => builder
            .dangerous()
            .with_custom_certificate_verifier(Arc::new(AcceptAll))
            .with_no_client_auth(),
    };
    config.alpn_protocols = vec![alpn.as_bytes().to_vec()];
    config.resumption = Resumption::disabled();
    Ok(config)
}

fn velocity(ca: &Path, group: &str, verify: Verify) -> Result<ClientConfig> {
    let code = group::by_name(group)?.name().into();
    let profile = Profile::of_group(code).ok_or_else(|| format!("{group} is of no profile"))?;
    let tls = ClientTls::new(&Offer {
        protocols: &[velocity_tls::alpn::VELOCITY],
        profile: Some(profile),
        trust: &match verify {
            Verify::Yes => Trust::Roots(ca.to_owned()),
            Verify::No => Trust::Anyone,
        },
        revocation: &[],
        certificate: None,
    })?;
    Ok(ClientConfig::clone(&tls.tcp()))
}

#[derive(Debug)]
struct AcceptAll;

impl ServerCertVerifier for AcceptAll {
    fn verify_server_cert(
        &self,
        _end_entity: &CertificateDer<'_>,
        _intermediates: &[CertificateDer<'_>],
        _server_name: &ServerName<'_>,
        _ocsp_response: &[u8],
        _now: UnixTime,
    ) -> std::result::Result<ServerCertVerified, Error> {
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        _message: &[u8],
        _certificate: &CertificateDer<'_>,
        _signature: &DigitallySignedStruct,
    ) -> std::result::Result<HandshakeSignatureValid, Error> {
        Err(Error::General("TLS 1.2 is not offered".to_owned()))
    }

    fn verify_tls13_signature(
        &self,
        _message: &[u8],
        _certificate: &CertificateDer<'_>,
        _signature: &DigitallySignedStruct,
    ) -> std::result::Result<HandshakeSignatureValid, Error> {
        Ok(HandshakeSignatureValid::assertion())
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        vec![SignatureScheme::ECDSA_NISTP256_SHA256]
    }
}
