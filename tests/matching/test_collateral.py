"""A promise costs cash: its collateral, how it moves, and machines that take a promise over."""

from __future__ import annotations

import pytest

from schemas import events as ev
from schemas.commands import Fees
from schemas.events import Code
from schemas.units import PRICE_MAX, format_usd
from tests.matching.market import Market, lines, rows


def promised(market: Market, name: str = "mike") -> str:
    """Cash that stands behind promises."""
    return format_usd(market.engine.collaterals()[market.account(name)])


def test_a_promise_holds_its_collateral_price_per_gpu_and_the_buyer_s_fee_on_it() -> None:
    """5 at the collar's cap of 4.00, a buyer's fee of 10 bp: 4.004 each."""
    market = Market.given(fees=Fees(0, 10, 0, 50), promises={"mike": 5})

    assert market.balances("mike") == rows("""
        who  | cash    | held | collateral | free
        mike | 1000.00 | 0.00 | 20.02      | 979.98
    """)


def test_the_fee_on_the_collateral_price_is_rounded_up_per_gpu() -> None:
    market = Market.given(fees=Fees(0, 1, 0, 50), promises={"mike": 0}).when("mike promises 2 at 4.000001")

    assert promised(market) == "8.000804", "4.000001 + 0.000401 each"


def test_selling_and_buying_back_within_the_promise_leave_its_collateral_as_it_is() -> None:
    market = Market.given(promises={"mike": 5})

    market.when("mike sells 3 at 2.00\nana buys 3 at 2.00")
    assert promised(market) == "20.00"

    market.when("carl sells 2 at 2.00\nmike buys 2 at 2.00")
    assert promised(market) == "20.00"


def test_lowering_frees_collateral_down_to_what_is_owed() -> None:
    """Five promised, three sold: the promise may shrink to three, not its collateral below."""
    market = Market.given(promises={"mike": 5}).when("mike sells 3 at 2.00\nana buys 3 at 2.00")

    market.when("mike promises 4")
    assert promised(market) == "16.00"

    market.when("mike promises 1")
    assert market.said() == ["mike promises 1 and is short of 2"]
    assert promised(market) == "12.00"


def test_buying_back_what_is_owed_beyond_the_promise_frees_its_collateral_at_once() -> None:
    market = Market.given(promises={"mike": 3}).when("mike sells 3 at 2.00\nana buys 3 at 2.00\nmike promises 0")
    assert promised(market) == "12.00"

    market.when("carl sells 2 at 2.00\nmike buys 2 at 2.00")

    assert promised(market) == "4.00"


def test_a_promise_needs_its_whole_collateral_at_once() -> None:
    """It hears what is needed more than what is free; exactly that is enough."""
    market = Market.given(promises={"mike": 0}, money={"mike": "12.00"})

    market.when("mike promises 4\nmike promises 3\nmike promises 4\nmike is given 4.00\nmike promises 4")

    assert market.said() == lines("""
        mike is refused: insufficient_funds (needs 16.00, has 12.00)
        mike promises 3
        mike is refused: insufficient_funds (needs 4.00, has 0.00)
        mike is given 4.00
        mike promises 4
    """)


def test_what_bids_hold_is_not_there_for_promises_nor_the_other_way_round() -> None:
    market = Market.given(promises={"mike": 0}, money={"mike": "10.00"})

    market.when("""
        mike buys 4 at 2.00
        mike promises 1
        mike cancels bid 2.00
        mike promises 2
        mike buys 1 at 2.00
    """)

    assert market.said() == lines("""
        mike bids 4 at 2.00
        mike is refused: insufficient_funds (needs 4.00, has 1.999996)
        mike cancels
        mike loses 4 of an order: asked
        mike promises 2
        mike is refused: insufficient_funds (needs 2.000001, has 2.00)
    """)


def test_a_sweep_takes_no_collateral() -> None:
    market = Market.given(promises={"mike": 2}, money={"mike": "10.00"})

    market.when("mike gives back 10.00")

    assert market.said() == ["mike gives back 2.00"]


def test_promises_of_many_hours_are_judged_by_their_sum() -> None:
    market = Market.given(promises={"mike": 0}, money={"mike": "15.00"})

    market.send(market.promise("mike", 2, hours=(0, 1)))
    assert market.said() == ["mike is refused: insufficient_funds (needs 16.00, has 15.00)"]

    market.send(market.promise("mike", 1, hours=(0, 1, 2)))
    assert market.said() == ["mike promises 1"]
    assert promised(market) == "12.00"


def test_moving_a_promise_from_one_hour_to_another_needs_two_messages_and_no_more_money() -> None:
    """Lower first."""
    market = Market.given(promises={"mike": 2}, money={"mike": "8.00"})

    market.send()
    market.tell(market.promise("mike", 2, hours=(1,)))
    market.tell(market.promise("mike", 0))
    market.tell(market.promise("mike", 2, hours=(1,)))

    assert market.said() == lines("""
        mike is refused: insufficient_funds (needs 8.00, has 0.00)
        mike promises 0
        mike promises 2
    """)


# --- Its price -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("qty", "price", "code", "need"),
    [
        (1, "3.999999", Code.WRONG_COLLATERAL, 4_000_000),
        (1, "0", Code.WRONG_COLLATERAL, 4_000_000),
        (1, "4", None, 0),
        (0, "0", None, 0),
        (0, "10000", None, 0),
        (0, "10000.000001", Code.WRONG_COLLATERAL, 0),
    ],
)
def test_a_collateral_price_is_at_least_the_collar_s_cap_and_at_most_10_000(
    qty: int, price: str, code: Code | None, need: int
) -> None:
    """The dearest at which it could have to be bought in. A promise of nothing, with nothing owed, may name any price."""
    market = Market.given(promises={"mike": 0})

    (said,) = market.tell(market.promise("mike", qty, price))

    if code is None:
        assert isinstance(said, ev.BackingSet)
    else:
        assert isinstance(said, ev.OutboxRejected)
        assert (said.code, said.need) == (code, need)


def test_a_promise_of_nothing_keeps_the_cap_while_something_is_owed() -> None:
    market = Market.given(promises={"mike": 2}).when("mike sells 2 at 2.00\nana buys 2 at 2.00")

    market.when("mike promises 0 at 3.99\nmike promises 0 at 4.00")

    assert market.said() == lines("""
        mike is refused: wrong_collateral (needs 4.00)
        mike promises 0 and is short of 2
    """)


def test_a_new_price_holds_for_what_is_owed_as_well() -> None:
    market = Market.given(promises={"mike": 2}).when("mike sells 2 at 2.00\nana buys 2 at 2.00")

    market.when("mike promises 2 at 5.00")

    assert promised(market) == "10.00"


def test_machines_have_no_collateral_price() -> None:
    market = Market.given(backs={"bert": 0})
    body = market.promise("bert", 1)

    (said,) = market.tell(type(body)(body.outbox, body.account, body.class_no, body.hours, 1, 1, 1, 1))

    assert isinstance(said, ev.OutboxRejected)
    assert (said.code, said.need) == (Code.WRONG_COLLATERAL, 0)


def test_an_increase_beyond_64_bits_is_told_as_the_largest_number_there_is() -> None:
    """A thousand hours, a million GPUs each, at 10,000 USD: nobody has that, and every reader can store the answer."""
    market = Market.given(promises={"mike": 0}, horizon_hours=1_000)

    (said,) = market.tell(market.promise("mike", 1_000_000, format_usd(PRICE_MAX), hours=range(-1, 998)))

    assert isinstance(said, ev.OutboxRejected)
    assert (said.code, said.need, said.have) == (Code.INSUFFICIENT_FUNDS, 2**63 - 1, 1_000_000_000)


# --- Machines take promises over ---------------------------------------------------------------------------------


def owing() -> Market:
    """Mike promised 5 and owes 2 to Ana, then 3 to Dana; then he has machines."""
    market = Market.given(promises={"mike": 5})
    market.when("mike sells 5 at 2.00\nana buys 2 at 2.00\ndana buys 3 at 2.00\nmike is a provider")
    return market


def test_declared_machines_take_over_what_is_owed_as_promised_oldest_first() -> None:
    """Three machines: Ana's title whole, of Dana's a piece with a number of its own."""
    market = owing()

    market.when("mike declares 3")

    assert market.said() == lines("""
        mike declares 3
        title 1 of 2 is covered
        title 3 of 1 is covered as a piece of title 2
    """)
    assert market.titles() == rows("""
        title | obligor | holder | ground   | gpus | proceeds | cost | escrow
        1     | mike    | ana    | declared | 2    | 3.98     | 4.00 | 4.00
        2     | mike    | dana   | promised | 2    | 3.98     | 4.00 | 4.00
        3     | mike    | dana   | declared | 1    | 1.99     | 2.00 | 2.00
    """)


def test_what_was_taken_over_leaves_room_in_the_promise() -> None:
    """Backing of both grounds stays as it was said: 5 promised, of which 2 are owed now."""
    market = owing().when("mike declares 3")

    market.when("mike sells 4 at 2.00\nmike sells 3 at 2.00")

    assert market.said() == lines("""
        mike is refused: insufficient_backing (needs 4, has 3)
        mike offers 3 at 2.00
    """)


def test_collateral_is_free_when_the_promise_is_lowered_after_the_machines_took_over() -> None:
    market = owing().when("mike declares 5\nmike is a market_maker")
    assert promised(market) == "20.00", "the promise still stands for 5"

    market.when("mike promises 0")

    assert promised(market) == "0.00"


def test_more_machines_than_promises_are_machines_to_sell() -> None:
    market = owing()

    market.when("mike declares 7\nmike promises 0")

    assert market.said()[0] == "mike declares 7"
    assert [row[3] for row in market.titles()[1:]] == ["declared", "declared"]
    assert market.free_to_offer("mike") == 2 + 5


def test_fewer_machines_take_nothing_back() -> None:
    """What stands on machines stays there; it is only short of them."""
    market = owing().when("mike declares 5")

    market.when("mike declares 1")

    assert market.said() == ["mike declares 1 and is short of 4"]
    assert [row[3] for row in market.titles()[1:]] == ["declared", "declared"]


def test_the_holder_s_titles_keep_their_order_when_one_is_cut() -> None:
    """The piece stands right behind its rest: Dana sells 2, 3 and then the one she bought later."""
    market = owing().when("carl sells 1 at 2.00\ndana buys 1 at 2.00").when("mike declares 3")

    market.when("dana sells 4 at 2.00\nemil buys 4 at 2.00")

    assert [row[0] for row in market.moves()[1:]] == ["2", "4", "3"]
