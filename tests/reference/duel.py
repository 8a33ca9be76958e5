"""Both engines play the same records and must say the same: events byte for byte, and every view of the state.

    duel = Duel()
    for record in play(frames):
        duel.play(record)      # raises Disagreement, which tells the trace

Of the production engine only what is public is used: `apply`, `skip`, `check` and the views.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import asdict
from typing import Any

import msgspec

from schemas.events import Event
from services.matching.engine import Engine
from tests.reference.memory import Setting
from tests.reference.naive_engine import NaiveEngine
from tests.reference.naive_shard import Bounds
from tests.reference.script import Record, play
from tests.reference.shrink import Flow, shrink
from tests.reference.trace import compare, tell

USUAL = Setting()
VIEWS = ("balances", "holds", "collaterals", "escrows", "positions", "open_orders", "resting_count")


class Disagreement(Exception):
    """The engines differ after these records."""

    def __init__(self, records: Sequence[Record], finding: str) -> None:
        super().__init__(records, finding)
        self.records = records
        self.finding = finding

    def __str__(self) -> str:
        return f"the engines differ after\n{tell(self.records)}\n{self.finding}"

    @property
    def commands(self) -> int:
        """How many commands there are after the opening's two records."""
        return sum(len(record.commands) for record in self.records[2:])


class Duel:
    """One shard, twice."""

    def __init__(self, bounds: Bounds | None = None) -> None:
        self.engine = Engine()
        self.naive = NaiveEngine()
        if bounds is not None:
            self.naive.bounds = bounds
            for name, bound in asdict(bounds).items():
                setattr(self.engine, name, bound)
        self.records: list[Record] = []

    def play(self, record: Record) -> list[Event]:
        """One record into both. Raises Disagreement."""
        self.records.append(record)
        one = self._say("engine", lambda: _apply(self.engine, record))
        two = self._say("naive engine", lambda: _apply(self.naive, record))
        if msgspec.msgpack.encode(one) != msgspec.msgpack.encode(two):
            raise Disagreement(self.records, compare(one, two))
        self._compare_views()
        return two

    def check(self) -> None:
        """What the production engine thinks of its own state. Raises Disagreement."""
        self._say("engine, checking itself,", self.engine.check)

    def _compare_views(self) -> None:
        for name in VIEWS:
            one, two = _view(self.engine, name), _view(self.naive, name)
            if one != two:
                raise Disagreement(self.records, f"{name}\n  engine  {one}\n  rules   {two}")

    def _say(self, who: str, what: Callable[[], Any]) -> Any:
        try:
            return what()
        except Exception as error:  # whatever stops one of them is a difference; the trace is the answer
            raise Disagreement(self.records, f"the {who} stops: {error!r}") from error


def _apply(engine: Engine | NaiveEngine, record: Record) -> list[Event]:
    if record.quarantined:
        engine.skip(record.offset)
        return []
    return engine.apply(record.offset, record.stamp_ms, record.commands)


def _view(engine: Engine | NaiveEngine, name: str) -> Any:
    seen = getattr(engine, name)()
    return sorted(seen) if name == "open_orders" else seen


def disagreement(
    flow: Flow, setting: Setting = USUAL, listen: Callable[[Record, list[Event]], None] = lambda *_: None
) -> Disagreement | None:
    """What the engines differ about in a flow, if anything. `listen` hears what they agree about."""
    duel = Duel(Bounds(retries_max=setting.retries_max))
    try:
        for record in play(flow, setting):
            listen(record, duel.play(record))
        duel.check()
    except Disagreement as found:
        return found
    return None


def smallest_disagreement(flow: Flow, setting: Setting = USUAL) -> Disagreement:
    """The shortest trace that a flow, of which they disagree, can be cut down to."""
    found = disagreement(flow, setting)
    assert found is not None
    opening = 2
    flow = shrink(flow[: len(found.records) - opening], lambda flow: disagreement(flow, setting) is not None)
    found = disagreement(flow, setting)
    assert found is not None
    return found
