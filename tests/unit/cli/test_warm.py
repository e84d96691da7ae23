"""What is remembered of a start: used again only while nothing it was made from has changed."""

from __future__ import annotations

import math
import os
import stat
import time
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from velocity import cli
from velocity.cli import warm
from velocity.server.launch import Launch, Runtime

ARGUMENTS = ["serve", "--self-signed"]


@pytest.fixture(autouse=True)
def _cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))


@pytest.fixture
def launch(tmp_path: Path) -> Launch:
    for name in ("cert.pem", "key.pem"):
        (tmp_path / name).write_text(name)
    return Launch(
        plan='{"größe":1}',
        chain_file=str(tmp_path / "cert.pem"),
        certificate_files=tuple(str(tmp_path / name) for name in ("cert.pem", "key.pem", "key.mldsa.pem")),
        trust_file=str(tmp_path / "trust.pem"),
        good_until=time.time() + 60,
        domains=("a.example",),
        alpn=("h3",),
        profile="balanced",
        root=str(tmp_path),
        programs=(),
        runtime=Runtime("json", 1, 2.5),
    )


def kept() -> list[Path]:
    return list(Path(warm._directory()).iterdir())


def test_remembered(launch: Launch) -> None:
    assert warm.recall(ARGUMENTS) is None
    warm.remember(ARGUMENTS, launch)
    recalled = warm.recall(ARGUMENTS)
    assert recalled == launch
    assert isinstance(recalled, Launch)
    assert isinstance(recalled.runtime, Runtime)


def test_private(launch: Launch) -> None:
    warm.remember(ARGUMENTS, launch)
    (entry,) = kept()
    assert stat.S_IMODE(entry.stat().st_mode) == 0o600
    assert stat.S_IMODE(entry.parent.stat().st_mode) == 0o700
    assert b"key.pem" in entry.read_bytes()  # its path, which is no secret


@pytest.mark.parametrize(
    "change",
    ["arguments", "environment", "directory", "version", "certificate", "key", "gone", "ML-DSA key", "expired", "open"],
)
def test_forgotten(launch: Launch, change: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    arguments = ARGUMENTS
    if change == "expired":
        launch = launch._replace(good_until=time.time() - 1)
    warm.remember(ARGUMENTS, launch)
    match change:
        case "arguments":
            arguments = [*ARGUMENTS, "-v"]
        case "environment":
            monkeypatch.setenv("VELOCITY_PROFILE", "secure")
        case "directory":
            monkeypatch.chdir(tmp_path / "cache")
        case "version":
            monkeypatch.setattr("velocity.__version__", "0")
        case "certificate":
            Path(launch.chain_file).write_text("another")
        case "key":
            Path(launch.certificate_files[1]).chmod(0o644)
        case "gone":
            Path(launch.certificate_files[1]).unlink()
        case "ML-DSA key":
            Path(launch.certificate_files[2]).touch()
        case "open":
            kept()[0].chmod(0o644)
    assert warm.recall(arguments) is None


def test_forgotten_with_the_code_that_made_it(launch: Launch, monkeypatch: pytest.MonkeyPatch) -> None:
    real = warm._stamp
    warm.remember(ARGUMENTS, launch)
    monkeypatch.setattr(warm, "_stamp", lambda path: () if path.endswith("options.py") else real(path))
    assert warm.recall(ARGUMENTS) is None


def test_another_start_with_the_same_hash(launch: Launch, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(warm, "_path", lambda _: os.path.join(warm._directory(), "same"))  # noqa: PTH118
    warm.remember(ARGUMENTS, launch)
    assert warm.recall(["serve", "--other"]) is None


def test_a_symlink_is_not_read(launch: Launch) -> None:
    warm.remember(ARGUMENTS, launch)
    (entry,) = kept()
    entry.rename(entry.with_name("elsewhere"))
    entry.symlink_to("elsewhere")
    assert warm.recall(ARGUMENTS) is None


@given(st.binary(max_size=64))
@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=200)
def test_garbage_is_nothing(launch: Launch, garbage: bytes) -> None:
    warm.remember(ARGUMENTS, launch)
    (entry,) = kept()
    whole = entry.read_bytes()
    for content in (garbage, whole[: len(garbage)] + garbage + whole[2 * len(garbage) :]):
        entry.write_bytes(content)
        assert warm.recall(ARGUMENTS) is None or content == whole


def test_a_cache_that_cannot_be_written_is_no_reason_to_fail(launch: Launch, tmp_path: Path) -> None:
    (tmp_path / "cache").write_text("in the way")
    warm.remember(ARGUMENTS, launch)
    assert warm.recall(ARGUMENTS) is None


def test_bounded(launch: Launch, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(warm, "_MAX_KEPT", 3)
    for number in range(6):
        warm.remember([*ARGUMENTS, str(number)], launch)
    assert len(kept()) == 3
    assert warm.recall([*ARGUMENTS, "5"]) is not None


def test_a_certificate_of_ones_own_does_not_expire_here(launch: Launch) -> None:
    warm.remember(ARGUMENTS, launch._replace(good_until=math.inf))
    assert warm.recall(ARGUMENTS) is not None


def test_main_starts_as_the_last_time(launch: Launch, monkeypatch: pytest.MonkeyPatch) -> None:
    served: list[Launch] = []

    def run(prepared: Launch, _: object) -> int:
        served.append(prepared)
        return 0

    monkeypatch.setattr("velocity.server.launch.run", run)
    warm.remember(ARGUMENTS, launch)
    assert cli._start(ARGUMENTS) == 0
    assert served == [launch]
