"""Records of `events`: one output, in parts where it is large, each with its seq, its chain and its headers."""

from __future__ import annotations

import hashlib
import itertools
import struct

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from schemas import codec
from schemas import events as ev
from schemas.codec import (
    CHAIN_START,
    RECORD_BYTES_MAX,
    BrokenRecord,
    Frame,
    Sealed,
    accounts_of,
    decode_record,
    epoch_header,
    read_headers,
    seal,
    unpack_accounts,
)
from schemas.ids import order_id

encode = msgspec.msgpack.encode
FRAME = Frame(2**32 + 5, 300, ())
FILL = ev.Filled(1, 7, 10, 1, 60, 1, 11, 12, 0, 0, 1001, 1003, 10, 0, 1, ())


def output(events: list[ev.Event], seq: int = 0, chain: bytes = CHAIN_START) -> list[Sealed]:
    return seal(3, seq, chain, 1842, 1_795_000_000_000, FRAME, events)


def cancellations(count: int) -> list[ev.Event]:
    """As a gate gives them: many events of one record of `commands`."""
    return [
        ev.OrderCancelled(order_id(3, number, 0), 1000 + number % 7, 5, 1, ev.Reason.GATE_CLOSED)
        for number in range(count)
    ]


# --- One record --------------------------------------------------------------------------------------------


def test_an_output_is_one_record_that_says_where_it_comes_from() -> None:
    (sealed,) = output([ev.Ticked(0, 5)], seq=41)

    assert decode_record(sealed.body) == codec.EventsRecord(
        format=1,
        shard=3,
        seq=42,
        offset=1842,
        part=0,
        last=True,
        time_ms=1_795_000_000_000,
        writer=2**32 + 5,
        frame_no=300,
        events=[ev.Ticked(0, 5)],
    )


def test_an_output_without_events_is_a_record_too() -> None:
    """A record in quarantine says nothing, and seq stays a function of the log."""
    (sealed,) = output([], seq=41)

    assert (decode_record(sealed.body).seq, decode_record(sealed.body).events) == (42, [])


def test_each_record_s_chain_is_the_hash_of_the_chain_before_and_its_body() -> None:
    (first,) = output([ev.Ticked(0, 5)])
    (second,) = output([ev.Ticked(0, 6)], first.seq, first.chain)

    assert first.chain == hashlib.blake2b(bytes(16) + first.body, digest_size=16).digest()
    assert second.chain == hashlib.blake2b(first.chain + second.body, digest_size=16).digest()


def test_headers_name_chain_seq_writer_accounts_and_epoch() -> None:
    (sealed,) = output([FILL], seq=41)

    envelope = read_headers([*sealed.headers, epoch_header(12)])

    assert envelope == codec.Envelope(42, sealed.chain, 2**32 + 5, 300, (1001, 1003), 12)


# --- Parts -------------------------------------------------------------------------------------------------


def test_an_output_above_512_kib_is_written_in_parts_of_at_most_that() -> None:
    """Every part is a record with its own seq; the last one says so; together they are the whole output in order."""
    events = cancellations(70_000)
    assert len(encode(events)) > 2 * RECORD_BYTES_MAX

    sealed = output(events, seq=41)

    records = [decode_record(one.body) for one in sealed]
    assert [(r.seq, r.part, r.last) for r in records] == [(42, 0, False), (43, 1, False), (44, 2, False), (45, 3, True)]
    assert [len(r.events) for r in records] == [17_500] * 4
    assert list(itertools.chain.from_iterable(r.events for r in records)) == events
    assert max(len(encode(r.events)) for r in records) <= RECORD_BYTES_MAX
    chain = CHAIN_START
    for one in sealed:
        chain = hashlib.blake2b(chain + one.body, digest_size=16).digest()
        assert one.chain == chain


def test_exactly_512_kib_is_one_record_and_one_byte_more_is_two() -> None:
    def of_bytes(size: int) -> list[ev.Event]:
        """Two events that take exactly `size` bytes."""
        one = ev.StateSet(0, 1, 1, 0, 1, "")
        rest = size - len(encode([one, one])) - 4  # text of this length says its length in 4 more bytes
        return [one, ev.StateSet(0, 1, 1, 0, 1, "x" * rest)]

    whole, more = of_bytes(RECORD_BYTES_MAX), of_bytes(RECORD_BYTES_MAX + 1)

    assert (len(encode(whole)), len(encode(more))) == (524_288, 524_289)
    assert [len(decode_record(one.body).events) for one in output(whole)] == [2]
    assert [len(decode_record(one.body).events) for one in output(more)] == [1, 1]


def test_one_event_above_512_kib_stays_one_record() -> None:
    """It cannot be cut; what a command may say bounds it."""
    long = ev.StateSet(0, 1, 1, 0, 1, "x" * (RECORD_BYTES_MAX + 1))

    assert [decode_record(one.body).events for one in output([long])] == [[long]]


@given(st.lists(st.integers(0, 40), max_size=40), st.integers(2, 60))
def test_parts_of_any_size_hold_the_same_events_as_one_record(lengths: list[int], bytes_max: int) -> None:
    """With a bound of a few bytes: halves of halves, none above the bound but single events, and always the same cut."""
    events: list[ev.Event] = [ev.StateSet(0, 1, 1, 0, 1, "x" * length) for length in lengths]
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(codec, "RECORD_BYTES_MAX", bytes_max)
        sealed, again = output(events), output(events)

    records = [decode_record(one.body) for one in sealed]
    assert sealed == again
    assert list(itertools.chain.from_iterable(r.events for r in records)) == events
    assert all(len(r.events) <= 1 or len(encode(r.events)) <= bytes_max for r in records)
    assert [r.part for r in records] == list(range(len(records)))
    assert [r.last for r in records] == [False] * (len(records) - 1) + [True]


def test_each_part_names_the_accounts_of_its_own_events(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(codec, "RECORD_BYTES_MAX", 2)

    sealed = output([ev.DeadManFired(1001), FILL, ev.Ticked(0, 5)])

    assert [unpack_accounts(dict(one.headers)["a"]) for one in sealed] == [(1001,), (1001, 1003), ()]


# --- Whom it concerns ---------------------------------------------------------------------------------------


def test_a_record_concerns_accounts_in_the_order_in_which_they_are_named_once_each() -> None:
    title = ev.TitleEnded(7, 1, 1005, 1002, 1, 1, 60, 1, 1, 1)

    assert accounts_of([ev.DeadManFired(1003), FILL, title, ev.CollateralMoved(7, 1005, 3)]) == [1003, 1001, 1005, 1002]


def test_a_correction_concerns_who_pays_and_who_is_paid() -> None:
    """Their reads wait for it; its operators move no money of their own."""
    assert accounts_of([ev.CashCorrected(0, 1001, 1002, 1003, 1004, 5, 1, "a clear error")]) == [1003, 1004]


def test_events_of_nobody_concern_nobody() -> None:
    """Also a rejection whose body named no account, or one that no account can have."""
    events = [
        ev.Ticked(0, 5),
        ev.GateClosed(7),
        ev.Rejected(0, 0, 34),
        ev.Rejected(1, -(2**63), 2),
        ev.HourEnded(7, 0, 0, 0),
    ]

    assert accounts_of(events) == []


def test_the_largest_number_that_a_body_can_invent_fits_the_header() -> None:
    (sealed,) = output([ev.Rejected(0, 2**64 - 1, 2)])

    assert unpack_accounts(dict(sealed.headers)["a"]) == (2**64 - 1,)


# --- Broken records -----------------------------------------------------------------------------------------

GOOD = (1, 3, 42, 1842, 0, True, 5, 2, 300, [ev.Ticked(0, 5)])
BROKEN = {
    "nothing": (b"", "Input data was truncated"),
    "cut off": (encode(GOOD)[:-1], "Input data was truncated"),
    "followed by something": (encode(GOOD) + b"\x00", "trailing characters"),
    "another format": (encode((2, *GOOD[1:])), "record format 2, this build reads 1"),
    "too short": (encode(GOOD[:9]), "Expected `array` of at least length 10, got 9"),
    "an event nobody knows": (encode((*GOOD[:9], [[999, 0]])), "Invalid value 999"),
    "a command for an event": (encode((*GOOD[:9], [[41]])), "Expected `array` of at least length"),
    "a number for a truth": (encode((*GOOD[:5], 1, *GOOD[6:])), "Expected `bool`, got `int`"),
    "text that is not UTF-8": (encode((*GOOD[:9], [[5, 0, 9, 1, 0, 1, msgspec.Raw(b"\xa1\xff")]])), "'utf-8' codec"),
}


@pytest.mark.parametrize(("value", "sentence"), BROKEN.values(), ids=BROKEN)
def test_what_is_no_record_is_broken_and_says_why(value: bytes, sentence: str) -> None:
    """Unlike a body of `commands`, a single bad event breaks it: these bytes are our own."""
    with pytest.raises(BrokenRecord) as broken:
        decode_record(value)

    assert sentence in str(broken.value)


HEADERS = {
    "c": bytes(16),
    "q": struct.pack(">Q", 42),
    "w": struct.pack(">QQ", 2, 300),
    "a": b"",
    "e": struct.pack(">Q", 1),
}


@pytest.mark.parametrize("name", HEADERS)
def test_a_record_without_one_of_its_headers_is_broken(name: str) -> None:
    with pytest.raises(BrokenRecord, match=f"headers of an events record: KeyError\\('{name}'\\)"):
        read_headers([(known, value) for known, value in HEADERS.items() if known != name])


@pytest.mark.parametrize("name", ["q", "w", "a", "e"])
def test_a_header_of_the_wrong_length_breaks_the_record(name: str) -> None:
    with pytest.raises(BrokenRecord, match="unpack requires a buffer of"):
        read_headers((HEADERS | {name: b"\x00" * 7}).items())


@pytest.mark.parametrize("name", ["q", "w", "a", "e"])
def test_a_header_without_a_value_breaks_the_record(name: str) -> None:
    """Kafka permits them."""
    with pytest.raises(BrokenRecord, match="headers of an events record: TypeError"):
        read_headers((HEADERS | {name: None}).items())  # type: ignore[arg-type]  # what a broker may hand over


def test_headers_that_nobody_knows_are_passed_over() -> None:
    assert read_headers([*HEADERS.items(), ("z", b"later")]) == codec.Envelope(42, bytes(16), 2, 300, (), 1)
