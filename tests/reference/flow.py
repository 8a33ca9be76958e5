"""What people might want of a shard, sensible and senseless: intents, drawn at random or by Hypothesis.

An **intent** says what somebody wants without numbers that depend on what came before ("cancel the third last order",
"let time pass to just before the next gate"): every field is one choice from a menu (menus.py). `tests.reference.script` turns
intents into commands. So intents can be left out one by one, a failing flow gets smaller, and what remains is still one.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator, Sequence
from typing import Any, NamedTuple

from schemas.units import Millis
from tests.reference.menus import ALONE, MENUS, STEPS_MS
from tests.reference.moods import MOODS, STORIES, Mood, Step

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


_NO_MOOD = MOODS["everything"]


def draw_intent(pick: Pick, mood: Mood = _NO_MOOD, kinds: Sequence[str] = ()) -> Intent:
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
