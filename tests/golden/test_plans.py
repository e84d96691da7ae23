"""An argument list and an environment, and the Plan they make: or the error, word for word.

Each case is `plans/NAME.toml`, and beside it `NAME.plan.json` or `NAME.error.txt`. After a change that
is meant, `UPDATE_GOLDEN=1 python -m pytest tests/golden` writes them anew; read the difference.
"""

from __future__ import annotations

import json
import os
import tomllib
from pathlib import Path
from typing import Any

import pytest

from velocity.cli.app import run
from velocity.server import launch

CASES = Path(__file__).parent / "plans"
UPDATE = os.environ.get("UPDATE_GOLDEN") == "1"


def cases() -> list[str]:
    return sorted(path.stem for path in CASES.glob("*.toml"))


def outcome(case: dict[str, Any], root: Path, monkeypatch: pytest.MonkeyPatch) -> tuple[int, str | None]:
    """The exit code and, if it came that far, the Plan."""
    plans: list[str] = []

    def serve_nothing(prepared: launch.Launch, *_: object) -> int:
        plans.append(prepared.plan)
        return 0

    monkeypatch.setattr(launch, "run", serve_nothing)
    for name in [name for name in os.environ if name.startswith("VELOCITY_")]:
        monkeypatch.delenv(name)
    for name, value in case.get("environment", {}).items():
        monkeypatch.setenv(name, value)
    monkeypatch.setenv("NO_COLOR", "1")
    monkeypatch.setenv("XDG_CACHE_HOME", str(root.parent / "cache"))
    monkeypatch.chdir(root)
    code = run(["serve", *case["arguments"]])
    return code, plans[0] if plans else None


@pytest.mark.parametrize("name", cases())
def test_case(name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    root = tmp_path / "site"
    root.mkdir()
    case = tomllib.loads((CASES / f"{name}.toml").read_text("utf-8"))
    code, plan = outcome(case, root, monkeypatch)
    said = capsys.readouterr().err
    if plan is not None:
        assert code == 0
        assert said == ""
        assert plan == json.dumps(json.loads(plan), sort_keys=True, separators=(",", ":"), ensure_ascii=False)
        found = json.dumps(json.loads(plan), sort_keys=True, indent=2, ensure_ascii=False) + "\n"
        kind, other = "plan.json", "error.txt"
    else:
        found = f"{said}exit: {code}\n"
        kind, other = "error.txt", "plan.json"
    found = found.replace(str(root), "$ROOT")
    expected = CASES / f"{name}.{kind}"
    if UPDATE:
        expected.write_text(found, "utf-8")
        (CASES / f"{name}.{other}").unlink(missing_ok=True)
    assert expected.exists(), f"{name} made this, and another kind of outcome was expected:\n{found}"
    assert found == expected.read_text("utf-8")


def test_nothing_is_left_over() -> None:
    """Every expectation belongs to a case, and every case has one."""
    expected = sorted(path.name.split(".")[0] for path in CASES.iterdir() if path.suffix in (".json", ".txt"))
    assert expected == cases()
