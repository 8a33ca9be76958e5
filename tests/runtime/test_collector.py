"""Garbage is collected between two batches: soon when idle, seldom when busy, and never by itself."""

import gc
import weakref
from collections.abc import Iterator

import pytest

from services.runtime import collector
from services.runtime.collector import ALL_S, NEW_MAX, YOUNG_S, Collector


class Cycle:
    """Refers to itself: only a collection frees it."""

    def __init__(self) -> None:
        self.myself = self


class Clock:
    def __init__(self) -> None:
        self.now_s = 1_000.0

    def monotonic(self) -> float:
        return self.now_s


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Iterator[Clock]:
    clock = Clock()
    monkeypatch.setattr(collector, "time", clock)
    yield clock
    gc.unfreeze()
    gc.enable()


def garbage() -> weakref.ref[Cycle]:
    return weakref.ref(Cycle())


@pytest.mark.usefixtures("clock")
def test_nothing_is_collected_by_itself() -> None:
    """However many objects a batch makes."""
    Collector()
    left = garbage()
    made = [[] for _ in range(100_000)]
    assert len(made) == 100_000
    assert left() is not None
    assert not gc.isenabled()


def test_young_garbage_goes_once_a_second_while_nobody_waits(clock: Clock) -> None:
    kept = Collector()
    left = garbage()
    clock.now_s += YOUNG_S / 2
    kept.turn(busy=False)
    assert left() is not None
    clock.now_s += YOUNG_S / 2
    kept.turn(busy=False)
    assert left() is None


def test_young_garbage_goes_once_a_minute_while_there_is_always_something_to_do(clock: Clock) -> None:
    """Bounds what errors leave behind under a load that never ends."""
    kept = Collector()
    left = garbage()
    for _ in range(59):
        clock.now_s += ALL_S / 60
        kept.turn(busy=True)
    assert left() is not None
    clock.now_s += ALL_S / 60
    kept.turn(busy=True)
    assert left() is None


def test_old_garbage_goes_once_a_minute_and_what_was_loaded_is_not_walked(clock: Clock) -> None:
    kept = Collector()
    loaded = Cycle()
    kept.freeze()
    assert gc.get_freeze_count() > 0
    old = Cycle()
    for _ in range(3):
        clock.now_s += YOUNG_S
        kept.turn(busy=False)  # it survives, and is old
    left = weakref.ref(old)
    del old
    clock.now_s += YOUNG_S
    kept.turn(busy=False)
    assert left() is not None
    clock.now_s += ALL_S
    kept.turn(busy=False)
    assert left() is None
    assert loaded.myself is loaded


def test_a_large_state_without_cycles_is_walked_once_and_then_never_again(clock: Clock) -> None:
    """A million orders take 0.6 s to walk, in which the market would stand still every quiet minute."""
    kept, growing = Collector(settles=True), Collector()
    kept.freeze()
    orders = [[] for _ in range(100_000)]
    clock.now_s += ALL_S
    growing.turn(busy=False)
    assert walked() > len(orders)
    kept.turn(busy=False)
    assert walked() < len(orders)
    left = garbage()
    clock.now_s += ALL_S
    kept.turn(busy=False)
    assert left() is None, "what came later is looked at as before"


@pytest.mark.usefixtures("clock")
def test_no_look_at_such_a_state_is_long_however_fast_it_grows() -> None:
    """In the middle of a load that never ends: a million orders that came in it were looked at in one second and a half."""
    kept, growing = Collector(settles=True), Collector()
    kept.freeze()
    orders = list[list[int]]()
    for _ in range(10):
        orders += [[] for _ in range(NEW_MAX // 2)]
        growing.turn(busy=True)
        assert walked() > NEW_MAX // 4, "where nothing settles it waits for a quiet moment"
        kept.turn(busy=True)
        assert walked() < 1.5 * NEW_MAX
    assert len(orders) == 5 * NEW_MAX


def test_what_young_looks_have_passed_over_counts_as_new(clock: Clock) -> None:
    """A load with a quiet moment in every second: its orders were moved out of sight of the count, and looked at in one go."""
    kept = Collector(settles=True)
    kept.freeze()
    orders = list[list[int]]()
    for _ in range(20):
        orders += [[] for _ in range(NEW_MAX // 4)]
        clock.now_s += YOUNG_S
        kept.turn(busy=False)
        assert walked() < 1.5 * NEW_MAX
    assert len(orders) == 5 * NEW_MAX


def walked() -> int:
    """How many objects a look at everything would walk."""
    return len(gc.get_objects())
