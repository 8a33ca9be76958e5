"""What the simulated cloud buys, when, at which price; and what it says of ended hours."""

from dataclasses import dataclass

from schemas.http import PromisedAnswer
from schemas.ids import format_symbol
from schemas.units import MS_PER_HOUR, MS_PER_MINUTE
from services.simulated.covering import FAULT_MINUTES_MAX, Purchase, Uncovered, purchases, report

HOUR = 494_900
CLASS = "H100.SXM.80.US"
BEGINS_MS = HOUR * MS_PER_HOUR
COVER_MS = 30 * MS_PER_MINUTE


def symbol(hour: int = HOUR, class_id: str = CLASS) -> str:
    return format_symbol(class_id, hour)


@dataclass
class Desk:
    """What the desk owes in one hour, and the clouds' price."""

    owed: int = 3
    declared: int = 0
    price: int | None = 3_290_000
    refusals: int = 0

    def bought_at(self, minutes_before: float) -> list[Purchase | Uncovered]:
        promise = PromisedAnswer(
            account=2, contract=symbol(), hour="", owed=self.owed, collateral_price="7.26", declared=self.declared
        )
        cheapest = {} if self.price is None else {CLASS: self.price}
        now_ms = BEGINS_MS - int(minutes_before * MS_PER_MINUTE)
        return purchases([promise], cheapest, {CLASS: COVER_MS}, {symbol(): self.refusals}, now_ms)

    def key(self) -> str:
        (bought,) = self.bought_at(60)
        assert isinstance(bought, Purchase)
        return bought.key


def test_it_buys_in_the_hour_before_the_cover_deadline() -> None:
    """Promises must be covered 30 minutes before the hour: it buys from 90 minutes before on, until the deadline has come."""
    desk = Desk()
    bought = {minutes: len(desk.bought_at(minutes)) for minutes in (91, 90, 60, 31, 30, 10)}

    assert bought == {91: 0, 90: 1, 60: 1, 31: 1, 30: 0, 10: 0}


def test_it_pays_what_the_cheapest_cloud_asks_for_all_that_is_owed() -> None:
    (bought,) = Desk(owed=3, price=3_290_000).bought_at(60)

    assert isinstance(bought, Purchase)
    assert (bought.account, bought.contract, bought.class_id, bought.hour) == (2, symbol(), CLASS, HOUR)
    assert (bought.qty, bought.price, bought.cost) == (3, 3_290_000, 9_870_000)


def test_where_no_cloud_offers_nothing_is_bought() -> None:
    assert Desk(price=None).bought_at(60) == [Uncovered(2, symbol(), 3)]
    assert Desk(owed=0).bought_at(60) == []


def test_a_class_that_is_not_listed_any_more_is_left_alone() -> None:
    promise = PromisedAnswer(
        account=2, contract=symbol(class_id="OLD.1"), hour="", owed=3, collateral_price="1", declared=0
    )

    assert purchases([promise], {"OLD.1": 1}, {}, {}, BEGINS_MS - COVER_MS - 1) == []


def test_the_same_purchase_has_the_same_key_and_another_one_another() -> None:
    """After a crash the cloud asks the very same again; three more after three were procured are other machines."""
    keys = {
        "three": Desk(owed=3).key(),
        "three more": Desk(owed=3, declared=3).key(),
        "four": Desk(owed=4).key(),
        "after a refusal": Desk(owed=3, refusals=1).key(),
    }

    assert Desk(owed=3, price=4_000_000).key() == keys["three"]
    assert len(set(keys.values())) == 4
    assert all(len(key) <= 40 and key.isascii() for key in keys.values())


def test_of_an_ended_hour_it_always_says_the_same() -> None:
    """Now and then an hour has lost minutes: as the seed has it, and not as often as one asks."""
    reports = {hour: report(symbol(hour), "1") for hour in range(HOUR, HOUR + 1_000)}
    lost = [each.undelivered_minutes for each in reports.values() if each.undelivered_minutes]

    assert reports == {hour: report(symbol(hour), "1") for hour in reports}
    assert 25 < len(lost) < 85
    assert (min(lost), max(lost)) == (1, FAULT_MINUTES_MAX)
    assert len({each.key for each in reports.values()}) == 1_000
    assert all(len(each.key) <= 40 for each in reports.values())
    other = [report(symbol(hour), "2").undelivered_minutes for hour in reports]
    assert other != [each.undelivered_minutes for each in reports.values()]
