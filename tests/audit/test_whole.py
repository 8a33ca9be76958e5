"""A whole audit: the day as it was is clean; what is changed in its logs, its snapshots or the engine turns red, by name."""

from __future__ import annotations

import asyncio
import contextlib
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

import msgspec
import pytest
from msgspec.structs import replace

from schemas import commands as cmd
from schemas import events as ev
from schemas import requests as rq
from schemas.codec import CHAIN_START, Frame, decode_frame, decode_record, encode_frame, epoch_header, seal
from schemas.delivery import Delivered
from schemas.leases import LeaseRecord, LeaseServes, TitleCounted
from schemas.rentals_log import OrderSent, RentalMade, RentalRecord, RentalStopped
from services.audit.report import NAMES, NOT_AUDITED
from services.matching import snapshot as engine_bytes
from services.matching.engine import Engine
from services.matching.store import FileSnapshotStore
from services.runtime.archive import Archive
from services.runtime.archive import copy as archive_copy
from services.runtime.log import Outgoing, Record
from tests.audit import test_ledger_breaks, test_log_breaks, test_second_breaks
from tests.audit.day import SHARDS, Copy, Key

Plant = Callable[[Copy, pytest.MonkeyPatch], object]
PLANTS: list[tuple[Plant, set[str]]] = []
EVENTS, COMMANDS, REQUESTS, DELIVERY = ("events", 1), ("commands", 1), ("requests", 0), ("delivery", 0)
LEASES, RENTALS = ("leases", 0), ("rentals", 0)


def breaks(*names: str) -> Callable[[Plant], Plant]:
    """The function changes one thing; these invariants turn red by it, and no others."""

    def register(plant: Plant) -> Plant:
        PLANTS.append((plant, set(names)))
        return plant

    return register


def put(copy: Copy, log: Key, offset: int, **changes: object) -> None:
    records = copy.topics.records[log]
    records[offset] = records[offset]._replace(**changes)


def middle(copy: Copy, log: Key) -> int:
    return len(copy.topics.records[log]) // 2


def insert(copy: Copy, log: Key, offset: int, record: Record) -> None:
    records = copy.topics.records[log]
    records.insert(offset, record)
    copy.topics.records[log][:] = [one._replace(offset=place) for place, one in enumerate(records)]


def last(copy: Copy, log: Key, kind: type) -> int:
    """Offset of the last record of `events` with such an event."""
    records = copy.topics.records[log]
    return max(
        place
        for place, record in enumerate(records)
        if any(isinstance(event, kind) for event in decode_record(record.value).events)
    )


def tell_again(copy: Copy, log: Key, change: Callable[[list[ev.Event]], list[ev.Event]], offset: int) -> None:
    """A forger's work: the events of one record are others, every chain after it is made anew, and settlement's cursor too."""
    seq, chain = 0, CHAIN_START
    records = copy.topics.records[log]
    for place, record in enumerate(records):
        told = decode_record(record.value)
        events = change(list(told.events)) if place == offset else told.events
        frame = Frame(told.writer, told.frame_no, ())
        (sealed,) = seal(told.shard, seq, chain, told.offset, told.time_ms, frame, events)
        seq, chain = sealed.seq, sealed.chain
        records[place] = record._replace(value=sealed.body, headers=(*sealed.headers, epoch_header(1)))
    copy.sql(
        f"UPDATE cursors SET chain = decode('{chain.hex()}', 'hex') WHERE topic = 'events' AND partition = {log[1]}"
    )


# --- events --------------------------------------------------------------------------------------------------


@breaks("D4")
def a_record_of_events_is_missing(copy: Copy, _: pytest.MonkeyPatch) -> None:
    records = copy.topics.records[EVENTS]
    del records[middle(copy, EVENTS)]
    records[:] = [one._replace(offset=place) for place, one in enumerate(records)]


@breaks("S1")
def the_end_of_events_is_lost(copy: Copy, _: pytest.MonkeyPatch) -> None:
    """Settlement has gone further than the log."""
    del copy.topics.records[EVENTS][-2:]


@breaks("D1")
def a_chain_is_broken(copy: Copy, _: pytest.MonkeyPatch) -> None:
    offset = middle(copy, EVENTS)
    headers = dict(copy.topics.records[EVENTS][offset].headers)
    put(copy, EVENTS, offset, headers=tuple({**headers, "c": bytes(16)}.items()))


@breaks("D1")
def a_feed_is_told_of_another_account(copy: Copy, _: pytest.MonkeyPatch) -> None:
    """Header `a`: whom a record concerns."""
    offset = last(copy, EVENTS, ev.Filled)
    headers = dict(copy.topics.records[EVENTS][offset].headers)
    put(copy, EVENTS, offset, headers=tuple({**headers, "a": bytes(8)}.items()))


@breaks("D1")
def bytes_of_a_record_are_changed(copy: Copy, _: pytest.MonkeyPatch) -> None:
    """Its writer: nothing in the market, and still other bytes."""
    offset = middle(copy, EVENTS)
    told = replace(decode_record(copy.topics.records[EVENTS][offset].value), writer=77)
    put(copy, EVENTS, offset, value=msgspec.msgpack.encode(told))


@breaks("D1")
def a_record_is_no_record(copy: Copy, _: pytest.MonkeyPatch) -> None:
    put(copy, EVENTS, middle(copy, EVENTS), value=b"\xc1")


@breaks("D1")
def a_stale_writer_says_something_else(copy: Copy, _: pytest.MonkeyPatch) -> None:
    """A repeat with another chain."""
    offset = middle(copy, EVENTS)
    record = copy.topics.records[EVENTS][offset]
    headers = tuple({**dict(record.headers), "c": bytes(16)}.items())
    insert(copy, EVENTS, offset + 3, record._replace(headers=headers))


@breaks("D1")
def something_is_said_that_nothing_caused(copy: Copy, _: pytest.MonkeyPatch) -> None:
    """One more record at the end, on the chain."""
    told = decode_record(copy.topics.records[EVENTS][-1].value)
    chain = dict(copy.topics.records[EVENTS][-1].headers)["c"]
    frame = Frame(told.writer, told.frame_no, ())
    (sealed,) = seal(1, told.seq, chain, told.offset, told.time_ms, frame, [])
    end = len(copy.topics.records[EVENTS])
    insert(copy, EVENTS, end, Record(end, 0, sealed.body, (*sealed.headers, epoch_header(1))))


@breaks("D1", "M5", "M6", "M7", "S1", "C6")
def a_forged_fee(copy: Copy, _: pytest.MonkeyPatch) -> None:
    """One µUSD more for the last fill, and the whole log sealed again: the ledger has it as it was."""

    def change(events: list[ev.Event]) -> list[ev.Event]:
        (place,) = [place for place, event in enumerate(events) if isinstance(event, ev.Filled)][-1:]
        fill = events[place]
        assert isinstance(fill, ev.Filled)
        moves = (replace(fill.moves[0], cost=fill.moves[0].cost + 1), *fill.moves[1:])
        events[place] = replace(fill, buyer_fee=fill.buyer_fee + 1, moves=moves)
        return events

    tell_again(copy, ("events", 0), change, last(copy, ("events", 0), ev.Filled))


@breaks("D1", "O3", "B6")
def an_order_is_lost_from_events(copy: Copy, _: pytest.MonkeyPatch) -> None:
    """Its acceptance is taken out, and the whole log sealed again: its fill then speaks of nobody."""
    log = ("events", 0)
    fill = next(event for event in reversed(copy.events(0)) if isinstance(event, ev.Filled))

    def change(events: list[ev.Event]) -> list[ev.Event]:
        return [e for e in events if not (isinstance(e, ev.OrderAccepted) and e.order == fill.maker_order)]

    offset = next(
        place
        for place, record in enumerate(copy.topics.records[log])
        if change(list(decode_record(record.value).events)) != decode_record(record.value).events
    )
    tell_again(copy, log, change, offset)


# --- commands ------------------------------------------------------------------------------------------------


@breaks("O3")
def a_record_of_commands_is_no_frame(copy: Copy, _: pytest.MonkeyPatch) -> None:
    put(copy, COMMANDS, middle(copy, COMMANDS), value=b"\xc1")


@breaks("O3")
def a_quarantine_is_lifted(copy: Copy, _: pytest.MonkeyPatch) -> None:
    copy.topics.records["quarantine", 0].clear()


@breaks("D1")
def a_quarantine_speaks_of_another_record(copy: Copy, _: pytest.MonkeyPatch) -> None:
    put(copy, COMMANDS, middle_of_quarantine(copy), value=b"\xc1\xc1")


@breaks("D1")
def commands_of_another_shard(copy: Copy, _: pytest.MonkeyPatch) -> None:
    copy.topics.records[COMMANDS][:] = copy.topics.records["commands", 0]


@breaks("D1", "O3")
def a_frame_gets_another_command(copy: Copy, _: pytest.MonkeyPatch) -> None:
    """The last operator's word: the state of a class. Nothing else follows from it."""
    records = copy.topics.records[COMMANDS]
    for offset in reversed(range(len(records))):
        if records[offset].value == b"\xc1":
            continue
        frame = decode_frame(records[offset].value)
        if isinstance(frame.commands[0], cmd.SetState):
            other = replace(frame.commands[0], reason="another")
            value = encode_frame(frame.writer, frame.frame_no, [other, *frame.commands[1:]])
            put(copy, COMMANDS, offset, value=value)
            return
    raise AssertionError("no operator spoke")


def middle_of_quarantine(copy: Copy) -> int:
    (banned,) = copy.topics.records["quarantine", 0]
    offset = msgspec.msgpack.decode(banned.value)[2]
    assert isinstance(offset, int)
    return offset


# --- requests and delivery -----------------------------------------------------------------------------------


@breaks("M5", "S1")
def a_deposit_was_asked_with_another_amount(copy: Copy, _: pytest.MonkeyPatch) -> None:
    """The entry is what nobody asked for, and the answer belongs to another request."""
    records = copy.topics.records[REQUESTS]
    offset = next(place for place, record in enumerate(records) if b"first-1" in record.value)
    asked = msgspec.msgpack.decode(records[offset].value, type=rq.Request)
    assert isinstance(asked, rq.Deposit)
    put(copy, REQUESTS, offset, value=msgspec.msgpack.encode(replace(asked, amount=asked.amount + 1)))


@breaks("S1")
def a_request_has_no_answer(copy: Copy, _: pytest.MonkeyPatch) -> None:
    copy.sql("DELETE FROM requests WHERE request_id = 'story-3-again'")


@breaks("S1")
def the_end_of_requests_is_lost(copy: Copy, _: pytest.MonkeyPatch) -> None:
    """The transfer of the evening: its entry has no cause, and settlement has read what is not there."""
    del copy.topics.records[REQUESTS][-1:]


@breaks("M5", "M6", "S1")
def a_delivery_was_worse_than_what_was_paid(copy: Copy, _: pytest.MonkeyPatch) -> None:
    """30 minutes were missing; members, treasury and the table of deliveries have 13."""
    offset, said = _delivery(copy, "story-2")
    put(copy, DELIVERY, offset, value=msgspec.msgpack.encode(replace(said, undelivered=30)))


@breaks("S1")
def an_earlier_delivery_record_was_passed_over(copy: Copy, _: pytest.MonkeyPatch) -> None:
    """What settlement refused as no record had said the same before."""
    _, said = _delivery(copy, "story-2")
    offset = next(place for place, record in enumerate(copy.topics.records[DELIVERY]) if record.value == b"\xc1")
    put(copy, DELIVERY, offset, value=msgspec.msgpack.encode(replace(said, record_id="earlier")))


def _delivery(copy: Copy, record_id: str) -> tuple[int, Delivered]:
    for offset, record in enumerate(copy.topics.records[DELIVERY]):
        if record.value != b"\xc1":
            said = msgspec.msgpack.decode(record.value, type=Delivered)
            if said.record_id == record_id:
                return offset, said
    raise AssertionError(f"nobody wrote {record_id}")


# --- snapshots and the engine --------------------------------------------------------------------------------


@breaks("D2")
def a_snapshot_holds_another_state(copy: Copy, _: pytest.MonkeyPatch) -> None:
    """One µUSD more in an account; its hashes are right for that."""
    _spoil(copy.folder, honest=True)


@breaks("D2")
def a_snapshot_is_not_what_its_hash_says(copy: Copy, _: pytest.MonkeyPatch) -> None:
    _spoil(copy.folder, honest=False)


def _spoil(folder: Path, *, honest: bool) -> None:
    store = FileSnapshotStore(folder, 0)

    async def spoil() -> None:
        (name,) = await store.names()
        stored = await store.load(name)
        engine = engine_bytes.load(stored.engine)
        engine.accounts[6].cash += 1
        digest = engine_bytes.state_hash(engine) if honest else stored.state_hash
        await store.save(replace(stored, engine=engine_bytes.dump(engine), state_hash=digest))

    asyncio.run(spoil())


@breaks("D2")
def the_bytes_of_a_state_leave_something_out(_: Copy, patch: pytest.MonkeyPatch) -> None:
    """This build forgets how far the outbox was when it goes through a snapshot."""
    load = engine_bytes.load

    def forget(snapshot: bytes) -> Engine:
        engine = load(snapshot)
        engine.outbox_last = 0
        return engine

    patch.setattr(engine_bytes, "load", forget)


def _one_more(patch: pytest.MonkeyPatch, view: str) -> None:
    """The engine of this build counts one too many for account 6."""
    original = getattr(Engine, view)
    patch.setattr(Engine, view, lambda engine: {**original(engine), 6: original(engine).get(6, 0) + 1})


@breaks("M4")
def the_engine_holds_one_too_many(_: Copy, patch: pytest.MonkeyPatch) -> None:
    _one_more(patch, "holds")


@breaks("M7")
def the_engine_has_another_balance(_: Copy, patch: pytest.MonkeyPatch) -> None:
    _one_more(patch, "balances")


@breaks("C5")
def the_engine_keeps_other_collateral(_: Copy, patch: pytest.MonkeyPatch) -> None:
    _one_more(patch, "collaterals")


@breaks("B6")
def the_engine_has_an_order_twice(_: Copy, patch: pytest.MonkeyPatch) -> None:
    original = Engine.open_orders
    patch.setattr(Engine, "open_orders", lambda engine: [*original(engine), *list(original(engine))[:1]])


@breaks("B5")
def a_level_of_the_engine_does_not_add_up(_: Copy, patch: pytest.MonkeyPatch) -> None:
    """The engine's own check finds it."""

    def check(_: Engine) -> None:
        raise AssertionError("B5: 2 orders at 1000, 3 counted")

    patch.setattr(Engine, "check", check)


@breaks("H1")
def a_machine_is_let_twice(copy: Copy, _: pytest.MonkeyPatch) -> None:
    """To a second holder, from the middle of the hour on."""
    records = copy.topics.records[LEASES]
    place, serves = lease_record(copy, LeaseServes)
    again = replace(serves, lease=serves.lease + 1_000, from_ms=serves.from_ms + 1, titles=())
    insert(copy, LEASES, place + 1, records[place]._replace(value=msgspec.msgpack.encode(again)))


@breaks("H2")
def a_minute_is_counted_too_many(copy: Copy, _: pytest.MonkeyPatch) -> None:
    place, counted = lease_record(copy, TitleCounted)
    put(copy, LEASES, place, value=msgspec.msgpack.encode(replace(counted, delivered=counted.delivered + 1)))


@breaks("H3")
def somebody_is_said_to_have_moved(copy: Copy, _: pytest.MonkeyPatch) -> None:
    """Who had nothing in the hour before."""
    place, serves = lease_record(copy, LeaseServes)
    titles = tuple(replace(served, moved=served.qty) for served in serves.titles)
    put(copy, LEASES, place, value=msgspec.msgpack.encode(replace(serves, titles=titles)))


@breaks("S1")
def delivery_says_that_nobody_had_to_move(copy: Copy, _: pytest.MonkeyPatch) -> None:
    """A credit without a hand-over."""
    place, record = delivery_record(copy, lambda record: record.moved > 0)
    put(copy, DELIVERY, place, value=msgspec.msgpack.encode(replace(record, moved=0)))


@breaks("M5")
def delivery_says_that_others_went_without(copy: Copy, _: pytest.MonkeyPatch) -> None:
    place, record = delivery_record(copy, lambda record: len(record.refunds) > 1)
    refunds = tuple(replace(refund, gpu_minutes=refund.gpu_minutes + at) for at, refund in enumerate(record.refunds))
    put(copy, DELIVERY, place, value=msgspec.msgpack.encode(replace(record, refunds=refunds)))


@breaks("R1")
def a_purchase_is_larger_than_recorded(copy: Copy, _: pytest.MonkeyPatch) -> None:
    place, sent = rental_record(copy, OrderSent)
    write(copy, RENTALS, place, replace(sent, qty=sent.qty - 1))


@breaks("R2")
def a_rental_holds_more_than_it_asks_for(copy: Copy, _: pytest.MonkeyPatch) -> None:
    place, made = rental_record(copy, RentalMade)
    write(copy, RENTALS, place, replace(made, terms=replace(made.terms, gpus=1)))


@breaks("R3")
def a_rental_spends_more_than_its_day_allows(copy: Copy, _: pytest.MonkeyPatch) -> None:
    place, made = rental_record(copy, RentalMade)
    write(copy, RENTALS, place, replace(made, terms=replace(made.terms, max_spend=1)))


@breaks("R4")
def a_rental_had_been_stopped_when_it_bought(copy: Copy, _: pytest.MonkeyPatch) -> None:
    """Two records change their places."""
    bought, sent = rental_record(copy, OrderSent)
    end, stopped = rental_record(copy, RentalStopped)
    write(copy, RENTALS, bought, stopped)
    write(copy, RENTALS, end, sent)


T = TypeVar("T")


def lease_record(copy: Copy, kind: type[T]) -> tuple[int, T]:
    """The first of its kind in `leases`, and where it is."""
    return first_record(copy, LEASES, LeaseRecord, kind)


def rental_record(copy: Copy, kind: type[T]) -> tuple[int, T]:
    """The same in `rentals`."""
    return first_record(copy, RENTALS, RentalRecord, kind)


def first_record(copy: Copy, log: Key, records: Any, kind: type[T]) -> tuple[int, T]:
    for place, record in enumerate(copy.topics.records[log]):
        found = msgspec.msgpack.decode(record.value, type=records)
        if isinstance(found, kind):
            return place, found
    raise AssertionError(f"no {kind.__name__} in {log[0]}")


def delivery_record(copy: Copy, fits: Callable[[Delivered], bool]) -> tuple[int, Delivered]:
    """The first that fits in `delivery`, which has others that nobody can read."""
    for place, record in enumerate(copy.topics.records[DELIVERY]):
        with contextlib.suppress(msgspec.DecodeError):
            found = msgspec.msgpack.decode(record.value, type=Delivered)
            if fits(found):
                return place, found
    raise AssertionError("no such delivery record")


def write(copy: Copy, log: Key, offset: int, record: msgspec.Struct) -> None:
    put(copy, log, offset, value=msgspec.msgpack.encode(record))


# --- The tests -----------------------------------------------------------------------------------------------


def test_the_day_as_it_was_is_clean(copy: Copy) -> None:
    """And there was something to look at for every name that is claimed."""
    found = copy.audit()
    assert {finding.name: finding.breaches for finding in found if finding.broken} == {}
    assert found.unseen() == {}
    assert found.stopped == []
    assert found.clean()


@pytest.mark.parametrize(
    ("plant", "broken"), [pytest.param(*pair, id=pair[0].__name__.replace("_", " ")) for pair in PLANTS]
)
def test_what_is_changed_is_named(copy: Copy, monkeypatch: pytest.MonkeyPatch, plant: Plant, broken: set[str]) -> None:
    plant(copy, monkeypatch)
    assert copy.broken().keys() == broken


def test_every_invariant_has_a_break_that_turns_it_red() -> None:
    """Across the four tables of breaks; a new name in the report wants a new break here."""
    tables = (PLANTS, test_log_breaks.PLANTS, test_second_breaks.PLANTS, test_ledger_breaks.PLANTS)
    assert set().union(*(broken for table in tables for _, broken in table)) == set(NAMES)


def test_repeated_records_of_events_are_no_breach(copy: Copy) -> None:
    """Delivery is at least once: a writer that was thought dead may say the same again."""
    before = {finding.name: finding.looked_at for finding in copy.audit()}
    for offset in (5, 20, 21):
        insert(copy, EVENTS, offset + 4, copy.topics.records[EVENTS][offset])
    found = copy.audit()
    assert found.clean()
    after = {finding.name: finding.looked_at for finding in found}
    assert {name for name in NAMES if before[name] != after[name]} == {"D1"}, (
        "a repeat is compared, and not counted again"
    )


def test_a_shard_that_cannot_be_read_on_does_not_silence_the_rest(copy: Copy) -> None:
    """The other shard and the ledger's sums are judged all the same, and it is said where the auditor stopped."""
    a_record_of_events_is_missing(copy, pytest.MonkeyPatch())
    copy.sql("UPDATE balances SET amount = amount + 1 WHERE kind = 2 AND ref = 6")
    copy.sql("UPDATE accounts SET owner = 7 WHERE account = 6")
    found = copy.audit()
    assert found.broken() == {"D4", "M2", "B7"}
    (stopped,) = found.stopped
    assert re.fullmatch(r"shard 1 after seq \d+: nothing after it was looked at", stopped)
    assert not found.clean()


def test_an_output_that_is_half_written_is_nobodys_business_yet(copy: Copy) -> None:
    """A frame that no engine has answered: matching may be slow, or dead, and both are no breach."""
    log = copy.topics.log("commands", 1)
    asyncio.run(log.append([Outgoing(encode_frame(1 << 33, 1, [cmd.Tick(copy.topics.now_ms[0])]))]))
    assert copy.audit().clean()


def test_what_was_archived_and_cut_is_read_from_its_files(copy: Copy, tmp_path: Path) -> None:
    """The beginning of both logs of a shard is in files, and on the broker no more."""
    for topic in ("commands", "events"):
        log = copy.topics.log(topic, 0)
        asyncio.run(archive_copy(log, Archive(tmp_path / "archive", topic, 0), below=60))
        copy.topics.cut(topic, 0, 60)
    assert copy.audit(archive=tmp_path / "archive").clean()
    assert copy.audit().broken() >= {"D1"}, "without the files it is another log"


def test_every_invariant_of_the_design_is_audited_or_said_not_to_be() -> None:
    """M1 to M8, C1 to C6, B1 to B9, O1 to O3, D1 to D4, S1, S2, L1 to L3, H1 to H3, R1 to R4; and tests that are named exist."""
    counts = {"M": 8, "C": 6, "B": 9, "O": 3, "D": 4, "S": 2, "L": 3, "H": 3, "R": 4}
    of_design = {f"{letter}{number}" for letter, count in counts.items() for number in range(1, count + 1)}
    assert NAMES.keys() | NOT_AUDITED.keys() == of_design
    assert not NAMES.keys() & NOT_AUDITED.keys()
    root = Path(__file__).parents[2]
    for name, one in NOT_AUDITED.items():
        assert one.why, name
        assert one.shown_by, name
        assert all((root / file).is_file() for file in one.shown_by), name


def test_both_shards_are_looked_at(copy: Copy) -> None:
    """Positions, money and books of the one are no excuse for the other."""
    for shard in range(SHARDS):
        only = Copy(copy.topics.copy(), copy.dsn, copy.folder)
        offset = len(only.topics.records["events", shard]) // 2
        headers = dict(only.topics.records["events", shard][offset].headers)
        put(only, ("events", shard), offset, headers=tuple({**headers, "c": bytes(16)}.items()))
        (breach,) = only.broken()["D1"][:1]
        assert f"{shard}" in breach
