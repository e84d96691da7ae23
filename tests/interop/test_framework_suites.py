"""The tests of Starlette, FastAPI and Django themselves, by sockets and protocols instead of calls: what these
frameworks believe of a server, they say there.

The sources are fetched at the versions in uv.lock. What comes out otherwise stands here with its reason.
"""

from __future__ import annotations

import fnmatch
import json
import os
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from support.server import environment
from support.sources import imported, unpacked

PLUGINS = Path(__file__).parent / "frameworks"
SUPPORT = Path(__file__).parents[1]
PACKAGES = ("dirty-equals", "itsdangerous", "python-multipart", "sniffio")
"""What the tests of Starlette and FastAPI import besides."""


def run_pytest(folder: Path, into: Path, protocol: str, *arguments: str) -> dict[str, Any]:
    """Run tests of a framework with its `TestClient` going through a live server; what came of each."""
    told = into / "outcomes.json"
    variables = {
        "SUITE_PROTOCOL": protocol,
        "SUITE_OUTCOMES": str(told),
        "PYTHONPATH": os.pathsep.join(map(str, (SUPPORT, folder, imported(*PACKAGES)))),
        # Some print what they find there.
        "PYTHONDONTWRITEBYTECODE": "1",
    }
    command = [sys.executable, "-m", "pytest", "-p", "interop.frameworks.live_starlette", "-p", "no:cacheprovider"]
    command += ["-q", "--tb=short"]
    command += ["-W", "ignore::ResourceWarning", "-W", "ignore::pytest.PytestUnraisableExceptionWarning"]
    done = subprocess.run(
        [*command, *arguments], cwd=folder, env=environment(variables), capture_output=True, text=True, timeout=840
    )
    assert done.returncode in (0, 1), done.stdout[-3000:] + done.stderr[-3000:]
    outcomes: dict[str, Any] = json.loads(told.read_text())
    (into / "said.txt").write_text(done.stdout + done.stderr)
    return outcomes


def compare(outcomes: dict[str, str], otherwise: dict[str, str], *, is_exact: bool = True) -> None:
    """Nothing failed that is not expected to; patterns stand for many, and where it is exact each has to match."""
    failed = {name for name, outcome in outcomes.items() if outcome == "failed"}
    matched = {pattern: fnmatch.filter(failed, pattern) for pattern in otherwise}
    excused = {name for names in matched.values() for name in names}
    assert sorted(failed - excused) == []
    unmatched = [pattern for pattern, names in matched.items() if not names]
    assert not is_exact or unmatched == [], "said to fail, and does not"


STARLETTE = {
    # What only a client without a wire can tell.
    "*::test_gzip_trailers*": "the trailers of an answer",
    "*::test_gzip_excluded_content_type_trailers*": "likewise",
    "tests/test_templates.py::*": "http.response.debug, an extension of the test client",
    "*::test_rejected_connection*": "the code of a WebSocket that was never opened",
    "*::test_receive_wrong_message_type*": "messages of ASGI that no frame stands for",
    "*::test_accessing_context_from_threaded_sync_endpoint*": "the context of who calls",
    "*::test_request_send_push_promise[[]asyncio]": "an extension that the server does not have",
    "*::test_websocket_route_middleware*": "letter case of field names",
    "*::test_force_500_response*": "the text of a 500",
    # The client has closed it already: an OSError, since version 2.4 of the specification.
    "*::test_websocket_endpoint_on_disconnect*": "closes once more",
    "*::test_websocket_concurrency_pattern*": "likewise",
    # What clients do not send, and servers do not take.
    "*::test_staticfiles_304_with_if_none_match_wildcard*t-*": "a field value with white space around it",
    "*::test_cookies_invalid*": "likewise",
    "*::test_received_bytes_are_counted_with_unreliable_content_length*": "more content than its length",
    "*::test_trusted_host_middleware_ipv6*": "a port beyond 65535 in Host: 400 before the application is asked",
    "*::test_host_routing_*": "likewise",
    "*::test_https_redirect_middleware*": "likewise",
    # What the server refuses to everybody (RFC 3986 section 3.3, and what is unclear in a path).
    "*::test_request_raw_path*": "%2F in a path: 400",
    "*::test_staticfiles_null_byte_in_path*": "%00 in a path: 400",
    "*::test_staticfiles_filename_too_long*": "a path of more than 4096 bytes: 414",
    "*::test_response_phrase*": "a final answer with an interim status",
}
if os.geteuid() == 0:
    STARLETTE["*::test_staticfiles_with_invalid_dir_permissions_returns_401*"] = "root may read everything"

FASTAPI = {
    # What only a client without a wire can tell.
    "tests/test_dependency_yield_scope_websockets.py::*": "the context of who calls",
    "tests/test_ws_router.py::test_depend_*": "the code of a WebSocket that was never opened",
    "*::test_broken_session_stream_no_raise": "nothing of the answer was sent yet: a 500",
    # Our own client says who it is, and does not say what it knows of codings and connections.
    "*::test_header_model_*": "likewise",
    "*::test_composed_parameter_models_*": "likewise",
    "*::test_automatic_headers_follow_extra_configuration*": "likewise",
    "*::test_allowed_header_extras_require_model_fields*": "likewise",
    "*::test_security_http_base_with_whitespaces": "a field value with white space around it",
    "*::test_token_with_whitespaces": "likewise",
    # What the server refuses to everybody.
    "*::test_path_traversal_cannot_escape_directory*": "400 instead of 404",
    # Of this environment: no `multipart` package, and a command that is not installed.
    "tests/test_multipart_installation.py::*": "another multipart",
    "*::test_fastapi_cli": "a command that is not installed",
    "*::test_app_can_be_reused_across_event_loops": "trio is not installed",
}

TUTORIALS = {
    "*/test_security/test_tutorial00[45].py::*": "jwt is not installed",
    "*/test_extra_models/test_tutorial001_tutorial002.py::*": "nor is email_validator",
    "*/test_response_model/test_tutorial00[23]*.py::*": "likewise",
    "*/test_header_param_models/*": "fields that only httpx sends",
}

DJANGO = {
    "servers.tests.LiveServerViews.test_closes_connection_without_content_length": "a client without TLS",
    "servers.tests.LiveServerViews.test_keep_alive_*": "likewise",
}

MISSING = (
    "flask",
    "httpx",
    "trio",
    "opentelemetry",
    "pwdlib",
    "pytest_codspeed",
    "sqlalchemy",
    "sqlmodel",
    "strawberry",
    "jwt",
)
"""What some files want and nobody else here needs."""


@pytest.mark.parametrize("protocol", ["http/1.1", "h2", "h3"])
def test_starlette(tmp_path: Path, protocol: str) -> None:
    told = run_pytest(unpacked("starlette"), tmp_path, protocol, "--continue-on-collection-errors", "tests")
    assert [why for why in told["uncollected"].values() if not any(name in why for name in MISSING)] == []
    compare(told["outcomes"], STARLETTE, is_exact=protocol == "http/1.1")
    assert list(told["outcomes"].values()).count("passed") >= 630
    assert told["visits"] >= 600, "they go through the server"


@pytest.mark.timeout(900)
@pytest.mark.parametrize(("tutorials", "least"), [(False, 3000), pytest.param(True, 1250, marks=pytest.mark.soak)])
def test_fastapi(tmp_path: Path, tutorials: bool, least: int) -> None:
    """Its own tests; and those of what its documentation shows, which take minutes."""
    folder = unpacked("fastapi")
    # What it tests of telemetry wants an SDK before it is even looked at.
    files = [str(file) for file in sorted((folder / "tests").rglob("test_*.py")) if "telemetry" not in str(file)]
    chosen = [file for file in files if ("test_tutorial" in file) == tutorials]
    told = run_pytest(folder, tmp_path, "h3", "--continue-on-collection-errors", *chosen)
    assert [why for why in told["uncollected"].values() if not any(name in why for name in MISSING)] == []
    compare(told["outcomes"], TUTORIALS if tutorials else FASTAPI, is_exact=False)
    assert list(told["outcomes"].values()).count("passed") >= least
    assert told["visits"] >= least // 2, "they go through the server"


def test_django(tmp_path: Path) -> None:
    """What it tests of servers: `LiveServerTestCase`, static and media files, threads and their databases."""
    labels = ("servers", "staticfiles_tests.test_liveserver")
    done = subprocess.run(
        [sys.executable, PLUGINS / "live_django.py", "--parallel=1", "-v2", *labels],
        cwd=unpacked("django") / "tests",
        env=environment({"PYTHONPATH": str(SUPPORT)}),
        capture_output=True,
        text=True,
        timeout=280,
    )
    # A line for the name, perhaps one of documentation, and then how it went.
    line = re.compile(r"^test_\w+ \(([\w.]+)\)(?:\n.*?)? \.\.\. (ok|FAIL|ERROR)$", re.MULTILINE)
    outcomes = {name: "passed" if how == "ok" else "failed" for name, how in line.findall(done.stderr)}
    compare(outcomes, DJANGO)
    assert list(outcomes.values()).count("passed") >= 24, done.stderr
