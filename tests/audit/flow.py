"""Members of the simulated market: random commands of every kind that gateways may send, most of them sensible.

Drawn from one stream of chance and from what the market has answered; nothing of the engine is looked at.
"""

from __future__ import annotations

import random

from schemas.commands import CancelOrder, Command, PlaceOrder, SetState, Side, State, Tif
from schemas.events import Event, OrderAccepted, ShardStarted
from schemas.ids import contract_of
from schemas.units import MS_PER_HOUR

ACCOUNTS = range(1, 9)
OWNERS = {1: 1, 2: 1, 3: 3, 4: 3} | {account: account for account in ACCOUNTS if account > 4}
"""1 and 2 belong together, and 3 and 4. An owner is the number of his first account, as settlement gives it."""
OPERATOR = 900


class Members:
    """Draws what the members of one shard do next."""

    def __init__(self, chance: random.Random, classes: dict[int, tuple[int, int, int]], rate: int, t0_ms: int) -> None:
        self.chance = chance
        self.classes = classes
        """class number -> (lot, tick, list price)."""
        self.rate = rate
        self.t0_ms = t0_ms
        self.orders: list[tuple[int, int, str]] = []
        """(order, account, client id) of the last ones accepted."""
        self.drawn = 0

    def heard(self, event: Event) -> None:
        """What a member learns from the log."""
        if isinstance(event, OrderAccepted):
            self.orders.append((event.order, event.account, event.client_id))
            del self.orders[:-100]
        assert not isinstance(event, ShardStarted) or event.rate == self.rate

    def draw(self, stamp_ms: int) -> Command:
        """One command; `stamp_ms` is about when it will stand in the log."""
        self.drawn += 1
        now_ms = self.t0_ms + self.rate * (stamp_ms - self.t0_ms)
        kind = self.chance.random()
        if kind < 0.12 and self.orders:
            return self._cancel(now_ms)
        if kind < 0.125:
            state = self.chance.choice(
                [State.OPEN, State.OPEN, State.OPEN, State.POST_ONLY, State.CANCEL_ONLY, State.HALTED]
            )
            return SetState(OPERATOR, self.chance.choice(list(self.classes)), 0, state, "simulated")
        return self._order(now_ms)

    def _cancel(self, now_ms: int) -> CancelOrder:
        order, account, client_id = self.chance.choice(self.orders)
        if self.chance.random() < 0.05:
            account = self.chance.choice(ACCOUNTS)
        by_client_id = client_id and self.chance.random() < 0.3
        return CancelOrder(account, 0 if by_client_id else order, client_id, now_ms + 300_000)

    def _order(self, now_ms: int) -> PlaceOrder:
        chance = self.chance
        class_no = chance.choice(list(self.classes))
        lot, tick, list_price = self.classes[class_no]
        hour = now_ms // MS_PER_HOUR + chance.choice([1, 1, 1, 2, 2, 0, 9])
        price = list_price + chance.randint(-8, 8) * tick + (chance.random() < 0.01)
        tif = chance.choice([Tif.GTC, Tif.GTC, Tif.GTC, Tif.IOC, Tif.FOK])
        flags = chance.choice([0, 0, 0, 1, 4]) if tif == Tif.GTC else chance.choice([0, 4])
        client_id = f"m{self.drawn}" if chance.random() < 0.97 else f"m{chance.randint(1, self.drawn)}"
        return PlaceOrder(
            chance.choice(ACCOUNTS),
            contract_of(class_no, hour),
            chance.choice([Side.BUY, Side.SELL]),
            chance.randint(1, 6) * lot,
            price,
            tif,
            flags,
            client_id,
            now_ms + 300_000,
        )
