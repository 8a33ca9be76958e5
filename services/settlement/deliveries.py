"""Delivery records pay titles of ended hours out of clearing. Pure.

The first record that speaks of a title counts: its own, or one of title 0 that came before its own. A record for an hour that
has not ended waits; the same again changes nothing; a contradicting one is refused and noted in `refusals`.
A title that its obligor bought back has nobody to deliver to: the first record of its contract pays it out too.
"""

from __future__ import annotations

from collections.abc import Sequence

import msgspec

from schemas.codec import UNREADABLE
from schemas.delivery import Delivered, Refund
from schemas.ids import class_no_of, hour_of
from schemas.units import MINUTES_PER_HOUR, MS_PER_HOUR, Gpus, Micros, Millis
from services.settlement import rows
from services.settlement.backing import WITH_COLLATERAL
from services.settlement.ledger import (
    CLEARING,
    COLLATERAL,
    DELIVERY,
    HANDOVER,
    NOVATION,
    TITLES,
    TREASURY,
    USD,
    WALLET,
    Line,
    Origin,
    simulated,
)
from services.settlement.refusals import NUMBER_MAX, is_text, refuse
from services.settlement.state import Shard, State
from services.settlement.titles import pay_out

ALL_TITLES = 0
CREDIT_MINUTES = 15
"""Of each GPU that is handed over, at what its holder paid for the hour; never more than the fees of that hour."""

Known = dict[tuple[int, int], rows.Delivery]
"""(contract, title) → record in force, of those that the store was asked for."""
_decoder: msgspec.msgpack.Decoder[Delivered] = msgspec.msgpack.Decoder(Delivered)


def decode(value: bytes) -> Delivered | None:
    """Value of a record of `delivery`; None: it does not decode."""
    try:
        return _decoder.decode(value)
    except UNREADABLE:
        return None


def keys(record: Delivered) -> list[tuple[int, int]]:
    """Which rows of `deliveries` must be known before the record is taken: its own, and that of title 0."""
    if not 0 <= record.contract <= NUMBER_MAX or not 0 <= record.title <= NUMBER_MAX:
        return []
    return [(record.contract, record.title), (record.contract, ALL_TITLES)]


def take(state: State, offset: int, time_ms: Millis, record: Delivered | None, known: Known) -> str:
    """Take one record; the code of its refusal, or empty. Adds to `known` what it put in force."""
    if record is None:
        refuse(state, DELIVERY, offset, "record", "malformed", "", time_ms)
        return "malformed"
    code = _fault(state, record)
    if not code:
        first = known.get((record.contract, record.title)) or known.get((record.contract, ALL_TITLES))
        if first is not None:
            if _says_the_same(first, record):
                return ""
            code = "delivery_known"
    if not code:
        code = _take_first(state, offset, time_ms, record, known)
    if code:
        refuse(state, DELIVERY, offset, "record", code, repr(record), time_ms)
    return code


def _fault(state: State, record: Delivered) -> str:
    if not 0 <= record.contract <= NUMBER_MAX or class_no_of(record.contract) not in state.classes:
        return "unknown_class"
    if not 0 <= record.title <= NUMBER_MAX:
        return "unknown_title"
    if not (0 <= record.undelivered <= MINUTES_PER_HOUR and 0 <= record.allowance <= MINUTES_PER_HOUR):
        return "wrong_minutes"
    if not is_text(record.source, 1, 100) or not is_text(record.record_id, 1, 100):
        return "wrong_text"
    if not 0 <= record.moved <= NUMBER_MAX or (record.title == ALL_TITLES and (record.moved or record.refunds)):
        return "wrong_handover"
    accounts = [refund.account for refund in record.refunds]
    if accounts != sorted(set(accounts)) or not all(account in state.accounts for account in accounts):
        return "wrong_refunds"
    if not all(0 < refund.gpu_minutes <= NUMBER_MAX for refund in record.refunds):
        return "wrong_refunds"
    return ""


def _says_the_same(row: rows.Delivery, record: Delivered) -> bool:
    """A record of title 0 says nothing of hand-overs, and neither does the row that a title has by it."""
    return row.undelivered == record.undelivered and (
        row.title != record.title or (row.moved, row.refunds) == (record.moved, _by_account(record.refunds))
    )


def _by_account(refunds: Sequence[Refund]) -> dict[str, int]:
    return {str(refund.account): refund.gpu_minutes for refund in refunds}


def _take_first(state: State, offset: int, time_ms: Millis, record: Delivered, known: Known) -> str:
    shard = state.shards[state.classes[class_no_of(record.contract)].shard]
    contract = state.contracts.get(record.contract)
    over = _is_over(state, shard, record.contract) if contract is None else contract.phase == "ended"
    row = rows.Delivery(
        record.contract,
        record.title,
        shard.number,
        record.undelivered,
        record.source,
        record.record_id,
        "waiting",
        offset,
        record.allowance,
        record.moved,
        _by_account(record.refunds),
    )
    if over and record.title != ALL_TITLES:
        title = shard.titles.titles.get(record.title)
        if title is None or title.contract != record.contract:
            return "unknown_title"
    known[record.contract, record.title] = row
    state.changes.deliveries.create((record.contract, record.title), row)
    state.deliveries.setdefault(record.contract, {})[record.title] = row
    if over:
        settle_waiting(state, shard, record.contract, time_ms)
    return ""


def _is_over(state: State, shard: Shard, contract: int) -> bool:
    """A contract that is not in memory has not been listed yet, or is paid out: the shard's time tells."""
    return state.cursor("events", shard.number).time_ms >= (hour_of(contract) + 1) * MS_PER_HOUR


def settle_waiting(state: State, shard: Shard, contract: int, time_ms: Millis) -> None:
    """The hour has ended: pay out every title that a record speaks of."""
    waiting = state.deliveries.pop(contract, {})
    everything = waiting.pop(ALL_TITLES, None)
    for number, row in sorted(waiting.items()):
        title = shard.titles.titles.get(number)
        if title is None or title.contract != contract:
            state.changes.deliveries.remove((contract, number))
            refuse(state, DELIVERY, row.log_offset, "waiting", "unknown_title", repr(row), time_ms)
        else:
            _settle(state, shard, title, row, time_ms)
    if everything is not None:
        for title in shard.titles.of(contract):
            _settle(state, shard, title, everything, time_ms)
        everything.state = "settled"
        state.changes.deliveries.change((contract, ALL_TITLES), everything)
    if waiting:
        for title in shard.titles.of(contract):
            if title.obligor == 0:
                _settle(state, shard, title, next(iter(waiting.values())), time_ms)
    _leave_memory(state, shard, contract)


def _settle(state: State, shard: Shard, title: rows.Title, record: rows.Delivery, time_ms: Millis) -> None:
    """Pay one title out; with the last one that his collateral waits for, free it."""
    undelivered = min(record.undelivered, title.minutes) if title.obligor else 0
    origin = Origin(DELIVERY, shard.number, record.log_offset, time_ms)
    lines: list[Line] = [(CLEARING, shard.number, title.contract, USD, -title.escrow)]
    own = record.title == title.title
    refunds = {int(account): minutes for account, minutes in record.refunds.items()} if own else {}
    paid = pay_out(title, shard.titles.claims_of(title), undelivered, refunds)
    for account, amount in paid.items():
        lines.append((WALLET, 0, account, USD, amount) if account else (TREASURY, 0, 0, USD, amount))
    if title.obligor:
        minutes = title.qty * title.minutes
        lines += [
            (TITLES, shard.number, title.holder, title.contract, -minutes),
            (NOVATION, shard.number, title.contract, title.contract, minutes),
            (NOVATION, shard.number, title.contract, title.contract, -minutes),
            (TITLES, shard.number, title.obligor, title.contract, minutes),
        ]
    state.ledger.post(origin, title.title, simulated("delivered", record.source), lines)
    moved = min(record.moved, title.qty) if own and title.obligor else 0
    credit = credit_of(title, moved, paid.get(0, 0))
    state.ledger.post(
        Origin(HANDOVER, shard.number, record.log_offset, time_ms),
        title.title,
        simulated("handover_credit", record.source),
        ((TREASURY, 0, 0, USD, -credit), (WALLET, 0, title.holder, USD, credit)),
    )
    shard.titles.settle(title)
    _note(state, title, record, undelivered, credit)
    if title.ground in WITH_COLLATERAL and (title.contract, title.obligor) in state.promised_left:
        _free_collateral(state, shard, origin, title)


def credit_of(title: rows.Title, moved: Gpus, fees: Micros) -> Micros:
    """µUSD for so many GPUs of a title whose holder had to move, of the `fees` that it has just brought.

    Never above the fees of the one hour: an hour may end with another hand-over, whose credit is out of the hour after it.
    So treasury never gives back more than all who traded in this title have paid it.
    """
    minutes = CREDIT_MINUTES * moved
    return min(title.cost * minutes // (MINUTES_PER_HOUR * title.qty), fees * moved // title.qty)


def _note(state: State, title: rows.Title, record: rows.Delivery, undelivered: int, credit: Micros) -> None:
    """The title's own row of `deliveries`."""
    key = (title.contract, title.title)
    allowance = min(record.allowance, title.minutes - undelivered)
    if record.title == title.title:
        record.undelivered, record.allowance, record.state = undelivered, allowance, "settled"
        record.credit = credit
        state.changes.deliveries.change(key, record)
    else:
        state.changes.deliveries.create(
            key,
            rows.Delivery(
                *key,
                record.shard,
                undelivered,
                record.source,
                record.record_id,
                "settled",
                record.log_offset,
                allowance,
            ),
        )


def _free_collateral(state: State, shard: Shard, origin: Origin, title: rows.Title) -> None:
    key = (title.contract, title.obligor)
    state.promised_left[key] -= 1
    if state.promised_left[key]:
        return
    del state.promised_left[key]
    row = state.collateral.pop(key)
    state.changes.collateral.remove(key)
    state.ledger.post(
        origin,
        -title.title,  # an entry's index is its title's number, and this is the title's second entry of the record
        "collateral_freed",
        (
            (COLLATERAL, shard.number, title.obligor, USD, -row.amount),
            (WALLET, 0, title.obligor, USD, row.amount),
        ),
    )


def _leave_memory(state: State, shard: Shard, contract: int) -> None:
    """A contract without titles has paid out everything."""
    if (
        contract in state.contracts
        and state.contracts[contract].phase == "ended"
        and contract not in shard.titles.of_contract
    ):
        row = state.contracts.pop(contract)
        state.procured.pop(contract, None)
        row.paid_out = True
        state.changes.contracts.change(contract, row)
        left = state.ledger.balance(CLEARING, shard.number, contract)
        assert left == 0, f"C6: contract {contract} is paid out, and {left} µUSD are left in clearing"
        kept = [row for row in state.collateral.values() if row.contract == contract]
        assert not kept, f"C5: contract {contract} is paid out, and keeps {kept}"
