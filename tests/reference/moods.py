"""What a day is mostly about, and what people do on it in several steps."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from typing import Any, NamedTuple

from schemas.commands import Flag, State, Tif
from tests.reference.menus import ACCOUNT, KINDS, MENUS, NO_FAULT
from tests.reference.world import MEMBERS, STRANGER


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
    "an amend that costs its place": [
        [("place", {"account": account, "hour": 0, "side": 2, "tif": Tif.GTC, "ticks": 0}) for account in (1, 4)],
        [("amend", {"back": 2, "by": "id", "account": "own", "lots": "more", "ticks": "same", "fault": ""})],
        [("place", {"account": 6, "hour": 0, "side": 1, "lots": 2, "ticks": 0})],
    ],
    "a range's name": [
        [("range", {"account": 6, "hours": "0 1", "side": 1, "tif": Tif.GTC, "ticks": -1, "client": "fresh"})],
        [("tick", {"to": "client id", "by_ms": 0})],
        [("cancel", {"back": 1, "by": "client id", "account": "own"}), ("place again", {"back": 1, "change": ""})],
    ],
    "a promise dearer than its collateral": [
        [("place", {"account": 3, "hour": 0, "side": 2, "tif": Tif.GTC, "ticks": 0})],
        [("place", {"account": 6, "hour": 0, "side": 1, "tif": Tif.IOC, "ticks": 2})],
        [("reference", {"class_no": 1, "hour": None, "price": 150})],
        [("place", {"account": 1, "hour": 0, "side": 2, "tif": Tif.GTC, "ticks": 15})],
        [("tick", {"to": "cover", "by_ms": 0})],
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
    f"{kind}.fault": NO_FAULT * 20 + list(dict.fromkeys(MENUS[kind]["fault"]))
    for kind in ("range", "block", "amend", "quotes")
}
"""More often wrong than right."""
_SOUND = {"class_no", "fault", "valid_ms", "outbox", "version"}
MOODS = {
    "everything": Mood(KINDS, ACCOUNT, ()),
    "two sellers": Mood(KINDS, (1, 5), ()),
    "one book": Mood(["place"] * 20 + ["cancel", "amend", "backing", "backing", "cover"], [*MEMBERS], _ONE_BOOK),
    "one book of two": Mood(["place"] * 8 + ["cancel", "amend"], (3, 6), _ONE_BOOK),
    "blocks and hours": Mood(
        ["place"] * 24 + ["block"] * 12 + ["range", "range", "cancel", "amend", "quotes", "backing"], (1, 3, 4, 6, 2), _SOUND,
        {"hour": [0, 0, 0, 1, 1, 2], "hours": [2, 2, 2, 3, 1], "ticks": [0, 0, 0, 1, -1, 2, -2],
         "side": ["natural"] * 4 + [1, 2]},
    ),
    "blocks": Mood(
        ["block"] * 9 + ["place", "cancel", "mass", "backing"], (1, 3, 6, 2), _SOUND,
        {"hour": [0], "hours": [2], "ticks": [0, 0, 1, -1], "side": [1, 2]},
    ),
    "blocks and quotes": Mood(
        ["block"] * 6 + ["place"] * 9 + ["cancel", "quotes", "backing"], (1, 3, 6, 2), _SOUND,
        {
            "place.hour": [0, 1], "block.hour": [0], "hour": [0], "hours": [2], "ticks": [0, 0, 1, -1, 2],
            "side": ["natural"] * 4 + [1, 2], "place.lots": [2, 3, 5], "tif": [1] * 8 + [3, 3, 4], "life_ms": [300_000],
        },
    ),
    "quotes": Mood(
        ["quotes"] * 8 + ["place"] * 6 + ["block", "amend", "cancel", "mass", "reference"], (1, 2, 6), _SOUND,
        {"hour": [0] * 6 + [1, 1, -1], "hours": [1, 2, 2, 3], "account": [3, 3, 5]}, ("gate",),
    ),
    "running": Mood(
        ["place"] * 20 + ["ready"] * 4 + ["range", "cancel", "amend", "credit", "reference"], (1, 3, 4, 5, 6, 2),
        {"fault", "valid_ms", "outbox", "version"},
        {
            "hour": [-1, -1, -1, 0], "hours": [1, 1, 2], "tif": [1, 3, 3, 4], "flags": [0, 4, 2, 2, 2],
            "class_no": [1] * 6 + [2] * 3 + [3], "ready.lots": [9, 5, 1, 0, 0],
        },
        ("gate", "early gate", "eleven minutes", "running close", "last minute", "hour"), ("a gate", "the last minutes"),
    ),
    "promises": Mood(
        ["place"] * 20 + ["backing"] * 4 + ["cover", "block", "reference", "credit"], (3, 5, 6, 2, 1, 4),
        {"fault", "valid_ms", "outbox", "version"},
        {"hour": [0, 0, 0, 1], "hours": [1, 2], "class_no": [1, 1, 1, 3], "ticks": [0, 0, 1, -1, 4, 8]},
        ("cover", "early cover", "gate"), ("a promise dearer than its collateral",),
    ),
    "stops": Mood(
        ["place"] * 12 + ["block"] * 8 + ["backing", "backing", "state", "all open", "amend", "quotes"], (1, 3, 6, 2), _SOUND,
        {
            "hour": [0, 0, 0, 1, 4], "hours": [2, 2, 1], "state": [1, 2, 4, 4], "ticks": [0, 0, 1, -1, 2],
            "side": ["natural"] * 4 + [1, 2],
        },
        ("post-only", "open", "hour"),
        ("a reopening", "a reopening of one hour", "an operator's opening", "an opening", "an opening that ends"),
    ),
    "changes": Mood(
        ["range"] * 5 + ["place"] * 8 + ["amend"] * 8 + ["cancel"] * 4
        + ["place again", "mass", "after", "quotes", "block", "state"],
        (1, 3, 6, 2, 7, 7), {"class_no", "valid_ms", "outbox", "version"},
        {
            "hour": [0, 0, 1], "hours": [1, 2], "amend.fault": _FAULTY["amend.fault"], "state": [1, 1, 1, 2, 3],
            "tif": [1] * 8 + [2], "side": ["natural"] * 6 + [1, 2], "back": [1, 1, 2, 2, 3, 4, 5],
        },
        ("expiry",), ("an amend while halted", "an amend that costs its place", "a range's name"),
    ),
    "nearly right": Mood(
        ["range", "block", "amend", "quotes", "mass", "after", "correct", "reference", "ready", "place again"] * 3
        + ["place"] * 8 + ["state", "credit", "sweep", "cancel", "account"],
        (1, 3, 6, STRANGER), (), {"hour": [0, 0, 1], "class_no": [1] * 12 + [4], **_FAULTY}, ("dead man", "expiry"),
    ),
}  # fmt: skip
MOODS_OF_VERSION_1 = ("everything", "two sellers", "one book", "one book of two")
"""The others are nearly all of version 2."""
