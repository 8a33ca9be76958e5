"""Which machines the simulated cloud has for whom, and which leases it opens: never more GPUs than somebody has bought."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from schemas.agents import GPUS_MAX, Lease
from schemas.http import PositionAnswer, PromisedAnswer, UncoveredAnswer
from schemas.ids import format_symbol
from schemas.units import MS_PER_HOUR, MS_PER_MINUTE
from services.simulated.fleet import NOT_PROCURED, OUTAGE, Market, behind, inventory, machines, reports, seats

CLASS = "H100.SXM.80.US"
HOUR = 495_000
NOW, NEXT = (format_symbol(CLASS, hour) for hour in (HOUR, HOUR + 1))
DESK, OTHER = 2, 3
MARKET = Market(1_000, HOUR * MS_PER_HOUR, 20)


def position(contract: str, owed: int) -> PositionAnswer:
    return PositionAnswer(
        contract=contract, hour="", phase="forward", held=0, cost="0", owed=owed, proceeds="0", running=0
    )


def promised(contract: str, owed: int, account: int = DESK) -> PromisedAnswer:
    return PromisedAnswer(account=account, contract=contract, hour="", owed=owed, collateral_price="1", declared=0)


def uncovered(contract: str, qty: int, account: int = DESK) -> UncoveredAnswer:
    return UncoveredAnswer(
        account=account, contract=contract, hour="", title=1, ground="ready", qty=qty, minutes=9, ended=False
    )


def lease(number: int, gpus: int, minute: float = 0, until: float = 60) -> Lease:
    """Minutes of the hour."""
    begin, end = (MARKET.wall_ms + round(each * MS_PER_MINUTE) // MARKET.rate for each in (minute, until))
    return Lease(
        lease=str(number), seats=tuple(f"{number}-{gpu}" for gpu in range(gpus)), from_ms=begin, until_ms=end, warn_ms=(),
        probe_key="",
    )  # fmt: skip


def said(
    leases: list[Lease], found: dict[str, int], minute: float = 0, outages: dict[str, int] | None = None
) -> dict[str, str]:
    wall_ms = MARKET.wall_ms + round(minute * MS_PER_MINUTE) // MARKET.rate
    return {
        number: each.detail for number, each in reports(leases, CLASS, found, outages or {}, MARKET, wall_ms).items()
    }


def test_what_nobody_has_bought_a_machine_for_has_none() -> None:
    positions = [position(NOW, 8), position(NEXT, 5), position(format_symbol(CLASS, HOUR + 2), 2)]
    promises = [promised(NEXT, 3), promised(NEXT, 9, OTHER), promised(format_symbol(CLASS, HOUR + 2), 2)]

    assert behind(DESK, positions, promises, [uncovered(NOW, 1), uncovered(NOW, 2), uncovered(NEXT, 1, OTHER)]) == {
        NOW: 5, NEXT: 2,
    }  # fmt: skip


def test_seats_are_as_many_as_the_fullest_hour_wants_and_stay() -> None:
    assert seats({NOW: 5, NEXT: 2}, {}) == {CLASS: 5}
    assert seats({NOW: 1}, {CLASS: 5, "X": 1}) == {CLASS: 5, "X": 1}


@pytest.mark.parametrize(
    ("gpus", "lot", "sizes"), [(1, 1, [1]), (64, 1, [64]), (65, 1, [64, 1]), (136, 8, [64, 64, 8]), (0, 1, [])]
)
def test_a_machine_has_whole_lots(gpus: int, lot: int, sizes: list[int]) -> None:
    found = list(machines(CLASS, gpus, lot))

    assert [size for _, size in found] == sizes
    assert [name for name, _ in found] == [f"h100-sxm-80-us-{number}" for number in range(1, len(sizes) + 1)]


@given(st.integers(1, 400), st.integers(0, 100))
def test_a_seat_that_is_there_stays_the_same_when_there_are_more(gpus: int, more: int) -> None:
    """Its UUID names it for ever: who sits there sits on."""
    before, after = (
        [gpu.uuid for name, size in machines(CLASS, count, 1) for gpu in inventory(DESK, CLASS, name, size)]
        for count in (gpus, gpus + more)
    )
    assert after[: len(before)] == before
    assert len(set(after)) == len(after) == gpus + more


def test_no_more_is_open_than_was_procured_the_oldest_first() -> None:
    assert said([lease(3, 1), lease(1, 2), lease(2, 2)], {NOW: 3}) == {"1": "", "2": NOT_PROCURED, "3": ""}
    assert said([lease(1, 1)], {}) == {"1": NOT_PROCURED}
    assert said([lease(1, 1)], {NEXT: 1}) == {"1": NOT_PROCURED}, "of another hour"


def test_a_lease_that_is_to_begin_is_judged_by_its_hour() -> None:
    """And does not take the place of one that runs."""
    assert said([lease(1, 1), lease(2, 1, 60, 120)], {NOW: 1, NEXT: 1}, minute=56) == {"1": "", "2": ""}
    assert said([lease(1, 1), lease(2, 1, 60, 120)], {NOW: 1}, minute=56) == {"1": "", "2": NOT_PROCURED}
    assert said([lease(1, 1, 0, 120)], {NOW: 1}, minute=60) == {"1": NOT_PROCURED}


def test_an_outage_is_at_the_end_of_its_hour() -> None:
    words = [said([lease(1, 1)], {NOW: 1}, minute, {NOW: 13})["1"] for minute in (0, 46.9, 47, 59)]

    assert words == ["", "", OUTAGE, OUTAGE]


@given(st.lists(st.tuples(st.integers(1, 5), st.integers(0, 100)), max_size=8), st.integers(0, 12), st.integers(0, 119))
def test_open_gpus_are_never_more_than_have_a_machine(drawn: list[tuple[int, int]], machine: int, minute: int) -> None:
    leases = [lease(number, gpus, begin, 120) for number, (gpus, begin) in enumerate(drawn, start=1)]
    words = said(leases, {NOW: machine, NEXT: machine}, minute)

    for hour in range(2):
        runs = [
            each for each, (_, begin) in zip(leases, drawn, strict=True)
            if max(minute, begin) // 60 == hour and not words[each.lease]
        ]  # fmt: skip
        assert sum(len(each.seats) for each in runs) <= machine


def test_every_report_says_that_it_is_simulated() -> None:
    found = reports([lease(1, 1), lease(2, 1)], CLASS, {NOW: 1}, {}, MARKET, MARKET.wall_ms)

    assert [(each.state, each.user) for each in found.values()] == [("open", "simulated"), ("failed", "simulated")]
    assert all("simulated" in gpu.uuid and "simulated" in gpu.name for gpu in inventory(DESK, CLASS, "a", GPUS_MAX))
