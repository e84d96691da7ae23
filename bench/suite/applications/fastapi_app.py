"""JSON in, JSON out, as FastAPI has it."""

import os
from pathlib import Path

from fastapi import FastAPI, Response
from pydantic import BaseModel

app = FastAPI()
SMALL = (Path(os.environ["BENCH_ROOT"]) / "1k.bin").read_bytes()


class Item(BaseModel):
    """What is sent, and comes back."""

    name: str
    price: float
    tags: list[str] = []


@app.post("/echo")
async def echo(item: Item) -> Item:
    """The same item."""
    return item


@app.get("/1k.bin")
async def small() -> Response:
    """What every contestant is asked before it is measured."""
    return Response(SMALL)
