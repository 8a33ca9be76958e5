"""`Reading` over market data's inner HTTP: the books that a turn needs, each asked for once."""

from __future__ import annotations

import asyncio
from collections.abc import Collection, Mapping
from typing import Final, Self

import httpx
import msgspec

from schemas import feeds
from schemas.codec import UNREADABLE
from services.router.books import AWAY, UNLISTED, Book, book_of

ANSWER_S: Final = 2.0
DEPTH: Final = 1_000
AT_ONCE: Final = 16


class MarketClient:
    """Market data."""

    def __init__(self, url: str, transport: httpx.AsyncBaseTransport | None = None) -> None:
        """`transport`: in place of sockets."""
        self._http = httpx.AsyncClient(base_url=url, timeout=ANSWER_S, trust_env=False, transport=transport)

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self._http.aclose()

    async def books(self, symbols: Collection[str]) -> Mapping[str, Book]:
        """Of every symbol that is asked for; one that could not be read is `AWAY`."""
        reader = _Reader(self._http)
        wanted = sorted(set(symbols))
        return dict(zip(wanted, await asyncio.gather(*map(reader.book, wanted)), strict=True))


class _Reader:
    """Of one turn. Once nobody has answered, the rest is not asked for: a turn takes no longer than one time-out."""

    def __init__(self, client: httpx.AsyncClient) -> None:
        self._http = client
        self._gate = asyncio.Semaphore(AT_ONCE)
        self._is_away = False

    async def book(self, symbol: str) -> Book:
        async with self._gate:
            return AWAY if self._is_away else await self._ask(symbol)

    async def _ask(self, symbol: str) -> Book:
        try:
            answer = await self._http.get(f"/v1/market/{symbol}/book?depth={DEPTH}")
            if answer.status_code == httpx.codes.NOT_FOUND:
                return UNLISTED
            if answer.status_code == httpx.codes.OK:
                return book_of(msgspec.json.decode(answer.content, type=feeds.MarketBook))
        except httpx.HTTPError:
            self._is_away = True
        except (*UNREADABLE, ValueError):
            pass  # not market data's own hand
        return AWAY
