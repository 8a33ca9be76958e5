"""What becomes of orders: ranges, GTD, amends, quotes. O1: filled + cancelled + leaves = quantity, whatever is changed."""

from __future__ import annotations

import pytest

from schemas import events as ev
from schemas.commands import Ground, Role, Tif
from schemas.events import LegOutcome, QuoteOutcome, Reason
from schemas.ids import contract_of
from services.settlement import rows
from services.settlement.ledger import Contradiction
from tests.settlement.people import CONTRACT, HOUR, table
from tests.settlement.told import BUY, FEES, SELL, Told

QUANTITIES = ("account", "side", "price", "qty", "leaves", "filled", "cancelled", "state")


@pytest.fixture
def told() -> Told:
    """ana has machines in four hours, mia makes markets."""
    told = Told("ana bob")
    told.open("mia", Role.MARKET_MAKER)
    told.back("ana", Ground.DECLARED, 10, hours=range(HOUR, HOUR + 4))
    told.back("mia", Ground.PROMISED, 10, 4_000_000, hours=range(HOUR, HOUR + 4))
    return told


def test_a_range_is_an_order_for_each_leg_that_was_accepted(told: Told) -> None:
    """Each has the range's own id, so that its owner finds all of them; the refused leg has no row."""
    first = told.id()
    legs = (LegOutcome(0, first), LegOutcome(1, 0, 13, 7, 5), LegOutcome(2, first + 2))
    hours, bob = (HOUR, HOUR + 1, HOUR + 3), told.numbers["bob"]
    told.say(ev.RangeAccepted(0, bob, 1, hours, BUY, 4, 2_000_000, Tif.GTD, 0, "spring", 0, 10, legs, told.time_ms + 9))
    assert told.rows_of(rows.Order, "account", "contract", "qty", "client_id", "tif", "leaves") == table(f"""
        account | contract                   | qty | client_id | tif | leaves
        bob     | {contract_of(1, HOUR)}     | 4   | spring    | 2   | 4
        bob     | {contract_of(1, HOUR + 3)} | 4   | spring    | 2   | 4
    """)
    assert {row[-1] for row in told.store.rows["orders"].values()} == {told.time_ms - 1 + 9}, "expires_ms"

    told.say(ev.OrderCancelled(first + 2, bob, contract_of(1, HOUR + 3), 4, Reason.EXPIRED))

    assert [row[1:] for row in told.rows_of(rows.Order, *QUANTITIES)[1:]] == [
        ["1", "2000000", "4", "4", "0", "0", "open"],
        ["1", "2000000", "4", "0", "0", "4", "cancelled"],
    ]


def test_a_moment_that_no_column_takes_is_never(told: Told) -> None:
    """Whoever sends the largest number of all lives long, and settlement goes on."""
    told.order("bob", BUY, 1, 2_000_000, tif=Tif.GTD, expires_ms=2**64 - 1)
    assert [row[-1] for row in told.store.rows["orders"].values()] == [2**63 - 1]


def test_a_cut_counts_as_cancelled_and_a_rise_as_asked_for(told: Told) -> None:
    """10 asked, 4 filled; cut to 2; then 7 at another price, of which 3 trade at once."""
    ana = told.numbers["ana"]
    ask = told.order("ana", SELL, 10, 2_000_000)
    bid = told.order("bob", BUY, 4, 2_000_000)
    told.say(told.fill(ask, bid, 4, 2_000_000, "bob", "ana", leaves=(6, 0)))
    told.say(ev.OrderAmended(0, ana, ask, 2, 2_000_000, True))
    assert told.rows_of(rows.Order, *QUANTITIES) == table("""
        account | side | price   | qty | leaves | filled | cancelled | state
        ana     | 2    | 2000000 | 10  | 2      | 4      | 4         | open
        bob     | 1    | 2000000 | 4   | 0      | 4      | 0         | filled
    """)

    waiting = told.order("bob", BUY, 3, 1_900_000)
    told.say(
        ev.OrderAmended(0, ana, ask, 7, 1_900_000, False),
        told.fill(waiting, ask, 3, 1_900_000, "bob", "ana", leaves=(0, 4), taker_side=SELL),
    )

    assert told.rows_of(rows.Order, *QUANTITIES) == table("""
        account | side | price   | qty | leaves | filled | cancelled | state
        ana     | 2    | 1900000 | 15  | 4      | 7      | 4         | open
        bob     | 1    | 2000000 | 4   | 0      | 4      | 0         | filled
        bob     | 1    | 1900000 | 3   | 0      | 3      | 0         | filled
    """)


@pytest.mark.parametrize(
    ("qty", "price", "kept_place", "account"),
    [
        (3, 2_000_000, False, "ana"),  # nothing took its place away
        (5, 2_000_000, True, "ana"),
        (3, 1_900_000, True, "ana"),
        (0, 2_000_000, True, "ana"),
        (3, 2_000_000, True, "bob"),
    ],
)
def test_an_amend_that_does_not_fit_our_order(told: Told, qty: int, price: int, kept_place: bool, account: str) -> None:
    ask = told.order("ana", SELL, 4, 2_000_000)
    with pytest.raises(Contradiction):
        told.say(ev.OrderAmended(0, told.numbers[account], ask, qty, price, kept_place))


def test_what_mass_cancels_and_switches_say_is_told_by_the_cancellations(told: Told) -> None:
    ana = told.numbers["ana"]
    asks = [told.order("ana", SELL, 2, price) for price in (2_000_000, 2_100_000)]
    told.say(ev.MassCancelAccepted(0, ana, 1), ev.OrderCancelled(asks[0], ana, CONTRACT, 2, Reason.MASS))
    told.say(ev.CancelAllAfterSet(0, ana, told.time_ms + 5_000))
    told.say(ev.DeadManFired(ana), ev.OrderCancelled(asks[1], ana, CONTRACT, 2, Reason.DEAD_MAN), after_ms=5_000)
    assert told.rows_of(rows.Order, "cancelled", "state", "reason") == table("""
        cancelled | state     | reason
        2         | cancelled | 10
        2         | cancelled | 8
    """)


# --- Quotes --------------------------------------------------------------------------------------------------


def quotes(told: Told, number: int, *outcomes: QuoteOutcome) -> ev.QuotesPut:
    return ev.QuotesPut(0, told.numbers["mia"], 1, number, outcomes, bid_bp=FEES.buyer_maker, ask_bp=FEES.seller_maker)


@pytest.fixture
def quoted(told: Told) -> Told:
    """mia bids 1.90 and asks 2.10 in the first hour, and was refused in the second."""
    first = told.id()
    outcome = QuoteOutcome(HOUR, first, first + 1, 0, 1_900_000, 5, 2_100_000, 5)
    told.say(quotes(told, 7, outcome, QuoteOutcome(HOUR + 1, 0, 0, 19)))
    return told


def test_quotes_are_one_row_and_their_fills(quoted: Told) -> None:
    """No order of a quote is projected; money and hours of its trades are settled like any others."""
    told = quoted
    bid, ask = told.last(0), told.last(1)
    taker = told.order("bob", BUY, 2, 2_100_000)
    told.say(told.fill(ask, taker, 2, 2_100_000, "bob", "mia", leaves=(3, 0), ground=Ground.PROMISED))
    taker = told.order("ana", SELL, 1, 1_900_000)
    # mia owes 2 to bob as promised: what she buys of ana stands for the oldest of it.
    split = ev.TitleMove(0, 2, Ground.DECLARED, 1, 1_886_700, 1_900_000, 0, 1, 3, 1_900_000)
    told.titles += 2
    told.say(told.fill(bid, taker, 1, 1_900_000, "mia", "ana", leaves=(4, 0), taker_side=SELL, move=split))
    assert told.rows_of(rows.Order, "account", "qty", "filled", "state") == table("""
        account | qty | filled | state
        bob     | 2   | 2      | filled
        ana     | 1   | 1      | filled
    """)
    assert told.rows_of(rows.Quotes, "account", "class_no", "number", "hours", "refused") == table("""
        account | class_no | number | hours | refused
        mia     | 1        | 7      | 1     | 1
    """)
    assert told.rows_of(rows.Title, "title", "obligor", "holder", "ground", "qty", "cost") == table("""
        title | obligor | holder | ground | qty | cost
        1     | mia     | bob    | 2      | 1   | 2102100
        3     | ana     | bob    | 1      | 1   | 2102100
    """)


def test_a_quote_can_be_amended_cancelled_and_replaced(quoted: Told) -> None:
    told, mia = quoted, quoted.numbers["mia"]
    bid, ask = told.last(0), told.last(1)
    told.say(ev.OrderAmended(0, mia, ask, 2, 2_100_000, True))
    told.say(ev.CancelAccepted(0, mia, ask), ev.OrderCancelled(ask, mia, CONTRACT, 2, Reason.ASKED))
    told.say(
        quotes(told, 9, QuoteOutcome(HOUR, 0, 0, 0, 0, 0, 0, 0)),
        ev.OrderCancelled(bid, mia, CONTRACT, 5, Reason.QUOTE_REPLACED),
    )
    assert told.rows_of(rows.Quotes, "number", "hours", "refused", "seq") == [
        ["number", "hours", "refused", "seq"],
        ["9", "0", "0", str(told.seq)],
    ]
    assert not told.store.rows["orders"]


def test_the_last_of_all_numbers_is_shown_as_far_as_a_column_goes(quoted: Told) -> None:
    quoted.say(quotes(quoted, 2**64 - 1))
    assert quoted.rows_of(rows.Quotes, "number") == [["number"], [str(2**63 - 1)]]


def test_a_stale_number_of_quotes_contradicts_ours(quoted: Told) -> None:
    with pytest.raises(Contradiction):
        quoted.say(quotes(quoted, 7))


@pytest.mark.parametrize("who", ["ana", "mia, on her bid's side", "mia, in a class without quotes of hers"])
def test_an_order_without_a_row_that_is_no_quote(quoted: Told, who: str) -> None:
    """Who never quoted has no orders that we do not know, and an ask is no bid."""
    told = quoted
    bid, ask = told.last(0), told.last(1)
    taker = told.order("bob", BUY, 2, 2_100_000)
    said = {
        "ana": told.fill(ask, taker, 2, 2_100_000, "bob", "ana", leaves=(3, 0)),
        "mia, on her bid's side": told.fill(bid, taker, 2, 2_100_000, "bob", "mia", leaves=(3, 0), ground=2),
        "mia, in a class without quotes of hers": ev.OrderCancelled(
            ask, told.numbers["mia"], contract_of(2, HOUR), 5, 9
        ),
    }[who]
    with pytest.raises(Contradiction):
        told.say(said)
