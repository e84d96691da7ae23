"""Folders with configuration files, and everything that `velocity config lint` says of them.

Each case is a folder `lint/NAME`, and beside it `NAME.txt` and `NAME.json`. After a change that is meant,
`UPDATE_GOLDEN=1 python -m pytest tests/golden` writes them anew; read the difference.
"""

from __future__ import annotations

import json
import os
import shutil
from pathlib import Path

import pytest

from velocity.cli.app import run

CASES = Path(__file__).parent / "lint"
UPDATE = os.environ.get("UPDATE_GOLDEN") == "1"
FLAGS = {"elsewhere": ["--no-files"]}
"""A machine that has nothing but the configuration."""


def cases() -> list[str]:
    return sorted(path.name for path in CASES.iterdir() if path.is_dir())


@pytest.mark.parametrize("form", ["txt", "json"])
@pytest.mark.parametrize("name", cases())
def test_case(
    name: str, form: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("NO_COLOR", "1")
    shutil.copytree(CASES / name, tmp_path, dirs_exist_ok=True)
    monkeypatch.chdir(tmp_path)
    files = sorted(path.name for path in tmp_path.glob("*.yaml"))
    code = run(["config", "lint", *FLAGS.get(name, []), *(["--json"] if form == "json" else []), *files])
    said = capsys.readouterr()
    found = said.out if form == "json" else f"{said.out}{said.err}exit: {code}\n"
    found = found.replace(str(tmp_path), "$FOLDER")
    expected = CASES / f"{name}.{form}"
    if UPDATE:
        expected.write_text(found, "utf-8")
    assert found == expected.read_text("utf-8")
    if form == "json":
        severities = [problem["severity"] for problem in json.loads(found)["problems"]]
        assert json.loads(found)["ok"] is (code == 0) is ("error" not in severities)


def test_nothing_is_left_over() -> None:
    """Every expectation belongs to a case, and every case has both."""
    expected = sorted(path.name for path in CASES.iterdir() if path.is_file())
    assert expected == sorted(f"{name}.{form}" for name in cases() for form in ("txt", "json"))
