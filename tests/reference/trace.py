"""A trace as people read it: one command a line, members by name, contracts by class and hour.

record 2 at 2026-09-21 14:20:35.567
  ana offers 1 × TINY.20260921T15 at 10
record 3 at 2026-09-21 14:20:36.567
  bob bids 3 × TINY.20260921T15 at 11, IOC, as c2
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from datetime import UTC, datetime, timedelta
from itertools import zip_longest

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
    lines = []
    # Through their bytes: numbers and names of an enumeration are the same then.
    for one, two in zip_longest(_events.decode(encode(engine)), _events.decode(encode(rules))):
        if one == two:
            lines.append(f"  both    {_event(one)}")
        else:
            lines += [f"  engine  {_event(one)}"] * (one is not None) + [f"  rules   {_event(two)}"] * (two is not None)
    return "\n".join(lines)


def say(command: Command | Malformed) -> str:
    """One command, one line."""
    match command:
        case Malformed():
            return "a body that does not decode"
        case cmd.PlaceOrder():
            return _place(command)
        case cmd.CancelOrder():
            which = format_order(command.order) if command.order else command.client_id
            return f"{name_of(command.account)} cancels {which}, valid until {_moment(command.valid_until_ms)}"
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
    verb = {1: "bids", 2: "offers"}.get(order.side, f"(on side {order.side})")
    contract = _contract(class_no_of(order.contract), hour_of(order.contract))
    words = [f"{name_of(order.account)} {verb} {order.qty} × {contract} at {order.price}"]
    if order.tif != Tif.GTC:
        words.append(_word(Tif, order.tif))
    if order.flags:
        known = [flag.name for flag in Flag if order.flags > 0 and order.flags & flag]
        words.append(" ".join(known) if sum(Flag[name] for name in known) == order.flags else f"flags {order.flags}")
    if order.client_id:
        words.append(f"as {order.client_id}")
    if order.expires_ms:
        words.append(f"expires {_moment(order.expires_ms)}")
    return ", ".join([*words, f"valid until {_moment(order.valid_until_ms)}"])


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
            hours = [_contract(body.class_no, hour) for hour in body.hours[:4]] + ["..."] * (len(body.hours) > 4)
            promise = f" at {body.collateral_price}" if body.collateral_price else ""
            ground = _word(Ground, body.ground)
            return f"{name_of(body.account)} backs {body.qty} × [{', '.join(hours)}] as {ground}{promise}, version {body.version}"
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
