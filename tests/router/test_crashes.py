"""A router that is killed anywhere, superseded, answered late or never buys nothing twice, and in the end all that it should.

What it could not buy its owners are told, whichever life notices it.
"""

from __future__ import annotations

import os
from typing import Any

import pytest

from schemas.codec import ChainReader
from schemas.commands import Side
from schemas.events import ShardStarted
from schemas.ids import hour_of
from schemas.rental import RentalStop
from schemas.rentals_log import NoticeClosed, OrderSent, RentalMade, RentalNoticed, RentalStopped, Terms
from schemas.units import MS_PER_HOUR
from services.audit.rentals import Rentals
from services.audit.report import Findings
from services.router.state import State
from services.runtime.errors import Superseded
from services.runtime.log import LogError
from tests.router import judge
from tests.router.exchange import FIRST, RATE, Exchange
from tests.router.place import ONE, TWO
from tests.simulation.world import START_MS

SEEDS = int(os.environ.get("HOURBOOK_SEEDS") or 8)
HOURS = 5
RENTALS = 6


class Day:
    """Of a seed: everything that can go wrong does, then all is well and what is wanted must come."""

    def __init__(self, seed: int) -> None:
        self.exchange = Exchange(seed)
        self.exchange.rentals.faults.unknown = self.exchange.rentals.faults.refused = 10
        self.exchange.rentals.faults.late_ms_max = 60
        gateway = self.exchange.gateway
        gateway.away, gateway.lost, gateway.unheard, gateway.late, gateway.refused = 50, 60, 100, 150, 250
        self.chance = self.exchange.world.chance("day")
        self.asked: dict[str, list[Any]] = {}

    def run(self) -> None:
        exchange = self.exchange
        for hour in range(FIRST - 1, FIRST + HOURS + 6):
            for class_id in (ONE, TWO):
                exchange.place.offer(class_id, hour, self.chance.randrange(1_500, 2_800) * 1_000, 40)
                exchange.place.bid(class_id, hour, 1_600_000, 4)
        exchange.live()
        until, due = exchange.world.now_ms + HOURS * 60_000, 0
        while exchange.world.now_ms < until:
            self._step()
            if exchange.world.now_ms >= due:
                due = exchange.world.now_ms + self.chance.randrange(500, 6_000)
                self._happen()
        self._heal()

    def _step(self) -> None:
        exchange = self.exchange
        exchange.world.step()
        fault = exchange.fault_of()
        if fault is not None:
            assert isinstance(fault, LogError | Superseded), repr(fault)
            if not exchange.alive:
                exchange.live()

    def _happen(self) -> None:
        exchange, chance = self.exchange, self.chance
        match chance.randrange(6):
            case 0 | 1:
                exchange.kill()
                exchange.live()
            case 2:  # it stands still, another takes over, and then it goes on
                for process in exchange.alive:
                    if process.alive:
                        exchange.world.stop(process)
                        exchange.world.later(chance.randrange(500, 12_000), lambda p=process: exchange.world.resume(p))  # type: ignore[misc]
                exchange.router = None
                exchange.live()
            case 3:
                exchange.gateway.is_down = not exchange.gateway.is_down
            case 4:
                exchange.market_away = not exchange.market_away
            case _:
                exchange.webhooks = chance.choice(("take", "refuse", "silent"))
        for _ in range(3 if exchange.router is not None else 0):
            self._ask(chance.randrange(RENTALS))

    def _ask(self, number: int) -> None:
        key, exchange = f"k{number}", self.exchange
        made = next((each for each in exchange.router.state.rentals.values() if each.key == key), None)  # type: ignore[union-attr]
        if made is not None and self.chance.random() < 0.1:
            exchange.ask("stop", made.account, made.rental, _stop())
        else:  # made once, however often it is asked for
            exchange.rent(
                20 + number % 3, key, classes=((ONE, TWO), (ONE,), (TWO,))[number % 3], gpus=2 + 2 * (number % 2),
                max_price=("3", "2")[number % 2], max_spend=("", "60")[number % 2], look_ahead=1 + number % 4,
                webhook="https://ana.example/hook",
            )  # fmt: skip

    def _heal(self) -> None:
        exchange = self.exchange
        gateway = exchange.gateway
        gateway.away = gateway.lost = gateway.unheard = gateway.late = gateway.refused = 0
        gateway.is_down = exchange.market_away = False
        exchange.rentals.faults.unknown = exchange.rentals.faults.refused = 0
        exchange.webhooks = "take"
        exchange.kill()  # else those who were silent are so for ever
        exchange.live()
        until = exchange.world.now_ms + 45_000
        while exchange.world.now_ms < until:
            self._step()

    def state(self) -> State:
        """By the records alone, as whoever reads them later would have it."""
        state = State()
        for record in self.exchange.recorded():
            state.take(record)
        return state

    def bought_after_stop(self) -> list[OrderSent]:
        state, found = State(), []
        for record in self.exchange.recorded():
            if state.take(record) and isinstance(record, OrderSent) and record.side == Side.BUY:
                found += [record] if state.rentals[record.rental].stopped_ms else []
        return found

    def rentals(self) -> dict[int, tuple[int, Terms, int]]:
        found: dict[int, tuple[int, Terms, int]] = {}
        state = State()
        for record in self.exchange.recorded():
            if not state.take(record):
                continue
            if isinstance(record, RentalMade):
                found[record.rental] = (record.account, record.terms, 0)
            elif isinstance(record, RentalStopped):
                account, terms, _ = found[record.rental]
                found[record.rental] = (account, terms, record.time_ms)
        return found


def assert_owners_were_told(day: Day) -> None:
    """Each notice before its hour was over, or while its rental ran; and so much was recorded of it and no more."""
    state, noticed, closed = State(), list[RentalNoticed](), list[tuple[int, int, str]]()
    for record in day.exchange.recorded():
        if state.take(record):
            noticed += [record] if isinstance(record, RentalNoticed) else []
            closed += [(record.rental, record.hour, record.code)] if isinstance(record, NoticeClosed) else []
    told = {(notice.rental, notice.hour, notice.code) for notice in day.exchange.told}
    now = day.exchange.market_ms // MS_PER_HOUR
    assert noticed
    assert [
        n for n in noticed if n.rental in state.live and n.hour >= now and (n.rental, n.hour, n.code) not in told
    ] == []
    assert [each for rental in state.live.values() for each in rental.untold if each[0] >= now] == []
    assert len(closed) == len(set(closed)) <= len(noticed)


def _stop() -> Any:
    return RentalStop()


@pytest.mark.parametrize("seed", range(SEEDS))
def test_nothing_is_bought_twice_and_what_is_wanted_comes(seed: int) -> None:
    day = Day(seed)
    day.run()
    exchange, rentals = day.exchange, day.rentals()

    # Orders that were under way at a stop are awaited: the stop's own time says nothing of them.
    assert judge.faults(exchange.place.fills, {n: (a, t, 0) for n, (a, t, _) in rentals.items()}) == []
    assert len({(each.account, each.key) for each in day.state().rentals.values()}) == len(rentals) > 2
    assert day.bought_after_stop() == []
    # All is well again: every rental that stands has all of its window.
    assert exchange.router is not None
    for rental in exchange.router.state.live.values():
        if not rental.stopped_ms and not rental.terms.max_spend:
            answer = exchange.router.rental(rental.account, rental.rental)
            assert answer.state == "running", answer
    # Every order that the exchange took had been recorded before.
    sent = {(r.rental, r.number, hour_of(r.contract)) for r in exchange.recorded() if isinstance(r, OrderSent)}
    assert len(sent) >= len({fill.client_id for fill in exchange.place.fills}) > 10
    assert exchange.lives > 1
    assert_owners_were_told(day)
    assert_the_auditor_agrees(exchange)
    exchange.close()


def assert_the_auditor_agrees(exchange: Exchange) -> None:
    """R1 to R4, by whoever knows nothing of the router, and had much to look at."""
    found = Findings()
    rentals = Rentals(found)
    rentals.hear(START_MS, [ShardStarted(0, 0, 2, START_MS, RATE, sandbox=True)])
    for topic in exchange.events:
        reader = ChainReader()
        for record in topic.all():
            said = reader.read(record.headers, record.value, topic.partition)
            if said is not None:
                rentals.hear(said.time_ms, said.events)
    for record in exchange.rentals.all():
        rentals.take(record.offset, record.time_ms, record.value)
    rentals.finish()
    assert {finding.name: finding.breaches for finding in found if finding.broken} == {}
    assert all(found[name].looked_at > 10 for name in ("R1", "R2", "R3", "R4"))
