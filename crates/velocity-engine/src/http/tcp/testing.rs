//! What the tests of this folder share: a site behind a service.

use std::fs;
use std::sync::Arc;

use arc_swap::ArcSwap;
use velocity_tls::Facts;

use crate::plan::Plan;
use crate::service::Service;
use crate::session::Peer;
use crate::snapshot::Snapshot;

/// A self-signed leaf for `localhost`, good for a hundred years and for nothing else.
const CERTIFICATE: &str = include_str!("testing-certificate.pem");
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
                "certificate": {"chain_file": path("certificate.pem"), "key_file": path("key.pem")},
                "profiles": {"default": "balanced", "permit": ["balanced"]},
            },
            "limits": {
                "max_sessions": null, "max_datagram_size": null,
                "handshake_timeout_ms": 10_000, "idle_timeout_ms": 60_000, "header_timeout_ms": 30_000,
                "max_header_bytes": 65536, "max_streams": 100,
            },
            "sites": [{"hosts": [], "files": {
                "root": path("site"), "index": ["index.html"], "listings": false, "cache_control": null,
                "dotfiles": false, "compress": false, "hot_cache_bytes": 0,
            }}],
            "log": {"access": false},
            "workers": 1,
        });
        let plan = Plan::from_json(&plan.to_string()).unwrap();
        Self { _folder: folder, plan }
    }

    pub fn service(&self) -> Service {
        Service {
            snapshot: Arc::new(ArcSwap::from_pointee(Snapshot::new(&self.plan).unwrap())),
            metrics: Arc::default(),
            alt_svc: None,
        }
    }
}

pub fn peer() -> Arc<Peer> {
    Arc::new(Peer::new(([127, 0, 0, 1], 1).into(), Facts::default()))
}
