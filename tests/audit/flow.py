"""Members of the simulated market: random commands of every kind that gateways may send, most of them sensible.

Drawn from one stream of chance and from what the market has answered; nothing of the engine is looked at.
"""

from __future__ import annotations

import random

from schemas.commands import (
    AmendOrder,
    CancelAllAfter,
    CancelOrder,
    Command,
    Flag,
    MassCancel,
    MoveReference,
    PlaceBlock,
    PlaceOrder,
    PlaceRange,
    PutQuotes,
    QuoteHour,
    SetState,
    Side,
    State,
    Tif,
)
from schemas.events import BlockAccepted, Event, OrderAccepted, QuotesPut, ShardStarted
from schemas.ids import contract_of
from schemas.units import MS_PER_HOUR

ACCOUNTS = range(1, 9)
OWNERS = {1: 1, 2: 1, 3: 3, 4: 3} | {account: account for account in ACCOUNTS if account > 4}
"""1 and 2 belong together, and 3 and 4. An owner is the number of his first account, as settlement gives it."""
MAKERS = [account for account in ACCOUNTS if account % 3 == 2]
"""As the bank gives out roles."""
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
        self.number = 0
        """Of the last quotes."""

    def heard(self, event: Event) -> None:
        """What a member learns from the log."""
        if isinstance(event, OrderAccepted | BlockAccepted):
            self.orders.append((event.order, event.account, event.client_id))
        elif isinstance(event, QuotesPut):
            self.orders += [(one.ask_order, event.account, "") for one in event.outcomes if one.ask_order]
        del self.orders[:-100]
        assert not isinstance(event, ShardStarted) or event.rate == self.rate

    def draw(self, stamp_ms: int) -> Command:
        """One command; `stamp_ms` is about when it will stand in the log."""
        self.drawn += 1
        now_ms = self.t0_ms + self.rate * (stamp_ms - self.t0_ms)
        kind = self.chance.random()
        if kind < 0.12 and self.orders:
            return self._cancel(now_ms)
        if kind < 0.3:
            return self._of_version_2(now_ms)
        if kind < 0.305:
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

    def _of_version_2(self, now_ms: int) -> Command:
        """What the first version rejects at once."""
        chance, valid = self.chance, now_ms + 300_000
        order, name = self._order(now_ms), f"n{self.drawn}"
        class_no = order.contract >> 24
        hour = now_ms // MS_PER_HOUR + chance.choice([1, 1, 2])
        terms = (order.side, order.qty, order.price)
        match chance.randrange(8):
            case 0:
                hours = tuple(range(hour, hour + chance.randint(1, 3)))
                return PlaceRange(order.account, class_no, hours, *terms, order.tif, order.flags, name, valid)
            case 1 | 2:
                qty_min = chance.choice([order.qty, self.classes[class_no][0]])
                tif = chance.choice([Tif.GTC, Tif.GTC, Tif.IOC, Tif.FOK])
                side, qty, price = terms
                at_least = qty if tif == Tif.FOK else qty_min
                return PlaceBlock(order.account, class_no, hour, 2, side, qty, at_least, price, tif, 0, name, valid)
            case 3 | 4:
                return self._quotes(class_no, hour, valid)
            case 5 if self.orders:
                number, account, _ = chance.choice(self.orders)
                return AmendOrder(account, number, "", order.qty, order.price, valid)
            case 6:
                return chance.choice(
                    [
                        MassCancel(order.account, class_no, chance.choice([0, hour]), chance.choice([0, 1, 2]), valid),
                        CancelAllAfter(order.account, chance.choice([0, 60_000, 300_000]), valid),
                    ]
                )
        _, tick, list_price = self.classes[class_no]
        at = chance.choice([0, 0, hour])
        return MoveReference(class_no, at, list_price + chance.randint(-20, 20) * tick, "simulated-index")

    def _quotes(self, class_no: int, hour: int, valid_ms: int) -> PutQuotes:
        chance = self.chance
        lot, tick, list_price = self.classes[class_no]
        self.number += chance.choice([1, 1, 1, 1, 1, 0])
        quotes = []
        for of_hour in range(hour, hour + 3):
            bid = list_price - chance.randint(1, 3) * tick
            quotes.append(
                QuoteHour(of_hour, bid, chance.randint(0, 2) * lot, bid + 3 * tick, chance.randint(0, 2) * lot)
            )
        return PutQuotes(chance.choice(MAKERS), class_no, self.number, tuple(quotes), valid_ms)

    def _order(self, now_ms: int) -> PlaceOrder:
        chance = self.chance
        class_no = chance.choice(list(self.classes))
        lot, tick, list_price = self.classes[class_no]
        hour = now_ms // MS_PER_HOUR + chance.choice([1, 1, 1, 2, 2, 0, 9])
        price = list_price + chance.randint(-8, 8) * tick + (chance.random() < 0.01)
        side = chance.choice([Side.BUY, Side.SELL])
        tif = chance.choice([Tif.GTC, Tif.GTC, Tif.GTC, Tif.IOC, Tif.FOK, Tif.GTD])
        flags = chance.choice([0, 0, 0, 1, 4]) if tif in (Tif.GTC, Tif.GTD) else chance.choice([0, 4])
        if side == Side.SELL and tif == Tif.GTC and chance.random() < 0.3:
            flags |= Flag.RUNNING
        client_id = f"m{self.drawn}" if chance.random() < 0.97 else f"m{chance.randint(1, self.drawn)}"
        return PlaceOrder(
            chance.choice(ACCOUNTS),
            contract_of(class_no, hour),
            side,
            chance.randint(1, 6) * lot,
            price,
            tif,
            flags,
            client_id,
            now_ms + 300_000,
            now_ms + chance.choice([300_000, 3_000_000]) if tif == Tif.GTD else 0,
        )
