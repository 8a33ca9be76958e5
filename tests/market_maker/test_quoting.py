"""From an offer to a price, from capital to a size."""

from __future__ import annotations

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from schemas.specifications import collar, specifications, tick_for
from schemas.supply import OfferSeen
from schemas.units import fee
from services.market_maker.limits import BadLimits, packaged_limits, parse_limits
from services.market_maker.offers import NoOffer
from services.market_maker.quoting import NoQuote, Quote, Terms, quote, sizes

TERMS = Terms(
    class_id="C", lot=1, tick=5_000, low=1_650_000, high=6_600_000,
    buyer_taker_bp=0, seller_bp=50,
)  # fmt: skip


def offer(price: int, gpus: int = 1) -> OfferSeen:
    return OfferSeen("cloud", "r", "t", "on_demand", "C", gpus, price, 1, 1, "file", 0, 0, "s")


@pytest.mark.parametrize(
    ("cost", "margin_bp", "price"),
    [
        (3_290_000, 300, 3_390_000),  # 3.3887 → up to the tick
        (3_000_000, 0, None),  # on the tick, and the fee takes it below cost
        (3_000_000, 50, None),  # 3.015 less 0.015075
        (3_000_000, 51, 3_020_000),
        (1_000_000, 300, 1_650_000),  # below the floor: the floor
        (6_500_000, 300, 6_600_000),  # above the cap: the cap, still above cost
        (6_590_000, 300, None),  # at the cap the fee takes it below cost
        (9_000_000, 300, None),
    ],
)
def test_the_ask_is_cost_plus_margin_on_the_tick_inside_the_collar(
    cost: int, margin_bp: int, price: int | None
) -> None:
    result = quote(TERMS, offer(cost), margin_bp, 8)
    if price is None:
        assert isinstance(result, NoQuote)
        assert "below the offer's" in result.why
    else:
        assert result == Quote(price, 8, offer(cost))


def test_without_an_offer_there_is_no_ask_and_the_reason_is_passed_on() -> None:
    assert quote(TERMS, NoOffer("stale: last polled s"), 300, 8) == NoQuote("stale: last polled s")


def test_an_offer_of_another_size_than_a_lot_is_not_quoted() -> None:
    assert isinstance(quote(TERMS, offer(3_000_000, gpus=8), 300, 8), NoQuote)


def test_less_than_a_lot_of_capital_is_no_ask() -> None:
    assert isinstance(quote(TERMS, offer(3_000_000), 300, 0), NoQuote)


@given(
    cost=st.integers(1, 2 * 10**9), margin_bp=st.integers(0, 10_000), steps=st.integers(50, 10_000),
    scale=st.sampled_from([50_000, 100_000, 1_000_000, 5_000_000]), seller_bp=st.integers(0, 1_000),
)  # fmt: skip
def test_every_ask_can_be_placed_and_none_loses(
    cost: int, margin_bp: int, steps: int, scale: int, seller_bp: int
) -> None:
    tick = tick_for(scale)
    list_price = max(1, round(scale / tick * steps / 1_000)) * tick
    low, high = collar(list_price, 5_000, 20_000)
    terms = msgspec.structs.replace(TERMS, tick=tick, low=low, high=high, seller_bp=seller_bp)
    result = quote(terms, offer(cost), margin_bp, 8)
    if isinstance(result, NoQuote):
        return
    assert result.price % tick == 0
    assert low <= result.price <= high
    assert result.price - fee(result.price, seller_bp) >= cost
    # Never dearer than cost plus margin by a tick or more, but for the floor.
    assert result.price < cost * (10_000 + margin_bp) / 10_000 + tick + 1 or result.price - low < tick


def terms_of_all() -> list[Terms]:
    found = []
    for spec in specifications():
        trading = spec.trading
        low, high = collar(trading.list_price_micros, trading.collar_low_bp, trading.collar_high_bp)
        found.append(
            Terms(
                class_id=spec.class_id, lot=trading.lot, tick=trading.tick_micros, low=low, high=high,
                buyer_taker_bp=10, seller_bp=50,
            )
        )  # fmt: skip
    return found


def test_sizes_stay_within_the_capital_in_whole_lots() -> None:
    limits = packaged_limits()
    for capital in (0, 10**6, 10**9, 10**10, 4 * 10**10, 10**13):
        each = sizes(terms_of_all(), msgspec.structs.replace(limits, capital_micros=capital))
        held = sum(each[t.class_id] * t.collateral * limits.window_hours for t in terms_of_all())
        assert held <= capital
        assert all(each[t.class_id] % t.lot == 0 for t in terms_of_all())
    assert set(each.values()) == {limits.gpus_max}


def test_the_packaged_limits_give_every_published_class_at_least_a_lot() -> None:
    each = sizes(terms_of_all(), packaged_limits())
    assert all(each[t.class_id] >= t.lot for t in terms_of_all())


def test_collateral_covers_the_cap_and_the_buyers_fee() -> None:
    terms = msgspec.structs.replace(TERMS, buyer_taker_bp=10)
    assert terms.collateral == 6_600_000 + 6_600


def test_a_class_may_have_its_own_margin_and_size() -> None:
    text = packaged_text().replace("[classes]", '[classes]\n"C" = { margin_bp = 7 }\n"D" = { gpus_max = 0 }')
    limits = parse_limits(text.encode())
    assert (limits.margin_of("C"), limits.gpus_of("C")) == (7, limits.gpus_max)
    assert (limits.margin_of("D"), limits.gpus_of("D")) == (limits.margin_bp, 0)


@pytest.mark.parametrize("change", [("margin_bp = 300", "margin = 300"), ("window_hours = 24", "window_hours = 0")])
def test_wrong_limits_are_refused(change: tuple[str, str]) -> None:
    with pytest.raises(BadLimits):
        parse_limits(packaged_text().replace(*change, 1).encode())


def packaged_text() -> str:
    from importlib import resources

    return (resources.files("services.market_maker") / "limits.toml").read_text()
