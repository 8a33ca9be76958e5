"""M5, M6, S1: each event, delivery record and request has its entry in the ledger, exactly one, line by line."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from typing import Final

import msgspec

from schemas.codec import UNREADABLE
from schemas.delivery import Delivered
from services.audit import database
from services.audit import expected as chart
from services.audit.database import Connection, Entry
from services.audit.expected import Line
from services.audit.log_model import ShardModel
from services.audit.market import WITH_COLLATERAL
from services.audit.report import Findings
from services.audit.titles import Title

_delivered: msgspec.msgpack.Decoder[Delivered] = msgspec.msgpack.Decoder(Delivered)

MEANINGLESS: Final = (
    "unknown_class", "unknown_title", "wrong_minutes", "wrong_text", "wrong_handover", "wrong_refunds",
)  # fmt: skip
"""Codes of refusals of delivery records that say nothing of any title."""


class Ledger:
    """The entries of one source and shard, taken one after the other; what is left at the end has no cause."""

    def __init__(self, found: Findings, part: str, name: str, posted: dict[Entry, list[Line]]) -> None:
        self._found = found
        self._part = part
        self._name = name
        self._posted = posted

    def take(self, key: Entry, due: Iterable[Line]) -> list[Line]:
        """The entry that must be there with these lines; what is there."""
        for invariant in ("M5", "S1"):
            self._found.saw(invariant, self._part)
        self._found.expect("S1", key in self._posted, f"{self._name} {key} is not settled")
        there, wanted = chart.net(self._posted.pop(key, [])), chart.net(due)
        self._found.expect("M5", there == wanted, f"{self._name} {key}: posted {there}, due {wanted}")
        return there

    def finish(self) -> None:
        """Nothing is left."""
        for key in self._posted:
            self._found.expect("S1", False, f"{self._name} {key} is settled, and there is no cause for it")


async def check_events(db: Connection, found: Findings, shard: int, due: Mapping[Entry, list[Line]]) -> None:
    """`due`: what the events of a shard call for, up to settlement's cursor."""
    ledger = Ledger(found, "events", f"shard {shard}, event", await database.entries(db, chart.EVENT, shard))
    for key, lines in due.items():
        ledger.take(key, lines)
    ledger.finish()


# --- Deliveries ----------------------------------------------------------------------------------------------


class Records:
    """`delivery` as far as settlement has read it: which record counts for which title."""

    def __init__(self, values: Sequence[tuple[int, bytes]], refused: Mapping[int, str]) -> None:
        self._of_contract: defaultdict[int, list[tuple[int, Delivered]]] = defaultdict(list)
        for offset, value in values:
            try:
                record = _delivered.decode(value)
            except UNREADABLE:
                continue  # settlement refuses it; nobody is paid by it
            if refused.get(offset) not in MEANINGLESS:
                self._of_contract[record.contract].append((offset, record))

    def first(self, contract: int, title: int) -> tuple[int, Delivered] | None:
        """The first that speaks of a title, by its number or of all."""
        return next((one for one in self._of_contract[contract] if one[1].title in (title, 0)), None)

    def offsets(self, contract: int) -> set[int]:
        """All that speak of a contract."""
        return {offset for offset, _ in self._of_contract[contract]}


async def check_deliveries(
    db: Connection, found: Findings, shard: int, model: ShardModel, records: Records
) -> set[int]:
    """Each title of an ended hour that was paid out was so by the first record that speaks of it; the titles paid out."""
    posted = await database.entries(db, chart.DELIVERY, shard)
    paid = {title: offset for offset, title in posted if title > 0}
    noted = {
        row["title"]: (row["log_offset"], row["undelivered"], row["credit"])
        for row in await db.fetch(
            "SELECT title, log_offset, undelivered, credit FROM settlement.deliveries"
            " WHERE shard = $1 AND state = 'settled' AND title <> 0",
            shard,
        )
    }
    ledger = Ledger(found, "deliveries", f"shard {shard}, delivery (offset, title)", posted)
    credits_posted = await database.entries(db, chart.HANDOVER, shard)
    credited = Ledger(found, "deliveries", f"shard {shard}, hand-over (offset, title)", credits_posted)
    for number, offset in paid.items():
        title = model.market.ended.get(number)
        if title is None:
            found.expect("C6", False, f"title {number} was paid out and never ended")
            continue
        record = _record(found, number, title, offset, records)
        undelivered = 0 if record is None else min(record.undelivered, title.minutes)
        # What speaks of a whole hour says nothing of hand-overs and of exchanged machines.
        own = record if record is not None and record.title == number else None
        refunds = [] if own is None else [(refund.account, refund.gpu_minutes) for refund in own.refunds]
        due = chart.delivered(title, shard, undelivered, refunds)
        there = ledger.take((offset, number), due)
        treasury = [[line for line in lines if line[0] == chart.TREASURY] for lines in (there, due)]
        found.saw("C6", "titles paid out")
        found.expect("M6", treasury[0] == treasury[1], f"title {number}: treasury got {treasury[0]}, {treasury[1]} due")
        credit = chart.handover_credit(title, undelivered, 0 if own is None else own.moved)
        if credit:
            found.there_are("hand-overs credited")
            found.saw("M5", "hand-overs credited")
            there = credited.take((offset, number), credit)
            found.expect("M6", there == chart.net(credit), f"title {number}: credit of {there}, {credit} is due")
        said = (offset, undelivered, sum(amount for *_, amount in credit if amount > 0))
        fits = noted.get(number) == said
        found.expect("S1", fits, f"title {number}: noted as {noted.get(number)}, {said} is in the log")
    extra = noted.keys() - paid.keys()
    found.expect("S1", not extra, f"titles {sorted(extra)} are noted as settled, and were not paid out")
    _check_freed(found, ledger, model, paid, posted)
    ledger.finish()
    credited.finish()
    return set(paid)


def _record(found: Findings, number: int, title: Title, offset: int, records: Records) -> Delivered | None:
    """What paid a title out; it is the record whose turn it was. None: nobody is left to deliver to, or there is none."""
    if title.closed:
        # Any record of the contract pays it out.
        found.expect("S1", offset in records.offsets(title.contract), f"title {number}: paid out by no record")
        return None
    first = records.first(title.contract, number)
    found.expect("S1", first is not None and first[0] == offset, f"title {number}: paid out by {offset}, not {first}")
    return first[1] if first else None


def _check_freed(
    found: Findings, ledger: Ledger, model: ShardModel, paid: Mapping[int, int], posted: Mapping[Entry, list[Line]]
) -> None:
    """C5: collateral is freed with the last title of an obligor in a contract that it stands behind, once."""
    market = model.market
    promised: defaultdict[tuple[int, int], list[int]] = defaultdict(list)
    for number, title in market.ended.items():
        key = (title.contract, title.obligor)
        if title.ground in WITH_COLLATERAL and not title.closed and key in market.moved_collateral:
            promised[key].append(number)
    for (contract, obligor), numbers in promised.items():
        freed = [(offset, title) for offset, title in posted if -title in numbers]
        complete = all(number in paid for number in numbers)
        found.expect("C5", len(freed) == complete, f"collateral of account {obligor} in {contract}: freed by {freed}")
        amount = market.moved_collateral[contract, obligor]
        for key in freed:
            ledger.take(key, chart.moved((chart.COLLATERAL, market.shard, obligor), (chart.WALLET, 0, obligor), amount))
