"""The desk at the topic `offers`: from its beginning, whatever becomes of the broker."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager

import msgspec
import pytest

from schemas.supply import OfferRecord, OfferSeen, PollDone
from services.market_maker.desk import Desk
from services.market_maker.offers import NoView
from services.runtime.errors import Halt
from services.runtime.log import OutOfRange, Record, Unreachable
from services.runtime.status import Status
from tests.clock import HandClock
from tests.market_maker.hall import T0_MS, Hall
from tests.market_maker.market import LIMITS, Page


class Topic:
    """Records in memory in place of a broker's, which may be away or begin anew."""

    topic, partition = "offers", 0

    def __init__(self) -> None:
        self.values: list[bytes] = []
        self.away = False

    def write(self, *records: OfferRecord) -> None:
        self.values += [msgspec.msgpack.encode(record) for record in records]

    async def bounds(self) -> tuple[int, int]:
        self._reach()
        return 0, len(self.values)

    async def read(self, offset: int, *, count: int = 500, wait_ms: int = 0) -> list[Record]:
        await asyncio.sleep(0.001 if wait_ms else 0)
        self._reach()
        if offset > len(self.values):
            raise OutOfRange(f"{offset} of {len(self.values)}")
        return [Record(offset + n, 0, value) for n, value in enumerate(self.values[offset : offset + count])]

    async def append(self, records: object) -> None:
        raise AssertionError(f"the desk writes {records!r}")

    def _reach(self) -> None:
        if self.away:
            raise Unreachable("away")


def seen(price: int) -> OfferSeen:
    return OfferSeen("c", "r", "t", "on_demand", "C", 1, price, 1, 1, "file", 0, T0_MS, "s")


DONE = PollDone("s", 1, 1, 0, {}, T0_MS)


@asynccontextmanager
async def following(topic: Topic) -> AsyncIterator[Desk]:
    clock = HandClock(T0_MS)
    clock.sleep_ms = lambda _: asyncio.sleep(0.001)  # type: ignore[method-assign]
    desk = Desk(Hall(clock), LIMITS, clock, Status("market_maker"), Page())
    task = asyncio.create_task(desk.follow(topic))
    try:
        yield desk
    finally:
        task.cancel()
        outcomes = await asyncio.gather(task, return_exceptions=True)
        assert isinstance(outcomes[0], asyncio.CancelledError), outcomes


def price(desk: Desk) -> int:
    found = desk.offers.view("C", 1, T0_MS)
    return 0 if isinstance(found, NoView) else found.cheapest


async def until(holds: Callable[[], object]) -> None:
    async with asyncio.timeout(5):
        while not holds():  # noqa: ASYNC110  what is waited for has no event
            await asyncio.sleep(0.001)


async def test_it_reads_what_was_there_before_it_and_what_comes() -> None:
    topic = Topic()
    topic.write(seen(3), DONE)
    async with following(topic) as desk:
        await until(lambda: price(desk) == 3)
        topic.write(seen(4))
        await until(lambda: price(desk) == 4)


async def test_while_the_broker_is_away_it_keeps_what_it_knows_and_says_so() -> None:
    topic = Topic()
    topic.write(seen(3), DONE)
    async with following(topic) as desk:
        await until(lambda: len(desk.offers))
        topic.away = True
        await until(lambda: desk._status.values["offers_error"])
        assert price(desk) == 3
        topic.write(seen(4))
        topic.away = False
        await until(lambda: price(desk) == 4)
        assert desk._status.values["offers_error"] == ""


async def test_a_broker_that_has_forgotten_everything_is_read_anew() -> None:
    topic = Topic()
    topic.write(seen(3), DONE, DONE)
    async with following(topic) as desk:
        await until(lambda: desk._status.values.get("offers_offset") == 3)
        topic.values = []
        await until(lambda: desk.offers.view("C", 1, T0_MS) == NoView("no firm offer"))


async def test_a_record_that_is_no_offer_stops_the_desk() -> None:
    topic = Topic()
    topic.write(seen(3))
    topic.values.append(b"\x91\x63")
    clock = HandClock(T0_MS)
    with pytest.raises(Halt, match="offers offset 1 is not an offer record"):
        await Desk(Hall(clock), LIMITS, clock, Status("market_maker"), Page()).follow(topic)
