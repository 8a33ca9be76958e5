"""A week of titles as a market leaves them: who owes whom which hour, at which cost, on which machines. For `bench.assignment`.

Nobody buys from anybody here: buyers come one after the other and take, in each of their hours, what is cheapest, from whomever;
the oldest of equal prices first. So whose titles follow each other in a buyer's hours follows from how far each hour's book
has been eaten, as it does in the market.

- Four classes, 50 providers with machines in two classes each; of 1, 2, 4 or 8 GPUs (in the fourth class, with a lot of 8: of
  8 or 16).
- Prices: each provider's own premium over the list price, more by day than by night, on a grid of a hundredth of the list price;
  every 12 to 48 hours it moves by two hundredths at most. So two providers often ask the same.
- Every eighth machine is offered only by night (a provider's own use by day).
- Buyers: 1, 2, 4 or 8 GPUs (lots, in the fourth class); a third for 1 to 6 hours, a third for up to a day, a fourth for up to
  three days, the rest for up to the whole week; more begin by day than by night.
- A sixth of the providers are market makers: they promise against cash, and that covers exchanges up to a quarter of the
  list price per GPU owed; the others cover nothing, so only equal costs are exchanged with them.
- After all is sold, one machine in a hundred fails for 4 to 24 hours, and what is owed is more than there is, here and there.

Everything follows from the seed.
"""

from __future__ import annotations

import random
from collections.abc import Iterator
from typing import NamedTuple

from services.delivery.fleet import Fleet, Machine, Title

CLASSES = 4
LOTS = (1, 1, 1, 8)
LIST_PRICE = (2_400_000, 1_100_000, 350_000, 3_200_000)
NIGHT = (0, 8)
FIRST_HOUR = 495_000 // 24 * 24


class Market(NamedTuple):
    """Of one class."""

    fleet: Fleet
    titles: list[Title]
    positions: int


class Seller(NamedTuple):
    """A provider in one class."""

    obligor: int
    machines: list[Machine]
    premiums: list[int]
    """Percent over the list price, per hour."""
    covers: bool


def markets(seed: int, *, machines: int, hours: int, positions: int, obligors: int) -> Iterator[Market]:
    """One for each class, its share of machines and positions."""
    for which in range(CLASSES):
        draw = random.Random(f"{seed}/{which}")
        own = [
            obligor
            for obligor in range(obligors)
            if which in {obligor % CLASSES, (obligor + 1 + obligor % 3) % CLASSES}
        ]
        sellers = list(_sellers(draw, which, own, machines // CLASSES, hours))
        titles = list(_titles(draw, which, sellers, positions // CLASSES, hours))
        yield Market(_fleet(draw, which, sellers, titles, hours), titles, positions // CLASSES)


def _sellers(draw: random.Random, which: int, own: list[int], machines: int, hours: int) -> Iterator[Seller]:
    sizes, weights = ((8, 16), (3, 1)) if LOTS[which] == 8 else ((1, 2, 4, 8), (4, 3, 2, 1))
    number = which * 1_000_000
    for at, obligor in enumerate(own):
        count = machines // len(own) + (at < machines % len(own))
        fleet = []
        for _ in range(count):
            number += 1
            days = tuple((day + NIGHT[1], day + 24) for day in range(FIRST_HOUR, FIRST_HOUR + hours, 24))
            fleet.append(Machine(number, obligor + 1, draw.choices(sizes, weights)[0], days if number % 8 == 0 else ()))
        premiums: list[int] = []
        premium = draw.randint(-12, 12)
        while len(premiums) < hours:
            premiums += [premium] * draw.randint(12, 48)
            premium += draw.randint(-2, 2)
        yield Seller(obligor + 1, fleet, premiums[:hours], obligor % 6 == 0)


def _price(which: int, seller: Seller, hour: int) -> int:
    by_day = 0 if hour % 24 < NIGHT[1] else 10
    return LIST_PRICE[which] // 100 * (100 + by_day + seller.premiums[hour])


def _titles(draw: random.Random, which: int, sellers: list[Seller], positions: int, hours: int) -> Iterator[Title]:
    """Each buyer eats into the books of his hours."""
    lot = LOTS[which]
    books: list[list[list[int]]] = []
    sellers = draw.sample(sellers, len(sellers))  # who asked first
    for hour in range(hours):
        at = FIRST_HOUR + hour
        asks = [
            [
                _price(which, seller, hour),
                seller.obligor,
                sum(m.gpus // lot for m in seller.machines if not _is_out(m, at)),
            ]
            for seller in sellers
        ]
        books.append(sorted(asks, key=lambda ask: ask[0])[::-1])  # the best last
    number = 0
    for holder in range(1_000, 1_000 + positions):
        first, length = _when(draw, hours)
        wanted = draw.choices((1, 2, 4, 8), (35, 25, 20, 20))[0]
        if any(sum(ask[2] for ask in books[hour]) < wanted for hour in range(first, first + length)):
            continue  # sold out in one of the hours: a block is bought as a whole or not at all
        for hour in range(first, first + length):
            left, book = wanted, books[hour]
            while left:
                price, obligor, offered = book[-1]
                taken = min(left, offered)
                if taken:
                    number += 1
                    yield Title(FIRST_HOUR + hour, number, obligor, holder, taken * lot, price)
                book[-1][2] -= taken
                left -= taken
                if not book[-1][2]:
                    book.pop()


def _when(draw: random.Random, hours: int) -> tuple[int, int]:
    """(first hour, hours)."""
    longest = draw.choices((6, 24, 72, hours), (33, 33, 25, 9))[0]
    length = draw.randint(1, min(longest, hours))
    first = draw.randint(0, hours - length)
    if first % 24 < NIGHT[1] and draw.random() < 0.5:
        first = min(first // 24 * 24 + draw.randrange(NIGHT[1], 24), hours - length)
    return first, length


def _fleet(draw: random.Random, which: int, sellers: list[Seller], titles: list[Title], hours: int) -> Fleet:
    machines = []
    for machine in (machine for seller in sellers for machine in seller.machines):
        out = machine.out
        if draw.random() < 0.01:
            start = FIRST_HOUR + draw.randrange(hours)
            out += ((start, start + draw.randint(4, 24)),)
        machines.append(Machine(machine.number, machine.obligor, machine.gpus, out))
    covering = {seller.obligor for seller in sellers if seller.covers}
    cover: dict[tuple[int, int], int] = {}
    for title in titles:
        if title.obligor in covering:
            key = title.obligor, title.hour
            cover[key] = cover.get(key, 0) + title.qty * LIST_PRICE[which] // 4
    return Fleet(LOTS[which], tuple(machines), cover)


def _is_out(machine: Machine, hour: int) -> bool:
    return any(start <= hour < end for start, end in machine.out)
