"""A small shop: a JSON API with checked input, a page, live events, a chat, and rules that need no Python.

uvicorn app:app                # or python app.py, with Velocity
"""

from collections.abc import AsyncIterator
from pathlib import Path
from typing import Annotated

import anyio
from pydantic import BaseModel, Field

from velocity import EdgeApp, EdgeRequest, EdgeResponse
from velocity.edge import BackgroundTasks, Depends, HTTPProblem, Next, Query, Router, ServerSentEvent, WebSocket

HERE = Path(__file__).parent

app = EdgeApp(title="Shop", version="1.0", templates_dir=HERE / "templates")

# The data plane does these by itself.
app.with_rate_limit(1000, per=60).with_waf()
app.rules.text("/healthz", "ok")
app.rules.json("/hello/{name}", {"message": "Hello, {{ name }}!"})
app.rules.files("/static", HERE / "public")


class Item(BaseModel):
    """Something to sell."""

    name: str = Field(min_length=1, max_length=80)
    price: float = Field(gt=0, description="in euros")
    tags: list[str] = []


class Shop:
    """What there is, by number, and who wants to know of changes."""

    def __init__(self) -> None:
        self.items: dict[int, Item] = {}
        self.changed = anyio.Event()
        self.sold: list[str] = []

    def put(self, item: Item) -> int:
        number = len(self.items) + 1
        self.items[number] = item
        self.changed.set()
        self.changed = anyio.Event()
        return number


@app.on_startup
async def open_shop() -> None:
    app.state.shop = Shop()


def the_shop(request: EdgeRequest) -> Shop:
    shop: Shop = request.app.state.shop
    return shop


ShopNow = Annotated[Shop, Depends(the_shop)]
api = Router("/api/items", tags=["items"])


@api.post("", status=201)
async def add(item: Item, shop: ShopNow, tasks: BackgroundTasks) -> dict[str, int]:
    """Add an item."""
    tasks.add(shop.sold.append, f"announced {item.name}")
    return {"id": shop.put(item)}


@api.get("")
async def find(
    shop: ShopNow, tag: Annotated[tuple[str, ...], Query(description="all of them")] = (), limit: int = 10
) -> list[Item]:
    """List items."""
    return [item for item in shop.items.values() if set(tag) <= set(item.tags)][:limit]


@api.get("/{number}")
async def get(number: int, shop: ShopNow) -> Item:
    """Show one item."""
    if number not in shop.items:
        raise HTTPProblem(404, f"there is no item {number}")
    return shop.items[number]


app.include(api)


@app.get("/")
async def page(shop: ShopNow) -> EdgeResponse:
    return app.render("shop.html", {"items": shop.items})


@app.get("/events")
async def events(shop: ShopNow) -> EdgeResponse:
    """How many items there are, now and whenever that changes."""

    async def counts() -> AsyncIterator[ServerSentEvent]:
        while True:
            yield ServerSentEvent({"items": len(shop.items)}, event="count")
            await shop.changed.wait()

    return EdgeResponse.sse(counts())


@app.websocket("/chat/{room}")
async def chat(socket: WebSocket, room: str) -> None:
    async for message in socket:
        await socket.send_json({"room": room, "said": message})


@app.middleware
async def tell_the_version(request: EdgeRequest, call_next: Next) -> EdgeResponse:
    response = await call_next(request)
    response.headers["x-shop"] = app.version
    return response


if __name__ == "__main__":
    app.run()
