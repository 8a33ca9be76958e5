"""Quotes: a market maker's two-sided prices for many hours in one command, each hour whole or not at all."""

from __future__ import annotations

import pytest
from msgspec.structs import replace

from schemas import commands as cmd
from schemas import events as ev
from schemas.commands import Fees, QuoteHour
from schemas.events import Code
from schemas.ids import order_id
from tests.matching.faults import Fault, code_of, pairs
from tests.matching.market import CLASS, Market, lines, rows
from tests.matching.sources import engine_with


def given(book: str = "", **how: object) -> Market:
    """Mike is a market maker who promises nine in each of three hours."""
    return Market.given(book, **{"hours": 3, "promises": {"mike": 9}, **how})  # type: ignore[arg-type]  # as `given` says


# --- Putting them --------------------------------------------------------------------------------------------------


def test_two_sides_in_many_hours_wait_as_orders_of_their_own() -> None:
    """With ids that follow each other: bid and ask of the first hour, bid and ask of the second."""
    market = given("hour | bid | price | ask\n+0 | 1 ana | 1.90 | ")

    market.when("mike quotes #1: +0 bids 2 at 1.90 asks 3 at 2.10; +2 asks 4 at 2.20")

    assert market.books() == rows("""
        hour | bid           | price | ask
        +0   |               | 2.10  | 3 mike
        +0   | 1 ana, 2 mike | 1.90  |
        +2   |               | 2.20  | 4 mike
    """)
    ids = [order_id(0, market._offset - 1, 0, leg) for leg in range(4)]
    assert market.events == [
        ev.QuotesPut(
            0, market.account("mike"), CLASS, 1,
            (
                ev.QuoteOutcome(market.hour, ids[0], ids[1], 0, 1_900_000, 2, 2_100_000, 3),
                ev.QuoteOutcome(market.hour + 2, 0, ids[3], 0, 0, 0, 2_200_000, 4),
            ),
            bid_bp=0, ask_bp=50,
        )
    ]  # fmt: skip
    assert market.balances("mike")[1] == ("mike", "1000.00", "3.800002", "108.00", "888.199998")


def test_they_trade_as_makers_at_the_maker_s_rates_of_the_day_and_hold_at_the_higher_one() -> None:
    market = given(fees=Fees(10, 20, 30, 40)).when("mike quotes #1: +0 bids 2 at 2.00 asks 3 at 2.10")
    assert (market.events[0].bid_bp, market.events[0].ask_bp) == (10, 30)  # type: ignore[union-attr]  # quotes
    assert market.balances("mike")[1][2] == "4.008002", "20 bp on 4.00"

    market.when("ana buys 1 at 2.10\nana sells 1 at 2.00")

    fills = [fill for fill in market.events if isinstance(fill, ev.Filled)]
    assert [(f.buyer_fee, f.seller_fee) for f in fills] == [(4_200, 6_300), (2_000, 8_000)]


def test_numbers_rise_by_account_and_class_and_a_stale_one_changes_nothing() -> None:
    """Also the number of quotes of which no hour was taken is used up."""
    market = given(promises={"mike": 9, "nora": 9}).when("""
        mike quotes #7: +0 bids 1 at 9.00
        mike quotes #7: +0 bids 1 at 1.90
        mike quotes #6: +0 bids 1 at 1.90
        mike quotes #0: +0 bids 1 at 1.90
        nora quotes #1: +0 bids 1 at 1.80
        mike quotes #8: +0 bids 1 at 1.90
        mike quotes #7: +0 nothing
    """)

    assert market.said() == lines("""
        mike quotes #7: +0 outside_collar
        mike is refused: stale_number (needs 0, has 7)
        mike is refused: stale_number (needs 0, has 7)
        mike is refused: stale_number (needs 0, has 7)
        nora quotes #1: +0 bids 1 at 1.80
        mike quotes #8: +0 bids 1 at 1.90
        mike is refused: stale_number (needs 0, has 8)
    """)
    assert market.book()[1:] == [("1 mike", "1.90", ""), ("1 nora", "1.80", "")]
    other = cmd.SetClass(market.outbox(), 2, "B", 1, 10_000, 2_000_000, Fees(), horizon_hours=4)
    body = cmd.PutQuotes(
        market.account("mike"), 2, 1, (QuoteHour(market.hour, 1_900_000, 1, 0, 0),), market.engine.time_ms
    )
    assert code_of(market.tell(other, body)) is None


def test_the_largest_number_is_the_last() -> None:
    market = given().when(f"mike quotes #{2**64 - 1}: +0 bids 1 at 1.90\nmike quotes #{2**64 - 1}: +0 nothing")

    assert code_of(market.events) == Code.STALE_NUMBER


# --- Putting others in their place -----------------------------------------------------------------------------------


def test_the_same_price_with_the_same_or_a_smaller_size_keeps_its_place_and_its_id() -> None:
    """Cut to the new size; what is freed is free. Ana came after Mike and stays after him."""
    market = given().when("mike quotes #1: +0 bids 3 at 1.90 asks 3 at 2.10\nana buys 1 at 1.90\nana sells 1 at 2.10")
    (first, *_) = market.events
    assert isinstance(first, ev.QuotesPut)

    market.when("mike quotes #2: +0 bids 3 at 1.90 asks 2 at 2.10")

    (second,) = market.events
    assert isinstance(second, ev.QuotesPut)
    assert second.outcomes == (replace(first.outcomes[0], ask_qty=2),)
    assert market.book() == rows("""
        bid           | price | ask
                      |  2.10 | 2 mike, 1 ana
        3 mike, 1 ana |  1.90 |
    """)


def test_a_larger_size_or_another_price_loses_its_place() -> None:
    """The old ones are told in the order in which they went: hour by hour, the bid first."""
    market = given().when("""
        mike quotes #1: +0 bids 3 at 1.90 asks 3 at 2.10; +1 bids 1 at 1.80 asks 1 at 2.20
        ana buys 1 at 1.90
    """)

    market.when("mike quotes #2: +0 bids 4 at 1.90 asks 2 at 2.11; +1 bids 1 at 1.80 asks 5 at 2.20")

    assert market.said() == lines("""
        mike quotes #2: +0 bids 4 at 1.90 asks 2 at 2.11; +1 bids 1 at 1.80 asks 5 at 2.20
        mike loses 3 of an order: quote_replaced
        mike loses 3 of an order: quote_replaced
        mike loses 1 of an order: quote_replaced
    """)
    assert market.books() == rows("""
        hour | bid           | price | ask
        +0   |               | 2.11  | 2 mike
        +0   | 1 ana, 4 mike | 1.90  |
        +1   |               | 2.20  | 5 mike
        +1   | 1 mike        | 1.80  |
    """)


def test_a_size_of_nothing_takes_a_side_away_and_other_hours_are_left_alone() -> None:
    market = given().when("mike quotes #1: +0 bids 3 at 1.90 asks 3 at 2.10; +1 bids 1 at 1.80 asks 1 at 2.20")

    market.when("mike quotes #2: +0 asks 3 at 2.10\nmike quotes #3: +0 nothing")

    assert market.said() == lines("""
        mike quotes #2: +0 asks 3 at 2.10
        mike loses 3 of an order: quote_replaced
        mike quotes #3: +0 nothing
        mike loses 3 of an order: quote_replaced
    """)
    assert [row[0] for row in market.books()[1:]] == ["+1", "+1"]


def test_sizes_are_open_quantity_whatever_has_been_filled() -> None:
    """Two of three are sold: the same quote again is larger than what is left, and goes last."""
    market = given().when("mike quotes #1: +0 asks 3 at 2.10\nana buys 2 at 2.10\nana sells 1 at 2.10")

    market.when("mike quotes #2: +0 asks 3 at 2.10")

    assert market.said()[1:] == ["mike loses 1 of an order: quote_replaced"]
    assert market.book()[1:] == [("", "2.10", "1 ana, 3 mike")]
    market.when("ana buys 3 at 2.10 cancel-oldest\nmike quotes #3: +0 asks 3 at 2.10")
    assert market.said()[-1] == "mike quotes #3: +0 asks 3 at 2.10", (
        "nothing of it was left, nothing is told as replaced"
    )


def test_orders_of_his_own_are_no_quotes() -> None:
    """They stay; and a quote does not meet them either."""
    market = given().when("mike buys 1 at 1.90\nmike sells 1 at 2.10\nmike quotes #1: +0 bids 2 at 1.90 asks 2 at 2.10")

    market.when("mike quotes #2: +0 bids 2 at 2.10; +1 bids 1 at 1.80\nmike quotes #3: +0 nothing")

    assert market.said() == lines("""
        mike quotes #2: +0 would_trade; +1 bids 1 at 1.80
        mike loses 2 of an order: quote_replaced
        mike loses 2 of an order: quote_replaced
        mike quotes #3: +0 nothing
    """)
    assert market.book()[1:] == [("", "2.10", "1 mike"), ("1 mike", "1.90", "")]


def test_a_quote_s_order_is_cancelled_and_amended_as_any_other_and_is_still_a_quote() -> None:
    """What it is now is what the next quote is compared with."""
    market = given().when("mike quotes #1: +0 bids 3 at 1.90 asks 3 at 2.10")
    bid = market.events[0].outcomes[0].bid_order  # type: ignore[union-attr]  # quotes

    market.when(
        "mike cancels ask 2.10\nmike amends bid 1.90 to 5 at 1.95\nmike quotes #2: +0 bids 4 at 1.95 asks 3 at 2.10"
    )

    assert market.said()[2:] == ["mike amends to 5 at 1.95", "mike quotes #2: +0 bids 4 at 1.95 asks 3 at 2.10"]
    assert market.events[-1].outcomes[0].bid_order == bid  # type: ignore[union-attr]  # quotes
    market.when("mike quotes #3: +0 bids 4 at 1.90 asks 3 at 2.10")
    assert market.said()[1:] == ["mike loses 4 of an order: quote_replaced"]


def test_an_amended_quote_may_trade_and_what_is_left_is_the_quote() -> None:
    market = given("bid | price | ask\n | 2.05 | 2 carl").when("mike quotes #1: +0 bids 3 at 1.90")

    market.when("mike amends bid 1.90 to 3 at 2.05")
    assert market.said() == ["mike is refused: would_trade"], "a quote is post-only for its life"
    market.when("ana buys 2 at 2.05\nmike amends bid 1.90 to 3 at 2.05\nmike quotes #2: +0 nothing")
    assert market.said()[-1] == "mike loses 3 of an order: quote_replaced"


# --- An hour whole or not at all ---------------------------------------------------------------------------------------


def test_an_hour_that_is_refused_takes_away_what_stood_there_and_others_are_put() -> None:
    """The ask would have kept its place: it goes uncut, all the same. A price that its maker no longer wants never trades."""
    market = given("hour | bid | price | ask\n+0 | | 2.05 | 1 carl").when(
        "mike quotes #1: +0 bids 3 at 1.90 asks 3 at 2.10; +1 bids 1 at 1.80"
    )

    market.when("mike quotes #2: +0 bids 3 at 2.05 asks 2 at 2.10; +1 bids 1 at 1.80")

    assert market.said() == lines("""
        mike quotes #2: +0 would_trade; +1 bids 1 at 1.80
        mike loses 3 of an order: quote_replaced
        mike loses 3 of an order: quote_refused
    """)
    assert market.books()[1:] == [("+0", "", "2.05", "1 carl"), ("+1", "1 mike", "1.80", "")]
    assert market.balances("mike")[1] == ("mike", "1000.00", "1.800001", "108.00", "890.199999")


def test_both_kept_sides_go_the_bid_first() -> None:
    """Halted: the very same quote again is refused, and takes itself away."""
    market = given().when("mike quotes #1: +0 bids 3 at 1.90 asks 4 at 2.10\nthe hour is halted")

    market.when("mike quotes #2: +0 bids 3 at 1.90 asks 4 at 2.10")

    assert market.said() == lines("""
        mike quotes #2: +0 halted
        mike loses 3 of an order: quote_refused
        mike loses 4 of an order: quote_refused
    """)


@pytest.mark.parametrize(
    ("state", "answer"),
    [("post-only", "+0 bids 1 at 1.90"), ("cancel-only", "+0 halted"), ("halted", "+0 halted")],
)
def test_a_quote_may_wait_where_an_order_may(state: str, answer: str) -> None:
    market = given().when(f"the hour is {state}\nmike quotes #1: +0 bids 1 at 1.90")

    assert market.said()[1] == f"mike quotes #1: {answer}"


def test_hours_that_are_over_or_not_listed_yet_have_no_quote() -> None:
    """At its gate a quote went as every order; there is nothing that could be told as replaced."""
    market = given().when("mike quotes #1: +0 bids 1 at 1.90").wait(to="22:56")

    market.when(
        "mike quotes #2: -2 bids 1 at 1.90; -1 bids 1 at 1.90; +0 bids 1 at 1.90; +1 bids 1 at 1.90; +9 bids 1 at 1.90"
    )

    assert market.said() == [
        "mike quotes #2: -2 unknown_contract; -1 wrong_phase; +0 wrong_phase; +1 bids 1 at 1.90; +9 unknown_contract"
    ]


# --- Money and backing -------------------------------------------------------------------------------------------------


def test_what_the_replaced_bid_held_is_there_for_the_new_one() -> None:
    """And in the hours after it, not in those before: each hour in turn."""
    market = given(promises={"mike": 0}, money={"mike": "4.00"}).when("mike quotes #1: +1 bids 2 at 1.90")
    assert market.balances("mike")[1] == ("mike", "4.00", "3.800002", "0.00", "0.199998")

    market.when("mike quotes #2: +0 bids 1 at 1.90; +1 bids 1 at 1.95; +2 bids 1 at 1.95")

    assert market.said() == lines("""
        mike quotes #2: +0 insufficient_funds; +1 bids 1 at 1.95; +2 bids 1 at 1.95
        mike loses 2 of an order: quote_replaced
    """)
    assert market.balances("mike")[1] == ("mike", "4.00", "3.900002", "0.00", "0.099998")


def test_a_kept_bid_that_is_cut_frees_its_money_when_its_hour_is_done() -> None:
    market = given(promises={"mike": 0}, money={"mike": "4.00"}).when("mike quotes #1: +0 bids 2 at 1.90")

    market.when("mike quotes #2: +0 bids 1 at 1.90; +1 bids 1 at 1.95")

    assert market.said() == ["mike quotes #2: +0 bids 1 at 1.90; +1 bids 1 at 1.95"]


@pytest.mark.parametrize(("usd", "answer"), [("2.000001", "+0 bids 1 at 2.00"), ("2.00", "+0 insufficient_funds")])
def test_a_new_bid_needs_its_hold_to_the_micro(usd: str, answer: str) -> None:
    market = given(promises={"mike": 0}, money={"mike": usd}).when("mike quotes #1: +0 bids 1 at 2.00")

    assert market.said() == [f"mike quotes #1: {answer}"]


def test_what_the_replaced_ask_stood_for_is_there_for_the_new_one() -> None:
    """Nine promised, all of them quoted: nine again at another price, and not ten."""
    market = given().when(
        "mike quotes #1: +0 asks 9 at 2.10\nmike quotes #2: +0 asks 9 at 2.20\nmike quotes #3: +0 asks 10 at 2.30"
    )

    assert market.said() == lines("""
        mike quotes #1: +0 asks 9 at 2.10
        mike quotes #2: +0 asks 9 at 2.20
        mike loses 9 of an order: quote_replaced
        mike quotes #3: +0 insufficient_backing
        mike loses 9 of an order: quote_replaced
    """)
    assert market.free_to_offer("mike") == 9


def test_an_ask_of_one_who_has_nothing_in_that_hour_is_refused_and_its_bid_with_it() -> None:
    market = given(hours=1).when("mike quotes #1: +1 bids 1 at 1.90 asks 1 at 2.10")

    assert market.said() == ["mike quotes #1: +1 insufficient_backing"]
    assert market.balances("mike")[1][2] == "0.00"


# --- What ends them --------------------------------------------------------------------------------------------------


def test_a_quote_ends_as_any_order_does() -> None:
    """By a switch, a mass cancel, a lowering, a filler; what is gone is not replaced."""
    market = given().when("mike quotes #1: +0 bids 1 at 1.90 asks 9 at 2.10; +1 bids 2 at 1.90; +2 bids 3 at 1.90")

    market.when(
        "mike promises 8\nmike cancels all in hour +1\nana sells 1 at 1.90\nmike's switch is set to 1000 ms"
    ).wait(ms=1_000)
    assert market.said() == ["mike's switch goes off", "mike loses 3 of an order: dead_man", "a tick"]

    market.when("mike quotes #2: +0 nothing; +1 nothing; +2 nothing")
    assert market.said() == ["mike quotes #2: +0 nothing; +1 nothing; +2 nothing"]


def test_who_is_no_market_maker_any_more_puts_no_quotes_and_those_that_stand_stay() -> None:
    market = given().when("mike quotes #1: +0 asks 1 at 2.10\nmike is a provider\nmike quotes #2: +0 nothing")

    assert market.said()[-1] == "mike is refused: wrong_role"
    assert market.when("ana buys 1 at 2.10").trades()[1:] == [("mike", "ana", "1", "2.10")]


# --- Refused as a whole -----------------------------------------------------------------------------------------------

QUOTE = QuoteHour(0, 1_900_000, 1, 0, 0)
LATE_MS = 2**62
WHOLE: dict[str, Fault] = {
    "too late": (Code.TOO_LATE, {"valid_until_ms": 0}),
    "valid for too long": (Code.WRONG_VALIDITY, {"valid_until_ms": LATE_MS}),
    "no account": (Code.UNKNOWN_ACCOUNT, {"account": 77}),
    "no market maker": (Code.WRONG_ROLE, {"account": 101}),
    "no class": (Code.UNKNOWN_CLASS, {"class_no": 9}),
    "a budget of GPUs": (Code.NOT_OFFERED_YET, {"budget_qty": 1}),
    "a budget of money": (Code.NOT_OFFERED_YET, {"budget_notional": -1}),
    "protection": (Code.NOT_OFFERED_YET, {"protect_qty": 1}),
    "a window": (Code.NOT_OFFERED_YET, {"protect_window_ms": 1}),
    "stale": (Code.STALE_NUMBER, {"number": 5}),
    "no hours": (Code.WRONG_HOURS, {"quotes": ()}),
    "hour 0": (Code.WRONG_HOURS, {"quotes": (QUOTE,)}),
    "an hour of 25 bits": (Code.WRONG_HOURS, {"quotes": (replace(QUOTE, hour=1 << 24),)}),
    "an hour twice": (Code.WRONG_HOURS, {"quotes": (replace(QUOTE, hour=498_743), replace(QUOTE, hour=498_743))}),
    "513 hours": (Code.WRONG_HOURS, {"quotes": tuple(replace(QUOTE, hour=498_743 + n) for n in range(513))}),
}


def quoting() -> tuple[Market, cmd.PutQuotes]:
    """Mike's last number was 5; Ana is a provider."""
    market = given(money={"ana": "9"}, promises={"mike": 9}).when("mike quotes #5: +0 nothing")
    assert market.account("ana") == 101
    return market, cmd.PutQuotes(
        market.account("mike"), CLASS, 6, (replace(QUOTE, hour=market.hour),), market.engine.time_ms
    )


@pytest.fixture(scope="module")
def refused() -> tuple[Market, cmd.PutQuotes]:
    """For bodies that change nothing."""
    return quoting()


@pytest.mark.parametrize("fault", WHOLE)
def test_quotes_with_one_fault_are_refused_for_it(fault: str) -> None:
    market, body = quoting()
    code, changes = WHOLE[fault]

    assert code_of(market.tell(replace(body, **changes))) == code
    assert code_of(market.tell(body)) is None, "without it, they are taken"


@pytest.mark.parametrize(("first", "second"), pairs(WHOLE))
def test_quotes_with_two_faults_are_refused_for_the_earlier_one(
    first: str, second: str, refused: tuple[Market, cmd.PutQuotes]
) -> None:
    market, body = refused

    assert code_of(market.tell(replace(body, **WHOLE[first][1], **WHOLE[second][1]))) == WHOLE[first][0]


def test_as_many_as_512_hours() -> None:
    """Whose last ask has the last leg that an id can have."""
    market = given(horizon_hours=600, hours=512, money={"mike": "99000"})
    quotes = tuple(QuoteHour(market.hour + n, 1_900_000, 1, 2_100_000, 1) for n in range(512))

    (said,) = market.tell(cmd.PutQuotes(market.account("mike"), CLASS, 1, quotes, market.engine.time_ms))

    assert isinstance(said, ev.QuotesPut)
    assert [outcome.code for outcome in said.outcomes] == [0] * 512
    assert said.outcomes[-1].ask_order == order_id(0, market._offset - 1, 0, 1_023)


# --- Refused hours -----------------------------------------------------------------------------------------------------

HOURS: dict[str, Fault] = {
    "not listed": (Code.UNKNOWN_CONTRACT, {"hour": 498_799}),
    "gate closed": (Code.WRONG_PHASE, {"hour": 498_742}),
    "halted": (Code.HALTED, {"hour": 498_744}),
    "a bid below nothing": (Code.WRONG_QTY, {"bid_qty": -2}),
    "a bid beyond the largest": (Code.WRONG_QTY, {"bid_qty": 1_000_002}),
    "half a lot asked": (Code.WRONG_QTY, {"ask_qty": 3}),
    "no price to bid": (Code.WRONG_PRICE, {"bid": 0}),
    "half a tick asked": (Code.WRONG_PRICE, {"ask": 2_105_000}),
    "bid and ask at one price": (Code.WRONG_PRICE, {"bid": 2_100_000, "ask": 2_100_000}),
    "bid below the collar": (Code.OUTSIDE_COLLAR, {"bid": 990_000}),
    "ask above the collar": (Code.OUTSIDE_COLLAR, {"ask": 4_010_000}),
    "bid meets an ask": (Code.WOULD_TRADE, {"bid": 2_500_000, "ask": 2_600_000}),
    "ask meets a bid": (Code.WOULD_TRADE, {"bid": 1_400_000, "ask": 1_500_000}),
    "too little money": (Code.INSUFFICIENT_FUNDS, {"bid_qty": 900_000}),
    "nothing behind it": (Code.INSUFFICIENT_BACKING, {"ask_qty": 900_000}),
}


def hour_by_hour() -> tuple[Market, QuoteHour]:
    """21:57: the gate of the hour before the story's is closed, the one after is halted. Lots of two."""
    market = given("bid | price | ask\n | 2.50 | 2 carl\n2 carl | 1.50 |", lot=2, promises={"mike": 8}).wait(to="21:57")
    market.tell(cmd.SetState(900, CLASS, market.hour + 1, cmd.State.HALTED, ""))
    return market, QuoteHour(market.hour, 1_900_000, 2, 2_100_000, 2)


@pytest.fixture(scope="module")
def hours() -> tuple[Market, QuoteHour]:
    """For hours that are refused."""
    return hour_by_hour()


def outcome_of(market: Market, quote: QuoteHour) -> ev.QuoteOutcome:
    """Of quotes with this one hour."""
    mike = market.account("mike")
    number = market.engine.accounts[mike].numbers.get(CLASS, 0) + 1
    said = market.tell(cmd.PutQuotes(mike, CLASS, number, (quote,), market.engine.time_ms))[0]
    assert isinstance(said, ev.QuotesPut)
    return said.outcomes[0]


@pytest.mark.parametrize("fault", HOURS)
def test_an_hour_with_one_fault_is_refused_for_it(fault: str) -> None:
    """It has no ids and no sizes."""
    market, quote = hour_by_hour()
    wrong = replace(quote, **HOURS[fault][1])

    assert outcome_of(market, wrong) == ev.QuoteOutcome(wrong.hour, 0, 0, HOURS[fault][0])
    assert outcome_of(market, quote).code == 0, "without it, it is taken"


@pytest.mark.parametrize(("first", "second"), pairs(HOURS))
def test_an_hour_with_two_faults_is_refused_for_the_earlier_one(
    first: str, second: str, hours: tuple[Market, QuoteHour]
) -> None:
    market, quote = hours

    assert outcome_of(market, replace(quote, **HOURS[first][1], **HOURS[second][1])).code == HOURS[first][0]


def test_prices_of_a_side_without_a_size_mean_nothing() -> None:
    market, quote = hour_by_hour()

    assert outcome_of(market, replace(quote, bid_qty=0, bid=-7)).code == 0
    assert outcome_of(market, replace(quote, ask_qty=0, ask=9_999_999)).code == 0


def test_open_orders_are_counted_with_the_new_sides() -> None:
    """Two may be open: a pair fits, a kept side counts once, a replaced one makes room."""
    market = given(engine=engine_with(open_orders_max=2)).when("""
        mike quotes #1: +0 bids 1 at 1.90 asks 1 at 2.10
        mike quotes #2: +0 bids 1 at 1.90 asks 1 at 2.20
        mike quotes #3: +0 bids 1 at 1.90; +1 bids 1 at 1.90
        mike quotes #4: +1 bids 1 at 1.90 asks 1 at 2.10
        mike quotes #5: +0 bids 2 at 1.90 asks 1 at 2.10; +1 bids 1 at 1.90
    """)

    assert [said for said in market.said() if "quotes #" in said] == lines("""
        mike quotes #1: +0 bids 1 at 1.90 asks 1 at 2.10
        mike quotes #2: +0 bids 1 at 1.90 asks 1 at 2.20
        mike quotes #3: +0 bids 1 at 1.90; +1 bids 1 at 1.90
        mike quotes #4: +1 too_many_orders
        mike quotes #5: +0 bids 2 at 1.90 asks 1 at 2.10; +1 too_many_orders
    """)
