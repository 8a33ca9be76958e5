"""One engine with a bug: the other one contradicts it on some random day, and the trace of that is a few commands long.

The bugs are planted in the naive engine, because this room knows nothing of the inside of the other one.
"""

import itertools

import pytest

from schemas.commands import Side
from schemas.units import bid_hold
from tests.reference import bugs, naive_matching, naive_orders, naive_settlement, naive_shard, naive_time, naive_titles
from tests.reference.bugs import Bug
from tests.reference.days import day_of
from tests.reference.duel import Disagreement, disagreement, smallest_disagreement
from tests.reference.moods import MOODS
from tests.reference.naive_shard import Order, Shard
from tests.reference.naive_titles import Title, Titles

DAYS_MAX = 100


def worse_asks_first(order: Order) -> tuple[int, int]:
    return -order.price, order.arrival


def youngest_first(order: Order) -> tuple[int, int]:
    return order.price, -order.arrival


def fee_rounded_down(amount: int, rate: int) -> int:
    return amount * rate // 10_000


def hold_of_the_whole_order(shard: Shard, order: Order) -> int:
    """As it was at acceptance: not recomputed after a fill."""
    rate = max(order.maker_bp, order.taker_bp)
    return bid_hold(order.price, order.qty, shard.rules(order.contract).lot, rate)


def nothing_is_released(titles: Titles, title: Title, buyer: int, seller: int, net: int, fees: int) -> int:
    """A resale whose whole price waits for delivery, with the right claims on it."""
    title.escrow += net + fees
    title.gain(seller, net)
    title.lose(seller, title.cost)
    title.cost = net + fees
    title.fees += fees
    title.holder = buyer
    titles.holding.remove(title)
    titles.holding.append(title)
    return 0


def last_in_first_out(titles: Titles, account: int) -> list[Title]:
    return [title for title in reversed(titles.holding) if title.holder == account]


def pieces_round_up(amount: int, done: int, k: int, total: int) -> int:
    """They still add up to the amount."""
    return -(-amount * (done + k) // total) + -amount * done // total


def asks_are_cut_from_the_best(shard: Shard, account: int, number: int) -> None:
    while shard.open_asks(account, number) > shard.capacity(account, number):
        shard.remove(shard.asks_of(account, number)[0], naive_shard.Reason.BACKING_LOWERED)


def one_account_is_one_owner(_: Shard, one: int, two: int) -> bool:
    return one == two


def nobody_is_covered(*_: object) -> None:
    """Raising DECLARED leaves promises as they are."""


def backing_outlives_the_gate(shard: Shard, contract: naive_shard.Contract) -> None:
    for order in contract.resting:
        shard.remove(order, naive_time.Reason.GATE_CLOSED)
    contract.gate_open = False
    shard.events.append(naive_time.ev.GateClosed(contract.number))


def asks_before_bids(contract: naive_shard.Contract) -> list[Order]:
    return [*contract.books[Side.SELL], *contract.books[Side.BUY]]


OF_BOTH_VERSIONS = {
    "price priority": Bug(naive_shard, "ask_rank", worse_asks_first, "one book", 3),
    "time priority": Bug(naive_shard, "ask_rank", youngest_first, "one book", 3),
    "fee rounding": Bug(naive_matching, "fee", fee_rounded_down, "one book", 2),
    "hold recomputation": Bug(Shard, "hold", hold_of_the_whole_order, "one book", 2),
    "release on resale": Bug(Titles, "_resell", nothing_is_released, "one book", 4),
    "promises are bought back first": Bug(naive_titles, "CLOSING", naive_titles.FORWARD, "one book", 7),
    "declared machines are sold first": Bug(naive_titles, "FORWARD", naive_titles.CLOSING, "one book", 5),
    "pieces round down": Bug(naive_titles, "portion", pieces_round_up, "one book", 6),
    "first in, first out": Bug(Titles, "held_by", last_in_first_out, "one book", 6),
    "self-trade by owner": Bug(Shard, "same_owner", one_account_is_one_owner, "one book", 2),
    "raising DECLARED covers": Bug(naive_settlement, "_cover", nobody_is_covered, "one book", 4),
    "worst asks are cut first": Bug(Shard, "cut_asks", asks_are_cut_from_the_best, "one book", 3),
    "the gate ends backing": Bug(naive_time, "_close_gate", backing_outlives_the_gate, "one book", 1),
    "the gate ends bids first": Bug(naive_shard.Contract, "resting", property(asks_before_bids), "one book", 3),
    "client ids for 15 minutes": Bug(naive_orders, "CLIENT_ID_MS", 900_001, "one book", 3),
    "ten minutes ahead": Bug(naive_orders, "VALID_MS_MAX", 599_999, "one book", 1),
    "hours end before gates close": Bug(naive_time, "HOUR_ENDED", 9, "one book", 1),
}
BUGS = {**OF_BOTH_VERSIONS, **bugs.BUGS}


@pytest.mark.parametrize("bug", BUGS.values(), ids=BUGS)
def test_a_planted_bug_is_found_and_told_in_a_few_commands(bug: Bug, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(bug.where, bug.name, bug.instead)

    found = first_disagreement(bug.mood)

    print(found)
    assert found.commands <= bug.commands_max


def first_disagreement(mood: str) -> Disagreement:
    """Of the random days that are the same for ever, those in a mood."""
    for number in itertools.count(start=[*MOODS].index(mood), step=len(MOODS)):
        assert number < DAYS_MAX * len(MOODS), "no day shows the bug"
        flow, setting = day_of("fixed", number)
        if disagreement(flow, setting) is not None:
            return smallest_disagreement(flow, setting)
    raise AssertionError
