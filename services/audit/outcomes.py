"""Which outcome may follow a command, and what both must say alike: O3, written from schemas and docs/engine.md. Pure."""

from __future__ import annotations

from typing import Final

from schemas import commands as cmd
from schemas import events as ev
from schemas.codec import Malformed
from schemas.commands import Command
from schemas.events import Code, Event
from schemas.ids import order_id

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
"""Whatever else a command may be, engine version 1 rejects it."""


def fault(event: Event, command: Command | Malformed, shard: int, offset: int, time_ms: int) -> str:
    """What is wrong with `event` as the outcome of `command`; empty: nothing."""
    if type(event) not in MAY_FOLLOW.get(type(command), (ev.Rejected,)):
        return f"{type(event).__name__} answers {type(command).__name__}"
    if isinstance(command, Malformed):
        return "" if _code(event) == Code.MALFORMED else f"a body that does not decode is answered with {event}"
    for name in _common(event, command):
        said, asked = getattr(event, name), getattr(command, name)
        if said != asked:
            return f"{type(event).__name__} says {name} {said}, the command {asked}"
    if isinstance(event, ev.Swept) and isinstance(command, cmd.Sweep) and event.amount > command.amount:
        return f"{event.amount} swept of {command.amount}"
    if isinstance(event, ev.OrderAccepted) and event.order != order_id(shard, offset, event.index):
        return f"order {event.order} does not come from this place of the log"
    if isinstance(command, cmd.PlaceOrder | cmd.CancelOrder):
        return _untimely(event, command.valid_until_ms, time_ms)
    return ""


def _common(event: Event, command: Command) -> list[str]:
    """Fields that event and command share; both mean the same by them, but for what is moved of an amount asked."""
    names = [name for name in command.__struct_fields__ if name in event.__struct_fields__]
    if isinstance(event, ev.Swept):
        names.remove("amount")
    if isinstance(command, cmd.CancelOrder) and isinstance(event, ev.CancelAccepted) and command.order == 0:
        names.remove("order")  # asked for by the client's own id
    return names


def _code(event: Event) -> int:
    return event.code if isinstance(event, ev.Rejected) else 0


def _untimely(event: Event, valid_until_ms: int, time_ms: int) -> str:
    if (time_ms > valid_until_ms) != (_code(event) == Code.TOO_LATE):
        return f"valid until {valid_until_ms}, answered at {time_ms} with {event}"
    if valid_until_ms > time_ms + VALIDITY_MS_MAX and _code(event) != Code.WRONG_VALIDITY:
        return f"valid until {valid_until_ms}, which is too far ahead of {time_ms}"
    return ""
