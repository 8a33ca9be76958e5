"""A small exchange for rentals to trade at: two classes in two shards, asks of nobody in particular, client order ids as of rule.

It is written from the rule book, and shares nothing with the engine or with the router but the schemas.
"""

from __future__ import annotations

import itertools
from collections import defaultdict
from collections.abc import Callable, Mapping
from dataclasses import dataclass

from schemas.commands import Fees, Side
from schemas.events import (
    ClassSet,
    Event,
    Filled,
    GateClosed,
    HourEnded,
    OrderAccepted,
    OrderCancelled,
    OrderRepeated,
    Reason,
    Rejected,
    Ticked,
    TitleMove,
)
from schemas.ids import class_no_of, contract_of, hour_of, order_id, parse_symbol
from schemas.units import MS_PER_HOUR, MS_PER_MINUTE, fee, notional
from services.router.books import UNLISTED, Book
from services.router.trading import Accepted, Outcome, Refused, Sent

ONE, TWO = "ONE.X", "TWO.X"
CLASSES = {ONE: 1, TWO: 2}
LOTS = {1: 1, 2: 2}
TICK = 1_000
GATE_MS, CLOSE_MS = 5 * MS_PER_MINUTE, 10 * MS_PER_MINUTE
LIST_PRICE = 2_000_000
LOW, HIGH = LIST_PRICE // 2, LIST_PRICE * 2
BUYER_BP, SELLER_BP = 10, 50
STRANGER = 900
SETTLED_MS = 300
"""An id that one shard has taken is known at the door after that long."""

Say = Callable[[int, tuple[Event, ...]], None]


@dataclass
class Resting:
    """An ask of a rental's, in the book."""

    order: int
    account: int
    contract: int
    price: int
    leaves: int


@dataclass(frozen=True)
class Fill:
    """What a judge goes by."""

    account: int
    client_id: str
    contract: int
    side: int
    qty: int
    price: int
    minutes: int
    cash: int
    """Paid or got, fee included."""
    at_ms: int


class Place:
    """`now`: market time; `say`: where events go, by shard."""

    def __init__(self, now: Callable[[], int], say: Say) -> None:
        self.now = now
        self.say = say
        self.asks: defaultdict[int, list[list[int]]] = defaultdict(list)
        """Contract → [price, qty], of others."""
        self.bids: defaultdict[int, list[list[int]]] = defaultdict(list)
        self.listed: set[int] = set()
        self.ended: set[int] = set()
        self.resting: dict[int, Resting] = {}
        self.fills: list[Fill] = []
        self.accepted: list[tuple[Sent, int]] = []
        """(order, market time)."""
        self.refused: list[tuple[Sent, str]] = []
        self.poor: set[int] = set()
        """Accounts without money."""
        self.held: defaultdict[tuple[int, int], int] = defaultdict(int)
        """(account, contract) → GPUs that may be sold."""
        self._ids: dict[tuple[int, int, str], tuple[Sent, int, int]] = {}
        """(shard, account, client id) → the body, its order, when."""
        self._numbers = itertools.count(1)
        self._by_order: dict[int, str] = {}

    # --- The market ------------------------------------------------------------------------------------------

    def begin(self) -> None:
        for class_id, class_no in CLASSES.items():
            self.say(
                self.shard(class_no),
                (
                    ClassSet(
                        0, 1, class_no, class_id, LOTS[class_no], TICK, LIST_PRICE, Fees(0, BUYER_BP, SELLER_BP, SELLER_BP),
                        168, GATE_MS, 30 * MS_PER_MINUTE, CLOSE_MS, 5_000, 20_000, 0,
                    ),
                ),
            )  # fmt: skip

    @staticmethod
    def shard(class_no: int) -> int:
        return class_no - 1

    def offer(self, class_id: str, hour: int, price: int, qty: int) -> None:
        """Somebody sells."""
        contract = contract_of(CLASSES[class_id], hour)
        self.listed.add(contract)
        self.asks[contract].append([price, qty])
        self.asks[contract].sort()

    def bid(self, class_id: str, hour: int, price: int, qty: int) -> None:
        """Somebody would buy."""
        contract = contract_of(CLASSES[class_id], hour)
        self.bids[contract].append([price, qty])
        self.bids[contract].sort(reverse=True)

    def pass_time(self) -> None:
        """Gates and ends that are due, and a tick of each shard."""
        for contract in sorted(self.listed - self.ended):
            begins_ms, shard = hour_of(contract) * MS_PER_HOUR, self.shard(class_no_of(contract))
            if self.now() >= begins_ms - GATE_MS:
                gone = [each for each in self.resting.values() if each.contract == contract]
                for each in gone:
                    self._cancel(each, Reason.GATE_CLOSED)
                if gone:
                    self.say(shard, (GateClosed(contract),))
            if self.now() >= begins_ms + MS_PER_HOUR:
                self.ended.add(contract)
                self.say(shard, (HourEnded(contract, 0, 0, 0),))
        for class_no in CLASSES.values():
            self.say(self.shard(class_no), (Ticked(0, self.now()),))

    def books(self, symbols: object) -> Mapping[str, Book]:
        """As market data would."""
        found = {}
        for symbol in symbols:  # type: ignore[attr-defined]
            class_id, hour = parse_symbol(symbol)
            contract = contract_of(CLASSES[class_id], hour)
            bids, asks = (
                tuple((price, qty) for price, qty in side[contract] if qty) for side in (self.bids, self.asks)
            )
            found[symbol] = Book(bids, asks) if contract in self.listed else UNLISTED
        return found

    # --- Orders ----------------------------------------------------------------------------------------------

    def place(self, sent: Sent) -> Outcome:
        """Now, in the log."""
        class_id, hour = parse_symbol(sent.symbol)
        class_no = CLASSES[class_id]
        shard, contract = self.shard(class_no), contract_of(class_no, hour)
        known = self._known(shard, sent)
        if known is not None:
            if known[0] == sent:
                self.say(shard, (OrderRepeated(0, sent.account, known[1], sent.client_id),))
                return Accepted()
            return self._refuse(sent, shard, "duplicate_client_id")
        running = self.now() >= hour * MS_PER_HOUR - GATE_MS
        if contract not in self.listed or contract in self.ended:
            return self._refuse(sent, shard, "unknown_contract")
        if self.now() >= (hour + 1) * MS_PER_HOUR - CLOSE_MS or (running and sent.side == Side.SELL):
            return self._refuse(sent, shard, "wrong_phase")
        if sent.price % TICK or sent.qty % LOTS[class_no]:
            raise AssertionError(f"not tradable: {sent}")
        if not LOW <= sent.price <= HIGH:
            return self._refuse(sent, shard, "outside_collar")
        if sent.side == Side.SELL:
            return self._sell(sent, shard, contract)
        return self._buy(sent, shard, contract, self._minutes(hour, running))

    def cancel(self, account: int, order: int) -> Outcome:
        """Now, in the log."""
        resting = self.resting.get(order)
        if resting is None or resting.account != account:
            return Refused("unknown_order")
        self._cancel(resting, Reason.ASKED)
        return Accepted()

    def _minutes(self, hour: int, running: bool) -> int:
        return min(60, ((hour + 1) * MS_PER_HOUR - self.now()) // MS_PER_MINUTE) if running else 60

    def _known(self, shard: int, sent: Sent) -> tuple[Sent, int, int] | None:
        own = self._ids.get((shard, sent.account, sent.client_id))
        if own is not None:
            return own
        for other in range(len(CLASSES)):
            there = self._ids.get((other, sent.account, sent.client_id))
            if there is not None and self.now() >= there[2] + SETTLED_MS:
                return there
        return None

    def _refuse(self, sent: Sent, shard: int, code: str) -> Outcome:
        self.refused.append((sent, code))
        self.say(shard, (Rejected(0, sent.account, 20, sent.client_id),))
        return Refused(code, code)

    def _accept(self, sent: Sent, shard: int, contract: int) -> tuple[int, OrderAccepted]:
        order = order_id(shard, next(self._numbers), 0)
        self._ids[shard, sent.account, sent.client_id] = (sent, order, self.now())
        self._by_order[order] = sent.client_id
        self.accepted.append((sent, self.now()))
        tif = 4 if sent.side == Side.BUY else 1
        accepted = OrderAccepted(
            0, order, sent.account, contract, sent.side, sent.qty, sent.price, tif, 0, sent.client_id, 0, BUYER_BP
        )
        return order, accepted

    def _buy(self, sent: Sent, shard: int, contract: int, minutes: int) -> Outcome:
        levels = [level for level in self.asks[contract] if level[0] <= sent.price]
        if sent.account in self.poor:
            return self._refuse(sent, shard, "insufficient_funds")
        if sum(qty for _, qty in levels) < sent.qty:
            return self._refuse(sent, shard, "cannot_fill")
        order, accepted = self._accept(sent, shard, contract)
        events: list[Event] = [accepted]
        left = sent.qty
        for level in levels:
            part = min(left, level[1])
            if part:
                left -= part
                level[1] -= part
                events.append(self._fill(sent, order, contract, level[0], part, minutes, left))
        self.held[sent.account, contract] += sent.qty if minutes == 60 else 0
        self.say(shard, tuple(events))
        return Accepted()

    def _sell(self, sent: Sent, shard: int, contract: int) -> Outcome:
        if self.held[sent.account, contract] < sent.qty:
            return self._refuse(sent, shard, "insufficient_backing")
        self.held[sent.account, contract] -= sent.qty
        order, accepted = self._accept(sent, shard, contract)
        events: list[Event] = [accepted]
        left = sent.qty
        for level in self.bids[contract]:
            part = min(left, level[1]) if level[0] >= sent.price else 0
            if part:
                left -= part
                level[1] -= part
                events.append(self._fill(sent, order, contract, level[0], part, 60, left))
        if left:
            self.resting[order] = Resting(order, sent.account, contract, sent.price, left)
        self.say(shard, tuple(events))
        return Accepted()

    def _fill(self, sent: Sent, order: int, contract: int, price: int, qty: int, minutes: int, leaves: int) -> Filled:
        cash = notional(price, qty, minutes)
        buys = sent.side == Side.BUY
        buyer_fee, seller_fee = fee(cash, BUYER_BP), fee(cash, SELLER_BP)
        self.fills.append(
            Fill(
                sent.account, sent.client_id, contract, sent.side, qty, price, minutes,
                cash + buyer_fee if buys else cash - seller_fee, self.now(),
            )
        )  # fmt: skip
        buyer, seller = (sent.account, STRANGER) if buys else (STRANGER, sent.account)
        move = TitleMove(0, next(self._numbers), 1, qty, cash, cash, 0)
        return Filled(
            next(self._numbers), contract, price, qty, minutes, sent.side, 1, order, 0, leaves, buyer, seller, cash,
            buyer_fee, seller_fee, (move,),
        )  # fmt: skip

    def _cancel(self, resting: Resting, reason: int) -> None:
        del self.resting[resting.order]
        self.held[resting.account, resting.contract] += resting.leaves
        self.say(
            self.shard(class_no_of(resting.contract)),
            (OrderCancelled(resting.order, resting.account, resting.contract, resting.leaves, reason),),
        )
