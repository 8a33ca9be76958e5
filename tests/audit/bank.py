"""What members ask of settlement, and what an operator says was delivered: random requests, most of them sensible."""

from __future__ import annotations

import random
from collections.abc import Iterator

import msgspec

from schemas import requests as rq
from schemas.commands import Fees, Ground, Role
from schemas.delivery import Delivered
from schemas.ids import contract_of
from schemas.units import MS_PER_HOUR
from services.runtime.log import Outgoing
from tests.audit.flow import ACCOUNTS, OWNERS

Classes = dict[int, dict[int, tuple[int, int, int]]]
"""shard -> class number -> (lot, tick, list price)."""


class Bank:
    """Draws records for `requests` and `delivery`."""

    def __init__(self, chance: random.Random, classes: Classes, rate: int, t0_ms: int) -> None:
        self.chance = chance
        self.classes = classes
        self.rate = rate
        self.t0_ms = t0_ms
        self.drawn = 0
        self.versions: dict[tuple[int, int, int], int] = {}
        self.last: rq.Request | None = None

    def opening(self) -> Iterator[rq.Request]:
        """Accounts, classes, money, backing."""
        for account in ACCOUNTS:
            owner = OWNERS[account] if OWNERS[account] < account else 0
            yield rq.OpenAccount(f"open-{account}", owner, f"account {account}", Role(account % 3))
        for shard, classes in self.classes.items():
            for class_no, (lot, tick, list_price) in classes.items():
                fees = Fees(self.chance.choice([0, 5]), self.chance.choice([0, 20]), 50, 70)
                yield rq.ListClass(
                    f"list-{class_no}", shard, f"SIM.{class_no}", b"", lot, tick, list_price, fees, horizon_hours=24
                )
        for account in ACCOUNTS:
            amount = self.chance.randint(10**5, 10**8)
            yield rq.Deposit(f"first-{account}", account, amount, "simulated-faucet", f"first-{account}")
            for shard in self.classes:
                yield rq.ToTrading(f"trade-{account}-{shard}", account, shard, amount // 3)
        for account in ACCOUNTS:
            for classes in self.classes.values():
                for class_no in classes:
                    backing = self._back(account, class_no, self.t0_ms, first=1, hours=20)
                    if backing is not None:
                        yield backing

    def draw(self, stamp_ms: int) -> rq.Request:
        """One request; now and then the last one again, or its id with another body."""
        chance = self.chance
        if self.last is not None and chance.random() < 0.05:
            return self.last
        self.drawn += 1
        name, account, shard = f"r-{self.drawn}", chance.choice(ACCOUNTS), chance.choice(list(self.classes))
        amount = chance.randint(1, 10 ** chance.randint(2, 8))
        kind = chance.randrange(6)
        request: rq.Request | None = None
        if kind == 0:
            request = rq.Deposit(name, account, amount, "simulated-faucet", f"d-{chance.randint(0, self.drawn)}")
        elif kind == 1:
            request = rq.Withdraw(name, account, amount, chance.choice(["home", "simulated:fail"]))
        elif kind == 2:
            request = rq.FromTrading(name, account, shard, amount)
        elif kind == 3:
            request = self._back(
                account, chance.choice(list(self.classes[shard])), stamp_ms, chance.randint(0, 3), chance.randint(1, 6)
            )
        self.last = request or rq.ToTrading(name, account, shard, amount)
        return self.last

    def _back(self, account: int, class_no: int, stamp_ms: int, first: int, hours: int) -> rq.Back | None:
        role = Role(account % 3)
        if role == Role.MEMBER:
            return None
        ground = Ground.DECLARED if role == Role.PROVIDER else Ground.PROMISED
        if self.chance.random() < 0.2:
            ground = Ground.READY
        lot, _, list_price = next(classes[class_no] for classes in self.classes.values() if class_no in classes)
        key = (account, class_no, int(ground))
        self.versions[key] = self.versions.get(key, 0) + self.chance.choice([1, 1, 1, 0])
        hour = (self.t0_ms + self.rate * (stamp_ms - self.t0_ms)) // MS_PER_HOUR + first
        price = 3 * list_price if role == Role.MARKET_MAKER else 0
        return rq.Back(
            f"b-{account}-{class_no}-{self.versions[key]}-{self.drawn}",
            account,
            class_no,
            tuple(range(hour, hour + hours)),
            ground,
            self.chance.randint(0, 25) * lot,
            price,
            max(1, self.versions[key]),
        )

    def delivered(self, stamp_ms: int) -> Delivered:
        """A simulated delivery record of some recent hour, whole or in part."""
        classes = [class_no for of_shard in self.classes.values() for class_no in of_shard]
        hour = (self.t0_ms + self.rate * (stamp_ms - self.t0_ms)) // MS_PER_HOUR - self.chance.randint(-1, 3)
        self.drawn += 1
        contract = contract_of(self.chance.choice(classes), hour)
        return Delivered(contract, 0, self.chance.choice([0, 0, 13, 60]), "simulated", f"v-{self.drawn}")


def outgoing(body: msgspec.Struct) -> Outgoing:
    """A record of one body."""
    return Outgoing(msgspec.msgpack.encode(body))
