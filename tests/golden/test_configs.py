"""Configuration files, and the Plan they make: or the problems, word for word.

Each case is `configs/NAME.simple.yaml` (or `.toml`, `.json`) or `configs/NAME.edge.yaml` or both, and beside it
`NAME.plan.json` or `NAME.error.txt`; `configs/files` is what they include. After a change that is meant,
`UPDATE_GOLDEN=1 python -m pytest tests/golden` writes them anew; read the difference.
"""

from __future__ import annotations

import json
import os
import shutil
from pathlib import Path
from typing import Any

import pytest

from support import application
from velocity import _core
from velocity.config.configuration import open_configuration
from velocity.config.plan import Certificate, Plan
from velocity.config.problems import InvalidConfigError
from velocity.pki import self_signed
from velocity.server.launch import find_certificate

CASES = Path(__file__).parent / "configs"
UPDATE = os.environ.get("UPDATE_GOLDEN") == "1"
ENVIRONMENT = {"PORT": "8443", "EMPTY": ""}
INPUTS = (".simple.yaml", ".simple.toml", ".simple.json", ".edge.yaml")


def cases() -> list[str]:
    names = {path.name[: -len(end)] for path in CASES.iterdir() for end in INPUTS if path.name.endswith(end)}
    return sorted(names)


def outcome(name: str, folder: Path, monkeypatch: pytest.MonkeyPatch) -> tuple[str, str]:
    """Which kind of outcome, and what it is."""
    shutil.copytree(CASES / "files", folder, dirs_exist_ok=True)
    given: dict[str, Path] = {}
    for end in INPUTS:
        source = CASES / f"{name}{end}"
        if source.exists():
            kind, _, ending = end[1:].partition(".")
            given[kind] = Path(f"{kind}.{ending}")
            shutil.copy(source, folder / given[kind])
    monkeypatch.chdir(folder)
    try:
        found = open_configuration(given.get("simple"), given.get("edge"), environment=ENVIRONMENT)
    except InvalidConfigError as error:
        lines: list[str] = []
        for problem in error.problems:
            lines += [str(problem), f"  hint: {problem.hint}"] if problem.hint else [str(problem)]
            excerpt = problem.place.excerpt() if problem.place else ""
            lines += [f"  {line}" for line in excerpt.split("\n") if excerpt]
        return "error.txt", "\n".join(lines) + "\n"
    pairs = found.certificates or ((folder / "self-signed.pem", folder / "self-signed.key.pem"),)
    text = found.plan(tuple(Certificate(chain_file=chain, key_file=key) for chain, key in pairs)).to_json()
    plan = json.loads(text)
    assert Plan.model_validate_json(text).to_json() == text
    shown = {"plan": plan, "warnings": [f"{warning} ({warning.hint})" for warning in found.warnings]}
    return "plan.json", json.dumps(shown, sort_keys=True, indent=1, ensure_ascii=False) + "\n"


@pytest.mark.parametrize("name", cases())
def test_case(name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    kind, found = outcome(name, tmp_path, monkeypatch)
    found = found.replace(str(tmp_path), "$FOLDER")
    expected = CASES / f"{name}.{kind}"
    if UPDATE:
        expected.write_text(found, "utf-8")
        (CASES / f"{name}.{'plan.json' if kind == 'error.txt' else 'error.txt'}").unlink(missing_ok=True)
    assert expected.exists(), f"{name} made this, and another kind of outcome was expected:\n{found}"
    assert found == expected.read_text("utf-8")


def bindable(part: Any, root: Path, key: str = "") -> Any:
    """An accepted Plan, as it is but for the places that exist here."""
    if isinstance(part, dict):
        return {name: bindable(value, root, name) for name, value in part.items()}
    if isinstance(part, list):
        return [bindable(value, root, key) for value in part]
    if key == "root":
        return str(root)
    if key in ("file", "path") and isinstance(part, str) and Path(part).suffix:
        (root / Path(part).name).write_text("x")
        return str(root / Path(part).name)
    if key.endswith("secret_file") and part is not None:
        (root / "secret").write_text("s" * 32)
        return str(root / "secret")
    return part


@pytest.mark.parametrize("path", sorted(CASES.glob("*.plan.json")), ids=lambda path: path.name.split(".")[0])
def test_the_engine_serves_every_accepted_plan(path: Path, tmp_path: Path) -> None:
    pair = self_signed.ensure(tmp_path, ())
    for name in ("hello.html", "login.html"):
        (tmp_path / name).write_text("{{ name }}")
    plan = bindable(json.loads(path.read_text("utf-8"))["plan"], tmp_path)
    for listener in plan["listeners"]:
        listener["address"] = "127.0.0.1:0"
    plan["tls"]["certificates"] = [find_certificate(pair[0], pair[1]).model_dump(mode="json")]
    plan["tls"]["client_auth"] = None
    plan["templates"] = plan["templates"] and str(tmp_path)
    _core.Engine(json.dumps(plan), applications=application.of_plan(plan)).abort()


def test_nothing_is_left_over() -> None:
    """Every expectation belongs to a case, and every case has one."""
    ends = (".plan.json", ".error.txt")
    expected = [path.name[: -len(end)] for path in CASES.iterdir() for end in ends if path.name.endswith(end)]
    assert sorted(expected) == cases()
