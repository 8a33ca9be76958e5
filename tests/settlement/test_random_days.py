"""Random days of a small market, with the real engine: the ledger equals the engine after every record, through restarts.

M1, M2, M3, M7, M8, C1 and C6 are checked in `people.check` after every single record; what is stored is loaded again
and compared.
"""

from __future__ import annotations

import random
from collections import Counter

from hypothesis import HealthCheck, event, given, settings
from hypothesis import strategies as st

from schemas import commands as cmd
from schemas import requests as rq
from schemas.commands import Fees, Ground, Role, Side, Tif
from schemas.events import Filled, TitleCovered
from schemas.ids import contract_of
from services.settlement.ledger import CLEARING, COLLATERAL, EXTERNAL, TITLES, TREASURY
from tests.settlement.people import HOUR, Market

NAMES = ("ana", "bob", "cid", "dee")
HOURS = (HOUR, HOUR + 1)
PRICES = (1_000_003, 1_500_000, 2_000_001, 2_999_999)
LIMITS = {Side.SELL: PRICES[:3], Side.BUY: PRICES[1:]}
"""Asks are low and bids high, so that most of them meet."""
COLLATERAL_PRICE = 20_000_000
FEES = (Fees(), Fees(7, 13, 50, 90), Fees(0, 0, 0, 0), Fees(1000, 1000, 1000, 1000))

who = st.sampled_from(NAMES)
hour = st.sampled_from((HOUR, HOUR, HOUR, HOUR + 1))
order = st.tuples(
    st.just("order"),
    who,
    st.sampled_from(Side),
    st.integers(1, 7),
    st.integers(0, 2),
    st.sampled_from((Tif.GTC, Tif.GTC, Tif.IOC)),
    hour,
)
other = st.one_of(
    st.tuples(st.just("cancel"), st.integers(0, 50)),
    st.tuples(st.just("back"), who, hour, st.integers(0, 30)),
    st.tuples(st.just("in"), who, st.integers(1, 30_000_000)),
    st.tuples(st.just("out"), who, st.integers(1, 30_000_000)),
    st.tuples(st.just("restart")),
    st.tuples(st.just("role")),
    st.tuples(st.just("deliver"), hour, st.integers(0, 6), st.integers(0, 60)),
)
bursts = st.lists(st.tuples(st.lists(order, min_size=4, max_size=12), other), min_size=4, max_size=10)
"""Some orders, then something else, again and again."""


class Day:
    """A market and what was done in it."""

    def __init__(self, fees: Fees) -> None:
        self.market = Market(fees=fees)
        self.done: Counter[str] = Counter()
        self.count = 0
        self.dees_role: int = Role.MARKET_MAKER
        for name in NAMES:
            self.market.open(
                name, money="1000.00", backing=0, role=Role.MARKET_MAKER if name == "dee" else Role.PROVIDER
            )
            self.back(name, HOUR, 20)
            self.back(name, HOUR + 1, 10)

    def back(self, name: str, of_hour: int, qty: int) -> None:
        self.count += 1
        promises = name == "dee" and self.dees_role == Role.MARKET_MAKER
        ground, price = (Ground.PROMISED, COLLATERAL_PRICE) if promises else (Ground.DECLARED, 0)
        state = self.market.back(name, ground, qty, price, self.count, (of_hour,))
        self.done[f"back {state}"] += 1
        self.done["covered"] += sum(isinstance(one, TitleCovered) for one in self.market.said)

    def take(self, kind: str, *what: object) -> None:
        getattr(self, f"_{kind}")(*what)
        self.done[kind] += 1

    def _order(self, name: str, side: Side, qty: int, limit: int, tif: int, of_hour: int) -> None:
        said = self.market.order(name, side, qty, LIMITS[side][limit], tif=tif, contract=contract_of(1, of_hour))
        fills = [one for one in said if isinstance(one, Filled)]
        self.done["fills"] += len(fills)
        self.done["resales"] += sum(move.source > 0 for fill in fills for move in fill.moves)
        self.done["bought back"] += sum(move.closes > 0 for fill in fills for move in fill.moves)
        self.done["own bought back"] += sum(move.closes == move.title for fill in fills for move in fill.moves)

    def _cancel(self, which: int) -> None:
        resting = sorted(self.market.engines[0].orders)
        if resting:
            number = resting[which % len(resting)]
            account = self.market.engines[0].orders[number].account
            self.market.command(cmd.CancelOrder(account, number, "", self.market.engines[0].time_ms + 60_000))

    def _back(self, name: str, of_hour: int, qty: int) -> None:
        self.back(name, of_hour, qty)

    def _in(self, name: str, amount: int) -> None:
        self.count += 1
        self.market.ask(rq.ToTrading(f"in-{self.count}", self.market.numbers[name], 0, amount))

    def _out(self, name: str, amount: int) -> None:
        self.count += 1
        self.market.ask(rq.FromTrading(f"out-{self.count}", self.market.numbers[name], 0, amount))

    def _role(self) -> None:
        """dee changes between promising and declaring machines, which then cover what she has promised."""
        self.count += 1
        self.dees_role = Role.PROVIDER if self.dees_role == Role.MARKET_MAKER else Role.MARKET_MAKER
        self.market.ask(rq.SetAccountRole(f"role-{self.count}", self.market.numbers["dee"], self.dees_role, 0))
        self.back("dee", HOUR, 20)

    def _restart(self) -> None:
        self.market.restart()

    def _deliver(self, of_hour: int, title: int, undelivered: int) -> None:
        self.market.deliver(title or "all", undelivered, contract_of(1, of_hour))

    def finish(self) -> None:
        """Both hours end and are delivered: nothing of them is left anywhere."""
        self.market.end_hour(HOUR + 1)
        for of_hour in HOURS:
            self.market.deliver("all", 17, contract_of(1, of_hour))
            self.market.restart()
        state = self.market.state
        kinds = {key[0] for key in state.ledger.balances()}
        assert not kinds & {CLEARING, COLLATERAL, TITLES}, kinds
        assert not state.collateral
        assert not state.promised_left
        assert not state.deliveries
        assert all(contract.hour > HOUR + 1 for contract in state.contracts.values())
        treasury = state.ledger.balance(TREASURY, 0, 0)
        came_in = -sum(amount for key, amount in state.ledger.balances().items() if key[0] == EXTERNAL)
        assert treasury >= 0
        assert came_in == 4 * 1_000_000_000


@settings(max_examples=60, deadline=None, suppress_health_check=list(HealthCheck))
@given(fees=st.sampled_from(FEES), bursts=bursts)
def test_a_random_day_leaves_ledger_and_engine_equal(fees: Fees, bursts: list[tuple]) -> None:
    """Whatever members do, the ledger's copy of the shard is the engine's state, and all claims are paid in the end."""
    day = Day(fees)
    for orders, other in bursts:
        for kind, *what in (*orders, other):
            day.take(kind, *what)
    day.finish()
    for name in ("resales", "bought back", "own bought back", "covered"):
        event(f"{name}: {min(day.done[name], 3)}")


def test_long_days_reach_every_kind_of_move() -> None:
    """Longer days from seeds, and counts that show that they were no empty ones."""
    total: Counter[str] = Counter()
    for seed in range(4):
        total += long_day(random.Random(f"long day {seed}"), FEES[seed]).done
    kinds = ("fills", "resales", "bought back", "own bought back", "covered", "back done", "restart")
    assert min(total[kind] for kind in kinds) >= 5, total


def long_day(rng: random.Random, fees: Fees) -> Day:
    """300 acts from one seed, and everything delivered in the end."""
    day = Day(fees)
    for number in range(300):
        if number % 40 == 39:
            day.take("restart")
        elif rng.random() < 0.8:
            what = (
                rng.choice(list(Side)),
                rng.randint(1, 7),
                rng.randrange(3),
                rng.choice((Tif.GTC, Tif.IOC)),
                rng.choice(HOURS),
            )
            day.take("order", rng.choice(NAMES), *what)
        else:
            kind, amount = rng.choice(("cancel", "back", "in", "out", "role")), rng.randint(1, 10_000_000)
            day.take(
                kind,
                *{
                    "cancel": (amount,),
                    "back": (rng.choice(NAMES), rng.choice(HOURS), amount % 31),
                    "in": (rng.choice(NAMES), amount),
                    "out": (rng.choice(NAMES), amount),
                    "role": (),
                }[kind],
            )
    day.finish()
    return day
