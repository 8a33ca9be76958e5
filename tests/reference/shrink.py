"""Makes a failing flow short: leaves out frames and intents, and chooses plainer, for as long as it still fails.

Hypothesis could do this for what it has drawn. It does not know what an intent is: for one planted bug it needed 23 s for
a trace of eight commands, where this finds four commands in less than a second; and random days need it anyway.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, TypeVar

from tests.reference.flow import FrameIntent, Intent
from tests.reference.menus import MENUS, STEPS_MS

Flow = Sequence[FrameIntent]
Fails = Callable[[Flow], bool]
_Thing = TypeVar("_Thing")


def shrink(flow: Flow, fails: Fails) -> Flow:
    """A flow that fails, too, and would not with a frame or an intent less, or with a plainer choice."""
    assert fails(flow)
    before: Flow = ()
    while flow != before:
        before = flow
        flow = _fewer(flow, fails)
        for at in range(len(flow)):
            flow = _smaller_frame(flow, at, fails)
        for at in range(len(flow)):
            flow = _plainer_frame(flow, at, fails)
    return flow


def _smaller_frame(flow: Flow, at: int, fails: Fails) -> Flow:
    def within(intents: Sequence[Intent]) -> Flow:
        return [*flow[:at], flow[at]._replace(intents=intents), *flow[at + 1 :]]

    return within(_fewer(flow[at].intents, lambda intents: bool(intents) and fails(within(intents))))


def _fewer(things: Sequence[_Thing], fails: Callable[[Sequence[_Thing]], bool]) -> list[_Thing]:
    """Leaves out ever shorter stretches."""
    kept = list(things)
    size = len(kept)
    while size > 0:
        at = 0
        while at < len(kept):
            without = kept[:at] + kept[at + size :]
            if fails(without):
                kept = without
            else:
                at += size
        size //= 2
    return kept


def _plainer_frame(flow: Flow, at: int, fails: Fails) -> Flow:
    """Every choice as early in its menu as can be, one after the other."""

    def with_frame(frame: FrameIntent) -> Flow:
        return [*flow[:at], frame, *flow[at + 1 :]]

    frame = flow[at]
    frames = [frame._replace(step_ms=step_ms) for step_ms in _earlier(STEPS_MS, frame.step_ms)]
    frame = next((plain for plain in frames if fails(with_frame(plain))), frame)
    for place, intent in enumerate(frame.intents):
        for name in intent.picks:
            frames = [_with_choice(frame, place, name, choice) for choice in _earlier_choices(frame, place, name)]
            frame = next((plain for plain in frames if fails(with_frame(plain))), frame)
    return with_frame(frame)


def _with_choice(frame: FrameIntent, place: int, name: str, choice: Any) -> FrameIntent:
    intents = list(frame.intents)
    intents[place] = Intent(intents[place].kind, {**intents[place].picks, name: choice})
    return frame._replace(intents=intents)


def _earlier_choices(frame: FrameIntent, place: int, name: str) -> list[Any]:
    intent = frame.intents[place]
    return _earlier(MENUS[intent.kind][name], intent.picks[name])


def _earlier(menu: Sequence[Any], choice: Any) -> list[Any]:
    kinds = list(dict.fromkeys(menu))
    return kinds[: kinds.index(choice)] if choice in kinds else []
