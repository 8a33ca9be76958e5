"""What people might want of a shard, sensible and senseless: intents, drawn at random or by Hypothesis.

An **intent** says what somebody wants without numbers that depend on what came before ("cancel the third last order",
"let time pass to just before the next gate"): every field is one choice from a menu. `tests.reference.script` turns
intents into commands. So intents can be left out one by one, a failing flow gets smaller, and what remains is still one.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Collection, Iterator, Sequence
from typing import Any, NamedTuple

from schemas.commands import Flag, State, Tif
from schemas.units import Millis
from tests.reference.world import MEMBERS, STRANGER

Pick = Callable[[Sequence[Any]], Any]
"""Makes one choice."""


class Intent(NamedTuple):
    """What somebody wants: a kind and one choice from each of the kind's menus."""

    kind: str
    picks: dict[str, Any]


class FrameIntent(NamedTuple):
    """What goes into one record, `step_ms` of real time after the last one."""

    step_ms: Millis
    intents: Sequence[Intent]


# --- Menus: a choice that stands there more often is made more often; the first is the plainest ----------------

_ACCOUNT = [*MEMBERS] * 16 + [STRANGER]
_CLASS = [1] * 50 + [2] * 10 + [3] * 15 + [4]
_OUTBOX = ["next"] * 60 + ["repeat", "gap"]
_BACK = [1, 2, 3, 4, 5, 6, 8, 10, 13, 20, 40]
_NO_FAULT = [""]

MENUS: dict[str, dict[str, Sequence[Any]]] = {
    "place": {
        "account": _ACCOUNT,
        "class_no": _CLASS,
        "hour": [0] * 60 + [1] * 12 + [2, -1, -1, 9, -3],
        "side": ["natural", 1, 2],
        "lots": [1, 2, 2, 3, 3, 5, 9],
        "ticks": [0] * 4 + [1, -1, 1, -1, 2, -2, 3, -3, -5, 10],
        "tif": [Tif.GTC] * 8 + [Tif.IOC] * 2 + [Tif.FOK] * 2,
        "flags": [0] * 8 + [Flag.CANCEL_OLDEST] * 3 + [Flag.POST_ONLY, Flag.POST_ONLY | Flag.CANCEL_OLDEST],
        "client": ["", "", *["fresh"] * 6],
        "valid_ms": [30_000] * 10 + [0, 600_000],
        "fault": _NO_FAULT * 400 + [
            "side 0", "side 3", "tif 0", "tif 5", "gtd", "expires", "running", "negative flags", "flag 8", "flags odd",
            "fleeting post-only", "qty 0", "qty -1", "qty odd", "qty huge", "qty most", "price 0", "price -1", "price odd",
            "price low", "price high", "at the floor", "below the floor", "at the cap", "above the cap", "late", "early",
            "space in client id", "long client id", "longest client id", "umlaut in client id", "contract -1", "contract huge",
        ],
    },
    "place again": {
        "back": _BACK,
        "change": [""] * 4 + ["qty", "price", "side", "tif", "flags", "contract", "expires_ms", "account", "hour", "hour"],
    },
    "cancel": {
        "back": _BACK,
        "by": ["id", "id", "client id"],
        "account": ["own"] * 12 + [1, STRANGER],
        "valid_ms": [30_000] * 20 + [0, -1, 600_000, 600_001],
        "fault": _NO_FAULT * 20 + ["order 0", "order -1", "order huge"],
    },
    "account": {
        "outbox": _OUTBOX,
        "account": [*MEMBERS] * 3 + [STRANGER - 1],
        "role": ["own"] * 6 + [1, 2, 0, 5, -1],
        "fault": _NO_FAULT * 12 + ["owner", "owner 0", "account 0", "account -1", "fee plan"],
    },
    "credit": {
        "outbox": _OUTBOX,
        "account": _ACCOUNT,
        "amount": [1, 1_000, 100_000, 30_000_000] * 5 + [0, -1, 10**16 + 1],
    },
    "sweep": {
        "outbox": _OUTBOX,
        "account": _ACCOUNT,
        "amount": [1, 1_000, 100_000, 30_000_000, 10**16] * 4 + [0, -1, 10**16 + 1],
    },
    "backing": {
        "outbox": _OUTBOX,
        "account": [1, 3, 4, 5] * 8 + [2, 6, STRANGER],
        "class_no": _CLASS,
        "hour": [0] * 12 + [1] * 8 + [2, -1, 9],
        "hours": [1, 1, 2, 3],
        "ground": ["role"] * 25 + [1, 2, 3, 0],
        "lots": [0, 1, 4, 8, 9, 15, 15, *[30] * 4, 40],
        "price": ["cap"] * 8 + ["cap + 1"] * 4 + ["cap - 1", 0, -1, 10**10, 10**10 + 1],
        "version": ["next"] * 14 + ["same", "skip", 0, -1],
        "fault": _NO_FAULT * 60 + [
            "no hours", "hours falling", "hour twice", "1024 hours", "1025 hours", "hour 0", "hour -1", "hour huge", "qty -1",
            "qty -8", "qty odd", "qty huge", "all back", "all back", "most ever",
        ],
    },
    "backing again": {"outbox": _OUTBOX, "back": [1, 1, 2, 3, 5]},
    "cover": {"account": [3, 5], "class_no": [1, 1, 3], "hour": [0, 1], "lots": [1, 4, 8, 15, 30]},
    "class": {
        "outbox": _OUTBOX,
        "class_no": [1, 2, 3],
        "fault": _NO_FAULT * 2 + ["new", "other values", "out of range", "out of range"] * 4 + ["id of another", "at the bounds"],
        "which": range(64),
    },
    "state": {
        "class_no": _CLASS,
        "hour": [None] * 3 + [1, 2, 2, 0, 9, -(10**9), 2**40],
        "state": [State.OPEN] * 12 + [State.POST_ONLY] * 3 + [State.CANCEL_ONLY, State.HALTED, 0, 5, -1],
    },
    "all open": {"class_no": [1, 2, 3]},
    "engine version": {"version": [1, 1, 0, 3]},
    "start": {},
    "tick": {
        "to": ["minute"] * 12 + ["gate", "gate", "hour", "early gate", "client id", "long", "yesterday"],
        "by_ms": [0, -1, 1, 20_000],
    },
    "malformed": {"how": ["unknown tag", "a field short", "a word for a number", "no array"]},
    "not offered": {"which": ["range", "block", "quotes", "amend", "mass", "after", "correct", "reference"]},
    "quarantined": {},
}  # fmt: skip
KINDS = (
    ["place"] * 120 + ["cancel"] * 14 + ["backing"] * 20 + ["credit"] * 4 + ["sweep"] * 4 + ["place again"] * 5
    + ["account"] * 3 + ["backing again"] * 3 + ["cover"] * 3 + ["all open"] * 3 + ["class"] * 2 + ["state"] * 2
    + ["tick", "malformed", "not offered", "engine version", "start"]
)  # fmt: skip
ALONE = ["tick"] * 7 + ["quarantined"]
"""What a record of its own is for."""
STEPS_MS = [1_000] * 6 + [0, 0, 1, 200, 7_000, 7_000, 20_000, 59_999, 200_000, -5_000]


class Mood(NamedTuple):
    """What a flow is mostly about: rare things are met sooner where everything else keeps still."""

    kinds: Sequence[str]
    accounts: Sequence[int]
    """Who trades."""
    plain: Collection[str]
    """Fields that keep their plainest choice."""


_ONE_BOOK = {"class_no", "hour", "fault", "valid_ms", "outbox", "version"}
MOODS = [
    Mood(KINDS, _ACCOUNT, ()),
    Mood(KINDS, (1, 5), ()),
    Mood(["place"] * 20 + ["cancel", "backing", "backing", "cover"], [*MEMBERS], _ONE_BOOK),
    Mood(["place"] * 8 + ["cancel"], (3, 6), _ONE_BOOK),
]


def draw_intent(pick: Pick, mood: Mood = MOODS[0], kinds: Sequence[str] = ()) -> Intent:
    """One intent."""
    kind = pick(kinds or mood.kinds)
    menus = {name: menu[:1] if name in mood.plain else menu for name, menu in MENUS[kind].items()}
    if kind == "place":
        menus["account"] = mood.accounts
    return Intent(kind, {name: pick(menu) for name, menu in menus.items()})


def random_day(seed: str, frames: int) -> Iterator[FrameIntent]:
    """A day of chance that ends long after the last hour that somebody could have traded."""
    chance = random.Random(seed)
    mood = chance.choice(MOODS)
    for _ in range(frames):
        if (dice := chance.random()) < 0.03:
            yield FrameIntent(0, [draw_intent(chance.choice, kinds=ALONE)])
        elif dice < 0.05:
            yield FrameIntent(0, [Intent("tick", {"to": "client id", "by_ms": chance.choice([-1, 0, 1])})])
            yield FrameIntent(0, [draw_intent(chance.choice, kinds=["place again"])])
        else:
            count = chance.choice([1, 1, 2, 3, 5, 8])
            intents = [draw_intent(chance.choice, mood) for _ in range(count)]
            yield FrameIntent(chance.choice(STEPS_MS), intents)
    yield FrameIntent(0, [Intent("tick", {"to": "gate", "by_ms": 0})])
    yield FrameIntent(0, [Intent("tick", {"to": "long", "by_ms": 0})])
