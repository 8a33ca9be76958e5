"""Amend: another open quantity or price for an order that waits."""

from __future__ import annotations

import pytest
from msgspec.structs import replace

from schemas import commands as cmd
from schemas import events as ev
from schemas.commands import Fees, Side
from schemas.events import Code
from tests.matching.faults import Fault, code_of, pairs
from tests.matching.market import Market, lines, rows

BOOK = """
    bid           | price | ask
                  |  2.20 | 3 carl
                  |  2.10 | 4 dana
    5 ana, 2 bert |  1.90 |
"""


# --- Its place ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("qty", [1, 5])
def test_as_much_or_less_at_the_same_price_keeps_its_place(qty: int) -> None:
    """And frees what is not needed any more."""
    market = Market.given(BOOK).when(f"ana amends bid 1.90 to {qty} at 1.90")

    assert market.said() == [f"ana amends to {qty} at 1.90 in its place"]
    assert market.book()[-1] == (f"{qty} ana, 2 bert", "1.90", "")
    assert market.engine.accounts[market.account("ana")].holds == qty * 1_900_001
    assert market.when("emil sells 1 at 1.90").trades()[1:] == [("ana", "emil", "1", "1.90")]


def test_more_at_the_same_price_goes_last() -> None:
    market = Market.given(BOOK).when("ana amends bid 1.90 to 6 at 1.90")

    assert market.said() == ["ana amends to 6 at 1.90"]
    assert market.book()[-1] == ("2 bert, 6 ana", "1.90", "")


def test_another_price_goes_last_at_its_price_and_is_the_same_order() -> None:
    """Its id, its client id, its flags; whoever amends it back to where it was is last there as well."""
    market = Market.given(BOOK).when("ana buys 1 at 1.80 post-only as mine\nbert buys 1 at 1.85")
    (placed, _) = market.events
    assert isinstance(placed, ev.OrderAccepted)

    market.when("ana amends mine to 1 at 1.85\nana amends mine to 1 at 2.10")
    assert market.said() == ["ana amends to 1 at 1.85", "ana is refused: would_trade"]
    assert market.events[0] == ev.OrderAmended(0, market.account("ana"), placed.order, 1, 1_850_000, kept_place=False)
    assert market.book()[-1] == ("1 bert, 1 ana", "1.85", "")


def test_an_amended_order_that_was_amended_in_its_place_afterwards_stays_where_it_came_to() -> None:
    """Older by its id than Bert's, and behind it."""
    market = Market.given(BOOK).when(
        "ana amends bid 1.90 to 6 at 1.90\nana amends bid 1.90 to 3 at 1.90\ncarl buys 1 at 1.90"
    )

    assert market.book()[-1] == ("2 bert, 3 ana, 1 carl", "1.90", "")


def test_a_part_that_was_filled_is_not_asked_for_again() -> None:
    """The quantity is the open one: of five two are bought, three more are too many to keep a place with four."""
    market = Market.given(BOOK).when("emil sells 2 at 1.90\nana amends bid 1.90 to 4 at 1.90")

    assert market.said()[-1] == "ana amends to 4 at 1.90"
    market.when("emil sells 9 at 1.90")
    assert market.trades()[1:] == [("bert", "emil", "2", "1.90"), ("ana", "emil", "4", "1.90")]


# --- Trading at once ------------------------------------------------------------------------------------------------


def test_one_that_meets_the_other_side_trades_as_a_taker_and_what_is_left_waits() -> None:
    """First the outcome, then the fills; with the rates that it had."""
    market = Market.given(BOOK, fees=Fees(10, 20, 30, 40)).when("ana amends bid 1.90 to 6 at 2.10")

    assert market.said() == ["ana amends to 6 at 2.10", "ana buys 4 from dana at 2.10"]
    (fill,) = (fill for fill in market.events if isinstance(fill, ev.Filled))
    assert (fill.buyer_fee, fill.seller_fee, fill.taker_leaves) == (16_800, 25_200, 2)
    assert market.book() == rows("""
        bid    | price | ask
               |  2.20 | 3 carl
        2 ana  |  2.10 |
        2 bert |  1.90 |
    """)


def test_one_that_is_filled_whole_has_ended() -> None:
    market = Market.given(BOOK).when(
        "ana buys 1 at 1.80 as mine\nana amends mine to 3 at 2.10\nana amends mine to 1 at 2.10\nana cancels mine"
    )

    assert market.said()[2:] == lines("""
        ana buys 3 from dana at 2.10
        ana is refused: unknown_order
        ana is refused: unknown_order
    """)


def test_an_ask_s_amendment_is_the_mirror_image() -> None:
    market = Market.given(BOOK).when("carl amends ask 2.20 to 6 at 1.90")

    assert market.said() == lines("""
        carl amends to 6 at 1.90
        ana buys 5 from carl at 1.90
        bert buys 1 from carl at 1.90
    """)
    assert market.free_to_offer("carl") == 94


def test_one_that_meets_its_owner_s_own_ends_or_ends_the_other_as_its_flags_say() -> None:
    """The newest is the amended one, however old it is; nothing of it is left."""
    market = Market.given(BOOK).when("ana sells 1 at 2.05\nana amends bid 1.90 to 5 at 2.10")
    assert market.said()[1:] == ["ana amends to 5 at 2.10", "ana loses 5 of an order: self_trade_newest"]
    assert market.engine.accounts[market.account("ana")].holds == 0

    market.when("ana buys 2 at 1.80 cancel-oldest\nana amends bid 1.80 to 5 at 2.10")
    assert market.said()[1:] == lines("""
        ana amends to 5 at 2.10
        ana loses 1 of an order: self_trade_oldest
        ana buys 4 from dana at 2.10
    """)


# --- Money and backing -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("usd", "enough"), [("4.200002", True), ("4.200001", False)])
def test_a_dearer_bid_needs_the_difference_to_the_micro(usd: str, enough: bool) -> None:
    """One at 2.00 holds 2.000001; two at 2.10 would hold 4.200002."""
    market = Market.given(money={"ana": usd}).when("ana buys 1 at 2.00 as mine\nana amends mine to 2 at 2.10")

    if enough:
        assert market.balances("ana")[1] == ("ana", usd, usd, "0.00", "0.00")
    else:
        assert market.said()[1] == "ana is refused: insufficient_funds (needs 2.200001, has 2.20)"
        assert market.balances("ana")[1][2] == "2.000001", "what was refused changed nothing"


def test_a_larger_ask_needs_the_difference() -> None:
    market = Market.given(backs={"ana": 5}).when("ana sells 3 at 2.50 as mine\nana sells 1 at 2.60")

    market.when("ana amends mine to 5 at 2.50\nana amends mine to 4 at 2.40")

    assert market.said() == lines("""
        ana is refused: insufficient_backing (needs 2, has 1)
        ana amends to 4 at 2.40
    """)
    assert market.free_to_offer("ana") == 0


def test_a_cheaper_ask_of_the_same_size_needs_nothing() -> None:
    market = Market.given(backs={"ana": 3}).when("ana sells 3 at 2.50 as mine\nana amends mine to 3 at 2.40")

    assert market.said()[1] == "ana amends to 3 at 2.40"


# --- States, collars, dates ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("state", ["cancel-only", "halted"])
def test_where_no_orders_are_taken_one_may_still_be_made_smaller(state: str) -> None:
    market = Market.given(BOOK).when(f"the hour is {state}")

    market.when("ana amends bid 1.90 to 6 at 1.90\nana amends bid 1.90 to 5 at 1.80\nana amends bid 1.90 to 4 at 1.90")

    assert market.said() == lines("""
        ana is refused: halted
        ana is refused: halted
        ana amends to 4 at 1.90 in its place
    """)


def test_in_post_only_a_price_that_meets_nobody_may_be_had() -> None:
    market = Market.given(BOOK).when("the hour is post-only")

    market.when("ana amends bid 1.90 to 5 at 2.10\nana amends bid 1.90 to 5 at 2.09")

    assert market.said() == ["ana is refused: would_trade", "ana amends to 5 at 2.09"]


def test_a_collar_that_moved_away_lets_it_shrink_and_come_closer_but_not_grow() -> None:
    """The collar is 2.00 to 8.00 now."""
    market = Market.given(BOOK).when("the reference of the class is 4.00")

    market.when("ana amends bid 1.90 to 4 at 1.90\nana amends bid 1.90 to 5 at 1.90\nana amends bid 1.90 to 9 at 2.00")

    assert market.said() == lines("""
        ana amends to 4 at 1.90 in its place
        ana is refused: outside_collar (needs 2.00)
        ana amends to 9 at 2.00
    """)


def test_it_keeps_its_date() -> None:
    market = Market.given(BOOK).when("ana buys 1 at 1.80 until 21:20 as mine\nana amends mine to 2 at 1.85")

    assert market.wait(to="21:20").said() == ["ana loses 2 of an order: expired", "a tick"]


def test_a_running_ask_is_amended_through_the_gate_and_after_it_against_what_is_ready() -> None:
    market = (
        Market.given(backs={"carl": 9}).when("carl readies 3\ncarl sells 3 at 2.50 running as mine").wait(to="23:10")
    )

    market.when(
        "carl amends mine to 4 at 2.50\ncarl amends mine to 3 at 2.40\nana buys 1 at 2.40 ioc\ncarl amends mine to 3 at 2.40"
    )

    assert market.said() == lines("""
        carl is refused: insufficient_backing (needs 1, has 0)
        carl amends to 3 at 2.40
        ana bids 1 at 2.40
        ana buys 1 from carl at 2.40 for 50 minutes
        carl is refused: insufficient_backing (needs 1, has 0)
    """)


# --- Repeats -----------------------------------------------------------------------------------------------------------


def test_the_first_body_is_a_repeat_with_its_first_quantity_and_the_price_of_now() -> None:
    """Whatever is open: what was asked for first is what a copy on its way would say; the price has changed for good."""
    market = Market.given().when("ana buys 5 at 1.90 as mine\nana amends mine to 3 at 1.80")

    market.when(
        "ana buys 5 at 1.80 as mine\nana buys 5 at 1.90 as mine\nana buys 3 at 1.80 as mine\nana amends mine to 1 at 1.80"
    )

    assert [said.split(" (")[0] for said in market.said()] == lines("""
        ana repeats mine
        ana is refused: duplicate_client_id
        ana is refused: duplicate_client_id
        ana amends to 1 at 1.80 in its place
    """)


def test_a_name_that_is_older_than_its_window_ends_with_its_order() -> None:
    """Amended after a quarter of an hour, and filled at once: the name is free at once, as after a cancel."""
    market = Market.given(BOOK).when("ana buys 1 at 1.80 as mine").wait(minutes=16)

    market.when("ana amends mine to 1 at 2.10\nana buys 1 at 1.70 as mine")
    assert market.said()[-1] == "ana bids 1 at 1.70"
    assert list(market.engine.accounts[market.account("ana")].client_ids) == ["mine"]

    market.wait(minutes=16).when("ana amends mine to 2 at 1.70\nana buys 1 at 1.70 as mine")
    assert market.said() == ["ana amends to 2 at 1.70", "ana repeats mine"]


# --- Refused -----------------------------------------------------------------------------------------------------------

AMENDS: dict[str, Fault] = {
    "too late": (Code.TOO_LATE, {"valid_until_ms": 0}),
    "valid for too long": (Code.WRONG_VALIDITY, {"valid_until_ms": 2**62}),
    "no account": (Code.UNKNOWN_ACCOUNT, {"account": 77}),
    "no such order": (Code.UNKNOWN_ORDER, {"order": 1}),
    "no quantity": (Code.WRONG_QTY, {"qty": 3}),
    "no price": (Code.WRONG_PRICE, {"price": 1_905_000}),
    "halted": (Code.HALTED, {"client_id": "halts"}),
    "outside the collar": (Code.OUTSIDE_COLLAR, {"price": 990_000}),
    "meets an ask": (Code.WOULD_TRADE, {"price": 2_100_000}),
    "too little money": (Code.INSUFFICIENT_FUNDS, {"qty": 900_000}),
}


def amending() -> tuple[Market, cmd.AmendOrder]:
    """Ana's `mine` is a post-only bid of 2 at 1.90, `halts` the same in an hour that is halted. Lots of two."""
    market = Market.given("bid | price | ask\n | 2.10 | 2 carl", lot=2)
    market.when("ana buys 2 at 1.90 post-only as mine\nana buys 2 at 1.90 post-only in hour +1 as halts")
    market.tell(cmd.SetState(900, 1, market.hour + 1, cmd.State.HALTED, ""))
    return market, cmd.AmendOrder(market.account("ana"), 0, "mine", 2, 1_910_000, market.engine.time_ms)


@pytest.fixture(scope="module")
def refused() -> tuple[Market, cmd.AmendOrder]:
    """For bodies that change nothing."""
    return amending()


@pytest.mark.parametrize("fault", AMENDS)
def test_an_amendment_with_one_fault_is_refused_for_it(fault: str) -> None:
    """And repeats the client id."""
    market, body = amending()
    code, changes = AMENDS[fault]
    wrong = replace(body, **changes)

    (said,) = market.tell(wrong)

    assert isinstance(said, ev.Rejected)
    assert (said.code, said.account, said.client_id) == (code, wrong.account, wrong.client_id)
    assert code_of(market.tell(body)) is None, "without it, it is done"


@pytest.mark.parametrize(("first", "second"), pairs(AMENDS))
def test_an_amendment_with_two_faults_is_refused_for_the_earlier_one(
    first: str, second: str, refused: tuple[Market, cmd.AmendOrder]
) -> None:
    market, body = refused

    assert code_of(market.tell(replace(body, **AMENDS[first][1], **AMENDS[second][1]))) == AMENDS[first][0]


def test_what_is_not_there_is_not_amended() -> None:
    """Another's, one that has ended, one that is not meant by any name."""
    market = Market.given(BOOK).when("ana buys 1 at 1.80 ioc as gone\nbert buys 1 at 1.70 as his")
    his = market.events[-1].order  # type: ignore[union-attr]  # accepted
    by_id = cmd.AmendOrder(market.account("ana"), his, "", 1, 1_700_000, market.engine.time_ms)

    market.send(by_id, replace(by_id, order=0), replace(by_id, order=-1), replace(by_id, order=2**64 - 1))
    market.tell(replace(by_id, order=his + (1 << 60)))
    market.tell(replace(by_id, order=0, client_id="gone"))

    assert market.said() == ["ana is refused: unknown_order"] * 6


@pytest.mark.parametrize("qty", [0, -2, 1, 1_000_002, 2**64 - 2, -(2**63)])
def test_a_quantity_is_a_positive_multiple_of_the_lot_up_to_a_million(qty: int) -> None:
    market, body = amending()

    (said,) = market.tell(replace(body, qty=qty))

    assert isinstance(said, ev.Rejected)
    assert (said.code, said.need) == (Code.WRONG_QTY, 2)


def test_an_ask_without_machines_for_more_is_refused_after_all_else() -> None:
    """The last check of an ask, in the place of a bid's money."""
    market = Market.given(backs={"ana": 2}).when("bert buys 1 at 1.90\nana sells 2 at 2.50 post-only as mine")
    body = cmd.AmendOrder(market.account("ana"), 0, "mine", 3, 2_500_000, market.engine.time_ms)

    said = [market.tell(one)[0] for one in (body, replace(body, price=1_900_000), replace(body, price=9_000_000))]

    assert said == [
        ev.Rejected(0, body.account, Code.INSUFFICIENT_BACKING, "mine", 1, 0),
        ev.Rejected(0, body.account, Code.WOULD_TRADE, "mine"),
        ev.Rejected(0, body.account, Code.OUTSIDE_COLLAR, "mine", 4_000_000),
    ]
    assert market.order("ana", Side.SELL, 1, "2.50").qty == 1
