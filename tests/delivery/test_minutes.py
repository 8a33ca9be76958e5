"""Minutes of a title: what was delivered, what the setup allowance covers, what was not."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from schemas.units import MS_PER_HOUR, MS_PER_MINUTE
from services.delivery.minutes import Checked, Minutes, Share, count

HOUR = 495_000
START = HOUR * MS_PER_HOUR


def at(minute: float) -> int:
    """Moment of the hour."""
    return START + round(minute * MS_PER_MINUTE)


def one(*checks: tuple[float, bool], is_new: bool = True, qty: int = 1) -> Share:
    return Share(qty, [Checked(at(minute), works) for minute, works in checks], is_new)


def test_a_machine_that_works_from_the_first_moment_delivers_every_minute() -> None:
    assert count(HOUR, 60, 1, [one((0, True))], 10) == Minutes(60, 0, 0)


def test_a_minute_in_whose_middle_the_login_first_works_is_delivered() -> None:
    assert count(HOUR, 60, 1, [one((2.4, True))], 0) == Minutes(58, 0, 2)


def test_a_minute_in_whose_middle_the_machine_is_lost_is_not() -> None:
    assert count(HOUR, 60, 1, [one((0, True), (10.5, False))], 0) == Minutes(10, 0, 50)


def test_the_setup_allowance_stands_in_before_the_first_login() -> None:
    assert count(HOUR, 60, 1, [one((7.2, True))], 10) == Minutes(53, 7, 0)
    assert count(HOUR, 60, 1, [one((14.5, True))], 10) == Minutes(46, 10, 4)


def test_it_stands_in_for_the_beginning_only() -> None:
    """Five minutes lost in the middle are lost, whatever of the allowance was not used."""
    assert count(HOUR, 60, 1, [one((0, True), (20, False), (25, True))], 10) == Minutes(55, 0, 5)


def test_who_stays_on_his_machine_needs_no_setup() -> None:
    assert count(HOUR, 60, 1, [one((-30, True), (5, False), (9, True), is_new=False)], 10) == Minutes(56, 0, 4)


def test_of_a_running_title_the_allowance_is_a_third_at_most() -> None:
    """Twelve minutes were sold, from minute 48 on."""
    assert count(HOUR, 12, 1, [one((57.1, True))], 10) == Minutes(3, 4, 5)


def test_a_machine_that_never_answered_delivered_nothing_and_set_nothing_up() -> None:
    assert count(HOUR, 60, 1, [one()], 10) == Minutes(0, 0, 60)


def test_what_found_no_machine_was_not_delivered() -> None:
    assert count(HOUR, 60, 4, [one((0, True), qty=2)], 10) == Minutes(30, 0, 30)


def test_what_does_not_divide_counts_as_undelivered() -> None:
    shares = [one((0, True), qty=1), one((0, True), qty=1), one((1, True), qty=1)]

    assert count(HOUR, 60, 3, shares, 0) == Minutes(59, 0, 1)


def test_more_gpus_on_machines_than_the_title_has_is_a_fault_of_ours() -> None:
    with pytest.raises(AssertionError, match="more GPUs"):
        count(HOUR, 60, 1, [one((0, True), qty=2)], 10)


checks = st.lists(st.tuples(st.integers(-100, 70 * 60), st.booleans()), max_size=8).map(
    lambda found: [Checked(START + second * 1_000, works) for second, works in sorted(found)]
)


@given(
    sold=st.integers(1, 60),
    shares=st.lists(st.builds(Share, st.integers(1, 3), checks, st.booleans()), max_size=4),
    spare=st.integers(0, 2),
    setup=st.integers(0, 20),
)
def test_minutes_add_up_whatever_happens(sold: int, shares: list[Share], spare: int, setup: int) -> None:
    qty = sum(share.qty for share in shares) + spare
    if qty == 0:
        return
    found = count(HOUR, sold, qty, shares, setup)

    assert sum(found) == sold
    assert min(found) >= 0
    assert found.allowance <= setup
    if sold < 60:
        assert found.allowance <= sold // 3


@given(share=st.builds(Share, st.just(1), checks, st.booleans()), setup=st.integers(0, 20))
def test_delivered_minutes_are_those_that_somebody_who_asks_each_minute_would_count(share: Share, setup: int) -> None:
    def works_before(moment: int) -> bool:
        earlier = [check for check in share.checks if check.time_ms < moment]
        return bool(earlier) and earlier[-1].works

    counted = sum(works_before(at(minute + 1)) for minute in range(60))

    assert count(HOUR, 60, 1, [share], setup).delivered == counted
