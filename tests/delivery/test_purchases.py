"""Whose asks stand in the books, and what buying them would mean for who buys."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from schemas.commands import Fees, Side
from schemas.events import (
    ClassSet,
    Event,
    Filled,
    HourEnded,
    LegOutcome,
    OrderAccepted,
    OrderAmended,
    OrderCancelled,
    QuoteOutcome,
    QuotesPut,
    RangeAccepted,
)
from schemas.http import HandoversPreview
from schemas.ids import contract_of
from schemas.leases import MachineMaintained, MachineRetired
from services.delivery.asks import Asks
from services.delivery.market import Market
from services.delivery.purchases import BASIS, handovers
from tests.delivery.room import ANA, BERT, CARL, CLASS, DANA, HOUR, Room, moment

CONTRACT = contract_of(CLASS, HOUR)


def ask(order: int, account: int, price: int, qty: int, hour: int = 0, *, side: Side = Side.SELL) -> OrderAccepted:
    return OrderAccepted(0, order, account, contract_of(CLASS, HOUR + hour), side, qty, price, 1, 0, "", 0, 0)


def stand(asks: Asks, hour: int = 0) -> list[tuple[int, int, int]] | None:
    """(account, price, left), the best first."""
    found = asks.best_first(contract_of(CLASS, HOUR + hour))
    return None if found is None else [(each.account, each.price, each.left) for each in found]


def hear(asks: Asks, *events: Event) -> None:
    for event in events:
        asks.take(event)


def filled(maker: int, maker_leaves: int, taker: int, taker_leaves: int) -> Filled:
    return Filled(1, CONTRACT, 100, 1, 60, Side.BUY, maker, taker, maker_leaves, taker_leaves, ANA, CARL, 100, 0, 0, ())


# --- Asks -------------------------------------------------------------------------------------------------------


def test_asks_stand_by_price_then_time_and_bids_do_not() -> None:
    asks = Asks()
    hear(asks, ask(1, CARL, 110, 2), ask(2, DANA, 100, 1), ask(3, CARL, 100, 1), ask(4, BERT, 100, 1, side=Side.BUY))
    assert stand(asks) == [(DANA, 100, 1), (CARL, 100, 1), (CARL, 110, 2)]
    assert stand(asks, 1) == []


def test_fills_cancellations_and_amendments_are_followed() -> None:
    asks = Asks()
    hear(asks, ask(1, CARL, 100, 3), ask(2, DANA, 100, 3), ask(3, BERT, 100, 3))
    hear(asks, filled(1, 2, 9, 0), filled(8, 0, 2, 0), OrderAmended(0, CARL, 1, 1, 100, kept_place=True))
    assert stand(asks) == [(CARL, 100, 1), (BERT, 100, 3)]
    hear(asks, OrderAmended(0, CARL, 1, 4, 100, kept_place=False))
    assert stand(asks) == [(BERT, 100, 3), (CARL, 100, 4)]
    hear(asks, OrderCancelled(3, BERT, CONTRACT, 3, 1), OrderAmended(0, CARL, 1, 4, 90, kept_place=False))
    assert stand(asks) == [(CARL, 90, 4)]


def test_ranges_and_quotes_are_asks_hour_by_hour() -> None:
    asks = Asks()
    legs = (LegOutcome(0, 11), LegOutcome(1, 0, 13), LegOutcome(2, 13))
    hours = (HOUR, HOUR + 1, HOUR + 2)
    hear(asks, RangeAccepted(0, CARL, CLASS, hours, Side.SELL, 2, 100, 1, 0, "", 0, 0, legs))
    quoted = (QuoteOutcome(HOUR, 21, 22, 0, 80, 1, 120, 3), QuoteOutcome(HOUR + 1, 0, 0, 11))
    hear(asks, QuotesPut(0, DANA, CLASS, 1, quoted))
    assert [stand(asks, hour) for hour in range(3)] == [[(CARL, 100, 2), (DANA, 120, 3)], [], [(CARL, 100, 2)]]

    kept = (QuoteOutcome(HOUR, 21, 22, 0, 80, 1, 120, 2), QuoteOutcome(HOUR + 1, 0, 23, 0, 0, 0, 90, 1))
    hear(asks, QuotesPut(0, DANA, CLASS, 2, kept), OrderCancelled(11, CARL, CONTRACT, 2, 1))
    assert [stand(asks, hour) for hour in range(3)] == [[(DANA, 120, 2)], [(DANA, 90, 1)], [(CARL, 100, 2)]]


def test_with_its_hour_an_ask_is_forgotten() -> None:
    asks = Asks()
    hear(asks, ask(1, CARL, 100, 1), ask(2, CARL, 100, 1, 1), HourEnded(CONTRACT, 0, 0, 0))
    assert (len(asks), stand(asks), stand(asks, 1)) == (1, [], [(CARL, 100, 1)])


def test_of_too_many_the_fullest_hour_is_given_up_and_nothing_is_said_of_it_any_more() -> None:
    asks = Asks(asks_max=4)
    hear(asks, *(ask(order, CARL, 100, 1) for order in range(1, 4)), ask(4, CARL, 100, 1, 1))
    assert len(asks) == 4

    hear(
        asks, ask(5, CARL, 100, 1, 2), ask(6, CARL, 100, 1), filled(1, 0, 9, 0), OrderCancelled(2, CARL, CONTRACT, 1, 1)
    )

    assert (len(asks), stand(asks), stand(asks, 1)) == (2, None, [(CARL, 100, 1)])
    hear(asks, HourEnded(CONTRACT, 0, 0, 0))
    assert stand(asks) == [], "the hour is over, and with it what was not known of it"


@settings(max_examples=200)
@given(
    st.lists(
        st.tuples(st.integers(0, 3), st.integers(1, 12), st.integers(1, 3), st.integers(1, 4)), min_size=1, max_size=60
    )
)
def test_whatever_is_heard_it_keeps_no_more_than_it_may_and_knows_what_it_shows(words: list[tuple[int, ...]]) -> None:
    """Against a list of all orders that is looked through each time."""
    asks, orders = Asks(asks_max=5), dict[int, list[int]]()
    for turn, (what, order, price, qty) in enumerate(words):
        hour = order % 3
        if order not in orders:
            hear(asks, ask(order, CARL, price, qty, hour))
            orders[order] = [price, turn, qty]
        elif what == 1:
            hear(asks, filled(order, orders[order][2] - 1, 99, 0))
            orders[order][2] -= 1
        elif what == 2:
            hear(asks, OrderAmended(0, CARL, order, qty, price, kept_place=False))
            orders[order] = [price, turn, qty]
        else:
            hear(asks, OrderCancelled(order, CARL, contract_of(CLASS, HOUR + hour), 1, 1))
            orders[order][2] = 0
        orders = {number: each for number, each in orders.items() if each[2]}
        assert len(asks) <= 5
        for each in range(3):
            shown = stand(asks, each)
            known = sorted(tuple(one) for number, one in orders.items() if number % 3 == each)
            assert shown is None or shown == [(CARL, price, left) for price, _, left in known]


# --- Purchases --------------------------------------------------------------------------------------------------


class Books:
    """Machines of Carl and Dana; titles, and asks."""

    def __init__(self) -> None:
        self.room = Room()
        self.room.machine(CARL, "a", 4)
        self.room.machine(DANA, "b", 4)
        self.market = Market()
        self.market.titles = self.room.titles
        self._orders = 0
        self.hear(ClassSet(0, 1, CLASS, "TEST", 1, 1, 100, Fees(), 48, 300_000, 1_800_000, 60_000, 5_000, 20_000, 0))

    def hear(self, *events: Event) -> None:
        record: Any = SimpleNamespace(events=events)
        self.market.take(record, self.room.state)

    def ask(self, account: int, hour: int, qty: int, price: int = 100) -> None:
        self._orders += 1
        self.hear(ask(self._orders, account, price, qty, hour))

    def foresee(self, wanted: dict[int, int], account: int = ANA) -> HandoversPreview | None:
        hours = {HOUR + hour: qty for hour, qty in wanted.items()}
        return handovers(self.room.state, self.market, account, CLASS, hours)

    def likely(self, wanted: dict[int, int]) -> int:
        told = self.foresee(wanted)
        assert told is not None
        return told.likely


@pytest.fixture
def books() -> Books:
    return Books()


def test_hours_of_one_provider_need_no_hand_over_and_of_two_one(books: Books) -> None:
    """However alike their prices are."""
    for hour in range(4):
        books.ask(CARL if hour < 2 else DANA, hour, 2)
    assert books.foresee({0: 2, 1: 2}) == HandoversPreview(least=0, most=1, likely=0, basis=BASIS)
    assert books.foresee({0: 2, 1: 2, 2: 2, 3: 2}) == HandoversPreview(least=0, most=3, likely=1, basis=BASIS)


def test_the_cheaper_ask_is_taken_first_and_what_it_lacks_is_another_s(books: Books) -> None:
    books.ask(CARL, 0, 2)
    books.ask(DANA, 1, 1, 90)
    books.ask(CARL, 1, 2)
    assert books.likely({0: 1, 1: 1}) == 1
    assert books.likely({0: 2, 1: 2}) == 1, "one of the two stays"
    assert books.foresee({0: 2, 1: 4}) is None, "so many are not offered"


def test_what_is_held_before_the_first_hour_and_after_the_last_counts(books: Books) -> None:
    books.room.sell(CARL, ANA, 0, 1)
    books.room.sell(CARL, ANA, 2, 1)
    books.ask(DANA, 1, 1)
    books.ask(CARL, 1, 1, 110)
    told = books.foresee({1: 1})
    assert told is not None
    assert (told.likely, told.most) == (2, 2)
    assert books.likely({1: 2}) == 0, "one of the two is Carl's: there she stays, and the other comes and goes"


def test_who_sits_elsewhere_by_an_exchange_is_followed_from_there(books: Books) -> None:
    """Ana has bought the second hour from Dana and Bert from Carl, and both stay where they are in it."""
    books.room.sell(CARL, ANA, 0, 1)
    books.room.sell(DANA, BERT, 0, 1)
    books.room.gate(0)
    books.room.sell(DANA, ANA, 1, 1)
    books.room.sell(CARL, BERT, 1, 1)
    books.room.gate(1)
    books.ask(CARL, 2, 1)
    books.ask(DANA, 2, 1, 110)
    assert books.likely({2: 1}) == 0
    assert books.likely({2: 2}) == 0, "the other one only comes"


def test_who_sits_on_a_machine_that_was_retired_must_move(books: Books) -> None:
    books.room.sell(CARL, ANA, 0, 1)
    books.room.gate(0)
    for provider, machine in [key for key in books.room.state.machines if key[0] == CARL]:
        books.room.take(MachineRetired(1, moment(0, 1), provider, machine))
    books.ask(DANA, 1, 1)
    told = books.foresee({1: 1})
    assert told is not None
    assert (told.likely, told.most) == (1, 1)


def test_where_all_machines_of_the_seller_are_away_as_planned_it_is_said(books: Books) -> None:
    for provider, machine in [key for key in books.room.state.machines if key[0] == CARL]:
        books.room.take(MachineMaintained(1, moment(-1), provider, machine, ((HOUR, HOUR + 1),)))
    books.ask(CARL, 0, 1)
    told = books.foresee({0: 1})
    assert told is not None
    assert told.basis.endswith("for 1 GPU-hours of it their sellers have no machine yet")


def test_who_resells_passes_on_another_s_machine(books: Books) -> None:
    """Bert holds Carl's hour and asks for more than he holds: beyond it he owes himself, and has no machine."""
    books.room.sell(CARL, ANA, 0, 1)
    books.room.sell(CARL, BERT, 1, 1)
    books.ask(BERT, 1, 2)
    assert books.likely({1: 1}) == 0
    told = books.foresee({1: 2})
    assert told is not None
    assert told.basis.endswith("for 1 GPU-hours of it their sellers have no machine yet")


def test_own_asks_are_not_bought(books: Books) -> None:
    books.room.sell(CARL, ANA, 0, 1)
    books.ask(ANA, 1, 1, 90)
    books.ask(DANA, 1, 1)
    assert books.likely({1: 1}) == 1


def test_nothing_is_said_of_what_machines_do_not_serve_or_nobody_knows(books: Books) -> None:
    books.ask(CARL, 0, 2)
    assert books.foresee({}) is None
    assert books.foresee({0: 0}) is None
    assert books.foresee({1: 1}) is None
    other = contract_of(CLASS + 1, HOUR)
    books.hear(ClassSet(0, 2, CLASS + 1, "OTHER", 1, 1, 100, Fees(), 48, 300_000, 1_800_000, 60_000, 5_000, 20_000, 0))
    books.hear(OrderAccepted(0, 50, CARL, other, Side.SELL, 1, 100, 1, 0, "", 0, 0))
    assert handovers(books.room.state, books.market, ANA, CLASS + 1, {HOUR: 1}) is None


@settings(max_examples=100, deadline=None)
@given(st.lists(st.tuples(st.sampled_from([CARL, DANA]), st.integers(0, 1)), min_size=1, max_size=5))
def test_it_comes_true_when_nobody_else_buys(sellers: list[tuple[int, int]]) -> None:
    """Ana buys one GPU of each hour: as many changes of machine as were foreseen, once all hours are placed."""
    books = Books()
    for hour, (seller, held) in enumerate(sellers):
        if held:
            books.room.sell(seller, ANA, hour, 1)
        else:
            books.ask(seller, hour, 1)
    wanted = {hour: 1 for hour, (_, held) in enumerate(sellers) if not held}
    if not wanted:
        return
    likely = books.likely(wanted)
    joined = {hour + step for hour in wanted for step in (0, 1)}
    for hour, (seller, held) in enumerate(sellers):
        if not held:
            books.room.sell(seller, ANA, hour, 1)
    for hour in range(len(sellers)):
        books.room.gate(hour)
        books.room.pass_to(moment(hour))
    begun = [lease.parts[0].contract for lease in books.room.state.leases.values()]
    changes = sum(contract_of(CLASS, HOUR + hour) in begun for hour in joined if 0 < hour < len(sellers))
    assert changes == likely
