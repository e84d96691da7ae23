//! The page that shows a directory, and the same as JSON.
//!
//! Names come from a file system and may hold anything: the template escapes what is shown, and
//! every link is percent-encoded here (RFC 3986 section 2).

use std::cmp::Ordering;
use std::sync::LazyLock;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use mime_guess::mime;
use minijinja::{Environment, context};
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, percent_encode};
use serde::Serialize;

/// No script and nothing from elsewhere: the page is its own.
pub const CSP: &str = "default-src 'none'; style-src 'unsafe-inline'; base-uri 'none'; form-action 'none'";

/// Everything but the unreserved characters of RFC 3986 section 2.3.
const SEGMENT: &AsciiSet = &NON_ALPHANUMERIC.remove(b'-').remove(b'.').remove(b'_').remove(b'~');

/// RFC 3339 section 1 has four digits for the year: times end before the year 10000.
const END_OF_TIME: Duration = Duration::from_secs(253_402_300_800);

/// One entry of a directory: its name, whether it is a directory itself, bytes, and when it changed.
pub struct Entry {
    pub name: Vec<u8>,
    pub directory: bool,
    pub size: u64,
    pub modified: Option<SystemTime>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum By {
    Name,
    Size,
    Modified,
}

/// How a page is sorted: `?sort=name|size|modified&order=asc|desc`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Order {
    by: By,
    descending: bool,
}

impl Order {
    /// Anything that is not understood is by name, ascending; of a field given twice, the last counts.
    pub fn from_query(query: Option<&str>) -> Self {
        let mut order = Order {
            by: By::Name,
            descending: false,
        };
        for pair in query.unwrap_or_default().split('&') {
            match pair {
                "sort=name" => order.by = By::Name,
                "sort=size" => order.by = By::Size,
                "sort=modified" => order.by = By::Modified,
                "order=asc" => order.descending = false,
                "order=desc" => order.descending = true,
                _ => {}
            }
        }
        order
    }

    /// Directories come first in every order, and have no size to sort by.
    fn sort(self, entries: &mut [Entry]) {
        entries.sort_by(|a, b| {
            let ordering = match self.by {
                By::Size if !a.directory => a.size.cmp(&b.size),
                By::Modified => a.modified.cmp(&b.modified),
                By::Name | By::Size => Ordering::Equal,
            };
            let ordering = ordering.then_with(|| by_name(&a.name, &b.name));
            b.directory
                .cmp(&a.directory)
                .then(if self.descending { ordering.reverse() } else { ordering })
        });
    }
}

/// Without regard to case, then with: the order of two names never depends on the file system.
fn by_name(a: &[u8], b: &[u8]) -> Ordering {
    let folded = a
        .iter()
        .map(u8::to_ascii_lowercase)
        .cmp(b.iter().map(u8::to_ascii_lowercase));
    folded.then_with(|| a.cmp(b))
}

#[derive(Serialize)]
struct Row {
    name: String,
    segment: String,
    directory: bool,
    kind: &'static str,
    size: String,
    modified: Option<String>,
}

#[derive(Serialize)]
struct Crumb {
    name: String,
    href: String,
}

#[derive(Serialize)]
struct Column {
    name: &'static str,
    href: String,
    class: &'static str,
    sort: Option<&'static str>,
}

/// The page. `path` is the decoded path of the directory, from slash to slash; `truncated` says
/// that there are more entries than these.
pub fn html(path: &[u8], entries: &mut [Entry], order: Order, truncated: bool) -> String {
    static TEMPLATES: LazyLock<Environment<'static>> = LazyLock::new(|| {
        let mut environment = Environment::new();
        environment.set_trim_blocks(true);
        environment.set_lstrip_blocks(true);
        // The name's extension turns escaping on. A template that does not parse shows in the first test.
        let _ = environment.add_template("listing.html", include_str!("listing.html"));
        environment
    });
    order.sort(entries);
    let rows: Vec<Row> = reachable(entries).map(row).collect();
    let page = TEMPLATES.get_template("listing.html").and_then(|template| {
        template.render(context! {
            path => String::from_utf8_lossy(path),
            crumbs => crumbs(path),
            columns => columns(order),
            entries => rows,
            summary => summary(entries),
            truncated,
        })
    });
    page.unwrap_or_else(|_| "<!doctype html><title>listing</title>".to_owned())
}

#[derive(Serialize)]
struct Listing<'a> {
    path: &'a str,
    truncated: bool,
    entries: Vec<Item>,
}

#[derive(Serialize)]
struct Item {
    name: String,
    #[serde(rename = "type")]
    kind: &'static str,
    size: u64,
    modified: Option<String>,
    href: String,
}

/// The same for machines: `size` in bytes, `modified` as RFC 3339 or null.
pub fn json(path: &[u8], entries: &mut [Entry], order: Order, truncated: bool) -> String {
    order.sort(entries);
    let items = reachable(entries).map(|entry| Item {
        name: String::from_utf8_lossy(&entry.name).into_owned(),
        kind: if entry.directory { "directory" } else { "file" },
        size: entry.size,
        modified: entry.modified.and_then(rfc3339),
        href: format!("./{}{}", segment(entry), if entry.directory { "/" } else { "" }),
    });
    let listing = Listing {
        path: &String::from_utf8_lossy(path),
        truncated,
        entries: items.collect(),
    };
    serde_json::to_string(&listing).unwrap_or_else(|_| "{}".to_owned())
}

/// Dot segments lead elsewhere however they are encoded (RFC 3986 section 5.2.4): never a link.
fn reachable(entries: &[Entry]) -> impl Iterator<Item = &Entry> {
    entries
        .iter()
        .filter(|entry| !matches!(entry.name.as_slice(), b"" | b"." | b".."))
}

fn row(entry: &Entry) -> Row {
    Row {
        name: visible(&entry.name),
        segment: segment(entry),
        directory: entry.directory,
        kind: if entry.directory { "folder" } else { kind(&entry.name) },
        size: if entry.directory {
            String::new()
        } else {
            human(entry.size)
        },
        modified: entry.modified.and_then(rfc3339),
    }
}

/// What cannot be shown is U+FFFD, as are the marks that turn the direction of text: with them
/// "gpj.exe" reads "exe.jpg".
fn visible(name: &[u8]) -> String {
    let misleading = |c: char| c.is_control() || matches!(c, '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}');
    String::from_utf8_lossy(name).replace(misleading, "\u{fffd}")
}

/// The entry as a segment of a path. Links lead it by `./`, so that a name with a colon is no
/// scheme (RFC 3986 section 4.2).
fn segment(entry: &Entry) -> String {
    percent_encode(&entry.name, SEGMENT).to_string()
}

/// The picture for a file, by its media type.
fn kind(name: &[u8]) -> &'static str {
    let name = String::from_utf8_lossy(name);
    let Some(media_type) = mime_guess::from_path(&*name).first() else {
        return "file";
    };
    match (media_type.type_(), media_type.subtype().as_str()) {
        (mime::IMAGE, _) => "image",
        (mime::AUDIO, _) => "audio",
        (mime::VIDEO, _) => "video",
        (mime::TEXT, "plain" | "markdown" | "csv") | (_, "pdf" | "rtf" | "msword") => "text",
        (mime::TEXT, _) | (_, "json" | "javascript" | "xml" | "x-sh" | "wasm") => "code",
        (_, "zip" | "gzip" | "x-gzip" | "x-tar" | "x-bzip2" | "x-xz" | "x-7z-compressed" | "zstd" | "x-compressed") => {
            "archive"
        }
        _ => "file",
    }
}

/// None for what RFC 3339 has no form for: file systems hold times before 1970 and after 9999.
fn rfc3339(time: SystemTime) -> Option<String> {
    let representable = time.duration_since(UNIX_EPOCH).is_ok_and(|since| since < END_OF_TIME);
    representable.then(|| humantime::format_rfc3339_seconds(time).to_string())
}

fn crumbs(path: &[u8]) -> Vec<Crumb> {
    let names: Vec<&[u8]> = path.split(|&b| b == b'/').filter(|name| !name.is_empty()).collect();
    let mut crumbs = vec![Crumb {
        name: "Home".to_owned(),
        href: "../".repeat(names.len()),
    }];
    for (index, name) in names.iter().enumerate() {
        let up = names.len() - index - 1;
        crumbs.push(Crumb {
            name: visible(name),
            href: "../".repeat(up),
        });
    }
    crumbs
}

/// A first click has names from A, but what is largest or newest on top; the next one turns it round.
fn columns(order: Order) -> Vec<Column> {
    [
        (By::Name, "Name", "name"),
        (By::Size, "Size", "size"),
        (By::Modified, "Modified", "modified"),
    ]
    .into_iter()
    .map(|(by, name, class)| {
        let current = order.by == by;
        let descending = if current { !order.descending } else { by != By::Name };
        Column {
            name,
            href: format!("?sort={class}&order={}", if descending { "desc" } else { "asc" }),
            class,
            sort: current.then_some(if order.descending { "descending" } else { "ascending" }),
        }
    })
    .collect()
}

/// "2 folders, 1 file, 3.5 KiB"
fn summary(entries: &[Entry]) -> String {
    let count = |number: usize, noun: &str| format!("{number} {noun}{}", if number == 1 { "" } else { "s" });
    let folders = reachable(entries).filter(|entry| entry.directory).count();
    let sizes = || {
        reachable(entries)
            .filter(|entry| !entry.directory)
            .map(|entry| entry.size)
    };
    format!(
        "{}, {}, {}",
        count(folders, "folder"),
        count(sizes().count(), "file"),
        human(sizes().fold(0, u64::saturating_add)),
    )
}

/// Bytes as people read them.
fn human(bytes: u64) -> String {
    const UNITS: [&str; 6] = ["KiB", "MiB", "GiB", "TiB", "PiB", "EiB"];
    if bytes < 1024 {
        return format!("{bytes} B");
    }
    let mut value = bytes as f64 / 1024.0;
    let mut unit = 0;
    // What would round to 1024.0 is 1.0 of the next unit; 64 bits end within the last one.
    while value >= 1023.95 {
        value /= 1024.0;
        unit += 1;
    }
    format!("{value:.1} {}", UNITS[unit])
}

#[cfg(test)]
mod tests {
    use super::*;

    const BY_NAME: Order = Order {
        by: By::Name,
        descending: false,
    };

    fn file(name: &[u8], size: u64) -> Entry {
        Entry {
            name: name.to_vec(),
            directory: false,
            size,
            modified: Some(UNIX_EPOCH + Duration::from_secs(size.min(1 << 32))),
        }
    }

    fn folder(name: &[u8], size: u64) -> Entry {
        Entry {
            directory: true,
            ..file(name, size)
        }
    }

    fn sorted(query: &str, entries: &mut [Entry]) -> Vec<String> {
        Order::from_query(Some(query)).sort(entries);
        let names = entries.iter().map(|entry| String::from_utf8_lossy(&entry.name));
        names.map(|name| name.into_owned()).collect()
    }

    /// The page with one file of this name.
    fn page_of(name: &[u8]) -> String {
        html(b"/", &mut [file(name, 1)], BY_NAME, false)
    }

    #[test]
    fn hostile_names_stay_text() {
        for (name, shown, href) in [
            (
                b"<img src=x onerror=alert(1)>".as_slice(),
                "&lt;img src=x onerror=alert(1)&gt;",
                "./%3Cimg%20src%3Dx%20onerror%3Dalert%281%29%3E",
            ),
            (b"\"onmouseover=", "&quot;onmouseover=", "./%22onmouseover%3D"),
            (b"it's", "it&#x27;s", "./it%27s"),
            (
                b"javascript:alert(1)",
                "javascript:alert(1)",
                "./javascript%3Aalert%281%29",
            ),
            (b"a?b#c%d e", "a?b#c%d e", "./a%3Fb%23c%25d%20e"),
            (b"&amp;", "&amp;amp;", "./%26amp%3B"),
            (b"{{ path }}", "{{ path }}", "./%7B%7B%20path%20%7D%7D"),
            (b"\xff.txt", "\u{fffd}.txt", "./%FF.txt"),
            ("\u{202e}gpj.exe".as_bytes(), "\u{fffd}gpj.exe", "./%E2%80%AEgpj.exe"),
        ] {
            let page = page_of(name);
            assert!(page.contains(&format!("<bdi>{shown}</bdi>")), "{shown}: {page}");
            assert!(page.contains(&format!("href=\"{href}\"")), "{href}: {page}");
        }
    }

    #[test]
    fn a_hostile_path_stays_text() {
        let page = html(b"/<script>/\"x/\xff/", &mut [], BY_NAME, false);
        assert!(!page.contains("<script") && !page.contains("\"x/"));
        assert!(page.contains("&lt;script&gt;") && page.contains("<bdi>\u{fffd}</bdi>"));
    }

    #[test]
    fn dot_segments_are_no_entries() {
        let entries = || [folder(b"..", 1), folder(b".", 1), file(b"", 1), file(b"..a", 1)];
        let value: serde_json::Value = serde_json::from_str(&json(b"/", &mut entries(), BY_NAME, false)).unwrap();
        assert_eq!(value["entries"].as_array().unwrap().len(), 1);
        let page = html(b"/", &mut entries(), BY_NAME, false);
        assert!(page.contains("./..a") && !page.contains("..\"") && !page.contains("../"));
        assert!(page.contains("0 folders, 1 file, 1 B"));
    }

    #[test]
    fn orders() {
        let entries = || {
            [
                file(b"b", 3),
                file(b"a", 9),
                folder(b"z", 1),
                file(b"A", 9),
                folder(b"y", 2),
                file(b"c", 1),
            ]
        };
        for (query, names) in [
            ("", ["y", "z", "A", "a", "b", "c"]),
            ("order=desc", ["z", "y", "c", "b", "a", "A"]),
            ("sort=size", ["y", "z", "c", "b", "A", "a"]),
            ("sort=size&order=desc", ["z", "y", "a", "A", "b", "c"]),
            ("order=asc&sort=modified", ["z", "y", "c", "b", "A", "a"]),
            ("sort=modified&order=desc", ["y", "z", "a", "A", "b", "c"]),
        ] {
            assert_eq!(sorted(query, &mut entries()), names, "{query}");
        }
        assert_eq!(Order::from_query(None), BY_NAME);
        assert_eq!(Order::from_query(Some("sort=nonsense&order=up&x")), BY_NAME);
        assert_eq!(
            Order::from_query(Some("sort=size&order=desc&sort=name&order=asc")),
            BY_NAME
        );
    }

    #[test]
    fn a_column_turns_round() {
        let page = html(b"/", &mut [], BY_NAME, false);
        assert!(page.contains("aria-sort=\"ascending\""));
        assert!(page.contains("?sort=name&amp;order=desc"));
        assert!(page.contains("?sort=size&amp;order=desc"));
        let page = html(b"/", &mut [], Order::from_query(Some("sort=size&order=desc")), false);
        assert!(page.contains("aria-sort=\"descending\""));
        assert!(page.contains("?sort=name&amp;order=asc"));
        assert!(page.contains("?sort=size&amp;order=asc"));
    }

    #[test]
    fn json_is_json() {
        let mut entries = [file(b"x\"\n\xff", 5), folder(b"d", 4096)];
        let value: serde_json::Value = serde_json::from_str(&json(b"/a\xff/", &mut entries, BY_NAME, true)).unwrap();
        let expected = serde_json::json!({
            "path": "/a\u{fffd}/",
            "truncated": true,
            "entries": [
                {"name": "d", "type": "directory", "size": 4096, "modified": "1970-01-01T01:08:16Z", "href": "./d/"},
                {"name": "x\"\n\u{fffd}", "type": "file", "size": 5, "modified": "1970-01-01T00:00:05Z",
                 "href": "./x%22%0A%FF"},
            ],
        });
        assert_eq!(value, expected);
    }

    #[test]
    fn times_without_a_form_are_left_out() {
        let year_10000 = UNIX_EPOCH + END_OF_TIME;
        let second = Duration::from_secs(1);
        assert_eq!(rfc3339(year_10000 - second).as_deref(), Some("9999-12-31T23:59:59Z"));
        for time in [year_10000, UNIX_EPOCH - second] {
            let mut entries = [Entry {
                modified: Some(time),
                ..file(b"x", 1)
            }];
            assert!(json(b"/", &mut entries, BY_NAME, false).contains("\"modified\":null"));
            assert!(!html(b"/", &mut entries, BY_NAME, false).contains("<time"));
        }
    }

    #[test]
    fn a_time_is_for_people_and_machines() {
        assert!(page_of(b"x").contains("<time datetime=\"1970-01-01T00:00:01Z\">1970-01-01 <span>00:00</span></time>"));
    }

    #[test]
    fn sizes() {
        for (bytes, text) in [
            (0, "0 B"),
            (1023, "1023 B"),
            (1024, "1.0 KiB"),
            (1536, "1.5 KiB"),
            ((1 << 20) - 1, "1.0 MiB"),
            (5 << 30, "5.0 GiB"),
            (u64::MAX, "16.0 EiB"),
        ] {
            assert_eq!(human(bytes), text);
        }
        assert_eq!(
            summary(&[file(b"a", u64::MAX), file(b"b", 1), folder(b"c", 1)]),
            "1 folder, 2 files, 16.0 EiB"
        );
    }

    #[test]
    fn kinds_have_a_picture() {
        let names = [
            "a.PNG", "a.mp3", "a.mp4", "a.pdf", "a.rs", "a.tar", "a.json", "a.gz", "none",
        ];
        let kinds = [
            "image", "audio", "video", "text", "code", "archive", "code", "archive", "file",
        ];
        for (name, expected) in names.into_iter().zip(kinds) {
            assert_eq!(kind(name.as_bytes()), expected, "{name}");
            let page = page_of(name.as_bytes());
            assert!(page.contains(&format!("<symbol id=\"{expected}\"")));
            assert!(page.contains(&format!("<use href=\"#{expected}\"")));
        }
    }

    #[test]
    fn the_parent_is_above_all_but_the_first_folder() {
        assert!(!html(b"/", &mut [], BY_NAME, false).contains("Parent folder"));
        let page = html(b"/a/b/", &mut [], BY_NAME, false);
        assert!(page.contains("Parent folder") && page.contains("<span aria-current=\"page\"><bdi>b</bdi></span>"));
    }

    #[test]
    fn a_page_says_when_it_is_empty_or_cut() {
        let page = html(b"/", &mut [], BY_NAME, false);
        assert!(page.contains("This folder is empty") && !page.contains("role=\"note\""));
        let page = html(b"/", &mut [file(b"a", 1)], BY_NAME, true);
        assert!(!page.contains("This folder is empty") && page.contains("role=\"note\""));
    }
}
