"""Whatever is sold on whatever machines: every rule is kept, the order of listing says nothing, and few have to move."""

from random import Random

from hypothesis import example, given, settings
from msgspec.structs import replace

from bench.lower_bound import least_handovers
from bench.titles import markets
from services.delivery.assignment import assign, handovers
from services.delivery.fleet import Fleet, Machine, Title
from tests.delivery.checker import check, forced
from tests.delivery.exact import least
from tests.delivery.worlds import large, seeds, small


def moved(fleet: Fleet, titles: list[Title]) -> int:
    assigned = assign(fleet, titles)
    check(fleet, titles, assigned)
    return sum(one.lots for one in handovers(assigned))


def bound(fleet: Fleet, titles: list[Title], window: int = 1) -> int:
    rooms = [(one.obligor, one.gpus // fleet.lot, one.out) for one in fleet.machines]
    owed = [(one.hour, one.number, one.obligor, one.holder, one.qty // fleet.lot, one.cost) for one in titles]
    return least_handovers(fleet.lot, rooms, owed, fleet.cover, window)


@given(seeds)
def test_every_rule_is_kept(seed: int) -> None:
    moved(*large(Random(seed)))


@given(seeds)
def test_the_order_in_which_things_are_listed_says_nothing(seed: int) -> None:
    draw = Random(seed)
    fleet, titles = large(draw)
    cover = list(fleet.cover.items())
    draw.shuffle(cover)
    machines = [replace(one, out=one.out[::-1]) for one in draw.sample(fleet.machines, len(fleet.machines))]
    mixed = Fleet(fleet.lot, tuple(machines), dict(cover))
    assert assign(mixed, draw.sample(titles, len(titles))) == assign(fleet, titles)


@given(seeds)
def test_what_is_fixed_stays_whatever_is_sold_and_fails_afterwards(seed: int) -> None:
    draw = Random(seed)
    fleet, titles = large(draw)
    until = draw.randint(0, 12)
    first = [title for title in titles if title.hour < until or draw.random() < 0.7]
    assigned = assign(fleet, first)
    fixed = [slot for hour, slots in assigned.slots.items() if hour < until for slot in slots if draw.random() < 0.9]
    machines = tuple(
        replace(one, out=(*one.out, (until - 1, 20))) if draw.random() < 0.2 else one for one in fleet.machines
    )
    after = Fleet(fleet.lot, machines, fleet.cover)
    again = assign(after, titles, draw.sample(fixed, len(fixed)))
    check(after, titles, again, fixed)


@given(seeds)
def test_all_of_an_assignment_fixed_gives_it_again(seed: int) -> None:
    fleet, titles = large(Random(seed))
    assigned = assign(fleet, titles)
    assert assign(fleet, titles, [slot for slots in assigned.slots.values() for slot in slots]).slots == assigned.slots


@given(seeds)
def test_without_exchanges_and_outages_only_purchases_make_anybody_move(seed: int) -> None:
    fleet, titles = large(Random(seed), exchanges=False, outs=False)
    if assign(fleet, titles).unplaced:
        return
    assert moved(fleet, titles) == forced(titles, fleet.lot)


@given(seeds)
@example(347)
@example(1751)
def test_exchanges_never_make_more_move(seed: int) -> None:
    """The examples: sweeps that see ahead hopefully, and would have been worse than no exchange."""
    fleet, titles = large(Random(seed), outs=False)
    if assign(fleet, titles).unplaced:
        return
    assert moved(fleet, titles) <= forced(titles, fleet.lot)


@settings(max_examples=25)
@given(seeds)
def test_the_bound_is_below_all_possible_assignments_and_ours_is_little_above(seed: int) -> None:
    fleet, titles = small(Random(seed))
    if not titles:
        return
    fewest = least(fleet, titles)
    assert bound(fleet, titles) <= bound(fleet, titles, window=4) <= fewest <= moved(fleet, titles) <= fewest + 2


def test_on_small_markets_ours_is_within_a_tenth_of_the_fewest_possible() -> None:
    """The same two hundred markets each time."""
    worlds = [world for seed in range(200) if (world := small(Random(seed)))[1]]
    ours, fewest = sum(moved(*world) for world in worlds), sum(least(*world) for world in worlds)
    assert 30 < fewest <= ours <= fewest * 11 // 10


def test_a_market_of_two_days_is_within_a_fiftieth_of_the_bound() -> None:
    """The bench, small: the bound is that of single boundaries, and only equal costs are exchanged."""
    ours = fewest = 0
    for market in markets(1, machines=400, hours=48, positions=800, obligors=24):
        fleet = replace(market.fleet, cover={})
        ours += moved(fleet, market.titles)
        fewest += bound(fleet, market.titles)
    assert 5_000 < fewest <= ours <= fewest * 51 // 50


def test_the_search_for_the_fewest_finds_the_exchange() -> None:
    """Else what is compared with it would show nothing."""
    titles = [Title(5, 1, 1, 11, 1, 100), Title(6, 2, 2, 11, 1, 110), Title(6, 3, 1, 12, 1, 110)]
    fleet = Fleet(1, (Machine(1, 1, 1), Machine(2, 2, 1)))
    assert least(fleet, titles) == 0
    assert least(fleet, [*titles[:2], replace(titles[2], cost=111)]) == 1
