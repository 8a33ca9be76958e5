"""What demo members want: whatever the dice say, it is something that the exchange can take."""

from collections import Counter

import pytest
from hypothesis import given
from hypothesis import strategies as st

from schemas.ids import format_symbol
from services.simulated.chance import Dice
from services.simulated.members import wish_name
from services.simulated.minds import (
    OPEN_MAX,
    SOON_HOURS,
    WEIGHTS,
    Amend,
    Block,
    Cancel,
    Declare,
    Kind,
    OwnOrder,
    Place,
    Range,
    Row,
    Seen,
    Terms,
    cost,
    decide,
)

CLASS = "H100.SXM.80.US"
FIRST = 494_900
TERMS = Terms(CLASS, lot=1, tick=5_000, low=1_650_000, high=6_600_000)
NODES = Terms(CLASS, lot=8, tick=5_000, low=1_650_000, high=6_600_000)
RICH = 10**12


def symbol(place: int) -> str:
    return format_symbol(CLASS, FIRST + place)


def market(text: str) -> list[Row]:
    """A line an hour: phase, bid, ask (USD and GPUs; - for nobody)."""
    rows = []
    for place, line in enumerate(text.split("\n")[1:-1]):
        phase, bid, ask = (each.strip() for each in line.split("|"))
        (bid_price, bid_qty), (ask_price, ask_qty) = level(bid), level(ask)
        rows.append(
            Row(
                symbol=symbol(place),
                hour=FIRST + place,
                forward=phase in ("forward", "opening"),
                running=phase == "running",
                takes=phase != "opening",
                bid=bid_price,
                bid_qty=bid_qty,
                ask=ask_price,
                ask_qty=ask_qty,
                reference=3_300_000,
            )
        )
    return rows


def level(text: str) -> tuple[int, int]:
    if text == "-":
        return 0, 0
    price, _, qty = text.partition(" x ")
    return round(float(price) * 1_000_000), int(qty)


BOOK = market("""
    running |           - | 3.40 x 8
    forward | 3.20 x 16   | 3.40 x 16
    forward | 3.20 x 16   | 3.41 x 8
    forward | 3.20 x 8    | 3.41 x 8
    forward |           - | 3.42 x 8
    opening | 3.20 x 8    | -
    forward | -           | -
""")


def test_the_same_dice_before_the_same_book_want_the_same() -> None:
    """A demo can be played again from its seed."""
    seen = Seen(terms=TERMS, rows=BOOK, purse=RICH)
    wanted = [decide("buyer", Dice(f"seed {number}"), seen) for number in range(50)]

    assert wanted == [decide("buyer", Dice(f"seed {number}"), seen) for number in range(50)]
    assert len(set(map(repr, wanted))) > 15


def test_a_provider_first_says_which_machines_it_has() -> None:
    """In every hour that can still be sold, and never fewer than it owes in one of them."""
    wish = decide("provider", Dice("1"), Seen(terms=TERMS, rows=BOOK, owed={symbol(2): 500}))

    assert wish == Declare(CLASS, FIRST + 1, 6, 500)


def test_a_block_pays_the_average_of_the_asks_and_a_tick() -> None:
    rows = market("""
    forward | - | 3.40 x 1
    forward | - | 3.44 x 9
    forward | - | 3.40 x 9
    forward | - | 3.40 x 9
    """)
    wishes = {decide("buyer", Dice(f"{number}"), Seen(terms=TERMS, rows=rows, purse=RICH)) for number in range(4_000)}

    blocks = {wish for wish in wishes if isinstance(wish, Block)}
    assert {wish for wish in blocks if not wish.waits} == {Block(CLASS, FIRST, 4, 1, 3_415_000)}
    waiting = {wish.price for wish in blocks if wish.waits}
    assert waiting
    assert waiting <= {3_410_000 - 5_000 * ticks for ticks in range(2, 9)}


def test_a_block_that_waits_begins_soon() -> None:
    """It is over when its first hour closes; one for days would fill the block book."""
    rows = market("forward | - | 3.40 x 9\n" * 60)
    wishes = [decide("buyer", Dice(f"{number}"), Seen(terms=TERMS, rows=rows, purse=RICH)) for number in range(2_000)]
    waiting = [wish.first_hour + wish.hours for wish in wishes if isinstance(wish, Block) and wish.waits]
    assert max(waiting) <= FIRST + SOON_HOURS
    assert len(waiting) > 20


def test_nobody_is_there_nothing_is_wanted() -> None:
    """But for a provider's machines, and a bid near the reference."""
    empty = market("""
    forward | - | -
    """)
    seen = Seen(terms=TERMS, rows=empty, purse=RICH)
    wishes = [decide("buyer", Dice(f"{number}"), seen) for number in range(100)]

    assert {type(wish) for wish in wishes} == {type(None), Place}
    assert all(3_000_000 < wish.price < 3_300_000 for wish in wishes if isinstance(wish, Place))
    assert decide("buyer", Dice("1"), Seen(terms=TERMS, rows=[], purse=RICH)) is None
    assert decide("provider", Dice("1"), Seen(terms=TERMS, rows=[])) is None


def test_with_an_empty_purse_only_what_is_held_is_traded() -> None:
    seen = Seen(terms=TERMS, rows=BOOK, held={symbol(1): 3}, purse=0)
    wishes = [decide("trader", Dice(f"{number}"), seen) for number in range(300)]

    assert {wish.symbol for wish in wishes if isinstance(wish, Place)} == {symbol(1)}
    assert {wish.sells for wish in wishes if isinstance(wish, Place)} == {True}
    assert {type(wish) for wish in wishes} == {type(None), Place}


def test_with_too_many_orders_open_one_goes() -> None:
    orders = [
        OwnOrder(f"0-1-{number}-0", symbol(1), sells=False, price=3_200_000, leaves=1) for number in range(OPEN_MAX + 1)
    ]
    kinds: list[Kind] = ["provider", "buyer", "trader"]

    assert {
        type(decide(kind, Dice(f"{number}"), Seen(terms=TERMS, rows=BOOK, orders=orders, purse=RICH)))
        for kind in kinds
        for number in range(20)
    } == {Cancel}


def test_what_is_not_offered_is_not_wanted() -> None:
    seen = Seen(terms=TERMS, rows=BOOK, purse=RICH)
    without = frozenset({"block", "range", "now"})
    names = {
        wish_name(wish)
        for number in range(300)
        if (wish := decide("buyer", Dice(f"{number}"), seen, without)) is not None
    }

    assert names == {"take", "bid"}


@pytest.mark.parametrize("kind", ["provider", "buyer", "trader"])
def test_every_kind_of_wish_is_felt(kind: Kind) -> None:
    """Each that has a weight, within a few hundred draws before an ordinary book."""
    book = market(
        """
    running |           - | 3.40 x 8
"""
        + "    forward | 3.20 x 16   | 3.40 x 16\n" * 30
    )
    seen = Seen(
        terms=TERMS,
        rows=book,
        orders=[OwnOrder("0-1-0-0", symbol(2), sells=True, price=3_500_000, leaves=2)],
        held={symbol(1): 5},
        declared={symbol(3): 8} if kind == "provider" else {},
        purse=RICH,
    )
    wishes = [decide(kind, Dice(f"{number}"), seen) for number in range(600)]
    felt = Counter(wish_name(wish) for wish in wishes if wish is not None)

    wanted = set(WEIGHTS[kind])
    # A resale is an ask like any other.
    assert set(felt) == (wanted - {"resell"}) | ({"ask"} if "resell" in wanted else set())


ROWS = st.lists(
    st.builds(
        lambda phase, state, bid, spread, sizes: (phase, state, bid, spread, sizes),
        st.sampled_from(["forward", "forward", "forward", "running"]),
        st.booleans(),
        st.one_of(st.none(), st.integers(300, 1_300)),
        st.one_of(st.none(), st.integers(1, 60)),
        st.tuples(st.integers(1, 6), st.integers(1, 6)),
    ),
    min_size=1,
    max_size=30,
)


@given(
    rows=ROWS,
    terms=st.sampled_from([TERMS, NODES]),
    kind=st.sampled_from(["provider", "buyer", "trader"]),
    lots=st.lists(st.integers(0, 4), min_size=3, max_size=3),
    purse=st.integers(0, 10**9),
    seed=st.integers(0, 10**6),
)
def test_the_exchange_can_take_whatever_is_wanted(
    rows: list[tuple], terms: Terms, kind: Kind, lots: list[int], purse: int, seed: int
) -> None:
    """Lots and ticks, collar and purse, machines and hours held: no wish is beyond them; and what shall wait does not trade."""
    book = []
    for place, (phase, takes, bid, spread, (bid_lots, ask_lots)) in enumerate(rows):
        ask = None if spread is None else (bid or 600) + spread
        book.append(
            Row(
                symbol=symbol(place),
                hour=FIRST + place,
                forward=phase == "forward",
                running=phase == "running",
                takes=takes,
                bid=(bid or 0) * terms.tick,
                bid_qty=bid_lots * terms.lot if bid else 0,
                ask=(ask or 0) * terms.tick,
                ask_qty=ask_lots * terms.lot if ask else 0,
                reference=3_300_000,
            )
        )
    held, declared, asked = (lot * terms.lot for lot in lots)
    orders = [OwnOrder("0-1-0-0", symbol(0), sells=True, price=700 * terms.tick, leaves=asked)] if asked else []
    seen = Seen(
        terms=terms,
        rows=book,
        orders=orders,
        held={symbol(0): held},
        declared={symbol(0): declared} if kind == "provider" else {},
        purse=purse,
    )
    wish = decide(kind, Dice(f"{seed}"), seen)

    if wish is None:
        return
    assert cost(wish, seen) <= purse
    forward = {row.symbol: row for row in book}
    match wish:
        case Cancel(order) | Amend(order):
            assert order == "0-1-0-0"
        case Place():
            row = forward[wish.symbol]
            assert row.takes
            assert row.forward or (row.running and wish.tif == "ioc" and not wish.sells)
            if wish.sells:
                assert wish.qty <= seen.free(wish.symbol)
            if wish.tif == "gtc":  # it waits
                assert not (wish.price >= row.ask > 0 if not wish.sells else 0 < row.bid >= wish.price)
        case Range() | Block():
            hours = {row.hour: row for row in book}
            run = [hours[wish.first_hour + place] for place in range(wish.hours)]
            assert all(row.forward and row.takes for row in run)
        case Declare():
            listed = [row.hour for row in book if row.forward]
            assert (wish.first_hour, wish.first_hour + wish.hours - 1) == (listed[0], listed[-1])
    qty = getattr(wish, "qty", terms.lot)
    price = getattr(wish, "price", terms.tick)
    assert qty > 0
    assert qty % terms.lot == 0
    assert price > 0
    assert price % terms.tick == 0
    if not isinstance(wish, Amend | Cancel | Declare) and not (isinstance(wish, Place) and wish.tif == "ioc"):
        assert terms.low <= price <= terms.high
