//! HTTP/1.1 (RFC 9112): a GET on a persistent connection, answered with a Content-Length.

use crate::error::Result;
use crate::target::{Resource, Target};
use crate::tcp::Exchange;

const MAX_HEAD: usize = 16 << 10;

pub struct Client {
    request: Vec<u8>,
    length: u64,
    head: Vec<u8>,
    /// Body bytes still to come, once the head is complete.
    left: Option<u64>,
}

impl Client {
    pub fn new(target: &Target, resource: &Resource) -> Self {
        let request = format!("GET {} HTTP/1.1\r\nHost: {}\r\n\r\n", resource.path, target.authority());
        Self {
            request: request.into_bytes(),
            length: resource.length,
            head: Vec::new(),
            left: None,
        }
    }
}

impl Exchange for Client {
    fn request(&mut self) -> Vec<u8> {
        self.request.clone()
    }

    fn feed(&mut self, bytes: &[u8], _reply: &mut Vec<u8>) -> Result<bool> {
        let (left, body) = match self.left {
            Some(left) => (left, bytes.len()),
            None => {
                self.head.extend_from_slice(bytes);
                let Some(end) = self.head.windows(4).position(|window| window == b"\r\n\r\n") else {
                    return if self.head.len() > MAX_HEAD {
                        Err("the head has no end".into())
                    } else {
                        Ok(false)
                    };
                };
                let length = content_length(&self.head[..end])?;
                if length != self.length {
                    return Err(format!("Content-Length is {length} instead of {}", self.length).into());
                }
                let body = self.head.len() - end - 4;
                self.head.clear();
                (length, body)
            }
        };
        let left = left.checked_sub(body as u64).ok_or("bytes after the end of the body")?;
        self.left = (left > 0).then_some(left);
        Ok(left == 0)
    }
}

fn content_length(head: &[u8]) -> Result<u64> {
    let head = str::from_utf8(head)?;
    let mut lines = head.split("\r\n");
    let status = lines.next().unwrap_or_default();
    if !status.starts_with("HTTP/1.1 200") {
        return Err(format!("the answer is {status:?}").into());
    }
    let value = lines.find_map(|line| {
        let (name, value) = line.split_once(':')?;
        name.eq_ignore_ascii_case("content-length").then(|| value.trim())
    });
    Ok(value.ok_or("no Content-Length")?.parse()?)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn client(length: u64) -> Client {
        Client {
            request: Vec::new(),
            length,
            head: Vec::new(),
            left: None,
        }
    }

    #[test]
    fn reads_pieces_of_any_size_twice() {
        let answer = b"HTTP/1.1 200 OK\r\nServer: x\r\ncontent-length: 6\r\n\r\nabcdef";
        for size in [1, 5, 100] {
            let mut client = client(6);
            for _ in 0..2 {
                let mut complete = Vec::new();
                for piece in answer.chunks(size) {
                    complete.push(client.feed(piece, &mut Vec::new()).unwrap());
                }
                assert_eq!(complete.iter().position(|done| *done), Some(complete.len() - 1));
            }
        }
    }

    #[test]
    fn refuses_other_answers() {
        for answer in [
            "HTTP/1.1 404 Not Found\r\nContent-Length: 6\r\n\r\nabcdef",
            "HTTP/1.1 200 OK\r\nContent-Length: 7\r\n\r\n",
            "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n",
            "HTTP/1.1 200 OK\r\nContent-Length: 6\r\n\r\nabcdefg",
        ] {
            assert!(
                client(6).feed(answer.as_bytes(), &mut Vec::new()).is_err(),
                "{answer:?}"
            );
        }
    }
}
