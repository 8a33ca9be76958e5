"""A random market on the production engine: commands of every kind, sensible and senseless, and the records that they give.

    flow = Flow(seed)
    for record in flow.day(steps=300): ...        # EventsRecord, in parts now and then

Members draw from one stream of chance and from what the engine has answered. The engine is the newest version that this build
has: what an older one does not offer is refused, and the feed has nothing to tell of it.
"""

from __future__ import annotations

import itertools
import random
from collections.abc import Iterator

from msgspec.structs import replace

from schemas import commands as cmd
from schemas import events as ev
from schemas.codec import EventsRecord
from schemas.commands import Command, Fees, Flag, Ground, Role, Side, State, Tif
from schemas.ids import contract_of, format_symbol
from schemas.units import MS_PER_HOUR
from services.matching.book import Block
from services.matching.engine import Engine
from services.matching.operating import ENGINE_VERSIONS
from services.matching.state import Contract

T0_MS = 497_222 * MS_PER_HOUR + 1_234_567
OPERATORS = (901, 902)
ROLES = {
    1: Role.PROVIDER, 2: Role.MEMBER, 3: Role.MARKET_MAKER, 4: Role.PROVIDER, 5: Role.MARKET_MAKER, 6: Role.MEMBER,
    7: Role.MEMBER,
}  # fmt: skip
OWNERS = {1: 1, 2: 1, 3: 3, 4: 3, 5: 5, 6: 6, 7: 7}
CLASSES = {
    1: cmd.SetClass(0, 1, "TINY", 1, 1, 100, Fees(30, 900, 50, 1_000), horizon_hours=6),
    2: cmd.SetClass(
        0, 2, "NODE.X8", 8, 50, 5_000, Fees(), horizon_hours=4, gate_ms=MS_PER_HOUR, running_close_ms=0,
        collar_low_bp=8_333, collar_high_bp=12_345,
    ),
}  # fmt: skip


def _of_shard(rules: cmd.SetClass, shard: int) -> cmd.SetClass:
    class_id = f"{rules.class_id}.S{shard}" if shard else rules.class_id
    return replace(rules, class_no=rules.class_no + 2 * shard, class_id=class_id)


class Flow:
    """One shard, its members, and its log."""

    def __init__(self, seed: object, *, shard: int = 0, parts: bool = True) -> None:
        self.chance = random.Random(f"{seed}/orders")
        self._cuts = random.Random(f"{seed}/parts")
        self.shard = shard
        self.classes = {no + 2 * shard: _of_shard(rules, shard) for no, rules in CLASSES.items()}
        """Class numbers and ids are the exchange's, not a shard's."""
        self.parts = parts
        self.engine = Engine()
        self.stamp_ms = T0_MS
        self.seq = 0
        self.offset = -1
        self.outbox = 0
        self.drawn = 0
        self.numbers = 0
        self.versions = 0
        self.orders: list[tuple[int, int, str]] = []
        """(order, account, client id) of the newest."""
        self.said: dict[str, int] = {}
        """Type of event → how often."""

    # --- Records -----------------------------------------------------------------------------------------------

    def day(self, steps: int) -> Iterator[EventsRecord]:
        """The opening, `steps` frames, and the end of every hour that is open."""
        yield from self.apply([cmd.StartShard(self.shard, max(ENGINE_VERSIONS), T0_MS, 1, sandbox=False)])
        yield from self.apply(self._opening())
        for _ in range(steps):
            if self.chance.random() < 0.04:
                yield from self.tick(self.chance.choice([60_000, 300_000, 900_000, MS_PER_HOUR]))
                continue
            self.stamp_ms += self.chance.choice([0, 1, 1_000, 7_000, 40_000])
            yield from self.apply([self._draw() for _ in range(self.chance.choice([1, 1, 2, 4, 8]))])
        yield from self.tick(12 * MS_PER_HOUR)

    def tick(self, by_ms: int) -> Iterator[EventsRecord]:
        """Nothing but time."""
        self.stamp_ms += by_ms
        yield from self.apply([cmd.Tick(self.stamp_ms)])

    def apply(self, commands: list[Command]) -> Iterator[EventsRecord]:
        """One record of `commands`: its output, whole or in parts."""
        self.offset += 1
        events = self.engine.apply(self.offset, self.stamp_ms, commands)
        for event in events:
            self.said[type(event).__name__] = self.said.get(type(event).__name__, 0) + 1
            if isinstance(event, ev.OrderAccepted | ev.BlockAccepted):
                self.orders.append((event.order, event.account, event.client_id))
            elif isinstance(event, ev.RangeAccepted):
                self.orders += [(leg.order, event.account, event.client_id) for leg in event.legs if not leg.code]
            elif isinstance(event, ev.QuotesPut):
                quoted = [order for each in event.outcomes for order in (each.bid_order, each.ask_order) if order]
                self.orders += [(order, event.account, "") for order in quoted]
        del self.orders[:-60]
        cuts = sorted(self._cuts.sample(range(1, len(events)), min(2, len(events) - 1))) if len(events) > 1 else []
        if not self.parts or self._cuts.random() < 0.7:
            cuts = []
        edges = [0, *cuts, len(events)]
        for part, (begin, end) in enumerate(itertools.pairwise(edges)):
            self.seq += 1
            last = part == len(edges) - 2
            yield EventsRecord(
                1, self.shard, self.seq, self.offset, part, last, self.engine.time_ms, 1, self.offset, events[begin:end]
            )

    # --- Members -----------------------------------------------------------------------------------------------

    def _opening(self) -> list[Command]:
        commands: list[Command] = [replace(rules, outbox=self._next()) for rules in self.classes.values()]
        for account, role in ROLES.items():
            commands += [
                cmd.SetAccount(self._next(), account, OWNERS[account], role, 0),
                cmd.Credit(self._next(), account, 2_000_000 if account != 7 else 3_000),
            ]
        commands += [cmd.SetAccount(self._next(), number, number, 0, 0) for number in OPERATORS]
        commands += [self._backing(account, class_no) for account in (1, 3, 4, 5) for class_no in self.classes]
        return commands

    def _next(self) -> int:
        self.outbox += 1
        return self.outbox

    def _draw(self) -> Command:
        self.drawn += 1
        return self.chance.choice(_KINDS)(self)

    def _account(self, side: int = 0) -> int:
        """Whoever may owe sells more often than those who only sell what they hold."""
        return self.chance.choice([1, 3, 4, 5] * 3 + [*ROLES] if side == Side.SELL else [*ROLES])

    def _class_no(self) -> int:
        return self.chance.choice([1, 1, 1, 2]) + 2 * self.shard

    def _hour(self) -> int:
        return self.engine.time_ms // MS_PER_HOUR + self.chance.choice([0, 1, 1, 1, 2, 2, 3])

    def _price(self, class_no: int, side: int) -> int:
        rules = self.classes[class_no]
        return rules.list_price + self.chance.choice([-4, -3, -2, -1, 0, 0, 1, 2, 3, 4, 15]) * rules.tick * (
            1 if side == Side.SELL else -1
        )

    def _valid_ms(self) -> int:
        return self.engine.time_ms + 300_000

    def _client_id(self) -> str:
        return f"c{self.drawn}" if self.chance.random() < 0.8 else ""

    def _kind(self) -> tuple[int, int, int]:
        """(tif, flags, expires)."""
        tif = self.chance.choice([Tif.GTC] * 5 + [Tif.GTD, Tif.IOC, Tif.FOK])
        flags = self.chance.choice([0, 0, 0, Flag.POST_ONLY, Flag.RUNNING]) if tif <= Tif.GTD else 0
        flags |= self.chance.choice([0, 0, Flag.CANCEL_OLDEST])
        return tif, flags, self.engine.time_ms + self.chance.choice([500, 60_000, 10**7]) if tif == Tif.GTD else 0

    def _place(self) -> Command:
        class_no, side = self._class_no(), self.chance.choice([Side.BUY, Side.SELL])
        tif, flags, expires_ms = self._kind()
        qty = self.chance.randint(1, 5) * self.classes[class_no].lot
        return cmd.PlaceOrder(
            self._account(side), contract_of(class_no, self._hour()), side, qty, self._price(class_no, side), tif, flags,
            self._client_id(), self._valid_ms(), expires_ms,
        )  # fmt: skip

    def _range(self) -> Command:
        class_no, side = self._class_no(), self.chance.choice([Side.BUY, Side.SELL])
        tif, flags, expires_ms = self._kind()
        first = self._hour()
        hours = tuple(range(first, first + self.chance.randint(1, 4)))
        qty = self.chance.randint(1, 3) * self.classes[class_no].lot
        return cmd.PlaceRange(
            self._account(side), class_no, hours, side, qty, self._price(class_no, side), tif, flags, self._client_id(),
            self._valid_ms(), expires_ms,
        )  # fmt: skip

    def _block(self) -> Command:
        class_no, side = self._class_no(), self.chance.choice([Side.BUY, Side.SELL])
        tif = self.chance.choice([Tif.GTC, Tif.GTC, Tif.GTC, Tif.GTD, Tif.IOC, Tif.FOK])
        lots, lot = self.chance.randint(1, 4), self.classes[class_no].lot
        qty_min = lots if tif == Tif.FOK else self.chance.randint(1, lots)
        first = self.engine.time_ms // MS_PER_HOUR + self.chance.choice([1, 2, 2, 3])
        return cmd.PlaceBlock(
            self._account(side), class_no, first, self.chance.choice([1, 2, 2, 3]), side, lots * lot, qty_min * lot,
            self._price(class_no, side), tif, 0, self._client_id(), self._valid_ms(),
            self.engine.time_ms + 90_000 if tif == Tif.GTD else 0,
        )  # fmt: skip

    def _quotes(self) -> Command:
        class_no, account = self._class_no(), self.chance.choice([3, 5, 5, 6])
        rules, first = self.classes[class_no], self._hour()
        quotes = []
        for hour in range(first, first + self.chance.randint(1, 4)):
            middle = rules.list_price + self.chance.randint(-2, 2) * rules.tick
            sizes = [self.chance.choice([0, 1, 2, 2, 3]) * rules.lot for _ in "ba"]
            bid, ask = (middle + step * self.chance.randint(1, 3) * rules.tick for step in (-1, 1))
            quotes.append(cmd.QuoteHour(hour, bid, sizes[0], ask, sizes[1]))
        self.numbers += 1
        return cmd.PutQuotes(account, class_no, self.numbers, tuple(quotes), self._valid_ms())

    def _of_order(self) -> tuple[int, int, str]:
        order, account, client_id = self.chance.choice(self.orders) if self.orders else (0, 1, "x")
        return (account, 0, client_id) if client_id and self.chance.random() < 0.3 else (account, order, "")

    def _cancel(self) -> Command:
        account, order, client_id = self._of_order()
        return cmd.CancelOrder(account, order, client_id, self._valid_ms())

    def _amend(self) -> Command:
        account, order, client_id = self._of_order()
        class_no, side = self._class_no(), self.chance.choice([Side.BUY, Side.SELL])
        qty = self.chance.randint(1, 5) * self.classes[class_no].lot
        return cmd.AmendOrder(account, order, client_id, qty, self._price(class_no, side), self._valid_ms())

    def _mass(self) -> Command:
        side = self.chance.choice([0, Side.BUY, Side.SELL])
        return cmd.MassCancel(self._account(), self.chance.choice([0, 1 + 2 * self.shard]), 0, side, self._valid_ms())

    def _after(self) -> Command:
        return cmd.CancelAllAfter(self._account(), self.chance.choice([0, 1_000, 60_000]), self._valid_ms())

    def _state(self) -> Command:
        state = self.chance.choice([State.OPEN] * 9 + [State.POST_ONLY, State.CANCEL_ONLY, State.HALTED])
        hour = self.chance.choice([0, self._hour()])
        return cmd.SetState(OPERATORS[0], self._class_no(), hour, state, "simulated")

    def _correct(self) -> Command:
        trade = max(1, self.engine.trade_last)
        approval = f"a{self.chance.getrandbits(32)}"
        return cmd.CorrectCash(
            *OPERATORS, self._account(), self._account(), 7, trade, "typo", approval, self._valid_ms()
        )

    def _reference(self) -> Command:
        class_no = self._class_no()
        rules = self.classes[class_no]
        price = rules.list_price + self.chance.randint(-30, 30) * rules.tick
        return cmd.MoveReference(class_no, self.chance.choice([0, self._hour()]), price, "simulated")

    def _backing_command(self) -> Command:
        return self._backing(self.chance.choice([1, 3, 4, 5]), self._class_no())

    def _backing(self, account: int, class_no: int) -> Command:
        rules = self.classes[class_no]
        promises = ROLES[account] == Role.MARKET_MAKER and self.chance.random() < 0.8
        ground = Ground.PROMISED if promises else Ground.DECLARED
        if self.chance.random() < 0.2 and self.drawn:
            ground, promises = Ground.READY, ROLES[account] == Role.MARKET_MAKER
        price = 3 * rules.list_price + self.chance.choice([0, 0, 7]) if promises else 0
        first = self._hour() if self.drawn else T0_MS // MS_PER_HOUR + 1
        self.versions += 1
        qty = self.chance.choice([0, 2, 6, 10, 10, 15]) * rules.lot if self.drawn else 8 * rules.lot
        hours = tuple(range(first, first + (self.chance.randint(1, 3) if self.drawn else 3)))
        return cmd.SetBacking(self._next(), account, class_no, hours, ground, qty, price, self.versions)

    def _money(self) -> Command:
        kind = self.chance.choice([cmd.Credit, cmd.Sweep])
        return kind(self._next(), self._account(), self.chance.choice([1, 1_000, 50_000]))

    def _again(self) -> Command:
        return cmd.SetAccount(self._next(), 1, 1, Role.PROVIDER, 0)

    # --- What the engine itself has ----------------------------------------------------------------------------

    def symbol(self, contract: int) -> str:
        class_no, hour = contract >> 24, contract & 0xFFFFFF
        return format_symbol(self.classes[class_no].class_id, hour)

    def levels(self) -> dict[str, tuple[dict[int, int], dict[int, int]]]:
        """Symbol → totals per price of bids and of asks, of every contract that is there."""
        found: dict[str, tuple[dict[int, int], dict[int, int]]] = {}
        for number, contract in self.engine.contracts.items():
            sides = []
            for half in (contract.bids, contract.asks):
                totals: dict[int, int] = {}
                for order in half:
                    totals[order.price] = totals.get(order.price, 0) + order.leaves
                sides.append(totals)
            found[self.symbol(number)] = (sides[0], sides[1])
        return found

    def blocks(self) -> list[Block]:
        """Those that rest, each once: by the first of its hours."""
        return [
            block
            for number, contract in self.engine.contracts.items()
            for block in (*contract.buy_blocks, *contract.sell_blocks)
            if block.contract == number
        ]

    def phase(self, contract: Contract) -> str:
        return "forward" if contract.forward else "closed" if contract.closed else "running"


_KINDS = (
    [Flow._place] * 60 + [Flow._cancel] * 10 + [Flow._range] * 8 + [Flow._block] * 14 + [Flow._quotes] * 8
    + [Flow._amend] * 8 + [Flow._backing_command] * 14 + [Flow._money] * 3 + [Flow._state] * 2 + [Flow._mass]
    + [Flow._after, Flow._correct, Flow._reference, Flow._reference, Flow._again]
)  # fmt: skip
