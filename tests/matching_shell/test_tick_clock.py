"""A tick lets time pass to what the broker's clock is known to show, and never beyond."""

from services.matching.shell import TickClock


def test_it_learns_the_difference_between_two_clocks_from_below() -> None:
    """Records read late say less; the best one counts."""
    clock = TickClock()
    clock.saw(1_000_000, now_ms=5_000_400)
    assert clock.until_ms(5_001_400) == 1_001_000
    clock.saw(1_002_000, now_ms=5_002_010)
    assert clock.until_ms(5_003_010) == 1_003_000
    clock.saw(1_004_000, now_ms=5_004_900)
    assert clock.until_ms(5_005_000) == 1_004_990


def test_our_clock_jumping_ahead_moves_the_market_by_a_minute_at_most() -> None:
    clock = TickClock()
    clock.saw(1_000_000, now_ms=1_000_000)
    assert clock.until_ms(1_000_000 + 86_400_000) == 1_060_000


def test_our_clock_jumping_back_never_takes_time_back() -> None:
    clock = TickClock()
    clock.saw(1_000_000, now_ms=1_000_000)
    assert clock.until_ms(400_000) == 1_000_000


def test_a_record_read_after_a_long_pause_lets_nothing_pass_yet() -> None:
    """Its stamp is old; how old, only a new stamp can tell."""
    clock = TickClock()
    clock.saw(1_000_000, now_ms=90_000_000)
    assert clock.until_ms(90_000_000) == 1_000_000
    clock.saw(89_999_990, now_ms=90_000_000)
    assert clock.until_ms(90_001_000) == 90_000_990


def test_nothing_seen_nothing_known() -> None:
    assert TickClock().until_ms(90_000_000) == 0
