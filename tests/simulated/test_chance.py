"""Draws that follow from a seed: the same again, whoever draws beside."""

from collections import Counter

from services.simulated.chance import Dice, drawn
from services.simulated.purse import SHARE_BP, Purse

HOUR_MS = 3_600_000


def test_a_seed_is_a_stream_of_its_own() -> None:
    """Two members with one seed each: what the one draws does not move the other."""
    alone = [Dice("7/ana").below(1_000) for _ in range(1)]
    ana, bert = Dice("7/ana"), Dice("7/bert")
    beside = []
    for _ in range(5):
        beside.append(ana.below(1_000))
        bert.below(6)

    again = Dice("7/ana")
    assert [again.below(1_000) for _ in range(5)] == beside
    assert beside[:1] == alone
    assert len({Dice(f"{seed}/ana").below(1 << 60) for seed in range(100)}) == 100


def test_draws_keep_within_their_bounds_and_reach_all_of_them() -> None:
    dice = Dice("bounds")

    assert {dice.below(6) for _ in range(200)} == set(range(6))
    assert {dice.between(-2, 2) for _ in range(200)} == {-2, -1, 0, 1, 2}
    assert {dice.pick("abc") for _ in range(100)} == set("abc")
    near = [dice.near(10) for _ in range(1_000)]
    assert set(near) == set(range(10))
    assert sum(place < 5 for place in near) > 650


def test_weights_are_what_they_say() -> None:
    dice = Dice("weights")
    found = Counter(dice.weighed({"often": 9, "seldom": 1, "never": 0}) for _ in range(2_000))

    assert set(found) == {"often", "seldom"}
    assert 120 < found["seldom"] < 290


def test_a_draw_by_its_name_is_always_the_same() -> None:
    """Also in another process, of another version of Python: a restarted cloud says the same of an hour."""
    assert drawn("1", "H100.SXM.80.US.20261126T19-USD", "faulty") == 16_149_901_459_207_087_462
    assert drawn("1", "a") != drawn("1", "b") != drawn("2", "b")


def test_money_lasts_for_days() -> None:
    """Whoever buys all that his purse allows, every second for three days, has two thirds left."""
    money, purse = 2_000_000_000_000, Purse()
    for second in range(0, 3 * 86_400, 20):
        now_ms = second * 1_000
        purse.weigh(money, now_ms)
        spent = purse.available(now_ms)
        purse.spend(spent)
        money -= spent

    assert 0.66 < money / 2_000_000_000_000 < 0.72


def test_what_is_not_spent_waits_for_an_hour_and_no_longer() -> None:
    purse = Purse()
    assert purse.available(5) == 0
    purse.weigh(1_000_000, 0)
    hourly = 1_000_000 * SHARE_BP // 10_000

    assert purse.available(0) == hourly // 2
    assert purse.available(10 * HOUR_MS) == hourly
    purse.spend(hourly + 1)
    assert purse.available(10 * HOUR_MS) == 0
    assert purse.available(10 * HOUR_MS + HOUR_MS // 2) == hourly // 2
    assert purse.available(9 * HOUR_MS) == hourly // 2  # a clock that is put back takes nothing
