//! Priorities (RFC 9218): urgency and incremental delivery, from the `priority` field or a PRIORITY_UPDATE frame.
//!
//! The field value is a dictionary of structured fields (RFC 9651, section 3.2). Only `u` and `i` mean something, but
//! everything else has to be parsed to know where it ends: a dictionary that is malformed anywhere is no dictionary,
//! and then the defaults hold (RFC 9218, section 5).

use std::fmt;

/// The priority of a response.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Priority {
    /// From 0, the most urgent, to 7. The default is 3.
    pub urgency: u8,
    /// Whether part of the response is of use before all of it is there. The default is false.
    pub incremental: bool,
}

impl Default for Priority {
    fn default() -> Self {
        Self {
            urgency: 3,
            incremental: false,
        }
    }
}

impl Priority {
    /// What a field value says. Unknown members, and values out of range or of another type, are passed over; of a
    /// malformed value nothing counts.
    #[must_use]
    pub fn parse(value: &[u8]) -> Self {
        Self::parse_lines([value])
    }

    /// The same for a field of several lines, which are one value (RFC 9651, section 4.2).
    pub(crate) fn parse_lines<'a>(lines: impl IntoIterator<Item = &'a [u8]>) -> Self {
        let mut priority = Self::default();
        for line in lines {
            let mut parser = Parser { rest: line };
            if parser.dictionary(&mut priority).is_none() {
                return Self::default();
            }
        }
        priority
    }

    fn set(&mut self, key: &[u8], item: Item) {
        // A key that comes again replaces what was before, so a value of no use brings the default back.
        match (key, item) {
            (b"u", Item::Integer(urgency @ 0..=7)) => self.urgency = urgency as u8,
            (b"u", _) => self.urgency = Self::default().urgency,
            (b"i", Item::Boolean(incremental)) => self.incremental = incremental,
            (b"i", _) => self.incremental = false,
            _ => {}
        }
    }
}

impl fmt::Display for Priority {
    /// The field value: `u=5, i`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "u={}{}", self.urgency, if self.incremental { ", i" } else { "" })
    }
}

/// The value of a dictionary member, as far as it matters.
#[derive(Clone, Copy)]
enum Item {
    Integer(i64),
    Boolean(bool),
    Other,
}

/// RFC 9651, section 4.2, with `None` for "fail parsing".
struct Parser<'a> {
    rest: &'a [u8],
}

impl<'a> Parser<'a> {
    fn dictionary(&mut self, priority: &mut Priority) -> Option<()> {
        self.skip(b" ");
        while !self.rest.is_empty() {
            let key = self.key()?;
            let item = if self.take(b'=') {
                if self.take(b'(') {
                    self.inner_list()?
                } else {
                    self.bare_item()?
                }
            } else {
                Item::Boolean(true)
            };
            self.parameters()?;
            priority.set(key, item);
            self.skip(b" \t");
            if self.rest.is_empty() {
                break;
            }
            if !self.take(b',') {
                return None;
            }
            self.skip(b" \t");
            if self.rest.is_empty() {
                return None;
            }
        }
        Some(())
    }

    fn peek(&self) -> Option<u8> {
        self.rest.first().copied()
    }

    fn next(&mut self) -> Option<u8> {
        let (first, rest) = self.rest.split_first()?;
        self.rest = rest;
        Some(*first)
    }

    fn take(&mut self, wanted: u8) -> bool {
        let found = self.peek() == Some(wanted);
        if found {
            self.rest = &self.rest[1..];
        }
        found
    }

    fn skip(&mut self, bytes: &[u8]) {
        self.take_while(|byte| bytes.contains(&byte));
    }

    fn take_while(&mut self, accept: impl Fn(u8) -> bool) -> &'a [u8] {
        let len = self
            .rest
            .iter()
            .position(|byte| !accept(*byte))
            .unwrap_or(self.rest.len());
        let (taken, rest) = self.rest.split_at(len);
        self.rest = rest;
        taken
    }

    fn key(&mut self) -> Option<&'a [u8]> {
        if !matches!(self.peek()?, b'a'..=b'z' | b'*') {
            return None;
        }
        Some(self.take_while(|byte| matches!(byte, b'a'..=b'z' | b'0'..=b'9' | b'_' | b'-' | b'.' | b'*')))
    }

    fn parameters(&mut self) -> Option<()> {
        while self.take(b';') {
            self.skip(b" ");
            self.key()?;
            if self.take(b'=') {
                self.bare_item()?;
            }
        }
        Some(())
    }

    fn inner_list(&mut self) -> Option<Item> {
        loop {
            self.skip(b" ");
            if self.take(b')') {
                return Some(Item::Other);
            }
            self.bare_item()?;
            self.parameters()?;
            if !matches!(self.peek()?, b' ' | b')') {
                return None;
            }
        }
    }

    fn bare_item(&mut self) -> Option<Item> {
        match self.peek()? {
            b'-' | b'0'..=b'9' => self.number(),
            b'"' => self.string(),
            b'*' | b'a'..=b'z' | b'A'..=b'Z' => {
                self.take_while(|byte| byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~:/".contains(&byte));
                Some(Item::Other)
            }
            b':' => {
                self.next();
                self.take_while(|byte| byte.is_ascii_alphanumeric() || b"+/=".contains(&byte));
                self.take(b':').then_some(Item::Other)
            }
            b'?' => {
                self.next();
                match self.next()? {
                    b'0' => Some(Item::Boolean(false)),
                    b'1' => Some(Item::Boolean(true)),
                    _ => None,
                }
            }
            b'@' => {
                self.next();
                matches!(self.number()?, Item::Integer(_)).then_some(Item::Other)
            }
            b'%' => self.display_string(),
            _ => None,
        }
    }

    /// Integer of at most 15 digits, or decimal of at most 12 and 3.
    fn number(&mut self) -> Option<Item> {
        let negative = self.take(b'-');
        let digits = self.take_while(|byte| byte.is_ascii_digit());
        if digits.is_empty() || digits.len() > 15 {
            return None;
        }
        if self.take(b'.') {
            let fraction = self.take_while(|byte| byte.is_ascii_digit());
            return (digits.len() <= 12 && matches!(fraction.len(), 1..=3)).then_some(Item::Other);
        }
        let number = digits
            .iter()
            .fold(0, |number: i64, digit| number * 10 + i64::from(digit - b'0'));
        Some(Item::Integer(if negative { -number } else { number }))
    }

    fn string(&mut self) -> Option<Item> {
        self.next();
        loop {
            match self.next()? {
                b'\\' if !matches!(self.next()?, b'"' | b'\\') => return None,
                b'"' => return Some(Item::Other),
                b' '..=b'~' => {}
                _ => return None,
            }
        }
    }

    fn display_string(&mut self) -> Option<Item> {
        self.next();
        if !self.take(b'"') {
            return None;
        }
        let mut decoded = Vec::new();
        loop {
            match self.next()? {
                b'%' => decoded.push(self.hex()? << 4 | self.hex()?),
                b'"' => return std::str::from_utf8(&decoded).ok().map(|_| Item::Other),
                byte @ b' '..=b'~' => decoded.push(byte),
                _ => return None,
            }
        }
    }

    fn hex(&mut self) -> Option<u8> {
        match self.next()? {
            digit @ b'0'..=b'9' => Some(digit - b'0'),
            digit @ b'a'..=b'f' => Some(digit - b'a' + 10),
            _ => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn field_values() {
        let default = Priority::default();
        let priority = |urgency, incremental| Priority { urgency, incremental };
        for (value, wanted) in [
            ("", default),
            ("  ", default),
            ("u=5, i", priority(5, true)),
            ("i,u=0", priority(0, true)),
            ("u=1;a=b;c ,\ti=?0", priority(1, false)),
            ("i=?1", priority(3, true)),
            ("u=2, u=6", priority(6, false)),
            ("u=2, u=9", default),
            ("u=8", default),
            ("u=-1", default),
            ("u=1.5", default),
            ("u=yes, i=1", default),
            ("u=?1", default),
            (
                "x=(1 \"a\\\"b\" t;q=1), y=:aGk=:, z=@12, w=%\"f%c3%bc\", *k=*t/x:y, u=4",
                priority(4, false),
            ),
            ("u=4,", default),
            ("u=4 i", default),
            ("u=4, U=3", default),
            ("u=4, i=?2", default),
            ("u=4, x=(1 2", default),
            ("u=4, x=(1\"a\")", default),
            ("u=4, x=\"a", default),
            ("u=4, x=\"\\a\"", default),
            ("u=4, x=:a", default),
            ("u=4, x=1234567890123456", default),
            ("u=4, x=1.2345", default),
            ("u=4, x=@1.5", default),
            ("u=4, x=%\"%C3\"", default),
            ("u=4, x=%\"%c3\"", default),
            ("u=4, x=", default),
            ("u=4;", default),
        ] {
            assert_eq!(Priority::parse(value.as_bytes()), wanted, "{value:?}");
        }
        assert_eq!(Priority::parse_lines([&b"u=1"[..], b"i"]), priority(1, true));
        assert_eq!(Priority::parse_lines([&b"u=1"[..], b"="]), default);
    }

    proptest! {
        #[test]
        fn what_is_written_is_read(urgency in 0u8..8, incremental: bool) {
            let priority = Priority { urgency, incremental };
            prop_assert_eq!(Priority::parse(priority.to_string().as_bytes()), priority);
        }

        #[test]
        fn any_bytes_are_some_priority(value in proptest::collection::vec(any::<u8>(), 0..64)) {
            prop_assert!(Priority::parse(&value).urgency <= 7);
        }

        #[test]
        fn any_text_is_some_priority(value in "[ui=?0-9,; ()\"\\\\a:@%.-]{0,24}") {
            prop_assert!(Priority::parse(value.as_bytes()).urgency <= 7);
        }
    }
}
