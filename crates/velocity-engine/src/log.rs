//! The one logger of the process: targets `velocity::server`, `::proxy`, `::edge` and `::tls`, as
//! JSON objects or as text, to standard error.
//!
//! Lines are put together on the thread that has something to say and collected in one buffer; a
//! writer thread hands them to the kernel. A reader that falls behind never stalls a connection:
//! beyond 8 MiB of unwritten lines new ones are dropped, and how many is itself logged.

use std::cell::RefCell;
use std::io::Write;
use std::sync::atomic::{AtomicU8, Ordering};
use std::sync::{Condvar, Mutex, MutexGuard, Once, PoisonError};
use std::time::{Duration, SystemTime};

use serde_json::Value;

/// Unwritten bytes at which new lines are dropped.
const MAX_PENDING: usize = 8 << 20;
/// How long a line may wait for company.
const LINGER: Duration = Duration::from_millis(20);

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Level {
    Error,
    Warn,
    Info,
    Debug,
    Trace,
}

impl Level {
    pub fn parse(name: &str) -> Option<Self> {
        [Level::Error, Level::Warn, Level::Info, Level::Debug, Level::Trace]
            .into_iter()
            .find(|l| l.name() == name)
    }

    fn name(self) -> &'static str {
        match self {
            Level::Error => "error",
            Level::Warn => "warn",
            Level::Info => "info",
            Level::Debug => "debug",
            Level::Trace => "trace",
        }
    }

    fn color(self) -> &'static str {
        match self {
            Level::Error => "\x1b[31m",
            Level::Warn => "\x1b[33m",
            Level::Info => "\x1b[32m",
            Level::Debug => "\x1b[34m",
            Level::Trace => "\x1b[35m",
        }
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Format {
    Json,
    Text { color: bool },
}

/// Level in the low bits; 255 before the first [`configure`].
static LEVEL: AtomicU8 = AtomicU8::new(Level::Info as u8);
static FORMAT: AtomicU8 = AtomicU8::new(1);
static PENDING: Mutex<Pending> = Mutex::new(Pending {
    bytes: Vec::new(),
    dropped: 0,
    writing: false,
});
static WAKE: Condvar = Condvar::new();
static WRITTEN: Condvar = Condvar::new();
static WRITER: Once = Once::new();

struct Pending {
    bytes: Vec<u8>,
    dropped: u64,
    writing: bool,
}

/// Set format and level. `libraries` also shows what rustls, quinn and h2 have to say. From here on there is the thread
/// that writes, with the signals blocked that the caller has blocked.
pub fn configure(format: Format, level: Level, libraries: bool) {
    start_writer();
    LEVEL.store(level as u8, Ordering::Relaxed);
    FORMAT.store(
        match format {
            Format::Json => 0,
            Format::Text { color: false } => 1,
            Format::Text { color: true } => 2,
        },
        Ordering::Relaxed,
    );
    if libraries && log::set_logger(&Libraries).is_ok() {
        log::set_max_level(log::LevelFilter::Trace);
    }
}

pub fn enabled(level: Level) -> bool {
    level as u8 <= LEVEL.load(Ordering::Relaxed)
}

/// Write one record. `fields` come after the message, in order.
pub fn record(level: Level, target: &str, event: &str, message: &str, fields: &[(&str, Value)]) {
    if !enabled(level) {
        return;
    }
    line(level, target, event, message, |line| {
        for (key, value) in fields {
            match value {
                Value::String(text) => line.text(key, text),
                other => line.raw(key, other),
            }
        }
    });
}

/// Put a line together without collecting its fields first: the access log's way in.
pub(crate) fn line(level: Level, target: &str, event: &str, message: &str, fields: impl FnOnce(&mut Line)) {
    thread_local!(static BUFFER: RefCell<Vec<u8>> = const { RefCell::new(Vec::new()) });
    BUFFER.with_borrow_mut(|buffer| {
        buffer.clear();
        let mut line = Line {
            out: buffer,
            format: FORMAT.load(Ordering::Relaxed),
        };
        line.begin(level, target, event, message);
        fields(&mut line);
        line.end();
        push(buffer);
    });
}

/// A line being written.
pub(crate) struct Line<'a> {
    out: &'a mut Vec<u8>,
    format: u8,
}

impl Line<'_> {
    fn begin(&mut self, level: Level, target: &str, event: &str, message: &str) {
        let time = humantime::format_rfc3339_millis(SystemTime::now());
        // Writing to a Vec cannot fail.
        let _ = match self.format {
            0 => write!(
                self.out,
                r#"{{"timestamp":"{time}","level":"{}","target":"{target}","event":"{event}""#,
                level.name()
            ),
            1 => write!(self.out, "{time} {:5} {target} {event}", level.name()),
            _ => write!(
                self.out,
                "\x1b[2m{time}\x1b[0m {}{:5}\x1b[0m {target} {event}",
                level.color(),
                level.name()
            ),
        };
        if !message.is_empty() {
            match self.format {
                0 => self.text("message", message),
                _ => {
                    let _ = write!(self.out, ": {}", Printable(message));
                }
            }
        }
    }

    pub(crate) fn text(&mut self, key: &str, value: &str) {
        let plain = value
            .bytes()
            .all(|b| b.is_ascii_graphic() && b != b'"' && b != b'\\' && b != b'=');
        let _ = match self.format {
            0 => write!(self.out, r#","{key}":"#),
            _ => write!(self.out, " {key}="),
        };
        if plain && self.format != 0 {
            self.out.extend_from_slice(value.as_bytes());
        } else {
            // Quoted the JSON way in both formats: a peer can never forge a line or a field.
            let _ = serde_json::to_writer(&mut *self.out, value);
        }
    }

    pub(crate) fn raw(&mut self, key: &str, value: impl std::fmt::Display) {
        let _ = match self.format {
            0 => write!(self.out, r#","{key}":{value}"#),
            _ => write!(self.out, " {key}={value}"),
        };
    }

    fn end(&mut self) {
        if self.format == 0 {
            self.out.push(b'}');
        }
        self.out.push(b'\n');
    }
}

/// Text without control characters, so that nothing a peer sent can move a terminal's cursor.
struct Printable<'a>(&'a str);

impl std::fmt::Display for Printable<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        self.0.chars().try_for_each(|c| match c.is_control() {
            true => write!(f, "{}", c.escape_default()),
            false => write!(f, "{c}"),
        })
    }
}

fn lock() -> MutexGuard<'static, Pending> {
    PENDING.lock().unwrap_or_else(PoisonError::into_inner)
}

fn start_writer() {
    WRITER.call_once(|| {
        // Without the thread, flush() still writes everything at the end.
        let _ = std::thread::Builder::new()
            .name("velocity-log".into())
            .spawn(write_for_ever);
    });
}

fn push(bytes: &[u8]) {
    start_writer();
    let mut pending = lock();
    if pending.bytes.len() + bytes.len() > MAX_PENDING {
        pending.dropped += 1;
        return;
    }
    let first = pending.bytes.is_empty();
    pending.bytes.extend_from_slice(bytes);
    if first {
        WAKE.notify_one();
    }
}

fn write_for_ever() {
    loop {
        let mut pending = lock();
        while pending.bytes.is_empty() {
            pending = WAKE.wait(pending).unwrap_or_else(PoisonError::into_inner);
        }
        drop(pending);
        std::thread::sleep(LINGER);
        write_pending();
    }
}

fn write_pending() {
    let mut pending = lock();
    while pending.writing {
        pending = WRITTEN.wait(pending).unwrap_or_else(PoisonError::into_inner);
    }
    if pending.bytes.is_empty() {
        return;
    }
    let mut bytes = std::mem::take(&mut pending.bytes);
    let dropped = std::mem::take(&mut pending.dropped);
    pending.writing = true;
    drop(pending);
    // A closed standard error leaves nobody to tell.
    let _ = std::io::stderr().write_all(&bytes);
    bytes.clear();
    let mut pending = lock();
    if pending.bytes.capacity() == 0 && bytes.capacity() <= 1 << 20 {
        pending.bytes = bytes;
    }
    pending.writing = false;
    WRITTEN.notify_all();
    drop(pending);
    if dropped > 0 {
        record(
            Level::Warn,
            "velocity::server",
            "log_dropped",
            "standard error was too slow, log lines were dropped",
            &[("lines", dropped.into())],
        );
    }
}

/// Write everything recorded so far.
pub fn flush() {
    write_pending();
}

/// The `log` facade, which rustls, quinn and h2 write to.
struct Libraries;

impl log::Log for Libraries {
    fn enabled(&self, _: &log::Metadata<'_>) -> bool {
        true
    }

    fn log(&self, entry: &log::Record<'_>) {
        record(Level::Trace, entry.target(), "library", &entry.args().to_string(), &[]);
    }

    fn flush(&self) {
        flush();
    }
}
