"""The published specifications: complete, consistent, and what the design says of ticks and collars."""

from __future__ import annotations

import math
from fractions import Fraction

import msgspec
import pytest

from schemas.ids import is_class_id
from schemas.specifications import BadSpecification, list_class, parse, published, specifications, tick_for
from schemas.units import PRICE_MAX, collar
from tests.supply.catalogues import RULES

TEXTS = published()
STEPS = [mantissa * 10**exponent for exponent in range(9) for mantissa in (1, 2, 5)]


@pytest.mark.parametrize("class_id", TEXTS)
def test_a_specification_is_named_like_its_file_and_parses(class_id: str) -> None:
    specification = parse(TEXTS[class_id])
    assert specification.class_id == class_id
    assert is_class_id(class_id)
    if specification.hardware.form != "NONE":
        assert specification.hardware.gpu in RULES.models
    assert len(specification.hardware.countries) == len(set(specification.hardware.countries))


def test_there_are_enough_classes_and_a_node_among_them() -> None:
    with_gpus = [spec for spec in specifications() if spec.hardware.form != "NONE"]
    assert 4 <= len(with_gpus) == len(TEXTS) - 1 <= 8, "and one without GPUs, for trying out"
    assert {spec.trading.lot for spec in specifications()} == {1, 8}


@pytest.mark.parametrize("class_id", TEXTS)
def test_the_tick_is_the_step_nearest_by_ratio_to_20_bp_of_the_list_price(class_id: str) -> None:
    """Recomputed by trying every step, with exact fractions."""
    trading = parse(TEXTS[class_id]).trading
    target = Fraction(trading.list_price_micros * 20, 10_000)
    nearest = min(STEPS, key=lambda step: max(target / step, step / target))
    assert trading.tick_micros == max(100, nearest)
    assert trading.list_price_micros % trading.tick_micros == 0


@pytest.mark.parametrize("list_price", [100, 50_000, 70_710, 70_711, 158_113, 158_114, 2_490_000, 10**9])
def test_ticks_at_the_borders_between_steps(list_price: int) -> None:
    target = Fraction(list_price * 20, 10_000)
    best = min(max(target / step, step / target) for step in STEPS if step >= 100)
    tick = tick_for(list_price)
    assert tick in STEPS
    assert tick >= 100
    assert max(target / tick, tick / target) == best


@pytest.mark.parametrize("class_id", TEXTS)
def test_tier_and_firmness_stand_in_an_id_only_where_they_are_not_the_usual_ones(class_id: str) -> None:
    """A habit of ours for readers; programs read the fields."""
    service = parse(TEXTS[class_id]).service
    assert class_id.endswith(f".{service.tier}") == (service.tier != "DC")
    assert ("SPOT" in class_id) == (service.firmness == "SPOT")


@pytest.mark.parametrize("class_id", TEXTS)
def test_listing_takes_over_every_rule_of_the_book(class_id: str) -> None:
    request = list_class("r1", 1, TEXTS[class_id])
    trading = parse(TEXTS[class_id]).trading
    assert request.specification == TEXTS[class_id]
    assert (request.class_id, request.shard, request.lot) == (class_id, 1, trading.lot)
    assert (request.tick, request.list_price) == (trading.tick_micros, trading.list_price_micros)
    # A machine with an agent starts at once: it is sold until the last minute.
    close_ms = 60_000 if "CPU" in class_id else 600_000
    assert (request.gate_ms, request.cover_ms, request.running_close_ms) == (300_000, 1_800_000, close_ms)
    assert (request.fees.buyer_taker, request.fees.seller_maker) == (0, 50)
    assert request.list_price * request.collar_high_bp // 10_000 <= PRICE_MAX
    assert msgspec.msgpack.decode(msgspec.msgpack.encode(request))


def test_the_collar_is_rounded_inwards() -> None:
    low, high = collar(3_333, 5_000, 20_001)
    assert (low, high) == (math.ceil(3_333 / 2), math.floor(3_333 * 2.0001))


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (("tick_micros = 5_000", "tick_micros = 2_000"), "asks for 5000"),
        (("list_price_micros = 3_300_000", "list_price_micros = 3_300_001"), "multiple of the tick"),
        (("gpus_per_node = 1", "gpus_per_node = 8"), "not one node"),
        (('class_id = "H100', 'class_id = "h100'), "dotted uppercase"),
        (("vcpus = 16", "vcpu = 16"), "vcpu"),
        (("vcpus = 16", "vcpus = 16.5"), "vcpus"),
        (('tier = "DC"', 'tier = "GOOD"'), "GOOD"),
        (("collar_high_bp = 20_000", "collar_high_bp = 9_999"), "collar_high_bp"),
        (("[minima]", "[minima"), "minima|Expected"),
    ],
)
def test_a_wrong_specification_is_refused_with_its_fault(change: tuple[str, str], said: str) -> None:
    text = TEXTS["H100.SXM.80.US"].decode()
    assert change[0] in text
    with pytest.raises(BadSpecification, match=said):
        parse(text.replace(*change).encode())
