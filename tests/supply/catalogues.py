"""Small catalogues for tests: a row by the columns that matter, the rest as a good H100 SXM in the United States."""

from __future__ import annotations

import csv
import io
import json
from typing import Any

from schemas.specifications import Specification, specifications
from services.supply.catalogue import Catalogue, Source, read_catalogue
from services.supply.connectors import ConnectorName
from services.supply.mapping import Offer, Refused, map_row
from services.supply.rows import BrokenRow, Row
from services.supply.rules import packaged_rules
from services.supply.skypilot import read_rows

RULES = packaged_rules()
CLASSES = specifications()

GOOD = {
    "InstanceType": "gpu_1x_h100_sxm5",
    "AcceleratorName": "H100",
    "AcceleratorCount": "1",
    "vCPUs": "26",
    "MemoryGiB": "225",
    "GpuInfo": '{"Gpus":[{"Name":"H100","Count":1,"MemoryInfo":{"SizeInMiB":81920}}],"TotalGpuMemoryInMiB":81920}',
    "Price": "4.29",
    "SpotPrice": "",
    "Region": "us-east-1",
}


def table(*rows: dict[str, Any], newline: str = "\r\n") -> bytes:
    """Rows → bytes of a CSV file; columns are the union of the rows'."""
    columns = list(dict.fromkeys(name for row in rows for name in row))
    text = io.StringIO(newline="")
    writer = csv.DictWriter(text, columns, restval="", lineterminator=newline)
    writer.writeheader()
    writer.writerows(rows)
    return text.getvalue().encode()


def one(**columns: Any) -> Row | BrokenRow:
    """The good row with these columns instead, read back."""
    (row,) = read_rows(table(GOOD | columns))
    return row


def size(mib: int, gpus: int = 1, name: str = "H100") -> str:
    """A GpuInfo of this size, as JSON."""
    return json.dumps({"Gpus": [{"Name": name, "Count": gpus, "MemoryInfo": {"SizeInMiB": mib}}]})


def mapped(catalogue: str = "lambda", classes: tuple[Specification, ...] = CLASSES, **columns: Any) -> Offer:
    """The only offer of the good row with these columns instead."""
    outcome = map_row(one(**columns), catalogue, RULES, classes)
    assert not isinstance(outcome, Refused), outcome
    (offer,) = outcome
    return offer


def refusal(catalogue: str = "lambda", classes: tuple[Specification, ...] = CLASSES, **columns: Any) -> str:
    """The reason for which the good row with these columns instead is refused."""
    outcome = map_row(one(**columns), catalogue, RULES, classes)
    assert isinstance(outcome, Refused), outcome
    return outcome.reason.value


def source(
    name: str = "test", catalogue: str = "lambda", connector: ConnectorName = "skypilot", *,
    recorded: bool = False, as_of_ms: int = 1_000,
) -> Source:  # fmt: skip
    """A source that says when it was written."""
    return Source(
        name=name, catalogue=catalogue, label=f"{name}.csv", as_of_ms=as_of_ms, connector=connector, recorded=recorded
    )


def poll(data: bytes, of: Source | None = None, seen_ms: int = 5_000) -> Catalogue:
    """One poll of these bytes."""
    return read_catalogue(data, of or source(), RULES, CLASSES, seen_ms)
