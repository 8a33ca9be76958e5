"""What people might want of a shard, sensible and senseless: intents, drawn at random or by Hypothesis.

An **intent** says what somebody wants without numbers that depend on what came before ("cancel the third last order",
"let time pass to just before the next gate"): every field is one choice from a menu. `tests.reference.script` turns
intents into commands. So intents can be left out one by one, a failing flow gets smaller, and what remains is still one.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
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
_HERE = [*MEMBERS] * 4 + [STRANGER]
_CLASS = [1] * 50 + [2] * 10 + [3] * 15 + [4]
_OUTBOX = ["next"] * 60 + ["repeat", "gap"]
_BACK = [1, 2, 3, 4, 5, 6, 8, 10, 13, 20, 40]
_NO_FAULT = [""]
_WHO_AND_WHEN = ["late", "early", "stranger"]
_TERMS = [
    "side 0", "side 3", "tif 5", "gtd", "expired", "expires", "flag 8", "qty 0", "qty odd", "qty huge", "price 0", "price odd",
    "at the floor", "below the floor", "at the cap", "above the cap", "space in client id",
]  # fmt: skip
_LIFE_MS = [60_000, 1, 1_000, 20_000, 300_000, 1_200_000]
_HOUR = [0] * 60 + [1] * 12 + [2, 4, -1, -1, 9, -3]
_TICKS = [0] * 4 + [1, -1, 1, -1, 2, -2, 3, -3, -5, 10]
_LOTS = [1, 2, 2, 3, 3, 5, 9]

MENUS: dict[str, dict[str, Sequence[Any]]] = {
    "place": {
        "account": _ACCOUNT,
        "class_no": _CLASS,
        "hour": _HOUR,
        "side": ["natural", "natural", 1, 2],
        "lots": _LOTS,
        "ticks": _TICKS,
        "tif": [Tif.GTC] * 8 + [Tif.IOC] * 2 + [Tif.FOK] * 2 + [Tif.GTD],
        "life_ms": _LIFE_MS,
        "flags": [0] * 8 + [Flag.CANCEL_OLDEST] * 3 + [Flag.POST_ONLY, Flag.POST_ONLY | Flag.CANCEL_OLDEST, Flag.RUNNING],
        "client": ["", "", *["fresh"] * 6],
        "valid_ms": [30_000] * 10 + [0, 600_000],
        "fault": _NO_FAULT * 400 + [
            "side 0", "side 3", "tif 0", "tif 5", "gtd", "gtd now", "gtd without a moment", "gtd for ever", "expires", "running",
            "running at once", "post-only gtd", "negative flags", "flag 8", "flags odd", "fleeting post-only", "qty 0", "qty -1",
            "qty odd", "qty huge", "qty most", "price 0", "price -1", "price odd", "price low", "price high", "at the floor",
            "below the floor", "at the cap", "above the cap", "late", "early", "space in client id", "long client id",
            "longest client id", "umlaut in client id", "contract -1", "contract huge",
        ],
    },
    "range": {
        "account": _ACCOUNT,
        "class_no": _CLASS,
        "hour": [0] * 12 + [1, -1, -1, 3],
        "hours": ["0 1"] * 4 + ["0 1 2", "0", "0 2", "0 1 2 3 4 5", "-1 0 1", "1 9"],
        "side": ["natural", "natural", 1, 2],
        "lots": _LOTS,
        "ticks": _TICKS,
        "tif": [Tif.GTC] * 6 + [Tif.IOC, Tif.IOC, Tif.FOK, Tif.FOK, Tif.GTD],
        "life_ms": _LIFE_MS,
        "flags": [0] * 8 + [Flag.CANCEL_OLDEST, Flag.POST_ONLY, Flag.RUNNING],
        "client": ["fresh"] * 4 + [""],
        "fault": _NO_FAULT * 90 + _WHO_AND_WHEN + _TERMS + [
            "no hours", "hour twice", "hours falling", "1025 hours", "hour 0", "hour -1", "hour huge", "last hour ever",
            "fleeting post-only", "running bid",
        ],
    },
    "block": {
        "account": _ACCOUNT,
        "class_no": _CLASS,
        "hour": [0] * 24 + [1] * 6 + [2, 3, -1],
        "hours": [2] * 8 + [1, 1, 3, 3, 3, 4],
        "side": ["natural", "natural", 1, 2],
        "lots": _LOTS,
        "least": ["lot", "lot", "half", "all"],
        "ticks": _TICKS,
        "tif": [Tif.GTC] * 10 + [Tif.IOC] * 3 + [Tif.FOK] * 2 + [Tif.GTD],
        "life_ms": _LIFE_MS,
        "client": ["fresh"] * 4 + [""],
        "fault": _NO_FAULT * 200 + _WHO_AND_WHEN + _TERMS + [
            "no hours", "hours -1", "168 hours", "169 hours", "hour 0", "beyond the last hour", "last hour ever", "post-only",
            "min 0", "min -1", "min odd", "min above", "part of all or nothing", "negative flags",
        ],
    },
    "place again": {
        "back": _BACK,
        "change": [""] * 4 + [
            "qty", "price", "side", "tif", "flags", "contract", "expires_ms", "account", "kind", "hours", "qty_min",
            "hour", "hour",
        ],
    },
    "cancel": {
        "back": _BACK,
        "by": ["id", "id", "client id"],
        "account": ["own"] * 12 + [1, STRANGER],
        "valid_ms": [30_000] * 20 + [0, -1, 600_000, 600_001],
        "fault": _NO_FAULT * 20 + ["order 0", "order -1", "order huge"],
    },
    "amend": {
        "back": _BACK,
        "by": ["id", "id", "client id"],
        "account": ["own"] * 30 + [1],
        "lots": ["same", "less", "less", "more", 1, 2, 3, 9],
        "ticks": ["same"] * 8 + [0, 1, -1, 2, -2, 3, -5],
        "fault": _NO_FAULT * 60 + _WHO_AND_WHEN + [
            "order -1", "nothing", "qty 0", "qty odd", "qty huge", "qty most", "price 0", "price odd", "at the floor",
            "below the floor", "at the cap", "above the cap",
        ],
    },
    "quotes": {
        "account": [3] * 12 + [5] * 6 + [1, 6],
        "class_no": [1] * 12 + [3, 3, 2, 4],
        "hour": [0] * 12 + [1, 3, -1, 9],
        "hours": [1, 2, 2, 3, 5],
        "bid": [-1, -1, -1, -2, -2, 0, 1],
        "spread": [2, 2, 1, 3, 4],
        "bid_lots": [2, 2, 1, 3, 0, 5],
        "ask_lots": [2, 2, 1, 3, 0, 5, 40],
        "number": ["next"] * 30 + ["again", "skip", 0, -1],
        "fault": _NO_FAULT * 60 + _WHO_AND_WHEN + [
            "no hours", "hour twice", "513 hours", "hour 0", "hour huge", "budget", "budget of money", "protected", "window",
            "bid -1", "bid odd", "ask huge", "ask most", "bid most", "price odd", "price 0", "no price without a size", "crossed",
            "below the floor", "above the cap",
        ],
    },
    "mass": {
        "account": _HERE,
        "class_no": [0, 0, 1, 1, 1, 3, 77],
        "hour": [None, None, None, 0, 1, 2, 9],
        "side": [0, 0, 0, 1, 2, 3],
        "valid_ms": [30_000] * 20 + [0, -1, 600_001],
    },
    "after": {
        "account": [1, 3, 6, 1, 3, 2, STRANGER],
        "after_ms": [1_000, 20_000, 60_000, 60_000, 0, 0, 999, 86_400_000, 86_400_001, -1],
        "valid_ms": [30_000] * 20 + [0, -1, 600_001],
    },
    "account": {
        "outbox": _OUTBOX,
        "account": [*MEMBERS] * 3 + [STRANGER - 1],
        "role": ["own"] * 6 + [1, 2, 0, 5, -1],
        "fault": _NO_FAULT * 12 + ["owner", "owner 0", "account 0", "account -1", "fee plan"],
    },
    "credit": {
        "outbox": _OUTBOX,
        "account": _HERE,
        "amount": [1, 1_000, 100_000, 30_000_000] * 5 + [0, -1, 10**16 + 1],
    },
    "sweep": {
        "outbox": _OUTBOX,
        "account": _HERE,
        "amount": [1, 1_000, 100_000, 30_000_000, 10**16] * 4 + [0, -1, 10**16 + 1],
    },
    "backing": {
        "outbox": _OUTBOX,
        "account": [1, 3, 4, 5] * 8 + [2, 6, STRANGER],
        "class_no": _CLASS,
        "hour": [0] * 12 + [1] * 8 + [2, -1, 9],
        "hours": [1, 1, 2, 3],
        "ground": ["role"] * 25 + [1, 1, 2, 3, 0],
        "lots": [0, 1, 4, 8, 9, 15, 15, *[30] * 4, 40],
        "price": ["cap"] * 8 + ["cap + 1"] * 4 + ["cap × 2", "cap × 2", "cap - 1", "cap / 2", 0, -1, 10**10, 10**10 + 1],
        "version": ["next"] * 14 + ["same", "skip", 0, -1],
        "fault": _NO_FAULT * 60 + [
            "no hours", "hours falling", "hour twice", "1024 hours", "1025 hours", "hour 0", "hour -1", "hour huge", "qty -1",
            "qty -8", "qty odd", "qty huge", "all back", "all back", "most ever",
        ],
    },
    "backing again": {"outbox": _OUTBOX, "back": [1, 1, 2, 3, 5]},
    "ready": {
        "outbox": _OUTBOX,
        "account": [1, 3, 4, 5],
        "class_no": [1] * 6 + [2, 3],
        "hour": [-1, -1, -1, 0, 0, 1],
        "hours": [1, 1, 2],
        "lots": [9, 9, 5, 3, 1, 0, 30],
        "price": ["cap", "cap", "cap + 1", "cap × 2", "cap - 1"],
    },
    "cover": {"account": [3, 5], "class_no": [1, 1, 3], "hour": [0, 1], "lots": [1, 4, 8, 15, 30]},
    "class": {
        "outbox": _OUTBOX,
        "class_no": [1, 2, 3],
        "fault": _NO_FAULT * 2 + ["new", "other values", "out of range", "out of range"] * 4 + ["id of another", "at the bounds"],
        "which": range(64),
    },
    "state": {
        "class_no": _CLASS,
        "hour": [None] * 3 + [1, 2, 2, 0, 3, 4, 5, 9, -(10**9), 2**40],
        "state": [State.OPEN] * 12 + [State.POST_ONLY] * 3 + [State.CANCEL_ONLY, State.HALTED, 0, 5, -1],
    },
    "all open": {"class_no": [1, 2, 3]},
    "engine version": {"version": [1, 1, 0, 3]},
    "reference": {
        "class_no": _CLASS,
        "hour": [None] * 6 + [1, 1, 2, 0, 9, -(10**9), 2**40],
        "price": [100] * 6 + [120, 80, 150, 50, 200, 201, 49, "least", "most", "0", "-1"],
    },
    "correct": {
        "operator": [8] * 10 + [9, 0],
        "second": [9] * 10 + [8],
        "payer": [2, 6, 1, 7, 3, STRANGER],
        "payee": [6, 6, 2, 7],
        "amount": [1, 1_000, 30_000_000] * 3 + [0, -1, 10**16, 10**16 + 1],
        "trade": [1, 1, 1, 2, 0, 10**9],
    },
    "start": {},
    "tick": {
        "to": ["minute"] * 12 + [
            "gate", "gate", "hour", "early gate", "cover", "early cover", "running close", "last minute", "client id", "expiry",
            "dead man", "post-only", "open", "long", "yesterday",
        ],
        "by_ms": [0, -1, 1, 20_000],
    },
    "malformed": {"how": ["unknown tag", "a field short", "a word for a number", "no array"]},
    "quarantined": {},
}  # fmt: skip
KINDS = (
    ["place"] * 120 + ["cancel"] * 14 + ["backing"] * 20 + ["credit"] * 4 + ["sweep"] * 4 + ["place again"] * 6
    + ["account"] * 3 + ["backing again"] * 3 + ["cover"] * 3 + ["all open"] * 3 + ["class"] * 2 + ["state"] * 2
    + ["range"] * 8 + ["block"] * 16 + ["amend"] * 14 + ["quotes"] * 8 + ["mass"] * 2 + ["after"] * 2 + ["ready"] * 6
    + ["reference"] * 3 + ["correct"] * 2 + ["tick", "malformed", "engine version", "start"]
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
    instead: Mapping[str, Sequence[Any]] = {}
    """Fields with another menu, in all kinds (`hour`) or in one (`place.hour`)."""
    ticks: Sequence[str] = ()
    """What time passes to, often."""
    stories: Sequence[str] = ()
    """Of `STORIES`: what takes several steps that chance alone seldom takes one after the other."""


Step = tuple[str, dict[str, Any]]
"""A kind of intent and the choices that matter in it; the others are drawn."""


def _bids(hour: int) -> list[Step]:
    return [("place", {"hour": hour, "side": 1, "tif": tif, "ticks": 2}) for tif in (Tif.IOC, Tif.FOK, Tif.IOC)]


STORIES: dict[str, list[list[Step]]] = {
    "a reopening": [
        [("state", {"state": State.HALTED})],
        [("all open", {})],
        [("tick", {"to": "post-only", "by_ms": 0})],
        [("block", {"hour": 0, "hours": 2, "side": 1, "ticks": 2})] * 2,
        [("place", {"hour": hour, "side": 2, "ticks": 0}) for hour in (0, 1, 0, 1)],
        [("tick", {"to": "open", "by_ms": 0})],
    ],
    "a reopening of one hour": [
        [("state", {"hour": 1, "state": State.HALTED})],
        [("state", {"hour": 1, "state": State.OPEN})],
        [("tick", {"to": "open", "by_ms": 0})],
    ],
    "an operator's opening": [
        [("state", {"hour": None, "state": State.POST_ONLY})],
        [("block", {"hour": 0, "hours": 1, "side": 1, "ticks": 2})] * 2,
        [("place", {"account": account, "hour": 0, "side": 2, "ticks": 0}) for account in (1, 3, 1)],
        [("all open", {})],
    ],
    "an amend while halted": [
        [("place", {"account": 6, "hour": 0, "side": 1, "tif": Tif.GTC, "ticks": -1})],
        [("state", {"hour": None, "state": State.CANCEL_ONLY})],
        [("amend", {"back": 1, "by": "id", "account": "own", "lots": lots, "fault": ""}) for lots in ("more", 1)],
        [("all open", {})],
    ],
    "an opening": [
        [("tick", {"to": "hour", "by_ms": 0})],
        [("backing", {"account": account, "hour": 4, "hours": 1, "lots": 30}) for account in (1, 3)],
        [("block", {"hour": 4, "hours": 1, "side": 1, "ticks": 2}), ("place", {"hour": 4, "side": 2, "ticks": 0})] * 2,
        [("tick", {"to": "minute", "by_ms": 0})],
    ],
    "an opening that ends": [
        [("tick", {"to": "hour", "by_ms": 0})],
        [("state", {"hour": 5, "state": State.HALTED}), ("state", {"hour": 5, "state": State.OPEN})],
    ],
    "a gate": [
        [("ready", {"account": account, "hour": 0, "lots": 9, "price": "cap"}) for account in (1, 3)],
        [("place", {"account": 1, "hour": 0, "side": 2, "flags": Flag.RUNNING, "ticks": 0, "tif": Tif.GTC})] * 3,
        [("tick", {"to": "gate", "by_ms": 0})],
        _bids(-1),
        [("ready", {"account": 1, "hour": -1, "lots": 1})],
    ],
    "the last minutes": [
        [("tick", {"to": "eleven minutes", "by_ms": 0})],
        [("ready", {"account": account, "hour": -1, "lots": 9, "price": "cap"}) for account in (1, 3)],
        [("place", {"account": account, "hour": -1, "side": 2, "ticks": 0, "tif": Tif.GTC}) for account in (1, 3)],
        _bids(-1),
        [("tick", {"to": "running close", "by_ms": -1})],
        _bids(-1),
    ],
}  # fmt: skip
_ONE_BOOK = {"class_no", "hour", "fault", "valid_ms", "outbox", "version"}
_FAULTY = {
    f"{kind}.fault": _NO_FAULT * 20 + list(dict.fromkeys(MENUS[kind]["fault"]))
    for kind in ("range", "block", "amend", "quotes")
}
"""More often wrong than right."""
_SOUND = {"class_no", "fault", "valid_ms", "outbox", "version"}
MOODS = [
    Mood(KINDS, _ACCOUNT, ()),
    Mood(KINDS, (1, 5), ()),
    Mood(["place"] * 20 + ["cancel", "amend", "backing", "backing", "cover"], [*MEMBERS], _ONE_BOOK),
    Mood(["place"] * 8 + ["cancel", "amend"], (3, 6), _ONE_BOOK),
    # From here on nearly all of it is of version 2. Blocks of few ranges, and hours with orders in them.
    Mood(
        ["place"] * 24 + ["block"] * 12 + ["range", "range", "cancel", "amend", "quotes", "backing"], (1, 3, 4, 6, 2), _SOUND,
        {"hour": [0, 0, 0, 1, 1, 2], "hours": [2, 2, 2, 3, 1], "ticks": [0, 0, 0, 1, -1, 2, -2],
         "side": ["natural"] * 4 + [1, 2]},
    ),
    Mood(
        ["block"] * 9 + ["place", "cancel", "mass", "backing"], (1, 3, 6, 2), _SOUND,
        {"hour": [0], "hours": [2], "ticks": [0, 0, 1, -1], "side": [1, 2]},
    ),
    Mood(
        ["block"] * 6 + ["place"] * 9 + ["cancel", "quotes", "backing"], (1, 3, 6, 2), _SOUND,
        {
            "place.hour": [0, 1], "block.hour": [0], "hour": [0], "hours": [2], "ticks": [0, 0, 1, -1, 2],
            "side": ["natural"] * 4 + [1, 2], "place.lots": [2, 3, 5], "tif": [1] * 8 + [3, 3, 4], "life_ms": [300_000],
        },
    ),
    # Two makers' quotes, and who trades with them.
    Mood(
        ["quotes"] * 8 + ["place"] * 6 + ["block", "amend", "cancel", "mass", "reference"], (1, 2, 6), _SOUND,
        {"hour": [0] * 6 + [1, 1, -1], "hours": [1, 2, 2, 3], "account": [3, 3, 5]}, ("gate",),
    ),
    # An hour that runs.
    Mood(
        ["place"] * 20 + ["ready"] * 4 + ["range", "cancel", "amend", "credit", "reference"], (1, 3, 4, 5, 6, 2),
        {"fault", "valid_ms", "outbox", "version"},
        {
            "hour": [-1, -1, -1, 0], "hours": [1, 1, 2], "tif": [1, 3, 3, 4], "flags": [0, 4, 2, 2, 2],
            "class_no": [1] * 6 + [2] * 3 + [3], "ready.lots": [9, 5, 1, 0, 0],
        },
        ("gate", "early gate", "eleven minutes", "running close", "last minute", "hour"), ("a gate", "the last minutes"),
    ),
    # Promises, and the end of them.
    Mood(
        ["place"] * 20 + ["backing"] * 4 + ["cover", "block", "reference", "credit"], (3, 5, 6, 2, 1, 4),
        {"fault", "valid_ms", "outbox", "version"},
        {"hour": [0, 0, 0, 1], "hours": [1, 2], "class_no": [1, 1, 1, 3], "ticks": [0, 0, 1, -1, 4, 8]},
        ("cover", "early cover", "gate"),
    ),
    # Stops and starts.
    Mood(
        ["place"] * 12 + ["block"] * 8 + ["backing", "backing", "state", "all open", "amend", "quotes"], (1, 3, 6, 2), _SOUND,
        {
            "hour": [0, 0, 0, 1, 4], "hours": [2, 2, 1], "state": [1, 2, 4, 4], "ticks": [0, 0, 1, -1, 2],
            "side": ["natural"] * 4 + [1, 2],
        },
        ("post-only", "open", "hour"),
        ("a reopening", "a reopening of one hour", "an operator's opening", "an opening", "an opening that ends"),
    ),
    # What becomes of orders that rest.
    Mood(
        ["range"] * 5 + ["place"] * 8 + ["amend"] * 8 + ["cancel"] * 4
        + ["place again", "mass", "after", "quotes", "block", "state"],
        (1, 3, 6, 2, 7, 7), {"class_no", "valid_ms", "outbox", "version"},
        {
            "hour": [0, 0, 1], "hours": [1, 2], "amend.fault": _FAULTY["amend.fault"], "state": [1, 1, 1, 2, 3],
            "tif": [1] * 8 + [2], "side": ["natural"] * 6 + [1, 2], "back": [1, 1, 2, 2, 3, 4, 5],
        },
        ("expiry",), ("an amend while halted",),
    ),
    # Nearly right.
    Mood(
        ["range", "block", "amend", "quotes", "mass", "after", "correct", "reference", "ready", "place again"] * 3
        + ["place"] * 8 + ["state", "credit", "sweep", "cancel", "account"],
        (1, 3, 6, STRANGER), (), {"hour": [0, 0, 1], "class_no": [1] * 12 + [4], **_FAULTY}, ("dead man", "expiry"),
    ),
]  # fmt: skip


MOODS_OF_VERSION_1 = MOODS[:4]


def draw_intent(pick: Pick, mood: Mood = MOODS[0], kinds: Sequence[str] = ()) -> Intent:
    """One intent."""
    kind = pick(kinds or mood.kinds)
    menus = {name: menu[:1] if name in mood.plain else menu for name, menu in MENUS[kind].items()}
    if kind in {"place", "range", "block"}:
        menus["account"] = mood.accounts
    menus.update({name: mood.instead[name] for name in menus if name in mood.instead and _fits(kind, name)})
    menus.update({name: mood.instead[f"{kind}.{name}"] for name in menus if f"{kind}.{name}" in mood.instead})
    return Intent(kind, {name: pick(menu) for name, menu in menus.items()})


def _drawn(pick: Pick, mood: Mood, step: Step) -> Intent:
    kind, picks = step
    return Intent(kind, {**draw_intent(pick, mood, [kind]).picks, **picks})


def _fits(kind: str, name: str) -> bool:
    """Fields of one name with other meanings."""
    match name:
        case "account":
            return kind == "quotes"
        case "hours":
            return kind != "range"
        case "hour":
            return kind not in {"state", "reference", "mass"}
        case "class_no":
            return kind not in {"class", "all open", "mass"}
        case "ticks" | "lots":
            return kind != "amend"
        case _:
            return True


def random_day(seed: str, frames: int, mood: Mood, *, switch: bool = False) -> Iterator[FrameIntent]:
    """A day of chance that ends long after the last hour that somebody could have traded.

    `switch`: at some moment the engine's version becomes 2.
    """
    chance = random.Random(seed)
    switch_at = chance.randrange(frames) if switch else -1
    for number in range(frames):
        if number == switch_at:
            yield FrameIntent(0, [Intent("engine version", {"version": 2}), draw_intent(chance.choice, mood)])
        if (dice := chance.random()) < 0.03:
            yield FrameIntent(0, [draw_intent(chance.choice, kinds=ALONE)])
        elif dice < 0.05:
            yield FrameIntent(0, [_tick("client id", chance.choice([-1, 0, 1]))])
            yield FrameIntent(0, [draw_intent(chance.choice, kinds=["place again"])])
        elif dice < 0.17 and mood.ticks:
            yield FrameIntent(0, [_tick(chance.choice(mood.ticks), chance.choice([0, 0, -1, 1]))])
            yield FrameIntent(0, _restock(chance.choice, mood))
        elif dice < 0.2:
            yield FrameIntent(0, _restock(chance.choice, mood))
        elif dice < 0.25 and mood.stories:
            for steps in STORIES[chance.choice(mood.stories)]:
                yield FrameIntent(0, [_drawn(chance.choice, mood, step) for step in steps])
        else:
            count = chance.choice([1, 1, 2, 3, 5, 8])
            intents = [draw_intent(chance.choice, mood) for _ in range(count)]
            yield FrameIntent(chance.choice(STEPS_MS), intents)
    yield FrameIntent(0, [_tick("gate", 0)])
    yield FrameIntent(0, [_tick("long", 0)])


def _restock(pick: Pick, mood: Mood) -> list[Intent]:
    """Another hour has come near: who sells says what stands behind it."""
    kind = pick(["backing", "ready"]) if "ready" in mood.kinds else "backing"
    plain = {name: menu[0] for name, menu in MENUS[kind].items()}
    hour, hours = (pick([-1, -1, 0]), 1) if kind == "ready" else (0, pick([1, 2, 3]))
    return [
        Intent(kind, {**plain, "account": account, "hour": hour, "hours": hours, "lots": pick([9, 15, 30, 60])})
        for account in (1, 3, 4, 5)
    ]


def _tick(to: str, by_ms: Millis) -> Intent:
    return Intent("tick", {"to": to, "by_ms": by_ms})
