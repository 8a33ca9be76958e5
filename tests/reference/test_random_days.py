"""Long days in both engines, some of them the same for ever, some another time; together they must reach every rule.

HOURBOOK_SEED=7 pytest -s tests/reference/test_random_days.py     the same days again
python -m tests.reference --operations 1000000 --seed 7           many more of them
"""

import sys

import pytest

from schemas.events import Code
from tests.reference.coverage import ANSWERS, Tally
from tests.reference.days import day_of
from tests.reference.duel import disagreement, smallest_disagreement

FIXED, OF_CHANCE = 240, 20


@pytest.mark.timeout(400)  # twenty seconds, unless others want the machine as well
def test_random_days_are_the_same_in_both_engines_and_reach_every_rule(seed: int) -> None:
    """An answer, a reason or a feat that no day has seen is a hole in this test, and so a failure."""
    tally = Tally()
    for name, number in [("fixed", number) for number in range(FIXED)] + [
        (seed, number) for number in range(OF_CHANCE)
    ]:
        flow, setting = day_of(str(name), number)
        tally.begin()
        if disagreement(flow, setting, tally.hear) is not None:
            print(f"on day {number} of {name}: {setting}", file=sys.stderr)
            raise smallest_disagreement(flow, setting)

    print(f"{tally.flows} days, {tally.commands} commands, {tally.said.total()} events", file=sys.stderr)
    assert tally.commands > 50_000
    assert tally.missing() == []
    assert tally.surprises() == []
    assert min(tally.said.values()) >= 5, tally.said
    assert min(tally.reasons.values()) >= 20, tally.reasons


def test_every_answer_of_the_engine_belongs_to_some_command() -> None:
    """Codes that no table waits for would never be missed."""
    waited_for = {code for codes in ANSWERS.values() for code in codes}

    assert set(Code) - waited_for == {Code.TOO_MANY_ORDERS}  # more than a day's: tests/reference/test_bounds.py
