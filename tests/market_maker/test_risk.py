"""What the desk is worth, and when a limit is reached."""

from __future__ import annotations

from msgspec.structs import replace

from services.market_maker.risk import (
    Day,
    Exposure,
    day_of,
    dump_day,
    equity,
    load_day,
    loss_reached,
    open_promises,
    promises_reached,
)
from tests.market_maker.market import LIMITS

MARKS = {"C": 3_000_000}


def test_a_short_sale_is_worth_what_it_brings_less_what_covering_costs() -> None:
    """Sold two at 3.17, net 3.15415 each, to be replaced at 3.00."""
    sold = Exposure("C", held=0, exposed=2, proceeds=6_308_300)
    assert equity(100_000_000, [sold], MARKS, LIMITS) == 100_308_300


def test_a_covered_sale_costs_nothing_more() -> None:
    """Its machines were paid for out of the cash."""
    covered = Exposure("C", held=0, exposed=0, proceeds=6_308_300)
    assert equity(94_000_000, [covered], MARKS, LIMITS) == 100_308_300


def test_what_is_held_counts_a_spread_below_what_replacing_it_costs() -> None:
    held = Exposure("C", held=2, exposed=0, proceeds=0)
    assert equity(94_300_000, [held], MARKS, LIMITS) == 94_300_000 + 2 * 2_850_000


def test_the_loss_of_the_day_is_reached_at_its_limit() -> None:
    limits = replace(LIMITS, loss_per_day_micros=5_000_000)
    begin = Day(20_000, 100_000_000)
    assert loss_reached(begin, 95_000_001, limits) == ""
    assert loss_reached(begin, 95_000_000, limits).startswith("loss of the day: 5.00 USD, allowed are 5.00")


def test_open_promises_are_counted_over_all_contracts() -> None:
    sold = [Exposure("C", 0, 15, 0), Exposure("D", 0, 5, 0), Exposure("D", 7, 0, 0)]
    limits = replace(LIMITS, gpu_hours_max=20)
    assert open_promises(sold) == 20
    assert promises_reached(19, limits) == ""
    assert promises_reached(20, limits) == "open promises: 20 GPU-hours, allowed are 20"


def test_the_day_s_beginning_survives_in_its_file_and_nonsense_there_is_no_day() -> None:
    day = Day(day_of(1_790_000_000_000), -5)
    assert load_day(dump_day(day)) == day
    assert load_day(b"") is None
    assert load_day(b'{"day": "today"}') is None
    assert load_day(b'{"\xff": 1}') is None
    assert load_day(b'{"day":' * 9_999) is None
