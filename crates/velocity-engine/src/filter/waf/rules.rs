//! The default rules, for text that is decoded and folded (see [`decode`](super::decode)): lower case, one space at
//! most, each piece of a request on a line of its own.
//!
//! Each looks for what only makes sense in an attack, and leaves prose, code in questions and ordinary markup alone as
//! far as that can be told; `tests` has both kinds.

use crate::plan::WafTarget::{self, Body, Headers, Path, Query};

/// What a rule is against; counters and exceptions go by it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Group {
    Sqli,
    Xss,
    Traversal,
    Command,
    Scanner,
    /// Rules of the Plan.
    Custom,
}

impl Group {
    pub fn name(self) -> &'static str {
        match self {
            Group::Sqli => "sqli",
            Group::Xss => "xss",
            Group::Traversal => "traversal",
            Group::Command => "command",
            Group::Scanner => "scanner",
            Group::Custom => "custom",
        }
    }
}

pub struct Rule {
    pub group: Group,
    /// `sqli.union`: group and what it is.
    pub name: &'static str,
    pub pattern: &'static str,
    pub targets: &'static [WafTarget],
}

const ALL: &[WafTarget] = &[Path, Query, Headers, Body];

const fn rule(group: Group, name: &'static str, targets: &'static [WafTarget], pattern: &'static str) -> Rule {
    Rule {
        group,
        name,
        pattern,
        targets,
    }
}

pub const RULES: &[Rule] = &[
    rule(
        Group::Sqli,
        "sqli.union",
        ALL,
        r"\bunion[ (]+(?:all[ (]+|distinct[ (]+)?(?:\d+)?select\b",
    ),
    // ' or 1=1, ") and ("a"="a
    rule(
        Group::Sqli,
        "sqli.tautology",
        ALL,
        r#"['"`)\d] ?\)* ?(?:or|and|xor|\|\||&&) ?(?:not )?[ ('"`]*(?:\d+|'[^'\n]*|"[^"\n]*|true|false|null)['"`) ]* ?(?:=|<=>|<>|!=|<|>|like |is |in ?\(|between |regexp |rlike )[ ('"`]*(?:\d|'|"|true|false|null)"#,
    ),
    rule(
        Group::Sqli,
        "sqli.boolean",
        ALL,
        r"\b(?:or|and) \d+ ?= ?\d+\b|['\)] ?(?:or|and) (?:true|false)\b",
    ),
    // admin'--
    rule(
        Group::Sqli,
        "sqli.comment",
        ALL,
        r#"(?m)['"]\)* ?;? ?(?:--[ +-]*|#) ?$"#,
    ),
    rule(
        Group::Sqli,
        "sqli.stacked",
        ALL,
        r"; ?(?:drop (?:table|database|schema|view|user|index)|alter (?:table|user|database)|truncate table|create (?:table|user|database)|insert into|delete from|update \w+ set|exec(?:ute)?[ (]+(?:master|xp_|sp_|immediate|@)|shutdown\b|declare @|waitfor delay)",
    ),
    rule(
        Group::Sqli,
        "sqli.time",
        ALL,
        r"(?:\b(?:or|and|select|when|then|if)\b|[,;'(+*/|&-]) ?\(?(?: ?select ?\(?)? ?(?:sleep|benchmark|pg_sleep|dbms_pipe\.receive_message) ?\( ?['\d]|waitfor delay ?'",
    ),
    rule(
        Group::Sqli,
        "sqli.function",
        ALL,
        r"\b(?:extractvalue|updatexml) ?\([^\n]*(?:0x|concat|select)|\bload_file ?\( ?['\d]|\binto (?:outfile|dumpfile) ?['\d]|\bxp_cmdshell\b|\butl_(?:http|inaddr)\.|\bgroup_concat ?\(",
    ),
    rule(
        Group::Sqli,
        "sqli.select",
        ALL,
        r"\bselect (?:@@|null ?,|\d+ ?, ?\d|(?:concat|version|database|user|count|char|substring|ascii|load_file|group_concat|current_user|system_user) ?\()|\( ?select (?:\*|[\w,. ]+|\w+ ?\([^)\n]*\)) from [\w.]+ ?(?:\)|where|limit|order)",
    ),
    rule(
        Group::Sqli,
        "sqli.schema",
        ALL,
        r"\bfrom (?:information_schema\.|sysobjects\b|syscolumns\b|sqlite_master\b|pg_catalog\.|pg_user\b|mysql\.user\b|all_tables\b|dual\b)",
    ),
    rule(
        Group::Sqli,
        "sqli.order",
        ALL,
        r#"['")] ?(?:order|group) by \d+ ?(?:--|#|,)|['"] ?having \d+ ?="#,
    ),
    rule(Group::Xss, "xss.script", ALL, r"< ?/? ?script\b"),
    // <img src=x onerror=…>
    rule(
        Group::Xss,
        "xss.handler",
        ALL,
        r#"<[a-z!/?][^>\n]*[ /"'`]on[a-z]{4,24} ?="#,
    ),
    // "onmouseover=… where the tag is already open
    rule(
        Group::Xss,
        "xss.attribute",
        ALL,
        r#"["'`] ?/?[ ]?on(?:error|load|click|focus|blur|mouse\w+|key\w+|toggle|animation\w+|pointer\w+) ?= ?["'`]?[a-z]+[ (.\[=]"#,
    ),
    rule(
        Group::Xss,
        "xss.tag",
        ALL,
        r"< ?(?:iframe|object|embed|applet|frameset|isindex|base href|meta http-equiv)\b",
    ),
    rule(
        Group::Xss,
        "xss.uri",
        ALL,
        r#"(?m)(?:^|["'`=( ])(?:j ?a ?v ?a ?s ?c ?r ?i ?p ?t|vbscript) ?: ?(?:[\w.$]+ ?[(=\[`]|//|/\*|%|\\|window\b|document\b)|data ?: ?text/html ?[,;]"#,
    ),
    rule(
        Group::Xss,
        "xss.call",
        ALL,
        r#"["'`>)}] ?[;+*/-]+ ?(?:alert|prompt|confirm|eval|fetch) ?[(`]|\bdocument ?\. ?cookie\b ?[)+;,]|\bstring\.fromcharcode ?\(|\beval ?\( ?(?:atob|unescape|string)\b"#,
    ),
    rule(
        Group::Xss,
        "xss.template",
        ALL,
        r"\bconstructor ?\. ?constructor ?\(|\['constructor'\]",
    ),
    rule(
        Group::Traversal,
        "traversal.dots",
        &[Path, Query],
        r"(?m)(?:^|[/\\=:,;])\.\.(?:;?[/\\]|\xc0\xaf|\xc1\x9c|\xe0\x80\xaf|$)|\.{4,}[/\\]{2}",
    ),
    rule(
        Group::Traversal,
        "traversal.climb",
        &[Headers, Body],
        r"(?:\.\.(?:[/\\]|\xc0\xaf|\xc1\x9c)){2}|\.{4,}[/\\]{2}",
    ),
    rule(
        Group::Traversal,
        "traversal.file",
        ALL,
        r"/etc/(?:passwd|shadow|sudoers|group|master\.passwd)\b|/proc/self/(?:environ|cmdline|fd/|maps|root/)|(?:windows|winnt)[/\\](?:win\.ini|system32[/\\])|\bboot\.ini\b|web-inf[/\\]",
    ),
    rule(
        Group::Traversal,
        "traversal.wrapper",
        &[Query, Headers, Body],
        r"\bphp://(?:filter|input|memory|fd|temp)|\b(?:phar|expect|zip|glob)://|(?m)^(?:file:///|gopher://|dict://)",
    ),
    // ; cat /etc/hosts
    rule(
        Group::Command,
        "command.shell",
        &[Path, Query, Body],
        r#"(?:;|\||&|\$\(|`|<\(|>\() ?(?:sudo )?(?:/(?:usr/)?(?:local/)?s?bin/)?(?:cat|ls|dir|type|more|less|head|tail|wget|curl|nc|ncat|netcat|bash|sh|zsh|ksh|dash|python[23]?|perl|ruby|php|node|ping|nslookup|dig|host|rm|mv|cp|chmod|chown|touch|kill|find|grep|awk|sed|tee|xargs|powershell|cmd|tftp|ftp|telnet|ssh|scp|net|reg|certutil)(?:\.exe)? (?:-{1,2}[a-z\d]|/[a-z\d]|\.{0,2}/|\$|~|["'](?:/|http)|\\\\|https?:|\d{1,3}\.\d{1,3}\.|\*|user\b)"#,
    ),
    rule(
        Group::Command,
        "command.word",
        &[Path, Query, Body],
        r"(?m)(?:; ?|\| ?|&& ?|\$\(|`)(?:id|whoami|uname(?: -a)?|pwd|ls|env|printenv|ifconfig|ipconfig|netstat|hostname|ps(?: -?aux)?|w|sleep \d+) ?(?:$|[;|&)`#])",
    ),
    rule(
        Group::Command,
        "command.expand",
        ALL,
        r"\$\{?ifs\b|/dev/(?:tcp|udp)/|\(\) ?\{ ?[^}\n]*; ?\} ?;|\bbash -i\b ?>|\bbase64 (?:-d|--decode) ?\|",
    ),
    rule(
        Group::Command,
        "command.jndi",
        ALL,
        r"\$\{ ?jndi ?:|\$\{[^}\n]*\$\{[^}\n]*(?:lower|upper|env|sys|::-)",
    ),
    rule(
        Group::Command,
        "command.template",
        ALL,
        r"\{\{ ?(?:\d+ ?\* ?'?\d+|config\b ?[.}|]|self\b ?[._]|request ?[.|] ?(?:application|attr|environ)|''|\[\])|__(?:class|mro|subclasses|globals|builtins|import)__|[$#]\{ ?\d+ ?\* ?\d+ ?\}|<%= ?\d+ ?\* ?\d+|\bt\(java\.lang\.|\bruntime ?\. ?getruntime ?\(",
    ),
    rule(
        Group::Command,
        "command.php",
        ALL,
        r"<\?(?:php\b|=)|\b(?:system|passthru|shell_exec|proc_open|popen) ?\( ?(?:\$_|'|base64_decode)|\$_(?:get|post|request|cookie|server) ?\[",
    ),
    rule(
        Group::Command,
        "command.xxe",
        &[Body, Query],
        r#"<!(?:doctype|entity)[^>\n]*\b(?:system|public) ?["'](?:file|https?|ftp|php|expect|gopher):|<!entity [^>\n]*%"#,
    ),
    rule(
        Group::Scanner,
        "scanner.agent",
        &[Headers],
        r"\b(?:sqlmap|nikto|nessus|nuclei|acunetix|netsparker|masscan|zgrab|dirbuster|gobuster|feroxbuster|wpscan|openvas|w3af|havij|jaeles|arachni|whatweb|ffuf|wfuzz|commix|xsser|dirsearch)(?:/|\b ?\(|\.org| v?\d)",
    ),
    rule(
        Group::Scanner,
        "scanner.path",
        &[Path],
        r"(?m)/(?:\.git/(?:config|head|index|logs/)|\.svn/(?:entries|wc\.db)|\.env(?:\.\w+)?$|\.ht(?:passwd|access)$|\.aws/credentials|\.ssh/|\.ds_store$|wp-config\.php|wp-login\.php$|xmlrpc\.php$|phpmyadmin(?:/|$)|phpinfo\.php$|vendor/phpunit/|actuator/(?:env|heapdump|gateway)|cgi-bin/[^\n]*(?:\.sh|\.cgi|\.pl|\.exe|/sh)\b|_ignition/execute-solution|boaform/|hnap1|solr/admin|console/css/)",
    ),
];
