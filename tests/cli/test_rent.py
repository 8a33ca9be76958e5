"""`hourbook rent`: its words, and the limit that it takes where none is named. A rental that is made: test_rental."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from schemas.feeds import GridRow
from services.cli.rent import limit_of, rounded_up
from tests.cli.conftest import Place, typed

CPU = "CPU.X86.LOCAL.UNV"


def row(hour: int, phase: str, ask: str = "") -> GridRow:
    return GridRow(f"{CPU}.20261122T{hour:02}-USD", f"2026-11-22T{hour:02}:00Z", phase, "open", ask=ask)  # type: ignore[arg-type]


ROWS = [
    row(13, "closed", "9.00"), row(14, "running", "0.06"), row(15, "closed"), row(16, "forward", "0.05"),
    row(17, "forward"), row(18, "forward", "0.07"), row(19, "forward", "0.08"),
]  # fmt: skip


@pytest.mark.parametrize(
    ("from_hour", "window", "dearest"),
    [
        ("", 1, 60_000),
        ("", 2, 60_000),
        ("", 4, 70_000),
        ("", 24, 80_000),
        ("2026-11-22T16:00Z", 1, 50_000),
        ("2026-11-22T17:00Z", 1, 0),
        ("2026-11-22T17:00Z", 2, 70_000),
        ("2026-11-23T00:00Z", 6, 0),
    ],
)
def test_the_limit_is_by_the_dearest_ask_of_the_hours_that_are_bought_first(
    from_hour: str, window: int, dearest: int
) -> None:
    """Of what is sold at all; hours in which nobody asks are passed over, and where nobody asks anywhere there is none."""
    assert limit_of(ROWS, from_hour, window) == dearest


@given(st.integers(1, 10**9), st.integers(1, 10**6))
def test_a_price_goes_up_to_its_tick_and_no_further(price: int, tick: int) -> None:
    found = rounded_up(price, tick)
    assert found % tick == 0
    assert price <= found < price + tick


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        (f"rent --class {CPU}", "say when it begins: --now, or --from 'tomorrow 14:00'"),
        (f"rent --class {CPU} --now --from 14:00", "say when it begins: --now, or --from 'tomorrow 14:00'"),
        (f"rent --class {CPU} --now --hours 3 --until-stopped", "--until-stopped and --hours are two: say one of them"),
        ("rent --now", "Missing option '--class'"),
        (f"--json rent --class {CPU} --now", "with --json nothing is asked: add --yes, or look with --preview"),
        ("stop x", "'x' is not a rental's number"),
        ("rentals ../keys", "'../keys' is not a rental's number"),
        ("change 3", "say what is to change: --max-price, --max-spend, --look-ahead, --hours, --on-stop, --webhook"),
        ("launch Gpu! --port 80", "'Gpu!' is no name: small letters, digits and hyphens, 36 at most"),
    ],
)
def test_what_cannot_be_meant_is_said_before_anybody_is_asked(here: Place, words: str, sentence: str) -> None:
    """In a folder in which no exchange runs."""
    assert here.folder.exists()
    done = typed(*words.split())
    assert done.code == 2
    assert sentence in done.out + done.err
