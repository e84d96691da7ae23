"""The command line as people meet it: help, mistakes, and the one line for each."""

from __future__ import annotations

import pytest
from typer.main import get_command

from velocity import __version__
from velocity.cli import app as module
from velocity.cli.app import run
from velocity.config.options import ServeOptions
from velocity.errors import ConnectError


@pytest.fixture(autouse=True)
def _plain(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NO_COLOR", "1")


VERBS = [
    ["serve"],
    *(["config", verb] for verb in ("lint", "show", "diff", "fmt", "init", "schema")),
    ["client", "get"],
    ["client", "probe"],
    *(["cert", verb] for verb in ("issue", "request", "hybridize", "inspect", "verify")),
    *(["ca", verb] for verb in ("init", "sign", "revoke", "crl", "export-root", "trust", "untrust")),
]


def test_every_verb_is_listed_here() -> None:
    groups = {name: getattr(one, "commands", {}) for name, one in get_command(module.build()).commands.items()}  # type: ignore[attr-defined]
    found = {(name, one) if one else (name,) for name, verbs in groups.items() for one in verbs or [""]}
    assert found - {("version",)} == {tuple(verb) for verb in VERBS}


@pytest.mark.parametrize("group", [[], ["config"], ["client"], ["cert"], ["ca"]], ids=" ".join)
def test_a_group_alone_shows_its_help(group: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    assert run(group) == 2
    said = capsys.readouterr().err
    assert said.startswith(f"Usage: velocity {' '.join(group)}".rstrip())
    assert "error:" not in said


@pytest.mark.parametrize("arguments", [["version"], ["--version"]])
def test_version(arguments: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    assert run(arguments) == 0
    assert capsys.readouterr().out == f"velocity {__version__}\n"


@pytest.mark.parametrize("command", VERBS, ids=" ".join)
def test_help_has_examples(command: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    assert run([*command, "--help"]) == 0
    said = capsys.readouterr().out
    assert "Examples:" in said
    assert f"velocity {' '.join(command)} " in said


@pytest.mark.parametrize("command", VERBS, ids=" ".join)
def test_examples_are_lines_to_copy(command: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    run([*command, "--help"])
    _, _, examples = capsys.readouterr().out.partition("Examples:\n")
    lines = examples.rstrip().splitlines()
    assert lines
    for line in lines:
        assert f"{line} ".startswith(f"    velocity {' '.join(command)} ")


def test_help_shows_the_defaults(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "80")
    run(["serve", "--help"])
    said = " ".join(capsys.readouterr().out.split())
    defaults = ServeOptions(self_signed=True)
    for shown in (*defaults.listen, ",".join(defaults.alpn), defaults.profile, "localhost", "the current folder"):
        assert f"[default: {shown}]" in said
    assert "()" not in said
    assert "VELOCITY_MAX_SESSIONS" in said
    assert said.count("VELOCITY_") == 1


def test_every_flag_of_serve_has_its_variable() -> None:
    command = get_command(module.build()).commands["serve"]  # type: ignore[attr-defined]
    variables = {option.opts[-1]: option.envvar for option in command.params if option.opts[-1].startswith("--")}
    assert len(variables) > 15
    for flag, variable in variables.items():
        assert variable == "VELOCITY_" + flag.removeprefix("--").replace("-", "_").upper()


def test_a_variable_is_blamed_and_not_a_flag_that_nobody_typed(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    run(["serve", "--grace-period", "x"])
    assert "for '--grace-period'" in capsys.readouterr().err
    monkeypatch.setenv("VELOCITY_GRACE_PERIOD", "x")
    run(["serve"])
    assert "for VELOCITY_GRACE_PERIOD" in capsys.readouterr().err


@pytest.mark.parametrize(
    "arguments",
    [["serv"], ["--nonsense"], ["serve", "--nonsense"], ["serve", "--listne", "x"], ["client", "fetch"],
     ["client", "get"], ["client", "probe"], ["serve", "--max-sessions", "many"], ["serve", "stray"]],
    ids=" ".join,
)  # fmt: skip
def test_mistakes(arguments: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    assert run(arguments) == 2
    out, err = capsys.readouterr()
    assert out == ""
    lines = err.splitlines()
    assert len(lines) == 2, err
    assert lines[0].startswith("error: ")
    assert lines[1].startswith("hint: ")


def fail_with(error: BaseException, monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(*_: object, **__: object) -> None:
        raise error

    monkeypatch.setattr(module, "build", lambda verbs: broken)


def test_an_error_of_ours(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    fail_with(ConnectError("CODE", "what\x1b[31m happened", "what to do"), monkeypatch)
    assert run([]) == 1
    assert capsys.readouterr().err == "error: what\\x1b[31m happened\nhint: what to do\n"


def test_the_last_resort(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.delenv("VELOCITY_DEBUG", raising=False)
    fail_with(RuntimeError("never mind"), monkeypatch)
    assert run([]) == 1
    err = capsys.readouterr().err
    assert err.startswith("error: internal")
    assert "never mind" in err
    assert "VELOCITY_DEBUG=1" in err
    assert "Traceback" not in err


def test_the_last_resort_shows_where(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("VELOCITY_DEBUG", "1")
    fail_with(RuntimeError("never mind"), monkeypatch)
    with pytest.raises(RuntimeError):
        run([])


def test_interrupted(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    fail_with(KeyboardInterrupt(), monkeypatch)
    assert run([]) == 130
    assert capsys.readouterr().err == ""
