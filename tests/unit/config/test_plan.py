"""The Plan: canonical JSON that the engine reads, key by key what `plan.rs` declares."""

from __future__ import annotations

import json
import re
from dataclasses import is_dataclass
from pathlib import Path

import pytest
from pydantic import BaseModel, TypeAdapter, ValidationError

from velocity import _core
from velocity.config import plan
from velocity.config.compile import compile_plan
from velocity.config.options import ServeOptions
from velocity.errors import StartError

RUST = Path(__file__).parents[3] / "crates/velocity-engine/src/plan"


@pytest.fixture
def example(tmp_path: Path) -> plan.Plan:
    options = ServeOptions.check({"self_signed": True, "root": tmp_path, "listen": ["127.0.0.1:0"]})
    certificate = plan.Certificate(chain_file=tmp_path / "cert.pem", key_file=tmp_path / "key.pem")
    return compile_plan(options, certificate)


def rust_structs() -> dict[str, list[str]]:
    text = "\n".join(path.read_text(encoding="utf-8") for path in RUST.glob("*.rs"))
    text = re.sub(r'#\[serde\(rename = "(\w+)"\)\]\s+pub \w+:', r"pub \1:", text)
    structs = re.findall(r"pub struct (\w+) \{(.*?)\n\}", text, re.DOTALL)
    return {name: re.findall(r"^    pub (\w+):", body, re.MULTILINE) for name, body in structs}


def is_part(name: str, part: object) -> bool:
    """Whether it is one of the classes that Plans are made of."""
    return name in plan.__all__ and isinstance(part, type) and (is_dataclass(part) or issubclass(part, BaseModel))


def test_the_mirror_has_the_same_keys() -> None:
    schemas = {name: TypeAdapter(part).json_schema() for name, part in vars(plan).items() if is_part(name, part)}
    ours = {
        # The kind of a handler or filter is the tag of an enum in Rust.
        name: [key for key in schema["properties"] if key != "kind" or key in schema.get("required", ())]
        for name, schema in schemas.items()
    }
    theirs = rust_structs()
    assert theirs
    assert {name: sorted(keys) for name, keys in ours.items()} == {name: sorted(keys) for name, keys in theirs.items()}


def test_canonical(example: plan.Plan) -> None:
    text = example.to_json()
    parsed = json.loads(text)
    assert text == json.dumps(parsed, separators=(",", ":"), ensure_ascii=False)
    assert list(parsed) == list(plan.Plan.model_fields)
    assert text == plan.Plan.model_validate_json(text).to_json()


def test_the_engine_reads_it(example: plan.Plan) -> None:
    """It fails for want of the certificate and not of anything in the Plan."""
    with pytest.raises(StartError) as caught:
        _core.Engine(example.to_json())
    assert "cert.pem" in caught.value.message


@pytest.mark.parametrize("path", [(), ("tls",), ("limits",), ("log",)])
def test_unknown_keys_are_refused(example: plan.Plan, path: tuple[str, ...]) -> None:
    raw = json.loads(example.to_json())
    part = raw
    for key in path:
        part = part[key]
    part["surprise"] = 1
    with pytest.raises(ValidationError):
        plan.Plan.model_validate(raw)


def test_paths_are_absolute(example: plan.Plan) -> None:
    raw = json.loads(example.to_json())
    for path in (
        raw["sites"][0]["routes"][0]["handler"]["root"],
        *filter(None, raw["tls"]["certificates"][0].values()),
    ):
        assert Path(path).is_absolute()
