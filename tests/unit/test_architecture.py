"""Who may import what, where import-linter cannot see it, and what a start must not import."""

from __future__ import annotations

import ast
import subprocess
import sys
from pathlib import Path

import pytest

import velocity

PACKAGE = Path(velocity.__file__).parent
MAY_IMPORT_THE_CORE = {"asgi", "server", "client", "telemetry"}


def imports_core(source: str) -> bool:
    """Whether a module imports `velocity._core` when it runs; annotations alone do not count."""
    tree = ast.parse(source)
    for node in ast.walk(tree):
        if isinstance(node, ast.If) and ast.unparse(node.test) == "TYPE_CHECKING":
            node.body = []
    for node in ast.walk(tree):
        if isinstance(node, ast.ImportFrom):
            names = {f"{node.module}.{alias.name}" for alias in node.names} | {node.module}
        elif isinstance(node, ast.Import):
            names = {alias.name for alias in node.names}
        else:
            continue
        if "velocity._core" in names:
            return True
    return False


@pytest.mark.parametrize(
    ("source", "expected"),
    [
        ("from velocity import _core", True),
        ("from velocity._core import Engine", True),
        ("import velocity._core", True),
        ("def f():\n    from velocity import _core", True),
        ("if TYPE_CHECKING:\n    from velocity._core import Engine", False),
        ("from velocity import __version__", False),
    ],
)
def test_the_check_itself(source: str, expected: bool) -> None:
    assert imports_core(source) is expected


def test_the_core_is_imported_by_few() -> None:
    users = {
        path.relative_to(PACKAGE).parts[0]
        for path in PACKAGE.rglob("*.py")
        if imports_core(path.read_text(encoding="utf-8"))
    }
    assert users <= MAY_IMPORT_THE_CORE


def imported_by(statement: str) -> set[str]:
    code = f"import sys; {statement}; print(*sys.modules)"
    return set(subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout.split())


def test_importing_the_package_costs_nothing() -> None:
    heavy = {"typer", "pydantic", "cryptography", "rich", "velocity._core", "velocity.edge", "velocity.client"}
    assert not heavy & imported_by("import velocity")


def test_the_command_line_leaves_the_heavy_for_later() -> None:
    heavy = {"pydantic", "cryptography", "rich.console", "velocity.edge", "anyio", "jinja2"}
    assert not heavy & imported_by("import velocity.cli.app as a; a.build()")


def test_serving_leaves_other_verbs_for_later() -> None:
    loaded = imported_by("import velocity.cli.app as a; a.build(('serve',))")
    assert not {"velocity.cli.client", "velocity.cli.cert", "velocity.cli.ca"} & loaded


def test_exported_names() -> None:
    from velocity import client

    assert set(velocity.__all__) == {"EdgeApp", "EdgeRequest", "EdgeResponse", "__version__", *client.__all__}
    assert set(client.__all__) <= set(dir(client))
    for name in velocity.__all__:
        assert name in dir(velocity)
        assert getattr(velocity, name)
    with pytest.raises(AttributeError, match="module 'velocity' has no attribute 'nothing'"):
        velocity.nothing  # type: ignore[attr-defined]  # noqa: B018


def test_exported_names_of_applications() -> None:
    from velocity import edge

    assert edge.__all__ == sorted(edge.__all__)
    assert all(hasattr(edge, name) for name in edge.__all__)


def test_applications_need_no_core() -> None:
    assert not {"velocity._core", "typer", "cryptography"} & imported_by("import velocity.edge, velocity.edge.testing")


def test_the_client_leaves_the_heavy_for_later() -> None:
    heavy = {"pydantic", "cryptography", "httpx", "httpx2", "publicsuffixlist", "backports.zstd", "brotli", "anyio"}
    assert not heavy & imported_by("import velocity; velocity.Client; velocity.AsyncClient; velocity.HTTPXTransport")


def test_versions() -> None:
    assert velocity.__version__.count(".") == 2
