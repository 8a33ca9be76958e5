"""When blocks that wait are tried again: who touched them, in which order, and how many in one record."""

from __future__ import annotations

import pytest

from schemas import commands as cmd
from schemas import events as ev
from schemas.commands import Side
from tests.matching.market import CLASS, Market, lines, rows
from tests.matching.sources import engine_with

BOOK = "hour | bid | price | ask\n+0 | | 2.00 | 9 carl"


def waiting(**how: int) -> Market:
    """Hour +0 has machines at 2.00, hour +1 none: Ana's block of 2 waits."""
    market = Market.given(BOOK, hours=2, promises={"mike": 9}, **how)
    return market.when("ana bids a block of 2 for 2 hours from +0 at 2.10")


BOUGHT = lines("""
    ana buys 2 from carl at 2.00
    ana buys 2 from dana at 2.20
    ana has 2 in each hour for 8.40 in all
""")


# --- Who touches it ----------------------------------------------------------------------------------------------


def test_an_order_that_comes_to_rest_opposite_to_it_lets_it_trade_as_a_taker_at_the_orders_prices() -> None:
    """After the outcome and the effects of the command that did it; the exact average."""
    market = waiting().when("dana sells 5 at 2.20 in hour +1")

    assert market.said() == ["dana offers 5 at 2.20", *BOUGHT]
    fills = [fill for fill in market.events if isinstance(fill, ev.Filled)]
    assert {fill.taker_side for fill in fills} == {Side.BUY}
    assert market.books()[1:] == [("+0", "", "2.00", "7 carl"), ("+1", "", "2.20", "3 dana")]
    assert market.blocks()[1:] == []
    assert market.balances("ana")[1] == ("ana", "991.60", "0.00", "0.00", "991.60")


def test_one_that_is_amended_does() -> None:
    market = waiting().when("dana sells 5 at 2.30 in hour +1 as mine")
    assert market.trades()[1:] == []

    market.when("dana amends mine to 5 at 2.20")

    assert market.said() == ["dana amends to 5 at 2.20", *BOUGHT]


def test_a_quote_does() -> None:
    """After all hours of the quotes."""
    market = waiting()

    market.when("mike quotes #1: +0 asks 3 at 2.50; +1 bids 1 at 1.50 asks 3 at 2.20")

    assert market.said() == [
        "mike quotes #1: +0 asks 3 at 2.50; +1 bids 1 at 1.50 asks 3 at 2.20",
        *(line.replace("dana", "mike") for line in BOUGHT),
    ]


def test_what_is_left_of_one_that_traded_first_does() -> None:
    """Emil's bid is better placed; the block takes what Dana's ask has left over."""
    market = waiting().when("emil buys 3 at 2.20 in hour +1")

    market.when("dana sells 5 at 2.20 in hour +1")

    assert market.said() == ["dana offers 5 at 2.20", "emil buys 3 from dana at 2.20", *BOUGHT]


def test_a_range_does_after_its_last_leg() -> None:
    market = Market.given(hours=2).when("ana bids a block of 2 for 2 hours from +0 at 2.00")

    market.when("carl sells 2 at 2.00 in hours +0 +1")

    assert market.said() == lines("""
        carl offers 2 at 2.00 in +0, +1
        ana buys 2 from carl at 2.00
        ana buys 2 from carl at 2.00
        ana has 2 in each hour for 8.00 in all
    """)


def test_an_order_that_does_not_rest_touches_nobody_and_takes_nothing_from_a_block() -> None:
    """Hour orders trade with hour orders; a block comes to them and not they to it."""
    market = waiting().when("dana sells 5 at 2.10 ioc in hour +1\ndana sells 5 at 2.10 fok in hour +1")

    assert market.said() == lines("""
        dana offers 5 at 2.10
        dana loses 5 of an order: ioc
        dana is refused: cannot_fill (needs 5, has 0)
    """)
    assert market.engine.retried == 0


@pytest.mark.parametrize(
    "story", ["dana buys 1 at 1.50 in hour +1", "dana sells 1 at 2.00 in hour +2", "dana cancels all"]
)
def test_the_own_side_and_hours_that_it_does_not_cover_do_not_touch_it(story: str) -> None:
    market = waiting()

    market.when(f"dana declares 9 in hours +1 +2\n{story}")

    assert market.engine.retried == 0


def test_an_own_order_touches_it_in_vain() -> None:
    market = Market.given(BOOK, hours=2, owners="ana=anton").when("ana bids a block of 2 for 2 hours from +0 at 2.10")

    market.when("anton sells 5 at 2.00 in hour +1\ndana sells 5 at 2.10 in hour +1")

    assert market.trades()[1:] == []
    assert market.engine.retried == 1


# --- Hours that open ------------------------------------------------------------------------------------------------


def crossing(state: str) -> Market:
    """Three blocks over the two hours that could trade if all their hours were open."""
    return (
        Market.given(hours=2)
        .when(state)
        .when("""
        ana bids a block of 2 for 2 hours from +0 at 2.00
        bert bids a block of 2 for 2 hours from +0 at 2.10
        carl offers a block of 2 for 2 hours from +0 at 1.90
        """)
    )


BERT = lines("""
    bert buys 2 from carl at 1.90
    bert buys 2 from carl at 1.90
    carl has 2 in each hour for 7.60 in all
    bert has 2 in each hour for 7.60 in all
""")


@pytest.mark.parametrize("what", ["hour", "class"])
def test_an_operator_s_opening_lets_blocks_trade_that_crossed_meanwhile(what: str) -> None:
    """Buyers first, the highest limit first; the one who is tried is the taker."""
    market = crossing(f"the {what} is post-only")

    market.when(f"the {what} is open")

    assert market.said() == [f"the {what} is open", *BERT]
    assert market.blocks()[1:] == [("+0", "2", "2 ana", "2.00", "")]


def test_an_opening_by_time_does_and_before_the_first_command_of_its_record() -> None:
    """Hour +3 is listed at 22:00 and opens at 22:01; Dana comes with that record and is too late."""
    market = (
        Market.given(hours=1)
        .wait(to="22:00")
        .when("""
        carl declares 9 in hours +3
        carl sells 2 at 2.00 in hour +3
        ana bids a block of 2 for 1 hours from +3 at 2.00
    """)
    )
    market.account("dana")
    market.wait(ms=59_999).stamp_ms += 1

    market.when("dana buys 2 at 2.00 in hour +3")

    assert market.said() == lines("""
        hour +3: open
        ana buys 2 from carl at 2.00
        ana has 2 in each hour for 4.00 in all
        dana bids 2 at 2.00
    """)


def test_a_reopening_does_when_it_comes_to_its_end() -> None:
    market = Market.given(hours=2).when(
        "ana bids a block of 2 for 2 hours from +0 at 2.00\nthe class is halted\nthe class is open"
    )
    market.wait(ms=60_000).when("carl offers a block of 2 for 2 hours from +0 at 1.90\nthe hour is post-only")
    assert market.trades()[1:] == []
    market.wait(ms=30_000)
    assert market.said() == ["the class: open", "a tick"], "hour +0 is not open yet"

    assert market.when("the hour is open").trades()[1:] == [("carl", "ana", "2", "1.90")] * 2


def test_an_hour_that_was_open_and_stays_so_touches_nobody() -> None:
    market = waiting()

    market.when("the hour is open\nthe class is open")

    assert market.engine.retried == 0


# --- In which order ---------------------------------------------------------------------------------------------


def test_those_that_are_touched_together_go_by_limit_and_then_by_age() -> None:
    """Two machines for four buyers: Dana's limit is highest, of the next ones Bert was first."""
    market = Market.given(BOOK, hours=2).when("""
        ana bids a block of 1 for 2 hours from +0 at 2.00
        bert bids a block of 1 for 2 hours from +0 at 2.05
        emil bids a block of 1 for 2 hours from +0 at 2.05
        dana bids a block of 1 for 2 hours from +0 at 2.10
    """)

    market.when("gina sells 2 at 2.00 in hour +1")

    assert [row[1] for row in market.trades()[1:]] == ["dana", "dana", "bert", "bert"]


def test_sellers_go_by_the_lowest_limit_and_after_buyers() -> None:
    """The class opens: one round for all. Hour orders of both sides, and a block at each side of them."""
    market = Market.given(hours=2).when("""
        the class is post-only
        ana offers a block of 1 for 2 hours from +0 at 1.60
        bert offers a block of 1 for 2 hours from +0 at 1.50
        carl bids a block of 1 for 2 hours from +0 at 2.50
        emil buys 1 at 1.60 in hours +0 +1
        gina sells 1 at 2.40 in hours +0 +1
    """)

    market.when("the class is open")

    assert [row[:2] for row in market.trades()[1:]] == [("bert", "carl")] * 2 + [("emil", "ana")] * 2


def test_blocks_of_several_ranges_are_one_queue() -> None:
    """By limit, whatever hours they want: the one-hour block at 2.30 takes what the three-hour one at 2.20 would."""
    market = Market.given("hour | bid | price | ask\n+0 | | 2.00 | 9 carl\n+2 | | 2.00 | 9 carl", hours=3).when("""
        ana bids a block of 1 for 3 hours from +0 at 2.20
        bert bids a block of 1 for 1 hours from +1 at 2.30
    """)

    market.when("dana sells 1 at 2.10 in hour +1\ndana sells 1 at 2.10 in hour +1")

    assert [row[1] for row in market.trades()[1:]] == ["bert", "ana", "ana", "ana"]


def test_a_block_that_traded_in_part_keeps_its_place() -> None:
    market = Market.given(BOOK, hours=2).when("""
        ana bids a block of 3 for 2 hours from +0 at 2.10, at least 1
        bert bids a block of 3 for 2 hours from +0 at 2.10, at least 1
        dana sells 1 at 2.10 in hour +1
    """)

    assert market.blocks()[1:] == [("+0", "2", "2 ana (min 1), 3 bert (min 1)", "2.10", "")]


def test_hours_and_a_block_that_each_were_too_little_are_enough_together() -> None:
    """Ana wants five at once; Bert's block has three, the hours soon two."""
    market = Market.given(hours=2).when("""
        ana bids a block of 5 for 2 hours from +0 at 2.00
        bert offers a block of 3 for 2 hours from +0 at 2.00
        carl sells 2 at 2.00
    """)
    assert market.trades()[1:] == []

    market.when("carl sells 2 at 2.00 in hour +1")

    assert market.said() == lines("""
        carl offers 2 at 2.00
        ana buys 2 from carl at 2.00
        ana buys 2 from carl at 2.00
        ana has 2 in each hour for 8.00 in all and 3 are left
        ana buys 3 from bert at 2.00
        ana buys 3 from bert at 2.00
        bert has 3 in each hour for 12.00 in all
        ana has 3 in each hour for 12.00 in all
    """)


# --- How many in one record -----------------------------------------------------------------------------------------

PEOPLE = ("ana", "bert", "emil", "fay", "gina")


def five_blocks(retries_max: int, at: str = "2.00") -> Market:
    """Five buyers over the same hours, younger ones with higher limits; machines for all in hour +0."""
    market = Market.given(BOOK, hours=2, engine=engine_with(retries_max=retries_max))
    for place, name in enumerate(PEOPLE):
        market.when(f"{name} bids a block of 1 for 2 hours from +0 at 2.{place}0")
    market.account("dana")
    return market.when(f"dana sells 9 at {at} in hour +1")


def test_what_one_record_has_no_room_for_is_done_by_the_next_ones_and_comes_to_the_same() -> None:
    """Two retries a record: three records say what one would have said, trade by trade and title by title."""
    whole, parts = five_blocks(64), five_blocks(2)
    assert [row[1] for row in parts.trades()[1:]] == ["gina", "gina", "fay", "fay"]
    assert list(parts.engine.retries.values()) != []

    said = list(parts.events)
    said += parts.wait(ms=1).events[:-1]
    assert [row[1] for row in parts.trades()[1:]] == ["emil", "emil", "bert", "bert"]
    said += parts.wait(ms=1).events[:-1]
    assert [row[1] for row in parts.trades()[1:]] == ["ana", "ana"]
    assert parts.wait(ms=1).said() == ["a tick"]

    assert said == whole.events
    assert parts.books() == whole.books()
    assert (parts.blocks(), parts.balances(), parts.titles(1)) == (whole.blocks(), whole.balances(), whole.titles(1))


def test_the_bound_is_the_record_s_and_not_the_command_s() -> None:
    """Three commands of one frame touch all blocks: the first has both retries, whom the others touch waits for the next record.

    Fay was tried in vain in the first round and joins the queue again at its end, though her limit is the best of those left.
    """
    market = five_blocks(64, at="3.90")
    market.engine.retries_max = 2

    market.together("dana sells 1 at 2.10 in hour +1\ndana sells 1 at 2.10 in hour +1\ndana sells 1 at 2.10 in hour +1")
    assert [row[1] for row in market.trades()[1:]] == ["gina", "gina"]
    assert market.engine.retried == 2
    assert [market.name(block.account) for block in market.engine.retries.values()] == ["emil", "bert", "ana", "fay"]

    market.wait(ms=1)
    assert [row[1] for row in market.trades()[1:]] == ["emil", "emil", "bert", "bert"]
    market.wait(ms=1)
    assert (market.trades()[1:], market.engine.retries) == ([], {})


def test_the_real_bound_is_64() -> None:
    """A hundred blocks, as many as an account may have, are touched at once: 64 trade in this record, the rest in the next."""
    market = Market.given()
    ana = market.account("ana")
    block = cmd.PlaceBlock(ana, CLASS, market.hour, 1, Side.BUY, 1, 1, 2_000_000, 1, 0, "", market.engine.time_ms)
    market.tell(*[block] * 100)

    assert len(market.when("carl sells 100 at 2.00").trades()[1:]) == 64
    assert len(market.wait(ms=1).trades()[1:]) == 36


def test_who_waits_for_a_retry_is_before_those_that_are_touched_later_whatever_their_limits() -> None:
    """One retry a record. Ana is still in the queue when Fay's block, a better one, is touched as well.

    Bert was tried before Dana's two came, and again when they were gone.
    """
    market = Market.given(BOOK, hours=2).when("""
        ana bids a block of 1 for 2 hours from +0 at 2.00
        bert bids a block of 1 for 2 hours from +0 at 2.05
        emil bids a block of 1 for 2 hours from +0 at 2.10
    """)
    for name in ("dana", "fay"):
        market.account(name)
    market.engine.retries_max = 1
    market.when("dana sells 1 at 2.00 in hour +1")
    assert [row[1] for row in market.trades()[1:]] == ["emil", "emil"]

    market.together("fay bids a block of 1 for 2 hours from +0 at 3.00\ndana sells 2 at 2.00 in hour +1")
    assert [market.name(block.account) for block in market.engine.retries.values()] == ["ana", "fay", "bert"]
    for name in ("ana", "fay"):
        market.wait(ms=1)
        assert [row[1] for row in market.trades()[1:]] == [name, name]

    assert market.blocks()[1:] == [("+0", "2", "1 bert", "2.05", "")]


def test_a_block_that_leaves_its_book_leaves_the_queue() -> None:
    """Two retries a record: Emil and Bert are tried before Ana can cancel; the queue ends with her block."""
    market = five_blocks(2)
    assert [market.name(block.account) for block in market.engine.retries.values()] == ["emil", "bert", "ana"]

    market.when("ana cancels all")

    assert market.said() == lines("""
        emil buys 1 from carl at 2.00
        emil buys 1 from dana at 2.00
        emil has 1 in each hour for 4.00 in all
        bert buys 1 from carl at 2.00
        bert buys 1 from dana at 2.00
        bert has 1 in each hour for 4.00 in all
        ana cancels all 1
        ana loses 1 of an order: mass
    """)
    assert (market.engine.retries, market.wait(ms=1).said()) == ({}, ["a tick"])


def test_a_block_that_another_s_retry_has_filled_is_not_tried_any_more() -> None:
    """Two blocks face each other and wait for one record each: the buyer's retry fills the seller."""
    market = crossing("the class is post-only")
    market.engine.retries_max = 1

    market.when("the class is open")

    assert market.said()[1:] == BERT
    assert [market.name(block.account) for block in market.engine.retries.values()] == ["ana"]
    assert market.wait(ms=1).said() == ["a tick"]
    assert market.engine.retries == {}


def test_a_retry_in_the_middle_of_a_frame_comes_before_the_next_command() -> None:
    """Dana's first ask goes to the block before Emil, who comes in the same frame, can have it."""
    market = waiting()
    for name in ("dana", "emil"):
        market.account(name)

    market.together("dana sells 2 at 2.20 in hour +1\nemil buys 2 at 2.20 in hour +1")

    assert market.said() == ["dana offers 2 at 2.20", *BOUGHT, "emil bids 2 at 2.20"]


def test_a_block_goes_at_its_gate_before_it_could_be_tried() -> None:
    """Due first, retries after: what opened and what closed within one silence."""
    market = Market.given(hours=2).when("the hour is halted\nana buys 1 at 1.50 in hour +1\nthe hour is post-only")
    market.when(
        "ana bids a block of 2 for 2 hours from +0 at 2.00\ncarl offers a block of 2 for 2 hours from +0 at 1.90"
    )
    market.wait(to="22:54").when("the hour is halted\nthe hour is open")

    market.wait(to="22:56")

    assert market.trades()[1:] == []
    assert [said for said in market.said() if "loses 2" in said] == [
        "ana loses 2 of an order: gate_closed",
        "carl loses 2 of an order: gate_closed",
    ]
    assert market.book()[1:] == rows("bid | price | ask")[1:]


# --- Blocks that cross and were kept apart by a minimum ---------------------------------------------------------------


def test_one_that_a_newcomer_passed_over_is_tried_as_soon_as_the_newcomer_rests() -> None:
    """Ana wants ten at once: Carl's better five come first, and Bert's ten do not fit beside them. Bert and Ana do."""
    market = Market.given(hours=2).when("""
        carl offers a block of 5 for 2 hours from +0 at 1.90
        bert offers a block of 10 for 2 hours from +0 at 1.95
    """)

    market.when("ana bids a block of 10 for 2 hours from +0 at 2.00")

    assert market.said() == lines("""
        ana bids a block of 10 for 2 hours from +0 at 2.00
        ana buys 10 from bert at 2.00
        ana buys 10 from bert at 2.00
        ana has 10 in each hour for 40.00 in all
        bert has 10 in each hour for 40.00 in all
    """)
    assert market.blocks()[1:] == [("+0", "2", "", "1.90", "5 carl")]


def test_whoever_got_a_part_needs_less_from_then_on() -> None:
    """Bert's four are too few for Ana's six. Carl sells her seven; for the three that are left Bert has enough."""
    market = Market.given(hours=2).when("""
        ana bids a block of 10 for 2 hours from +0 at 2.00, at least 6
        bert offers a block of 4 for 2 hours from +0 at 1.90, at least 2
    """)
    assert market.blocks()[1:] == [("+0", "2", "10 ana (min 6)", "2.00", ""), ("+0", "2", "", "1.90", "4 bert (min 2)")]

    market.when("carl offers a block of 7 for 2 hours from +0 at 1.90")

    assert market.trades()[1:] == [
        ("ana", "carl", "7", "2.00"), ("ana", "carl", "7", "2.00"), ("bert", "ana", "3", "1.90"), ("bert", "ana", "3", "1.90"),
    ]  # fmt: skip
    assert market.blocks()[1:] == [("+0", "2", "", "1.90", "1 bert")]


def test_two_that_are_each_too_small_are_taken_together() -> None:
    """The second one's coming to rest lets Ana look again; both trade at their own limits, she being the taker."""
    market = Market.given(hours=2).when("""
        ana bids a block of 10 for 2 hours from +0 at 2.00, at least 6
        bert offers a block of 4 for 2 hours from +0 at 1.90
    """)

    market.when("dana offers a block of 3 for 2 hours from +0 at 1.95")

    assert market.trades()[1:] == [
        ("bert", "ana", "4", "1.90"), ("bert", "ana", "4", "1.90"), ("dana", "ana", "3", "1.95"), ("dana", "ana", "3", "1.95"),
    ]  # fmt: skip
    assert market.blocks()[1:] == [("+0", "2", "3 ana", "2.00", "")]


def test_what_is_cancelled_wakes_nobody() -> None:
    """Carl's five stood in the way of Bert's seven, with the three of the hours. Gone, they make room: for whoever looks next."""
    asks = "hour | bid | price | ask\n+0 | | 1.95 | 3 emil\n+1 | | 1.95 | 3 emil"
    market = Market.given(asks, hours=2).when("""
        carl offers a block of 5 for 2 hours from +0 at 1.90
        bert offers a block of 7 for 2 hours from +0 at 1.95
        ana bids a block of 10 for 2 hours from +0 at 2.00
    """)

    market.when("carl cancels all")
    assert (market.trades()[1:], market.engine.retried) == ([], 0)
    market.when("dana sells 1 at 2.50")

    assert market.trades()[1:] == [
        ("emil", "ana", "3", "1.95"), ("emil", "ana", "3", "1.95"), ("bert", "ana", "7", "1.95"), ("bert", "ana", "7", "1.95"),
    ]  # fmt: skip


def test_those_that_do_not_cross_are_not_tried_for_each_other() -> None:
    """A range with many waiting blocks costs a newcomer nothing."""
    market = Market.given(hours=2).when("""
        ana bids a block of 2 for 2 hours from +0 at 1.90
        carl offers a block of 2 for 2 hours from +0 at 2.00
    """)

    assert market.engine.retried == 0


def test_whoever_is_left_when_the_other_is_filled_is_not_tried_again() -> None:
    """Ana gets one from the hours and then all of Carl's: with two of her four left she crosses nobody any more."""
    asks = "hour | bid | price | ask\n+0 | | 1.85 | 1 emil\n+1 | | 1.85 | 1 emil"
    market = Market.given(asks, hours=2).when("""
        the class is post-only
        carl offers a block of 1 for 2 hours from +0 at 1.90
        ana bids a block of 4 for 2 hours from +0 at 2.00, at least 1
    """)
    assert market.trades()[1:] == []

    market.when("the class is open")

    assert market.trades()[1:] == [
        ("emil", "ana", "1", "1.85"), ("emil", "ana", "1", "1.85"), ("carl", "ana", "1", "1.90"), ("carl", "ana", "1", "1.90"),
    ]  # fmt: skip
    assert (market.blocks()[1:], market.engine.retried) == ([("+0", "2", "2 ana (min 1)", "2.00", "")], 1)
