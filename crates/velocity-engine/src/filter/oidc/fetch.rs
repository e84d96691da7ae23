//! Requests to a provider: over TLS, or in clear to this machine, where a test or a developer has one.
//!
//! Every request is a connection of its own. There are few of them: a login takes one or two.

use std::path::PathBuf;
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use bytes::{Bytes, BytesMut};
use http::Uri;
use http::header::HOST;
use http_body_util::{BodyExt, Full, Limited};
use hyper_util::rt::TokioIo;
use serde::de::DeserializeOwned;
use tokio::net::TcpStream;

use crate::client::{Connection, Options, Protocol, next_chunk};
use crate::error::{Error, Result};

/// From the first packet to the last byte.
const TIMEOUT: Duration = Duration::from_secs(10);
const MAX_BODY: usize = 1 << 20;
const FORM: &str = "application/x-www-form-urlencoded";

type Fields = Vec<(String, String)>;

/// Where a provider is asked.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Endpoint {
    uri: Uri,
    host: String,
    secure: bool,
}

/// What it said.
pub struct Answer {
    pub status: u16,
    pub body: Bytes,
}

impl Answer {
    pub fn json<T: DeserializeOwned>(&self) -> Result<T> {
        serde_json::from_slice(&self.body).map_err(|e| failed(format!("the answer is not what it should be: {e}")))
    }
}

impl Endpoint {
    /// `https:`, or `http:` to this machine.
    pub fn parse(url: &str) -> Option<Self> {
        let uri: Uri = url.parse().ok()?;
        let authority = uri.authority()?;
        let host = authority.host().to_ascii_lowercase();
        let secure = match uri.scheme_str()? {
            "https" => true,
            "http" if is_loopback(&host) => false,
            _ => return None,
        };
        (!authority.as_str().contains('@')).then_some(Self { uri, host, secure })
    }

    pub fn is_secure(&self) -> bool {
        self.secure
    }

    fn port(&self) -> u16 {
        self.uri.port_u16().unwrap_or(if self.secure { 443 } else { 80 })
    }

    fn path(&self) -> &str {
        self.uri.path_and_query().map_or("/", |path| path.as_str())
    }

    /// Get something, as the bearer of a token where there is one.
    pub async fn get(&self, ca_file: Option<&PathBuf>, token: Option<&str>) -> Result<Answer> {
        let mut fields = vec![("accept".to_owned(), "application/json".to_owned())];
        if let Some(token) = token {
            fields.push(("authorization".to_owned(), format!("Bearer {token}")));
        }
        self.ask(ca_file, "GET", fields, None).await
    }

    /// Send a form, in the name of a client where that goes into a field (RFC 6749 section 2.3.1).
    pub async fn post(&self, ca_file: Option<&PathBuf>, form: String, basic: Option<(&str, &str)>) -> Result<Answer> {
        let mut fields = vec![
            ("accept".to_owned(), "application/json".to_owned()),
            ("content-type".to_owned(), FORM.to_owned()),
        ];
        if let Some((name, secret)) = basic {
            let [name, secret] = [name, secret].map(|text| form_urlencoded::byte_serialize(text.as_bytes()));
            let pair = format!("{}:{}", name.collect::<String>(), secret.collect::<String>());
            fields.push(("authorization".to_owned(), format!("Basic {}", STANDARD.encode(pair))));
        }
        self.ask(ca_file, "POST", fields, Some(form.into())).await
    }

    async fn ask(
        &self,
        ca_file: Option<&PathBuf>,
        method: &str,
        fields: Fields,
        body: Option<Bytes>,
    ) -> Result<Answer> {
        let asked = async {
            match self.secure {
                true => self.over_tls(ca_file, method, &fields, body).await,
                false => self.in_clear(method, &fields, body).await,
            }
        };
        match tokio::time::timeout(TIMEOUT, asked).await {
            Ok(answer) => answer,
            Err(_) => Err(failed(format!("{} took too long", self.host))),
        }
    }

    async fn over_tls(
        &self,
        ca_file: Option<&PathBuf>,
        method: &str,
        fields: &[(String, String)],
        body: Option<Bytes>,
    ) -> Result<Answer> {
        let trust = Options::trust(ca_file.cloned(), false);
        let protocols = vec![Protocol::H2, Protocol::H1];
        let options = Options::new(self.host.clone(), self.port(), protocols, trust, TIMEOUT);
        let mut connection = Connection::open(&options).await?;
        let mut response = connection.request(method, self.path(), fields, body).await?;
        let mut content = BytesMut::new();
        while let Some(chunk) = next_chunk(&mut response.body).await? {
            if content.len() + chunk.len() > MAX_BODY {
                return Err(failed(format!("the answer of {} is too large", self.host)));
            }
            content.extend_from_slice(&chunk);
        }
        Ok(Answer {
            status: response.status,
            body: content.freeze(),
        })
    }

    async fn in_clear(&self, method: &str, fields: &[(String, String)], body: Option<Bytes>) -> Result<Answer> {
        let broken = |e: &dyn std::fmt::Display| failed(format!("cannot ask {}: {e}", self.host));
        let bare = self.host.trim_start_matches('[').trim_end_matches(']');
        let found = tokio::net::lookup_host((bare, self.port())).await;
        // Whatever the name says, nothing leaves this machine unencrypted.
        let addresses: Vec<_> = found
            .map_err(|e| broken(&e))?
            .filter(|address| address.ip().is_loopback())
            .collect();
        let stream = TcpStream::connect(&*addresses).await.map_err(|e| broken(&e))?;
        let (mut sender, driver) = hyper::client::conn::http1::handshake(TokioIo::new(stream))
            .await
            .map_err(|e| broken(&e))?;
        tokio::spawn(driver);
        let mut request = http::Request::builder().method(method).uri(self.path());
        if let Some(authority) = self.uri.authority() {
            request = request.header(HOST, authority.as_str());
        }
        for (name, value) in fields {
            request = request.header(name, value);
        }
        let request = request
            .body(Full::new(body.unwrap_or_default()))
            .map_err(|e| broken(&e))?;
        let (head, body) = sender.send_request(request).await.map_err(|e| broken(&e))?.into_parts();
        let body = Limited::new(body, MAX_BODY).collect().await.map_err(|e| broken(&e))?;
        Ok(Answer {
            status: head.status.as_u16(),
            body: body.to_bytes(),
        })
    }
}

/// What went wrong with a provider.
pub fn failed(reason: impl Into<String>) -> Error {
    Error::request("OIDC_PROVIDER", reason)
}

fn is_loopback(host: &str) -> bool {
    let bare = host.trim_start_matches('[').trim_end_matches(']');
    host == "localhost"
        || bare
            .parse::<std::net::IpAddr>()
            .is_ok_and(|address| address.is_loopback())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn in_clear_is_for_this_machine_only() {
        for (url, secure) in [
            ("https://id.example/realms/a", Some(true)),
            ("http://localhost:3000", Some(false)),
            ("http://127.0.0.1/a?b=c", Some(false)),
            ("http://[::1]:80/", Some(false)),
            ("http://id.example/", None),
            ("http://localhost.example/", None),
            ("http://127.0.0.1.example/", None),
            ("http://localhost@id.example/", None),
            ("https://user@id.example/", None),
            ("ftp://localhost/", None),
            ("/path", None),
            ("", None),
        ] {
            assert_eq!(Endpoint::parse(url).map(|one| one.is_secure()), secure, "{url}");
        }
        let endpoint = Endpoint::parse("https://ID.example:8443/a?b=c").unwrap();
        assert_eq!((endpoint.port(), endpoint.path()), (8443, "/a?b=c"));
        assert_eq!(endpoint.host, "id.example");
    }
}
