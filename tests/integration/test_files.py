"""A folder as a site, seen from outside: types, validators, ranges, compression (RFC 9110), and what stays hidden."""

from __future__ import annotations

import email.utils
import gzip
import time
from typing import TYPE_CHECKING

import pytest

from support.clients import PROTOCOLS, Protocol, ask
from support.http1 import Http1
from support.server import Server
from support.site import INDEX, SECRET, TEXT, Site

if TYPE_CHECKING:
    from pathlib import Path

every_protocol = pytest.mark.parametrize("protocol", PROTOCOLS)


@every_protocol
def test_index(server: Server, protocol: Protocol) -> None:
    answer = ask(protocol, server.port, "/")
    assert (answer.status, answer.body) == (200, INDEX)
    assert answer["content-type"].startswith("text/html")
    assert answer["content-length"] == str(len(INDEX))
    assert email.utils.parsedate_to_datetime(answer["date"])


@every_protocol
def test_head_has_the_fields_of_get_and_no_body(server: Server, protocol: Protocol) -> None:
    got = ask(protocol, server.port, "/data.bin")
    head = ask(protocol, server.port, "/data.bin", "HEAD")
    assert (head.status, head.body) == (200, b"")
    for name in ("content-length", "content-type", "etag", "last-modified", "accept-ranges"):
        assert head[name] == got[name]


@every_protocol
@pytest.mark.parametrize(
    ("path", "media_type"),
    [
        ("/hello.txt", "text/plain"),
        ("/style.css", "text/css"),
        ("/data.json", "application/json"),
        ("/data.bin", "application/octet-stream"),
        ("/app.js", "text/javascript"),
        ("/empty.txt", "text/plain"),
    ],
)
def test_media_types(server: Server, protocol: Protocol, path: str, media_type: str) -> None:
    answer = ask(protocol, server.port, path)
    assert answer.status == 200
    assert answer["content-type"].split(";")[0] == media_type


@every_protocol
def test_names_are_percent_decoded_once(server: Server, protocol: Protocol) -> None:
    name = "/sub/a%20file%20with%20spaces%20%26%20umlauts%20%C3%A4%C3%B6%C3%BC.txt"
    assert ask(protocol, server.port, name).body == b"found\n"
    assert ask(protocol, server.port, name.replace("%20", "%2520")).status == 404


@every_protocol
def test_query_is_not_part_of_the_name(server: Server, protocol: Protocol) -> None:
    assert ask(protocol, server.port, "/hello.txt?../../x=%00").body == b"hello\n"


@every_protocol
def test_missing_and_wrong(server: Server, protocol: Protocol) -> None:
    assert ask(protocol, server.port, "/nothing-here").status == 404
    assert ask(protocol, server.port, "/hello.txt/").status in (301, 308, 404)
    refused = ask(protocol, server.port, "/hello.txt", "DELETE")
    assert refused.status == 405
    assert {"GET", "HEAD"} <= {method.strip() for method in refused["allow"].split(",")}


@every_protocol
def test_directory_without_slash_is_redirected(server: Server, protocol: Protocol) -> None:
    answer = ask(protocol, server.port, "/sub?a=b")
    assert answer.status in (301, 308)
    assert answer["location"].endswith("/sub/?a=b")
    assert ask(protocol, server.port, "/sub/").status == 200


def test_redirect_stays_on_this_host(server: Server) -> None:
    """`//host` in a `Location` would be another host."""
    for path in ("//sub", "/%2fsub", "//example.com/%2e%2e/sub"):
        location = ask("http/1.1", server.port, path).get("location") or "/"
        assert not location.startswith("//"), (path, location)


@every_protocol
def test_strong_validators(server: Server, protocol: Protocol) -> None:
    full = ask(protocol, server.port, "/hello.txt")
    etag, modified = full["etag"], full["last-modified"]
    assert etag.startswith('"')
    for fields, status in [
        ([("if-none-match", etag)], 304),
        ([("if-none-match", f'"other", {etag}')], 304),
        ([("if-none-match", f"W/{etag}")], 304),
        ([("if-none-match", "*")], 304),
        ([("if-none-match", '"other"')], 200),
        ([("if-modified-since", modified)], 304),
        ([("if-modified-since", "Thu, 01 Jan 1998 00:00:00 GMT")], 200),
        ([("if-modified-since", "not a date")], 200),
        ([("if-none-match", '"other"'), ("if-modified-since", modified)], 200),
        ([("if-match", etag)], 200),
        ([("if-match", '"other"')], 412),
        ([("if-match", f"W/{etag}")], 412),
        ([("if-unmodified-since", "Thu, 01 Jan 1998 00:00:00 GMT")], 412),
        ([("if-unmodified-since", modified)], 200),
    ]:
        answer = ask(protocol, server.port, "/hello.txt", fields=fields)
        assert answer.status == status, fields
        if status == 304:
            assert answer.body == b""
            assert answer["etag"] == etag


@every_protocol
@pytest.mark.parametrize(
    ("asked", "first", "last"),
    [
        ("bytes=0-0", 0, 0),
        ("bytes=100-199", 100, 199),
        ("bytes=1048575-", (1 << 20) - 1, (1 << 20) - 1),
        ("bytes=-10", (1 << 20) - 10, (1 << 20) - 1),
        ("bytes=-99999999", 0, (1 << 20) - 1),
        ("bytes=1048000-99999999999", 1048000, (1 << 20) - 1),
    ],
)
def test_single_range(server: Server, site: Site, protocol: Protocol, asked: str, first: int, last: int) -> None:
    answer = ask(protocol, server.port, "/data.bin", fields=[("range", asked)])
    assert answer.status == 206
    assert answer["content-range"] == f"bytes {first}-{last}/{1 << 20}"
    assert answer.body == site.binary[first : last + 1]


@every_protocol
def test_unsatisfiable_range(server: Server, protocol: Protocol) -> None:
    answer = ask(protocol, server.port, "/data.bin", fields=[("range", "bytes=1048576-")])
    assert answer.status == 416
    assert answer["content-range"] == f"bytes */{1 << 20}"


@every_protocol
@pytest.mark.parametrize("asked", ["bytes=", "bytes=5-2", "bytes=a-b", "lines=1-2", "bytes=1", "bytes=--1", "0-1"])
def test_unreadable_range_is_ignored(server: Server, protocol: Protocol, asked: str) -> None:
    """RFC 9110 section 14.2: a range that is not valid is as if it were absent."""
    assert ask(protocol, server.port, "/hello.txt", fields=[("range", asked)]).status in (200, 416)


@every_protocol
def test_if_range(server: Server, protocol: Protocol) -> None:
    full = ask(protocol, server.port, "/hello.txt", "HEAD")
    partial = [("range", "bytes=0-1")]
    for validator, status in [
        (full["etag"], 206),
        ('"other"', 200),
        (f"W/{full['etag']}", 200),
        ("Thu, 01 Jan 1998 00:00:00 GMT", 200),
    ]:
        answer = ask(protocol, server.port, "/hello.txt", fields=[*partial, ("if-range", validator)])
        assert answer.status == status, validator


@every_protocol
def test_many_ranges(server: Server, site: Site, protocol: Protocol) -> None:
    answer = ask(protocol, server.port, "/data.bin", fields=[("range", "bytes=0-9, 500-599, -5")])
    assert answer.status == 206
    kind, _, boundary = answer["content-type"].partition("; boundary=")
    assert kind == "multipart/byteranges"
    parts = answer.body.split(b"--" + boundary.strip('"').encode())
    assert parts[-1].strip() == b"--"
    bodies = [part.partition(b"\r\n\r\n")[2].removesuffix(b"\r\n") for part in parts[1:-1]]
    size = len(site.binary)
    assert bodies == [site.binary[:10], site.binary[500:600], site.binary[size - 5 :]]
    assert b"Content-Range: bytes 500-599/1048576".lower() in parts[2].lower()


def test_many_overlapping_ranges_cost_no_more_than_the_file(server: Server) -> None:
    """The range bomb: a thousand ranges of a megabyte each must not become a gigabyte."""
    asked = "bytes=" + ",".join("0-" for _ in range(1000))
    with Http1(server.port) as connection:
        answer = connection.ask("/data.bin", fields=[("range", asked)])
    assert answer.status in (200, 206, 416)
    assert len(answer.body) < 2 << 20


@every_protocol
@pytest.mark.parametrize(
    ("accept", "encoding", "body"),
    [
        ("br", "br", b"as if brotli"),
        ("zstd", "zstd", b"as if zstandard"),
        ("br;q=0, zstd", "zstd", b"as if zstandard"),
        ("identity", None, None),
        ("gzip;q=0", None, None),
    ],
)
def test_precompressed_siblings(
    server: Server, protocol: Protocol, accept: str, encoding: str | None, body: bytes | None
) -> None:
    plain = ask(protocol, server.port, "/app.js")
    answer = ask(protocol, server.port, "/app.js", fields=[("accept-encoding", accept)])
    assert answer.get("content-encoding") == encoding
    assert answer.body == (plain.body if body is None else body)
    assert answer["content-type"].startswith("text/javascript")
    assert "accept-encoding" in plain["vary"].lower()
    if encoding:
        assert answer["etag"] != plain["etag"], "a strong ETag names one sequence of bytes"


@every_protocol
def test_gzip_sibling_is_the_file(server: Server, site: Site, protocol: Protocol) -> None:
    answer = ask(protocol, server.port, "/app.js", fields=[("accept-encoding", "gzip")])
    assert answer["content-encoding"] == "gzip"
    assert answer.body == (site.root / "app.js.gz").read_bytes()


@every_protocol
def test_compression_on_the_fly(server: Server, protocol: Protocol) -> None:
    answer = ask(protocol, server.port, "/long.txt", fields=[("accept-encoding", "gzip")])
    assert answer["content-encoding"] == "gzip"
    assert gzip.decompress(answer.body) == TEXT
    assert len(answer.body) < len(TEXT) // 4
    assert ask(protocol, server.port, "/long.txt").body == TEXT
    noise = ask(protocol, server.port, "/data.bin", fields=[("accept-encoding", "gzip, br, zstd")])
    assert noise.get("content-encoding") is None, "what cannot be compressed is sent as it is"


@every_protocol
@pytest.mark.parametrize(
    "path",
    [
        "/.secret",
        "/.hidden/file.txt",
        "/%2esecret",
        "/.velocity/file.txt",
        "/.velocity/certs/key.txt",
        "/%2evelocity/certs/key.txt",
        "/sub/../.velocity/file.txt",
        "/escape.txt",
        "/escape-absolute.txt",
        "/escape/secret.txt",
    ],
)
def test_hidden_and_escaping_names(server: Server, protocol: Protocol, path: str) -> None:
    answer = ask(protocol, server.port, path)
    assert 400 <= answer.status < 500
    assert SECRET not in answer.body


@every_protocol
def test_certificate_store_is_not_served(server: Server, protocol: Protocol) -> None:
    store = server.certificate
    if store.is_relative_to(server.root):
        for file in store.parent.iterdir():
            answer = ask(protocol, server.port, f"/{file.relative_to(server.root)}")
            assert 400 <= answer.status < 500


@every_protocol
def test_link_inside_the_root_is_followed(server: Server, protocol: Protocol) -> None:
    assert ask(protocol, server.port, "/inside-link.txt").body == b"hello\n"


@every_protocol
def test_special_file_does_not_hang(server: Server, protocol: Protocol) -> None:
    """Opening a FIFO without a writer blocks for ever, unless one knows."""
    began = time.monotonic()
    assert 400 <= ask(protocol, server.port, "/pipe").status < 500
    assert time.monotonic() - began < 3


def test_changes_are_served_at_once(fresh_site: Site) -> None:
    """A hot file in memory must not outlive the file on disk, even when its size stays."""
    page = fresh_site.root / "page.txt"
    page.write_bytes(b"0000")
    with Server(fresh_site.root) as running, Http1(running.port) as connection:
        for number in range(50):
            content = f"{number:04}".encode()
            page.write_bytes(content)
            assert connection.ask("/page.txt").body == content
            assert connection.ask("/page.txt").body == content
        replacement = fresh_site.root / "new.txt"
        replacement.write_bytes(b"replaced by rename")
        replacement.rename(page)
        assert connection.ask("/page.txt").body == b"replaced by rename"
        page.unlink()
        assert connection.ask("/page.txt").status == 404
        page.write_bytes(b"back")
        assert connection.ask("/page.txt").body == b"back"


def test_file_that_became_a_link_outside_is_not_served(fresh_site: Site) -> None:
    page = fresh_site.root / "page.txt"
    page.write_bytes(b"fine")
    with Server(fresh_site.root) as running, Http1(running.port) as connection:
        assert connection.ask("/page.txt").body == b"fine"
        page.unlink()
        page.symlink_to("../outside/secret.txt")
        assert 400 <= connection.ask("/page.txt").status < 500


def test_root_may_be_a_link(fresh_site: Site, tmp_path: Path) -> None:
    link = tmp_path / "current"
    link.symlink_to(fresh_site.root, target_is_directory=True)
    with Server(link) as running:
        assert ask("h2", running.port, "/hello.txt").body == b"hello\n"


def test_listings_only_when_asked_for(fresh_site: Site, server: Server) -> None:
    assert ask("h2", server.port, "/files/").status in (403, 404)
    with Server(fresh_site.root, "--listings") as running:
        page = ask("h2", running.port, "/files/")
        assert page.status == 200
        assert page["content-type"] == "text/html; charset=utf-8"
        text = bytes(page.body).decode()
        assert "one.txt" in text
        assert "<script>alert" not in text, "names are escaped"
        assert "prefers-color-scheme" in text, "light and dark"
        assert ask("h2", running.port, "/").body == INDEX, "an index goes before a listing"
        (fresh_site.root / "index.html").unlink()
        top = bytes(ask("h2", running.port, "/").body).decode()
        assert "hello.txt" in top
        for hidden in (".secret", ".hidden", ".velocity"):
            assert hidden not in top


def test_dotfiles_when_asked_for_but_never_the_certificate_store(fresh_site: Site) -> None:
    with Server(fresh_site.root, "--dotfiles", "--listings") as running:
        assert ask("h2", running.port, "/.secret").body == SECRET
        for path in ("/.velocity/", "/.velocity/file.txt", "/.velocity/certs/key.txt", "/%2evelocity/certs/cert.pem"):
            assert 400 <= ask("h2", running.port, path).status < 500, path
        (fresh_site.root / "index.html").unlink()
        assert b".velocity" not in ask("h2", running.port, "/").body


def test_cache_control(fresh_site: Site) -> None:
    with Server(fresh_site.root, "--cache-control", "public, max-age=60") as running:
        assert ask("h3", running.port, "/hello.txt")["cache-control"] == "public, max-age=60"
        assert ask("h3", running.port, "/nothing-here").get("cache-control") is None
