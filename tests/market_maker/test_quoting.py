"""From offers and the book to two prices, from capital to two sizes."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace

from schemas.units import fee
from services.market_maker.limits import BadLimits, Limits, packaged_limits, parse_limits
from services.market_maker.offers import View
from services.market_maker.quoting import (
    HourQuote,
    Size,
    Standing,
    Terms,
    fair,
    half_spread_bp,
    quote_hour,
    running_ask,
    sizes,
)
from tests.market_maker.market import LIMITS

TERMS = Terms(
    class_id="C", lot=1, tick=5_000, reference=3_300_000, low=1_650_000, high=6_600_000, gate_ms=300_000, cover_ms=1_800_000,
    buyer_maker_bp=0, buyer_taker_bp=0, seller_bp=50,
)  # fmt: skip
HOUR = 500_000
NOW = (HOUR - 24) * 3_600_000
EIGHT = Size(8, 8)


def seen(cheapest: int, median: int = 0, *, age_ms: int = 0) -> View:
    return View(cheapest=cheapest, median=median or cheapest, clouds=3, age_ms=age_ms, where="cloud")


def at(**own: int) -> Standing:
    return Standing(**{"hour": HOUR, "high": TERMS.high, "promised": 8, "collateral_price": TERMS.high, **own})


def quoted(view: View, limits: Limits = LIMITS, standing: Standing | None = None, now_ms: int = NOW) -> HourQuote:
    spread = half_spread_bp(view, limits, limits.spread_bp)
    return quote_hour(TERMS, view, limits, spread, EIGHT, standing or at(), now_ms)


def test_both_sides_stand_at_the_spread_from_what_an_hour_costs_and_the_ask_earns_the_fee() -> None:
    """3.00 less 5 % is 2.85; 3.00 and 5 % over 0.995 is 3.1658, up to the tick."""
    assert quoted(seen(3_000_000)) == HourQuote(2_850_000, 8, 3_170_000, 8)


def test_what_is_sold_short_brings_more_than_replacing_it_costs() -> None:
    """A spread below the margin does not count for it: 3.00 and 1 % over 0.995."""
    assert quoted(seen(3_000_000), replace(LIMITS, spread_bp=0)) == HourQuote(3_000_000, 8, 3_050_000, 8)


@pytest.mark.parametrize(
    ("age_ms", "median", "bp"),
    [(0, 3_000_000, 500), (22_500, 3_000_000, 500), (33_750, 3_000_000, 550), (45_000, 3_000_000, 600), (90_000, 3_000_000, 600),
     (0, 3_300_000, 550), (0, 6_000_000, 700), (45_000, 6_000_000, 800)],
)  # fmt: skip
def test_the_spread_grows_with_the_age_of_the_sources_and_with_the_clouds_disagreement(
    age_ms: int, median: int, bp: int
) -> None:
    """At most 1 % for age, from half of what is stale on; 5 % of the distance of the median, at most 2 %."""
    limits = replace(LIMITS, age_bp=100, dispersion_share_bp=500, dispersion_bp=200)
    assert half_spread_bp(seen(3_000_000, median, age_ms=age_ms), limits, 500) == bp


@pytest.mark.parametrize(
    ("bid", "ask", "value"),
    [(0, 0, 3_000_000), (3_100_000, 0, 3_000_000), (0, 3_100_000, 3_000_000), (3_000_000, 3_200_000, 3_050_000),
     (5_000_000, 5_200_000, 3_150_000), (1_000_000, 1_200_000, 2_850_000)],
)  # fmt: skip
def test_the_book_moves_the_fair_value_by_its_share_within_the_band(bid: int, ask: int, value: int) -> None:
    limits = replace(LIMITS, book_share_bp=5_000, book_band_bp=1_000)
    assert fair(seen(3_000_000), bid, ask, limits) == value


def test_a_side_that_would_trade_stands_a_tick_behind_the_others_instead() -> None:
    """Somebody bids more than the ask, or asks less than the bid: a quote takes nothing."""
    assert quoted(seen(3_000_000), standing=at(bid=3_300_000)) == HourQuote(2_850_000, 8, 3_305_000, 8)
    assert quoted(seen(3_000_000), standing=at(ask=2_800_000)) == HourQuote(2_795_000, 8, 3_170_000, 8)


def test_a_position_leans_both_prices_against_itself() -> None:
    """Two per cent at eight of eight; what is held is sold on, what is owed is not offered twice."""
    limits = replace(LIMITS, skew_bp=200)
    assert quoted(seen(3_000_000), limits, at(held=8)) == HourQuote(2_790_000, 0, 3_110_000, 8)
    assert quoted(seen(3_000_000), limits, at(held=4)) == HourQuote(2_820_000, 4, 3_140_000, 4)
    assert quoted(seen(3_000_000), limits, at(owed=4, exposed=4)) == HourQuote(2_880_000, 8, 3_200_000, 4)
    assert quoted(seen(3_000_000), limits, at(owed=8, exposed=8)) == HourQuote(2_910_000, 8, 3_230_000, 0)


def test_without_a_promise_nothing_is_asked_that_is_not_held() -> None:
    assert quoted(seen(3_000_000), standing=at(promised=0)).ask_qty == 0
    assert quoted(seen(3_000_000), standing=at(promised=3)).ask_qty == 3
    assert quoted(seen(3_000_000), standing=at(promised=0, held=2)).ask_qty == 2


def test_near_the_cover_deadline_nothing_more_is_promised_and_what_is_owed_is_bid_for() -> None:
    limits = replace(LIMITS, cover_lead_ms=1_800_000)
    near = HOUR * 3_600_000 - TERMS.cover_ms - limits.cover_lead_ms
    assert quoted(seen(3_000_000), limits, at(owed=3, exposed=3), near - 1) == HourQuote(2_850_000, 8, 3_170_000, 5)
    assert quoted(seen(3_000_000), limits, at(owed=3, exposed=3), near) == HourQuote(3_000_000, 3, 3_170_000, 0)


def test_a_price_outside_the_collar_is_not_quoted() -> None:
    """Below the floor nothing is bid; an ask rises to the floor; above the cap nothing is asked, and the bid stops there."""
    assert quoted(seen(1_000_000)) == HourQuote(0, 0, 1_650_000, 8)
    assert quoted(seen(6_500_000)) == HourQuote(6_175_000, 8, 0, 0)
    assert quoted(seen(9_000_000)) == HourQuote(6_600_000, 8, 0, 0)


def test_the_running_hour_is_asked_at_the_same_price() -> None:
    view = seen(3_000_000)
    assert running_ask(TERMS, view, LIMITS, 500, TERMS.high) == 3_170_000
    assert running_ask(TERMS, view, LIMITS, 500, 3_000_000) == 0, "the collar of that hour is lower"


@given(
    cheapest=st.integers(1, 2 * 10**9), median=st.integers(0, 4), age_ms=st.integers(0, 10**6), bid=st.integers(0, 10**7),
    ask=st.integers(0, 10**7), held=st.integers(0, 30), owed=st.integers(0, 30), promised=st.integers(0, 30),
    exposed=st.integers(0, 30), lot=st.sampled_from([1, 8]), before_ms=st.integers(0, 30 * 3_600_000),
    spread=st.integers(0, 2_000), skew=st.integers(0, 2_000), perish=st.integers(0, 5_000), seller_bp=st.integers(0, 1_000),
)  # fmt: skip
def test_every_quote_can_be_put_and_a_short_sale_never_loses(
    cheapest: int, median: int, age_ms: int, bid: int, ask: int, held: int, owed: int, promised: int, exposed: int, lot: int,
    before_ms: int, spread: int, skew: int, perish: int, seller_bp: int,
) -> None:  # fmt: skip
    terms = replace(TERMS, lot=lot, seller_bp=seller_bp)
    limits = replace(
        LIMITS, spread_bp=spread, skew_bp=skew, perish_bp=perish, age_bp=100, dispersion_bp=200, dispersion_share_bp=500,
        book_share_bp=2_500, book_band_bp=1_000, cover_lead_ms=1_800_000,
    )  # fmt: skip
    view = seen(cheapest, cheapest * (10 + median) // 10, age_ms=age_ms)
    standing = Standing(
        hour=HOUR, high=terms.high, bid=bid, ask=ask, held=held if not owed else 0, owed=owed, exposed=min(exposed, owed),
        promised=promised, collateral_price=terms.high,
    )  # fmt: skip
    now_ms = HOUR * 3_600_000 - before_ms
    result = quote_hour(terms, view, limits, half_spread_bp(view, limits, spread), Size(16, 16), standing, now_ms)

    for price, qty in ((result.bid, result.bid_qty), (result.ask, result.ask_qty)):
        assert qty >= 0
        assert qty % lot == 0
        assert not qty or (price % terms.tick == 0 and terms.low <= price <= terms.high)
    if result.bid_qty and result.ask_qty:
        assert result.bid < result.ask
    if result.ask_qty and not standing.held:
        assert result.ask_qty <= max(0, promised - owed)
        assert result.ask - fee(result.ask, seller_bp) >= cheapest, "sold below what replacing costs"
    if result.bid_qty:
        assert result.bid <= max(cheapest, fair(view, bid, ask, limits)) * (10_000 + skew) // 10_000


# --- Sizes and limits -----------------------------------------------------------------------------------------------------


def test_sizes_are_an_equal_share_of_the_capital_in_whole_lots() -> None:
    """1,000 USD over 2 classes and 3 hours, half of it a side: 83.33 per hour; 12 promises at 6.60, 27 bids at 3.00."""
    limits = replace(LIMITS, capital_micros=1_000_000_000, gpus_max=100)
    assert sizes(TERMS, seen(3_000_000), limits, 2) == Size(27, 12)
    assert sizes(replace(TERMS, lot=8), seen(3_000_000), limits, 2) == Size(24, 8)
    assert sizes(TERMS, seen(3_000_000), replace(limits, gpus_max=5), 2) == Size(5, 5)
    assert sizes(TERMS, seen(3_000_000), replace(limits, capital_micros=0), 2) == Size(0, 0)


def test_promises_are_collateralised_above_the_cap() -> None:
    assert replace(LIMITS, collateral_over_cap_bp=1_000).collateral_price(6_600_000) == 7_260_000


def test_the_packaged_limits_are_sound_and_a_class_may_have_its_own() -> None:
    limits = packaged_limits()
    assert limits.spread_of("RTX4090.24.EU.COMM") > limits.spread_of("H100.SXM.80.US") == limits.spread_bp
    text = packaged_text().replace("[classes]", '[classes]\n"D" = { gpus_max = 0 }')
    assert (parse_limits(text.encode()).gpus_of("D"), limits.gpus_of("D")) == (0, limits.gpus_max)


@pytest.mark.parametrize("change", [("spread_bp = 250", "margin = 300"), ("window_hours = 168", "window_hours = 0")])
def test_wrong_limits_are_refused(change: tuple[str, str]) -> None:
    with pytest.raises(BadLimits):
        parse_limits(packaged_text().replace(*change, 1).encode())


def packaged_text() -> str:
    from importlib import resources

    return (resources.files("services.market_maker") / "limits.toml").read_text()
