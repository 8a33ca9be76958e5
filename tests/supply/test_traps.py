"""What real catalogues do to a naive reader, one sentence and one small row each."""

from __future__ import annotations

import datetime as dt
import importlib
from decimal import Decimal

import msgspec
import pytest

from schemas.specifications import Specification
from services.supply.gpu_info import BadGpuInfo, parse_gpu_info
from services.supply.mapping import Refused, map_row
from services.supply.rows import BadCatalogue, BrokenRow, Row
from services.supply.skypilot import read_rows
from tests.supply.catalogues import CLASSES, GOOD, RULES, mapped, one, refusal, size, table
from tests.supply.traps import SHOWN_ELSEWHERE, TRAPS, Trap

VERDA = {"InstanceType": "1H100.80S.32V", "vCPUs": "32", "MemoryGiB": "185", "Region": "FIN-02", "Price": "2.29"}
NODE = {"InstanceType": "gpu_8x_h100_sxm5", "AcceleratorCount": "8", "vCPUs": "208", "MemoryGiB": "1800"}


def a100(**columns: str) -> dict[str, str]:
    return {"AcceleratorName": "A100", "Price": "1.5", "Region": "US", **columns}


def with_class(class_id: str, **changes: str) -> tuple[Specification, ...]:
    """The published classes and one more like `class_id`, with another service."""
    (like,) = (spec for spec in CLASSES if spec.class_id == class_id)
    service = msgspec.structs.replace(like.service, **changes)
    return (*CLASSES, msgspec.structs.replace(like, class_id="TEST", service=service))


@pytest.mark.parametrize("trap", TRAPS, ids=lambda trap: f"{trap.number} {trap.what}")
def test_trap(trap: Trap) -> None:
    outcome = map_row(one(**trap.columns), trap.catalogue, RULES, CLASSES)
    if isinstance(outcome, Refused):
        assert outcome.reason == trap.becomes, outcome
    else:
        assert [f"{offer.class_id} {offer.cloud} {offer.price}" for offer in outcome] == [trap.becomes]


def test_each_of_the_52_traps_is_shown() -> None:
    assert sorted({trap.number for trap in TRAPS} | set(SHOWN_ELSEWHERE)) == list(range(1, 53))
    assert not {trap.number for trap in TRAPS} & set(SHOWN_ELSEWHERE)
    for place in SHOWN_ELSEWHERE.values():
        module, _, test = place.partition(".")
        assert callable(getattr(importlib.import_module(f"tests.supply.{module}"), test))


# --- Memory -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "info",
    [
        size(655_360, 8),
        size(81_920, 8),
        "{'Gpus': [{'Name': 'H100', 'Manufacturer': 'NVIDIA', 'Count': 8.0, 'MemoryInfo': {'SizeInMiB': 81920}}]}",
        "{'Gpus': [{'Name': 'H100', 'Manufacturer': null, 'Count': 8, 'MemoryInfo': {'SizeInMiB': 81920}}]}",
        "{'Gpus': [{'Name': 'H100', 'MemoryInfo': {'SizeInMiB': 80}, 'TotalGpuMemoryInMiB': 640}]}",
    ],
    ids=["summed, JSON", "per GPU, JSON", "per GPU, Python", "per GPU, Python with null", "GB, total nested"],
)
def test_a_node_of_eight_h100_is_recognised_however_its_memory_is_written(info: str) -> None:
    offer = mapped("primeintellect", GpuInfo=info, Price="23.92", **{**NODE, "InstanceType": "lambdalabs__h100_sxm5"})
    assert (offer.class_id, offer.price) == ("H100.SXM.80.X8.US", 2_990_000)


@pytest.mark.parametrize("mib", [142_336, 143_360, 143_771, 144_384, 153_600, 141])
def test_marketing_and_driver_sizes_of_one_card_are_the_same_card(mib: int) -> None:
    offer = mapped(
        "verda", **VERDA | {"InstanceType": "1H200.141S.44V", "Price": "3.39"}, AcceleratorName="H200", GpuInfo=size(mib)
    )  # fmt: skip
    assert offer.class_id == "H200.SXM.141.EU"


def test_a_card_with_more_memory_than_its_model_has_is_refused() -> None:
    host = {"InstanceType": "1x-RTX_4090-32-65536", "AcceleratorName": "RTX4090", "vCPUs": "32", "MemoryGiB": "64.0"}
    germany = mapped("vast", **host, GpuInfo=size(24_564), Price="0.40", Region="Germany, DE, EU")
    assert germany.class_id == "RTX4090.24.EU.COMM"
    assert refusal("vast", **host, GpuInfo=size(49_140), Price="0.40", Region="Germany, DE, EU") == "wrong_memory"


def test_a_summed_size_is_not_taken_for_one_card_where_the_catalogue_is_known_to_sum() -> None:
    """Two A100 of 40 GB have the sum of one A100 of 80 GB; vast sums."""
    pair = a100(InstanceType="2x-A100_SXM4-32-65536", AcceleratorCount="2", GpuInfo=size(81_920, 2, "A100"))
    assert refusal("vast", **pair | {"Region": "Georgia, US, NA"}) == "no_class_for_memory"
    assert refusal("unheard of", **pair) == "unknown_cloud"
    assert refusal("paperspace", **pair) == "ambiguous_memory"
    assert refusal("paperspace", **pair | {"InstanceType": "A100-80GB-sxm4x2"}) == "no_class_for_count"


def test_the_total_glued_behind_a_name_is_not_the_cards_size() -> None:
    node = {"AcceleratorCount": "8", "Region": "FIN-03", "vCPUs": "176", "MemoryGiB": "960", "Price": "5.77"}
    small = node | {"InstanceType": "8A100.40S.176V", "AcceleratorName": "A100-40GB-320GB", "GpuInfo": size(327_680)}
    assert refusal("verda", **small) == "no_class_for_memory"
    large = node | {"InstanceType": "8A100.176V", "AcceleratorName": "A100-80GB-640GB", "GpuInfo": size(655_360)}
    assert refusal("verda", **large) == "unknown_form"


@pytest.mark.parametrize("text", ["{", "[]", "{'Gpus': []}", "(" * 9_000, "__import__('os')", "x" * 20_000])
def test_a_memory_column_in_no_dialect_breaks_its_row_only(text: str) -> None:
    with pytest.raises(BadGpuInfo):
        parse_gpu_info(text)
    rows = list(read_rows(table(GOOD | {"GpuInfo": text[:9_999]}, GOOD)))
    outcomes = [map_row(row, "lambda", RULES, CLASSES) for row in rows]
    assert isinstance(outcomes[0], Refused)
    assert outcomes[0].reason == "broken_gpu_info"
    assert not isinstance(outcomes[1], Refused)


# --- Names --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "why"),
    [
        ("RTX6000", "unknown_gpu"),
        ("GAUDI2", "unknown_gpu"),
        ("A10", "unknown_gpu"),
        ("GH200", "contradicting_gpu"),
        ("L4", "contradicting_gpu"),
    ],
)
def test_a_near_miss_of_a_name_is_another_gpu(name: str, why: str) -> None:
    assert refusal(AcceleratorName=name) == why


def test_gh200_is_not_h200() -> None:
    superchip = {"InstanceType": "gpu_1x_gh200", "AcceleratorName": "GH200", "GpuInfo": size(98_304, 1, "GH200")}
    assert refusal(**superchip) == "no_class_for_gpu"
    assert refusal(**superchip | {"AcceleratorName": "H200"}) == "contradicting_gpu"


def test_an_aggregators_label_that_its_upstream_id_contradicts_is_refused() -> None:
    mislabelled = {"InstanceType": "latitude__8xL40_48GB__128__1536", "UpstreamCloudId": "g3-l40s-large"}
    assert refusal("primeintellect", **mislabelled, AcceleratorName="L40", Region="US") == "contradicting_gpu"


@pytest.mark.parametrize("variant", ["1x-RTX_4090D", "1x-RTX_4090_D", "1x-RTX_4090_48GB"])
def test_a_variant_lost_in_the_name_shows_in_the_instance_type(variant: str) -> None:
    host = {"AcceleratorName": "RTX4090", "GpuInfo": size(24_564), "Region": "Germany, DE, EU", "Price": "0.40"}
    outcome = map_row(one(**host, InstanceType=variant), "vast", RULES, CLASSES)
    if "48" in variant:
        # No token is found, so the memory has to tell.
        outcome = map_row(one(**host | {"GpuInfo": size(49_140)}, InstanceType=variant), "vast", RULES, CLASSES)
    assert isinstance(outcome, Refused)
    assert outcome.reason in {"contradicting_gpu", "wrong_memory"}


@pytest.mark.parametrize(
    ("instance_type", "name", "why"),
    [
        ("gpu_1x_h100_pcie", "H100", "no_class_for_form"),
        ("n3-H100x1", "H100-80G-PCIe", "no_class_for_form"),
        ("gpu_1x_h100", "H100", "unknown_form"),
        ("gpu_1x_h100_sxm5", "H100-80G-PCIe", "contradicting_form"),
    ],
)
def test_the_name_h100_hides_the_form_and_a_hidden_form_is_not_guessed(instance_type: str, name: str, why: str) -> None:
    assert refusal(InstanceType=instance_type, AcceleratorName=name) == why


def test_nvl_is_known_by_its_name_and_its_memory() -> None:
    nvl = {"InstanceType": "1x-H100_NVL-32-65536", "GpuInfo": size(95_830), "Region": "Bulgaria, BG, EU"}
    assert refusal("vast", **nvl) == "no_class_for_memory"


# --- Prices -------------------------------------------------------------------------------------------------------


def test_the_price_is_of_the_instance_and_is_divided_by_its_gpus() -> None:
    assert mapped(**NODE, Price="31.92").price == 3_990_000


def test_a_price_that_does_not_divide_is_rounded_up_to_one_millionth() -> None:
    assert mapped(**NODE, Price="31.920001").price == 3_990_001


def test_the_noise_of_binary_floats_costs_nothing() -> None:
    assert mapped(**NODE, Price="31.919999999999998").price == 3_990_000
    assert mapped(**NODE, Price="31.920000000000002").price == 3_990_000


@pytest.mark.parametrize("spot", ["", "0.00", "0"])
def test_no_spot_offer_is_written_as_nothing_or_as_zero(spot: str) -> None:
    classes = with_class("H100.SXM.80.US", firmness="SPOT")
    outcome = map_row(one(SpotPrice=spot), "lambda", RULES, classes)
    assert [offer.kind for offer in outcome] == ["on_demand"]


def test_a_spot_price_equal_to_the_price_is_no_other_offer() -> None:
    classes = with_class("H100.SXM.80.US", firmness="SPOT")
    outcome = map_row(one(SpotPrice="4.290"), "lambda", RULES, classes)
    assert [(offer.kind, offer.class_id) for offer in outcome] == [("on_demand", "H100.SXM.80.US")]


def test_spot_goes_into_a_spot_class_and_never_into_a_firm_one() -> None:
    classes = with_class("H100.SXM.80.US", firmness="SPOT")
    both = map_row(one(SpotPrice="2.15"), "lambda", RULES, classes)
    assert [(o.kind, o.class_id, o.price) for o in both] == [
        ("on_demand", "H100.SXM.80.US", 4_290_000),
        ("spot", "TEST", 2_150_000),
    ]
    assert mapped(SpotPrice="2.15").kind == "on_demand"
    assert refusal(Price="", SpotPrice="2.15") == "no_class_for_spot"


@pytest.mark.parametrize("instance_type", ["gpu_1x_h100_sxm5__SPOT", "gpu_1x_h100_sxm5-spot__US"])
def test_an_instance_type_that_says_spot_is_spot_whatever_column_its_price_is_in(instance_type: str) -> None:
    assert refusal(InstanceType=instance_type) == "no_class_for_spot"


def test_a_row_without_any_price_is_refused() -> None:
    assert refusal(Price="") == "no_price"
    assert refusal(Price="0.00", SpotPrice="0.00") == "no_price"


def test_the_reserve_of_an_auction_is_not_a_price() -> None:
    assert refusal("mithril", InstanceType="h100-80gb.sxm.1x", Price="1.0", SpotPrice="1.0") == "reserve_price"


@pytest.mark.parametrize(("price", "inside"), [("1.64", False), ("1.65", True), ("6.60", True), ("6.61", False)])
def test_a_price_outside_the_collar_of_its_class_is_an_outlier(price: str, inside: bool) -> None:
    """The list price is 3.30: nobody could post an order outside 1.65 to 6.60."""
    outcome = map_row(one(Price=price), "lambda", RULES, CLASSES)
    assert isinstance(outcome, list) is inside
    assert inside or outcome.reason == "outlier_price"


# --- Who sells it -------------------------------------------------------------------------------------------------


def test_resold_machines_count_as_their_sellers() -> None:
    resold = {"UpstreamCloudId": "gpu_1x_h100_sxm5", "Region": "US", "AvailabilityZone": "us-south-2"}
    assert mapped("primeintellect", InstanceType="lambdalabs__1xH100_80GB__26__225", **resold).cloud == "lambda"
    assert mapped("shadeform", InstanceType="lambdalabs_H100-sxm5", Region="austin-usa-1").cloud == "lambda"


def test_a_seller_of_whom_nothing_is_known_has_no_tier_and_is_refused() -> None:
    assert refusal("primeintellect", InstanceType="dc_roan__8xH100_80GB__104__1024", Region="US") == "unknown_cloud"
    assert refusal("primeintellect", InstanceType="H100", Region="US") == "unknown_cloud"


def test_the_tier_may_depend_on_the_instance_type() -> None:
    pod = {"AcceleratorName": "H100-SXM", "Region": "US", "Price": "3.29", "GpuInfo": size(80, 1, "H100 SXM")}
    assert mapped("runpod", **pod, InstanceType="1x_H100-SXM_SECURE").class_id == "H100.SXM.80.US"
    assert refusal("runpod", **pod, InstanceType="1x_H100-SXM_COMMUNITY") == "no_class_for_tier"


HUNDRED = {"AcceleratorCount": "8", "GpuInfo": size(81_920, 8), "vCPUs": "192", "MemoryGiB": "2048", "Price": "44"}


@pytest.mark.parametrize(
    ("catalogue", "columns", "becomes"),
    [
        ("aws", {"InstanceType": "p5.48xlarge", "AvailabilityZone": "use1-az2"}, "H100.SXM.80.X8.US"),
        ("aws", {"InstanceType": "p5.48xlarge", "Region": "eu-north-1"}, "no_class_for_count"),
        ("aws", {"InstanceType": "p5.48xlarge", "Price": "98"}, "outlier_price"),
        ("aws", {"InstanceType": "p4d.24xlarge", "AcceleratorName": "A100", "GpuInfo": size(40_960, 8)}, "no_class_for_memory"),
        ("azure", {"InstanceType": "Standard_ND96isr_H100_v5", "Region": "southcentralus"}, "H100.SXM.80.X8.US"),
        ("azure", {"InstanceType": "Standard_NC80adis_H100_v5", "GpuInfo": size(95_830, 1)}, "no_class_for_memory"),
        ("gcp", {"InstanceType": "a3-highgpu-8g", "Region": "us-east4", "AvailabilityZone": "us-east4-b"}, "H100.SXM.80.X8.US"),
        ("gcp", {"InstanceType": "a3-highgpu-8g", "AcceleratorName": "", "AcceleratorCount": "", "GpuInfo": ""}, "cpu_only"),
        ("gcp", {"InstanceType": ""}, "broken_row"),
        ("oci", {"InstanceType": "BM.GPU.H100.8", "Region": "us-chicago-1"}, "H100.SXM.80.X8.US"),
        ("oci", {"InstanceType": "VM.GPU.H100", "Region": "us-chicago-1"}, "unknown_form"),
        ("digitalocean", {"InstanceType": "gpu-h100x8-80gb", "Region": "nyc2"}, "unknown_form"),
    ],
    ids=str,
)  # fmt: skip
def test_machines_of_the_large_clouds(catalogue: str, columns: dict[str, str], becomes: str) -> None:
    """Google's own catalogue prices a machine without its GPUs, and GPUs without a machine: neither is an offer."""
    outcome = map_row(one(**HUNDRED | columns), catalogue, RULES, CLASSES)
    assert (outcome.reason if isinstance(outcome, Refused) else outcome[0].class_id) == becomes


# --- Regions ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("catalogue", "region", "zone"),
    [
        ("vast", "Texas, US, NA", ""),
        ("vast", ", US, NA", ""),
        ("vast", "United States, US, NA", ""),
        ("lambda", "us-midwest-1", ""),
        ("lium", "US", ""),
        ("hyperstack", "US-1", ""),
        ("shadeform", "desmoines-usa-1", ""),
        ("runpod", "US", "US-KS-2"),
        ("primeintellect", "US", "us-southcentral1-a"),
        ("primeintellect", "US", "US"),
        ("primeintellect", "US", "a3111bd4-550a-47d0-838a-0a52bff2ae3f"),
        ("nebius", "us-central1", ""),
    ],
)
def test_eight_ways_to_write_united_states(catalogue: str, region: str, zone: str) -> None:
    cloud = {"shadeform": "massedcompute", "primeintellect": "crusoe"}.get(catalogue, catalogue)
    assert RULES.countries(catalogue, cloud, (region, zone)) == {"US"}


@pytest.mark.parametrize(
    ("region", "country"),
    [
        ("Hafnarfjarðarkaupstaður, IS, EU", "IS"),
        ("Bács-Kiskun, HU, EU", "HU"),
        ("St.-Petersburg, RU, EU", "RU"),
        ("Norway, NO, EU", "NO"),
    ],
)
def test_places_are_not_ascii_and_no_is_a_country(region: str, country: str) -> None:
    assert RULES.countries("vast", "vast", (region, "")) == {country}


def test_a_region_nobody_can_place_is_refused() -> None:
    assert refusal(Region="europe-south-1") == "unknown_region"
    assert refusal(Region="default") == "unknown_region"


def test_a_country_that_the_zone_contradicts_is_refused() -> None:
    row = {"InstanceType": "lambdalabs__1xH100_80GB__26__225", "UpstreamCloudId": "gpu_1x_h100_sxm5"}
    assert refusal("primeintellect", **row, Region="IS", AvailabilityZone="me-west-1") == "contradicting_region"
    iceland = {"InstanceType": "datacrunch__1xH100_80GB__30__120", "UpstreamCloudId": "1H100.80S.30V", "Price": "1.97"}
    offer = mapped("primeintellect", **iceland, Region="IS", AvailabilityZone="ICE-01")
    assert (offer.class_id, offer.cloud, offer.region) == ("H100.SXM.80.EU", "verda", "ICE-01")


def test_a_country_outside_every_class_is_refused() -> None:
    assert refusal(Region="asia-south-1") == "no_class_for_region"


@pytest.mark.parametrize(
    ("columns", "said"),
    [
        ({"Region": "mars-1"}, "gpu_1x_h100_sxm5, 1 H100 80 GB in mars-1: which country?"),
        ({"Region": "asia-south-1"}, "gpu_1x_h100_sxm5, 1 H100 80 GB in asia-south-1: IN"),
        ({"InstanceType": "gpu_1x_h100"}, "gpu_1x_h100, 1 H100 80 GB: SXM or PCIe?"),
        ({"AcceleratorName": "H100-80G-PCIe"}, "gpu_1x_h100_sxm5, 1 H100 80 GB: PCIE and SXM"),
        ({"vCPUs": "4"}, "gpu_1x_h100_sxm5, 1 H100 80 GB: 4 vCPU, 225 GiB"),
        ({"Price": "9"}, "gpu_1x_h100_sxm5, 1 H100 80 GB: 9.00 USD per GPU-hour"),
        ({"AcceleratorCount": "2"}, "gpu_1x_h100_sxm5, 2 H100 80 GB"),
        ({"cloud": "acme"}, "acme is not in mapping.toml"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_a_refusal_says_what_the_row_said(columns: dict[str, str], said: str) -> None:
    """An operator sees from it whether the row is odd, or a rule is missing."""
    outcome = map_row(one(**{"GpuInfo": ""} | columns, UpstreamCloudId="h100_80gb"), "lambda", RULES, CLASSES)
    assert isinstance(outcome, Refused)
    assert outcome.detail == said


# --- What the machine is ------------------------------------------------------------------------------------------


@pytest.mark.parametrize("count", ["2", "3", "4", "10", "16"])
def test_an_instance_that_is_not_one_lot_is_in_no_class(count: str) -> None:
    """Eight singles are not a node, and half of a pair cannot be rented."""
    assert refusal(AcceleratorCount=count, vCPUs="999", MemoryGiB="9999", Price="30") == "no_class_for_count"


def test_the_suffix_of_a_name_is_not_the_count() -> None:
    node = {"InstanceType": "lambdalabs_H100-sxm5x8-2", "AcceleratorCount": "8.0", "Region": "austin-usa-1"}
    offer = mapped("shadeform", **node, vCPUs="208.0", MemoryGiB="1800", Price="31.92")
    assert (offer.class_id, offer.gpus) == ("H100.SXM.80.X8.US", 8)


@pytest.mark.parametrize("short", [{"vCPUs": "15"}, {"MemoryGiB": "99"}, {"vCPUs": ""}, {"MemoryGiB": ""}])
def test_too_little_or_untold_vcpu_and_ram_is_below_the_minima(short: dict[str, str]) -> None:
    assert refusal(**short) == "below_minima"


def test_a_container_is_not_the_virtual_machine_that_a_node_promises() -> None:
    pod = {"InstanceType": "8x_H100-SXM_SECURE", "AcceleratorName": "H100-SXM", "GpuInfo": size(80, 8), "Region": "US"}
    assert refusal("runpod", **NODE | pod, Price="26.32") == "no_class_for_access"


# --- The format ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("name", "count"), [("", ""), ("", "0"), ("", "0.0")])
def test_cpu_only_rows_have_three_spellings(name: str, count: str) -> None:
    assert refusal(AcceleratorName=name, AcceleratorCount=count, GpuInfo="") == "cpu_only"


@pytest.mark.parametrize("count", ["1", "1.0", "1.00"])
def test_a_whole_number_may_have_a_point(count: str) -> None:
    assert mapped(AcceleratorCount=count, vCPUs="26.0", MemoryGiB="225.0").gpus == 1


@pytest.mark.parametrize("newline", ["\r\n", "\n"])
def test_line_ends_and_the_order_of_columns_do_not_matter(newline: str) -> None:
    backwards = dict(reversed(GOOD.items()))
    (row,) = read_rows(table(backwards | {"StorageGiB": "800"}, newline=newline))
    assert isinstance(row, Row)
    assert (row.instance_type, row.gpus, row.price) == ("gpu_1x_h100_sxm5", 1, Decimal("4.29"))


@pytest.mark.parametrize(
    "broken",
    [
        {"AcceleratorCount": ""},
        {"AcceleratorCount": "1.5"},
        {"AcceleratorCount": "-1"},
        {"Price": "4,29"},
        {"Price": "-4.29"},
        {"Price": "nan"},
        {"Price": "1e400"},
        {"vCPUs": "many"},
        {"InstanceType": ""},
        {"Region": " "},
        {"GpuInfo": "x" * 10_001},
    ],
    ids=str,
)
def test_a_broken_row_is_refused_and_its_neighbours_are_read(broken: dict[str, str]) -> None:
    rows = list(read_rows(table(GOOD, GOOD | broken, GOOD)))
    assert [type(row) for row in rows] == [Row, BrokenRow, Row]
    outcome = map_row(rows[1], "lambda", RULES, CLASSES)
    assert isinstance(outcome, Refused)
    assert outcome.reason == "broken_row"


def test_a_row_with_too_few_or_too_many_fields_is_broken() -> None:
    lines = table(GOOD).decode().splitlines()
    data = "\n".join([*lines, "gpu_1x_h100_sxm5,H100", lines[1] + ",1,2"]).encode()
    assert [type(row) for row in read_rows(data)] == [Row, BrokenRow, BrokenRow]


@pytest.mark.parametrize(
    "data",
    [b"", b"\xff\xfe", b"InstanceType,Price\nx,1\n", b"<html><body>busy</body></html>", table(GOOD) + b'"open quote'],
    ids=["empty", "not UTF-8", "columns missing", "a web page", "breaks off"],
)
def test_a_broken_file_is_refused_as_a_whole(data: bytes) -> None:
    with pytest.raises(BadCatalogue):
        list(read_rows(data))


def test_the_published_day_of_a_class_is_a_date() -> None:
    assert all(isinstance(spec.published, dt.date) for spec in CLASSES)
