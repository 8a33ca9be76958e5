"""Of several faults the first one of docs/engine.md is the answer: another engine must give the same bytes."""

from __future__ import annotations

import pytest
from msgspec.structs import replace

from schemas import commands as cmd
from schemas import events as ev
from schemas.commands import Flag, Ground, Role, Side, Tif
from schemas.events import Code
from schemas.units import MS_PER_HOUR
from tests.matching.faults import Fault, code_of, pairs
from tests.matching.market import CLASS, HOUR_NOW, Market, clock
from tests.matching.sources import engine_with

# --- Orders ----------------------------------------------------------------------------------------------------

AT_MS = clock("22:57")
"""Of the hour before the story's the running phase is closed, of the story's own it goes on; the one after is forward."""
AT = CLASS << 24
BEFORE, RUNS, FORWARD, HALTED, POST_ONLY = range(HOUR_NOW + 1, HOUR_NOW + 6)
ORDERS: dict[str, Fault] = {
    "too late": (Code.TOO_LATE, {"valid_until_ms": AT_MS - 1}),
    "valid for too long": (Code.WRONG_VALIDITY, {"valid_until_ms": AT_MS + 600_001}),
    "no account": (Code.UNKNOWN_ACCOUNT, {"account": 77}),
    "no client id": (Code.WRONG_CLIENT_ID, {"client_id": "a b"}),
    "another's client id": (Code.DUPLICATE_CLIENT_ID, {"client_id": "used"}),
    "no class": (Code.UNKNOWN_CLASS, {"contract": (9 << 24) + FORWARD}),
    "not listed": (Code.UNKNOWN_CONTRACT, {"contract": AT + HOUR_NOW + 99}),
    "closed": (Code.WRONG_PHASE, {"contract": AT + BEFORE}),
    "halted": (Code.HALTED, {"contract": AT + HALTED}),
    "no side": (Code.WRONG_SIDE, {"side": 3}),
    "no time in force": (Code.WRONG_TIF, {"tif": 9}),
    "a date that is over": (Code.WRONG_EXPIRY, {"tif": Tif.GTD, "expires_ms": AT_MS}),
    "a date without its kind": (Code.WRONG_TIF, {"expires_ms": AT_MS + 1}),
    "immediate while post-only": (Code.WRONG_TIF, {"contract": AT + POST_ONLY, "tif": Tif.IOC}),
    "a bid that waits while running": (Code.WRONG_TIF, {"contract": AT + RUNS}),
    "no flag": (Code.WRONG_FLAGS, {"flags": 8}),
    "post-only and immediate": (Code.WRONG_FLAGS, {"flags": Flag.POST_ONLY, "tif": Tif.IOC}),
    "running and immediate": (Code.WRONG_FLAGS, {"flags": Flag.RUNNING, "tif": Tif.FOK, "side": Side.SELL}),
    "a running bid": (Code.WRONG_FLAGS, {"flags": Flag.RUNNING}),
    "no quantity": (Code.WRONG_QTY, {"qty": 3}),
    "no price": (Code.WRONG_PRICE, {"price": 5}),
    "outside the collar": (Code.OUTSIDE_COLLAR, {"price": 500_000}),
    "too many orders": (Code.TOO_MANY_ORDERS, {"account": 101}),
    "too little money": (Code.INSUFFICIENT_FUNDS, {"qty": 900_000}),
    "nothing behind it": (Code.INSUFFICIENT_BACKING, {"qty": 900_000, "side": Side.SELL}),
    "would trade": (Code.WOULD_TRADE, {"flags": Flag.POST_ONLY, "price": 2_100_000}),
    "cannot fill": (Code.CANNOT_FILL, {"tif": Tif.FOK}),
}
NO_PAIRS = (
    # An ask may wait in the running phase, and a bid that does not wait as well.
    ("a bid that waits while running", "post-only and immediate"),
    ("a bid that waits while running", "running and immediate"),
    ("a bid that waits while running", "nothing behind it"),
    ("a bid that waits while running", "cannot fill"),
    # What does not wait at all has no date, and what may wait is no bid.
    ("a running bid", "nothing behind it"),
    # Post-only and all or nothing: flags that contradict each other.
    ("would trade", "cannot fill"),
)


@pytest.fixture(scope="module")
def orders() -> tuple[Market, cmd.PlaceOrder]:
    """For bodies that are refused and so change nothing."""
    return market_of_orders()


def market_of_orders() -> tuple[Market, cmd.PlaceOrder]:
    """Ana has two orders, the most there may be; Bert asks 2.10; the next hour is halted, the one after post-only."""
    people = {"ana": "1000", "bert": "1000", "carl": "1000"}
    market = Market.given(lot=2, money=people, engine=engine_with(open_orders_max=2), hours=3)
    market.when("""
        ana buys 2 at 1.90 in hour +1 as used
        ana buys 2 at 1.90 in hour +1
        bert sells 2 at 2.10 in hour +1
        carl buys 2 at 1.95 in hour +1 as used
    """)
    market.wait(to="22:57", ms=-600_000)
    market.tell(
        cmd.SetState(900, CLASS, HALTED, cmd.State.HALTED, ""),
        cmd.SetState(900, CLASS, POST_ONLY, cmd.State.POST_ONLY, ""),
    )
    market.wait(to="22:57")
    assert market.engine.time_ms == AT_MS
    return market, market.order("carl", Side.BUY, 2, "2.00", client="fresh", later=1)


@pytest.mark.parametrize("fault", ORDERS)
def test_an_order_with_one_fault_is_refused_for_it(fault: str) -> None:
    market, body = market_of_orders()
    code, changes = ORDERS[fault]

    assert code_of(market.tell(replace(body, **changes))) == code
    assert code_of(market.tell(body)) is None, "without it, it is taken"


@pytest.mark.parametrize(("first", "second"), pairs(ORDERS, *NO_PAIRS))
def test_an_order_with_two_faults_is_refused_for_the_earlier_one(
    first: str, second: str, orders: tuple[Market, cmd.PlaceOrder]
) -> None:
    market, body = orders

    assert code_of(market.tell(replace(body, **ORDERS[first][1], **ORDERS[second][1]))) == ORDERS[first][0]


def test_a_repeat_is_answered_before_anything_else_of_the_order_is_looked_at() -> None:
    """Its hour has become a halted one: the same body still stands for the order it was."""
    market, body = market_of_orders()
    market.tell(body)
    market.when("the class is halted")

    (said,) = market.tell(body)

    assert isinstance(said, ev.OrderRepeated)


# --- Backing ---------------------------------------------------------------------------------------------------

NOW_MS = (HOUR_NOW + 1) * MS_PER_HOUR - 60_000
"""The gate of the next hour is closed, the one after is the story's; its cover deadline is to come."""
BACKING: dict[str, Fault] = {
    "no account": (Code.UNKNOWN_ACCOUNT, {"account": 77}),
    "no class": (Code.UNKNOWN_CLASS, {"class_no": 9}),
    "no hours": (Code.WRONG_HOURS, {"hours": ()}),
    "an hour twice": (Code.WRONG_HOURS, {"hours": (HOUR_NOW + 2, HOUR_NOW + 2)}),
    "falling hours": (Code.WRONG_HOURS, {"hours": (HOUR_NOW + 3, HOUR_NOW + 2)}),
    "no ground": (Code.WRONG_GROUND, {"ground": 4}),
    "a member": (Code.WRONG_ROLE, {"account": 101}),
    "a provider": (Code.WRONG_ROLE, {"account": 102}),
    "gate closed": (Code.WRONG_PHASE, {"hours": (HOUR_NOW + 1, HOUR_NOW + 99)}),
    "not listed": (Code.UNKNOWN_CONTRACT, {"hours": (HOUR_NOW + 2, HOUR_NOW + 99)}),
    "another class's hour": (Code.UNKNOWN_CONTRACT, {"hours": (HOUR_NOW + 2, (1 << 24) + HOUR_NOW + 2)}),
    "no quantity": (Code.WRONG_QTY, {"qty": 3}),
    "too cheap": (Code.WRONG_COLLATERAL, {"collateral_price": 3_999_999}),
    "too dear": (Code.WRONG_COLLATERAL, {"collateral_price": 10**10 + 1}),
    "machines against cash": (Code.WRONG_COLLATERAL, {"ground": Ground.DECLARED}),
    "stale": (Code.STALE_VERSION, {"version": 4}),
    "too little money": (Code.INSUFFICIENT_FUNDS, {"qty": 1_000_000}),
}


@pytest.fixture(scope="module")
def backing() -> tuple[Market, cmd.SetBacking]:
    """For bodies that are refused and change nothing but the outbox's number."""
    return market_of_backing()


def market_of_backing() -> tuple[Market, cmd.SetBacking]:
    """Ana is a member, Bert a provider; Mike promises 2 in version 5, and would promise 4."""
    market = Market.given(lot=2, money={"ana": "0", "bert": "0"}, promises={"mike": 0})
    market.tell(cmd.SetAccount(market.outbox(), market.account("ana"), market.account("ana"), Role.MEMBER, 0))
    market.tell(market.promise("mike", 2, version=5))
    market.wait(to_ms=NOW_MS)
    return market, market.promise("mike", 4, version=6)


@pytest.mark.parametrize("fault", BACKING)
def test_backing_with_one_fault_is_refused_for_it(fault: str) -> None:
    market, body = market_of_backing()
    code, changes = BACKING[fault]

    assert code_of(market.tell(replace(body, **changes))) == code
    assert code_of(market.tell(replace(body, outbox=market.outbox()))) is None, "without it, it is taken"


@pytest.mark.parametrize(("first", "second"), pairs(BACKING, ("a provider", "machines against cash")))
def test_backing_with_two_faults_is_refused_for_the_earlier_one(
    first: str, second: str, backing: tuple[Market, cmd.SetBacking]
) -> None:
    market, body = backing
    wrong = replace(body, outbox=market.outbox(), **BACKING[first][1], **BACKING[second][1])

    assert code_of(market.tell(wrong)) == BACKING[first][0]


@pytest.mark.parametrize(
    ("hours", "code", "need"),
    [
        ((HOUR_NOW + 1, HOUR_NOW + 2), Code.WRONG_PHASE, HOUR_NOW + 1),
        ((HOUR_NOW, HOUR_NOW + 1), Code.UNKNOWN_CONTRACT, HOUR_NOW),
        ((0, HOUR_NOW + 2), Code.UNKNOWN_CONTRACT, 0),
        ((-1, HOUR_NOW + 2), Code.UNKNOWN_CONTRACT, -1),
        ((HOUR_NOW + 2, HOUR_NOW + 99, HOUR_NOW + 100), Code.UNKNOWN_CONTRACT, HOUR_NOW + 99),
    ],
)
def test_the_first_hour_that_cannot_be_backed_is_named(hours: tuple[int, ...], code: Code, need: int) -> None:
    market, body = market_of_backing()
    if hours[0] == HOUR_NOW:
        market.wait(to_ms=(HOUR_NOW + 1) * MS_PER_HOUR)

    (said,) = market.tell(replace(body, hours=hours))

    assert isinstance(said, ev.OutboxRejected)
    assert (said.code, said.need) == (code, need)


@pytest.mark.parametrize("qty", [-2, 1, 3, 1_000_002])
def test_a_quantity_of_backing_is_a_multiple_of_the_lot_from_nothing_to_a_million(qty: int) -> None:
    market, body = market_of_backing()

    (said,) = market.tell(replace(body, qty=qty))

    assert isinstance(said, ev.OutboxRejected)
    assert (said.code, said.need) == (Code.WRONG_QTY, 2)
    assert code_of(market.tell(replace(body, outbox=market.outbox(), qty=0))) is None


# --- Quantities and prices of orders ---------------------------------------------------------------------------


@pytest.mark.parametrize("qty", [0, -2, -(2**63), 1, 3, 1_000_002, 2**64 - 2])
def test_an_order_s_quantity_is_a_positive_multiple_of_the_lot_up_to_a_million(qty: int) -> None:
    market = Market.given(lot=2, money={"ana": "10000000"})
    body = market.order("ana", Side.BUY, 2, "2.00")

    (said,) = market.tell(replace(body, qty=qty))

    assert isinstance(said, ev.Rejected)
    assert (said.code, said.need) == (Code.WRONG_QTY, 2)
    assert code_of(market.tell(replace(body, qty=1_000_000))) is None


@pytest.mark.parametrize("price", [0, -10_000, -(2**63), 1, 9_999, 2_000_001])
def test_an_order_s_price_is_a_positive_multiple_of_the_tick(price: int) -> None:
    market = Market.given()
    body = market.order("ana", Side.BUY, 2, "2.00")

    (said,) = market.tell(replace(body, price=price))

    assert isinstance(said, ev.Rejected)
    assert (said.code, said.need) == (Code.WRONG_PRICE, 10_000)


# --- Cancels -----------------------------------------------------------------------------------------------------

CANCELS: dict[str, Fault] = {
    "too late": (Code.TOO_LATE, {"valid_until_ms": 0}),
    "valid for too long": (Code.WRONG_VALIDITY, {"valid_until_ms": 2**62}),
    "no account": (Code.UNKNOWN_ACCOUNT, {"account": 77}),
    "no order": (Code.UNKNOWN_ORDER, {"client_id": "other"}),
}


@pytest.mark.parametrize(("first", "second"), pairs(CANCELS))
def test_a_cancel_with_two_faults_is_refused_for_the_earlier_one(first: str, second: str) -> None:
    """And repeats the client id, so that the answer finds its way."""
    market = Market.given().when("ana buys 1 at 2.00 as mine")
    body = cmd.CancelOrder(market.account("ana"), 0, "mine", market.engine.time_ms)

    (said,) = market.tell(replace(body, **CANCELS[first][1], **CANCELS[second][1]))

    assert isinstance(said, ev.Rejected)
    assert (said.code, said.client_id) == (CANCELS[first][0], "other" if "no order" in {first, second} else "mine")
