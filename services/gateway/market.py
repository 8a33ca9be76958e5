"""What market data answers, passed on under the gateway's address, and the token with which a member reads his private feed.

Market data is a process of its own: while it is away these routes answer `not_ready`, and everything else goes on.
"""

from __future__ import annotations

import asyncio
import secrets
from collections.abc import Iterable
from typing import Annotated, Any, Final, TypeVar

import httpx
import msgspec
from litestar import Response, get
from litestar.di import NamedDependency
from litestar.openapi.datastructures import ResponseSpec
from litestar.params import PathParameter, QueryParameter

from schemas import feeds
from schemas.feed_token import LIFE_MS, NONCE_BYTES, derive_feed_key, make_token
from schemas.http import CLASS_ID, SYMBOL
from schemas.ids import is_class_id, parse_symbol
from schemas.units import Millis
from services.gateway.database import Database
from services.gateway.errors import ApiError, refusal

T = TypeVar("T")
ANSWER_S: Final = 2.0
DEPTH_MAX: Final = 1_000
BOOKS_AT_ONCE: Final = 16
"""A week of hours is asked for in a moment, without keeping everybody else waiting."""


class MarketData:
    """The room behind these routes. `url` empty: this exchange runs none."""

    def __init__(self, url: str, master_key: bytes, database: Database, client: httpx.AsyncClient) -> None:
        self._url = url
        self._feed_key = derive_feed_key(master_key)
        self._database = database
        self._client = client

    async def pass_on(self, target: str) -> Response[bytes]:
        """`target`: path and query. Raises ApiError."""
        return Response(await self._ask(target), media_type="application/json")

    async def read(self, target: str, kind: type[T]) -> T:
        """What it answers, decoded. Raises ApiError."""
        return msgspec.json.decode(await self._ask(target), type=kind)

    async def books(self, symbols: Iterable[str]) -> dict[str, feeds.MarketBook]:
        """Whole depth of several hours. Raises ApiError."""
        gate = asyncio.Semaphore(BOOKS_AT_ONCE)

        async def one(symbol: str) -> tuple[str, feeds.MarketBook]:
            async with gate:
                return symbol, await self.read(f"/v1/market/{_symbol(symbol)}/book?depth={DEPTH_MAX}", feeds.MarketBook)

        return dict(await asyncio.gather(*map(one, symbols)))

    async def _ask(self, target: str) -> bytes:
        if not self._url:
            raise ApiError("not_ready", "this exchange runs no market data")
        try:
            answer = await self._client.get(f"{self._url}{target}", timeout=ANSWER_S)
        except httpx.HTTPError:
            raise ApiError("not_ready", "market data does not answer") from None
        if answer.status_code == 200:
            return answer.content
        raise refusal("market data", answer.content)

    async def token(self, account: int, now_ms: Millis) -> feeds.TokenAnswer:
        """A token of the account's. Raises ApiError not_ready."""
        rows = await self._database.fetch("SELECT account FROM settlement.accounts WHERE desk ORDER BY account")
        desks = [row["account"] for row in rows]
        expires_ms = now_ms + LIFE_MS
        token = make_token(self._feed_key, account, expires_ms, secrets.token_bytes(NONCE_BYTES), desks)
        return feeds.TokenAnswer(token=token, expires_in_s=LIFE_MS // 1000)


# --- Routes -------------------------------------------------------------------------------------------------

Room = NamedDependency[MarketData]
SymbolInPath = Annotated[str, PathParameter(schema_extra={"pattern": SYMBOL})]
ClassInPath = Annotated[str, PathParameter(schema_extra={"pattern": CLASS_ID})]


def _answers(body: Any) -> dict[int, ResponseSpec]:  # noqa: ANN401 # any type
    """For the OpenAPI document: the handler gives bytes, which are these."""
    return {200: ResponseSpec(data_container=body)}


@get("/v1/market", responses=_answers(feeds.MarketStatus))
async def get_market(market_data: Room) -> Response[bytes]:
    """Where the feed is, and how far market data is."""
    return await market_data.pass_on("/v1/market")


@get("/v1/market/{symbol:str}/book", responses=_answers(feeds.MarketBook))
async def get_market_book(
    market_data: Room, symbol: SymbolInPath, depth: Annotated[int, QueryParameter(ge=1, le=DEPTH_MAX)] = 50
) -> Response[bytes]:
    """Depth of an hour."""
    return await market_data.pass_on(f"/v1/market/{_symbol(symbol)}/book?depth={depth}")


@get("/v1/market/{symbol:str}/trades", responses=_answers(feeds.MarketTrades))
async def get_market_trades(
    market_data: Room, symbol: SymbolInPath, limit: Annotated[int, QueryParameter(ge=1, le=500)] = 100
) -> Response[bytes]:
    """Newest trades of an hour, without names."""
    return await market_data.pass_on(f"/v1/market/{_symbol(symbol)}/trades?limit={limit}")


@get("/v1/market/{symbol:str}/ticker", responses=_answers(feeds.Ticker))
async def get_market_ticker(market_data: Room, symbol: SymbolInPath) -> Response[bytes]:
    """An hour's best prices and last price, and its last 24 hours."""
    return await market_data.pass_on(f"/v1/market/{_symbol(symbol)}/ticker")


@get("/v1/classes/{class_id:str}/grid", responses=_answers(feeds.Grid))
async def get_grid(market_data: Room, class_id: ClassInPath) -> Response[bytes]:
    """All hours of a class."""
    return await market_data.pass_on(f"/v1/classes/{_class(class_id)}/grid")


@get("/v1/classes/{class_id:str}/blocks", responses=_answers(feeds.BlockBook))
async def get_block_book(market_data: Room, class_id: ClassInPath) -> Response[bytes]:
    """The block book of a class."""
    return await market_data.pass_on(f"/v1/classes/{_class(class_id)}/blocks")


@get("/v1/classes/{class_id:str}/references", responses=_answers(feeds.References))
async def get_references(market_data: Room, class_id: ClassInPath) -> Response[bytes]:
    """What collars are based on, and what they would be based on now."""
    return await market_data.pass_on(f"/v1/classes/{_class(class_id)}/references")


@get("/v1/asyncapi.json", responses=_answers(dict[str, Any]))
async def get_asyncapi(market_data: Room) -> Response[bytes]:
    """The feed as an AsyncAPI 3 document."""
    return await market_data.pass_on("/v1/asyncapi.json")


def _symbol(text: str) -> str:
    """A contract as part of a path: nothing else is passed on, so nothing leads anywhere else. Raises ApiError."""
    try:
        parse_symbol(text)
    except ValueError as error:
        raise ApiError("wrong_contract", str(error)) from None
    return text


def _class(text: str) -> str:
    """Likewise."""
    if not is_class_id(text):
        raise ApiError("unknown_class", f"{text!r} is not listed; GET /v1/classes lists the classes")
    return text


ROUTES: Final = [
    get_market,
    get_market_book,
    get_market_trades,
    get_market_ticker,
    get_grid,
    get_block_book,
    get_references,
    get_asyncapi,
]
