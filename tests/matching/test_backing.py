"""What stands behind an ask: open asks ≤ held + unsold backing, in each hour by itself (C2)."""

from __future__ import annotations

from schemas import events as ev
from schemas.commands import Side
from schemas.events import Code
from tests.matching.market import Market, lines, rows

ASKS = """
    bid | price | ask
        |  2.20 | 2 bert, 1 fay, 2 bert
        |  2.10 | 3 bert
        |  2.00 | 3 bert
"""


# --- What may be offered ---------------------------------------------------------------------------------------


def test_who_has_nothing_may_offer_nothing() -> None:
    market = Market.given(backs={"bert": 0})

    market.when("bert sells 1 at 2.00")

    assert market.said() == ["bert is refused: insufficient_backing (needs 1, has 0)"]


def test_declared_machines_may_be_offered_once() -> None:
    market = Market.given(backs={"bert": 5})

    market.when("""
        bert sells 3 at 2.00
        bert sells 3 at 2.10
        bert sells 2 at 2.10
        bert sells 1 at 2.20
    """)

    assert market.said() == lines("""
        bert offers 3 at 2.00
        bert is refused: insufficient_backing (needs 3, has 2)
        bert offers 2 at 2.10
        bert is refused: insufficient_backing (needs 1, has 0)
    """)


def test_what_is_sold_is_owed_and_may_not_be_offered_again() -> None:
    market = Market.given(backs={"bert": 5}).when("bert sells 5 at 2.00\nana buys 3 at 2.00\nbert cancels ask 2.00")

    market.when("bert sells 3 at 2.00\nbert sells 2 at 2.00")

    assert market.said() == lines("""
        bert is refused: insufficient_backing (needs 3, has 2)
        bert offers 2 at 2.00
    """)


def test_what_is_cancelled_or_bought_back_may_be_offered_again() -> None:
    market = Market.given(backs={"bert": 2}).when("""
        bert sells 2 at 2.00
        ana buys 1 at 2.00
        bert cancels ask 2.00
        carl sells 1 at 2.00
        bert buys 1 at 2.00
    """)

    market.when("bert sells 2 at 2.00")

    assert market.said() == ["bert offers 2 at 2.00"]


def test_what_is_held_may_be_offered_without_any_backing() -> None:
    market = Market.given("bid | price | ask\n | 2.00 | 3 bert", backs={"ana": 0}).when("ana buys 3 at 2.00")

    market.when("ana sells 2 at 2.50\nana sells 2 at 2.50\nana sells 1 at 2.50")

    assert market.said() == lines("""
        ana offers 2 at 2.50
        ana is refused: insufficient_backing (needs 2, has 1)
        ana offers 1 at 2.50
    """)


def test_held_and_backing_add_up() -> None:
    """Holding 3 and with 2 machines: 5, crossing zero."""
    market = Market.given("bid | price | ask\n | 2.00 | 3 bert", backs={"ana": 2}).when("ana buys 3 at 2.00")

    market.when("ana sells 6 at 2.50\nana sells 5 at 2.50")

    assert market.said() == lines("""
        ana is refused: insufficient_backing (needs 6, has 5)
        ana offers 5 at 2.50
    """)


def test_promises_may_be_offered_like_machines() -> None:
    market = Market.given(promises={"mike": 2})

    market.when("mike sells 3 at 2.00\nmike sells 2 at 2.00\nana buys 2 at 2.00")

    assert market.said() == lines("""
        mike is refused: insufficient_backing (needs 3, has 2)
        mike offers 2 at 2.00
        ana bids 2 at 2.00
        ana buys 2 from mike at 2.00
    """)


def test_each_hour_has_backing_of_its_own() -> None:
    market = Market.given(backs={"bert": 2})
    later = market.order("bert", Side.SELL, 1, "2.00", later=1)

    market.send(later)

    assert market.said() == ["bert is refused: insufficient_backing (needs 1, has 0)"]


def test_one_declaration_covers_many_hours() -> None:
    market = Market.given(backs={"bert": 0})

    market.tell(market.declare("bert", 2, hours=(-1, 1, 2)))

    market.send()
    for later in (-1, 0, 1, 2):
        market.tell(market.order("bert", Side.SELL, 2, "2.00", later=later))
    assert market.said() == lines("""
        bert offers 2 at 2.00
        bert is refused: insufficient_backing (needs 2, has 0)
        bert offers 2 at 2.00
        bert offers 2 at 2.00
    """)


# --- An absolute target with a version -------------------------------------------------------------------------


def test_declaring_again_replaces_and_never_adds() -> None:
    """Two sources of one truth cannot add up to more machines than there are."""
    market = Market.given(backs={"bert": 5})

    market.when("bert declares 5\nbert declares 7\nbert sells 8 at 2.00\nbert sells 7 at 2.00")

    assert market.said() == lines("""
        bert declares 5
        bert declares 7
        bert is refused: insufficient_backing (needs 8, has 7)
        bert offers 7 at 2.00
    """)


def test_the_same_version_again_changes_nothing_and_says_so() -> None:
    market = Market.given(backs={"bert": 0})
    market.tell(market.declare("bert", 5, version=3))

    market.send(market.declare("bert", 5, version=3))

    assert market.said() == ["bert declares 5 again"]


def test_an_older_version_or_the_same_one_with_other_values_is_stale() -> None:
    """It hears the version in force."""
    market = Market.given(backs={"bert": 0})
    market.tell(market.declare("bert", 5, version=3))

    market.send()
    for qty, version in ((5, 2), (6, 3), (0, 1), (5, -1)):
        market.tell(market.declare("bert", qty, version=version))

    assert [(e.code, e.have) for e in market.events if isinstance(e, ev.OutboxRejected)] == [
        (Code.STALE_VERSION, 3)
    ] * 4
    assert market.free_to_offer("bert") == 5


def test_versions_begin_with_one() -> None:
    market = Market.given(backs={"bert": 0})

    market.send(market.declare("bert", 0, version=-5))

    (said,) = market.events
    assert isinstance(said, ev.OutboxRejected)
    assert (said.code, said.have) == (Code.STALE_VERSION, 0)


def test_of_many_hours_one_that_is_stale_refuses_all() -> None:
    """And an hour that has this very version already does not stand in the way of the others."""
    market = Market.given(backs={"bert": 0})
    market.tell(market.declare("bert", 5, version=3, hours=(0,)))

    market.send(market.declare("bert", 5, version=2, hours=(0, 1)))
    assert market.said() == ["bert is refused: stale_version (needs 0, has 3)"]
    assert market.contract(1) not in {
        c for c, contract in market.engine.contracts.items() if contract.register.positions
    }

    market.send(market.declare("bert", 5, version=3, hours=(0, 1)))
    assert market.said() == ["bert declares 5"], "changed: in one of them"


def test_each_ground_has_a_version_of_its_own() -> None:
    market = Market.given(promises={"mike": 2}).when("mike is a provider")

    market.send(market.declare("mike", 3, version=1))

    assert market.said() == ["mike declares 3"]


# --- Lowering ------------------------------------------------------------------------------------------------


def test_lowering_cancels_the_worst_asks_highest_price_first_youngest_first() -> None:
    """From 10 to 6: the younger two at 2.20, then the older two; whole orders, nobody else's, and no further than needed."""
    market = Market.given(ASKS, backs={"bert": 10})

    market.when("bert declares 6")

    assert market.said() == lines("""
        bert declares 6
        bert loses 2 of an order: backing_lowered
        bert loses 2 of an order: backing_lowered
    """)
    assert market.book() == rows("""
        bid | price | ask
            |  2.20 | 1 fay
            |  2.10 | 3 bert
            |  2.00 | 3 bert
    """)


def test_lowering_cancels_whole_orders_also_where_less_would_do() -> None:
    """From 10 to 9: one GPU is too many, the youngest worst order of two goes."""
    market = Market.given(ASKS, backs={"bert": 10}).when("bert declares 9")

    assert market.book() == rows("""
        bid | price | ask
            |  2.20 | 2 bert, 1 fay
            |  2.10 | 3 bert
            |  2.00 | 3 bert
    """)


def test_the_youngest_of_two_goes_although_it_stands_before_another_s() -> None:
    market = Market.given(backs={"bert": 4}).when("""
        bert sells 1 at 2.20 as old
        bert sells 3 at 2.20 as young
    """)

    market.when("bert declares 3\nbert cancels old\nbert cancels young")

    assert market.said() == lines("""
        bert declares 3
        bert loses 3 of an order: backing_lowered
        bert cancels
        bert loses 1 of an order: asked
        bert is refused: unknown_order
    """)


def test_lowering_leaves_what_is_owed_as_it_is_and_says_how_much_is_short() -> None:
    market = Market.given(backs={"bert": 5}).when("bert sells 5 at 2.00\nana buys 3 at 2.00")

    market.when("bert declares 1")

    assert market.said() == lines("""
        bert declares 1 and is short of 2
        bert loses 2 of an order: backing_lowered
    """)
    assert market.positions() == rows("""
        who  | holds | owes
        bert | 0     | 3
        ana  | 3     | 0
    """)


def test_being_short_is_the_largest_of_the_hours() -> None:
    market = Market.given(backs={"bert": 0})
    market.tell(market.declare("bert", 5, hours=(0, 1)))
    for later, qty in ((0, 2), (1, 4)):
        market.tell(
            market.order("bert", Side.SELL, qty, "2.00", later=later),
            market.order("ana", Side.BUY, qty, "2.00", later=later),
        )

    market.send(market.declare("bert", 1, hours=(0, 1)))

    assert market.said() == ["bert declares 1 and is short of 3"]


def test_the_same_lowering_again_still_says_that_it_is_short() -> None:
    market = Market.given(backs={"bert": 5}).when("bert sells 5 at 2.00\nana buys 5 at 2.00")
    market.tell(market.declare("bert", 2, version=50))

    market.send(market.declare("bert", 2, version=50))

    assert market.said() == ["bert declares 2 again and is short of 3"]


def test_what_is_held_keeps_its_asks_when_backing_goes() -> None:
    """Ana holds 3 and offers 5; without machines the 3 that she holds may still be offered."""
    market = Market.given("bid | price | ask\n | 2.00 | 3 carl", backs={"ana": 2})
    market.when("ana buys 3 at 2.00\nana sells 3 at 2.10\nana sells 2 at 2.20")

    market.when("ana declares 0")

    assert market.said() == lines("""
        ana declares 0
        ana loses 2 of an order: backing_lowered
    """)
    assert market.free_to_offer("ana") == 0


def test_raising_one_ground_does_not_help_another_hour_nor_lowering_hurt_it() -> None:
    market = Market.given(backs={"bert": 0})
    market.tell(market.declare("bert", 2, hours=(0, 1)))
    market.tell(market.order("bert", Side.SELL, 2, "2.00", later=1))

    market.when("bert declares 0")

    assert market.said() == ["bert declares 0"]
    assert market.book(later=1) == rows("""
        bid | price | ask
            |  2.00 | 2 bert
    """)


def test_asks_of_many_hours_are_cancelled_hour_by_hour() -> None:
    market = Market.given(backs={"bert": 0})
    market.tell(market.declare("bert", 2, hours=(0, 1, 2)))
    market.tell(*(market.order("bert", Side.SELL, 2, "2.00", later=later) for later in (2, 0, 1)))

    events = market.tell(market.declare("bert", 1, hours=(0, 1, 2)))

    assert [e.contract for e in events if isinstance(e, ev.OrderCancelled)] == [market.contract(n) for n in range(3)]


# --- Who may say it --------------------------------------------------------------------------------------------


def test_machines_are_a_provider_s_and_promises_a_market_maker_s() -> None:
    """A market maker may have machines as well: those that it procured for what it had promised."""
    market = Market.given(backs={"bert": 0, "ana": 0}, promises={"mike": 1}).when("ana is a member")

    market.when("""
        bert declares 1
        bert promises 1
        bert readies 1
        mike declares 1
        mike promises 2
        mike readies 1
        ana declares 1
        ana promises 1
        ana readies 1
    """)

    assert market.said() == lines("""
        bert declares 1
        bert is refused: wrong_role
        bert readies 1
        mike declares 1
        mike promises 2
        mike readies 1
        ana is refused: wrong_role
        ana is refused: wrong_role
        ana is refused: wrong_role
    """)


def test_a_role_that_is_taken_away_leaves_what_was_declared() -> None:
    """It says what may be declared from now on; asks stand until backing is lowered or its gate closes."""
    market = Market.given(backs={"bert": 2}).when("bert sells 1 at 2.00\nbert is a member")

    market.when("bert sells 1 at 2.10\nana buys 2 at 2.10\nbert declares 0")

    assert market.said() == lines("""
        bert offers 1 at 2.10
        ana bids 2 at 2.10
        ana buys 1 from bert at 2.00
        ana buys 1 from bert at 2.10
        bert is refused: wrong_role
    """)
