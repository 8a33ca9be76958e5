"""The menus from which intents are made: every choice that each kind has.

A choice that stands there more often is made more often; the first one is the plainest, which shrinking tries.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from schemas.commands import Flag, State, Tif
from tests.reference.world import MEMBERS, STRANGER

ACCOUNT = [*MEMBERS] * 16 + [STRANGER]
_HERE = [*MEMBERS] * 4 + [STRANGER]
_CLASS = [1] * 50 + [2] * 10 + [3] * 15 + [4]
_OUTBOX = ["next"] * 60 + ["repeat", "gap"]
_BACK = [1, 2, 3, 4, 5, 6, 8, 10, 13, 20, 40]
NO_FAULT = [""]
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
        "account": ACCOUNT,
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
        "fault": NO_FAULT * 400 + [
            "side 0", "side 3", "tif 0", "tif 5", "gtd", "gtd now", "gtd without a moment", "gtd for ever", "expires", "running",
            "running at once", "post-only gtd", "negative flags", "flag 8", "flags odd", "fleeting post-only", "qty 0", "qty -1",
            "qty odd", "qty huge", "qty most", "price 0", "price -1", "price odd", "price low", "price high", "at the floor",
            "below the floor", "at the cap", "above the cap", "late", "early", "space in client id", "long client id",
            "longest client id", "umlaut in client id", "contract -1", "contract huge",
        ],
    },
    "range": {
        "account": ACCOUNT,
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
        "fault": NO_FAULT * 90 + _WHO_AND_WHEN + _TERMS + [
            "no hours", "hour twice", "hours falling", "1025 hours", "hour 0", "hour -1", "hour huge", "last hour ever",
            "fleeting post-only", "running bid",
        ],
    },
    "block": {
        "account": ACCOUNT,
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
        "fault": NO_FAULT * 200 + _WHO_AND_WHEN + _TERMS + [
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
        "fault": NO_FAULT * 20 + ["order 0", "order -1", "order huge"],
    },
    "amend": {
        "back": _BACK,
        "by": ["id", "id", "client id"],
        "account": ["own"] * 30 + [1],
        "lots": ["same", "less", "less", "more", 1, 2, 3, 9],
        "ticks": ["same"] * 8 + [0, 1, -1, 2, -2, 3, -5],
        "fault": NO_FAULT * 60 + _WHO_AND_WHEN + [
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
        "fault": NO_FAULT * 60 + _WHO_AND_WHEN + [
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
        "fault": NO_FAULT * 12 + ["owner", "owner 0", "account 0", "account -1", "fee plan"],
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
        "fault": NO_FAULT * 60 + [
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
        "fault": NO_FAULT * 2 + ["new", "other values", "out of range", "out of range"] * 4 + ["id of another", "at the bounds"],
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
        "approval": ["new"] * 9 + ["again"] * 5 + ["", "a b", "x" * 37],
        "valid_ms": [30_000] * 9 + [0, -1, 1_200_000, 10**8],
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
