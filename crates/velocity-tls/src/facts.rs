//! What a handshake really negotiated, read from the TLS state and never from the configuration.

use rustls::{CommonState, HandshakeKind};

use crate::fallback::Reason;
use crate::group;
use crate::profile::Profile;
use crate::scheme::Scheme;

#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Facts {
    /// The protocol chosen by ALPN.
    pub alpn: Option<Vec<u8>>,
    /// SNI, on the server side.
    pub server_name: Option<String>,
    /// Code point of the key exchange group.
    pub group: Option<u16>,
    /// Code point of the cipher suite.
    pub cipher: Option<u16>,
    /// Whether the server asked for another key share (RFC 9846 section 4.1.4).
    pub hello_retry: bool,
    /// Whether it continues an earlier session, and rests on the certificate of that (RFC 9846 section 2.2).
    pub resumed: bool,
    /// `0x0304` for TLS 1.3.
    pub version: Option<u16>,
    /// Length of the ClientHello over QUIC, in bytes.
    pub hello_len: usize,
    /// On a server: why a client that offered `velocity/1` did not get it.
    pub downgrade: Option<Reason>,
    /// On a server: the client's certificate, verified, in DER.
    pub client_certificate: Option<Vec<u8>>,
}

impl Facts {
    /// From a finished rustls connection (TCP).
    pub fn of(connection: &CommonState, server_name: Option<&str>) -> Self {
        Facts {
            alpn: connection.alpn_protocol().map(<[u8]>::to_vec),
            server_name: server_name.map(str::to_owned),
            group: connection
                .negotiated_key_exchange_group()
                .map(|group| group.name().into()),
            cipher: connection.negotiated_cipher_suite().map(|suite| suite.suite().into()),
            hello_retry: connection.handshake_kind() == Some(HandshakeKind::FullWithHelloRetryRequest),
            resumed: connection.handshake_kind() == Some(HandshakeKind::Resumed),
            version: connection.protocol_version().map(Into::into),
            hello_len: 0,
            downgrade: None,
            client_certificate: None,
        }
    }

    /// The profile the connection satisfies: only `velocity/1` has one.
    pub fn profile(&self) -> Option<Profile> {
        (self.alpn.as_deref() == Some(crate::alpn::VELOCITY))
            .then(|| self.group.and_then(Profile::of_group))
            .flatten()
    }

    pub fn group_name(&self) -> Option<String> {
        self.group.map(group::name)
    }

    pub fn cipher_name(&self) -> Option<String> {
        self.cipher.map(cipher_name)
    }
}

/// IANA name of a cipher suite.
pub fn cipher_name(code: u16) -> String {
    let suite = rustls::CipherSuite::from(code);
    match suite.as_str() {
        // rustls writes TLS13_ for what the registry calls TLS_.
        Some(name) => name.replacen("TLS13_", "TLS_", 1),
        None => format!("{code:#06x}"),
    }
}

/// IANA name of a signature scheme.
pub fn signature_scheme_name(code: u16) -> String {
    if let Some(hybrid) = Scheme::of_code(code) {
        return hybrid.name.to_owned();
    }
    match code {
        0x0401 => "rsa_pkcs1_sha256",
        0x0501 => "rsa_pkcs1_sha384",
        0x0601 => "rsa_pkcs1_sha512",
        0x0403 => "ecdsa_secp256r1_sha256",
        0x0503 => "ecdsa_secp384r1_sha384",
        0x0603 => "ecdsa_secp521r1_sha512",
        0x0804 => "rsa_pss_rsae_sha256",
        0x0805 => "rsa_pss_rsae_sha384",
        0x0806 => "rsa_pss_rsae_sha512",
        0x0807 => "ed25519",
        0x0808 => "ed448",
        0x0904 => "mldsa44",
        0x0905 => "mldsa65",
        0x0906 => "mldsa87",
        _ => return format!("{code:#06x}"),
    }
    .to_owned()
}
