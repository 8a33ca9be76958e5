"""H1, H2: who was let into which seat, and the minutes of each title; from `leases`, held against `events` and `delivery`. Pure.

Written from docs/rules.md without the delivery room.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable
from typing import NamedTuple

import msgspec

from schemas.codec import UNREADABLE
from schemas.delivery import Delivered
from schemas.events import Event, TitleEnded
from schemas.leases import LeaseEnded, LeaseRecord, LeaseServes, MachineMaintained, TitleCounted
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
    qty: Gpus
    machine: str
    lease: int
    from_ms: Millis


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
                record.provider, record.holder, served.qty, record.machine, record.lease, record.from_ms
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
        for seat, spans in self._spans.items():
            self._spans[seat] = [span for span in spans if span[0] < ends.get(span[2], span[1])]
        for key, servings in self._served.items():
            self._served[key] = [each for each in servings if each.from_ms < ends.get(each.lease, each.from_ms + 1)]

    def hear(self, events: Iterable[Event]) -> None:
        """Of any shard."""
        self._ended |= {(event.contract, event.title): event for event in events if isinstance(event, TitleEnded)}

    def finish(self, delivered: Iterable[tuple[int, bytes]]) -> None:
        """`delivered`: (offset, value) of what settlement has read of `delivery`."""
        for key, title in self._ended.items():
            served = self._served.get(key, [])
            fits = all((each.provider, each.holder) == (title.obligor, title.holder) for each in served)
            self._found.expect("H1", fits, f"title {key} is served by {served}, and is {title}")
            qty = sum(each.qty for each in served)
            self._found.expect("H1", qty <= title.qty, f"title {key} of {title.qty} GPUs has {qty} on machines")
        told = _told(delivered)
        for key, counted in self._counted.items():
            self._found.there_are("counted minutes")
            self._found.saw("H2", "counted minutes")
            ended = self._ended.get(key)
            if ended is None and self._found.stopped:
                continue  # the events were not read to their end
            minutes = counted.delivered + counted.allowance + counted.undelivered
            fits = ended is not None and minutes == ended.minutes
            self._found.expect("H2", fits, f"title {key}: {minutes} minutes are counted of {ended}")
            if key in told:
                fits = told[key] == {counted.undelivered}
                self._found.expect("H2", fits, f"title {key}: {counted}, and settlement was told {told[key]}")


def _told(delivered: Iterable[tuple[int, bytes]]) -> dict[TitleId, set[int]]:
    """Undelivered minutes as records say them that speak of one title; what operators say of an hour is not ours."""
    told: dict[TitleId, set[int]] = defaultdict(set)
    for _, value in delivered:
        try:
            record = _delivered.decode(value)
        except UNREADABLE:
            continue  # settlement refuses it, and S1 looks at that
        if record.record_id == f"delivery-{record.contract}-{record.title}":
            told[record.contract, record.title].add(record.undelivered)
    return told
