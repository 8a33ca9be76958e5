"""Identifiers: integers inside, strings at the edge, and nothing that could be read in two ways."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from schemas import ids

HOUR_MAX = ids.HOUR_MASK


# --- Orders ------------------------------------------------------------------------------------------------


def test_an_order_id_has_8_bits_of_shard_36_of_offset_9_of_index_and_10_of_leg() -> None:
    assert ids.order_id(0, 0, 0, 1) == 1
    assert ids.order_id(0, 0, 1, 0) == 1 << 10
    assert ids.order_id(0, 1, 0, 0) == 1 << 19
    assert ids.order_id(1, 0, 0, 0) == 1 << 55
    assert ids.order_id(255, 2**36 - 1, 511, 1023) == 2**63 - 1, "the last one fits a signed bigint"


def test_an_order_id_is_known_before_the_order_is_applied() -> None:
    """Shard 0, record 1842 of `commands`, its fourth command."""
    assert ids.format_order(ids.order_id(0, 1842, 3)) == "0-1842-3-0"


PARTS = st.tuples(st.integers(0, 255), st.integers(0, 2**36 - 1), st.integers(0, 511), st.integers(0, 1023))


@given(PARTS)
def test_every_order_id_is_read_back_from_its_string_and_knows_its_shard(parts: tuple[int, int, int, int]) -> None:
    order = ids.order_id(*parts)

    assert ids.format_order(order) == "-".join(map(str, parts))
    assert ids.parse_order(ids.format_order(order)) == order
    assert ids.shard_of_order(order) == parts[0]


@given(PARTS, PARTS)
def test_order_ids_rise_in_the_order_of_arrival(one: tuple[int, ...], other: tuple[int, ...]) -> None:
    assert (one < other) == (ids.order_id(*one) < ids.order_id(*other))


@pytest.mark.parametrize(
    "text", ["256-0-0-0", "0-68719476736-0-0", "0-0-512-0", "0-0-0-1024", "999-99999999999-999-9999"]
)
def test_a_part_out_of_range_is_no_order_id(text: str) -> None:
    with pytest.raises(ValueError, match="is not an order id: a part is out of range"):
        ids.parse_order(text)


@pytest.mark.parametrize(
    "text",
    ["", "1", "0-1-2", "0-1-2-3-4", "-1-1-2-3", "0-1-2-", "0--1-2-3", " 0-1-2-3", "0-1-2-3\n", "0-1-2-3 ", "a-1-2-3", "0x0-1-2-3",
     "0-1_0-2-3", "0-1-2-3.0", "+0-1-2-3", "0-100000000000-0-0000-0", "٠-1-2-3", "0-111111111111-0-0", "0000-1-2-3"],
)  # fmt: skip
def test_other_texts_are_no_order_ids(text: str) -> None:
    with pytest.raises(ValueError, match="is not an order id; they look like 0-1842-3-0"):
        ids.parse_order(text)


# --- Contracts ---------------------------------------------------------------------------------------------


@given(st.integers(1, 1 << 20), st.integers(0, HOUR_MAX))
def test_a_contract_is_its_class_and_its_hour(class_no: int, hour: int) -> None:
    contract = ids.contract_of(class_no, hour)

    assert contract == class_no * 2**24 + hour
    assert (ids.class_no_of(contract), ids.hour_of(contract)) == (class_no, hour)


def test_a_symbol_says_the_class_and_the_hour_in_utc_with_one_dash() -> None:
    symbol = ids.format_symbol("H100.SXM.80.US", 498_734)

    assert symbol == "H100.SXM.80.US.20261123T14-USD"
    assert symbol.count("-") == 1
    assert ids.parse_symbol(symbol) == ("H100.SXM.80.US", 498_734)


CLASS_IDS = st.lists(st.text("ABCXYZ0189", min_size=1, max_size=6), min_size=1, max_size=5).map(".".join)


@given(CLASS_IDS, st.integers(0, 2**22))
def test_every_symbol_is_read_back(class_id: str, hour: int) -> None:
    """Also of a class whose id ends like a date."""
    assert ids.parse_symbol(ids.format_symbol(class_id, hour)) == (class_id, hour)


@pytest.mark.parametrize(
    "text",
    ["", "H100", "H100.20261123T14", "H100.20261123T14-EUR", "H100.20261123T24-USD", "H100.20261323T14-USD",
     "H100.20260230T14-USD", "h100.20261123T14-USD", "H100-20261123T14-USD", "20261123T14-USD", "H100.20261123T1-USD",
     "H100.2026112314-USD", "H100.20261123T14-USD\n", " H100.20261123T14-USD", "H100.20261123T14-USD ",
     "H100.٢٠٢٦1123T14-USD", "H100.00001123T14-USD"],
)  # fmt: skip
def test_other_texts_are_no_symbols(text: str) -> None:
    with pytest.raises(ValueError, match=r"is not a contract; they look like H100\.SXM\.80\.US\.20261122T14-USD"):
        ids.parse_symbol(text)


def test_the_last_hour_that_a_contract_can_say_is_the_last_that_a_symbol_can_say() -> None:
    assert ids.parse_symbol("H100.38831208T15-USD") == ("H100", HOUR_MAX)


@pytest.mark.parametrize("day", ["38831208T16", "39401101T14", "99991231T23", "19691231T23", "00010101T00"])
def test_an_hour_that_would_reach_into_another_class_is_no_contract(day: str) -> None:
    """Class 2 in the hour 2**24 + h is the number of class 3 in the hour h: a member would trade in the wrong book."""
    with pytest.raises(ValueError, match="is not a contract"):
        ids.parse_symbol(f"H100.{day}-USD")


# --- Classes and the ids that members choose ------------------------------------------------------------------


@pytest.mark.parametrize("text", ["H", "H100", "H100.SXM.80.US", "RTX4090.24.EU.COMM", "0", "A" * 40, "A." * 19 + "AB"])
def test_a_class_id_is_dotted_uppercase(text: str) -> None:
    assert ids.is_class_id(text)


@pytest.mark.parametrize(
    "text",
    ["", ".", "H100.", ".H100", "H100..US", "h100", "H100 US", "H100-US", "H100/US", "A" * 41, "H100\n", "Ä", "٣"],
)
def test_other_texts_are_no_class_ids(text: str) -> None:
    assert not ids.is_class_id(text)


@pytest.mark.parametrize("text", ["!", "~", "a", "spring-1", "x" * 36, '"quoted"', "\\", "1/2"])
def test_a_client_id_is_1_to_36_printable_ascii_characters(text: str) -> None:
    assert ids.is_client_id(text)


@pytest.mark.parametrize(
    "text", ["", " ", "a b", "x" * 37, "\x7f", "\x1f", "a\n", "\n", "ü", "µ", "\u2028", "a\x00", "😀"]
)
def test_other_texts_are_no_client_ids(text: str) -> None:
    assert not ids.is_client_id(text)


@given(st.text(max_size=40))
def test_a_client_id_is_what_its_bounds_say_of_each_character(text: str) -> None:
    assert ids.is_client_id(text) == (1 <= len(text) <= 36 and all("!" <= character <= "~" for character in text))
