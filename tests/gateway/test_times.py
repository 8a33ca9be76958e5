"""Times at the edge: milliseconds and hours to ISO 8601 UTC and back."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta, timezone

import pytest
from hypothesis import given
from hypothesis import strategies as st

from schemas.edge import iso, iso_hour
from schemas.ids import HOUR_MASK
from schemas.market_clock import MarketClock
from services.gateway.errors import ApiError
from services.gateway.times import parse_hour
from services.gateway.values import moment

YEAR_2200_MS = 7_258_118_400_000


@given(st.integers(0, YEAR_2200_MS))
def test_no_millisecond_is_lost(time_ms: int) -> None:
    shown = iso(time_ms)
    assert shown.endswith("Z")
    assert round(datetime.fromisoformat(shown).timestamp() * 1000) == time_ms


@given(st.integers(0, YEAR_2200_MS // 3_600_000), st.integers(-14, 14))
def test_an_hour_is_the_same_in_every_time_zone(hour: int, offset: int) -> None:
    assert parse_hour(iso_hour(hour)) == hour
    elsewhere = datetime.fromtimestamp(hour * 3600, UTC).astimezone(timezone(timedelta(hours=offset)))
    assert parse_hour(elsewhere.isoformat()) == hour


@pytest.mark.parametrize(
    "text",
    [
        "", "tomorrow", "2026-11-22", "2026-11-22T14:00", "2026-11-22T14:30Z", "2026-11-22T14:00:01Z",
        "2026-11-22T14:00:00.5Z", "2026-13-01T00:00Z", "1969-12-31T23:00Z", "14:00Z", "494000", "2026-11-22T14:00+05:30",
        "0001-01-01T00:00+23:00", "\x00",
    ],
)  # fmt: skip
def test_only_whole_hours_with_a_time_zone_are_hours(text: str) -> None:
    with pytest.raises(ApiError) as refused:
        parse_hour(text)
    assert refused.value.code == "wrong_time"


@given(st.text(max_size=30))
def test_no_text_is_a_fault_of_ours(text: str) -> None:
    try:
        hour = parse_hour(text)
    except ApiError as error:
        hour, code = 0, error.code
    else:
        code = "wrong_time"
    assert hour >= 0
    assert code == "wrong_time"


@pytest.mark.parametrize("text", ["9999-12-31T23:59:59.9996Z", "9999-12-31T23:59:59-23:59", "9999-12-31T00:30-23:59"])
def test_no_moment_is_taken_that_cannot_be_told(text: str) -> None:
    """An order that expired in the year 10000 was accepted, answered with a fault, and so was each look at it from then on."""
    with pytest.raises(ApiError) as refused:
        moment(text)
    assert refused.value.code == "wrong_time"
    assert iso(moment("9999-12-31T23:59:59Z")) == "9999-12-31T23:59:59.000Z"


@pytest.mark.parametrize("text", ["9999-12-31T23:00Z", "9999-12-31T23:00-23:00", "3883-12-08T16:00Z"])
def test_no_hour_is_taken_that_no_contract_can_have(text: str) -> None:
    """Of the hours after it a preview could not write the names."""
    with pytest.raises(ApiError) as refused:
        parse_hour(text)
    assert refused.value.code == "wrong_time"
    assert parse_hour(iso_hour(HOUR_MASK)) == HOUR_MASK


def test_market_time_runs_at_its_rate_from_where_clocks_agree() -> None:
    clock = MarketClock(t0_ms=1_000_000, rate=60, sandbox=True)
    assert [clock.market_ms(now_ms) for now_ms in (1_000_000, 1_001_000, 1_060_000)] == [
        1_000_000,
        1_060_000,
        4_600_000,
    ]
    assert clock.hour(1_000_000 + 60_000) == 1
    assert MarketClock(5, 1, sandbox=False).market_ms(1_790_000_000_000) == 1_790_000_000_000
