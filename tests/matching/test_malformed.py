"""A body that does not decode: refused by its place in the frame, for ever in the same way."""

from __future__ import annotations

import msgspec
import pytest

from schemas import events as ev
from schemas.codec import BrokenFrame, Malformed, decode_record
from schemas.commands import Side
from schemas.events import Code
from services.matching.engine import Engine
from services.matching.replica import Replica
from services.runtime.log import Record
from tests.matching.market import T0_MS, Market, lines

START = [40, 0, 1, T0_MS, 1, False]


def test_a_malformed_body_is_refused_and_its_neighbours_are_done() -> None:
    market = Market.given()
    order = market.order("ana", Side.BUY, 1, "2.00")

    events = market.send().tell(Malformed(), order, Malformed())

    assert events[0] == ev.Rejected(0, 0, Code.MALFORMED)
    assert events[2:] == [ev.Rejected(2, 0, Code.MALFORMED)]
    assert market.said()[1] == "ana bids 1 at 2.00"


def test_a_malformed_body_lets_time_pass_like_any_other() -> None:
    """And what is due happens: only its own content is void."""
    market = Market.given()
    market.wait(to_ms=market.hour * 3_600_000 - 300_001)
    market.stamp_ms += 1

    market.send(Malformed())

    assert market.said() == lines("""
        hour +0: gate closed
        0 is refused: malformed
    """)


def frame(*bodies: object) -> bytes:
    return msgspec.msgpack.encode((1, 2, 7, bodies))


def test_a_copy_of_the_shard_answers_the_bytes_and_stops_before_a_broken_frame() -> None:
    """Nothing of a broken frame is applied: the record is asked for again, with a quarantine or by a better build."""
    replica = Replica(0, Engine())
    (started,) = replica.apply(Record(0, T0_MS, frame(START)), {})
    (answered,) = replica.apply(Record(1, T0_MS, frame([41, "soon"], [41, 5])), {})
    assert decode_record(started.body).events == [ev.ShardStarted(0, 0, 1, T0_MS, 1, False)]
    assert decode_record(answered.body).events == [ev.Rejected(0, 0, Code.MALFORMED), ev.Ticked(1, T0_MS)]

    with pytest.raises(BrokenFrame):
        replica.apply(Record(2, T0_MS, b"\xc1"), {})

    assert (replica.next_offset, replica.seq, replica.chain) == (2, 2, answered.chain)
    (after,) = replica.apply(Record(2, T0_MS, frame([41, 5])), {})
    assert decode_record(after.body).seq == 3
