"""The recorded catalogue: public price facts, each with its cloud, instance type, region, date and source."""

from __future__ import annotations

import csv
import datetime as dt
import io
import re
from importlib import resources

import pytest

from services.supply.board import Board
from tests.supply.catalogues import CLASSES, GOOD, poll, source, table

DATA = (resources.files("services.supply") / "recorded" / "prices.csv").read_bytes()
NOW_MS = int(dt.datetime.now(dt.UTC).timestamp()) * 1000
ROWS = list(csv.DictReader(io.StringIO(DATA.decode(), newline="")))


@pytest.mark.parametrize("row", ROWS, ids=lambda row: f"{row['cloud']} {row['InstanceType']} {row['Region']}")
def test_every_recorded_price_names_cloud_instance_type_region_date_and_source(row: dict[str, str]) -> None:
    assert all(row[name].strip() for name in ("cloud", "InstanceType", "Region", "date", "source"))
    assert dt.date.fromisoformat(row["date"]) <= dt.datetime.now(dt.UTC).date()
    # Repository, path, commit: enough to look the fact up.
    assert re.fullmatch(r"[\w-]+/[\w-]+ catalogs/v8/[a-z]+/vms\.csv at [0-9a-f]{12}", row["source"])
    assert f"/{row['cloud']}/" in row["source"]
    assert row["Price"] or row["SpotPrice"]


def test_it_is_a_few_dozen_facts_and_not_somebodys_file() -> None:
    assert 24 <= len(ROWS) <= 60


def test_every_class_is_supplied_by_two_clouds_or_more() -> None:
    board = Board(CLASSES)
    catalogue = poll(DATA, source("recorded", "recorded", recorded=True), seen_ms=NOW_MS)
    board.poll(catalogue, NOW_MS)
    clouds: dict[str, set[str]] = {spec.class_id: set() for spec in CLASSES if spec.hardware.form != "NONE"}
    for offer in board.offers.values():
        clouds[offer.class_id].add(offer.cloud)
    assert clouds == {
        "A100.SXM.80.US": {"denvr", "massedcompute", "runpod"},
        "B200.SXM.180.X8.US": {"lambda", "nebius"},
        "H100.SXM.80.EU": {"digitalocean", "lambda", "nebius", "runpod", "verda"},
        "H100.SXM.80.US": {"digitalocean", "lambda", "runpod"},
        "H100.SXM.80.X8.US": {"digitalocean", "hyperstack", "lambda"},
        "H200.SXM.141.EU": {"nebius", "verda"},
        "L40S.48.US": {"crusoe", "latitude", "massedcompute"},
        "RTX4090.24.EU.COMM": {"lium", "vast"},
    }
    assert catalogue.clamped == 0
    assert catalogue.rows == len(ROWS)
    assert "broken_row" not in catalogue.reasons


@pytest.mark.parametrize("missing", ["cloud", "date", "source"])
def test_a_recorded_price_without_its_origin_is_refused(missing: str) -> None:
    origin = {"cloud": "lambda", "date": "2026-11-23", "source": "somewhere"}
    good, bad = GOOD | origin, GOOD | origin | {missing: "", "Region": "us-west-1"}
    catalogue = poll(table(good, bad), source("recorded", "recorded", recorded=True))
    assert (len(catalogue.mapped), catalogue.reasons) == (1, {"broken_row": 1})


def test_a_recorded_price_says_its_own_date() -> None:
    row = GOOD | {"cloud": "lambda", "date": "2026-11-20", "source": "somewhere"}
    day_ms = int(dt.datetime(2026, 11, 20, tzinfo=dt.UTC).timestamp()) * 1000
    now, before = (poll(table(row), source("r", "recorded", recorded=True), seen_ms=day_ms + d) for d in (1, -1))
    assert [(o.source, o.as_of_ms) for mapped in now.mapped for o in mapped.offers] == [
        ("somewhere 2026-11-20", day_ms)
    ]
    # A day that has not come yet is somebody's slip or another clock: now is said instead, and counted.
    assert [o.as_of_ms for mapped in before.mapped for o in mapped.offers] == [day_ms - 1]
    assert (now.clamped, before.clamped) == (0, 1)
    wrong = poll(table(row | {"date": "20 Nov"}), source("recorded", "recorded", recorded=True))
    assert wrong.reasons == {"broken_row": 1}
