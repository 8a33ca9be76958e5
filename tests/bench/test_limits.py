"""What becomes of an attack's figures: every bound that does not hold is named, and the page keeps what people wrote."""

import pytest

from bench.document import with_section
from bench.full_shard import Fact
from bench.limits import ATTACKS, Came
from bench.member import Seen, at
from bench.usage import MIB

STEADY = Seen(orders=100, refused={}, order=[5.0] * 100, told=[6.0] * 100, left_out=0, newcomer=[2.0], waiting=0)
FLOODED = {"sent": 9_000, "201": 400, "429 with Retry-After": 8_600}


def came(
    *, name: str = "flood-64", alone: Seen = STEADY, under: Seen = STEADY, memory=(90, 95, 96), got=FLOODED
) -> Came:
    (attack,) = [each for each in ATTACKS if each.name == name]
    before, height, again = (size * MIB for size in memory)
    return Came(attack, alone, under, {"gateway": (before, height, again), "market_data": (MIB, MIB, MIB)}, got)


def seen(**other: object) -> Seen:
    return Seen(**{name: other.get(name, getattr(STEADY, name)) for name in STEADY.__struct_fields__})


def test_whoever_is_served_as_before_misses_nothing() -> None:
    assert came().missed() == []


def test_a_slow_hundredth_counts_and_a_slower_thousandth_does_not() -> None:
    """p99: three times what it was alone, or 50 ms."""
    assert came(under=seen(order=[5.0] * 98 + [51.0] * 2)).missed() == ["p99 of orders 51 ms, allowed 50"]
    assert came(alone=seen(order=[20.0] * 100), under=seen(order=[5.0] * 98 + [60.0] * 2)).missed() == []
    assert came(under=seen(order=sorted([5.0] * 999 + [900.0]))).missed() == []
    assert came(under=seen(told=[70.0] * 100)).missed() == ["p99 of the feed 70 ms, allowed 50"]


@pytest.mark.parametrize(
    ("under", "fault"),
    [
        ({"refused": {"503": 2}}, "refused: {'503': 2}"),
        ({"left_out": 3}, "the feed left out 3"),
        ({"newcomer": [2.0, 28_300.0]}, "a newcomer waited 28.3 s"),
        ({"waiting": 5}, "5 newcomers have no answer"),
    ],
    ids=lambda value: next(iter(value)) if isinstance(value, dict) else "",
)
def test_each_kind_of_bad_service_is_named(under: dict[str, object], fault: str) -> None:
    assert came(under=seen(**under)).missed() == [fault]


def test_memory_may_be_kept_and_may_not_be_lost() -> None:
    """What an allocator keeps, the same attack uses again."""
    assert came(memory=(90, 154, 170)).missed() == []
    assert came(memory=(90, 155, 155)).missed() == ["gateway grew by 65 MiB"]
    assert came(memory=(90, 120, 137)).missed() == ["gateway grew by 17 MiB the second time"]


def test_an_attacker_who_is_not_stopped_is_a_fault() -> None:
    assert came(got={"sent": 9_000, "201": 9_000}).missed() == ["never refused"]
    assert came(got={**FLOODED, "500": 1}).missed() == ["answered ['500']"]
    readers = {"readers": 10, "cut_off": 9, "left": 1}
    assert came(name="stubborn", got=readers).missed() == ["9 of 10 were cut off"]


def test_a_fact_is_judged_by_its_bound_or_only_told() -> None:
    facts = [Fact("told", 7, "s"), Fact("held", 30, "s", 30), Fact("broken", 31.5, "s", 30, ", of 2")]
    assert [fact.missed() for fact in facts] == [[], [], ["31.5 s, allowed 30.0"]]
    assert [fact.row() for fact in facts] == [
        "| told | – | 7.0 s | – |",
        "| held | ≤ 30.0 s | 30.0 s | reached |",
        "| broken | ≤ 30.0 s | 31.5 s, of 2 | **missed** |",
    ]


def test_of_few_times_the_last_hundredth_is_the_longest() -> None:
    assert at([1.0, 2.0, 3.0], 0.99) == 3.0
    assert at([float(number) for number in range(200)], 0.99) == 198.0
    assert at([4.0], 0.5) == 4.0


PAGE = "# Page\n\nBy people.\n\n## Measured\n\nold\n\n### part\n\n| x |\n\n## After\n\nBy people, too.\n"


def test_a_section_is_replaced_and_its_neighbours_stay() -> None:
    assert (
        with_section(PAGE, "Measured", "new \\1\n")
        == "# Page\n\nBy people.\n\n## Measured\n\nnew \\1\n\n## After\n\nBy people, too.\n"
    )
    again = with_section(PAGE, "Measured", "new")
    assert with_section(again, "Measured", "new") == again


def test_the_last_section_ends_with_the_page_and_a_missing_one_is_put_there() -> None:
    assert with_section("# Page\n\n## Last\n\nold\n", "Last", "new") == "# Page\n\n## Last\n\nnew\n"
    assert with_section("# Page\n", "Last", "new") == "# Page\n\n## Last\n\nnew\n"
