"""What tests share: a served site, and the promise that no test is skipped unseen, and in CI none at all."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from support import site as sites
from support.backend import Backend
from support.engine import make
from support.needs import IN_CI
from support.server import Server

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from support.certificates import Pair


@pytest.fixture(scope="session")
def site(tmp_path_factory: pytest.TempPathFactory) -> sites.Site:
    """The test site, shared: tests that change files make one of their own."""
    return sites.make(tmp_path_factory.mktemp("served"))


@pytest.fixture(scope="session")
def server(site: sites.Site) -> Iterator[Server]:
    """The test site, served with defaults and a self-signed certificate; shared, so leave it as it was."""
    with Server(site.root) as running:
        yield running
        running.terminate()
        assert running.wait() == 0


@pytest.fixture
def fresh_site(tmp_path: Path) -> sites.Site:
    """A test site of this test's own."""
    return sites.make(tmp_path)


@pytest.fixture(scope="module")
def pair(tmp_path_factory: pytest.TempPathFactory) -> Pair:
    """A hybrid certificate for localhost, and its keys."""
    return make(tmp_path_factory.mktemp("certificate"))


@pytest.fixture(scope="module")
def behind(request: pytest.FixtureRequest) -> Iterator[Backend]:
    """A server behind a proxy, with the `SCRIPTS` of the module."""
    with Backend(request.module.SCRIPTS) as running:
        yield running


@pytest.fixture
def backend(behind: Backend) -> Backend:
    """The same with a clean sheet."""
    behind.requests.clear()
    behind.nonsense.clear()
    return behind


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """Name each test that did not run, and why."""
    skipped = terminalreporter.stats.get("skipped", [])
    if not skipped:
        return
    terminalreporter.section("not run", sep="-")
    for report in skipped:
        reason = report.longrepr[2] if isinstance(report.longrepr, tuple) else report.longrepr
        terminalreporter.line(f"{report.nodeid}: {reason}")


@pytest.hookimpl(trylast=True)
def pytest_sessionfinish(session: pytest.Session) -> None:
    """Fail a CI session in which something was skipped behind the back of `support.needs`."""
    reporter = session.config.pluginmanager.get_plugin("terminalreporter")
    if IN_CI and reporter is not None and reporter.stats.get("skipped") and session.exitstatus == pytest.ExitCode.OK:
        session.exitstatus = pytest.ExitCode.TESTS_FAILED
