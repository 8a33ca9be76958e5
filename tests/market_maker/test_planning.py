"""What stands against what should stand, drawn hour by hour.

state: hour | asks as leaves@price, oldest first | backing | owed
plan:  hour | cancel | place
Prices in ticks of 10 µUSD.
"""

from __future__ import annotations

from schemas.supply import OfferSeen
from services.market_maker.planning import Ask, HourState, Plan, SetBacking, plan
from services.market_maker.quoting import NoQuote, Quote, Terms

TERMS = Terms(
    class_id="C", lot=1, tick=10, low=500, high=2_000,
    buyer_taker_bp=0, seller_bp=50,
)  # fmt: skip
OFFER = OfferSeen("cloud", "r", "t", "on_demand", "C", 1, 900, 1, 1, "file", 0, 0, "s")
AT_1000 = Quote(1_000, 8, OFFER)


def hours(picture: str, *, forward: bool = True, takes_orders: bool = True, collateral: int = 2_000) -> list[HourState]:
    states = []
    for line in picture.strip().splitlines():
        hour, asks, backing, owed = (part.strip() for part in line.split("|"))
        book = []
        for place, ask in enumerate(asks.split()):
            leaves, price = ask.split("@")
            book.append(Ask(f"{hour}-{place}", int(price), int(leaves)))
        states.append(
            HourState(
                hour=int(hour), symbol=f"C.{hour}", forward=forward, takes_orders=takes_orders, asks=tuple(book),
                backing=int(backing), owed=int(owed), collateral_price=collateral if int(backing) else 0,
            )
        )  # fmt: skip
    return states


def drawn(result: Plan) -> list[str]:
    lines = [f"back {b.first_hour}+{b.hours} with {b.qty} at {b.collateral_price}" for b in result.backing]
    for requote in result.requotes:
        place = f"{requote.qty}@{requote.price}" if requote.qty else "-"
        lines.append(f"{requote.hour} | {' '.join(requote.cancels) or '-'} | {place}")
    return lines


def test_a_new_class_is_backed_first_and_asked_afterwards() -> None:
    first = plan(TERMS, AT_1000, hours("1| |0|0\n2| |0|0\n3| |0|0"), 24)
    assert drawn(first) == ["back 1+3 with 8 at 2000"]
    assert first.waiting == 3
    second = plan(TERMS, AT_1000, hours("1| |8|0\n2| |8|0\n3| |8|0"), 24)
    assert drawn(second) == ["1 | - | 8@1000", "2 | - | 8@1000", "3 | - | 8@1000"]


def test_what_stands_right_is_left_alone() -> None:
    result = plan(TERMS, AT_1000, hours("1|8@1000|8|0\n2|5@1000|8|3"), 24)
    assert result.idle
    assert result.waiting == 0


def test_when_the_price_moves_every_ask_is_replaced() -> None:
    moved = plan(TERMS, Quote(1_010, 8, OFFER), hours("1|8@1000|8|0\n2|5@1000|8|3"), 24)
    assert drawn(moved) == ["1 | 1-0 | 8@1010", "2 | 2-0 | 5@1010"]


def test_without_a_quote_every_ask_is_cancelled_and_the_backing_stays() -> None:
    pulled = plan(TERMS, NoQuote("stale"), hours("1|8@1000|8|0\n2|5@1000 1@1010|8|3\n3| |8|0"), 24)
    assert drawn(pulled) == ["1 | 1-0 | -", "2 | 2-0 2-1 | -"]


def test_what_was_sold_is_not_offered_again() -> None:
    assert drawn(plan(TERMS, AT_1000, hours("1| |8|8\n2| |8|3"), 24)) == ["2 | - | 5@1000"]


def test_what_is_missing_is_added_behind_and_the_first_keeps_its_place() -> None:
    assert drawn(plan(TERMS, AT_1000, hours("1|5@1000|8|0"), 24)) == ["1 | - | 3@1000"]


def test_what_is_too_much_goes_from_the_youngest() -> None:
    assert drawn(plan(TERMS, Quote(1_000, 4, OFFER), hours("1|3@1000 5@1000|4|0"), 24)) == ["1 | 1-1 | 1@1000"]


def test_a_smaller_size_lowers_the_backing_but_never_below_what_is_owed() -> None:
    result = plan(TERMS, Quote(1_000, 4, OFFER), hours("1|8@1000|8|0\n2|2@1000|8|6\n3|8@1000|8|0"), 24)
    assert drawn(result) == [
        "back 1+1 with 4 at 2000",
        "back 2+1 with 6 at 2000",
        "back 3+1 with 4 at 2000",
        "1 | 1-0 | 4@1000",
        "2 | 2-0 | -",
        "3 | 3-0 | 4@1000",
    ]


def test_backing_is_set_in_runs_of_hours_that_need_the_same() -> None:
    result = plan(TERMS, AT_1000, hours("1| |0|0\n2| |8|8\n3| |0|0\n4| |0|0\n6| |0|0"), 24)
    assert result.backing == (
        SetBacking("C", 1, 1, 8, 2_000),
        SetBacking("C", 3, 2, 8, 2_000),
        SetBacking("C", 6, 1, 8, 2_000),
    )


def test_collateral_below_the_cap_is_raised() -> None:
    assert drawn(plan(TERMS, AT_1000, hours("1|8@1000|8|0", collateral=1_999), 24)) == ["back 1+1 with 8 at 2000"]


def test_the_window_is_the_first_forward_hours_and_asks_behind_it_go() -> None:
    result = plan(TERMS, AT_1000, hours("1|8@1000|8|0\n2| |8|0\n3|8@1000|8|0\n4| |8|0"), 2)
    assert drawn(result) == ["2 | - | 8@1000", "3 | 3-0 | -"]


def test_hours_past_their_gate_are_nobodys_business_any_more() -> None:
    running = hours("1|8@1000|8|0", forward=False)
    assert drawn(plan(TERMS, AT_1000, [*running, *hours("2| |8|0")], 1)) == ["2 | - | 8@1000"]


def test_where_no_orders_are_taken_asks_are_cancelled_and_none_is_placed() -> None:
    result = plan(TERMS, AT_1000, hours("1|8@990|8|0\n2| |8|0\n3|8@1000|8|0", takes_orders=False), 24)
    assert drawn(result) == ["1 | 1-0 | -"]
