"""What supply has published, as the door shows it: from the topic `offers`, whatever stands there."""

from __future__ import annotations

import asyncio

import msgspec
import pytest

from schemas.supply import OfferSeen, PollDone
from services.gateway.offers import Offers
from services.runtime.kafka import Cluster
from services.runtime.log import Outgoing

NOW_MS = 1_790_000_000_000


def offer(cloud: str, price: int, *, as_of_ms: int = NOW_MS) -> OfferSeen:
    return OfferSeen(cloud, "us", "gpu8", "on_demand", "TINY", 8, price, 1, 1, "a list", as_of_ms, NOW_MS)


@pytest.fixture
async def log(broker, topic_prefix):
    async with Cluster(broker.bootstrap, prefix=topic_prefix) as cluster:
        await cluster.create_topic("offers", 1, 1, {})
        yield cluster.log("offers")


async def test_a_record_of_a_time_that_no_calendar_has_is_skipped_and_the_others_are_shown(log) -> None:
    """One such record must not hide the whole supply from everybody."""
    records = [offer("dear", 3_000_000), offer("late", 1, as_of_ms=2**62), PollDone("a", 0, 0, 0, {}, -(2**62))]
    values = [*map(msgspec.msgpack.encode, [*records, offer("cheap", 2_000_000)]), b"\x93no offer"]
    await log.append([Outgoing(value) for value in values])
    offers = Offers(log)

    following = asyncio.create_task(offers.follow())
    while offers.undecodable < 3:  # noqa: ASYNC110 # the product has no event for it
        await asyncio.sleep(0.01)
    following.cancel()

    answer = offers.answer("TINY")
    assert [(each.cloud, each.price) for each in answer.offers] == [("cheap", "2.00"), ("dear", "3.00")]
    assert (answer.polls, offers.answer("OTHER").offers) == ((), ())
