"""How often a key may ask: a bucket of tokens, and a clock that is the test's."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from services.gateway.limits import BURST, KEYS_MAX, RATE_PER_S, Limits, Verdict


def test_a_burst_empties_the_bucket_and_time_fills_it() -> None:
    """Four at once, then one every half second; what is refused costs nothing."""
    limits = Limits(rate_per_s=2, burst=4)

    assert [limits.take("ana", 0) for _ in range(5)] == [
        Verdict(remaining=3, wait_ms=0, full_ms=500),
        Verdict(remaining=2, wait_ms=0, full_ms=1_000),
        Verdict(remaining=1, wait_ms=0, full_ms=1_500),
        Verdict(remaining=0, wait_ms=0, full_ms=2_000),
        Verdict(remaining=0, wait_ms=500, full_ms=2_000),
    ]
    assert limits.take("ana", 499) == Verdict(remaining=0, wait_ms=1, full_ms=1_501)
    assert limits.take("ana", 500) == Verdict(remaining=0, wait_ms=0, full_ms=2_000)
    assert limits.take("ana", 60_000) == Verdict(remaining=3, wait_ms=0, full_ms=500)


def test_what_counts_as_many_is_taken_whole_or_not_at_all() -> None:
    limits = Limits(rate_per_s=2, burst=4)

    assert limits.take("ana", 0, 3) == Verdict(remaining=1, wait_ms=0, full_ms=1_500)
    assert limits.take("ana", 0, 3) == Verdict(remaining=1, wait_ms=1_000, full_ms=1_500)
    assert limits.take("ana", 0) == Verdict(remaining=0, wait_ms=0, full_ms=2_000)


def test_keys_do_not_share_a_bucket() -> None:
    limits = Limits(rate_per_s=1, burst=1)
    assert limits.take("ana", 0).wait_ms == 0
    assert limits.take("bert", 0).wait_ms == 0
    assert limits.take("ana", 0).wait_ms == 1_000


def test_a_clock_that_steps_back_neither_punishes_nor_rewards() -> None:
    limits = Limits(rate_per_s=1, burst=2)
    limits.take("ana", 10_000)
    assert limits.take("ana", 0) == Verdict(remaining=0, wait_ms=0, full_ms=2_000)
    assert limits.take("ana", 500).wait_ms == 500


@given(st.lists(st.integers(0, 3_000), min_size=1, max_size=200))
def test_no_more_than_the_policy_passes_in_any_second(pauses_ms: list[int]) -> None:
    """However requests are spread: in any span at most the burst and what the rate has filled meanwhile."""
    limits, now_ms, passed = Limits(rate_per_s=3, burst=5), 0, list[int]()
    for pause_ms in pauses_ms:
        now_ms += pause_ms
        if limits.take("ana", now_ms).wait_ms == 0:
            passed.append(now_ms)
    for first, start_ms in enumerate(passed):
        for count, end_ms in enumerate(passed[first:], start=1):
            assert count <= 5 + 3 * (end_ms - start_ms) / 1000


@given(st.integers(1, 500), st.integers(1, 500), st.integers(0, 600))
def test_whoever_waits_as_told_may_ask_again(rate_per_s: int, burst: int, asked: int) -> None:
    """`wait_ms` is neither too short nor a millisecond too long."""
    limits = Limits(rate_per_s, burst)
    for _ in range(burst + asked):
        limits.take("ana", 0)
    wait_ms = limits.take("ana", 0).wait_ms
    assert wait_ms > 0
    if wait_ms > 1:
        assert limits.take("ana", wait_ms - 1).wait_ms == 1
    assert limits.take("ana", wait_ms).wait_ms == 0


def test_who_asked_longest_ago_is_forgotten_first() -> None:
    """A bucket more than may be kept: memory is bounded, and whoever is forgotten starts with a full one."""
    limits = Limits(rate_per_s=1, burst=1)
    for number in range(KEYS_MAX):
        limits.take(f"key-{number}", 0)
    limits.take("key-0", 0)
    limits.take("one too many", 0)
    assert limits.take("key-0", 0).wait_ms == 1_000
    assert limits.take("key-1", 0).wait_ms == 0


def test_headers_show_the_policy_and_what_is_left_of_it() -> None:
    """As in draft-ietf-httpapi-ratelimit-headers: quota and window in seconds; remaining, and seconds until it is full."""
    limits = Limits()
    assert (limits.burst, limits.rate_per_s) == (BURST, RATE_PER_S) == (400, 200)
    assert limits.headers(None) == {"ratelimit-policy": '"key";q=400;w=2'}
    verdict = Verdict(remaining=150, wait_ms=0, full_ms=1_250)
    assert limits.headers(verdict) == {"ratelimit-policy": '"key";q=400;w=2', "ratelimit": '"key";r=150;t=2'}
