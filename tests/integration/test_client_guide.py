"""The guide: its examples are one program, which runs against a server."""

from __future__ import annotations

import re
from pathlib import Path
from typing import TYPE_CHECKING

from velocity.client import exceptions

if TYPE_CHECKING:
    import pytest

    from support.server import Server

GUIDE = Path(__file__).parents[2] / "docs/guides/client.md"
TEXT = GUIDE.read_text("utf-8")
EXAMPLES = re.findall(r"(?ms)^```python\n(.*?)^```", TEXT)


def test_the_examples_of_the_guide(server: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path))
    assert len(EXAMPLES) > 7
    names: dict[str, object] = {"__name__": "guide", "server": server.url("").rstrip("/"), "trust": str(server.trust)}
    for number, example in enumerate(EXAMPLES):
        exec(compile(example, f"example {number} of {GUIDE.name}", "exec", dont_inherit=True), names)


def test_every_exception_is_in_the_guide() -> None:
    assert set(exceptions.__all__) - {"typed"} <= set(re.findall(r"` *(\w+)`", TEXT))
