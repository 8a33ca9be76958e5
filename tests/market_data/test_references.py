"""What collars should be based on, drawn as trades; and that the engine takes every wish."""

from __future__ import annotations

from collections import Counter

import pytest

from schemas import events as ev
from schemas.codec import EventsRecord
from schemas.commands import ALL_HOURS, Fees, MoveReference, Side
from schemas.events import Code, ReferenceMoved, Rejected
from schemas.ids import contract_of, order_id
from schemas.market import Reference
from schemas.supply import ClassReference, OfferGone, OfferSeen, PollDone
from schemas.units import MS_PER_HOUR, MS_PER_MINUTE
from services.market_data.clouds import CLOUDS_MIN, STALE_MS, Clouds
from services.market_data.hub import Hub
from services.market_data.market import Market
from services.market_data.references import References, clipped
from tests.market_data.flow import Flow

HOUR = 497_300
CLASS = "H100.SXM.80.US"
LIST_PRICE = 2_000_000
NOW_MS = 1_790_000_000_000
T0_MS = (HOUR - 20) * MS_PER_HOUR


class Desk:
    """A market with eight hours, trades drawn as lines, and clouds."""

    def __init__(self) -> None:
        self.market = Market(0)
        self.clouds = Clouds()
        self.references = References(self.market, self.clouds)
        self.time_ms = T0_MS
        self._trades = 0
        self.say(
            ev.ShardStarted(0, 0, 2, 0, 1, False),
            ev.ClassSet(0, 1, 1, CLASS, 1, 10_000, LIST_PRICE, Fees(), 168, 300_000, 0, 600_000, 5_000, 20_000, 0),
            *(ev.ContractListed(contract_of(1, HOUR + more)) for more in range(8)),
            *(ev.AccountSet(0, 0, account, 1 if account in {1, 11} else account, 1, 0) for account in (1, 2, 3, 4, 11)),
        )

    def say(self, *events: ev.Event, after_ms: int = 0) -> None:
        self.time_ms += after_ms
        seq = self.market.seq + 1
        self.market.apply(EventsRecord(1, 0, seq, seq, 0, True, self.time_ms, 1, seq, list(events)))

    def trades(self, drawn: str, *, bought_in: bool = False) -> None:
        """Lines of `hour offset | buyer | seller | quantity | price`, a second apart."""
        for line in drawn.strip().splitlines():
            hour, buyer, seller, qty, cents = (int(cell.replace(".", "")) for cell in line.split("|"))
            self._trades += 1
            contract, price = contract_of(1, HOUR + hour), cents * 10_000
            ask, bid = (order_id(0, 50, side, self._trades) for side in (1, 2))
            both = [(ask, seller, Side.SELL)] if bought_in else [(ask, seller, Side.SELL), (bid, buyer, Side.BUY)]
            self.say(
                *(
                    ev.OrderAccepted(0, order, account, contract, side, qty, price, 1, 0, "", 0, 0)
                    for order, account, side in both
                ),
                ev.Filled(
                    self._trades, contract, price, qty, 60, Side.BUY, ask, 0 if bought_in else bid, 0, 0, buyer, seller,
                    price * qty, 0, 0, (),
                ),
                after_ms=1_000,
            )  # fmt: skip

    def cloud(self, name: str, price: float, *, seen_ms: int = NOW_MS) -> None:
        self.clouds.take(
            OfferSeen(name, "r", "i", "on_demand", CLASS, 8, int(price * 1_000_000), 1, 1, "s", 0, 0, f"poll-{name}")
        )
        self.clouds.take(PollDone(f"poll-{name}", 1, 1, 0, {}, seen_ms))

    def median(self, price: float, clouds: int) -> None:
        self.clouds.take(ClassReference(CLASS, int(price * 1_000_000), 1_000_000, clouds, clouds, 0))

    def wanted(self) -> dict[int, tuple[str, str]]:
        """Hour offset, or "class" → (price, source)."""
        (listed,) = self.market.classes.values()
        found = self.references.wanted(listed, NOW_MS)
        return {
            hour - HOUR if hour else "class": (f"{each.price / 1_000_000:.6g}", each.source)
            for hour, each in found.items()
        }  # type: ignore[misc]

    def due(self) -> list[tuple[int, float]]:
        """(hour offset or -1 for the class, price)."""
        return [(w.hour - HOUR if w.hour else -1, w.price / 1_000_000) for w in self.references.due(NOW_MS)]


@pytest.fixture
def desk() -> Desk:
    return Desk()


ENOUGH = """
    3 | 2 | 1 | 1 | 2.00
    3 | 2 | 3 | 2 | 2.30
    3 | 2 | 1 | 1 | 2.40
"""


def test_three_trades_between_two_pairs_make_a_reference_weighted_by_quantity(desk: Desk) -> None:
    desk.trades(ENOUGH)
    assert desk.wanted()[3] == ("2.25", "average of 3 trades in the last hour")


@pytest.mark.parametrize(
    "trades",
    [
        "3 | 2 | 1 | 1 | 2.00\n3 | 2 | 3 | 2 | 2.30",
        "3 | 2 | 1 | 1 | 2.00\n3 | 1 | 2 | 2 | 2.30\n3 | 2 | 1 | 1 | 2.40\n3 | 1 | 2 | 9 | 3.90",
        "3 | 2 | 1 | 1 | 2.00\n3 | 2 | 11 | 2 | 2.30\n3 | 11 | 2 | 1 | 2.40",
    ],
    ids=["two trades", "to and fro between the same two", "the same two owners under other accounts"],
)
def test_what_two_friends_could_do_makes_none(desk: Desk, trades: str) -> None:
    desk.trades(trades)
    assert desk.wanted() == {}


def test_what_was_bought_in_does_not_count(desk: Desk) -> None:
    desk.trades(ENOUGH)
    desk.trades("3 | 2 | 4 | 90 | 3.99", bought_in=True)
    assert desk.wanted()[3][0] == "2.25"


def test_trades_count_for_an_hour(desk: Desk) -> None:
    desk.trades(ENOUGH)
    desk.say(ev.Ticked(0, 0), after_ms=59 * MS_PER_MINUTE)
    assert 3 in desk.wanted()
    desk.say(ev.Ticked(0, 0), after_ms=MS_PER_MINUTE)
    assert desk.wanted() == {}


def test_an_hour_without_trades_looks_at_its_neighbours_within_three(desk: Desk) -> None:
    """The earlier of two that are as near; further away its class counts."""
    desk.trades(ENOUGH)
    desk.trades(ENOUGH.replace("3 |", "5 |").replace("2.30", "2.50").replace("5 | 2 | 5 |", "5 | 2 | 3 |"))
    desk.cloud("a", 3.0)
    desk.cloud("b", 3.2)
    desk.median(3.1, 2)
    prices = {hour: price for hour, (price, _) in desk.wanted().items()}
    assert prices == {
        "class": "3.1", 0: "2.25", 1: "2.25", 2: "2.25", 3: "2.25", 4: "2.25", 5: "2.35", 6: "2.35", 7: "2.35",
    }  # fmt: skip
    assert desk.wanted()[6][1] == "of the hour 1 h before: average of 3 trades in the last hour"
    assert desk.wanted()[4][1].startswith("of the hour 1 h before")


def test_clouds_make_the_classs_while_there_are_two_and_all_are_alive(desk: Desk) -> None:
    desk.cloud("a", 3.0)
    desk.cloud("b", 3.2, seen_ms=NOW_MS - STALE_MS + 1)
    desk.median(3.1, CLOUDS_MIN)
    assert desk.wanted() == {"class": ("3.1", "median of 2 clouds")} | dict.fromkeys(
        range(8), ("3.1", "median of 2 clouds")
    )
    desk.median(3.0, CLOUDS_MIN - 1)
    assert desk.wanted() == {}, "one cloud is one opinion"
    desk.median(3.1, CLOUDS_MIN)
    desk.cloud("b", 3.2, seen_ms=NOW_MS - STALE_MS)
    assert desk.wanted() == {}, "who has not been heard of for a minute may have other prices by now"
    desk.clouds.take(OfferGone("b", "r", "i", "on_demand", 0))
    assert "class" in desk.wanted(), "who lists nothing need not be alive"


def test_a_wish_is_written_when_it_is_a_percent_away(desk: Desk) -> None:
    """The class's alone: its hours follow it by themselves."""
    for name in "ab":
        desk.cloud(name, 2.0)
    desk.median(2.019999, 2)
    assert desk.due() == []
    desk.median(2.02, 2)
    assert desk.due() == [(-1, 2.02)]


def test_a_wish_is_repeated_after_a_minute_and_not_before(desk: Desk) -> None:
    for name in "ab":
        desk.cloud(name, 2.0)
    desk.median(3.0, 2)
    assert desk.due() == [(-1, 3.0)]
    desk.say(ev.Ticked(0, 0), after_ms=MS_PER_MINUTE - 1)
    assert desk.due() == []
    desk.say(ev.Ticked(0, 0), after_ms=1)
    assert desk.due() == [(-1, 3.0)], "it was not taken: once more"
    desk.say(ReferenceMoved(0, 1, ALL_HOURS, 3_000_000, "median of 2 clouds"), after_ms=MS_PER_MINUTE)
    assert desk.due() == []
    desk.median(3.5, 2)
    desk.say(ev.Ticked(0, 0), after_ms=MS_PER_MINUTE - 1)
    assert desk.due() == [], "the engine takes one a minute"
    desk.say(ev.Ticked(0, 0), after_ms=1)
    assert desk.due() == [(-1, 3.5)]


def test_an_hour_whose_trades_have_grown_old_goes_back_to_its_class(desk: Desk) -> None:
    desk.say(ReferenceMoved(0, 1, HOUR + 3, 3_000_000, "trades"))
    for name in "ab":
        desk.cloud(name, 2.0)
    desk.median(2.0, 2)
    desk.say(ev.Ticked(0, 0), after_ms=MS_PER_MINUTE)
    assert desk.due() == [(3, 2.0)]


def wish_for_twice_as_much(desk: Desk) -> None:
    """Of the class, whose hours have its reference; one of them has trades of its own."""
    desk.trades(ENOUGH)
    desk.say(ReferenceMoved(0, 1, ALL_HOURS, 4_000_000, "median of 2 clouds"))
    for name in "ab":
        desk.cloud(name, 2.0)
    desk.median(8.0, 2)
    desk.say(ev.Ticked(0, 0), after_ms=MS_PER_MINUTE)
    assert desk.due() == [(-1, 8.0)]


def test_an_hour_that_has_its_class_s_waits_until_that_has_moved(desk: Desk) -> None:
    """The engine judges the hour's by what its class has by then: half of the old one may be less than half of the new."""
    wish_for_twice_as_much(desk)
    desk.say(ev.Ticked(0, 0), after_ms=1_000)
    assert desk.due() == []
    desk.say(ReferenceMoved(0, 1, ALL_HOURS, 8_000_000, "median of 2 clouds"), after_ms=1_000)
    assert {price for _, price in desk.due()} == {4.0}, "half of what its class has now"


def test_an_hour_does_not_wait_for_a_class_whose_wish_was_lost(desk: Desk) -> None:
    """A new writer reads the end of the wishes only; and the clouds want nothing any more."""
    wish_for_twice_as_much(desk)
    desk.median(4.0, 2)
    desk.say(ev.Ticked(0, 0), after_ms=MS_PER_MINUTE - 1)
    assert desk.due() == []
    desk.say(ev.Ticked(0, 0), after_ms=1)
    assert {price for _, price in desk.due()} == {2.25}


def test_an_hour_that_is_closed_needs_none(desk: Desk) -> None:
    desk.trades(ENOUGH)
    desk.say(ev.GateClosed(contract_of(1, HOUR + 3)), ev.RunningClosed(contract_of(1, HOUR + 3)))
    assert [hour for hour, _ in desk.due()] == [0, 1, 2, 4, 5, 6]


@pytest.mark.parametrize(
    ("price", "list_price", "in_force", "taken"),
    [
        (5_000_000, 2_000_000, 2_000_000, 4_000_000),
        (100_000, 2_000_000, 2_000_000, 1_000_000),
        (100_000, 2_000_000, 250_001, 200_000),
        (90_000_000, 2_000_000, 15_000_000, 20_000_000),
        (1, 2_000_000, 333_333, 200_000),
        (1, 2_000_000, 500_001, 250_001),
    ],
)
def test_no_wish_is_further_away_than_the_engine_goes_at_once(
    price: int, list_price: int, in_force: int, taken: int
) -> None:
    assert clipped(price, list_price, in_force) == taken


def test_the_engine_takes_every_wish(seed: int) -> None:
    """Random markets whose clouds and trades want other collars all the time; every wish is a command right away."""
    answers: Counter[str] = Counter()
    for day in range(4):
        flow = Flow(f"{seed}/references/{day}", parts=False)
        hub = Hub(1, first_seq=0, feed_key=bytes(32))
        clouds = Clouds()
        references = References(hub.markets[0], clouds)
        for number, record in enumerate(flow.day(200)):
            hub.take(record)
            wishes = references.due(NOW_MS)
            if number % 20 == 0:
                for name in "ab":
                    clouds.take(OfferSeen(name, "r", "i", "on_demand", "TINY", 1, 1, 1, 1, "s", 0, 0, name))
                    clouds.take(PollDone(name, 1, 1, 0, {}, NOW_MS))
                clouds.take(ClassReference("TINY", flow.chance.randint(1, 2_000), 1, 2, 2, 0))
            for wish in wishes:
                _ask(flow, hub, wish, answers)
    print(dict(answers))
    assert set(answers) == {"ReferenceMoved"}
    assert answers["ReferenceMoved"] > 20


def _ask(flow: Flow, hub: Hub, wish: Reference, answers: Counter[str]) -> None:
    for record in flow.apply([MoveReference(wish.class_no, wish.hour, wish.price, wish.source)]):
        hub.take(record)
        for event in record.events:
            if isinstance(event, ReferenceMoved):
                answers["ReferenceMoved"] += 1
            elif isinstance(event, Rejected):
                answers[Code(event.code).name] += 1
