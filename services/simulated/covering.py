"""What the simulated cloud buys for market makers, and what it says of hours that have ended. Pure.

It buys what was promised and sold, between an hour before a contract's cover deadline and the deadline; and what was sold as
ready in a running hour at once, for its minutes. Both at the price of the cheapest firm offer of any cloud. What has no machine
when its hour is over was not delivered, and it says so: nobody is paid for nothing.

Each purchase has a key that is made of what it is for, so that after a crash the very same is asked again and nothing is bought
twice: account, contract, machines had before, machines owed; or account, contract, title. Only after a refusal it gets another.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from hashlib import blake2b
from typing import Final

from msgspec import Struct

from schemas.http import PromisedAnswer, UncoveredAnswer
from schemas.ids import parse_symbol
from schemas.units import MS_PER_HOUR, Gpus, Hour, Micros, Millis, Price
from services.simulated.chance import drawn

EARLY_MS: Final = MS_PER_HOUR
"""Before the cover deadline."""
FAULTY_IN: Final = 20
"""One hour in so many loses minutes"""
FAULT_MINUTES_MAX: Final = 15
"""and at most so many."""


class Purchase(Struct, frozen=True):
    """Machines for one account in one hour."""

    account: int
    contract: str
    class_id: str
    hour: Hour
    qty: Gpus
    price: Price
    """Of a GPU-hour."""
    key: str
    minutes: int = 60
    title: int = 0
    """What was sold as ready; 0: promised."""

    @property
    def cost(self) -> Micros:
        """For all of it, rounded up."""
        return -(-self.price * self.qty * self.minutes // 60)


class Uncovered(Struct, frozen=True):
    """What no cloud has an offer for."""

    account: int
    contract: str
    qty: Gpus


class Report(Struct, frozen=True):
    """What became of an ended hour."""

    contract: str
    undelivered_minutes: int
    key: str
    title: int = 0
    """0: all that have none of their own."""


def purchases(
    promises: Iterable[PromisedAnswer],
    cheapest: Mapping[str, Price],
    cover_ms: Mapping[str, Millis],
    refusals: Mapping[str, int],
    now_ms: Millis,
) -> list[Purchase | Uncovered]:
    """`cheapest`, `cover_ms`: by class; `refusals`: how often a contract's purchase was refused so far; `now_ms`: market time."""
    found: list[Purchase | Uncovered] = []
    for each in promises:
        class_id, hour = parse_symbol(each.contract)
        if class_id not in cover_ms or each.owed <= 0:
            continue
        deadline_ms = hour * MS_PER_HOUR - cover_ms[class_id]
        if not deadline_ms - EARLY_MS <= now_ms < deadline_ms:
            continue
        price = cheapest.get(class_id, 0)
        if not price:
            found.append(Uncovered(each.account, each.contract, each.owed))
            continue
        tried = refusals.get(each.contract, 0)
        key = _key("procure", each.account, each.contract, each.declared, each.owed, tried)
        found.append(Purchase(each.account, each.contract, class_id, hour, each.owed, price, key))
    return found


def ready_purchases(
    uncovered: Iterable[UncoveredAnswer], cheapest: Mapping[str, Price], refusals: Mapping[str, int]
) -> list[Purchase | Uncovered]:
    """On demand, as it is sold. `refusals`: as above."""
    found: list[Purchase | Uncovered] = []
    for each in uncovered:
        if each.ground != "ready" or each.ended:
            continue
        class_id, hour = parse_symbol(each.contract)
        price = cheapest.get(class_id, 0)
        if not price:
            found.append(Uncovered(each.account, each.contract, each.qty))
            continue
        key = _key("ready", each.account, each.contract, each.title, refusals.get(each.contract, 0))
        found.append(
            Purchase(each.account, each.contract, class_id, hour, each.qty, price, key, each.minutes, each.title)
        )
    return found


def failures(uncovered: Iterable[UncoveredAnswer]) -> list[Report]:
    """Titles whose hour has ended without a machine: not a minute of them was delivered."""
    return [
        Report(each.contract, each.minutes, _key("deliver", each.contract, each.title, each.minutes), each.title)
        for each in uncovered
        if each.ended
    ]


def report(contract: str, seed: str) -> Report:
    """The same one whenever it is asked for."""
    faulty = drawn(seed, contract, "faulty") % FAULTY_IN == 0
    minutes = 1 + drawn(seed, contract, "minutes") % FAULT_MINUTES_MAX if faulty else 0
    return Report(contract, minutes, _key("deliver", contract, minutes))


def _key(what: str, *parts: object) -> str:
    """An Idempotency-Key: at most 40 characters."""
    return f"sim-{what}-{blake2b('|'.join(map(str, parts)).encode(), digest_size=12).hexdigest()}"
