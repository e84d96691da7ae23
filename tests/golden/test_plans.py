"""An argument list and an environment, and the Plan they make: or the error, word for word.

Each case is `plans/NAME.toml`, and beside it `NAME.plan.json` or `NAME.error.txt`. After a change that
is meant, `UPDATE_GOLDEN=1 python -m pytest tests/golden` writes them anew; read the difference.
"""

from __future__ import annotations

import json
import os
import tomllib
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from pydantic import ValidationError

from support import application
from velocity import _core
from velocity.cli.app import run
from velocity.config.plan import Plan
from velocity.errors import ConfigError
from velocity.pki import self_signed
from velocity.server import launch

if TYPE_CHECKING:
    from collections.abc import Iterator

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
        assert plan == Plan.model_validate_json(plan).to_json()
        assert plan == json.dumps(json.loads(plan), separators=(",", ":"), ensure_ascii=False)
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


def plans() -> list[str]:
    return sorted(path.name.removesuffix(".plan.json") for path in CASES.glob("*.plan.json"))


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, self_signed.KeyPair]:
    """A folder and a certificate that every Plan may point to."""
    root = tmp_path_factory.mktemp("site")
    return root, self_signed.ensure(root, ())


def bindable(name: str, place: tuple[Path, self_signed.KeyPair]) -> dict[str, Any]:
    """An accepted Plan, as it is but for the places that exist here."""
    plan: dict[str, Any] = json.loads((CASES / f"{name}.plan.json").read_text("utf-8"))
    root, pair = place
    for listener in plan["listeners"]:
        host, _, _ = listener["address"].rpartition(":")
        listener["address"] = "[::1]:0" if host.startswith("[") else "127.0.0.1:0"
    for site in plan["sites"]:
        for route in site["routes"]:
            files = route["handler"] if route["handler"]["kind"] == "files" else route["handler"]["files"]
            if files is not None:
                files["root"] = str(root)
    certificate = launch.find_certificate(pair.chain_file, pair.key_file)
    plan["tls"]["certificates"] = [certificate.model_dump(mode="json")]
    return plan


@pytest.mark.parametrize("name", plans())
def test_the_engine_serves_every_accepted_plan(name: str, place: tuple[Path, self_signed.KeyPair]) -> None:
    plan = bindable(name, place)
    assert Plan.model_validate_json(json.dumps(plan)).model_dump(mode="json") == plan
    engine = _core.Engine(json.dumps(plan), applications=application.of_plan(plan))
    try:
        assert len(engine.addresses) == len(plan["listeners"])
    finally:
        engine.abort()


def places(part: Any, path: tuple[str | int, ...] = ()) -> Iterator[tuple[str | int, ...]]:
    """The path to each object within a Plan."""
    if isinstance(part, dict):
        yield path
        for key, value in part.items():
            yield from places(value, (*path, key))
    elif isinstance(part, list):
        for index, value in enumerate(part):
            yield from places(value, (*path, index))


OBJECTS = list(places(json.loads((CASES / "defaults.plan.json").read_text("utf-8"))))


@pytest.mark.parametrize("path", OBJECTS, ids=lambda path: ".".join(map(str, path)) or "plan")
def test_neither_side_takes_a_key_it_does_not_know(
    path: tuple[str | int, ...], place: tuple[Path, self_signed.KeyPair]
) -> None:
    plan = bindable("defaults", place)
    part: Any = plan
    for key in path:
        part = part[key]
    part["surprise"] = 1
    with pytest.raises(ConfigError, match="surprise"):
        _core.Engine(json.dumps(plan))
    with pytest.raises(ValidationError, match="surprise"):
        Plan.model_validate(plan)


@pytest.mark.parametrize("version", [0, 2])
def test_neither_side_takes_another_version(version: int, place: tuple[Path, self_signed.KeyPair]) -> None:
    plan = {**bindable("defaults", place), "version": version}
    with pytest.raises(ConfigError, match="version"):
        _core.Engine(json.dumps(plan))
    with pytest.raises(ValidationError, match="version"):
        Plan.model_validate(plan)
