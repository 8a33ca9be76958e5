"""The 52 traps of real catalogues, by number: rows of our own in the shape that each has, and what becomes of them.

No row is copied: machines, places and prices are invented. A trap that no single row can show names the test that does.
"""

from __future__ import annotations

from typing import NamedTuple

from tests.supply.catalogues import size


class Trap(NamedTuple):
    """A row, told by how it differs from the good one."""

    number: int
    what: str
    catalogue: str
    columns: dict[str, str]
    becomes: str
    """Class, cloud and price in µUSD per GPU-hour, or the reason of its refusal."""


def node(**columns: str) -> dict[str, str]:
    """Eight H100 SXM of Lambda."""
    return {
        "InstanceType": "gpu_8x_h100_sxm5", "AcceleratorCount": "8", "vCPUs": "200", "MemoryGiB": "1600", "Price": "28",
        "GpuInfo": size(81_920, 8), **columns,
    }  # fmt: skip


def card(gpu: str = "RTX4090", mib: int = 24_564, gpus: int = 1, **columns: str) -> dict[str, str]:
    """One RTX 4090 at Vast."""
    return {
        "InstanceType": f"{gpus}x-RTX_4090-32-65536", "AcceleratorName": gpu, "AcceleratorCount": str(gpus), "vCPUs": "32",
        "MemoryGiB": "64.0", "GpuInfo": size(mib, gpus, gpu), "Price": "0.38", "SpotPrice": "0.00", "Region": "Saxony, DE, EU",
        **columns,
    }  # fmt: skip


def named(gpu: str, instance_type: str = "x", **columns: str) -> dict[str, str]:
    """Another GPU, its memory not told."""
    return {"AcceleratorName": gpu, "InstanceType": instance_type, "GpuInfo": "", **columns}


def resold(what: str, upstream: str, **columns: str) -> dict[str, str]:
    """Lambda's machine in an aggregator's words."""
    return {"InstanceType": f"lambdalabs__{what}", "UpstreamCloudId": upstream, "Region": "US", **columns}


def python(text: str) -> str:
    """GpuInfo as a Python literal."""
    return "{'Gpus': [{'Name': 'H100', 'Manufacturer': " + text + ", 'Count': 1, 'MemoryInfo': {'SizeInMiB': 81920}}]}"


H100 = "H100.SXM.80.US lambda"
NODE = "H100.SXM.80.X8.US lambda"
CARD = "RTX4090.24.EU.COMM vast 380000"
HYPERSTACK = {"InstanceType": "n9-H100-SXM5x8", "AcceleratorName": "H100-80G-SXM5", "Region": "US-1"}
VERDA = {"vCPUs": "40", "MemoryGiB": "200", "Region": "FIN-01", "Price": "3.2"}
RUNPOD = {"InstanceType": "1x_H100-SXM_SECURE", "AcceleratorName": "H100-SXM", "Region": "US", "Price": "3.3"}
LIUM = "{'Gpus': [{'Name': 'RTX4090', 'Count': 1.0, 'MemoryInfo': {'SizeInMiB': 24576}, 'TotalGpuMemoryInMiB': 24576}]}"
TOTAL = ', "TotalGpuMemoryInMiB": 81920}'

TRAPS = [
    Trap(1, "size per GPU", "hyperstack", node(**HYPERSTACK), "H100.SXM.80.X8.US hyperstack 3500000"),
    Trap(2, "size summed over the GPUs", "vast", card(mib=196_512, gpus=8), "no_class_for_count"),
    Trap(3, "size summed, total multiplied again", "primeintellect",
         node(**resold("8xB200_180GB__200__2000", "gpu_8x_b200_sxm6"), AcceleratorName="B200", MemoryGiB="2000",
              GpuInfo=size(1_474_560, 8, "B200"), Price="48"), "B200.SXM.180.X8.US lambda 6000000"),
    Trap(4, "total of one GPU", "lambda", node(GpuInfo=size(81_920, 8)[:-1] + TOTAL), f"{NODE} 3500000"),
    Trap(5, "one version of a catalogue sums", "verda",
         VERDA | named("H200", "2H200.141S.88V") | {"AcceleratorCount": "2", "GpuInfo": size(288_768, 2)}, "no_class_for_count"),
    Trap(5, "the next does not", "verda",
         VERDA | named("H200", "2H200.141S.88V") | {"AcceleratorCount": "2", "GpuInfo": size(144_384, 2)}, "no_class_for_count"),
    Trap(6, "MiB that are GB", "runpod", RUNPOD | {"GpuInfo": size(80)}, "H100.SXM.80.US runpod 3300000"),
    Trap(7, "total nested in the GPU", "lium", card(InstanceType="RTX4090_1x", GpuInfo=LIUM, Region="RO"),
         "RTX4090.24.EU.COMM lium 380000"),
    Trap(8, "one type, a card of 24 GB", "vast", card(), CARD),
    Trap(8, "one type, a card of 48 GB", "vast", card(mib=49_140), "wrong_memory"),
    Trap(9, "the host decides the memory", "vast", card(mib=98_280, gpus=2), "wrong_memory"),
    Trap(10, "a driver's size", "verda", VERDA | named("H200", "1H200.141S.44V") | {"GpuInfo": size(143_771)},
         "H200.SXM.141.EU verda 3200000"),
    Trap(10, "a brochure's size", "verda", VERDA | named("H200", "1H200.141S.44V") | {"GpuInfo": size(153_600)},
         "H200.SXM.141.EU verda 3200000"),
    Trap(11, "B300 of 268288", "verda", VERDA | named("B300", "1B300.30V") | {"GpuInfo": size(268_288)}, "no_class_for_gpu"),
    Trap(11, "B300 of 275456", "lium", named("B300", "B300_1x") | {"GpuInfo": size(275_456)}, "no_class_for_gpu"),
    Trap(12, "A100 of 40 GB", "lambda", named("A100", "gpu_1x_a100_sxm4") | {"GpuInfo": size(40_960)}, "no_class_for_memory"),
    Trap(12, "A100 of 80 GB", "lambda", named("A100", "gpu_1x_a100_sxm4", Price="1.6") | {"GpuInfo": size(81_920)},
         "A100.SXM.80.US lambda 1600000"),
    Trap(12, "A100 of nobody knows how much", "lambda", named("A100", "gpu_1x_a100_sxm4"), "ambiguous_memory"),
    Trap(13, "H100 that is PCIe", "lambda", {"InstanceType": "gpu_1x_h100_pcie"}, "no_class_for_form"),
    Trap(13, "H100 that is NVL", "vast", named("H100", "1x-H100_NVL-32-65536") | {"GpuInfo": size(95_830)},
         "no_class_for_memory"),
    Trap(13, "H100 that does not say", "lambda", {"InstanceType": "gpu_1x_h100"}, "unknown_form"),
    Trap(14, "form in the name", "hyperstack",
         node(**HYPERSTACK | {"InstanceType": "n9-H100x8", "AcceleratorName": "H100-80G-PCIe"}), "no_class_for_form"),
    Trap(14, "form in the name", "lium", named("H100-SXM", "H100-SXM_1x", Region="US") | {"GpuInfo": size(81_920)},
         "no_class_for_tier"),
    Trap(15, "320GB that are 8 of 40", "verda", node(InstanceType="8A100.40S.176V", AcceleratorName="A100-40GB-320GB",
         GpuInfo=size(327_680, 8, "A100"), Region="FIN-01"), "no_class_for_memory"),
    Trap(15, "320GB that are 4 of 80", "verda", node(InstanceType="4A100.88V", AcceleratorName="A100-80GB-320GB",
         AcceleratorCount="4", GpuInfo=size(327_680, 4, "A100"), Region="FIN-01"), "unknown_form"),
    Trap(16, "the name of the next poll", "verda", node(InstanceType="4A100.88V", AcceleratorName="A100-80GB",
         AcceleratorCount="4", GpuInfo=size(81_920, 4, "A100"), Region="FIN-01"), "unknown_form"),
    *(Trap(17, "one card, many spellings", "lambda", named(gpu), "unknown_gpu")
      for gpu in ("RTXA6000", "A6000", "RTX-A6000", "RTX6000-Ada", "RTX-6000-Ada", "RTX6000Ada")),
    *(Trap(18, "six spellings of RTX PRO 6000", "lambda", named(gpu), "unknown_gpu")
      for gpu in ("RTXPRO6000S", "RTXPRO6000WS", "RTXPRO6000", "RTXPRO6000-WK", "RTX-PRO-6000", "RTXPro6000")),
    *(Trap(19, "a near miss", "lambda", named(gpu, instance), becomes) for gpu, instance, becomes in (
        ("RTX6000", "gpu_1x_rtx6000", "unknown_gpu"), ("A10", "gpu_1x_a10", "unknown_gpu"),
        ("GH200", "gpu_1x_gh200", "ambiguous_memory"), ("H200", "gpu_1x_gh200", "contradicting_gpu"),
        ("L40", "gpu_1x_l40s", "contradicting_gpu"), ("L4", "gpu_1x_l40", "contradicting_gpu"))),
    Trap(20, "a variant lost in the name", "vast", card(InstanceType="1x-RTX_4090_D-32-65536"), "contradicting_gpu"),
    Trap(21, "V100 of 16 or 32 GB", "shadeform", named("V100-32GB", "paperspace_V100-32GB", Region="x-usa-1"), "unknown_gpu"),
    Trap(22, "another name in GpuInfo", "hyperbolic",
         named("H100", "1x-H100-70-700", Region="default") | {"GpuInfo": size(81_559, 1, "NVIDIA-H100-80GB-HBM3")},
         "no_class_for_tier"),
    Trap(23, "a label that the upstream id contradicts", "primeintellect", named("L40") | resold("8xL40_48GB", "g3-l40s-small"),
         "contradicting_gpu"),
    Trap(24, "not NVIDIA", "shadeform", named("GAUDI2", "denvr_Gaudi2", Region="x-usa-1"), "unknown_gpu"),
    Trap(25, "the price is of the instance", "lambda", node(Price="24"), f"{NODE} 3000000"),
    Trap(26, "spot 0.00 is no spot", "vast", card(SpotPrice="0.00"), CARD),
    Trap(27, "spot empty", "lambda", {"SpotPrice": ""}, f"{H100} 4290000"),
    Trap(28, "spot equal to the price", "runpod", RUNPOD | {"SpotPrice": "3.3", "GpuInfo": size(80)},
         "H100.SXM.80.US runpod 3300000"),
    Trap(29, "only spot is on offer", "lambda", {"Price": "", "SpotPrice": "1.9"}, "no_class_for_spot"),
    Trap(29, "spot by the name", "primeintellect", resold("1xH100_80GB__26__225__SPOT", "gpu_1x_h100_sxm5", Price="1.9"),
         "no_class_for_spot"),
    Trap(31, "the reserve of an auction", "mithril", {"InstanceType": "h100-80gb.sxm.1x", "Price": "1.0"}, "reserve_price"),
    Trap(32, "32 vCPU and 64 GiB in every row", "vast", card(Region="Ohio, US, NA"), "no_class_for_region"),
    Trap(33, "an outlier above", "vast", card(Price="0.80"), "outlier_price"),
    Trap(33, "an outlier below", "vast", card(Price="0.18"), "outlier_price"),
    Trap(34, "one by itself", "lambda", {}, f"{H100} 4290000"),
    Trap(34, "eight are cheaper each", "lambda", node(Price="31.2"), f"{NODE} 3900000"),
    Trap(35, "the price moves with vCPU and RAM: too few", "lambda", {"vCPUs": "8", "Price": "3.9"}, "below_minima"),
    Trap(35, "the price moves with vCPU and RAM: enough", "lambda", {"vCPUs": "52", "Price": "4.6"}, f"{H100} 4600000"),
    Trap(36, "another region of one type", "hyperstack", node(**HYPERSTACK | {"Region": "CANADA-1"}), "no_class_for_region"),
    Trap(36, "another region of one type, less RAM", "hyperstack", node(**HYPERSTACK | {"MemoryGiB": "700"}), "below_minima"),
    Trap(37, "binary noise", "lambda", node(Price="23.999999999999996"), f"{NODE} 3000000"),
    Trap(38, "a reseller's machine", "primeintellect", resold("1xH100_80GB__26__225", "gpu_1x_h100_sxm5"), f"{H100} 4290000"),
    Trap(39, "an empty part of the region", "vast", card(Region=", DE, EU"), CARD),
    Trap(40, "a country in the place", "vast", card(Region="Germany, DE, EU"), CARD),
    Trap(40, "NA is North America", "vast", card(Region="United States, US, NA"), "no_class_for_region"),
    Trap(40, "letters that are not ASCII", "vast", card(Region="Győr-Moson-Sopron, HU, EU"), CARD),
    Trap(40, "a point and a hyphen", "vast", card(Region="St.-Étienne, FR, EU"), CARD),
    *(Trap(41, "a region scheme", catalogue, columns, becomes) for catalogue, columns, becomes in (
        ("vast", card(Region="Saxony, DE, EU"), CARD), ("hyperstack", node(**HYPERSTACK), "H100.SXM.80.X8.US hyperstack 3500000"),
        ("lambda", {"Region": "default"}, "unknown_region"),
        ("lium", card(InstanceType="RTX4090_1x", Region="GR"), "RTX4090.24.EU.COMM lium 380000"),
        ("primeintellect", resold("1xH100_80GB", "gpu_1x_h100_sxm5", AvailabilityZone="us-south-1"), f"{H100} 4290000"),
        ("shadeform", {"InstanceType": "lambdalabs_H100-sxm5", "Region": "boise-usa-1"}, f"{H100} 4290000"),
        ("verda", VERDA | named("H200", "1H200.141S.44V", Region="ICE-02"), "H200.SXM.141.EU verda 3200000"),
        ("lambda", {"Region": "us-south-3"}, f"{H100} 4290000"))),
    Trap(42, "a country that the zone contradicts", "primeintellect",
         resold("1xH100_80GB", "gpu_1x_h100_sxm5") | {"Region": "IS", "AvailabilityZone": "me-west-1"}, "contradicting_region"),
    Trap(42, "NO is Norway", "vast", card(Region="Viken, NO, EU"), CARD),
    *(Trap(43, "an odd zone", "primeintellect", resold("1xH100_80GB", "gpu_1x_h100_sxm5", AvailabilityZone=zone),
           f"{H100} 4290000")
      for zone in ("US", "0f3b2c1d-5e6f-4a7b-8c9d-0e1f2a3b4c5d")),
    Trap(45, "GpuInfo in Python", "lambda", {"GpuInfo": python("'NVIDIA'")}, f"{H100} 4290000"),
    Trap(45, "GpuInfo in JSON", "lambda", {"GpuInfo": size(81_920)}, f"{H100} 4290000"),
    Trap(45, "GpuInfo in neither", "lambda", {"GpuInfo": python("null")}, f"{H100} 4290000"),
    Trap(47, "8.0", "lambda", node(AcceleratorCount="8.0", vCPUs="200.0"), f"{NODE} 3500000"),
    Trap(47, "nothing", "lambda", {"vCPUs": ""}, "below_minima"),
    *(Trap(48, "a machine without a GPU", "lambda", {"AcceleratorName": "", "AcceleratorCount": count, "GpuInfo": ""}, "cpu_only")
      for count in ("", "0", "0.0")),
    Trap(52, "an odd count", "lambda", node(AcceleratorCount="5", GpuInfo=size(81_920, 5)), "no_class_for_count"),
    Trap(52, "a suffix that is no count", "shadeform", node(InstanceType="lambdalabs_H100-sxm5x8-2", Region="x-usa-1"),
         f"{NODE} 3500000"),
]  # fmt: skip

SHOWN_ELSEWHERE = {
    30: "test_board.test_a_price_that_vanishes_is_an_offer_gone",
    44: "test_board.test_a_cloud_that_lists_one_machine_in_many_regions_is_one_cloud",
    46: "test_traps.test_line_ends_and_the_order_of_columns_do_not_matter",
    49: "test_traps.test_line_ends_and_the_order_of_columns_do_not_matter",
    50: "test_board.test_one_instance_type_in_two_regions_is_two_offers",
    51: "test_board.test_a_renamed_machine_is_a_new_offer_and_an_old_one_gone",
}
"""Traps between two rows, two polls or in the file itself."""
