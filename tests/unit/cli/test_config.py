"""`velocity config`: what each verb prints, writes and exits with."""

from __future__ import annotations

import json
import stat
from pathlib import Path

import pytest

from velocity.cli.app import run
from velocity.config.source import load

GOLDEN = Path(__file__).parents[2] / "golden/configs"


@pytest.fixture(autouse=True)
def _folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NO_COLOR", "1")
    monkeypatch.chdir(tmp_path)


def test_the_starter_lints_clean_and_is_in_order(capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["config", "init"]) == 0
    assert run(["config", "lint", "serve.simple.yaml"]) == 0
    assert run(["config", "fmt", "--check", "serve.simple.yaml"]) == 0
    assert "serve.simple.yaml: fine" in capsys.readouterr().err
    assert Path("public/index.html").is_file()


def test_what_the_starter_comments_out_is_valid(capsys: pytest.CaptureFixture[str]) -> None:
    """Every line that a person might uncomment."""
    run(["config", "init"])
    text = Path("serve.simple.yaml").read_text()
    lines = [
        line.replace("# ", "", 1) if line.lstrip().startswith(("# -", "#   ", "# proxies", "# structured")) else line
        for line in text.split("\n")
    ]
    Path("all.yaml").write_text("\n".join(lines))
    assert run(["config", "lint", "--no-files", "all.yaml"]) == 0, capsys.readouterr().out
    assert load(Path("all.yaml")).data["content"]["proxies"][0]["upstream"] == "http://127.0.0.1:8080"


def test_init_replaces_nothing_unless_told(capsys: pytest.CaptureFixture[str]) -> None:
    Path("serve.simple.yaml").write_text("mine")
    assert run(["config", "init"]) == 2
    assert "is there already" in capsys.readouterr().err
    assert Path("serve.simple.yaml").read_text() == "mine"
    assert run(["config", "init", "--force"]) == 0


def test_lint_says_everything_at_once(capsys: pytest.CaptureFixture[str]) -> None:
    Path("a.yaml").write_text("servr: {}\ncontent:\n  sites:\n    - rot: x\n")
    assert run(["config", "lint", "a.yaml"]) == 1
    said = capsys.readouterr()
    assert said.out == (
        "a.yaml:1:1: error: unknown key servr\n"
        "  1 | servr: {}\n"
        "    | ^\n"
        "  hint: did you mean server?\n"
        "a.yaml:4:7: error: unknown key rot\n"
        "  4 |     - rot: x\n"
        "    |       ^\n"
        "  hint: did you mean root?\n"
    )
    assert said.err == "a.yaml: 2 errors, 0 warnings\n"


def test_lint_in_json(capsys: pytest.CaptureFixture[str]) -> None:
    Path("a.yaml").write_text("content: {sites: [{root: nowhere}]}\ntickets: {}\n")
    assert run(["config", "lint", "--json", "a.yaml"]) == 1
    found = json.loads(capsys.readouterr().out)
    assert found["ok"] is False
    assert [(one["severity"], one["key"], one["line"], one["column"]) for one in found["problems"]] == [
        ("error", "content.sites[0].root", 1, 26),
        ("warning", "tickets", 2, 1),
    ]
    assert run(["config", "lint", "--json", "--no-files", "a.yaml"]) == 0


def test_lint_judges_both_files_together(capsys: pytest.CaptureFixture[str]) -> None:
    Path("serve.simple.yaml").write_text("content: {routes: [{path: /x, template: x.html}]}\n")
    Path("edge.yaml").write_text("templates_dir: .\n")
    Path("x.html").write_text("x")
    assert run(["config", "lint", "serve.simple.yaml"]) == 1
    assert run(["config", "lint", "serve.simple.yaml", "edge.yaml"]) == 0, capsys.readouterr().out


def test_lint_of_what_is_not_there(capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["config", "lint", "none.yaml"]) == 1
    assert "cannot read none.yaml" in capsys.readouterr().out


def test_control_characters_do_not_reach_the_terminal(capsys: pytest.CaptureFixture[str]) -> None:
    Path("a.yaml").write_bytes(b"content: \x1b[31m\n")
    assert run(["config", "lint", "a.yaml"]) == 1
    assert "\x1b" not in capsys.readouterr().out


def test_diff(capsys: pytest.CaptureFixture[str]) -> None:
    Path("a.yaml").write_text("content: {sites: [{root: a}, {hostname: b.example, root: b}]}\n")
    Path("b.yaml").write_text(
        "server: {listen: ':443'}\ncontent: {sites: [{root: a, listings: true}]}\nprofiles: {default: secure}\n"
    )
    assert run(["config", "diff", "a.yaml", "a.yaml"]) == 0
    assert "nothing would change" in capsys.readouterr().err
    assert run(["config", "diff", "a.yaml", "b.yaml"]) == 1
    said = capsys.readouterr()
    assert '~ listeners[0].address = "0.0.0.0:4433" -> "0.0.0.0:443"' in said.out
    assert "~ sites.*.content.sites[0].handler.listings = false -> true" in said.out
    assert "- sites.b.example.content.sites[1].handler.root = " in said.out
    assert "a restart" in said.err
    assert "connections that are made from then on" in said.err
    assert run(["config", "diff", "--json", "a.yaml", "b.yaml"]) == 1
    assert {change["key"] for change in json.loads(capsys.readouterr().out)["changes"]} >= {"tls.profiles.default"}


def test_fmt_keeps_comments_and_meaning() -> None:
    for path in GOLDEN.glob("reference-*.yaml"):
        if "playbook" in path.name:
            continue
        copy = Path(path.name)
        copy.write_text("# first\n" + path.read_text() + "# last\n")
        copy.chmod(0o640)
        before = load(copy).data
        assert run(["config", "fmt", path.name]) == 0
        assert load(copy).data == before
        text = copy.read_text()
        assert text.startswith("# first\n")
        assert text.rstrip().endswith("# last")
        assert stat.S_IMODE(copy.stat().st_mode) == 0o640
        assert run(["config", "fmt", "--check", path.name]) == 0


def test_fmt_puts_ragged_lists_in_order() -> None:
    path = Path("a.yaml")
    path.write_text("content:\n   sites:\n      - hostname: a.example\n         root: a\n")
    assert run(["config", "fmt", "--check", "a.yaml"]) == 1
    assert run(["config", "fmt", "a.yaml"]) == 0
    assert path.read_text() == "content:\n  sites:\n    - hostname: a.example\n      root: a\n"


@pytest.mark.parametrize(("name", "text"), [("a.yaml", "a: ["), ("a.toml", "a = 1\n"), ("a.json", "{")])
def test_fmt_leaves_alone_what_it_cannot_do(name: str, text: str) -> None:
    Path(name).write_text(text)
    assert run(["config", "fmt", name]) == 2
    assert Path(name).read_text() == text
    assert [path.name for path in Path().iterdir()] == [name]


def test_schema(capsys: pytest.CaptureFixture[str]) -> None:
    for name, title in (("simple", "serve.simple.yaml"), ("edge", "edge.yaml")):
        assert run(["config", "schema", name]) == 0
        assert json.loads(capsys.readouterr().out)["title"] == title
    assert run(["config", "schema", "other"]) == 2


def test_show_hides_what_is_secret(capsys: pytest.CaptureFixture[str]) -> None:
    password = "$2b$12$" + "a" * 53
    Path("edge.yaml").write_text(f"middlewares: [{{kind: basic_auth, users: {{ann: {password}}}}}]\n")
    assert run(["config", "show", "--effective", "--edge-config", "edge.yaml"]) == 0
    said = capsys.readouterr().out
    assert password not in said
    assert "edge.middlewares[0].users.ann" in said


def test_show_finds_the_file_that_serve_finds(capsys: pytest.CaptureFixture[str]) -> None:
    Path("serve.simple.yaml").write_text("content: {sites: [{root: here}]}\n")
    assert run(["config", "show"]) == 0
    assert capsys.readouterr().out == 'content.sites[0].root = "here"\n'
