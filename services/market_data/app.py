"""HTTP inside the cluster: the gateway passes these routes on, under the same paths, and makes problems of refusals."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Annotated, Any, Final

from litestar import Litestar, get
from litestar.di import NamedDependency
from litestar.params import FromPath, QueryParameter

from schemas import feeds
from services.market_data.answers import Answers
from services.market_data.asyncapi import document
from services.market_data.market import Market
from services.market_data.public import Refused
from services.runtime.http import room_app
from services.runtime.log import Clock

DEPTH_MAX: Final = 1_000
TRADES_MAX: Final = 500
_STATUS: Final = {"unknown_class": 404, "unknown_contract": 404, "wrong_contract": 400, "not_ready": 503}
_WAIT_S: Final = 0.01
_WAIT_S_MAX: Final = 1.0


class Room:
    """Everything that a handler may call, wired once in `__main__`."""

    def __init__(self, answers: Answers, clock: Clock, is_ready: Callable[[], bool], feed_url: str) -> None:
        self.answers = answers
        self.asyncapi = document(feed_url)
        self.clock = clock
        self._is_ready = is_ready

    async def whole(self, *, symbol: str = "", class_id: str = "") -> None:
        """Until the shard is not in the middle of an output. Raises Refused."""
        self.check_ready()
        market: Market = self.answers.shard_of(symbol=symbol, class_id=class_id)
        try:
            async with asyncio.timeout(_WAIT_S_MAX):
                while not market.whole:  # noqa: ASYNC110 # rare and short: an event per output would cost every output
                    await asyncio.sleep(_WAIT_S)
        except TimeoutError:
            raise Refused("not_ready", f"shard {market.shard} stands still in the middle of an output") from None

    def check_ready(self) -> None:
        """Raises Refused."""
        if not self._is_ready():
            raise Refused("not_ready", "market data is catching up: it reads the log from its beginning")


Wired = NamedDependency[Room]


@get("/v1/market", sync_to_thread=False)
def get_market(room: Wired) -> feeds.MarketStatus:
    """Where the feed is, and how far."""
    room.check_ready()
    return room.answers.status()


@get("/v1/market/{symbol:str}/book")
async def get_book(
    room: Wired, symbol: FromPath[str], depth: Annotated[int, QueryParameter(ge=1, le=DEPTH_MAX)] = 50
) -> feeds.MarketBook:
    """Depth of one contract."""
    await room.whole(symbol=symbol)
    return room.answers.book(symbol, depth)


@get("/v1/market/{symbol:str}/trades")
async def get_trades(
    room: Wired, symbol: FromPath[str], limit: Annotated[int, QueryParameter(ge=1, le=TRADES_MAX)] = 100
) -> feeds.MarketTrades:
    """Newest trades of one contract."""
    await room.whole(symbol=symbol)
    return room.answers.trades(symbol, limit)


@get("/v1/market/{symbol:str}/ticker")
async def get_ticker(room: Wired, symbol: FromPath[str]) -> feeds.Ticker:
    """An hour's row of the grid, and its last 24 hours."""
    await room.whole(symbol=symbol)
    return room.answers.ticker(symbol)


@get("/v1/classes/{class_id:str}/grid")
async def get_grid(room: Wired, class_id: FromPath[str]) -> feeds.Grid:
    """All hours of a class."""
    await room.whole(class_id=class_id)
    return room.answers.grid(class_id)


@get("/v1/classes/{class_id:str}/blocks")
async def get_blocks(room: Wired, class_id: FromPath[str]) -> feeds.BlockBook:
    """The block book of a class."""
    await room.whole(class_id=class_id)
    return room.answers.blocks(class_id)


@get("/v1/classes/{class_id:str}/references")
async def get_references(room: Wired, class_id: FromPath[str]) -> feeds.References:
    """What collars are based on, and what they would be based on now."""
    await room.whole(class_id=class_id)
    return room.answers.references(class_id, room.clock.now_ms())


@get("/v1/asyncapi.json", sync_to_thread=False)
def get_asyncapi(room: Wired) -> dict[str, Any]:
    """The feed, for programs that write clients."""
    return room.asyncapi


def build(room: Room) -> Litestar:
    """The ASGI application over a wired room."""
    routes = [
        get_market,
        get_book,
        get_trades,
        get_ticker,
        get_grid,
        get_blocks,
        get_references,
        get_asyncapi,
    ]
    return room_app(routes, room, Refused, _STATUS)
