"""Files that are no catalogue, and catalogues with nonsense in them: what is said, and that what is good is not lost."""

from __future__ import annotations

import gzip
import re
import time

import pytest

from services.supply import tables
from services.supply.rows import BadCatalogue
from tests.supply.catalogues import GOOD, poll, table
from tests.supply.formats import MACHINE, answer, archive

TEXT = table(GOOD, GOOD | {"Region": "us-west-1"}).decode()
HEADER = TEXT.splitlines()[0]
LINE = TEXT.splitlines()[1]
BARE = table(GOOD | {"GpuInfo": ""}).decode().splitlines()[1]
"""No quote in it."""


@pytest.mark.parametrize(
    ("data", "said"),
    [
        (b"", "the file is empty"),
        (b"\xef\xbb\xbf\r\n \r\n", "the file is empty"),
        (HEADER.encode(), "a header and not one row"),
        (f"{HEADER}\r\n\r\n\r\n".encode(), "a header and not one row"),
        (b"<!DOCTYPE html><html><body>log in</body></html>", "a web page or XML, not a table; look at what that address answers"),
        (b'{"offers": []}', "JSON, not CSV; is another connector meant"),
        (b'[{"InstanceType": "x"}]', "JSON, not CSV"),
        (answer(MACHINE), "JSON, not CSV"),
        (gzip.compress(TEXT.encode()), "a gzip file; unpack it first"),
        (archive(vms=TEXT.encode()), "a zip archive; unpack it first"),
        (TEXT.encode("utf-16"), "UTF-16, or not text at all; save it as UTF-8"),
        (TEXT.encode("utf-16-le"), "UTF-16, or not text"),
        (TEXT.encode("utf-32"), "UTF-16, or not text"),
        (bytes(1_000), "UTF-16, or not text"),
        (HEADER.replace(",", ";").encode() + b"\na;b\n", "its fields seem to be separated by ';'; separate them by commas"),
        (HEADER.replace(",", "\t").encode() + b"\na\tb\n", "separated by '\\\\t'"),
        (TEXT.replace("Price,SpotPrice", "Price,Price").encode(), "columns stand twice, and nobody knows which counts: Price"),
        (TEXT.replace("Price,SpotPrice", "OnDemandPrice,SpotPrice").encode(),
         "columns are missing: Price; found are: InstanceType, AcceleratorName.*OnDemandPrice"),
        (TEXT.replace("AcceleratorName", "acceleratorname").encode(), "columns are missing: AcceleratorName"),
        (TEXT.split("\r\n", 1)[1].encode(), "columns are missing: .*; found are: gpu_1x_h100_sxm5"),
        (b"\x1b[2J\x1b]0;owned\x07,Price\nx,1\n", r"found are: '\\x1b\[2J\\x1b\]0;owned\\x07', Price"),
        (TEXT.encode() + b'"an open quote,H100\r\n' + LINE.encode(), "line 4: a quote is opened and not closed; close it"),
        (f'{HEADER}\r\n"{BARE}\r\n{BARE}\r\n'.encode(), "line 2: a quote is opened and not closed"),
        (f'{HEADER}\r\n{LINE}\r\n"{BARE}\r\n{LINE}\r\n'.encode(), "line 3: a quote is opened and not closed"),
        (f'{HEADER}\r\n"{BARE}\r\n'.encode() + f"{BARE}\r\n".encode() * 9_000, "line 2: a quote is opened and not closed"),
        (b"x" * 100_000, "it begins with a line of more than 65536 characters"),
    ],
)  # fmt: skip
def test_a_file_that_is_no_catalogue_is_refused_with_what_it_looks_like(data: bytes, said: str) -> None:
    with pytest.raises(BadCatalogue, match=said) as refused:
        poll(data)
    assert str(refused.value).isprintable()


@pytest.mark.parametrize(
    "data", [TEXT.encode("utf-8-sig"), TEXT.replace("\r\n", "\r").encode(), f"\r\n\n{TEXT}".encode()]
)
def test_a_byte_order_mark_old_line_ends_and_blank_lines_are_no_harm(data: bytes) -> None:
    assert (poll(data).rows, poll(data).reasons) == (2, {})


@pytest.mark.parametrize(
    ("column", "text", "reason", "said"),
    [
        ("Price", "0", "no_price", ""),
        ("Price", "-4.29", "broken_row", "out of range"),
        ("Price", "NaN", "broken_row", "not a number"),
        ("Price", "Infinity", "broken_row", "not a number"),
        ("Price", "1e300", "broken_row", "out of range"),
        ("Price", "1e-300", "no_price", ""),
        ("Price", "4,29", "broken_row", "not a number"),
        ("Price", "4.29 USD", "broken_row", "not a number"),
        ("Price", "$4.29", "broken_row", "not a number"),
        ("Price", "4_29", "broken_row", "not a number"),
        ("Price", "٤", "broken_row", "not a number"),
        ("Price", "9" * 100, "broken_row", "not a number"),
        ("Price", "429", "outlier_price", "gpu_1x_h100_sxm5, 1 H100 80 GB: 429.00 USD per GPU-hour"),
        ("Price", f"{4.29 * 730:.2f}", "outlier_price", ""),
        ("Price", "0.0043", "outlier_price", ""),
        ("AcceleratorCount", "1e9", "no_class_for_count", ""),
        ("InstanceType", "gpu_1x_h100_sxm5\x00", "broken_row", r"cannot be printed"),
        ("InstanceType", "\x1b[31mgpu_1x_h100_sxm5", "broken_row", r"'\\x1b\[31mgpu_1x_h100_sxm5' cannot be printed"),
        ("InstanceType", "gpu_1x_h100\nsxm5", "broken_row", "cannot be printed"),
        ("InstanceType", "g" * 201, "broken_row", "201 characters, allowed are 200"),
        ("Region", "us-east-1\u202e", "broken_row", "cannot be printed"),
        ("Region", "us\u00a0east-1", "broken_row", "cannot be printed"),
        ("AcceleratorName", "H100\x07", "broken_row", "cannot be printed"),
        ("vCPUs", "lots", "broken_row", "vCPUs 'lots' is not a number"),
        ("GpuInfo", "{'Gpus': {[]}}", "broken_gpu_info", ""),
        ("GpuInfo", "{'Gpus': [{'Name': 'H\\x1b100', 'MemoryInfo': {'SizeInMiB': 81920}}]}", "broken_gpu_info", ""),
        ("GpuInfo", "1or 2", "broken_gpu_info", ""),
        ("GpuInfo", "x" * 10_001, "broken_row", "a field of more than 10000 characters"),
    ],
)
def test_nonsense_in_a_field_refuses_its_row_and_its_neighbour_is_read(
    column: str, text: str, reason: str, said: str
) -> None:
    catalogue = poll(table(GOOD | {column: text}, GOOD | {"Region": "us-west-1"}))
    assert (catalogue.rows, len(catalogue.mapped), catalogue.reasons) == (2, 1, {reason: 1})
    (detail,) = catalogue.details[reason]
    assert detail.startswith("line ")
    assert detail.isprintable()
    if said:
        assert re.search(said, detail)


def test_bytes_that_are_not_utf_8_refuse_the_row_that_has_them() -> None:
    data = table(GOOD | {"Region": "S\u00e3o"}, GOOD).decode().encode("latin-1")
    catalogue = poll(data)
    assert (len(catalogue.mapped), catalogue.reasons) == (1, {"broken_row": 1})
    assert catalogue.details["broken_row"] == [r"line 2: Region 'S\udce3o' cannot be printed"]


def test_wrong_quotes_within_a_line_refuse_that_line() -> None:
    for wrong in (f'"gpu"x,{LINE}', f'"{LINE}'):
        catalogue = poll(f"{HEADER}\r\n{wrong}\r\n{LINE}\r\n".encode())
        assert (len(catalogue.mapped), catalogue.reasons) == (1, {"broken_row": 1})


def test_a_row_of_a_megabyte_is_refused_with_its_line_and_its_neighbours_are_read() -> None:
    long = LINE.replace("us-east-1", "x" * 1_000_000)
    catalogue = poll("\n".join([HEADER, LINE, long, LINE.replace("us-east-1", "us-west-1")]).encode())
    assert (catalogue.rows, len(catalogue.mapped), catalogue.reasons) == (3, 2, {"broken_row": 1})
    assert catalogue.details["broken_row"] == ["line 3: a line of more than 65536 characters"]


@pytest.mark.parametrize("line", [",,,,,,,,", "x", ""], ids=["empty fields", "one field", "blank"])
def test_two_million_lines_are_refused_soon(line: str) -> None:
    """Not by the clock alone: reading stops at the bound, so the rest costs nothing."""
    started = time.process_time()
    with pytest.raises(BadCatalogue, match=r"more than 150000 rows|more than 600000 lines"):
        poll(f"{HEADER}\n".encode() + f"{line}\n".encode() * 2_000_000)
    assert time.process_time() - started < 10


def test_the_bound_on_rows_is_the_number_that_it_says(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tables, "ROWS_MAX", 2)
    assert poll(TEXT.encode()).rows == 2
    with pytest.raises(BadCatalogue, match="more than 2 rows"):
        poll(TEXT.encode() + LINE.encode())
