//! Which fields are worth an entry of the dynamic table: those that repeat from message to message.
//!
//! An entry that is used once costs more than it saves and pushes out one that would be used again. And what the
//! table holds can be guessed at by its effect on sizes (RFC 9204 section 7.1), so short secrets stay out of it.

use super::Line;
use super::dynamic_table::OVERHEAD;

/// Below this, a cookie could be guessed byte by byte.
const SHORTEST_COOKIE: usize = 20;

/// Whether a line is worth an entry in a table of this capacity.
pub(super) fn repeats(line: &Line<'_>, capacity: u64) -> bool {
    // One entry should not push out most of the others.
    let size = (line.name.len() + line.value.len()) as u64 + OVERHEAD;
    if line.sensitive || size > capacity / 2 {
        return false;
    }
    match line.name {
        // What differs for each resource or each message.
        b":path"
        | b"age"
        | b"content-disposition"
        | b"content-length"
        | b"content-range"
        | b"date"
        | b"etag"
        | b"expires"
        | b"if-match"
        | b"if-modified-since"
        | b"if-none-match"
        | b"if-range"
        | b"if-unmodified-since"
        | b"last-modified"
        | b"link"
        | b"location"
        | b"range"
        | b"retry-after"
        | b"server-timing"
        | b"traceparent"
        | b"tracestate"
        | b"x-request-id" => false,
        // Secrets: the field must say itself that it is none, by not being `sensitive`, and be long.
        b"authorization" | b"proxy-authorization" | b"set-cookie" => false,
        b"cookie" => line.value.len() >= SHORTEST_COOKIE,
        _ => true,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn worth(name: &str, value: &str, sensitive: bool) -> bool {
        repeats(
            &Line {
                name: name.as_bytes(),
                value: value.as_bytes(),
                sensitive,
            },
            4096,
        )
    }

    #[test]
    fn what_repeats() {
        for name in [":authority", "user-agent", "accept-language", "server", "x-custom"] {
            assert!(worth(name, "value", false), "{name}");
            assert!(!worth(name, "value", true), "{name}");
        }
        for name in [
            ":path",
            "content-length",
            "etag",
            "date",
            "range",
            "authorization",
            "set-cookie",
        ] {
            assert!(!worth(name, "value", false), "{name}");
        }
    }

    #[test]
    fn short_cookies_stay_out() {
        assert!(!worth("cookie", "pin=1234", false));
        assert!(worth("cookie", "session=0123456789abcdef", false));
    }

    #[test]
    fn an_entry_takes_at_most_half_of_the_table() {
        assert!(worth("user-agent", &"a".repeat(2048 - 32 - 10), false));
        assert!(!worth("user-agent", &"a".repeat(2048 - 32 - 9), false));
    }
}
