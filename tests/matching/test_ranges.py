"""A range: the same order in many hours, judged together, entered hour by hour."""

from __future__ import annotations

import pytest
from msgspec.structs import replace

from schemas import commands as cmd
from schemas import events as ev
from schemas.commands import Side
from schemas.events import Code
from schemas.ids import order_id
from tests.matching.faults import Fault, code_of, pairs
from tests.matching.market import CLASS, HOUR_NOW, VALID_MS, Market, lines, rows
from tests.matching.sources import engine_with
from tests.matching.test_refusal_order import AT_MS, FORWARD, ORDERS, market_of_orders

BOOKS = """
    hour | bid    | price | ask
    +0   |        | 2.10  | 3 carl
    +0   | 1 emil | 1.90  |
    +1   |        | 2.00  | 1 dana
    +2   |        | 2.20  | 9 carl
"""


def test_each_hour_s_order_trades_and_waits_by_itself() -> None:
    """One outcome for all; then hour by hour what happens there, with ids that follow each other."""
    market = Market.given(BOOKS, hours=3)

    market.when("ana buys 2 at 2.10 in hours +0 +1 +2 as mine")

    assert market.said() == lines("""
        ana bids 2 at 2.10 in +0, +1, +2
        ana buys 2 from carl at 2.10
        ana buys 1 from dana at 2.00
    """)
    assert market.books() == rows("""
        hour | bid    | price | ask
        +0   |        | 2.10  | 1 carl
        +0   | 1 emil | 1.90  |
        +1   | 1 ana  | 2.10  |
        +2   |        | 2.20  | 9 carl
        +2   | 2 ana  | 2.10  |
    """)
    (accepted, first, second) = market.events
    assert isinstance(accepted, ev.RangeAccepted)
    assert [leg.order for leg in accepted.legs] == [order_id(0, market._offset - 1, 0, leg) for leg in range(3)]
    assert [e.taker_order for e in (first, second) if isinstance(e, ev.Filled)] == [
        leg.order for leg in accepted.legs[:2]
    ]
    assert (accepted.maker_bp, accepted.taker_bp, accepted.client_id) == (0, 0, "mine")


def test_legs_that_are_refused_say_why_and_the_others_go_on() -> None:
    """Hour −1 is over, hour +9 not listed yet; in hour +0 she would sell more than she has."""
    market = Market.given(BOOKS, hours=3, backs={"ana": 5}).wait(to="22:54").when("ana sells 4 at 2.50")

    market.when("ana sells 2 at 2.40 in hours -1 +0 +1 +2 +9")

    assert market.said() == [
        "ana offers 2 at 2.40 in -1 wrong_phase, +0 insufficient_backing (needs 2, has 1), +1, +2, +9 unknown_contract"
    ]
    assert [row for row in market.books() if " ana" in row[3]] == [
        ("+0", "", "2.50", "4 ana"),
        ("+1", "", "2.40", "2 ana"),
        ("+2", "", "2.40", "2 ana"),
    ]


def test_a_range_of_which_every_leg_is_refused_is_accepted_and_does_nothing() -> None:
    """Its client id is in use all the same: the answer to a repeat is the same outcome."""
    market = Market.given()
    market.when(
        "ana buys 3 at 9.00 in hours +0 +1 as mine\nana buys 3 at 9.00 in hours +0 +1 as mine\nana cancels mine"
    )

    assert market.said() == lines("""
        ana bids 3 at 9.00 in +0 outside_collar (needs 4.00), +1 outside_collar (needs 4.00)
        ana repeats mine
        ana is refused: unknown_order
    """)


def test_values_that_no_order_may_have_come_back_as_they_were_sent() -> None:
    """The largest and the smallest number that the bytes can hold: each leg is refused for the first of them."""
    market = Market.given()
    body = cmd.PlaceRange(
        market.account("ana"), CLASS, (market.hour,), Side.BUY, 2**64 - 1, -(2**63), 1, 0, "", market.engine.time_ms, 0
    )

    (said,) = market.tell(body)

    assert isinstance(said, ev.RangeAccepted)
    assert (said.qty, said.price, said.legs) == (
        2**64 - 1,
        -(2**63),
        (ev.LegOutcome(0, 0, Code.WRONG_QTY, 1),),
    )


# --- Judged together -----------------------------------------------------------------------------------------------


def test_legs_share_the_money_in_the_order_of_their_hours() -> None:
    """5.00 hold two legs of 2.000001 each and not a third; the refusal says what the first two left."""
    market = Market.given(money={"ana": "5.00"}, hours=3)

    market.when("ana buys 1 at 2.00 in hours +0 +1 +2")

    assert market.said() == ["ana bids 1 at 2.00 in +0, +1, +2 insufficient_funds (needs 2.000001, has 0.999998)"]
    assert market.balances("ana")[1] == ("ana", "5.00", "4.000002", "0.00", "0.999998")


def test_what_an_earlier_leg_saves_by_trading_cheaper_does_not_help_a_later_one() -> None:
    """As if the legs before it rested with all of their quantity: hour +0 would cost her 1.00 of 2.00."""
    market = Market.given("hour | bid | price | ask\n+0 | | 1.00 | 1 carl", money={"ana": "3.50"}, hours=2)

    market.when("ana buys 1 at 2.00 in hours +0 +1")

    assert market.said() == lines("""
        ana bids 1 at 2.00 in +0, +1 insufficient_funds (needs 2.000001, has 1.499999)
        ana buys 1 from carl at 1.00
    """)


def test_a_leg_of_the_running_phase_counts_with_what_it_may_cost_there() -> None:
    """At 23:20 ten GPUs at 3.00 for 40 minutes: 20.00 and 10 µUSD, twice (to be rounded up). 45.00 leave 24.99998."""
    market = Market.given(money={"ana": "45.00"}).when("carl readies 10").wait(to="23:20").when("carl sells 4 at 3.00")

    market.when("ana buys 10 at 3.00 ioc in hours +0 +1")

    assert market.said() == lines("""
        ana bids 10 at 3.00 in +0, +1 insufficient_funds (needs 30.00001, has 24.99998)
        ana buys 4 from carl at 3.00 for 40 minutes
        ana loses 6 of an order: ioc
    """)


def test_legs_count_among_the_open_orders_whether_they_will_rest_or_not() -> None:
    market = Market.given(engine=engine_with(open_orders_max=2), hours=3).when("ana buys 1 at 1.90")

    market.when("ana buys 1 at 1.80 ioc in hours +0 +1 +2")

    assert market.said() == lines("""
        ana bids 1 at 1.80 in +0, +1 too_many_orders (needs 2), +2 too_many_orders (needs 2)
        ana loses 1 of an order: ioc
    """)


def test_kinds_are_judged_leg_by_leg() -> None:
    """All or nothing means of each hour; post-only as well."""
    market = Market.given(BOOKS, hours=3)

    market.when("ana buys 2 at 2.10 fok in hours +0 +1 +2\nbert buys 1 at 2.10 post-only in hours +0 +1 +2")

    assert market.said() == lines("""
        ana bids 2 at 2.10 in +0, +1 cannot_fill (needs 2, has 1), +2 cannot_fill (needs 2, has 0)
        ana buys 2 from carl at 2.10
        bert bids 1 at 2.10 in +0 would_trade, +1 would_trade, +2
    """)


def test_a_dated_range_leaves_at_its_date_leg_by_leg() -> None:
    market = Market.given(BOOKS, hours=3).when("ana buys 2 at 2.00 until 21:20 in hours +0 +1 +2")

    assert market.wait(to="21:20").said() == lines("""
        ana loses 2 of an order: expired
        ana loses 1 of an order: expired
        ana loses 2 of an order: expired
        a tick
    """)


@pytest.mark.parametrize("fault", [name for name, (_, body) in ORDERS.items() if not body.keys() & {"client_id"}])
def test_a_leg_is_refused_for_what_a_single_order_is_refused_for(fault: str) -> None:
    """The same code with the same numbers, as far as it is not the range as a whole that is refused."""
    market, body = market_of_orders()
    body = replace(body, **ORDERS[fault][1], client_id="")
    (single,) = market.tell(body)
    assert isinstance(single, ev.Rejected)

    (said,) = market.tell(
        cmd.PlaceRange(
            body.account, body.contract >> 24, (body.contract & 0xFFFFFF,), body.side, body.qty, body.price, body.tif,
            body.flags, "", body.valid_until_ms, body.expires_ms,
        )
    )  # fmt: skip

    if isinstance(said, ev.RangeAccepted):
        assert said.legs == (ev.LegOutcome(0, 0, single.code, single.need, single.have),)
    else:
        assert said == single


# --- Its client id ------------------------------------------------------------------------------------------------


def test_a_repeat_is_answered_with_the_first_leg_s_id_and_another_body_is_refused() -> None:
    """Hours, and what an order has, are the body."""
    market = Market.given(hours=3).when("ana buys 1 at 1.90 in hours +0 +2 as mine")
    body = cmd.PlaceRange(
        market.account("ana"), CLASS, (market.hour, market.hour + 2), Side.BUY, 1, 1_900_000, 1, 0, "mine",
        market.engine.time_ms + VALID_MS,
    )  # fmt: skip
    (first,) = market.events
    assert isinstance(first, ev.RangeAccepted)
    number = first.legs[0].order

    others = [
        {"hours": (market.hour,)}, {"hours": (market.hour, market.hour + 1)}, {"side": Side.SELL}, {"qty": 2},
        {"price": 1_910_000}, {"tif": 3}, {"flags": 4}, {"expires_ms": 1}, {"class_no": 2}, {"hours": ()},
    ]  # fmt: skip
    said = market.tell(
        body, *(replace(body, **other) for other in others), market.order("ana", Side.BUY, 1, "1.90", client="mine")
    )

    assert said == [
        ev.OrderRepeated(0, body.account, number, "mine"),
        *[ev.Rejected(i, body.account, Code.DUPLICATE_CLIENT_ID, "mine", 0, number) for i in range(1, 12)],
    ]


def test_an_order_s_client_id_is_not_a_range_s() -> None:
    market = Market.given(hours=2).when("ana buys 1 at 1.90 as mine\nana buys 1 at 1.90 in hours +0 as mine")

    assert code_of(market.events) == Code.DUPLICATE_CLIENT_ID


def test_it_is_cancelled_as_a_whole_and_tells_the_legs_that_still_rest() -> None:
    market = (
        Market.given(BOOKS, hours=3)
        .when("ana buys 3 at 2.10 in hours +0 +1 +2 as mine")
        .when("bert sells 2 at 2.10 in hour +1")
    )

    market.when("ana cancels mine\nana cancels mine")

    assert market.said() == lines("""
        ana cancels
        ana loses 3 of an order: asked
        ana is refused: unknown_order
    """)
    accepted = market.events[0]
    cancelled = market.events[1]
    assert isinstance(accepted, ev.CancelAccepted)
    assert isinstance(cancelled, ev.OrderCancelled)
    assert cancelled.order == accepted.order + 2


def test_its_legs_are_cancelled_and_amended_by_their_own_ids() -> None:
    """The range's client id amends nothing."""
    market = Market.given(hours=2).when("ana buys 3 at 1.90 in hours +0 +1 as mine")

    market.when(
        "ana amends mine to 1 at 1.90\nana amends bid 1.90 to 1 at 1.90\nana cancels bid 1.90\nana cancels mine"
    )

    assert market.said() == lines("""
        ana is refused: unknown_order
        ana amends to 1 at 1.90 in its place
        ana cancels
        ana loses 1 of an order: asked
        ana cancels
        ana loses 3 of an order: asked
    """)


def test_its_client_id_is_in_use_for_a_quarter_of_an_hour_whatever_rests() -> None:
    """Then it names nothing any more; the legs go on."""
    market = Market.given().when("ana buys 3 at 1.90 in hours +0 as mine").wait(minutes=15, ms=-1)
    assert market.when("ana buys 3 at 1.90 in hours +0 as mine").said() == ["ana repeats mine"]

    market.wait(ms=1).when("ana cancels mine\nana buys 3 at 1.90 in hours +0 as mine")

    assert market.said() == ["ana is refused: unknown_order", "ana bids 3 at 1.90 in +0"]
    assert market.book()[1:] == [("3 ana, 3 ana", "1.90", "")]


def test_another_account_s_range_is_not_cancelled_by_its_name() -> None:
    market = Market.given().when("ana buys 3 at 1.90 in hours +0 as mine\nbert cancels mine")

    assert market.said()[-1] == "bert is refused: unknown_order"


# --- Refused as a whole ---------------------------------------------------------------------------------------------

RANGES: dict[str, Fault] = {
    "too late": (Code.TOO_LATE, {"valid_until_ms": AT_MS - 1}),
    "valid for too long": (Code.WRONG_VALIDITY, {"valid_until_ms": AT_MS + 600_001}),
    "no account": (Code.UNKNOWN_ACCOUNT, {"account": 77}),
    "no client id": (Code.WRONG_CLIENT_ID, {"client_id": "a b"}),
    "another's client id": (Code.DUPLICATE_CLIENT_ID, {"client_id": "used"}),
    "no class": (Code.UNKNOWN_CLASS, {"class_no": 9}),
    "no hours": (Code.WRONG_HOURS, {"hours": ()}),
    "an hour twice": (Code.WRONG_HOURS, {"hours": (FORWARD, FORWARD)}),
    "falling hours": (Code.WRONG_HOURS, {"hours": (FORWARD, FORWARD - 1)}),
    "hour 0": (Code.WRONG_HOURS, {"hours": (0, FORWARD)}),
    "an hour below 0": (Code.WRONG_HOURS, {"hours": (-1, FORWARD)}),
    "an hour of 25 bits": (Code.WRONG_HOURS, {"hours": (FORWARD, 1 << 24)}),
    "1,025 hours": (Code.WRONG_HOURS, {"hours": tuple(range(HOUR_NOW, HOUR_NOW + 1_025))}),
    "no side": (Code.WRONG_SIDE, {"side": 3}),
    "no time in force": (Code.WRONG_TIF, {"tif": 0}),
    "too many client ids": (Code.TOO_MANY_ORDERS, {"account": 101}),
}


def market_of_ranges() -> tuple[Market, cmd.PlaceRange]:
    """The id `used` is one of two that Carl may have; Ana has both of hers, it among them."""
    market = Market.given(money={"ana": "9", "carl": "9"}, engine=engine_with(client_ids_max=2)).wait(to="22:57")
    market.when(
        "ana buys 1 at 1.00 in hour +1 as used\nana buys 1 at 1.00 in hour +1 as b\ncarl buys 1 at 1.00 in hour +1 as used"
    )
    return market, cmd.PlaceRange(
        market.account("carl"), CLASS, (FORWARD,), Side.BUY, 1, 1_000_000, 1, 0, "fresh", AT_MS + 1
    )


@pytest.fixture(scope="module")
def refused() -> tuple[Market, cmd.PlaceRange]:
    """For bodies that change nothing."""
    return market_of_ranges()


@pytest.mark.parametrize("fault", RANGES)
def test_a_range_with_one_fault_is_refused_for_it(fault: str) -> None:
    market, body = market_of_ranges()
    code, changes = RANGES[fault]

    assert code_of(market.tell(replace(body, **changes))) == code
    assert code_of(market.tell(body)) is None, "without it, it is taken"


@pytest.mark.parametrize(("first", "second"), pairs(RANGES))
def test_a_range_with_two_faults_is_refused_for_the_earlier_one(
    first: str, second: str, refused: tuple[Market, cmd.PlaceRange]
) -> None:
    market, body = refused

    (said,) = market.tell(replace(body, **RANGES[first][1], **RANGES[second][1]))

    assert code_of([said]) == RANGES[first][0]


def test_the_real_bound_of_hours_is_1024() -> None:
    """Each with an id of its own; none of them is listed but the first."""
    market = Market.given(horizon_hours=2)
    hours = tuple(range(market.hour, market.hour + 1_024))
    body = cmd.PlaceRange(market.account("ana"), CLASS, hours, Side.BUY, 1, 1_900_000, 1, 0, "", market.engine.time_ms)

    (said,) = market.tell(body)

    assert isinstance(said, ev.RangeAccepted)
    assert [leg.code for leg in said.legs] == [0] + [Code.UNKNOWN_CONTRACT] * 1_023
    assert code_of(market.tell(replace(body, hours=(*hours, hours[-1] + 1)))) == Code.WRONG_HOURS
