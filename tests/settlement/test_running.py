"""The running phase: READY titles of the minutes that are left, and what their failure costs whom."""

from __future__ import annotations

import pytest
from msgspec.structs import replace

from schemas import events as ev
from schemas.commands import Ground, Role, Tif
from schemas.events import TitleMove
from services.settlement import rows
from services.settlement.ledger import Contradiction
from tests.settlement.people import CONTRACT, table
from tests.settlement.told import BUY, SELL, Told

COLLATERAL = 4_004_000
"""Of one GPU at the collar's cap, with the buyer's fee."""


@pytest.fixture
def told() -> Told:
    """Behind the gate: pia has idle machines, mia promises some against collateral, both ask; bob and cid buy."""
    told = Told("pia bob cid")
    told.open("mia", Role.MARKET_MAKER)
    told.back("pia", Ground.READY, 4)
    told.back("mia", Ground.READY, 3, 4_000_000)
    asks = (("pia", 3_000_000), ("mia", 3_100_000))
    told.asks = {name: told.order(name, SELL, 2, price, flags=2) for name, price in asks}
    told.close_gate()
    return told


def buys(told: Told, name: str, seller: str, qty: int, price: int, minutes: int, left: int) -> list[ev.Event]:
    """Half past the hour and the like: an IOC bid that takes a part of an ask."""
    account, number = told.numbers[name], told.id()
    accepted = ev.OrderAccepted(0, number, account, CONTRACT, BUY, qty, price, Tif.IOC, 0, "", 0, 10)
    fill = told.fill(
        told.asks[seller], number, qty, price, name, seller, leaves=(left, 0), ground=Ground.READY, minutes=minutes
    )
    return [accepted, fill]


def test_a_running_fill_sells_the_minutes_that_are_left(told: Told) -> None:
    """37 minutes of 1 GPU at 3.000000 an hour are 1.85, rounded up; hours go over in minutes; READY is what is owed."""
    told.at_minute(22, *buys(told, "bob", "pia", 1, 3_000_000, 38, 1))
    told.at_minute(23, *buys(told, "cid", "pia", 1, 3_000_000, 37, 0))
    assert told.rows_of(rows.Title, "obligor", "holder", "ground", "minutes", "escrow", "proceeds", "fees") == table("""
        obligor | holder | ground | minutes | escrow  | proceeds | fees
        pia     | bob    | 3      | 38      | 1901900 | 1890500  | 11400
        pia     | cid    | 3      | 37      | 1851850 | 1840750  | 11100
    """)
    hours = {key[2]: amount for key, amount in told.state.ledger.balances().items() if key[0] == 11}
    assert hours == {told.numbers["pia"]: -75, told.numbers["bob"]: 38, told.numbers["cid"]: 37}
    assert told.rows_of(rows.Backing, "account", "ground", "qty", "owed") == table("""
        account | ground | qty | owed
        pia     | 3      | 4   | 2
        mia     | 3      | 3   | 0
    """)


def test_before_the_hour_begins_all_of_it_is_sold(told: Told) -> None:
    told.say(*buys(told, "bob", "pia", 1, 3_000_000, 60, 1), after_ms=1_000)
    assert told.rows_of(rows.Title, "ground", "minutes", "cost") == [
        ["ground", "minutes", "cost"],
        ["3", "60", "3003000"],
    ]


@pytest.mark.parametrize(
    "other",
    [
        {"taker_side": SELL},
        {"moves": (TitleMove(0, 1, Ground.DECLARED, 1, 1_890_500, 1_901_900, 0),)},
        {"moves": (TitleMove(0, 1, Ground.READY, 1, 1_890_500, 1_901_900, 0, 9, 9, 0),)},
        {"moves": (TitleMove(9, 9, 0, 1, 1_890_500, 1_901_900, 0),)},
    ],
)
def test_a_running_fill_that_cannot_be_one(told: Told, other: dict[str, object]) -> None:
    accepted, fill = buys(told, "bob", "pia", 1, 3_000_000, 38, 1)
    with pytest.raises(Contradiction):
        told.at_minute(22, accepted, replace(fill, **other))


@pytest.mark.parametrize("minutes", [37, 39, 60])
def test_other_minutes_than_are_left_are_not_sold(told: Told, minutes: int) -> None:
    """Also when all money fits them."""
    said = buys(told, "bob", "pia", 1, 3_000_000, minutes, 1)
    with pytest.raises(Contradiction):
        told.at_minute(22, *said)


def test_a_running_purchase_closes_nothing_that_its_buyer_owes(told: Told) -> None:
    """bob owes cid the hour since before the gate; what pia has ready does not stand in for it, though all numbers would fit."""
    told = Told("pia bob cid")
    told.back("pia", Ground.READY, 4)
    told.back("bob", Ground.DECLARED, 1)
    ask, bid = told.order("bob", SELL, 1, 3_000_000), told.order("cid", BUY, 1, 3_000_000)
    told.say(told.fill(ask, bid, 1, 3_000_000, "cid", "bob"))
    told.asks = {"pia": told.order("pia", SELL, 2, 3_000_000, flags=2)}
    told.close_gate()
    accepted, fill = buys(told, "bob", "pia", 1, 3_000_000, 60, 1)
    closing = replace(fill.moves[0], closes=1, closed=1, released_buyer=2_985_000)
    with pytest.raises(Contradiction):
        told.say(accepted, replace(fill, moves=(closing,)), after_ms=1_000)


def test_in_a_contract_whose_running_phase_is_over_nothing_is_sold(told: Told) -> None:
    told.at_minute(50, ev.RunningClosed(CONTRACT))
    with pytest.raises(Contradiction):
        told.at_minute(51, *buys(told, "bob", "pia", 1, 3_000_000, 9, 1))


def test_what_is_bought_running_closes_nothing_and_is_not_sold_on(told: Told) -> None:
    """bob holds a running hour; he cannot give it to cid."""
    told.at_minute(22, *buys(told, "bob", "pia", 1, 3_000_000, 38, 1))
    ask = told.order("bob", SELL, 1, 3_000_000)
    bid = told.order("cid", BUY, 1, 3_000_000, tif=Tif.IOC)
    resale = TitleMove(1, 1, 0, 1, 1_890_500, 1_901_900, 1_890_500)
    with pytest.raises(Contradiction):
        told.say(told.fill(ask, bid, 1, 3_000_000, "cid", "bob", ground=0, minutes=37, move=resale))


def test_unsold_ready_backing_ends_with_the_running_phase(told: Told) -> None:
    """The gate leaves it, running close takes what is not owed."""
    assert [row[2] for row in told.rows_of(rows.Backing, "account", "ground", "qty", "owed")[1:]] == ["4", "3"]
    told.at_minute(22, *buys(told, "bob", "mia", 2, 3_100_000, 38, 0))
    told.at_minute(
        50, ev.OrderCancelled(told.asks["pia"], told.numbers["pia"], CONTRACT, 2, 11), ev.RunningClosed(CONTRACT)
    )
    assert told.rows_of(rows.Backing, "account", "qty", "owed", "collateral_price") == table("""
        account | qty | owed | collateral_price
        pia     | 0   | 0    | 0
        mia     | 2   | 2    | 4000000
    """)


def running_day(told: Told) -> None:
    """bob has 38 minutes of two of mia's, cid 37 of one of pia's; the hour ends."""
    told.at_minute(22, *buys(told, "bob", "mia", 2, 3_100_000, 38, 0))
    told.at_minute(23, *buys(told, "cid", "pia", 1, 3_000_000, 37, 1))
    told.at_minute(
        50, ev.OrderCancelled(told.asks["pia"], told.numbers["pia"], CONTRACT, 1, 11), ev.RunningClosed(CONTRACT)
    )
    told.end(ev.CollateralMoved(CONTRACT, told.numbers["mia"], 2 * COLLATERAL))


@pytest.mark.parametrize(
    ("undelivered", "wallets"),
    [
        # bob's title: 3,926,667 for 76 GPU-minutes, fee 3,927; mia nets 3,907,033. cid's: 1.85, fee 1,850; pia nets 1,840,750.
        (0, {"pia": 1_840_750, "bob": 0, "cid": 0, "mia": 3_907_033 + 2 * COLLATERAL, "treasury": 23_561 + 11_100}),
        (60, {"pia": 0, "bob": 3_930_594, "cid": 1_851_850, "mia": 2 * COLLATERAL, "treasury": 0}),
        # 19 of 38 minutes are half of bob's; 19 of 37 of cid's.
        (19, {"pia": 895_500, "bob": 1_965_298, "cid": 950_950, "mia": 1_953_516 + 2 * COLLATERAL, "treasury": 17_180}),
    ],
)
def test_a_running_hour_pays_by_the_minutes_that_were_delivered(
    told: Told, undelivered: int, wallets: dict[str, int]
) -> None:
    """More minutes than a title has cannot be missing; what a provider has ready waits for nobody's collateral."""
    running_day(told)
    assert told.state.collateral.keys() == {(CONTRACT, told.numbers["mia"])}
    told.deliver(undelivered)
    at_rest = {name: told.state.ledger.wallet(number) - 1_000_000_000 for name, number in told.numbers.items()}
    assert at_rest | {"treasury": told.state.ledger.balance(9, 0, 0)} == wallets
    kinds = {key[0] for key in told.state.ledger.balances()}
    assert not kinds & {6, 7, 8, 11}, "nothing of the hour is left"


def test_collateral_that_is_not_ours_to_the_micro(told: Told) -> None:
    told.at_minute(22, *buys(told, "bob", "mia", 2, 3_100_000, 38, 0))
    with pytest.raises(Contradiction):
        told.end(ev.CollateralMoved(CONTRACT, told.numbers["mia"], 2 * COLLATERAL + 1))


def test_a_machine_sold_forward_is_not_ready_a_second_time() -> None:
    """Attack 8: the grounds are kept apart. What pia owes on declared machines is none of her READY, and the other way round."""
    told = Told("pia bob")
    told.back("pia", Ground.DECLARED, 2)
    told.back("pia", Ground.READY, 1)
    ask, bid = told.order("pia", SELL, 2, 3_000_000), told.order("bob", BUY, 2, 3_000_000)
    told.say(told.fill(ask, bid, 2, 3_000_000, "bob", "pia"))
    told.asks = {"pia": told.order("pia", SELL, 1, 3_000_000, flags=2)}
    told.close_gate()
    told.at_minute(30, *buys(told, "bob", "pia", 1, 3_000_000, 30, 0))
    assert told.rows_of(rows.Backing, "ground", "qty", "owed") == table("""
        ground | qty | owed
        1      | 0   | 2
        3      | 1   | 1
    """)
    told.end()
    # Only the running machine came up late.
    (running,) = [title.title for title in told.state.shards[0].titles.titles.values() if title.minutes == 30]
    told.deliver(30, title=running)
    told.deliver(0)
    assert told.state.ledger.wallet(told.numbers["bob"]) == 1_000_000_000 + 1_501_500
    assert told.state.ledger.wallet(told.numbers["pia"]) == 1_000_000_000 + 5_970_000


def test_a_class_without_a_running_close_says_it_when_the_hour_is_over() -> None:
    """Nobody has sold anything, so the contract is paid out and forgotten by then."""
    told = Told("pia", running_close_ms=0)
    told.close_gate()
    told.end()
    told.say(ev.RunningClosed(CONTRACT))
    with pytest.raises(Contradiction):
        told.say(ev.GateClosed(CONTRACT))
