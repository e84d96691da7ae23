"""JSON Schema: what ships is what the models say, and it judges as they do."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import jsonschema
import pytest

from velocity.config import schema
from velocity.config.lint import kind_of, lint
from velocity.config.syntax import parse

GOLDEN = Path(__file__).parents[2] / "golden/configs"


@pytest.mark.parametrize("name", schema.NAMES)
def test_it_ships(name: Any) -> None:
    """`velocity config schema` prints this; `scripts/config-schemas` writes it anew."""
    assert schema.shipped(name) == schema.text(name)
    jsonschema.Draft202012Validator.check_schema(json.loads(schema.shipped(name)))


def validator(path: Path) -> jsonschema.Draft202012Validator:
    name = path.name.split(".")[1]
    return jsonschema.Draft202012Validator(json.loads(schema.shipped("edge" if name == "edge" else "simple")))


ACCEPTED = sorted(
    path
    for path in GOLDEN.glob("*.*.yaml")
    if (GOLDEN / f"{path.name.split('.')[0]}.plan.json").exists() and path.name != "variables.simple.yaml"
)
REFUSED = [
    GOLDEN / f"{name}.yaml"
    for name in (
        "key-unknown.simple",
        "key-unknown-top.simple",
        "type-wrong-block.simple",
        "type-wrong-list.simple",
        "edge-kind-unknown.edge",
        "edge-kind-missing.edge",
        "edge-match-key-unknown.edge",
        "edge-match-without-action.edge",
    )
]


@pytest.mark.parametrize("path", ACCEPTED, ids=lambda path: path.name)
def test_what_loads_is_valid(path: Path) -> None:
    tree = parse(path.read_text("utf-8-sig"), "yaml")
    errors = [f"{list(error.path)}: {error.message[:200]}" for error in validator(path).iter_errors(tree)]
    assert errors == []


@pytest.mark.parametrize("path", REFUSED, ids=lambda path: path.name)
def test_what_does_not_is_not(path: Path) -> None:
    tree = parse(path.read_text("utf-8"), "yaml")
    assert list(validator(path).iter_errors(tree))


GUIDE = Path(__file__).parents[3] / "docs/guides/configuration.md"
EXAMPLES = re.findall(r"(?ms)^```yaml\n(.*?)^```", GUIDE.read_text("utf-8"))


@pytest.mark.parametrize("text", EXAMPLES, ids=lambda text: text.partition("\n")[0])
def test_the_examples_of_the_guide(text: str, tmp_path: Path) -> None:
    """They load, and the schemas agree."""
    path = tmp_path / "example.yaml"
    path.write_text(text)
    assert lint([path], look=False) == []
    path = tmp_path / ("x.edge.yaml" if kind_of(path) == "edge" else "x.simple.yaml")
    assert list(validator(path).iter_errors(parse(text, "yaml"))) == []
