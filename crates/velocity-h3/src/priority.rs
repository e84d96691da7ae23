//! Extensible Priorities (RFC 9218): how urgent an answer is, and whether a part of it is of use.

/// The priority of a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Priority {
    /// 0 is the most urgent, 7 the least.
    pub urgency: u8,
    /// Whether it can be used piece by piece.
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
    /// Read a Priority field value, a dictionary of RFC 9651. What is not understood changes nothing
    /// (RFC 9218 section 4).
    pub fn parse(value: &[u8]) -> Self {
        let mut priority = Self::default();
        for member in value.split(|&byte| byte == b',') {
            let member = member
                .split(|&byte| byte == b';')
                .next()
                .unwrap_or_default()
                .trim_ascii();
            match member {
                b"i" | b"i=?1" => priority.incremental = true,
                b"i=?0" => priority.incremental = false,
                [b'u', b'=', urgency @ b'0'..=b'7'] => priority.urgency = urgency - b'0',
                _ => {}
            }
        }
        priority
    }

    /// The field value that says the same.
    pub fn to_value(self) -> String {
        match self.incremental {
            true => format!("u={}, i", self.urgency),
            false => format!("u={}", self.urgency),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values() {
        let of = |value: &str| {
            let priority = Priority::parse(value.as_bytes());
            (priority.urgency, priority.incremental)
        };
        assert_eq!(of(""), (3, false));
        assert_eq!(of("u=0"), (0, false));
        assert_eq!(of("u=7, i"), (7, true));
        assert_eq!(of("i=?1,u=1;x=2, other=4"), (1, true));
        assert_eq!(of("u=8, i=?0"), (3, false));
        assert_eq!(of("u=-1, i=1, ?"), (3, false));
        assert_eq!(
            Priority::parse(
                Priority {
                    urgency: 5,
                    incremental: true
                }
                .to_value()
                .as_bytes()
            )
            .urgency,
            5
        );
    }
}
