"""Collars follow what market data wishes: once each, no oftener than the engine lets them, and never at the cost of the shard."""

from __future__ import annotations

import msgspec

from schemas import commands as cmd
from schemas import events as ev
from schemas.codec import decode_record
from schemas.market import Reference
from schemas.units import MS_PER_HOUR
from services.matching.references import LOOK_BACK
from services.runtime.log import Outgoing
from tests.matching_shell.shard import SimShard
from tests.simulation.world import START_MS

HOUR = START_MS // MS_PER_HOUR + 3
CLASS = cmd.SetClass(1, 7, "H100.SXM.80.US", 1, 5_000, 2_000_000, cmd.Fees())


def wish(price: int, hour: int = 0, class_no: int = 7, as_of_ms: int = START_MS) -> Outgoing:
    said = Reference("H100.SXM.80.US", class_no, hour, price, "median of 5 clouds", as_of_ms)
    return Outgoing(msgspec.msgpack.encode(said))


def listed() -> SimShard:
    shard = SimShard()
    shard.start()
    shard.send_frame([CLASS])
    shard.run(lambda: any(isinstance(event, ev.ClassSet) for event in said(shard)))
    return shard


def said(shard: SimShard) -> list[ev.Event]:
    return [event for record in shard.events.records for event in decode_record(record.value).events]


def moved(shard: SimShard) -> list[tuple[int, int]]:
    return [(event.hour, event.price) for event in said(shard) if isinstance(event, ev.ReferenceMoved)]


def wait(shard: SimShard, ms: int) -> None:
    until = shard.world.now_ms + ms
    shard.run(lambda: shard.world.now_ms >= until, ms + 60_000)


def test_a_class_and_an_hour_of_it_move_when_it_is_wished() -> None:
    shard = listed()

    shard.references.land([wish(2_200_000), wish(2_500_000, HOUR)])
    shard.run(lambda: len(moved(shard)) == 2)

    assert moved(shard) == [(0, 2_200_000), (HOUR, 2_500_000)]
    (first, _) = [event for event in said(shard) if isinstance(event, ev.ReferenceMoved)]
    assert (first.source, first.low, first.high) == ("median of 5 clouds", 1_100_000, 4_400_000)


def test_a_wish_waits_for_its_minute_and_only_the_newest_of_a_target_counts() -> None:
    shard = listed()
    shard.references.land([wish(2_200_000)])
    shard.run(lambda: len(moved(shard)) == 1)

    at_ms = shard.world.now_ms + 10_000
    shard.references.land([wish(2_300_000, as_of_ms=at_ms), wish(2_400_000, as_of_ms=at_ms)])
    wait(shard, 30_000)
    assert moved(shard) == [(0, 2_200_000)]
    wait(shard, 40_000)

    assert moved(shard) == [(0, 2_200_000), (0, 2_400_000)]
    assert not any(isinstance(event, ev.Rejected) for event in said(shard))


def test_what_is_in_force_is_not_said_again_and_what_is_another_shard_s_is_not_said() -> None:
    shard = listed()

    shard.references.land([wish(2_000_000), wish(2_200_000, class_no=8), wish(2_200_000, hour=5)])
    wait(shard, 5_000)

    assert moved(shard) == []
    assert not any(isinstance(event, ev.Rejected) for event in said(shard))


def test_a_wish_that_is_older_than_the_last_move_is_late() -> None:
    """A writer that takes over reads the end of the topic again: what was done must not be done once more."""
    shard = listed()
    shard.references.land([wish(2_200_000)])
    shard.run(lambda: len(moved(shard)) == 1)
    wait(shard, 120_000)

    shard.references.land([wish(2_300_000, as_of_ms=START_MS - 1)])
    wait(shard, 5_000)

    assert moved(shard) == [(0, 2_200_000)]


def test_nonsense_is_refused_by_the_engine_and_said_once() -> None:
    shard = listed()

    shard.references.land([wish(200_000_000), wish(0, HOUR)])
    wait(shard, 5_000)

    assert moved(shard) == []
    refused = [event.code for event in said(shard) if isinstance(event, ev.Rejected)]
    assert refused == [ev.Code.WRONG_REFERENCE, ev.Code.WRONG_REFERENCE]


def test_a_record_that_cannot_be_read_stops_the_collars_and_not_the_shard() -> None:
    shard = listed()

    shard.references.land([Outgoing(b"\xc1"), wish(2_200_000)])
    wait(shard, 5_000)

    assert moved(shard) == []
    assert "references offset 0 is not a reference" in str(shard.statuses["a"].values["references_fault"])
    before = len(said(shard))
    shard.send(1)
    shard.run(lambda: len(said(shard)) > before)


def test_a_new_writer_reads_no_more_than_the_end_of_the_topic() -> None:
    shard = SimShard()
    shard.references.land([wish(2_500_000, HOUR), *[wish(2_200_000)] * LOOK_BACK])
    shard.start()
    shard.send_frame([CLASS])
    shard.run(lambda: len(moved(shard)) == 1)
    wait(shard, 5_000)

    assert moved(shard) == [(0, 2_200_000)]
