"""The guide: its examples are one program, which runs."""

from __future__ import annotations

import re
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import pytest

GUIDE = Path(__file__).parents[3] / "docs/guides/edge-app.md"
EXAMPLES = re.findall(r"(?ms)^```python\n(.*?)^```", GUIDE.read_text("utf-8"))


def test_the_examples_of_the_guide(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    assert len(EXAMPLES) > 8
    names: dict[str, object] = {"__name__": "guide"}
    for number, example in enumerate(EXAMPLES):
        exec(compile(example, f"example {number} of {GUIDE.name}", "exec"), names)
