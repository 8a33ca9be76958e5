"""`python -m tests.reference`: its last line, and what it does when the engines differ."""

import pytest

from tests.reference import __main__ as many_days
from tests.reference import naive_matching


def test_the_last_line_says_what_was_played_and_that_there_was_no_difference(
    capsys: pytest.CaptureFixture[str],
) -> None:
    assert many_days.fight(operations=500, seed=7, first_day=0) == 0

    last = capsys.readouterr().out.splitlines()[-1].split()
    assert last[:2] == ["seed", "7:"]
    assert int(last[2]) >= 500
    assert last[3:5] == ["operations", "in"]
    assert last[-2:] == ["no", "difference"]


def test_a_difference_ends_it_with_the_day_and_a_short_trace(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(naive_matching, "fee", lambda amount, rate: amount * rate // 10_000)

    assert many_days.fight(operations=10_000, seed=7, first_day=0) == 1

    said = capsys.readouterr()
    assert said.out.splitlines()[-1].startswith("seed 7: the engines differ on day ")
    assert "  rules   Filled(" in said.err
