"""Two engines, written by different people from one set of rules, say the same about whatever Hypothesis thinks up.

HOURBOOK_SEED=7 pytest tests/reference/test_differential.py     the same flows again
"""

import hypothesis
import pytest
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st

from tests.reference import naive_matching
from tests.reference.duel import Disagreement, disagreement, smallest_disagreement
from tests.reference.flow import FrameIntent, draw_intent
from tests.reference.memory import Setting
from tests.reference.menus import STEPS_MS
from tests.reference.moods import MOODS, Mood

EXAMPLES = 300
_menus: dict[int, st.SearchStrategy] = {}


def _choice(menu) -> st.SearchStrategy:
    """Made once per menu: making them takes Hypothesis as long as drawing from them."""
    return _menus.setdefault(id(menu), st.sampled_from(menu))


@st.composite
def _intents(draw, mood: Mood):
    return draw_intent(lambda menu: menu[0] if len(menu) == 1 else draw(_choice(menu)), mood)


def _frames(mood: Mood) -> st.SearchStrategy:
    return st.builds(FrameIntent, st.sampled_from(STEPS_MS), st.lists(_intents(mood), min_size=1, max_size=6))


_settings = st.builds(
    Setting,
    shard=st.sampled_from([0, 255]),
    rate=st.sampled_from([1, 60]),
    version=st.sampled_from([2, 2, 2, 1]),
    retries_max=st.sampled_from([64, 1]),
)
_flows = st.sampled_from([*MOODS.values()]).flatmap(lambda mood: st.lists(_frames(mood), min_size=1, max_size=10))


@settings(
    max_examples=EXAMPLES,
    phases=[Phase.generate],  # tests/reference/shrink.py shrinks
    database=None,
    deadline=None,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large],
)
@given(flow=_flows, setting=_settings)
def the_engines_agree(flow, setting):
    if disagreement(flow, setting) is not None:
        raise smallest_disagreement(flow, setting)


def test_the_engines_agree_whatever_is_asked_of_them(seed: int) -> None:
    """Events byte for byte, and every view of the state after every record."""
    hypothesis.seed(seed)(the_engines_agree)()


def test_they_disagree_when_one_of_them_rounds_fees_down(monkeypatch: pytest.MonkeyPatch) -> None:
    """The test above is able to fail, and tells the failure in two commands."""
    monkeypatch.setattr(naive_matching, "fee", lambda amount, rate: amount * rate // 10_000)

    with pytest.raises(Disagreement) as failure:
        hypothesis.seed(1)(the_engines_agree)()

    assert failure.value.commands == 2
    told = str(failure.value)
    assert " bids 1 × TINY." in told
    assert " offers 1 × TINY." in told
    assert "  engine  Filled(" in told
    assert "  rules   Filled(" in told
