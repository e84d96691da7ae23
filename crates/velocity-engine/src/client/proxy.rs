//! Through an HTTP proxy: CONNECT (RFC 9110 section 9.3.6) for what is encrypted, requests in absolute form for the rest.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use http::uri::Uri;
use http::{HeaderValue, StatusCode};
use percent_encoding::percent_decode_str;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use super::target::port;
use crate::error::{Error, Result};

/// The largest head of a proxy's answer, in bytes.
const MAX_HEAD: usize = 16 * 1024;

#[derive(Clone, Debug)]
pub struct Proxy {
    pub(super) host: String,
    pub(super) port: u16,
    /// What goes into `proxy-authorization`.
    pub(super) authorization: Option<HeaderValue>,
}

impl Proxy {
    /// From `http://[user:password@]host:port`.
    ///
    /// # Errors
    ///
    /// `PROXY_INVALID`.
    pub fn parse(url: &str) -> Result<Self> {
        // A password does not belong into an error.
        let invalid = |why: &str| {
            Error::config("PROXY_INVALID", format!("the proxy cannot be used: {why}"))
                .hint("write http://[USER:PASSWORD@]HOST:PORT")
        };
        let uri: Uri = url.parse().map_err(|_| invalid("its URL is none"))?;
        if uri.scheme_str() != Some("http") {
            return Err(invalid("only http:// proxies are spoken to"));
        }
        let authority = uri.authority().ok_or_else(|| invalid("there is no host"))?;
        let authorization = match authority.as_str().rsplit_once('@') {
            None => None,
            Some((user, _)) => {
                let (user, password) = user.split_once(':').unwrap_or((user, ""));
                let credentials = [
                    &*percent_decode_str(user).collect::<Vec<u8>>(),
                    b":",
                    &*percent_decode_str(password).collect::<Vec<u8>>(),
                ]
                .concat();
                let mut value = HeaderValue::from_str(&format!("Basic {}", BASE64.encode(credentials)))
                    .map_err(|_| invalid("its credentials are none"))?;
                value.set_sensitive(true);
                Some(value)
            }
        };
        Ok(Self {
            host: authority
                .host()
                .trim_start_matches('[')
                .trim_end_matches(']')
                .to_owned(),
            port: port(authority, 80).ok_or_else(|| invalid("its port is none"))?,
            authorization,
        })
    }

    /// Have the proxy connect `stream` to `host`.
    pub(super) async fn connect(&self, stream: &mut TcpStream, host: &str, port: u16) -> Result<()> {
        let failed = |why: String| {
            Error::connect("PROXY_FAILED", format!("no way through the proxy {}: {why}", self.host))
                .hint("is it an HTTP proxy, and may it be used for that host and port?")
        };
        let host = match host.contains(':') && !host.starts_with('[') {
            true => format!("[{host}]"),
            false => host.to_owned(),
        };
        let mut request = format!("CONNECT {host}:{port} HTTP/1.1\r\nHost: {host}:{port}\r\n").into_bytes();
        if let Some(authorization) = &self.authorization {
            request.extend_from_slice(b"Proxy-Authorization: ");
            request.extend_from_slice(authorization.as_bytes());
            request.extend_from_slice(b"\r\n");
        }
        request.extend_from_slice(b"\r\n");
        stream.write_all(&request).await.map_err(|e| failed(e.to_string()))?;
        let mut head = Vec::with_capacity(1024);
        loop {
            let read = stream.read_buf(&mut head).await.map_err(|e| failed(e.to_string()))?;
            if read == 0 {
                return Err(failed("it hung up".to_owned()));
            }
            let mut fields = [httparse::EMPTY_HEADER; 64];
            let mut response = httparse::Response::new(&mut fields);
            match response.parse(&head) {
                Ok(httparse::Status::Complete(length)) => {
                    let status = response.code.unwrap_or_default();
                    if !(200..300).contains(&status) {
                        let name = StatusCode::from_u16(status).map_or_else(|_| status.to_string(), |s| s.to_string());
                        return Err(failed(format!("it says {name}")).detail("status", status.to_string()));
                    }
                    // The server speaks second in TLS: what comes now is not from it.
                    return match length == head.len() {
                        true => Ok(()),
                        false => Err(failed("it says more than it was asked".to_owned())),
                    };
                }
                Ok(httparse::Status::Partial) if head.len() < MAX_HEAD => {}
                Ok(httparse::Status::Partial) => return Err(failed("the head of its answer is too large".to_owned())),
                Err(error) => return Err(failed(format!("what it says is no HTTP/1.1 ({error})"))),
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn credentials_are_decoded_and_not_shown() {
        let proxy = Proxy::parse("http://user%40a:p%3Aw@[::1]:3128").unwrap();
        assert_eq!((&*proxy.host, proxy.port), ("::1", 3128));
        assert_eq!(proxy.authorization.clone().unwrap(), "Basic dXNlckBhOnA6dw==");
        assert!(!format!("{proxy:?}").contains("dXNlckBhOnA6dw"));
    }

    #[test]
    fn other_proxies_are_refused_without_their_passwords() {
        for url in [
            "socks5://u:secret@a",
            "https://u:secret@a",
            "nonsense",
            "http://u:secret@a:b",
        ] {
            let error = Proxy::parse(url).unwrap_err();
            assert_eq!(error.code, "PROXY_INVALID");
            assert!(!error.message.contains("secret"));
        }
    }
}
