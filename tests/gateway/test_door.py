"""From a command to its answer: which events answer which command, frames, and what a log may do to them."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Callable, Sequence
from functools import partial
from typing import Any, cast

import msgspec
import pytest

from schemas.codec import (
    CHAIN_START,
    RECORD_FORMAT,
    EventsRecord,
    Frame,
    accounts_of,
    decode_frame,
    epoch_header,
    next_chain,
    pack_accounts,
)
from schemas.commands import PlaceOrder
from schemas.events import Event, Filled, GateClosed, OrderAccepted, OrderCancelled, Rejected, Ticked, TitleMove
from services.gateway.door import FRAME_MAX, Answer, Door, answers_of
from services.gateway.errors import ApiError
from services.gateway.progress import Progress
from services.runtime.errors import Halt
from services.runtime.kafka import Cluster
from services.runtime.log import Log, Outgoing


def record(*events: Event, seq: int = 7) -> EventsRecord:
    return EventsRecord(RECORD_FORMAT, 0, seq, 3, 0, True, 1_000, 1 << 40, 5, list(events))


def accepted(index: int, order: int) -> OrderAccepted:
    return OrderAccepted(index, order, 1, 1 << 24, 1, 5, 3_000_000, 1, 0, "", 0, 0)


def cancelled(order: int, qty: int) -> OrderCancelled:
    return OrderCancelled(order, 1, 1 << 24, qty, 2)


def answers(*events: Event) -> dict[int, tuple[Event, Sequence[Event]]]:
    return {index: (answer.outcome, answer.effects) for index, answer in answers_of(record(*events)).items()}


def test_each_outcome_has_the_effects_up_to_the_next_one() -> None:
    first, second, third = accepted(0, 10), Rejected(1, 1, 4), accepted(2, 12)
    assert answers(first, cancelled(10, 2), cancelled(9, 1), second, third, cancelled(12, 5)) == {
        0: (first, (cancelled(10, 2), cancelled(9, 1))),
        1: (second, ()),
        2: (third, (cancelled(12, 5),)),
    }


def test_what_time_alone_caused_answers_nobody() -> None:
    """It comes before the first outcome of its record."""
    gate, order = GateClosed(1 << 24), accepted(0, 10)
    assert answers(cancelled(3, 1), gate, order) == {0: (order, ())}
    assert answers(gate) == {}


def test_an_answer_says_where_and_when_it_happened() -> None:
    tick = Ticked(0, 1_000)
    assert answers_of(record(tick, seq=9)) == {0: Answer(9, 1_000, tick, ())}


@pytest.mark.parametrize("indexes", [(5,), (4, 5, 6)])
def test_a_part_of_a_large_output_answers_its_own_commands(indexes: tuple[int, ...]) -> None:
    """Indexes count in the frame, not in the record."""
    assert list(answers(*[accepted(index, 100 + index) for index in indexes])) == list(indexes)


def test_a_fill_belongs_to_the_order_that_took() -> None:
    move = TitleMove(0, 1, 1, 2, 5_970_000, 6_000_000, 0)
    fill = Filled(1, 1 << 24, 3_000_000, 2, 60, 1, 9, 10, 0, 3, 1, 2, 6_000_000, 0, 30_000, (move,))
    order = accepted(0, 10)
    assert answers(order, fill) == {0: (order, (fill,))}


# --- The door itself, on a broker, with a shard that answers what it is told to -------------------------------


class Shard:
    """Reads frames from `commands`, and writes for each what the test wants said of it."""

    def __init__(self, cluster: Cluster) -> None:
        self.cluster = cluster
        self.commands = cluster.log("commands", 0)
        self.events = cluster.log("events", 0)
        self.progress = Progress(cast("Any", None), 1)
        self.frames: list[Frame] = []
        self.seq = 0
        self.chain = CHAIN_START
        self._next = 0

    def door(self, writer: int = 1 << 40, open_log: Callable[[], Log] | None = None) -> Door:
        fresh = open_log or partial(self.cluster.log, "commands", 0)
        return Door(0, writer, fresh, self.cluster.log("events", 0), self.progress)

    @contextlib.asynccontextmanager
    async def opened(self, door: Door) -> AsyncIterator[Door]:
        await door.start()
        tasks = [asyncio.ensure_future(loop()) for loop in (door.write, door.read)]
        yield door
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    async def frame(self) -> Frame:
        """The next that was written."""
        while not (records := await self.commands.read(self._next, count=1, wait_ms=100)):
            pass
        self._next = records[0].offset + 1
        self.frames.append(decode_frame(records[0].value))
        return self.frames[-1]

    async def say(self, writer: int, frame_no: int, *events: Event, part: int = 0, last: bool = True) -> None:
        """One record of `events`."""
        self.seq += 1
        body = msgspec.msgpack.encode(
            (RECORD_FORMAT, 0, self.seq, self._next, part, last, 1_000, writer, frame_no, events)
        )
        self.chain = next_chain(self.chain, body)
        headers = [
            ("c", self.chain), ("q", self.seq.to_bytes(8, "big")), ("w", writer.to_bytes(8, "big") + frame_no.to_bytes(8, "big")),
            ("a", pack_accounts(accounts_of(events))), epoch_header(1),
        ]  # fmt: skip
        await self.events.append([Outgoing(body, headers)])

    async def answer(self) -> Frame:
        """The next frame: every command of it is accepted, under the price as its order id."""
        frame = await self.frame()
        orders = [accepted(index, cast("PlaceOrder", c).price) for index, c in enumerate(frame.commands)]
        await self.say(frame.writer, frame.frame_no, *orders)
        return frame


@pytest.fixture
async def shard(broker, topic_prefix: str) -> AsyncIterator[Shard]:
    async with Cluster(broker.bootstrap, prefix=topic_prefix) as cluster:
        for topic in ("commands", "events"):
            await cluster.create_topic(topic, 1, 1, {})
        yield Shard(cluster)


def order(number: int) -> PlaceOrder:
    return PlaceOrder(1, 1 << 24, 1, 1, number, 1, 0, "", 0)


def placed(answer: Answer) -> int:
    assert isinstance(answer.outcome, OrderAccepted)
    return answer.outcome.order


async def test_what_arrives_together_leaves_together_and_each_gets_its_own_answer(shard: Shard) -> None:
    """Group commit: while one append is in flight the next frame fills, to 64 commands at most."""
    async with shard.opened(shard.door()) as door:
        asked = [asyncio.ensure_future(door.submit(order(number))) for number in range(1, 151)]
        while sum(len(frame.commands) for frame in shard.frames) < 150:
            await shard.answer()
        assert [placed(await answer) for answer in asked] == list(range(1, 151))
    assert max(len(frame.commands) for frame in shard.frames) == FRAME_MAX == 64
    assert len(shard.frames) == 3
    assert [frame.frame_no for frame in shard.frames] == [1, 2, 3]


async def test_behind_a_frame_without_an_answer_commands_gather(shard: Shard, monkeypatch: pytest.MonkeyPatch) -> None:
    """One by one they would be as many frames: four readers' work for each. The second frame has all that came meanwhile."""
    monkeypatch.setattr("services.gateway.door.GATHER_S", 60)
    async with shard.opened(shard.door()) as door:
        asked = [asyncio.ensure_future(door.submit(order(1)))]
        await shard.frame()
        for number in range(2, 9):
            asked.append(asyncio.ensure_future(door.submit(order(number))))
            await asyncio.sleep(0.01)
        await shard.say(1 << 40, 1, accepted(0, 1))
        assert [cast("PlaceOrder", command).price for command in (await shard.answer()).commands] == list(range(2, 9))
        assert [placed(await answer) for answer in asked] == list(range(1, 9))


async def test_a_shard_that_does_not_answer_holds_nobody_back_for_long(shard: Shard) -> None:
    """What was asked of it is in the log when it comes back: so is the order of all who ask."""
    async with shard.opened(shard.door()) as door:
        asked = []
        for number in range(1, 6):
            asked.append(asyncio.ensure_future(door.submit(order(number))))
            assert [cast("PlaceOrder", command).price for command in (await shard.frame()).commands] == [number]
        for answer in asked:
            answer.cancel()


async def test_only_its_own_frames_answer(shard: Shard) -> None:
    """Another gateway's frame of the same number, an older one of ours, a repeat: none of them is an answer."""
    async with shard.opened(shard.door(writer=1 << 40)) as door:
        asked = asyncio.ensure_future(door.submit(order(7)))
        frame = await shard.frame()
        await shard.say((1 << 40) + 1, frame.frame_no, accepted(0, 1))
        await shard.say(frame.writer, frame.frame_no + 1, accepted(0, 2))
        await shard.say(frame.writer, frame.frame_no, accepted(0, 7))
        await shard.say(frame.writer, frame.frame_no, accepted(0, 3))
        assert placed(await asked) == 7
        again = asyncio.ensure_future(door.submit(order(8)))
        await shard.answer()
        assert placed(await again) == 8


async def test_an_answer_in_parts_is_complete_when_its_last_part_is_there(shard: Shard) -> None:
    async with shard.opened(shard.door()) as door:
        asked = [asyncio.ensure_future(door.submit(order(number))) for number in (1, 2)]
        first = await shard.frame()
        if len(first.commands) == 1:  # the second came a moment too late for this frame
            await shard.say(first.writer, first.frame_no, accepted(0, 1))
            first = await shard.frame()
            await shard.say(first.writer, first.frame_no, accepted(0, 2))
        else:
            await shard.say(first.writer, first.frame_no, accepted(0, 1), part=0, last=False)
            await shard.say(first.writer, first.frame_no, accepted(1, 2), part=1)
        assert [placed(await answer) for answer in asked] == [1, 2]


@pytest.mark.parametrize(
    ("what", "value", "sentence"),
    [("seq", 2, "Gap: seq 3 after 1"), ("chain", b"x" * 16, "BrokenRecord: seq 2 does not continue the chain")],
)
async def test_nobody_is_answered_from_a_record_that_does_not_follow(
    shard: Shard, what: str, value: Any, sentence: str
) -> None:
    """A hole, or another chain: the gateway halts and says where, and whoever asked is not answered."""
    await shard.say(1, 1, accepted(0, 1))
    door = shard.door()
    await door.start()
    writing, reading = (asyncio.ensure_future(loop()) for loop in (door.write, door.read))
    asked = asyncio.ensure_future(door.submit(order(7)))
    frame = await shard.frame()
    setattr(shard, what, value)
    await shard.say(frame.writer, frame.frame_no, accepted(0, 7))
    with pytest.raises(Halt, match=f"^events/0 offset 1: {sentence}$"):
        await reading
    assert not asked.done()
    for task in (asked, writing):
        task.cancel()
    await asyncio.gather(asked, writing, return_exceptions=True)


async def test_a_door_does_not_begin_behind_what_is_no_record(shard: Shard) -> None:
    await shard.events.append([Outgoing(b"rubbish")])
    with pytest.raises(Halt, match=r"^events/0 offset 0: BrokenRecord: headers of an events record"):
        await shard.door().start()


async def test_a_door_that_begins_behind_repeats_of_a_stale_writer_knows_the_last_record_all_the_same(
    shard: Shard,
) -> None:
    for number in range(1, 4):
        await shard.say(1, number, accepted(0, number))
    repeats = await shard.cluster.log("events", 0).read(0, count=2, wait_ms=1_000)
    await shard.events.append([Outgoing(record.value, record.headers) for record in repeats])
    async with shard.opened(shard.door()) as door:
        assert door.seq == 3
        asked = asyncio.ensure_future(door.submit(order(8)))
        await shard.answer()
        assert placed(await asked) == 8


async def test_a_door_begins_at_the_end_of_what_there_is(shard: Shard) -> None:
    """It reads nothing of the past, knows how far the log is, and its first answer is the first record after it."""
    for number in range(5):
        await shard.say(1, number, accepted(0, number))
    async with shard.opened(shard.door()) as door:
        assert door.seq == 5
        asked = asyncio.ensure_future(door.submit(order(9)))
        await shard.answer()
        assert placed(await asked) == 9
        assert door.seq == 6


async def test_what_was_refused_by_the_log_had_no_effect_and_the_next_goes_on(shard: Shard) -> None:
    """A connection that writes no more is replaced by a fresh one."""
    dead = shard.cluster.log("commands", 0)
    await dead.close()
    logs = [dead, shard.cluster.log("commands", 0)]
    async with shard.opened(shard.door(open_log=lambda: logs.pop(0))) as door:
        with pytest.raises(ApiError) as refused:
            await door.submit(order(1))
        assert (refused.value.code, refused.value.outcome) == ("not_ready", "rejected")
        asked = asyncio.ensure_future(door.submit(order(2)))
        assert [cast("PlaceOrder", command).price for command in (await shard.answer()).commands] == [2]
        assert placed(await asked) == 2


async def test_without_an_answer_in_time_the_outcome_is_unknown_and_a_late_answer_harms_nobody(
    shard: Shard, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("services.gateway.door.ANSWER_S", 0.2)
    async with shard.opened(shard.door()) as door:
        with pytest.raises(ApiError) as late:
            await door.submit(order(1))
        assert (late.value.code, late.value.outcome) == ("outcome_unknown", "unknown")
        await shard.answer()
        asked = asyncio.ensure_future(door.submit(order(2)))
        await shard.answer()
        assert placed(await asked) == 2


async def test_a_queue_that_is_full_refuses_at_once(shard: Shard, monkeypatch: pytest.MonkeyPatch) -> None:
    """Nobody writes for this door: two wait, the third is told so, and what never left is taken back."""
    monkeypatch.setattr("services.gateway.door.QUEUE_MAX", 2)
    monkeypatch.setattr("services.gateway.door.ANSWER_S", 0.2)
    door = shard.door()
    waiting = [asyncio.ensure_future(door.submit(order(number))) for number in (1, 2)]
    await asyncio.sleep(0)
    with pytest.raises(ApiError) as full:
        await door.submit(order(3))
    assert (full.value.code, full.value.outcome) == ("overloaded", "rejected")
    withdrawn = await asyncio.gather(*waiting, return_exceptions=True)
    assert [(cast("ApiError", error).code, cast("ApiError", error).outcome) for error in withdrawn] == [
        ("not_ready", "rejected")
    ] * 2
    async with shard.opened(door):
        asked = asyncio.ensure_future(door.submit(order(4)))
        assert [cast("PlaceOrder", command).price for command in (await shard.answer()).commands] == [4]
        assert placed(await asked) == 4
