//! What hides an attack is taken off: percent-encoding, twice; HTML entities; unicode escapes; case; comments; spaces.

/// Rounds of percent-decoding: what decodes what was decoded already is a common mistake behind us.
const ROUNDS: usize = 2;

/// Append `raw`, decoded. `plus` is whether `+` is a space, as in forms.
pub fn decode(raw: &[u8], plus: bool, out: &mut Vec<u8>) {
    let from = out.len();
    out.extend_from_slice(raw);
    if plus {
        out[from..].iter_mut().filter(|b| **b == b'+').for_each(|b| *b = b' ');
    }
    for _ in 0..ROUNDS {
        if !rewrite(out, from, percent) {
            break;
        }
    }
    rewrite(out, from, entity);
    rewrite(out, from, escape);
}

/// Fold: lower case, comments and any run of spaces become one space. Lines stay apart.
pub fn fold(text: &mut Vec<u8>) {
    text.make_ascii_lowercase();
    let mut to = 0;
    let mut at = 0;
    while at < text.len() {
        // Looked for from behind, so that one that never ends is looked for once.
        let (byte, next) = match text[at] {
            b'/' if text.get(at + 1) == Some(&b'*') => match memchr::memmem::find(&text[at + 2..], b"*/") {
                // MySQL runs what is in `/*!` comments.
                Some(end) if text.get(at + 2) != Some(&b'!') => (b' ', at + end + 4),
                Some(_) => (b' ', at + 3),
                None => {
                    // Nothing that follows ends either.
                    to = copy(text, at, to);
                    break;
                }
            },
            b'\n' => (b'\n', at + 1),
            b if b.is_ascii_whitespace() || b == 0x0b => (b' ', at + 1),
            0 => {
                at += 1;
                continue;
            }
            b => (b, at + 1),
        };
        at = next;
        if byte != b' ' || to == 0 || text[to - 1] != b' ' {
            text[to] = byte;
            to += 1;
        }
    }
    text.truncate(to);
}

/// Fold what is left, which has no comments, spaces only.
fn copy(text: &mut [u8], from: usize, mut to: usize) -> usize {
    for at in from..text.len() {
        let byte = match text[at] {
            b'\n' => b'\n',
            0 => continue,
            b if b.is_ascii_whitespace() || b == 0x0b => b' ',
            b => b,
        };
        if byte != b' ' || to == 0 || text[to - 1] != b' ' {
            text[to] = byte;
            to += 1;
        }
    }
    to
}

/// What stands at the beginning of a slice: how long it is, and what it means.
type Meaning = fn(&[u8]) -> Option<(usize, char)>;

/// Replace in place what means something else; whether there was any.
fn rewrite(text: &mut Vec<u8>, from: usize, meaning: Meaning) -> bool {
    let (mut at, mut to, mut changed) = (from, from, false);
    while at < text.len() {
        match meaning(&text[at..]) {
            Some((len, c)) => {
                changed = true;
                at += len;
                match u8::try_from(u32::from(c)) {
                    // A byte, even where it is no character by itself.
                    Ok(byte) => {
                        text[to] = byte;
                        to += 1;
                    }
                    // Never longer than what it was written as.
                    Err(_) => {
                        let mut buffer = [0; 4];
                        let bytes = c.encode_utf8(&mut buffer).as_bytes();
                        text[to..to + bytes.len()].copy_from_slice(bytes);
                        to += bytes.len();
                    }
                }
            }
            None => {
                text[to] = text[at];
                at += 1;
                to += 1;
            }
        }
    }
    text.truncate(to);
    changed
}

/// `%41`, and `%u0041` of old scripts.
fn percent(text: &[u8]) -> Option<(usize, char)> {
    if text.first() != Some(&b'%') {
        return None;
    }
    match text.get(1)? {
        b'u' | b'U' => Some((6, narrow(hex(text.get(2..6)?)?)?)),
        _ => Some((3, char::from_u32(hex(text.get(1..3)?)?)?)),
    }
}

/// `&#65;`, `&#x41;` and the names that attacks need.
fn entity(text: &[u8]) -> Option<(usize, char)> {
    const NAMES: [(&[u8], char); 14] = [
        (b"lt", '<'),
        (b"gt", '>'),
        (b"quot", '"'),
        (b"apos", '\''),
        (b"amp", '&'),
        (b"lpar", '('),
        (b"rpar", ')'),
        (b"colon", ':'),
        (b"tab", '\t'),
        (b"newline", ' '),
        (b"nbsp", ' '),
        (b"sol", '/'),
        (b"bsol", '\\'),
        (b"equals", '='),
    ];
    if text.first() != Some(&b'&') {
        return None;
    }
    let (name, end) = match text.iter().take(12).position(|&b| b == b';') {
        Some(end) => (&text[1..end], end + 1),
        // Browsers do without the semicolon of a number.
        None => {
            let digits = text
                .iter()
                .skip(2)
                .take(9)
                .take_while(|b| b.is_ascii_alphanumeric())
                .count();
            (text.get(1..2 + digits)?, 2 + digits)
        }
    };
    let code = match name {
        [b'#', b'x' | b'X', digits @ ..] => hex(digits)?,
        [b'#', digits @ ..] => std::str::from_utf8(digits).ok()?.parse().ok()?,
        _ if text.get(end - 1) == Some(&b';') => {
            let (_, c) = NAMES.iter().find(|(known, _)| known.eq_ignore_ascii_case(name))?;
            return Some((end, *c));
        }
        _ => return None,
    };
    Some((end, narrow(code)?))
}

/// `\u0041`, `\u{41}`, `\x41`.
fn escape(text: &[u8]) -> Option<(usize, char)> {
    if text.first() != Some(&b'\\') {
        return None;
    }
    match text.get(1)? {
        b'u' if text.get(2) == Some(&b'{') => {
            let digits = text[3..].iter().take(6).take_while(|b| b.is_ascii_hexdigit()).count();
            (text.get(3 + digits) == Some(&b'}')).then_some(())?;
            Some((4 + digits, narrow(hex(&text[3..3 + digits])?)?))
        }
        b'u' => Some((6, narrow(hex(text.get(2..6)?)?)?)),
        b'x' => Some((4, narrow(hex(text.get(2..4)?)?)?)),
        _ => None,
    }
}

/// Fullwidth forms are what they look like.
fn narrow(code: u32) -> Option<char> {
    match code {
        0xff01..=0xff5e => char::from_u32(code - 0xff01 + 0x21),
        _ => char::from_u32(code),
    }
}

fn hex(digits: &[u8]) -> Option<u32> {
    if digits.is_empty() || digits.len() > 6 || !digits.iter().all(u8::is_ascii_hexdigit) {
        return None;
    }
    u32::from_str_radix(std::str::from_utf8(digits).ok()?, 16).ok()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn decoded(raw: &str) -> String {
        let mut out = b"before".to_vec();
        decode(raw.as_bytes(), true, &mut out);
        String::from_utf8_lossy(&out[6..]).into_owned()
    }

    fn folded(text: &str) -> String {
        let mut text = text.as_bytes().to_vec();
        fold(&mut text);
        String::from_utf8(text).unwrap()
    }

    #[test]
    fn decodes_what_those_behind_us_do() {
        for (raw, expected) in [
            ("plain+text", "plain text"),
            ("%3Cscript%3e", "<script>"),
            ("%253Cscript%253E", "<script>"),
            ("%u003cscript%u003e", "<script>"),
            ("&lt;a&#62;&#x3C;b&#x3e;&#60c", "<a><b>&#60c"),
            ("&#60 c", "< c"),
            ("\\u003cscript\\x3e\\u{3c}", "<script><"),
            ("%", "%"),
            ("%4", "%4"),
            ("%zz&nothing;&#;\\u12", "%zz&nothing;&#;\\u12"),
            ("%u20ac", "€"),
            ("\\uff1cscript", "<script"),
            ("%25252e", "%2e"),
        ] {
            assert_eq!(decoded(raw), expected, "{raw}");
        }
    }

    #[test]
    fn folds_what_databases_do_not_see() {
        for (text, expected) in [
            ("UNION/**/SELECT", "union select"),
            ("union/*!50000select*/1", "union 50000select*/1"),
            ("a \t\r b", "a b"),
            ("a \n b", "a \n b"),
            ("a/* never ends  B", "a/* never ends b"),
            ("un\0ion", "union"),
        ] {
            assert_eq!(folded(text), expected, "{text}");
        }
    }

    proptest! {
        #[test]
        fn takes_anything(raw in prop::collection::vec(any::<u8>(), 0..200), hostile in "([%&#\\\\ux{}0-9a-f;/*+ ]){0,80}") {
            for raw in [raw.as_slice(), hostile.as_bytes()] {
                let mut out = Vec::new();
                decode(raw, true, &mut out);
                prop_assert!(out.len() <= raw.len());
                fold(&mut out);
            }
        }
    }

    #[test]
    fn takes_time_in_proportion() {
        for bait in ["/*", "%25", "&#", "\\u{", "/* */", "%u"] {
            let mut out = Vec::new();
            let began = std::time::Instant::now();
            decode(bait.repeat((1 << 20) / bait.len()).as_bytes(), true, &mut out);
            fold(&mut out);
            assert!(began.elapsed().as_secs() < 2, "{bait}: {:?}", began.elapsed());
        }
    }
}
