"""Whole catalogue files of 11 clouds and 3 aggregators: every row is mapped or refused, and the counts are known."""

from __future__ import annotations

import os
from collections import Counter
from pathlib import Path

import pytest

from schemas.supply import OfferSeen
from tests.conftest import Skip
from tests.supply.catalogues import poll, source

# The files are test input from elsewhere and are not part of this repository.
BESIDE = Path(__file__).parents[3] / "shared" / "data" / "catalogs"
FOLDER = Path(os.environ.get("HOURBOOK_CATALOGUES", BESIDE))

pytestmark = pytest.mark.skipif(not FOLDER.is_dir(), reason=Skip.NO_CATALOGUES)

# What becomes of the rows of each file: in a class, or refused with a reason.
EXPECTED = """
hyperbolic      mapped 0, no_class_for_tier 3
hyperstack      mapped 1, no_class_for_form 10, no_class_for_gpu 4, no_class_for_region 1, unknown_gpu 9
lambda          mapped 31, cpu_only 34, no_class_for_count 53, no_class_for_form 17, no_class_for_gpu 17,
                no_class_for_memory 85, no_class_for_region 44, unknown_gpu 119, unknown_region 8
lium            mapped 1, no_class_for_count 1, no_class_for_gpu 15, no_class_for_region 2, no_class_for_tier 8,
                unknown_form 2, unknown_gpu 11
mithril         mapped 0, reserve_price 4
mithril.2       mapped 0, reserve_price 7
nebius          mapped 4, cpu_only 40, no_class_for_count 3, no_class_for_region 14
primeintellect  mapped 11, contradicting_gpu 1, cpu_only 75, no_class_for_count 18, no_class_for_form 12,
                no_class_for_gpu 8, no_class_for_memory 6, no_class_for_region 4, no_class_for_spot 5, unknown_cloud
                8, unknown_form 15, unknown_gpu 27
runpod          mapped 0, no_class_for_form 60
shadeform       mapped 7, no_class_for_count 16, no_class_for_gpu 13, no_class_for_memory 9, no_class_for_region 2,
                outlier_price 1, unknown_cloud 4, unknown_form 14, unknown_gpu 52
vast            mapped 1, no_class_for_count 4, no_class_for_form 1, no_class_for_gpu 11, no_class_for_memory 6,
                no_class_for_region 7, no_class_for_tier 11, unknown_form 6, unknown_gpu 19, wrong_memory 1
vast.2          mapped 1, no_class_for_count 4, no_class_for_form 1, no_class_for_gpu 12, no_class_for_memory 5,
                no_class_for_region 5, no_class_for_tier 11, unknown_form 6, unknown_gpu 17, wrong_memory 1
verda           mapped 3, cpu_only 11, no_class_for_count 2, no_class_for_gpu 3, no_class_for_region 1,
                no_class_for_spot 3, unknown_form 3, unknown_gpu 7
verda.2         mapped 2, no_class_for_count 6, no_class_for_gpu 4, no_class_for_memory 2, no_class_for_region 8,
                unknown_form 6, unknown_gpu 17
"""

ROWS = 1_124
"""Lines of all files without their headers, as SOURCE.md beside them counts them."""

# Offers by class and cloud over all files, in USD per GPU-hour: cheapest and dearest.
SUPPLIED = """
A100.SXM.80.US      denvr 1.5-1.5, massedcompute 1.38-1.38
B200.SXM.180.X8.US  lambda 6.69-6.69, nebius 5.5-5.5
H100.SXM.80.EU      lambda 4.29-4.29, nebius 2.118-2.95, verda 1.97-2.29
H100.SXM.80.US      lambda 3.29-4.29
H100.SXM.80.X8.US   hyperstack 2.4-2.4, lambda 2.99-3.99
H200.SXM.141.EU     nebius 2.668-3.5, verda 2.0-3.39
L40S.48.US          crusoe 1.0-1.0, massedcompute 0.88-0.88
RTX4090.24.EU.COMM  lium 0.35-0.35, vast 0.4-0.4
"""


def read(name: str):
    return poll((FOLDER / f"{name}.csv").read_bytes(), source(name, name.partition(".")[0]))


def expected() -> dict[str, str]:
    """File → its counts; a line that begins with a blank goes on with the one above."""
    counts: dict[str, str] = {}
    for line in EXPECTED.strip().splitlines():
        name, _, rest = line.partition(" ")
        if name:
            last, counts[name] = name, rest.strip()
        else:
            counts[last] += " " + rest.strip()
    return counts


@pytest.mark.parametrize(("name", "counts"), expected().items())
def test_every_row_of_a_real_catalogue_is_mapped_or_refused_with_a_reason(name: str, counts: str) -> None:
    catalogue = read(name)
    found = {"mapped": len(catalogue.mapped), **dict(sorted(catalogue.reasons.items()))}
    print(f"{name}: {catalogue.rows} rows =", " + ".join(f"{count} {what}" for what, count in found.items()))
    assert ", ".join(f"{what} {count}" for what, count in found.items()) == counts
    assert catalogue.rows == len(catalogue.mapped) + sum(catalogue.reasons.values())


def test_no_file_is_left_out() -> None:
    assert {path.name.removesuffix(".csv") for path in FOLDER.glob("*.csv")} == set(expected())
    rows = sum(read(name).rows for name in expected())
    assert rows == ROWS
    reasons = Counter[str]()
    for name in expected():
        reasons.update(read(name).reasons)
    # All of their own making: what a catalogue of today does to us would show as broken.
    assert not {"broken_row", "broken_gpu_info", "ambiguous_memory", "duplicate"} & set(reasons)


def test_which_clouds_supply_which_class() -> None:
    offers: list[OfferSeen] = []
    for name in expected():
        if not name.endswith(".2"):
            offers += [offer for row in read(name).mapped for offer in row.offers]
    prices: dict[str, dict[str, list[int]]] = {}
    for offer in offers:
        prices.setdefault(offer.class_id, {}).setdefault(offer.cloud, []).append(offer.price)
    lines = [
        f"{class_id:<20}" + ", ".join(f"{cloud} {usd(min(of))}-{usd(max(of))}" for cloud, of in sorted(clouds.items()))
        for class_id, clouds in sorted(prices.items())
    ]
    assert "\n".join(lines) == SUPPLIED.strip()


def usd(price: int) -> float:
    return price / 1_000_000
