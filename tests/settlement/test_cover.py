"""The cover deadline: promises end, what is owed on them is bought in their collateral's name, and what cannot be is told."""

from __future__ import annotations

import pytest
from msgspec.structs import replace

from schemas import events as ev
from schemas.commands import Ground, Role
from schemas.events import TitleMove
from schemas.units import MS_PER_HOUR, fee
from services.settlement import rows
from services.settlement.ledger import Contradiction
from tests.settlement.people import CONTRACT, HOUR, table
from tests.settlement.told import BUY, CAP, SELL, Told

DEADLINE = HOUR * MS_PER_HOUR - 1_800_000
COLLATERAL = 4_104_100
"""Of one GPU at 4.10, with the buyer's fee."""


@pytest.fixture
def told() -> Told:
    """mia promised 5 at a collateral price of 4.10 and owes 3 of them to bob at 2.00; ana has machines."""
    told = Told("ana bob")
    told.open("mia", Role.MARKET_MAKER)
    told.back("ana", Ground.DECLARED, 10)
    told.back("mia", Ground.PROMISED, 5, 4_100_000)
    ask, bid = told.order("mia", SELL, 3, 2_000_000), told.order("bob", BUY, 3, 2_000_000)
    told.say(told.fill(ask, bid, 3, 2_000_000, "bob", "mia", ground=Ground.PROMISED))
    return told


def bought_in(told: Told, ask: int, qty: int, price: int, left: int) -> list[ev.Event]:
    """The deadline: mia's 2 unsold are cut, her 3 are bought, of which ana's ask gives `qty`."""
    mia = told.numbers["mia"]
    # ana's new title 2 takes mia's place in title 1, or in a piece of it.
    closes = 1 if qty == 3 else 3
    net = price * qty - fee(price * qty, 50)
    cost = price * qty + fee(price * qty, 10)
    # Of mia's proceeds of 5.97 for three.
    move = TitleMove(0, 2, Ground.DECLARED, qty, net, cost, 0, 1, closes, min(5_970_000 * qty // 3, cost))
    return [
        ev.BackingCut(CONTRACT, mia, Ground.PROMISED, 2),
        ev.BuyIn(CONTRACT, mia, 3, CAP),
        told.fill(ask, 0, qty, price, "mia", "ana", leaves=(0, left), move=move),
    ]


def test_what_is_owed_as_promised_is_bought_in(told: Told) -> None:
    """The order that buys is nobody's: fills have taker 0. ana owes bob now, and mia's loss is hers whatever ana does."""
    ask = told.order("ana", SELL, 3, 2_500_000)
    told.until(DEADLINE, *bought_in(told, ask, 3, 2_500_000, 0))
    assert told.rows_of(rows.Title, "title", "obligor", "holder", "ground", "qty", "escrow", "cost") == table("""
        title | obligor | holder | ground | qty | escrow  | cost
        1     | ana     | bob    | 1      | 3   | 7543500 | 6006000
    """)
    assert told.rows_of(rows.Claim, "account", "gain", "loss") == [["account", "gain", "loss"], ["mia", "0", "1537500"]]
    assert told.rows_of(rows.Backing, "account", "ground", "qty", "owed") == table("""
        account | ground | qty | owed
        ana     | 1      | 10  | 3
        mia     | 2      | 0   | 0
    """)
    assert told.rows_of(rows.Fill, "taker_order", "buyer", "seller", "price")[2:] == [["0", "3", "1", "2500000"]]
    assert not told.store.rows["buy_in_failures"]


def test_what_cannot_be_bought_is_a_failure_that_all_can_read(told: Told) -> None:
    """One of three is there. mia's collateral for the other two goes to clearing, and comes back when bob's hour is settled."""
    mia = told.numbers["mia"]
    ask = told.order("ana", SELL, 1, 2_500_000)
    told.until(DEADLINE, *bought_in(told, ask, 1, 2_500_000, 2), ev.BuyInFailed(CONTRACT, mia, 2))
    told.titles = 3
    assert told.rows_of(rows.BuyInFailure, "account", "contract", "qty", "time_ms") == [
        ["account", "contract", "qty", "time_ms"],
        ["mia", str(CONTRACT), "2", str(DEADLINE)],
    ]
    told.close_gate()
    told.end(ev.CollateralMoved(CONTRACT, mia, 2 * COLLATERAL))
    told.deliver(60, title=1)
    assert not told.state.collateral
    # bob has back what two of three cost him, mia her collateral, and nothing of what she would have earned.
    wallets = {name: told.state.ledger.wallet(number) - 1_000_000_000 for name, number in told.numbers.items()}
    assert wallets == {"ana": 0, "bob": 4_004_000, "mia": 2 * COLLATERAL}


def test_in_a_contract_that_does_not_trade_all_of_it_fails(told: Told) -> None:
    """Halted: nobody buys, and the failure is told without a buy-in. The unsold promise ends all the same."""
    mia = told.numbers["mia"]
    told.say(ev.StateSet(0, 1, 1, HOUR, 4, "fire"))
    told.until(DEADLINE, ev.BackingCut(CONTRACT, mia, Ground.PROMISED, 2), ev.BuyInFailed(CONTRACT, mia, 3))
    assert told.row(rows.Backing, mia, CONTRACT, Ground.PROMISED)["qty"] == 0
    assert told.row(rows.BuyInFailure, CONTRACT, mia)["qty"] == 3


def test_a_collar_that_rises_cuts_what_is_not_sold_and_no_more(told: Told) -> None:
    mia = told.numbers["mia"]
    told.say(
        ev.ReferenceMoved(0, 1, HOUR, 2_100_000, "index", 1_050_000, 4_200_000),
        ev.BackingCut(CONTRACT, mia, Ground.PROMISED, 2),
    )
    row = told.row(rows.Backing, mia, CONTRACT, Ground.PROMISED)
    assert (row["qty"], row["owed"], row["collateral_price"]) == (3, 3, 4_100_000)
    # Of the two, what its collateral was reckoned with is the lower one now.
    told.until(DEADLINE, ev.BuyIn(CONTRACT, mia, 3, 4_100_000), ev.BuyInFailed(CONTRACT, mia, 3))
    assert told.row(rows.Backing, mia, CONTRACT, Ground.PROMISED)["qty"] == 0


@pytest.mark.parametrize(
    ("place", "other"),
    [
        (0, {"qty": 1}),
        (0, {"ground": Ground.DECLARED}),
        (0, {"account": 1}),
        (1, {"qty": 2}),
        (1, {"limit": 4_100_000}),
        (1, {"account": 1}),
        (1, {"contract": CONTRACT + 1}),
        (2, {"taker_leaves": 1}),
        (2, {"buyer_fee": 0}),
        (2, {"taker_side": SELL}),
        (2, {"buyer": 2}),
    ],
)
def test_a_buy_in_that_does_not_follow_from_our_books(told: Told, place: int, other: dict[str, int]) -> None:
    ask = told.order("ana", SELL, 3, 2_500_000)
    said = bought_in(told, ask, 3, 2_500_000, 0)
    said[place] = replace(said[place], **other)
    with pytest.raises(Contradiction):
        told.until(DEADLINE, *said)


def test_a_buy_in_above_its_limit(told: Told) -> None:
    ask = told.order("ana", SELL, 3, CAP + 1)
    with pytest.raises(Contradiction):
        told.until(DEADLINE, *bought_in(told, ask, 3, CAP + 1, 0))


@pytest.mark.parametrize("qty", [0, 2, 4])
def test_a_failure_of_another_size_than_what_is_owed(told: Told, qty: int) -> None:
    with pytest.raises(Contradiction):
        told.until(DEADLINE, ev.BuyInFailed(CONTRACT, told.numbers["mia"], qty))


# --- States and references -----------------------------------------------------------------------------------


def test_a_contract_opens_by_itself_and_a_class_reopens() -> None:
    told = Told("ana")
    told.say(ev.StateReached(1, HOUR, 2))
    assert told.row(rows.Contract, CONTRACT)["state"] == 2
    told.say(ev.StateReached(1, HOUR, 1), after_ms=60_000)
    # An operator asked for open: a halt's reopening begins as cancel-only.
    told.say(ev.StateSet(0, 1, 1, 0, 3, "again"))
    states = [told.row(rows.Contract, CONTRACT)["state"], told.row(rows.ClassRow, 1)["state"]]
    told.say(ev.StateReached(1, 0, 2), after_ms=60_000)
    assert [*states, told.row(rows.ClassRow, 1)["state"]] == [1, 3, 2]


def test_references_move_collars_of_a_class_and_of_a_contract_that_has_its_own() -> None:
    """What a reader shows: 0 in a contract means its class's. Halves are rounded into the collar."""
    told = Told("ana")
    told.say(ev.ReferenceMoved(0, 1, HOUR, 2_000_001, "index", 1_000_001, 4_000_002))
    told.say(ev.ReferenceMoved(0, 1, 0, 1_500_000, "catalogues", 750_000, 3_000_000))
    collar = ("reference", "collar_low", "collar_high")
    assert told.rows_of(rows.ClassRow, *collar) == [list(collar), ["1500000", "750000", "3000000"]]
    assert told.rows_of(rows.Contract, *collar)[:3] == [list(collar), ["2000001", "1000001", "4000002"], ["0"] * 3]


@pytest.mark.parametrize(
    "said",
    [
        ev.ReferenceMoved(0, 1, HOUR, 2_000_001, "index", 1_000_000, 4_000_002),
        ev.ReferenceMoved(0, 1, HOUR, 2_000_001, "index", 1_000_001, 4_000_001),
        ev.ReferenceMoved(0, 2, 0, 2_000_000, "index", 1_000_000, 4_000_000),
        ev.ReferenceMoved(0, 1, HOUR - 9, 2_000_000, "index", 1_000_000, 4_000_000),
        ev.StateReached(2, 0, 1),
        ev.StateReached(1, HOUR - 9, 1),
    ],
)
def test_a_state_or_a_collar_of_what_is_not_here(said: ev.Event) -> None:
    told = Told("ana")
    with pytest.raises(Contradiction):
        told.say(said)


# --- Corrections ---------------------------------------------------------------------------------------------


def test_an_error_is_corrected_in_cash_and_everybody_can_read_why(told: Told) -> None:
    """Two operators of different owners; what they wrote is shown as far as it can be printed."""
    for name in ("olga", "otto"):
        told.open(name, Role.MEMBER)
    who = [told.numbers[name] for name in ("olga", "otto", "mia", "bob")]
    before = [told.trading(account) for account in who]
    told.say(ev.CashCorrected(0, *who, 1_250_000, 1, "a wrong price\x00 was typed"))
    assert [told.trading(account) - had for account, had in zip(who, before, strict=True)] == [
        0,
        0,
        -1_250_000,
        1_250_000,
    ]
    columns = ("operator", "second_operator", "payer", "payee", "amount", "trade", "reason")
    assert told.rows_of(rows.Correction, *columns) == table("""
        operator | second_operator | payer | payee | amount  | trade | reason
        olga     | otto            | mia   | bob   | 1250000 | 1     | a wrong price? was typed
    """)
    assert [entry[4] for entry in told.store.entries.values()][-1] == "cash_corrected"


def test_one_owner_alone_corrects_nothing(told: Told) -> None:
    told.open("olga", Role.MEMBER)
    told.open("olga's second", Role.MEMBER, owner="olga")
    who = [told.numbers[name] for name in ("olga", "olga's second", "mia", "bob")]
    with pytest.raises(Contradiction):
        told.say(ev.CashCorrected(0, *who, 1_250_000, 1, "for a friend"))
