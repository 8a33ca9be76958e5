"""A trace as people read it: one command a line, members by name, contracts by class and hour.

record 2 at 2026-09-21 14:20:35.567
  ana offers 1 × TINY.20260921T15 at 10
record 3 at 2026-09-21 14:20:36.567
  bob bids 3 × TINY.20260921T15 at 11, IOC, as c2
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from datetime import UTC, datetime, timedelta
from difflib import SequenceMatcher
from typing import Any

from msgspec.msgpack import Decoder, encode

from schemas import commands as cmd
from schemas.codec import Malformed
from schemas.commands import Command, Flag, Ground, Role, State, Tif
from schemas.events import Code, Event, OrderCancelled, OutboxRejected, Reason, Rejected
from schemas.ids import class_no_of, format_order, format_symbol, hour_of
from schemas.units import Hour, Millis
from tests.reference.script import Record
from tests.reference.world import name_of, rules_of

_events = Decoder(list[Event])
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_HOUR_LAST = 70_000_000
"""Later ones have no name in the calendar of `datetime`."""


def tell(records: Iterable[Record]) -> str:
    """Every record with its commands."""
    lines = []
    for record in records:
        lines.append(f"record {record.offset} at {_moment(record.stamp_ms)}" + " in quarantine" * record.quarantined)
        lines += [f"  {say(command)}" for command in record.commands]
    return "\n".join(lines)


def compare(engine: Sequence[Event], rules: Sequence[Event]) -> str:
    """Two lists of events side by side: what is equal once, what is not as the engine and as the rules have it."""
    # Through their bytes: numbers and names of an enumeration are the same then.
    one, two = ([_event(event) for event in _events.decode(encode(events))] for events in (engine, rules))
    lines = []
    for kind, a, b, c, d in SequenceMatcher(None, one, two, autojunk=False).get_opcodes():
        if kind == "equal":
            lines += [f"  both    {event}" for event in one[a:b]]
        else:
            lines += [f"  engine  {event}" for event in one[a:b]] + [f"  rules   {event}" for event in two[c:d]]
    return "\n".join(lines)


def say(command: Command | Malformed) -> str:
    """One command, one line."""
    match command:
        case Malformed():
            return "a body that does not decode"
        case cmd.PlaceOrder():
            return _place(command)
        case cmd.CancelOrder():
            return f"{name_of(command.account)} cancels {_which(command)}{_until(command)}"
        case cmd.PlaceRange() | cmd.PlaceBlock():
            return _many_hours(command)
        case cmd.AmendOrder():
            return f"{name_of(command.account)} amends {_which(command)} to {command.qty} at {command.price}{_until(command)}"
        case cmd.PutQuotes():
            quotes = [_quote(command.class_no, quote) for quote in command.quotes[:4]] + ["..."] * (
                len(command.quotes) > 4
            )
            return f"{name_of(command.account)} quotes, number {command.number}: {'; '.join(quotes)}{_until(command)}"
        case cmd.MassCancel() | cmd.CancelAllAfter():
            return _much(command) + _until(command)
        case cmd.MoveReference():
            what = f"class {command.class_no}" if command.hour == 0 else _contract(command.class_no, command.hour)
            return f"the reference of {what} moves to {command.price}"
        case cmd.Tick():
            return f"tick until {_moment(command.until_ms)}"
        case cmd.SetState():
            what = f"class {command.class_no}" if command.hour == 0 else _contract(command.class_no, command.hour)
            return f"operator {command.operator} sets {what} to {_word(State, command.state)}"
        case cmd.SetAccount() | cmd.Credit() | cmd.Sweep() | cmd.SetBacking() | cmd.SetClass():
            return f"settlement {command.outbox}: {_settlement(command)}"
        case _:
            return str(command)


def _place(order: cmd.PlaceOrder) -> str:
    contract = _contract(class_no_of(order.contract), hour_of(order.contract))
    return _terms(order, f"{order.qty} × {contract}")


def _many_hours(body: cmd.PlaceRange | cmd.PlaceBlock) -> str:
    if isinstance(body, cmd.PlaceRange):
        return _terms(body, f"{body.qty} × each of [{_hours(body.class_no, body.hours)}]")
    least = f" (at least {body.qty_min})" if body.qty_min != body.qty else ""
    first = _contract(body.class_no, body.first_hour)
    return _terms(body, f"{body.qty}{least} × a block of {body.hours} hours from {first}")


def _terms(body: cmd.PlaceOrder | cmd.PlaceRange | cmd.PlaceBlock, what: str) -> str:
    """Who wants what, at which price and for how long."""
    verb = {1: "bids", 2: "offers"}.get(body.side, f"(on side {body.side})")
    words = [f"{name_of(body.account)} {verb} {what} at {body.price}"]
    if body.tif != Tif.GTC:
        words.append(_word(Tif, body.tif))
    if body.flags:
        known = [flag.name for flag in Flag if body.flags > 0 and body.flags & flag]
        words.append(" ".join(known) if sum(Flag[name] for name in known) == body.flags else f"flags {body.flags}")
    if body.client_id:
        words.append(f"as {body.client_id}")
    if body.expires_ms:
        words.append(f"expires {_moment(body.expires_ms)}")
    return ", ".join(words) + _until(body)


def _which(body: cmd.CancelOrder | cmd.AmendOrder) -> str:
    if body.order == 0:
        return body.client_id or "nothing"
    return format_order(body.order) if body.order > 0 else str(body.order)


def _until(body: Any) -> str:
    return f", valid until {_moment(body.valid_until_ms)}"


def _quote(class_no: int, quote: cmd.QuoteHour) -> str:
    return f"{quote.bid_qty} at {quote.bid} | {quote.ask_qty} at {quote.ask} × {_contract(class_no, quote.hour)}"


def _much(body: cmd.MassCancel | cmd.CancelAllAfter) -> str:
    name = name_of(body.account)
    if isinstance(body, cmd.CancelAllAfter):
        return f"{name} wants all cancelled in {body.after_ms} ms" if body.after_ms else f"{name} turns the switch off"
    return f"{name} cancels everything of class {body.class_no}, hour {body.hour}, side {body.side} (0: all)"


def _hours(class_no: int, hours: Sequence[Hour]) -> str:
    return ", ".join([_contract(class_no, hour) for hour in hours[:4]] + ["..."] * (len(hours) > 4))


def _settlement(body: cmd.OutboxCommand) -> str:
    match body:
        case cmd.SetAccount():
            role = _word(Role, body.role)
            return f"{name_of(body.account)} of owner {body.owner} is a {role}, fee plan {body.fee_plan}"
        case cmd.Credit():
            return f"{name_of(body.account)} gets {body.amount} µUSD"
        case cmd.Sweep():
            return f"{body.amount} µUSD of {name_of(body.account)}'s go home"
        case cmd.SetBacking():
            promise = f" at {body.collateral_price}" if body.collateral_price else ""
            ground = _word(Ground, body.ground)
            what = f"{body.qty} × [{_hours(body.class_no, body.hours)}]"
            return f"{name_of(body.account)} backs {what} as {ground}{promise}, version {body.version}"
        case cmd.SetClass():
            return str(body)


def _event(event: Event) -> str:
    text = str(event)
    if isinstance(event, (Rejected, OutboxRejected)):
        return f"{text}  # {_word(Code, event.code)}"
    if isinstance(event, OrderCancelled):
        return f"{text}  # {_word(Reason, event.reason)}"
    return text


def _word(of: type[Code | Ground | Reason | Role | State | Tif], number: int) -> str:
    return of(number).name if number in list(of) else str(number)


def _contract(class_no: int, hour: Hour) -> str:
    if not 1 <= class_no <= 4 or not 0 < hour < _HOUR_LAST:
        return f"(class {class_no}, hour {hour})"
    return format_symbol(rules_of(class_no).class_id, hour).removesuffix("-USD")


def _moment(ms: Millis) -> str:
    if not 0 <= ms < _HOUR_LAST * 3_600_000:
        return f"{ms} ms"
    return f"{_EPOCH + timedelta(milliseconds=ms):%Y-%m-%d %H:%M:%S.%f}"[:-3]
