"""At least once becomes exactly once: which record is next, which is a repeat, which is wrong."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from schemas import codec
from schemas import events as ev
from schemas.codec import (
    CHAIN_START,
    CHAINS_KEPT,
    BrokenRecord,
    ChainReader,
    Envelope,
    Frame,
    Gap,
    epoch_header,
    read_headers,
    seal,
)

Said = tuple[Envelope, bytes]


def log(count: int, *, stamp: int = 0, epoch: int = 1, seq: int = 0, chain: bytes = CHAIN_START) -> list[Said]:
    """What a writer says: `count` records, one after the other."""
    said = []
    for number in range(count):
        (sealed,) = seal(0, seq, chain, number, 5, Frame(2, number, ()), [ev.Ticked(0, stamp)])
        seq, chain = sealed.seq, sealed.chain
        said.append((read_headers([*sealed.headers, epoch_header(epoch)]), sealed.body))
    return said


RECORDS = log(10)


def reader_after(count: int) -> ChainReader:
    """One that has read so many of RECORDS."""
    reader = ChainReader()
    for record in RECORDS[:count]:
        assert reader.accept(*record)
    return reader


def test_records_in_order_are_applied_once_each() -> None:
    reader = ChainReader()

    assert [reader.accept(*record) for record in RECORDS] == [True] * 10

    assert (reader.seq, reader.chain) == (10, RECORDS[-1][0].chain)


def test_a_repeat_is_dropped() -> None:
    """A writer that was not told of its success writes again."""
    reader = reader_after(5)

    assert [reader.accept(*record) for record in RECORDS] == [False] * 5 + [True] * 5


def test_a_repeat_by_a_stale_writer_of_the_same_version_is_dropped() -> None:
    """Only its epoch differs, and the epoch is not part of the chain."""
    reader = reader_after(5)

    assert [reader.accept(*record) for record in log(5, epoch=9)] == [False] * 5


def test_a_record_that_is_missing_stops_the_reader_before_the_next_is_applied() -> None:
    reader = reader_after(5)

    with pytest.raises(Gap, match="seq 7 after 5"):
        reader.accept(*RECORDS[6])

    assert (reader.seq, reader.chain) == (5, RECORDS[4][0].chain)
    assert reader.accept(*RECORDS[5]), "and when it comes, reading goes on"


def test_a_next_record_of_a_foreign_chain_stops_the_reader() -> None:
    """Another shard's log, or a writer with another past."""
    reader = reader_after(5)
    foreign = log(6, stamp=1)[5]

    with pytest.raises(BrokenRecord, match="seq 6 does not continue the chain"):
        reader.accept(*foreign)

    assert (reader.seq, reader.chain) == (5, RECORDS[4][0].chain)


def test_a_body_that_was_changed_on_its_way_stops_the_reader() -> None:
    reader = reader_after(5)
    envelope, body = RECORDS[5]

    with pytest.raises(BrokenRecord, match="seq 6 does not continue the chain"):
        reader.accept(envelope, body + b"\x00")


def test_a_repeat_with_another_chain_means_two_writers_that_disagree() -> None:
    """One of them runs another version, or holds another log to be this shard's."""
    reader = reader_after(5)
    other = log(3, stamp=1)[2]

    with pytest.raises(BrokenRecord, match="seq 3 again with another chain: two writers that disagree"):
        reader.accept(*other)

    assert reader.accept(*RECORDS[5])


def test_a_reader_goes_on_where_it_stopped() -> None:
    """From its cursor it knows one chain: the last one."""
    reader = ChainReader(5, RECORDS[4][0].chain)

    assert [reader.accept(*record) for record in RECORDS[2:7]] == [False, False, False, True, True]
    with pytest.raises(BrokenRecord, match="seq 5 again with another chain"):
        reader.accept(*log(5, stamp=1)[4])


def test_a_cursor_of_another_log_is_found_out_at_the_first_record() -> None:
    reader = ChainReader(5, bytes(15) + b"\x01")

    with pytest.raises(BrokenRecord, match="seq 6 does not continue the chain"):
        reader.accept(*RECORDS[5])


def test_the_last_4096_chains_are_remembered_and_no_more() -> None:
    """Older repeats are dropped unseen: the ring is what a slow writer may still hold, and it is bounded."""
    reader = ChainReader()
    for record in log(CHAINS_KEPT + 10):
        assert reader.accept(*record)
    others = log(CHAINS_KEPT + 10, stamp=1)

    assert len(reader._recent) == CHAINS_KEPT == 4096
    assert reader.accept(*others[9]) is False, "seq 10 has left the ring"
    with pytest.raises(BrokenRecord, match="seq 11 again with another chain"):
        reader.accept(*others[10])


def test_a_ring_of_two_reads_the_same_records(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(codec, "CHAINS_KEPT", 2)
    reader = reader_after(5)

    assert sorted(reader._recent) == [4, 5]
    assert [reader.accept(*record) for record in RECORDS] == [False] * 5 + [True] * 5
    assert (reader.seq, reader.chain) == (10, RECORDS[-1][0].chain)


@given(st.lists(st.integers(0, 9), max_size=60))
def test_whatever_comes_in_whatever_order_each_record_is_applied_once_and_in_order(order: list[int]) -> None:
    """Repeats and gaps as a broker and its writers can make them, then the rest."""
    reader = ChainReader()
    applied = []
    for number in [*order, *range(10)]:
        try:
            if reader.accept(*RECORDS[number]):
                applied.append(number)
        except Gap:
            assert number > len(applied)
    assert applied == list(range(10))


def test_a_record_is_read_once_and_of_its_own_shard_alone() -> None:
    (sealed,) = seal(3, 0, CHAIN_START, 0, 5, Frame(2, 1, ()), [ev.Ticked(0, 7)])
    headers = [*sealed.headers, epoch_header(1)]
    reader = ChainReader()

    said = reader.read(headers, sealed.body, 3)

    assert said is not None
    assert (said.seq, list(said.events)) == (1, [ev.Ticked(0, 7)])
    assert reader.read(headers, sealed.body, 3) is None
    with pytest.raises(BrokenRecord, match="shard 3, seq 1 inside, 2 and 1 outside"):
        ChainReader().read(headers, sealed.body, 2)
