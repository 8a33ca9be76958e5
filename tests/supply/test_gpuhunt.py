"""Catalogues of the library gpuhunt: its own writer's bytes are read back, and its rows meet classes."""

from __future__ import annotations

import io
import tracemalloc
import zipfile
from pathlib import Path

import pytest
from gpuhunt import AcceleratorVendor, CatalogItem
from gpuhunt._internal import storage

from schemas.supply import OfferSeen
from services.supply import gpuhunt
from services.supply.catalogue import Catalogue
from services.supply.rows import BadCatalogue
from tests.supply.catalogues import poll, source, table
from tests.supply.formats import HUNT, archive


def read(data: bytes, catalogue: str = "") -> Catalogue:
    return poll(data, source("hunt", catalogue, "gpuhunt"))


def offers(catalogue: Catalogue) -> list[OfferSeen]:
    return [offer for row in catalogue.mapped for offer in row.offers]


def outcome(provider: str = "lambdalabs", **columns: str) -> str:
    """What becomes of one row: its class, cloud and price in µUSD, or the reason."""
    catalogue = read(archive(**{provider: table(HUNT | columns)}))
    if not catalogue.mapped:
        (reason,) = catalogue.reasons
        return reason
    (offer,) = offers(catalogue)
    return f"{offer.class_id} {offer.cloud} {offer.price}"


def test_what_the_library_writes_is_read(tmp_path: Path) -> None:
    """Its format is its own: when a version of it writes otherwise, this fails first."""
    items = [
        CatalogItem(
            provider="lambdalabs", instance_name="gpu_8x_h100_sxm5", location="us-west-1", price=31.92, cpu=208,
            memory=1800.0, gpu_count=8, gpu_name="H100", gpu_memory=80.0, spot=False, disk_size=22000.0,
            gpu_vendor=AcceleratorVendor.NVIDIA,
        ),
        CatalogItem(
            provider="lambdalabs", instance_name="cpu_4x_general", location="us-west-1", price=0.2, cpu=4, memory=16.0,
            gpu_count=0, gpu_name=None, gpu_memory=None, spot=False, disk_size=None,
        ),
    ]  # fmt: skip
    file = tmp_path / "lambdalabs.csv"
    storage.dump(items, str(file))
    assert file.read_text().splitlines()[0].split(",") == list(HUNT)
    catalogue = read(file.read_bytes(), "lambdalabs")
    (offer,) = offers(catalogue)
    assert (offer.cloud, offer.region, offer.instance_type, offer.class_id, offer.gpus, offer.price) == (
        "lambda", "us-west-1", "gpu_8x_h100_sxm5", "H100.SXM.80.X8.US", 8, 3_990_000
    )  # fmt: skip
    assert (offer.vcpus, offer.memory_mib) == (208, 1_800 * 1_024)
    assert catalogue.reasons == {"cpu_only": 1}


def test_an_archive_holds_one_file_per_provider_and_each_row_is_its_providers() -> None:
    verda = HUNT | {
        "instance_name": "1H100.80S.32V",
        "location": "FIN-02",
        "cpu": "32",
        "memory": "185",
        "price": "2.29",
    }
    catalogue = read(archive(lambdalabs=table(HUNT), datacrunch=table(verda), nobody=table(HUNT)))
    assert [(o.cloud, o.class_id) for o in offers(catalogue)] == [
        ("lambda", "H100.SXM.80.US"),
        ("verda", "H100.SXM.80.EU"),
    ]
    assert (catalogue.rows, catalogue.reasons) == (3, {"unknown_cloud": 1})


@pytest.mark.parametrize(
    ("columns", "becomes"),
    [
        ({}, "H100.SXM.80.US lambda 4290000"),
        ({"gpu_vendor": "", "provider_data": ""}, "H100.SXM.80.US lambda 4290000"),
        ({"spot": "True"}, "no_class_for_spot"),
        ({"gpu_vendor": "amd"}, "unknown_gpu"),
        ({"gpu_name": "tpu-v5p"}, "unknown_gpu"),
        ({"gpu_memory": "94.0"}, "no_class_for_memory"),
        ({"gpu_memory": "40"}, "wrong_memory"),
        ({"gpu_memory": "", "instance_name": "gpu_1x_h100_sxm5"}, "ambiguous_memory"),
        ({"gpu_count": "0", "gpu_name": "", "gpu_memory": ""}, "cpu_only"),
        ({"gpu_count": "2"}, "no_class_for_count"),
        ({"flags": "gcp-dws-calendar-mode"}, "unknown_flag"),
        ({"flags": "runpod-cluster something-new"}, "unknown_flag"),
        ({"flags": "gcp-a4"}, "H100.SXM.80.US lambda 4290000"),
        ({"location": "nowhere-1"}, "unknown_region"),
        ({"price": "429"}, "outlier_price"),
        ({"price": "0"}, "no_price"),
        ({"price": "nan"}, "broken_row"),
        ({"price": "inf"}, "broken_row"),
        ({"price": "-4.29"}, "broken_row"),
        ({"price": ""}, "broken_row"),
        ({"cpu": "26.5"}, "broken_row"),
        ({"spot": "maybe"}, "broken_row"),
        ({"gpu_vendor": "acme"}, "broken_row"),
        ({"provider_data": "{"}, "broken_row"),
        ({"provider_data": "[" * 9_000}, "broken_row"),
        ({"location": "us-east-1\x1b]0;owned\x07"}, "broken_row"),
    ],
    ids=str,
)
def test_what_becomes_of_a_row_with(columns: dict[str, str], becomes: str) -> None:
    assert outcome(**columns) == becomes


def test_the_price_is_the_text_and_not_the_librarys_float() -> None:
    assert outcome(price="4.290000000000000000001").endswith(" 4290000")
    assert outcome(gpu_count="8", instance_name="gpu_8x_h100_sxm5", cpu="208", memory="1800", price="31.919999999999998") == (
        "H100.SXM.80.X8.US lambda 3990000"
    )  # fmt: skip


@pytest.mark.parametrize(
    ("data", "why"),
    [
        (b"", "empty"),
        (b"PK\x03\x04rubbish", "the zip archive is broken"),
        (archive(), "no CSV file"),
        (archive(aws=b"instance_name,price\nx,1\n"), "aws.csv: columns are missing: cpu, gpu_count"),
        (archive(aws=b""), "aws.csv: the file is empty"),
        (archive(lambdalabs=table(HUNT))[:-30], "the zip archive is broken"),
        (b'{"offers": []}', "JSON, not CSV"),
    ],
)
def test_a_broken_archive_is_refused_as_a_whole(data: bytes, why: str) -> None:
    with pytest.raises(BadCatalogue, match=why):
        read(data)


def test_an_archive_that_unpacks_to_more_than_it_may_is_refused_before_it_has(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(gpuhunt, "UNPACKED_BYTES_MAX", 100_000)
    bomb = archive(aws=bytes(50_000_000))
    assert len(bomb) < 60_000
    tracemalloc.start()
    try:
        with pytest.raises(BadCatalogue, match="more than 100000 bytes when unpacked"):
            read(bomb)
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert peak < 5_000_000


def test_an_archive_of_too_many_files_and_one_with_a_password_are_refused() -> None:
    with pytest.raises(BadCatalogue, match="101 files"):
        read(archive(**{f"p{number}": b"" for number in range(101)}))
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as zipped:
        zipped.writestr("aws.csv", table(HUNT))
    locked = bytearray(buffer.getvalue())
    for mark, at in ((b"PK\x03\x04", 6), (b"PK\x01\x02", 8)):
        locked[locked.index(mark) + at] |= 1
    with pytest.raises(BadCatalogue, match="encrypted"):
        read(bytes(locked))
