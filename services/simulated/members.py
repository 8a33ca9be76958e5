"""Demo members: each looks at the market and acts on it like anybody with a key. What they want is decided in `minds`."""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Mapping, Sequence
from functools import partial
from typing import Final

from schemas import feeds, http
from schemas.ids import parse_symbol
from schemas.specifications import specifications
from schemas.units import Gpus, Micros, Millis, parse_usd
from services.runtime import backoff
from services.runtime.log import Clock
from services.runtime.status import Status
from services.simulated.chance import Dice
from services.simulated.client import Away, Client, Refused
from services.simulated.minds import Kind, OwnOrder, Place, Row, Seen, Terms, Wish, cost, decide
from services.simulated.purse import Purse
from services.simulated.requests import request_for

LOOK_MS: Final = 10_000
"""How old a member's view of its own orders and hours may be. Of the market it always has the present."""
TRIES: Final = 4
"""What it feels like doing may not be possible; then it thinks of something else."""
WITHOUT_MS: Final = 600_000
"""So long nothing is tried again that this exchange does not offer."""
NOT_OFFERED: Final = frozenset({"not_offered_yet", "not_found", "method_not_allowed"})
ORDERS_MAX: Final = 500
"""As many as the gateway tells at once."""
WITH_MACHINES: Final = frozenset(each.class_id for each in specifications() if each.hardware.form == "NONE")
LIVELINESS: Final[Mapping[Kind, int]] = {"provider": 3, "buyer": 4, "trader": 3}
"""Shares of all that is done."""


class Member:
    """One account, and what it knew of itself when it last looked."""

    def __init__(self, name: str, kind: Kind, client: Client, seed: str) -> None:
        self.name = name
        self.kind: Kind = kind
        self.client = client
        self.dice = Dice(f"{seed}/{name}")
        self.purse = Purse()
        self.orders: list[OwnOrder] = []
        self.held: dict[str, Gpus] = {}
        self.owed: dict[str, Gpus] = {}
        self.declared: dict[str, Gpus] = {}
        self.looked_ms: Millis = 0

    async def look(self, now_ms: Millis) -> None:
        """Raises Away."""
        client = self.client
        orders = await client.read(f"/v1/orders?state=open&limit={ORDERS_MAX}", list[http.OrderAnswer])
        positions = await client.read("/v1/positions", list[http.PositionAnswer])
        self.purse.weigh(_wealth(await client.read("/v1/balance", http.BalanceAnswer)), now_ms)
        if self.kind == "provider":
            backing = await client.read("/v1/capacity", list[http.CapacityAnswer])
            self.declared = {each.contract: each.qty for each in backing if each.ground == "declared"}
        self.orders = [
            OwnOrder(each.order_id, each.contract, each.side == "sell", parse_usd(each.price), each.leaves)
            for each in orders
        ]
        # What was bought in the running hour is not resold, and that hour is no forward one: it is never looked up.
        self.held = {each.contract: each.held for each in positions}
        self.owed = {each.contract: each.owed for each in positions}
        self.looked_ms = now_ms

    def sees(self, terms: Terms, rows: Sequence[Row], now_ms: Millis) -> Seen:
        """One class."""
        orders = [order for order in self.orders if parse_symbol(order.symbol)[0] == terms.class_id]
        of_class = {row.symbol for row in rows}
        declared = {symbol: qty for symbol, qty in self.declared.items() if symbol in of_class}
        return Seen(
            terms=terms, rows=rows, orders=orders, held=self.held, owed=self.owed, declared=declared,
            purse=self.purse.available(now_ms),
        )  # fmt: skip


class Members:
    """All of them, one after the other, so many orders a minute in all."""

    def __init__(
        self, members: Sequence[Member], clock: Clock, status: Status, *, seed: str, per_minute: int, run: str
    ) -> None:
        """`run` makes client order ids differ from those of earlier processes."""
        self._members = members
        self._clock = clock
        self._status = status
        self._pause_ms = 60_000 // per_minute
        self._run = run
        self._dice = Dice(f"{seed}/all")
        self._named = 0
        self._version: Millis = 0
        self._terms: list[Terms] = []
        self._without: dict[str, Millis] = {}
        """What is not offered → until when it is not tried."""
        self._counts = Counter[str](asked=0, done=0, refused=0)
        self._log = logging.getLogger(f"hourbook.{status.name}")

    async def run(self) -> None:
        """For ever; waits while the gateway is away."""
        self._status.set(role="simulated", members=len(self._members), **self._counts)
        while True:
            member = self._dice.weighed({each: LIVELINESS[each.kind] for each in self._members})
            act = partial(self._act, member)
            await backoff.wait_for("gateway", act, errors=(Away,), clock=self._clock, status=self._status)
            unknown = sum(each.client.unknown for each in self._members)
            self._status.set(requests_unknown=unknown, **self._counts)
            # As far apart as chance has it; on average as often as was set.
            await self._clock.sleep_ms(self._dice.between(0, 2 * self._pause_ms))

    async def _act(self, member: Member) -> None:
        """One thing. Raises Away while nothing of it was sent."""
        now_ms = self._clock.elapsed_ms()
        if now_ms - member.looked_ms >= LOOK_MS:
            listed = await member.client.read("/v1/classes", list[http.ClassAnswer])
            # What is let by real machines is for whoever logs in to them.
            self._terms = [_terms(each) for each in listed if each.class_id not in WITH_MACHINES]
            await member.look(now_ms)
        if not self._terms:
            return
        terms = self._dice.pick(self._terms)
        grid = await member.client.read(f"/v1/classes/{terms.class_id}/grid", feeds.Grid)
        seen = member.sees(terms, [_row(row) for row in grid.rows], now_ms)
        without = frozenset(name for name, until_ms in self._without.items() if now_ms < until_ms)
        for _ in range(TRIES):
            wish = decide(member.kind, member.dice, seen, without)
            if wish is not None:
                await self._ask(member, wish, cost(wish, seen))
                return

    async def _ask(self, member: Member, wish: Wish, spends: Micros) -> None:
        self._named += 1
        self._version = max(self._version + 1, self._clock.now_ms())
        request = request_for(wish, f"demo-{self._run}-{self._named:x}", self._version)
        self._counts["asked"] += 1
        outcome = await member.client.ask(
            request.method, request.path, request.body, request.answer, key=request.idempotency_key
        )
        if not isinstance(outcome, Refused):
            self._counts["done"] += 1
            member.purse.spend(spends)
            if not isinstance(wish, Place):
                member.looked_ms = 0  # what it knows of its own orders is of before
            return
        self._counts["refused"] += 1
        name = wish_name(wish)
        self._status.set(last_refusal=f"{member.name}: {name}: {outcome.code} {outcome.detail}".rstrip())
        member.looked_ms = 0
        if outcome.code in NOT_OFFERED and not (name == "cancel" and outcome.code == "not_found"):
            self._without[name] = self._clock.elapsed_ms() + WITHOUT_MS
            self._log.warning("not offered here", extra={"fields": {"what": name, "code": outcome.code}})


def wish_name(wish: Wish) -> str:
    """As in `minds.WEIGHTS`."""
    return wish.note if isinstance(wish, Place) else type(wish).__name__.lower()


def _wealth(balance: http.BalanceAnswer) -> Micros:
    return parse_usd(balance.wallet) + sum(parse_usd(each.balance) for each in balance.trading)


def _terms(each: http.ClassAnswer) -> Terms:
    return Terms(each.class_id, each.lot, parse_usd(each.tick), parse_usd(each.collar_low), parse_usd(each.collar_high))


def _row(row: feeds.GridRow) -> Row:
    return Row(
        symbol=row.contract, hour=parse_symbol(row.contract)[1], forward=row.phase == "forward",
        running=row.phase == "running", takes=row.state == "open", bid=parse_usd(row.bid or "0"), bid_qty=row.bid_qty,
        ask=parse_usd(row.ask or "0"), ask_qty=row.ask_qty, reference=parse_usd(row.reference or "0"),
    )  # fmt: skip
