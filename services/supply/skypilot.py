"""A catalogue in SkyPilot's format: CSV, one instance type in one region a row.

Pure. A recorded catalogue has three more columns: `cloud`, `date`, `source`.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

from services.supply.rows import BrokenRow, Row, count, name, number, present, price
from services.supply.tables import read_table

NEEDED: Final = frozenset(
    {"InstanceType", "AcceleratorName", "AcceleratorCount", "vCPUs", "MemoryGiB", "Price", "Region"}
)


def read_rows(data: bytes) -> Iterator[Row | BrokenRow]:
    """Bytes of a file → its rows. Raises BadCatalogue."""
    for entry in read_table(data, NEEDED):
        if isinstance(entry, BrokenRow):
            yield entry
            continue
        line, texts = entry
        try:
            yield _row(line, texts)
        except ValueError as error:
            yield BrokenRow(line, str(error))


def _row(line: int, texts: dict[str, str]) -> Row:
    """Raises ValueError."""
    gpu_name = name(texts["AcceleratorName"], "AcceleratorName")
    gpus = number(texts["AcceleratorCount"], "AcceleratorCount")
    return Row(
        line=line,
        instance_type=present(texts["InstanceType"], "InstanceType"),
        upstream_id=name(texts.get("UpstreamCloudId", ""), "UpstreamCloudId"),
        gpu_name=gpu_name,
        gpus=count(gpus, "AcceleratorCount", needed=bool(gpu_name)),
        gpu_info=texts.get("GpuInfo", ""),
        vcpus=number(texts["vCPUs"], "vCPUs"),
        memory_gib=number(texts["MemoryGiB"], "MemoryGiB"),
        price=price(number(texts["Price"], "Price")),
        spot_price=price(number(texts.get("SpotPrice", ""), "SpotPrice")),
        region=present(texts["Region"], "Region"),
        zone=name(texts.get("AvailabilityZone", ""), "AvailabilityZone"),
        cloud=name(texts.get("cloud", ""), "cloud"),
        date=name(texts.get("date", ""), "date"),
        source=name(texts.get("source", ""), "source"),
    )
