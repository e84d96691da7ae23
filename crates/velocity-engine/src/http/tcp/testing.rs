//! What the tests of this folder share: a site behind a service, and TLS on both ends.

use std::fs;
use std::sync::Arc;

use arc_swap::ArcSwap;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use velocity_tls::Facts;

use crate::app::Applications;
use crate::plan::Plan;
use crate::service::Service;
use crate::session::Peer;
use crate::snapshot::Snapshot;

/// A self-signed leaf for `localhost`, good for a hundred years and for nothing else.
pub const CERTIFICATE: &str = include_str!("testing-certificate.pem");
const KEY: &str = include_str!("testing-key.pem");

/// A site with one file.
pub struct Site {
    _folder: tempfile::TempDir,
    pub plan: Plan,
}

impl Site {
    pub fn new(name: &str, content: &[u8]) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let path = |name: &str| folder.path().join(name);
        fs::create_dir(path("site")).unwrap();
        fs::write(path("site").join(name), content).unwrap();
        fs::write(path("certificate.pem"), CERTIFICATE).unwrap();
        fs::write(path("key.pem"), KEY).unwrap();
        let plan = serde_json::json!({
            "version": 1,
            "listeners": [{"address": "127.0.0.1:0", "alpn": ["h2", "http/1.1"]}],
            "tls": {
                "certificates": [{
                    "chain_file": path("certificate.pem"), "key_file": path("key.pem"),
                    "alternative_key_file": null, "classical_chain_file": null,
                }],
                "profiles": {"default": "balanced", "permit": ["balanced"]},
                "client_auth": null,
                "fallback": {"alpn": "h3", "host": null, "port": null},
            },
            "limits": {
                "max_sessions": null, "max_datagram_size": null,
                "handshake_timeout_ms": 10_000, "idle_timeout_ms": 60_000, "header_timeout_ms": 30_000,
                "max_header_bytes": 65536, "max_streams": 100,
            },
            "sites": [{"hosts": [], "profiles": null, "error_pages": [], "routes": [{
                "name": "root", "match": {"kind": "prefix", "value": "/"}, "methods": [], "filters": [],
                "handler": {
                    "kind": "files", "root": path("site"), "index": ["index.html"], "listings": false,
                    "cache_control": null, "dotfiles": false, "compress": false, "hot_cache_bytes": 0,
                    "strip_prefix": "", "fallback_file": null,
                },
            }]}],
            "filters": [],
            "templates": null,
            "trusted_proxies": [],
            "log": {"access": false},
            "workers": 1,
        });
        let plan = Plan::from_json(&plan.to_string()).unwrap();
        Self { _folder: folder, plan }
    }

    pub fn service(&self) -> Arc<Service> {
        Arc::new(Service {
            snapshot: Arc::new(ArcSwap::from_pointee(
                Snapshot::new(&self.plan, None, &Applications::any()).unwrap(),
            )),
            metrics: Arc::default(),
            listener: 0,
            local: ([127, 0, 0, 1], 443).into(),
            alt_svc: None,
            takes_sessions: false,
        })
    }
}

pub fn peer() -> Arc<Peer> {
    Arc::new(Peer::new(
        ([127, 0, 0, 1], 1).into(),
        ([127, 0, 0, 1], 443).into(),
        Facts::default(),
        None,
    ))
}

/// A server with the certificate above.
pub fn acceptor() -> tokio_rustls::TlsAcceptor {
    let chain = vec![CertificateDer::from_pem_slice(CERTIFICATE.as_bytes()).unwrap()];
    let key = PrivateKeyDer::from_pem_slice(KEY.as_bytes()).unwrap();
    let config = rustls::ServerConfig::builder().with_no_client_auth();
    let mut config = config.with_single_cert(chain, key).unwrap();
    config.send_tls13_tickets = 0; // so that all that follows the handshake is what a test wrote
    Arc::new(config).into()
}

/// A client that trusts the certificate above.
pub fn connector(alpn: &[u8]) -> tokio_rustls::TlsConnector {
    let mut roots = rustls::RootCertStore::empty();
    roots
        .add(CertificateDer::from_pem_slice(CERTIFICATE.as_bytes()).unwrap())
        .unwrap();
    let mut config = rustls::ClientConfig::builder()
        .with_root_certificates(roots)
        .with_no_client_auth();
    config.alpn_protocols = vec![alpn.to_vec()];
    Arc::new(config).into()
}
