"""Whatever a configuration says, it is refused with a place or compiles into a Plan, and a large one does so fast."""

from __future__ import annotations

import json
import tempfile
import time
from pathlib import Path
from typing import Any

import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st

from velocity import _core
from velocity.config.configuration import Configuration, open_configuration
from velocity.config.plan import Certificate, Plan
from velocity.config.problems import InvalidConfigError
from velocity.config.source import Given
from velocity.server import judge as engine_judge

GOLDEN = Path(__file__).parents[2] / "golden/configs"
PAIR = (Certificate(chain_file=Path("/chain.pem"), key_file=Path("/key.pem")),)


def compiled(found: Configuration) -> Plan:
    plan = found.plan(PAIR)
    text = plan.to_json()
    text.encode()
    assert Plan.model_validate_json(text) == plan
    assert json.loads(text)["version"] == 1
    for site in plan.sites:
        for route in site.routes:
            assert all(0 <= place < len(plan.filters) for place in route.filters)
    return plan


def judge(simple: bytes | None, edge: bytes | None) -> None:
    """Nothing but a Plan or problems with their places."""
    with tempfile.TemporaryDirectory() as folder:
        paths = Path(folder, "serve.simple.yaml"), Path(folder, "edge.yaml")
        for path, content in zip(paths, (simple, edge), strict=True):
            path.write_bytes(content or b"")
        refused: InvalidConfigError | None = None
        try:
            found = open_configuration(
                None if simple is None else paths[0], None if edge is None else paths[1], environment={"PORT": "1"}
            )
            compiled(found)
        except InvalidConfigError as error:
            refused = error
    if refused is not None:
        assert refused.problems
        for problem in refused.problems:
            assert problem.message
            assert problem.to_json()["message"]
            assert problem.place is None or problem.place.excerpt() is not None


ODD: st.SearchStrategy[Any] = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(-5, 70_000),
    st.sampled_from(
        [
            "",
            "a",
            "/",
            "/a/{b}",
            "/a/*",
            "1s",
            "10k",
            "*",
            "a.example",
            "http://127.0.0.1:1",
            "secure",
            "GET",
            "${PORT}",
            "{{ a }}",
            "{{ a",
            "(",
        ]
    ),
    st.text(max_size=5),
)
WORDS = """
    server content telemetry profiles tickets listen alpn tls certificate private_key self_signed require_ech
    client_auth roots mode crl default permit sites proxies routes hostname path root index listings cache_control
    spa error_pages redirects from to redirect upstream preserve_host timeouts connect retries headers request
    response set add remove methods kind status body name match action type text json template file proxy rate_limit
    limit window key waf rules pattern middlewares skip hosts templates_dir security_headers users issuer client_id
    limits max_sessions include domains fallback workers trusted_proxies
"""
KEYS = st.sampled_from(WORDS.split())
TREES = st.recursive(
    ODD, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(KEYS, inner, max_size=4), max_leaves=15
)
SIMPLE = st.fixed_dictionaries(
    {"content": TREES | st.fixed_dictionaries({"sites": TREES, "proxies": TREES, "routes": TREES})},
    optional={"server": TREES, "profiles": TREES, "telemetry": TREES, "tickets": TREES, "include": TREES},
)
ROUTE = st.fixed_dictionaries(
    {"path": st.sampled_from(["/", "/a", "/a/{b}", "/a/*", "/{*c}", "/a/b/c"])},
    optional={
        "methods": st.lists(st.sampled_from(["GET", "POST", "HEAD"]), max_size=2),
        "text": st.just("x"),
        "json": TREES,
        "proxy": st.just("http://127.0.0.1:1"),
        "redirect": st.just("/x"),
        "rate_limit": st.just({"limit": 1, "window": "1s"}) | TREES,
        "waf": st.booleans() | TREES,
        "skip": st.just(["waf"]),
        "hostname": st.sampled_from(["a.example", "*.example.com", "*"]),
        "middlewares": st.just([{"kind": "headers", "set": {"a": "b"}}, {"kind": "cors"}]) | TREES,
    },
)
SITE = st.fixed_dictionaries(
    {"root": st.just("x")},
    optional={
        "hostname": st.sampled_from(["a.example", "b.example", "*.example", "*"]),
        "path": st.sampled_from(["/", "/a", "/b"]),
        "spa": st.booleans(),
        "error_pages": st.just({"404": "x"}),
        "redirects": st.just([{"from": "/old/*", "to": "/new"}]),
        "routes": st.lists(ROUTE, max_size=2),
        "middlewares": TREES,
    },
)
LIKELY = st.fixed_dictionaries(
    {"content": st.fixed_dictionaries({"sites": st.lists(SITE, max_size=3), "routes": st.lists(ROUTE, max_size=3)})}
)
EDGE = st.fixed_dictionaries(
    {"routes": st.lists(ROUTE, max_size=4)},
    optional={
        "rate_limit": st.just({"limit": 1, "window": "1s", "key": "cookie:a"}) | TREES,
        "waf": st.booleans() | TREES,
        "security_headers": st.booleans() | st.just({"x_frame_options": None}),
        "middlewares": st.just([{"kind": "compress"}, {"kind": "headers", "request": {"add": {"a": 1}}}]) | TREES,
        "sites": st.just([{"hosts": "a.example", "waf": False, "routes": [{"path": "/s", "text": "s"}]}]) | TREES,
        "templates_dir": st.just("t"),
    },
)


@given(SIMPLE)
@settings(max_examples=200, deadline=None)
def test_anything_simple(tree: Any) -> None:
    judge(yaml.safe_dump(tree, allow_unicode=True).encode(), None)


@given(LIKELY, st.none() | EDGE)
@settings(max_examples=300, deadline=None)
def test_anything_likely(simple: Any, edge: Any) -> None:
    judge(json.dumps(simple).encode(), None if edge is None else yaml.safe_dump(edge).encode())


ENGINES = {"TEMPLATE_INVALID", "WAF_RULE_INVALID", "ROUTE_INVALID", "HEADER_INVALID"}
"""What only the engine can tell; everything else is refused before it, files and folders aside."""
FILES = {"ROOT_UNREADABLE", "FILE_UNREADABLE", "TEMPLATES_UNREADABLE", "TEMPLATE_MISSING", "ERROR_PAGE_UNREADABLE"}


@given(LIKELY, st.none() | EDGE)
@settings(max_examples=60, deadline=None)
def test_the_engine_takes_what_is_accepted(simple: Any, edge: Any) -> None:
    """And what it does not take, such as a broken template, has a place."""
    with tempfile.TemporaryDirectory() as folder:
        paths = Path(folder, "serve.simple.yaml"), Path(folder, "edge.yaml")
        paths[0].write_text(json.dumps(simple))
        paths[1].write_text(yaml.safe_dump(edge or {}))
        try:
            found = open_configuration(paths[0], None if edge is None else paths[1], environment={"PORT": "1"})
        except InvalidConfigError:
            return
        codes = {error.code for error in _core.problems(found.draft().to_json())}
        assert codes <= ENGINES | FILES
        for problem in engine_judge.problems(found, look=False):
            assert problem.place is not None
            assert problem.place.line


ACCEPTED = sorted(path for path in GOLDEN.glob("*.yaml") if (GOLDEN / f"{path.name.split('.')[0]}.plan.json").exists())


@given(st.sampled_from(ACCEPTED), st.data())
@settings(max_examples=400, deadline=None)
def test_mutations(path: Path, data: st.DataObject) -> None:
    content = bytearray(path.read_bytes())
    for _ in range(data.draw(st.integers(1, 3))):
        at = data.draw(st.integers(0, max(len(content) - 1, 0)))
        what = data.draw(st.sampled_from(["flip", "cut", "copy", "insert"]))
        if what == "flip":
            content[at : at + 1] = bytes([data.draw(st.integers(0, 255))])
        elif what == "cut":
            del content[at : at + data.draw(st.integers(1, 30))]
        elif what == "copy":
            content[at:at] = content[at : at + data.draw(st.integers(1, 60))]
        else:
            content[at:at] = data.draw(
                st.sampled_from([b"\n", b"  ", b"{", b"]", b": ", b"- ", b"'", b"*a", b"&a ", b"${", b"\t"])
            )
    if ".edge." in path.name:
        judge(None, bytes(content))
    else:
        judge(bytes(content), None)


def test_ten_thousand_hosts(tmp_path: Path) -> None:
    """Two seconds on the machine it is made for; more here, as tests share theirs."""
    lines = ["content:", "  sites:"]
    for host in range(10_000):
        lines.append(f"  - hostname: h{host}.example.com\n    root: /srv/www\n    routes:")
        lines += (f"    - {{path: /r{route}/x, text: ok}}" for route in range(5))
    path = tmp_path / "serve.simple.yaml"
    path.write_text("\n".join(lines))
    began = time.process_time()
    plan = open_configuration(path).plan(PAIR)
    text = plan.to_json()
    took = time.process_time() - began
    assert len(plan.sites) == 10_000
    assert sum(len(site.routes) for site in plan.sites) == 60_000
    assert len(text) > 1_000_000
    assert took < 8


def test_one_wrong_value_among_many_is_found(tmp_path: Path) -> None:
    lines = ["content:", "  routes:", *(f"  - {{path: /r{number}, text: ok}}" for number in range(5_000))]
    lines[3_000] = lines[3_000].replace("text", "txet")
    path = tmp_path / "serve.simple.yaml"
    path.write_text("\n".join(lines))
    with pytest.raises(InvalidConfigError) as caught:
        open_configuration(path)
    assert [problem.place.line for problem in caught.value.problems if problem.place] == [3_001]


def test_templates_are_beside_the_file_or_within_the_root(tmp_path: Path) -> None:
    edge = tmp_path / "edge.yaml"
    edge.write_text("templates_dir: templates\nroutes: [{path: /x, template: x.html}]\n")
    root = tmp_path / "public"
    (root / "templates").mkdir(parents=True)
    given_ = {"root": Given("--root", str(root))}
    assert open_configuration(None, edge, given_).templates == root / "templates"
    (tmp_path / "templates").mkdir()
    assert open_configuration(None, edge, given_).templates == tmp_path / "templates"


def test_what_is_missing_is_told_with_its_place(tmp_path: Path) -> None:
    path = tmp_path / "serve.simple.yaml"
    path.write_text(
        "server: {tls: {certificate: no.pem, private_key: serve.simple.yaml, client_auth: {roots: no.roots}}}\n"
        "content: {sites: [{root: nowhere}, {root: serve.simple.yaml, path: /a}, {root: ., path: /b}]}\n"
    )
    missing = open_configuration(path).missing()
    assert [(one.key, one.place.line if one.place else 0) for one in missing] == [
        ("content.sites[0].root", 2),
        ("content.sites[1].root", 2),
        ("server.tls.certificate", 1),
        ("server.tls.client_auth.roots", 1),
    ]
