"""What operators, the shard's own shell and nobody in particular send: an intent's choices → the body of a command."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from schemas import commands as cmd
from schemas.commands import State, Tif
from schemas.units import MS_PER_HOUR, MS_PER_MINUTE, Millis, Price
from tests.reference.faults import BAD_BODIES
from tests.reference.memory import Memory, Named
from tests.reference.world import OPERATOR, T0_MS, rules_of, start_of

BEFORE_THE_HOUR_MS: dict[str, Millis] = {
    "gate": 300_000,
    "hour": 0,
    "early gate": MS_PER_HOUR,
    "cover": 1_800_000,
    "early cover": 5_400_000,
    "running close": 600_000,
    "eleven minutes": 660_000,
    "last minute": 60_000,
}
"""A moment that comes so long before an hour begins, or, as of the hour before, ends."""
CLIENT_ID_MS: Millis = 900_000


def set_state(memory: Memory, class_no: int, hour: int | None, state: int) -> cmd.SetState:
    """Of a class or one of its contracts."""
    if state == State.OPEN:
        memory.moments_ms["post-only"] = memory.time_ms + 60_000
        memory.moments_ms["open"] = memory.time_ms + 90_000
    return cmd.SetState(OPERATOR, class_no, cmd.ALL_HOURS if hour is None else memory.hour(hour), state, "simulated")


def all_open(memory: Memory, class_no: int) -> cmd.SetState:
    """What was halted goes on."""
    return set_state(memory, class_no, None, State.OPEN)


def engine_version(_: Memory, version: int) -> cmd.SetEngineVersion:
    """From the next record on."""
    return cmd.SetEngineVersion(OPERATOR, version)


def move_reference(memory: Memory, class_no: int, hour: int | None, price: str | int) -> cmd.MoveReference:
    """The middle of a collar: a part of the list price in per cent, or at the bounds."""
    rules = rules_of(class_no)
    bounds: dict[str, Price] = {"least": -(-rules.list_price // 10), "most": rules.list_price * 10, "0": 0, "-1": -1}
    to = rules.list_price * price // 100 if isinstance(price, int) else bounds[price]
    which = cmd.ALL_HOURS if hour is None else memory.hour(hour)
    return cmd.MoveReference(class_no, which, to, "simulated")


def start(memory: Memory) -> cmd.StartShard:
    """Once more."""
    return start_of(memory.setting.shard, memory.setting.version, memory.setting.rate)


def malformed(_: Memory, how: str) -> Any:
    """A body that does not decode."""
    return BAD_BODIES[how]


def tick(memory: Memory, to: str, by_ms: Millis) -> cmd.Tick:
    """Time passes to a moment of market time, exactly or nearly."""
    fleeting = [body for body in memory.named[-60:] if _leaves_at_once(body)]
    if to == "client id" and fleeting:
        memory.awaited = fleeting[-1]
        target = memory.sent_ms[fleeting[-1].client_id] + CLIENT_ID_MS
    elif to in memory.moments_ms:
        target = memory.moments_ms[to]
    elif to in BEFORE_THE_HOUR_MS:
        before = BEFORE_THE_HOUR_MS[to]
        target = ((memory.time_ms + before) // MS_PER_HOUR + 1) * MS_PER_HOUR - before
    else:
        step = {"long": 12 * MS_PER_HOUR, "yesterday": -24 * MS_PER_HOUR}.get(to, MS_PER_MINUTE)
        target = memory.time_ms + step
    return cmd.Tick(T0_MS + -(-(target + by_ms - T0_MS) // memory.setting.rate))


def _leaves_at_once(body: Named) -> bool:
    """A range's id is in use for a time, whatever rests."""
    return bool(body.client_id) and (body.tif == Tif.IOC or isinstance(body, cmd.PlaceRange))


MAKERS: dict[str, Callable[..., Any]] = {
    "state": set_state,
    "all open": all_open,
    "engine version": engine_version,
    "reference": move_reference,
    "start": start,
    "tick": tick,
    "malformed": malformed,
}
