"""A broken frame stops the shard loudly, and only an operator's record brings it past that record."""

import re

import msgspec
import pytest

from schemas.codec import WRITER_GATEWAY_MIN, decode_record
from schemas.events import AccountSet, Rejected
from services.matching.quarantine import QuarantineReader, ban
from services.runtime.errors import Halt
from services.runtime.log import Outgoing
from services.runtime.positions import record_hash
from tests.matching_shell.shard import SimShard
from tests.simulation.world import Process

BROKEN = b"\xc1 this is not MessagePack"


def banned(shard: SimShard, offset: int, hash_hex: str) -> Process:
    """The operator's act, as a process of its own."""
    return shard.world.spawn(
        "operator",
        ban(
            shard.commands.log(),
            shard.events.log(),
            shard.quarantine.log(),
            offset=offset,
            hash_hex=hash_hex,
            reason="a test",
            operator="op-1",
        ),
    )


def halted(*, active: bool = True) -> tuple[SimShard, int, str]:
    """A shard stopped at a broken frame with good ones behind it: (shard, offset, what it said)."""
    shard = SimShard()
    process = shard.start("a")
    shard.send(3)
    shard.run(shard.answered)
    follower = None if active else shard.start("b")
    shard.run_ms(300)
    offset = shard.commands.end()
    shard.send_bytes(BROKEN)
    shard.send(3)
    end = shard.end_of(follower or process)
    assert isinstance(end, Halt)
    shard.run_ms(5_000)
    assert not process.alive
    return shard, offset, str(end)


@pytest.mark.parametrize("active", [True, False])
def test_it_says_where_and_what_to_do(active: bool) -> None:
    """Partition, offset, hash, and the command that goes on; the same from the writer and from the follower."""
    shard, offset, sentence = halted(active=active)
    assert f"commands/0 offset {offset} is not a frame" in sentence
    digest = record_hash(BROKEN).hex()
    assert (
        f"hourbook quarantine --shard 0 --offset {offset} --hash {digest} --reason '...' --operator '...'" in sentence
    )
    last = max(decode_record(record.value).offset for record in shard.events.records)
    assert last == offset - 1, "everything before it was said, nothing after it"
    assert isinstance(shard.end_of(shard.start("c")), Halt)


def test_a_quarantine_record_brings_it_on() -> None:
    """The record causes nothing: one record of events without events. What follows is applied; a replay says the same."""
    shard, offset, sentence = halted()
    digest = re.search(r"--hash ([0-9a-f]{32})", sentence)
    assert digest is not None
    operator = banned(shard, offset, digest[1])
    shard.run(lambda: operator.ended is not None)
    assert operator.ended == "done"

    shard.start("c")
    shard.run(shard.answered)
    shard.check(banned={offset: record_hash(BROKEN)})
    (skipped,) = (body for record in shard.events.records if (body := decode_record(record.value)).offset == offset)
    assert (skipped.events, skipped.last, skipped.writer, skipped.frame_no) == ([], True, 0, 0)


def test_a_running_process_finds_the_record_written_meanwhile() -> None:
    """The quarantine is read again before it halts."""
    shard = SimShard()
    process = shard.start("a")
    shard.send(3)
    shard.run(shard.answered)
    offset = shard.commands.end()
    shard.quarantine.land([Outgoing(entry(offset))])
    shard.send_bytes(BROKEN)
    shard.send(2)
    shard.run(shard.answered)
    assert process.alive
    shard.check(banned={offset: record_hash(BROKEN)})


def test_only_the_record_that_was_looked_at_can_be_banned() -> None:
    """Another hash, an offset that is not there, one that has its answer already: refused, and nothing is written."""
    shard, offset, _ = halted()
    digest = record_hash(BROKEN).hex()
    for where, what, sentence in (
        (offset, "00" * 16, f"commands/0 offset {offset} has hash {digest}, not 0000"),
        (offset + 100, digest, f"commands/0 has no record {offset + 100}"),
        (2, record_hash(shard.commands.records[2].value).hex(), "commands/0 offset 2 was applied already"),
    ):
        operator = banned(shard, where, what)
        shard.run(lambda operator=operator: operator.ended is not None)
        assert isinstance(operator.ended, Halt)
        assert sentence in str(operator.ended)
    assert shard.quarantine.records == []


def test_a_ban_of_another_record_than_the_one_there_halts() -> None:
    """Written by hand, past the command's checks: offset and hash must both be right."""
    shard = SimShard()
    shard.send(3)
    shard.quarantine.land([Outgoing(entry(2))])
    end = shard.end_of(shard.start("a"))
    assert isinstance(end, Halt)
    assert "offset 2 is in quarantine with hash" in str(end)


def test_bans_of_other_shards_are_theirs() -> None:
    """One topic for all."""
    shard = SimShard()
    shard.send(3)
    shard.quarantine.land([Outgoing(entry(2, partition=1))])
    shard.start("a")
    shard.run(shard.answered)
    shard.check()


@pytest.mark.parametrize(
    "value",
    [b"rubbish", msgspec.msgpack.encode([9, 0, 2, b"", "", ""]), b"\x96\x01\x00\x02\xc4\x00\xa1\xff\xa0"],
    ids=["no message", "another format", "a reason that is not UTF-8"],
)
def test_a_quarantine_that_is_not_one_halts(value: bytes) -> None:
    """Its meaning is unknown, so every replay's result is."""
    shard = SimShard()
    shard.quarantine.land([Outgoing(value)])
    end = shard.end_of(shard.start("a"))
    assert isinstance(end, Halt)
    assert "quarantine offset 0" in str(end)


def test_a_good_frame_with_a_bad_body_needs_no_operator() -> None:
    """It is rejected by an event, and its neighbours are applied."""
    shard = SimShard()
    shard.start("a")
    shard.send_bytes(msgspec.msgpack.encode([1, WRITER_GATEWAY_MIN, 7, [[9999, 1], [30, 1, 5, 5, 0, 0]]]))
    shard.run(shard.answered)
    first, second = decode_record(shard.events.records[1].value).events
    assert isinstance(first, Rejected)
    assert isinstance(second, AccountSet)
    shard.check()


def test_what_is_banned_is_read_from_the_whole_topic() -> None:
    """Hundreds of records, of which each counts once and the first word stands."""
    shard = SimShard()
    shard.quarantine.land([Outgoing(entry(offset)) for offset in range(700)])
    shard.quarantine.land([Outgoing(msgspec.msgpack.encode([1, 0, 5, bytes(16), "", ""]))])
    reader = QuarantineReader(shard.quarantine.log(), 0)
    process = shard.world.spawn("reader", reader.refresh())
    shard.run(lambda: process.ended is not None)
    assert reader.banned == dict.fromkeys(range(700), record_hash(BROKEN))


def entry(offset: int, partition: int = 0) -> bytes:
    """A record of `quarantine`, byte by byte as docs/decisions/001-bytes.md has it."""
    return msgspec.msgpack.encode([1, partition, offset, record_hash(BROKEN), "a test", "op-1"])
