"""Blocks: contiguous hours in equal quantity, all hours or none, one limit on the average price."""

from __future__ import annotations

import pytest

from schemas import events as ev
from schemas.commands import Fees
from schemas.events import Code
from tests.matching.faults import code_of
from tests.matching.market import Market, lines, rows

THREE_HOURS = """
    hour | bid | price | ask
    +0   |     | 2.00  | 4 carl
    +1   |     | 2.20  | 2 dana
    +1   |     | 2.10  | 2 carl
    +2   |     | 2.30  | 9 bert
"""


# --- All hours or none -------------------------------------------------------------------------------------------


def test_a_block_buys_the_same_quantity_in_every_hour_at_a_limit_on_the_average() -> None:
    """25.80 for 12 GPU-hours are 2.15 on average, though hour +2 costs 2.30; hour by hour, then what it came to."""
    market = Market.given(THREE_HOURS, hours=3)

    market.when("ana bids a block of 4 for 3 hours from +0 at 2.20")

    assert market.said() == lines("""
        ana bids a block of 4 for 3 hours from +0 at 2.20
        ana buys 4 from carl at 2.00
        ana buys 2 from carl at 2.10
        ana buys 2 from dana at 2.20
        ana buys 4 from bert at 2.30
        ana has 4 in each hour for 25.80 in all
    """)
    assert market.books() == rows("""
        hour | bid | price | ask
        +2   |     | 2.30  | 5 bert
    """)
    assert market.blocks()[1:] == []
    assert [market.positions(later)[1:] for later in range(3)] == [
        [("carl", "0", "4"), ("ana", "4", "0")],
        [("carl", "0", "2"), ("dana", "0", "2"), ("ana", "4", "0")],
        [("bert", "0", "4"), ("ana", "4", "0")],
    ]
    assert market.balances("ana")[1] == ("ana", "974.20", "0.00", "0.00", "974.20")


def test_where_one_hour_has_nothing_nothing_trades_and_the_block_waits() -> None:
    market = Market.given("hour | bid | price | ask\n+0 | | 2.00 | 9 carl\n+2 | | 2.00 | 9 carl", hours=3)

    market.when("ana bids a block of 4 for 3 hours from +0 at 2.20, at least 1")

    assert market.trades()[1:] == []
    assert market.blocks() == rows("""
        from | hours | bid           | price | ask
        +0   | 3     | 4 ana (min 1) | 2.20  |
    """)
    assert market.balances("ana")[1] == ("ana", "1000.00", "26.400012", "0.00", "973.599988")


def test_a_sell_block_is_its_mirror_image() -> None:
    """Of each hour's bids the best four: 8.70 and 7.90 come to 16.60, 2.075 on average."""
    market = Market.given(
        """
        hour | bid            | price | ask
        +0   | 3 ana          | 2.20  |
        +0   | 9 emil         | 2.10  |
        +1   | 2 emil, 1 dana | 2.00  |
        +1   | 9 dana         | 1.90  |
        """,
        hours=2,
    )

    market.when("bert offers a block of 4 for 2 hours from +0 at 2.07 fok")

    assert market.said() == lines("""
        bert offers a block of 4 for 2 hours from +0 at 2.07
        ana buys 3 from bert at 2.20
        emil buys 1 from bert at 2.10
        emil buys 2 from bert at 2.00
        dana buys 1 from bert at 2.00
        dana buys 1 from bert at 1.90
        bert has 4 in each hour for 16.60 in all
    """)
    assert market.books() == rows("""
        hour | bid    | price | ask
        +0   | 8 emil | 2.10  |
        +1   | 8 dana | 1.90  |
    """)
    market.when("bert offers a block of 4 for 2 hours from +0 at 2.01 fok")
    assert market.said() == ["bert is refused: cannot_fill (needs 4, has 0)"], "2.10 + 1.90 are 2.00 on average"


@pytest.mark.parametrize(
    ("other_ask", "bought"),
    [("2.000001", True), ("2.000002", True), ("2.000003", False)],
    ids=["below", "at", "beyond"],
)
def test_an_average_that_is_exactly_the_limit_trades_and_one_micro_more_does_not(other_ask: str, bought: bool) -> None:
    book = f"hour | bid | price | ask\n+0 | | 2.00 | 3 carl\n+1 | | {other_ask} | 3 dana"
    market = Market.given(book, hours=2, tick="0.000001")

    market.when("ana bids a block of 3 for 2 hours from +0 at 2.000001")

    assert bool(market.trades()[1:]) == bought


@pytest.mark.parametrize(
    ("other_bid", "sold"), [("2.000003", True), ("2.000002", True), ("2.000001", False)], ids=["above", "at", "beyond"]
)
def test_an_average_of_bids_that_is_exactly_the_limit_trades_and_one_micro_less_does_not(
    other_bid: str, sold: bool
) -> None:
    book = f"hour | bid | price | ask\n+0 | 3 carl | 2.00 | \n+1 | 3 dana | {other_bid} |"
    market = Market.given(book, hours=2, tick="0.000001")

    market.when("ana offers a block of 3 for 2 hours from +0 at 2.000001")

    assert bool(market.trades()[1:]) == sold


@pytest.mark.parametrize(("lot", "some", "answer"), [(1, 2, 3), (2, 4, 6), (8, 16, 24)])
def test_as_much_as_the_average_allows_in_whole_lots(lot: int, some: int, answer: int) -> None:
    """Two lots of four-dollar hours, then five-dollar ones; 4.40 for the two hours: three lots cost 4.33 each, four 4.50.

    With GPUs and not lots a little more would fit: 24 and two thirds of a lot of 8.
    """
    market = Market.given(
        hours=2, lot=lot, backs={"carl": 100 * lot, "dana": 100 * lot, "ana": 0}, money={"ana": "9000"}
    )
    market.draw(f"""
        hour | bid | price | ask
        +0   |     | 3.00  | {50 * lot} carl
        +0   |     | 2.00  | {some} carl
        +1   |     | 2.00  | {50 * lot} dana
    """)

    market.when(f"ana bids a block of {40 * lot} for 2 hours from +0 at 2.20, at least {lot} ioc")

    assert market.said()[-2:] == [
        f"ana has {answer} in each hour for {4 * some + 5 * (answer - some)}.00 in all and {40 * lot - answer} are left",
        f"ana loses {40 * lot - answer} of an order: ioc",
    ]


# --- What is left ------------------------------------------------------------------------------------------------


def test_an_immediate_block_takes_what_there_is_from_its_minimum_on_and_goes() -> None:
    market = Market.given(THREE_HOURS, hours=3)

    market.when("""
        ana bids a block of 9 for 3 hours from +0 at 2.20, at least 5 ioc
        ana bids a block of 9 for 3 hours from +0 at 2.20, at least 4 ioc
    """)

    assert market.said() == lines("""
        ana bids a block of 9 for 3 hours from +0 at 2.20
        ana loses 9 of an order: ioc
        ana bids a block of 9 for 3 hours from +0 at 2.20
        ana buys 4 from carl at 2.00
        ana buys 2 from carl at 2.10
        ana buys 2 from dana at 2.20
        ana buys 4 from bert at 2.30
        ana has 4 in each hour for 25.80 in all and 5 are left
        ana loses 5 of an order: ioc
    """)
    assert market.events[-1].contract == market.contract()  # type: ignore[union-attr]  # the block's first hour


def test_all_or_nothing_says_how_much_there_would_have_been() -> None:
    market = Market.given(THREE_HOURS, hours=3)

    market.when(
        "ana bids a block of 5 for 3 hours from +0 at 2.20 fok\nana bids a block of 4 for 3 hours from +0 at 2.20 fok"
    )

    assert market.said()[0] == "ana is refused: cannot_fill (needs 5, has 4)"
    assert market.said()[-1] == "ana has 4 in each hour for 25.80 in all"


def test_what_is_left_waits_with_a_hold_over_all_its_hours() -> None:
    """5 left for three hours at 2.20: 33.00 and 15 µUSD."""
    market = Market.given(THREE_HOURS, hours=3)

    market.when("ana bids a block of 9 for 3 hours from +0 at 2.20, at least 2")

    assert market.blocks() == rows("""
        from | hours | bid           | price | ask
        +0   | 3     | 5 ana (min 2) | 2.20  |
    """)
    assert market.balances("ana")[1] == ("ana", "974.20", "33.000015", "0.00", "941.199985")


def test_a_minimum_larger_than_what_is_left_shrinks_to_it() -> None:
    """At least 3 of 4: when three were had, the last one is enough."""
    market = Market.given("hour | bid | price | ask\n+0 | | 2.00 | 3 carl\n+1 | | 2.00 | 3 carl", hours=2)
    market.when("ana bids a block of 4 for 2 hours from +0 at 2.00, at least 3")
    assert market.blocks()[1:] == [("+0", "2", "1 ana", "2.00", "")]

    market.when("dana offers a block of 1 for 2 hours from +0 at 2.00")

    assert market.said()[-1] == "dana has 1 in each hour for 4.00 in all"
    assert market.blocks()[1:] == []


# --- Blocks against blocks -----------------------------------------------------------------------------------------


def test_a_block_of_the_same_range_trades_at_the_limit_of_the_one_that_waited() -> None:
    """Every hour at 1.90; each side's leaves are those of this trade. First the resting block is told, then the newcomer."""
    market = Market.given(hours=3).when("bert offers a block of 5 for 2 hours from +1 at 1.90, at least 1")

    market.when("ana bids a block of 3 for 2 hours from +1 at 2.20")

    assert market.said()[1:] == lines("""
        ana buys 3 from bert at 1.90
        ana buys 3 from bert at 1.90
        bert has 3 in each hour for 11.40 in all and 2 are left
        ana has 3 in each hour for 11.40 in all
    """)
    fills = [fill for fill in market.events if isinstance(fill, ev.Filled)]
    assert [(f.contract, f.maker_leaves, f.taker_leaves, f.taker_side) for f in fills] == [
        (market.contract(1), 0, 0, 1),
        (market.contract(2), 0, 0, 1),
    ]
    assert market.blocks() == rows("""
        from | hours | bid | price | ask
        +1   | 2     |     | 1.90  | 2 bert (min 1)
    """)


@pytest.mark.parametrize(("first", "hours"), [("+0", 2), ("+1", 1), ("+0", 3), ("+2", 1)])
def test_a_block_of_another_range_is_no_match_however_much_they_overlap(first: str, hours: int) -> None:
    market = Market.given(hours=3).when("bert offers a block of 5 for 2 hours from +1 at 1.90, at least 1")

    market.when(f"ana bids a block of 3 for {hours} hours from {first} at 2.20")

    assert market.trades()[1:] == []
    assert len(market.blocks()[1:]) == 2


def test_the_better_limit_goes_first_and_of_one_limit_the_older_block() -> None:
    market = Market.given(hours=2).when("""
        bert offers a block of 2 for 2 hours from +0 at 2.00, at least 1
        carl offers a block of 2 for 2 hours from +0 at 1.90, at least 1
        dana offers a block of 2 for 2 hours from +0 at 1.90, at least 1
        emil offers a block of 2 for 2 hours from +0 at 2.10, at least 1
    """)
    assert market.blocks() == rows("""
        from | hours | bid | price | ask
        +0   | 2     |     | 2.10  | 2 emil (min 1)
        +0   | 2     |     | 2.00  | 2 bert (min 1)
        +0   | 2     |     | 1.90  | 2 carl (min 1), 2 dana (min 1)
    """)

    market.when("ana bids a block of 9 for 2 hours from +0 at 2.00, at least 1")

    assert market.trades()[1::2] == [
        ("carl", "ana", "2", "1.90"),
        ("dana", "ana", "2", "1.90"),
        ("bert", "ana", "2", "2.00"),
    ]
    assert market.blocks() == rows("""
        from | hours | bid           | price | ask
        +0   | 2     |               | 2.10  | 2 emil (min 1)
        +0   | 2     | 3 ana (min 1) | 2.00  |
    """)


def test_hour_orders_come_first_at_an_equal_price() -> None:
    """1.90 and 2.10 are 2.00 on average, as Bert's block: the hours' two first, then two of Bert's."""
    market = Market.given("hour | bid | price | ask\n+0 | | 1.90 | 2 carl\n+1 | | 2.10 | 2 dana", hours=2)
    market.when("bert offers a block of 3 for 2 hours from +0 at 2.00, at least 1")

    market.when("ana bids a block of 4 for 2 hours from +0 at 2.10")

    assert market.said()[1:] == lines("""
        ana buys 2 from carl at 1.90
        ana buys 2 from dana at 2.10
        ana has 2 in each hour for 8.00 in all and 2 are left
        ana buys 2 from bert at 2.00
        ana buys 2 from bert at 2.00
        bert has 2 in each hour for 8.00 in all and 1 are left
        ana has 2 in each hour for 8.00 in all
    """)


def test_hour_orders_that_are_dearer_than_a_block_come_after_it_and_are_traded_in_one_go_with_the_cheaper_ones() -> (
    None
):
    """One in each hour at 2.00 on average, three of Bert's at 2.00, and a second one in the hours at 2.15: 2.075 for the two.

    What the hours give is carried out at once, before the block: nobody else can come between.
    """
    market = Market.given(
        """
        hour | bid | price | ask
        +0   |     | 2.20  | 9 carl
        +0   |     | 1.90  | 1 carl
        +1   |     | 2.10  | 9 dana
        """,
        hours=2,
    ).when("bert offers a block of 3 for 2 hours from +0 at 2.00, at least 1")

    market.when("ana bids a block of 9 for 2 hours from +0 at 2.10, at least 1 ioc")

    assert market.said()[1:] == lines("""
        ana buys 1 from carl at 1.90
        ana buys 2 from carl at 2.20
        ana buys 3 from dana at 2.10
        ana has 3 in each hour for 12.60 in all and 6 are left
        ana buys 3 from bert at 2.00
        ana buys 3 from bert at 2.00
        bert has 3 in each hour for 12.00 in all
        ana has 3 in each hour for 12.00 in all and 3 are left
        ana loses 3 of an order: ioc
    """)


def test_a_block_that_wants_more_at_once_than_is_left_is_passed_over() -> None:
    """Bert's goes whole or not at all; Carl's, at a worse limit, is traded instead. Of hours Ana gets what the limit allows."""
    market = Market.given(hours=2).when("""
        bert offers a block of 5 for 2 hours from +0 at 1.90
        carl offers a block of 5 for 2 hours from +0 at 2.00, at least 2
    """)

    market.when(
        "ana bids a block of 4 for 2 hours from +0 at 2.00\nana bids a block of 1 for 2 hours from +0 at 2.00 ioc"
    )

    assert market.trades()[1:] == [("carl", "ana", "4", "2.00")] * 2 + [("carl", "ana", "1", "2.00")] * 2
    assert market.blocks()[1:] == [("+0", "2", "", "1.90", "5 bert")]


def test_a_newcomer_s_minimum_counts_hours_and_blocks_together() -> None:
    """Two in the hours and three of Bert's: enough for at least five, not for at least six."""
    market = Market.given("hour | bid | price | ask\n+0 | | 1.90 | 2 carl\n+1 | | 2.10 | 2 dana", hours=2)
    market.when("bert offers a block of 3 for 2 hours from +0 at 2.00, at least 1")

    market.when("ana bids a block of 9 for 2 hours from +0 at 2.10, at least 6 ioc")
    assert market.said()[1:] == ["ana loses 9 of an order: ioc"]

    market.when("ana bids a block of 9 for 2 hours from +0 at 2.10, at least 5 ioc")
    assert market.said()[-1] == "ana loses 4 of an order: ioc"


# --- One's own --------------------------------------------------------------------------------------------------


def test_an_own_order_ends_what_an_hour_gives() -> None:
    """Also that of another account of the same owner; what waits behind it is out of reach."""
    market = Market.given(
        """
        hour | bid | price | ask
        +0   |     | 2.00  | 9 carl
        +1   |     | 2.20  | 9 dana
        +1   |     | 2.10  | 1 anton
        +1   |     | 2.00  | 3 carl
        """,
        hours=2,
        owners="ana=anton",
    )

    market.when("ana bids a block of 9 for 2 hours from +0 at 3.00, at least 1 ioc")

    assert market.said()[-2:] == lines("""
        ana has 3 in each hour for 12.00 in all and 6 are left
        ana loses 6 of an order: ioc
    """)
    assert [row[3] for row in market.books()[1:]] == ["6 carl", "9 dana", "1 anton"]
    market.when("ana bids a block of 9 for 2 hours from +0 at 3.00, at least 1")
    assert market.trades()[1:] == []


def test_blocks_of_one_owner_never_meet_and_stand_in_nobody_s_way() -> None:
    """Anton's is the best; Bert's behind it is reached all the same."""
    market = Market.given(hours=2, owners="ana=anton").when("""
        anton offers a block of 2 for 2 hours from +0 at 1.90, at least 1
        bert offers a block of 2 for 2 hours from +0 at 2.00, at least 1
        ana bids a block of 3 for 2 hours from +0 at 2.00, at least 1
    """)

    assert market.trades()[1:] == [("bert", "ana", "2", "2.00")] * 2
    assert market.blocks() == rows("""
        from | hours | bid   | price | ask
        +0   | 2     | 1 ana | 2.00  |
        +0   | 2     |       | 1.90  | 2 anton (min 1)
    """)


# --- Money ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("usd", "enough"), [("24.021612", True), ("24.021611", False)])
def test_a_bid_holds_its_notional_over_all_hours_its_fee_and_a_micro_per_lot_and_hour(usd: str, enough: bool) -> None:
    """4 GPUs for three hours at 2.00: 24.00, 9 bp of it 0.0216, 12 µUSD."""
    market = Market.given(fees=Fees(9, 5, 0, 0), hours=3, money={"ana": usd})

    market.when("ana bids a block of 4 for 3 hours from +0 at 2.00")

    if enough:
        assert market.balances("ana")[1] == ("ana", usd, usd, "0.00", "0.00")
    else:
        assert market.said() == [f"ana is refused: insufficient_funds (needs 24.021612, has {usd})"]


def test_the_hold_pays_for_every_fill_however_the_hours_are_cut() -> None:
    """Twelve fills of one µUSD-priced GPU, a fee rounded up each time: 24 µUSD of the 25 that were held."""
    market = Market.given(
        fees=Fees(1_000, 1_000, 0, 0), tick="0.000001", list_price="0.000001", hours=3, money={"ana": "0.000025"}
    )
    for later in range(3):
        for name in ("bert", "carl", "dana", "emil"):
            market.when(f"{name} sells 1 at 0.000001 in hour +{later}")

    market.when("ana bids a block of 4 for 3 hours from +0 at 0.000001")

    assert len(market.trades()[1:]) == 12
    assert market.balances("ana")[1] == ("ana", "0.000001", "0.00", "0.00", "0.000001")


def test_whoever_waits_pays_the_maker_s_rate_whoever_comes_the_taker_s() -> None:
    """Per hour and rounded up; the resting block is the maker in each of its hours, in a retry it is the taker."""
    fees = Fees(10, 20, 30, 40)
    market = Market.given(fees=fees, hours=2).when("bert offers a block of 1 for 2 hours from +0 at 2.00")
    market.when("ana bids a block of 1 for 2 hours from +0 at 2.00")
    assert [(f.buyer_fee, f.seller_fee) for f in market.events if isinstance(f, ev.Filled)] == [(4_000, 6_000)] * 2

    market.when(
        "ana bids a block of 1 for 2 hours from +0 at 2.00\nbert sells 1 at 2.00\nbert sells 1 at 2.00 in hour +1"
    )
    assert [(f.buyer_fee, f.seller_fee) for f in market.events if isinstance(f, ev.Filled)] == [(4_000, 6_000)] * 2


def test_dearer_hours_are_paid_before_cheaper_ones_come() -> None:
    """Exactly what is needed is there: hour +0 costs more than the limit, hour +1 less."""
    market = Market.given(
        "hour | bid | price | ask\n+0 | | 3.00 | 2 carl\n+1 | | 1.00 | 2 dana", hours=2, money={"ana": "8.000004"}
    )

    market.when("ana bids a block of 2 for 2 hours from +0 at 2.00")

    assert market.balances("ana")[1] == ("ana", "0.000004", "0.00", "0.00", "0.000004")


# --- Backing ----------------------------------------------------------------------------------------------------


def test_a_sell_block_counts_among_the_asks_of_each_of_its_hours() -> None:
    """And the asks of each hour against it; the refusal names what the poorest hour has."""
    market = Market.given(hours=3, backs={"bert": 5}).when("bert sells 2 at 3.00 in hour +1")

    market.when("""
        bert offers a block of 4 for 2 hours from +0 at 3.00
        bert offers a block of 3 for 2 hours from +0 at 3.00
        bert sells 3 at 3.00
        bert sells 2 at 3.00
        bert sells 1 at 3.00 in hour +1
        bert sells 5 at 3.00 in hour +2
    """)

    assert market.said() == lines("""
        bert is refused: insufficient_backing (needs 4, has 3)
        bert offers a block of 3 for 2 hours from +0 at 3.00
        bert is refused: insufficient_backing (needs 3, has 2)
        bert offers 2 at 3.00
        bert is refused: insufficient_backing (needs 1, has 0)
        bert offers 5 at 3.00
    """)


def test_a_block_of_one_who_has_nothing_there_is_refused() -> None:
    market = Market.given(hours=1).when("bert offers a block of 1 for 2 hours from +0 at 3.00")

    assert market.said() == ["bert is refused: insufficient_backing (needs 1, has 0)"]


def test_what_a_block_holds_it_may_sell_as_a_block() -> None:
    """Ana resells: her titles change hands in each hour, and she has what she paid for them."""
    market = Market.given(THREE_HOURS, hours=3, backs={"ana": 0}).when(
        "ana bids a block of 4 for 3 hours from +0 at 2.20"
    )

    market.when(
        "ana offers a block of 4 for 3 hours from +0 at 2.50\nemil bids a block of 4 for 3 hours from +0 at 2.60"
    )

    assert market.said()[-1] == "emil has 4 in each hour for 30.00 in all"
    assert market.balances("ana", "emil") == rows("""
        who  | cash    | held | collateral | free
        ana  | 1000.00 | 0.00 | 0.00       | 1000.00
        emil | 970.00  | 0.00 | 0.00       | 970.00
    """)
    assert market.positions(1)[1:] == [("carl", "0", "2"), ("dana", "0", "2"), ("emil", "4", "0")]


def test_a_lowering_cancels_blocks_before_the_hour_s_asks_from_the_worst_limit_the_youngest_first() -> None:
    """In all their hours. Of 20 in hour +1 ten are left: two blocks go, the third and the ask fit."""
    market = Market.given(hours=3, backs={"bert": 20}).when("""
        bert offers a block of 4 for 2 hours from +0 at 2.50
        bert offers a block of 5 for 2 hours from +1 at 3.00
        bert offers a block of 6 for 1 hours from +1 at 3.00
        bert sells 5 at 3.50 in hour +1
    """)

    market.when("bert declares 10 in hours +1")

    assert market.said() == lines("""
        bert declares 10
        bert loses 6 of an order: backing_lowered
        bert loses 5 of an order: backing_lowered
    """)
    assert market.blocks()[1:] == [("+0", "2", "", "2.50", "4 bert")]
    assert market.books()[1:] == [("+1", "", "3.50", "5 bert")]
    market.when("bert declares 1 in hours +1")
    assert market.said()[1:] == [
        "bert loses 4 of an order: backing_lowered",
        "bert loses 5 of an order: backing_lowered",
    ]


def test_the_lowering_of_many_hours_does_not_cancel_a_block_twice() -> None:
    market = Market.given(hours=3, backs={"bert": 5}).when("bert offers a block of 4 for 3 hours from +0 at 2.50")

    market.when("bert declares 1 in hours +0 +1 +2")

    assert market.said() == ["bert declares 1", "bert loses 4 of an order: backing_lowered"]


# --- Time, states, cancels ----------------------------------------------------------------------------------------


def test_a_block_leaves_at_the_gate_of_its_first_hour_and_frees_the_others() -> None:
    market = Market.given(hours=3, backs={"bert": 5}).when("""
        bert offers a block of 5 for 3 hours from +0 at 2.50
        ana bids a block of 5 for 2 hours from +1 at 1.50
    """)

    market.wait(to="22:55")

    assert [said for said in market.said() if "ana" in said or "bert" in said] == [
        "bert loses 5 of an order: gate_closed"
    ]
    assert market.when("bert sells 5 at 2.50 in hour +2").said() == ["bert offers 5 at 2.50"]
    assert market.when("ana bids a block of 1 for 2 hours from +0 at 1.50").said() == [
        f"ana is refused: wrong_phase (needs {market.hour})"
    ]


@pytest.mark.parametrize("what", ["hour", "class"])
def test_in_post_only_blocks_wait_and_do_not_trade_even_where_only_one_hour_is(what: str) -> None:
    market = Market.given(THREE_HOURS, hours=3).when(f"the {what} is post-only")

    market.when("""
        ana bids a block of 4 for 3 hours from +0 at 2.20 ioc
        ana bids a block of 4 for 3 hours from +0 at 2.20 fok
        ana bids a block of 4 for 3 hours from +0 at 2.20
        bert offers a block of 4 for 3 hours from +0 at 2.00
    """)

    assert market.said() == lines("""
        ana is refused: wrong_tif
        ana is refused: wrong_tif
        ana bids a block of 4 for 3 hours from +0 at 2.20
        bert offers a block of 4 for 3 hours from +0 at 2.00
    """)
    assert len(market.blocks()[1:]) == 2, "they cross, as orders of an opening may not: what opens the hours tries them"


@pytest.mark.parametrize("state", ["cancel-only", "halted"])
@pytest.mark.parametrize("what", ["hour", "class"])
def test_where_one_hour_takes_no_orders_no_block_is_taken_and_cancels_are(what: str, state: str) -> None:
    market = Market.given(hours=3).when(
        f"ana bids a block of 4 for 3 hours from +0 at 2.20 as mine\nthe {what} is {state}"
    )

    market.when("ana bids a block of 4 for 3 hours from +0 at 2.20\nana cancels mine")

    assert market.said() == ["ana is refused: halted", "ana cancels", "ana loses 4 of an order: asked"]


def test_a_dated_block_leaves_at_its_date() -> None:
    market = Market.given(hours=2).when("ana bids a block of 4 for 2 hours from +0 at 2.20 until 21:20")

    assert market.wait(to="21:20").said() == ["ana loses 4 of an order: expired", "a tick"]
    assert market.balances("ana")[1] == ("ana", "1000.00", "0.00", "0.00", "1000.00")


def test_a_block_is_cancelled_by_its_id_or_its_client_id_and_amended_by_neither() -> None:
    market = Market.given(hours=2).when(
        "ana bids a block of 4 for 2 hours from +0 at 2.20 as mine\nana offers a block of 1 for 1 hours from +0 at 3.00"
    )

    market.when(
        "ana amends mine to 1 at 2.20\nana amends bid 2.20 to 1 at 2.20\nana cancels mine\nbert cancels mine\n"
        "ana cancels ask 3.00"
    )

    assert market.said() == lines("""
        ana is refused: unknown_order
        ana is refused: unknown_order
        ana cancels
        ana loses 4 of an order: asked
        bert is refused: unknown_order
        ana cancels
        ana loses 1 of an order: asked
    """)
    assert market.blocks()[1:] == []


def test_the_same_block_again_is_a_repeat_and_another_one_is_refused() -> None:
    """First hour, hours and minimum are the body, as what every order has."""
    market = Market.given(hours=3)
    market.account("ana")
    market.when("ana bids a block of 4 for 2 hours from +0 at 2.20, at least 2 as mine")
    (first,) = market.events
    assert isinstance(first, ev.BlockAccepted)

    market.when("""
        ana bids a block of 4 for 2 hours from +0 at 2.20, at least 2 as mine
        ana bids a block of 4 for 2 hours from +0 at 2.20, at least 1 as mine
        ana bids a block of 4 for 3 hours from +0 at 2.20, at least 2 as mine
        ana bids a block of 4 for 2 hours from +1 at 2.20, at least 2 as mine
        ana bids a block of 4 for 2 hours from +0 at 2.20, at least 2 until 22:00 as mine
        ana offers a block of 4 for 2 hours from +0 at 2.20, at least 2 as mine
        ana buys 4 at 2.20 as mine
        ana buys 4 at 2.20 in hours +0 +1 as mine
    """)

    assert market.events[0] == ev.OrderRepeated(0, market.account("ana"), first.order, "mine")
    assert (
        market.events[1:]
        == [ev.Rejected(0, market.account("ana"), Code.DUPLICATE_CLIENT_ID, "mine", 0, first.order)] * 7
    )


def test_the_longest_block_is_a_week() -> None:
    """168 hours, one limit, one hold: 168 × 2.00 and 168 µUSD."""
    market = Market.given(horizon_hours=200).when("ana bids a block of 1 for 168 hours from +0 at 2.00")
    assert market.balances("ana")[1] == ("ana", "1000.00", "336.000168", "0.00", "663.999832")

    market.when(
        "ana bids a block of 1 for 169 hours from +0 at 2.00\nana bids a block of 1 for 0 hours from +0 at 2.00"
    )
    assert market.said() == ["ana is refused: wrong_hours"] * 2


def test_a_limit_is_judged_by_the_sum_of_the_hours_collars() -> None:
    """Hour +0 goes from 1.25 to 5.00, the others from 1.00 to 4.00: 3.25 ... 13.00 for three, rounded inwards."""
    market = Market.given(hours=3).when("the reference of the hour is 2.50")
    block = "ana bids a block of 1 for 3 hours from +0 at"

    market.when(f"{block} 1.08\n{block} 1.09\n{block} 4.33\n{block} 4.34")

    assert market.said() == lines("""
        ana is refused: outside_collar (needs 1.083334)
        ana bids a block of 1 for 3 hours from +0 at 1.09
        ana bids a block of 1 for 3 hours from +0 at 4.33
        ana is refused: outside_collar (needs 4.333333)
    """)


def test_the_need_of_the_largest_block_is_a_number_that_every_reader_can_store() -> None:
    """A million GPUs for a week at 100,000 USD and a tenth of fees are more µUSD than the bytes of an event can say."""
    market = Market.given(
        horizon_hours=200,
        list_price="1000.00",
        collar_high_bp=100_000,
        fees=Fees(1_000, 1_000),
        money={"ana": "1", "bert": "1"},
    )
    for price in ("2000.00", "4000.00", "8000.00", "10000.00"):
        market.wait(minutes=1).when(f"the reference of the class is {price}")
        assert isinstance(market.events[0], ev.ReferenceMoved)

    market.when("ana bids a block of 1000000 for 168 hours from +0 at 100000.00")

    (said,) = market.events
    assert isinstance(said, ev.Rejected)
    assert (code_of([said]), said.need, said.have) == (Code.INSUFFICIENT_FUNDS, 2**63 - 1, 1_000_000)
