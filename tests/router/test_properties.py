"""Rentals in random markets keep their limits, whatever the books do and whenever their owners change their minds."""

from __future__ import annotations

import os
import random

import msgspec
import pytest

from schemas.rentals_log import Terms
from schemas.units import MS_PER_MINUTE
from services.router.state import Rental
from tests.router import judge
from tests.router.place import ONE, TWO
from tests.router.room import ANA, Room, moment, terms

SEEDS = int(os.environ.get("HOURBOOK_SEEDS") or 60)
DAY_HOURS = 30


class Day:
    """A seed's market, and what happens in it."""

    def __init__(self, seed: int) -> None:
        self.chance = random.Random(f"rentals/{seed}")
        self.room = Room()
        self.widest: dict[int, Terms] = {}
        self.stops: dict[int, int] = {}
        self.again = 0

    def run(self) -> None:
        for hour in range(DAY_HOURS + 8):
            for class_id in (ONE, TWO):
                self._offer(hour, class_id)
        for number in range(4):
            wanted = self._terms()
            self.widest[number + 1] = wanted
            self.room.rent(wanted, ANA + number)
        now = moment(0, 20)
        while now < moment(DAY_HOURS):
            now += self.chance.randrange(20_000, 12 * MS_PER_MINUTE)
            self.room.pass_to(0, (now - moment(0)) / MS_PER_MINUTE)
            self._happen()
            for rental in list(self.room.state.live.values()):
                before = self.room.decide(rental)
                assert before == self.room.decide(rental), "the same in, the same out"
                self._settle(rental)

    def _settle(self, rental: Rental) -> None:
        sent = len(self.room.sent)
        self.room.settle(rental)
        if rental.stopped_ms:
            assert all(each.side == 2 for each in self.room.sent[sent:]), "stopped, and it buys"

    def _offer(self, hour: int, class_id: str) -> None:
        for _ in range(self.chance.randrange(4)):
            self.room.ask(hour, self.chance.randrange(1_000, 4_000) / 1_000, 2 * self.chance.randrange(1, 5), class_id)
        if self.chance.random() < 0.4:
            self.room.bid(hour, self.chance.randrange(1_000, 2_500) / 1_000, 2 * self.chance.randrange(1, 4), class_id)

    def _terms(self) -> Terms:
        chance = self.chance
        return terms(
            2 * chance.randrange(1, 4),
            chance.randrange(1_200, 4_500) / 1_000,
            classes=chance.choice([(ONE,), (TWO,), (ONE, TWO), (TWO, ONE)]),
            max_spend=chance.choice([0, 0, chance.randrange(5, 200)]),
            first=chance.randrange(4),
            hours=chance.choice([0, chance.randrange(1, 20)]),
            look_ahead=chance.randrange(1, 9),
            on_stop=chance.choice(["sell", "keep"]),
        )

    def _happen(self) -> None:
        chance, room = self.chance, self.room
        rental = chance.choice(list(room.state.rentals.values()))
        now = (room.now - moment(0)) // (60 * MS_PER_MINUTE)
        match chance.randrange(8):
            case 0 if not rental.over_ms and not rental.stopped_ms and chance.random() < 0.3:
                room.stop(rental, rental.terms.on_stop)
                self.stops[rental.rental] = room.now
            case 1 if not rental.over_ms and not rental.stopped_ms:
                self._change(rental)
            case 2:
                room.is_away = not room.is_away
            case 3:
                room.place.poor ^= {rental.account}
            case 4 | 5:
                self._offer(now + chance.randrange(1, 8), chance.choice([ONE, TWO]))
            case 6:
                for level in chance.choice(list(room.place.asks.values())):
                    level[1] = 0
            case _:
                pass

    def _change(self, rental: Rental) -> None:
        """Only to more: the judge goes by the widest terms that there ever were."""
        old = rental.terms
        new = msgspec.structs.replace(
            old,
            max_price=old.max_price + self.chance.randrange(500_000),
            max_spend=old.max_spend and old.max_spend + self.chance.randrange(20_000_000),
            look_ahead=self.chance.randrange(1, 9),
        )
        self.widest[rental.rental] = new
        self.room.change(rental, new)

    def faults(self) -> list[str]:
        rentals = {
            number: (rental.account, self.widest[number], self.stops.get(number, 0))
            for number, rental in self.room.state.rentals.items()
        }
        return judge.faults(self.room.place.fills, rentals)


@pytest.mark.parametrize("seed", range(SEEDS))
def test_limits_hold_in_random_markets(seed: int) -> None:
    day = Day(seed)
    day.run()

    assert day.faults() == []


def test_the_random_markets_are_worth_their_name() -> None:
    """Much is bought, sold again, refused, spent to the limit and changed of class: no limit holds for want of trade."""
    bought = sold = refused = 0
    for seed in range(10):
        day = Day(seed)
        day.run()
        bought += sum(fill.side == 1 for fill in day.room.place.fills)
        sold += sum(fill.side == 2 for fill in day.room.place.fills)
        refused += len(day.room.place.refused)

    assert bought > 200
    assert sold > 15
    assert refused > 20


def test_what_a_rental_says_of_itself_is_what_the_exchange_has_done() -> None:
    """Its cost is the sum of its fills, whatever has been folded meanwhile."""
    for seed in range(10):
        day = Day(seed)
        day.run()
        for number, rental in day.room.state.rentals.items():
            fills = [fill for fill in day.room.place.fills if fill.client_id.startswith(f"r{number}-")]
            cash = sum(fill.cash if fill.side == 1 else -fill.cash for fill in fills)
            held = sum(each.cost - each.returned for each in day.room.held(rental).values())
            assert rental.past_cost + held == cash
