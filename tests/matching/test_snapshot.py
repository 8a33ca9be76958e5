"""A state as bytes: the same state gives the same bytes, and goes on as if nothing had happened (D2)."""

from __future__ import annotations

import functools
import os
import random
import sys

import msgspec
import pytest

from schemas.commands import Side
from services.matching.engine import Engine
from services.matching.operating import ENGINE_VERSIONS
from services.matching.replica import Replica
from services.matching.snapshot import STATE_FORMAT, BadSnapshot, dump, load, state_hash
from tests.matching import golden
from tests.matching.market import Market, lines


def test_an_engine_that_is_loaded_now_and_then_says_the_same_as_one_that_never_was() -> None:
    """Over a day of every kind of command, good and bad, drawn anew each time: events, bytes, hash.

    HOURBOOK_SEED=7 repeats one.
    """
    seed = os.environ.get("HOURBOOK_SEED") or str(random.SystemRandom().randrange(1 << 40))
    print(f"HOURBOOK_SEED={seed}", file=sys.stderr, flush=True)
    day = golden.Scribe("clock", max(ENGINE_VERSIONS), seed)
    day.write(4_000)
    steady, loaded = Replica(golden.SHARD, Engine()), Replica(golden.SHARD, Engine())
    loads = random.Random(f"{seed}/loads")
    for record in day.commands:
        if record.offset and loads.random() < 0.1:
            stored = dump(loaded.engine)
            loaded.engine = load(stored)
            loaded.engine.check()
            assert dump(loaded.engine) == stored == dump(steady.engine)
        assert loaded.apply(record, day.quarantine) == steady.apply(record, day.quarantine)
    assert state_hash(loaded.engine) == state_hash(steady.engine) == state_hash(day.replica.engine)
    missing = {"Filled", "OrderCancelled", "GateClosed", "TitleEnded", "HourEnded", "BackingSet"} - set(day.seen)
    assert not missing, f"the day was too tame: {day.seen}"


def test_bytes_tell_the_state_and_not_the_path_to_it() -> None:
    """Two markets that come to one state: what was placed and taken away again left nothing."""
    one = Market.given().when("ana buys 1 at 2.00\nbert buys 1 at 1.99\nbert cancels bid 1.99\ncarl sells 2 at 2.10")
    other = Market.given().when("ana buys 1 at 2.00\nbert sells 1 at 2.20\nbert cancels ask 2.20\ncarl sells 2 at 2.10")

    assert dump(one.engine) == dump(other.engine)
    assert state_hash(one.engine) == state_hash(other.engine)


STORIES = (
    "",
    "ana buys 2 at 2.00",
    "ana buys 1 at 2.01",
    "bert buys 1 at 2.00",
    "ana buys 1 at 2.00 as mine",
    "ana is given 0.01",
    "ana declares 99",
    "the hour is halted",
    "the class is halted",
    "ana is a member",
    "ana buys 1 at 2.00 until 22:00",
    "ana buys 1 at 2.00 in hours +0 as mine",
    "ana bids a block of 1 for 1 hours from +0 at 2.00",
    "ana bids a block of 1 for 2 hours from +0 at 1.00",
    "ana's switch is set to 5000 ms",
    "ana readies 1",
    "the reference of the class is 2.10",
    "the reference of the hour is 2.00",
)


def test_any_difference_of_a_state_is_a_difference_of_its_bytes() -> None:
    """The hash is what two copies of a shard compare: after each of these, one record each, it is another one."""

    def after(story: str) -> bytes:
        market = Market.given(money={"ana": "1000", "bert": "1000"})
        return state_hash((market.when(story) if story else market.wait(ms=0)).engine)

    assert len({after(story) for story in STORIES}) == len(STORIES) > 15
    assert after(STORIES[1]) == after(STORIES[1])


def test_the_number_of_the_last_quotes_and_which_orders_are_quotes_are_part_of_a_state() -> None:
    """And whether a reopening is under way, and who waits for a retry."""

    def after(story: str, retries_max: int = 64) -> bytes:
        market = Market.given("hour | bid | price | ask\n+0 | | 2.00 | 9 carl", promises={"mike": 9}, hours=2)
        for name in ("ana", "bert"):
            market.when(f"{name} bids a block of 1 for 2 hours from +0 at 1.50")
        market.engine.retries_max = retries_max
        return state_hash(market.when(story).engine)

    pairs = [
        ("mike quotes #1: +0 bids 1 at 1.90", "mike quotes #2: +0 bids 1 at 1.90"),
        ("mike quotes #1: +0 bids 1 at 1.90", "mike buys 1 at 1.90 post-only"),
        ("the hour is cancel-only", "the hour is halted\nthe hour is open"),
    ]
    assert [(one, other) for one, other in pairs if after(one) == after(other)] == []
    ask = "carl sells 1 at 3.00 in hour +1"
    assert len({after(ask, 0), after(ask, 1), after(ask, 2)}) == 3
    assert after(ask, 2) == after(ask, 64)


# --- What is not a snapshot ------------------------------------------------------------------------------------


@functools.cache
def snapshot() -> bytes:
    market = Market.given("bid | price | ask\n | 2.10 | 2 bert\n1 ana | 2.00 |").when("carl buys 1 at 2.10 as mine")
    return dump(market.engine)


def test_a_snapshot_of_another_format_is_refused() -> None:
    """A build that reads other bytes than it writes would go on from another state."""
    document = msgspec.msgpack.decode(snapshot())

    for other in (STATE_FORMAT - 1, STATE_FORMAT + 1, "1", None):
        with pytest.raises(BadSnapshot, match=f"state format {other}, this build reads {STATE_FORMAT}"):
            load(msgspec.msgpack.encode([other, *document[1:]]))


def test_a_snapshot_of_an_engine_version_that_this_build_does_not_know_is_refused() -> None:
    market = Market.given()
    market.engine.version = max(ENGINE_VERSIONS) + 1

    with pytest.raises(BadSnapshot):
        load(dump(market.engine))


@pytest.mark.parametrize("value", [b"", b"\xc1", b"\x00", b"\x90", b"\x91\x01", msgspec.msgpack.encode({0: 1})])
def test_other_bytes_are_refused(value: bytes) -> None:
    with pytest.raises(BadSnapshot):
        load(value)


def test_a_snapshot_that_was_cut_off_anywhere_is_refused() -> None:
    """Bytes that were changed are found by the file's checksum before they come here."""
    whole = snapshot()
    assert load(whole).shard == 0

    for length in range(len(whole)):
        with pytest.raises(BadSnapshot):
            load(whole[:length])
    with pytest.raises(BadSnapshot):
        load(whole + b"\x00")


def test_a_market_goes_on_from_its_snapshot() -> None:
    """The story's own engine is loaded before every record; this shows it once in words."""
    market = Market.given("bid | price | ask\n | 2.10 | 2 bert, 1 dana").when("carl buys 1 at 2.10 as mine")
    market.engine = load(dump(market.engine))

    market.when("carl buys 1 at 2.10 as mine\ncarl buys 2 at 2.10\ncarl sells 3 at 2.20")

    assert market.said() == lines("""
        carl repeats mine
        carl bids 2 at 2.10
        carl buys 1 from bert at 2.10
        carl buys 1 from dana at 2.10
        carl offers 3 at 2.20
    """)
    assert market.order("carl", Side.BUY, 1, "2.00").account == market.account("carl")
