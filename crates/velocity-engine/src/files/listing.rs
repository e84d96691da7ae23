//! The page that shows a directory, and the same as JSON.
//!
//! Names come from a file system and may hold anything: the template escapes what is shown, and
//! every link is percent-encoded here.

use std::cmp::Ordering;
use std::sync::LazyLock;
use std::time::SystemTime;

use minijinja::{Environment, context};
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, percent_encode};
use serde::Serialize;

/// No script and nothing from elsewhere: the page is its own.
pub const CSP: &str = "default-src 'none'; style-src 'unsafe-inline'; base-uri 'none'; form-action 'none'";

/// Everything but the unreserved characters of RFC 3986 section 2.3.
const SEGMENT: &AsciiSet = &NON_ALPHANUMERIC.remove(b'-').remove(b'.').remove(b'_').remove(b'~');

/// One entry of a directory.
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
    /// Anything that is not understood is by name, ascending.
    pub fn from_query(query: Option<&str>) -> Self {
        let mut order = Order {
            by: By::Name,
            descending: false,
        };
        for pair in query.unwrap_or_default().split('&') {
            match pair {
                "sort=size" => order.by = By::Size,
                "sort=modified" => order.by = By::Modified,
                "order=desc" => order.descending = true,
                _ => {}
            }
        }
        order
    }

    /// Directories come first in every order.
    fn sort(self, entries: &mut [Entry]) {
        entries.sort_by(|a, b| {
            let by_name = || a.name.to_ascii_lowercase().cmp(&b.name.to_ascii_lowercase());
            let ordering = match self.by {
                By::Name => Ordering::Equal,
                By::Size => a.size.cmp(&b.size),
                By::Modified => a.modified.cmp(&b.modified),
            };
            let ordering = ordering.then_with(by_name);
            b.directory
                .cmp(&a.directory)
                .then(if self.descending { ordering.reverse() } else { ordering })
        });
    }
}

#[derive(Serialize)]
struct Row {
    name: String,
    href: String,
    directory: bool,
    size: String,
    modified: Option<String>,
    date: String,
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
        // The name's extension turns escaping on. A template that does not parse shows in the first test.
        let _ = environment.add_template("listing.html", include_str!("listing.html"));
        environment
    });
    order.sort(entries);
    let total = entries
        .iter()
        .filter(|entry| !entry.directory)
        .map(|entry| entry.size)
        .fold(0, u64::saturating_add);
    let rows: Vec<Row> = entries.iter().map(row).collect();
    let summary = format!(
        "{} {}, {}",
        rows.len(),
        if rows.len() == 1 { "entry" } else { "entries" },
        human(total)
    );
    let page = TEMPLATES.get_template("listing.html").and_then(|template| {
        template.render(context! {
            path => String::from_utf8_lossy(path),
            crumbs => crumbs(path),
            columns => columns(order),
            entries => rows,
            summary,
            truncated,
        })
    });
    page.unwrap_or_else(|_| "<!doctype html><title>listing</title>".to_owned())
}

/// The same for machines.
pub fn json(path: &[u8], entries: &mut [Entry], order: Order, truncated: bool) -> String {
    order.sort(entries);
    let rows: Vec<serde_json::Value> = entries
        .iter()
        .map(|entry| {
            serde_json::json!({
                "name": String::from_utf8_lossy(&entry.name),
                "href": href(entry),
                "type": if entry.directory { "directory" } else { "file" },
                "size": entry.size,
                "modified": entry.modified.map(rfc3339),
            })
        })
        .collect();
    serde_json::json!({ "path": String::from_utf8_lossy(path), "truncated": truncated, "entries": rows }).to_string()
}

fn row(entry: &Entry) -> Row {
    let modified = entry.modified.map(rfc3339);
    Row {
        name: String::from_utf8_lossy(&entry.name).into_owned() + if entry.directory { "/" } else { "" },
        href: href(entry),
        directory: entry.directory,
        size: if entry.directory {
            String::new()
        } else {
            human(entry.size)
        },
        // 2026-11-21T05:30:00Z as 2026-11-21 05:30
        date: modified
            .as_deref()
            .and_then(|text| text.get(..16))
            .unwrap_or_default()
            .replace('T', " "),
        modified,
    }
}

/// Relative, and led by `./`, so that a name with a colon is no scheme (RFC 3986 section 4.2).
fn href(entry: &Entry) -> String {
    format!(
        "./{}{}",
        percent_encode(&entry.name, SEGMENT),
        if entry.directory { "/" } else { "" }
    )
}

fn rfc3339(time: SystemTime) -> String {
    humantime::format_rfc3339_seconds(time).to_string()
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
            name: String::from_utf8_lossy(name).into_owned(),
            href: "../".repeat(up),
        });
    }
    crumbs
}

fn columns(order: Order) -> Vec<Column> {
    [
        (By::Name, "Name", "name", ""),
        (By::Size, "Size", "size", "n"),
        (By::Modified, "Modified", "modified", "n m"),
    ]
    .into_iter()
    .map(|(by, name, key, class)| {
        let current = order.by == by;
        let flip = current && !order.descending;
        Column {
            name,
            href: format!("?sort={key}&order={}", if flip { "desc" } else { "asc" }),
            class,
            sort: current.then_some(if order.descending { "descending" } else { "ascending" }),
        }
    })
    .collect()
}

/// Bytes as people read them.
fn human(bytes: u64) -> String {
    const UNITS: [&str; 6] = ["B", "KiB", "MiB", "GiB", "TiB", "PiB"];
    let mut value = bytes as f64;
    let mut unit = 0;
    while value >= 1024.0 && unit < UNITS.len() - 1 {
        value /= 1024.0;
        unit += 1;
    }
    if unit == 0 {
        format!("{bytes} B")
    } else {
        format!("{value:.1} {}", UNITS[unit])
    }
}

#[cfg(test)]
mod tests {
    use std::time::{Duration, UNIX_EPOCH};

    use super::*;

    fn file(name: &[u8], size: u64) -> Entry {
        Entry {
            name: name.to_vec(),
            directory: false,
            size,
            modified: Some(UNIX_EPOCH + Duration::from_secs(size)),
        }
    }

    fn folder(name: &[u8]) -> Entry {
        Entry {
            name: name.to_vec(),
            directory: true,
            size: 4096,
            modified: None,
        }
    }

    fn names(entries: &[Entry]) -> Vec<String> {
        entries
            .iter()
            .map(|entry| String::from_utf8_lossy(&entry.name).into_owned())
            .collect()
    }

    #[test]
    fn hostile_names_stay_text() {
        let mut entries = [
            file(b"<img src=x onerror=alert(1)>", 1),
            file(b"\"onmouseover=\"x", 1),
            file(b"javascript:alert(1)", 1),
            file(b"a?b#c%d e", 1),
            file(b"\xff\xfe", 1),
        ];
        let page = html(b"/<script>/", &mut entries, Order::from_query(None), false);
        assert!(page.contains("&lt;img src=x onerror=alert(1)&gt;"));
        assert!(!page.contains("<img") && !page.contains("<script"));
        assert!(
            page.contains("href=\"./javascript%3Aalert%281%29\"")
                || page.contains("href=\".&#x2f;javascript%3Aalert%281%29\"")
        );
        assert!(page.contains("a%3Fb%23c%25d%20e"));
        assert!(page.contains("%FF%FE"));
    }

    #[test]
    fn orders() {
        let mut entries = [file(b"b", 3), file(b"A", 9), folder(b"z"), file(b"c", 1)];
        Order::from_query(None).sort(&mut entries);
        assert_eq!(names(&entries), ["z", "A", "b", "c"]);
        Order::from_query(Some("sort=size&order=desc")).sort(&mut entries);
        assert_eq!(names(&entries), ["z", "A", "b", "c"]);
        Order::from_query(Some("order=asc&sort=modified")).sort(&mut entries);
        assert_eq!(names(&entries), ["z", "c", "b", "A"]);
        assert_eq!(Order::from_query(Some("sort=nonsense")), Order::from_query(None));
    }

    #[test]
    fn json_is_json() {
        let text = json(
            b"/a/",
            &mut [file(b"x\"y", 5), folder(b"d")],
            Order::from_query(None),
            true,
        );
        let value: serde_json::Value = serde_json::from_str(&text).unwrap();
        assert_eq!(value["path"], "/a/");
        assert_eq!(value["truncated"], true);
        assert_eq!(value["entries"][0]["href"], "./d/");
        assert_eq!(value["entries"][1]["name"], "x\"y");
        assert_eq!(value["entries"][1]["modified"], "1970-01-01T00:00:05Z");
    }

    #[test]
    fn sizes() {
        assert_eq!(human(0), "0 B");
        assert_eq!(human(1023), "1023 B");
        assert_eq!(human(1536), "1.5 KiB");
        assert_eq!(human(5 << 30), "5.0 GiB");
        assert_eq!(human(u64::MAX), "16384.0 PiB");
    }

    #[test]
    fn an_empty_folder_says_so() {
        assert!(html(b"/", &mut [], Order::from_query(None), false).contains("This folder is empty"));
    }
}
