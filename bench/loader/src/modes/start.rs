//! `start`: from spawning the server to the first byte of a real answer.

use std::io::{ErrorKind, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::os::unix::process::CommandExt;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::thread::sleep;
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process_group};
use rustls::pki_types::ServerName;
use rustls::{ClientConfig, ClientConnection, StreamOwned};
use serde_json::{Value, json};

use crate::args::Args;
use crate::error::Result;
use crate::stats::{Samples, rounded};
use crate::target::SERVER_NAME;
use crate::tls::{self, Verify};

const POLL: Duration = Duration::from_millis(1);
const TIMEOUT: Duration = Duration::from_secs(30);

pub fn run(args: &mut Args) -> Result<Value> {
    let address: SocketAddr = args.required("address")?;
    let path: String = args.required("path")?;
    let count: usize = args.or("count", 5)?;
    // Without roots the server speaks plain HTTP.
    let ca: Option<PathBuf> = args.optional("ca")?;
    let command = args.take_command();
    args.finish()?;

    let tls = match ca {
        Some(ca) => Some(Arc::new(tls::config(&ca, "x25519", "http/1.1", Verify::Yes)?)),
        None => None,
    };
    let request = format!("GET {path} HTTP/1.1\r\nHost: {SERVER_NAME}:{}\r\n\r\n", address.port());
    let mut times = Samples::default();
    for _ in 0..count {
        times.push(first_byte(&command, address, tls.clone(), &request)?);
    }
    times.sort();
    Ok(json!({
        "count": count,
        "median_ms": rounded(times.quantile(0.5), 1),
        "min_ms": rounded(times.quantile(0.0), 1),
        "max_ms": rounded(times.quantile(1.0), 1),
    }))
}

/// A child in a process group of its own, all of which is killed in the end.
struct Server(Child);

impl Drop for Server {
    fn drop(&mut self) {
        if let Some(group) = i32::try_from(self.0.id()).ok().and_then(Pid::from_raw) {
            // It may be gone already.
            let _ = kill_process_group(group, Signal::KILL);
        }
        let _ = self.0.wait();
    }
}

/// Milliseconds from spawn to the first byte of the response.
fn first_byte(command: &[String], address: SocketAddr, tls: Option<Arc<ClientConfig>>, request: &str) -> Result<f64> {
    let (program, arguments) = command.split_first().ok_or("there is no command after --")?;
    if TcpStream::connect(address).is_ok() {
        return Err(format!("something listens on {address} already").into());
    }
    let start = Instant::now();
    let child = Command::new(program)
        .args(arguments)
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .process_group(0)
        .spawn()
        .map_err(|e| format!("{program}: {e}"))?;
    let mut server = Server(child);

    let socket = loop {
        match TcpStream::connect(address) {
            Ok(socket) => break socket,
            Err(error) if error.kind() != ErrorKind::ConnectionRefused => return Err(error.into()),
            Err(_) if start.elapsed() > TIMEOUT => return Err("the server does not listen".into()),
            Err(_) => sleep(POLL),
        }
        if let Some(status) = server.0.try_wait()? {
            return Err(format!("{program} ended with {status}").into());
        }
    };
    socket.set_nodelay(true)?;
    socket.set_read_timeout(Some(TIMEOUT))?;
    let mut buffer = [0; 4096];
    let count = match tls {
        Some(config) => {
            let connection = ClientConnection::new(config, ServerName::try_from(SERVER_NAME)?)?;
            ask(StreamOwned::new(connection, socket), request, &mut buffer)?
        }
        None => ask(socket, request, &mut buffer)?,
    };
    let elapsed = start.elapsed().as_secs_f64() * 1e3;
    if !buffer[..count].starts_with(b"HTTP/1.1 200") {
        return Err(format!("the answer is {:?}", String::from_utf8_lossy(&buffer[..count.min(40)])).into());
    }
    Ok(elapsed)
}

fn ask(mut stream: impl Read + Write, request: &str, buffer: &mut [u8]) -> Result<usize> {
    stream.write_all(request.as_bytes())?;
    Ok(stream.read(buffer)?)
}
