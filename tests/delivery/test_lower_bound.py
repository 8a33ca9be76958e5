"""The bound that ours is measured against: what it counts, and what it must not."""

from bench.lower_bound import Owed, least_handovers, runs

ROOMS = [(1, 4, ()), (2, 4, ())]


def owed(*lines: tuple[int, int, int, int, int]) -> list[Owed]:
    """(hour, obligor, holder, lots, cost)."""
    return [(hour, number, *rest) for number, (hour, *rest) in enumerate(lines)]


def test_who_changes_his_obligor_moves_unless_somebody_could_change_with_him() -> None:
    alone = owed((5, 1, 11, 2, 100), (6, 2, 11, 2, 100))
    assert least_handovers(1, ROOMS, alone, {}) == 2
    equal = [*alone, (6, 9, 1, 12, 1, 100)]
    assert least_handovers(1, ROOMS, equal, {}) == 1
    dearer = [*alone, (6, 9, 1, 12, 1, 110)]
    assert least_handovers(1, ROOMS, dearer, {}) == 2
    assert least_handovers(1, ROOMS, dearer, {(2, 6): 9}) == 2
    assert least_handovers(1, ROOMS, dearer, {(2, 6): 10}) == 1


def test_whoever_sits_on_machines_that_go_moves() -> None:
    stays = owed((5, 1, 11, 2, 100), (6, 1, 11, 2, 100))
    assert least_handovers(1, [(1, 2, ()), (1, 2, ((6, 7),))], stays, {}) == 0
    assert least_handovers(1, [(1, 2, ((5, 6),)), (1, 2, ((6, 7),))], stays, {}) == 2


def test_what_has_no_seat_does_not_move() -> None:
    assert least_handovers(1, [(1, 1, ()), (2, 1, ())], owed((5, 1, 11, 2, 100), (6, 2, 11, 2, 100)), {}) == 1


def test_several_hours_together_know_what_single_boundaries_do_not() -> None:
    """Holder 11 begins with one and ends with two; between, either could be his host. So he moves once, nobody knows when."""
    titles = owed((5, 1, 11, 1, 100), (6, 1, 11, 1, 100), (6, 2, 12, 1, 100), (7, 2, 11, 1, 100))
    assert least_handovers(1, ROOMS, titles, {}) == 0
    assert least_handovers(1, ROOMS, titles, {}, window=2) == 1


def test_hours_that_do_not_follow_each_other_are_looked_at_apart() -> None:
    assert list(runs([1, 2, 5, 7, 8])) == [[1, 2], [5], [7, 8]]
    assert least_handovers(1, ROOMS, owed((5, 1, 11, 2, 100), (7, 2, 11, 2, 100)), {}, window=3) == 0
