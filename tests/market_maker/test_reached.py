"""Each limit says its bound, where it stands, whether it is reached, since when and what it forbids; and when that changes."""

from __future__ import annotations

import logging

import pytest
from msgspec.structs import replace

from schemas.commands import Side
from services.market_maker.limits import packaged_limits
from services.market_maker.reached import Stand, Watch
from tests.market_maker.market import LIMITS, Market

NAMES = [
    *("loss_per_day_micros", "gpu_hours_max", "stale_after_ms", "jump_bp"),
    *("capital_micros", "gpus_max", "dead_man_ms"),
]


async def test_every_limit_of_the_file_is_told_and_none_is_reached_by_a_desk_that_has_just_begun() -> None:
    """Its capital: three hours, eight promised at the cap of 20,000 each, and eight bid for at 8,550."""
    market = Market()
    market.lists(9_000)
    await market.turn()

    told = {name: market.limit(name)[:3] for name in NAMES}
    assert [key.removeprefix("limit ") for key in market.status.values if key.startswith("limit ")] == NAMES
    assert told == {
        "loss_per_day_micros": (10**8, 0, False),
        "gpu_hours_max": (1_000, 0, False),
        "stale_after_ms": (45_000, 0, False),
        "jump_bp": (10_000, 0, False),
        "capital_micros": (10**9, 3 * 8 * (20_000 + 8_550), False),
        "gpus_max": (8, 0, False),
        "dead_man_ms": (30_000, 0, False),
    }
    assert market.status.values["limits_reached"] == ""
    of_the_file = {name for name in NAMES if hasattr(packaged_limits(), name)}
    assert of_the_file == set(NAMES)


async def test_a_stale_source_is_told_with_its_age_until_it_is_polled_again(caplog: pytest.LogCaptureFixture) -> None:
    market = Market()
    market.lists(9_000)
    await market.turn()
    market.clock.ms += 44_000
    with caplog.at_level(logging.INFO, "hourbook.market_maker"):
        await market.turn()
        assert market.limit("stale_after_ms") == (45_000, 44_000, False, 0, "")
        market.clock.ms += 2_000
        await market.desk.quote()
        assert market.book() == []
        assert market.limit("stale_after_ms") == (45_000, 46_000, True, 46_000, "stale sources: H100 not quoted")
        market.clock.ms += 5_000
        await market.desk.quote()
        assert market.limit("stale_after_ms")[1:4] == (51_000, True, 46_000), "since it was reached, and not since now"
        assert market.status.values["limits_reached_count"] == 1
        market.polls()
        await market.turn()

    assert market.limit("stale_after_ms") == (45_000, 0, False, 0, "")
    assert [each.message for each in caplog.records if "limit" in each.message] == [
        "limit reached",
        "within the limit again",
    ]


async def test_a_jump_is_told_by_how_much_it_is_until_it_has_stood() -> None:
    market = Market(limits=replace(LIMITS, jump_bp=2_500))
    market.lists(9_000)
    await market.turn()
    market.lists(6_000)
    await market.desk.quote()
    assert market.limit("jump_bp")[:3] == (2_500, 3_333, True)
    assert market.limit("jump_bp")[4] == "a jump not believed yet: H100 not quoted"

    market.clock.ms += 60_000
    market.polls()
    await market.turn()

    assert market.limit("jump_bp")[:3] == (2_500, 0, False)


async def test_an_hour_that_is_full_is_told_and_nothing_more_stands_on_that_side() -> None:
    market = Market()
    market.lists(9_000)
    await market.turn()
    market.hall.trade(market.symbol(9), Side.BUY, 8, 9_500)
    await market.turn()

    assert market.book()[0] == "09 | 8@8550 | "
    assert market.limit("gpus_max")[1:3] == (8, True)
    assert market.limit("gpus_max")[4] == "GPUs of an hour: no more on that side in 1 hour"
    assert market.reached() == ["gpus_max"]
    market.hall.trade(market.symbol(9), Side.SELL, 1, 8_550)
    await market.turn()
    assert market.reached() == []


async def test_the_loss_of_the_day_is_told_while_it_grows_and_when_it_is_reached() -> None:
    """Sold eight at 9,500; replacing them costs 9,900 and then 11,000 each."""
    market = Market(limits=replace(LIMITS, loss_per_day_micros=10_000))
    market.lists(9_000)
    await market.turn()
    market.hall.trade(market.symbol(9), Side.BUY, 8, 9_500)
    market.lists(9_900)
    await market.turn()
    bound, stands, reached, _, why = market.limit("loss_per_day_micros")
    assert (bound, 0 < stands < bound, reached, why) == (10_000, True, False, "")

    market.clock.ms += 1_000
    market.lists(11_000)
    await market.turn()

    _, stands, reached, since_ms, why = market.limit("loss_per_day_micros")
    assert (stands >= bound, reached, since_ms) == (True, True, 1_000)
    assert why.startswith("loss of the day: 0.0")
    assert market.book() == []


async def test_what_the_exchange_has_not_heard_of_for_too_long_is_told_while_the_gateway_is_away() -> None:
    market = Market()
    market.lists(9_000)
    await market.turn()
    market.clock.ms += 30_000
    market.desk._look_at_limits()

    assert market.limit("dead_man_ms") == (
        *(30_000, 30_000, True, 30_000),
        "dead man's switch: nothing of the desk's is left in shard 0",
    )
    await market.turn()
    assert market.limit("dead_man_ms")[2] is False


# --- Pure ----------------------------------------------------------------------------------------------------


def test_only_a_change_is_told_and_since_is_its_beginning() -> None:
    def stand(why: str) -> Stand:
        return Stand(name="a", what="", bound=1, stands=1, why=why)

    watch = Watch()
    told = [
        [(each.why, reached) for each, reached in watch.look([stand(why)], now_ms)] + [watch.since_ms("a")]
        for now_ms, why in ((1, ""), (2, "x"), (3, "x, more"), (4, ""), (5, "y"))
    ]
    assert told == [[0], [("x", True), 2], [2], [("", False), 0], [("y", True), 5]]
