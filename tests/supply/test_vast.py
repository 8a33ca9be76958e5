"""Vast.ai's offers: what its fields mean for a class. Every figure here is made up."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest

from schemas.specifications import Specification, Tier
from schemas.supply import OfferSeen
from services.supply.catalogue import Catalogue, read_catalogue
from services.supply.rows import BadCatalogue
from tests.supply.catalogues import CLASSES, RULES, poll, source
from tests.supply.formats import MACHINE, answer

VAST = source("vast", "vast", "vast")
H100: dict[str, Any] = {"gpu_name": "H100 SXM", "gpu_ram": 81559, "geolocation": "Texas, US", "cpu_ram": 500_000}
DC: dict[str, Any] = {"hosting_type": 1, "datacenter": True}


def read(*machines: dict[str, Any], classes: tuple[Specification, ...] = CLASSES) -> Catalogue:
    return read_catalogue(answer(*machines), VAST, RULES, classes, 5_000)


def offers(catalogue: Catalogue) -> list[OfferSeen]:
    return [offer for row in catalogue.mapped for offer in row.offers]


def outcome(**changes: Any) -> str:
    """What becomes of one machine: its class and price in µUSD, or the reason."""
    catalogue = read(MACHINE | changes)
    if not catalogue.mapped:
        (reason,) = catalogue.reasons
        return reason
    (offer,) = offers(catalogue)
    return f"{offer.class_id} {offer.price}"


def like(class_id: str, *, tier: Tier = "DC", firmness: str = "FIRM", lot: int = 1) -> Specification:
    """A class as published, with another tier, firmness or lot."""
    (spec,) = (spec for spec in CLASSES if spec.class_id == class_id)
    service = msgspec.structs.replace(spec.service, tier=tier, firmness=firmness)
    hardware = msgspec.structs.replace(spec.hardware, gpus_per_node=lot)
    trading = msgspec.structs.replace(spec.trading, lot=lot)
    return msgspec.structs.replace(
        spec, class_id=f"{class_id}-{tier}-{firmness}-{lot}", service=service, trading=trading, hardware=hardware
    )


def test_a_verified_machine_of_a_host_is_a_firm_community_offer_at_its_total_price() -> None:
    (offer,) = offers(read(MACHINE))
    assert (offer.cloud, offer.region, offer.instance_type, offer.kind, offer.class_id, offer.price) == (
        "vast", "Bavaria, DE", "1x-RTX_4090/4711", "on_demand", "RTX4090.24.EU.COMM", 400_000
    )  # fmt: skip


def test_the_price_is_of_all_gpus_of_the_offer() -> None:
    pair = MACHINE | {"num_gpus": 2, "dph_total": 0.9, "min_bid": None, "cpu_cores_effective": 32}
    (offer,) = offers(read(pair, classes=(like("RTX4090.24.EU.COMM", tier="COMM", lot=2),)))
    assert (offer.gpus, offer.price) == (2, 450_000)
    assert outcome(num_gpus=2, dph_total=0.9) == "no_class_for_count"


def test_what_a_bid_buys_may_be_taken_away_and_never_enters_a_firm_class() -> None:
    firm, spot = like("RTX4090.24.EU.COMM", tier="COMM"), like("RTX4090.24.EU.COMM", tier="COMM", firmness="SPOT")
    both = offers(read(MACHINE, classes=(firm, spot)))
    assert [(o.kind, o.class_id, o.price) for o in both] == [
        ("on_demand", firm.class_id, 400_000),
        ("spot", spot.class_id, 200_000),
    ]
    # Searched for as interruptible, the total itself is a bid.
    bid = offers(read(MACHINE | {"is_bid": True, "min_bid": None, "dph_total": 0.25}, classes=(firm, spot)))
    assert [(o.kind, o.class_id, o.price) for o in bid] == [("spot", spot.class_id, 250_000)]
    assert outcome(is_bid=True) == "no_class_for_spot"
    assert outcome(dph_total=None) == "no_class_for_spot"


@pytest.mark.parametrize(
    ("told", "tier"),
    [
        ({"verification": "unverified"}, "UNV"),
        ({"verification": "deverified"}, "UNV"),
        ({"verification": None}, "UNV"),
        ({"verification": "verified"}, "COMM"),
        ({"verification": None, "verified": True}, "COMM"),
        ({"verification": None, "verified": False}, "UNV"),
        ({"verification": "verified", **DC}, "DC"),
        ({"verification": "verified", "datacenter": True, "hosting_type": None}, "DC"),
        ({"verification": "verified", "hosting_type": 1, "datacenter": None}, "DC"),
        ({"verification": "unverified", **DC}, "UNV"),
    ],
)
def test_the_tier_is_what_was_verified_first_and_where_it_stands_second(told: dict[str, Any], tier: Tier) -> None:
    tiers: tuple[Tier, ...] = ("DC", "COMM", "UNV")
    classes = tuple(like("RTX4090.24.EU.COMM", tier=each) for each in tiers)
    (offer,) = offers(read(MACHINE | told, classes=classes))
    assert offer.class_id == f"RTX4090.24.EU.COMM-{tier}-FIRM-1"


def test_a_verified_data_centre_machine_meets_a_data_centre_class() -> None:
    assert outcome(**H100, **DC, dph_total=2.5, cpu_cores=64, cpu_cores_effective=32) == "H100.SXM.80.US 2500000"
    assert outcome(**H100, dph_total=2.5, cpu_cores=64, cpu_cores_effective=32) == "no_class_for_tier"


@pytest.mark.parametrize(
    ("told", "why"),
    [
        ({"rentable": False}, "not_available"),
        ({"rented": True}, "not_available"),
        ({"gpu_name": "RTX 4090D"}, "no_class_for_gpu"),
        ({"gpu_name": "RTX 3090"}, "unknown_gpu"),
        ({"gpu_name": "H200 NVL"}, "unknown_gpu"),
        ({"gpu_ram": 49_140}, "wrong_memory"),
        ({"geolocation": None}, "unknown_region"),
        ({"geolocation": "Bavaria, DE, EU"}, "RTX4090.24.EU.COMM 400000"),
        ({"geolocation": ", DE"}, "RTX4090.24.EU.COMM 400000"),
        ({"geolocation": "Oregon, US"}, "no_class_for_region"),
        ({"dph_total": 0, "min_bid": 0}, "no_price"),
        ({"dph_total": 4.0}, "outlier_price"),
        ({"dph_total": 0.4 * 730}, "outlier_price"),
        ({"cpu_cores_effective": 2}, "below_minima"),
        ({"cpu_ram": None}, "below_minima"),
        ({"dph_total": -0.4}, "broken_row"),
        ({"dph_total": 1e300}, "broken_row"),
        ({"dph_total": "x"}, "broken_row"),
        ({"num_gpus": 0}, "broken_row"),
        ({"num_gpus": 1.5}, "broken_row"),
        ({"gpu_name": "RTX\x1b[31m 4090"}, "broken_row"),
        ({"geolocation": "a\u202eb, DE"}, "broken_row"),
        ({"id": None}, "broken_row"),
        ({"verified": False}, "broken_row"),
        ({"hosting_type": 1}, "broken_row"),
        ({"cpu_cores": "1e-999999"}, "RTX4090.24.EU.COMM 400000"),
        ({"dph_total": "1e-999999", "min_bid": None}, "no_price"),
    ],
    ids=str,
)
def test_what_becomes_of_a_machine_that_says(told: dict[str, Any], why: str) -> None:
    assert outcome(**told) == why


def test_an_offer_gets_the_share_of_the_machines_memory_that_it_gets_of_its_cores() -> None:
    """A quarter of the cores, and not the whole machine's RAM for a single GPU of eight."""
    shared = {"cpu_cores": 64, "cpu_cores_effective": 16}
    told = [shared, {"cpu_cores": None, "gpu_frac": 0.125}, {"cpu_cores": None}]
    memory = [offer.memory_mib for told in told for offer in offers(read(MACHINE | told))]
    assert memory == [64_250, 32_125, 257_000]


def test_two_machines_alike_in_one_place_are_two_offers_and_one_twice_is_a_duplicate() -> None:
    catalogue = read(MACHINE, MACHINE | {"id": 4712}, MACHINE)
    assert [offer.instance_type for offer in offers(catalogue)] == ["1x-RTX_4090/4711", "1x-RTX_4090/4712"]
    assert catalogue.reasons == {"duplicate": 1}


def test_a_field_of_another_kind_breaks_its_offer_only_and_is_named() -> None:
    catalogue = read(MACHINE | {"num_gpus": "two"}, MACHINE)
    assert (len(catalogue.mapped), catalogue.reasons) == (1, {"broken_row": 1})
    assert "$.num_gpus" in catalogue.details["broken_row"][0]


@pytest.mark.parametrize(
    ("data", "why"),
    [
        (b"", "not JSON"),
        (b"<html>busy</html>", "not JSON"),
        (b"InstanceType,Price\nx,1\n", "not JSON"),
        (b'{"error": "rate limit"}', "missing required field `offers`"),
        (b'[{"id": 1}]', "Expected `object`"),
        (b'{"offers": {"id": 1}}', "Expected `array`"),
        (b'{"offers": []}', "an empty list"),
        (b'{"offers": [{"dph_total": NaN}]}', "not JSON"),
        (b'{"offers": [' + b"[" * 50_000, "not JSON"),
        (answer(MACHINE)[:-9], "not JSON"),
        (answer(MACHINE).decode().encode("utf-16"), "not JSON"),
    ],
    ids=["nothing", "a web page", "a table", "an error", "a list", "one offer", "no offer", "NaN", "deep", "cut", "UTF-16"],
)  # fmt: skip
def test_an_answer_of_another_shape_is_refused_as_a_whole(data: bytes, why: str) -> None:
    with pytest.raises(BadCatalogue, match=why):
        poll(data, VAST)
