"""Which outcome may follow a command, and what both must say alike: O3, written from schemas and docs/engine.md. Pure."""

from __future__ import annotations

from typing import Final

from schemas import commands as cmd
from schemas import events as ev
from schemas.codec import Malformed
from schemas.commands import Command, State
from schemas.events import Code, Event
from schemas.ids import order_id
from services.audit.market import Market

VALIDITY_MS_MAX: Final = 600_000

_OUTBOX = (ev.OutboxRejected, ev.OutboxSkipped)
MAY_FOLLOW: Final[dict[type, tuple[type, ...]]] = {
    cmd.PlaceOrder: (ev.OrderAccepted, ev.OrderRepeated, ev.Rejected),
    cmd.CancelOrder: (ev.CancelAccepted, ev.Rejected),
    cmd.SetState: (ev.StateSet, ev.Rejected),
    cmd.SetEngineVersion: (ev.EngineVersionSet, ev.Rejected),
    cmd.StartShard: (ev.ShardStarted, ev.Rejected),
    cmd.Tick: (ev.Ticked,),
    cmd.SetAccount: (ev.AccountSet, *_OUTBOX),
    cmd.Credit: (ev.Credited, *_OUTBOX),
    cmd.Sweep: (ev.Swept, *_OUTBOX),
    cmd.SetBacking: (ev.BackingSet, *_OUTBOX),
    cmd.SetClass: (ev.ClassSet, *_OUTBOX),
}
OF_VERSION_2: Final[dict[type, tuple[type, ...]]] = {
    cmd.PlaceRange: (ev.RangeAccepted, ev.OrderRepeated, ev.Rejected),
    cmd.PlaceBlock: (ev.BlockAccepted, ev.OrderRepeated, ev.Rejected),
    cmd.PutQuotes: (ev.QuotesPut, ev.Rejected),
    cmd.AmendOrder: (ev.OrderAmended, ev.Rejected),
    cmd.MassCancel: (ev.MassCancelAccepted, ev.Rejected),
    cmd.CancelAllAfter: (ev.CancelAllAfterSet, ev.Rejected),
    cmd.CorrectCash: (ev.CashCorrected, ev.Rejected),
    cmd.MoveReference: (ev.ReferenceMoved, ev.Rejected),
}
"""Engine version 1 rejects these, at once."""
_BY_MEMBERS = (
    cmd.PlaceOrder,
    cmd.CancelOrder,
    cmd.PlaceRange,
    cmd.PlaceBlock,
    cmd.PutQuotes,
    cmd.AmendOrder,
    cmd.MassCancel,
    cmd.CancelAllAfter,
)


def fault(event: Event, command: Command | Malformed, market: Market, offset: int) -> str:
    """What is wrong with `event` as the outcome of `command`; empty: nothing."""
    new = type(command) in OF_VERSION_2
    may_follow = MAY_FOLLOW | (OF_VERSION_2 if market.version > 1 else {})
    if type(event) not in may_follow.get(type(command), (ev.Rejected,)):
        return f"{type(event).__name__} answers {type(command).__name__}"
    if isinstance(command, Malformed):
        return "" if _code(event) == Code.MALFORMED else f"a body that does not decode is answered with {event}"
    for name in _common(event, command):
        said, asked = getattr(event, name), getattr(command, name)
        if said != asked:
            return f"{type(event).__name__} says {name} {said}, the command {asked}"
    if isinstance(event, ev.Swept) and isinstance(command, cmd.Sweep) and event.amount > command.amount:
        return f"{event.amount} swept of {command.amount}"
    if isinstance(event, ev.OrderAccepted | ev.BlockAccepted):
        place = order_id(market.shard, offset, event.index)
        if event.order != place:
            return f"order {event.order} does not come from this place of the log, {place} would"
    if isinstance(command, _BY_MEMBERS) and (market.version > 1 or not new):
        return _untimely(event, command.valid_until_ms, market.time_ms)
    return ""


def _common(event: Event, command: Command) -> list[str]:
    """Fields that event and command share; both mean the same by them, with few exceptions."""
    names = [name for name in command.__struct_fields__ if name in event.__struct_fields__]
    if isinstance(event, ev.Swept):
        names.remove("amount")  # what is moved of an amount asked
    if isinstance(command, cmd.CancelOrder | cmd.AmendOrder) and command.order == 0 and "order" in names:
        names.remove("order")  # asked for by the client's own id
    if isinstance(command, cmd.SetState) and command.state == State.OPEN and "state" in names:
        names.remove("state")  # a halt's reopening begins in another state; `moments` knows which
    return names


def _code(event: Event) -> int:
    return event.code if isinstance(event, ev.Rejected) else 0


def _untimely(event: Event, valid_until_ms: int, time_ms: int) -> str:
    if (time_ms > valid_until_ms) != (_code(event) == Code.TOO_LATE):
        return f"valid until {valid_until_ms}, answered at {time_ms} with {event}"
    if valid_until_ms > time_ms + VALIDITY_MS_MAX and _code(event) != Code.WRONG_VALIDITY:
        return f"valid until {valid_until_ms}, which is too far ahead of {time_ms}"
    return ""
