"""What members ask for: an intent's choices → the body of a command."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from msgspec.structs import replace

from schemas import commands as cmd
from schemas.commands import Flag, Side, Tif
from schemas.ids import class_no_of, contract_of
from schemas.units import Gpus, Hour, Millis, Price
from tests.reference.faults import (
    AMEND_FAULTS,
    BAD_BODIES,
    BLOCK_FAULTS,
    PLACE_FAULTS,
    QUOTES_FAULTS,
    RANGE_FAULTS,
)
from tests.reference.memory import Memory, Named, Sent
from tests.reference.world import CLASSES, MEMBERS, OPENING_BACKING, OPERATOR, rules_of

_SELLERS = {account for account, *_ in OPENING_BACKING}


def _natural(account: int, side: str | int) -> int:
    """Who has something behind his asks sells, the others buy."""
    if isinstance(side, int):
        return side
    return Side.SELL if account in _SELLERS else Side.BUY


def _price(class_no: int, ticks: int) -> Price:
    """So many ticks above the list price."""
    rules = rules_of(class_no)
    return (rules.list_price // rules.tick + ticks) * rules.tick


def _client_id(memory: Memory, client: str) -> str:
    memory.drawn += 1
    return f"c{memory.drawn}" if client else ""


def _expiry(memory: Memory, tif: int, life_ms: Millis) -> Millis:
    return memory.time_ms + life_ms if tif == Tif.GTD else 0


# --- New orders -------------------------------------------------------------------------------------------------


def place(
    memory: Memory, account: int, class_no: int, hour: int, side: str | int, lots: int, ticks: int, tif: int,
    life_ms: Millis, flags: int, client: str, valid_ms: Millis, fault: str,
) -> cmd.PlaceOrder:  # fmt: skip
    """One order."""
    rules, side = rules_of(class_no), _natural(account, side)
    if flags & Flag.POST_ONLY or (flags & Flag.RUNNING and tif != Tif.GTD):
        tif = Tif.GTC
    if side == Side.BUY:
        flags &= ~Flag.RUNNING
    body = cmd.PlaceOrder(
        account, contract_of(class_no, memory.open_hour(class_no, hour)), side, lots * rules.lot, _price(class_no, ticks),
        tif, flags, _client_id(memory, client), memory.time_ms + valid_ms, _expiry(memory, tif, life_ms),
    )  # fmt: skip
    if fault:
        body = replace(body, **PLACE_FAULTS[fault](body, memory.time_ms, rules))
    _remember(memory, body)
    return body


def place_range(
    memory: Memory, account: int, class_no: int, hour: int, hours: str, side: str | int, lots: int, ticks: int, tif: int,
    life_ms: Millis, flags: int, client: str, fault: str,
) -> cmd.PlaceRange:  # fmt: skip
    """The same order in many hours, some of which may not be there."""
    rules, first = rules_of(class_no), memory.open_hour(class_no, hour)
    body = cmd.PlaceRange(
        account, class_no, tuple(first + int(later) for later in hours.split()), _natural(account, side), lots * rules.lot,
        _price(class_no, ticks), Tif.GTC if flags & Flag.POST_ONLY else tif, flags, _client_id(memory, client),
        memory.time_ms + 30_000, _expiry(memory, Tif.GTC if flags & Flag.POST_ONLY else tif, life_ms),
    )  # fmt: skip
    if fault:
        body = replace(body, **RANGE_FAULTS[fault](body, memory.time_ms, rules))
    _remember(memory, body)
    return body


def place_block(
    memory: Memory, account: int, class_no: int, hour: int, hours: int, side: str | int, lots: int, least: str, ticks: int,
    tif: int, life_ms: Millis, client: str, fault: str,
) -> cmd.PlaceBlock:  # fmt: skip
    """Some hours in a row, all or none."""
    rules = rules_of(class_no)
    lots_min = {"all": lots, "lot": 1, "half": (lots + 1) // 2}["all" if tif == Tif.FOK else least]
    body = cmd.PlaceBlock(
        account, class_no, memory.open_hour(class_no, hour), hours, _natural(account, side), lots * rules.lot,
        lots_min * rules.lot, _price(class_no, ticks), tif, 0, _client_id(memory, client), memory.time_ms + 30_000,
        _expiry(memory, tif, life_ms),
    )  # fmt: skip
    if fault:
        body = replace(body, **BLOCK_FAULTS[fault](body, memory.time_ms, rules))
    _remember(memory, body)
    return body


def _remember(memory: Memory, body: Named) -> None:
    memory.remember(body)
    class_no = class_no_of(body.contract) if isinstance(body, cmd.PlaceOrder) else body.class_no
    for leg in range(len(body.hours) if isinstance(body, cmd.PlaceRange) else 1):
        sent = Sent(memory.order_id(leg % 1024), body.account, body.client_id, class_no, body.qty, body.price)
        memory.sent.append(sent._replace(rests=body.tif not in {Tif.IOC, Tif.FOK}))


def place_again(memory: Memory, back: int, change: str) -> Named | list[int]:
    """Something once more, under its own client id, as it was or with one difference."""
    if not memory.named:
        return BAD_BODIES["unknown tag"]
    body = memory.awaited or memory.named[-min(back, len(memory.named))]
    memory.awaited = None
    body = replace(body, valid_until_ms=memory.time_ms + 30_000)
    if change:
        body = _changed(memory, body, change)
        _remember(memory, body)
    return body


def _changed(memory: Memory, body: Named, change: str) -> Named:
    if change == "kind":
        return _of_another_kind(memory, body)
    if change == "hour":
        # The same wish for the hour that is open now: another order, once the id is free.
        class_no = (class_no_of(body.contract) if isinstance(body, cmd.PlaceOrder) else body.class_no) % len(
            CLASSES
        ) + 1
        first = memory.open_hour(class_no, 0)
        if isinstance(body, cmd.PlaceOrder):
            return replace(body, contract=contract_of(class_no, first))
        if isinstance(body, cmd.PlaceRange):
            return replace(body, class_no=class_no, hours=(first,))
        return replace(body, class_no=class_no, first_hour=first)
    if change not in body.__struct_fields__:
        change = "contract" if isinstance(body, cmd.PlaceOrder) else "class_no"
    if change == "hours" and isinstance(body, cmd.PlaceRange):
        return replace(body, hours=body.hours[1:] or (7,))
    other = {"side": 3 - body.side, "tif": 5 - body.tif, "account": body.account % len(MEMBERS) + 1}
    return replace(body, **{change: other[change] if change in other else getattr(body, change) + 1})


def _of_another_kind(memory: Memory, body: Named) -> Named:
    """The same name for something else."""
    b, until_ms = body, memory.time_ms + 30_000
    if isinstance(b, cmd.PlaceOrder):
        class_no, hour = class_no_of(b.contract), memory.open_hour(1, 0)
        return cmd.PlaceRange(
            b.account, class_no, (hour, hour + 1), b.side, b.qty, b.price, Tif.GTC, 0, b.client_id, until_ms
        )
    hour = memory.open_hour(b.class_no, 0)
    if isinstance(b, cmd.PlaceRange):
        return cmd.PlaceBlock(
            b.account, b.class_no, hour, 2, b.side, b.qty, b.qty, b.price, Tif.GTC, 0, b.client_id, until_ms
        )
    return cmd.PlaceOrder(
        b.account, contract_of(b.class_no, hour), b.side, b.qty, b.price, Tif.GTC, 0, b.client_id, until_ms
    )


# --- What becomes of them ---------------------------------------------------------------------------------------


def _earlier(memory: Memory, back: int) -> Sent:
    """Something that was sent before, or nothing that ever was."""
    sent = [sent for sent in memory.sent[-100:] if sent.rests or back == 1]
    return sent[-min(back, len(sent))] if sent else Sent(0, 1, "none", 1, 1, 10)


def cancel(memory: Memory, back: int, by: str, account: str | int, valid_ms: Millis, fault: str) -> cmd.CancelOrder:
    """By the order's id or the account's own."""
    sent = _earlier(memory, back)
    number = {"order 0": 0, "order -1": -1, "order huge": 2**64 - 1}.get(fault, sent.number if by == "id" else 0)
    who = sent.account if isinstance(account, str) else account
    return cmd.CancelOrder(who, number, sent.client_id, memory.time_ms + valid_ms)


def amend(
    memory: Memory, back: int, by: str, account: str | int, lots: str | int, ticks: str | int, fault: str
) -> cmd.AmendOrder:
    """Another quantity, another price, or both."""
    sent = _earlier(memory, back)
    rules = rules_of(sent.class_no)
    qty: Gpus = {"same": sent.qty, "less": sent.qty - rules.lot, "more": sent.qty + rules.lot}.get(str(lots), 0)
    if isinstance(lots, int):
        qty = lots * rules.lot
    price = sent.price if isinstance(ticks, str) else _price(sent.class_no, ticks)
    body = cmd.AmendOrder(
        sent.account if isinstance(account, str) else account, sent.number if by == "id" else 0, sent.client_id, qty, price,
        memory.time_ms + 30_000,
    )  # fmt: skip
    if fault:
        body = replace(body, **AMEND_FAULTS[fault](body, memory.time_ms, rules))
    memory.sent.append(sent._replace(qty=body.qty, price=body.price))
    return body


def put_quotes(
    memory: Memory, account: int, class_no: int, hour: int, hours: int, bid: int, spread: int, bid_lots: int, ask_lots: int,
    number: str | int, fault: str,
) -> cmd.PutQuotes:  # fmt: skip
    """Prices on both sides of some hours in a row."""
    rules, first = rules_of(class_no), memory.open_hour(class_no, hour)
    key = (account, class_no)
    last = memory.quote_numbers.get(key, 0)
    which = {"next": last + 1, "again": last, "skip": last + 7}.get(str(number), number)
    assert isinstance(which, int)
    quotes = tuple(
        cmd.QuoteHour(
            first + later,
            _price(class_no, bid),
            bid_lots * rules.lot,
            _price(class_no, bid + spread),
            ask_lots * rules.lot,
        )
        for later in range(hours)
    )
    body = cmd.PutQuotes(account, class_no, which, quotes, memory.time_ms + 30_000)
    if fault:
        body = replace(body, **QUOTES_FAULTS[fault](body, memory.time_ms, rules))
    memory.quote_numbers[key] = max(last, which)
    for leg, quote in enumerate(body.quotes[:8]):
        memory.sent.append(Sent(memory.order_id(2 * leg), account, "", class_no, quote.bid_qty, quote.bid))
        memory.sent.append(Sent(memory.order_id(2 * leg + 1), account, "", class_no, quote.ask_qty, quote.ask))
    return body


def mass_cancel(
    memory: Memory, account: int, class_no: int, hour: int | None, side: int, valid_ms: Millis
) -> cmd.MassCancel:
    """Much at once."""
    which: Hour = 0 if hour is None else memory.open_hour(class_no or 1, hour)
    return cmd.MassCancel(account, class_no, which, side, memory.time_ms + valid_ms)


def cancel_all_after(memory: Memory, account: int, after_ms: Millis, valid_ms: Millis) -> cmd.CancelAllAfter:
    """The dead man's switch."""
    if after_ms:
        memory.moments_ms["dead man"] = memory.time_ms + after_ms
    return cmd.CancelAllAfter(account, after_ms, memory.time_ms + valid_ms)


def correct_cash(
    memory: Memory, operator: int, second: int, payer: int, payee: int, amount: int, trade: int, approval: str, valid_ms: Millis,
) -> cmd.CorrectCash:  # fmt: skip
    """Members 8 and 9 are operators as well."""
    if approval == "new":
        memory.drawn += 1
        memory.approval = f"a{memory.drawn}"
    return cmd.CorrectCash(
        operator or OPERATOR, second, payer, payee, amount, trade, f"simulated {memory.offset}",
        memory.approval if approval in {"new", "again"} else approval, memory.time_ms + valid_ms,
    )  # fmt: skip


MAKERS: dict[str, Callable[..., Any]] = {
    "place": place,
    "range": place_range,
    "block": place_block,
    "place again": place_again,
    "cancel": cancel,
    "amend": amend,
    "quotes": put_quotes,
    "mass": mass_cancel,
    "after": cancel_all_after,
    "correct": correct_cash,
}
