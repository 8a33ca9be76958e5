"""When a source is asked again: pauses that double, a breaker that opens, one trial, and back."""

from __future__ import annotations

import pytest

from services.supply.circuit import COOL_DOWN_MS, FAILURES_MAX, RETRY_AFTER_MS_MAX, Circuit

MIDDLE = 0.5
"""A chance that neither shortens nor lengthens."""


def story(poll_ms: int, answers: str) -> list[tuple[str, int]]:
    """One answer a letter, + or -: the state after it, and the pause until the next."""
    circuit = Circuit(poll_ms)
    told = []
    for answer in answers:
        circuit.ask()
        pause_ms = circuit.succeeded(MIDDLE) if answer == "+" else circuit.failed(MIDDLE)
        told.append((circuit.state, pause_ms))
    return told


def test_pauses_double_after_errors_until_the_circuit_opens_and_one_good_trial_closes_it() -> None:
    assert story(1_000, "+-----" + "-+" + "-") == [
        ("closed", 1_000),
        ("closed", 1_000),
        ("closed", 2_000),
        ("closed", 4_000),
        ("closed", 8_000),
        ("open", COOL_DOWN_MS),
        ("open", COOL_DOWN_MS),
        ("closed", 1_000),
        ("closed", 1_000),
    ]


def test_an_open_circuit_is_half_open_while_its_trial_is_under_way() -> None:
    circuit = Circuit(1_000)
    states = []
    for _ in range(FAILURES_MAX):
        circuit.ask()
        states.append(circuit.state)
        circuit.failed(MIDDLE)
    circuit.ask()
    assert [*states, circuit.state] == ["closed"] * FAILURES_MAX + ["half-open"]


def test_a_source_that_is_asked_seldom_anyway_is_not_asked_more_often_for_failing() -> None:
    assert [pause for _, pause in story(600_000, "------")] == [600_000] * 6


def test_a_good_answer_in_between_forgets_the_errors_before() -> None:
    assert story(1_000, "----+----")[-1] == ("closed", 8_000)


@pytest.mark.parametrize(("wanted_ms", "pause_ms"), [(0, 1_000), (90_000, 90_000), (10**9, RETRY_AFTER_MS_MAX)])
def test_a_pause_that_the_server_asks_for_is_kept_within_reason(wanted_ms: int, pause_ms: int) -> None:
    assert Circuit(1_000).failed(MIDDLE, wanted_ms) == pause_ms


def test_chance_moves_every_pause_by_a_tenth_at_most() -> None:
    pauses = [(Circuit(1_000).succeeded(chance), Circuit(1_000).failed(chance)) for chance in (0.0, MIDDLE, 0.9999)]
    assert pauses == [(900, 900), (1_000, 1_000), (1_099, 1_099)]


def test_the_pause_has_a_bound_however_long_the_source_is_away() -> None:
    assert story(100, "-" * 5_000)[-1] == ("open", COOL_DOWN_MS)
