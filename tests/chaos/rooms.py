"""Rentals, machines and minutes, judged from the logs of the rooms that decide on them. Nothing of these rooms is used.

leases     no seat of a machine has two leases at one moment; of each title of an ended hour one count, which adds up
delivery   that count was told, and told as it is; in the ledger it has paid the title, once
rentals    each that was acknowledged is there once, stopped and changed as it was told; no hour was bought for it twice
"""

from __future__ import annotations

import re
import time
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Any, Final, TypeVar

import msgspec

from schemas.codec import UNREADABLE
from schemas.commands import Side
from schemas.delivery import Delivered
from schemas.events import TitleEnded
from schemas.ids import class_no_of, hour_of
from schemas.leases import LaunchPut, LeaseEnded, LeaseRecord, LeaseServes, TitleCounted
from schemas.rentals_log import RentalChanged, RentalMade, RentalRecord, RentalStopped, Terms
from schemas.units import Millis
from services.cli.furnishing import HOST_CLASS
from tests.chaos.exchange import Exchange
from tests.chaos.receipts import Fate, Receipt, Receipts
from tests.chaos.verdict import Verdict
from tests.simulation.heard import Heard

T = TypeVar("T")
COUNTED_S_MAX: Final = 60.0
"""So long after its hour a title is counted, told and paid: the room looks several times a second."""
_PURCHASE: Final = re.compile(r"r([1-9][0-9]*)-[0-9]+", re.ASCII)
_ESCROW, _CLEARING, _DELIVERY = 6, 7, 3

TitleId = tuple[int, int]
"""(contract, title)."""


def judge_rooms(
    verdict: Verdict, exchange: Exchange, receipts: Receipts, heard: Heard, ended: Sequence[TitleEnded]
) -> None:
    """Everything. `ended`: titles of all classes, as `events` have them."""
    rentals = in_force(_read(exchange, "rentals", RentalRecord))
    judge_rentals(verdict, rentals, receipts, heard)
    query = "SELECT class_no, shard FROM settlement.classes WHERE class_id = $1"
    ((class_no, shard),) = exchange.rows(query, HOST_CLASS)
    # What a buyer has bought back of himself is nobody's to deliver.
    owed = {
        (title.contract, title.title): title
        for title in ended
        if class_no_of(title.contract) == class_no and title.obligor
    }
    _wait_until(exchange, lambda: not owed.keys() - _paid(exchange, owed))
    leases = in_force(_read(exchange, "leases", LeaseRecord))
    judge_launches(verdict, leases, receipts)
    judge_seats(verdict, leases)
    judge_titles(verdict, owed, leases, _read(exchange, "delivery", Delivered))
    _judge_payments(verdict, exchange, shard, owed)


def _read(exchange: Exchange, topic: str, kind: Any) -> list[Any]:
    """Records of a log, whole. Rubbish that a fault has written where settlement reads is left out."""

    async def read() -> list[Any]:
        decoder, found = msgspec.msgpack.Decoder(kind), list[Any]()
        async with exchange.log(topic) as log:
            position, end = await log.bounds()
            while position < end:
                for record in await log.read(position, wait_ms=5_000):
                    position = record.offset + 1
                    try:
                        found.append(decoder.decode(record.value))
                    except UNREADABLE:
                        if topic != "delivery":
                            raise
        return found

    return exchange.background.do(read(), 120)


def in_force(records: Iterable[T]) -> list[T]:
    """Without those of an earlier epoch than one before them: nobody goes by what a room writes that is over."""
    found, epoch = list[T](), 0
    for record in records:
        if record.epoch >= epoch:  # type: ignore[attr-defined]  # each record of a room has one
            epoch = record.epoch  # type: ignore[attr-defined]
            found.append(record)
    return found


def _wait_until(exchange: Exchange, holds: Callable[[], bool]) -> None:
    deadline = time.monotonic() + COUNTED_S_MAX
    while not holds() and time.monotonic() < deadline:
        exchange.poll()
        time.sleep(0.2)


# --- Machines and minutes -----------------------------------------------------------------------------------------


def judge_seats(verdict: Verdict, leases: Iterable[LeaseRecord]) -> None:
    """Whatever span a lease has of a seat, no other lease has a part of it."""
    spans: defaultdict[tuple[int, str, int], list[tuple[Millis, Millis, int]]] = defaultdict(list)
    ends: dict[int, Millis] = {}
    for record in leases:
        if isinstance(record, LeaseServes):
            verdict.looked_at["hours of leases"] += 1
            for seat in record.seats:
                spans[record.provider, record.machine, seat].append((record.from_ms, record.until_ms, record.lease))
        elif isinstance(record, LeaseEnded):
            ends[record.lease] = record.time_ms
    for seat, of_seat in spans.items():
        until_ms, before = 0, 0
        for first, last, lease in sorted(of_seat):
            if first < until_ms and lease != before:
                verdict.doubled.append(f"seat {seat}: lease {lease} from {first} on, lease {before} until {until_ms}")
            until_ms, before = max((until_ms, before), (min(last, ends.get(lease, last)), lease))


def judge_titles(
    verdict: Verdict, owed: dict[TitleId, TitleEnded], leases: Iterable[LeaseRecord], told: Iterable[Delivered]
) -> None:
    """Each is counted once, with all of its minutes, and settlement was told so much and nothing else."""
    counts: defaultdict[TitleId, list[TitleCounted]] = defaultdict(list)
    for record in leases:
        if isinstance(record, TitleCounted):
            counts[record.contract, record.title].append(record)
    words: defaultdict[TitleId, set[tuple[int, int]]] = defaultdict(set)
    for said in told:
        words[said.contract, said.title].add((said.undelivered, said.allowance))
    for key, title in owed.items():
        verdict.looked_at["titles counted"] += 1
        match counts[key]:
            case []:
                verdict.lost.append(f"title {key} has ended and is not counted: {title}")
            case [counted]:
                if counted.delivered + counted.allowance + counted.undelivered != title.minutes:
                    verdict.wrong.append(f"{counted} is not the whole of {title}")
                if words[key] != {(counted.undelivered, counted.allowance)}:
                    kind = verdict.wrong if words[key] else verdict.lost
                    kind.append(f"{counted}, and settlement was told {words[key] or 'nothing'}")
            case several:
                verdict.doubled.append(f"title {key} is counted {len(several)} times: {several}")


def _paid(exchange: Exchange, owed: dict[TitleId, TitleEnded]) -> set[TitleId]:
    query = "SELECT contract, title FROM settlement.titles WHERE contract = ANY($1::bigint[]) AND state = 'settled'"
    rows = exchange.rows(query, sorted({contract for contract, _ in owed}))
    return {(row["contract"], row["title"]) for row in rows}


def _judge_payments(verdict: Verdict, exchange: Exchange, shard: int, owed: dict[TitleId, TitleEnded]) -> None:
    """Each title was paid out by one entry, and of an hour that is over nothing waits any more."""
    verdict.lost += [f"title {key} was not paid out" for key in sorted(owed.keys() - _paid(exchange, owed))]
    query = (
        "SELECT index, count(*) FROM settlement.entries"
        f" WHERE source = {_DELIVERY} AND shard = $1 AND index = ANY($2::bigint[]) GROUP BY index HAVING count(*) > 1"
    )
    for row in exchange.rows(query, shard, [title for _, title in owed]):
        verdict.doubled.append(f"title {row['index']} was paid out {row['count']} times")
    query = (
        "SELECT ref, sum(amount)::bigint AS left FROM settlement.postings WHERE asset = 0"
        f" AND kind IN ({_ESCROW}, {_CLEARING}) AND ref = ANY($1::bigint[]) GROUP BY ref HAVING sum(amount) <> 0"
    )
    for row in exchange.rows(query, sorted({contract for contract, _ in owed})):
        verdict.wrong.append(f"contract {row['ref']} is over, and {row['left']} µUSD wait in escrow and clearing")


def judge_launches(verdict: Verdict, leases: Iterable[LeaseRecord], receipts: Receipts) -> None:
    """What was acknowledged is there; again, it is the same."""
    there = {(put.account, put.start_script) for put in leases if isinstance(put, LaunchPut)}
    for receipt in receipts.of("launch"):
        verdict.looked_at["launches told"] += 1
        if receipt.answers and (receipt.account, receipt.body["start_script"]) not in there:
            verdict.lost.append(f"launch {receipt.body} of {receipt.account} was acknowledged")
        if receipt.fate is Fate.UNKNOWN:
            verdict.wrong.append(f"launch {receipt.body} was never answered, sent {receipt.sent} times")


# --- Rentals ------------------------------------------------------------------------------------------------------


@dataclass
class _Rental:
    """As its records have it."""

    made: RentalMade
    terms: Terms
    stops: int = 0


def judge_rentals(verdict: Verdict, records: Iterable[RentalRecord], receipts: Receipts, heard: Heard) -> None:
    """What was told of them, and what was bought for them."""
    by_key: defaultdict[tuple[int, str], list[int]] = defaultdict(list)
    rentals: dict[int, _Rental] = {}
    for record in records:
        match record:
            case RentalMade():
                by_key[record.account, record.key].append(record.rental)
                rentals[record.rental] = _Rental(record, record.terms)
            case RentalChanged():
                rentals[record.rental].terms = record.terms
            case RentalStopped():
                rentals[record.rental].stops += 1
            case _:
                pass
    for receipt in receipts.of("rental"):
        verdict.looked_at["rentals told"] += 1
        _judge_rental(verdict, receipt, by_key[receipt.account, receipt.name])
    for receipt in receipts.of("stop", "change"):
        verdict.looked_at[f"{receipt.what}s told"] += 1
        if receipt.fate is Fate.UNKNOWN:
            verdict.wrong.append(
                f"{receipt.what} of rental {receipt.name} was never answered, sent {receipt.sent} times"
            )
    _judge_stops(verdict, rentals, receipts)
    _judge_changes(verdict, rentals, receipts)
    _judge_purchases(verdict, rentals, heard)


def _judge_rental(verdict: Verdict, receipt: Receipt, there: list[int]) -> None:
    what = f"rental {receipt.name} of {receipt.account}"
    if len(there) > 1:
        verdict.doubled.append(f"{what} is there as {there}")
    if receipt.fate is Fate.UNKNOWN:
        verdict.wrong.append(f"{what} was never answered, sent {receipt.sent} times")
    if receipt.fate is Fate.REFUSED and not receipt.doubts and there:
        verdict.wrong.append(f"{what} was refused ({receipt.refusal}) and is there")
    if told := {int(answer["rental"]) for answer in receipt.answers} - set(there):
        verdict.lost.append(f"{what}: told {told}, the log has {there}")


def _judge_stops(verdict: Verdict, rentals: dict[int, _Rental], receipts: Receipts) -> None:
    for receipt in receipts.of("stop"):
        rental = rentals.get(int(receipt.name))
        if receipt.answers and (rental is None or not rental.stops):
            verdict.lost.append(f"rental {receipt.name} was told to be stopped, and goes on")
    verdict.doubled += [
        f"rental {number} is stopped {rental.stops} times" for number, rental in rentals.items() if rental.stops > 1
    ]


def _judge_changes(verdict: Verdict, rentals: dict[int, _Rental], receipts: Receipts) -> None:
    """The last change that was told is in force, or one that was in doubt: a copy of it may have come late."""
    last: dict[int, int] = {}
    doubted: defaultdict[int, set[int]] = defaultdict(set)
    for receipt in receipts.of("change"):
        number, wanted = int(receipt.name), receipt.body["look_ahead"]
        if receipt.answers:
            last[number] = wanted
        if receipt.doubts:
            doubted[number].add(wanted)
    for number, wanted in last.items():
        rental = rentals.get(number)
        if rental is None or rental.terms.look_ahead not in {wanted, *doubted[number]}:
            verdict.lost.append(f"rental {number} was told to look {wanted} hours ahead, and is {rental}")


def _judge_purchases(verdict: Verdict, rentals: dict[int, _Rental], heard: Heard) -> None:
    """Nothing is bought again once a rental has sold it: so all that was ever bought of an hour is what it wants of it."""
    bought: Counter[tuple[int, int]] = Counter()
    for order in heard.accepted.values():
        if order.side != Side.BUY or (name := _PURCHASE.fullmatch(order.client_id)) is None:
            continue
        rental = rentals.get(int(name[1]))
        if rental is None or rental.made.account != order.account:
            verdict.wrong.append(f"{order} is of no rental of that account")
            continue
        # Fill or kill: what it has bought, it has bought at once.
        fills = heard.fills.get((order.order, order.place), ())
        bought[int(name[1]), hour_of(order.contract)] += sum(fill.qty for fill in fills)
    for (number, hour), qty in bought.items():
        verdict.looked_at["hours of rentals"] += qty > 0
        if qty > (wanted := rentals[number].made.terms.gpus):
            verdict.doubled.append(f"rental {number} wants {wanted} GPUs of hour {hour}, and {qty} were bought")
