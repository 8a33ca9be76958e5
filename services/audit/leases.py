"""H1 to H3: who was let into which seat, and minutes of each title; from `leases`, held against `events` and `delivery`. Pure.

Written from docs/rules.md without the delivery room.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Sequence
from typing import NamedTuple

import msgspec

from schemas.codec import UNREADABLE
from schemas.delivery import Delivered, Refund
from schemas.events import Event, TitleEnded
from schemas.leases import LeaseEnded, LeaseRecord, LeaseServes, MachineMaintained, Served, TitleCounted
from schemas.units import MS_PER_HOUR, Gpus, Millis
from services.audit.report import Findings

_record: msgspec.msgpack.Decoder[LeaseRecord] = msgspec.msgpack.Decoder(LeaseRecord)
_delivered: msgspec.msgpack.Decoder[Delivered] = msgspec.msgpack.Decoder(Delivered)

Seat = tuple[int, str, int]
"""(provider, machine, number)."""
TitleId = tuple[int, int]
"""(contract, title)."""


class Serving(NamedTuple):
    """What a lease does for a title."""

    provider: int
    holder: int
    served: Served
    machine: str
    seats: tuple[int, ...]
    """Of the lease."""
    lease: int
    from_ms: Millis
    said_ms: Millis


class Leases:
    """Feed it `leases` whole, then the events of all shards; then `finish`."""

    def __init__(self, found: Findings) -> None:
        self._found = found
        self._epoch = 0
        self._spans: dict[Seat, list[tuple[Millis, Millis, int]]] = defaultdict(list)
        """(from, until, lease) of what is not over."""
        self._seats: dict[int, set[Seat]] = defaultdict(set)
        """Of each lease that has not ended."""
        self._served: dict[TitleId, list[Serving]] = defaultdict(list)
        self._counted: dict[TitleId, TitleCounted] = {}
        self._ended: dict[TitleId, TitleEnded] = {}

    def take(self, offset: int, value: bytes) -> None:
        """A record of `leases`. One of an earlier epoch than one before it counts for nobody."""
        try:
            record = _record.decode(value)
        except UNREADABLE as error:
            self._found.expect("H1", False, f"leases offset {offset} cannot be read: {error}")
            return
        if record.epoch < self._epoch:
            return
        self._epoch = record.epoch
        match record:
            case LeaseServes():
                self._serve(record)
            case LeaseEnded():
                for seat in self._seats.pop(record.lease, ()):
                    spans = self._spans[seat]
                    spans[:] = [
                        (first, min(last, record.time_ms) if lease == record.lease else last, lease)
                        for first, last, lease in spans
                    ]
            case MachineMaintained():
                self._maintain(record)
            case TitleCounted():
                key = (record.contract, record.title)
                self._found.expect("H2", key not in self._counted, f"title {key} is counted twice")
                self._counted[key] = record
            case _:
                pass

    def _serve(self, record: LeaseServes) -> None:
        self._found.there_are("leases")
        self._found.saw("H1", "leases")
        for number in record.seats:
            seat = (record.provider, record.machine, number)
            self._seats[record.lease].add(seat)
            spans = self._spans[seat]
            spans[:] = [span for span in spans if span[1] > record.time_ms]
            clash = [
                lease
                for first, last, lease in spans
                if lease != record.lease and max(first, record.from_ms) < min(last, record.until_ms)
            ]
            self._found.expect("H1", not clash, f"seat {number} of {record.machine}: leases {clash} and {record.lease}")
            spans.append((record.from_ms, record.until_ms, record.lease))
        for served in record.titles:
            serving = Serving(
                record.provider, record.holder, served, record.machine, record.seats, record.lease, record.from_ms,
                record.time_ms,
            )  # fmt: skip
            self._served[record.contract, served.title].append(serving)

    def _maintain(self, record: MachineMaintained) -> None:
        """A lease that runs into a window ends before it: from there on neither seat nor title is its own."""
        ends: dict[int, Millis] = {}
        for (provider, machine, _), spans in self._spans.items():
            if (provider, machine) == (record.account, record.machine):
                for first, _, lease in spans:
                    hour = first // MS_PER_HOUR
                    if first > record.time_ms and any(begin <= hour < end for begin, end in record.windows):
                        ends[lease] = min(first, ends.get(lease, first))
        lost = {
            contract for (contract, _), servings in self._served.items()
            for each in servings if each.from_ms >= ends.get(each.lease, each.from_ms + 1)
        }  # fmt: skip
        # Where machines were exchanged in such an hour, all of them are given back.
        for (contract, _), servings in self._served.items():
            for each in servings:
                if contract in lost and each.served.counts_for and each.from_ms > record.time_ms:
                    ends[each.lease] = min(each.from_ms, ends.get(each.lease, each.from_ms))
        for seat, spans in self._spans.items():
            self._spans[seat] = [span for span in spans if span[0] < ends.get(span[2], span[1])]
        for key, servings in self._served.items():
            self._served[key] = [each for each in servings if each.from_ms < ends.get(each.lease, each.from_ms + 1)]

    def hear(self, events: Iterable[Event]) -> None:
        """Of any shard."""
        self._ended |= {(event.contract, event.title): event for event in events if isinstance(event, TitleEnded)}

    def finish(self, delivered: Iterable[tuple[int, bytes]]) -> None:
        """`delivered`: (offset, value) of what settlement has read of `delivery`."""
        counting: dict[TitleId, list[Serving]] = defaultdict(list)
        for (contract, number), servings in self._served.items():
            for each in servings:
                counting[contract, each.served.counts_for or number].append(each)
        of_contract: dict[int, list[TitleEnded]] = defaultdict(list)
        for key, title in self._ended.items():
            of_contract[key[0]].append(title)
            self._check_title(key, title, self._served.get(key, []), counting.get(key, []))
        told = _told(delivered)
        for key, counted in self._counted.items():
            ended = self._ended.get(key)
            self._found.there_are("counted minutes")
            self._found.saw("H2", "counted minutes")
            self._found.saw("H3", "counted minutes")
            if ended is None and self._found.stopped:
                continue  # the events were not read to their end
            minutes = counted.delivered + counted.allowance + counted.undelivered
            fits = ended is not None and minutes == ended.minutes
            self._found.expect("H2", fits, f"title {key}: {minutes} minutes are counted of {ended}")
            if key in told:
                fits = told[key] == {_said(counted)}
                self._found.expect("H2", fits, f"title {key}: {counted}, and settlement was told {told[key]}")
            if ended is not None:
                self._check_refunds(counted, ended, counting.get(key, []), of_contract[key[0]])
        self._check_moves()

    def _check_title(
        self, key: TitleId, title: TitleEnded, served: Sequence[Serving], counting: Sequence[Serving]
    ) -> None:
        """H1: who sits on what for a title, and what counts for it."""
        fits = all(each.holder == title.holder for each in served)
        fits = fits and all(each.provider == title.obligor for each in counting)
        self._found.expect("H1", fits, f"title {key} is served by {served}, counted by {counting}, and is {title}")
        for each in served:
            other = self._ended.get((key[0], each.served.counts_for))
            alike = not each.served.counts_for or (other is not None and _costs_alike(title, other))
            self._found.expect("H1", alike, f"title {key} of {title} is served by seats of {other}")
        for what in (served, counting):
            qty = sum(each.served.qty for each in what)
            self._found.expect("H1", qty <= title.qty, f"title {key} of {title.qty} GPUs has {qty} on machines")

    def _check_refunds(
        self, counted: TitleCounted, title: TitleEnded, counting: Sequence[Serving], others: Sequence[TitleEnded]
    ) -> None:
        """H3: they are as many minutes as are not delivered, of whoever sat there, or sat nowhere though he paid as much."""
        if not counted.refunds:
            return
        had_part = {each.holder for each in counting}
        had_part |= {other.holder for other in others if _costs_alike(title, other)}
        for refund in counted.refunds:
            fits = refund.account in had_part
            self._found.expect("H3", fits, f"{title}: {refund} to somebody who had no part in it")
        minutes = sum(refund.gpu_minutes for refund in counted.refunds)
        # What does not divide among the GPUs of a title counts as undelivered, once each of delivered and allowed minutes.
        fits = (counted.undelivered - 2) * title.qty < minutes <= counted.undelivered * title.qty
        self._found.expect(
            "H3", fits, f"{title}: refunds of {minutes} GPU-minutes for {counted.undelivered} of each GPU"
        )

    def _check_moves(self) -> None:
        """H3: nobody moved to more seats than he had in the hour before, and had not new in this one, when it was last said.

        What he bought since, of the rest of either hour, may be on any seats.
        """
        of: dict[tuple[int, int], list[Serving]] = defaultdict(list)
        for (contract, _), servings in self._served.items():
            for each in servings:
                of[each.holder, contract].append(each)
        for (holder, contract), servings in of.items():
            gpus = sum(each.served.moved for each in servings)
            said_ms = max((each.said_ms for each in servings if each.served.moved), default=0)
            has, had = _seats(servings, said_ms), _seats(of.get((holder, contract - 1), ()), said_ms)
            fits = gpus <= min(len(has - had), len(had))
            self._found.expect("H3", fits, f"account {holder} moved to {gpus} GPUs in {contract}: from {had} to {has}")


def _seats(servings: Iterable[Serving], until_ms: Millis) -> set[Seat]:
    """Of what was said until then."""
    return {
        (each.provider, each.machine, number) for each in servings if each.said_ms <= until_ms for number in each.seats
    }


Said = tuple[int, Gpus, tuple[Refund, ...]]
"""Undelivered minutes, GPUs moved to, refunds."""


def _said(record: TitleCounted | Delivered) -> Said:
    return record.undelivered, record.moved, record.refunds


def _costs_alike(one: TitleEnded, other: TitleEnded) -> bool:
    """Per GPU, of as many minutes."""
    return one.cost * other.qty == other.cost * one.qty and one.minutes == other.minutes


def _told(delivered: Iterable[tuple[int, bytes]]) -> dict[TitleId, set[Said]]:
    """As records say it that speak of one title; what operators say of an hour is not ours."""
    told: dict[TitleId, set[Said]] = defaultdict(set)
    for _, value in delivered:
        try:
            record = _delivered.decode(value)
        except UNREADABLE:
            continue  # settlement refuses it, and S1 looks at that
        if record.record_id == f"delivery-{record.contract}-{record.title}":
            told[record.contract, record.title].add(_said(record))
    return told
