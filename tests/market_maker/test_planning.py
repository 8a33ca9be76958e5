"""What stands against what should stand, drawn hour by hour.

state: hour | held | owed as promised | promised        stands, quotes: hour | bid | ask as size@price
"""

from __future__ import annotations

from msgspec.structs import replace

from services.market_maker.limits import Limits
from services.market_maker.offers import NoView, View
from services.market_maker.planning import Anchors, Plan, Rules, plan
from services.market_maker.quoting import HourQuote, Size, Standing, Terms
from tests.market_maker.market import LIMITS

TERMS = Terms(
    class_id="C", lot=1, tick=10, reference=1_000, low=500, high=2_000, gate_ms=300_000, cover_ms=1_800_000,
    buyer_maker_bp=0, buyer_taker_bp=0, seller_bp=50,
)  # fmt: skip
VIEW = View(cheapest=1_000, median=1_000, clouds=2, age_ms=0, where="cloud")
QUOTE = HourQuote(950, 8, 1_060, 8)
SHORT = HourQuote(950, 8, 1_060, 5)


def hours(picture: str, high: int = 2_000) -> list[Standing]:
    found = []
    for line in picture.strip().splitlines():
        hour, held, exposed, promised = (int(part) for part in line.split("|"))
        found.append(
            Standing(
                hour=hour, high=high, held=held, owed=exposed, exposed=exposed, promised=promised,
                collateral_price=2_000 if promised else 0,
            )
        )  # fmt: skip
    return found


def planned(
    picture: str, stands: dict[int, HourQuote] | None = None, *, limits: Limits = LIMITS, promises: bool = True, high: int = 2_000
) -> Plan:  # fmt: skip
    rules = Rules(terms=TERMS, limits=limits, size=Size(8, 8), promises=promises)
    return plan(rules, VIEW, hours(picture, high), stands or {}, now_ms=0)


def drawn(result: Plan) -> list[str]:
    lines = [f"promise {p.first_hour}+{p.hours}: {p.qty} at {p.collateral_price}" for p in result.promises]
    for hour, quote in result.quotes:
        bid = f"{quote.bid_qty}@{quote.bid}" if quote.bid_qty else "-"
        ask = f"{quote.ask_qty}@{quote.ask}" if quote.ask_qty else "-"
        lines.append(f"{hour} | {bid} | {ask}")
    return lines


def test_a_new_class_is_promised_first_and_asked_in_the_next_round() -> None:
    assert drawn(planned("11|0|0|0\n12|0|0|0\n13|0|0|0")) == [
        "promise 11+3: 8 at 2000", "11 | 8@950 | -", "12 | 8@950 | -", "13 | 8@950 | -",
    ]  # fmt: skip
    assert drawn(planned("11|0|0|8\n12|0|0|8\n13|0|0|8")) == [
        "11 | 8@950 | 8@1060", "12 | 8@950 | 8@1060", "13 | 8@950 | 8@1060",
    ]  # fmt: skip


def test_what_stands_as_it_should_is_left_alone() -> None:
    result = planned("11|0|0|8\n12|0|3|8\n13|0|0|8", {11: QUOTE, 12: QUOTE, 13: QUOTE})
    assert drawn(result) == ["12 | 8@950 | 5@1060"]
    assert planned("11|0|0|8\n12|0|3|8\n13|0|0|8", {11: QUOTE, 12: SHORT, 13: QUOTE}).idle


def test_what_is_beyond_the_window_is_pulled_and_not_promised() -> None:
    result = planned("11|0|0|8\n12|0|0|8\n13|0|0|8\n14|0|0|0", {11: QUOTE, 12: QUOTE, 13: QUOTE, 14: QUOTE})
    assert drawn(result) == ["14 | - | -"]


def test_promises_are_changed_in_runs_and_what_is_owed_stays_promised() -> None:
    """Twelve owed in hour 12, from a time of larger sizes; nothing between hours that are not neighbours."""
    result = planned("11|0|0|0\n12|0|12|12\n13|0|0|0", limits=replace(LIMITS, window_hours=6))
    assert drawn(result)[:2] == ["promise 11+1: 8 at 2000", "promise 13+1: 8 at 2000"]
    assert drawn(planned("11|0|0|0\n12|0|0|0\n14|0|0|0"))[:2] == ["promise 11+2: 8 at 2000", "promise 14+1: 8 at 2000"]


def test_a_cap_that_rose_above_the_collateral_price_asks_for_the_promise_again() -> None:
    assert drawn(planned("11|0|0|8", {11: QUOTE}, high=2_400))[0] == "promise 11+1: 8 at 2400"


def test_at_the_limit_of_open_promises_nothing_is_promised_or_asked_and_bids_go_on() -> None:
    result = planned("11|0|8|8\n12|2|0|8\n13|0|0|8", {13: QUOTE}, promises=False)
    assert drawn(result) == ["11 | 8@950 | -", "12 | 6@950 | 2@1060", "13 | 8@950 | -"]


def test_near_the_cover_deadline_promises_stay_as_they_are() -> None:
    limits = replace(LIMITS, cover_lead_ms=12 * 3_600_000)
    assert planned("11|0|0|0", limits=limits).promises == ()


def seen(cheapest: int) -> View:
    return replace(VIEW, cheapest=cheapest)


def test_a_jump_is_believed_when_it_has_stood_and_forgotten_when_it_goes_back() -> None:
    anchors = Anchors(jump_bp=2_000, settle_ms=60_000)
    assert anchors.believe("C", seen(1_000), 0) == seen(1_000)
    assert anchors.believe("C", seen(1_200), 1) == seen(1_200), "a fifth is no jump"
    assert isinstance(anchors.believe("C", seen(2_000), 2), NoView)
    assert anchors.settles_at_ms() == 60_002
    assert anchors.believe("C", seen(1_200), 3) == seen(1_200), "it went back"
    assert anchors.settles_at_ms() is None
    assert isinstance(anchors.believe("C", seen(2_000), 4), NoView), "and began anew"
    assert isinstance(anchors.believe("C", seen(3_000), 60_003), NoView), "another jump, another wait"
    assert anchors.believe("C", seen(3_000), 120_003) == seen(3_000)


def test_classes_jump_apart_from_each_other_and_no_view_stays_none() -> None:
    anchors = Anchors(jump_bp=0, settle_ms=60_000)
    assert anchors.believe("C", seen(1_000), 0) == seen(1_000)
    assert anchors.believe("D", seen(5_000), 0) == seen(5_000)
    assert isinstance(anchors.believe("C", seen(1_001), 0), NoView)
    assert anchors.believe("D", NoView("no firm offer"), 0) == NoView("no firm offer")
