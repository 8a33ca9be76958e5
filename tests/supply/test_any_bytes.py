"""Whatever bytes a source gives: a refusal of the whole that can be shown, or rows of which each is mapped or refused."""

from __future__ import annotations

import csv
import io
import json
import zipfile
from typing import Any, get_args

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from services.supply.catalogue import Catalogue
from services.supply.connectors import ConnectorName
from services.supply.rows import BadCatalogue
from tests.supply.catalogues import GOOD, poll, source, table
from tests.supply.formats import HUNT, MACHINE, answer, archive

CONNECTORS: tuple[ConnectorName, ...] = get_args(ConnectorName)
GOOD_BYTES = {
    "skypilot": table(GOOD, GOOD | {"Region": "us-west-1"}),
    "gpuhunt": archive(lambdalabs=table(HUNT, HUNT | {"location": "us-west-1"})),
    "vast": answer(MACHINE, MACHINE | {"id": 7}),
}
NASTY = st.sampled_from(
    ["", "0", "-1", "NaN", "Infinity", "1e300", "1e-400", "1e-999999",
     "4,29", "1_0", "٣", "\0", "\x1b[2J", "\u202e", "\ud800", '"', "'",
     "a" * 300,
     "{", "{'Gpus': {[]}}", "[" * 3_000, "\n", "\r", ",", "|", "9" * 5_000, "true", "null", "None", "H100", "8"]
)  # fmt: skip


def check(data: bytes, connector: ConnectorName) -> None:
    """Counts add up, and all that an operator or a member will see can be shown."""
    outcome: Catalogue | BadCatalogue
    try:
        outcome = poll(data, source("any", "lambda", connector))
    except BadCatalogue as error:
        outcome = error
    if isinstance(outcome, BadCatalogue):
        assert str(outcome).isprintable(), ascii(str(outcome))
        return
    catalogue = outcome
    assert catalogue.rows == len(catalogue.mapped) + sum(catalogue.reasons.values()) > 0
    shown = [detail for details in catalogue.details.values() for detail in details]
    for row in catalogue.mapped:
        for offer in row.offers:
            assert offer.price > 0
            assert offer.kind in {"on_demand", "spot"}
            shown += [offer.cloud, offer.region, offer.instance_type, offer.source]
    assert all(text.isprintable() for text in shown), shown
    # What is published must be text of UTF-8, too.
    assert "".join(shown).encode()


@pytest.mark.parametrize("connector", CONNECTORS)
@settings(max_examples=150)
@given(data=st.binary(max_size=400))
@example(b"")
@example(b"PK\x03\x04")
@example(b"PK\x05\x06" + bytes(18))
@example(b"\xff\xfe\x00")
@example(b'{"offers":[' + b"[" * 100_000)
@example(b'{"offers":[{"id":1' + b"}" * 9)
def test_noise(connector: ConnectorName, data: bytes) -> None:
    check(data, connector)


@pytest.mark.parametrize("connector", CONNECTORS)
@settings(max_examples=200)
@given(data=st.data())
def test_a_good_catalogue_with_bytes_changed_cut_out_and_put_in(connector: ConnectorName, data: st.DataObject) -> None:
    """Near the real thing is where parsers break."""
    damaged = bytearray(GOOD_BYTES[connector])
    for _ in range(data.draw(st.integers(1, 4))):
        place = data.draw(st.integers(0, len(damaged)))
        damaged[place : place + data.draw(st.integers(0, 30))] = data.draw(st.binary(max_size=30))
    check(bytes(damaged), connector)


@settings(max_examples=200)
@given(changes=st.lists(st.tuples(st.sampled_from(sorted(GOOD)), NASTY | st.text(max_size=12)), min_size=1, max_size=3))
def test_a_row_in_skypilots_format_with_anything_in_its_fields(changes: list[tuple[str, str]]) -> None:
    check(written(GOOD | dict(changes), GOOD), "skypilot")


@settings(max_examples=200)
@given(changes=st.lists(st.tuples(st.sampled_from(sorted(HUNT)), NASTY | st.text(max_size=12)), min_size=1, max_size=3))
def test_a_row_of_gpuhunt_with_anything_in_its_fields(changes: list[tuple[str, str]]) -> None:
    check(written(HUNT | dict(changes), HUNT), "gpuhunt")


RAW = st.sampled_from(["1e-999999", "1e999999", "-0", "0.1" + "3" * 400, "9" * 400, "1e400", "-1e-400"]).map(
    "@{}@".format
)
"""Numbers that JSON can hold and Python's writer does not write."""
VALUES = (
    st.none() | st.booleans() | st.integers() | st.floats() | st.just([]) | st.just({"a": [1]})
    | NASTY | st.text(max_size=12) | RAW
)  # fmt: skip


@settings(max_examples=300)
@given(changes=st.dictionaries(st.sampled_from(sorted(MACHINE)), VALUES, min_size=1, max_size=3))
def test_an_offer_of_vast_with_anything_in_its_fields(changes: dict[str, Any]) -> None:
    text = json.dumps({"offers": [MACHINE | changes, MACHINE]})
    check(text.replace('"@', "").replace('@"', "").encode(), "vast")


@settings(max_examples=100)
@given(members=st.dictionaries(NASTY | st.text(max_size=8), st.binary(max_size=60) | st.just(table(HUNT)), max_size=3))
def test_an_archive_of_anything(members: dict[str, bytes]) -> None:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as zipped:
        for name, content in members.items():
            zipped.writestr(ascii(name)[:60] + ".csv", content)
    check(buffer.getvalue(), "gpuhunt")


def written(*rows: dict[str, str]) -> bytes:
    """A table, with bytes that are not UTF-8 where the text has half a character."""
    text = io.StringIO(newline="")
    writer = csv.DictWriter(text, list(rows[0]))
    writer.writeheader()
    writer.writerows(rows)
    return text.getvalue().encode("utf-8", "surrogatepass")
